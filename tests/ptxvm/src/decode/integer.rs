//! Bits: logic, shifts, fields, permutations, counts, and dot products of bytes.

use super::arithmetic::Function;
use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, Logic, Op, Three, Two};
use crate::lanes::{one, three, two};
use crate::ptx::Operand;

const B32: Type = Type::Bits(32);

impl<'m> Decoder<'m> {
    pub(super) fn integer(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        match parts.base {
            "shf" => return self.funnel(parts),
            "prmt" => return self.permute(parts),
            "lop3" => return self.lop3(parts),
            "dp4a" => return self.dot(parts),
            "dp2a" => return self.dot_of_pairs(parts),
            _ => {}
        }
        let ty = parts.ty()?;
        let bits = ty.bits();
        let mut types = [ty; 3];
        if ty == Type::Predicate {
            let f: Logic = match parts.base {
                "and" => |a, b| a & b,
                "or" => |a, b| a | b,
                "xor" => |a, b| a ^ b,
                "not" => |a, _| !a,
                _ => return parts.refused(),
            };
            let (to, _) = match parts.operand(0)? {
                Operand::Name(name) => self.predicate_named(name, parts.line)?,
                _ => return parts.wrong(0),
            };
            let a = self.predicate(parts, 1)?;
            let b = if parts.base == "not" { a } else { self.predicate(parts, 2)? };
            self.emit(Op::Logic { f, to, a, b }, Class::Alu);
            return Ok(());
        }
        let low = matches!(parts.base, "mul24" | "mad24") && parts.take("lo");
        let function = match parts.base {
            "and" => Function::Two(two!(u64, |a, b| a & b)),
            "or" => Function::Two(two!(u64, |a, b| a | b)),
            "xor" => Function::Two(two!(u64, |a, b| a ^ b)),
            "not" => Function::One(match bits {
                16 => one!(u16, |a| !a),
                32 => one!(u32, |a| !a),
                _ => one!(u64, |a| !a),
            }),
            "cnot" => Function::One(one!(u64, |a| u64::from(a == 0))),
            "shl" | "shr" => {
                types[1] = B32;
                Function::Two(match (parts.base, ty.is_signed(), bits) {
                    ("shl", _, 16) => two!(u16, u32, |a, b| if b > 15 { 0 } else { a << b }),
                    ("shl", _, 32) => two!(u32, u32, |a, b| if b > 31 { 0 } else { a << b }),
                    ("shl", _, _) => two!(u64, u32, |a, b| if b > 63 { 0 } else { a << b }),
                    (_, false, 16) => two!(u16, u32, |a, b| if b > 15 { 0 } else { a >> b }),
                    (_, false, 32) => two!(u32, u32, |a, b| if b > 31 { 0 } else { a >> b }),
                    (_, false, _) => two!(u64, u32, |a, b| if b > 63 { 0 } else { a >> b }),
                    (_, true, 16) => two!(i16, u32, |a, b| a >> b.min(15)),
                    (_, true, 32) => two!(i32, u32, |a, b| a >> b.min(31)),
                    (_, true, _) => two!(i64, u32, |a, b| a >> b.min(63)),
                })
            }
            "popc" => Function::One(one!(u64, |a| a.count_ones())),
            "clz" if bits == 32 => Function::One(one!(u32, |a| a.leading_zeros())),
            "clz" => Function::One(one!(u64, |a| a.leading_zeros())),
            "brev" if bits == 32 => Function::One(one!(u32, |a| a.reverse_bits())),
            "brev" => Function::One(one!(u64, |a| a.reverse_bits())),
            "bfind" => {
                let amount = parts.take("shiftamt");
                Function::One(match (ty, amount) {
                    (Type::Unsigned(32), false) => one!(u32, |a| 31u32.wrapping_sub(a.leading_zeros())),
                    (Type::Unsigned(32), true) => one!(u32, |a| if a == 0 { !0 } else { a.leading_zeros() }),
                    (Type::Signed(32), false) => {
                        one!(i32, |a| 31u32.wrapping_sub((a ^ (a >> 31)).leading_zeros()))
                    }
                    (Type::Unsigned(64), false) => one!(u64, |a| 63u32.wrapping_sub(a.leading_zeros())),
                    (Type::Unsigned(64), true) => one!(u64, |a| if a == 0 { !0 } else { a.leading_zeros() }),
                    (Type::Signed(64), false) => {
                        one!(i64, |a| 63u32.wrapping_sub((a ^ (a >> 63)).leading_zeros()))
                    }
                    _ => return parts.refused(),
                })
            }
            "bfe" => {
                (types[1], types[2]) = (B32, B32);
                Function::Three(match ty {
                    Type::Unsigned(32) => {
                        three!(u32, |a, b, c| extract(a.into(), b, c, 32, false) as u32)
                    }
                    Type::Signed(32) => three!(u32, |a, b, c| extract(a.into(), b, c, 32, true) as u32),
                    Type::Unsigned(64) => three!(u64, u32, u32, |a, b, c| extract(a, b, c, 64, false)),
                    Type::Signed(64) => three!(u64, u32, u32, |a, b, c| extract(a, b, c, 64, true)),
                    _ => return parts.refused(),
                })
            }
            "bfi" => return self.insert(parts, ty),
            "mul24" if low => Function::Two(match ty {
                Type::Unsigned(32) => two!(u32, |a, b| (a << 8 >> 8).wrapping_mul(b << 8 >> 8)),
                _ => two!(i32, |a, b| (a << 8 >> 8).wrapping_mul(b << 8 >> 8)),
            }),
            "mad24" if low => Function::Three(match ty {
                Type::Unsigned(32) => {
                    three!(u32, |a, b, c| (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c))
                }
                _ => three!(i32, |a, b, c| (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c)),
            }),
            "sad" => Function::Three(match ty {
                Type::Unsigned(32) => three!(u32, |a, b, c| a.abs_diff(b).wrapping_add(c)),
                Type::Signed(32) => three!(i32, i32, u32, |a, b, c| a.abs_diff(b).wrapping_add(c)),
                _ => return parts.refused(),
            }),
            _ => return parts.refused(),
        };
        self.apply(parts, function, types, Class::Alu, 0)
    }

