//! From a loss to the gradients of the weights that it moves.

use super::scope::Scope;
use super::value::Value;
use super::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::op::{Binary, Op, Reduction, Unary};
use crate::graph::{DType, NodeId, TensorType};
use std::collections::HashSet;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator, DottedName};
use weft_runtime::program::VariableKind;

/// A loss in an entry: what is differentiated.
#[derive(Debug)]
pub struct Loss {
    /// `loss`, or `STEP.loss`
    pub figure: String,
    pub mean: NodeId,
    pub span: Span,
}

impl Checker<'_> {
    /// Elaborates a loss and adds its parts to the accumulators.
    pub(crate) fn loss(
        &mut self,
        training: &str,
        step: Option<&ast::Name>,
        expr: &ast::Expr,
        scope: &Scope,
        taken: &mut Vec<String>,
    ) -> Result<Loss> {
        let figure = match step {
            None => "loss".to_owned(),
            Some(name) => format!("{}.loss", name.text),
        };
        let same = taken.iter().filter(|t| **t == figure || t.starts_with(&format!("{figure}_"))).count();
        let figure = if same == 0 { figure } else { format!("{figure}_{}", same + 1) };
        taken.push(figure.clone());
        let span = expr.span;
        let value = self.expr(expr, scope)?;
        let (value, weight) = self.weighted(value, span)?;
        let Value::Tensor(tensor) = value else {
            return self.fail(Code::BadLoss, span, format!("a loss is a tensor, not {}", value.kind()));
        };
        let ty = self.tensor_type(tensor);
        if !ty.dtype.is_float() {
            return self.fail_hint(
                Code::BadLoss,
                span,
                format!("a loss is a float tensor, not {ty}"),
                "cast it: `f32(…)`",
            );
        }
        let (sum, count) = self.mean_parts(value, weight, span)?;
        let base = format!("{training}/{figure}");
        let scalar = TensorType::scalar(DType::F32);
        self.accumulate(&format!("{base}.sum"), &sum, &scalar, span)?;
        self.accumulate(&format!("{base}.count"), &count, &scalar, span)?;
        let mean = self.binary(BinaryOperator::Div, (sum, span), (count, span), span)?;
        let mean = self.as_tensor(&mean, DType::F32, span)?;
        Ok(Loss { figure, mean: mean.node, span })
    }

    /// A loss and, where it is `{ loss, weight }`, the weight of each of its elements.
    pub(crate) fn weighted(&mut self, value: Value, span: Span) -> Result<(Value, Option<(Value, Span)>)> {
        let Value::Record(fields) = &value else { return Ok((value, None)) };
        let field = |name: &str| fields.iter().find(|(n, _)| **n == *name).map(|(_, v)| v.clone());
        match (field("loss"), field("weight"), fields.len()) {
            (Some(loss), Some(weight), 2) => Ok((loss, Some((weight, span)))),
            _ => self.fail(
                Code::BadLoss,
                span,
                "a loss that is a record has the fields `loss` and `weight`",
            ),
        }
    }

    /// The weights that a loss moves: what it depends on, less what is held, frozen or not in `over`.
    pub(crate) fn moved(
        &mut self,
        loss: &Loss,
        over: &[DottedName],
        frozen: &[&DottedName],
    ) -> Result<Vec<(String, NodeId)>> {
        let graph = &self.context.builder.graph;
        let mut reached = vec![false; loss.mean.index() + 1];
        if let Some(last) = reached.last_mut() {
            *last = true;
        }
        let mut found = HashSet::new();
        for index in (0..reached.len()).rev() {
            if !reached.get(index).copied().unwrap_or(false) {
                continue;
            }
            let Some(node) = graph.nodes.get(index) else { continue };
            if let Op::Variable(path) = &node.op {
                found.insert(path.clone());
            }
            // No gradient passes through `hold`.
            if node.op == Op::Hold {
                continue;
            }
            for input in &node.inputs {
                if let Some(slot) = reached.get_mut(input.index()) {
                    *slot = true;
                }
            }
        }
        for names in over.iter().chain(frozen.iter().copied()) {
            let path = dotted(names);
            let known = self
                .variables
                .iter()
                .any(|v| v.variable.kind == VariableKind::Weight && under(&v.variable.path, &path));
            if !known {
                let mut roots: Vec<String> = self
                    .variables
                    .iter()
                    .filter(|v| v.variable.kind == VariableKind::Weight)
                    .filter_map(|v| v.variable.path.split('.').next().map(str::to_owned))
                    .collect();
                roots.dedup();
                let hint = did_you_mean(&path, roots.iter().map(String::as_str));
                let message = format!("there are no weights under `{path}`");
                return Err(
                    self.report(Diagnostic::error(Code::NoSuchWeights, names.span, message).hint_if(hint))
                );
            }
        }
        let over: Vec<String> = over.iter().map(dotted).collect();
        let frozen: Vec<String> = frozen.iter().map(|n| dotted(n)).collect();
        let mut weights = Vec::new();
        for declared in &mut self.variables {
            let variable = &mut declared.variable;
            if variable.kind != VariableKind::Weight || !found.contains(&variable.path) {
                continue;
            }
            if frozen.iter().any(|f| under(&variable.path, f)) {
                continue;
            }
            let chosen = over.is_empty() || over.iter().any(|o| under(&variable.path, o));
            if variable.trainable
                && chosen
                && let Some(node) = self.context.reads.get(&variable.path)
            {
                weights.push((variable.path.clone(), *node));
            }
        }
        if weights.is_empty() {
            return self.fail(
                Code::NothingToTrain,
                loss.span,
                "this loss depends on no weight that may move",
            );
        }
        Ok(weights)
    }

    pub(crate) fn gradients(&mut self, y: NodeId, wrt: &[NodeId], span: Span) -> Result<Vec<NodeId>> {
        self.place(span);
        match crate::grad::gradient(&mut self.context.builder, y, None, wrt) {
            Ok(nodes) => Ok(nodes),
            Err(error) => {
                let mut diagnostic = Diagnostic::error(Code::NoGradient, error.span, error.message);
                if error.span != span {
                    diagnostic = diagnostic.related(span, "its gradient is needed here");
                }
                Err(self.report(diagnostic))
            }
        }
    }

    /// Clips by value, then by the norm of all gradients together.
    pub(crate) fn clipped(
        &mut self,
        gradients: Vec<NodeId>,
        value: Option<f64>,
        norm: Option<f64>,
        span: Span,
    ) -> Result<Vec<NodeId>> {
        self.place(span);
        let mut gradients = gradients;
        if let Some(limit) = value {
            for gradient in &mut gradients {
                let result = self.clip_value(*gradient, limit);
                *gradient = self.built(result, span)?;
            }
        }
        if let Some(limit) = norm {
            let result = self.clip_norm(&gradients, limit);
            gradients = self.built(result, span)?;
        }
        Ok(gradients)
    }

    fn clip_value(&mut self, x: NodeId, limit: f64) -> std::result::Result<NodeId, crate::graph::TypeError> {
        let b = &mut self.context.builder;
        let ty = b.ty(x).clone();
        let (high, low) = (b.full(limit, &ty)?, b.full(-limit, &ty)?);
        let below = b.binary(Binary::Min, x, high)?;
        b.binary(Binary::Max, below, low)
    }

    /// g · limit / max(norm, limit): unchanged while the norm is within the limit.
    fn clip_norm(
        &mut self,
        all: &[NodeId],
        limit: f64,
    ) -> std::result::Result<Vec<NodeId>, crate::graph::TypeError> {
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
        let Some(total) = total else { return Ok(Vec::new()) };
        let norm = b.unary(Unary::Sqrt, total)?;
        let limit = b.constant(limit, DType::F32)?;
        let larger = b.binary(Binary::Max, norm, limit)?;
        let factor = b.binary(Binary::Div, limit, larger)?;
        let mut clipped = Vec::new();
        for &x in all {
            let ty = b.ty(x).clone();
            let factor = b.cast(factor, ty.dtype)?;
            let factor = b.broadcast_to(factor, &ty.shape)?;
            clipped.push(b.binary(Binary::Mul, x, factor)?);
        }
        Ok(clipped)
    }
}

/// Is `path` this instance or inside it?
fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn dotted(name: &DottedName) -> String {
    name.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(".")
}
