//! Choices among one: a softmax, a classification or a metric over an axis of a single element.

use super::View;
use crate::check::Checker;
use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::TensorType;
use weft_grammar::{Span, ast};

pub fn one_choice(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (_, step, name, input) in view.library_steps() {
        let ty = &view.graph.node(input).ty;
        let (message, hint) = match name {
            "softmax" | "log_softmax" if single(ty, step.value("axis")) => (
                format!(
                    "`{name}` over an axis of one element gives {} everywhere",
                    if name == "softmax" { 1 } else { 0 }
                ),
                "for one yes-or-no answer, use `sigmoid`",
            ),
            "cross_entropy" | "soft_cross_entropy" if single(ty, None) => (
                format!(
                    "`{name}` chooses among the classes of the last axis, and there is only one: the loss is always 0"
                ),
                "give the model one output a class, or use `binary_cross_entropy_logits` for a yes-or-no answer",
            ),
            _ => continue,
        };
        let label = format!("{ty} goes in");
        found.push(Diagnostic::warning(Code::OneChoice, step.span, message).label(label).hint(hint));
    }
}

/// Has this axis (the last one) one element?
fn single(ty: &TensorType, axis: Option<Value>) -> bool {
    let axis = match axis {
        Some(Value::Int(axis)) => axis,
        _ => -1,
    };
    let place = if axis < 0 { axis + ty.rank() as i64 } else { axis };
    usize::try_from(place).ok().and_then(|p| ty.shape.get(p)).is_some_and(|d| d.is(1))
}

impl Checker<'_> {
    /// A metric of the library that can have only one value on what it is given. `scope`: its parameters.
    pub(crate) fn lint_metric(&mut self, metric: &ast::Metric, span: Span, scope: &Scope) {
        if self.by_user(metric.span) {
            return;
        }
        let given = |name: &str| {
            let own = metric.params.iter().any(|p| p.name.text == name);
            scope.find(name).map(|(value, _)| value).filter(|_| own)
        };
        let tensor = ["logits", "scores"].iter().find_map(|p| match given(p) {
            Some(Value::Tensor(t)) => Some(self.tensor_type(t)),
            _ => None,
        });
        let (Some(ty), name) = (tensor, &metric.name.text) else { return };
        let classes = ty.shape.last().and_then(|d| d.as_constant()).unwrap_or(i64::MAX);
        let (message, hint) = match given("k") {
            _ if classes == 1 && ty.rank() > 1 => (
                format!("`{name}` chooses among the classes of the last axis, and there is only one"),
                "for a yes-or-no answer, use `binary_accuracy`",
            ),
            Some(Value::Int(k)) if k >= classes => (
                format!("the {k} best of {classes} classes always hold the right one: `{name}` is always 1"),
                "choose a smaller `k`",
            ),
            _ => return,
        };
        let label = format!("{ty} goes in");
        self.doubts.push(Diagnostic::warning(Code::OneChoice, span, message).label(label).hint(hint));
    }
}
