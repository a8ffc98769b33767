//! The model on new tokens alone: what the earlier ones gave is kept in the session.

use super::stray::explained;
use super::{Decoder, vocabulary};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::program::{Generation, InputSource};
use crate::tensor::{Tensor, TensorView};

/// A decoder that computes each token once.
#[derive(Debug)]
pub struct Cached<'s> {
    session: &'s mut Session,
    start: usize,
    step: usize,
    /// Those of the start, in order.
    inputs: Vec<Tensor>,
    begun: bool,
    /// So many tokens are in each row.
    length: usize,
    logits: Vec<f32>,
    vocabulary: usize,
}

impl<'s> Cached<'s> {
    /// A decoder over the two entries of a generation; `inputs` are those of the start, by name, except the tokens.
    pub fn new(
        session: &'s mut Session,
        generation: &Generation,
        inputs: &[(String, Tensor)],
    ) -> Result<Cached<'s>> {
        let (start, step) = (session.entry(&generation.start)?, session.entry(&generation.step)?);
        let program = session.program();
        let missing =
            |input: &str| Error::MissingInput { entry: generation.name.clone(), input: input.into() };
        let tensors = program.entries[start].inputs.iter().map(|input| {
            let given = inputs.iter().find(|(name, _)| *name == input.name);
            match given {
                // The first tokens take its place.
                _ if input.source == InputSource::Written => Ok(Tensor::from_i32(&[0, 0], &[])),
                Some((_, tensor)) => Ok(tensor.clone()),
                None => Err(missing(&input.name)),
            }
        });
        let inputs = tensors.collect::<Result<_>>()?;
        let vocabulary = vocabulary(&program.entries[step])?;
        Ok(Cached { start, step, inputs, begun: false, length: 0, logits: Vec::new(), vocabulary, session })
    }
}

impl Decoder for Cached<'_> {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn step(&mut self, tokens: &[i32], rows: usize) -> Result<&[f32]> {
        let tokens = Tensor::from_i32(&[rows, tokens.len() / rows.max(1)], tokens);
        self.length += tokens.shape[1];
        self.run(&tokens).map_err(|error| {
            let names = self.session.program().entries[self.start].inputs.iter().map(|i| i.name.as_str());
            explained(error, &tokens, self.length, names.zip(&self.inputs))
        })?;
        Ok(&self.logits)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.session.select(self.step, rows)
    }
}

impl Cached<'_> {
    /// Goes on with these tokens, which gives the logits.
    fn run(&mut self, tokens: &Tensor) -> Result<()> {
        if !self.begun {
            let sources = self.session.program().entries[self.start].inputs.iter().map(|input| &input.source);
            let views = sources.zip(&self.inputs).map(|(source, given)| match source {
                InputSource::Written => tokens.view(),
                _ => given.view(),
            });
            let views: Vec<TensorView<'_>> = views.collect();
            self.session.begin(self.start, self.step, &views)?;
            self.begun = true;
        }
        let outputs = self.session.advance(self.step, &[tokens.view()])?;
        self.logits.clear();
        if let Some(logits) = outputs.named(Generation::LOGITS) {
            let numbers = logits.data.as_chunks::<4>().0;
            self.logits.extend(numbers.iter().map(|&number| f32::from_le_bytes(number)));
        }
        Ok(())
    }
}
