//! From an example to a whole spec.
//!
//! An example is written as its reader would write it: `x |> dense(64) |> relu`, `minimize loss using adam()`, `weight w: f32[d] =
//! ones()`. It is checked by putting around it what it leaves out:
//!
//! - Items (`model …`, `data …`, `train …`) stand as they are.
//! - Clauses of a `train` block (`measure …`, `minimize …`, `using …`, `batch = …`) stand in one, on digits.
//!   Lines that begin with `let` may stand before them.
//! - Clauses of a `data` item (`fit …`, `augment …`, `split …`) stand in one, of digits.
//! - Keys of a `generate` item (`until = …`) stand in one.
//! - A `weight` or `state` stands in a layer.
//! - Anything else is the body of a model.
//!
//! A name that nothing declares stands for an input, a setting or a model. The checker itself says which names those are; each has
//! types that are usual for it ([`candidates`]), and the first with which the whole checks is taken. An example may state them instead:
//! ``Example: `one_hot(label, 10)` for `label: i32[n]` ``.

use super::generate_keys;
use crate::check::{self, Checked, Options};
use crate::diagnostics::{self, Code, Color};

/// An example as a spec that was checked.
#[derive(Debug)]
pub struct Spec {
    pub text: String,
    /// The names that were put in, with the types they were given.
    pub given: Vec<(String, String)>,
    pub checked: Checked,
}

/// What became of an example.
#[derive(Debug)]
pub enum Outcome {
    Fine(Box<Spec>),
    /// The first attempt's messages, with the spec that they are about.
    Wrong(String),
}

/// So many attempts at finding types are enough for any example worth reading.
const ATTEMPTS: usize = 400;

/// Checks an example; `note` may state types.
pub fn check(code: &str, note: &str) -> Outcome {
    let mut search = Search { code, left: ATTEMPTS, first: None };
    match search.solve(&mut stated(note)) {
        Some(spec) => Outcome::Fine(Box::new(spec)),
        None => Outcome::Wrong(search.first.unwrap_or_default()),
    }
}

/// The types that a note states: "is `f32[n, 10]` for `label: i32[n]`".
fn stated(note: &str) -> Vec<(String, String)> {
    let quoted = note.split('`').skip(1).step_by(2);
    let pair = |text: &str| {
        let (name, ty) = text.split_once(": ")?;
        let word = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        (word && ty.contains('[')).then(|| (name.to_owned(), ty.to_owned()))
    };
    quoted.filter_map(pair).collect()
}

struct Search<'e> {
    code: &'e str,
    left: usize,
    first: Option<String>,
}

impl Search<'_> {
    /// Depth first: the first unknown name gets each of its candidates in turn.
    fn solve(&mut self, given: &mut Vec<(String, String)>) -> Option<Spec> {
        let mut unknown = None;
        for text in wrap(self.code, given) {
            self.left = self.left.checked_sub(1)?;
            let checked = check_text(&text);
            if !checked.failed() {
                return Some(Spec { text, given: given.clone(), checked });
            }
            let names = checked.diagnostics.iter().filter(|d| {
                [Code::UnknownName, Code::UnknownDim, Code::NoSuchWeights, Code::BadLoad, Code::WrongKind]
                    .map(Code::id)
                    .contains(&d.code)
            });
            let mut names = names.map(|d| checked.sources.text(d.primary.span).to_owned());
            unknown = unknown.or_else(|| names.find(|n| is_word(n) && !given.iter().any(|(g, _)| g == n)));
            if unknown.is_none() || self.first.is_none() {
                let rendered = checked
                    .diagnostics
                    .iter()
                    .map(|d| diagnostics::render(d, &checked.sources, Color::Never))
                    .collect::<Vec<_>>()
                    .join("\n");
                self.first = Some(format!("{text}\n{rendered}"));
            }
        }
        let name = unknown?;
        for candidate in candidates(&name) {
            given.push((name.clone(), (*candidate).to_owned()));
            let found = self.solve(given);
            if found.is_some() {
                return found;
            }
            given.pop();
        }
        None
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic()) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn check_text(text: &str) -> Checked {
    let mut loader = |name: &str| match name {
        "example.weft" => Ok(text.to_owned()),
        // What `use` names in an example.
        "blocks.weft" => Ok(BLOCKS.to_owned()),
        other => Err(format!("no file `{other}`")),
    };
    check::check("example.weft", &mut loader, &Options::default())
}

