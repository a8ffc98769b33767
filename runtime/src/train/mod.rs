//! The training loop: epochs of steps over shuffled batches, evaluation, the best weights, the end.
//!
//! The loop owns no arithmetic. A step, an evaluation and a report are entries of the program; the loop wires their inputs,
//! zeroes accumulators, decides when to stop and what to save, and tells an [`Observer`] what happens. Epochs and batches
//! count from 1 in all that a user sees.

mod checkpoint;
mod collect;
mod figures;
mod load;
mod plateau;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod trainer;
mod wiring;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::{self, Split};
use crate::error::Result;
use crate::program::{Program, Training};

pub use checkpoint::{load_weights, save_weights};
pub use figures::{Figures, Reading};
pub use trainer::{Trainer, read_data};
pub use wiring::Moment;

/// The entry that fills the variables.
pub const INIT: &str = "init";
/// The files that a training leaves in its folder.
pub const BEST_FILE: &str = "best.safetensors";
pub const LAST_FILE: &str = "last.safetensors";
/// The averages of the weights after the last epoch, where the spec averages them.
pub const AVERAGE_FILE: &str = "average.safetensors";

/// What the user may decide besides the spec. The default changes nothing and saves nothing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub epochs: Option<usize>,
    pub batch: Option<usize>,
    pub seed: Option<u64>,
    /// Folders of data sets by name.
    pub data: Vec<(String, PathBuf)>,
    /// Where the spec lies: its data folders are relative to this.
    pub base: PathBuf,
    pub threads: Option<usize>,
    /// Where to save; none saves nothing.
    pub out: Option<PathBuf>,
    /// Weights to start from instead of fresh ones.
    pub weights: Option<PathBuf>,
    /// The names of classes by [`crate::data::classes_key`], as an earlier training found them.
    pub classes: data::Classes,
}

/// What happens during a training or an evaluation.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Start {
        training: &'a Training,
        epochs: usize,
        batch: usize,
        rows: [usize; 3],
    },
    EpochStart {
        epoch: usize,
        epochs: usize,
        batches: usize,
    },
    /// After each batch; the figures so far are there when [`Observer::wants_figures`] asked for them.
    Batch {
        epoch: usize,
        batch: usize,
        batches: usize,
        rows: usize,
        figures: Option<Figures>,
    },
    EpochEnd {
        epoch: usize,
        seconds: f64,
        train: &'a Figures,
        validation: Option<&'a Figures>,
        /// The rates of the epoch's last step, of optimizers whose rate may change.
        rates: &'a [(String, f32)],
        best: bool,
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

    /// Whether to stop after this batch; a training then ends with the last weights saved.
    fn interrupted(&self) -> bool {
        false
    }
}

/// An observer that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Finished,
    /// `stop after … epochs without better …`
    StoppedEarly,
    Interrupted,
}

/// The outcome of a training. Figures are those of the epoch whose weights were kept: the best one's when the spec keeps the
/// best, else the last one's.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Epochs that were finished.
    pub epochs: usize,
    pub best_epoch: Option<usize>,
    pub seconds: f64,
    pub train: Option<Figures>,
    pub validation: Option<Figures>,
    pub test: Option<Figures>,
    pub ending: Ending,
    pub saved: Vec<PathBuf>,
}

/// Trains from the start: `training` is an index into [`Program::trainings`].
pub fn train(
    program: Arc<Program>,
    training: usize,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let mut trainer = Trainer::new(program, training, options)?;
    trainer.initialise(options.weights.as_deref())?;
    trainer.train(options.out.as_deref(), observer)
}

/// Evaluates saved weights on one part of the data; none when it was interrupted. Unless the options give a seed, rows are
/// held out by the seed that the weights were trained with, so that no row of training gets into another part.
pub fn evaluate(
    program: Arc<Program>,
    training: usize,
    weights: &Path,
    split: Split,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Option<Figures>> {
    let (trained_with, classes) = checkpoint::provenance(weights)?;
    let options = Options { seed: options.seed.or(trained_with), classes, ..options.clone() };
    let mut trainer = Trainer::new(program, training, &options)?;
    trainer.initialise(Some(weights))?;
    trainer.evaluate(split, observer)
}
