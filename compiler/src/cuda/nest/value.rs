//! Values as expressions: what the loop variables, the elements of buffers and the results of operations are called.
//!
//! A [`Scope`] knows which values have a name already; the others are spelt out. What is written in which order is told in [`super::point`].

use super::spell::{self, Expr, Level, is_half, narrow};
use crate::cuda::print::{Lines, Subject, Symbols};
use crate::graph::op::{Distribution, Reduction};
use crate::graph::{DType, Dim};
use crate::plan::BufferId;
use crate::plan::affine::Affine;
use crate::plan::nest::{How, Reduce, Stage, ValueId, ValueOp};
use std::collections::BTreeMap;

/// Where a kernel's text is written.
#[derive(Debug)]
pub struct Writer<'a> {
    pub subject: &'a Subject<'a>,
    pub symbols: Symbols,
    pub lines: Lines,
}

/// Points that one thread computes side by side: a variable, and how many of its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub variable: usize,
    pub width: i64,
    /// How many points are left from the first on, as an expression, where that may be fewer than the width.
    pub left: Option<String>,
}

/// A stage while its text is written.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub stage: &'a Stage,
    /// What each loop variable is called; along the axis, what its first point is.
    pub variables: Vec<String>,
    pub axis: Option<Axis>,
    /// The row-major index over the reduced loops, where a loop has it.
    pub step: Option<String>,
    /// By value: what it is called.
    pub names: Vec<Option<Expr>>,
    /// By value: does it exist only inside of the reduced loops, or behind them?
    pub inside: Vec<bool>,
    /// Buffers whose elements at this point are kept in registers when they are stored.
    pub held: BTreeMap<BufferId, Held>,
    /// By value: does it change along the axis?
    varies: Vec<bool>,
}

/// Elements of a row that a thread keeps.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is at the current point: a pack, where there is an axis.
    pub place: String,
    /// Are they in memory too?
    pub stored: bool,
}

impl<'a> Writer<'a> {
    pub fn new(subject: &'a Subject<'a>) -> Writer<'a> {
        Writer { subject, symbols: Symbols::default(), lines: Lines::new() }
    }

    pub fn line(&mut self, text: impl AsRef<str>) {
        self.lines.line(text);
    }

    pub fn open(&mut self, head: impl AsRef<str>) {
        self.lines.open(head);
    }

    pub fn close(&mut self) {
        self.lines.close();
    }

    pub fn dim(&mut self, dim: &Dim) -> String {
        self.symbols.dim(dim)
    }

    /// A map as an expression, where `variable` says what a loop variable is.
    pub fn affine(&mut self, at: &Affine, variable: &dyn Fn(usize) -> Expr) -> Expr {
        let mut text = String::new();
        let mut level = Level::Atom;
        let mut add = |negative: bool, term: String, of: Level| {
            let first = text.is_empty();
            match (first, negative) {
                (true, false) => level = of,
                (true, true) => {
                    level = Level::Sign.min(of);
                    text.push('-');
                }
                (false, negative) => {
                    level = Level::Sum;
                    text.push_str(if negative { " - " } else { " + " });
                }
            }
            text.push_str(&term);
        };
        for (place, coefficient) in &at.terms {
            let (negative, size) = match coefficient.as_constant() {
                Some(value) if value < 0 => (true, Dim::constant(-value)),
                _ => (false, coefficient.clone()),
            };
            let variable = variable(*place);
            if size.is(1) {
                let of = if negative { Level::Product } else { Level::Sum };
                add(negative, variable.at(of), variable.level.max(of));
            } else {
                let by = self.symbols.factor(&size);
                add(negative, format!("{} * {by}", variable.at(Level::Product)), Level::Product);
            }
        }
        match at.constant.as_constant() {
            Some(0) if !at.terms.is_empty() => {}
            Some(value) => add(value < 0, value.unsigned_abs().to_string(), Level::Atom),
            None => {
                let constant = self.symbols.dim(&at.constant);
                add(false, constant, Level::Sum);
            }
        }
        Expr::new(text, level)
    }

    /// Where a buffer's element lies is a multiple of `width` elements, whatever the loop variables are but this one, along which
    /// it moves by one.
    pub fn is_even(&self, slot: usize, at: &Affine, axis: usize, width: i64) -> bool {
        let width = Dim::constant(width);
        let even = |dim: &Dim| dim.is(0) || dim.exact_div(&width).is_some();
        at.coefficient(axis).is(1)
            && at.terms.iter().all(|(variable, coefficient)| *variable == axis || even(coefficient))
            && even(&at.constant)
            && self.subject.starts(slot).iter().all(even)
    }
}

