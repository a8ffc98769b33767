//! What names mean where they stand: registers, predicates, variables, labels, constants.

use std::collections::HashMap;

use super::instruction::{Parts, Type};
use super::{Decoder, Result, error};
use crate::code::{Address, CONSTANT, DYNAMIC_SHARED, Op, Predicate, Register, SPECIALS, TOTAL_SHARED};
use crate::lanes::two;
use crate::ptx::{Base, Operand, Space, Variable};

#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    Register { index: Register, bytes: u8 },
    Predicate(Predicate),
    Variable(Space, u64),
    Dynamic,
}

#[derive(Debug, Default)]
pub(super) struct Scope<'m> {
    pub(super) id: usize,
    pub(super) names: HashMap<&'m str, Name>,
    /// `%r<5>`: the first of so many.
    ranges: HashMap<&'m str, (Name, u32)>,
}

impl<'m> Decoder<'m> {
    pub(super) fn open(&mut self) {
        self.scope_count += 1;
        self.scopes.push(Scope { id: self.scope_count, ..Scope::default() });
    }

    pub(super) fn close(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn scope(&mut self) -> &mut Scope<'m> {
        if self.scopes.is_empty() {
            self.open();
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    pub(super) fn declare(&mut self, name: &'m str, count: Option<u32>, bytes: u8, predicate: bool) {
        let many = count.unwrap_or(1);
        let first = if predicate {
            self.predicates += many;
            Name::Predicate(self.predicates - many)
        } else {
            self.registers += many;
            Name::Register { index: self.registers - many, bytes }
        };
        match count {
            Some(count) => {
                self.scope().ranges.insert(name, (first, count));
            }
            None => {
                self.scope().names.insert(name, first);
            }
        }
    }

    pub(super) fn scratch(&mut self) -> Register {
        self.registers += 1;
        self.registers - 1
    }

    pub(super) fn scratch_predicate(&mut self) -> Predicate {
        self.predicates += 1;
        self.predicates - 1
    }

    pub(super) fn variable(&mut self, variable: &'m Variable<'m>) -> Result<()> {
        let bytes = variable.element * variable.count;
        let name = match variable.space {
            Space::Shared => self.shared(variable),
            _ => Name::Variable(Space::Local, self.local(bytes, variable.align)),
        };
        self.scope().names.insert(variable.name, name);
        Ok(())
    }

    /// A shared variable gets its place where it is declared or, one of the module, at its first use.
    fn shared(&mut self, variable: &Variable<'m>) -> Name {
        if variable.count == 0 {
            return Name::Dynamic;
        }
        let offset = match self.shared.get(variable.name) {
            Some(offset) => *offset,
            None => {
                let offset = (self.program.shared_bytes as u64).next_multiple_of(variable.align.max(1));
                self.program.shared_bytes = (offset + variable.element * variable.count) as usize;
                self.shared.insert(variable.name, offset);
                offset
            }
        };
        Name::Variable(Space::Shared, offset)
    }

    /// What a name is in the scopes that are open, in the module, or to the processor.
    fn lookup(&mut self, name: &str) -> Option<Name> {
        let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let number = name[digits..].parse::<u32>().ok();
        for scope in self.scopes.iter().rev() {
            if let Some(found) = scope.names.get(name) {
                return Some(*found);
            }
            if let (Some(number), Some((first, count))) = (number, scope.ranges.get(&name[..digits]))
                && number < *count
            {
                return Some(match *first {
                    Name::Register { index, bytes } => Name::Register { index: index + number, bytes },
                    Name::Predicate(p) => Name::Predicate(p + number),
                    other => other,
                });
            }
        }
        if let Some(variable) = self.module.variables.iter().find(|v| v.name == name) {
            return Some(match variable.space {
                Space::Shared => self.shared(variable),
                space => Name::Variable(space, *self.addresses.get(name)?),
            });
        }
        let special = match name {
            "%dynamic_smem_size" => DYNAMIC_SHARED,
            "%total_smem_size" => TOTAL_SHARED,
            _ => SPECIALS.iter().position(|s| *s == name)? as Register,
        };
        Some(Name::Register { index: special, bytes: 4 })
    }

    fn found(&mut self, name: &str, line: u32) -> Result<Name> {
        match self.lookup(name) {
            Some(found) => Ok(found),
            None if name == "WARP_SZ" => Ok(Name::Variable(Space::Parameter, 32)),
            None if name.starts_with('%') => {
                error(line, format!("`{name}` is neither declared nor a special register that is modelled"))
            }
            None => error(line, format!("`{name}` is not declared")),
        }
    }

    pub(super) fn constant(&mut self, bits: u64) -> Register {
        if let Some(known) = self.constants.get(&bits) {
            return *known;
        }
        let index = self.new_constant(bits);
        self.constants.insert(bits, index);
        index
    }

    fn new_constant(&mut self, bits: u64) -> Register {
        self.program.constants.push([bits; 32]);
        (self.program.constants.len() as Register - 1) | CONSTANT
    }

    fn symbol(&mut self, name: Name, offset: i64) -> Register {
        match name {
            Name::Variable(_, address) => self.constant(address.wrapping_add(offset as u64)),
            Name::Dynamic if offset == 0 => {
                let constant = self.new_constant(0);
                self.dynamic.push(constant);
                constant
            }
            Name::Dynamic => {
                let (base, to) = (self.symbol(Name::Dynamic, 0), self.scratch());
                let offset = self.constant(offset as u64);
                let guard = self.here.0.take();
                let f = two!(u64, |a, b| a.wrapping_add(b));
                self.emit(Op::Two { f, to, a: base, b: offset }, crate::code::Class::Alu);
                self.here.0 = guard;
                to
            }
            Name::Register { index, .. } => index,
            Name::Predicate(_) => self.constant(0),
        }
    }

    /// An operand that is read: a register, an immediate or an address.
    pub(super) fn value(&mut self, parts: &Parts<'m>, at: usize, ty: Type) -> Result<Register> {
        let operand = parts.operand(at)?;
        self.value_of(parts, operand, ty)
    }

    pub(super) fn value_of(
        &mut self,
        parts: &Parts<'m>,
        operand: &Operand<'m>,
        ty: Type,
    ) -> Result<Register> {
        let mask = if ty.bits() >= 64 { u64::MAX } else { (1 << ty.bits()) - 1 };
        match *operand {
            Operand::Integer(v) if matches!(ty, Type::F32) => {
                Ok(self.constant(u64::from((v as f32).to_bits())))
            }
            Operand::Integer(v) if matches!(ty, Type::F64) => Ok(self.constant((v as f64).to_bits())),
            Operand::Integer(v) => Ok(self.constant(v as u64 & mask)),
            Operand::Float(v) if ty == Type::F64 => Ok(self.constant(f64::from(f32::from_bits(v)).to_bits())),
            Operand::Float(v) => Ok(self.constant(v.into())),
            Operand::Double(v) if ty == Type::F32 => {
                Ok(self.constant(u64::from((f64::from_bits(v) as f32).to_bits())))
            }
            Operand::Double(v) => Ok(self.constant(v)),
            Operand::Name(name) => match self.found(name, parts.line)? {
                Name::Predicate(_) => {
                    error(parts.line, format!("`{name}` is a predicate, a register is needed"))
                }
                found => Ok(self.symbol(found, 0)),
            },
            Operand::Offset(name, offset) => {
                let found = self.found(name, parts.line)?;
                Ok(self.symbol(found, offset))
            }
            _ => error(parts.line, format!("{operand:?} is no value of `{}`", parts.instruction.opcode)),
        }
    }

    /// A register that is written, and its bytes.
    pub(super) fn target_of(&mut self, parts: &Parts<'m>, operand: &Operand<'m>) -> Result<(Register, u32)> {
        match *operand {
            Operand::Name("_") => Ok((self.scratch(), 8)),
            Operand::Name(name) => match self.found(name, parts.line)? {
                Name::Register { index, bytes } if index >= crate::code::FIRST_REGISTER => {
                    Ok((index, bytes.into()))
                }
                _ => error(parts.line, format!("`{name}` cannot be written")),
            },
            _ => error(parts.line, format!("{operand:?} is no target of `{}`", parts.instruction.opcode)),
        }
    }

    pub(super) fn target(&mut self, parts: &Parts<'m>) -> Result<Register> {
        let operand = parts.operand(0)?;
        Ok(self.target_of(parts, operand)?.0)
    }

    pub(super) fn is_predicate(&mut self, parts: &Parts<'m>, at: usize) -> bool {
        match parts.instruction.operands.get(at) {
            Some(Operand::Name(name) | Operand::Not(name)) => {
                matches!(self.lookup(name), Some(Name::Predicate(_)))
            }
            _ => false,
        }
    }

    pub(super) fn predicate_named(&mut self, name: &str, line: u32) -> Result<(Predicate, bool)> {
        match self.found(name, line)? {
            Name::Predicate(p) => Ok((p, false)),
            _ => error(line, format!("`{name}` is no predicate")),
        }
    }

    /// A predicate that is read, with whether it is negated. An immediate is a predicate that is never written:
    /// predicates begin as false.
    pub(super) fn predicate(&mut self, parts: &Parts<'m>, at: usize) -> Result<(Predicate, bool)> {
        match *parts.operand(at)? {
            Operand::Name(name) => self.predicate_named(name, parts.line),
            Operand::Not(name) => Ok((self.predicate_named(name, parts.line)?.0, true)),
            Operand::Integer(v) => Ok((self.scratch_predicate(), v != 0)),
            _ => parts.wrong(at),
        }
    }

    /// The base and offset of an address in a space.
    pub(super) fn address(&mut self, parts: &Parts<'m>, at: usize, space: Space) -> Result<Address> {
        let (base, offset) = match *parts.operand(at)? {
            Operand::Address(base, offset) => (base, offset),
            _ => return parts.wrong(at),
        };
        match base {
            Base::Number => {
                let base = self.constant(offset as u64);
                Ok(Address { space, base, offset: 0 })
            }
            Base::Name(name) => {
                let found = self.found(name, parts.line)?;
                let actual = match found {
                    // Parameters of functions and of calls are in local memory.
                    Name::Variable(actual, _) if space == Space::Parameter => actual,
                    // Constants lie in device memory.
                    _ if space == Space::Constant => Space::Global,
                    Name::Register { .. } if space == Space::Parameter && !self.is_entry => Space::Local,
                    Name::Variable(Space::Shared, _) | Name::Dynamic if space == Space::Generic => {
                        Space::Shared
                    }
                    Name::Predicate(_) => return parts.wrong(at),
                    _ => space,
                };
                Ok(Address { space: actual, base: self.symbol(found, 0), offset })
            }
        }
    }
}

impl Decoder<'_> {
    pub(super) fn variable_named(&mut self, name: &str) -> Option<(Space, u64)> {
        match self.lookup(name)? {
            Name::Variable(space, offset) => Some((space, offset)),
            _ => None,
        }
    }
}
