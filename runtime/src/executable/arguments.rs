//! The command line, made from what the program can do: each input of a prediction is an option of its own.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::command::Failure;
use crate::payload::Manifest;
use crate::program::{Entry, Generation, Input, Prediction, Program};
use crate::text;

/// Names that options have already.
const TAKEN: [&str; 10] =
    ["batch", "device", "help", "input", "json", "max", "output", "seed", "threads", "weights"];

const ROWS: &str = "Without an input, rows are read from standard input: a JSON object with a value for each input on every line. Each \
    is answered with an object on a line.";

/// The whole command line of an executable.
pub fn command(manifest: &Manifest) -> Command {
    let program = &manifest.program;
    let name = program.name.clone();
    let mut command = Command::new(name.clone())
        .about(format!("The model `{name}`, built by Weft {}", manifest.card.weft))
        .version(manifest.card.weft.clone())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(super::place::argument(manifest));
    if !program.predictions.is_empty() {
        let one = |prediction: &Prediction, command| {
            predict(program, prediction, documented(command, &prediction.doc))
        };
        let all = Command::new("predict").about("Answer what is given");
        command = command.subcommand(each(all, &program.predictions, |p| &p.name, one));
        let bench = Command::new("bench").about("Time a prediction on random inputs");
        let one = |_: &Prediction, command: Command| {
            command.arg(common("batch", "N", "Rows of each run [default: 1]", value_parser!(u32).range(1..)))
        };
        command = command.subcommand(each(shared(bench), &program.predictions, |p| &p.name, one));
    }
    if !program.generations.is_empty() {
        let one = |generation: &Generation, command| {
            generate(program, generation, documented(command, &generation.doc))
        };
        let all = Command::new("generate").about("Write text, shown as it is written");
        command = command.subcommand(each(all, &program.generations, |g| &g.name, one));
    }
    let serve = Command::new("serve").about("Answer over HTTP");
    command = command.subcommand(super::serve::arguments(with_weights(serve)));
    #[cfg(feature = "train")]
    if let Some(train) = super::train::command(manifest) {
        command = command.subcommand(train);
    }
    command.subcommand(
        Command::new("info")
            .about("Tell what is known about this model")
            .arg(flag("json", "Print one JSON object")),
    )
}

/// What the spec says of an item stands in its help.
fn documented(command: Command, doc: &str) -> Command {
    if doc.is_empty() { command } else { command.about(doc.to_owned()) }
}

/// The command itself for the only item, whose name may follow all the same; or a command of its own for each of several.
fn each<T>(
    command: Command,
    items: &[T],
    name: impl Fn(&T) -> &String,
    one: impl Fn(&T, Command) -> Command,
) -> Command {
    match items {
        [only] => {
            let named = one(only, Command::new(name(only).clone())).hide(true);
            one(only, command).subcommand(named)
        }
        many => {
            let inner = many.iter().map(|item| one(item, Command::new(name(item).clone())));
            command.subcommand_required(true).arg_required_else_help(true).subcommands(inner)
        }
    }
}

/// Which of several items is meant, with its arguments.
pub fn chosen<'a, T>(
    items: &'a [T],
    name: impl Fn(&T) -> &String,
    given: &'a ArgMatches,
) -> Option<(&'a T, &'a ArgMatches)> {
    match (items, given.subcommand()) {
        ([only], named) => Some((only, named.map_or(given, |(_, given)| given))),
        (many, Some((chosen, given))) => Some((many.iter().find(|item| name(item) == chosen)?, given)),
        _ => None,
    }
}

fn predict(program: &Program, prediction: &Prediction, command: Command) -> Command {
    let Some(entry) = program.entries.iter().find(|entry| entry.name == prediction.entry) else {
        return command;
    };
    let output = "Write the (first) result into a .npy or .png file";
    shared(with_inputs(command, entry, entry.inputs.iter()))
        .arg(common("output", "FILE", output, value_parser!(PathBuf)).short('o'))
        .after_help(ROWS)
}

