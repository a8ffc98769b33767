//! What the passes are made of: a copy of a graph, node by node, in which a rule may put something else in a node's place.

use crate::graph::op::Op;
use crate::graph::{Builder, Graph, Node, NodeId, TensorType, TypeError};

/// `Ok(None)` leaves the node as it is. A type error does too: a rule may try what does not fit.
pub(super) type Rewritten = Result<Option<NodeId>, TypeError>;

/// Copies the graph. For each node, its inputs already replaced, `rule` may append other nodes to the copy and say which one stands
/// for it. They get the node's span and path. What is no longer read stays until `dce`.
pub(super) fn rewrite(graph: &Graph, mut rule: impl FnMut(&mut Builder, &Node) -> Rewritten) -> Graph {
    let mut b = Builder::new(graph.name.clone());
    b.graph.guards.clone_from(&graph.guards);
    b.graph.bounds.clone_from(&graph.bounds);
    let mut map: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut node = node.clone();
        for input in &mut node.inputs {
            *input = map.get(input.index()).copied().unwrap_or(*input);
        }
        b.span = node.span;
        b.path = node.path.clone();
        let before = b.graph.nodes.len();
        let replaced = match rule(&mut b, &node) {
            Ok(Some(id)) if b.ty(id) == &node.ty => id,
            _ => {
                b.graph.nodes.truncate(before);
                b.graph.nodes.push(node);
                NodeId(before as u32)
            }
        };
        map.push(replaced);
    }
    let moved = |list: &[(String, NodeId)]| {
        list.iter().map(|(name, id)| (name.clone(), map.get(id.index()).copied().unwrap_or(*id))).collect()
    };
    b.graph.outputs = moved(&graph.outputs);
    b.graph.updates = moved(&graph.updates);
    b.graph
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
