//! A run: epochs of steps, validated and judged as often as the spec says, until it, the user or patience ends them.
//!
//! All that a run has reached is in [`Trainer::state`] and in the session's variables, at every moment between two batches. So
//! it can be left there and gone on with, and the loop below starts wherever that is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::data::{Batches, Split};
use crate::error::{Error, Result};
use crate::program::{Every, VariableKind};

use super::checkpoint::{Run, Snapshot};
use super::figures::{Figures, Watched};
use super::fingerprint::Fingerprint;
use super::folder::{self, Folder};
use super::numerics::Watcher;
use super::plateau::Plateau;
use super::point::Point;
use super::saver::Saver;
use super::state::{End, Kept, Record, State};
use super::trainer::{Trainer, find};
use super::{Ending, Event, Observer, Options, Silent, Summary, WEIGHTS_FILES};
use crate::weights;

/// What the spec watches, resolved.
struct Rules {
    best: Option<Watched>,
    /// Batches to wait.
    stop: Option<(usize, Watched)>,
    plateau: Option<Plateau>,
}

impl Trainer {
    /// Fills the variables: with fresh values, or with those of a run that goes on.
    pub fn begin(&mut self, options: &Options, observer: &mut dyn Observer) -> Result<()> {
        for text in &self.parts.notes {
            observer.event(&Event::Note { text });
        }
        Split::ALL.into_iter().try_for_each(|split| self.check_indices(split))?;
        self.initialise(options.weights.as_deref())?;
        match &options.resume {
            Some(folder) => self.resume(folder, options, observer),
            None => self.fit(),
        }
    }

    /// Runs all epochs that are left. Weights and checkpoints are saved where the options say so.
    pub fn train(&mut self, options: &Options, observer: &mut dyn Observer) -> Result<Summary> {
        let program = Arc::clone(&self.program);
        let training = find(&program, self.index)?;
        let rules = Rules {
            best: training.keep_best.as_ref().map(|watch| self.watch(watch)).transpose()?,
            stop: match &training.stop_after {
                Some((epochs, watch)) => Some((epochs * self.batches_an_epoch(), self.watch(watch)?)),
                None => None,
            },
            plateau: match &training.reduce_rate {
                Some(rule) => Some(Plateau::new(rule, self.watch(&rule.watch)?)),
                None => None,
            },
        };
        let _folder = match &options.out {
            Some(out) if options.resume.as_deref().is_some_and(|from| folder::same(from, out)) => {
                Some(Folder::for_old(out, self.state.point())?)
            }
            Some(out) => Some(Folder::for_new(out, options.fresh, observer)?),
            None => None,
        };
        let mut saver = match &options.out {
            Some(out) => {
                let every = options.saving.every.or(training.checkpoint);
                let run = self.run(options);
                Some(Saver::start(out, every, options.saving.keep, self.first_copy(run))?)
            }
            None => None,
        };
        let rows = Split::ALL.map(|split| self.parts.get(split).len());
        let (epochs, batch) = (self.epochs, self.batch);
        observer.event(&Event::Start {
            training,
            epochs,
            batch,
            rows,
            parts: &self.parts,
            history: &self.state.history,
        });

        let (start, before) = (Instant::now(), self.state.seconds);
        let ending = match (self.over(&rules), &self.state.end) {
            // It came to its end earlier, and left its files.
            (Some(_), Some(end)) => {
                if let Some(saver) = &mut saver {
                    saver.find_files();
                }
                let way_on = match end.ending {
                    Ending::StoppedEarly => "its `stop after` ends it here; without that, it goes on",
                    _ => "more --epochs go on with it",
                };
                let text = format!("this run came to its end after {}; {way_on}", self.state.point());
                observer.event(&Event::Note { text: &text });
                end.ending
            }
            _ => {
                self.state.end = None;
                if options.check_numerics {
                    self.watcher = Some(Watcher::new(self.batches_an_epoch(), 0));
                }
                let seconds = || before + start.elapsed().as_secs_f64();
                let ending = match self.epochs(&rules, saver.as_mut(), observer, &seconds) {
                    Err(error) => return Err(self.found(error, &rules, saver, options)),
                    Ok(ending) => ending,
                };
                self.end(ending, saver.as_mut(), observer)?
            }
        };
        let saved = match &mut saver {
            Some(saver) => match saver.wait() {
                Some(error) => return Err(error),
                None => std::mem::take(&mut saver.saved),
            },
            None => Vec::new(),
        };
        let summary = self.summary(ending, saved);
        observer.event(&Event::End { summary: &summary });
        Ok(summary)
    }

