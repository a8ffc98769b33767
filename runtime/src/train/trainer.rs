//! A training in progress: its session, its data, its entries wired up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::data::{self, Batch, Batches, Order, Parts, Split};
use crate::error::{Error, Result};
use crate::execute::{Profile, Session};
use crate::pool::Pool;
use crate::program::{DType, DataSet, Program, Training, VariableKind, Watch};
use crate::tensor::TensorView;

use super::checkpoint::{self, load_weights, save_weights};
use super::collect::Collections;
use super::figures::{Best, Figures, Reading};
use super::load::load_items;
use super::plateau::Plateau;
use super::wiring::{Moment, Wiring};
use super::{AVERAGE_FILE, BEST_FILE, Ending, Event, INIT, LAST_FILE, Observer, Options, Summary};

/// Everything that one training needs, ready to step.
#[derive(Debug)]
pub struct Trainer {
    program: Arc<Program>,
    index: usize,
    session: Session,
    parts: Parts,
    steps: Vec<Wiring>,
    /// See [`Training::updates`].
    updates: Vec<Wiring>,
    rates: Option<Wiring>,
    evaluation: Wiring,
    report: Wiring,
    /// What the report reads beside the accumulators.
    collections: Collections,
    /// Weights and their averages.
    averages: Vec<(usize, usize)>,
    /// Whether the averages are those of this training's weights: from its first update on.
    averaged: bool,
    /// Batches that wait for the rest of those that make one update, where several steps take them in turn.
    held: Vec<(Batch, Moment)>,
    /// What rates are multiplied by.
    rate_factor: f64,
    /// Accumulators of one float, which show a loss that is no longer finite as soon as it happens.
    sums: Vec<usize>,
    batch: usize,
    epochs: usize,
    seed: u64,
    /// What the files of `load` items are relative to.
    base: PathBuf,
}

/// What an epoch of steps came to.
struct Epoch {
    figures: Figures,
    seconds: f64,
}

/// Reads the data of a training from the folder that the options or the spec name.
pub fn read_data(sets: &[DataSet], training: &Training, options: &Options) -> Result<Parts> {
    let names = || sets.iter().map(|set| set.name.clone()).collect();
    if let Some((name, _)) = options.data.iter().find(|(name, _)| sets.iter().all(|set| set.name != *name)) {
        return Err(Error::Unknown { what: "data set", name: name.clone(), candidates: names() });
    }
    let set = sets.get(training.data).ok_or_else(|| Error::Unknown {
        what: "data set",
        name: training.data.to_string(),
        candidates: names(),
    })?;
    let given = options.data.iter().rfind(|(name, _)| *name == set.name).map(|(_, folder)| folder.as_path());
    let place = data::place(set, &options.base, given);
    data::load(set, &place, options.seed.unwrap_or(training.seed), &options.classes)
}

impl Trainer {
    /// Prepares the training at an index of [`Program::trainings`].
    pub fn new(program: Arc<Program>, index: usize, options: &Options) -> Result<Trainer> {
        let parts = read_data(&program.data, find(&program, index)?, options)?;
        Trainer::with_data(program, index, options, parts)
    }

