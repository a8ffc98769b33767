//! Which number of a prediction is explained.

use super::{InspectError, is_extent};
use crate::graph::op::{Binary, Reduction, Unary};
use crate::graph::{Graph, NodeId, Op, TensorType};

/// What the explained tensor is, of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Scores {
    /// A number.
    One,
    /// One number a class; how many, where that is constant.
    Classes(Option<i64>),
    /// Something else, such as a picture: the sum of its elements is explained.
    Sum,
}

impl Scores {
    /// `lead` axes are rows.
    pub fn of(ty: &TensorType, lead: usize) -> Scores {
        match ty.shape.get(lead..).unwrap_or_default() {
            [] => Scores::One,
            [classes] if is_extent(classes, |c| c > 1) => Scores::Classes(classes.as_constant()),
            [_] => Scores::One,
            _ => Scores::Sum,
        }
    }
}

/// The result to explain and the node of its scores: the named one, else one that is the largest of something, else the first that is or
/// comes from floats.
pub fn find(graph: &Graph, output: Option<&str>) -> Result<(String, NodeId), InspectError> {
    let names = || graph.outputs.iter().map(|(name, _)| name.clone()).collect();
    if let Some(wanted) = output {
        let found = graph.outputs.iter().find(|(name, _)| name == wanted);
        let (name, id) = found.ok_or_else(|| InspectError::NoOutput(names()))?;
        return Ok((name.clone(), behind(graph, *id).ok_or(InspectError::NoSlope)?));
    }
    let chosen = |(_, id): &&(String, NodeId)| ranked(graph, *id).is_some();
    let all = graph.outputs.iter().filter(chosen).chain(&graph.outputs);
    let mut scores = all.filter_map(|(name, id)| Some((name.clone(), behind(graph, *id)?)));
    scores.next().ok_or(InspectError::NoSlope)
}

/// The scores that a result comes from.
fn behind(graph: &Graph, result: NodeId) -> Option<NodeId> {
    let mut at = ranked(graph, result).unwrap_or(result);
    loop {
        let node = graph.node(at);
        let first = node.inputs.first().copied();
        at = match &node.op {
            // Pixels and counts are rounded from numbers.
            Op::Cast | Op::Unary(Unary::Round | Unary::Floor | Unary::Ceil | Unary::Sigmoid) => first?,
            Op::Binary(Binary::Div | Binary::Sub) => match normalised(graph, at) {
                Some(scores) => scores,
                None => break,
            },
            _ => break,
        };
    }
    graph.node(at).ty.dtype.is_float().then_some(at)
}

/// What `argmax`, `top_k` or `max` along the last axis chooses from.
fn ranked(graph: &Graph, result: NodeId) -> Option<NodeId> {
    let node = graph.node(through_views(graph, result));
    let from = *node.inputs.first()?;
    let last = graph.node(from).ty.rank().checked_sub(1)?;
    let chooses = match &node.op {
        Op::ArgReduce { axes, .. } => axes == &[last],
        Op::Sort { .. } => true,
        Op::Reduce { reduction: Reduction::Max, axes } => axes == &[last] && last > 0,
        Op::Slice { .. } => return ranked(graph, from),
        _ => false,
    };
    chooses.then_some(from)
}

/// The scores of which this node is the softmax, or its logarithm, along an axis.
pub fn normalised(graph: &Graph, p: NodeId) -> Option<NodeId> {
    let node = graph.node(p);
    let [a, b] = node.inputs[..] else { return None };
    let total = through_views(graph, b);
    match &node.op {
        // e / sum(e)
        Op::Binary(Binary::Div) => {
            let total = match &graph.node(total).op {
                // A row without any element: where(total == 0, 1, total).
                Op::Select => through_views(graph, *graph.node(total).inputs.get(2)?),
                _ => total,
            };
            (sum_of(graph, total)? == a).then_some(())?;
            let e = graph.node(a);
            let exp = if e.op == Op::Select { *e.inputs.get(1)? } else { a };
            let node = graph.node(exp);
            (node.op == Op::Unary(Unary::Exp)).then(|| unshifted(graph, node.inputs[0]))
        }
        // x - log(sum(exp(x)))
        Op::Binary(Binary::Sub) => {
            let log = graph.node(total);
            (log.op == Op::Unary(Unary::Log)).then_some(())?;
            let exp = graph.node(sum_of(graph, through_views(graph, log.inputs[0]))?);
            (exp.op == Op::Unary(Unary::Exp) && exp.inputs[0] == a).then(|| unshifted(graph, a))
        }
        _ => None,
    }
}

/// `x` of `x - max(x)`.
fn unshifted(graph: &Graph, shifted: NodeId) -> NodeId {
    let node = graph.node(shifted);
    if node.op == Op::Binary(Binary::Sub)
        && let [x, top] = node.inputs[..]
        && let top = graph.node(through_views(graph, top))
        && matches!(top.op, Op::Reduce { reduction: Reduction::Max, .. })
        && top.inputs[..] == [x]
    {
        return x;
    }
    shifted
}

fn sum_of(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let node = graph.node(id);
    matches!(node.op, Op::Reduce { reduction: Reduction::Sum, .. }).then(|| node.inputs.first().copied())?
}

/// The node behind reshapes, broadcasts and holds, which change no number.
fn through_views(graph: &Graph, mut id: NodeId) -> NodeId {
    while let node = graph.node(id)
        && matches!(node.op, Op::Reshape | Op::Broadcast { .. } | Op::Hold)
        && let Some(&input) = node.inputs.first()
    {
        id = input;
    }
    id
}
