//! What needs no carry moves before the loop.
//!
//! What is the same at each step is computed once. What differs, but depends on elements alone, is computed for all steps at once
//! where that pays: the contraction of each step's input becomes one of all inputs, with what follows it element by element. Views,
//! cheap arithmetic on elements and contractions of few terms stay, since a step reads less than all steps' results would be; and so do
//! contractions of what another loop yields, which then need not wait for its end.

use super::loops::{Results, close_sorted, goes_on, rewrite_loops, spreads};
use super::rewrite::is_elementwise;
use crate::grad::scan::is_dear;
use crate::graph::{Builder, Graph, Leaves, Mapped, NodeId, Op, OpenScan, Rows};

pub fn run(graph: &mut Graph) -> bool {
    rewrite_loops(graph, before)
}

fn before(b: &mut Builder, mut open: OpenScan, _: &[bool]) -> Results {
    let carried = open.dependents(open.carries.iter().map(|c| c.place));
    let varying = open.dependents(open.elements.iter().map(|e| e.0));
    let roots: Vec<NodeId> = open.carries.iter().map(|c| c.next).chain(open.yields.iter().copied()).collect();
    let needed = open.needs(roots.iter().copied());
    let captured = open.dependents(open.captures.iter().map(|c| c.0));
    // What is worth moving.
    let mut moved = vec![false; open.nodes.len()];
    for (at, node) in open.nodes.iter().enumerate() {
        if carried[at] || !needed[at] || node.inputs.is_empty() {
            continue;
        }
        let dear = is_dear(&node.op) || matches!(node.op, Op::Gather { .. });
        let follows = node.inputs.iter().any(|input| moved[input.index()]);
        let small = match node.inputs.as_slice() {
            [x, y] => {
                let (a, weights) = (&open.node(*x).ty, &open.node(*y).ty);
                let element = open.elements.iter().find(|(place, _)| place == x);
                let next = element.is_some_and(|(_, whole)| goes_on(&b.graph, *whole, &node.op, weights));
                varying[at] && (spreads(&node.op, a, weights) || next && !varying[y.index()])
            }
            _ => false,
        };
        let dear = dear && !small;
        moved[at] = if varying[at] {
            let same_size =
                || node.inputs.iter().any(|i| moved[i.index()] && open.node(*i).ty.shape == node.ty.shape);
            dear || is_elementwise(&node.op) && follows && same_size()
        } else {
            // Constants are better where they are.
            captured[at] && (dear || is_elementwise(&node.op))
        };
    }
    if !moved.contains(&true) {
        return Ok(None);
    }
    // Their batched forms, with what they need.
    let wanted = open.needs((0..moved.len()).filter(|at| moved[*at]).map(|at| NodeId(at as u32)));
    let mut map: Vec<Option<Mapped>> = vec![None; open.nodes.len()];
    for (place, id) in &open.elements {
        map[place.index()] = Some(Mapped { id: *id, batched: true });
    }
    for (place, id) in &open.captures {
        map[place.index()] = Some(Mapped { id: *id, batched: false });
    }
    let leaves = Leaves::default();
    let (span, path) = (b.span, b.path.clone());
    let trip = open.trip.clone();
    for at in (0..open.nodes.len()).filter(|at| wanted[*at]) {
        let node = &open.nodes[at];
        let args: Option<Vec<Mapped>> = node.inputs.iter().map(|input| map[input.index()]).collect();
        if map[at].is_some() || matches!(node.op, Op::Input(_)) {
            continue;
        }
        (b.span, b.path) = (node.span, node.path.clone());
        // What has no batched form stays.
        map[at] = args.and_then(|args| Rows { b, batch: &trip }.node(node, &args, &leaves).ok());
    }
    (b.span, b.path) = (span, path);

    // What of it the step still reads comes in.
    let stays = |user: usize| needed[user] && !(moved[user] && map[user].is_some());
    let mut read = vec![false; moved.len()];
    roots.iter().for_each(|id| read[id.index()] = true);
    for (_, node) in open.nodes.iter().enumerate().filter(|(user, _)| stays(*user)) {
        node.inputs.iter().for_each(|input| read[input.index()] = true);
    }
    let mut changed = false;
    for at in (0..moved.len()).filter(|at| moved[*at] && read[*at]) {
        let id = NodeId(at as u32);
        let Some(mapped) = map[at] else { continue };
        let like = open.node(id).clone();
        let place = open.placeholder(like.ty.clone(), &like);
        open.replace(id, place);
        match mapped.batched {
            true => open.elements.push((place, mapped.id)),
            false => open.captures.push((place, mapped.id)),
        }
        changed = true;
    }
    if changed { close_sorted(b, open) } else { Ok(None) }
}
