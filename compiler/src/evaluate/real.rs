//! The float types that a run can compute in.

use crate::graph::DType;
use half::{bf16, f16};
use std::ops::Neg;

/// What the evaluator needs of a float.
pub trait Real:
    ndarray::LinalgScalar + std::fmt::Debug + PartialOrd + Neg<Output = Self> + ndarray::ScalarOperand
{
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// Rounded to a float dtype that is narrower than the computation's own. In `f64`, where precision is the point, nothing is.
    fn narrow(self, dtype: DType) -> Self;
}

impl Real for f64 {
    fn from_f64(value: f64) -> f64 {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn narrow(self, _: DType) -> f64 {
        self
    }
}

impl Real for f32 {
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn narrow(self, dtype: DType) -> f32 {
        match dtype {
            DType::BF16 => bf16::from_f32(self).to_f32(),
            DType::F16 => f16::from_f32(self).to_f32(),
            _ => self,
        }
    }
}

/// Integers wrap around at their width.
pub(super) fn wrap(value: i64, dtype: DType) -> i64 {
    match dtype {
        DType::I8 => i64::from(value as i8),
        DType::U8 => i64::from(value as u8),
        DType::I32 => i64::from(value as i32),
        _ => value,
    }
}

/// The error function: its series, whose terms are all positive; beyond 6 it is 1 in every bit.
pub(super) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 6.0 {
        return 1f64.copysign(x);
    }
    // erf x = 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > sum.abs() * 1e-18 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_agrees_with_tables() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (-2.0, -0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_6),
        ] {
            assert!((erf(x) - expected).abs() < 1e-15, "{x}: {}", erf(x));
        }
    }

    #[test]
    fn narrow_floats_round_to_nearest_even() {
        let bf16 = |v: f32| v.narrow(DType::BF16);
        let f16 = |v: f32| v.narrow(DType::F16);
        assert_eq!(bf16(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(bf16(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
        assert_eq!(bf16(f32::MAX), f32::INFINITY);
        assert_eq!(f16(65504.0), 65504.0);
        assert_eq!(f16(65519.0), 65504.0);
        assert_eq!(f16(-65520.0), f32::NEG_INFINITY);
        assert_eq!(f16(2f32.powi(-24) * 1.5), 2f32.powi(-23));
        assert_eq!(f16(2f32.powi(-25)), 0.0);
    }
}