    fn funnel(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let _ = parts.ty()?;
        let left = parts.take_of(&[("l", true), ("r", false)]);
        let clamp = parts.take_of(&[("clamp", true), ("wrap", false)]);
        fn joined(a: u32, b: u32) -> u64 {
            (u64::from(b) << 32) | u64::from(a)
        }
        let f: Three = match (left, clamp) {
            (Some(true), Some(true)) => {
                three!(u32, |a, b, c| if c > 31 { a } else { ((joined(a, b) << c) >> 32) as u32 })
            }
            (Some(true), Some(false)) => three!(u32, |a, b, c| ((joined(a, b) << (c & 31)) >> 32) as u32),
            (Some(false), Some(true)) => {
                three!(u32, |a, b, c| if c > 31 { b } else { (joined(a, b) >> c) as u32 })
            }
            (Some(false), Some(false)) => three!(u32, |a, b, c| (joined(a, b) >> (c & 31)) as u32),
            _ => return parts.refused(),
        };
        self.apply(parts, Function::Three(f), [B32; 3], Class::Alu, 0)
    }

    fn permute(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let mode = parts.take_of(&[("f4e", 0), ("b4e", 1), ("rc8", 2), ("ecl", 3), ("ecr", 4), ("rc16", 5)]);
        let _ = parts.ty()?;
        fn bytes(a: u32, b: u32, picks: [u32; 4]) -> u32 {
            let all = (u64::from(b) << 32) | u64::from(a);
            (0..4).fold(0, |out, i| out | ((((all >> (8 * picks[i])) & 255) as u32) << (8 * i)))
        }
        // Each nibble picks a byte, or with its top bit the byte's sign eight times.
        fn index(a: u32, b: u32, c: u32) -> u32 {
            let picked = bytes(a, b, [c & 7, (c >> 4) & 7, (c >> 8) & 7, (c >> 12) & 7]);
            (0..4).fold(0, |out, i| {
                let byte = (picked >> (8 * i)) & 255;
                let byte = match (c >> (4 * i)) & 8 {
                    0 => byte,
                    _ => (byte >> 7) * 255,
                };
                out | (byte << (8 * i))
            })
        }
        let f: Three = match mode {
            None => three!(u32, |a, b, c| index(a, b, c)),
            Some(0) => three!(u32, |a, b, c| {
                let s = c & 3;
                bytes(a, b, [s, s + 1, s + 2, s + 3])
            }),
            Some(1) => three!(u32, |a, b, c| {
                let s = c & 3;
                bytes(a, b, [s, (s + 7) & 7, (s + 6) & 7, (s + 5) & 7])
            }),
            Some(2) => three!(u32, |a, b, c| bytes(a, b, [c & 3; 4])),
            Some(3) => three!(u32, |a, b, c| {
                let s = c & 3;
                bytes(a, b, [s, s.max(1), s.max(2), 3])
            }),
            Some(4) => three!(u32, |a, b, c| {
                let s = c & 3;
                bytes(a, b, [0, s.min(1), s.min(2), s])
            }),
            _ => three!(u32, |a, b, c| {
                let s = (c & 1) * 2;
                bytes(a, b, [s, s + 1, s, s + 1])
            }),
        };
        self.apply(parts, Function::Three(f), [B32; 3], Class::Alu, 0)
    }