    /// All epochs that are left.
    fn epochs(
        &mut self,
        rules: &Rules,
        mut saver: Option<&mut Saver>,
        observer: &mut dyn Observer,
        seconds: &dyn Fn() -> f64,
    ) -> Result<Ending> {
        loop {
            if let Some(ending) = self.over(rules) {
                return Ok(ending);
            }
            let whole = self.epoch(rules, saver.as_deref_mut(), observer)?;
            self.state.seconds = seconds();
            if !whole {
                return Ok(Ending::Interrupted);
            }
        }
    }

    /// What is being run, for those who go on with it later.
    pub(super) fn run(&self, options: &Options) -> Run {
        Run {
            seed: self.seed,
            batch: self.batch,
            epochs: self.epochs,
            rows: Split::ALL.map(|split| self.parts.get(split).len()),
            text: options.text.clone(),
            arguments: options.arguments.clone(),
            found: self.found_in_data(),
            ..Run::new(&self.program, &self.training().name)
        }
    }

    /// Why there is nothing left to train, if so.
    fn over(&self, rules: &Rules) -> Option<Ending> {
        let batches = self.batches_an_epoch();
        let patience =
            |(patience, _): &(usize, Watched)| self.state.stop.batches_without(batches) >= *patience;
        match self.state.epochs >= self.epochs {
            true => Some(Ending::Finished),
            false => rules.stop.as_ref().is_some_and(patience).then_some(Ending::StoppedEarly),
        }
    }

    /// Runs an epoch, or what is left of it, or until nothing is left to train; false when it was interrupted.
    fn epoch(
        &mut self,
        rules: &Rules,
        mut saver: Option<&mut Saver>,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        if self.state.trained.is_none() {
            if !self.steps_of_epoch(rules, saver.as_deref_mut(), observer)? {
                return Ok(false);
            }
            if self.state.trained.is_none() {
                return Ok(true);
            }
        }
        let point = Point::end_of(self.state.epochs + 1);
        let validation = match self.validation_is_due(point) {
            false => None,
            true => match self.evaluate(Split::Validation, observer)? {
                Some(figures) => Some(figures),
                None => return Ok(false),
            },
        };
        let Some(train) = self.state.trained.take() else { return Ok(true) };
        (self.state.epochs, self.state.batch) = (point.epochs, 0);
        self.judge(rules, train, validation, observer)?;
        if let Some(saver) = saver {
            self.save_when_due(saver, observer);
        }
        Ok(true)
    }

    /// Whether the spec asks for a validation at a point; at the end of the run there always is one.
    fn validation_is_due(&self, point: Point) -> bool {
        let every = self.training().validate;
        let passed = every.passed(point, self.state.validated(), self.batches_an_epoch());
        !self.parts.validation.is_empty() && (passed || point.epochs >= self.epochs)
    }

    /// Whether something is noted after the next batch, with so many done.
    fn record_follows(&self, done: usize) -> bool {
        let batches = self.batches_an_epoch();
        let next = Point { epochs: done / batches, batch: done % batches + 1 };
        next.batch == batches
            || matches!(self.training().validate, Every::Batches(_)) && self.validation_is_due(next)
    }

    /// A validation within an epoch, where one is due; false when it was interrupted. What the epoch has summed up stays.
    fn validate_within(&mut self, rules: &Rules, observer: &mut dyn Observer) -> Result<bool> {
        let point = self.state.point();
        // While batches are held back, the weights have not seen all that the figures would be told of.
        let counted = matches!(self.training().validate, Every::Batches(_)) && self.held.is_empty();
        let within = (1..self.batches_an_epoch()).contains(&point.batch);
        if !counted || !within || !self.validation_is_due(point) {
            return Ok(true);
        }
        let train = self.checked_report(point.epoch(), point.batch)?;
        let (sums, collected) = (self.sums_so_far(), std::mem::take(&mut self.collections));
        self.collections = collected.emptied();
        let validation = self.evaluate(Split::Validation, observer);
        self.put_sums_back(&sums);
        self.collections = collected;
        match validation? {
            Some(validation) => self.judge(rules, train, Some(validation), observer).map(|()| true),
            None => Ok(false),
        }
    }

