//! One rule per primitive: what an adjoint `g` of a node's result `y` contributes to the adjoint of one input.
//!
//! The rules are written to fuse: an elementwise operation has an elementwise rule that reads the result again where that is
//! cheaper than recomputing it (`tanh`, `sigmoid`, `exp`, `sqrt`), a view has a view or a placement, a contraction has contractions.
//! Where a derivative does not exist a choice stands in the rule, with its reason.

use super::all_axes;
use super::tape::{Contribution, Made, Tape};
use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Compare, Op, Reduction, Unary};
use crate::graph::{DType, Node, NodeId, TensorType, TypeError};

type Pulled = Result<Option<Contribution>, TypeError>;

fn whole(made: Made) -> Pulled {
    made.map(|g| Some(Contribution::Whole(g)))
}

/// The contribution to input number `at` of node `y`, whose adjoint is `g`. That input is known to want one.
pub(super) fn pull_back(t: &mut Tape<'_>, y: NodeId, g: NodeId, at: usize) -> Pulled {
    let node = t.builder.graph.node(y).clone();
    let Some(&x) = node.inputs.get(at) else { return Ok(None) };
    let other = |place: usize| node.inputs.get(place).copied().unwrap_or(x);
    let x_type = t.ty(x).clone();
    match &node.op {
        // No inputs, or no gradient (see `carries`).
        Op::Input(_)
        | Op::Variable(_)
        | Op::Constant(_)
        | Op::Table(_)
        | Op::Iota { .. }
        | Op::DimValue(_) => Ok(None),
        Op::Random { .. } | Op::Compare(_) | Op::Hold | Op::ArgReduce { .. } => Ok(None),
        // The reverse rule of a loop is a loop.
        Op::Scan(_) | Op::ScanResult { .. } => Ok(None),

        Op::Unary(op) => unary(t, *op, x, y, g),
        Op::Binary(op) => binary(t, *op, [other(0), other(1)], y, g, at),
        Op::Select => match at {
            1 => whole(t.keep_where(other(0), g)),
            2 => whole(t.drop_where(other(0), g)),
            _ => Ok(None),
        },
        Op::Cast => whole(t.builder.cast(g, x_type.dtype)),

        Op::Reduce { reduction, axes } => reduce(t, *reduction, axes, x, y, g),
        Op::CumulativeSum { axis, reverse, exclusive } => {
            let op = Op::CumulativeSum { axis: *axis, reverse: !reverse, exclusive: *exclusive };
            whole(t.push(op, &[g], None))
        }

        Op::Contract { batch, sum } => whole(contract(t, batch, sum, &node, g, at)),
        // It stands in gradients alone, of which none is taken (see `last_gradient`).
        Op::Attention(_) => {
            let message = "attention as one operation has no second derivative".into();
            Err(TypeError { message, input: None, axis: None })
        }
        // The three convolutions are one trilinear form in x, w and y: each is the adjoint of the others.
        Op::Conv(conv) => whole(match at {
            0 => t.push(Op::ConvData(conv.clone()), &[g, other(1)], Some(x_type)),
            _ => t.push(Op::ConvWeights(conv.clone()), &[other(0), g], Some(x_type)),
        }),
        Op::ConvData(conv) => whole(match at {
            0 => t.push(Op::Conv(conv.clone()), &[g, other(1)], None),
            _ => t.push(Op::ConvWeights(conv.clone()), &[g, other(0)], Some(x_type)),
        }),
        Op::ConvWeights(conv) => whole(match at {
            0 => t.push(Op::ConvData(conv.clone()), &[other(1), g], Some(x_type)),
            _ => t.push(Op::Conv(conv.clone()), &[other(0), g], None),
        }),

        Op::Gather { axis } => whole(t.push(Op::ScatterAdd { axis: *axis }, &[g, other(1)], Some(x_type))),
        Op::ScatterAdd { axis } => whole(t.push(Op::Gather { axis: *axis }, &[g, other(1)], None)),
        Op::Sort { falling, .. } => whole(sort(t, *falling, x, &node.ty, g)),

        Op::Reshape => whole(t.builder.reshape(g, &x_type.shape)),
        Op::Transpose { permutation } => {
            let inverse: Vec<usize> =
                (0..permutation.len()).filter_map(|i| permutation.iter().position(|p| *p == i)).collect();
            whole(t.builder.transpose(g, &inverse))
        }
        Op::Broadcast { axes } => whole(broadcast(t, axes, &x_type, &node.ty, g)),
        Op::Slice { axis, start, step } => slice(t, *axis, start, *step, &x_type, &node.ty, g),
        Op::Window { axis, size, stride, dilation } => {
            let (size, stride, dilation) = (size.clone(), stride.clone(), dilation.clone());
            whole(t.push(Op::Unwindow { axis: *axis, size, stride, dilation }, &[g], Some(x_type)))
        }
        Op::Unwindow { axis, size, stride, dilation } => {
            let (size, stride, dilation) = (size.clone(), stride.clone(), dilation.clone());
            whole(t.push(Op::Window { axis: *axis, size, stride, dilation }, &[g], None))
        }
        Op::Pad { amounts, .. } => {
            let mut g = g;
            for (axis, (before, after)) in amounts.iter().enumerate() {
                if !(before.is(0) && after.is(0)) {
                    g = part(t, g, axis, before, &x_type.shape[axis])?;
                }
            }
            whole(Ok(g))
        }
        Op::Concat { axis } => {
            let before = node.inputs.iter().take(at).map(|i| t.ty(*i).shape[*axis].clone());
            let start = before.fold(Dim::constant(0), |a, b| a + b);
            whole(part(t, g, *axis, &start, &x_type.shape[*axis]))
        }
    }
}

