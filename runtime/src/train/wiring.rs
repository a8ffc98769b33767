//! Wiring: where each input of an entry comes from during a training.

use super::collect::Collections;
use crate::data::{Batch, Table};
use crate::error::{Error, Result};
use crate::execute::{Outputs, Profile, Session};
use crate::program::{DType, InputSource, Program};
use crate::tensor::{Tensor, TensorView};

/// Where in a training a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub seed: u64,
    /// The number of this batch since the start.
    pub batch: i64,
    pub step: i64,
    /// Epochs done, with the fraction of the current one.
    pub epoch: f32,
    pub total_steps: i64,
    /// What rates are multiplied by.
    pub rate_factor: f32,
}

impl Default for Moment {
    fn default() -> Moment {
        Moment { seed: 0, batch: 0, step: 0, epoch: 0.0, total_steps: 0, rate_factor: 1.0 }
    }
}

/// An entry with the sources of its inputs resolved.
#[derive(Debug)]
pub struct Wiring {
    pub entry: usize,
    wires: Vec<Wire>,
}

#[derive(Debug)]
enum Wire {
    /// A column of the batch.
    Column {
        index: usize,
        dtype: DType,
        /// The shape of a row, or of one step of it.
        row: Vec<usize>,
        ragged: bool,
    },
    Random,
    Step,
    Epoch,
    TotalSteps,
    /// A collection by its place.
    Collected(usize),
    RateFactor,
}

impl Wiring {
    /// Resolves an entry by its name against the columns of a training's data.
    pub fn new(session: &Session, name: &str, data: usize, table: &Table) -> Result<Wiring> {
        Wiring::of_report(session, name, data, table, &Collections::default())
    }

    /// Resolves an entry that may read what was collected, too.
    pub fn of_report(
        session: &Session,
        name: &str,
        data: usize,
        table: &Table,
        collections: &Collections,
    ) -> Result<Wiring> {
        let entry = session.entry(name)?;
        let wrong =
            |input: &str, message: &str| Error::Unsound(format!("input `{input}` of `{name}` {message}"));
        let wire = |input: &crate::program::Input| match &input.source {
            InputSource::Caller
            | InputSource::Tokens { .. }
            | InputSource::Lengths { .. }
            | InputSource::Kept
            | InputSource::Carried { .. } => {
                Err(wrong(&input.name, "must be given by a caller, but a training has none"))
            }
            InputSource::Field { data: other, .. } if *other != data => {
                Err(wrong(&input.name, "reads another data set than the training's"))
            }
            InputSource::Field { field, .. } => {
                let index = table.columns.iter().position(|column| column.name == *field);
                let index =
                    index.ok_or_else(|| wrong(&input.name, "reads a field that the data does not have"))?;
                let column = &table.columns[index];
                let ragged = column.ragged.is_some();
                Ok(Wire::Column { index, dtype: column.dtype, row: column.shape.clone(), ragged })
            }
            InputSource::Random => Ok(Wire::Random),
            InputSource::Step => Ok(Wire::Step),
            InputSource::Epoch => Ok(Wire::Epoch),
            InputSource::TotalSteps => Ok(Wire::TotalSteps),
            InputSource::Collected => match collections.position(&input.name) {
                Some(index) => Ok(Wire::Collected(index)),
                None => Err(wrong(&input.name, "is collected, but only a report reads what is collected")),
            },
            InputSource::RateFactor => Ok(Wire::RateFactor),
        };
        let wires = session.program().entries[entry].inputs.iter().map(wire).collect::<Result<_>>()?;
        Ok(Wiring { entry, wires })
    }

    /// How many numbers the entry gives.
    pub fn outputs(&self, program: &Program) -> usize {
        program.entries[self.entry].outputs.len()
    }

    /// Runs the entry on a batch, at a moment. Without a batch, columns have no rows.
    pub fn run<'s>(
        &self,
        session: &'s mut Session,
        batch: Option<&Batch>,
        moment: &Moment,
    ) -> Result<Outputs<'s>> {
        self.with_inputs(batch, &Collections::default(), moment, |inputs| session.run(self.entry, inputs))
    }

    /// The entry's inputs for a batch, by name.
    pub fn inputs(&self, program: &Program, batch: &Batch, moment: &Moment) -> Vec<(String, Tensor)> {
        let names = program.entries[self.entry].inputs.iter().map(|input| input.name.clone());
        self.with_inputs(Some(batch), &Collections::default(), moment, |views| {
            names.zip(views).map(|(name, view)| (name, view.to_owned())).collect()
        })
    }

    /// Runs the entry on what was collected.
    pub fn report<'s>(
        &self,
        session: &'s mut Session,
        collections: &Collections,
        moment: &Moment,
    ) -> Result<Outputs<'s>> {
        self.with_inputs(None, collections, moment, |inputs| session.run(self.entry, inputs))
    }

    /// Runs the entry and measures each launch.
    pub fn profile<'s>(
        &self,
        session: &'s mut Session,
        batch: &Batch,
        moment: &Moment,
    ) -> Result<Profile<'s>> {
        let none = Collections::default();
        self.with_inputs(Some(batch), &none, moment, |inputs| session.run_profiled(self.entry, inputs))
    }

    /// Calls `then` with the inputs in the entry's order.
    fn with_inputs<R>(
        &self,
        batch: Option<&Batch>,
        collections: &Collections,
        moment: &Moment,
        then: impl FnOnce(&[TensorView<'_>]) -> R,
    ) -> R {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&moment.seed.to_le_bytes());
        random[8..].copy_from_slice(&moment.batch.to_le_bytes());
        let (step, epoch) = (moment.step.to_le_bytes(), moment.epoch.to_le_bytes());
        let (total_steps, rate_factor) = (moment.total_steps.to_le_bytes(), moment.rate_factor.to_le_bytes());
        let rows = batch.map_or(0, |batch| batch.rows);
        let shapes: Vec<Vec<usize>> = self
            .wires
            .iter()
            .map(|wire| match wire {
                Wire::Column { index, row, ragged, .. } => {
                    let extent = batch.and_then(|batch| batch.extents.get(*index).copied().flatten());
                    let extent = ragged.then(|| extent.unwrap_or(1));
                    std::iter::once(rows).chain(extent).chain(row.iter().copied()).collect()
                }
                Wire::Random => vec![2],
                Wire::Collected(index) => collections.shape(*index),
                _ => Vec::new(),
            })
            .collect();
        let views: Vec<TensorView<'_>> = self
            .wires
            .iter()
            .zip(&shapes)
            .map(|(wire, shape)| {
                let (dtype, data): (DType, &[u8]) = match wire {
                    Wire::Collected(index) => return collections.view(*index, shape),
                    Wire::Column { index, dtype, .. } => {
                        (*dtype, batch.and_then(|batch| batch.columns.get(*index)).map_or(&[], Vec::as_slice))
                    }
                    Wire::Random => (DType::I64, &random),
                    Wire::Step => (DType::I64, &step),
                    Wire::Epoch => (DType::F32, &epoch),
                    Wire::TotalSteps => (DType::I64, &total_steps),
                    Wire::RateFactor => (DType::F32, &rate_factor),
                };
                TensorView { dtype, shape, data }
            })
            .collect();
        then(&views)
    }
}
