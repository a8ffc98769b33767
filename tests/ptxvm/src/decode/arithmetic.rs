//! Arithmetic: of integers, f32 and f64 here; of f16 and bf16 in `half`.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, One, Op, Three, Two};
use crate::lanes::{one, three, two};
use crate::numeric::{F32, Round, canonical, flush, narrow, odd_quotient, odd_root, odd_sum};

/// A function by how many operands it takes.
#[derive(Clone, Copy)]
pub(super) enum Function {
    One(One),
    Two(Two),
    Three(Three),
}

const ROUNDS: [(&str, Round); 4] =
    [("rn", Round::Nearest), ("rz", Round::Zero), ("rm", Round::Down), ("rp", Round::Up)];

/// The same body for each width of an integer.
macro_rules! by_width {
    ($bits:expr, $kind:ident, ($a:ident, $b:ident), $body:expr) => {
        match $bits {
            16 => Some(Function::Two(two!(u16, |$a, $b| $body))),
            32 => Some(Function::Two(two!(u32, |$a, $b| $body))),
            64 => Some(Function::Two(two!(u64, |$a, $b| $body))),
            _ => None,
        }
    };
}

/// The same body for each integer type with a sign or without.
macro_rules! by_type {
    ($ty:expr, ($a:ident, $b:ident), $body:expr) => {
        match $ty {
            Type::Unsigned(16) => Some(Function::Two(two!(u16, |$a, $b| $body))),
            Type::Unsigned(32) => Some(Function::Two(two!(u32, |$a, $b| $body))),
            Type::Unsigned(64) => Some(Function::Two(two!(u64, |$a, $b| $body))),
            Type::Signed(16) => Some(Function::Two(two!(i16, |$a, $b| $body))),
            Type::Signed(32) => Some(Function::Two(two!(i32, |$a, $b| $body))),
            Type::Signed(64) => Some(Function::Two(two!(i64, |$a, $b| $body))),
            _ => None,
        }
    };
}

impl<'m> Decoder<'m> {
    pub(super) fn arithmetic(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        match ty {
            Type::F32 | Type::F64 => self.float(parts, ty),
            Type::F16 | Type::Bf16 | Type::F16x2 | Type::Bf16x2 => self.half(parts, ty),
            _ => self.whole(parts, ty),
        }
    }

    /// Emits a function of the operands after the first.
    pub(super) fn apply(
        &mut self,
        parts: &Parts<'m>,
        function: Function,
        types: [Type; 3],
        class: Class,
        flops: u32,
    ) -> Result<()> {
        let to = self.target(parts)?;
        let a = self.value(parts, 1, types[0])?;
        let op = match function {
            Function::One(f) => Op::One { f, to, a },
            Function::Two(f) => Op::Two { f, to, a, b: self.value(parts, 2, types[1])? },
            Function::Three(f) => {
                let (b, c) = (self.value(parts, 2, types[1])?, self.value(parts, 3, types[2])?);
                Op::Three { f, to, a, b, c }
            }
        };
        self.emit_counted(op, class, flops);
        Ok(())
    }

