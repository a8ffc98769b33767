//! What all printers of kernels share: the launch that is printed, dims as C expressions, and lines with indentation.

use super::Math;
use super::names::{identifier, unique};
use crate::graph::dim::Atom;
use crate::graph::{DType, Dim, Symbol};
use crate::plan::{BufferId, Launch, Plan, Step, Storage};
use std::collections::HashSet;

/// A launch, and the plan that it is of. Buffers are named by their place in the launch: their slot.
#[derive(Debug)]
pub struct Subject<'a> {
    pub plan: &'a Plan,
    pub launch: &'a Launch,
    /// The size of the whole index space.
    pub extent: Dim,
    pub math: Math,
    names: Vec<String>,
    readonly: Vec<bool>,
}

impl<'a> Subject<'a> {
    /// Of a launch in a segment of so many units.
    pub fn new(plan: &'a Plan, units: &Dim, launch: &'a Launch, math: Math) -> Subject<'a> {
        // Symbols are parameters too.
        let mut taken: HashSet<String> = plan.symbols.iter().map(|symbol| identifier(symbol)).collect();
        let names = launch
            .buffers
            .iter()
            .map(|(buffer, _)| unique(&mut taken, identifier(&plan.buffers[buffer.index()].name)));
        let names = names.collect();
        let readonly = plan.readonly(launch);
        let extent = units.clone() * launch.per_unit.clone();
        Subject { plan, launch, extent, math, names, readonly }
    }

    /// The slot of a buffer.
    pub fn slot(&self, buffer: BufferId) -> usize {
        self.launch.buffers.iter().position(|(b, _)| *b == buffer).unwrap_or(0)
    }

    /// Is a buffer in memory at all? What passes in registers has no slot.
    pub fn is_slot(&self, buffer: BufferId) -> bool {
        self.launch.buffers.iter().any(|(b, _)| *b == buffer)
    }

    /// The name of a slot's parameter, unique within the kernel.
    pub fn name(&self, slot: usize) -> &str {
        &self.names[slot]
    }

    pub fn dtype(&self, slot: usize) -> DType {
        self.plan.buffers[self.launch.buffers[slot].0.index()].dtype
    }

    /// The type of what a product multiplies, be it in memory or made on the way.
    pub fn operand(&self, slot: usize) -> DType {
        self.plan.buffers[self.launch.operand(slot).index()].dtype
    }

    /// What tells where a slot's elements begin: its offset, and by how much it moves with loops around the launch. Memory itself begins at
    /// a multiple of 256 bytes.
    pub fn starts(&self, slot: usize) -> Vec<Dim> {
        let (mut buffer, offset) = self.launch.buffers[slot].clone();
        let mut starts = vec![offset];
        loop {
            let steps = self.plan.segments.iter().flat_map(|segment| &segment.steps);
            steps.for_each(|step| rings(step, buffer, &mut starts));
            match &self.plan.buffers[buffer.index()].storage {
                Storage::Alias(of) => buffer = *of,
                Storage::Row { of, offset, advance, .. } => {
                    starts.extend([offset.clone(), advance.clone()]);
                    buffer = *of;
                }
                _ => return starts,
            }
        }
    }

    /// Does this kernel write neither to it nor to what shares its storage?
    pub fn is_readonly(&self, slot: usize) -> bool {
        self.readonly[slot]
    }

    /// What the launch sees of a slot begins at a multiple of so many elements of its buffer (1, 2, 4, 8 or 16), wherever loops move it.
    pub fn grain(&self, slot: usize) -> i64 {
        let starts = self.starts(slot);
        let divides = |by: &i64| starts.iter().all(|start| start.exact_div(&Dim::constant(*by)).is_some());
        [16, 8, 4, 2].into_iter().find(divides).unwrap_or(1)
    }

    /// The parameters for all buffers, in order. What is only read may be cached apart; what is written may be read under another name, in
    /// an update in place.
    pub fn parameters(&self) -> Vec<String> {
        (0..self.launch.buffers.len()).map(|slot| self.parameter(slot)).collect()
    }

    pub fn parameter(&self, slot: usize) -> String {
        let (kind, name) = (c_type(self.dtype(slot)), self.name(slot));
        if self.is_readonly(slot) {
            format!("const {kind}* __restrict__ {name}")
        } else {
            format!("{kind}* {name}")
        }
    }
}

