//! Moves and conversions.
//!
//! A conversion that has no function of its own goes through f64: the source's value, exact or rounded to odd, is
//! rounded once to the result.

use super::arithmetic::saturate;
use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, LOCAL_WINDOW, One, Op, Register, SHARED_WINDOW, Test, WINDOW_BYTES};
use crate::lanes::{Brain, Half, Lane, Narrow, one, test, two};
use crate::numeric::{BF16, F16, F32, Format, Round, canonical, flush, narrow, odd_sum};
use crate::ptx::Operand;

/// Sign extension from n bits to m.
macro_rules! sign {
    ($from:ty, $to:ty) => {
        one!($from, |a| a as $to)
    };
}

impl<'m> Decoder<'m> {
    pub(super) fn convert(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        match parts.base {
            "mov" => self.mov(parts),
            "cvt" => self.cvt(parts),
            "cvta" => self.cvta(parts),
            _ => self.isspacep(parts),
        }
    }

    fn mov(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        if ty == Type::Predicate {
            let Operand::Name(to) = *parts.operand(0)? else { return parts.wrong(0) };
            let (to, _) = self.predicate_named(to, parts.line)?;
            let a = self.predicate(parts, 1)?;
            self.emit(Op::Logic { f: |a, _| a, to, a, b: a }, Class::Alu);
            return Ok(());
        }
        if let Operand::Vector(list) = parts.operand(0)? {
            let bits = ty.bits() / list.len() as u32;
            let a = self.value(parts, 1, ty)?;
            let mut to = Vec::new();
            for operand in list {
                to.push(match operand {
                    Operand::Name("_") => None,
                    _ => Some(self.target_of(parts, operand)?.0),
                });
            }
            self.emit(Op::Unpack { to, a, bits }, Class::Alu);
            return Ok(());
        }
        let to = self.target(parts)?;
        match parts.operand(1)? {
            Operand::Vector(list) => {
                let bits = ty.bits() / list.len() as u32;
                let mut from = Vec::new();
                for operand in list {
                    from.push(self.value_of(parts, operand, Type::Bits(bits))?);
                }
                self.emit(Op::Pack { to, parts: from, bits }, Class::Alu);
            }
            Operand::Name("%clock" | "%clock_hi" | "%globaltimer_lo") => {
                self.emit(Op::Clock { to, wide: false }, Class::Other)
            }
            Operand::Name("%clock64" | "%globaltimer") => {
                self.emit(Op::Clock { to, wide: true }, Class::Other)
            }
            _ => {
                let a = self.value(parts, 1, ty)?;
                self.emit(Op::One { f: one!(u64, |a| a), to, a }, Class::Alu);
            }
        }
        Ok(())
    }

    fn cvta(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        let to_space = parts.take("to");
        parts.ignore(&["shared::cta"]);
        let window = match parts.take_of(&[
            ("global", 0),
            ("const", 0),
            ("shared", SHARED_WINDOW),
            ("local", LOCAL_WINDOW),
        ]) {
            Some(window) => window,
            None if parts.instruction.opcode.contains("shared::cta") => SHARED_WINDOW,
            None => return parts.refused(),
        };
        let to = self.target(parts)?;
        let a = self.value(parts, 1, ty)?;
        if window == 0 {
            self.emit(Op::One { f: one!(u64, |a| a), to, a }, Class::Alu);
            return Ok(());
        }
        let b = self.constant(if to_space { window.wrapping_neg() } else { window });
        self.emit(Op::Two { f: two!(u64, |a, b| a.wrapping_add(b)), to, a, b }, Class::Alu);
        Ok(())
    }

