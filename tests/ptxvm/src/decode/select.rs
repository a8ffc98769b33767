//! Comparisons, and choices by them.

use super::arithmetic::Function;
use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, Logic, Op, Test, With};
use crate::lanes::{Brain, Half, Narrow, one, test, three, two};
use crate::numeric::flush;
use crate::ptx::Operand;

const COMPARISONS: [&str; 18] = [
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
    "num", "nan",
];

macro_rules! whole {
    ($t:ty, $name:expr) => {
        match $name {
            "eq" => test!($t, |a, b| a == b),
            "ne" => test!($t, |a, b| a != b),
            "lt" | "lo" => test!($t, |a, b| a < b),
            "le" | "ls" => test!($t, |a, b| a <= b),
            "gt" | "hi" => test!($t, |a, b| a > b),
            "ge" | "hs" => test!($t, |a, b| a >= b),
            _ => return None,
        }
    };
}

/// Floats, of which a function of the stored type gives the value.
macro_rules! float {
    ($t:ty, $value:expr, $name:expr) => {
        match $name {
            "eq" => test!($t, |a, b| $value(a) == $value(b)),
            "ne" => test!($t, |a, b| $value(a) < $value(b) || $value(a) > $value(b)),
            "lt" => test!($t, |a, b| $value(a) < $value(b)),
            "le" => test!($t, |a, b| $value(a) <= $value(b)),
            "gt" => test!($t, |a, b| $value(a) > $value(b)),
            "ge" => test!($t, |a, b| $value(a) >= $value(b)),
            "equ" => test!($t, |a, b| !($value(a) < $value(b) || $value(a) > $value(b))),
            "neu" => test!($t, |a, b| $value(a) != $value(b)),
            "ltu" => test!($t, |a, b| !($value(a) >= $value(b))),
            "leu" => test!($t, |a, b| !($value(a) > $value(b))),
            "gtu" => test!($t, |a, b| !($value(a) <= $value(b))),
            "geu" => test!($t, |a, b| !($value(a) < $value(b))),
            "num" => test!($t, |a, b| $value(a) == $value(a) && $value(b) == $value(b)),
            "nan" => test!($t, |a, b| $value(a) != $value(a) || $value(b) != $value(b)),
            _ => return None,
        }
    };
}

/// A comparison by its name and type.
#[allow(clippy::eq_op, clippy::neg_cmp_op_on_partial_ord, clippy::nonminimal_bool)]
fn comparison(name: &str, ty: Type, ftz: bool) -> Option<Test> {
    let unsigned = matches!(name, "lo" | "ls" | "hi" | "hs");
    fn same<T>(value: T) -> T {
        value
    }
    fn half(bits: u16) -> f64 {
        Half::value(bits.into())
    }
    fn brain(bits: u16) -> f64 {
        Brain::value(bits.into())
    }
    Some(match ty {
        Type::Signed(16) if !unsigned => whole!(i16, name),
        Type::Signed(32) if !unsigned => whole!(i32, name),
        Type::Signed(64) if !unsigned => whole!(i64, name),
        Type::Bits(16) | Type::Unsigned(16) | Type::Signed(16) => whole!(u16, name),
        Type::Bits(32) | Type::Unsigned(32) | Type::Signed(32) => whole!(u32, name),
        Type::Bits(64) | Type::Unsigned(64) | Type::Signed(64) => whole!(u64, name),
        Type::F32 if ftz => float!(f32, flush, name),
        Type::F32 => float!(f32, same, name),
        Type::F64 => float!(f64, same, name),
        Type::F16 => float!(u16, half, name),
        Type::Bf16 => float!(u16, brain, name),
        _ => return None,
    })
}

impl<'m> Decoder<'m> {
    pub(super) fn select(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        match parts.base {
            "selp" => {
                let ty = parts.ty()?;
                let to = self.target(parts)?;
                let (a, b) = (self.value(parts, 1, ty)?, self.value(parts, 2, ty)?);
                let by = self.predicate(parts, 3)?;
                self.emit(Op::Select { to, a, b, by }, Class::Alu);
                Ok(())
            }
            "slct" => {
                let (by, ty) = (parts.ty()?, parts.ty()?);
                parts.ignore(&["ftz"]);
                let f = match by {
                    Type::Signed(32) => three!(u64, u64, i32, |a, b, c| if c >= 0 { a } else { b }),
                    Type::F32 => three!(u64, u64, f32, |a, b, c| if c >= 0.0 { a } else { b }),
                    _ => return parts.refused(),
                };
                self.apply(parts, Function::Three(f), [ty, ty, by], Class::Alu, 0)
            }
            "testp" => {
                let ty = parts.ty()?;
                self.testp(parts, ty)
            }
            _ => self.compare(parts),
        }
    }

