//! Elements moved and not computed: views, placements, gather; and the adjoints that add up what arrives at one place.

use super::elementwise::standard;
use super::real::wrap;
use super::value::same_kind;
use super::{EvalError, Machine, Real, Value, fail};
use crate::graph::DType;
use crate::graph::op::Op;
use ndarray::{ArrayD, IxDyn};

/// A tensor whose element at an index is the source's at the index that `from` gives, or `fill` where it gives none.
pub(super) fn remap<T: Real>(
    x: &Value<T>,
    shape: &[usize],
    fill: Option<f64>,
    from: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Value<T> {
    fn run<E: Copy>(
        x: &ArrayD<E>,
        shape: &[usize],
        fill: E,
        from: impl Fn(&[usize]) -> Option<Vec<usize>>,
    ) -> ArrayD<E> {
        ArrayD::from_shape_fn(IxDyn(shape), |at| {
            let at = from(ndarray::Dimension::slice(&at));
            at.and_then(|at| x.get(IxDyn(&at)).copied()).unwrap_or(fill)
        })
    }
    let fill = fill.unwrap_or(0.0);
    match x {
        Value::Float(x) => Value::Float(run(x, shape, T::from_f64(fill), from)),
        Value::Int(x) => Value::Int(run(x, shape, fill as i64, from)),
        Value::Bool(x) => Value::Bool(run(x, shape, fill != 0.0, from)),
    }
}

/// A tensor of zeros, to which each element of the source is added, in row-major order, at the index that `to` gives.
fn add_at<T: Real>(
    x: &Value<T>,
    shape: &[usize],
    dtype: DType,
    to: impl Fn(&[usize]) -> Vec<usize>,
) -> Result<Value<T>, EvalError> {
    fn run<E: Copy>(
        x: &ArrayD<E>,
        shape: &[usize],
        zero: E,
        to: impl Fn(&[usize]) -> Vec<usize>,
        add: impl Fn(E, E) -> E,
    ) -> ArrayD<E> {
        let mut result = ArrayD::from_elem(IxDyn(shape), zero);
        for (at, element) in x.indexed_iter() {
            if let Some(cell) = result.get_mut(IxDyn(&to(ndarray::Dimension::slice(&at)))) {
                *cell = add(*cell, *element);
            }
        }
        result
    }
    match x {
        Value::Float(x) => {
            Ok(Value::Float(run(x, shape, T::from_f64(0.0), to, |a, b| (a + b).narrow(dtype))))
        }
        Value::Int(x) => Ok(Value::Int(run(x, shape, 0, to, |a, b| wrap(a.wrapping_add(b), dtype)))),
        Value::Bool(_) => fail("a sum of bools"),
    }
}

/// The place in the source of the windows' element `at`: `[lead.., window.., place in window.., rest..]`.
fn window_source(
    at: &[usize],
    axis: usize,
    size: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> Vec<usize> {
    let r = size.len();
    let mut from = at[..axis].to_vec();
    from.extend((0..r).map(|i| at[axis + i] * stride[i] + at[axis + r + i] * dilation[i]));
    from.extend_from_slice(&at[axis + 2 * r..]);
    from
}

/// The ops of this file; `None` when the op is none of them or its inputs are of the wrong kind.
pub(super) fn run<T: Real>(
    machine: &mut Machine,
    op: &Op,
    args: &[&Value<T>],
    shape: &[usize],
    dtype: DType,
    path: &str,
) -> Result<Option<Value<T>>, EvalError> {
    Ok(Some(match (op, args) {
        (Op::Reshape, [x]) => {
            if x.shape().iter().product::<usize>() != shape.iter().product::<usize>() {
                return fail(format!("{:?} elements do not fit {shape:?}", x.shape()));
            }
            let refused = |e: ndarray::ShapeError| EvalError { message: e.to_string() };
            same_kind!(standard(x), a => a.into_shape_with_order(IxDyn(shape)).map_err(refused)?)
        }
        (Op::Transpose { permutation }, [x]) => remap(x, shape, None, |at| {
            let mut from = vec![0; at.len()];
            for (axis, i) in permutation.iter().zip(at) {
                from[*axis] = *i;
            }
            Some(from)
        }),
        (Op::Broadcast { axes }, [x]) => {
            let stretched = |place: usize| x.shape()[place] == 1;
            if axes.iter().enumerate().any(|(place, &to)| !stretched(place) && x.shape()[place] != shape[to])
            {
                return fail(format!("{:?} cannot be stretched to {shape:?}", x.shape()));
            }
            let place = |at: &[usize]| {
                axes.iter().enumerate().map(|(i, &to)| if stretched(i) { 0 } else { at[to] }).collect()
            };
            remap(x, shape, None, |at| Some(place(at)))
        }
        (Op::Slice { axis, start, step }, [x]) => {
            let (start, count, extent) = (machine.dim(start)?, shape[*axis] as i64, x.shape()[*axis] as i64);
            let place = |i: i64| i.checked_mul(*step).and_then(|d| d.checked_add(start));
            let inside = |i: i64| place(i).is_some_and(|p| (0..extent).contains(&p));
            if count > 0 && !(inside(0) && inside(count - 1)) {
                return fail(format!("a slice of {count} from {start} leaves an axis of {extent}"));
            }
            remap(x, shape, None, |at| {
                let mut from = at.to_vec();
                from[*axis] = place(at[*axis] as i64).and_then(|p| usize::try_from(p).ok())?;
                Some(from)
            })
        }
        (Op::Window { axis, size, stride, dilation }, [x]) => {
            remap(x, shape, None, |at| Some(window_source(at, *axis, size, stride, dilation)))
        }
        (Op::Unwindow { axis, size, stride, dilation }, [x]) => {
            add_at(x, shape, dtype, |at| window_source(at, *axis, size, stride, dilation))?
        }
        (Op::Pad { amounts, value }, [x]) => {
            let mut before = Vec::new();
            for (lo, hi) in amounts {
                let (lo, hi) = (machine.dim(lo)?, machine.dim(hi)?);
                if lo < 0 || hi < 0 {
                    return fail(format!("padding by {lo} and {hi}"));
                }
                before.push(lo as usize);
            }
            remap(x, shape, Some(*value), |at| {
                at.iter().zip(&before).map(|(i, lo)| i.checked_sub(*lo)).collect()
            })
        }
        (Op::Concat { axis }, parts) => {
            let Some(mut result) =
                parts.first().map(|first| remap(first, shape, None, |at| Some(at.to_vec())))
            else {
                return Ok(None);
            };
            let mut start = 0;
            for part in parts {
                let end = start + part.shape()[*axis];
                let moved = remap(part, shape, None, |at| {
                    let mut from = at.to_vec();
                    from[*axis] = at[*axis].checked_sub(start)?;
                    Some(from)
                });
                let here =
                    Value::Bool(ArrayD::from_shape_fn(IxDyn(shape), |at| (start..end).contains(&at[*axis])));
                result = super::elementwise::select(&here, &moved, &result)?;
                start = end;
            }
            result
        }
        (Op::Gather { axis }, [table, Value::Int(indices)]) => {
            let rows = clamped(machine, indices, table.shape()[*axis], path);
            let rank = indices.ndim();
            remap(table, shape, None, |at| {
                let mut from = at[..*axis].to_vec();
                from.push(rows[IxDyn(&at[*axis..axis + rank])]?);
                from.extend_from_slice(&at[axis + rank..]);
                Some(from)
            })
        }
        (Op::ScatterAdd { axis }, [updates, Value::Int(indices)]) => {
            let rows = clamped(machine, indices, shape[*axis], path);
            let rank = indices.ndim();
            add_at(updates, shape, dtype, |at| {
                let mut to = at[..*axis].to_vec();
                to.push(rows[IxDyn(&at[*axis..axis + rank])].unwrap_or(usize::MAX));
                to.extend_from_slice(&at[axis + rank..]);
                to
            })?
        }
        _ => return Ok(None),
    }))
}

/// The indices, each moved to the nearest valid one; `None` when there are no valid ones at all.
fn clamped(machine: &mut Machine, indices: &ArrayD<i64>, extent: usize, path: &str) -> ArrayD<Option<usize>> {
    let valid = 0..extent as i64;
    if indices.iter().any(|i| !valid.contains(i)) {
        machine.note_out_of_range(path);
    }
    indices.mapv(|i| extent.checked_sub(1).map(|last| (i.max(0) as usize).min(last)))
}