    fn isspacep(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let inside = |window: u64| window..window + WINDOW_BYTES;
        let _ = inside;
        let Some(f) = parts.take_of::<Test>(&[
            ("shared", test!(u64, |a, _b| (SHARED_WINDOW..SHARED_WINDOW + WINDOW_BYTES).contains(&a))),
            ("local", test!(u64, |a, _b| (LOCAL_WINDOW..LOCAL_WINDOW + WINDOW_BYTES).contains(&a))),
            ("global", test!(u64, |a, _b| a < SHARED_WINDOW)),
        ]) else {
            return parts.refused();
        };
        let Operand::Name(to) = *parts.operand(0)? else { return parts.wrong(0) };
        let (to, _) = self.predicate_named(to, parts.line)?;
        let a = self.value(parts, 1, Type::Bits(64))?;
        self.emit(Op::Compare { f, to, opposite: None, a, b: a, with: None }, Class::Alu);
        Ok(())
    }

    fn cvt(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let from = parts.ty()?;
        let to_type = parts.ty()?;
        let ftz = parts.take("ftz");
        let saturated = parts.take("sat");
        let relu = parts.take("relu");
        let whole = parts.take_of(&[
            ("rni", Round::Nearest),
            ("rzi", Round::Zero),
            ("rmi", Round::Down),
            ("rpi", Round::Up),
        ]);
        let round = parts
            .take_of(&[
                ("rna", Round::Away),
                ("rn", Round::Nearest),
                ("rz", Round::Zero),
                ("rm", Round::Down),
                ("rp", Round::Up),
            ])
            .unwrap_or(Round::Nearest);
        if matches!(to_type, Type::F16x2 | Type::Bf16x2) {
            return self.cvt_pair(parts, to_type, round, relu);
        }
        let operand = parts.operand(0)?;
        let (to, bytes) = self.target_of(parts, operand)?;
        let a = self.value(parts, 1, from)?;
        match (from.is_integer(), to_type.is_integer()) {
            (true, true) => self.between_integers(parts, from, to_type, bytes * 8, saturated, (to, a))?,
            (true, false) => {
                let fast: Option<One> = match (from, to_type, round) {
                    (Type::Signed(32), Type::F32, Round::Nearest) => Some(one!(i32, |a| a as f32)),
                    (Type::Unsigned(32), Type::F32, Round::Nearest) => Some(one!(u32, |a| a as f32)),
                    (Type::Signed(64), Type::F32, Round::Nearest) => Some(one!(i64, |a| a as f32)),
                    (Type::Unsigned(64), Type::F32, Round::Nearest) => Some(one!(u64, |a| a as f32)),
                    (Type::Signed(64), Type::F64, Round::Nearest) => Some(one!(i64, |a| a as f64)),
                    (Type::Unsigned(64), Type::F64, Round::Nearest) => Some(one!(u64, |a| a as f64)),
                    _ => None,
                };
                match fast {
                    Some(f) => self.emit(Op::One { f, to, a }, Class::Alu),
                    None => self.through_double(parts, from, to_type, round, (to, a))?,
                }
            }
            (false, true) => {
                let Some(round) = whole else { return parts.refused() };
                let mut a = a;
                if ftz {
                    let flushed = self.scratch();
                    self.emit(Op::One { f: one!(f32, |a| flush(a)), to: flushed, a }, Class::Alu);
                    a = flushed;
                }
                let fast: Option<One> = match (from, to_type, round) {
                    (Type::F32, Type::Signed(32), Round::Zero) => Some(one!(f32, |a| a as i32)),
                    (Type::F32, Type::Unsigned(32), Round::Zero) => Some(one!(f32, |a| a as u32)),
                    _ => None,
                };
                match fast {
                    Some(f) => self.emit(Op::One { f, to, a }, Class::Alu),
                    None => {
                        let middle = self.scratch();
                        let Some(f) = to_double(from) else { return parts.refused() };
                        self.emit(Op::One { f, to: middle, a }, Class::Alu);
                        self.emit(Op::One { f: rounded(round), to: middle, a: middle }, Class::Alu);
                        let Some(f) = integer_of(to_type, bytes * 8) else { return parts.refused() };
                        self.emit(Op::One { f, to, a: middle }, Class::Alu);
                    }
                }
            }
            (false, false) => {
                let mut a = a;
                if ftz && from == Type::F32 {
                    let flushed = self.scratch();
                    self.emit(Op::One { f: one!(f32, |a| flush(a)), to: flushed, a }, Class::Alu);
                    a = flushed;
                }
                if let Some(round) = whole {
                    let middle = self.scratch();
                    let Some(f) = to_double(from) else { return parts.refused() };
                    self.emit(Op::One { f, to: middle, a }, Class::Alu);
                    self.emit(Op::One { f: rounded(round), to: middle, a: middle }, Class::Alu);
                    let Some(f) = from_double(to_type, Round::Nearest) else { return parts.refused() };
                    self.emit(Op::One { f, to, a: middle }, Class::Alu);
                } else {
                    let fast: Option<One> = match (from, to_type) {
                        (Type::F32, Type::F32) => Some(one!(f32, |a| canonical(a))),
                        (Type::F16, Type::F32) => {
                            Some(one!(u16, |a| canonical(Half::value(a.into()) as f32)))
                        }
                        (Type::Bf16, Type::F32) => {
                            Some(one!(u16, |a| canonical(f32::from_bits(u32::from(a) << 16))))
                        }
                        (Type::F32, Type::Bf16) if round == Round::Nearest => Some(one!(f32, |a| brain(a))),
                        _ => None,
                    };
                    match fast {
                        Some(f) => self.emit(Op::One { f, to, a }, Class::Alu),
                        None => self.through_double(parts, from, to_type, round, (to, a))?,
                    }
                }
                if ftz && to_type == Type::F32 && from == Type::F64 {
                    self.emit(Op::One { f: one!(f32, |a| flush(a)), to, a: to }, Class::Alu);
                }
            }
        }
        if saturated && !to_type.is_integer() {
            let f: One = match to_type {
                Type::F32 => one!(f32, |a| saturate(a)),
                Type::F64 => one!(f64, |a| if a > 0.0 { a.min(1.0) } else { 0.0 }),
                Type::F16 => one!(u16, |a| Half::round(saturate(Half::value(a.into()) as f32).into()) as u16),
                _ => return parts.refused(),
            };
            self.emit(Op::One { f, to, a: to }, Class::Alu);
        }
        if relu {
            let f: One = match to_type {
                Type::F16 | Type::Bf16 => one!(u16, |a| if a & 0x8000 != 0 { 0u16 } else { a }),
                Type::Tf32 => one!(u32, |a| if a >> 31 != 0 { 0u32 } else { a }),
                _ => return parts.refused(),
            };
            self.emit(Op::One { f, to, a: to }, Class::Alu);
        }
        Ok(())
    }