impl<'a> Scope<'a> {
    pub fn new(stage: &'a Stage) -> Scope<'a> {
        let variables = (0..stage.kept.len() + stage.reduced.len()).map(|v| format!("i{v}")).collect();
        let count = stage.values.len();
        let mut inside = dependent(stage, &|variable| variable >= stage.kept.len());
        for (at, value) in stage.values.iter().enumerate() {
            inside[at] |= matches!(value.op, ValueOp::Reduced(_))
                || value.op.operands().iter().any(|operand| inside[operand.index()]);
        }
        Scope {
            stage,
            variables,
            axis: None,
            step: None,
            names: vec![None; count],
            inside,
            held: BTreeMap::new(),
            varies: vec![false; count],
        }
    }

    /// Says what a value is called, so that it is not computed.
    pub fn give(&mut self, id: ValueId, text: &str) {
        self.names[id.index()] = Some(Expr::atom(text));
    }

    /// The same, computed for several points along an axis at once.
    pub fn along(self, axis: Option<Axis>) -> Scope<'a> {
        let varies = match &axis {
            Some(axis) => dependent(self.stage, &|variable| variable == axis.variable),
            None => vec![false; self.stage.values.len()],
        };
        Scope { axis, varies, ..self }
    }

    /// Does a value change along the axis?
    pub fn varies(&self, id: ValueId) -> bool {
        self.axis.is_some() && self.varies[id.index()]
    }

    /// A loop variable at the current point.
    fn variable(&self, place: usize, inside: bool) -> Expr {
        let name = &self.variables[place];
        match &self.axis {
            Some(axis) if axis.variable == place && inside => Expr::new(format!("{name} + k"), Level::Sum),
            _ => Expr::atom(name.clone()),
        }
    }

    /// Is the result of a reduction a pack?
    pub fn is_pack(&self, reduce: &Reduce) -> bool {
        self.axis.as_ref().is_some_and(|axis| axis.variable < self.stage.kept.len()) && self.varies(reduce.of)
    }

    pub fn affine(&self, w: &mut Writer<'_>, at: &Affine, inside: bool) -> Expr {
        w.affine(at, &|place| self.variable(place, inside))
    }

    /// A value's name, or what it is. `texts`: what operands without a name are, as far as that is known.
    pub fn expression(
        &self,
        w: &mut Writer<'_>,
        id: ValueId,
        texts: &[Option<Expr>],
        inside: bool,
    ) -> Result<Expr, String> {
        if let Some(name) = &self.names[id.index()] {
            return Ok(name.clone());
        }
        if let Some(Some(text)) = texts.get(id.index()) {
            return Ok(text.clone());
        }
        let value = self.stage.value(id);
        let dtype = value.dtype;
        let kind = |x: &ValueId| self.stage.value(*x).dtype;
        if let Some((x, first, second)) = self.stage.quotient(&value.op) {
            let x = self.expression(w, x, texts, inside)?;
            let [first, second] = [first, second].map(|by| spell::constant(f64::from(by), DType::F32).text);
            return Ok(Expr::atom(format!("divided({}, {first}, {second})", x.text)));
        }
        // Floats of 16 bits are rounded after every operation.
        let rounded = |e: Expr| {
            if is_half(dtype) { Expr::atom(format!("widen({}({}))", narrow(dtype), e.text)) } else { e }
        };
        Ok(match &value.op {
            ValueOp::Constant(bits) => spell::constant(f64::from_bits(*bits), dtype),
            ValueOp::Dim(dim) => {
                let level = match (dim.as_symbol(), dim.terms().count()) {
                    (Some(_), _) => Level::Atom,
                    (None, 1) => Level::Product,
                    _ => Level::Sum,
                };
                spell::cast(&Expr::new(w.dim(dim), level), DType::I32, dtype)
            }
            ValueOp::Index(at) => spell::cast(&self.affine(w, at, inside), DType::I32, dtype),
            ValueOp::Load { buffer, at, when } => {
                let when = when.map(|when| self.expression(w, when, texts, inside)).transpose()?;
                let element = self.element(w, *buffer, at, inside);
                match when {
                    Some(when) => spell::select(&when, &element, &spell::constant(0.0, dtype)),
                    None => element,
                }
            }
            ValueOp::Unary(op, x) => {
                rounded(spell::unary(*op, &self.expression(w, *x, texts, inside)?, dtype)?)
            }
            ValueOp::Binary(op, x, y) => rounded(spell::binary(
                *op,
                &self.expression(w, *x, texts, inside)?,
                &self.expression(w, *y, texts, inside)?,
                dtype,
            )?),
            ValueOp::Compare(op, x, y) => spell::compare(
                *op,
                &self.expression(w, *x, texts, inside)?,
                &self.expression(w, *y, texts, inside)?,
            ),
            ValueOp::Select(c, x, y) => {
                // What is not read where the condition is false needs no second guard.
                let then = match &self.stage.value(*x).op {
                    ValueOp::Load { buffer, at, when: Some(when) }
                        if when == c && self.names[x.index()].is_none() =>
                    {
                        self.element(w, *buffer, at, inside)
                    }
                    _ => self.expression(w, *x, texts, inside)?,
                };
                spell::select(
                    &self.expression(w, *c, texts, inside)?,
                    &then,
                    &self.expression(w, *y, texts, inside)?,
                )
            }
            ValueOp::Cast(x) => spell::cast(&self.expression(w, *x, texts, inside)?, kind(x), dtype),
            ValueOp::Inside(tests) if tests.is_empty() => Expr::atom("true"),
            ValueOp::Inside(tests) => {
                let mut all = Vec::new();
                for (at, limit) in tests {
                    let at = self.affine(w, at, inside);
                    all.push(format!("within({}, {})", at.text, w.dim(limit)));
                }
                let level = if all.len() > 1 { Level::And } else { Level::Atom };
                Expr::new(all.join(" && "), level)
            }
            ValueOp::Random { buffer, distribution, key, index } => {
                let at = self.affine(w, index, inside);
                Expr::atom(random(w, *buffer, *distribution, *key, &at, 1))
            }
            ValueOp::Reduced(place) => {
                let reduce = self.stage.reductions.get(*place).ok_or("there is no such reduction")?;
                let of = twin(self.stage, reduce).unwrap_or(*place);
                let name = if matches!(reduce.how, How::Arg { .. }) { "t" } else { "r" };
                let pack = if self.is_pack(reduce) { "[k]" } else { "" };
                let result = Expr::atom(format!("{name}{of}{pack}"));
                // Sums of narrow floats are kept wider.
                if is_half(dtype) {
                    Expr::atom(format!("widen({}({}))", narrow(dtype), result.text))
                } else {
                    result
                }
            }
        })
    }

