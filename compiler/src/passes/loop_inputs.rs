//! What a step reads lies together, and is read as it was computed.
//!
//! - A contraction whose results a loop reads in another order of axes is computed in that order: the steps' parts then follow one
//!   another in memory, and only the view of its operand changes.
//! - A contraction of few terms (the channels of a series, say) goes into the loop: its operand is several times smaller than its result.
//!   So does one of what another loop yields, where its weights stay in cache: the loops can then run side by side.
//! - What is the same for all steps and is put on a contraction of the elements, such as a bias, is put on by the step. It has the
//!   number in a register anyway, where a kernel before the loop would read and write all steps' numbers once more.

use super::loops::{Results, close_sorted, goes_on, rewrite_loops, spreads};
use super::rewrite::{Rewritten, is_elementwise, look};
use crate::graph::{Builder, Dim, Graph, Node, NodeId, Op, OpenScan, TensorType};

/// What is to be done to an element of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// The order of its axes.
    Turn,
    /// The step puts on what all steps share: which operand is that.
    PutOn(usize),
    /// The step computes the contraction.
    Contract,
}

pub fn run(graph: &mut Graph) -> bool {
    let uses = uses(graph);
    let mut plans: Vec<Vec<Change>> = Vec::new();
    for node in &graph.nodes {
        if let Op::Scan(scan) = &node.op {
            let operands = node.inputs.iter().take(scan.elements);
            plans.push(operands.map(|operand| change(graph, &uses, *operand)).collect());
        }
    }
    if plans.iter().flatten().all(|change| *change == Change::None) {
        return false;
    }
    // The rule is asked once for each loop, in order.
    let mut plans = plans.into_iter();
    rewrite_loops(graph, |b, open, _| inputs(b, open, &plans.next().unwrap_or_default()))
}

/// How often each node is read.
fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    let read = graph.nodes.iter().flat_map(|node| &node.inputs);
    let named = graph.outputs.iter().map(|(_, id)| id).chain(graph.updates.iter().map(|(_, id)| id));
    read.chain(named).for_each(|id| uses[id.index()] += 1);
    uses
}

fn change(graph: &Graph, uses: &[usize], operand: NodeId) -> Change {
    let node = graph.node(operand);
    if uses[operand.index()] != 1 {
        return Change::None;
    }
    match (&node.op, node.inputs.as_slice()) {
        (Op::Transpose { permutation }, [x]) if turns(graph, uses, *x, permutation) => Change::Turn,
        (op @ Op::Contract { sum, .. }, [x, y]) => {
            let (a, b) = (&graph.node(*x).ty, &graph.node(*y).ty);
            let by_step = a.rank() > 0 && sum.iter().all(|pair| pair.0 != 0);
            let pays = || spreads(op, a, b) || goes_on(graph, *x, op, b);
            if by_step && pays() { Change::Contract } else { Change::None }
        }
        (Op::Binary(_), inputs) => {
            let contraction =
                |id: NodeId| uses[id.index()] == 1 && matches!(graph.node(id).op, Op::Contract { .. });
            let shared = |id: NodeId| match &graph.node(id).op {
                Op::Broadcast { axes } => axes.first().is_some_and(|first| *first > 0),
                _ => false,
            };
            let found = (0..inputs.len()).find(|i| shared(inputs[*i]) && contraction(inputs[1 - i]));
            found.map_or(Change::None, Change::PutOn)
        }
        _ => Change::None,
    }
}

/// Whether this is a contraction that may as well be computed in another order of axes, or such a one with something put on it.
fn turns(graph: &Graph, uses: &[usize], id: NodeId, permutation: &[usize]) -> bool {
    let node = graph.node(id);
    if uses[id.index()] != 1 {
        return false;
    }
    match &node.op {
        Op::Contract { batch, sum } => {
            let rows = graph.node(node.inputs[0]).ty.rank() - sum.len();
            batch.is_empty() && permutation.iter().enumerate().skip(rows).all(|(place, axis)| place == *axis)
        }
        op if is_elementwise(op) => {
            let spread = |axes: &[usize]| turned_axes(axes, permutation).is_sorted();
            let stays = |id: NodeId| match &graph.node(id).op {
                Op::Broadcast { axes } => spread(axes),
                _ => false,
            };
            let (others, turned): (Vec<NodeId>, Vec<NodeId>) = node.inputs.iter().partition(|id| stays(**id));
            others.len() + 1 == node.inputs.len() && turns(graph, uses, turned[0], permutation)
        }
        _ => false,
    }
}

/// Where axes stand after a permutation.
fn turned_axes(axes: &[usize], permutation: &[usize]) -> Vec<usize> {
    axes.iter().filter_map(|axis| permutation.iter().position(|p| p == axis)).collect()
}