    /// Any function of three bits, by its table.
    fn lop3(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let _ = parts.ty()?;
        let Operand::Integer(table) = *parts.operand(4)? else { return parts.wrong(4) };
        let to = self.target(parts)?;
        let (a, b, c) = (self.value(parts, 1, B32)?, self.value(parts, 2, B32)?, self.value(parts, 3, B32)?);
        let table = self.constant(table as u64 & 255);
        // The table is carried in the upper half of the third operand.
        let carried = self.scratch();
        let join: Two = two!(u64, |c, table| (c & 0xffff_ffff) | (table << 32));
        self.emit(Op::Two { f: join, to: carried, a: c, b: table }, Class::Alu);
        let f: Three = three!(u32, u32, u64, |a, b, packed| {
            let (c, table) = (packed as u32, (packed >> 32) as u32);
            let mut out = 0u32;
            for row in 0..8 {
                let term = (if row & 4 != 0 { a } else { !a })
                    & (if row & 2 != 0 { b } else { !b })
                    & (if row & 1 != 0 { c } else { !c });
                out |= term & ((table >> row) & 1).wrapping_neg();
            }
            out
        });
        self.emit(Op::Three { f, to, a, b, c: carried }, Class::Alu);
        Ok(())
    }

    fn insert(&mut self, parts: &mut Parts<'m>, ty: Type) -> Result<()> {
        let to = self.target(parts)?;
        let (a, b) = (self.value(parts, 1, ty)?, self.value(parts, 2, ty)?);
        let (start, length) = (self.value(parts, 3, B32)?, self.value(parts, 4, B32)?);
        let field = self.scratch();
        let pack: Two = two!(u32, |start, length| u64::from(start & 255) | (u64::from(length & 255) << 8));
        self.emit(Op::Two { f: pack, to: field, a: start, b: length }, Class::Alu);
        let f: Three = match ty.bits() {
            32 => three!(u32, u32, u32, |a, b, field| inserted(a.into(), b.into(), field, 32) as u32),
            64 => three!(u64, u64, u32, |a, b, field| inserted(a, b, field, 64)),
            _ => return parts.refused(),
        };
        self.emit(Op::Three { f, to, a, b, c: field }, Class::Alu);
        Ok(())
    }

