//! Sums over columns for a GPU, so that they read a tensor once: what batch norm needs of each channel, and what its gradient does.
//!
//! Three things are done to sums over the batch, and over positions, that keep the last axis:
//!
//! - **Factors leave a sum** that are the same for all of its elements, and the sum of `x - mean(x)` is 0. So the three sums in the gradient of
//!   a norm that go over its whole tensor become two, of `g` and of `g · (x - mean)`, which nothing has to be known for but the mean.
//! - **A sum is cut** into parts, each of which a block sums up, and the sum of the parts: `Σ x = Σ_b s_b`, where `s_b = Σ_{i in b} x_i`.
//! - **The squares around the mean** are summed around the means of the parts (Chan, Golub & LeVeque 1979), `m_b = s_b / n`:
//!
//!   ```text
//!   Σ (x - m)²  =  Σ_b Σ_{i in b} (x_i - m_b)²  +  n Σ_b (m_b - m)²
//!   ```
//!
//!   What a block finds out of its part is then all that is read of the tensor, with no digits lost, however large the mean is.
//!
//! The order of sums changes, and where factors are applied. A processor, whose cache keeps what it reads again, is left as it is.

use super::rewrite::{Rewritten, broadcast, constant_value, look, rewrite};
use super::{cse, dce, pooling};
use crate::graph::op::{Binary, Reduction, Unary};
use crate::graph::{Builder, Dim, Graph, Node, NodeId, Op, TensorType, TypeError};

/// So many elements of a column are at most one part, if the last of the summed axes has no more: as many as the threads of a block keep.
const PART: i64 = 1024;
/// A product of more factors, or a sum of more terms, is left as it is.
const FACTORS: usize = 8;
const TERMS: usize = 16;

/// Changes an optimised graph. Passes that join sums are for before.
pub fn run(graph: &mut Graph) {
    if rewrite(graph, |b, node| column_sum(node).map_or(Ok(None), |(x, axes)| factored(b, x, axes, node))) {
        pooling::run(graph);
        cse::run(graph);
    }
    rewrite(graph, |b, node| column_sum(node).map_or(Ok(None), |(x, axes)| parted(b, x, axes)));
    cse::run(graph);
    dce::run(graph);
}

