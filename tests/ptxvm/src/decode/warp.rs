//! Barriers, fences, and what lanes of a warp tell each other.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{BarrierKind, Class, Op, Shuffle, ShuffleKind, Vote};
use crate::ptx::Operand;

const B32: Type = Type::Bits(32);

impl<'m> Decoder<'m> {
    pub(super) fn warp(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        match parts.base {
            "bar" | "barrier" => self.barrier(parts),
            "membar" | "fence" => {
                if parts.instruction.opcode.contains("proxy") || parts.instruction.opcode.contains("cluster")
                {
                    return parts.refused();
                }
                parts.ignore(&["cta", "gl", "gpu", "sys", "sc", "acq_rel", "acquire", "release"]);
                self.emit(Op::Nothing, Class::Barrier);
                Ok(())
            }
            "nanosleep" => {
                let _ = parts.ty()?;
                self.emit(Op::Nothing, Class::Other);
                Ok(())
            }
            "shfl" => self.shuffle(parts),
            "vote" => self.vote(parts),
            "match" => self.matching(parts),
            "activemask" => {
                let _ = parts.ty()?;
                let to = self.target(parts)?;
                self.emit(Op::ActiveMask { to }, Class::Other);
                Ok(())
            }
            "redux" => self.reduce(parts),
            _ => {
                parts.ignore(&["sync"]);
                let Operand::Pair(to, p) = *parts.operand(0)? else { return parts.wrong(0) };
                let to = self.target_of(parts, &Operand::Name(to))?.0;
                let to_predicate = self.sink(p, parts.line)?;
                let mask = self.value(parts, 1, B32)?;
                self.emit(Op::Elect { to, to_predicate, mask }, Class::Other);
                Ok(())
            }
        }
    }

    fn barrier(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        if parts.take("warp") {
            parts.ignore(&["sync"]);
            let mask = self.value(parts, 0, B32)?;
            self.emit(Op::WarpBarrier { mask }, Class::Barrier);
            return Ok(());
        }
        if parts.instruction.opcode.contains("cluster") {
            return parts.refused();
        }
        parts.ignore(&["cta", "aligned"]);
        if parts.take("red") {
            let kind = parts.take_of(&[("popc", 0), ("and", 1), ("or", 2)]);
            let ty = parts.ty()?;
            let last = parts.count() - 1;
            let p = self.predicate(parts, last)?;
            let index = self.value(parts, 1, B32)?;
            let count = if parts.count() > 3 { Some(self.value(parts, 2, B32)?) } else { None };
            let kind = match (kind, ty, parts.operand(0)?) {
                (Some(0), _, _) => BarrierKind::Count { to: self.target(parts)?, p },
                (Some(1), Type::Predicate, Operand::Name(to)) => {
                    BarrierKind::All { to: self.sink(to, parts.line)?, p }
                }
                (Some(2), Type::Predicate, Operand::Name(to)) => {
                    BarrierKind::Any { to: self.sink(to, parts.line)?, p }
                }
                _ => return parts.refused(),
            };
            self.emit(Op::Barrier { index, count, kind }, Class::Barrier);
            return Ok(());
        }
        let second = (parts.count() > 1).then_some(1);
        let kind = match parts.take_of(&[("sync", BarrierKind::Sync), ("arrive", BarrierKind::Arrive)]) {
            Some(kind) => kind,
            None => return parts.refused(),
        };
        let index = self.value(parts, 0, B32)?;
        let count = match second {
            Some(second) => Some(self.value(parts, second, B32)?),
            None => None,
        };
        self.emit(Op::Barrier { index, count, kind }, Class::Barrier);
        Ok(())
    }

    fn shuffle(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let _ = parts.ty()?;
        if !parts.take("sync") {
            return parts.refused();
        }
        let kind = parts.take_of(&[
            ("up", ShuffleKind::Up),
            ("down", ShuffleKind::Down),
            ("bfly", ShuffleKind::Butterfly),
            ("idx", ShuffleKind::Index),
        ]);
        let Some(kind) = kind else { return parts.refused() };
        let (to, inside) = match *parts.operand(0)? {
            Operand::Pair(to, inside) => (to, Some(self.sink(inside, parts.line)?)),
            Operand::Name(to) => (to, None),
            _ => return parts.wrong(0),
        };
        let to = self.target_of(parts, &Operand::Name(to))?.0;
        let shuffle = Shuffle {
            kind,
            to,
            inside,
            a: self.value(parts, 1, B32)?,
            b: self.value(parts, 2, B32)?,
            c: self.value(parts, 3, B32)?,
            mask: self.value(parts, 4, B32)?,
        };
        self.emit(Op::Shuffle(Box::new(shuffle)), Class::Other);
        Ok(())
    }

    fn vote(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let _ = parts.ty()?;
        if !parts.take("sync") {
            return parts.refused();
        }
        let kind = parts.take_of(&[
            ("any", Vote::Any),
            ("all", Vote::All),
            ("uni", Vote::Uniform),
            ("ballot", Vote::Ballot),
        ]);
        let Some(kind) = kind else { return parts.refused() };
        let a = self.predicate(parts, 1)?;
        let mask = self.value(parts, 2, B32)?;
        let (to, to_predicate) = if kind == Vote::Ballot {
            (self.target(parts)?, self.scratch_predicate())
        } else {
            let Operand::Name(to) = *parts.operand(0)? else { return parts.wrong(0) };
            (self.scratch(), self.sink(to, parts.line)?)
        };
        self.emit(Op::Vote { kind, to, to_predicate, a, mask }, Class::Other);
        Ok(())
    }

    fn matching(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        parts.ignore(&["sync"]);
        let all = parts.take("all");
        if !all && !parts.take("any") {
            return parts.refused();
        }
        let (to, p) = match *parts.operand(0)? {
            Operand::Pair(to, p) => (to, Some(p)),
            Operand::Name(to) => (to, None),
            _ => return parts.wrong(0),
        };
        let to = self.target_of(parts, &Operand::Name(to))?.0;
        let all = match (all, p) {
            (true, Some(p)) => Some(self.sink(p, parts.line)?),
            (true, None) => Some(self.scratch_predicate()),
            _ => None,
        };
        let (a, mask) = (self.value(parts, 1, ty)?, self.value(parts, 2, B32)?);
        self.emit(Op::Match { all, to, a, mask, wide: ty.bits() == 64 }, Class::Other);
        Ok(())
    }

    fn reduce(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        parts.ignore(&["sync"]);
        let signed = ty.is_signed();
        let word = ["add", "min", "max", "and", "or", "xor"].into_iter().find(|word| parts.take(word));
        let f: fn(u32, u32) -> u32 = match (word, signed) {
            (Some("add"), _) => u32::wrapping_add,
            (Some("min"), false) => |a, b| a.min(b),
            (Some("max"), false) => |a, b| a.max(b),
            (Some("min"), true) => |a, b| (a as i32).min(b as i32) as u32,
            (Some("max"), true) => |a, b| (a as i32).max(b as i32) as u32,
            (Some("and"), _) => |a, b| a & b,
            (Some("or"), _) => |a, b| a | b,
            (Some("xor"), _) => |a, b| a ^ b,
            _ => return parts.refused(),
        };
        if !ty.is_integer() || ty.bits() != 32 {
            return parts.refused();
        }
        let to = self.target(parts)?;
        let (a, mask) = (self.value(parts, 1, B32)?, self.value(parts, 2, B32)?);
        self.emit(Op::Reduce { f, to, a, mask }, Class::Other);
        Ok(())
    }
}
