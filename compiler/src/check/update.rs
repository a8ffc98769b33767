//! From gradients to new weights: clipping, accumulation over batches, averages of weights, and rates that are reduced.
//!
//! Without accumulation a step's entry moves its weights itself. With it, a step adds its gradients, weighted by the loss's count, to
//! sums of their own, and a second entry moves the weights by the mean and clears the sums: as if those rows had been one batch.

use super::context::Context;
use super::loss::Loss;
use super::scope::Scope;
use super::value::Value;
use super::weight::WeightMap;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::op::{Binary, Compare, Reduction, Unary};
use crate::graph::{DType, NodeId, TensorType, TypeError};
use std::collections::HashSet;
use weft_grammar::Span;
use weft_grammar::ast::{self, Clipping, DottedName};
use weft_runtime::program::{InputSource, VariableKind};

/// `clip gradients by norm 1.0`
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    pub by: Clipping,
    pub limit: f64,
}

/// `reduce rate by 0.5 after 3 epochs without better validation.loss with min_rate = 1e-5, cooldown = 2`
#[derive(Clone, Copy, Debug)]
pub struct Plateau<'t> {
    pub factor: f64,
    pub epochs: usize,
    pub by: &'t DottedName,
    pub min_rate: f64,
    pub cooldown: usize,
    pub span: Span,
}

/// One `minimize`, as far as its gradients.
#[derive(Debug)]
pub struct Move<'t> {
    pub using: &'t ast::Expr,
    pub groups: &'t [ast::GroupRule],
    /// The figure of its loss.
    pub figure: String,
    pub span: Span,
    pub weights: Vec<(String, NodeId)>,
    /// Of each weight.
    pub constraints: Vec<Option<WeightMap>>,
    pub gradients: Vec<NodeId>,
}

impl<'t> Move<'t> {
    /// The sum of a weight's gradients over the batches of one update.
    fn gathered(&self, training: &str, weight: &str) -> String {
        format!("{weight}/{training}.{}.gradient", self.figure)
    }

    /// The sum of the loss's counts over the same batches.
    fn count(&self, training: &str) -> String {
        format!("{training}/{}.gathered", self.figure)
    }
}

