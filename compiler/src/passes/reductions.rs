//! Reductions of reductions, of views, of broadcasts and of contractions.
//!
//! The order in which a sum adds may change, and equal summands become one product with their number.

use super::rewrite::{Rewritten, look, rewrite};
use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Reduction};
use crate::graph::{Builder, Graph, Node, NodeId, Op, TensorType};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| match (&node.op, node.inputs.as_slice()) {
        (Op::Reduce { reduction, axes }, &[x]) => reduce(b, *reduction, axes, x, node),
        (Op::CumulativeSum { axis, exclusive: false, .. }, &[x]) if b.ty(x).shape[*axis].is(1) => Ok(Some(x)),
        _ => Ok(None),
    })
}

fn reduce(b: &mut Builder, reduction: Reduction, axes: &[usize], x: NodeId, node: &Node) -> Rewritten {
    let ty = b.ty(x).clone();
    if axes.iter().all(|axis| ty.shape[*axis].is(1)) {
        return b.reshape(x, &node.ty.shape).map(Some);
    }
    let (op, from) = look(b, x);
    match op.clone() {
        Op::Reduce { reduction: inner, axes: first } if inner == reduction => {
            // The outer axes count what the inner reduction has left.
            let left: Vec<usize> = (0..b.ty(from).rank()).filter(|axis| !first.contains(axis)).collect();
            let mut both: Vec<usize> = first.into_iter().chain(axes.iter().map(|axis| left[*axis])).collect();
            both.sort_unstable();
            b.reduce(reduction, from, &both).map(Some)
        }
        Op::Reshape if axes.len() == ty.rank() => {
            let all: Vec<usize> = (0..b.ty(from).rank()).collect();
            b.reduce(reduction, from, &all).map(Some)
        }
        Op::Transpose { permutation } => {
            let mut inner: Vec<usize> = axes.iter().map(|axis| permutation[*axis]).collect();
            inner.sort_unstable();
            let reduced = b.reduce(reduction, from, &inner)?;
            // Where each axis that is left stands among those that are left before the transposition.
            let left: Vec<usize> = permutation.iter().copied().filter(|axis| !inner.contains(axis)).collect();
            let order: Vec<usize> =
                left.iter().map(|axis| left.iter().filter(|other| *other < axis).count()).collect();
            b.transpose(reduced, &order).map(Some)
        }
        Op::Broadcast { axes: places } => broadcast(b, reduction, axes, from, &places, &ty),
        Op::Contract { batch, sum } if reduction == Reduction::Sum => contract(b, batch, sum, axes, x),
        _ => Ok(None),
    }
}

/// Contractions side by side that are added up are one contraction over that axis too.
fn contract(
    b: &mut Builder,
    batch: Vec<(usize, usize)>,
    mut sum: Vec<(usize, usize)>,
    axes: &[usize],
    x: NodeId,
) -> Rewritten {
    let (added, left): (Vec<usize>, Vec<usize>) = axes.iter().partition(|axis| **axis < batch.len());
    if added.is_empty() {
        return Ok(None);
    }
    sum.extend(added.iter().map(|axis| batch[*axis]));
    sum.sort_unstable();
    let kept = (0..batch.len()).filter(|axis| !added.contains(axis)).map(|axis| batch[axis]).collect();
    let inputs = b.graph.node(x).inputs.clone();
    let made = b.push(Op::Contract { batch: kept, sum }, &inputs, None)?;
    let left: Vec<usize> = left.iter().map(|axis| axis - added.len()).collect();
    b.reduce(Reduction::Sum, made, &left).map(Some)
}

/// Axes that the broadcast made hold equal elements: their sum is a product with their number, and their largest is any of them,
/// if there are any.
fn broadcast(
    b: &mut Builder,
    reduction: Reduction,
    axes: &[usize],
    from: NodeId,
    places: &[usize],
    ty: &TensorType,
) -> Rewritten {
    let (made, real): (Vec<usize>, Vec<usize>) = axes.iter().partition(|axis| !places.contains(axis));
    if made.is_empty() {
        return Ok(None);
    }
    let count = made.iter().fold(Dim::constant(1), |count, axis| count * ty.shape[*axis].clone());
    let sum = match reduction {
        Reduction::Sum => true,
        Reduction::Prod => return Ok(None),
        _ if count.as_constant().is_some_and(|count| count > 0) => false,
        _ => return Ok(None),
    };
    // First the broadcast without these axes, then the other reductions, on fewer elements.
    let kept: Vec<usize> = (0..ty.rank()).filter(|axis| !made.contains(axis)).collect();
    let place = |axis: &usize| kept.iter().position(|k| k == axis).unwrap_or(0);
    let shape: Vec<Dim> = kept.iter().map(|axis| ty.shape[*axis].clone()).collect();
    let smaller = TensorType::new(ty.dtype, shape);
    let x = super::rewrite::broadcast(b, from, places.iter().map(place).collect(), &smaller)?;
    let x = if sum {
        let factor = match count.as_constant() {
            Some(count) => b.constant(count as f64, ty.dtype)?,
            None => b.push(Op::DimValue(count), &[], Some(TensorType::scalar(ty.dtype)))?,
        };
        let factor = b.broadcast_to(factor, &smaller.shape)?;
        b.binary(Binary::Mul, x, factor)?
    } else {
        x
    };
    b.reduce(reduction, x, &real.iter().map(place).collect::<Vec<_>>()).map(Some)
}
