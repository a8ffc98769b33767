//! Attention, by its definition: the weights of each row, and what follows from them.

use super::{EvalError, Real, Value, fail};
use crate::graph::attention::{Attention, Part};
use ndarray::{ArrayD, IxDyn};

/// The inputs as they are used.
struct Frame<'a, T> {
    op: &'a Attention,
    q: &'a ArrayD<T>,
    k: &'a ArrayD<T>,
    bias: Option<&'a ArrayD<T>>,
    mask: Option<&'a ArrayD<bool>>,
}

pub(super) fn run<T: Real>(
    op: &Attention,
    args: &[&Value<T>],
    shape: &[usize],
) -> Result<Value<T>, EvalError> {
    let [Value::Float(q), Value::Float(k), Value::Float(v), beside @ ..] = args else {
        return fail("attention is of floats");
    };
    let mut beside = beside.iter();
    let mut next = |wanted: bool| if wanted { beside.next().copied() } else { None };
    let bias = match next(op.bias) {
        Some(Value::Float(bias)) => Some(bias),
        _ => None,
    };
    let mask = match next(op.mask) {
        Some(Value::Bool(mask)) => Some(mask),
        _ => None,
    };
    let adjoint = match beside.as_slice() {
        [_, _, Value::Float(g)] => Some(g),
        _ => None,
    };
    let frame = Frame { op, q, k, bias, mask };
    let [n, queries, heads] = [0, 1, 2].map(|axis| q.shape()[axis]);
    let (keys, groups, depth, width) = (k.shape()[1], k.shape()[2], v.shape()[3], q.shape()[3]);
    let zero = T::from_f64(0.0);
    let mut out = ArrayD::from_elem(IxDyn(shape), zero);
    for b in 0..n {
        for h in 0..heads {
            let group = h * groups / heads;
            for t in 0..queries {
                let (weights, sum) = frame.weights(b, h, group, t);
                match op.part {
                    Part::Sums => out[IxDyn(&[b, h, t])] = T::from_f64(sum),
                    Part::Result => {
                        for (s, weight) in weights.iter().enumerate() {
                            for i in 0..depth {
                                let cell = &mut out[IxDyn(&[b, t, h, i])];
                                *cell = *cell + T::from_f64(*weight) * v[IxDyn(&[b, s, group, i])];
                            }
                        }
                    }
                    _ => {
                        let Some(g) = adjoint else { return fail("a gradient needs the result's adjoint") };
                        let slope = |s: usize| -> f64 {
                            (0..depth)
                                .map(|i| {
                                    g[IxDyn(&[b, t, h, i])].to_f64() * v[IxDyn(&[b, s, group, i])].to_f64()
                                })
                                .sum()
                        };
                        let slopes: Vec<f64> = (0..keys).map(slope).collect();
                        let mean: f64 = weights.iter().zip(&slopes).map(|(p, d)| p * d).sum();
                        for (s, (weight, slope)) in weights.iter().zip(&slopes).enumerate() {
                            let slope = weight * (slope - mean);
                            let mut add = |at: [usize; 4], x: f64| {
                                let cell = &mut out[IxDyn(&at)];
                                *cell = *cell + T::from_f64(x);
                            };
                            match op.part {
                                Part::Bias => add([b, h, t, s], slope),
                                Part::Values => (0..depth).for_each(|i| {
                                    add([b, s, group, i], weight * g[IxDyn(&[b, t, h, i])].to_f64())
                                }),
                                Part::Keys => (0..width).for_each(|i| {
                                    add(
                                        [b, s, group, i],
                                        op.scale * slope * q[IxDyn(&[b, t, h, i])].to_f64(),
                                    );
                                }),
                                _ => (0..width).for_each(|i| {
                                    add(
                                        [b, t, h, i],
                                        op.scale * slope * k[IxDyn(&[b, s, group, i])].to_f64(),
                                    );
                                }),
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(Value::Float(out))
}

impl<T: Real> Frame<'_, T> {
    /// The weights of a row, and the logarithm of the sum of exponentials.
    fn weights(&self, b: usize, h: usize, group: usize, t: usize) -> (Vec<f64>, f64) {
        let width = self.q.shape()[3];
        let score = |s: usize| {
            let seen = self.op.causal.is_none_or(|a| s <= t + a.before(self.q.shape()[1], self.k.shape()[1]))
                && self.mask.is_none_or(|m| m[IxDyn(&[b, h, t, s])]);
            if !seen {
                return f64::NEG_INFINITY;
            }
            let products = (0..width)
                .map(|i| self.q[IxDyn(&[b, t, h, i])].to_f64() * self.k[IxDyn(&[b, s, group, i])].to_f64());
            products.sum::<f64>() * self.op.scale
                + self.bias.map_or(0.0, |bias| bias[IxDyn(&[b, h, t, s])].to_f64())
        };
        let scores: Vec<f64> = (0..self.k.shape()[1]).map(score).collect();
        let highest = scores.iter().fold(f64::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        if highest == f64::NEG_INFINITY && scores.iter().all(|s| !s.is_nan()) {
            return (vec![0.0; scores.len()], f64::INFINITY);
        }
        let exps: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
        let total: f64 = exps.iter().sum();
        (exps.into_iter().map(|e| e / total).collect(), highest + total.ln())
    }
}