    /// Prepares a training whose data was read before, by [`read_data`]: while the program was compiled, say.
    pub fn with_data(
        program: Arc<Program>,
        index: usize,
        options: &Options,
        parts: Parts,
    ) -> Result<Trainer> {
        let training = find(&program, index)?;
        let wrong = |message: String| Err(Error::Training { training: training.name.clone(), message });
        let mut session =
            Session::new(Arc::clone(&program), options.threads.unwrap_or_else(Pool::default_threads))?;
        let wire = |name: &str| Wiring::new(&session, name, training.data, &parts.train.table);
        let steps = training.steps.iter().map(|name| wire(name)).collect::<Result<Vec<_>>>()?;
        let updates = training.updates.iter().map(|name| wire(name)).collect::<Result<Vec<_>>>()?;
        let rates = training.rates.as_deref().map(wire).transpose()?;
        let evaluation = wire(&training.evaluate)?;
        let collections = Collections::of_report(&program.entries[session.entry(&training.report)?]);
        let table = &parts.train.table;
        let report = Wiring::of_report(&session, &training.report, training.data, table, &collections)?;

        let batch = options.batch.unwrap_or(training.batch);
        if batch == 0 {
            return wrong("a batch needs rows".into());
        }
        if steps.is_empty() || training.figures.is_empty() {
            return wrong("it needs a step and a figure".into());
        }
        if training.accumulate == 0 || (training.accumulate > 1 && updates.len() != steps.len()) {
            return wrong("batches are accumulated, but no update follows".into());
        }
        if report.outputs(&program) != training.figures.len() {
            return wrong(format!("`{}` does not give one value for each figure", training.report));
        }
        let largest = Split::ALL.map(|split| parts.get(split).len()).into_iter().max().unwrap_or(0);
        for wiring in steps.iter().chain(&updates).chain([&evaluation]) {
            let entry = &program.entries[wiring.entry];
            // The symbols of these entries are all bound by the batch: a row's own dims are constant.
            let bounds: Vec<(&str, usize)> =
                entry.symbols.iter().map(|symbol| (symbol.as_str(), batch.min(largest))).collect();
            session.reserve(wiring.entry, &bounds)?;
        }
        // In the report the batch is an epoch.
        let symbols = &program.entries[report.entry].symbols;
        let bounds: Vec<(&str, usize)> = symbols.iter().map(|symbol| (symbol.as_str(), largest)).collect();
        session.reserve(report.entry, &bounds)?;
        let is_sum = |index: &usize| {
            let variable = &program.variables[*index];
            variable.kind == VariableKind::Accumulator
                && variable.dtype == DType::F32
                && variable.shape.iter().product::<usize>() == 1
        };
        let averages = training.averages.iter().map(|pair| places(&program, pair)).collect::<Result<_>>()?;
        Ok(Trainer {
            index,
            session,
            parts,
            steps,
            updates,
            rates,
            evaluation,
            report,
            collections,
            averages,
            averaged: false,
            held: Vec::new(),
            rate_factor: 1.0,
            sums: (0..program.variables.len()).filter(is_sum).collect(),
            batch,
            epochs: options.epochs.unwrap_or(training.epochs),
            seed: options.seed.unwrap_or(training.seed),
            base: options.base.clone(),
            program,
        })
    }

    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// The batches of an epoch of training, epochs counted from 1.
    pub fn batches(&self, epoch: usize) -> Result<Batches> {
        Batches::start(&self.parts.train, self.order(epoch))
    }

    /// Fills the variables: by the program's own entry, then from a file where one is given, else by the spec's `load` items.
    pub fn initialise(&mut self, weights: Option<&Path>) -> Result<()> {
        let init = Wiring::new(&self.session, INIT, self.training().data, &self.parts.train.table)?;
        init.run(&mut self.session, None, &Moment { seed: self.seed, ..Moment::default() })?;
        match weights {
            Some(path) => load_weights(&mut self.session, path),
            None => load_items(&mut self.session, &self.base),
        }
    }

    /// Takes one batch, the `done`-th since the start, counted from 0: runs all steps on it, and updates the weights when enough
    /// batches have come together or the epoch ends.
    pub fn step(&mut self, batch: &Batch, done: usize) -> Result<()> {
        let rows = self.parts.train.len().max(1) as f64;
        self.take(batch, done, |entry, session, collections, batch, moment| {
            let outputs = entry.run(session, Some(batch), moment)?;
            collections.take(&outputs, batch.rows as f64 / rows);
            Ok(())
        })
    }

