//! The training loop: epochs of steps over shuffled batches, evaluation, the best weights, the end.
//!
//! The loop owns no arithmetic. A step, an evaluation and a report are entries of the program; the loop wires their inputs,
//! zeroes accumulators, decides when to stop and what to save, and tells an [`Observer`] what happens. Epochs and batches
//! count from 1 in all that a user sees.

mod checkpoint;
mod figures;
#[cfg(test)]
mod tests;
mod wiring;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::data::{self, Batches, Order, Part, Parts, Split};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::pool::Pool;
use crate::program::{DType, Program, Training, VariableKind};

pub use checkpoint::{load_weights, save_weights};
pub use figures::Figures;
use figures::Best;
use wiring::{Moment, Wiring};

/// The entry that fills the variables.
pub const INIT: &str = "init";
/// The files that a training leaves in its folder.
pub const BEST_FILE: &str = "best.safetensors";
pub const LAST_FILE: &str = "last.safetensors";

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
}

/// What happens during a training or an evaluation.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Start { training: &'a Training, epochs: usize, batch: usize, rows: [usize; 3] },
    EpochStart { epoch: usize, epochs: usize, batches: usize },
    /// After each batch; the figures so far are there when [`Observer::wants_figures`] asked for them.
    Batch { epoch: usize, batch: usize, batches: usize, rows: usize, figures: Option<Figures> },
    EpochEnd { epoch: usize, seconds: f64, train: &'a Figures, validation: Option<&'a Figures>, best: bool },
    End { summary: &'a Summary },
}

