//! Common subexpressions: of nodes that compute the same, the first stands for all.
//!
//! Two nodes are the same when operation, type and inputs are; the inputs of a commutative operation in any order. Random elements
//! are a function of their key, so two `Random` nodes with one key are one.

use super::rewrite::rewrite;
use crate::graph::op::{Binary, Compare};
use crate::graph::{Graph, NodeId, Op, TensorType};
use std::collections::HashMap;

pub fn run(graph: &Graph) -> Graph {
    let mut seen: HashMap<(String, Vec<NodeId>, TensorType), NodeId> = HashMap::new();
    rewrite(graph, |b, node| {
        let mut inputs = node.inputs.clone();
        if commutes(&node.op) {
            inputs.sort();
        }
        let key = (format!("{:?}", node.op), inputs, node.ty.clone());
        let next = NodeId(b.graph.nodes.len() as u32);
        // A node that is not replaced will be the next one of the copy.
        let first = *seen.entry(key).or_insert(next);
        Ok((first != next).then_some(first))
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
