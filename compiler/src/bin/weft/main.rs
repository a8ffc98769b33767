//! The `weft` command: reads the command line, runs one command, and turns its end into an exit code.

// The library next door is pure; reading files and starting threads is what this binary is for.
#![allow(clippy::disallowed_methods)]

mod args;
mod bench;
mod build;
mod check;
mod compare;
mod compile;
mod completions;
mod data;
mod download;
mod dry;
mod emit;
mod eval;
mod explain;
mod fmt;
mod generate;
mod inspect;
mod new;
mod numerics;
mod overfit;
mod paint;
mod predict;
mod profile;
mod release;
mod report;
mod resume;
mod run;
mod snapshot;
mod spec;
mod summary;
mod train;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;
// What executables show is shown by the same code here.
use weft_runtime::command::{failure, inputs, interrupt, output, page, picture, results, sample, training};

/// When the process began, as near as it can tell.
static START: OnceLock<Instant> = OnceLock::new();

fn main() -> ExitCode {
    START.get_or_init(Instant::now);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; clap knows where each belongs. A closed pipe is no reason to complain.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let result = match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Fmt(args) => fmt::run(args),
        Command::Emit(args) => emit::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Build(args) => build::run(args),
        Command::Data(args) => data::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Explain(args) => explain::run(args),
        Command::New(args) => new::run(args),
        Command::Completions(args) => completions::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::note(&failure.to_string());
            }
            ExitCode::from(failure.class as u8)
        }
    }
}
