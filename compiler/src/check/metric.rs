//! Metrics: parts that are summed over an epoch, rows that are collected over it, and a value that is computed from both once.
//!
//! A `sum` is an accumulator that each batch adds to. What is collected leaves the steps and the evaluation as an output, the runtime
//! keeps the rows of all batches, and the report takes them as an input. There the batch is the whole epoch: the symbol `batch` is
//! the count of all its rows, so that a metric's types mean the same in both places.

use super::layer::Frame;
use super::scope::Scope;
use super::value::Value;
use super::{CallSite, Checker, Reported, Result};
use super::{names::Global, shape::Signature};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, did_you_mean_name};
use crate::graph::{DType, Dim, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator, ExprKind, MetricStatement};
use weft_runtime::program::VariableKind;

/// One figure of a `measure`.
#[derive(Debug)]
pub struct Measured {
    pub name: String,
    pub higher: bool,
    /// What the report needs: the scope of configuration, and the accumulators by their names.
    pub(super) kind: MeasuredKind,
}

#[derive(Debug)]
pub(super) enum MeasuredKind {
    Metric {
        metric: Rc<ast::Metric>,
        scope: Scope,
        span: Span,
        parts: Parts,
    },
    /// The mean of a tensor.
    Mean {
        sum: String,
        count: String,
        span: Span,
    },
}

/// What a metric's statements left for its value.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Accumulators by the names of the sums.
    pub sums: Vec<(String, String, TensorType)>,
    /// Inputs of the report by the names of what is collected, with the type of a whole epoch.
    pub collected: Vec<(String, String, TensorType)>,
    /// The statements that need the whole epoch.
    pub failed: Vec<Span>,
}

/// The body of a metric under the name of its figure: what one figure computes is named apart from every other's.
pub(super) fn frame(figure: &str) -> Frame {
    Frame::new(None, figure, Some(Rc::from(format!("the metric `{figure}`"))))
}