/// `count` places of `x` along `axis`, from `start` on.
fn part(t: &mut Tape<'_>, x: NodeId, axis: usize, start: &Dim, count: &Dim) -> Made {
    let mut ty = t.ty(x).clone();
    if start.is(0) && ty.shape[axis] == *count {
        return Ok(x);
    }
    ty.shape[axis] = count.clone();
    t.push(Op::Slice { axis, start: start.clone(), step: 1 }, &[x], Some(ty))
}

fn unary(t: &mut Tape<'_>, op: Unary, x: NodeId, y: NodeId, g: NodeId) -> Pulled {
    let gradient = match op {
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not => return Ok(None),
        Unary::Neg => t.neg(g)?,
        // The sign of 0 is 0, and so is the gradient there.
        Unary::Abs => {
            let sign = t.unary(Unary::Sign, x)?;
            t.mul(g, sign)?
        }
        Unary::Sqrt => {
            let half = t.scale(g, 0.5)?;
            t.div(half, y)?
        }
        // y' = -y³ / 2
        Unary::Rsqrt => {
            let square = t.mul(y, y)?;
            let cube = t.mul(square, y)?;
            let half = t.scale(g, -0.5)?;
            t.mul(half, cube)?
        }
        Unary::Exp => t.mul(g, y)?,
        Unary::Expm1 => {
            let one = t.full_like(1.0, y)?;
            let exp = t.add(y, one)?;
            t.mul(g, exp)?
        }
        Unary::Log => t.div(g, x)?,
        Unary::Log1p => {
            let one = t.full_like(1.0, x)?;
            let argument = t.add(x, one)?;
            t.div(g, argument)?
        }
        Unary::Sin => {
            let cos = t.unary(Unary::Cos, x)?;
            t.mul(g, cos)?
        }
        Unary::Cos => {
            let sin = t.unary(Unary::Sin, x)?;
            let product = t.mul(g, sin)?;
            t.neg(product)?
        }
        Unary::Tanh => {
            let one = t.full_like(1.0, y)?;
            let square = t.mul(y, y)?;
            let slope = t.sub(one, square)?;
            t.mul(g, slope)?
        }
        Unary::Sigmoid => {
            let one = t.full_like(1.0, y)?;
            let rest = t.sub(one, y)?;
            let slope = t.mul(y, rest)?;
            t.mul(g, slope)?
        }
        // y' = 2/√π · exp(-x²)
        Unary::Erf => {
            let square = t.mul(x, x)?;
            let negative = t.neg(square)?;
            let bell = t.unary(Unary::Exp, negative)?;
            let slope = t.scale(bell, std::f64::consts::FRAC_2_SQRT_PI)?;
            t.mul(g, slope)?
        }
    };
    whole(Ok(gradient))
}