    /// The steps of an epoch, or those that are left, or until nothing is left to train; false when it was interrupted.
    fn steps_of_epoch(
        &mut self,
        rules: &Rules,
        mut saver: Option<&mut Saver>,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let (epoch, batches) = (self.state.epochs + 1, self.batches_an_epoch());
        let (start, before) = (Instant::now(), self.state.epoch_seconds);
        // What validations within the epoch take is no time of its steps.
        let mut elsewhere = Duration::ZERO;
        let first = self.state.batch;
        observer.event(&Event::EpochStart { epoch, epochs: self.epochs, batches, done: first });
        if first == 0 {
            self.session.zero(VariableKind::Accumulator);
            self.collections.clear();
        }
        // Batches that were held back when the run was left are taken again.
        let held = self.held_after(first);
        let mut source = Batches::start_at(&self.parts.train, self.order(epoch), first - held)?;
        self.held.clear();
        for place in first - held..first {
            if let Some(batch) = source.next_batch()? {
                self.held.push((batch.clone(), self.moment((epoch - 1) * batches + place)));
            }
        }
        // The run may have been left in a validation.
        if !self.validate_within(rules, observer)? {
            return Ok(false);
        }
        while let Some(batch) = source.next_batch()? {
            let done = (epoch - 1) * batches + self.state.batch;
            let looked = Instant::now();
            if self.record_follows(done) {
                self.gradients = self.gradient_norms(batch, done)?;
            }
            elsewhere += looked.elapsed();
            let profiled = observer.wants_profile();
            self.step_and_look(batch, done, if profiled { Some(&mut *observer) } else { None })?;
            self.state.batch += 1;
            self.state.epoch_seconds = before + (start.elapsed() - elsewhere).as_secs_f64();
            let number = self.state.batch;
            // While batches are held back, there is nothing to report yet.
            let report = self.held.is_empty() && (observer.wants_figures() || !self.sums_are_finite());
            let figures = match report {
                true => Some(self.checked_report(epoch, number)?),
                false => None,
            };
            observer.event(&Event::Batch { epoch, batch: number, batches, rows: batch.rows, figures });
            if observer.interrupted() {
                return Ok(false);
            }
            if number < batches {
                let start = Instant::now();
                if !self.validate_within(rules, observer)? {
                    return Ok(false);
                }
                elsewhere += start.elapsed();
                if self.over(rules).is_some() {
                    return Ok(true);
                }
                if let Some(saver) = saver.as_deref_mut() {
                    self.save_when_due(saver, observer);
                }
            }
        }
        self.state.trained = Some(self.checked_report(epoch, self.state.batch)?);
        Ok(true)
    }

    /// What the figures at the present point mean for those that are watched; they are then noted and told.
    fn judge(
        &mut self,
        rules: &Rules,
        train: Figures,
        validation: Option<Figures>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (point, batches) = (self.state.point(), self.batches_an_epoch());
        let rates = self.rates(point.batches(batches))?;
        let value = |watched: &Watched| watched.pick(point, &train, validation.as_ref());
        let state = &mut self.state;
        if let Some((_, watched)) = &rules.stop
            && let Some(value) = value(watched)
        {
            state.stop.improves(watched, point, value);
        }
        if let Some(plateau) = &rules.plateau
            && let Some(value) = value(&plateau.watched)
        {
            plateau.after(point, batches, value, &mut state.plateau);
        }
        let better = |watched: &Watched| {
            value(watched).is_some_and(|value| state.best.improves(watched, point, value))
        };
        let best = rules.best.as_ref().is_some_and(better);
        if best {
            let (train, validation) = (train.clone(), validation.clone());
            state.kept = Some(Kept { point, train, validation });
            self.exchange_averages();
            self.best = Some(Arc::new(weights::snapshot(&self.session)?));
            self.exchange_averages();
        }
        let state = &mut self.state;
        let seconds = state.epoch_seconds;
        if point.within().is_none() {
            state.epoch_seconds = 0.0;
        }
        state.note(Record { point, batches, seconds, train, validation, rates, best });
        if let Some(record) = self.state.history.last() {
            let gradients = std::mem::take(&mut self.gradients);
            observer.event(&Event::Record { record, session: &self.session, gradients: &gradients });
        }
        Ok(())
    }

    /// Saves what the run has come to and, unless it was interrupted, tests the weights that are kept.
    fn end(
        &mut self,
        ending: Ending,
        mut saver: Option<&mut Saver>,
        observer: &mut dyn Observer,
    ) -> Result<Ending> {
        if let Some(saver) = saver.as_deref_mut() {
            // Should the test never come to its end, the run goes on from here.
            self.save(saver, true, observer);
        }
        if ending == Ending::Interrupted {
            return Ok(ending);
        }
        let mut state = self.state.clone();
        if let Some(best) = &self.best {
            weights::restore(&mut self.session, best);
            self.state.averaged = false;
        }
        let mut test = None;
        if !self.parts.test.is_empty() {
            test = self.evaluate(Split::Test, observer)?;
            if test.is_none() {
                return Ok(Ending::Interrupted);
            }
        }
        state.end = Some(End { ending, test });
        self.state.end.clone_from(&state.end);
        if let Some(saver) = saver {
            let error = saver.amend(state);
            self.tell(error, observer);
        }
        Ok(ending)
    }

