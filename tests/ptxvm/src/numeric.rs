//! Rounding: floats of all widths through f64, exactly.
//!
//! A sum in f64 that is *rounded to odd* (truncated, with the last bit set where something was lost) may be
//! rounded once more to any narrower format, in any direction, with the result that one rounding would have given
//! (S. Boldo, G. Melquiond: Emulation of FMA and correctly rounded sums, 2008).

/// The direction of a rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To nearest, ties to even: `.rn`.
    Nearest,
    /// Towards zero: `.rz`.
    Zero,
    /// Down: `.rm`.
    Down,
    /// Up: `.rp`.
    Up,
    /// To nearest, ties away from zero: `.rna`.
    Away,
}

/// A binary format of IEEE 754's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub exponent: u32,
    pub mantissa: u32,
}

pub const F16: Format = Format { exponent: 5, mantissa: 10 };
pub const BF16: Format = Format { exponent: 8, mantissa: 7 };
pub const F32: Format = Format { exponent: 8, mantissa: 23 };

/// The value of a narrow float.
#[inline]
pub fn widen(bits: u64, format: Format) -> f64 {
    let Format { exponent, mantissa } = format;
    let sign = (bits >> (exponent + mantissa)) & 1;
    let field = (bits >> mantissa) & ((1 << exponent) - 1);
    let part = bits & ((1 << mantissa) - 1);
    let bias = (1i64 << (exponent - 1)) - 1;
    let value = if field == (1 << exponent) - 1 {
        if part == 0 { f64::INFINITY } else { f64::NAN }
    } else if field == 0 {
        part as f64 * f64::from_bits(((1 - bias - i64::from(mantissa) + 1023) as u64) << 52)
    } else {
        f64::from_bits((((field as i64 - bias + 1023) as u64) << 52) | (part << (52 - mantissa)))
    };
    f64::from_bits(value.to_bits() | (sign << 63))
}

/// The float of a narrow format that a value rounds to; NaN becomes the format's canonical one.
#[inline]
pub fn narrow(value: f64, format: Format, round: Round) -> u64 {
    let Format { exponent, mantissa } = format;
    let all = (1u64 << (exponent + mantissa)) - 1;
    let infinity = ((1u64 << exponent) - 1) << mantissa;
    if value.is_nan() {
        return all;
    }
    let sign = value.to_bits() >> 63;
    let sign_bit = sign << (exponent + mantissa);
    if value.is_infinite() {
        return sign_bit | infinity;
    }
    if value == 0.0 {
        return sign_bit;
    }
    let bits = value.to_bits() & !(1 << 63);
    let field = (bits >> 52) as i64;
    // |value| = significand · 2^low
    let (significand, low) =
        if field == 0 { (bits, -1074) } else { ((bits & ((1 << 52) - 1)) | (1 << 52), field - 1075) };
    let top = low + 63 - i64::from(significand.leading_zeros());
    let least = 2 - (1i64 << (exponent - 1));
    let quantum = top.max(least) - i64::from(mantissa);
    let shift = quantum - low;
    let (mut kept, exact, above, half) = if shift <= 0 {
        (significand << -shift, true, false, false)
    } else if shift > 63 {
        (0, false, false, false)
    } else {
        let rest = significand & ((1 << shift) - 1);
        let half = 1u64 << (shift - 1);
        (significand >> shift, rest == 0, rest > half, rest == half)
    };
    let up = match round {
        Round::Nearest => above || (half && kept & 1 == 1),
        Round::Away => above || half,
        Round::Zero => false,
        Round::Down => !exact && sign == 1,
        Round::Up => !exact && sign == 0,
    };
    kept += u64::from(up);
    let magnitude =
        if top >= least { (((top - least + 1) as u64) << mantissa) + kept - (1 << mantissa) } else { kept };
    let overflow = match (round, sign) {
        (Round::Zero, _) | (Round::Down, 0) | (Round::Up, 1) => infinity - 1,
        _ => infinity,
    };
    sign_bit | if magnitude >= infinity { overflow } else { magnitude }
}

