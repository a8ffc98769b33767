//! Where inputs become numbers that have a derivative.

use super::Leaf;
use crate::graph::{Graph, NodeId, Op, TensorType};
use weft_runtime::program::InputSource;

/// The leaves of each input that reach `score`: the input itself where it is of floats, else where its integers are first cast, or first
/// look something up.
pub fn find(
    graph: &Graph,
    inputs: &[(String, TensorType, InputSource)],
    score: NodeId,
) -> Vec<(Leaf, NodeId)> {
    let needed = needed(graph, score);
    let mut found = Vec::new();
    for (input, ty, _) in inputs {
        let Some(at) = graph.ids().find(|id| graph.node(*id).op == Op::Input(input.clone())) else {
            continue;
        };
        let ids = if ty.dtype.is_float() { vec![at] } else { first_floats(graph, at) };
        let ids: Vec<NodeId> = ids.into_iter().filter(|id| needed[id.index()]).collect();
        // What became of comparisons is mostly a mask, which is no number that one would move.
        let plain = |id: &NodeId| !of_bools(graph, *id);
        let ids = if ids.iter().any(plain) { ids.into_iter().filter(plain).collect() } else { ids };
        for (place, id) in ids.into_iter().enumerate() {
            let number = if place == 0 { String::new() } else { format!(".{}", place + 1) };
            let name = if id == at { input.clone() } else { format!("inspect.{input}{number}") };
            let embedded = matches!(graph.node(id).op, Op::Gather { .. });
            found.push((Leaf { input: input.clone(), name, embedded }, id));
        }
    }
    found
}

/// Which nodes the value of `y` comes from, itself included.
pub fn needed(graph: &Graph, y: NodeId) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    needed[y.index()] = true;
    for id in graph.ids().rev() {
        if needed[id.index()] {
            graph.node(id).inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    needed
}

/// The float nodes that are made from the integers of `input` and nothing else that moves.
fn first_floats(graph: &Graph, input: NodeId) -> Vec<NodeId> {
    let mut whole = vec![false; graph.nodes.len()];
    whole[input.index()] = true;
    let mut found = Vec::new();
    for id in graph.ids().skip(input.index() + 1) {
        let node = graph.node(id);
        if !node.inputs.iter().any(|i| whole[i.index()]) {
            continue;
        }
        match (&node.op, node.ty.dtype.is_float()) {
            (_, false) => whole[id.index()] = true,
            (Op::Cast | Op::Gather { .. }, true) => found.push(id),
            _ => {}
        }
    }
    found
}

fn of_bools(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let of_bool = |id: &NodeId| graph.node(*id).ty.dtype == crate::graph::DType::Bool;
    node.op == Op::Cast && node.inputs.first().is_some_and(of_bool)
}
