//! The training loop: epochs of steps over shuffled batches, evaluation, the best weights, the end.
//!
//! The loop owns no arithmetic. A step, an evaluation and a report are entries of the program; the loop wires their inputs,
//! zeroes accumulators, decides when to stop and what to save, and tells an [`Observer`] what happens. Epochs and batches
//! count from 1 in all that a user sees.

mod checkpoint;
mod collect;
mod exact;
mod figures;
mod fingerprint;
mod fit;
mod folder;
mod indices;
mod numerics;
mod plateau;
mod point;
mod resume;
mod run;
mod saver;
mod state;
mod steps;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod trainer;
mod wiring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::data::{self, Parts, Split};
use crate::error::{Error, Result};
use crate::execute::{LaunchTime, Session};
use crate::program::{Every, Program, Training};
use crate::weights::{Classes, Provenance, Vocabularies, provenance};

pub use checkpoint::{Run, peek};
pub use figures::{Figures, Reading};
pub use fit::fit;
pub use point::Point;
pub use state::{Record, State};
pub use trainer::{Trainer, read_data};
pub use wiring::Moment;

/// The entry that fills the variables.
pub const INIT: &str = "init";
/// The files that a training leaves in its folder.
pub const BEST_FILE: &str = "best.safetensors";
pub const LAST_FILE: &str = "last.safetensors";
/// The averages of the weights after the last epoch, where the spec averages them.
pub const AVERAGE_FILE: &str = "average.safetensors";
/// All weights files of a run.
const WEIGHTS_FILES: [&str; 3] = [LAST_FILE, AVERAGE_FILE, BEST_FILE];

/// What the user may decide besides the spec. The default changes nothing and saves nothing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub epochs: Option<usize>,
    pub batch: Option<usize>,
    pub seed: Option<u64>,
    /// Folders of data sets by name.
    pub data: Vec<(String, PathBuf)>,
    /// Bytes of memory that the rows of the data may take; a quarter of the machine's where none are given.
    pub data_memory: Option<u64>,
    /// Who is told how far the reading of the data is.
    pub reading: Option<Arc<dyn data::FileObserver>>,
    /// Where the spec lies: its data folders are relative to this.
    pub base: PathBuf,
    pub threads: Option<usize>,
    /// Where to save; none saves nothing.
    pub out: Option<PathBuf>,
    /// Weights to start from instead of fresh ones.
    pub weights: Option<PathBuf>,
    /// The names of classes by [`crate::weights::classes_key`], as an earlier training found them.
    pub classes: Classes,
    /// Vocabularies by their names, as an earlier training found them.
    pub vocabularies: Vocabularies,
    /// The folder of a run to go on with instead of starting one.
    pub resume: Option<PathBuf>,
    /// Whether an unfinished run in the folder may be lost; else it is moved aside.
    pub fresh: bool,
    pub saving: Saving,
    /// Look at all variables after every step, so that what is no finite number is found where it arises.
    pub check_numerics: bool,
    /// The spec's text with every default, and whatever the caller wants to know again when a run goes on: both are kept in
    /// checkpoints.
    pub text: String,
    pub arguments: String,
}

/// How often a run is saved.
#[derive(Clone, Copy, Debug)]
pub struct Saving {
    /// What the user asks for, whatever the spec says.
    pub every: Option<Every>,
    /// So many checkpoints are kept, the latest ones.
    pub keep: usize,
}

impl Default for Saving {
    fn default() -> Saving {
        Saving { every: None, keep: 2 }
    }
}

