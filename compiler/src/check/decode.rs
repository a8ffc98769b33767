//! The elaboration of a sequence that is written token by token; [`crate::decode`] makes two entries of what this gives.
//!
//! The text is that of the whole sequence. Here `t` is the number of new tokens, and two builtins see more: `position` counts on from the
//! tokens before, and `cached` joins what earlier steps gave.

use super::context::Context;
use super::{Checker, Result};
use crate::decode::{self, Parts, Sequence, SplitError};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::{DType, Dim, NodeId, Op, Symbol, TensorType};
use weft_grammar::Span;
use weft_runtime::program::InputSource;

/// What an entry knows of the sequence that it writes.
#[derive(Debug)]
pub struct Decoding {
    pub steps: Symbol,
    pub past: Symbol,
    /// Values that grow, by the name of their input, with all of their places.
    caches: Vec<(String, NodeId)>,
}

impl Decoding {
    /// The symbol of the earlier tokens is that of the new ones with `past` before it, so that no name of a spec meets it.
    pub fn new(steps: Symbol) -> Decoding {
        Decoding { past: format!("past.{steps}").into(), steps, caches: Vec::new() }
    }

    fn all(&self) -> Dim {
        Dim::symbol(self.past.clone()) + Dim::symbol(self.steps.clone())
    }
}

impl Checker<'_> {
    /// `position(t)` of the new tokens.
    pub(crate) fn positions_so_far(&mut self, steps: &Dim, span: Span) -> Option<Result> {
        let decoding = self.context.decoding.as_ref()?;
        if steps.as_symbol() != Some(&decoding.steps) {
            return None;
        }
        let (all, past) = (decoding.all(), Dim::symbol(decoding.past.clone()));
        let made = || {
            let count =
                self.emit(Op::Iota { axis: 0 }, &[], Some(TensorType::new(DType::I32, [all])), span)?;
            let new = Op::Slice { axis: 0, start: past, step: 1 };
            let ty = TensorType::new(DType::I32, [steps.clone()]);
            let new = self.emit(new, &[count], Some(ty), span)?;
            Ok(self.tensor(new))
        };
        Some(made())
    }

    /// `cached(x, over = t)` of the new tokens: all places so far, in the order in which they came.
    pub(crate) fn all_so_far(&mut self, x: NodeId, steps: &Dim, span: Span) -> Option<Result> {
        let decoding = self.context.decoding.as_ref()?;
        if steps.as_symbol() != Some(&decoding.steps) {
            return None;
        }
        let past = Dim::symbol(decoding.past.clone());
        let ty = self.context.builder.ty(x).clone();
        let axis = ty.shape.iter().position(|dim| dim == steps)?;
        Some(self.grown_along(x, &ty, axis, past, span))
    }

    fn grown_along(&mut self, x: NodeId, ty: &TensorType, axis: usize, past: Dim, span: Span) -> Result {
        if self.context.in_turn(x) {
            let message = "`cached` keeps one value a step, but this loop has one for each of its turns";
            let hint = "a `scan` over the tokens carries what it needs from step to step; other loops yield, and what they yield can be kept";
            return self.fail_hint(Code::StepMixed, span, message, hint);
        }
        let order: Vec<usize> = std::iter::once(axis).chain((0..ty.rank()).filter(|a| *a != axis)).collect();
        self.place(span);
        let moved = self.context.builder.transpose(x, &order);
        let new = self.built(moved, span)?;
        let mut shape = self.context.builder.ty(new).shape.clone();
        if let Some(lead) = shape.first_mut() {
            *lead = past;
        }
        let count = self.context.decoding.as_ref().map_or(0, |d| d.caches.len());
        let name = format!("{}.cached_{}", self.context.builder.path, count + 1);
        let before =
            self.context.input(&name, TensorType::new(ty.dtype, shape), InputSource::Carried { grows: true });
        let before = self.built(before, span)?;
        let all = self.emit(Op::Concat { axis: 0 }, &[before, new], None, span)?;
        if let Some(decoding) = &mut self.context.decoding {
            decoding.caches.push((name, all));
        }
        let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..ty.rank()).collect();
        let back = self.context.builder.transpose(all, &back);
        let back = self.built(back, span)?;
        Ok(self.tensor(back))
    }

    /// The two entries of a finished context: `tokens` is the input that holds the new tokens, `logits` the output.
    pub(crate) fn decoded(&mut self, mut context: Context, tokens: &str, logits: &str) -> Result<Parts> {
        let Some(decoding) = context.decoding.take() else { return Err(super::Reported) };
        let caches = decoding.caches.iter().map(|(name, _)| name.clone()).collect();
        for (name, all) in decoding.caches {
            context.output(name, all);
        }
        let sequence = Sequence {
            tokens: tokens.to_owned(),
            steps: decoding.steps,
            past: decoding.past,
            logits: logits.to_owned(),
            caches,
        };
        decode::split(context.finish(|_| false), &sequence).map_err(|error| match error {
            SplitError::Mixed(list) => {
                for mixed in list {
                    self.report(
                        Diagnostic::error(Code::StepMixed, mixed.span, mixed.message).hint(mixed.hint),
                    );
                }
                super::Reported
            }
            SplitError::Type(error) => {
                self.report(Diagnostic::error(Code::BadOperation, Span::default(), error.message))
            }
        })
    }
}