    fn whole(&mut self, parts: &mut Parts<'m>, ty: Type) -> Result<()> {
        let saturated = parts.take("sat");
        let part = parts.take_of(&[("lo", 0), ("hi", 1), ("wide", 2)]);
        let mut types = [ty; 3];
        let function = match (parts.base, part) {
            ("add", None) if saturated => {
                (ty == Type::Signed(32)).then_some(Function::Two(two!(i32, |a, b| a.saturating_add(b))))
            }
            ("sub", None) if saturated => {
                (ty == Type::Signed(32)).then_some(Function::Two(two!(i32, |a, b| a.saturating_sub(b))))
            }
            ("add", None) => by_width!(ty.bits(), Two, (a, b), a.wrapping_add(b)),
            ("sub", None) => by_width!(ty.bits(), Two, (a, b), a.wrapping_sub(b)),
            ("mul", Some(0)) => by_width!(ty.bits(), Two, (a, b), a.wrapping_mul(b)),
            ("mul", Some(1)) => Some(Function::Two(match ty {
                Type::Unsigned(16) => two!(u16, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16),
                Type::Signed(16) => two!(i16, |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16),
                Type::Unsigned(32) => two!(u32, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
                Type::Signed(32) => two!(i32, |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32),
                Type::Unsigned(64) => two!(u64, |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64),
                Type::Signed(64) => two!(i64, |a, b| ((i128::from(a) * i128::from(b)) >> 64) as i64),
                _ => return parts.refused(),
            })),
            ("mul", Some(2)) => Some(Function::Two(match ty {
                Type::Unsigned(16) => two!(u16, |a, b| u32::from(a) * u32::from(b)),
                Type::Signed(16) => two!(i16, |a, b| i32::from(a) * i32::from(b)),
                Type::Unsigned(32) => two!(u32, |a, b| u64::from(a) * u64::from(b)),
                Type::Signed(32) => two!(i32, |a, b| i64::from(a) * i64::from(b)),
                _ => return parts.refused(),
            })),
            ("mad", Some(0)) => Some(Function::Three(match ty.bits() {
                16 => three!(u16, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
                32 => three!(u32, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
                64 => three!(u64, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
                _ => return parts.refused(),
            })),
            ("mad", Some(1)) => Some(Function::Three(match ty {
                Type::Unsigned(32) => {
                    three!(u32, |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c))
                }
                Type::Signed(32) => {
                    three!(i32, |a, b, c| (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c))
                }
                Type::Unsigned(64) => {
                    three!(u64, |a, b, c| (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c))
                }
                Type::Signed(64) => {
                    three!(i64, |a, b, c| (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c))
                }
                _ => return parts.refused(),
            })),
            ("mad", Some(2)) => {
                types[2] = Type::Bits(ty.bits() * 2);
                Some(Function::Three(match ty {
                    Type::Unsigned(16) => {
                        three!(u16, u16, u32, |a, b, c| (u32::from(a) * u32::from(b)).wrapping_add(c))
                    }
                    Type::Signed(16) => {
                        three!(i16, i16, i32, |a, b, c| (i32::from(a) * i32::from(b)).wrapping_add(c))
                    }
                    Type::Unsigned(32) => {
                        three!(u32, u32, u64, |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c))
                    }
                    Type::Signed(32) => {
                        three!(i32, i32, i64, |a, b, c| (i64::from(a) * i64::from(b)).wrapping_add(c))
                    }
                    _ => return parts.refused(),
                }))
            }
            // What a division by zero gives is not defined; GPUs give all ones.
            ("div", None) => by_type!(ty, (a, b), if b == 0 { !0 } else { a.wrapping_div(b) }),
            ("rem", None) => by_type!(ty, (a, b), if b == 0 { a } else { a.wrapping_rem(b) }),
            ("min", None) => by_type!(ty, (a, b), a.min(b)),
            ("max", None) => by_type!(ty, (a, b), a.max(b)),
            ("abs", None) => match ty {
                Type::Signed(16) => Some(Function::One(one!(i16, |a| a.wrapping_abs()))),
                Type::Signed(32) => Some(Function::One(one!(i32, |a| a.wrapping_abs()))),
                Type::Signed(64) => Some(Function::One(one!(i64, |a| a.wrapping_abs()))),
                _ => None,
            },
            ("neg", None) => match ty {
                Type::Signed(16) => Some(Function::One(one!(u16, |a| a.wrapping_neg()))),
                Type::Signed(32) => Some(Function::One(one!(u32, |a| a.wrapping_neg()))),
                Type::Signed(64) => Some(Function::One(one!(u64, |a| a.wrapping_neg()))),
                _ => None,
            },
            _ => None,
        };
        let Some(function) = function else { return parts.refused() };
        self.apply(parts, function, types, Class::Alu, 0)
    }

    fn float(&mut self, parts: &mut Parts<'m>, ty: Type) -> Result<()> {
        let ftz = parts.take("ftz");
        let saturated = parts.take("sat");
        let approximate = parts.take("approx") | parts.take("full");
        let round = parts.take_of(&ROUNDS).unwrap_or(Round::Nearest);
        let nan = parts.take("NaN");
        let single = ty == Type::F32;
        let (mut class, mut flops) = (Class::Alu, 1);
        if matches!(parts.base, "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" | "div") {
            class = Class::Special;
        }
        let function = match (parts.base, single) {
            ("fma" | "mad", _) => {
                (class, flops) = (Class::Fma, 2);
                Function::Three(match (single, round) {
                    (true, Round::Nearest) if ftz => {
                        three!(f32, |a, b, c| flush(canonical(flush(a).mul_add(flush(b), flush(c)))))
                    }
                    (true, Round::Nearest) => three!(f32, |a, b, c| canonical(a.mul_add(b, c))),
                    (false, Round::Nearest) => three!(f64, |a, b, c| a.mul_add(b, c)),
                    (true, round) => directed_fma(round, ftz),
                    _ => return parts.refused(),
                })
            }
            ("add" | "sub" | "mul" | "div", true) if round != Round::Nearest => {
                Function::Two(directed(parts.base, round, ftz))
            }
            (_, false) if round != Round::Nearest => return parts.refused(),
            ("add", true) if ftz => Function::Two(two!(f32, |a, b| flush(canonical(flush(a) + flush(b))))),
            ("add", true) => Function::Two(two!(f32, |a, b| canonical(a + b))),
            ("add", false) => Function::Two(two!(f64, |a, b| a + b)),
            ("sub", true) if ftz => Function::Two(two!(f32, |a, b| flush(canonical(flush(a) - flush(b))))),
            ("sub", true) => Function::Two(two!(f32, |a, b| canonical(a - b))),
            ("sub", false) => Function::Two(two!(f64, |a, b| a - b)),
            ("mul", true) if ftz => Function::Two(two!(f32, |a, b| flush(canonical(flush(a) * flush(b))))),
            ("mul", true) => Function::Two(two!(f32, |a, b| canonical(a * b))),
            ("mul", false) => Function::Two(two!(f64, |a, b| a * b)),
            ("div", true) if ftz => Function::Two(two!(f32, |a, b| flush(canonical(flush(a) / flush(b))))),
            ("div", true) => Function::Two(two!(f32, |a, b| canonical(a / b))),
            ("div", false) => Function::Two(two!(f64, |a, b| a / b)),
            ("min", true) if ftz && nan => Function::Two(two!(f32, |a, b| least::<true>(flush(a), flush(b)))),
            ("min", true) if ftz => Function::Two(two!(f32, |a, b| least::<false>(flush(a), flush(b)))),
            ("min", true) if nan => Function::Two(two!(f32, |a, b| least::<true>(a, b))),
            ("min", true) => Function::Two(two!(f32, |a, b| least::<false>(a, b))),
            ("max", true) if ftz && nan => {
                Function::Two(two!(f32, |a, b| greatest::<true>(flush(a), flush(b))))
            }
            ("max", true) if ftz => Function::Two(two!(f32, |a, b| greatest::<false>(flush(a), flush(b)))),
            ("max", true) if nan => Function::Two(two!(f32, |a, b| greatest::<true>(a, b))),
            ("max", true) => Function::Two(two!(f32, |a, b| greatest::<false>(a, b))),
            ("min", false) if !nan => Function::Two(two!(f64, |a, b| a.min(b))),
            ("max", false) if !nan => Function::Two(two!(f64, |a, b| a.max(b))),
            ("abs", true) if ftz => Function::One(one!(f32, |a| flush(a).abs())),
            ("abs", true) => Function::One(one!(f32, |a| a.abs())),
            ("abs", false) => Function::One(one!(f64, |a| a.abs())),
            ("neg", true) if ftz => Function::One(one!(f32, |a| -flush(a))),
            ("neg", true) => Function::One(one!(f32, |a| -a)),
            ("neg", false) => Function::One(one!(f64, |a| -a)),
            // The sign is the first operand's, all else the second's.
            ("copysign", true) => Function::Two(two!(f32, |a, b| b.copysign(a))),
            ("copysign", false) => Function::Two(two!(f64, |a, b| b.copysign(a))),
            ("rcp" | "sqrt", true) if round != Round::Nearest => {
                Function::One(directed_one(parts.base, round, ftz))
            }
            ("rcp", true) if ftz => Function::One(one!(f32, |a| flush(canonical(1.0 / flush(a))))),
            ("rcp", true) => Function::One(one!(f32, |a| canonical(1.0 / a))),
            ("rcp", false) => Function::One(one!(f64, |a| 1.0 / a)),
            ("sqrt", true) if ftz => Function::One(one!(f32, |a| flush(canonical(flush(a).sqrt())))),
            ("sqrt", true) => Function::One(one!(f32, |a| canonical(a.sqrt()))),
            ("sqrt", false) => Function::One(one!(f64, |a| a.sqrt())),
            ("rsqrt", true) if ftz => {
                Function::One(one!(f32, |a| canonical((1.0 / f64::from(flush(a)).sqrt()) as f32)))
            }
            ("rsqrt", true) => Function::One(one!(f32, |a| canonical((1.0 / f64::from(a).sqrt()) as f32))),
            ("rsqrt", false) => Function::One(one!(f64, |a| 1.0 / a.sqrt())),
            ("sin", true) if ftz => Function::One(one!(f32, |a| flush(canonical(flush(a).sin())))),
            ("sin", true) => Function::One(one!(f32, |a| canonical(a.sin()))),
            ("cos", true) if ftz => Function::One(one!(f32, |a| canonical(flush(a).cos()))),
            ("cos", true) => Function::One(one!(f32, |a| canonical(a.cos()))),
            ("lg2", true) if ftz => Function::One(one!(f32, |a| canonical(flush(a).log2()))),
            ("lg2", true) => Function::One(one!(f32, |a| canonical(a.log2()))),
            ("ex2", true) if ftz => Function::One(one!(f32, |a| flush(canonical(flush(a).exp2())))),
            ("ex2", true) => Function::One(one!(f32, |a| canonical(a.exp2()))),
            ("tanh", true) => Function::One(one!(f32, |a| canonical(a.tanh()))),
            _ => return parts.refused(),
        };
        if matches!(parts.base, "sin" | "cos" | "lg2" | "ex2" | "tanh") && !approximate {
            return parts.refused();
        }
        if matches!(parts.base, "abs" | "neg" | "copysign" | "min" | "max") {
            flops = 0;
        }
        self.apply(parts, function, [ty; 3], class, flops)?;
        if saturated {
            if !single {
                return parts.refused();
            }
            let to = self.target(parts)?;
            self.emit(Op::One { f: one!(f32, |a| saturate(a)), to, a: to }, Class::Alu);
        }
        Ok(())
    }
}

/// Into [0, 1]; NaN becomes 0.
pub(super) fn saturate(a: f32) -> f32 {
    if a > 0.0 { a.min(1.0) } else { 0.0 }
}

/// The smaller, where -0 is below +0. A NaN gives the other operand, or with `.NaN` a NaN.
#[inline]
pub(super) fn least<const NAN: bool>(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        return if NAN || (a.is_nan() && b.is_nan()) {
            canonical(f32::NAN)
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    if a < b || (a == b && a.is_sign_negative()) { a } else { b }
}

#[inline]
pub(super) fn greatest<const NAN: bool>(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        return if NAN || (a.is_nan() && b.is_nan()) {
            canonical(f32::NAN)
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    if a > b || (a == b && b.is_sign_negative()) { a } else { b }
}

/// A result in f64, rounded to odd, as f32 in a direction.
fn single(value: f64, round: Round, ftz: bool) -> f32 {
    let value = f32::from_bits(narrow(value, F32, round) as u32);
    if ftz { flush(value) } else { value }
}

macro_rules! for_rounds {
    ($round:expr, $ftz:expr, $make:ident) => {
        match ($round, $ftz) {
            (Round::Zero, false) => $make!(Round::Zero, false),
            (Round::Down, false) => $make!(Round::Down, false),
            (Round::Up, false) => $make!(Round::Up, false),
            (Round::Zero, true) => $make!(Round::Zero, true),
            (Round::Down, true) => $make!(Round::Down, true),
            (Round::Up, true) => $make!(Round::Up, true),
            (_, false) => $make!(Round::Nearest, false),
            (_, true) => $make!(Round::Nearest, true),
        }
    };
}

fn input(value: f32, ftz: bool) -> f64 {
    f64::from(if ftz { flush(value) } else { value })
}

/// A zero that a sum of opposites gives is negative when rounding down.
fn sum(a: f64, b: f64, round: Round) -> f64 {
    let sum = odd_sum(a, b);
    if sum == 0.0 && round == Round::Down && (a.is_sign_negative() || b.is_sign_negative()) {
        -0.0
    } else {
        sum
    }
}

fn directed_fma(round: Round, ftz: bool) -> Three {
    macro_rules! make {
        ($round:expr, $ftz:expr) => {
            three!(f32, |a, b, c| single(
                sum(input(a, $ftz) * input(b, $ftz), input(c, $ftz), $round),
                $round,
                $ftz
            ))
        };
    }
    for_rounds!(round, ftz, make)
}

fn directed(base: &str, round: Round, ftz: bool) -> Two {
    macro_rules! add {
        ($round:expr, $ftz:expr) => {
            two!(f32, |a, b| single(sum(input(a, $ftz), input(b, $ftz), $round), $round, $ftz))
        };
    }
    macro_rules! sub {
        ($round:expr, $ftz:expr) => {
            two!(f32, |a, b| single(sum(input(a, $ftz), -input(b, $ftz), $round), $round, $ftz))
        };
    }
    macro_rules! mul {
        ($round:expr, $ftz:expr) => {
            two!(f32, |a, b| single(input(a, $ftz) * input(b, $ftz), $round, $ftz))
        };
    }
    macro_rules! div {
        ($round:expr, $ftz:expr) => {
            two!(f32, |a, b| single(odd_quotient(input(a, $ftz), input(b, $ftz)), $round, $ftz))
        };
    }
    match base {
        "add" => for_rounds!(round, ftz, add),
        "sub" => for_rounds!(round, ftz, sub),
        "mul" => for_rounds!(round, ftz, mul),
        _ => for_rounds!(round, ftz, div),
    }
}

fn directed_one(base: &str, round: Round, ftz: bool) -> One {
    macro_rules! rcp {
        ($round:expr, $ftz:expr) => {
            one!(f32, |a| single(odd_quotient(1.0, input(a, $ftz)), $round, $ftz))
        };
    }
    macro_rules! sqrt {
        ($round:expr, $ftz:expr) => {
            one!(f32, |a| single(odd_root(input(a, $ftz)), $round, $ftz))
        };
    }
    if base == "rcp" { for_rounds!(round, ftz, rcp) } else { for_rounds!(round, ftz, sqrt) }
}
