//! `weft train`: the main job.

use crate::args::Train;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::progress::{self, Progress};
use crate::run::about::{self, About, Data, Machine};
use crate::run::model::Model;
use crate::run::{Record, history};
use crate::spec::Spec;
use crate::{numerics, output, overfit, resume, spec, tables};
use serde_json::json;
use std::path::{Path, PathBuf};
use weft_runtime::program::Program;
use weft_runtime::train::{self, Ending, Options, Point, Saving};

pub fn run(args: &Train) -> Result<(), Failure> {
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(spec::stem(&args.spec)));
    let resumed = args.resume.as_ref().map(|folder| folder.clone().unwrap_or_else(|| out.clone()));
    // A run goes on in its own folder, with what its command line said.
    let out = args.out.clone().or_else(|| resumed.clone()).unwrap_or(out);
    let (args, before) = match &resumed {
        Some(folder) => resume::completed(args, folder)?,
        None => (args.clone(), String::new()),
    };
    let args = &args;
    let (spec, text) = spec::sound_and_rendered(&args.spec, &args.run, args.epochs)?;
    resume::show_changes(&before, &text);
    let program = compile::program(&spec, Wanted::Training, args.run.threads)?;
    let training = block(&program, args.block.as_deref())?;
    if let Some(steps) = args.overfit_batch {
        return overfit::run(args, &spec, program, training, steps as usize);
    }
    let shared = compile::run_options(&args.run, &spec)?;
    let options = Options {
        out: Some(out.clone()),
        weights: args.weights.clone(),
        epochs: args.epochs.map(|e| e as usize),
        resume: resumed,
        fresh: args.fresh,
        saving: Saving { every: args.checkpoint_every, keep: args.keep_checkpoints.into() },
        check_numerics: args.check_numerics,
        text: text.clone(),
        arguments: resume::arguments(args),
        reading: shared.reading.clone().filter(|_| !args.quiet),
        ..shared
    };
    let record = Record::new(
        &out,
        about(args, &spec, &program, training),
        &spec,
        text,
        Model::of(&spec, &program, training),
    );
    let mut watching = (Progress::new(args.spec.json).quiet(args.quiet), record);
    let result = train::train(program.clone(), training, &options, &mut watching);
    let (_, mut record) = watching;
    if let Ok(summary) = &result {
        let kept =
            summary.saved.iter().find(|file| file.ends_with(train::BEST_FILE)).or(summary.saved.first());
        if let Some(kept) = kept {
            record.answer(kept);
        }
    }
    record.close(result.as_ref());
    let summary = result.map_err(|error| numerics::failure(error, &spec))?;
    if args.spec.json {
        let ending = history::word(summary.ending);
        output::json(&json!({
            "event": "end", "epochs": summary.epochs, "seconds": summary.seconds, "ending": ending,
            "best_epoch": summary.best.map(Point::epoch), "best_batch": summary.best.and_then(Point::within),
            "train": progress::figures_json(summary.train.as_ref()),
            "validation": progress::figures_json(summary.validation.as_ref()),
            "test": progress::figures_json(summary.test.as_ref()),
            "weights": summary.saved,
        }));
    } else if !args.quiet {
        match summary.ending {
            Ending::Finished => {}
            Ending::StoppedEarly => output::line("stopped: no better epoch for as long as the spec allows"),
            Ending::Interrupted => output::line("interrupted: all so far is saved; go on with --resume"),
        }
        if let Some(test) = &summary.test {
            let of = summary.best.map_or(String::new(), |point| format!(" (weights of {point})"));
            output::line(&format!("test        {}{of}", progress::row(test)));
            tables::lines(test).iter().for_each(|line| output::line(line));
        }
        let saved: Vec<String> = summary.saved.iter().map(|p: &PathBuf| p.display().to_string()).collect();
        output::line(&format!(
            "{} epoch{} in {:.1} s; weights in {}",
            summary.epochs,
            if summary.epochs == 1 { "" } else { "s" },
            summary.seconds,
            saved.join(", ")
        ));
    }
    Ok(())
}

/// What is known of a run before it begins.
fn about(args: &Train, spec: &Spec, program: &Program, training: usize) -> About {
    let block = &program.trainings[training];
    let set = &program.data[block.data];
    let given = args.run.data.iter().rfind(|(name, _)| *name == set.name).map(|(_, path)| Path::new(path));
    let (name, path) = (set.name.clone(), weft_runtime::data::place(set, &spec.folder, given).path);
    let parameters = spec.checked.typed.as_ref().map_or(0, |typed| typed.parameters(""));
    About {
        spec: spec.name.clone(),
        training: block.name.clone(),
        command: about::command_line(std::env::args()),
        seed: args.run.seed.unwrap_or(block.seed),
        threads: compile::threads(args.run.threads),
        parameters: u64::try_from(parameters).unwrap_or_default(),
        machine: Machine::this(),
        data: Data { name, path: path.display().to_string(), ..Data::default() },
        ..About::default()
    }
}

/// The training named, or the only one.
pub fn block(program: &Program, name: Option<&str>) -> Result<usize, Failure> {
    let names = || program.trainings.iter().map(|t| t.name.clone()).collect::<Vec<_>>().join(", ");
    match (name, program.trainings.len()) {
        (_, 0) => Err(Failure::input("the spec has no `train` block, so there is nothing to train")
            .help("add one: `train { on … as { … }  minimize … using adam() }`")),
        (Some(name), _) => program.trainings.iter().position(|t| t.name == name).ok_or_else(|| {
            Failure::usage(format!("the spec has no train block `{name}`; it has: {}", names()))
        }),
        (None, 1) => Ok(0),
        (None, _) => Err(Failure::usage(format!("the spec has several train blocks: {}", names()))
            .help("choose one with --train NAME")),
    }
}
