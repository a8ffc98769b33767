//! The report of a training: figures out of an epoch's sums and collected rows.

use super::metric::{self, BATCH, Measured, MeasuredKind, Parts, rows_of_batch};
use super::scope::Scope;
use super::value::Value;
use super::{CallSite, Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::{DType, Dim, NodeId, Op, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator, MetricStatement};
use weft_runtime::program::InputSource;

impl Checker<'_> {
    /// sum / count of two accumulators.
    pub(crate) fn ratio(&mut self, sum: &str, count: &str, span: Span) -> Result {
        let ty = TensorType::scalar(DType::F32);
        self.place(span);
        let sum = self.context.read(sum, &ty);
        let sum = self.built(sum, span)?;
        let count = self.context.read(count, &ty);
        let count = self.built(count, span)?;
        let (sum, count) = (self.tensor(sum), self.tensor(count));
        self.binary(BinaryOperator::Div, (sum, span), (count, span), span)
    }

    /// A figure in the report entry: its name and value; several when the metric's value is a record.
    pub(crate) fn figure(&mut self, measured: &Measured) -> Result<Vec<(String, NodeId)>> {
        let name = &measured.name;
        match &measured.kind {
            MeasuredKind::Mean { sum, count, span } => {
                let mean = self.ratio(sum, count, *span)?;
                let mean = self.as_tensor(&mean, DType::F32, *span)?;
                Ok(vec![(name.clone(), mean.node)])
            }
            MeasuredKind::Metric { metric, scope, span, parts } => {
                self.calls.push(CallSite { span: *span, name: Rc::from(metric.name.text.as_str()) });
                let start = self.context.builder.graph.nodes.len();
                self.frames.push(metric::frame(name));
                let result = self.metric_value(metric, scope, *span, parts);
                self.frames.pop();
                let result = result.and_then(|(value, at)| match value {
                    Value::Record(fields) => fields
                        .iter()
                        .map(|(field, value)| {
                            Ok((format!("{name}.{field}"), self.figure_node(value, at, parts, start)?))
                        })
                        .collect(),
                    value => Ok(vec![(name.clone(), self.figure_node(&value, at, parts, start)?)]),
                });
                self.calls.pop();
                result
            }
        }
    }

    /// One figure as f32; `start`: the first node that the metric made.
    fn figure_node(&mut self, value: &Value, span: Span, parts: &Parts, start: usize) -> Result<NodeId> {
        let tensor = self.as_tensor(value, DType::F32, span)?;
        let ty = self.tensor_type(tensor);
        if ty.rank() > 2 || ty.shape.iter().any(|d| d.as_constant().is_none()) {
            let message = format!("the value of a metric is a number, a vector or a table, but this is {ty}");
            return self.fail(Code::ResultMismatch, span, message);
        }
        let whole = |ty: &TensorType| !ty.shape.iter().any(of_batch);
        let nodes = self.context.builder.graph.nodes.get(start..).unwrap_or_default();
        let counts = |op: &Op| matches!(op, Op::DimValue(dim) if of_batch(dim));
        if parts.collected.is_empty() && nodes.iter().any(|n| counts(&n.op) || !whole(&n.ty)) {
            return self.fail_hint(
                Code::ResultMismatch,
                span,
                "the value of a metric speaks of the whole epoch, which a batch's dims don't know",
                "add up what differs from batch to batch: `sum count = n`",
            );
        }
        self.place(span);
        let cast = self.context.builder.cast(tensor.node, DType::F32);
        self.built(cast, span)
    }

    /// What `value = …` says, and where.
    fn metric_value(
        &mut self,
        metric: &ast::Metric,
        scope: &Scope,
        span: Span,
        parts: &Parts,
    ) -> Result<(Value, Span)> {
        // The configuration and constant dims are known here too; the step's tensors are not, which `readable` tells.
        let body = scope.inner();
        let mut result = Err(Reported);
        for statement in &metric.statements {
            match statement {
                MetricStatement::Sum { name, .. } => {
                    let Some((path, ty)) = part(&parts.sums, name) else { continue };
                    self.place(span);
                    let node = self.context.read(path, ty);
                    let node = self.built(node, span)?;
                    let tensor = self.tensor(node);
                    body.bind(&name.text, tensor, name.span);
                }
                MetricStatement::Collect { name, .. } => {
                    let Some((path, ty)) = part(&parts.collected, name) else { continue };
                    let tensor = self.collected(path, ty, span)?;
                    body.bind(&name.text, tensor, name.span);
                }
                MetricStatement::Value(value) => result = self.expr(value, &body).map(|v| (v, value.span)),
                MetricStatement::Statement(statement) => {
                    let quiet = !parts.failed.contains(&statement.span);
                    self.muted += usize::from(quiet);
                    let done = self.statement(statement, &body);
                    self.muted -= usize::from(quiet);
                    if done.is_err()
                        && let ast::StatementKind::Let { pattern: ast::Pattern::One(name), .. } =
                            &statement.kind
                    {
                        body.bind(&name.text, Value::Elsewhere(Rc::from(name.text.as_str())), name.span);
                    }
                }
            }
        }
        result
    }

    /// The rows of an epoch, as an input of the report. Their axes begin with the rows of the data, so that they bind `batch`.
    fn collected(&mut self, path: &str, ty: &TensorType, span: Span) -> Result {
        let Some((first, row)) = ty.shape.split_first() else { return Err(Reported) };
        let each = rows_of_batch(first).ok_or(Reported)?;
        let mut shape = vec![Dim::symbol(BATCH)];
        if each != 1 {
            shape.push(Dim::constant(each));
        }
        shape.extend_from_slice(row);
        self.place(span);
        let node = self.context.input(path, TensorType::new(ty.dtype, shape), InputSource::Collected);
        let node = self.built(node, span)?;
        let node = self.context.builder.reshape(node, &ty.shape);
        let node = self.built(node, span)?;
        Ok(self.tensor(node))
    }
}

/// A name's place in one of the lists of [`Parts`].
fn part<'p>(
    parts: &'p [(String, String, TensorType)],
    name: &ast::Name,
) -> Option<(&'p str, &'p TensorType)> {
    parts.iter().find(|(n, _, _)| *n == name.text).map(|(_, path, ty)| (path.as_str(), ty))
}

fn of_batch(dim: &Dim) -> bool {
    let mut found = false;
    dim.symbols(&mut |symbol| found |= **symbol == *BATCH);
    found
}