impl Checker<'_> {
    // ---- what the clauses say

    /// A number that a clause needs, within bounds.
    pub(crate) fn clause_number(
        &mut self,
        value: &ast::Expr,
        scope: &Scope,
        what: &str,
        needed: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        let given = self.expr(value, scope)?;
        match given.as_float().filter(|f| fits(*f)) {
            Some(number) => Ok(number),
            None => {
                let message = format!("{what} is {needed}, not {}", given.shown());
                self.fail(Code::BadKeyValue, value.span, message)
            }
        }
    }

    /// A whole number that a clause needs, from `least` on.
    pub(crate) fn clause_count(
        &mut self,
        value: &ast::Expr,
        scope: &Scope,
        what: &str,
        least: i64,
    ) -> Result<usize> {
        let given = self.expr(value, scope)?;
        let count = match given {
            Value::Int(i) if i >= least => usize::try_from(i).ok(),
            _ => None,
        };
        match count {
            Some(count) => Ok(count),
            None => {
                let message = format!("{what} is an int, {least} or more, not {}", given.shown());
                self.fail(Code::BadKeyValue, value.span, message)
            }
        }
    }

    pub(crate) fn clip(&mut self, by: Clipping, limit: &ast::Expr, scope: &Scope) -> Result<Clip> {
        let what = format!("the limit of `clip gradients by {}`", by.words());
        let limit = self.clause_number(limit, scope, &what, "a number above 0", |f| f > 0.0)?;
        Ok(Clip { by, limit })
    }

    pub(crate) fn average_share(&mut self, share: &ast::Expr, scope: &Scope) -> Result<f64> {
        let what = "the share of the past in `average weights by`";
        self.clause_number(share, scope, what, "a number between 0 and 1", |f| f > 0.0 && f < 1.0)
    }

    pub(crate) fn plateau<'t>(
        &mut self,
        factor: &ast::Expr,
        epochs: &ast::Expr,
        by: &'t DottedName,
        options: &[ast::Argument],
        span: Span,
        scope: &Scope,
    ) -> Result<Plateau<'t>> {
        const OPTIONS: [&str; 2] = ["min_rate", "cooldown"];
        let inside = |f: f64| f > 0.0 && f < 1.0;
        let factor = self.clause_number(
            factor,
            scope,
            "the factor of `reduce rate by`",
            "a number between 0 and 1",
            inside,
        );
        let epochs = self.clause_count(epochs, scope, "the number of epochs to wait", 1);
        let (mut min_rate, mut cooldown) = (Ok(0.0), Ok(0));
        let mut unknown = false;
        for option in options {
            let Some(key) = &option.name else { continue };
            match key.text.as_str() {
                "min_rate" => {
                    let fits = |f: f64| f >= 0.0 && f.is_finite();
                    min_rate =
                        self.clause_number(&option.value, scope, "`min_rate`", "a number, 0 or more", fits);
                }
                "cooldown" => cooldown = self.clause_count(&option.value, scope, "`cooldown`", 0),
                other => {
                    let hint = match other {
                        "min_lr" | "minimum" | "least" => Some("the least rate is `min_rate`".to_owned()),
                        _ => did_you_mean(other, OPTIONS),
                    };
                    let message = format!("`reduce rate` has no option `{other}`");
                    self.report(Diagnostic::error(Code::UnknownArgument, key.span, message).hint_if(hint));
                    unknown = true;
                }
            }
        }
        let plateau =
            Plateau { factor: factor?, epochs: epochs?, by, min_rate: min_rate?, cooldown: cooldown?, span };
        if unknown { Err(Reported) } else { Ok(plateau) }
    }

    // ---- accumulation

    /// Adds the gradients of this batch to what the update will read. They are of the loss's mean times its count.
    pub(crate) fn gather(&mut self, training: &str, moves: &[Move<'_>], losses: &[Loss]) -> Result<()> {
        for (step, loss) in moves.iter().zip(losses) {
            let scalar = TensorType::scalar(DType::F32);
            self.add_to(&step.count(training), loss.count, &scalar, step.span)?;
            for ((path, _), gradient) in step.weights.iter().zip(&step.gradients) {
                let ty = self.context.builder.ty(*gradient).clone();
                self.add_to(&step.gathered(training, path), *gradient, &ty, step.span)?;
            }
        }
        Ok(())
    }

    fn add_to(&mut self, path: &str, part: NodeId, ty: &TensorType, span: Span) -> Result<()> {
        let old = self.variable(path, VariableKind::Slot, ty, false, false, span, None)?;
        self.place(span);
        let sum = self.context.builder.binary(Binary::Add, old, part);
        let sum = self.built(sum, span)?;
        self.context.update(path, sum);
        Ok(())
    }

    /// Reads the mean gradients in the update's own entry, and clears their sums there.
    pub(crate) fn gathered<'t>(&mut self, training: &str, step: &Move<'t>) -> Result<Move<'t>> {
        let scalar = TensorType::scalar(DType::F32);
        let count = self.take_sum(&step.count(training), &scalar, step.span)?;
        let count = self.divisor(count, step.span)?;
        let (mut weights, mut gradients) = (Vec::new(), Vec::new());
        for (path, _) in &step.weights {
            let declared = self.by_path.get(path).and_then(|i| self.variables.get(*i)).ok_or(Reported)?;
            let ty = declared.variable.ty.clone();
            self.place(step.span);
            let weight = self.context.read(path, &ty);
            weights.push((path.clone(), self.built(weight, step.span)?));
            let sum = self.take_sum(&step.gathered(training, path), &ty, step.span)?;
            let mean = self.over(sum, count);
            gradients.push(self.built(mean, step.span)?);
        }
        let (figure, constraints) = (step.figure.clone(), step.constraints.clone());
        Ok(Move { figure, weights, constraints, gradients, ..*step })
    }

    /// A sum's value; its next one starts from nothing.
    fn take_sum(&mut self, path: &str, ty: &TensorType, span: Span) -> Result<NodeId> {
        self.place(span);
        let sum = self.context.read(path, ty);
        let sum = self.built(sum, span)?;
        let nothing = self.context.builder.full(0.0, ty);
        let nothing = self.built(nothing, span)?;
        self.context.update(path, nothing);
        Ok(sum)
    }

    fn over(&mut self, x: NodeId, scalar: NodeId) -> std::result::Result<NodeId, TypeError> {
        let like = self.spread(scalar, x)?;
        self.context.builder.binary(Binary::Div, x, like)
    }

    /// An f32 scalar as a tensor like `x`.
    fn spread(&mut self, scalar: NodeId, x: NodeId) -> std::result::Result<NodeId, TypeError> {
        let b = &mut self.context.builder;
        let ty = b.ty(x).clone();
        let scalar = b.cast(scalar, ty.dtype)?;
        b.broadcast_to(scalar, &ty.shape)
    }

    // ---- clipping

    /// Clips in the order in which the clauses stand.
    pub(crate) fn clipped(
        &mut self,
        mut gradients: Vec<NodeId>,
        clips: &[Clip],
        span: Span,
    ) -> Result<Vec<NodeId>> {
        for clip in clips {
            self.place(span);
            let limit = clip.limit;
            let result = match clip.by {
                Clipping::Value => gradients.iter().map(|g| self.clip_value(*g, limit)).collect(),
                Clipping::Norm => gradients
                    .iter()
                    .map(|g| self.clip_norm(std::slice::from_ref(g), limit))
                    .collect::<std::result::Result<Vec<_>, _>>()
                    .map(|all| all.concat()),
                Clipping::GlobalNorm => self.clip_norm(&gradients, limit),
            };
            gradients = self.built(result, span)?;
        }
        Ok(gradients)
    }

    fn clip_value(&mut self, x: NodeId, limit: f64) -> std::result::Result<NodeId, TypeError> {
        let b = &mut self.context.builder;
        let ty = b.ty(x).clone();
        let (high, low) = (b.full(limit, &ty)?, b.full(-limit, &ty)?);
        let below = b.binary(Binary::Min, x, high)?;
        b.binary(Binary::Max, below, low)
    }

    /// The length of all together, f32; none of nothing.
    pub(crate) fn norm(&mut self, all: &[NodeId]) -> std::result::Result<Option<NodeId>, TypeError> {
        let b = &mut self.context.builder;
        let mut total: Option<NodeId> = None;
        for &x in all {
            let x = b.cast(x, DType::F32)?;
            let square = b.binary(Binary::Mul, x, x)?;
            let axes: Vec<usize> = (0..b.ty(square).rank()).collect();
            let sum = b.reduce(Reduction::Sum, square, &axes)?;
            total = Some(match total {
                None => sum,
                Some(total) => b.binary(Binary::Add, total, sum)?,
            });
        }
        total.map(|total| b.unary(Unary::Sqrt, total)).transpose()
    }

    /// g · limit / max(norm, limit): unchanged while the norm of all together is within the limit.
    fn clip_norm(&mut self, all: &[NodeId], limit: f64) -> std::result::Result<Vec<NodeId>, TypeError> {
        let Some(norm) = self.norm(all)? else { return Ok(Vec::new()) };
        let b = &mut self.context.builder;
        let limit = b.constant(limit, DType::F32)?;
        let larger = b.binary(Binary::Max, norm, limit)?;
        let factor = b.binary(Binary::Div, limit, larger)?;
        let mut clipped = Vec::new();
        for &x in all {
            let factor = self.spread(factor, x)?;
            clipped.push(self.context.builder.binary(Binary::Mul, x, factor)?);
        }
        Ok(clipped)
    }

    // ---- averages

    /// Keeps the moving average of every weight that moved, in the last entry that moves it. The first step's is the weight itself.
    /// Gives the paths of weights and of their averages.
    pub(crate) fn averages(
        &mut self,
        training: &str,
        share: f64,
        entries: &mut [(Context, Vec<String>)],
        span: Span,
    ) -> Result<Vec<(String, String)>> {
        let average = |path: &String| (path.clone(), format!("{path}/{training}.average"));
        let mut seen = HashSet::new();
        let mut averaged = Vec::new();
        for (context, moved) in entries.iter_mut().rev() {
            std::mem::swap(&mut self.context, context);
            let own: Vec<(String, String)> =
                moved.iter().filter(|path| seen.insert((*path).clone())).map(average).collect();
            let result = self.average_all(share, &own, span);
            std::mem::swap(&mut self.context, context);
            result?;
            averaged.splice(0..0, own);
        }
        Ok(averaged)
    }

    fn average_all(&mut self, share: f64, weights: &[(String, String)], span: Span) -> Result<()> {
        let step = self.context.input("step", TensorType::scalar(DType::I64), InputSource::Step);
        let step = self.built(step, span)?;
        self.place(span);
        let share = self.share_at(step, share);
        let share = self.built(share, span)?;
        for (path, own) in weights {
            let declared = self.by_path.get(path).and_then(|i| self.variables.get(*i)).ok_or(Reported)?;
            let ty = declared.variable.ty.clone();
            let old = self.variable(own, VariableKind::Slot, &ty, false, false, span, None)?;
            let weight = self.context.read(path, &ty);
            let weight = self.built(weight, span)?;
            let new = self.between(old, weight, share);
            let new = self.built(new, span)?;
            self.context.update(own, new);
        }
        Ok(())
    }

    /// 0 at the first step, then the share.
    fn share_at(&mut self, step: NodeId, share: f64) -> std::result::Result<NodeId, TypeError> {
        let b = &mut self.context.builder;
        let zero = b.constant(0.0, DType::I64)?;
        let first = b.compare(Compare::Eq, step, zero)?;
        let (nothing, share) = (b.constant(0.0, DType::F32)?, b.constant(share, DType::F32)?);
        b.select(first, nothing, share)
    }

    /// new + share · (old - new)
    fn between(&mut self, old: NodeId, new: NodeId, share: NodeId) -> std::result::Result<NodeId, TypeError> {
        let share = self.spread(share, new)?;
        let b = &mut self.context.builder;
        let difference = b.binary(Binary::Sub, old, new)?;
        let part = b.binary(Binary::Mul, share, difference)?;
        b.binary(Binary::Add, new, part)
    }
}
