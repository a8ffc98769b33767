//! Reverse-mode differentiation, from graph to graph.
//!
//! [`gradient`] appends the adjoint computation to the graph that holds the forward one, so that one optimiser and one planner see
//! both, and the gradient of a gradient is nothing special. It walks the nodes backwards once; each primitive's rule ([`rules`]) says
//! what an adjoint of the result contributes to an adjoint of one input. Only nodes between `wrt` and `y` take part.
//!
//! The gradient stops at `Hold`, at integers and bools (so at comparisons and indices too), at random elements and at the steps
//! `sign`, `floor`, `ceil`, `round`, `floor_div`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod attention;
mod rules;
mod tape;
#[cfg(test)]
mod tests;

use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Op, Unary};
use crate::graph::{Builder, Graph, Node, NodeId, TypeError};
use std::sync::Arc;
use tape::{Contribution, Tape};
use weft_grammar::Span;

/// Why a gradient cannot be made, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientError {
    pub message: String,
    pub span: Span,
    pub path: Arc<str>,
}

impl GradientError {
    fn at(node: &Node, message: impl Into<String>) -> GradientError {
        GradientError { message: message.into(), span: node.span, path: node.path.clone() }
    }
}

impl std::fmt::Display for GradientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for GradientError {}

/// Appends the gradient of `y` (of the sum of its elements, or weighted by `seed` of `y`'s type) with respect to each of `wrt`.
/// What `y` does not depend on has gradient zero. New nodes carry the span of the forward node and its path with `'` added.
pub fn gradient(
    builder: &mut Builder,
    y: NodeId,
    seed: Option<NodeId>,
    wrt: &[NodeId],
) -> Result<Vec<NodeId>, GradientError> {
    let (span, path) = (builder.span, builder.path.clone());
    let result = sweep(builder, y, seed, wrt, false);
    (builder.span, builder.path) = (span, path);
    result
}

/// The same for a gradient that is not differentiated again, as those are that move weights: what has a derivative as a whole, but not a
/// second one, is taken as a whole. That is attention, whose scores are then not kept.
pub fn last_gradient(
    builder: &mut Builder,
    y: NodeId,
    seed: Option<NodeId>,
    wrt: &[NodeId],
) -> Result<Vec<NodeId>, GradientError> {
    let (span, path) = (builder.span, builder.path.clone());
    let result = sweep(builder, y, seed, wrt, true);
    (builder.span, builder.path) = (span, path);
    result
}

fn sweep(
    builder: &mut Builder,
    y: NodeId,
    seed: Option<NodeId>,
    wrt: &[NodeId],
    last: bool,
) -> Result<Vec<NodeId>, GradientError> {
    for &id in wrt.iter().chain([&y]) {
        let node = builder.graph.node(id);
        if !node.ty.dtype.is_float() {
            return Err(GradientError::at(node, format!("there is no gradient of {}", node.ty)));
        }
    }
    let depends = dependents(&builder.graph, y, wrt);
    let uses = if last { crate::graph::attention::uses(&builder.graph) } else { Vec::new() };
    let mut pending: Vec<Vec<Contribution>> = vec![Vec::new(); y.index() + 1];
    let mut adjoints: Vec<Option<NodeId>> = vec![None; y.index() + 1];

    place(builder, y);
    let failed = |builder: &Builder, id: NodeId| {
        let node = builder.graph.node(id).clone();
        move |e: TypeError| GradientError::at(&node, e.message)
    };
    let y_type = builder.ty(y).clone();
    let seed = match seed {
        Some(seed) if *builder.ty(seed) != y_type => {
            let message = format!("the seed is {}, but the result is {y_type}", builder.ty(seed));
            return Err(GradientError::at(builder.graph.node(y), message));
        }
        Some(seed) => seed,
        None => builder.full(1.0, &y_type).map_err(failed(builder, y))?,
    };
    if depends[y.index()] {
        pending[y.index()].push(Contribution::Whole(seed));
    }

    for id in (0..=y.0).rev().map(NodeId) {
        let contributions = std::mem::take(&mut pending[id.index()]);
        if contributions.is_empty() {
            continue;
        }
        place(builder, id);
        let error = failed(builder, id);
        let mut tape = Tape { builder };
        let Some(g) = tape.total(id, contributions).map_err(&error)? else { continue };
        adjoints[id.index()] = Some(g);
        let node = tape.builder.graph.node(id);
        if !carries(node) {
            continue;
        }
        let inputs = node.inputs.clone();
        if last && let Some(found) = attention::find(&tape.builder.graph, id, &uses, wrt) {
            let made = attention::pull_back(&mut tape, &found, id, g, &depends).map_err(&error)?;
            made.into_iter().for_each(|(input, g)| pending[input.index()].push(Contribution::Whole(g)));
            continue;
        }
        for (at, &input) in inputs.iter().enumerate() {
            if depends[input.index()]
                && let Some(contribution) = rules::pull_back(&mut tape, id, g, at).map_err(&error)?
            {
                pending[input.index()].push(contribution);
            }
        }
    }

    let mut gradients = Vec::with_capacity(wrt.len());
    for &id in wrt {
        gradients.push(match adjoints.get(id.index()).copied().flatten() {
            Some(g) => g,
            None => {
                place(builder, id);
                let ty = builder.ty(id).clone();
                builder.full(0.0, &ty).map_err(failed(builder, id))?
            }
        });
    }
    Ok(gradients)
}

/// New nodes belong to the forward node `id` from here on.
fn place(builder: &mut Builder, id: NodeId) {
    let node = builder.graph.node(id);
    let (span, path) = (node.span, Arc::from(format!("{}'", node.path)));
    (builder.span, builder.path) = (span, path);
}

/// For each node up to `y`: does it depend on one of `wrt` differentiably?
fn dependents(graph: &Graph, y: NodeId, wrt: &[NodeId]) -> Vec<bool> {
    let mut depends = vec![false; y.index() + 1];
    for id in wrt {
        if let Some(d) = depends.get_mut(id.index()) {
            *d = true;
        }
    }
    for (i, node) in graph.nodes.iter().enumerate().take(y.index() + 1) {
        if carries(node) && node.inputs.iter().any(|input| depends[input.index()]) {
            depends[i] = true;
        }
    }
    depends
}

/// Does a gradient flow through this node at all?
fn carries(node: &Node) -> bool {
    let flat = match &node.op {
        Op::Hold | Op::Random { .. } | Op::Compare(_) | Op::ArgReduce { .. } => true,
        Op::Unary(u) => matches!(u, Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round),
        Op::Binary(b) => matches!(b, Binary::FloorDiv),
        _ => false,
    };
    !flat && node.ty.dtype.is_float()
}

/// `[0, extent)` in axis order, for a tensor of this rank.
fn all_axes(shape: &[Dim]) -> Vec<usize> {
    (0..shape.len()).collect()
}
