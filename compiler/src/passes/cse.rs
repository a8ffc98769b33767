//! Common subexpressions: of nodes that compute the same, the first stands for all.
//!
//! Two nodes are the same when operation, type and inputs are; the inputs of a commutative operation in any order. Random elements
//! are a function of their key, so two `Random` nodes with one key are one.

use super::rewrite::rewrite;
use crate::graph::op::{Binary, Compare};
use crate::graph::{Graph, NodeId, Op};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::{Discriminant, discriminant};

pub fn run(graph: &mut Graph) -> bool {
    // Nodes that may be the same: by the kind of operation, the inputs, and a hash of the type and of a constant's bits (its zeros
    // have signs).
    let mut seen: HashMap<(Discriminant<Op>, Vec<NodeId>, u64), Vec<NodeId>> = HashMap::new();
    rewrite(graph, |b, node| {
        let mut inputs = node.inputs.clone();
        if commutes(&node.op) {
            inputs.sort();
        }
        let bits = match &node.op {
            // These stand once in a graph.
            Op::Input(_) | Op::Variable(_) => return Ok(None),
            // Tables may hold NaN or either zero; they are not worth a comparison by bits.
            Op::Table(_) => return Ok(None),
            Op::Constant(value) | Op::Pad { value, .. } => value.to_bits(),
            _ => 0,
        };
        let mut hasher = DefaultHasher::new();
        (bits, &node.ty).hash(&mut hasher);
        let candidates = seen.entry((discriminant(&node.op), inputs, hasher.finish())).or_default();
        let first = candidates.iter().copied().find(|id| {
            let other = b.graph.node(*id);
            let same = match (&node.op, &other.op) {
                (Op::Constant(a), Op::Constant(b)) => a.to_bits() == b.to_bits(),
                (Op::Pad { value: a, .. }, Op::Pad { value: b, .. }) if a.to_bits() != b.to_bits() => false,
                (a, b) => a == b,
            };
            same && other.ty == node.ty
        });
        if first.is_none() {
            // It is not replaced, so it will be the next node.
            candidates.push(NodeId(b.graph.nodes.len() as u32));
        }
        Ok(first)
    })
}

fn commutes(op: &Op) -> bool {
    match op {
        Op::Binary(op) => {
            matches!(op, Binary::Add | Binary::Mul | Binary::Max | Binary::Min | Binary::And | Binary::Or)
        }
        Op::Compare(op) => matches!(op, Compare::Eq | Compare::Ne),
        _ => false,
    }
}