    fn through_double(
        &mut self,
        parts: &Parts<'m>,
        from: Type,
        to_type: Type,
        round: Round,
        (to, a): (Register, Register),
    ) -> Result<()> {
        let middle = self.scratch();
        let (Some(there), Some(back)) = (to_double(from), from_double(to_type, round)) else {
            return parts.refused();
        };
        self.emit(Op::One { f: there, to: middle, a }, Class::Alu);
        self.emit(Op::One { f: back, to, a: middle }, Class::Alu);
        Ok(())
    }

    /// Two floats become the halves of a register, the first the upper one.
    fn cvt_pair(&mut self, parts: &mut Parts<'m>, to_type: Type, round: Round, relu: bool) -> Result<()> {
        let to = self.target(parts)?;
        let (a, b) = (self.value(parts, 1, Type::F32)?, self.value(parts, 2, Type::F32)?);
        fn both(a: f32, b: f32, format: Format, round: Round) -> u32 {
            ((narrow(a.into(), format, round) << 16) | narrow(b.into(), format, round)) as u32
        }
        let f = match (to_type, round) {
            (Type::Bf16x2, Round::Nearest) => {
                two!(f32, |a, b| (u32::from(brain(a)) << 16) | u32::from(brain(b)))
            }
            (Type::Bf16x2, Round::Zero) => two!(f32, |a, b| both(a, b, BF16, Round::Zero)),
            (Type::F16x2, Round::Nearest) => two!(f32, |a, b| both(a, b, F16, Round::Nearest)),
            (Type::F16x2, Round::Zero) => two!(f32, |a, b| both(a, b, F16, Round::Zero)),
            _ => return parts.refused(),
        };
        self.emit(Op::Two { f, to, a, b }, Class::Alu);
        if relu {
            let f = one!(u32, |a| {
                let low = if a & 0x8000 != 0 { 0 } else { a & 0xffff };
                low | if a >> 31 != 0 { 0 } else { a & 0xffff_0000 }
            });
            self.emit(Op::One { f, to, a: to }, Class::Alu);
        }
        Ok(())
    }

