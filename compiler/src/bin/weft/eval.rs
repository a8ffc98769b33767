//! `weft eval`: trained weights on the test part of the data. Without a file of them, those that the spec's `load` items name; what
//! these leave out starts as in a training.

use crate::args::Eval;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::training::{self, Progress};
use crate::{output, spec, train};
use serde_json::json;
use weft_runtime::data::Split;

pub fn run(args: &Eval) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, Some(&args.run), None)?.kept(&args.kept);
    let program = compile::program_on(args.run.machine, &spec, Wanted::Training, args.run.threads)?;
    let training = train::block(&program, args.block.as_deref())?;
    let options = compile::run_options(&args.run, &spec)?;
    let loads = spec.checked.module.as_ref().is_some_and(|module| !module.loads.is_empty());
    if args.weights.is_none() && !loads {
        return Err(Failure::usage("there are no weights to measure: the spec loads none")
            .help("give trained ones with --weights FILE"));
    }
    let mut progress = Progress::new(args.spec.json);
    let figures = weft_runtime::train::evaluate(
        program,
        training,
        args.weights.as_deref(),
        Split::Test,
        &options,
        &mut progress,
    )?;
    if args.spec.json {
        output::json(&json!({ "event": "end", "test": training::figures_json(figures.as_ref()) }));
    } else {
        match figures {
            Some(figures) => training::figures("test", &figures, ""),
            None => output::line("interrupted"),
        }
    }
    Ok(())
}
