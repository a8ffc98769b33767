//! Text out of a model, token by token.
//!
//! A [`Decoder`] makes logits from tokens: the compiled model ([`Cached`], which computes each token once), or in tests a table or the same
//! model run on all tokens so far ([`Whole`]). The strategies know nothing else of it: [`choose`] takes or draws one token after another, [`beam`] follows several
//! beginnings at once. [`Ends`] says where a row is at its end. [`write()`] puts them together for rows of equal length, and [`Generator`]
//! does it for texts: it finds the tokenizer and the tokens to begin with, and gives text as soon as it is whole.
//!
//! What is drawn depends on the seed, the row's number among all that were given, and the token's place in what is written, alone: never on the
//! number of threads, nor on which rows run beside.

mod beam;
mod cached;
mod choose;
mod ends;
mod generator;
mod stray;
#[cfg(test)]
mod tests;
mod whole;

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::program::{Choice, DimExpr, Entry, Generation, Strategy};

pub use cached::Cached;
pub use ends::Ends;
pub use generator::{Asked, Generator, Given, Reading, Text, decoder};
pub use whole::Whole;

/// What makes logits from tokens.
pub trait Decoder {
    /// How many logits a row has.
    fn vocabulary(&self) -> usize;

    /// Appends `tokens` (rows × count, row by row) to the sequences; gives the logits after the last of them (rows × vocabulary).
    fn step(&mut self, tokens: &[i32], rows: usize) -> Result<&[f32]>;

    /// The sequences become those with these numbers, of which one may be taken several times.
    fn select(&mut self, rows: &[usize]) -> Result<()>;
}

/// What is asked of one run of [`write()`].
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub by: &'a Strategy,
    pub ends: &'a Ends,
    /// The numbers below are tokens. A model may have more logits than its vocabulary has tokens; what no token is for is never chosen,
    /// unless it ends a row.
    pub tokens: usize,
    /// So many tokens are written at most.
    pub max: usize,
    pub seed: u64,
}

impl Plan<'_> {
    /// May a token of this number be chosen?
    fn may(&self, id: usize) -> bool {
        id < self.tokens || i32::try_from(id).is_ok_and(|id| self.ends.is_end(id))
    }

    /// The logits of a row, minus infinity where no token may be chosen.
    fn masked<'l>(&self, logits: &'l [f32]) -> Cow<'l, [f32]> {
        if logits.len() <= self.tokens {
            return Cow::Borrowed(logits);
        }
        let may = |(id, &logit)| if self.may(id) { logit } else { f32::NEG_INFINITY };
        Cow::Owned(logits.iter().enumerate().map(may).collect())
    }
}

/// Is told what is written while it is, by the row's number. A beam search knows only at its end.
pub trait Observer {
    fn wrote(&mut self, _row: usize, _token: i32) -> Result<()> {
        Ok(())
    }

    /// Asked before each token: true ends the generation with what was written so far.
    fn interrupted(&self) -> bool {
        false
    }
}

/// What was written in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Without those that it began with, and without the one that ended it.
    pub tokens: Vec<i32>,
    /// It came to an end by itself, rather than at the most tokens or by an interruption.
    pub ended: bool,
    /// Of drawn tokens, the sum of their log-probabilities as the model has them; of beams, the sum divided by the length to the power of
    /// the length penalty. The token that ended the row counts in both.
    pub score: Option<f64>,
}

/// Writes rows, which all begin with equally many tokens; `numbers` are the rows' numbers among all that were given. One a row, in order.
pub fn write(
    decoder: &mut dyn Decoder,
    begin: &[&[i32]],
    numbers: &[usize],
    plan: &Plan<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Written>> {
    match plan.by.choice {
        Choice::Beam { .. } => beam::write(decoder, begin, plan, observer),
        _ => choose::write(decoder, begin, numbers, plan, observer),
    }
}

/// How many logits a row of the entry has.
fn vocabulary(entry: &Entry) -> Result<usize> {
    let logits = entry.outputs.iter().find(|output| output.name == Generation::LOGITS);
    match logits.and_then(|output| entry.dims.get(output.shape.last()?.0 as usize)) {
        Some(DimExpr::Constant(size)) => Ok(usize::try_from(*size).unwrap_or(0)),
        _ => Err(Error::Unsound(format!("the entry `{}` gives no logits", entry.name))),
    }
}

/// Scores of tokens that stand in a row already are divided by the penalty where they are positive, else multiplied, each token once.
fn penalise(scores: &mut [f64], row: &[i32], penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<usize> = row.iter().filter_map(|&id| usize::try_from(id).ok()).collect();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(score) = scores.get_mut(id) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(logits: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    most + logits.map(|logit| (logit - most).exp()).sum::<f64>().ln()
}