    fn between_integers(
        &mut self,
        parts: &Parts<'m>,
        from: Type,
        to_type: Type,
        register: u32,
        saturated: bool,
        (to, a): (Register, Register),
    ) -> Result<()> {
        if saturated {
            let middle = self.scratch();
            let Some(f) = (if from.is_signed() { signed(from.bits(), 64) } else { Some(zeros(from.bits())) })
            else {
                return parts.refused();
            };
            self.emit(Op::One { f, to: middle, a }, Class::Alu);
            let f: One = match (from.is_signed(), to_type) {
                (true, Type::Signed(8)) => one!(i64, |a| a.clamp(-128, 127) as i32),
                (true, Type::Signed(16)) => one!(i64, |a| a.clamp(-32768, 32767) as i32),
                (true, Type::Signed(32)) => one!(i64, |a| a.clamp(i32::MIN.into(), i32::MAX.into()) as i32),
                (true, Type::Unsigned(8)) => one!(i64, |a| a.clamp(0, 255) as u32),
                (true, Type::Unsigned(16)) => one!(i64, |a| a.clamp(0, 65535) as u32),
                (true, Type::Unsigned(32)) => one!(i64, |a| a.clamp(0, u32::MAX.into()) as u32),
                (true, Type::Unsigned(64)) => one!(i64, |a| a.max(0)),
                (false, Type::Signed(8)) => one!(u64, |a| a.min(127)),
                (false, Type::Signed(16)) => one!(u64, |a| a.min(32767)),
                (false, Type::Signed(32)) => one!(u64, |a| a.min(i32::MAX as u64)),
                (false, Type::Signed(64)) => one!(u64, |a| a.min(i64::MAX as u64)),
                (false, Type::Unsigned(8)) => one!(u64, |a| a.min(255)),
                (false, Type::Unsigned(16)) => one!(u64, |a| a.min(65535)),
                (false, Type::Unsigned(32)) => one!(u64, |a| a.min(u32::MAX.into())),
                _ => one!(u64, |a| a),
            };
            self.emit(Op::One { f, to, a: middle }, Class::Alu);
            if register < 32 {
                self.emit(Op::One { f: zeros(register), to, a: to }, Class::Alu);
            }
            return Ok(());
        }
        let (n, t) = (from.bits(), to_type.bits());
        let f = if n >= t {
            if to_type.is_signed() { signed(t, register.max(t)) } else { Some(zeros(t)) }
        } else if !from.is_signed() {
            Some(zeros(n))
        } else if to_type.is_signed() {
            signed(n, register.max(t))
        } else {
            signed(n, t)
        };
        let Some(f) = f else { return parts.refused() };
        self.emit(Op::One { f, to, a }, Class::Alu);
        Ok(())
    }
}

/// f32 → bf16, to nearest even.
#[inline]
fn brain(a: f32) -> u16 {
    let bits = a.to_bits();
    if a.is_nan() { 0x7fff } else { ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16 }
}

fn zeros(bits: u32) -> One {
    match bits {
        8 => one!(u8, |a| a),
        16 => one!(u16, |a| a),
        32 => one!(u32, |a| a),
        _ => one!(u64, |a| a),
    }
}

fn signed(from: u32, to: u32) -> Option<One> {
    Some(match (from, to) {
        (8, 8) => sign!(u8, u8),
        (8, 16) => sign!(i8, i16),
        (8, 32) => sign!(i8, i32),
        (8, 64) => sign!(i8, i64),
        (16, 16) => sign!(u16, u16),
        (16, 32) => sign!(i16, i32),
        (16, 64) => sign!(i16, i64),
        (32, 32) => sign!(u32, u32),
        (32, 64) => sign!(i32, i64),
        (64, 64) => sign!(u64, u64),
        _ => return None,
    })
}

