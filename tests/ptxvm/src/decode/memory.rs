//! Loads, stores, asynchronous copies and prefetches.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Access, Class, CopyAsync, Op, Space};
use crate::ptx::Operand;

/// Suffixes of caches and of eviction, which change no value.
const HINTS: [&str; 16] = [
    "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "cta", "cluster", "gpu", "sys", "acquire",
    "release", "relaxed",
];

impl<'m> Decoder<'m> {
    pub(super) fn memory(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        match parts.base {
            "cp" => return self.copy_async(parts),
            "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                parts.ignore(&["global", "local", "L1", "L2", "L2::evict_normal", "L2::evict_last"]);
                if parts.base == "discard" {
                    return parts.refused();
                }
                self.emit(Op::Nothing, Class::Other);
                return Ok(());
            }
            _ => {}
        }
        let store = parts.base == "st";
        let ty = parts.ty()?;
        let atomic = ["volatile", "relaxed", "acquire", "release"]
            .iter()
            .any(|word| parts.instruction.opcode.split('.').any(|part| part == *word));
        let space = self.space(parts);
        let vector = parts.take("v2") | parts.take("v4") | parts.take("v8");
        parts.ignore(&HINTS);
        parts.ignore(&["volatile", "mmio"]);
        parts.ignore_starting("L1::");
        parts.ignore_starting("L2::");
        let (address_at, value_at) = if store { (0, 1) } else { (1, 0) };
        let address = self.address(parts, address_at, space)?;
        let operand = parts.operand(value_at)?;
        let operands: Vec<&Operand<'m>> = match operand {
            Operand::Vector(list) if vector => list.iter().collect(),
            Operand::Vector(_) => return parts.wrong(value_at),
            one => vec![one],
        };
        let (mut registers, mut wide) = (Vec::new(), 1);
        for operand in operands {
            registers.push(if *operand == Operand::Name("_") {
                None
            } else if store {
                Some(self.value_of(parts, operand, ty)?)
            } else {
                let (register, bytes) = self.target_of(parts, operand)?;
                wide = wide.max(bytes);
                Some(register)
            });
        }
        let bytes = ty.bits() / 8;
        let total = bytes * registers.len() as u32;
        if matches!(address.space, Space::Shared | Space::Generic) {
            self.program.grain = self.program.grain.min(total as usize);
        }
        let class = match (address.space, store) {
            (Space::Shared, _) => Class::Shared,
            (Space::Parameter, _) => Class::Other,
            (_, false) => Class::Load,
            (_, true) => Class::Store,
        };
        let access = Access { address, bytes, signed: ty.is_signed(), registers, wide, atomic };
        let access = Box::new(access);
        self.emit(if store { Op::Store(access) } else { Op::Load(access) }, class);
        Ok(())
    }

    pub(super) fn space(&mut self, parts: &mut Parts<'m>) -> Space {
        parts
            .take_of(&[
                ("global", Space::Global),
                ("const", Space::Constant),
                ("shared", Space::Shared),
                ("shared::cta", Space::Shared),
                ("local", Space::Local),
                ("param", Space::Parameter),
                ("param::entry", Space::Parameter),
                ("param::func", Space::Parameter),
            ])
            .unwrap_or(Space::Generic)
    }

    fn copy_async(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        if !parts.take("async") || parts.instruction.opcode.contains("bulk") {
            return parts.refused();
        }
        if parts.take("commit_group") {
            self.emit(Op::CommitGroup, Class::Other);
            return Ok(());
        }
        if parts.take("wait_all") {
            self.emit(Op::WaitGroup(None), Class::Barrier);
            return Ok(());
        }
        if parts.take("wait_group") {
            let Operand::Integer(n) = *parts.operand(0)? else { return parts.wrong(0) };
            self.emit(Op::WaitGroup(Some(n as u32)), Class::Barrier);
            return Ok(());
        }
        if !(parts.take("ca") | parts.take("cg")) {
            return parts.refused();
        }
        if !(parts.take("shared") | parts.take("shared::cta")) || !parts.take("global") {
            return parts.refused();
        }
        parts.ignore_starting("L2::");
        let to = self.address(parts, 0, Space::Shared)?;
        let from = self.address(parts, 1, Space::Global)?;
        let bytes = match *parts.operand(2)? {
            Operand::Integer(bytes @ (4 | 8 | 16)) => bytes as u32,
            _ => return parts.wrong(2),
        };
        let given = if parts.count() > 3 { Some(self.value(parts, 3, Type::Bits(32))?) } else { None };
        if parts.count() > 4 || self.is_predicate(parts, 3) {
            return parts.refused();
        }
        self.program.grain = self.program.grain.min(bytes as usize);
        self.emit(Op::CopyAsync(Box::new(CopyAsync { to, from, bytes, given })), Class::Load);
        Ok(())
    }
}
