//! Tensors of the evaluator: three kinds of element stand for all dtypes.

use super::Real;
use super::real::wrap;
use crate::graph::DType;
use ndarray::{ArrayD, IxDyn};

/// A tensor. Floats are kept in the type that the run computes in, integers as `i64` within their dtype's range.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<T> {
    Float(ArrayD<T>),
    Int(ArrayD<i64>),
    Bool(ArrayD<bool>),
}

/// Runs an expression on the array inside, whatever its elements are, and wraps the result in the same kind.
macro_rules! same_kind {
    ($value:expr, $array:ident => $result:expr) => {
        match $value {
            Value::Float($array) => Value::Float($result),
            Value::Int($array) => Value::Int($result),
            Value::Bool($array) => Value::Bool($result),
        }
    };
}
pub(super) use same_kind;

impl<T: Real> Value<T> {
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Float(a) => a.shape(),
            Value::Int(a) => a.shape(),
            Value::Bool(a) => a.shape(),
        }
    }

    /// A tensor whose elements are made in row-major order from their index.
    pub fn generate(dtype: DType, shape: &[usize], mut make: impl FnMut(&[usize]) -> f64) -> Value<T> {
        let mut make = |at: IxDyn| make(ndarray::Dimension::slice(&at));
        if dtype.is_float() {
            Value::Float(ArrayD::from_shape_fn(IxDyn(shape), |at| T::from_f64(make(at))))
        } else if dtype == DType::Bool {
            Value::Bool(ArrayD::from_shape_fn(IxDyn(shape), |at| make(at) != 0.0))
        } else {
            Value::Int(ArrayD::from_shape_fn(IxDyn(shape), |at| wrap(make(at) as i64, dtype)))
        }
    }

    /// Row-major elements. `None` when their number does not fit the shape.
    pub fn from_f64(dtype: DType, shape: &[usize], elements: &[f64]) -> Option<Value<T>> {
        let count = shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b))?;
        let mut elements = (count == elements.len()).then(|| elements.iter())?;
        Some(Value::generate(dtype, shape, |_| elements.next().copied().unwrap_or(0.0)))
    }

    /// The elements in row-major order; false is 0 and true is 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Value::Float(a) => a.iter().map(|v| v.to_f64()).collect(),
            Value::Int(a) => a.iter().map(|v| *v as f64).collect(),
            Value::Bool(a) => a.iter().map(|v| f64::from(u8::from(*v))).collect(),
        }
    }

    /// Can this be a value of that dtype?
    pub fn fits(&self, dtype: DType) -> bool {
        match self {
            Value::Float(_) => dtype.is_float(),
            Value::Int(_) => super::is_integer(dtype),
            Value::Bool(_) => dtype == DType::Bool,
        }
    }

    /// Rounded to what the dtype can hold.
    pub(super) fn narrow(self, dtype: DType) -> Value<T> {
        match self {
            Value::Float(a) if dtype.is_float() => Value::Float(a.mapv_into(|v| v.narrow(dtype))),
            other => other,
        }
    }

    pub(super) fn cast(&self, dtype: DType) -> Value<T> {
        if dtype.is_float() {
            Value::Float(match self {
                Value::Float(a) => a.clone(),
                Value::Int(a) => a.mapv(|v| T::from_f64(v as f64)),
                Value::Bool(a) => a.mapv(|v| T::from_f64(f64::from(u8::from(v)))),
            })
        } else if dtype == DType::Bool {
            Value::Bool(match self {
                Value::Float(a) => a.mapv(|v| v.to_f64() != 0.0),
                Value::Int(a) => a.mapv(|v| v != 0),
                Value::Bool(a) => a.clone(),
            })
        } else {
            Value::Int(match self {
                Value::Float(a) => a.mapv(|v| saturate(v.to_f64(), dtype)),
                Value::Int(a) => a.mapv(|v| wrap(v, dtype)),
                Value::Bool(a) => a.mapv(i64::from),
            })
        }
    }
}

/// Towards zero, to the nearest value of the dtype; NaN becomes 0.
fn saturate(value: f64, dtype: DType) -> i64 {
    match dtype {
        DType::I8 => i64::from(value as i8),
        DType::U8 => i64::from(value as u8),
        DType::I32 => i64::from(value as i32),
        _ => value as i64,
    }
}
