//! An opcode taken apart: each suffix must be asked for by whoever models it, or the instruction is refused.

use super::{Result, error};
use crate::ptx::{Instruction, Operand};

/// The types of PTX's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bits(u32),
    Unsigned(u32),
    Signed(u32),
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
    Tf32,
    Predicate,
}

impl Type {
    pub(super) fn of(word: &str) -> Option<Type> {
        Some(match word {
            "pred" => Type::Predicate,
            "f16" => Type::F16,
            "bf16" => Type::Bf16,
            "f16x2" => Type::F16x2,
            "bf16x2" => Type::Bf16x2,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "tf32" => Type::Tf32,
            _ => {
                let bits = match word.get(1..)? {
                    "8" => 8,
                    "16" => 16,
                    "32" => 32,
                    "64" => 64,
                    _ => return None,
                };
                match &word[..1] {
                    "b" => Type::Bits(bits),
                    "u" => Type::Unsigned(bits),
                    "s" => Type::Signed(bits),
                    _ => return None,
                }
            }
        })
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Type::Bits(b) | Type::Unsigned(b) | Type::Signed(b) => b,
            Type::F16 | Type::Bf16 => 16,
            Type::F16x2 | Type::Bf16x2 | Type::F32 | Type::Tf32 => 32,
            Type::F64 => 64,
            Type::Predicate => 1,
        }
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Type::Bits(_) | Type::Unsigned(_) | Type::Signed(_))
    }

    pub(super) fn is_signed(self) -> bool {
        matches!(self, Type::Signed(_))
    }
}

pub(super) struct Parts<'m> {
    pub(super) base: &'m str,
    pub(super) instruction: &'m Instruction<'m>,
    pub(super) line: u32,
    rest: Vec<&'m str>,
}

impl<'m> Parts<'m> {
    pub(super) fn new(instruction: &'m Instruction<'m>) -> Self {
        let mut parts = instruction.opcode.split('.');
        let base = parts.next().unwrap_or_default();
        Parts { base, instruction, line: instruction.line, rest: parts.collect() }
    }

    /// Whether a suffix is there; it is taken away.
    pub(super) fn take(&mut self, suffix: &str) -> bool {
        let found = self.rest.iter().position(|p| *p == suffix);
        if let Some(at) = found {
            self.rest.remove(at);
        }
        found.is_some()
    }

    pub(super) fn has(&self, suffix: &str) -> bool {
        self.rest.contains(&suffix)
    }

    /// The first of some suffixes that is there.
    pub(super) fn take_of<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        table.iter().find(|(word, _)| self.take(word)).map(|(_, value)| *value)
    }

    /// Takes suffixes away that change nothing here.
    pub(super) fn ignore(&mut self, suffixes: &[&str]) {
        self.rest.retain(|p| !suffixes.contains(p));
    }

    pub(super) fn ignore_starting(&mut self, starts: &str) {
        self.rest.retain(|p| !p.starts_with(starts));
    }

    /// The last suffix as a type.
    pub(super) fn ty(&mut self) -> Result<Type> {
        match self.rest.last().and_then(|word| Type::of(word)) {
            Some(ty) => {
                self.rest.pop();
                Ok(ty)
            }
            None => self.refused(),
        }
    }

    /// The instruction is not modelled: an error with its name.
    pub(super) fn refused<T>(&self) -> Result<T> {
        let reason = match self.base {
            "wgmma" | "tcgen05" | "setmaxnreg" => " (instructions of one processor's tensor cores are not)",
            "mbarrier" => " (asynchronous barriers are not)",
            "cp" if self.instruction.opcode.contains("bulk") => " (the tensor memory accelerator is not)",
            "tex" | "tld4" | "suld" | "sust" | "sured" | "txq" | "suq" => " (textures and surfaces are not)",
            "clusterlaunchcontrol" | "mapa" | "getctarank" => " (clusters are not)",
            "griddepcontrol" => " (dependent launches are not)",
            _ => "",
        };
        error(self.line, format!("`{}` is not modelled{reason}", self.instruction.opcode))
    }

    /// All suffixes must have been taken.
    pub(super) fn finish(&self) -> Result<()> {
        match self.rest.first() {
            None => Ok(()),
            Some(suffix) => error(
                self.line,
                format!("`{}` is not modelled: its suffix `.{suffix}`", self.instruction.opcode),
            ),
        }
    }

    pub(super) fn operand(&self, at: usize) -> Result<&'m Operand<'m>> {
        match self.instruction.operands.get(at) {
            Some(operand) => Ok(operand),
            None => error(self.line, format!("`{}` lacks operand {}", self.instruction.opcode, at + 1)),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.instruction.operands.len()
    }

    pub(super) fn wrong<T>(&self, at: usize) -> Result<T> {
        let operand = self.instruction.operands.get(at);
        error(self.line, format!("operand {} of `{}`: {operand:?}", at + 1, self.instruction.opcode))
    }
}