    /// As [`Trainer::step`], and shows each step's profile to `look`.
    pub fn profile_step(
        &mut self,
        batch: &Batch,
        done: usize,
        mut look: impl FnMut(Profile<'_>),
    ) -> Result<()> {
        self.take(batch, done, |entry, session, _, batch, moment| {
            look(entry.profile(session, batch, moment)?);
            Ok(())
        })
    }

    /// Runs whatever a batch makes due.
    fn take(
        &mut self,
        batch: &Batch,
        done: usize,
        mut run: impl FnMut(&Wiring, &mut Session, &mut Collections, &Batch, &Moment) -> Result<()>,
    ) -> Result<()> {
        let moment = self.moment(done);
        let batches = self.batches_an_epoch();
        let (accumulate, place) = (self.training().accumulate, done % batches + 1);
        let due = place.is_multiple_of(accumulate) || place == batches;
        if accumulate == 1 || self.steps.len() == 1 {
            for step in &self.steps {
                run(step, &mut self.session, &mut self.collections, batch, &moment)?;
            }
            for update in self.updates.iter().filter(|_| due) {
                run(update, &mut self.session, &mut self.collections, batch, &moment)?;
            }
        } else {
            // A step sees the updates of those before it, so it takes its batches after their update.
            self.held.push((batch.clone(), moment));
            if !due {
                return Ok(());
            }
            for (step, update) in self.steps.iter().zip(&self.updates) {
                for (batch, moment) in &self.held {
                    run(step, &mut self.session, &mut self.collections, batch, moment)?;
                }
                run(update, &mut self.session, &mut self.collections, batch, &moment)?;
            }
            self.held.clear();
        }
        self.averaged |= due;
        Ok(())
    }

    /// Runs all epochs. Weights are saved in `out`, if there is one.
    pub fn train(&mut self, out: Option<&Path>, observer: &mut dyn Observer) -> Result<Summary> {
        let program = Arc::clone(&self.program);
        let training = find(&program, self.index)?;
        let mut best = training.keep_best.as_ref().map(|watch| self.watch(watch)).transpose()?;
        let mut patience = match &training.stop_after {
            Some((epochs, watch)) => Some((*epochs, self.watch(watch)?)),
            None => None,
        };
        let mut plateau = match &training.reduce_rate {
            Some(rule) => Some(Plateau::new(rule, self.watch(&rule.watch)?)),
            None => None,
        };
        if let Some(out) = out {
            std::fs::create_dir_all(out).map_err(Error::file("make the folder", out))?;
        }
        let rows = Split::ALL.map(|split| self.parts.get(split).len());
        observer.event(&Event::Start { training, epochs: self.epochs, batch: self.batch, rows });

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
            let Some(Epoch { figures, seconds }) = self.epoch(epoch, observer)? else {
                summary.ending = Ending::Interrupted;
                self.save_last(out, epoch - 1, [None, None], &mut summary.saved)?;
                break;
            };
            summary.epochs = epoch;
            let validation = match self.parts.validation.is_empty() {
                true => None,
                false => match self.evaluate(Split::Validation, observer)? {
                    Some(figures) => Some(figures),
                    None => {
                        summary.ending = Ending::Interrupted;
                        self.save_last(out, epoch, [Some(&figures), None], &mut summary.saved)?;
                        break;
                    }
                },
            };
            let (train, validation_figures) = (&figures, validation.as_ref());
            let known = [Some(train), validation_figures];
            let rates = self.rates(epoch)?;
            let pick = |best: &Best| best.pick(train, validation_figures);
            let mut improves = |best: &mut Best| best.improves(epoch, pick(best));
            let is_best = best.as_mut().is_some_and(&mut improves);
            let is_last = patience.as_mut().is_some_and(|(epochs, best)| {
                improves(best);
                best.epochs_without(epoch) >= *epochs
            });
            if let Some(plateau) = &mut plateau {
                self.rate_factor = plateau.after(epoch, pick);
            }
            self.save_last(out, epoch, known, &mut summary.saved)?;
            if is_best {
                self.exchange_averages();
                self.save(out, BEST_FILE, epoch, known, &mut summary.saved)?;
                kept = Some(checkpoint::snapshot(&self.session));
                self.exchange_averages();
                summary.best_epoch = Some(epoch);
            }
            observer.event(&Event::EpochEnd {
                epoch,
                seconds,
                train,
                validation: validation_figures,
                rates: &rates,
                best: is_best,
            });
            if is_best || kept.is_none() {
                (summary.train, summary.validation) = (Some(figures), validation);
            }
            if is_last {
                summary.ending = Ending::StoppedEarly;
                break;
            }
        }
        if summary.ending != Ending::Interrupted {
            if let Some(kept) = &kept {
                checkpoint::restore(&mut self.session, kept);
                self.averaged = false;
            }
            if !self.parts.test.is_empty() {
                summary.test = self.evaluate(Split::Test, observer)?;
            }
        }
        summary.seconds = start.elapsed().as_secs_f64();
        observer.event(&Event::End { summary: &summary });
        Ok(summary)
    }

    /// Evaluates the present weights, or their averages where the spec has them; none when it was interrupted.
    pub fn evaluate(&mut self, split: Split, observer: &mut dyn Observer) -> Result<Option<Figures>> {
        self.exchange_averages();
        let figures = self.evaluate_as_it_is(split, observer);
        self.exchange_averages();
        figures
    }