fn binary(t: &mut Tape<'_>, op: Binary, [a, b]: [NodeId; 2], y: NodeId, g: NodeId, at: usize) -> Pulled {
    let first = at == 0;
    let gradient = match op {
        Binary::FloorDiv | Binary::And | Binary::Or => return Ok(None),
        Binary::Add => g,
        Binary::Sub => {
            if first {
                g
            } else {
                t.neg(g)?
            }
        }
        Binary::Mul => t.mul(g, if first { b } else { a })?,
        // d(a/b)/db = -(a/b)/b
        Binary::Div => {
            let quotient = t.div(g, b)?;
            if first {
                quotient
            } else {
                let product = t.mul(quotient, y)?;
                t.neg(product)?
            }
        }
        // a % b = a - b·⌊a/b⌋
        Binary::Rem => {
            if first {
                g
            } else {
                let whole_times = t.push(Op::Binary(Binary::FloorDiv), &[a, b], None)?;
                let product = t.mul(g, whole_times)?;
                t.neg(product)?
            }
        }
        Binary::Pow => return power(t, a, b, y, g, first),
        Binary::Max | Binary::Min => {
            // Against a constant (relu, clamping) a tie has gradient 0; else it goes to the first input.
            let constant = t.constant_value(if first { b } else { a }).is_some();
            let (above, reached) = match op {
                Binary::Max => (Compare::Gt, Compare::Ge),
                _ => (Compare::Lt, Compare::Le),
            };
            if constant {
                let (variable, bound) = if first { (a, b) } else { (b, a) };
                let wins = t.compare(above, variable, bound)?;
                t.keep_where(wins, g)?
            } else {
                let first_wins = t.compare(reached, a, b)?;
                if first { t.keep_where(first_wins, g)? } else { t.drop_where(first_wins, g)? }
            }
        }
    };
    whole(Ok(gradient))
}

/// `y = a^b`. Conditions are put on the arguments and not on the results, so that no infinity meets a zero.
fn power(t: &mut Tape<'_>, a: NodeId, b: NodeId, y: NodeId, g: NodeId, first: bool) -> Pulled {
    if !first {
        // y·log a, and 0 where a is 0 and b is not negative.
        let zero = t.full_like(0.0, a)?;
        let at_zero = t.compare(Compare::Eq, a, zero)?;
        let rising = t.compare(Compare::Ge, b, zero)?;
        let flat = t.push(Op::Binary(Binary::And), &[at_zero, rising], None)?;
        let one = t.full_like(1.0, a)?;
        let argument = t.select(flat, one, a)?;
        let log = t.unary(Unary::Log, argument)?;
        let slope = t.mul(y, log)?;
        return whole(t.mul(g, slope));
    }
    match t.constant_value(b) {
        Some(0.0) => Ok(None),
        Some(1.0) => whole(Ok(g)),
        Some(2.0) => {
            let slope = t.scale(a, 2.0)?;
            whole(t.mul(g, slope))
        }
        Some(exponent) => {
            let less = t.full_like(exponent - 1.0, b)?;
            let power = t.push(Op::Binary(Binary::Pow), &[a, less], None)?;
            let slope = t.scale(power, exponent)?;
            whole(t.mul(g, slope))
        }
        None => {
            // b·a^(b-1); where b is 0 the power is taken as a^0, so that a base of 0 gives 0·1.
            let (zero, one) = (t.full_like(0.0, b)?, t.full_like(1.0, b)?);
            let flat = t.compare(Compare::Eq, b, zero)?;
            let exponent = t.select(flat, one, b)?;
            let less = t.sub(exponent, one)?;
            let power = t.push(Op::Binary(Binary::Pow), &[a, less], None)?;
            let slope = t.mul(b, power)?;
            whole(t.mul(g, slope))
        }
    }
}