/// Watches a training.
pub trait Observer {
    fn event(&mut self, _event: &Event<'_>) {}

    /// Whether the next [`Event::Batch`] should carry figures. They cost a run of the report.
    fn wants_figures(&mut self) -> bool {
        false
    }

    /// Whether to stop after this batch, with the last weights saved.
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

/// Trains: `training` is an index into [`Program::trainings`].
pub fn train(
    program: Arc<Program>,
    training: usize,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let mut run = Run::new(program, training, options, observer)?;
    run.initialise(options.weights.as_deref())?;
    run.train(options)
}

/// Evaluates saved weights on one part of the data.
pub fn evaluate(
    program: Arc<Program>,
    training: usize,
    weights: &Path,
    split: Split,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Figures> {
    let mut run = Run::new(program, training, options, observer)?;
    load_weights(&mut run.session, weights)?;
    if run.parts.get(split).is_empty() {
        return Err(run.wrong(format!("the data has no {} part", split.name())));
    }
    run.evaluate(split)
}

/// One training with all that it needs.
struct Run<'a> {
    program: Arc<Program>,
    index: usize,
    session: Session,
    parts: Parts,
    steps: Vec<Wiring>,
    evaluation: Wiring,
    report: Wiring,
    /// Accumulators of one float, which show a loss that is no longer finite as soon as it happens.
    sums: Vec<usize>,
    batch: usize,
    epochs: usize,
    seed: u64,
    observer: &'a mut dyn Observer,
}

impl<'a> Run<'a> {
    fn new(program: Arc<Program>, index: usize, options: &Options, observer: &'a mut dyn Observer) -> Result<Run<'a>> {
        let mut session = Session::new(Arc::clone(&program), options.threads.unwrap_or_else(Pool::default_threads))?;
        let training = program.trainings.get(index).ok_or_else(|| Error::Unknown {
            what: "training",
            name: index.to_string(),
            candidates: program.trainings.iter().map(|t| t.name.clone()).collect(),
        })?;
        let wrong = |message: String| Error::Training { training: training.name.clone(), message };

        let seed = options.seed.unwrap_or(training.seed);
        let set = &program.data[training.data];
        if let Some((name, _)) = options.data.iter().find(|(name, _)| program.data.iter().all(|set| set.name != *name)) {
            let candidates = program.data.iter().map(|set| set.name.clone()).collect();
            return Err(Error::Unknown { what: "data set", name: name.clone(), candidates });
        }
        let given = options.data.iter().rfind(|(name, _)| *name == set.name).map(|(_, folder)| folder.as_path());
        let parts = data::load(set, &data::folder(set, &options.base, given), seed)?;

        let table = &parts.train.table;
        let wire = |name: &str| Wiring::new(&session, name, training.data, table);
        let steps = training.steps.iter().map(|name| wire(name)).collect::<Result<Vec<_>>>()?;
        let (evaluation, report) = (wire(&training.evaluate)?, wire(&training.report)?);
        if report.outputs(&program) != training.figures.len() {
            return Err(wrong(format!("`{}` does not give one number for each figure", training.report)));
        }

        let batch = options.batch.unwrap_or(training.batch);
        if batch == 0 || training.steps.is_empty() {
            return Err(wrong(if batch == 0 { "a batch needs rows".into() } else { "there is no step".into() }));
        }
        for wiring in steps.iter().chain([&evaluation]) {
            let rows = batch.min(Split::ALL.map(|split| parts.get(split).len()).into_iter().max().unwrap_or(0));
            let entry = &program.entries[wiring.entry];
            // The symbols of these entries are all bound by the batch: a row's own dims are constant.
            let bounds: Vec<(&str, usize)> = entry.symbols.iter().map(|symbol| (symbol.as_str(), rows)).collect();
            session.reserve(wiring.entry, &bounds)?;
        }
        let sums = (0..program.variables.len())
            .filter(|&index| {
                let variable = &program.variables[index];
                variable.kind == VariableKind::Accumulator
                    && variable.dtype == DType::F32
                    && variable.shape.iter().product::<usize>() == 1
            })
            .collect();
        Ok(Run {
            index,
            session,
            parts,
            steps,
            evaluation,
            report,
            sums,
            batch,
            epochs: options.epochs.unwrap_or(training.epochs),
            seed,
            observer,
            program,
        })
    }

    fn training(&self) -> &Training {
        &self.program.trainings[self.index]
    }

    fn wrong(&self, message: String) -> Error {
        Error::Training { training: self.training().name.clone(), message }
    }

    /// Fills the variables: by the program's own entry, then from a file where one is given.
    fn initialise(&mut self, weights: Option<&Path>) -> Result<()> {
        let training = &self.program.trainings[self.index];
        let init = Wiring::new(&self.session, INIT, training.data, &self.parts.train.table)?;
        init.run(&mut self.session, None, &Moment { seed: self.seed, ..Moment::default() })?;
        weights.map_or(Ok(()), |path| load_weights(&mut self.session, path))
    }

    fn train(&mut self, options: &Options) -> Result<Summary> {
        let program = Arc::clone(&self.program);
        let training = &program.trainings[self.index];
        if let Some(out) = &options.out {
            std::fs::create_dir_all(out).map_err(Error::file("make the folder", out))?;
        }
        let mut best = training.keep_best.as_ref().map(|watch| self.watch(watch)).transpose()?;
        let mut patience = match &training.stop_after {
            Some((epochs, watch)) => Some((*epochs, self.watch(watch)?)),
            None => None,
        };
        let rows = Split::ALL.map(|split| self.parts.get(split).len());
        self.observer.event(&Event::Start { training, epochs: self.epochs, batch: self.batch, rows });

        let start = Instant::now();
        let mut summary = Summary {
            epochs: 0,
            best_epoch: None,
            seconds: 0.0,
            train: None,
            validation: None,
            test: None,
            ending: Ending::Finished,
            saved: Vec::new(),
        };
        let mut kept: Option<Vec<u8>> = None;
        for epoch in 1..=self.epochs {
            let epoch_start = Instant::now();
            let Some(figures) = self.epoch(epoch)? else {
                summary.ending = Ending::Interrupted;
                self.save(options, LAST_FILE, epoch - 1, None, None, &mut summary)?;
                break;
            };
            let validation = match self.parts.validation.is_empty() {
                true => None,
                false => Some(self.evaluate(Split::Validation)?),
            };
            summary.epochs = epoch;
            let pick = |best: &Best| best.pick(&figures, validation.as_ref());
            let is_best = best.as_mut().is_some_and(|best| best.improves(epoch, pick(best)));
            self.save(options, LAST_FILE, epoch, Some(&figures), validation.as_ref(), &mut summary)?;
            if is_best {
                self.save(options, BEST_FILE, epoch, Some(&figures), validation.as_ref(), &mut summary)?;
                kept = Some(checkpoint::snapshot(&self.session));
                summary.best_epoch = Some(epoch);
            }
            let seconds = epoch_start.elapsed().as_secs_f64();
            let (train, validation_figures) = (&figures, validation.as_ref());
            self.observer.event(&Event::EpochEnd { epoch, seconds, train, validation: validation_figures, best: is_best });
            let out_of_patience = patience.as_mut().is_some_and(|(epochs, best)| {
                best.improves(epoch, pick(best));
                best.epochs_without(epoch) >= *epochs
            });
            if is_best || best.is_none() {
                (summary.train, summary.validation) = (Some(figures), validation);
            }
            if out_of_patience {
                summary.ending = Ending::StoppedEarly;
                break;
            }
        }
        if summary.ending != Ending::Interrupted {
            if let Some(kept) = &kept {
                checkpoint::restore(&mut self.session, kept);
            }
            if !self.parts.test.is_empty() {
                summary.test = Some(self.evaluate(Split::Test)?);
            }
        }
        summary.seconds = start.elapsed().as_secs_f64();
        self.observer.event(&Event::End { summary: &summary });
        Ok(summary)
    }

    /// One epoch of steps; none when it was interrupted.
    fn epoch(&mut self, epoch: usize) -> Result<Option<Figures>> {
        let order = Order {
            batch: self.batch,
            shuffle: self.training().shuffle.then_some((self.seed, epoch as u64)),
        };
        let batches = order.batches(self.parts.train.len());
        self.observer.event(&Event::EpochStart { epoch, epochs: self.epochs, batches });
        self.session.zero(VariableKind::Accumulator);
        let mut source = Batches::start(&self.parts.train, order)?;
        let mut number = 0;
        while let Some(batch) = source.next_batch() {
            let done = (epoch - 1) * batches + number;
            let moment = Moment {
                seed: self.seed,
                batch: done as i64,
                step: done as i64,
                epoch: (epoch - 1) as f32 + number as f32 / batches as f32,
                total_steps: (self.epochs * batches) as i64,
            };
            for step in &self.steps {
                step.run(&mut self.session, Some(batch), &moment)?;
            }
            number += 1;
            let figures = if self.observer.wants_figures() || !self.sums_are_finite() {
                let figures = self.report()?;
                self.check_loss(&figures, epoch, number)?;
                Some(figures)
            } else {
                None
            };
            self.observer.event(&Event::Batch { epoch, batch: number, batches, rows: batch.rows, figures });
            if self.observer.interrupted() {
                return Ok(None);
            }
        }
        let figures = self.report()?;
        self.check_loss(&figures, epoch, number)?;
        Ok(Some(figures))
    }

    fn evaluate(&mut self, split: Split) -> Result<Figures> {
        self.session.zero(VariableKind::Accumulator);
        let part: &Part = self.parts.get(split);
        let mut source = Batches::start(part, Order { batch: self.batch, shuffle: None })?;
        let mut number = 0;
        while let Some(batch) = source.next_batch() {
            let moment = Moment { seed: self.seed, batch: number, ..Moment::default() };
            self.evaluation.run(&mut self.session, Some(batch), &moment)?;
            number += 1;
        }
        self.report()
    }

    /// Reads the accumulators.
    fn report(&mut self) -> Result<Figures> {
        let moment = Moment { seed: self.seed, ..Moment::default() };
        let outputs = self.report.run(&mut self.session, None, &moment)?;
        let training = &self.program.trainings[self.index];
        let values = outputs.iter().zip(&training.figures).map(|((_, value), figure)| {
            let value = value.to_f64().first().copied().unwrap_or(f64::NAN);
            (figure.name.clone(), value as f32)
        });
        Ok(Figures(values.collect()))
    }

    fn sums_are_finite(&self) -> bool {
        self.sums.iter().all(|&index| {
            let bytes = self.session.variable(index).data.first_chunk::<4>();
            bytes.is_none_or(|bytes| f32::from_le_bytes(*bytes).is_finite())
        })
    }

    /// The first figure is the loss. Other figures may well be without a value, such as a precision of nothing.
    fn check_loss(&self, figures: &Figures, epoch: usize, batch: usize) -> Result<()> {
        match figures.0.first() {
            Some(&(_, value)) if !value.is_finite() => Err(Error::NonFinite { value, epoch, batch }),
            _ => Ok(()),
        }
    }

    /// Resolves what the spec watches, before anything runs.
    fn watch(&self, watch: &crate::program::Watch) -> Result<Best> {
        let split = Split::from_name(&watch.split)?;
        if split == Split::Test {
            return Err(self.wrong("the test part is for the end; watch train or validation".into()));
        }
        if self.parts.get(split).is_empty() {
            return Err(self.wrong(format!("`{}.{}` is watched, but the data has no such part", watch.split, watch.figure)));
        }
        let names: Vec<String> = self.training().figures.iter().map(|figure| figure.name.clone()).collect();
        let figure = names.iter().position(|name| *name == watch.figure).ok_or_else(|| Error::Unknown {
            what: "figure",
            name: watch.figure.clone(),
            candidates: names.clone(),
        })?;
        Ok(Best::new(split, figure, watch.higher_is_better))
    }

    /// Saves the weights with what is known about them.
    fn save(
        &self,
        options: &Options,
        file: &str,
        epoch: usize,
        train: Option<&Figures>,
        validation: Option<&Figures>,
        summary: &mut Summary,
    ) -> Result<()> {
        let Some(out) = &options.out else { return Ok(()) };
        let mut metadata = BTreeMap::from([
            ("spec".to_string(), self.program.name.clone()),
            ("training".to_string(), self.training().name.clone()),
            ("epoch".to_string(), epoch.to_string()),
            ("seed".to_string(), self.seed.to_string()),
        ]);
        for (split, figures) in [(Split::Train, train), (Split::Validation, validation)] {
            for (name, value) in figures.iter().flat_map(|figures| &figures.0) {
                metadata.insert(format!("{}.{name}", split.name()), value.to_string());
            }
        }
        let path = out.join(file);
        save_weights(&self.session, &path, &metadata)?;
        if !summary.saved.contains(&path) {
            summary.saved.push(path);
        }
        Ok(())
    }
}