    /// An element of a buffer.
    pub fn element(&self, w: &mut Writer<'_>, buffer: BufferId, at: &Affine, inside: bool) -> Expr {
        let slot = w.subject.slot(buffer);
        let at = self.affine(w, at, inside);
        let element = format!("{}[{}]", w.subject.name(slot), at.text);
        Expr::atom(if is_half(w.subject.dtype(slot)) { format!("widen({element})") } else { element })
    }

    /// The row-major index over the reduced loops.
    pub fn row_major(&self, w: &mut Writer<'_>, inside: bool) -> Expr {
        let kept = self.stage.kept.len();
        if let Some(step) = &self.step {
            let along = self.axis.as_ref().is_some_and(|axis| axis.variable >= kept) && inside;
            return if along {
                Expr::new(format!("{step} + k"), Level::Sum)
            } else {
                Expr::atom(step.clone())
            };
        }
        let strides = crate::plan::affine::strides(&self.stage.reduced);
        let terms = strides.into_iter().enumerate().map(|(at, stride)| (kept + at, stride)).collect();
        self.affine(w, &Affine { terms, constant: Dim::constant(0) }, inside)
    }
}

/// By value: does it change with variables of this kind?
pub fn dependent(stage: &Stage, on: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut changes = vec![false; stage.values.len()];
    for (at, value) in stage.values.iter().enumerate() {
        let maps = value.op.maps();
        changes[at] = maps.iter().any(|map| map.terms.iter().any(|(variable, _)| on(*variable)))
            || value.op.operands().iter().any(|operand| changes[operand.index()]);
        // A result changes with all kept variables that its operand changes with.
        if let ValueOp::Reduced(place) = value.op {
            let kept = stage.kept.len();
            let result = stage.reductions.get(place).is_some_and(|r| changes[r.of.index()]);
            changes[at] = result && (0..kept).any(on);
        }
    }
    changes
}

/// The arg-reduction of the same value that finds this reduction's result on its way.
pub fn twin(stage: &Stage, reduce: &Reduce) -> Option<usize> {
    let largest = match reduce.how {
        How::Fold(Reduction::Max) => true,
        How::Fold(Reduction::Min) => false,
        _ => return None,
    };
    stage.reductions.iter().position(|r| *r == Reduce { how: How::Arg { largest }, of: reduce.of })
}

/// Are the random elements along an axis whole blocks of the generator?
pub fn is_block(index: &Affine, axis: &Axis) -> bool {
    let four = Dim::constant(4);
    let even = |dim: &Dim| dim.is(0) || dim.exact_div(&four).is_some();
    axis.width % 4 == 0
        && index.coefficient(axis.variable).is(1)
        && index.terms.iter().all(|(variable, by)| *variable == axis.variable || even(by))
        && even(&index.constant)
}

pub fn random(
    w: &Writer<'_>,
    buffer: BufferId,
    distribution: Distribution,
    key: u64,
    index: &Expr,
    width: i64,
) -> String {
    let name = match distribution {
        Distribution::Uniform => "random_uniform",
        Distribution::Normal => "random_normal",
    };
    let state = w.subject.name(w.subject.slot(buffer));
    let many = if width > 1 { format!("<{width}>") } else { String::new() };
    format!("{name}{many}({state}, {key:#018x}ull, {})", index.text)
}