fn reduce(t: &mut Tape<'_>, reduction: Reduction, axes: &[usize], x: NodeId, y: NodeId, g: NodeId) -> Pulled {
    let shape = t.ty(x).shape.clone();
    let spread = t.builder.broadcast_back(g, &shape, axes)?;
    let gradient = match reduction {
        Reduction::Any | Reduction::All => return Ok(None),
        Reduction::Sum => spread,
        // All of it goes to the first of the largest elements.
        Reduction::Max | Reduction::Min => {
            let op = Op::ArgReduce { largest: reduction == Reduction::Max, axes: axes.to_vec() };
            let chosen = t.push(op, &[x], None)?;
            let chosen = t.builder.broadcast_back(chosen, &shape, axes)?;
            let place = flat_index(t, &shape, axes)?;
            let hit = t.compare(Compare::Eq, place, chosen)?;
            t.keep_where(hit, spread)?
        }
        // The product of the others: of all but zeros, over this one, unless another one is zero.
        Reduction::Prod => {
            let (zero, one) = (t.full_like(0.0, x)?, t.full_like(1.0, x)?);
            let is_zero = t.compare(Compare::Eq, x, zero)?;
            let nonzero = t.select(is_zero, one, x)?;
            let product = t.builder.reduce(Reduction::Prod, nonzero, axes)?;
            let product = t.builder.broadcast_back(product, &shape, axes)?;
            let others = t.div(product, nonzero)?;
            let is_zero = t.builder.cast(is_zero, t.ty(y).dtype)?;
            let zeros = t.sum(is_zero, axes)?;
            let zeros = t.builder.broadcast_back(zeros, &shape, axes)?;
            let none_else = t.compare(Compare::Eq, zeros, is_zero)?;
            let slope = t.keep_where(none_else, others)?;
            t.mul(spread, slope)?
        }
    };
    whole(Ok(gradient))
}

/// The row-major index over `axes`, in every element of `shape`.
fn flat_index(t: &mut Tape<'_>, shape: &[Dim], axes: &[usize]) -> Made {
    let ty = TensorType::new(DType::I32, shape.to_vec());
    let mut index: Option<NodeId> = None;
    for &axis in axes {
        let iota = t.push(Op::Iota { axis }, &[], Some(ty.clone()))?;
        index = Some(match index {
            None => iota,
            Some(outer) => {
                let extent = t.full_dim(&shape[axis], DType::I32, shape)?;
                let scaled = t.mul(outer, extent)?;
                t.add(scaled, iota)?
            }
        });
    }
    match index {
        Some(index) => Ok(index),
        None => t.builder.full(0.0, &ty),
    }
}

/// Contracts the adjoint with the other input over that one's free axes, then puts the axes in the input's order.
fn contract(
    t: &mut Tape<'_>,
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    node: &Node,
    g: NodeId,
    at: usize,
) -> Made {
    let [a, b] = node.inputs[..] else { return Ok(g) };
    let free = |rank: usize, used: &dyn Fn(&(usize, usize)) -> usize| -> Vec<usize> {
        (0..rank).filter(|i| !batch.iter().chain(sum).any(|pair| used(pair) == *i)).collect()
    };
    let free_a = free(t.ty(a).rank(), &|pair| pair.0);
    let free_b = free(t.ty(b).rank(), &|pair| pair.1);
    let mut pairs = sum.to_vec();
    // `layout`: which axis of the input each axis of the new contraction is.
    let (made, layout): (NodeId, Vec<usize>) = if at == 0 {
        let op = Op::Contract {
            batch: batch.iter().enumerate().map(|(k, pair)| (k, pair.1)).collect(),
            sum: free_b.iter().enumerate().map(|(k, &j)| (batch.len() + free_a.len() + k, j)).collect(),
        };
        pairs.sort_by_key(|pair| pair.1);
        let layout = batch.iter().map(|p| p.0).chain(free_a).chain(pairs.iter().map(|p| p.0));
        (t.push(op, &[g, b], None)?, layout.collect())
    } else {
        let op = Op::Contract {
            batch: batch.iter().enumerate().map(|(k, pair)| (pair.0, k)).collect(),
            sum: free_a.iter().enumerate().map(|(k, &i)| (i, batch.len() + k)).collect(),
        };
        pairs.sort_by_key(|pair| pair.0);
        let layout = batch.iter().map(|p| p.1).chain(pairs.iter().map(|p| p.1)).chain(free_b);
        (t.push(op, &[a, g], None)?, layout.collect())
    };
    let permutation: Vec<usize> =
        (0..layout.len()).filter_map(|i| layout.iter().position(|axis| *axis == i)).collect();
    t.builder.transpose(made, &permutation)
}