    fn evaluate_as_it_is(&mut self, split: Split, observer: &mut dyn Observer) -> Result<Option<Figures>> {
        let part = self.parts.get(split);
        if part.is_empty() {
            return Err(self.wrong(format!("the data has no {} part", split.name())));
        }
        self.session.zero(VariableKind::Accumulator);
        self.collections.clear();
        let rows = part.len() as f64;
        let mut source = Batches::start(part, Order { batch: self.batch, shuffle: None })?;
        let mut number = 0;
        while let Some(batch) = source.next_batch()? {
            let moment = Moment { seed: self.seed, batch: number, ..Moment::default() };
            let outputs = self.evaluation.run(&mut self.session, Some(batch), &moment)?;
            self.collections.take(&outputs, batch.rows as f64 / rows);
            number += 1;
            if observer.interrupted() {
                return Ok(None);
            }
        }
        self.report().map(Some)
    }

    /// One epoch of steps; none when it was interrupted.
    fn epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Epoch>> {
        let start = Instant::now();
        let batches = self.order(epoch).batches(self.parts.train.len());
        observer.event(&Event::EpochStart { epoch, epochs: self.epochs, batches });
        self.session.zero(VariableKind::Accumulator);
        self.collections.clear();
        let mut source = self.batches(epoch)?;
        let mut number = 0;
        while let Some(batch) = source.next_batch()? {
            self.step(batch, (epoch - 1) * batches + number)?;
            number += 1;
            // While batches are held back, there is nothing to report yet.
            let report = self.held.is_empty() && (observer.wants_figures() || !self.sums_are_finite());
            let figures = match report {
                true => Some(self.checked_report(epoch, number)?),
                false => None,
            };
            observer.event(&Event::Batch { epoch, batch: number, batches, rows: batch.rows, figures });
            if observer.interrupted() {
                return Ok(None);
            }
        }
        let figures = self.checked_report(epoch, number)?;
        Ok(Some(Epoch { figures, seconds: start.elapsed().as_secs_f64() }))
    }

    fn training(&self) -> &Training {
        &self.program.trainings[self.index]
    }

    fn wrong(&self, message: String) -> Error {
        Error::Training { training: self.training().name.clone(), message }
    }

    fn order(&self, epoch: usize) -> Order {
        Order { batch: self.batch, shuffle: self.training().shuffle.then_some((self.seed, epoch as u64)) }
    }

    /// Where the training stands after so many batches.
    fn moment(&self, done: usize) -> Moment {
        let batches = self.batches_an_epoch();
        let accumulate = self.training().accumulate;
        let updates = batches.div_ceil(accumulate);
        let (epoch, update) = (done / batches, done % batches / accumulate);
        Moment {
            seed: self.seed,
            batch: done as i64,
            step: (epoch * updates + update) as i64,
            epoch: epoch as f32 + update as f32 / updates as f32,
            total_steps: (self.epochs * updates) as i64,
            rate_factor: self.rate_factor as f32,
        }
    }

    fn batches_an_epoch(&self) -> usize {
        self.order(1).batches(self.parts.train.len()).max(1)
    }

    /// The rates of an epoch's last step.
    fn rates(&mut self, epoch: usize) -> Result<Vec<(String, f32)>> {
        let moment = self.moment(epoch * self.batches_an_epoch() - 1);
        let Some(rates) = &self.rates else { return Ok(Vec::new()) };
        let outputs = rates.run(&mut self.session, None, &moment)?;
        let first = |value: TensorView<'_>| value.to_f64().first().copied().unwrap_or(f64::NAN) as f32;
        Ok(outputs.iter().map(|(name, value)| (name.to_owned(), first(value))).collect())
    }

    /// Puts the averages in the place of the weights, or back again.
    fn exchange_averages(&mut self) {
        if self.averaged {
            checkpoint::exchange(&mut self.session, &self.averages);
        }
    }

    /// Reads the accumulators and what was collected.
    fn report(&mut self) -> Result<Figures> {
        let moment = Moment { seed: self.seed, ..Moment::default() };
        let outputs = self.report.report(&mut self.session, &self.collections, &moment)?;
        let figures = &self.program.trainings[self.index].figures;
        let values = outputs.iter().zip(figures).map(|((_, value), figure)| {
            let values = value.to_f64().into_iter().map(|value| value as f32).collect();
            (figure.name.clone(), Reading { shape: value.shape.to_vec(), values })
        });
        Ok(Figures(values.collect()))
    }

