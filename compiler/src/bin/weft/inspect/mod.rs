//! `weft inspect`: which parts of an input a prediction comes from, and what a layer makes of it.

mod attribution;
mod files;
mod paths;
mod table;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{compile, inputs, output, results, spec};
pub use attribution::row;
use attribution::{Attribution, Looker, Named, Question};
use files::Folder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use weft_compiler::graph::{Entry, Module};
use weft_compiler::inspect::{FORWARD, InspectError, Inspection};
use weft_runtime::execute::Session;

/// So many rows of an input are looked at; each is a handful of files.
const MOST_ROWS: usize = 8;

pub fn run(args: &Inspect) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?.kept(&args.item.kept);
    let (Some(module), Some(typed)) = (&spec.checked.module, &spec.checked.typed) else {
        return Err(Failure::reported());
    };
    paths::check(&args.paths, typed)?;
    let entry = prediction(module, args.item.predict.as_deref())?;
    let looked =
        weft_compiler::inspect::inspect(entry, args.result.as_deref(), &args.paths).map_err(failure)?;
    let entries = if args.inputs.is_empty() { vec![] } else { vec![&looked.forward, &looked.gradient] };
    let program = compile::of_entries(&spec, entries, args.item.threads)?;
    let mut session = Session::new(program.clone(), compile::threads(args.item.threads))?;
    weft_runtime::weights::load_weights(&mut session, &args.weights)?;

    let mut out = Folder::make(&folder(args))?;
    let mut report = Report { json: args.spec.json, rows: Vec::new() };
    let mut looker = Looker { session, inspection: &looked };
    if !args.inputs.is_empty() {
        let index = looker.session.entry(FORWARD)?;
        let entry = &program.entries[index];
        let kept = weft_runtime::weights::provenance(&args.weights)?;
        let texts = inputs::Texts { program: &program, kept: &kept.vocabularies, base: &spec.folder };
        let given = inputs::read(entry, &args.inputs, &texts, 0)?;
        let names = entry.inputs.iter().map(|i| i.name.clone());
        let inputs: Vec<Named> = names.zip(given).collect();
        let question = Question { class: args.class, baseline: args.baseline, steps: args.steps as usize };
        for number in 0..rows(&looked, &inputs)? {
            let of_row: Vec<Named> = match looked.rows {
                true => inputs.iter().map(|(name, t)| (name.clone(), row(t, number))).collect(),
                false => inputs.clone(),
            };
            out.row((rows(&looked, &inputs)? > 1).then_some(number));
            let found = looker.look(&of_row, question)?;
            let from = out.written.len();
            out.attribution(&looked, &of_row, &found)?;
            report.row(&looked, &of_row, &found, question, &out.written[from..]);
        }
        out.row(None);
    }
    let from = out.written.len();
    for path in &args.paths {
        paths::weights(&mut out, &looker.session, path)?;
    }
    report.end(&out.written[from..]);
    Ok(())
}

/// The graph of the prediction named, or of the only one.
fn prediction<'m>(module: &'m Module, name: Option<&str>) -> Result<&'m Entry, Failure> {
    let chosen = results::chosen(&module.predictions, name)?;
    module.entries.iter().find(|e| e.graph.name == chosen.entry).ok_or_else(Failure::reported)
}

fn failure(error: InspectError) -> Failure {
    match error {
        InspectError::NoOutput(_) => Failure::usage(error.to_string()),
        InspectError::NoSlope => Failure::input(error.to_string()).help(
            "name a result that is computed from floats with --result NAME, or add one to the predict item",
        ),
        _ => Failure::input(error.to_string()),
    }
}

/// Where the files go: a folder beside the weights, unless the user names one.
fn folder(args: &Inspect) -> PathBuf {
    let beside = || args.weights.parent().unwrap_or(Path::new("")).join("inspect");
    args.out.clone().unwrap_or_else(beside)
}

/// The rows of the input; one, where it has no axis of rows.
fn rows(looked: &Inspection, inputs: &[Named]) -> Result<usize, Failure> {
    if !looked.rows {
        return Ok(1);
    }
    let rows = inputs.iter().filter_map(|(_, t)| t.shape.first().copied()).max().unwrap_or(1);
    if inputs.iter().any(|(_, t)| t.shape.first() != Some(&rows)) {
        return Err(Failure::input("the inputs have different numbers of rows"));
    }
    match rows {
        0 => Err(Failure::input("the input has no rows")),
        1..=MOST_ROWS => Ok(rows),
        _ => Err(Failure::input(format!(
            "the input has {rows} rows; at most {MOST_ROWS} are looked at in one go"
        ))),
    }
}

/// What is printed.
struct Report {
    json: bool,
    rows: Vec<Value>,
}

impl Report {
    fn row(
        &mut self,
        looked: &Inspection,
        inputs: &[Named],
        found: &Attribution,
        question: Question,
        written: &[PathBuf],
    ) {
        let (adds, should) = (found.explained(), found.difference());
        if self.json {
            self.rows.push(json!({
                "result": looked.explained, "class": found.class, "score": found.score,
                "baseline_score": found.baseline_score, "integrated_sum": adds, "steps": question.steps,
                "inputs": table::json(inputs, found),
                "files": written,
            }));
            return;
        }
        let next =
            found.next.map_or(String::new(), |(class, score)| format!(" (next: class {class}, {score:.4})"));
        let what = match found.class {
            Some(class) => format!("the score of class {class}"),
            None if looked.scores == weft_compiler::inspect::Scores::One => "its number".to_owned(),
            None => "the sum of its elements".to_owned(),
        };
        output::line(&format!("explained: `{}`, {what}: {:.4}{next}", looked.explained, found.score));
        let off = (adds - should).abs() / should.abs().max(1e-9);
        let more = if off > 0.05 { "; take more --steps" } else { "" };
        output::line(&format!(
            "integrated gradients add up to {adds:.4}; the score rises by {should:.4} from the baseline {}: {:.1}% off{more}",
            question.baseline,
            100.0 * off
        ));
        table::print(inputs, found);
        written.iter().for_each(|file| output::line(&format!("wrote {}", file.display())));
    }

    fn end(&mut self, written: &[PathBuf]) {
        if self.json {
            output::json(&json!({ "rows": self.rows, "files": written }));
        } else {
            written.iter().for_each(|file| output::line(&format!("wrote {}", file.display())));
        }
    }
}
