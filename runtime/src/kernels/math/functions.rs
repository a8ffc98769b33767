//! The functions themselves, an element at a time and without branches, so that a loop over a strip becomes vector code.
//!
//! Every step is one IEEE operation or a fused multiply-add, so that an element's bits depend neither on its place in a
//! strip nor on the width of the vectors. Coefficients are minimax fits made for these intervals.

use std::f32::consts::{LN_2, LOG2_E};

/// ln 2 in two parts, the first with zeros at its end, so that small multiples of it are exact.
const LN2_HIGH: f32 = 6.931_152_4e-1;
const LN2_LOW: f32 = 3.194_618_3e-5;

/// (eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2.
const EXP: [f32; 5] = [0.5, 1.666_653_9e-1, 4.166_627_3e-2, 8.367_124e-3, 1.394_735e-3];

/// Adding and subtracting this rounds to the nearest integer, which is left in the sum's low bits.
const ROUND: f32 = 12_582_912.0;
const ROUND64: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        value = value.mul_add(x, coefficients[i]);
    }
    value
}

#[inline(always)]
fn polynomial64<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut value = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        value = value.mul_add(x, coefficients[i]);
    }
    value
}

/// `x` between bounds; not-a-number stays.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// 2ⁿ, for n in −126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Splits `x` into n·ln 2 + r with |r| ≤ ln 2 / 2; gives n, and eʳ − 1 as (r, what is added to r).
#[inline(always)]
fn reduce_exp(x: f32) -> (i32, f32, f32) {
    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let p = polynomial(r, EXP);
    ((rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r, r * r * p)
}

#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, r, more) = reduce_exp(clamp(x, -105.0, 90.0));
    // In two factors, because 2ⁿ itself may be too large or too small.
    let half = n >> 1;
    (1.0 + (r + more)) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (n, r, more) = reduce_exp(clamp(x, -30.0, 89.0));
    // Doubled at the end, because 2¹²⁸ is too large.
    let half = power_of_two(n.wrapping_sub(1));
    2.0 * half.mul_add(r + more, half - 0.5)
}

#[inline(always)]
pub fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    // The mantissa in [√½, √2), the exponent to match.
    let bits = scaled.to_bits().wrapping_sub(0x3F35_04F3) as i32;
    let exponent = (bits >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = f32::from_bits(((bits & 0x007F_FFFF) + 0x3F35_04F3) as u32) - 1.0;
    let q = polynomial(
        f,
        [
            3.333_331_6e-1,
            -2.499_998_8e-1,
            2.000_185_7e-1,
            -1.666_900_4e-1,
            1.422_495_5e-1,
            -1.239_136e-1,
            1.183_770_7e-1,
            -1.173_982_2e-1,
            6.930_745e-2,
        ],
    );
    let square = f * f;
    let correction = exponent.mul_add(LN2_LOW, (square * f).mul_add(q, -0.5 * square));
    let value = exponent.mul_add(LN2_HIGH, f + correction);
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f32::NAN } else { value };
    // Infinity and not-a-number are their own logarithms.
    if x < f32::INFINITY { value } else { x }
}

#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What the sum lost, to first order.
    let value = log(sum) + (x - (sum - 1.0)) / sum;
    let value = if sum == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < f32::INFINITY { value } else { x };
    if x == 0.0 || x.is_nan() { x } else { value }
}

/// eˣ as (1 + m) · 2ⁿ; gives m and 2ⁿ⁺ˢ, where `S` keeps the exponent from running out: n + S lies in −126..=127.
///
/// Of ln 2 it takes one part: that is 1.9·10⁻⁹ off, n times, which is felt in eˣ from n = 30 on. What is made of it there is 1 to all its digits, or
/// as small as 10⁻⁹.
#[inline(always)]
fn parts_of_exp<const S: i32>(x: f32) -> (f32, f32) {
    // The bias of an exponent comes with the number that rounds, so that the sum's low bits are an exponent as it is stored.
    let round = ROUND + (127 + S) as f32;
    let rounded = x.mul_add(LOG2_E, round);
    let n = rounded - round;
    let r = n.mul_add(-LN_2, x);
    let m = (r * r).mul_add(polynomial(r, EXP), r);
    (m, f32::from_bits(rounded.to_bits() << 23))
}

