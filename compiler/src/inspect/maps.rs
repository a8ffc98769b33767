//! Maps over the input that a model makes by itself: the last convolution's activations, and attention's weights.

use super::leaves::needed;
use super::score::normalised;
use crate::graph::op::{Binary, Reduction};
use crate::graph::{Builder, Graph, Node, NodeId, Op, TypeError};

/// How many views may stand between an attention's weights and the contraction with the values.
const VIEWS: usize = 6;

/// The result of the last convolution in two axes that `score` comes from: its path, and the node after its bias, activation and whatever
/// else is done element by element at the same extents.
pub fn last_convolution(graph: &Graph, score: NodeId) -> Option<(String, NodeId)> {
    let needed = needed(graph, score);
    let wide = |node: &Node| {
        let map = node.ty.shape.get(1..3).unwrap_or_default();
        node.ty.rank() == 4 && map.iter().all(|d| super::is_extent(d, |e| e > 1))
    };
    let conv = graph.ids().rev().find(|id| {
        let node = graph.node(*id);
        needed[id.index()] && matches!(node.op, Op::Conv(_)) && wide(node)
    })?;
    let shape = &graph.node(conv).ty;
    let mut reached = vec![false; graph.nodes.len()];
    reached[conv.index()] = true;
    let mut last = conv;
    for id in graph.ids().skip(conv.index() + 1).filter(|id| needed[id.index()]) {
        let node = graph.node(id);
        let pointwise =
            matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Compare(_));
        if pointwise && node.ty.shape == shape.shape && node.inputs.iter().any(|i| reached[i.index()]) {
            reached[id.index()] = true;
            if node.ty == *shape {
                last = id;
            }
        }
    }
    Some((graph.node(conv).path.to_string(), last))
}

/// Grad-CAM (Selvaraju et al. 2017) of activations `[n, h, w, c]` and the score's derivative in them: the channels, each weighed by its mean
/// derivative, added up, and what speaks against the score cut off. `[n, h, w]`.
pub fn grad_cam(builder: &mut Builder, activation: NodeId, gradient: NodeId) -> Result<NodeId, TypeError> {
    let ty = builder.ty(activation).clone();
    let weights = builder.reduce(Reduction::Sum, gradient, &[1, 2])?;
    let weights = builder.broadcast_back(weights, &ty.shape, &[1, 2])?;
    let weighed = builder.binary(Binary::Mul, activation, weights)?;
    let map = builder.reduce(Reduction::Sum, weighed, &[3])?;
    let nothing = builder.full(0.0, &builder.ty(map).clone())?;
    builder.binary(Binary::Max, map, nothing)
}

/// Every softmax along the last axis of three or more whose result weighs something other than a weight of the model: attention. With the
/// path of its layer.
pub fn attention(graph: &Graph) -> Vec<(String, NodeId)> {
    let mut found: Vec<(String, NodeId)> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let is_softmax = node.ty.rank() >= 3
            && node.op == Op::Binary(Binary::Div)
            && normalised(graph, id).is_some()
            && over_last_axis(graph, node);
        if is_softmax && weighs(graph, id, VIEWS) {
            let path = node.path.trim_end_matches(".softmax").trim_end_matches(".masked_softmax");
            found.push((path.trim_end_matches(".attend").to_owned(), id));
        }
    }
    found
}

/// Is the sum that a softmax divides by taken along the last axis?
fn over_last_axis(graph: &Graph, softmax: &Node) -> bool {
    let exps = softmax.inputs.first();
    graph.nodes.iter().any(|node| {
        matches!(&node.op, Op::Reduce { reduction: Reduction::Sum, axes } if axes[..] == [softmax.ty.rank() - 1])
            && node.inputs.first() == exps
    })
}

/// Does a contraction with another computed tensor use it, perhaps behind views?
fn weighs(graph: &Graph, id: NodeId, views: usize) -> bool {
    let users = graph.ids().skip(id.index() + 1).filter(|user| graph.node(*user).inputs.contains(&id));
    users.into_iter().any(|user| {
        let node = graph.node(user);
        match &node.op {
            Op::Contract { .. } => {
                let computed = |other: &NodeId| !matches!(graph.node(*other).op, Op::Variable(_));
                node.inputs.iter().filter(|i| **i != id).all(computed)
            }
            // Dropout is a product; it is off in a prediction, but a model may scale its weights itself.
            Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Cast => {
                views > 0 && weighs(graph, user, views - 1)
            }
            _ => false,
        }
    })
}