/// A value that lies `error` beside a rounded one, rounded to odd.
#[inline]
fn odd(rounded: f64, error: f64) -> f64 {
    if error == 0.0 || !rounded.is_finite() || error.is_nan() {
        return rounded;
    }
    if rounded == 0.0 {
        return f64::MIN_POSITIVE.copysign(error);
    }
    let bits = rounded.to_bits();
    let smaller = (error < 0.0) != (rounded < 0.0);
    f64::from_bits((bits - u64::from(smaller)) | 1)
}

/// a + b, rounded to odd.
#[inline]
pub fn odd_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let part = sum - a;
    odd(sum, (a - (sum - part)) + (b - part))
}

/// a / b, rounded to odd, for operands that came from a narrower format.
#[inline]
pub fn odd_quotient(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    if !quotient.is_finite() || quotient == 0.0 {
        return quotient;
    }
    let rest = (-quotient).mul_add(b, a);
    odd(quotient, if b < 0.0 { -rest } else { rest })
}

/// √a, rounded to odd, for an operand that came from a narrower format.
#[inline]
pub fn odd_root(a: f64) -> f64 {
    let root = a.sqrt();
    if !root.is_finite() || root == 0.0 { root } else { odd(root, (-root).mul_add(root, a)) }
}

/// A float as NVIDIA's processors give it: every NaN is 0x7fffffff.
#[inline]
pub fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fff_ffff) } else { value }
}

/// A subnormal becomes a zero of its sign.
#[inline]
pub fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_narrow_float_survives_the_way_there_and_back() {
        for format in [F16, BF16] {
            for bits in 0..=0xffffu64 {
                let value = widen(bits, format);
                if value.is_nan() {
                    assert_eq!(narrow(value, format, Round::Nearest), 0x7fff);
                    continue;
                }
                for round in [Round::Nearest, Round::Zero, Round::Down, Round::Up, Round::Away] {
                    assert_eq!(narrow(value, format, round), bits);
                }
            }
        }
    }

    #[test]
    fn rounding_to_f32_is_that_of_the_language() {
        let mut seed = 1u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits((seed & !(0x7ff << 52)) | ((860 + (seed >> 33) % 330) << 52));
            assert_eq!(narrow(value, F32, Round::Nearest), u64::from((value as f32).to_bits()), "{value:e}");
        }
    }

    #[test]
    fn directions_bracket_the_value() {
        let third = 1.0 / 3.0;
        let down = widen(narrow(third, F16, Round::Down), F16);
        let up = widen(narrow(third, F16, Round::Up), F16);
        assert!(
            down < third
                && third < up
                && narrow(third, F16, Round::Up) == narrow(third, F16, Round::Down) + 1
        );
        assert_eq!(narrow(1e9, F16, Round::Zero), 0x7bff);
        assert_eq!(narrow(-1e9, F16, Round::Nearest), 0xfc00);
        assert_eq!(narrow(1e-30, F16, Round::Up), 1);
    }

    #[test]
    fn a_fused_sum_through_odd_is_that_of_the_hardware() {
        let mut seed = 7u64;
        let mut draw = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            f32::from_bits(((seed >> 32) as u32 & 0x807f_ffff) | ((100 + (seed >> 20) as u32 % 50) << 23))
        };
        for _ in 0..200_000 {
            let (a, b, c) = (draw(), draw(), draw());
            let odd = odd_sum(f64::from(a) * f64::from(b), c.into());
            assert_eq!(narrow(odd, F32, Round::Nearest), u64::from(a.mul_add(b, c).to_bits()));
            let quotient = odd_quotient(a.into(), b.into());
            assert_eq!(narrow(quotient, F32, Round::Nearest), u64::from((a / b).to_bits()));
            let root = odd_root(a.abs().into());
            assert_eq!(narrow(root, F32, Round::Nearest), u64::from(a.abs().sqrt().to_bits()));
        }
    }
}