const BLOCKS: &str =
    "layer residual(inner: fn)(x) { x + inner(x) }\nfn gate(x: f32[...]) { sigmoid(x) * x }\n";

/// What a free name of an example may be, the most usual first: the type of an input, a number (`=20`), or a model's signature and body.
fn candidates(name: &str) -> &'static [&'static str] {
    // The last is a single one: what a row holds.
    const IMAGES: &[&str] = &["f32[n, 28, 28, 1]", "f32[n, 28, 28, 16]", "f32[28, 28, 3]"];
    const CLASSES: &[&str] =
        &["f32[n, 10]", "f32[n]", "f32[n, 28, 28, 1]", "f32[n, 28, 28, 10]", "f32[n, 64]"];
    const TARGETS: &[&str] =
        &["i32[n]", "f32[n]", "f32[n, 10]", "f32[n, 28, 28, 1]", "i32[n, 28, 28]", "bool[n]", "f32[n, 784]"];
    match name {
        "image" | "real" | "photo" | "z" => match name {
            "z" => &["f32[n, 100]"],
            _ => IMAGES,
        },
        "signal" => &["f32[n, 100, 8]"],
        "tokens" | "caption" | "word" => &["i32[n, 20]"],
        "length" => &["i32[n]"],
        "logits" | "logit" | "p" | "scores" => CLASSES,
        "label" | "target" | "next" | "y" | "count" | "same" => TARGETS,
        "mask" => &["bool[n, 10]", "bool[n, 20]", "f32[n, 28, 28, 1]", "i32[n, 28, 28]"],
        "q" | "k" | "v" => &["f32[n, 20, 8, 64]", "=16"],
        "counts" => &["f32[10, 10]"],
        "bias" => &["f32[64]"],
        "kernels" => &["f32[3, 3, 1, 32]"],
        "dy" => &["f32[n, 14, 14, 32]"],
        "n" => &["=8", "f32[n, 64]"],
        "t" => &["=20"],
        "h" | "w" => &["=28", "f32[64, 32]"],
        "d" | "units" | "dim" => &["=64"],
        "c" => &["=16"],
        "vocab" => &["=1000"],
        "classes" => &["=10"],
        "Autoencoder" => &["(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(784) |> sigmoid }"],
        "Unet" => &["(image: f32[n, 28, 28, 1]) { image |> conv2d(1, kernel = 3, padding = same) }"],
        "Text" => &["(caption: i32[n, t]) { caption |> embedding(1000, 32) |> global_avg_pool1d }"],
        "Image" => &["(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(32) }"],
        "Discriminator" => &["(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(1) }"],
        "Gpt" => &["(tokens: i32[n, t]) { tokens |> embedding(128, 32) |> dense(128) }"],
        "Cnn" | "Given" => &["(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(10) }"],
        _ if name.starts_with(char::is_uppercase) => {
            &["(x: f32[n, 64]) { x |> dense(10) }", "(x: f32[n, 64]) { x |> dense(1) |> squeeze(-1) }"]
        }
        _ => &[
            "f32[n, 64]",
            "f32[n, 10]",
            "f32[n]",
            "f32[n, 14, 14, 32]",
            "f32[n, 20, 64]",
            "f32[64, 32]",
            "i32[n]",
            "bool[n]",
            "f32[n, 8, 8, 8, 4]",
            "=8",
        ],
    }
}

