//! What stands directly after what in a model.

use super::{PASSING, View, linear};
use crate::check::trail::Step;
use crate::check::value::Value;
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::NodeId;

/// (what stands before, what stands after it, why that is hardly meant)
const REPEATED: &[(&[&str], &[&str], &str)] = &[
    (
        &["relu", "relu6", "sigmoid", "softmax", "softplus", "hard_sigmoid", "abs", "exp"],
        &["relu"],
        "changes nothing, since nothing is negative there",
    ),
    (
        &["sigmoid", "softmax", "hard_sigmoid"],
        &["sigmoid", "softmax", "hard_sigmoid", "tanh"],
        "squeezes the same numbers twice",
    ),
    (&["tanh"], &["tanh"], "squeezes the same numbers twice"),
    (&["relu", "relu6", "softplus"], &["sigmoid", "hard_sigmoid"], "never gives less than 0.5"),
    (&["relu", "relu6"], &["softmax"], "cannot tell apart the classes that were cut to 0"),
];

pub fn repeated_activation(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (at, step, name, input) in view.library_steps() {
        for maker in view.makers(input, at, &[]) {
            let earlier = view.library(maker);
            let rule =
                REPEATED.iter().find(|(before, after, _)| before.contains(&earlier) && after.contains(&name));
            let Some((_, _, why)) = rule else { continue };
            let message = format!("`{name}` directly after `{earlier}` {why}");
            found.push(
                Diagnostic::warning(Code::RepeatedActivation, step.span, message)
                    .related(maker.span, format!("`{earlier}` here"))
                    .hint("leave one of them out"),
            );
            break;
        }
    }
}

pub fn bias_before_norm(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (at, step, name, input) in view.library_steps() {
        if !["batch_norm", "instance_norm"].contains(&name) {
            continue;
        }
        let makers = view.makers(input, at, &[]);
        let biased = makers.iter().find(|maker| {
            linear(view.library(maker)) && matches!(maker.value("bias"), Some(Value::Bool(true)))
        });
        if let Some(maker) = biased {
            let layer = view.library(maker);
            let message = format!(
                "the bias of `{layer}` does nothing: `{name}` subtracts the mean, and the bias with it"
            );
            found.push(
                Diagnostic::warning(Code::BiasBeforeNorm, maker.span, message)
                    .related(step.span, "its result is normalised here")
                    .hint(format!("write `bias = false` in this `{layer}`")),
            );
        }
    }
}

pub fn linear_after_linear(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (at, step, name, input) in view.library_steps() {
        if !linear(name) {
            continue;
        }
        let makers = view.makers(input, at, PASSING);
        let Some(maker) = makers.iter().find(|m| linear(view.library(m))) else { continue };
        if factors(view, maker, step) {
            continue;
        }
        let earlier = view.library(maker);
        let repeated = maker.span == step.span;
        let who =
            if repeated { format!("copies of `{name}`") } else { format!("`{name}` after `{earlier}`") };
        let message = format!("{who} with nothing between: together they can do no more than one of them");
        let doubt = Diagnostic::warning(Code::LinearAfterLinear, step.span, message);
        let doubt = if repeated { doubt } else { doubt.related(maker.span, format!("`{earlier}` here")) };
        found.push(doubt.hint("put an activation between them, such as `|> relu`"));
    }
}

/// Are two linear layers one made of two on purpose: through few channels, channel by channel, or kernel by kernel?
fn factors<'v>(view: &View<'v>, first: &'v Step, second: &'v Step) -> bool {
    let special = |step: &'v Step| {
        let name = view.library(step);
        let number = |key: &str| match step.value(key) {
            Some(Value::Int(i)) => i,
            _ => 0,
        };
        let rectangular = matches!(step.value("kernel"), Some(Value::Tuple(_) | Value::List(_)));
        name.contains("depthwise")
            || name.contains("separable")
            || number("groups") > 1
            || number("kernel") == 1
            || rectangular
    };
    let width = |nodes: &[NodeId]| {
        let last = nodes.first().and_then(|n| view.graph.node(*n).ty.shape.last().cloned());
        last.and_then(|d| d.as_constant())
    };
    let narrow = match (width(&first.inputs), width(&first.outputs), width(&second.outputs)) {
        (Some(before), Some(between), Some(after)) => between < before.min(after),
        _ => false,
    };
    narrow || special(first) || special(second)
}