/// What is summed, over the first axis and perhaps others, but not over the last.
fn column_sum(node: &Node) -> Option<(NodeId, &[usize])> {
    let (Op::Reduce { reduction: Reduction::Sum, axes }, &[x]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let last = axes.len() + node.ty.rank() - 1;
    let columns =
        node.ty.dtype.is_float() && axes.contains(&0) && node.ty.rank() > 0 && !axes.contains(&last);
    columns.then_some((x, axes))
}

/// One of what is added up: a product of factors that are the same for all elements of a sum, and of tensors.
#[derive(Clone, Debug, Default)]
struct Term {
    negative: bool,
    factors: Vec<NodeId>,
    tensors: Vec<NodeId>,
}

/// The sum of a term or several, where one product of tensors alone is left to be summed.
fn factored(b: &mut Builder, x: NodeId, axes: &[usize], node: &Node) -> Rewritten {
    let mut terms = Vec::new();
    collect(b, x, axes, Term::default(), &mut terms);
    let plain = |term: &Term| term.factors.is_empty() && !is_centred(b, &term.tensors, axes);
    if let [term] = terms.as_slice()
        && plain(term)
    {
        return Ok(None);
    }
    terms.retain(|term| !is_centred(b, &term.tensors, axes));
    let Some(first) = terms.first() else { return b.full(0.0, &node.ty).map(Some) };
    let tensors = first.tensors.clone();
    if tensors.is_empty() || terms.iter().any(|term| term.tensors != tensors) {
        return Ok(None);
    }
    let mut factor = None;
    for term in &terms {
        let value = times(b, &term.factors, axes, &node.ty)?;
        factor = Some(match (factor, term.negative) {
            (None, false) => value,
            (None, true) => b.unary(Unary::Neg, value)?,
            (Some(sum), false) => b.binary(Binary::Add, sum, value)?,
            (Some(sum), true) => b.binary(Binary::Sub, sum, value)?,
        });
    }
    let mut product = tensors[0];
    for tensor in &tensors[1..] {
        product = b.binary(Binary::Mul, product, *tensor)?;
    }
    let sum = b.reduce(Reduction::Sum, product, axes)?;
    factor.map_or(Ok(sum), |factor| b.binary(Binary::Mul, sum, factor)).map(Some)
}

/// What a node adds up to, each as a term that the factors so far stand before.
fn collect(b: &Builder, id: NodeId, axes: &[usize], before: Term, terms: &mut Vec<Term>) {
    let node = b.graph.node(id);
    let turned = Term { negative: !before.negative, ..before.clone() };
    match (&node.op, node.inputs.as_slice()) {
        _ if terms.len() >= TERMS => terms.push(Term { tensors: vec![id], ..before }),
        (Op::Unary(Unary::Neg), &[x]) => collect(b, x, axes, turned, terms),
        // What is moved by a number for each column stays so: its sum, less that of the numbers, would lose digits.
        (Op::Binary(op @ (Binary::Add | Binary::Sub)), &[x, y])
            if invariant(b, x, axes).or(invariant(b, y, axes)).is_none() =>
        {
            let second = if *op == Binary::Add { before.clone() } else { turned };
            collect(b, x, axes, before, terms);
            collect(b, y, axes, second, terms);
        }
        _ => {
            let mut product = Vec::new();
            multiplied(b, id, &mut product);
            let (same, mut tensors): (Vec<NodeId>, Vec<NodeId>) =
                product.into_iter().partition(|factor| invariant(b, *factor, axes).is_some());
            let factors = [before.factors, same.clone()].concat();
            match tensors.as_slice() {
                [one] if !same.is_empty() && *one != id => {
                    collect(
                        b,
                        *one,
                        axes,
                        Term { negative: before.negative, factors, tensors: Vec::new() },
                        terms,
                    );
                }
                _ => {
                    tensors.sort_unstable();
                    terms.push(Term { negative: before.negative, factors, tensors });
                }
            }
        }
    }
}

/// The factors of a product.
fn multiplied(b: &Builder, id: NodeId, product: &mut Vec<NodeId>) {
    let node = b.graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::Mul), &[x, y]) if product.len() < FACTORS => {
            multiplied(b, x, product);
            multiplied(b, y, product);
        }
        _ => product.push(id),
    }
}

/// What is the same along these axes: what was stretched over them, and where its axes went.
fn invariant<'b>(b: &'b Builder, id: NodeId, axes: &[usize]) -> Option<(NodeId, &'b [usize])> {
    match look(b, id) {
        (Op::Broadcast { axes: places }, from) if places.iter().all(|place| !axes.contains(place)) => {
            Some((from, places))
        }
        _ => None,
    }
}

/// The product of factors, each once for every column.
fn times(b: &mut Builder, factors: &[NodeId], axes: &[usize], ty: &TensorType) -> Result<NodeId, TypeError> {
    let mut product = None;
    for factor in factors {
        let Some((from, places)) = invariant(b, *factor, axes) else { continue };
        let place = |place: &usize| place - axes.iter().filter(|axis| *axis < place).count();
        let places = places.iter().map(place).collect();
        let factor = broadcast(b, from, places, ty)?;
        product = Some(match product {
            None => factor,
            Some(product) => b.binary(Binary::Mul, product, factor)?,
        });
    }
    product.map_or_else(|| b.full(1.0, ty), Ok)
}

/// Is it `x - mean(x)`, with the mean over these axes?
fn is_centred(b: &Builder, tensors: &[NodeId], axes: &[usize]) -> bool {
    let &[one] = tensors else { return false };
    centred(b, one).is_some_and(|(x, sum)| {
        let (op, from) = look(b, sum);
        from == x && *op == Op::Reduce { reduction: Reduction::Sum, axes: axes.to_vec() }
    })
}

