//! From a loss to the gradients of the weights that it moves.

use super::scope::Scope;
use super::value::Value;
use super::weight::Penalties;
use super::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean_path};
use crate::graph::op::{Compare, Op};
use crate::graph::{DType, NodeId, TensorType};
use std::collections::HashSet;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator, DottedName};
use weft_runtime::program::VariableKind;

/// A loss as its expression gives it.
#[derive(Debug)]
pub struct Draft {
    /// `loss`, or `STEP.loss`
    pub figure: String,
    sum: Value,
    count: Value,
    /// Do rows weigh differently? Then their weights may all be 0.
    weighs: bool,
    span: Span,
}

/// A loss in an entry: what is differentiated.
#[derive(Debug)]
pub struct Loss {
    /// `loss`, or `STEP.loss`
    pub figure: String,
    pub mean: NodeId,
    /// What the mean was divided by: the number of elements, or the sum of their weights.
    pub count: NodeId,
    pub span: Span,
}

impl Checker<'_> {
    /// Elaborates a loss.
    pub(crate) fn loss(
        &mut self,
        step: Option<&ast::Name>,
        expr: &ast::Expr,
        scope: &Scope,
        taken: &mut Vec<String>,
    ) -> Result<Draft> {
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
            let hint = self.kind_hint("tensor", &value);
            let message = format!("a loss is a tensor, not {}", value.kind());
            return Err(self.report(Diagnostic::error(Code::BadLoss, span, message).hint_if(hint)));
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
        let weighs = weight.is_some();
        let (sum, count) = self.mean_parts(value, weight, span)?;
        Ok(Draft { figure, sum, count, weighs, span })
    }

    /// Adds a loss's parts to the accumulators, and what its weights' regularisers ask to its mean.
    pub(crate) fn settled(&mut self, training: &str, draft: Draft, penalties: &Penalties) -> Result<Loss> {
        let Draft { figure, mut sum, count, weighs, span } = draft;
        let plain = sum.clone();
        let penalty = self.penalty(penalties)?;
        if let Some(penalty) = &penalty {
            // The figure is the sum over the count, and counts each batch's penalty as that of all its rows.
            let own = self.binary(BinaryOperator::Mul, penalty.clone(), (count.clone(), span), span)?;
            sum = self.binary(BinaryOperator::Add, (sum, span), (own, span), span)?;
        }
        let base = format!("{training}/{figure}");
        let scalar = TensorType::scalar(DType::F32);
        self.accumulate(&format!("{base}.sum"), &sum, &scalar, span)?;
        self.accumulate(&format!("{base}.count"), &count, &scalar, span)?;
        let count = self.as_tensor(&count, DType::F32, span)?;
        let divisor = if weighs { self.divisor(count.node, span)? } else { count.node };
        let divisor = self.tensor(divisor);
        let mut mean = self.binary(BinaryOperator::Div, (plain, span), (divisor, span), span)?;
        if let Some(penalty) = penalty {
            mean = self.binary(BinaryOperator::Add, (mean, span), penalty, span)?;
        }
        let mean = self.as_tensor(&mean, DType::F32, span)?;
        Ok(Loss { figure, mean: mean.node, count: count.node, span })
    }

    /// What a sum is divided by: 1 where its weights add up to nothing. A batch of padding alone then moves no weight, where 0 / 0
    /// would spoil them all.
    pub(crate) fn divisor(&mut self, count: NodeId, span: Span) -> Result<NodeId> {
        self.place(span);
        let b = &mut self.context.builder;
        let safe = b.constant(0.0, DType::F32).and_then(|zero| {
            let nothing = b.compare(Compare::Eq, count, zero)?;
            let one = b.constant(1.0, DType::F32)?;
            b.select(nothing, one, count)
        });
        self.built(safe, span)
    }

    /// A loss and, where it is `{ loss, weight }`, the weight of each of its elements.
    pub(crate) fn weighted(&mut self, value: Value, span: Span) -> Result<(Value, Option<(Value, Span)>)> {
        let Value::Record(fields) = &value else { return Ok((value, None)) };
        let field = |name: &str| fields.iter().find(|(n, _)| **n == *name).map(|(_, v)| v.clone());
        match (field("loss"), field("weight"), fields.len()) {
            (Some(loss), Some(weight), 2) => Ok((loss, Some((weight, span)))),
            _ => self.fail_hint(
                Code::BadLoss,
                span,
                "a loss that is a record has the fields `loss` and `weight`",
                "write `{ loss = …, weight = … }`: the mean is weighted so",
            ),
        }
    }

    /// The weights that a loss moves: what it depends on, less what is held, frozen or not in `over`.
    pub(crate) fn moved(
        &mut self,
        loss: &Draft,
        over: &[DottedName],
        frozen: &[&DottedName],
    ) -> Result<Vec<(String, NodeId)>> {
        let graph = &self.context.builder.graph;
        let mut reached = vec![false; graph.nodes.len()];
        for part in [&loss.sum, &loss.count] {
            if let Value::Tensor(part) = part
                && let Some(slot) = reached.get_mut(part.node.index())
            {
                *slot = true;
            }
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
                let weights = self.variables.iter().filter(|v| v.variable.kind == VariableKind::Weight);
                let hint = did_you_mean_path(&path, weights.map(|v| v.variable.path.as_str()));
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
            if variable.kind != VariableKind::Weight {
                continue;
            }
            // Also what no loss depends on, such as a model that is only measured.
            if frozen.iter().any(|f| under(&variable.path, f)) {
                self.trained.excuse(&variable.path);
                continue;
            }
            if !found.contains(&variable.path) {
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
            return self.fail_hint(
                Code::NothingToTrain,
                loss.span,
                "this loss depends on no weight that may move",
                "a loss compares what a model gives, as `Net(image)`, with what it should give; `freeze` and `over` hold weights",
            );
        }
        Ok(weights)
    }

    /// The gradient of `y`, weighted by `seed` where there is one. `last`: no gradient of it will be taken.
    pub(crate) fn gradients(
        &mut self,
        y: NodeId,
        seed: Option<NodeId>,
        wrt: &[NodeId],
        last: bool,
        span: Span,
    ) -> Result<Vec<NodeId>> {
        self.place(span);
        let take = if last { crate::grad::last_gradient } else { crate::grad::gradient };
        match take(&mut self.context.builder, y, seed, wrt) {
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
}

/// Is `path` this instance or inside it?
fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn dotted(name: &DottedName) -> String {
    name.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(".")
}
