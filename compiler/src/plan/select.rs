//! Which nodes have a buffer of their own.
//!
//! - What a runtime kernel reads or writes, what is stored by a reduction or a placement, outputs and new values of variables: always.
//! - Views, constants, index ramps: never; they become index maps and immediate values.
//! - Elementwise nodes: not when each element is read once, by one user or by several that read parts of their own; not when they are so cheap that doing them
//!   again costs less than the memory traffic. Else they have a buffer, which [`super::fuse`] may still make vanish.

use super::Machine;
use crate::graph::op::{Binary, Op};
use crate::graph::{DType, Graph, Node, NodeId};

/// The decision for each node.
#[derive(Debug)]
pub struct Selection {
    pub materialised: Vec<bool>,
    /// Reached from an output or an update.
    pub live: Vec<bool>,
}

/// More operations than this are not inlined into a user.
const LARGEST: usize = 48;
/// An expression of so few operations and loads is done again for each user.
const CHEAP: usize = 2;

pub fn select(graph: &Graph, machine: Machine) -> Selection {
    let mut chosen = Selection { materialised: vec![false; graph.nodes.len()], live: live(graph) };
    let mut required = vec![false; graph.nodes.len()];
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        required[id.index()] = true;
    }
    for id in graph.ids().filter(|id| chosen.live[id.index()]) {
        let node = graph.node(id);
        let halves = super::halves::of(graph, node, machine).is_some();
        for place in direct_operands(graph, node, halves) {
            let behind = super::halves::behind(graph, node.inputs[place]).filter(|_| halves);
            require(graph, behind.map_or(node.inputs[place], |(narrow, _)| narrow), &mut required);
        }
    }
    let users = users(graph, &chosen.live);
    let parted = parted(graph, &chosen.live, &users);
    let mut size = vec![(0usize, 0usize); graph.nodes.len()];
    for id in graph.ids().filter(|id| chosen.live[id.index()]) {
        let at = id.index();
        let node = graph.node(id);
        let (own, calls) = cost(node);
        let mut total = (own, 0);
        for input in &node.inputs {
            total.0 += size[input.index()].0;
            total.1 += size[input.index()].1;
        }
        let keep = match class(&node.op) {
            Class::Leaf => required[at] || matches!(node.op, Op::Input(_) | Op::Variable(_) | Op::Table(_)),
            Class::Kernel => true,
            Class::View => required[at],
            Class::Point => required[at] || !inlines(graph, node, &users[at], parted[at], total, calls),
        };
        chosen.materialised[at] = keep;
        size[at] = if keep { (0, 1) } else { total };
    }
    chosen
}

/// What a node is to the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Leaf,
    View,
    Point,
    Kernel,
}

pub fn class(op: &Op) -> Class {
    match op {
        Op::Input(_)
        | Op::Variable(_)
        | Op::Table(_)
        | Op::Constant(_)
        | Op::DimValue(_)
        | Op::Iota { .. } => Class::Leaf,
        Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Slice { .. } | Op::Window { .. } => {
            Class::View
        }
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Hold | Op::Pad { .. } => {
            Class::Point
        }
        _ => Class::Kernel,
    }
}

/// The inputs that a runtime kernel reads from memory as they are, or, of `halves`, as they are before they are widened.
fn direct_operands(graph: &Graph, node: &Node, halves: bool) -> Vec<usize> {
    match &node.op {
        // Narrow weights are read as they are; what the kernel cannot read so it asks for.
        Op::Contract { .. } if !super::contract::is_nest(graph, node) => {
            if is_narrow(graph, node.inputs[1]) && !halves { vec![0] } else { vec![0, 1] }
        }
        Op::Conv(_) | Op::ConvData(_) | Op::ConvWeights(_) => vec![0, 1],
        Op::Gather { .. } | Op::ScatterAdd { .. } => vec![0, 1],
        Op::Attention(_) => (0..node.inputs.len()).collect(),
        Op::CumulativeSum { .. } | Op::Sort { .. } | Op::Random { .. } => vec![0],
        // The first carries are written where the carries are.
        Op::Scan(scan) => {
            let carries = scan.elements..scan.elements + scan.carries;
            (0..node.inputs.len()).filter(|place| !carries.contains(place)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether it is a narrow weight, widened and perhaps scaled, seen through views: what [`super::values::Reader::locate_narrow`] finds.
fn is_narrow(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::Mul), &[a, b]) => is_narrow(graph, a) || is_narrow(graph, b),
        (Op::Cast, &[from]) => {
            let narrow = matches!(graph.node(from).ty.dtype, DType::BF16 | DType::I8);
            // The body of a loop is given it as an input.
            narrow && matches!(seen(graph, from).op, Op::Variable(_) | Op::Input(_))
        }
        (op, &[from, ..]) if class(op) == Class::View => is_narrow(graph, from),
        _ => false,
    }
}

/// What views show.
fn seen(graph: &Graph, id: NodeId) -> &Node {
    let node = graph.node(id);
    if class(&node.op) == Class::View { seen(graph, node.inputs[0]) } else { node }
}

/// Materialises what `id` shows. Where a contraction absorbs a view as strides, its base is what must be in memory; the kernel that
/// cannot absorb it asks for a copy itself.
fn require(graph: &Graph, id: NodeId, required: &mut [bool]) {
    let node = graph.node(id);
    if class(&node.op) == Class::View {
        require(graph, node.inputs[0], required);
    } else {
        required[id.index()] = true;
    }
}

fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        live[id.index()] = true;
    }
    for id in graph.ids().rev() {
        if live[id.index()] {
            for input in &graph.node(id).inputs {
                live[input.index()] = true;
            }
        }
    }
    live
}