/// The `x` of `x - s / count`, where the count is of all elements that are one in `s`, and `s`, a sum over columns of some kind.
fn centred(b: &Builder, id: NodeId) -> Option<(NodeId, NodeId)> {
    let node = b.graph.node(id);
    let (Op::Binary(Binary::Sub), &[x, mean]) = (&node.op, node.inputs.as_slice()) else { return None };
    let (Op::Broadcast { axes: places }, mean) = look(b, mean) else { return None };
    let node = b.graph.node(mean);
    let (Op::Binary(Binary::Div), &[sum, count]) = (&node.op, node.inputs.as_slice()) else { return None };
    let shape = &b.ty(x).shape;
    let others = (0..shape.len()).filter(|axis| !places.contains(axis));
    let elements = others.fold(Dim::constant(1), |count, axis| count * shape[axis].clone());
    let same = match elements.as_constant() {
        Some(elements) => constant_value(b, count) == Some(elements as f64),
        None => number(b, count) == Some(&elements),
    };
    same.then_some((x, sum))
}

/// The dim that fills a tensor.
fn number(b: &Builder, id: NodeId) -> Option<&Dim> {
    match look(b, id) {
        (Op::DimValue(dim), _) => Some(dim),
        (Op::Broadcast { .. }, from) => number(b, from),
        _ => None,
    }
}

/// A sum as the sum of its parts.
fn parted(b: &mut Builder, x: NodeId, axes: &[usize]) -> Rewritten {
    let shape = b.ty(x).shape.clone();
    let mut inner = Vec::new();
    let mut length = Dim::constant(1);
    for axis in axes.iter().rev().filter(|axis| **axis > 0 && !shape[**axis].is(1)) {
        let longer = length.clone() * shape[*axis].clone();
        if !inner.is_empty() && longer.as_constant().is_none_or(|longer| longer > PART) {
            break;
        }
        (length, inner) = (longer, [vec![*axis], inner].concat());
    }
    if inner.is_empty() {
        return Ok(None);
    }
    let left: Vec<usize> = axes.iter().copied().filter(|axis| !inner.contains(axis)).collect();
    let outer: Vec<usize> =
        left.iter().map(|axis| axis - inner.iter().filter(|other| *other < axis).count()).collect();
    let Some((centre, part)) = squared(b, x, &inner, &outer) else {
        let part = b.reduce(Reduction::Sum, x, &inner)?;
        return b.reduce(Reduction::Sum, part, &outer).map(Some);
    };
    let (value, mean) = (b.graph.node(centre).inputs[0], b.graph.node(centre).inputs[1]);
    let ty = b.ty(part).clone();
    let count = b.push(Op::DimValue(length), &[], Some(TensorType::scalar(ty.dtype)))?;
    let counts = b.broadcast_to(count, &ty.shape)?;
    // Around the mean of its part.
    let part_mean = b.binary(Binary::Div, part, counts)?;
    let back = b.broadcast_back(part_mean, &shape, &inner)?;
    let near = b.binary(Binary::Sub, value, back)?;
    let near = b.binary(Binary::Mul, near, near)?;
    let near = b.reduce(Reduction::Sum, near, &inner)?;
    // And the part's around that of all.
    let (_, mean) = look(b, mean);
    let mean = b.broadcast_back(mean, &ty.shape, &outer)?;
    let away = b.binary(Binary::Sub, part_mean, mean)?;
    let away = b.binary(Binary::Mul, away, away)?;
    // As two sums: what is around the means of the parts does not wait for the mean of all.
    let near = b.reduce(Reduction::Sum, near, &outer)?;
    let away = b.reduce(Reduction::Sum, away, &outer)?;
    let shape = b.ty(away).shape.clone();
    let count = b.broadcast_to(count, &shape)?;
    let away = b.binary(Binary::Mul, away, count)?;
    b.binary(Binary::Add, near, away).map(Some)
}

/// The `x - mean(x)` that is squared here, and the sums of parts that its mean is of.
fn squared(b: &Builder, square: NodeId, inner: &[usize], outer: &[usize]) -> Option<(NodeId, NodeId)> {
    let node = b.graph.node(square);
    let (Op::Binary(Binary::Mul), &[centre, other]) = (&node.op, node.inputs.as_slice()) else { return None };
    let (x, sum) = centred(b, centre).filter(|_| centre == other)?;
    let of = |id: NodeId, axes: &[usize]| -> Option<NodeId> {
        let (op, from) = look(b, id);
        (*op == Op::Reduce { reduction: Reduction::Sum, axes: axes.to_vec() }).then_some(from)
    };
    let part = of(sum, outer)?;
    (of(part, inner)? == x).then_some((centre, part))
}
