//! Numbers that went wrong: which step made a variable something that is no finite number, with all that it was given.

use super::wiring::{Moment, Wiring};
use crate::data::Batch;
use crate::error::{Error, FailedStep, Result};
use crate::execute::Session;
use crate::program::{DType, VariableKind};
use crate::tensor::TensorView;

/// Looks at all variables after each step.
#[derive(Debug)]
pub struct Watcher {
    /// Batches of an epoch.
    batches: usize,
    /// From this batch on, counted from the start, sums of figures are looked at as well.
    sums_from: usize,
    /// The variables before the step.
    before: Vec<u8>,
}

impl Watcher {
    pub fn new(batches: usize, sums_from: usize) -> Watcher {
        Watcher { batches, sums_from, before: Vec::new() }
    }

    pub fn before(&mut self, session: &mut Session) {
        session.copy_variables(&mut self.before);
    }

    /// An error when the step made a variable what it was not before.
    pub fn after(&self, session: &Session, entry: &Wiring, batch: &Batch, moment: &Moment) -> Result<()> {
        let program = session.program();
        let before = |index: usize| {
            let (start, bytes) = session.variable_places()[index];
            let variable = &program.variables[index];
            let data = &self.before[start..start + bytes];
            TensorView { dtype: variable.dtype, shape: &variable.shape, data }
        };
        let done = usize::try_from(moment.batch).unwrap_or(0);
        let looked_at = |index: &usize| {
            program.variables[*index].kind != VariableKind::Accumulator || done >= self.sums_from
        };
        let wrong = (0..program.variables.len())
            .filter(looked_at)
            .find(|&index| !finite(&session.variable(index)) && finite(&before(index)));
        let Some(index) = wrong else { return Ok(()) };
        let variable = &program.variables[index];
        let what = match variable.kind {
            VariableKind::Accumulator => "the loss is no finite number".to_owned(),
            _ => format!("`{}` is no longer finite", variable.path),
        };
        let variables = program.variables.iter().enumerate();
        let step = FailedStep {
            entry: program.entries[entry.entry].name.clone(),
            inputs: entry.inputs(program, batch, moment),
            variables: variables.map(|(i, variable)| (variable.path.clone(), before(i).to_owned())).collect(),
        };
        let (epoch, batch) = (done / self.batches + 1, done % self.batches + 1);
        Err(Error::NonFinite { what, epoch, batch, step: Some(Box::new(step)) })
    }
}

/// Whether all elements are finite; whole numbers always are.
fn finite(tensor: &TensorView<'_>) -> bool {
    let words = |exponent: u16| {
        tensor.data.as_chunks::<2>().0.iter().all(|b| u16::from_le_bytes(*b) & exponent != exponent)
    };
    match tensor.dtype {
        DType::F32 => tensor.data.as_chunks::<4>().0.iter().all(|b| f32::from_le_bytes(*b).is_finite()),
        DType::F64 => tensor.data.as_chunks::<8>().0.iter().all(|b| f64::from_le_bytes(*b).is_finite()),
        DType::F16 => words(0x7c00),
        DType::BF16 => words(0x7f80),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finite_in_each_type() {
        let is = |dtype, data: &[u8]| finite(&TensorView { dtype, shape: &[1], data });
        assert!(is(DType::F32, &f32::MAX.to_le_bytes()) && !is(DType::F32, &f32::NAN.to_le_bytes()));
        assert!(is(DType::F64, &1f64.to_le_bytes()) && !is(DType::F64, &f64::NEG_INFINITY.to_le_bytes()));
        // 65504 and infinity as f16; the largest number and NaN as bf16.
        assert!(is(DType::F16, &[0xff, 0x7b]) && !is(DType::F16, &[0, 0x7c]));
        assert!(is(DType::BF16, &[0x7f, 0x7f]) && !is(DType::BF16, &[0xc0, 0xff]));
        assert!(is(DType::I32, &[0xff; 4]));
    }
}
