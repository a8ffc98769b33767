//! `train`: goes on with the training that the spec declares, on data of the caller's, and saves new weights.
//!
//! It starts from the weights that are built in, or from those of a file; `--weights` of the other commands takes what it saves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::arguments::{common, flag};
use crate::command::training::{self, Progress, ReadingBar};
use crate::command::{Failure, output};
use crate::error::Error;
use crate::payload::{Manifest, Payload};
use crate::program::{Program, Training};
use crate::train::{self, Options};

/// What the training started from, in its folder.
const START_FILE: &str = "start.safetensors";

/// The command's options.
pub fn command(manifest: &Manifest) -> Option<Command> {
    let program = &manifest.training.as_ref()?.program;
    let names: Vec<&str> = program.data.iter().map(|set| set.name.as_str()).collect();
    let data = Arg::new("data")
        .long("data")
        .value_name("[NAME=]PATH")
        .help(format!("Where the data are: {} (may be repeated)", names.join(", ")))
        .action(ArgAction::Append);
    let count = || value_parser!(u32).range(1..);
    let path = || value_parser!(PathBuf);
    let mut command = Command::new("train")
        .about("Train further, on other data, and save new weights")
        .arg(data)
        .arg(common("out", "DIR", "Where to save [default: runs and the model's name]", path()))
        .arg(common("epochs", "N", "So many epochs [default: the spec's]", count()))
        .arg(common("batch", "N", "Rows of a step [default: the spec's]", count()))
        .arg(common("seed", "N", "The seed of all that is random [default: the spec's]", value_parser!(u64)))
        .arg(common("weights", "FILE", "Start from other weights than those that are built in", path()))
        .arg(flag("resume", "Go on with a run in the folder that was interrupted"))
        .arg(common("threads", "N", "Threads to run on [default: all cores]", value_parser!(u16).range(1..)))
        .arg(flag("json", "Print one JSON object a line, for scripts"))
        .arg(flag("quiet", "Print only what is wrong"));
    if program.trainings.len() > 1 {
        let names: Vec<String> = program.trainings.iter().map(|training| training.name.clone()).collect();
        let which = Arg::new("train").long("train").value_name("NAME").required(true);
        command = command.arg(which.help("Which training").value_parser(names));
    }
    Some(command)
}

pub fn run(payload: &Payload, given: &ArgMatches) -> Result<(), Failure> {
    let program = payload.training()?.ok_or_else(|| Failure::usage("this executable trains nothing"))?;
    let (index, block) = chosen(&program, given)?;
    let path = |name: &str| given.get_one::<PathBuf>(name).cloned();
    let number = |name: &str| given.get_one::<u32>(name).map(|n| *n as usize);
    let out = path("out").unwrap_or_else(|| Path::new("runs").join(&program.name));
    let (as_json, quiet) = (given.get_flag("json"), given.get_flag("quiet"));
    let resume = given.get_flag("resume").then(|| out.clone());
    let weights = match (path("weights"), &resume) {
        (Some(file), _) => Some(file),
        (None, Some(_)) => None,
        (None, None) => Some(start(payload, &out)?),
    };
    let manifest = &payload.manifest;
    let texts = program.sources.iter().filter(|(name, _)| !name.starts_with("std/"));
    let options = Options {
        epochs: number("epochs"),
        batch: number("batch"),
        seed: given.get_one::<u64>("seed").copied(),
        data: data(&program, block, given)?,
        threads: given.get_one::<u16>("threads").map(|n| usize::from(*n)),
        reading: Some(Arc::new(ReadingBar::default())).filter(|_| !quiet).map(|bar| bar as _),
        text: texts.map(|(_, text)| text.as_str()).collect(),
        classes: manifest.classes.clone(),
        vocabularies: manifest.vocabularies.clone(),
        out: Some(out),
        weights,
        resume,
        ..Options::default()
    };
    output::work_on();
    let mut progress = Progress::new(as_json).quiet(quiet);
    let summary = train::train(Arc::new(program), index, &options, &mut progress)?;
    if as_json || !quiet {
        training::tell(&summary, as_json);
    }
    if let Some(kept) = training::kept(&summary).filter(|_| !as_json && !quiet) {
        output::line(&format!("use them with --weights {}", kept.display()));
    }
    Ok(())
}

/// The weights that are built in, as a file that the training starts from.
fn start(payload: &Payload, out: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(out).map_err(Error::file("make the folder", out))?;
    let file = out.join(START_FILE);
    payload.save_weights(&file, &payload.manifest.card.training.iter().cloned().collect())?;
    Ok(file)
}

/// The training named, or the only one.
fn chosen<'p>(program: &'p Program, given: &ArgMatches) -> Result<(usize, &'p Training), Failure> {
    let name = given.try_get_one::<String>("train").ok().flatten();
    let place = program.trainings.iter().position(|training| name.is_none_or(|name| *name == training.name));
    let found = place.and_then(|place| Some((place, program.trainings.get(place)?)));
    found.ok_or_else(|| Failure::usage("say which training"))
}

/// Data sets by name. A path alone is that of the data which is trained on.
fn data(program: &Program, block: &Training, given: &ArgMatches) -> Result<Vec<(String, PathBuf)>, Failure> {
    let known = |name: &str| program.data.iter().any(|set| set.name == name);
    let own = program.data.get(block.data).map_or("", |set| set.name.as_str());
    let all = given.get_many::<String>("data").into_iter().flatten();
    all.map(|text| match text.split_once('=') {
        Some((name, path)) if known(name) => Ok((name.to_owned(), path.into())),
        Some((name, _)) if !Path::new(text).exists() => {
            let names: Vec<&str> = program.data.iter().map(|set| set.name.as_str()).collect();
            Err(Failure::usage(format!("there is no data set `{name}`; there is: {}", names.join(", "))))
        }
        _ => Ok((own.to_owned(), text.into())),
    })
    .collect()
}
