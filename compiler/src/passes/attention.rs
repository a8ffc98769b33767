//! Attention that is spelt out becomes one operation, whose kernel keeps no scores.
//!
//! ```text
//! softmax(scale · q kᵀ + bias where mask) v  →  attention(q, k, v, bias, mask)
//! ```
//!
//! Reverse mode has found the same form before, so that nothing of a gradient reads the weights. Where something else reads them (dropout, a
//! map that is shown) the form stays as it is. The order of sums differs, and a row whose scores are all -∞ is 0.

use super::rewrite::rewrite;
use crate::graph::attention::{Part, find, uses};
use crate::graph::{Graph, Op};

pub fn run(graph: &mut Graph) -> bool {
    let mut changed = false;
    while first(graph) {
        changed = true;
    }
    changed
}

/// Replaces the first form that is found: the places of nodes shift behind it.
fn first(graph: &mut Graph) -> bool {
    if !graph.nodes.iter().any(|node| matches!(node.op, Op::Contract { .. })) {
        return false;
    }
    let uses = uses(graph);
    let Some((place, found)) = graph.ids().find_map(|id| Some((id, find(graph, id, &uses)?))) else {
        return false;
    };
    let mut at = 0;
    rewrite(graph, |b, node| {
        let here = at == place.index();
        at += 1;
        if !here {
            return Ok(None);
        }
        // Everything before this node is as it was, so that what was found still stands there.
        let result = found.push(b, Part::Result, &[])?;
        found.result_out(b, result, &node.ty).map(Some)
    })
}
