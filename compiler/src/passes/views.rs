//! Views of views: one index map for a chain of them, none where it is the identity.
//!
//! Transpositions that move only axes of extent 1 become reshapes, so that they meet other reshapes.

use super::rewrite::{Rewritten, broadcast, look, rewrite};
use crate::graph::dim::Dim;
use crate::graph::{Builder, Graph, Node, NodeId, Op, TensorType};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| {
        let Some(&x) = node.inputs.first() else { return Ok(None) };
        match &node.op {
            Op::Reshape => reshape(b, x, node),
            Op::Transpose { permutation } => transpose(b, x, permutation, node),
            Op::Broadcast { axes } => stretch(b, x, axes, node),
            Op::Slice { axis, start, step } => slice(b, x, *axis, start, *step, node),
            Op::Pad { amounts, value } => pad(b, x, amounts, *value),
            Op::Concat { axis } => concat(b, *axis, node),
            _ => Ok(None),
        }
    })
}

/// The scalar of which this is a broadcast.
fn scalar(b: &Builder, id: NodeId) -> Option<NodeId> {
    match look(b, id) {
        (Op::Broadcast { .. }, from) if b.ty(from).rank() == 0 => Some(from),
        _ => None,
    }
}

fn reshape(b: &mut Builder, x: NodeId, node: &Node) -> Rewritten {
    if b.ty(x).shape == node.ty.shape {
        return Ok(Some(x));
    }
    if let Some(scalar) = scalar(b, x) {
        return broadcast(b, scalar, Vec::new(), &node.ty).map(Some);
    }
    match look(b, x) {
        (Op::Reshape, from) => b.reshape(from, &node.ty.shape).map(Some),
        _ => Ok(None),
    }
}

fn transpose(b: &mut Builder, x: NodeId, permutation: &[usize], node: &Node) -> Rewritten {
    if permutation.iter().enumerate().all(|(i, p)| i == *p) {
        return Ok(Some(x));
    }
    if let Some(scalar) = scalar(b, x) {
        return broadcast(b, scalar, Vec::new(), &node.ty).map(Some);
    }
    let shape = &b.ty(x).shape;
    let long: Vec<usize> = permutation.iter().copied().filter(|p| !shape[*p].is(1)).collect();
    if long.is_sorted() {
        return b.reshape(x, &node.ty.shape).map(Some);
    }
    if let (Op::Transpose { permutation: first }, from) = look(b, x) {
        let both: Vec<usize> = permutation.iter().map(|p| first[*p]).collect();
        return b.transpose(from, &both).map(Some);
    }
    Ok(None)
}

fn stretch(b: &mut Builder, x: NodeId, axes: &[usize], node: &Node) -> Rewritten {
    if b.ty(x).shape == node.ty.shape {
        return Ok(Some(x));
    }
    match look(b, x) {
        (Op::Broadcast { axes: first }, from) => {
            let both = first.iter().map(|axis| axes[*axis]).collect();
            broadcast(b, from, both, &node.ty).map(Some)
        }
        // Axes of extent 1 that a reshape put in need not be there to be stretched.
        (Op::Reshape, from) => {
            let (outer, inner) = (b.ty(x).shape.clone(), b.ty(from).shape.clone());
            let long: Vec<usize> = (0..outer.len()).filter(|i| !outer[*i].is(1)).collect();
            let same = long.len() == inner.len() && long.iter().zip(&inner).all(|(i, d)| outer[*i] == *d);
            if !same {
                return Ok(None);
            }
            let both = long.iter().map(|i| axes[*i]).collect();
            broadcast(b, from, both, &node.ty).map(Some)
        }
        _ => Ok(None),
    }
}