/// The specs that an example may be, with its free names declared.
pub fn wrap(code: &str, given: &[(String, String)]) -> Vec<String> {
    let word: String = code.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut settings = String::new();
    let mut models = String::new();
    let mut inputs: Vec<(&str, &str)> = Vec::new();
    for (name, what) in given {
        if let Some(value) = what.strip_prefix('=') {
            settings += &format!("setting {name} = {value}\n");
        } else if what.starts_with('(') {
            models += &format!("model {name}{what}\n");
        } else {
            inputs.push((name, what));
        }
    }
    let head = format!("{settings}{models}");
    let named_fn = !code.trim_start().starts_with("fn(");
    let after = code.get(word.len()..).unwrap_or("").trim_start();
    match word.as_str() {
        "edition" => vec![format!("{code}\n{head}")],
        "use" | "setting" | "layer" | "model" | "optimizer" | "metric" | "load" | "generate" => {
            vec![format!("{head}{code}\n")]
        }
        "data" | "train" | "predict" => vec![format!("{head}{}{code}\n", data_for(code))],
        "fit" | "augment" | "split" => vec![format!("{head}data digits = mnist() {{ {code} }}\n")],
        "fn" if named_fn => vec![format!("{head}{code}\n")],
        "measure" | "minimize" | "using" | "on" | "keep" | "stop" | "freeze" | "step" | "clip"
        | "average" | "reduce" | "validate" | "checkpoint" => {
            vec![training(&head, &word, code, &inputs)]
        }
        "let" if code.lines().any(|line| line.starts_with("minimize ")) => {
            vec![training(&head, "minimize", code, &inputs)]
        }
        "weight" | "state" => vec![in_layer(&head, code)],
        _ if generate_keys().any(|key| key == word) && after.starts_with('=') => {
            vec![in_generation(&head, code)]
        }
        // `batch = 64`
        _ if after.starts_with('=') && !after.starts_with("==") => {
            vec![training(&head, &word, code, &inputs)]
        }
        _ => in_model(&head, code, &inputs),
    }
}

/// The digits, for an example that is about a training only.
fn data_for(code: &str) -> &'static str {
    if code.starts_with("train") { "data digits = mnist() { image = f32(image) / 255 }\n" } else { "" }
}

/// Beside the keys that a generation must have, and that the code is not itself.
fn in_generation(head: &str, code: &str) -> String {
    let keys = ["vocabulary = book.letters", "begin = tokenize(prompt, book.letters)"];
    let key = |line: &str| line.split(' ').next().unwrap_or("").to_owned();
    let others: Vec<&str> = keys.into_iter().filter(|line| key(line) != key(code)).collect();
    format!(
        "{head}data book = text(\"book.txt\") {{\n    fit letters = characters(text, size = 128)\n    \
         tokens = tokenize(text, letters, window = 129)\n}}\n\
         model Example(tokens: i32[n, t]) {{ tokens |> embedding(128, 32) |> dense(128) }}\n\
         generate example(prompt: text[n]) {{\n    {}\n    {code}\n    Example(target)\n}}\n",
        others.join("\n    ")
    )
}

fn in_layer(head: &str, code: &str) -> String {
    format!(
        "{head}layer example(x: f32[n, 64]) {{\n    {code}\n    x\n}}\nmodel Example(x: f32[n, 64]) {{ x |> example }}\n"
    )
}

/// The body of a model; of a setting too, where it may be a number.
fn in_model(head: &str, code: &str, inputs: &[(&str, &str)]) -> Vec<String> {
    let list = inputs.iter().map(|(n, t)| format!("{n}: {t}")).collect::<Vec<_>>().join(", ");
    // A body that ends in a `let` or an `assert` shows what it names.
    let shown = code.strip_prefix("let ").and_then(|rest| rest.split_once(" = "));
    let result = match shown {
        Some((names, _)) if !code.contains('\n') && single_let(code) => {
            format!("\n    {}", names.split(", ").map(|n| format!("{n},")).collect::<String>())
                .replace(",", ", ")
        }
        _ if code.starts_with("assert") => "\n    x".to_owned(),
        _ => String::new(),
    };
    let result = tuple(result.trim());
    // Without the `;`, a tuple on the next line would be read as arguments.
    let code_and_result = if result.is_empty() { code.to_owned() } else { format!("{code};\n    {result}") };
    let model = format!("{head}model Example({list}) {{\n    {code_and_result}\n}}\n");
    if inputs.is_empty() && result.is_empty() {
        return vec![format!("{head}setting example = {code}\n"), model];
    }
    vec![model]
}

/// Is the whole code one `let`?
fn single_let(code: &str) -> bool {
    let parsed = weft_grammar::parse(weft_grammar::FileId(0), &format!("fn f() {{ {code} }}"));
    let [weft_grammar::ast::Item { kind: weft_grammar::ast::ItemKind::Callable(c), .. }] =
        parsed.file.items.as_slice()
    else {
        return false;
    };
    matches!(c.body.statements.as_slice(), [s] if matches!(s.kind, weft_grammar::ast::StatementKind::Let { .. }))
}

/// `a, b, ` as the tuple `(a, b)`.
fn tuple(names: &str) -> String {
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        several => format!("({})", several.join(", ")),
    }
}