/// (e²ˣ − 1) / (e²ˣ + 1), which is as exact below zero as above, and 1 beyond 10.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let near = clamp(x, -10.0, 10.0);
    let (m, power) = parts_of_exp::<0>(near + near);
    // e²ˣ − 1.
    let t = power.mul_add(m, power - 1.0);
    // The sign is that of x where x is zero, too.
    (t / (2.0 + t)).copysign(x)
}

/// 1 / (1 + e⁻ˣ), with all of it times 2⁻⁶⁴ below the line and above, so that e¹⁰⁵ is no infinity.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let one = power_of_two(-64);
    let (m, power) = parts_of_exp::<-64>(-clamp(x, -105.0, 20.0));
    one / power.mul_add(m, power + one)
}

#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let size = clamp(x.abs(), 0.0, 4.0);
    let t = size * size;
    let p = polynomial(
        t,
        [
            1.283_791_7e-1,
            -3.761_262_6e-1,
            1.128_36e-1,
            -2.685_444_4e-2,
            5.189_534_7e-3,
            -8.020_835e-4,
            7.889_1e-5,
        ],
    );
    // Beyond 1: 1 - exp(ln erfc).
    let log_rest = polynomial(
        size,
        [
            1.966_692_2e-4,
            -1.129_622_1,
            -6.331_249_5e-1,
            -1.085_344_1e-1,
            2.529_493_7e-2,
            -4.245_283e-3,
            4.530_601e-4,
            -2.357_748_4e-5,
            1.307_240_3e-7,
        ],
    );
    let large = 1.0 - exp(log_rest);
    let value = if size > 1.0 { large } else { size.mul_add(p, size) };
    value.copysign(x)
}

/// Beyond this, sine and cosine leave the quick reduction to the standard library.
pub const CIRCULAR_LIMIT: f32 = 1e15;

/// Splits `x` into n·π/2 + r with |r| ≤ π/4; gives n's low bits and r.
#[inline(always)]
fn reduce_circular(x: f32) -> (u32, f32) {
    let x = f64::from(x);
    let rounded = x.mul_add(std::f64::consts::FRAC_2_PI, ROUND64);
    let n = rounded - ROUND64;
    let r = n.mul_add(-6.123_233_995_736_766e-17, n.mul_add(-std::f64::consts::FRAC_PI_2, x));
    (rounded.to_bits() as u32, r as f32)
}

#[inline(always)]
fn sin_cos_quarter(r: f32) -> (f32, f32) {
    let t = r * r;
    let s = polynomial(t, [-1.666_665_4e-1, 8.332_131e-3, -1.951_083_4e-4]);
    let c = polynomial(t, [4.166_664_6e-2, -1.388_730_6e-3, 2.443_119_4e-5]);
    ((r * t).mul_add(s, r), (t * t).mul_add(c, t.mul_add(-0.5, 1.0)))
}

/// The sine of `quadrant` right angles more than r.
#[inline(always)]
fn turn(quadrant: u32, (sin, cos): (f32, f32)) -> f32 {
    let value = if quadrant & 1 == 0 { sin } else { cos };
    f32::from_bits(value.to_bits() ^ ((quadrant & 2) << 30))
}

#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let (quadrant, r) = reduce_circular(x);
    turn(quadrant, sin_cos_quarter(r))
}

#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let (quadrant, r) = reduce_circular(x);
    turn(quadrant.wrapping_add(1), sin_cos_quarter(r))
}

