//! Narrow weights go into loops as they are kept, for processors whose products widen what they load.
//!
//! ```text
//! scan (capture cast(variable W : i8) : f32 · broadcast(variable W/scale))  →  scan (capture variable W : i8, capture variable W/scale)
//! ```
//!
//! What a step multiplies by is the same at every step, so its widening stands before the loop ([`super::narrow`], [`super::loop_before`]), and the steps
//! read all of it from memory as f32. Inside of the loop the product finds the weight behind the widening, as it does outside of one
//! ([`crate::plan`]), and each step reads a quarter of the bytes. A product that cannot read it so is given it widened, once before the loop.

use super::dce;
use super::loops::{Results, close_sorted, rewrite_loops};
use crate::graph::op::Binary;
use crate::graph::{Builder, DType, Graph, Node, NodeId, Op, OpenScan};
use std::collections::{BTreeMap, BTreeSet};

/// Changes an optimised graph. What moves out of loops what is the same at every step is for before.
pub fn run(graph: &mut Graph) {
    if rewrite_loops(graph, |b, open, _| inside(b, open)) {
        dce::run(graph);
    }
}

fn inside(b: &mut Builder, mut open: OpenScan) -> Results {
    let mut changed = false;
    for (place, operand) in open.captures.clone() {
        let mut nodes = BTreeSet::new();
        if !is_multiplied_by(&open, place) || !is_widened(&b.graph, operand, &mut nodes) {
            continue;
        }
        // Operands have lower numbers.
        let mut map: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for id in nodes {
            let mut node = b.graph.node(id).clone();
            let new = if let Op::Variable(_) = node.op {
                let new = open.placeholder(node.ty.clone(), &node);
                open.captures.push((new, id));
                new
            } else {
                node.inputs.iter_mut().for_each(|input| *input = map.get(input).copied().unwrap_or(*input));
                open.nodes.push(node);
                NodeId(open.nodes.len() as u32 - 1)
            };
            map.insert(id, new);
        }
        if let Some(new) = map.get(&operand) {
            open.replace(place, *new);
            changed = true;
        }
    }
    if changed { close_sorted(b, open) } else { Ok(None) }
}

/// Is it a narrow variable, widened and perhaps scaled, seen through views? Notes all nodes that it is made of.
fn is_widened(graph: &Graph, id: NodeId, nodes: &mut BTreeSet<NodeId>) -> bool {
    nodes.insert(id);
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::Mul), &[a, b]) => {
            is_widened(graph, a, nodes) && shown(graph, b, nodes).is_some()
                || is_widened(graph, b, nodes) && shown(graph, a, nodes).is_some()
        }
        (Op::Cast, &[from]) => {
            matches!(shown(graph, from, nodes), Some(DType::BF16 | DType::I8))
        }
        _ if is_view(node) => is_widened(graph, node.inputs[0], nodes),
        _ => false,
    }
}

/// The type of the variable that views show here.
fn shown(graph: &Graph, id: NodeId, nodes: &mut BTreeSet<NodeId>) -> Option<DType> {
    nodes.insert(id);
    let node = graph.node(id);
    match &node.op {
        Op::Variable(_) => Some(node.ty.dtype),
        _ if is_view(node) => shown(graph, node.inputs[0], nodes),
        _ => None,
    }
}

fn is_view(node: &Node) -> bool {
    matches!(node.op, Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Slice { .. })
}

/// Do steps do nothing with it but multiply matrices by it, seen through views?
fn is_multiplied_by(open: &OpenScan, place: NodeId) -> bool {
    let given = |id: &NodeId| *id == place;
    let leaves = open.carries.iter().map(|carry| &carry.next).chain(&open.yields).any(given);
    !leaves
        && open.nodes.iter().enumerate().filter(|(_, node)| node.inputs.iter().any(given)).all(
            |(user, node)| match node.op {
                Op::Contract { .. } => node.inputs[0] != place,
                _ => is_view(node) && is_multiplied_by(open, NodeId(user as u32)),
            },
        )
}