fn slice(b: &mut Builder, x: NodeId, axis: usize, start: &Dim, step: i64, node: &Node) -> Rewritten {
    let extent = b.ty(x).shape[axis].clone();
    if start.is(0) && step == 1 && node.ty.shape[axis] == extent {
        return Ok(Some(x));
    }
    match b.graph.node(x).op.clone() {
        Op::Slice { axis: inner, start: first, step: stride } if inner == axis => {
            let Some(both) = step.checked_mul(stride) else { return Ok(None) };
            let start = first + start.clone() * Dim::constant(stride);
            let (_, from) = look(b, x);
            b.push(Op::Slice { axis, start, step: both }, &[from], Some(node.ty.clone())).map(Some)
        }
        // Along an axis that the broadcast made, all places are alike.
        Op::Broadcast { axes } => {
            let (_, from) = look(b, x);
            let made = match axes.iter().position(|to| *to == axis) {
                None => true,
                Some(place) => b.ty(from).shape[place].is(1) && !extent.is(1),
            };
            if made { broadcast(b, from, axes, &node.ty).map(Some) } else { Ok(None) }
        }
        // Wholly inside of one part.
        Op::Concat { axis: joined } if joined == axis && step == 1 => {
            let mut offset = Dim::constant(0);
            let end = start.clone() + node.ty.shape[axis].clone();
            for part in b.graph.node(x).inputs.clone() {
                let extent = b.ty(part).shape[axis].clone();
                let (into, left) =
                    (start.clone() - offset.clone(), offset.clone() + extent.clone() - end.clone());
                if into.as_constant().is_some_and(|v| v >= 0) && left.as_constant().is_some_and(|v| v >= 0) {
                    let op = Op::Slice { axis, start: into, step: 1 };
                    return b.push(op, &[part], Some(node.ty.clone())).map(Some);
                }
                offset = offset + extent;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn pad(b: &mut Builder, x: NodeId, amounts: &[(Dim, Dim)], value: f64) -> Rewritten {
    if amounts.iter().all(|(lo, hi)| lo.is(0) && hi.is(0)) {
        return Ok(Some(x));
    }
    let (Op::Pad { amounts: inner, value: filled }, from) = look(b, x) else { return Ok(None) };
    if filled.to_bits() != value.to_bits() {
        return Ok(None);
    }
    let sum = |(a, b): (&(Dim, Dim), &(Dim, Dim))| (a.0.clone() + b.0.clone(), a.1.clone() + b.1.clone());
    let amounts = amounts.iter().zip(inner).map(sum).collect();
    b.push(Op::Pad { amounts, value }, &[from], None).map(Some)
}

fn concat(b: &mut Builder, axis: usize, node: &Node) -> Rewritten {
    if let [only] = node.inputs[..] {
        return Ok(Some(only));
    }
    if let Some(whole) = tiled(b, axis, node) {
        return Ok(Some(whole));
    }
    let mut parts = Vec::new();
    for &part in &node.inputs {
        match (&b.graph.node(part).op, b.graph.node(part).inputs.as_slice()) {
            (Op::Concat { axis: inner }, inputs) if *inner == axis => parts.extend_from_slice(inputs),
            _ if b.ty(part).shape[axis].is(0) => {}
            _ => parts.push(part),
        }
    }
    if parts == node.inputs || parts.is_empty() {
        return Ok(None);
    }
    b.push(Op::Concat { axis }, &parts, None).map(Some)
}

/// The tensor whose slices, joined, are all of it in order.
fn tiled(b: &Builder, axis: usize, node: &Node) -> Option<NodeId> {
    let mut offset = Dim::constant(0);
    let mut whole: Option<NodeId> = None;
    for &part in &node.inputs {
        let (Op::Slice { axis: along, start, step: 1 }, from) = look(b, part) else { return None };
        if *along != axis || *start != offset || whole.is_some_and(|w| w != from) {
            return None;
        }
        whole = Some(from);
        offset = offset + b.ty(part).shape[axis].clone();
    }
    whole.filter(|w| {
        let ty: &TensorType = b.ty(*w);
        ty.shape[axis] == offset
    })
}
