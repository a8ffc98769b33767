//! What the passes are made of: a graph built anew, node by node, where a rule may put something else in a node's place.

use crate::graph::op::Op;
use crate::graph::{Builder, Graph, Node, NodeId, TensorType, TypeError};

/// `Ok(None)` leaves the node as it is. A type error does too: a rule may try what does not fit.
pub(super) type Rewritten = Result<Option<NodeId>, TypeError>;

/// Rebuilds the graph and says whether anything changed. For each node, its inputs already replaced, `rule` may append other nodes and
/// say which one stands for it; they get the node's span and path. What is no longer read stays until `dce`.
pub(super) fn rewrite(graph: &mut Graph, mut rule: impl FnMut(&mut Builder, &Node) -> Rewritten) -> bool {
    let mut b = Builder::new("");
    std::mem::swap(&mut b.graph, graph);
    let nodes = std::mem::take(&mut b.graph.nodes);
    b.graph.nodes.reserve(nodes.len());
    let mut map: Vec<NodeId> = Vec::with_capacity(nodes.len());
    let mut changed = false;
    for mut node in nodes {
        for input in &mut node.inputs {
            *input = map.get(input.index()).copied().unwrap_or(*input);
        }
        b.span = node.span;
        b.path = node.path.clone();
        let before = b.graph.nodes.len();
        map.push(match rule(&mut b, &node) {
            Ok(Some(id)) if b.ty(id) == &node.ty => {
                changed = true;
                id
            }
            _ => {
                b.graph.nodes.truncate(before);
                b.graph.nodes.push(node);
                NodeId(before as u32)
            }
        });
    }
    for (_, id) in b.graph.outputs.iter_mut().chain(&mut b.graph.updates) {
        *id = map.get(id.index()).copied().unwrap_or(*id);
    }
    *graph = b.graph;
    changed
}

/// The operation of a node and its first input (the node itself if it has none).
pub(super) fn look(b: &Builder, id: NodeId) -> (&Op, NodeId) {
    let node = b.graph.node(id);
    (&node.op, node.inputs.first().copied().unwrap_or(id))
}

/// The value that fills this tensor, seen through views.
pub(super) fn constant_value(b: &Builder, id: NodeId) -> Option<f64> {
    match look(b, id) {
        (Op::Constant(value), _) => Some(*value),
        (Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. }, from) => constant_value(b, from),
        _ => None,
    }
}

/// A node stretched to a type: `axes` says where its axes go.
pub(super) fn broadcast(
    b: &mut Builder,
    x: NodeId,
    axes: Vec<usize>,
    ty: &TensorType,
) -> Result<NodeId, TypeError> {
    if b.ty(x).shape == ty.shape {
        return Ok(x);
    }
    let ty = TensorType::new(b.ty(x).dtype, ty.shape.clone());
    b.push(Op::Broadcast { axes }, &[x], Some(ty))
}

/// Does every element of the result depend on the same element of every input?
pub(super) fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast)
}
