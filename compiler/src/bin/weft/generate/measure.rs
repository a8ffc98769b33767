//! `weft generate … --on pairs.test --against spanish`: what a model writes for the rows of a part of the data, held against a field of theirs.
//!
//! Beside its BLEU and chrF stand those of two answers that need no model: the given text itself, and the answer of the training row
//! whose text is most like it.

use super::nearest::Nearest;
use super::{asked_spec, generator};
use crate::args::{Generate, RunArgs};
use crate::compile;
use crate::failure::Failure;
use crate::{interrupt, output, page};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use weft_runtime::data::{Part, Split};
use weft_runtime::error::Error;
use weft_runtime::generate::{Asked, Generator, Given, Reading, Text};
use weft_runtime::program::{Program, Training};
use weft_runtime::text::overlap::{bleu, chrf};
use weft_runtime::train::{self, Options};

pub fn run(args: &Generate, on: &str, against: &str) -> Result<(), Failure> {
    let spec = asked_spec(args)?;
    let mut generator =
        generator(&spec, args.name.as_deref(), args.weights.as_deref(), (args.machine, args.threads))?;
    let (set, split) = named(generator.session().program(), on)?;
    if let Some((name, _)) = args.inputs.first() {
        let help = "leave --input out, or --on and --against";
        return Err(Failure::usage(format!("`{name}` comes from the rows of {on}")).help(help));
    }
    let parts = {
        let run = RunArgs {
            threads: args.threads,
            machine: args.machine,
            data: args.data.clone(),
            offline: args.offline,
            data_memory: None,
            seed: None,
            batch: None,
        };
        let kept = args.weights.as_deref().map(weft_runtime::weights::provenance).transpose();
        let kept = kept?.unwrap_or_default();
        let options = compile::run_options(&run, &spec)?;
        // Rows are held out by the seed that the weights were trained with, so that none of the training's gets into another part.
        let options =
            Options { seed: kept.seed, classes: kept.classes, vocabularies: kept.vocabularies, ..options };
        let program = generator.session().program();
        let training = program.trainings.iter().find(|t| t.data == set).or(program.trainings.first());
        let training = training.cloned().ok_or_else(|| {
            Failure::input("the spec has no `train` block, whose seed decides which rows are held out")
        })?;
        train::read_data(&program.data, &Training { data: set, ..training }, &options)?
    };
    let part = parts.get(split);
    let most = args.rows.map_or(part.len(), |rows| rows as usize);
    let field = |part: &Part, name: &str| texts(part, name, usize::MAX).map_err(Failure::from);
    let references = texts(part, against, most)?;
    if references.is_empty() {
        return Err(Failure::input(format!("{on} has no rows")));
    }
    let given = of_rows(&generator, part, most)?;
    let asked = Asked { max: args.max.map(|max| max as usize), by: None, seed: args.seed };
    let mut watching = Watching::new(args.spec.json, references.len());
    let written = generator.write(&given, &asked, &mut watching).map_err(Failure::writing);
    watching.bar.finish_and_clear();
    let written = written?;
    // Of rows that were whole before an interruption, figures would not be those of the part.
    if watching.interrupted() {
        output::note("interrupted");
        return Ok(());
    }
    let answers: Vec<String> = written.iter().map(|text| text.text.clone()).collect();
    let mut figures = vec![(generator.generation().name.clone(), answers)];
    if let Some((name, sources)) = given.texts.first() {
        figures.push((format!("{name} itself"), sources.clone()));
        let (known, answers) = (field(&parts.train, name)?, field(&parts.train, against)?);
        let nearest = Nearest::new(known.iter().map(String::as_str));
        let answer = |source: &String| nearest.to(source).map(|row| answers[row].clone()).unwrap_or_default();
        figures.push(("nearest training row".to_owned(), sources.iter().map(answer).collect()));
    }
    let figures: Vec<(String, f64, f64)> = figures
        .into_iter()
        .map(|(name, texts)| (name, bleu(&texts, &references), chrf(&texts, &references)))
        .collect();
    if args.spec.json {
        for (row, text) in written.iter().enumerate() {
            let mut line = page::object(&given, row, 0, text);
            line["reference"] = json!(references[row]);
            output::json(&line);
        }
        let list = figures.iter().map(|(name, bleu, chrf)| json!({ "of": name, "bleu": bleu, "chrf": chrf }));
        output::json(
            &json!({ "on": on, "against": against, "rows": references.len(), "figures": list.collect::<Vec<_>>() }),
        );
    } else {
        let cells: Vec<Vec<String>> = figures
            .iter()
            .map(|(name, bleu, chrf)| vec![name.clone(), format!("{bleu:.2}"), format!("{chrf:.2}")])
            .collect();
        output::write(&output::table(&["", "BLEU", "chrF"], &cells));
        output::line(&format!("{} rows of {on}, against {against}", references.len()));
    }
    Ok(())
}

/// `pairs.test`: the data set's place and the part.
fn named(program: &Program, on: &str) -> Result<(usize, Split), Failure> {
    let (set, split) = on.rsplit_once('.').unwrap_or((on, "test"));
    let split = Split::from_name(split).map_err(|error| Failure::usage(format!("--on {on}: {error}")))?;
    let place = program.data.iter().position(|data| data.name == set).ok_or_else(|| {
        let names: Vec<&str> = program.data.iter().map(|data| data.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::usage(format!("--on {on}: the spec has no data set `{set}`; it has: {known}"))
    })?;
    Ok((place, split))
}

/// A field of texts, of the first rows of a part.
fn texts(part: &Part, name: &str, most: usize) -> Result<Vec<String>, Error> {
    let all = &part.table.columns;
    let column = all.iter().find(|column| column.name == name && column.is_text());
    let column = column.ok_or_else(|| Error::Unknown {
        what: "text of a row",
        name: name.to_owned(),
        candidates: all.iter().filter(|column| column.is_text()).map(|column| column.name.clone()).collect(),
    })?;
    part.rows.iter().take(most).map(|&row| column.text(row as usize).map(str::to_owned)).collect()
}

/// What the rows give the item: the fields of its inputs' names.
fn of_rows(generator: &Generator, part: &Part, most: usize) -> Result<Given, Failure> {
    if let Some(input) = generator.tensors().first() {
        let message = format!("`{}` is no text, so that the rows of the data cannot give it", input.name);
        return Err(Failure::input(message));
    }
    let names = generator.texts().into_iter();
    let given = names.map(|name| Ok((name.to_owned(), texts(part, name, most)?)));
    let texts = given.collect::<Result<_, Error>>()?;
    Ok(Given { texts, tensors: Vec::new() })
}

/// Counts the rows on a terminal.
struct Watching {
    bar: ProgressBar,
    interrupted: &'static AtomicBool,
}

impl Watching {
    fn new(quiet: bool, rows: usize) -> Watching {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(rows as u64) };
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos} of {len} rows, {eta} left") {
            bar.set_style(style);
        }
        Watching { bar, interrupted: interrupt::taken() }
    }
}

impl Reading for Watching {
    fn wrote(&mut self, _: usize, _: &str) {}

    fn done(&mut self, _: usize, _: &Text) {
        self.bar.inc(1);
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
