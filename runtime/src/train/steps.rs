//! What a batch makes due: the steps of the block, the updates after as many batches as make one, the lengths of gradients.

use std::sync::Arc;

use crate::data::{Batch, Order, Split};
use crate::error::{Error, Result};
use crate::execute::{Profile, Session};
use crate::program::VariableKind;
use crate::tensor::TensorView;

use super::collect::Collections;
use super::figures::{Figures, Reading};
use super::indices;
use super::trainer::Trainer;
use super::wiring::{Moment, Wiring};
use super::{Event, Observer};

impl Trainer {
    /// Takes one batch, the `done`-th since the start, counted from 0: runs all steps on it, and updates the weights when enough
    /// batches have come together or the epoch ends.
    pub fn step(&mut self, batch: &Batch, done: usize) -> Result<()> {
        self.step_and_look(batch, done, None)
    }

    /// As [`Trainer::step`]; measures what it runs for the one who wants to know.
    pub(super) fn step_and_look(
        &mut self,
        batch: &Batch,
        done: usize,
        mut profiled: Option<&mut dyn Observer>,
    ) -> Result<()> {
        let program = Arc::clone(&self.program);
        let rows = self.parts.train.len().max(1) as f64;
        let mut watcher = self.watcher.take();
        let mut number = done;
        let result = self.take(batch, done, |entry, session, collections, batch, moment| {
            number = usize::try_from(moment.batch).unwrap_or(done);
            if let Some(watcher) = &mut watcher {
                watcher.before(session);
            }
            let share = batch.rows as f64 / rows;
            match &mut profiled {
                None => collections.take(&entry.run(session, Some(batch), moment)?, share),
                Some(observer) => {
                    let Profile { launches, outputs } = entry.profile(session, batch, moment)?;
                    collections.take(&outputs, share);
                    let name = &program.entries[entry.entry].name;
                    observer.event(&Event::Profile { entry: name, launches: &launches });
                }
            }
            match &watcher {
                Some(watcher) => watcher.after(session, entry, batch, moment),
                None => Ok(()),
            }
        });
        self.watcher = watcher;
        result.map_err(|error| self.explained_in_step(error, number))
    }

    fn explained_in_step(&self, error: Error, done: usize) -> Error {
        let batches = self.batches_an_epoch();
        self.explained(error, Split::Train, self.order(done / batches + 1), done % batches)
    }

    /// The length of each weight's gradient on a batch, as the step after so many batches would find it.
    pub(super) fn gradient_norms(&mut self, batch: &Batch, done: usize) -> Result<Figures> {
        let moment = self.moment(done);
        let mut norms: Vec<(String, Reading)> = Vec::new();
        for wiring in &self.gradient_entries {
            let outputs = match wiring.run(&mut self.session, Some(batch), &moment) {
                Ok(outputs) => outputs,
                Err(error) => return Err(self.explained_in_step(error, done)),
            };
            let norm = |value: TensorView<'_>| value.to_f64().first().copied().unwrap_or(f64::NAN) as f32;
            norms.extend(outputs.iter().map(|(name, value)| (name.to_owned(), norm(value).into())));
        }
        Ok(Figures(norms))
    }

    /// An error of a batch, with the row of the data that it comes from.
    pub(super) fn explained(&self, error: Error, split: Split, order: Order, number: usize) -> Error {
        let set = &self.program.data[self.training().data];
        let rows = order.rows(self.parts.get(split));
        let rows = rows.chunks(order.batch.max(1)).nth(number).unwrap_or_default();
        indices::explained(error, set, &self.parts, split, &self.data_path, rows)
    }

    /// Checks that what looks something up finds it, as far as the data alone can tell.
    pub(super) fn check_indices(&self, split: Split) -> Result<()> {
        let (training, set) = (self.training(), &self.program.data[self.training().data]);
        indices::check(set, &self.parts, split, &self.data_path, &training.indexed)
    }

    /// As [`Trainer::step`], and gives the figures of this batch alone.
    pub fn step_alone(&mut self, batch: &Batch, done: usize) -> Result<Figures> {
        self.session.zero(VariableKind::Accumulator);
        self.collections.clear();
        self.step(batch, done)?;
        self.checked_report(done + 1, 1)
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

    /// How many batches wait for an update when so many of an epoch are done.
    pub(super) fn held_after(&self, batches: usize) -> usize {
        let accumulate = self.training().accumulate;
        let waits = self.steps.len() > 1 && batches < self.batches_an_epoch();
        if waits { batches % accumulate } else { 0 }
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
        self.state.averaged |= due;
        Ok(())
    }
}
