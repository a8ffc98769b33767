//! Contractions and convolutions in their plainest form.
//!
//! - A convolution with a 1×1 kernel, stride 1 and no padding is a contraction over channels, and so are its adjoints.
//! - The weight gradient of a convolution into a few channels is the transpose of another, whose output is the input: there, the
//!   many channels are the columns of the product.
//! - A transposition of an operand only renames the axes of its pairs, as long as its free axes stay in order.
//! - A batch axis along which one operand was only stretched is a free axis of the other: one large product for many small ones.
//! - For a GPU, a product that is only read transposed has its operands change places ([`turned`]): what reads it, and another tensor beside it,
//!   reads both along memory.

use super::rewrite::{Rewritten, is_elementwise, look, rewrite};
use crate::graph::op::Conv;
use crate::graph::{Builder, Dim, Graph, Node, NodeId, Op, TensorType};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| match (&node.op, node.inputs.as_slice()) {
        (Op::Conv(conv), &[x, w]) if is_pointwise(conv, b.ty(w)) => {
            let w = flat_weights(b, w)?;
            let sum = vec![(conv.stride.len() + 1, 0)];
            b.push(Op::Contract { batch: vec![], sum }, &[x, w], None).map(Some)
        }
        (Op::ConvData(conv), &[dy, w]) if is_pointwise(conv, b.ty(w)) => {
            let w = flat_weights(b, w)?;
            let sum = vec![(conv.stride.len() + 1, 1)];
            b.push(Op::Contract { batch: vec![], sum }, &[dy, w], None).map(Some)
        }
        (Op::ConvWeights(conv), &[x, dy]) if is_pointwise(conv, &node.ty) => {
            let sum = (0..=conv.stride.len()).map(|axis| (axis, axis)).collect();
            let dw = b.push(Op::Contract { batch: vec![], sum }, &[x, dy], None)?;
            b.reshape(dw, &node.ty.shape).map(Some)
        }
        (Op::ConvWeights(conv), &[x, dy]) => turned_round(b, conv, x, dy, node),
        (Op::Contract { batch, sum }, &[x, y]) => contract(b, batch, sum, [x, y], node),
        _ => Ok(None),
    })
}

/// `transpose(x · y)` as `y · x`, where nothing else reads the product. Weights stay where they are: a kernel reads those in the second place as
/// they are kept.
pub fn turned(graph: &mut Graph) -> bool {
    let mut uses = vec![0usize; graph.nodes.len()];
    let results = graph.outputs.iter().chain(&graph.updates).map(|(_, id)| id);
    graph.nodes.iter().flat_map(|node| &node.inputs).chain(results).for_each(|id| uses[id.index()] += 1);
    let alone: Vec<bool> = graph
        .nodes
        .iter()
        .map(|node| node.inputs.first().is_some_and(|from| uses[from.index()] == 1))
        .collect();
    // The rule is asked once for each node, in order.
    let mut alone = alone.into_iter();
    rewrite(graph, |b, node| {
        let (true, Op::Transpose { permutation }) = (alone.next() == Some(true), &node.op) else {
            return Ok(None);
        };
        let product = b.graph.node(node.inputs[0]);
        let (Op::Contract { batch, sum }, &[x, y]) = (&product.op, product.inputs.as_slice()) else {
            return Ok(None);
        };
        let first = b.ty(x).rank() - sum.len();
        let wanted = (0..batch.len()).chain(first..product.ty.rank()).chain(batch.len()..first);
        if is_weight(b, x) || is_weight(b, y) || !wanted.eq(permutation.iter().copied()) {
            return Ok(None);
        }
        let swapped = |pairs: &Pairs| pairs.iter().map(|(mine, theirs)| (*theirs, *mine)).collect();
        let op = Op::Contract { batch: swapped(batch), sum: swapped(sum) };
        b.push(op, &[y, x], None).map(Some)
    })
}

