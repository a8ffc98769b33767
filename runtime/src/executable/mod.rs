//! The commands of an executable that `weft build` made: `predict`, `generate`, `serve`, `train`, `bench` and `info`.
//!
//! The same file on every machine: its program, weights and tokenizers stand behind its code ([`crate::payload`]). What it prints is
//! printed by the code that `weft` prints with ([`crate::command`]).

mod arguments;
mod bench;
mod generate;
mod info;
mod place;
mod predict;
mod serve;
#[cfg(feature = "train")]
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;

use crate::command::failure::Class;
use crate::command::{Failure, output};
use crate::execute::{Session, Weights};
use crate::payload::Payload;
use crate::pool::Pool;
use crate::program::Program;
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
    let mut payload = Payload::open(&path)?;
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
    // It is kept open: a GPU takes its time to begin.
    let _gpu = match matches.subcommand_name() {
        Some("info") => None,
        _ => place::choose(&mut payload, &matches)?,
    };
    match matches.subcommand() {
        Some(("predict", given)) => predict::run(&payload, given)?,
        Some(("generate", given)) => generate::run(&payload, given)?,
        #[cfg(feature = "train")]
        Some(("train", given)) => train::run(&payload, given)?,
        Some(("bench", given)) => bench::run(&payload, given)?,
        // It is needed as long as the server runs, and no longer than the process.
        Some(("serve", given)) => serve::run(Box::leak(Box::new(payload)), given)?,
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

/// What a model is made of: the weights that the executable was built with, or those of a file, and what belongs to them.
struct Source<'p> {
    payload: &'p Payload,
    threads: usize,
    /// Those of a file, with the program that reads them. All sessions share them.
    others: Option<(Arc<Program>, Weights)>,
    vocabularies: Vocabularies,
    classes: Classes,
}

impl<'p> Source<'p> {
    /// As the command line says.
    fn of(payload: &'p Payload, given: &ArgMatches) -> Result<Source<'p>, Failure> {
        let threads = given.get_one::<u16>("threads").map_or_else(Pool::default_threads, |n| usize::from(*n));
        let manifest = &payload.manifest;
        let (vocabularies, classes) = (manifest.vocabularies.clone(), manifest.classes.clone());
        let Some(file) = given.get_one::<PathBuf>("weights") else {
            return Ok(Source { payload, threads, others: None, vocabularies, classes });
        };
        let program = Arc::new(payload.program()?);
        let mut session = Session::holding(Arc::clone(&program))?;
        weights::load_needed_weights(&mut session, file)?;
        let found = weights::provenance(file)?;
        let or = |found: Vocabularies| if found.is_empty() { vocabularies } else { found };
        Ok(Source {
            payload,
            threads,
            others: Some((program, session.into_weights()?)),
            vocabularies: or(found.vocabularies),
            classes: if found.classes.is_empty() { classes } else { found.classes },
        })
    }

    fn session(&self) -> Result<Session, Failure> {
        Ok(match &self.others {
            None => self.payload.session(self.threads)?,
            Some((program, weights)) => Session::over_weights(Arc::clone(program), self.threads, weights)?,
        })
    }
}

/// A model ready to answer, and what belongs to its weights.
struct Model {
    session: Session,
    vocabularies: Vocabularies,
    classes: Classes,
}

fn model(payload: &Payload, given: &ArgMatches) -> Result<Model, Failure> {
    let source = Source::of(payload, given)?;
    let session = source.session()?;
    Ok(Model { session, vocabularies: source.vocabularies, classes: source.classes })
}
