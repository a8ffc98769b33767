//! What a loss is given. The library's losses say by the name of their parameter what they expect: `logits` or `logit` are numbers of
//! any size, `p` or `probabilities` lie between 0 and 1.

use super::{View, linear};
use crate::check::trail::is_model;
use crate::diagnostics::{Code, Diagnostic};

const LOGITS: &[&str] = &["logits", "logit"];
const PROBABILITIES: &[&str] = &["p", "q", "probability", "probabilities"];
/// What turns logits into something else.
const ENDS: &[&str] = &["softmax", "masked_softmax", "log_softmax", "sigmoid", "hard_sigmoid", "log_sigmoid"];
const CUTS: &[&str] = &["relu", "relu6", "softplus"];

pub fn ended_before_logits(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (at, step, name, _) in view.library_steps() {
        for logits in LOGITS.iter().filter_map(|p| step.input(p)) {
            for maker in view.makers(logits, at, &["flatten", "reshape", "squeeze"]) {
                let end = view.library(maker);
                let (message, hint) = if ENDS.contains(&end) {
                    let message = format!("`{name}` takes logits, but these went through `{end}` already");
                    (message, format!("leave `{end}` to `{name}`, and to the `predict` items"))
                } else if CUTS.contains(&end) {
                    let message =
                        format!("`{name}` takes logits of any sign, but `{end}` lets none be negative");
                    (message, format!("leave the last `{end}` out"))
                } else {
                    continue;
                };
                found.push(
                    Diagnostic::warning(Code::EndedBeforeLogits, step.span, message)
                        .related(maker.span, format!("`{end}` here"))
                        .hint(hint),
                );
                break;
            }
        }
    }
}

pub fn not_probabilities(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (at, step, name, _) in view.library_steps() {
        for p in PROBABILITIES.iter().filter_map(|p| step.input(p)) {
            let makers = view.makers(p, at, &["flatten", "reshape", "squeeze"]);
            let open = |end: &str| linear(end) || CUTS.contains(&end) || end == "tanh";
            let Some(maker) = makers.iter().find(|m| open(view.library(m))) else { continue };
            let message =
                format!("`{name}` takes probabilities, but this comes from `{}`", view.library(maker));
            let hint = match name {
                "binary_cross_entropy" => {
                    "end the model with `sigmoid`, or use `binary_cross_entropy_logits`"
                }
                "negative_log_likelihood" => "end the model with `softmax`, or use `cross_entropy`",
                _ => "end it with `softmax` or `sigmoid`",
            };
            found.push(
                Diagnostic::warning(Code::NotProbabilities, step.span, message)
                    .related(maker.span, "any number can come out here")
                    .hint(hint),
            );
        }
    }
}

/// Dropout on the very numbers that are compared with the target.
pub fn dropout_at_the_end(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    if !view.training {
        return;
    }
    let through = &["flatten", "reshape", "squeeze", "softmax", "sigmoid"];
    for (at, step) in view.trail.steps.iter().enumerate() {
        // A function or an operator ends the network; a layer is one more part of it.
        if step.item().is_some_and(|i| i.owns()) {
            continue;
        }
        for input in &step.inputs {
            let makers = view.makers(*input, at, through);
            let dropout = makers.iter().find(|m| view.library(m).contains("dropout"));
            if let (Some(dropout), Some(model)) = (dropout, makers.iter().find(|m| is_model(m))) {
                let message =
                    format!("the result of `{}` goes through `{}` last", model.name(), view.library(dropout));
                found.push(
                    Diagnostic::warning(Code::DropoutAtTheEnd, dropout.span, message)
                        .label("a share of the answers is set to 0 here")
                        .related(step.span, "and this is what they are used for")
                        .hint("put the dropout before the last layer"),
                );
            }
        }
    }
}
