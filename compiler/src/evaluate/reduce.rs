//! Along axes: reductions, arg-reductions, cumulative sums, sorting.

use super::elementwise::{float, integer};
use super::real::wrap;
use super::{EvalError, Real, Value, fail};
use crate::graph::DType;
use crate::graph::op::{Binary, Reduction};
use ndarray::{ArrayD, Axis, IxDyn};
use std::cmp::Ordering;

/// The index in the result of an element of the input.
fn kept(at: &[usize], axes: &[usize]) -> Vec<usize> {
    at.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, i)| *i).collect()
}

fn fold<E: Copy>(
    x: &ArrayD<E>,
    axes: &[usize],
    shape: &[usize],
    start: E,
    f: impl Fn(E, E) -> E,
) -> ArrayD<E> {
    let mut result = ArrayD::from_elem(IxDyn(shape), start);
    for (at, element) in x.indexed_iter() {
        let to = kept(ndarray::Dimension::slice(&at), axes);
        let cell = &mut result[IxDyn(&to)];
        *cell = f(*cell, *element);
    }
    result
}

pub(super) fn reduce<T: Real>(
    reduction: Reduction,
    axes: &[usize],
    x: &Value<T>,
    shape: &[usize],
    dtype: DType,
) -> Result<Value<T>, EvalError> {
    let (op, start) = match reduction {
        Reduction::Sum => (Binary::Add, 0.0),
        Reduction::Prod => (Binary::Mul, 1.0),
        Reduction::Max => (Binary::Max, f64::NEG_INFINITY),
        Reduction::Min => (Binary::Min, f64::INFINITY),
        Reduction::Any => (Binary::Or, 0.0),
        Reduction::All => (Binary::And, 1.0),
    };
    Ok(match x {
        Value::Float(x) => {
            Value::Float(fold(x, axes, shape, T::from_f64(start), |a, b| float(op, a, b).narrow(dtype)))
        }
        // An infinity cast to an integer is the last one of its dtype.
        Value::Int(x) => {
            let Value::Int(start) = Value::<f64>::generate(DType::F64, &[], |_| start).cast(dtype) else {
                return fail("an integer reduction to another kind");
            };
            let start = start.first().copied().unwrap_or(0);
            Value::Int(fold(x, axes, shape, start, |a, b| wrap(integer(op, a, b), dtype)))
        }
        Value::Bool(x) => match reduction {
            Reduction::Any => Value::Bool(fold(x, axes, shape, false, |a, b| a || b)),
            _ => Value::Bool(fold(x, axes, shape, true, |a, b| a && b)),
        },
    })
}

/// The order in which elements win: larger first; NaN before all.
fn rank(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// An order-preserving copy as f64: integers beyond 2⁵³ are compared approximately, floats exactly.
fn comparable<T: Real>(x: &Value<T>) -> Result<ArrayD<f64>, EvalError> {
    ArrayD::from_shape_vec(IxDyn(x.shape()), x.to_f64()).map_err(|e| EvalError { message: e.to_string() })
}

pub(super) fn arg_reduce<T: Real>(
    largest: bool,
    axes: &[usize],
    x: &Value<T>,
    shape: &[usize],
) -> Result<Value<T>, EvalError> {
    let x = comparable(x)?;
    let x = if largest { x } else { -x };
    let mut best: ArrayD<Option<(f64, i64)>> = ArrayD::from_elem(IxDyn(shape), None);
    for (at, element) in x.indexed_iter() {
        let at = ndarray::Dimension::slice(&at);
        let flat = axes.iter().fold(0, |flat, axis| flat * x.shape()[*axis] + at[*axis]) as i64;
        let cell = &mut best[IxDyn(&kept(at, axes))];
        if cell.is_none_or(|(value, _)| rank(*element, value) == Ordering::Greater) {
            *cell = Some((*element, flat));
        }
    }
    Ok(Value::Int(best.mapv(|cell| cell.map_or(0, |(_, flat)| flat))))
}

pub(super) fn cumulative_sum<T: Real>(
    axis: usize,
    reverse: bool,
    exclusive: bool,
    x: &Value<T>,
    dtype: DType,
) -> Result<Value<T>, EvalError> {
    fn run<E: Copy>(
        x: &mut ArrayD<E>,
        axis: usize,
        reverse: bool,
        exclusive: bool,
        zero: E,
        add: impl Fn(E, E) -> E,
    ) {
        for mut lane in x.lanes_mut(Axis(axis)) {
            if reverse {
                lane.invert_axis(Axis(0));
            }
            let mut sum = zero;
            for element in lane {
                let before = sum;
                sum = add(sum, *element);
                *element = if exclusive { before } else { sum };
            }
        }
    }
    let mut result = x.clone();
    match &mut result {
        Value::Float(x) => {
            run(x, axis, reverse, exclusive, T::from_f64(0.0), |a, b| (a + b).narrow(dtype));
        }
        Value::Int(x) => run(x, axis, reverse, exclusive, 0, |a, b| wrap(a.wrapping_add(b), dtype)),
        Value::Bool(_) => return fail("a cumulative sum of bools"),
    }
    Ok(result)
}

pub(super) fn sort<T: Real>(
    falling: bool,
    indices: bool,
    x: &Value<T>,
    shape: &[usize],
) -> Result<Value<T>, EvalError> {
    let keys = comparable(x)?;
    let Some(last) = shape.len().checked_sub(1) else { return fail("`sort` of a scalar") };
    if shape[last] > keys.shape()[last] {
        return fail(format!("there are no first {} of {}", shape[last], keys.shape()[last]));
    }
    let mut places: ArrayD<i64> = ArrayD::zeros(IxDyn(shape));
    for (lane, mut result) in keys.lanes(Axis(last)).into_iter().zip(places.lanes_mut(Axis(last))) {
        let mut order: Vec<usize> = (0..lane.len()).collect();
        // The sort is stable: ties stay in the order of their indices.
        order.sort_by(|a, b| if falling { rank(lane[*b], lane[*a]) } else { rank(lane[*a], lane[*b]) });
        for (to, from) in result.iter_mut().zip(order) {
            *to = from as i64;
        }
    }
    if indices {
        return Ok(Value::Int(places));
    }
    Ok(super::indexing::remap(x, shape, None, |at| {
        let mut from = at.to_vec();
        from[last] = places[IxDyn(at)] as usize;
        Some(from)
    }))
}
