//! Atomic operations: what becomes of the old value.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Atomic, Class, Op, Space};
use crate::lanes::{Brain, Half, Narrow};
use crate::numeric::odd_sum;
use crate::ptx::Operand;

type Update = fn(u64, u64, u64) -> u64;

fn narrow_sum<N: Narrow>(a: u64, b: u64) -> u64 {
    N::round(odd_sum(N::value(a & 0xffff), N::value(b & 0xffff)))
}

fn pair_sum<N: Narrow>(a: u64, b: u64) -> u64 {
    narrow_sum::<N>(a, b) | (narrow_sum::<N>(a >> 16, b >> 16) << 16)
}

/// f32's sum in memory flushes subnormals in global memory on some processors; here it is IEEE's.
fn update(op: &str, ty: Type) -> Option<Update> {
    Some(match (op, ty) {
        ("add", Type::Unsigned(32) | Type::Signed(32)) => |a, b, _| (a as u32).wrapping_add(b as u32).into(),
        ("add", Type::Unsigned(64) | Type::Signed(64)) => |a, b, _| a.wrapping_add(b),
        ("add", Type::F32) => |a, b, _| {
            crate::numeric::canonical(f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits().into()
        },
        ("add", Type::F64) => |a, b, _| (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        ("add", Type::F16) => |a, b, _| narrow_sum::<Half>(a, b),
        ("add", Type::Bf16) => |a, b, _| narrow_sum::<Brain>(a, b),
        ("add", Type::F16x2) => |a, b, _| pair_sum::<Half>(a, b),
        ("add", Type::Bf16x2) => |a, b, _| pair_sum::<Brain>(a, b),
        ("min", Type::Unsigned(32)) => |a, b, _| (a as u32).min(b as u32).into(),
        ("max", Type::Unsigned(32)) => |a, b, _| (a as u32).max(b as u32).into(),
        ("min", Type::Unsigned(64)) => |a, b, _| a.min(b),
        ("max", Type::Unsigned(64)) => |a, b, _| a.max(b),
        ("min", Type::Signed(32)) => |a, b, _| ((a as i32).min(b as i32) as u32).into(),
        ("max", Type::Signed(32)) => |a, b, _| ((a as i32).max(b as i32) as u32).into(),
        ("min", Type::Signed(64)) => |a, b, _| (a as i64).min(b as i64) as u64,
        ("max", Type::Signed(64)) => |a, b, _| (a as i64).max(b as i64) as u64,
        ("and", Type::Bits(32 | 64)) => |a, b, _| a & b,
        ("or", Type::Bits(32 | 64)) => |a, b, _| a | b,
        ("xor", Type::Bits(32 | 64)) => |a, b, _| a ^ b,
        ("exch", Type::Bits(32 | 64)) => |_, b, _| b,
        ("cas", Type::Bits(16 | 32 | 64)) => |a, b, c| if a == b { c } else { a },
        // Up to a bound and then from zero; down, and from zero to the bound.
        ("inc", Type::Unsigned(32)) => |a, b, _| if a >= b { 0 } else { a + 1 },
        ("dec", Type::Unsigned(32)) => |a, b, _| if a == 0 || a > b { b } else { a - 1 },
        _ => return None,
    })
}

impl<'m> Decoder<'m> {
    pub(super) fn atomic(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let ty = parts.ty()?;
        let returns = parts.base == "atom";
        let space = self.space(parts);
        parts.ignore(&["relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys", "noftz"]);
        parts.ignore_starting("L2::");
        let vector = parts.take("v2") | parts.take("v4") | parts.take("v8");
        let ops = ["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"];
        let Some(f) = ops.into_iter().find(|op| parts.take(op)).and_then(|op| update(op, ty)) else {
            return parts.refused();
        };
        let swap = parts.instruction.opcode.contains(".cas");
        let first = usize::from(returns);
        let address = self.address(parts, first, space)?;
        if !matches!(address.space, Space::Global | Space::Shared | Space::Generic) {
            return parts.refused();
        }
        let bytes = ty.bits() / 8;
        if address.space != Space::Global {
            self.program.grain = self.program.grain.min(bytes as usize);
        }
        let flops = u32::from(!ty.is_integer());
        // Each element of a vector is added by itself.
        let elements = |operand: &'m Operand<'m>| match operand {
            Operand::Vector(list) if vector => list.iter().collect(),
            one => vec![one],
        };
        let values = elements(parts.operand(first + 1)?);
        let targets = if returns { elements(parts.operand(0)?) } else { Vec::new() };
        if returns && targets.len() != values.len() {
            return parts.wrong(0);
        }
        for (i, value) in values.into_iter().enumerate() {
            let to = match targets.get(i) {
                None | Some(Operand::Name("_")) => None,
                Some(operand) => Some(self.target_of(parts, operand)?.0),
            };
            let a = self.value_of(parts, value, ty)?;
            let b = if swap { self.value(parts, first + 2, ty)? } else { a };
            let mut address = address.clone();
            address.offset += i as i64 * i64::from(bytes);
            self.emit_counted(
                Op::Atomic(Box::new(Atomic { address, bytes, f, to, a, b })),
                Class::Atomic,
                flops,
            );
        }
        Ok(())
    }
}
