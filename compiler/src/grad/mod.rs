//! Reverse-mode differentiation, from graph to graph.
//!
//! [`gradient`] appends the adjoint computation to the graph that holds the forward one, so that one optimiser and one planner see
//! both, and the gradient of a gradient is nothing special. It walks the nodes backwards once; each primitive's rule ([`rules`]) says
//! what an adjoint of the result contributes to an adjoint of one input. Only nodes between `wrt` and `y` take part.
//!
//! The gradient stops at `Hold`, at integers and bools (so at comparisons and indices too), at random elements and at the steps
//! `sign`, `floor`, `ceil`, `round`, `floor_div`.
//!
//! The rule of a loop needs the adjoints of all its results at once, so it is not one of [`rules`]: see [`scan`].

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod attention;
#[cfg(test)]
mod loops;
mod rules;
pub(crate) mod scan;
mod tape;
#[cfg(test)]
mod tests;

use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Op, Unary};
use crate::graph::{Builder, Graph, Node, NodeId, TypeError};
use std::collections::BTreeMap;
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
    place(builder, y);
    let y_type = builder.ty(y).clone();
    let seed = match seed {
        Some(seed) if *builder.ty(seed) != y_type => {
            let message = format!("the seed is {}, but the result is {y_type}", builder.ty(seed));
            return Err(GradientError::at(builder.graph.node(y), message));
        }
        Some(seed) => seed,
        None => builder.full(1.0, &y_type).map_err(failed(builder, y))?,
    };
    sweep_from(builder, &[(y, seed)], wrt, last)
}

fn failed(builder: &Builder, id: NodeId) -> impl Fn(TypeError) -> GradientError + use<> {
    let node = builder.graph.node(id).clone();
    move |e: TypeError| GradientError::at(&node, e.message)
}

/// The gradient of the sum of `roots`, each weighted by the node beside it.
fn sweep_from(
    builder: &mut Builder,
    roots: &[(NodeId, NodeId)],
    wrt: &[NodeId],
    last: bool,
) -> Result<Vec<NodeId>, GradientError> {
    let uses = if last { crate::graph::attention::uses(&builder.graph) } else { Vec::new() };
    let count = roots.iter().map(|(root, _)| root.index() + 1).max().unwrap_or(0);
    let depends = dependents(&builder.graph, count, wrt);
    let mut pending: Vec<Vec<Contribution>> = vec![Vec::new(); count];
    let mut adjoints: Vec<Option<NodeId>> = vec![None; count];
    // The adjoints of each scan's results, by number.
    let mut results: BTreeMap<NodeId, BTreeMap<usize, NodeId>> = BTreeMap::new();
    for (root, seed) in roots.iter().filter(|(root, _)| depends[root.index()]) {
        pending[root.index()].push(Contribution::Whole(*seed));
    }

    for id in (0..count as u32).rev().map(NodeId) {
        if let Some(adjoints) = results.remove(&id) {
            place(builder, id);
            let inputs = builder.graph.node(id).inputs.clone();
            let wanted: Vec<bool> = inputs.iter().map(|input| depends[input.index()]).collect();
            for (at, contribution) in scan::pull_back(builder, id, &adjoints, &wanted)? {
                pending[inputs[at].index()].push(contribution);
            }
            continue;
        }
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
        if let Op::ScanResult { index } = node.op {
            if let Some(scan) = inputs.first().filter(|scan| depends[scan.index()]) {
                // A result may be read by several nodes.
                let known = results.entry(*scan).or_default();
                let sum = match known.get(&index) {
                    Some(earlier) => tape.add(*earlier, g).map_err(&error)?,
                    None => g,
                };
                known.insert(index, sum);
            }
            continue;
        }
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

/// For each of the first `count` nodes: does it depend on one of `wrt` differentiably?
fn dependents(graph: &Graph, count: usize, wrt: &[NodeId]) -> Vec<bool> {
    let mut depends = vec![false; count];
    for id in wrt {
        if let Some(d) = depends.get_mut(id.index()) {
            *d = true;
        }
    }
    flows(graph, &mut depends);
    depends
}

/// Spreads `depends` to the nodes that depend differentiably on one that does.
fn flows(graph: &Graph, depends: &mut [bool]) {
    let mut loops: BTreeMap<NodeId, Vec<bool>> = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate().take(depends.len()) {
        match &node.op {
            Op::Scan(scan) => {
                let wanted: Vec<bool> = node.inputs.iter().map(|input| depends[input.index()]).collect();
                if wanted.contains(&true) {
                    depends[at] = true;
                    loops.insert(NodeId(at as u32), scan::reach(scan, &wanted).0);
                }
            }
            Op::ScanResult { index } => {
                let results = node.inputs.first().and_then(|scan| loops.get(scan));
                let reached = results.is_some_and(|results| results.get(*index) == Some(&true));
                depends[at] = depends[at] || reached && carries(node);
            }
            _ if carries(node) && node.inputs.iter().any(|input| depends[input.index()]) => {
                depends[at] = true
            }
            _ => {}
        }
    }
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
