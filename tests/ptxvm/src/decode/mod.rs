//! The tree of a module → a program for each kernel.
//!
//! Registers, local memory and parameters of every function that a kernel reaches get a place of their own for the
//! whole kernel: functions that call themselves are refused, so that no frames are needed. An instruction or a
//! suffix that is not modelled is refused by its name, here and not when it would run.

mod arithmetic;
mod atomics;
mod carry;
mod convert;
mod flow;
mod half;
mod instruction;
mod integer;
mod matrix;
mod memory;
mod names;
mod registers;
mod select;
mod warp;

use std::collections::{BTreeMap, HashMap};

use crate::code::{
    CONSTANT, Class, FIRST_REGISTER, Instruction, Op, Parameter, Predicate, Program, Register,
};
use crate::ptx::{self, Function, Item, PtxError, Space, Variable};
use instruction::Parts;
use names::{Name, Scope};

pub(crate) type Result<T> = std::result::Result<T, PtxError>;

fn error<T>(line: u32, message: impl Into<String>) -> Result<T> {
    Err(PtxError { line, message: message.into() })
}

/// What a module's names are: where its variables lie in device memory.
pub fn programs(
    module: &ptx::Module<'_>,
    addresses: &HashMap<String, u64>,
) -> Result<BTreeMap<String, Program>> {
    let mut out = BTreeMap::new();
    for function in module.functions.iter().filter(|f| f.entry && f.body.is_some()) {
        out.insert(function.name.to_string(), program(module, addresses, function)?);
    }
    Ok(out)
}

fn program(
    module: &ptx::Module<'_>,
    addresses: &HashMap<String, u64>,
    entry: &Function<'_>,
) -> Result<Program> {
    let mut decoder = Decoder {
        module,
        addresses,
        program: Program {
            name: entry.name.to_string(),
            required: entry.required,
            most: entry.most,
            grain: 16,
            ..Program::default()
        },
        constants: HashMap::new(),
        registers: FIRST_REGISTER,
        predicates: 0,
        scopes: Vec::new(),
        scope_count: 0,
        labels: HashMap::new(),
        jumps: Vec::new(),
        functions: HashMap::new(),
        calls: Vec::new(),
        shared: HashMap::new(),
        dynamic: Vec::new(),
        targets: HashMap::new(),
        here: (None, 0, (0, 0)),
        is_entry: true,
        carry: None,
    };
    for (number, name) in &module.files {
        decoder.program.files.insert(*number, name.to_string());
    }
    let mut offset = 0u64;
    for parameter in &entry.parameters {
        offset = offset.next_multiple_of(parameter.align.max(1));
        let bytes = parameter.element * parameter.count;
        decoder.program.parameters.push(Parameter { offset: offset as usize, bytes: bytes as usize });
        offset += bytes;
    }
    decoder.program.parameter_bytes = offset as usize;
    decoder.function(entry)?;
    decoder.called()?;
    decoder.finish(entry)
}

/// A function that a kernel calls: where it begins, and its parameters and results in local memory.
#[derive(Clone, Debug, Default)]
struct Place {
    start: Option<u32>,
    parameters: Vec<(u64, u64)>,
    results: Vec<(u64, u64)>,
}

