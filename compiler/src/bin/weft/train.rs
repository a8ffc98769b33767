//! `weft train`: the main job.

use crate::args::Train;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::run::Record;
use crate::run::about::{self, About, Data, Machine};
use crate::run::model::Model;
use crate::spec::Spec;
use crate::training::{self, Progress};
use crate::{numerics, output, overfit, release, resume, spec};
use std::path::Path;
use weft_compiler::cuda::Math;
use weft_runtime::program::Program;
use weft_runtime::train::{self, Options, Saving};

pub fn run(args: &Train) -> Result<(), Failure> {
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(spec::stem(&args.spec)));
    let resumed = args.resume.as_ref().map(|folder| folder.clone().unwrap_or_else(|| out.clone()));
    // A run goes on in its own folder, with what its command line said.
    let out = args.out.clone().or_else(|| resumed.clone()).unwrap_or(out);
    let (args, before) = match &resumed {
        Some(folder) => resume::completed(args, folder)?,
        None => (args.clone(), resume::Before::default()),
    };
    let args = &args;
    let (spec, text) = spec::sound_and_rendered(&args.spec, &args.run, args.epochs)?;
    before.show_changes(&text);
    let machine = compile::Machine::of(args.run.machine)?;
    before.show_math(machine.math());
    let program = compile::program_for(machine, &spec, Wanted::Training, args.run.threads)?;
    let training = block(&program, args.block.as_deref())?;
    if let Some(steps) = args.overfit_batch {
        return overfit::run(args, &spec, program, training, steps as usize);
    }
    // `weft train … | head` reads a few lines of what may take days.
    output::work_on();
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
        arguments: resume::arguments(args, machine.math()),
        reading: shared.reading.clone().filter(|_| !args.quiet),
        ..shared
    };
    let record = Record::new(
        &out,
        about(args, &spec, (&program, machine.math()), training),
        &spec,
        text,
        Model::of(&spec, &program, training),
    );
    release::compiler();
    let mut watching = (Progress::new(args.spec.json).quiet(args.quiet), record);
    let result = train::train(program.clone(), training, &options, &mut watching);
    let (_, mut record) = watching;
    if let Ok(summary) = &result
        && let Some(kept) = training::kept(summary)
    {
        record.answer(kept);
    }
    record.close(result.as_ref());
    let summary = result.map_err(|error| numerics::failure(error, &spec))?;
    if args.spec.json || !args.quiet {
        training::tell(&summary, args.spec.json);
    }
    Ok(())
}

/// What is known of a run before it begins.
fn about(args: &Train, spec: &Spec, (program, math): (&Program, Math), training: usize) -> About {
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
        math: if math == Math::F32 { String::new() } else { math.name().to_owned() },
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