/// A source's value; of 64-bit integers, rounded to odd.
fn to_double(from: Type) -> Option<One> {
    Some(match from {
        Type::Unsigned(8) => one!(u8, |a| f64::from(a)),
        Type::Unsigned(16) => one!(u16, |a| f64::from(a)),
        Type::Unsigned(32) => one!(u32, |a| f64::from(a)),
        Type::Signed(8) => one!(i8, |a| f64::from(a)),
        Type::Signed(16) => one!(i16, |a| f64::from(a)),
        Type::Signed(32) => one!(i32, |a| f64::from(a)),
        Type::Unsigned(64) => {
            one!(u64, |a| odd_sum((a >> 32) as f64 * 4294967296.0, f64::from(a as u32)))
        }
        Type::Signed(64) => {
            one!(i64, |a| odd_sum((a >> 32) as f64 * 4294967296.0, f64::from(a as u32)))
        }
        Type::F16 => one!(u16, |a| Half::value(a.into())),
        Type::Bf16 => one!(u16, |a| Brain::value(a.into())),
        Type::F32 => one!(f32, |a| f64::from(a)),
        Type::F64 => one!(f64, |a| a),
        _ => return None,
    })
}

macro_rules! narrowed {
    ($t:ty, $format:expr, $round:expr, $shift:expr) => {
        match $round {
            Round::Nearest => one!(f64, |a| (narrow(a, $format, Round::Nearest) << $shift) as $t),
            Round::Zero => one!(f64, |a| (narrow(a, $format, Round::Zero) << $shift) as $t),
            Round::Down => one!(f64, |a| (narrow(a, $format, Round::Down) << $shift) as $t),
            Round::Up => one!(f64, |a| (narrow(a, $format, Round::Up) << $shift) as $t),
            Round::Away => one!(f64, |a| (narrow(a, $format, Round::Away) << $shift) as $t),
        }
    };
}

/// tf32 lies in the upper 19 bits of a register.
const TF32: Format = Format { exponent: 8, mantissa: 10 };

fn from_double(to: Type, round: Round) -> Option<One> {
    Some(match to {
        Type::F16 => narrowed!(u16, F16, round, 0),
        Type::Bf16 => narrowed!(u16, BF16, round, 0),
        Type::F32 => narrowed!(u32, F32, round, 0),
        Type::Tf32 => narrowed!(u32, TF32, round, 13),
        Type::F64 => one!(f64, |a| a),
        _ => return None,
    })
}

/// To a whole number, in f64.
fn rounded(round: Round) -> One {
    match round {
        Round::Nearest => one!(f64, |a| a.round_ties_even()),
        Round::Zero => one!(f64, |a| a.trunc()),
        Round::Down => one!(f64, |a| a.floor()),
        Round::Up => one!(f64, |a| a.ceil()),
        Round::Away => one!(f64, |a| a.round()),
    }
}

/// A whole number as an integer, clamped to its range; NaN gives 0.
fn integer_of(to: Type, register: u32) -> Option<One> {
    Some(match (to, register) {
        (Type::Unsigned(8), _) => one!(f64, |a| a as u8),
        (Type::Signed(8), 16) => one!(f64, |a| i16::from(a as i8)),
        (Type::Signed(8), 32) => one!(f64, |a| i32::from(a as i8)),
        (Type::Unsigned(16), _) => one!(f64, |a| a as u16),
        (Type::Signed(16), 16) => one!(f64, |a| a as i16),
        (Type::Signed(16), 32) => one!(f64, |a| i32::from(a as i16)),
        (Type::Unsigned(32), _) => one!(f64, |a| a as u32),
        (Type::Signed(32), 32) => one!(f64, |a| a as i32),
        (Type::Signed(32), 64) => one!(f64, |a| i64::from(a as i32)),
        (Type::Unsigned(64), _) => one!(f64, |a| a as u64),
        (Type::Signed(64), _) => one!(f64, |a| Lane::bits(a as i64)),
        _ => return None,
    })
}
