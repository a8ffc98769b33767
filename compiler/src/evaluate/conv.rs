//! Contraction and convolution.

use super::{EvalError, Machine, Real, Value, fail};
use crate::graph::op;
use ndarray::{ArrayD, IxDyn};

/// Both inputs are brought to `[batch, free, sum]`; then it is one sum of products per element.
pub(super) fn contract<T: Real>(
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    shape: &[usize],
) -> Result<Value<T>, EvalError> {
    let (left, extents) = arranged(a, batch.iter().map(|p| p.0).collect(), sum.iter().map(|p| p.0).collect());
    let (right, other) = arranged(b, batch.iter().map(|p| p.1).collect(), sum.iter().map(|p| p.1).collect());
    let ([batches, rows, depth], [_, columns, _]) = (extents, other);
    if extents[0] != other[0] || extents[2] != other[2] {
        return fail("paired axes differ");
    }
    let mut result = Vec::with_capacity(batches * rows * columns);
    for n in 0..batches {
        for i in 0..rows {
            for j in 0..columns {
                let (p, q) = ((n * rows + i) * depth, (n * columns + j) * depth);
                let products = left[p..p + depth].iter().zip(&right[q..q + depth]);
                result.push(products.fold(T::from_f64(0.0), |sum, (x, y)| sum + *x * *y));
            }
        }
    }
    let refused = |e: ndarray::ShapeError| EvalError { message: e.to_string() };
    Ok(Value::Float(ArrayD::from_shape_vec(IxDyn(shape), result).map_err(refused)?))
}

/// Row-major elements with the axes in the order batch, free, sum; and the extents of these three.
fn arranged<T: Real>(x: &ArrayD<T>, batch: Vec<usize>, sum: Vec<usize>) -> (Vec<T>, [usize; 3]) {
    let free: Vec<usize> = (0..x.ndim()).filter(|i| !batch.contains(i) && !sum.contains(i)).collect();
    let extent = |axes: &[usize]| axes.iter().map(|i| x.shape()[*i]).product();
    let extents = [extent(&batch), extent(&free), extent(&sum)];
    let order: Vec<usize> = batch.into_iter().chain(free).chain(sum).collect();
    (x.view().permuted_axes(IxDyn(&order)).iter().copied().collect(), extents)
}

/// The extents of a convolution `[n, s…, ci] × [k…, ci / groups, co] → [n, o…, co]`. One spatial axis is taken as two, the first of
/// extent 1.
pub(super) struct Frame {
    batch: usize,
    space: [usize; 2],
    kernel: [usize; 2],
    out: [usize; 2],
    stride: [usize; 2],
    before: [i64; 2],
    dilation: [usize; 2],
    groups: usize,
    inputs: usize,
    outputs: usize,
    rank: usize,
}

impl Frame {
    pub fn new(
        machine: &Machine,
        conv: &op::Conv,
        x: &[usize],
        w: &[usize],
        y: &[usize],
    ) -> Result<Frame, EvalError> {
        let r = conv.stride.len();
        if !(1..=2).contains(&r) || [x.len(), w.len(), y.len()] != [r + 2; 3] || conv.groups == 0 {
            return fail("a convolution of the wrong rank");
        }
        let two = |v: &[usize], neutral: usize| if r == 2 { [v[0], v[1]] } else { [neutral, v[0]] };
        let mut before = [0; 2];
        for (i, (lo, _)) in conv.padding.iter().enumerate() {
            before[2 - r + i] = machine.dim(lo)?;
        }
        Ok(Frame {
            batch: x[0],
            space: two(&x[1..], 1),
            kernel: two(w, 1),
            out: two(&y[1..], 1),
            stride: two(&conv.stride, 1),
            before,
            dilation: two(&conv.dilation, 1),
            groups: conv.groups,
            inputs: w[r],
            outputs: y[r + 1] / conv.groups,
            rank: r,
        })
    }

    /// Calls `term` with the places in x, w and y of every product that the convolution sums.
    pub fn visit(&self, mut term: impl FnMut(&[usize], &[usize], &[usize])) {
        let lead = 2 - self.rank;
        let source = |axis: usize, o: usize, k: usize| {
            let place = (o * self.stride[axis] + k * self.dilation[axis]) as i64 - self.before[axis];
            usize::try_from(place).ok().filter(|p| *p < self.space[axis])
        };
        for n in 0..self.batch {
            for (o0, o1) in pairs(self.out) {
                for (k0, k1) in pairs(self.kernel) {
                    let (Some(s0), Some(s1)) = (source(0, o0, k0), source(1, o1, k1)) else { continue };
                    for group in 0..self.groups {
                        for (ci, co) in pairs([self.inputs, self.outputs]) {
                            let (from, to) = (group * self.inputs + ci, group * self.outputs + co);
                            let (x, w, y) = ([s0, s1, from], [k0, k1, ci, to], [o0, o1, to]);
                            let with = |v: [usize; 3]| [n, v[0], v[1], v[2]];
                            // With one spatial axis the first of the two is left out.
                            let (x, y) = (with(x), with(y));
                            if lead == 1 {
                                term(&[x[0], x[2], x[3]], &w[1..], &[y[0], y[2], y[3]]);
                            } else {
                                term(&x, &w, &y);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pairs(extents: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..extents[0]).flat_map(move |i| (0..extents[1]).map(move |j| (i, j)))
}