fn inputs(b: &mut Builder, mut open: OpenScan, plan: &[Change]) -> Results {
    let (span, path) = (b.span, b.path.clone());
    let mut changed = false;
    for (at, change) in plan.iter().enumerate() {
        let (place, operand) = open.elements[at];
        match change {
            Change::None => {}
            Change::Turn => {
                let (Op::Transpose { permutation }, from) = look(b, operand) else { continue };
                let permutation = permutation.clone();
                if let Some(turned) = turned(b, from, &permutation)? {
                    open.elements[at].1 = turned;
                    changed = true;
                }
            }
            Change::Contract => changed |= contract(b, &mut open, at, place),
            Change::PutOn(side) => changed |= put_on(b, &mut open, at, place, *side),
        }
        (b.span, b.path) = (span, path.clone());
    }
    if changed { close_sorted(b, open) } else { Ok(None) }
}

/// The same values in another order of axes.
fn turned(b: &mut Builder, id: NodeId, permutation: &[usize]) -> Rewritten {
    let node = b.graph.node(id).clone();
    (b.span, b.path) = (node.span, node.path.clone());
    let shape: Vec<Dim> = permutation.iter().map(|axis| node.ty.shape[*axis].clone()).collect();
    let ty = TensorType::new(node.ty.dtype, shape);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Contract { sum, .. }, &[x, y]) => {
            let free: Vec<usize> =
                (0..b.ty(x).rank()).filter(|axis| sum.iter().all(|pair| pair.0 != *axis)).collect();
            let mut order: Vec<usize> = (0..b.ty(x).rank()).collect();
            for (place, axis) in free.iter().enumerate() {
                order[*axis] = free[permutation[place]];
            }
            let x = b.transpose(x, &order)?;
            (b.span, b.path) = (node.span, node.path.clone());
            b.push(node.op.clone(), &[x, y], None).map(Some)
        }
        (Op::Broadcast { axes }, &[x]) => {
            let axes = turned_axes(axes, permutation);
            b.push(Op::Broadcast { axes }, &[x], Some(ty)).map(Some)
        }
        _ => {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for input in &node.inputs {
                let Some(input) = turned(b, *input, permutation)? else { return Ok(None) };
                inputs.push(input);
            }
            (b.span, b.path) = (node.span, node.path.clone());
            b.push(node.op.clone(), &inputs, Some(ty)).map(Some)
        }
    }
}

/// Lets the step compute a contraction that is one of its elements.
fn contract(b: &Builder, open: &mut OpenScan, at: usize, place: NodeId) -> bool {
    let node = b.graph.node(open.elements[at].1);
    let (Op::Contract { sum, .. }, &[x, y]) = (&node.op, node.inputs.as_slice()) else { return false };
    let ty = b.ty(x);
    let row = TensorType::new(ty.dtype, ty.shape[1..].to_vec());
    let like = open.node(place).clone();
    let (element, given) = (open.placeholder(row, node), open.placeholder(b.ty(y).clone(), node));
    let result = NodeId(open.nodes.len() as u32);
    let op = Op::Contract { batch: Vec::new(), sum: sum.iter().map(|pair| (pair.0 - 1, pair.1)).collect() };
    open.nodes.push(Node {
        op,
        inputs: vec![element, given],
        span: node.span,
        path: node.path.clone(),
        ..like
    });
    open.replace(place, result);
    open.elements[at] = (element, x);
    open.captures.push((given, y));
    true
}

/// Lets the step do what was done to one of its elements.
fn put_on(b: &Builder, open: &mut OpenScan, at: usize, place: NodeId, side: usize) -> bool {
    let node = b.graph.node(open.elements[at].1);
    let &[_, _] = node.inputs.as_slice() else { return false };
    let shared = b.graph.node(node.inputs[side]);
    let (Op::Broadcast { axes }, Some(source)) = (&shared.op, shared.inputs.first()) else { return false };
    let like = open.node(place).clone();
    let element = open.placeholder(like.ty.clone(), node);
    let given = open.placeholder(b.ty(*source).clone(), shared);
    let mut push = |op: Op, inputs: Vec<NodeId>, of: &Node| {
        let id = NodeId(open.nodes.len() as u32);
        let (ty, path) = (like.ty.clone(), of.path.clone());
        open.nodes.push(Node { op, inputs, ty, span: of.span, path });
        id
    };
    let spread =
        push(Op::Broadcast { axes: axes.iter().map(|axis| axis - 1).collect() }, vec![given], shared);
    let mut inputs = vec![element, element];
    inputs[side] = spread;
    let result = push(node.op.clone(), inputs, node);
    open.replace(place, result);
    open.elements[at] = (element, node.inputs[1 - side]);
    open.captures.push((given, *source));
    true
}
