//! Arithmetic of f16 and bf16, alone and in pairs: in f64, with one rounding at the end.

use super::arithmetic::Function;
use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, Op};
use crate::lanes::{Brain, Half, Narrow, one, three, two};
use crate::numeric::odd_sum;

fn one_of<N: Narrow>(a: u16, f: impl Fn(f64) -> f64) -> u16 {
    N::round(f(N::value(a.into()))) as u16
}

fn two_of<N: Narrow>(a: u16, b: u16, f: impl Fn(f64, f64) -> f64) -> u16 {
    N::round(f(N::value(a.into()), N::value(b.into()))) as u16
}

fn three_of<N: Narrow>(a: u16, b: u16, c: u16, f: impl Fn(f64, f64, f64) -> f64) -> u16 {
    N::round(f(N::value(a.into()), N::value(b.into()), N::value(c.into()))) as u16
}

/// Both halves of a register.
fn pair(f: impl Fn(u32) -> u16) -> u32 {
    u32::from(f(0)) | (u32::from(f(16)) << 16)
}

macro_rules! half {
    (1, $ty:expr, |$a:ident| $body:expr) => {
        Function::One(match $ty {
            Type::F16 => one!(u16, |x| one_of::<Half>(x, |$a| $body)),
            Type::Bf16 => one!(u16, |x| one_of::<Brain>(x, |$a| $body)),
            Type::F16x2 => one!(u32, |x| pair(|s| one_of::<Half>((x >> s) as u16, |$a| $body))),
            _ => one!(u32, |x| pair(|s| one_of::<Brain>((x >> s) as u16, |$a| $body))),
        })
    };
    (2, $ty:expr, |$a:ident, $b:ident| $body:expr) => {
        Function::Two(match $ty {
            Type::F16 => two!(u16, |x, y| two_of::<Half>(x, y, |$a, $b| $body)),
            Type::Bf16 => two!(u16, |x, y| two_of::<Brain>(x, y, |$a, $b| $body)),
            Type::F16x2 => {
                two!(u32, |x, y| pair(|s| two_of::<Half>((x >> s) as u16, (y >> s) as u16, |$a, $b| $body)))
            }
            _ => {
                two!(u32, |x, y| pair(|s| two_of::<Brain>((x >> s) as u16, (y >> s) as u16, |$a, $b| $body)))
            }
        })
    };
    (3, $ty:expr, |$a:ident, $b:ident, $c:ident| $body:expr) => {
        Function::Three(match $ty {
            Type::F16 => three!(u16, |x, y, z| three_of::<Half>(x, y, z, |$a, $b, $c| $body)),
            Type::Bf16 => three!(u16, |x, y, z| three_of::<Brain>(x, y, z, |$a, $b, $c| $body)),
            Type::F16x2 => three!(u32, |x, y, z| pair(|s| {
                three_of::<Half>((x >> s) as u16, (y >> s) as u16, (z >> s) as u16, |$a, $b, $c| $body)
            })),
            _ => three!(u32, |x, y, z| pair(|s| {
                three_of::<Brain>((x >> s) as u16, (y >> s) as u16, (z >> s) as u16, |$a, $b, $c| $body)
            })),
        })
    };
}

fn least<const NAN: bool>(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if a < b || (a == b && a.is_sign_negative()) => a,
        (true, false) if !NAN => b,
        (false, true) if !NAN => a,
        (false, false) => b,
        _ => f64::NAN,
    }
}

fn greatest<const NAN: bool>(a: f64, b: f64) -> f64 {
    -least::<NAN>(-a, -b)
}

impl<'m> Decoder<'m> {
    pub(super) fn half(&mut self, parts: &mut Parts<'m>, ty: Type) -> Result<()> {
        let ftz = parts.take("ftz");
        let saturated = parts.take("sat");
        let relu = parts.take("relu");
        let nan = parts.take("NaN");
        let approximate = parts.take("approx");
        parts.ignore(&["rn"]);
        let pair = if matches!(ty, Type::F16x2 | Type::Bf16x2) { 2 } else { 1 };
        let (mut class, mut flops) = (Class::Alu, pair);
        let function = match parts.base {
            "add" => half!(2, ty, |a, b| odd_sum(a, b)),
            "sub" => half!(2, ty, |a, b| odd_sum(a, -b)),
            "mul" => half!(2, ty, |a, b| a * b),
            "fma" => {
                (class, flops) = (Class::Fma, 2 * pair);
                half!(3, ty, |a, b, c| odd_sum(a * b, c))
            }
            "min" if nan => half!(2, ty, |a, b| least::<true>(a, b)),
            "min" => half!(2, ty, |a, b| least::<false>(a, b)),
            "max" if nan => half!(2, ty, |a, b| greatest::<true>(a, b)),
            "max" => half!(2, ty, |a, b| greatest::<false>(a, b)),
            "neg" if pair == 2 => Function::One(one!(u32, |a| a ^ 0x8000_8000)),
            "neg" => Function::One(one!(u16, |a| a ^ 0x8000)),
            "abs" if pair == 2 => Function::One(one!(u32, |a| a & 0x7fff_7fff)),
            "abs" => Function::One(one!(u16, |a| a & 0x7fff)),
            "ex2" if approximate => {
                class = Class::Special;
                half!(1, ty, |a| a.exp2())
            }
            "tanh" if approximate => {
                class = Class::Special;
                half!(1, ty, |a| a.tanh())
            }
            _ => return parts.refused(),
        };
        // Flushing of f16's subnormals is not modelled; bf16's range is f32's, and `ex2` alone has it.
        if ftz && parts.base != "ex2" {
            return parts.refused();
        }
        if matches!(parts.base, "abs" | "neg" | "min" | "max") {
            flops = 0;
        }
        self.apply(parts, function, [ty; 3], class, flops)?;
        let to = self.target(parts)?;
        if relu {
            let Function::One(f) = half!(1, ty, |a| if a > 0.0 || a.is_nan() { a } else { 0.0 }) else {
                return parts.refused();
            };
            self.emit(Op::One { f, to, a: to }, Class::Alu);
        }
        if saturated {
            let Function::One(f) = half!(1, ty, |a| if a > 0.0 { a.min(1.0) } else { 0.0 }) else {
                return parts.refused();
            };
            self.emit(Op::One { f, to, a: to }, Class::Alu);
        }
        Ok(())
    }
}