    /// When numbers went wrong: goes back to the last copy, or to the start, and takes the same steps again with an eye on
    /// every one, to find the first that made it so.
    fn found(&mut self, error: Error, rules: &Rules, saver: Option<Saver>, options: &Options) -> Error {
        let Error::NonFinite { epoch, batch, step: None, .. } = error else { return error };
        let batches = self.batches_an_epoch();
        let copy = saver.and_then(Saver::last_copy);
        let back = match copy {
            Some(copy) => {
                self.take_back(*copy);
                Ok(())
            }
            None => {
                self.state = State::default();
                self.begin(options, &mut Silent)
            }
        };
        self.watcher = Some(Watcher::new(batches, (epoch - 1) * batches + batch - 1));
        // Whatever happens instead, the error as it was first seen stands.
        match back.and_then(|()| self.epochs(rules, None, &mut Silent, &|| 0.0)) {
            Err(found @ Error::NonFinite { step: Some(_), .. }) => found,
            _ => error,
        }
    }

    /// Puts a copy back.
    fn take_back(&mut self, copy: Snapshot) {
        for index in 0..self.program.variables.len() {
            self.session.variable_bytes_mut(index).copy_from_slice(copy.variable(index).data);
        }
        self.collections.clear();
        for (name, rows) in &copy.collected {
            self.collections.put(name, rows);
        }
        (self.state, self.best) = (copy.state, copy.best);
    }

    /// Gives the writer a copy if one is due and the writer is free.
    fn save_when_due(&mut self, saver: &mut Saver, observer: &mut dyn Observer) {
        let (wanted, error) = saver.wants(self.state.point(), self.batches_an_epoch());
        self.tell(error, observer);
        if wanted {
            self.save(saver, self.state.batch == 0, observer);
        }
    }

    /// Gives the writer a copy.
    fn save(&mut self, saver: &mut Saver, with_weights: bool, observer: &mut dyn Observer) {
        if let Err(error) = self.session.settle() {
            return self.tell(Some(error), observer);
        }
        let error = saver.save(|copy| {
            self.session.copy_variables(&mut copy.variables);
            copy.collected.clear();
            if self.state.batch > 0 {
                copy.collected.extend(self.collections.tensors().map(|(name, rows)| (name.to_owned(), rows)));
            }
            copy.state.clone_from(&self.state);
            copy.best.clone_from(&self.best);
            copy.with_weights = with_weights;
        });
        self.tell(error, observer);
    }

    fn tell(&self, error: Option<Error>, observer: &mut dyn Observer) {
        if let Some(error) = error {
            observer.event(&Event::Unsaved { error: &error });
        }
    }

    /// A copy of the run before its first step.
    fn first_copy(&mut self, run: Run) -> Snapshot {
        let mut variables = Vec::new();
        self.session.copy_variables(&mut variables);
        Snapshot {
            program: Arc::clone(&self.program),
            run,
            data: Arc::new(Fingerprint::new(&self.parts)),
            state: self.state.clone(),
            variables,
            places: self.session.variable_places().to_vec(),
            averages: self.averages.clone(),
            collected: self.collections.tensors().map(|(name, rows)| (name.to_owned(), rows)).collect(),
            best: self.best.clone(),
            with_weights: false,
        }
    }

    fn summary(&self, ending: Ending, mut saved: Vec<PathBuf>) -> Summary {
        let state = &self.state;
        // The last epoch, unless validations are rarer.
        let validated = state.history.iter().rfind(|record| record.validation.is_some());
        let latest = validated.or(state.history.last()).map(|r| (&r.train, r.validation.as_ref()));
        let kept = state.kept.as_ref().map(|kept| (&kept.train, kept.validation.as_ref())).or(latest);
        saved.sort_by_key(|path| WEIGHTS_FILES.iter().position(|file| path.ends_with(file)));
        Summary {
            epochs: state.trained_epochs(),
            best: state.kept.as_ref().map(|kept| kept.point),
            seconds: state.seconds,
            train: kept.map(|(train, _)| train.clone()),
            validation: kept.and_then(|(_, validation)| validation.cloned()),
            test: state.end.as_ref().and_then(|end| end.test.clone()),
            ending,
            saved,
        }
    }
}
