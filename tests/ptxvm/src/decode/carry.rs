//! Arithmetic with a carry from one instruction to the next, of which longer whole numbers are made.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, Op, Register, Three, Two};
use crate::lanes::{one, three, two};

impl<'m> Decoder<'m> {
    /// `add sub mad` with `.cc`, and `addc subc madc`.
    pub(super) fn carry(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        let sets = parts.take("cc");
        let takes = parts.base.ends_with('c');
        let subtracts = parts.base.starts_with("sub");
        let wide = match ty {
            Type::Unsigned(32) | Type::Signed(32) => false,
            Type::Unsigned(64) | Type::Signed(64) => true,
            _ => return parts.refused(),
        };
        let to = self.target(parts)?;
        let (mut a, mut b) = (self.value(parts, 1, ty)?, self.value(parts, 2, ty)?);
        if parts.base.starts_with("mad") {
            let f: Two = match (parts.take("lo"), parts.take("hi"), ty) {
                (true, _, _) if wide => two!(u64, |a, b| a.wrapping_mul(b)),
                (true, _, _) => two!(u32, |a, b| a.wrapping_mul(b)),
                (_, true, Type::Unsigned(64)) => {
                    two!(u64, |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64)
                }
                (_, true, Type::Unsigned(32)) => {
                    two!(u32, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32)
                }
                (_, true, Type::Signed(64)) => {
                    two!(i64, |a, b| ((i128::from(a) * i128::from(b)) >> 64) as i64)
                }
                (_, true, _) => two!(i32, |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32),
                _ => return parts.refused(),
            };
            let product = self.scratch();
            self.emit(Op::Two { f, to: product, a, b }, Class::Alu);
            (a, b) = (product, self.value(parts, 3, ty)?);
        }
        let flag = self.carry_flag();
        let c = if takes { flag } else { self.constant(0) };
        let (result, carried): (Three, Three) = match (subtracts, wide) {
            (false, false) => (
                three!(u32, |a, b, c| a.wrapping_add(b).wrapping_add(c)),
                three!(u32, |a, b, c| ((u64::from(a) + u64::from(b) + u64::from(c)) >> 32) as u32),
            ),
            (false, true) => (
                three!(u64, |a, b, c| a.wrapping_add(b).wrapping_add(c)),
                three!(u64, |a, b, c| ((u128::from(a) + u128::from(b) + u128::from(c)) >> 64) as u64),
            ),
            (true, false) => (
                three!(u32, |a, b, c| a.wrapping_sub(b).wrapping_sub(c)),
                three!(u32, |a, b, c| u32::from(u64::from(a) < u64::from(b) + u64::from(c))),
            ),
            (true, true) => (
                three!(u64, |a, b, c| a.wrapping_sub(b).wrapping_sub(c)),
                three!(u64, |a, b, c| u64::from(u128::from(a) < u128::from(b) + u128::from(c))),
            ),
        };
        // The result may overwrite an operand, so the carry is found first.
        let next = self.scratch();
        if sets {
            self.emit(Op::Three { f: carried, to: next, a, b, c }, Class::Alu);
        }
        self.emit(Op::Three { f: result, to, a, b, c }, Class::Alu);
        if sets {
            self.emit(Op::One { f: one!(u64, |a| a), to: flag, a: next }, Class::Alu);
        }
        Ok(())
    }

    /// The register that holds the carry of every lane.
    fn carry_flag(&mut self) -> Register {
        match self.carry {
            Some(flag) => flag,
            None => {
                let flag = self.scratch();
                self.carry = Some(flag);
                flag
            }
        }
    }
}