    fn testp(&mut self, parts: &mut Parts<'m>, ty: Type) -> Result<()> {
        macro_rules! tests {
            ($t:ty) => {
                parts.take_of::<Test>(&[
                    ("finite", test!($t, |a, _b| a.is_finite())),
                    ("infinite", test!($t, |a, _b| a.is_infinite())),
                    ("number", test!($t, |a, _b| !a.is_nan())),
                    ("notanumber", test!($t, |a, _b| a.is_nan())),
                    ("normal", test!($t, |a, _b| a.is_normal())),
                    ("subnormal", test!($t, |a, _b| a.is_subnormal())),
                ])
            };
        }
        let f = match ty {
            Type::F32 => tests!(f32),
            Type::F64 => tests!(f64),
            _ => None,
        };
        let Some(f) = f else { return parts.refused() };
        let Operand::Name(to) = *parts.operand(0)? else { return parts.wrong(0) };
        let (to, _) = self.predicate_named(to, parts.line)?;
        let a = self.value(parts, 1, ty)?;
        self.emit(Op::Compare { f, to, opposite: None, a, b: a, with: None }, Class::Alu);
        Ok(())
    }

    /// `setp` and `set`.
    fn compare(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        let result = if parts.base == "set" { Some(parts.ty()?) } else { None };
        let ftz = parts.take("ftz");
        if matches!(ty, Type::F16x2 | Type::Bf16x2) {
            return self.compare_pairs(parts, ty, result);
        }
        let logic: Option<Logic> =
            parts.take_of::<Logic>(&[("and", |a, b| a & b), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)]);
        let name = COMPARISONS.iter().find(|name| parts.take(name));
        let Some(f) = name.and_then(|name| comparison(name, ty, ftz)) else { return parts.refused() };
        let (a, b) = (self.value(parts, 1, ty)?, self.value(parts, 2, ty)?);
        let with = match logic {
            Some(f) => Some(With { f, p: self.predicate(parts, 3)? }),
            None => None,
        };
        if let Some(result) = result {
            let p = self.scratch_predicate();
            let to = self.target(parts)?;
            let yes = match result {
                Type::F32 => 0x3f80_0000,
                Type::F16 => 0x3c00,
                Type::Bf16 => 0x3f80,
                Type::Unsigned(32) | Type::Signed(32) => 0xffff_ffff,
                _ => return parts.refused(),
            };
            let (yes, no) = (self.constant(yes), self.constant(0));
            self.emit(Op::Compare { f, to: p, opposite: None, a, b, with }, Class::Alu);
            self.emit(Op::Select { to, a: yes, b: no, by: (p, false) }, Class::Alu);
            return Ok(());
        }
        let (to, opposite) = match *parts.operand(0)? {
            Operand::Name(to) => (to, None),
            Operand::Pair(to, opposite) => (to, Some(opposite)),
            _ => return parts.wrong(0),
        };
        let to = self.sink(to, parts.line)?;
        let opposite = match opposite {
            Some(name) => Some(self.sink(name, parts.line)?),
            None => None,
        };
        self.emit(Op::Compare { f, to, opposite, a, b, with }, Class::Alu);
        Ok(())
    }

    /// Comparisons of both halves: a predicate for each, or what stands for true in each half.
    fn compare_pairs(&mut self, parts: &mut Parts<'m>, ty: Type, result: Option<Type>) -> Result<()> {
        let half = if ty == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        let name = COMPARISONS.iter().find(|name| parts.take(name));
        let Some(f) = name.and_then(|name| comparison(name, half, false)) else { return parts.refused() };
        let (a, b) = (self.value(parts, 1, ty)?, self.value(parts, 2, ty)?);
        let mut passed = [0; 2];
        for (passed, upper) in passed.iter_mut().zip([false, true]) {
            let halves = [self.scratch(), self.scratch()];
            for (to, a) in halves.into_iter().zip([a, b]) {
                let f = if upper { one!(u32, |a| a >> 16) } else { one!(u32, |a| a & 0xffff) };
                self.emit(Op::One { f, to, a }, Class::Alu);
            }
            *passed = self.scratch_predicate();
            let [a, b] = halves;
            self.emit(Op::Compare { f, to: *passed, opposite: None, a, b, with: None }, Class::Alu);
        }
        let Some(result) = result else {
            let Operand::Pair(low, high) = *parts.operand(0)? else { return parts.wrong(0) };
            for (name, passed) in [low, high].into_iter().zip(passed) {
                let (to, a) = (self.sink(name, parts.line)?, (passed, false));
                self.emit(Op::Logic { f: |a, _| a, to, a, b: a }, Class::Alu);
            }
            return Ok(());
        };
        let yes = match result {
            Type::F16x2 => 0x3c00,
            Type::Bf16x2 => 0x3f80,
            Type::Bits(32) | Type::Unsigned(32) | Type::Signed(32) => 0xffff,
            _ => return parts.refused(),
        };
        let to = self.target(parts)?;
        let (low, high, no) = (self.constant(yes), self.constant(yes << 16), self.constant(0));
        let upper = self.scratch();
        self.emit(Op::Select { to: upper, a: high, b: no, by: (passed[1], false) }, Class::Alu);
        self.emit(Op::Select { to, a: low, b: no, by: (passed[0], false) }, Class::Alu);
        self.emit(Op::Two { f: two!(u64, |a, b| a | b), to, a: to, b: upper }, Class::Alu);
        Ok(())
    }

    /// A predicate that is written, or one that nobody reads for `_`.
    pub(super) fn sink(&mut self, name: &'m str, line: u32) -> Result<u32> {
        if name == "_" { Ok(self.scratch_predicate()) } else { Ok(self.predicate_named(name, line)?.0) }
    }
}
