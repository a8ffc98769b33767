//! Dead code: drops what no output and no update needs, and updates that change nothing.
//!
//! Inputs stay, because they are the entry's signature and their shapes bind its symbols.

use crate::graph::{Graph, NodeId, Op};

pub fn run(graph: &mut Graph) -> bool {
    sweep(graph, &|_| true)
}

/// As [`run`], where of the inputs that nothing reads only those stay that `keep` names.
pub fn sweep(graph: &mut Graph, keep: &dyn Fn(&str) -> bool) -> bool {
    let nodes = &graph.nodes;
    let count = (nodes.len(), graph.updates.len());
    graph.updates.retain(
        |(path, id)| !matches!(nodes.get(id.index()).map(|n| &n.op), Some(Op::Variable(own)) if own == path),
    );
    let mut live: Vec<bool> = nodes.iter().map(|n| matches!(&n.op, Op::Input(name) if keep(name))).collect();
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        live[id.index()] = true;
    }
    for (place, node) in nodes.iter().enumerate().rev() {
        if live[place] {
            node.inputs.iter().for_each(|input| live[input.index()] = true);
        }
    }
    let mut map = Vec::with_capacity(live.len());
    let mut next = 0;
    for live in &live {
        map.push(NodeId(next));
        next += u32::from(*live);
    }
    let mut live = live.into_iter();
    graph.nodes.retain(|_| live.next().unwrap_or(true));
    let ids = graph.nodes.iter_mut().flat_map(|n| &mut n.inputs);
    let named = graph.outputs.iter_mut().chain(&mut graph.updates).map(|(_, id)| id);
    ids.chain(named).for_each(|id| *id = map[id.index()]);
    count != (graph.nodes.len(), graph.updates.len())
}