impl Checker<'_> {
    /// Adds this batch's part of a figure. `base`: the path that its accumulators stand under, `train/`.
    pub(crate) fn measure(
        &mut self,
        alias: Option<&ast::Name>,
        expr: &ast::Expr,
        scope: &Scope,
        base: &str,
        taken: &[String],
    ) -> Result<Measured> {
        let (callee, arguments): (&ast::Expr, &[ast::Argument]) = match &expr.kind {
            ExprKind::Call { callee, arguments } => (callee, arguments),
            _ => (expr, &[]),
        };
        if let ExprKind::Name(name) = &callee.kind
            && scope.find(name).is_none()
        {
            match self.global(scope.home(), name, callee.span) {
                Some(Ok(Global::Metric(metric, home))) => {
                    let name = unique(alias.map_or(metric.name.text.as_str(), |a| a.text.as_str()), taken);
                    return self.measure_metric(&metric, home, name, arguments, expr.span, scope, base);
                }
                None => {
                    let mut names = self.metric_names(scope.home());
                    names.extend(self.visible(scope).iter().map(|n| n.to_string()));
                    let hint = did_you_mean_name(name, names.iter().map(String::as_str));
                    let message = format!("no metric is called `{name}`");
                    return Err(
                        self.report(Diagnostic::error(Code::UnknownName, callee.span, message).hint_if(hint))
                    );
                }
                _ => {}
            }
        }
        let value = self.expr(expr, scope)?;
        let (value, weight) = self.weighted(value, expr.span)?;
        let tensor = self.as_tensor(&value, DType::F32, expr.span)?;
        let default = match &callee.kind {
            ExprKind::Name(name) => name.as_str(),
            _ => "measure",
        };
        let name = unique(alias.map_or(default, |a| a.text.as_str()), taken);
        let (sum, count) = self.mean_parts(Value::Tensor(tensor), weight, expr.span)?;
        let path = |part: &str| format!("{base}{name}.{part}");
        let (sum_path, count_path) = (path("sum"), path("count"));
        self.accumulate(&sum_path, &sum, &TensorType::scalar(DType::F32), expr.span)?;
        self.accumulate(&count_path, &count, &TensorType::scalar(DType::F32), expr.span)?;
        let kind = MeasuredKind::Mean { sum: sum_path, count: count_path, span: expr.span };
        Ok(Measured { name, higher: false, kind })
    }

    fn measure_metric(
        &mut self,
        metric: &Rc<ast::Metric>,
        home: usize,
        name: String,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
        base: &str,
    ) -> Result<Measured> {
        let arguments = self.arguments(arguments, &metric.params, scope)?;
        let callee = metric.name.text.as_str();
        let higher = match &metric.better {
            None => false,
            Some(better) => match better.text.as_str() {
                "higher" => true,
                "lower" => false,
                other => {
                    let hint = did_you_mean(other, ["higher", "lower"]);
                    let message = format!("a metric is better `higher` or `lower`, not `{other}`");
                    return Err(
                        self.report(Diagnostic::error(Code::WrongKind, better.span, message).hint_if(hint))
                    );
                }
            },
        };
        self.note_call(callee, &metric.params, &arguments, false, span);
        self.calls.push(CallSite { span, name: Rc::from(callee) });
        let inner = Scope::of_file(home);
        let result =
            self.bind_inputs(&metric.params, arguments, callee, span, &inner, &mut Signature::default());
        self.frames.push(frame(&name));
        let result = result.and_then(|_| self.metric_parts(metric, &inner, &format!("{base}{name}")));
        self.frames.pop();
        self.calls.pop();
        let parts = result?;
        self.lint_metric(metric, span, &inner);
        Ok(Measured {
            name,
            higher,
            kind: MeasuredKind::Metric { metric: metric.clone(), scope: inner, span, parts },
        })
    }

    fn metric_parts(&mut self, metric: &ast::Metric, scope: &Scope, base: &str) -> Result<Parts> {
        let body = scope.inner();
        let mut parts = Parts::default();
        for statement in &metric.statements {
            match statement {
                MetricStatement::Sum { name, ty, value } => {
                    let part = self.part_value(metric, value, &body, &parts)?;
                    let ty = match ty {
                        Some(ty) => self.constant_type(ty, &body, &name.text)?,
                        None => {
                            let tensor = self.as_tensor(&part, DType::F32, value.span)?;
                            let ty = self.tensor_type(tensor);
                            if ty.shape.iter().any(|d| d.as_constant().is_none()) {
                                let message =
                                    format!("the sum `{}` must have a constant shape, not {ty}", name.text);
                                return self.fail(Code::DynamicWeight, value.span, message);
                            }
                            ty
                        }
                    };
                    let path = format!("{base}.{}", name.text);
                    self.accumulate(&path, &part, &ty, value.span)?;
                    body.bind(&name.text, Value::Elsewhere(Rc::from(name.text.as_str())), name.span);
                    parts.sums.push((name.text.clone(), path, ty));
                }
                MetricStatement::Collect { name, ty, value } => {
                    let rows = self.part_value(metric, value, &body, &parts)?;
                    let path = format!("{base}.{}", name.text);
                    let ty = self.collect(&path, name, ty.as_ref(), (rows, value.span), &body)?;
                    body.bind(&name.text, Value::Elsewhere(Rc::from(name.text.as_str())), name.span);
                    parts.collected.push((name.text.clone(), path, ty));
                }
                MetricStatement::Value(_) => {}
                MetricStatement::Statement(statement) => {
                    // What reads a sum belongs to the report; whatever else fails, fails there too and is reported then.
                    self.muted += 1;
                    let result = self.statement(statement, &body);
                    self.muted -= 1;
                    if result.is_err() {
                        parts.failed.push(statement.span);
                    }
                }
            }
        }
        if !metric.statements.iter().any(|s| matches!(s, MetricStatement::Value(_))) {
            let message = format!("the metric `{}` has no `value = …`", metric.name.text);
            return self.fail(Code::MissingArgument, metric.name.span, message);
        }
        Ok(parts)
    }

    /// What a batch gives to a sum or a collection.
    fn part_value(
        &mut self,
        metric: &ast::Metric,
        value: &ast::Expr,
        body: &Scope,
        parts: &Parts,
    ) -> Result<Value> {
        let result = self.expr(value, body);
        if result.is_err() {
            // Perhaps because of a statement that failed in silence: let it speak.
            for statement in &metric.statements {
                if let MetricStatement::Statement(s) = statement
                    && parts.failed.contains(&s.span)
                {
                    let _ = self.statement(s, body);
                }
            }
        }
        result
    }

    /// Gives a batch's rows to the runtime; their type over an epoch.
    fn collect(
        &mut self,
        path: &str,
        name: &ast::Name,
        ty: Option<&ast::Type>,
        (rows, span): (Value, Span),
        scope: &Scope,
    ) -> Result<TensorType> {
        let node = match ty {
            None => self.as_tensor(&rows, DType::F32, span)?.node,
            Some(ty) => {
                let ty = self.stated_type(ty, scope)?;
                match self.fitted(&rows, &ty, span) {
                    Ok(node) => node,
                    Err(None) => return Err(Reported),
                    Err(Some(why)) => {
                        let message = format!("what `{}` collects is {ty}; {why}", name.text);
                        return self.fail(Code::ResultMismatch, span, message);
                    }
                }
            }
        };
        let ty = self.context.builder.ty(node).clone();
        let constant = |dims: &[Dim]| dims.iter().all(|d| d.as_constant().is_some());
        let fits = match ty.shape.split_first() {
            Some((first, row)) => rows_of_batch(first).is_some() && constant(row),
            None => false,
        };
        if !fits {
            return self.fail_hint(
                Code::ResultMismatch,
                span,
                format!("`collect` gathers rows, but `{}` is {ty}", name.text),
                "its first axis must run over the batch, the others must be constant; a total is a `sum`",
            );
        }
        self.context.output(path, node);
        Ok(ty)
    }

    /// variable += part
    pub(crate) fn accumulate(&mut self, path: &str, part: &Value, ty: &TensorType, span: Span) -> Result<()> {
        let old = self.variable(path, VariableKind::Accumulator, ty, false, false, span, None)?;
        let part = match self.fitted(part, ty, span) {
            Ok(part) => self.tensor(part),
            Err(None) => return Err(Reported),
            Err(Some(why)) => {
                return self.fail(Code::ResultMismatch, span, format!("the sum `{path}` is {ty}; {why}"));
            }
        };
        let old = self.tensor(old);
        let new = self.binary(BinaryOperator::Add, (old, span), (part, span), span)?;
        let tensor = self.as_tensor(&new, ty.dtype, span)?;
        self.context.update(path, tensor.node);
        Ok(())
    }

    /// Sum and count (f32 scalars) whose ratio is the mean of a tensor, weighted when there is a weight.
    pub(crate) fn mean_parts(
        &mut self,
        value: Value,
        weight: Option<(Value, Span)>,
        span: Span,
    ) -> Result<(Value, Value)> {
        use crate::graph::op::Reduction;
        let mut tensor = self.as_tensor(&value, DType::F32, span)?;
        if self.tensor_type(tensor).dtype != DType::F32 {
            self.place(span);
            let cast = self.context.builder.cast(tensor.node, DType::F32);
            let cast = self.built(cast, span)?;
            tensor = self.context.tensor(cast);
        }
        let ty = self.tensor_type(tensor);
        let total = |c: &mut Self, node| {
            let rank = c.context.builder.ty(node).rank();
            c.place(span);
            let sum = c.context.builder.reduce(Reduction::Sum, node, &(0..rank).collect::<Vec<_>>());
            c.built(sum, span)
        };
        let (sum, count) = match weight {
            None => {
                let sum = total(self, tensor.node)?;
                let count = self.as_tensor(&Value::dim(ty.elements()), DType::F32, span)?;
                (sum, count.node)
            }
            Some((weight, at)) => {
                let mut weights = self.as_tensor(&weight, DType::F32, at)?;
                self.place(at);
                let cast = self.context.builder.cast(weights.node, DType::F32);
                let cast = self.built(cast, at)?;
                weights = self.context.tensor(cast);
                let operands = [(Value::Tensor(tensor), span), (Value::Tensor(weights), at)];
                let nodes = self.broadcast(&[&operands[0], &operands[1]], "weight", at)?;
                let [values, weights] = nodes.as_slice() else { return Err(Reported) };
                let (values, weights) = (self.tensor(*values), self.tensor(*weights));
                let product =
                    self.binary(BinaryOperator::Mul, (values, span), (weights.clone(), at), span)?;
                let product = self.as_tensor(&product, DType::F32, span)?;
                let weights = self.as_tensor(&weights, DType::F32, at)?;
                (total(self, product.node)?, total(self, weights.node)?)
            }
        };
        Ok((self.tensor(sum), self.tensor(count)))
    }
}

/// The symbol of a batch's rows.
pub(crate) const BATCH: &str = "batch";

/// How many rows of a collection each row of the batch gives.
pub(super) fn rows_of_batch(extent: &Dim) -> Option<i64> {
    extent.exact_div(&Dim::symbol(BATCH))?.as_constant().filter(|each| *each > 0)
}

/// The name, numbered when it is taken.
fn unique(name: &str, taken: &[String]) -> String {
    let free = |n: &str| !taken.iter().any(|t| t == n);
    if free(name) {
        return name.to_owned();
    }
    (2..).map(|i| format!("{name}_{i}")).find(|n| free(n)).unwrap_or_default()
}
