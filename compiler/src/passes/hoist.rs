//! Elementwise operations and views change places, so that more fuses and less is computed.
//!
//! - Of broadcasts alone: compute first, then broadcast. The elements are fewer.
//! - Of reshapes or transpositions alone, all the same: compute first, then view. The operation meets the producer, the view its user.
//!
//! Constants fit either, whatever their shape. Views only ever move towards the outputs, so this ends.

use super::rewrite::{Rewritten, broadcast, is_elementwise, look, rewrite};
use crate::graph::{Builder, Graph, Node, NodeId, Op, TensorType};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| if is_elementwise(&node.op) { hoist(b, node) } else { Ok(None) })
}

/// The scalar behind a broadcast.
fn filled(b: &Builder, id: NodeId) -> Option<NodeId> {
    match look(b, id) {
        (Op::Broadcast { .. }, from) if b.ty(from).rank() == 0 => Some(from),
        _ => None,
    }
}

fn hoist(b: &mut Builder, node: &Node) -> Rewritten {
    let varied = node.inputs.iter().copied().find(|id| filled(b, *id).is_none());
    // The view that all inputs share: that of the first which is not one scalar everywhere.
    let lead = match varied.or(node.inputs.first().copied()) {
        Some(lead) => b.graph.node(lead).clone(),
        None => return Ok(None),
    };
    let Some(&source) = lead.inputs.first() else { return Ok(None) };
    if !matches!(lead.op, Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. }) {
        return Ok(None);
    }
    let shape = b.ty(source).shape.clone();
    let mut inputs = Vec::new();
    for &input in &node.inputs {
        let (op, from) = look(b, input);
        if let Some(scalar) = filled(b, input) {
            let dtype = b.ty(scalar).dtype;
            inputs.push(broadcast(b, scalar, Vec::new(), &TensorType::new(dtype, shape.clone()))?);
        } else if *op == lead.op && b.ty(from).shape == shape {
            inputs.push(from);
        } else {
            return Ok(None);
        }
    }
    let ty = TensorType::new(node.ty.dtype, shape);
    let inner = b.push(node.op.clone(), &inputs, Some(ty))?;
    b.push(lead.op, &[inner], Some(node.ty.clone())).map(Some)
}