/// A clause of a `train` block on the digits. Each input of the example is made from the image, so that a gradient can flow.
fn training(head: &str, word: &str, code: &str, inputs: &[(&str, &str)]) -> String {
    let (mut models, mut lets) = (String::new(), String::new());
    for (name, ty) in inputs {
        let (dtype, dims) = ty.split_once('[').unwrap_or((ty, "]"));
        let dims: Vec<&str> = dims.trim_end_matches(']').split(", ").filter(|d| !d.is_empty()).collect();
        if *ty == "i32[n]" {
            lets += &format!("    let {name} = truth\n");
            continue;
        }
        let sizes: Vec<usize> = dims.iter().skip(1).filter_map(|d| d.parse().ok()).collect();
        let count: usize = sizes.iter().product();
        let shape = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let shape = if shape.is_empty() { "[n]".to_owned() } else { format!("[n, {shape}]") };
        let model = format!("Own_{name}");
        models += &format!(
            "model {model}(image: f32[n, 28, 28, 1]) {{ image |> flatten |> dense({count}) |> reshape({shape}) }}\n"
        );
        let value = format!("{model}(image)");
        let value = match dtype {
            "bool" => format!("{value} > 0"),
            "f32" => value,
            other => format!("{other}({value})"),
        };
        lets += &format!("    let {name} = {value}\n");
    }
    let on = if word == "on" { code.to_owned() } else { "on digits as { image, label as truth }".to_owned() };
    let minimized = match word {
        "minimize" | "step" => code.to_owned(),
        "using" => format!("minimize mean(Given(image)) {code}"),
        "on" => "minimize mean(Given(image)) using sgd()".to_owned(),
        // Beside the weights that an example may hold, something moves.
        "freeze" => format!("minimize mean(Given(image) + Other(image)) using sgd()\n    {code}"),
        _ => format!("minimize mean(Given(image)) using sgd()\n    {code}"),
    };
    let own = |name: &str| {
        let declared = head.contains(&format!("model {name}("));
        let used = minimized.contains(&format!("{name}("));
        if used && !declared {
            format!("model {name}(image: f32[n, 28, 28, 1]) {{ image |> flatten |> dense(10) }}\n")
        } else {
            String::new()
        }
    };
    format!(
        "{head}{models}{}{}data digits = mnist() {{ image = f32(image) / 255 }}\ntrain {{\n    {on}\n{lets}    {minimized}\n}}\n",
        own("Given"),
        own("Other"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn every_example_checks_and_none_is_doubtful() {
        let (mut wrong, mut doubts) = (Vec::new(), Vec::new());
        for entry in registry::all() {
            for example in &entry.examples {
                match check(&example.code, &example.note) {
                    Outcome::Wrong(why) => wrong.push(format!("{}: `{}`\n{why}", entry.name, example.code)),
                    Outcome::Fine(spec) => {
                        doubts.extend(doubted(&spec).map(|why| format!("{}: {why}", entry.name)))
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} examples are wrong\n\n{}", wrong.len(), wrong.join("\n"));
        assert!(doubts.is_empty(), "{}", doubts.join("\n"));
    }

    /// Warnings about what the example itself says. What was put around it may be unused, and a training that was put around it trains
    /// something else than the example measures.
    fn doubted(spec: &Spec) -> impl Iterator<Item = String> {
        let all = spec.checked.diagnostics.iter().filter(|d| !d.code.starts_with("W01"));
        let own = all.filter(|_| !spec.text.contains("\ntrain {"));
        own.map(|d| diagnostics::render(d, &spec.checked.sources, Color::Never))
    }

    #[test]
    fn a_wrong_example_is_not_talked_into_being_right() {
        assert!(matches!(check("x |> dens(64)", ""), Outcome::Wrong(_)));
        assert!(matches!(check("x |> dense(64, biass = true)", ""), Outcome::Wrong(_)));
        assert!(matches!(check("x |> dense(4)", "for `x: i32[n, 8]`"), Outcome::Wrong(_)));
    }

    #[test]
    fn stated_types_are_taken() {
        let Outcome::Fine(spec) = check("one_hot(label, 10)", "is `f32[n, 10]` for `label: i32[n, 3]`")
        else {
            panic!("it checks")
        };
        assert_eq!(spec.given, [("label".to_owned(), "i32[n, 3]".to_owned())]);
        let typed = spec.checked.typed.expect("it is fine");
        assert_eq!(typed.predictions[0].outputs[0].1, "f32[n, 3, 10]");
    }
}