/// How often a run is saved where nobody says so, beside the ends of its epochs.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// What happens during a training or an evaluation.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Start {
        training: &'a Training,
        epochs: usize,
        batch: usize,
        rows: [usize; 3],
        parts: &'a Parts,
        /// The epochs that were done before, of a run that goes on.
        history: &'a [Record],
    },
    /// What the user should know: what was passed over in the data, what a run that goes on finds changed.
    Note {
        text: &'a str,
    },
    EpochStart {
        epoch: usize,
        epochs: usize,
        batches: usize,
        /// Batches that were done before, of a run that goes on in the middle of an epoch.
        done: usize,
    },
    /// After each batch; the figures so far are there when [`Observer::wants_figures`] asked for them.
    Batch {
        epoch: usize,
        batch: usize,
        batches: usize,
        rows: usize,
        figures: Option<Figures>,
    },
    /// An epoch is over, or there was a validation within one.
    Record {
        record: &'a Record,
        /// Holds the weights as they are there.
        session: &'a Session,
        /// The length of each weight's gradient on the batch before, where the program gives them.
        gradients: &'a Figures,
    },
    /// What the launches of a step's entry took, after [`Observer::wants_profile`].
    Profile {
        entry: &'a str,
        launches: &'a [LaunchTime<'a>],
    },
    /// A checkpoint could not be written; the training goes on, and the next one is another try.
    Unsaved {
        error: &'a Error,
    },
    End {
        summary: &'a Summary,
    },
}

/// Watches a training.
pub trait Observer {
    fn event(&mut self, _event: &Event<'_>) {}

    /// Whether the next [`Event::Batch`] should carry figures. They cost a run of the report.
    fn wants_figures(&mut self) -> bool {
        false
    }

    /// Whether the next step is to be measured, launch by launch. Its results are the same.
    fn wants_profile(&mut self) -> bool {
        false
    }

    /// Whether to stop after this batch; a training then ends with the last weights saved.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Two observers as one.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn event(&mut self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }

    fn wants_figures(&mut self) -> bool {
        self.0.wants_figures() | self.1.wants_figures()
    }

    fn wants_profile(&mut self) -> bool {
        self.0.wants_profile() | self.1.wants_profile()
    }

    fn interrupted(&self) -> bool {
        self.0.interrupted() || self.1.interrupted()
    }
}

/// An observer that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    Finished,
    /// `stop after … epochs without better …`
    StoppedEarly,
    Interrupted,
}

/// The outcome of a training. Figures are those of the weights that were kept: the best ones' when the spec keeps the
/// best, else the last ones'.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Epochs that were finished.
    pub epochs: usize,
    /// Where the best weights are from, if the spec keeps them.
    pub best: Option<Point>,
    pub seconds: f64,
    pub train: Option<Figures>,
    pub validation: Option<Figures>,
    pub test: Option<Figures>,
    pub ending: Ending,
    pub saved: Vec<PathBuf>,
}

/// Trains from the start, or goes on with a run: `training` is an index into [`Program::trainings`].
pub fn train(
    program: Arc<Program>,
    training: usize,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let mut trainer = Trainer::new(program, training, options)?;
    trainer.begin(options, observer)?;
    trainer.train(options, observer)
}

/// Evaluates saved weights, or those that the spec's `load` items name, on one part of the data; none when it was interrupted. Unless the options give a seed, rows are
/// held out by the seed that the weights were trained with, so that no row of training gets into another part.
pub fn evaluate(
    program: Arc<Program>,
    training: usize,
    weights: Option<&Path>,
    split: Split,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Option<Figures>> {
    let mut trainer = evaluator(program, training, weights, options)?;
    trainer.check_indices(split)?;
    trainer.evaluate(split, observer)
}

/// A trainer with these weights (else what the spec's `load` items name) that can be asked for figures.
pub fn evaluator(
    program: Arc<Program>,
    training: usize,
    weights: Option<&Path>,
    options: &Options,
) -> Result<Trainer> {
    let Provenance { seed, classes, vocabularies } = weights.map(provenance).transpose()?.unwrap_or_default();
    let options = Options { seed: options.seed.or(seed), classes, vocabularies, ..options.clone() };
    let mut trainer = Trainer::new(program, training, &options)?;
    trainer.initialise(weights)?;
    trainer.check_fits()?;
    Ok(trainer)
}