/// Who reads a node, seen through views: the reader and whether it reads some element more than once.
fn users(graph: &Graph, live: &[bool]) -> Vec<Vec<(NodeId, bool)>> {
    let mut users: Vec<Vec<(NodeId, bool)>> = vec![Vec::new(); graph.nodes.len()];
    for id in graph.ids().rev().filter(|id| live[id.index()]) {
        let node = graph.node(id);
        if class(&node.op) == Class::View {
            let repeats = match &node.op {
                Op::Broadcast { .. } => graph.node(node.inputs[0]).ty.elements() != node.ty.elements(),
                Op::Window { size, stride, .. } => size.iter().zip(stride).any(|(k, s)| k > s),
                _ => false,
            };
            let through: Vec<_> =
                users[id.index()].iter().map(|(user, again)| (*user, *again || repeats)).collect();
            users[node.inputs[0].index()].extend(through);
        } else {
            for input in &node.inputs {
                users[input.index()].push((id, false));
            }
        }
    }
    for list in &mut users {
        list.sort();
        list.dedup();
    }
    users
}

/// Which nodes are read in slices that share no element, each by one user: the gates of a recurrent cell.
fn parted(graph: &Graph, live: &[bool], users: &[Vec<(NodeId, bool)>]) -> Vec<bool> {
    // By node: the axis of the slices, and the range of each; none as soon as something else reads it.
    let mut slices: Vec<Option<Vec<(usize, i64, i64)>>> = vec![Some(Vec::new()); graph.nodes.len()];
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        slices[id.index()] = None;
    }
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = graph.node(id);
        let range = match &node.op {
            Op::Slice { axis, start, step: 1 } if users[id.index()].len() == 1 => {
                let extent = node.ty.shape.get(*axis).and_then(|extent| extent.as_constant());
                start.as_constant().zip(extent).map(|(start, extent)| (*axis, start, start + extent))
            }
            _ => None,
        };
        for input in &node.inputs {
            let list = &mut slices[input.index()];
            match (range, list.as_mut()) {
                (Some(range), Some(list)) => list.push(range),
                _ => *list = None,
            }
        }
    }
    let apart = |list: &[(usize, i64, i64)]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.len() > 1 && list.windows(2).all(|two| two[0].0 == two[1].0 && two[0].2 <= two[1].1)
    };
    slices.iter().map(|list| list.as_deref().is_some_and(apart)).collect()
}

/// Operations, and how many of them are calls of the vector math library.
fn cost(node: &Node) -> (usize, usize) {
    if class(&node.op) != Class::Point {
        return (0, 0);
    }
    match &node.op {
        Op::Hold => (0, 0),
        op if op.is_call() => (8, 1),
        _ => (1, 0),
    }
}

fn inlines(
    graph: &Graph,
    node: &Node,
    users: &[(NodeId, bool)],
    parted: bool,
    (operations, loads): (usize, usize),
    calls: usize,
) -> bool {
    if operations > LARGEST || loads > 8 {
        return false;
    }
    // Plain f32 conversions of bytes and masks are as cheap as loads.
    let conversion = matches!(node.op, Op::Cast) && node.ty.dtype != DType::Bool;
    let cheap = calls == 0 && operations <= CHEAP && loads <= 2 || conversion && operations <= CHEAP;
    let again = users.iter().any(|(_, again)| *again);
    if again && !(cheap && loads <= 1 && operations <= 1) {
        return loads == 0 && calls == 0;
    }
    if calls > 0 || operations >= 8 {
        // Strips of calls run along the last axis; a loop that reduces another axis has no room for them.
        let awkward = users.iter().any(|(user, _)| match &graph.node(*user).op {
            Op::Reduce { axes, .. } | Op::ArgReduce { axes, .. } => {
                axes.last().is_none_or(|a| a + 1 != graph.node(graph.node(*user).inputs[0]).ty.rank())
                    || axes.len() > 1
            }
            Op::Contract { .. } | Op::Unwindow { .. } | Op::Gather { .. } => true,
            _ => false,
        });
        if awkward {
            return false;
        }
    }
    users.len() == 1 || parted || cheap
}