/// The elements of a turn of the loops whose blocks of turns a buffer holds.
fn rings(step: &Step, buffer: BufferId, found: &mut Vec<Dim>) {
    if let Step::Loop(inner) = step {
        found.extend(inner.rings.iter().filter(|(ring, _)| *ring == buffer).map(|(_, turn)| turn.clone()));
        inner.steps.iter().for_each(|step| rings(step, buffer, found));
    }
}

/// The C type of a buffer's elements. Floats of 16 bits and truth values are stored as their bits; see the prelude for how they are read.
pub const fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 => "half_t",
        DType::BF16 => "bfloat_t",
        DType::I8 => "signed char",
        DType::U8 => "unsigned char",
        DType::I32 => "int",
        DType::I64 => "long long",
        DType::Bool => "bool",
    }
}

/// The symbols that a kernel's text names, each once.
#[derive(Debug, Default)]
pub struct Symbols {
    pub list: Vec<Symbol>,
    /// Names of the divisors that are not known before, which the kernel declares as `Divisor` of the prelude.
    pub reciprocals: Vec<(String, Dim)>,
}

impl Symbols {
    /// A dim as an expression of C.
    pub fn dim(&mut self, dim: &Dim) -> String {
        let mut out = String::new();
        for (at, (atoms, coefficient)) in dim.terms().enumerate() {
            let sign = match (at, coefficient < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            };
            out.push_str(sign);
            let mut factors: Vec<String> = Vec::new();
            if coefficient.unsigned_abs() != 1 || atoms.is_empty() {
                factors.push(coefficient.unsigned_abs().to_string());
            }
            factors.extend(atoms.iter().map(|atom| self.atom(atom)));
            out.push_str(&factors.join(" * "));
        }
        if out.is_empty() { "0".into() } else { out }
    }

    /// The same as a factor: with parentheses where it is a sum.
    pub fn factor(&mut self, dim: &Dim) -> String {
        let text = self.dim(dim);
        if dim.terms().count() > 1 || text.starts_with('-') { format!("({text})") } else { text }
    }

    /// The same as what something is divided by: with parentheses where it is more than one factor.
    pub fn divisor(&mut self, dim: &Dim) -> String {
        let text = self.dim(dim);
        if text.contains(' ') || text.starts_with('-') { format!("({text})") } else { text }
    }

    /// What many numbers are divided by: a number, or the name of what has its reciprocal.
    pub fn reciprocal(&mut self, dim: &Dim) -> String {
        if dim.as_constant().is_some() {
            return self.divisor(dim);
        }
        if let Some((name, _)) = self.reciprocals.iter().find(|(_, known)| known == dim) {
            return name.clone();
        }
        let mut taken = self.reciprocals.iter().map(|(name, _)| name.clone()).collect();
        let words: Vec<String> = self.dim(dim).split(" * ").map(identifier).collect();
        let name = unique(&mut taken, format!("by_{}", words.join("_").trim_start_matches('_')));
        self.reciprocals.push((name.clone(), dim.clone()));
        name
    }

    fn atom(&mut self, atom: &Atom) -> String {
        let mut call =
            |name: &str, pair: &(Dim, Dim)| format!("{name}({}, {})", self.dim(&pair.0), self.dim(&pair.1));
        match atom {
            Atom::Symbol(symbol) => {
                if !self.list.contains(symbol) {
                    self.list.push(symbol.clone());
                }
                identifier(symbol)
            }
            Atom::FloorDiv(pair) => call("floor_div", pair),
            Atom::Rem(pair) => call("floor_rem", pair),
            Atom::Max(pair) => call("max", pair),
            Atom::Min(pair) => call("min", pair),
        }
    }
}

/// Lines of C with indentation.
#[derive(Debug, Default)]
pub struct Lines {
    text: String,
    depth: usize,
}

impl Lines {
    /// Inside of a function.
    pub fn new() -> Lines {
        Lines { text: String::new(), depth: 1 }
    }

    pub fn line(&mut self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            if !line.is_empty() {
                self.text.push_str(&"    ".repeat(self.depth));
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    /// Lines that are indented already.
    pub fn append(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// `head {`, and what follows is inside.
    pub fn open(&mut self, head: impl AsRef<str>) {
        let head = head.as_ref();
        self.line(if head.is_empty() { "{".to_string() } else { format!("{head} {{") });
        self.depth += 1;
    }

    pub fn close(&mut self) {
        self.close_with("");
    }

    /// The same, with what follows the brace.
    pub fn close_with(&mut self, end: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(format!("}}{end}"));
    }

    pub fn finish(self) -> String {
        self.text
    }
}
