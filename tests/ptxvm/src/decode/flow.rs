//! Branches, calls and ends.

use super::instruction::{Parts, Type};
use super::{Decoder, Result, error};
use crate::code::{Call, Class, Op};
use crate::ptx::{Operand, Space};

impl<'m> Decoder<'m> {
    pub(super) fn flow(&mut self, parts: &mut Parts<'m>, function: &'m str) -> Result<()> {
        parts.ignore(&["uni"]);
        match parts.base {
            "bra" => {
                let Operand::Name(label) = *parts.operand(0)? else { return parts.wrong(0) };
                self.jump(0, label);
                self.emit(Op::Branch(0), Class::Other);
            }
            "brx" => {
                if !parts.take("idx") {
                    return parts.refused();
                }
                let index = self.value(parts, 0, Type::Bits(32))?;
                let Operand::Name(list) = *parts.operand(1)? else { return parts.wrong(1) };
                let Some(labels) = self.targets.get(list).cloned() else {
                    return error(parts.line, format!("`{list}` is no list of branch targets"));
                };
                for (at, label) in labels.iter().enumerate() {
                    self.jump(at, label);
                }
                self.emit(Op::BranchIndexed(index, vec![0; labels.len()]), Class::Other);
            }
            "call" => self.call(parts, function)?,
            "ret" if self.is_entry => self.emit(Op::Exit, Class::Other),
            "ret" => self.emit(Op::Return, Class::Other),
            "exit" => self.emit(Op::Exit, Class::Other),
            _ => self.emit(Op::Trap, Class::Other),
        }
        Ok(())
    }

    /// The next instruction jumps to a label.
    fn jump(&mut self, target: usize, label: &'m str) {
        let scopes = self.scopes.iter().rev().map(|s| s.id).collect();
        self.jumps.push((self.program.code.len(), target, scopes, label));
    }

    pub(super) fn patch_jumps(&mut self) -> Result<()> {
        for (at, target, scopes, label) in std::mem::take(&mut self.jumps) {
            let place = scopes.iter().find_map(|scope| self.labels.get(&(*scope, label)));
            let instruction = &mut self.program.code[at];
            let Some(place) = place else {
                return error(instruction.line, format!("the label `{label}` is not declared"));
            };
            match &mut instruction.op {
                Op::Branch(to) => *to = *place,
                Op::BranchIndexed(_, list) => list[target] = *place,
                _ => {}
            }
        }
        Ok(())
    }

    /// `call (results), name, (arguments);`
    fn call(&mut self, parts: &mut Parts<'m>, caller: &'m str) -> Result<()> {
        let mut operands = parts.instruction.operands.iter();
        let mut next = operands.next();
        let results: &[&str] = match next {
            Some(Operand::List(list)) => {
                next = operands.next();
                list
            }
            _ => &[],
        };
        let Some(&Operand::Name(name)) = next else { return parts.refused() };
        let arguments: &[&str] = match operands.next() {
            Some(Operand::List(list)) => list,
            None => &[],
            _ => return parts.refused(),
        };
        // What the tool chain's own functions do, such as `vprintf`, has no body.
        let Some(callee) = self.module.functions.iter().find(|f| f.name == name) else {
            return error(
                parts.line,
                format!("a call of `{name}`, which is no function of the module, is not modelled"),
            );
        };
        if operands.next().is_some() {
            return parts.refused();
        }
        let place = self.place(callee);
        let mut lay = |names: &[&'m str], places: &[(u64, u64)], into: bool| {
            names
                .iter()
                .zip(places)
                .map(|(name, (offset, bytes))| {
                    let local = self.local_of(name, parts)?;
                    Ok(if into { (local, *offset, *bytes) } else { (*offset, local, *bytes) })
                })
                .collect::<Result<Vec<_>>>()
        };
        let arguments = lay(arguments, &place.parameters, true)?;
        let results = lay(results, &place.results, false)?;
        self.calls.push((self.program.code.len(), callee.name, caller));
        self.emit(Op::Call(Box::new(Call { target: 0, arguments, results })), Class::Other);
        Ok(())
    }

    /// Where a `.param` variable of a call lies.
    fn local_of(&mut self, name: &'m str, parts: &Parts<'m>) -> Result<u64> {
        match self.variable_named(name) {
            Some((Space::Local, offset)) => Ok(offset),
            _ => error(parts.line, format!("`{name}` is no parameter of a call")),
        }
    }
}