/// Sine and cosine of 2πu for u in [0, 1).
#[inline(always)]
pub fn sin_cos_turns(u: f32) -> (f32, f32) {
    let rounded = 4.0f32.mul_add(u, ROUND);
    let quadrant = rounded.to_bits();
    let r = 4.0f32.mul_add(u, -(rounded - ROUND)) * std::f32::consts::FRAC_PI_2;
    let parts = sin_cos_quarter(r);
    (turn(quadrant, parts), turn(quadrant.wrapping_add(1), parts))
}

/// aᵇ as C defines it, through a logarithm and an exponential in f64.
#[inline(always)]
pub fn pow(a: f32, b: f32) -> f32 {
    let (x, y) = (f64::from(a.abs()), f64::from(b));
    // log₂ x = e + 2/ln 2 · artanh((m - 1) / (m + 1)), m in [√½, √2).
    let bits = x.to_bits().wrapping_sub(0x3FE6_A09E_667F_3BCD);
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF).wrapping_add(0x3FE6_A09E_667F_3BCD));
    // The exponent as f64 by way of a sum's low bits; its field is negative below √½.
    let field = ((bits as i64) >> 52) as u64;
    let exponent = f64::from_bits(ROUND64.to_bits().wrapping_add(field)) - ROUND64;
    let s = (m - 1.0) / (m + 1.0);
    let series = polynomial64(
        s * s,
        [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0],
    );
    let log2 = (s * series).mul_add(2.0 * std::f64::consts::LOG2_E, exponent);
    let log2 = if x == 0.0 { f64::NEG_INFINITY } else { log2 };
    let log2 = if x < f64::INFINITY { log2 } else { x };
    // 2^p; beyond ±300 an f32 is infinite or zero.
    let p = y * log2;
    let p = if p < -300.0 { -300.0 } else { p };
    let p = if p > 300.0 { 300.0 } else { p };
    let rounded = p + ROUND64;
    let r = (p - (rounded - ROUND64)) * std::f64::consts::LN_2;
    let e = polynomial64(
        r,
        [
            1.0,
            1.0,
            1.0 / 2.0,
            1.0 / 6.0,
            1.0 / 24.0,
            1.0 / 120.0,
            1.0 / 720.0,
            1.0 / 5_040.0,
            1.0 / 40_320.0,
            1.0 / 362_880.0,
        ],
    );
    let scale = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    let size = (e * scale) as f32;
    // A negative base: the sign of an odd power; no real number if the power is no integer.
    let half = b * 0.5;
    let (whole, even) = (whole(b), whole(half));
    let negative = a.to_bits() >> 31 != 0;
    let value = if negative && whole && !even { -size } else { size };
    let value = if negative && !whole && a != 0.0 && a != f32::NEG_INFINITY { f32::NAN } else { value };
    let value = if a == -1.0 && b.abs() == f32::INFINITY { 1.0 } else { value };
    if b == 0.0 || a == 1.0 { 1.0 } else { value }
}

/// Whether a number is an integer; all large ones are.
#[inline(always)]
fn whole(x: f32) -> bool {
    let size = x.abs();
    let rounded = (size + 8_388_608.0) - 8_388_608.0;
    size >= 8_388_608.0 || rounded == size
}

/// The error function in f64: its Taylor series, or a continued fraction for what is left to 1.
pub fn erf64(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() {
        return x;
    }
    let value = if size < 2.5 {
        // 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!, whose terms are all positive.
        let (mut term, mut sum, mut n) = (size, size, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * size * size / (2.0 * n + 1.0);
            sum += term;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI * (-size * size).exp()
    } else if size < 6.0 {
        // erfc x = e^(-x²) / √π · 1/(x + ½/(x + 1/(x + 1½/(x + …)))).
        let fraction = (1..=60).rev().fold(size, |rest, n| size + f64::from(n) * 0.5 / rest);
        1.0 - (-size * size).exp() * std::f64::consts::FRAC_2_SQRT_PI * 0.5 / fraction
    } else {
        1.0
    };
    value.copysign(x)
}

pub fn sigmoid64(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}
