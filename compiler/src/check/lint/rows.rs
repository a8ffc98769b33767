//! What the data gives to a model: the numbers of its rows, and how many rows there are.

use super::{View, linear};
use crate::check::trail::seen_through;
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::{DType, Op};

/// Bytes that reach the first weights as they are, 0 to 255.
pub fn raw_bytes(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    for (_, step, name, input) in view.library_steps() {
        if !linear(name) {
            continue;
        }
        let nodes = seen_through(view.graph, input);
        let Some(first) = nodes.last() else { continue };
        let node = view.graph.node(*first);
        let Op::Input(input) = &node.op else { continue };
        if node.ty.dtype != DType::U8 {
            continue;
        }
        let message = format!("the bytes of `{input}` reach `{name}` as numbers from 0 to 255");
        let mut doubt = Diagnostic::warning(Code::RawBytes, step.span, message);
        if let Some(origin) = nodes.iter().find_map(|n| view.trail.origin(*n)) {
            doubt = doubt.related(origin.span, format!("{} comes from here", origin.what));
        }
        found.push(doubt.hint("networks learn from small numbers: `f32(image) / 255`"));
    }
}

/// Batch statistics of a single row.
pub fn single_row_norm(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    let Some((1, training)) = view.batch else { return };
    let mut steps = view.library_steps();
    if let Some((_, norm, ..)) = steps.find(|(_, _, name, _)| *name == "batch_norm") {
        let message = "`batch_norm` needs the statistics of a batch, but a batch has one row";
        found.push(
            Diagnostic::warning(Code::SingleRowNorm, norm.span, message)
                .related(training, "this training")
                .hint("choose a larger `batch`, or use `layer_norm`"),
        );
    }
}