    /// Reads the accumulators and checks the first figure, which is the loss. Other figures may well be without a value,
    /// such as a precision of nothing.
    fn checked_report(&mut self, epoch: usize, batch: usize) -> Result<Figures> {
        let figures = self.report()?;
        match figures.0.first().and_then(|(_, loss)| loss.number()) {
            Some(value) if !value.is_finite() => Err(Error::NonFinite { value, epoch, batch }),
            _ => Ok(figures),
        }
    }

    fn sums_are_finite(&self) -> bool {
        self.sums.iter().all(|&index| {
            let bytes = self.session.variable(index).data.first_chunk::<4>();
            bytes.is_none_or(|bytes| f32::from_le_bytes(*bytes).is_finite())
        })
    }

    /// Resolves what the spec watches, before anything runs.
    fn watch(&self, watch: &Watch) -> Result<Best> {
        let split = Split::from_name(&watch.split)?;
        if split == Split::Test {
            return Err(self.wrong("the test part is for the end; watch train or validation".into()));
        }
        if self.parts.get(split).is_empty() {
            let message = format!(
                "`{0}.{1}` is watched, but the data has no {0} part; `split {0} = 0.1` in its `data` item holds one out",
                watch.split, watch.figure
            );
            return Err(self.wrong(message));
        }
        let names: Vec<String> = self.training().figures.iter().map(|figure| figure.name.clone()).collect();
        match names.iter().position(|name| *name == watch.figure) {
            Some(figure) => Ok(Best::new(split, figure, watch.higher_is_better)),
            None => Err(Error::Unknown { what: "figure", name: watch.figure.clone(), candidates: names }),
        }
    }

    /// Saves what the last step left: the weights, and their averages where there are any.
    fn save_last(
        &mut self,
        out: Option<&Path>,
        epoch: usize,
        known: [Option<&Figures>; 2],
        saved: &mut Vec<PathBuf>,
    ) -> Result<()> {
        self.save(out, LAST_FILE, epoch, known, saved)?;
        if !self.averaged || self.averages.is_empty() {
            return Ok(());
        }
        self.exchange_averages();
        let result = self.save(out, AVERAGE_FILE, epoch, known, saved);
        self.exchange_averages();
        result
    }

    /// Saves the weights with what is known about them: figures of training and of validation.
    fn save(
        &self,
        out: Option<&Path>,
        file: &str,
        epoch: usize,
        known: [Option<&Figures>; 2],
        saved: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let Some(out) = out else { return Ok(()) };
        let mut metadata = BTreeMap::from([
            ("spec".to_string(), self.program.name.clone()),
            ("training".to_string(), self.training().name.clone()),
            ("epoch".to_string(), epoch.to_string()),
            ("seed".to_string(), self.seed.to_string()),
        ]);
        for (split, figures) in [Split::Train, Split::Validation].into_iter().zip(known) {
            for (name, value) in figures.iter().flat_map(|figures| &figures.0) {
                metadata.insert(format!("{}.{name}", split.name()), value.to_string());
            }
        }
        for (field, names) in &self.parts.classes {
            let set = &self.program.data[self.training().data].name;
            metadata.insert(data::classes_key(set, field), serde_json::json!(names).to_string());
        }
        let path = out.join(file);
        save_weights(&self.session, &path, &metadata)?;
        if !saved.contains(&path) {
            saved.push(path);
        }
        Ok(())
    }
}

/// The places of a weight and its average.
fn places(program: &Program, (weight, average): &(String, String)) -> Result<(usize, usize)> {
    let place = |path: &str| program.variables.iter().position(|variable| variable.path == path);
    let alike = |a: usize, b: usize| {
        let (a, b) = (&program.variables[a], &program.variables[b]);
        (a.dtype, &a.shape) == (b.dtype, &b.shape)
    };
    match (place(weight), place(average)) {
        (Some(weight), Some(average)) if alike(weight, average) => Ok((weight, average)),
        _ => Err(Error::Unsound(format!("`{average}` is no average of `{weight}`"))),
    }
}

fn find(program: &Program, index: usize) -> Result<&Training> {
    program.trainings.get(index).ok_or_else(|| Error::Unknown {
        what: "training",
        name: index.to_string(),
        candidates: program.trainings.iter().map(|training| training.name.clone()).collect(),
    })
}