/// Is it a variable, seen through views, or what is made of variables alone, element by element?
fn is_weight(b: &Builder, id: NodeId) -> bool {
    let node = b.graph.node(id);
    match &node.op {
        Op::Variable(_) => true,
        op if is_elementwise(op)
            || matches!(op, Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Slice { .. }) =>
        {
            node.inputs.iter().all(|input| is_weight(b, *input))
        }
        _ => false,
    }
}

/// So few output channels leave most lanes of a vector empty; so many input channels fill them.
const FEW: i64 = 4;
const MANY: i64 = 16;

/// `dw[t] = Σ x[o + t] · dy[o]` is `Σ dy[q - t] · x[q]`: with the taps in reverse, a weight gradient again. Steps of one only, since
/// `q` must meet every `o`.
fn turned_round(b: &mut Builder, conv: &Conv, x: NodeId, dy: NodeId, node: &Node) -> Rewritten {
    let axes = conv.stride.len();
    let extent = |axis: usize| node.ty.shape.get(axis).and_then(Dim::as_constant);
    let (Some(ci), Some(co)) = (extent(axes), extent(axes + 1)) else { return Ok(None) };
    if conv.groups != 1 || conv.stride.iter().any(|s| *s != 1) || co > FEW || ci < MANY {
        return Ok(None);
    }
    let mut padding = Vec::new();
    for (axis, ((low, high), dilation)) in conv.padding.iter().zip(&conv.dilation).enumerate() {
        let (Some(taps), Some(low), Some(high)) = (extent(axis), low.as_constant(), high.as_constant())
        else {
            return Ok(None);
        };
        let reach = (taps - 1) * *dilation as i64;
        if taps < 1 || low > reach || high > reach {
            return Ok(None);
        }
        padding.push((Dim::constant(reach - low), Dim::constant(reach - high)));
    }
    let mut shape = node.ty.shape.clone();
    shape.swap(axes, axes + 1);
    let ty = TensorType::new(node.ty.dtype, shape);
    let turned = Conv { padding, ..conv.clone() };
    let mut dw = b.push(Op::ConvWeights(turned), &[dy, x], Some(ty.clone()))?;
    for axis in 0..axes {
        let last = Dim::constant(extent(axis).unwrap_or(1) - 1);
        dw = b.push(Op::Slice { axis, start: last, step: -1 }, &[dw], Some(ty.clone()))?;
    }
    let order: Vec<usize> = (0..axes).chain([axes + 1, axes]).collect();
    b.transpose(dw, &order).map(Some)
}

fn is_pointwise(conv: &Conv, weights: &TensorType) -> bool {
    conv.groups == 1
        && conv.stride.iter().all(|s| *s == 1)
        && conv.padding.iter().all(|(lo, hi)| lo.is(0) && hi.is(0))
        && weights.shape.iter().take(conv.stride.len()).all(|d| d.is(1))
}

/// `[1, 1, ci, co]` as `[ci, co]`.
fn flat_weights(b: &mut Builder, w: NodeId) -> Result<NodeId, crate::graph::TypeError> {
    let shape = b.ty(w).shape.clone();
    b.reshape(w, &shape[shape.len() - 2..])
}

type Pairs = Vec<(usize, usize)>;

