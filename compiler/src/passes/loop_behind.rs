//! What no carry needs moves behind the loop, and is done for all steps at once.
//!
//! A contraction of what each step gives becomes one of the stacks. A carry that only adds something up is a sum over a stack: so
//! the gradient of a weight, a contraction at each step that is added up, becomes one contraction over all steps. What such work
//! reads is yielded.

use super::loops::{Results, close, rewrite_loops};
use crate::graph::op::{Binary, Reduction};
use crate::graph::{Builder, Graph, Leaves, Mapped, NodeId, Op, OpenCarry, OpenScan, Rows};

pub fn run(graph: &mut Graph) -> bool {
    rewrite_loops(graph, behind)
}

/// Work that is worth moving by itself.
fn is_work(op: &Op) -> bool {
    matches!(op, Op::Contract { .. } | Op::Conv(_) | Op::ConvData(_))
}

/// What the carry adds up, if it does nothing else.
fn summand(open: &OpenScan, carry: &OpenCarry) -> Option<NodeId> {
    let next = open.node(carry.next);
    let (Op::Binary(Binary::Add), [x, y]) = (&next.op, next.inputs.as_slice()) else { return None };
    let other = match (*x == carry.place, *y == carry.place) {
        (true, false) => *y,
        (false, true) => *x,
        _ => return None,
    };
    let reads = |id: NodeId| open.nodes.iter().flat_map(|n| &n.inputs).filter(|input| **input == id).count();
    let kept =
        |id: NodeId| open.yields.contains(&id) || open.carries.iter().filter(|c| c.next == id).count() > 1;
    let apart = reads(carry.place) == 1 && reads(carry.next) == 0 && !kept(carry.next) && !kept(carry.place);
    (apart && next.ty.dtype.is_float()).then_some(other)
}

/// What a value is a view of.
fn behind_views(open: &OpenScan, id: NodeId) -> NodeId {
    let node = open.node(id);
    match (&node.op, node.inputs.first()) {
        (Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. }, Some(from)) => behind_views(open, *from),
        _ => id,
    }
}

fn behind(b: &mut Builder, mut open: OpenScan, _: &[bool]) -> Results {
    let count = open.nodes.len();
    let sums: Vec<Option<NodeId>> = open.carries.iter().map(|c| summand(&open, c)).collect();
    // What the other carries need stays in the loop.
    let others = open.carries.iter().zip(&sums).filter(|(_, sum)| sum.is_none());
    let core = open.needs(others.map(|(carry, _)| carry.next).collect::<Vec<_>>());
    let roots: Vec<NodeId> = open.yields.iter().copied().chain(sums.iter().copied().flatten()).collect();
    let needed = open.needs(roots.iter().copied());
    let varying =
        open.dependents(open.elements.iter().map(|e| e.0).chain(open.carries.iter().map(|c| c.place)));
    let summed: Vec<NodeId> = sums.iter().flatten().map(|id| behind_views(&open, *id)).collect();
    let mut moved = vec![false; count];
    for (at, node) in open.nodes.iter().enumerate() {
        if core[at] || !needed[at] || !varying[at] || node.inputs.is_empty() {
            continue;
        }
        // A reduction that is added up crosses the steps anyway.
        let added = matches!(node.op, Op::Reduce { .. }) && summed.contains(&NodeId(at as u32));
        moved[at] = is_work(&node.op) || added || node.inputs.iter().any(|input| moved[input.index()]);
        if moved[at] && matches!(node.op, Op::ConvWeights(_) | Op::Scan(_)) {
            return Ok(None);
        }
    }
    let moves: Vec<bool> = sums.iter().map(|sum| sum.is_some_and(|id| moved[id.index()])).collect();
    let yields = open.yields.clone();
    if !moves.contains(&true) && !yields.iter().any(|id| moved[id.index()]) {
        return Ok(None);
    }

    // What the moved work reads of the steps is yielded, after what is yielded still.
    let mut stacked: Vec<NodeId> = yields.iter().copied().filter(|id| !moved[id.index()]).collect();
    for (at, node) in open.nodes.iter().enumerate() {
        for input in node.inputs.iter().filter(|_| moved[at]) {
            let place = |pairs: &[(NodeId, NodeId)]| pairs.iter().any(|(place, _)| place == input);
            let outside = moved[input.index()] || place(&open.elements) || place(&open.captures);
            if !outside && varying[input.index()] && !stacked.contains(input) {
                stacked.push(*input);
            }
        }
    }
    let mut map: Vec<Option<Mapped>> = vec![None; count];
    for (place, id) in &open.elements {
        map[place.index()] = Some(Mapped { id: *id, batched: true });
    }
    for (place, id) in &open.captures {
        map[place.index()] = Some(Mapped { id: *id, batched: false });
    }
    let (nodes, trip) = (open.nodes.clone(), open.trip.clone());
    let wanted = open.needs((0..count).filter(|at| moved[*at]).map(|at| NodeId(at as u32)));
    let carries = open.carries.clone();
    let mut keep = moves.iter();
    open.carries.retain(|_| !keep.next().unwrap_or(&false));
    open.yields.clone_from(&stacked);
    let (finals, stacks) = close(b, open)?;
    for (value, id) in stacked.iter().zip(&stacks) {
        map[value.index()] = Some(Mapped { id: *id, batched: true });
    }
    // In the order of the nodes, what is moved and the unvarying values that it reads.
    let leaves = Leaves::default();
    let (span, path) = (b.span, b.path.clone());
    for (at, node) in nodes.iter().enumerate().filter(|(at, _)| wanted[*at]) {
        if map[at].is_some() || varying[at] && !moved[at] {
            continue;
        }
        let args: Option<Vec<Mapped>> = node.inputs.iter().map(|input| map[input.index()]).collect();
        (b.span, b.path) = (node.span, node.path.clone());
        map[at] = match args {
            Some(args) => Some(Rows { b, batch: &trip }.node(node, &args, &leaves)?),
            None => None,
        };
    }
    (b.span, b.path) = (span, path);

    let mut results = Vec::new();
    let mut finals = finals.into_iter();
    for ((carry, sum), moves) in carries.iter().zip(&sums).zip(&moves) {
        let (Some(sum), true) = (sum, *moves) else {
            results.push(finals.next());
            continue;
        };
        let Some(mapped) = map[sum.index()] else { return Ok(None) };
        let stack = Rows { b, batch: &trip }.spread(mapped)?;
        let total = b.reduce(Reduction::Sum, stack, &[0])?;
        results.push(Some(b.binary(Binary::Add, carry.first, total)?));
    }
    for id in yields {
        let Some(mapped) = map[id.index()] else { return Ok(None) };
        results.push(Some(Rows { b, batch: &trip }.spread(mapped)?));
    }
    Ok(Some(results))
}
