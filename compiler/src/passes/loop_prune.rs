//! Loops lose what is of no use: results that nothing reads with all that only they need, carries that do not change, stacks of what
//! is there without the loop, and inputs that are constant, the same at each step, or there twice.

use super::loops::{Results, close, rewrite_loops};
use crate::graph::open::{copy_constant, is_constant};
use crate::graph::{Builder, Graph, NodeId, Op, OpenScan, TensorType, TypeError};

pub fn run(graph: &mut Graph) -> bool {
    rewrite_loops(graph, prune)
}

fn prune(b: &mut Builder, mut open: OpenScan, read: &[bool]) -> Results {
    let (carries, yields) = (open.carries.len(), open.yields.len());
    let mut results: Vec<Option<NodeId>> = vec![None; carries + yields];
    let mut changed = inputs_simplified(b, &mut open)?;

    // Carries that stay what they are, in the order of the carries that are left.
    let mut left: Vec<usize> = (0..carries).collect();
    while let Some(at) =
        open.carries.iter().position(|c| c.next == c.place || stays_constant(b, &open, c.place))
    {
        let carry = open.carries.remove(at);
        results[left.remove(at)] = Some(carry.first);
        open.captures.push((carry.place, carry.first));
        changed = true;
    }

    // What is read, and the carries that it needs.
    let stacks: Vec<usize> = (0..yields).filter(|at| read.get(carries + at) == Some(&true)).collect();
    let mut needed: Vec<bool> = left.iter().map(|at| read.get(*at) == Some(&true)).collect();
    loop {
        let nexts = open.carries.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(c, _)| c.next);
        let roots: Vec<NodeId> = nexts.chain(stacks.iter().map(|at| open.yields[*at])).collect();
        let reached = open.needs(roots);
        let before = needed.clone();
        for (slot, carry) in needed.iter_mut().zip(&open.carries) {
            *slot |= reached[carry.place.index()];
        }
        if before == needed {
            break;
        }
    }
    changed |= needed.contains(&false) || stacks.len() < yields;
    let mut keep = needed.iter();
    open.carries.retain(|_| *keep.next().unwrap_or(&true));
    let mut keep = needed.iter();
    left.retain(|_| *keep.next().unwrap_or(&true));

    // Stacks of what is there without the loop, and equal stacks.
    let mut yielded: Vec<NodeId> = Vec::new();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for at in stacks {
        let value = open.yields[at];
        if let Some(stack) = stack_outside(b, &open, value)? {
            results[carries + at] = Some(stack);
            changed = true;
            continue;
        }
        let place = yielded.iter().position(|y| *y == value).unwrap_or(yielded.len());
        match yielded.get(place) {
            Some(_) => changed = true,
            None => yielded.push(value),
        }
        places.push((carries + at, place));
    }
    open.yields = yielded;

    let roots: Vec<NodeId> = open.carries.iter().map(|c| c.next).chain(open.yields.iter().copied()).collect();
    let reached = open.needs(roots);
    let idle = |pairs: &[(NodeId, NodeId)]| pairs.iter().any(|(place, _)| !reached[place.index()]);
    changed |= idle(&open.elements) || idle(&open.captures);
    if !changed {
        return Ok(None);
    }
    let (finals, stacks) = close(b, open)?;
    for (at, id) in left.into_iter().zip(finals) {
        results[at] = Some(id);
    }
    for (at, place) in places {
        results[at] = stacks.get(place).copied();
    }
    Ok(Some(results))
}

/// Equal inputs become one, elements that are the same at each step captures, and captured constants constants.
fn inputs_simplified(b: &mut Builder, open: &mut OpenScan) -> Result<bool, TypeError> {
    let mut changed = false;
    let mut elements: Vec<(NodeId, NodeId)> = Vec::new();
    for (place, operand) in std::mem::take(&mut open.elements) {
        if let Some(first) = elements.iter().find(|(_, other)| *other == operand) {
            open.replace(place, first.0);
        } else if let Some(same) = same_at_each_step(b, operand)? {
            open.captures.push((place, same));
        } else {
            elements.push((place, operand));
            continue;
        }
        changed = true;
    }
    open.elements = elements;
    let mut captures: Vec<(NodeId, NodeId)> = Vec::new();
    for (place, operand) in std::mem::take(&mut open.captures) {
        if let Some(first) = captures.iter().find(|(_, other)| *other == operand) {
            open.replace(place, first.0);
        } else if is_constant(&b.graph, operand) {
            let constant = copy_constant(&b.graph, operand, &mut open.nodes);
            open.replace(place, constant);
        } else {
            captures.push((place, operand));
            continue;
        }
        changed = true;
    }
    open.captures = captures;
    if changed {
        open.sort();
    }
    Ok(changed)
}

/// One step of a sequence that has the same for all.
fn same_at_each_step(b: &mut Builder, operand: NodeId) -> Result<Option<NodeId>, TypeError> {
    let node = b.graph.node(operand).clone();
    let (Op::Broadcast { axes }, Some(from)) = (&node.op, node.inputs.first()) else { return Ok(None) };
    if axes.first() == Some(&0) {
        return Ok(None);
    }
    let step = TensorType::new(node.ty.dtype, node.ty.shape.get(1..).unwrap_or(&[]));
    super::rewrite::broadcast(b, *from, axes.iter().map(|axis| axis - 1).collect(), &step).map(Some)
}

/// Does the carry start as the constant that it is after each step?
fn stays_constant(b: &Builder, open: &OpenScan, place: NodeId) -> bool {
    let Some(carry) = open.carries.iter().find(|c| c.place == place) else { return false };
    let first = super::rewrite::constant_value(b, carry.first);
    first.is_some() && first.map(f64::to_bits) == constant_within(open, carry.next).map(f64::to_bits)
}

/// The number that fills a value of the body.
fn constant_within(open: &OpenScan, id: NodeId) -> Option<f64> {
    let node = open.node(id);
    match node.op {
        Op::Constant(value) => Some(value),
        Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. } => {
            constant_within(open, *node.inputs.first()?)
        }
        _ => None,
    }
}

/// The stack of a value that the loop is not needed for: of an element, of a capture, of a constant.
fn stack_outside(b: &mut Builder, open: &OpenScan, value: NodeId) -> Result<Option<NodeId>, TypeError> {
    if let Some((_, operand)) = open.elements.iter().find(|(place, _)| *place == value) {
        return Ok(Some(*operand));
    }
    let ty = &open.node(value).ty;
    let shape: Vec<_> = std::iter::once(open.trip.clone()).chain(ty.shape.iter().cloned()).collect();
    if let Some((_, operand)) = open.captures.iter().find(|(place, _)| *place == value) {
        return b.broadcast_to(*operand, &shape).map(Some);
    }
    match constant_within(open, value) {
        Some(constant) => b.full(constant, &TensorType::new(ty.dtype, shape)).map(Some),
        None => Ok(None),
    }
}