fn contract(
    b: &mut Builder,
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    inputs: [NodeId; 2],
    node: &Node,
) -> Rewritten {
    for side in 0..2 {
        let own = |pair: &(usize, usize)| if side == 0 { pair.0 } else { pair.1 };
        let renamed = |pairs: &[(usize, usize)], map: &dyn Fn(usize) -> usize| -> Pairs {
            pairs.iter().map(|p| if side == 0 { (map(p.0), p.1) } else { (p.0, map(p.1)) }).collect()
        };
        let rank = b.ty(inputs[side]).rank();
        let free: Vec<usize> = (0..rank).filter(|i| !batch.iter().chain(sum).any(|p| own(p) == *i)).collect();
        let (op, from) = look(b, inputs[side]);
        match op.clone() {
            Op::Transpose { permutation } => {
                let in_order: Vec<usize> = free.iter().map(|axis| permutation[*axis]).collect();
                if in_order.is_sorted() {
                    let map = |axis: usize| permutation[axis];
                    let op = Op::Contract { batch: renamed(batch, &map), sum: renamed(sum, &map) };
                    let mut inputs = inputs;
                    inputs[side] = from;
                    return b.push(op, &inputs, None).map(Some);
                }
            }
            Op::Broadcast { axes } => {
                let stretched = |pair: &(usize, usize)| !axes.contains(&own(pair));
                if batch.iter().any(stretched)
                    && free
                        .iter()
                        .chain(sum.iter().map(own).collect::<Vec<_>>().iter())
                        .all(|axis| axes.contains(axis))
                {
                    return unbatch(b, batch, sum, inputs, side, &axes, from, node);
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Takes the axes that a broadcast made out of the batch pairs: they become free axes of the other operand, and the result is put
/// back in order. Axes of the broadcast that stand in other pairs must come from its source, with their extents.
fn unbatch(
    b: &mut Builder,
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    mut inputs: [NodeId; 2],
    side: usize,
    axes: &[usize],
    from: NodeId,
    node: &Node,
) -> Rewritten {
    let own = |pair: &(usize, usize)| if side == 0 { pair.0 } else { pair.1 };
    let other = |pair: &(usize, usize)| if side == 0 { pair.1 } else { pair.0 };
    let full = b.ty(inputs[side]).shape.clone();
    if axes.iter().enumerate().any(|(place, to)| b.ty(from).shape[place] != full[*to]) {
        return Ok(None);
    }
    let source = |axis: usize| axes.iter().position(|to| *to == axis);
    let moved = |pairs: &[(usize, usize)]| -> Pairs {
        let renamed = pairs.iter().filter_map(|p| source(own(p)).map(|axis| (axis, other(p))));
        renamed.map(|(mine, theirs)| if side == 0 { (mine, theirs) } else { (theirs, mine) }).collect()
    };
    let (kept, summed) = (moved(batch), moved(sum));
    let rank = b.ty(inputs[1 - side]).rank();
    // The other operand's free axes now, in its order, and those of this one.
    let theirs: Vec<usize> =
        (0..rank).filter(|i| !kept.iter().chain(&summed).any(|p| other(p) == *i)).collect();
    let was_free: Vec<usize> =
        (0..rank).filter(|i| !batch.iter().chain(sum).any(|p| other(p) == *i)).collect();
    let mine = full.len() - batch.len() - sum.len();
    inputs[side] = from;
    let made = b.push(Op::Contract { batch: kept.clone(), sum: summed }, &inputs, None)?;
    // Where in the new result each axis of the old one stands: batch pairs, a's free axes, b's free axes.
    let their_start = kept.len() + if side == 0 { mine } else { 0 };
    let my_start = kept.len() + if side == 0 { 0 } else { theirs.len() };
    let theirs_at = |axis: usize| theirs.iter().position(|t| *t == axis).map(|place| their_start + place);
    let mut order: Vec<usize> = Vec::new();
    for pair in batch {
        let place = match source(own(pair)) {
            Some(_) => kept.iter().position(|k| other(k) == other(pair)),
            None => theirs_at(other(pair)),
        };
        order.extend(place);
    }
    let my_free = my_start..my_start + mine;
    let their_free = was_free.iter().filter_map(|axis| theirs_at(*axis));
    if side == 0 {
        order.extend(my_free);
        order.extend(their_free);
    } else {
        order.extend(their_free);
        order.extend(my_free);
    }
    debug_assert_eq!(order.len(), node.ty.rank());
    b.transpose(made, &order).map(Some)
}