fn generate(program: &Program, generation: &Generation, command: Command) -> Command {
    let Some(entry) = program.entries.iter().find(|entry| entry.name == generation.start) else {
        return command;
    };
    let mut command =
        with_inputs(command, entry, entry.inputs.iter().filter(|i| i.name != Generation::TARGET));
    if let crate::program::Begin::Text { text, .. } = &generation.begin
        && command.get_arguments().all(|arg| *arg.get_id() != id(text))
    {
        command = command.arg(input(text, "a text, @FILE.txt, or - for standard input".into()));
    }
    shared(command)
        .arg(common("max", "N", "Write at most so many tokens", value_parser!(u32).range(1..)))
        .after_help(ROWS)
}

/// An option for each input.
fn with_inputs<'a>(command: Command, entry: &Entry, inputs: impl Iterator<Item = &'a Input>) -> Command {
    let texts = text::given::texts(entry);
    let texts =
        texts.into_iter().map(|name| input(name, "a text, @FILE.txt, or - for standard input".into()));
    let tensors: Vec<Arg> = inputs
        .filter(|input| !input.is_made())
        .map(|given| input(&given.name, described(entry, given)))
        .collect();
    command.args(texts).args(tensors)
}

/// Refuses to go on where some inputs were given and others were not.
pub fn all_given<T: AsRef<str>>(known: &[T], given: &[(String, String)]) -> Result<(), Failure> {
    let mut known = known.iter().map(AsRef::as_ref);
    match known.find(|name| given.iter().all(|(given, _)| given != name)) {
        Some(name) => Err(Failure::usage(format!("the input `{name}` is missing"))
            .help(format!("give it with --{} VALUE", option(name)))),
        None => Ok(()),
    }
}

/// What clap calls the option of an input, which may have the name of another option.
fn id(name: &str) -> String {
    format!("input:{name}")
}

fn input(name: &str, help: String) -> Arg {
    let arg = Arg::new(id(name)).value_name("VALUE").help(help).allow_hyphen_values(true);
    arg.long(option(name))
}

/// The option of an input. An input may be called as another option is: then the letters before it tell them apart.
fn option(name: &str) -> String {
    if TAKEN.contains(&name) { format!("input-{name}") } else { name.to_owned() }
}

/// `u8[n, 28, 28, 1]: FILE.npy, FILE.png or numbers`
fn described(entry: &Entry, input: &Input) -> String {
    let (dtype, shape) = (input.dtype.name(), entry.shape(&input.shape));
    format!("{dtype}{shape}: FILE.npy, FILE.csv, FILE.png or .jpg, or numbers")
}

/// What predictions and generations have in common.
fn shared(command: Command) -> Command {
    with_weights(command)
        .arg(common("seed", "N", "The seed of all that is random [default: 0]", value_parser!(u64)))
        .arg(flag("json", "Print JSON, for scripts"))
}

/// What all have that run the model.
fn with_weights(command: Command) -> Command {
    command
        .arg(common(
            "weights",
            "FILE",
            "Take other weights than those that are built in",
            value_parser!(PathBuf),
        ))
        .arg(common("threads", "N", "Threads to run on [default: all cores]", value_parser!(u16).range(1..)))
}

pub fn common(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    parser: impl Into<ValueParser>,
) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).value_parser(parser.into())
}

pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// The inputs that were given, by name.
pub fn inputs(entry: &Entry, more: Option<&str>, given: &ArgMatches) -> Vec<(String, String)> {
    let tensors = entry.inputs.iter().filter(|input| !input.is_made()).map(|input| input.name.as_str());
    let mut names: Vec<&str> = text::given::texts(entry).into_iter().chain(more).chain(tensors).collect();
    names.dedup();
    let value = |name: &str| given.try_get_one::<String>(&id(name)).ok().flatten().cloned();
    names.into_iter().filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

/// The seed of random numbers.
pub fn seed(given: &ArgMatches) -> u64 {
    given.get_one::<u64>("seed").copied().unwrap_or(0)
}