    fn dot(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let (b, a) = (parts.ty()?, parts.ty()?);
        fn sum(a: u32, b: u32, c: u32, signed: [bool; 2]) -> u32 {
            let byte = |v: u32, i: u32, signed: bool| {
                let byte = (v >> (8 * i)) as u8;
                if signed { i32::from(byte as i8) } else { i32::from(byte) }
            };
            (0..4).fold(c, |sum, i| sum.wrapping_add((byte(a, i, signed[0]) * byte(b, i, signed[1])) as u32))
        }
        let f: Three = match (a.is_signed(), b.is_signed()) {
            (true, true) => three!(u32, |a, b, c| sum(a, b, c, [true, true])),
            (true, false) => three!(u32, |a, b, c| sum(a, b, c, [true, false])),
            (false, true) => three!(u32, |a, b, c| sum(a, b, c, [false, true])),
            (false, false) => three!(u32, |a, b, c| sum(a, b, c, [false, false])),
        };
        self.apply(parts, Function::Three(f), [B32; 3], Class::Alu, 0)
    }

    /// Two 16-bit factors with two bytes: the lower or the upper ones of the second operand.
    fn dot_of_pairs(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let (b, a) = (parts.ty()?, parts.ty()?);
        let Some(upper) = parts.take_of(&[("lo", false), ("hi", true)]) else { return parts.refused() };
        fn sum(a: u32, b: u32, c: u32, upper: bool, signed: [bool; 2]) -> u32 {
            (0..2).fold(c, |sum, i| {
                let (half, byte) =
                    ((a >> (16 * i)) as u16, (b >> (8 * i + if upper { 16 } else { 0 })) as u8);
                let half = if signed[0] { i32::from(half as i16) } else { half.into() };
                let byte = if signed[1] { i32::from(byte as i8) } else { byte.into() };
                sum.wrapping_add((half * byte) as u32)
            })
        }
        let f: Three = match (upper, a.is_signed(), b.is_signed()) {
            (false, false, false) => three!(u32, |a, b, c| sum(a, b, c, false, [false, false])),
            (false, false, true) => three!(u32, |a, b, c| sum(a, b, c, false, [false, true])),
            (false, true, false) => three!(u32, |a, b, c| sum(a, b, c, false, [true, false])),
            (false, true, true) => three!(u32, |a, b, c| sum(a, b, c, false, [true, true])),
            (true, false, false) => three!(u32, |a, b, c| sum(a, b, c, true, [false, false])),
            (true, false, true) => three!(u32, |a, b, c| sum(a, b, c, true, [false, true])),
            (true, true, false) => three!(u32, |a, b, c| sum(a, b, c, true, [true, false])),
            (true, true, true) => three!(u32, |a, b, c| sum(a, b, c, true, [true, true])),
        };
        self.apply(parts, Function::Three(f), [B32; 3], Class::Alu, 0)
    }
}

/// `bfe`: a field of bits; beyond the top the sign goes on, or zeros.
fn extract(a: u64, start: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let (start, length) = (start & 255, length & 255);
    let top = bits - 1;
    let sign = if !signed || length == 0 { 0 } else { (a >> (start + length - 1).min(top)) & 1 };
    (0..bits).fold(0, |out, i| {
        let bit = if i < length && start + i <= top { (a >> (start + i)) & 1 } else { sign };
        out | (bit << i)
    })
}

/// `bfi`: the low bits of `a` over a field of `b`.
fn inserted(a: u64, b: u64, field: u32, bits: u32) -> u64 {
    let (start, length) = (field & 255, (field >> 8) & 255);
    if start >= bits {
        return b;
    }
    let mask = (if length >= 64 { u64::MAX } else { (1 << length) - 1 }) << start;
    (b & !mask) | ((a << start) & mask)
}
