//! Dead code: drops what no output and no update needs, and updates that change nothing.
//!
//! Inputs stay, because they are the entry's signature and their shapes bind its symbols.

use crate::graph::{Graph, NodeId, Op};

pub fn run(graph: &Graph) -> Graph {
    let mut result = graph.clone();
    result.updates.retain(|(path, id)| {
        !matches!(graph.nodes.get(id.index()).map(|n| &n.op), Some(Op::Variable(own)) if own == path)
    });
    let mut live: Vec<bool> = graph.nodes.iter().map(|n| matches!(n.op, Op::Input(_))).collect();
    for (_, id) in result.outputs.iter().chain(&result.updates) {
        live[id.index()] = true;
    }
    for (place, node) in graph.nodes.iter().enumerate().rev() {
        if live[place] {
            node.inputs.iter().for_each(|input| live[input.index()] = true);
        }
    }
    let mut map = Vec::with_capacity(graph.nodes.len());
    let mut count = 0;
    for live in &live {
        map.push(NodeId(count));
        count += u32::from(*live);
    }
    let mut place = 0;
    result.nodes.retain(|_| {
        place += 1;
        live[place - 1]
    });
    let ids = result.nodes.iter_mut().flat_map(|n| &mut n.inputs);
    let named = result.outputs.iter_mut().chain(&mut result.updates).map(|(_, id)| id);
    ids.chain(named).for_each(|id| *id = map[id.index()]);
    result
}
