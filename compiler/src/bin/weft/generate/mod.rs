//! `weft generate`: text out of a model, shown as it is written.

pub mod bench;
mod measure;
mod nearest;

use crate::args::Generate;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::spec::Spec;
use crate::{inputs, interrupt, output, spec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use weft_runtime::error::Error;
use weft_runtime::execute::Session;
use weft_runtime::generate::{Asked, Generator, Given, Reading, Text};
use weft_runtime::program::Generation;

pub fn run(args: &Generate) -> Result<(), Failure> {
    if let (Some(on), Some(against)) = (&args.on, &args.against) {
        return measure::run(args, on, against);
    }
    let spec = asked_spec(args)?;
    let mut generator = generator(&spec, args.name.as_deref(), args.weights.as_deref(), args.threads)?;
    let given = inputs::of_generation(&generator, &args.inputs, args.seed)?;
    let asked = Asked { max: args.max.map(|max| max as usize), by: None, seed: args.seed };
    let rows = given.texts.first().map_or(1, |(_, texts)| texts.len());
    let form = match (args.spec.json, rows) {
        (true, _) => Form::Json(&given),
        (false, 1) if std::io::stdout().is_terminal() => Form::Live,
        (false, 1) => Form::Lines(String::new()),
        (false, _) => Form::Rows,
    };
    let interrupted = interrupt::taken();
    let mut page = Page { form, begun: false, next: 0, waiting: BTreeMap::new(), interrupted };
    let written = generator.write(&given, &asked, &mut page).map_err(failure);
    page.close();
    written.map(|_| ())
}

/// A model that has no place for another token says so in its own words.
pub fn failure(error: Error) -> Failure {
    let full = matches!(error, Error::IndexOutOfRange { .. } | Error::Guard { .. });
    let failure = compile::runtime_failure(error);
    match full {
        true => failure
            .help("the model may take no more tokens: write fewer with --max N, or give a shorter text"),
        false => failure,
    }
}

/// Checks the spec. The strategy that is asked for takes the place of its own.
fn asked_spec(args: &Generate) -> Result<Spec, Failure> {
    let spec = spec::sound_with(&args.spec, |options| options.strategy.clone_from(&args.by))?;
    Ok(spec.kept(&args.kept))
}

/// The generation named, or the only one, with its weights.
pub fn generator(
    spec: &Spec,
    name: Option<&str>,
    weights: Option<&Path>,
    threads: Option<u16>,
) -> Result<Generator, Failure> {
    let program = compile::program(spec, Wanted::Generation, threads)?;
    let generation = chosen(&program.generations, name)?;
    let mut session =
        Session::new(program.clone(), compile::threads(threads)).map_err(compile::runtime_failure)?;
    let entry = |name: &String| session.entry(name).map_err(compile::runtime_failure);
    let entries = [entry(&generation.start)?, entry(&generation.step)?];
    compile::weights(&mut session, &entries, weights, spec)?;
    let kept = match weights {
        Some(weights) => weft_runtime::train::provenance(weights).map_err(compile::runtime_failure)?,
        None => weft_runtime::train::Provenance::default(),
    };
    Generator::new(session, generation, &kept.vocabularies, &spec.folder).map_err(compile::runtime_failure)
}

fn chosen<'a>(generations: &'a [Generation], name: Option<&str>) -> Result<&'a Generation, Failure> {
    let names = || generations.iter().map(|g| g.name.clone()).collect::<Vec<_>>().join(", ");
    match (name, generations) {
        (_, []) => Err(Failure::input("the spec has no `generate` item")
            .help("declare one: `generate story(prompt: text[n]) { … }`; `weft explain generate` shows how")),
        (Some(name), all) => all.iter().find(|g| g.name == name).ok_or_else(|| {
            Failure::usage(format!("the spec has no generate item `{name}`; it has: {}", names()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage(format!("the spec has several generate items: {}", names()))
            .help("choose one: weft generate SPEC NAME")),
    }
}

/// Where the texts go.
struct Page<'g> {
    form: Form<'g>,
    /// Something was written, so that there is a line to end.
    begun: bool,
    /// The row that is printed next, and those that are whole before their turn.
    next: usize,
    waiting: BTreeMap<usize, String>,
    interrupted: &'static std::sync::atomic::AtomicBool,
}

enum Form<'g> {
    /// One text, as it is written.
    Live,
    /// One text, line by line; what of the last line there is.
    Lines(String),
    /// Several texts, each when it is whole.
    Rows,
    /// An object a row, with what was given.
    Json(&'g Given),
}

impl Reading for Page<'_> {
    fn wrote(&mut self, _: usize, piece: &str) {
        self.begun = true;
        match &mut self.form {
            Form::Live => output::write(piece),
            Form::Lines(line) => {
                line.push_str(piece);
                if let Some(end) = line.rfind('\n') {
                    output::write(&line.drain(..=end).collect::<String>());
                }
            }
            Form::Rows | Form::Json(_) => {}
        }
    }

    fn done(&mut self, row: usize, text: &Text) {
        self.begun = true;
        let shown = match &self.form {
            Form::Live | Form::Lines(_) => return,
            Form::Rows => text.text.clone(),
            Form::Json(given) => object(given, row, text).to_string(),
        };
        self.waiting.insert(row, shown);
        while let Some(shown) = self.waiting.remove(&self.next) {
            output::line(&shown);
            self.next += 1;
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Page<'_> {
    /// Ends the last line; after an interruption, shows also what waited for rows before it.
    fn close(&mut self) {
        match &mut self.form {
            Form::Live | Form::Lines(_) if !self.begun => {}
            Form::Live => output::line(""),
            Form::Lines(line) => output::line(&std::mem::take(line)),
            Form::Rows | Form::Json(_) => {
                std::mem::take(&mut self.waiting).into_values().for_each(|shown| output::line(&shown));
            }
        }
    }
}

fn object(given: &Given, row: usize, text: &Text) -> Value {
    let given: Map<String, Value> =
        given.texts.iter().map(|(name, texts)| (name.clone(), json!(texts.get(row)))).collect();
    let written = &text.written;
    json!({
        "row": row, "given": given, "text": text.text, "tokens": written.tokens, "ended": written.ended, "score": written.score,
    })
}