/// The adjoint lands where the values came from: a scatter into the flattened rows.
fn sort(t: &mut Tape<'_>, falling: bool, x: NodeId, y_type: &TensorType, g: NodeId) -> Made {
    let x_type = t.ty(x).clone();
    let Some((extent, lead)) = x_type.shape.split_last() else { return Ok(g) };
    let rows = TensorType::new(x_type.dtype, lead.to_vec()).elements();
    let count = y_type.shape.last().cloned().unwrap_or(Dim::constant(1));
    let table = [rows.clone(), count.clone()];
    let places = TensorType::new(DType::I32, y_type.shape.clone());
    let indices = t.push(Op::Sort { falling, indices: true }, &[x], Some(places))?;
    let indices = t.builder.reshape(indices, &table)?;
    let row = t.push(Op::Iota { axis: 0 }, &[], Some(TensorType::new(DType::I32, table.to_vec())))?;
    let extents = t.full_dim(extent, DType::I32, &table)?;
    let offset = t.mul(row, extents)?;
    let flat = t.add(offset, indices)?;
    let count = rows.clone() * count;
    let flat = t.builder.reshape(flat, std::slice::from_ref(&count))?;
    let g = t.builder.reshape(g, &[count])?;
    let ty = TensorType::new(x_type.dtype, [rows * extent.clone()]);
    let scattered = t.push(Op::ScatterAdd { axis: 0 }, &[g, flat], Some(ty))?;
    t.builder.reshape(scattered, &x_type.shape)
}

/// Sums over the new axes and over those that were stretched.
fn broadcast(t: &mut Tape<'_>, axes: &[usize], from: &TensorType, to: &TensorType, g: NodeId) -> Made {
    let summed: Vec<usize> = all_axes(&to.shape)
        .into_iter()
        .filter(|axis| match axes.iter().position(|a| a == axis) {
            None => true,
            Some(place) => from.shape[place] != to.shape[*axis],
        })
        .collect();
    let sum = t.sum(g, &summed)?;
    t.builder.reshape(sum, &from.shape)
}

/// Step 1: a part of the input's adjoint. Another step: the adjoint is first turned round if the step is negative, then spread out
/// with `|step| - 1` zeros between its elements (windows of one element, put back at that stride), and is then such a part.
fn slice(
    t: &mut Tape<'_>,
    axis: usize,
    start: &Dim,
    step: i64,
    from: &TensorType,
    to: &TensorType,
    g: NodeId,
) -> Pulled {
    let count = to.shape[axis].clone();
    if count.is(0) {
        return Ok(None);
    }
    let last = count.clone() - Dim::constant(1);
    let (mut part, mut start) = (g, start.clone());
    if step < 0 {
        let flip = Op::Slice { axis, start: last.clone(), step: -1 };
        part = t.push(flip, &[part], Some(to.clone()))?;
        start = start + last.clone() * Dim::constant(step);
    }
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    if stride != 1 && !count.is(1) {
        let mut windows = to.shape.clone();
        windows.insert(axis + 1, Dim::constant(1));
        part = t.builder.reshape(part, &windows)?;
        let mut ty = to.clone();
        ty.shape[axis] = last * Dim::from(stride) + Dim::constant(1);
        let op = Op::Unwindow { axis, size: vec![1], stride: vec![stride], dilation: vec![1] };
        part = t.push(op, &[part], Some(ty))?;
    }
    debug_assert_eq!(t.ty(part).rank(), from.rank());
    Ok(Some(Contribution::Part { axis, start, part }))
}
