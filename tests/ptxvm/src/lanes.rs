//! From functions of values to functions of a warp's registers.

use crate::numeric::{BF16, F16, Round, narrow, widen};

/// A type of values that a lane of a register holds.
pub trait Lane: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! integers {
    ($($t:ty as $u:ty),*) => {$(
        impl Lane for $t {
            #[inline]
            fn of(bits: u64) -> Self {
                bits as $t
            }
            #[inline]
            fn bits(self) -> u64 {
                self as $u as u64
            }
        }
    )*};
}
integers!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, i8 as u8, i16 as u16, i32 as u32, i64 as u64);

impl Lane for f32 {
    #[inline]
    fn of(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
    #[inline]
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}

impl Lane for f64 {
    #[inline]
    fn of(bits: u64) -> Self {
        f64::from_bits(bits)
    }
    #[inline]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// A narrow float: its value in f64, on which exact or odd-rounded arithmetic is done, and from there back with one
/// rounding.
pub trait Narrow {
    fn value(bits: u64) -> f64;
    fn round(value: f64) -> u64;
}

#[derive(Clone, Copy, Debug)]
pub struct Half;
#[derive(Clone, Copy, Debug)]
pub struct Brain;

macro_rules! narrows {
    ($($t:ty: $format:expr),*) => {$(
        impl Narrow for $t {
            #[inline]
            fn value(bits: u64) -> f64 {
                widen(bits & ((1 << ($format.exponent + $format.mantissa + 1)) - 1), $format)
            }
            #[inline]
            fn round(value: f64) -> u64 {
                narrow(value, $format, Round::Nearest)
            }
        }
    )*};
}
narrows!(Half: F16, Brain: BF16);

/// A function of each lane: `one!(u32, |a| !a)`; with a second type, that of the result comes from the body.
macro_rules! one {
    ($t:ty, |$a:ident| $body:expr) => {{
        let f: $crate::code::One = |x, out| {
            for (out, x) in out.iter_mut().zip(x) {
                let $a = <$t as $crate::lanes::Lane>::of(*x);
                *out = $crate::lanes::Lane::bits($body);
            }
        };
        f
    }};
}

macro_rules! two {
    ($t:ty, $u:ty, |$a:ident, $b:ident| $body:expr) => {{
        let f: $crate::code::Two = |x, y, out| {
            for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
                let $a = <$t as $crate::lanes::Lane>::of(*x);
                let $b = <$u as $crate::lanes::Lane>::of(*y);
                *out = $crate::lanes::Lane::bits($body);
            }
        };
        f
    }};
    ($t:ty, |$a:ident, $b:ident| $body:expr) => {
        $crate::lanes::two!($t, $t, |$a, $b| $body)
    };
}

macro_rules! three {
    ($t:ty, $u:ty, $v:ty, |$a:ident, $b:ident, $c:ident| $body:expr) => {{
        let f: $crate::code::Three = |x, y, z, out| {
            for (((out, x), y), z) in out.iter_mut().zip(x).zip(y).zip(z) {
                let $a = <$t as $crate::lanes::Lane>::of(*x);
                let $b = <$u as $crate::lanes::Lane>::of(*y);
                let $c = <$v as $crate::lanes::Lane>::of(*z);
                *out = $crate::lanes::Lane::bits($body);
            }
        };
        f
    }};
    ($t:ty, |$a:ident, $b:ident, $c:ident| $body:expr) => {
        $crate::lanes::three!($t, $t, $t, |$a, $b, $c| $body)
    };
}

/// A test of each lane: a mask of those that pass.
macro_rules! test {
    ($t:ty, |$a:ident, $b:ident| $body:expr) => {{
        let f: $crate::code::Test = |x, y| {
            let mut mask = 0u32;
            for lane in 0..32 {
                let $a = <$t as $crate::lanes::Lane>::of(x[lane]);
                let $b = <$t as $crate::lanes::Lane>::of(y[lane]);
                mask |= u32::from($body) << lane;
            }
            mask
        };
        f
    }};
}

pub(crate) use {one, test, three, two};
