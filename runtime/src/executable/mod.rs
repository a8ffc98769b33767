//! The commands of an executable that `weft build` made: `predict`, `generate`, `train`, `bench` and `info`.
//!
//! The same file on every machine: its program, weights and tokenizers stand behind its code ([`crate::payload`]). What it prints is
//! printed by the code that `weft` prints with ([`crate::command`]).

mod arguments;
mod bench;
mod generate;
mod info;
mod predict;
#[cfg(feature = "train")]
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;

use crate::command::failure::Class;
use crate::command::{Failure, output};
use crate::execute::Session;
use crate::payload::Payload;
use crate::pool::Pool;
use crate::weights::{self, Classes, Vocabularies};

/// Runs the command that the command line asks for.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => {
            output::note(&failure.to_string());
            ExitCode::from(failure.class as u8)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let path = own_path()?;
    let payload = Payload::open(&path)?;
    let matches = match arguments::command(&payload.manifest).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way too.
            let _ = error.print();
            return Ok(if error.use_stderr() {
                ExitCode::from(Class::Usage as u8)
            } else {
                ExitCode::SUCCESS
            });
        }
    };
    match matches.subcommand() {
        Some(("predict", given)) => predict::run(&payload, given)?,
        Some(("generate", given)) => generate::run(&payload, given)?,
        #[cfg(feature = "train")]
        Some(("train", given)) => train::run(&payload, given)?,
        Some(("bench", given)) => bench::run(&payload, given)?,
        Some(("info", given)) => info::run(&payload, given),
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The file that runs. Where the system doesn't say it (there is no /proc in a bare root), what it was called by does.
fn own_path() -> Result<PathBuf, Failure> {
    let called = || std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_file());
    match std::env::current_exe() {
        Ok(path) => Ok(path),
        Err(error) => called().ok_or_else(|| {
            Failure::environment(format!("this executable does not find itself: {error}"))
                .help("call it by its path: /path/to/it predict …")
        }),
    }
}

/// A model ready to answer, and what belongs to its weights.
struct Model {
    session: Session,
    vocabularies: Vocabularies,
    classes: Classes,
}

/// The model with the weights that it was built with, or with those of a file.
fn model(payload: &Payload, given: &ArgMatches) -> Result<Model, Failure> {
    let threads = given.get_one::<u16>("threads").map_or_else(Pool::default_threads, |n| usize::from(*n));
    let manifest = &payload.manifest;
    let (vocabularies, classes) = (manifest.vocabularies.clone(), manifest.classes.clone());
    let Some(file) = given.get_one::<PathBuf>("weights") else {
        return Ok(Model { session: payload.session(threads)?, vocabularies, classes });
    };
    let mut session = Session::new(Arc::new(payload.program()?), threads)?;
    weights::load_needed_weights(&mut session, file)?;
    let found = weights::provenance(file)?;
    let or = |found: Vocabularies| if found.is_empty() { vocabularies } else { found };
    Ok(Model {
        session,
        vocabularies: or(found.vocabularies),
        classes: if found.classes.is_empty() { classes } else { found.classes },
    })
}
