//! The tensor cores' instructions of a warp: `ldmatrix`, `stmatrix`, `mma.sync`.

use super::instruction::{Parts, Type};
use super::{Decoder, Result};
use crate::code::{Class, Mma, MmaKind, Op, Register};
use crate::ptx::{Operand, Space};

impl<'m> Decoder<'m> {
    pub(super) fn matrix(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        if !parts.take("sync") || !parts.take("aligned") {
            return parts.refused();
        }
        if parts.base == "mma" {
            return self.mma(parts);
        }
        if parts.ty()? != Type::Bits(16) || !parts.take("m8n8") {
            return parts.refused();
        }
        let Some(many) = parts.take_of(&[("x1", 1), ("x2", 2), ("x4", 4)]) else { return parts.refused() };
        let transposed = parts.take("trans");
        if !(parts.take("shared") | parts.take("shared::cta")) {
            return parts.refused();
        }
        // A row is read at once, but written by four lanes, element by element.
        self.program.grain = self.program.grain.min(if parts.base == "ldmatrix" { 16 } else { 2 });
        if parts.base == "ldmatrix" {
            let to = self.fragment(parts, 0, true)?;
            let address = self.address(parts, 1, Space::Shared)?;
            if to.len() != many {
                return parts.wrong(0);
            }
            self.emit(Op::LoadMatrix { to, transposed, address }, Class::Shared);
        } else {
            let address = self.address(parts, 0, Space::Shared)?;
            let from = self.fragment(parts, 1, false)?;
            if from.len() != many {
                return parts.wrong(1);
            }
            self.emit(Op::StoreMatrix { from, transposed, address }, Class::Shared);
        }
        Ok(())
    }

    /// The registers of a fragment.
    fn fragment(&mut self, parts: &Parts<'m>, at: usize, written: bool) -> Result<Vec<Register>> {
        let operand = parts.operand(at)?;
        let list = match operand {
            Operand::Vector(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        list.iter()
            .map(|operand| {
                if written {
                    Ok(self.target_of(parts, operand)?.0)
                } else {
                    self.value_of(parts, operand, Type::Bits(32))
                }
            })
            .collect()
    }

    /// `mma.sync.aligned.m16n8kK.row.col.D.A.B.C d, a, b, c;`
    fn mma(&mut self, parts: &mut Parts<'m>) -> Result<()> {
        let (c, b, a, d) = (parts.ty()?, parts.ty()?, parts.ty()?, parts.ty()?);
        let Some(k) = parts.take_of(&[("m16n8k4", 4u32), ("m16n8k8", 8), ("m16n8k16", 16), ("m16n8k32", 32)])
        else {
            return parts.refused();
        };
        if !parts.take("row") || !parts.take("col") {
            return parts.refused();
        }
        let is_byte = |ty| matches!(ty, Type::Signed(8) | Type::Unsigned(8));
        let kind = match (a, b) {
            (Type::F16, Type::F16) if k == 8 || k == 16 => MmaKind::F16,
            (Type::Bf16, Type::Bf16) if k == 8 || k == 16 => MmaKind::Bf16,
            (Type::Tf32, Type::Tf32) if k == 4 || k == 8 => MmaKind::Tf32,
            (a, b) if is_byte(a) && is_byte(b) && (k == 16 || k == 32) => {
                MmaKind::I8 { a: a.is_signed(), b: b.is_signed() }
            }
            _ => return parts.refused(),
        };
        let half_sums = match (d, c, kind) {
            (Type::F32, Type::F32, MmaKind::F16 | MmaKind::Bf16 | MmaKind::Tf32) => false,
            (Type::F16, Type::F16, MmaKind::F16) => true,
            (Type::Signed(32), Type::Signed(32), MmaKind::I8 { .. }) => false,
            _ => return parts.refused(),
        };
        let (d, a) = (self.fragment(parts, 0, true)?, self.fragment(parts, 1, false)?);
        let (b, c) = (self.fragment(parts, 2, false)?, self.fragment(parts, 3, false)?);
        let sums = if half_sums { 2 } else { 4 };
        let per = match kind {
            MmaKind::Tf32 => 1,
            MmaKind::I8 { .. } => 4,
            _ => 2,
        };
        let wanted = [sums, (16 * k / per / 32) as usize, (8 * k / per / 32) as usize, sums];
        if [d.len(), a.len(), b.len(), c.len()] != wanted {
            return parts.refused();
        }
        // Each of 16·8 results takes k products and sums: so many for each of 32 threads.
        let flops = if matches!(kind, MmaKind::I8 { .. }) { 0 } else { 2 * 16 * 8 * k / 32 };
        self.emit_counted(Op::Mma(Box::new(Mma { kind, k, half_sums, d, a, b, c })), Class::Mma, flops);
        Ok(())
    }
}
