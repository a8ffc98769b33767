//! Element by element.

use super::real::{erf, wrap};
use super::value::same_kind;
use super::{EvalError, Real, Value, fail};
use crate::graph::DType;
use crate::graph::op::{Binary, Compare, Unary};
use ndarray::{ArrayD, Zip};

/// Transcendental functions are computed in f64 and rounded: the best answer for every float type.
pub(super) fn unary<T: Real>(op: Unary, x: &Value<T>, dtype: DType) -> Result<Value<T>, EvalError> {
    let float = |f: fn(f64) -> f64| move |v: T| T::from_f64(f(v.to_f64()));
    Ok(match x {
        Value::Float(x) => Value::Float(match op {
            Unary::Neg => x.mapv(|v| -v),
            Unary::Abs => x.mapv(float(f64::abs)),
            Unary::Sign => x.mapv(float(|v| if v == 0.0 || v.is_nan() { v } else { v.signum() })),
            Unary::Floor => x.mapv(float(f64::floor)),
            Unary::Ceil => x.mapv(float(f64::ceil)),
            Unary::Round => x.mapv(float(f64::round_ties_even)),
            Unary::Sqrt => x.mapv(float(f64::sqrt)),
            Unary::Rsqrt => x.mapv(float(|v| 1.0 / v.sqrt())),
            Unary::Exp => x.mapv(float(f64::exp)),
            Unary::Expm1 => x.mapv(float(f64::exp_m1)),
            Unary::Log => x.mapv(float(f64::ln)),
            Unary::Log1p => x.mapv(float(f64::ln_1p)),
            Unary::Sin => x.mapv(float(f64::sin)),
            Unary::Cos => x.mapv(float(f64::cos)),
            Unary::Tanh => x.mapv(float(f64::tanh)),
            Unary::Sigmoid => x.mapv(float(|v| 1.0 / (1.0 + (-v).exp()))),
            Unary::Erf => x.mapv(float(erf)),
            Unary::Not => return fail("`not` of a float"),
        }),
        Value::Int(x) => Value::Int(match op {
            Unary::Neg => x.mapv(|v| wrap(v.wrapping_neg(), dtype)),
            Unary::Abs => x.mapv(|v| wrap(v.wrapping_abs(), dtype)),
            Unary::Sign => x.mapv(i64::signum),
            _ => return fail(format!("`{}` of an integer", op.name())),
        }),
        Value::Bool(x) => match op {
            Unary::Not => Value::Bool(x.mapv(|v| !v)),
            _ => return fail(format!("`{}` of a bool", op.name())),
        },
    })
}

pub(super) fn binary<T: Real>(
    op: Binary,
    x: &Value<T>,
    y: &Value<T>,
    dtype: DType,
) -> Result<Value<T>, EvalError> {
    match (x, y) {
        (Value::Float(x), Value::Float(y)) => Ok(Value::Float(zip(x, y, |a, b| float(op, a, b))?)),
        (Value::Int(x), Value::Int(y)) => Ok(Value::Int(zip(x, y, |a, b| wrap(integer(op, a, b), dtype))?)),
        (Value::Bool(x), Value::Bool(y)) => Ok(Value::Bool(zip(x, y, |a, b| match op {
            Binary::And => a && b,
            _ => a || b,
        })?)),
        _ => fail(format!("`{}` of two kinds of element", op.name())),
    }
}

pub(super) fn float<T: Real>(op: Binary, a: T, b: T) -> T {
    let through = |f: fn(f64, f64) -> f64| T::from_f64(f(a.to_f64(), b.to_f64()));
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        // The quotient is rounded in the run's own type before it is floored, as the back ends do.
        Binary::FloorDiv => T::from_f64((a / b).to_f64().floor()),
        Binary::Rem => through(|a, b| {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }),
        Binary::Pow => through(f64::powf),
        Binary::Max => through(|a, b| if a.is_nan() || a > b { a } else { b }),
        Binary::Min => through(|a, b| if a.is_nan() || a < b { a } else { b }),
        Binary::And | Binary::Or => a,
    }
}

/// An integer divided by 0 gives 0.
pub(super) fn integer(op: Binary, a: i64, b: i64) -> i64 {
    let floor_div = || {
        let q = a.checked_div(b).unwrap_or(if b == 0 { 0 } else { i64::MIN });
        if b != 0 && a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
    };
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        Binary::FloorDiv => floor_div(),
        Binary::Rem => {
            if b == 0 {
                0
            } else {
                a.wrapping_sub(floor_div().wrapping_mul(b))
            }
        }
        Binary::Pow => match (u32::try_from(b), a) {
            (Ok(exponent), _) => a.wrapping_pow(exponent),
            (Err(_), 1) => 1,
            (Err(_), -1) => 1 - 2 * (b & 1),
            // A negative power is below 1 and rounds to 0; a power beyond 2³² of anything else has wrapped to something useless.
            (Err(_), _) => 0,
        },
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::And | Binary::Or => a,
    }
}

pub(super) fn compare<T: Real>(op: Compare, x: &Value<T>, y: &Value<T>) -> Result<Value<T>, EvalError> {
    fn holds<E: PartialOrd>(op: Compare, a: E, b: E) -> bool {
        match op {
            Compare::Eq => a == b,
            Compare::Ne => a != b,
            Compare::Lt => a < b,
            Compare::Le => a <= b,
            Compare::Gt => a > b,
            Compare::Ge => a >= b,
        }
    }
    Ok(Value::Bool(match (x, y) {
        (Value::Float(x), Value::Float(y)) => zip(x, y, |a, b| holds(op, a, b))?,
        (Value::Int(x), Value::Int(y)) => zip(x, y, |a, b| holds(op, a, b))?,
        (Value::Bool(x), Value::Bool(y)) => zip(x, y, |a, b| holds(op, a, b))?,
        _ => return fail("a comparison of two kinds of element"),
    }))
}

pub(super) fn select<T: Real>(
    condition: &Value<T>,
    then: &Value<T>,
    otherwise: &Value<T>,
) -> Result<Value<T>, EvalError> {
    let Value::Bool(condition) = condition else { return fail("the condition is not bool") };
    fn choose<E: Copy>(c: &ArrayD<bool>, a: &ArrayD<E>, b: &ArrayD<E>) -> Result<ArrayD<E>, EvalError> {
        if c.shape() != a.shape() || a.shape() != b.shape() {
            return fail("the shapes differ");
        }
        Ok(Zip::from(c).and(a).and(b).map_collect(|c, a, b| if *c { *a } else { *b }))
    }
    match (then, otherwise) {
        (Value::Float(a), Value::Float(b)) => Ok(Value::Float(choose(condition, a, b)?)),
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(choose(condition, a, b)?)),
        (Value::Bool(a), Value::Bool(b)) => Ok(Value::Bool(choose(condition, a, b)?)),
        _ => fail("a selection from two kinds of element"),
    }
}

fn zip<E: Copy, R>(x: &ArrayD<E>, y: &ArrayD<E>, f: impl Fn(E, E) -> R) -> Result<ArrayD<R>, EvalError> {
    if x.shape() != y.shape() {
        return fail("the shapes differ");
    }
    Ok(Zip::from(x).and(y).map_collect(|a, b| f(*a, *b)))
}

/// A copy in standard (row-major) layout.
pub(super) fn standard<T: Real>(value: &Value<T>) -> Value<T> {
    same_kind!(value, a => a.as_standard_layout().into_owned())
}