pub(crate) struct Decoder<'m> {
    module: &'m ptx::Module<'m>,
    addresses: &'m HashMap<String, u64>,
    program: Program,
    constants: HashMap<u64, Register>,
    registers: Register,
    predicates: Predicate,
    scopes: Vec<Scope<'m>>,
    scope_count: usize,
    /// Places of labels by the scope in which they stand.
    labels: HashMap<(usize, &'m str), u32>,
    /// Branches that wait for the place of their label: (instruction, which of its targets, scopes, label).
    jumps: Vec<(usize, usize, Vec<usize>, &'m str)>,
    functions: HashMap<&'m str, Place>,
    /// (instruction, callee, caller)
    calls: Vec<(usize, &'m str, &'m str)>,
    /// Offsets of shared variables.
    shared: HashMap<&'m str, u64>,
    /// Constants that hold the beginning of dynamic shared memory.
    dynamic: Vec<Register>,
    targets: HashMap<&'m str, Vec<&'m str>>,
    /// Guard, PTX line and source of what is emitted.
    here: (Option<(Predicate, bool)>, u32, (u32, u32)),
    is_entry: bool,
    /// Where the carry of `add.cc` and its like lies.
    carry: Option<Register>,
}

impl<'m> Decoder<'m> {
    fn function(&mut self, function: &'m Function<'m>) -> Result<()> {
        let Some(body) = &function.body else {
            return error(function.line, format!("`{}` is called but has no body", function.name));
        };
        self.is_entry = function.entry;
        self.open();
        if function.entry {
            let places: Vec<_> = self.program.parameters.iter().map(|p| p.offset as u64).collect();
            for (variable, offset) in function.parameters.iter().zip(places) {
                self.scope().names.insert(variable.name, Name::Variable(Space::Parameter, offset));
            }
        } else {
            let place = self.place(function);
            let variables = function.parameters.iter().chain(&function.results);
            for (variable, (offset, _)) in variables.zip(place.parameters.iter().chain(&place.results)) {
                self.scope().names.insert(variable.name, Name::Variable(Space::Local, *offset));
            }
            let start = self.program.code.len() as u32;
            self.functions.entry(function.name).or_default().start = Some(start);
        }
        self.body(body, function)?;
        // A body that ends without `ret` returns.
        self.here.0 = None;
        self.emit(if function.entry { Op::Exit } else { Op::Return }, Class::Other);
        self.close();
        self.patch_jumps()
    }

    fn body(&mut self, body: &'m [Item<'m>], function: &'m Function<'m>) -> Result<()> {
        // Lists of branch targets stand behind the branches too.
        for item in body {
            if let Item::Targets(name, labels) = item {
                self.targets.insert(name, labels.clone());
            }
        }
        let mut source = (0, 0);
        for item in body {
            match item {
                Item::Open => self.open(),
                Item::Close => self.close(),
                Item::Label(name) => {
                    let key = (self.scope().id, *name);
                    let at = self.program.code.len() as u32;
                    self.labels.insert(key, at);
                }
                Item::Source { file, line } => source = (*file, *line),
                Item::Register { bytes, predicate, name, count } => {
                    self.declare(name, *count, *bytes, *predicate);
                }
                Item::Variable(variable) => self.variable(variable)?,
                Item::Targets(..) => {}
                Item::Instruction(instruction) => {
                    let guard = match instruction.guard {
                        Some((name, negated)) => {
                            let (p, n) = self.predicate_named(name, instruction.line)?;
                            Some((p, n != negated))
                        }
                        None => None,
                    };
                    self.here = (guard, instruction.line, source);
                    self.instruction(instruction, function.name)?;
                }
            }
        }
        Ok(())
    }

    /// Where a function's parameters lie, laid out at the first call.
    fn place(&mut self, function: &'m Function<'m>) -> Place {
        if let Some(place) = self.functions.get(function.name) {
            return place.clone();
        }
        let mut lay = |variables: &[Variable<'m>]| {
            variables
                .iter()
                .map(|v| {
                    let bytes = v.element * v.count;
                    (self.local(bytes, v.align), bytes)
                })
                .collect::<Vec<_>>()
        };
        let parameters = lay(&function.parameters);
        let results = lay(&function.results);
        let place = Place { start: None, parameters, results };
        self.functions.insert(function.name, place.clone());
        place
    }

    /// Decodes the functions that were called, and those that they call.
    fn called(&mut self) -> Result<()> {
        loop {
            let next = self
                .calls
                .iter()
                .find(|(_, callee, _)| self.functions.get(callee).is_none_or(|p| p.start.is_none()));
            let Some(&(at, callee, _)) = next else { break };
            let line = self.program.code[at].line;
            let function = self.module.functions.iter().find(|f| f.name == callee && f.body.is_some());
            let Some(function) = function else {
                return error(line, format!("`{callee}` is called but has no body"));
            };
            self.function(function)?;
        }
        self.refuse_recursion()?;
        for (at, callee, _) in &self.calls {
            let start = self.functions[callee].start.unwrap_or_default();
            if let Op::Call(call) = &mut self.program.code[*at].op {
                call.target = start;
            }
        }
        Ok(())
    }

    fn refuse_recursion(&self) -> Result<()> {
        for &(at, callee, _) in &self.calls {
            let (mut reached, mut next) = (vec![callee], 0);
            while next < reached.len() {
                for (_, to, from) in &self.calls {
                    if *from == reached[next] && !reached.contains(to) {
                        reached.push(to);
                    } else if *from == reached[next] && *to == callee {
                        let message = format!("`{callee}` calls itself; recursion is not modelled");
                        return error(self.program.code[at].line, message);
                    }
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn finish(mut self, entry: &Function<'_>) -> Result<Program> {
        let shared = (self.program.shared_bytes as u64).next_multiple_of(16);
        self.program.shared_bytes = shared as usize;
        for constant in &self.dynamic {
            self.program.constants[(constant & !CONSTANT) as usize] = [shared; 32];
        }
        if self.program.local_bytes > 512 << 10 {
            return error(entry.line, "more than 512 KiB of local memory for a thread");
        }
        self.program.registers = self.registers as usize;
        self.program.predicates = self.predicates as usize;
        registers::allocate(&mut self.program);
        Ok(self.program)
    }

    /// A place in every thread's local memory.
    fn local(&mut self, bytes: u64, align: u64) -> u64 {
        let offset = (self.program.local_bytes as u64).next_multiple_of(align.max(1));
        self.program.local_bytes = (offset + bytes) as usize;
        offset
    }

    fn emit(&mut self, op: Op, class: Class) {
        self.emit_counted(op, class, 0);
    }

    fn emit_counted(&mut self, op: Op, class: Class, flops: u32) {
        let (guard, line, source) = self.here;
        self.program.code.push(Instruction { op, guard, line, source, class, flops });
    }

    fn instruction(&mut self, instruction: &'m ptx::Instruction<'m>, function: &'m str) -> Result<()> {
        let mut parts = Parts::new(instruction);
        match parts.base {
            "addc" | "subc" | "madc" => self.carry(&mut parts)?,
            "add" | "sub" | "mad" if parts.has("cc") => self.carry(&mut parts)?,
            "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "rcp"
            | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" | "copysign" => {
                self.arithmetic(&mut parts)?
            }
            "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "prmt" | "bfe" | "bfi"
            | "lop3" | "popc" | "clz" | "brev" | "bfind" | "dp4a" | "dp2a" | "mul24" | "mad24" | "sad" => {
                self.integer(&mut parts)?
            }
            "setp" | "set" | "selp" | "slct" | "testp" => self.select(&mut parts)?,
            "cvt" | "mov" | "cvta" | "isspacep" => self.convert(&mut parts)?,
            "ld" | "ldu" | "st" | "cp" | "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                self.memory(&mut parts)?
            }
            "atom" | "red" => self.atomic(&mut parts)?,
            "bra" | "brx" | "call" | "ret" | "exit" | "trap" => self.flow(&mut parts, function)?,
            "bar" | "barrier" | "membar" | "fence" | "shfl" | "vote" | "match" | "activemask" | "redux"
            | "elect" | "nanosleep" => self.warp(&mut parts)?,
            "ldmatrix" | "stmatrix" | "mma" => self.matrix(&mut parts)?,
            _ => return parts.refused(),
        }
        parts.finish()?;
        Ok(())
    }
}
