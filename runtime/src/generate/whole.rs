//! The model on all tokens so far, again at each token: slow, and right whatever the model is.

use super::{Decoder, vocabulary};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::program::{Generation, InputSource};
use crate::tensor::{Tensor, TensorView};

/// A decoder that keeps nothing but the tokens.
#[derive(Debug)]
pub struct Whole<'s> {
    session: &'s mut Session,
    entry: usize,
    /// In the entry's order; the tokens so far take the place of one.
    inputs: Vec<Tensor>,
    target: usize,
    /// Inputs with a row for each sequence.
    by_row: Vec<bool>,
    rows: Vec<Vec<i32>>,
    logits: Vec<f32>,
    vocabulary: usize,
}

impl<'s> Whole<'s> {
    /// `inputs` are the entry's other inputs, by name.
    pub fn new(session: &'s mut Session, entry: usize, inputs: &[(String, Tensor)]) -> Result<Whole<'s>> {
        let description = &session.program().entries[entry];
        let missing =
            |input: &str| Error::MissingInput { entry: description.name.clone(), input: input.into() };
        let target = description.inputs.iter().position(|input| input.source == InputSource::Written);
        let target = target.ok_or_else(|| missing(Generation::TARGET))?;
        let rows = description.inputs[target].shape.first();
        let by_row = description.inputs.iter().map(|input| input.shape.first() == rows).collect();
        let tensors = description.inputs.iter().enumerate().map(|(at, input)| {
            let given = inputs.iter().find(|(name, _)| *name == input.name);
            match given {
                _ if at == target => Ok(Tensor::from_i32(&[0, 0], &[])),
                Some((_, tensor)) => Ok(tensor.clone()),
                None => Err(missing(&input.name)),
            }
        });
        let inputs = tensors.collect::<Result<_>>()?;
        let vocabulary = vocabulary(description)?;
        Ok(Whole { entry, inputs, target, by_row, rows: Vec::new(), logits: Vec::new(), vocabulary, session })
    }
}

impl Decoder for Whole<'_> {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn step(&mut self, tokens: &[i32], rows: usize) -> Result<&[f32]> {
        self.rows.resize(rows, Vec::new());
        let count = tokens.len() / rows.max(1);
        for (row, new) in self.rows.iter_mut().zip(tokens.chunks(count.max(1))) {
            row.extend(new);
        }
        let length = self.rows.first().map_or(0, Vec::len);
        self.inputs[self.target] = Tensor::from_i32(&[rows, length], &self.rows.concat());
        let views: Vec<TensorView<'_>> = self.inputs.iter().map(Tensor::view).collect();
        let outputs = self.session.run(self.entry, &views)?;
        let logits = outputs.named(Generation::LOGITS);
        self.logits = logits.map(|logits| logits.to_f32()).unwrap_or_default();
        Ok(&self.logits)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        for (at, tensor) in self.inputs.iter_mut().enumerate() {
            if self.by_row[at] && at != self.target {
                *tensor = tensor.rows(rows);
            }
        }
        Ok(())
    }
}
