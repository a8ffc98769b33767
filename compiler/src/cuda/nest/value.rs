//! What a stage computes at one point of its loops, or at a few points side by side.
//!
//! A [`Scope`] knows which values have a name already, and what the loop variables are called here. A value that is read once stands
//! where it is read; others get a name. Along a vector axis, whose points one thread computes side by side, what all points
//! share comes first, then whole packs are loaded, then a short loop over `k` computes each point, and packs are stored: all that is
//! read at a point is read before anything is written there, for a result may lie over an operand.

use super::spell::{self, Expr, Level, is_half, narrow, register};
use crate::cuda::print::{Lines, Subject, Symbols};
use crate::graph::op::{Distribution, Reduction};
use crate::graph::{DType, Dim};
use crate::plan::BufferId;
use crate::plan::affine::Affine;
use crate::plan::nest::{How, Reduce, Stage, Store, ValueId, ValueOp};
use std::collections::BTreeSet;

/// Longer expressions are cut up by names.
const LONG: usize = 88;

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
    names: Vec<Option<Expr>>,
    /// By value: does it exist only inside of the reduced loops, or behind them?
    inside: Vec<bool>,
    /// By value: does it change along the axis?
    varies: Vec<bool>,
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
    fn varies(&self, id: ValueId) -> bool {
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

    /// Declares what the reductions start from.
    pub fn begin(&self, w: &mut Writer<'_>) {
        for (place, reduce) in self.stage.reductions.iter().enumerate() {
            if twin(self.stage, reduce).is_some() {
                continue;
            }
            let dtype = self.stage.value(reduce.of).dtype;
            let start = spell::neutral(reduce.how, dtype).text;
            let kind = register(dtype);
            let is_arg = matches!(reduce.how, How::Arg { .. });
            if let (true, Some(axis)) = (self.is_pack(reduce), &self.axis) {
                w.line(format!("auto r{place} = fill<{}, {kind}>({start});", axis.width));
                if is_arg {
                    w.line(format!("auto t{place} = fill<{}, int>(0);", axis.width));
                }
            } else {
                w.line(format!("{kind} r{place} = {start};"));
                if is_arg {
                    w.line(format!("int t{place} = 0;"));
                }
            }
        }
    }

    /// Names what is the same for all of the reduced loops.
    pub fn hoist(&mut self, w: &mut Writer<'_>) -> Result<(), String> {
        let stage = self.stage;
        let stores = stage.stores.iter().filter(|s| s.inner).map(|s| s.value);
        let roots: Vec<ValueId> = stores.chain(stage.reductions.iter().map(|r| r.of)).collect();
        let needed = self.closure(&roots);
        let users = needed.iter().filter(|id| self.inside[id.index()]);
        let read = users.flat_map(|id| stage.value(*id).op.operands()).chain(roots.iter().copied());
        let wanted: BTreeSet<ValueId> =
            read.filter(|id| !self.inside[id.index()] && !self.varies(*id)).collect();
        self.section(w, &wanted.into_iter().collect::<Vec<_>>(), true)
    }

    /// All that these values need and that has no name yet, in order.
    fn closure(&self, roots: &[ValueId]) -> Vec<ValueId> {
        let mut needed = vec![false; self.stage.values.len()];
        let mut open: Vec<ValueId> = roots.to_vec();
        while let Some(id) = open.pop() {
            if needed[id.index()] || self.names[id.index()].is_some() {
                continue;
            }
            needed[id.index()] = true;
            open.extend(self.stage.value(id).op.operands());
        }
        (0..needed.len()).filter(|at| needed[*at]).map(|at| ValueId(at as u32)).collect()
    }

    /// All that a stage does at a point of its loops: inside of the reduced ones (`inner`), or behind them. Stages without reduced loops
    /// do everything behind.
    pub fn point(&mut self, w: &mut Writer<'_>, inner: bool) -> Result<(), String> {
        let before = self.names.clone();
        let stage = self.stage;
        let inner_stores: Vec<&Store> = stage.stores.iter().filter(|s| s.inner == inner).collect();
        let folds: Vec<usize> = (0..stage.reductions.len())
            .filter(|at| inner && twin(stage, &stage.reductions[*at]).is_none())
            .collect();
        // Behind the reduced loops nothing varies along one of them.
        let axis = self.axis.clone().filter(|axis| inner || axis.variable < stage.kept.len());
        let all = std::mem::replace(&mut self.axis, axis);
        match self.axis.clone() {
            Some(axis) => self.side_by_side(w, &axis, &inner_stores, &folds)?,
            None => self.alone(w, &inner_stores, &folds)?,
        }
        self.axis = all;
        self.names = before;
        Ok(())
    }

    /// One point.
    fn alone(&mut self, w: &mut Writer<'_>, stores: &[&Store], folds: &[usize]) -> Result<(), String> {
        let roots: Vec<ValueId> = stores
            .iter()
            .map(|s| s.value)
            .chain(folds.iter().map(|at| self.stage.reductions[*at].of))
            .collect();
        // With one thing to do, its value may stand where it is used.
        self.section(w, &roots, roots.len() > 1)?;
        for at in folds {
            self.fold(w, *at, false)?;
        }
        for store in stores {
            self.store(w, store, false)?;
        }
        Ok(())
    }

    /// Some points along the axis.
    fn side_by_side(
        &mut self,
        w: &mut Writer<'_>,
        axis: &Axis,
        stores: &[&Store],
        folds: &[usize],
    ) -> Result<(), String> {
        let stage = self.stage;
        let roots: Vec<ValueId> =
            stores.iter().map(|s| s.value).chain(folds.iter().map(|at| stage.reductions[*at].of)).collect();
        // What all points share.
        let needed = self.closure(&roots);
        let mut shared: BTreeSet<ValueId> = roots.iter().copied().filter(|id| !self.varies(*id)).collect();
        for id in needed.iter().filter(|id| self.varies(**id)) {
            shared.extend(stage.value(*id).op.operands().into_iter().filter(|o| !self.varies(*o)));
        }
        let shared: Vec<ValueId> = shared.into_iter().collect();
        self.section(w, &shared, true)?;
        // Whole packs.
        let varying: Vec<ValueId> = needed.into_iter().filter(|id| self.varies(*id)).collect();
        for id in varying {
            if let Some(text) = self.pack(w, axis, id)? {
                w.line(text);
                let name = Expr::atom(format!("v{}[k]", id.0));
                let dtype = stage.value(id).dtype;
                let load = matches!(stage.value(id).op, ValueOp::Load { .. });
                let name =
                    if load && is_half(dtype) { Expr::atom(format!("widen({})", name.text)) } else { name };
                self.names[id.index()] = Some(name);
            }
        }
        let packed: Vec<bool> = stores.iter().map(|store| self.is_whole(w, axis, store)).collect();
        for (store, packed) in stores.iter().zip(&packed) {
            let slot = w.subject.slot(store.buffer);
            if *packed {
                let kind = crate::cuda::print::c_type(w.subject.dtype(slot));
                w.line(format!("pack<{kind}, {}> {};", axis.width, self.result(store)));
            }
        }
        let along = |id: ValueId| self.varies(id) || axis.variable >= stage.kept.len();
        let (within, outside): (Vec<usize>, Vec<usize>) =
            folds.iter().copied().partition(|at| along(stage.reductions[*at].of));
        for at in outside {
            self.fold(w, at, false)?;
        }
        w.line("#pragma unroll");
        w.open(format!("for (int k = 0; k < {}; ++k)", axis.width));
        let before = self.names.clone();
        let varying: Vec<ValueId> = roots.iter().copied().filter(|id| self.varies(*id)).collect();
        let whole = packed.iter().all(|packed| *packed);
        // Packs are written behind the loop, so only other stores could be in the way of a load.
        let names = varying.len() > 1 && !(whole && within.is_empty());
        self.section_at(w, &varying, names, true)?;
        for at in within {
            self.fold(w, at, true)?;
        }
        for (store, packed) in stores.iter().zip(&packed) {
            if *packed {
                let value = self.stored(w, store, true)?;
                w.line(format!("{}[k] = {value};", self.result(store)));
            } else {
                self.store(w, store, true)?;
            }
        }
        w.close();
        self.names = before;
        for (store, _) in stores.iter().zip(&packed).filter(|(_, packed)| **packed) {
            let slot = w.subject.slot(store.buffer);
            let at = self.affine(w, &store.at, false).at(Level::Sum);
            let left = axis.left.as_ref().map_or(String::new(), |left| format!(", {left}"));
            w.line(format!("store({} + {at}, {}{left});", w.subject.name(slot), self.result(store)));
        }
        Ok(())
    }

    /// The pack that a store fills.
    fn result(&self, store: &Store) -> String {
        let place = self.stage.stores.iter().position(|s| s == store).unwrap_or(0);
        if self.stage.stores.len() > 1 { format!("result{place}") } else { "result".into() }
    }

    /// Is a store one of whole packs?
    fn is_whole(&self, w: &Writer<'_>, axis: &Axis, store: &Store) -> bool {
        !store.accumulate && w.is_even(w.subject.slot(store.buffer), &store.at, axis.variable, axis.width)
    }

    /// A load of a whole pack, if this value is one.
    fn pack(&self, w: &mut Writer<'_>, axis: &Axis, id: ValueId) -> Result<Option<String>, String> {
        let value = self.stage.value(id);
        let width = axis.width;
        Ok(match &value.op {
            ValueOp::Load { buffer, at, when } => {
                let slot = w.subject.slot(*buffer);
                if !w.is_even(slot, at, axis.variable, width) || when.is_some_and(|w| self.varies(w)) {
                    return Ok(None);
                }
                let at = self.affine(w, at, false).at(Level::Sum);
                let name = w.subject.name(slot);
                let left = axis.left.as_ref().map_or(String::new(), |left| format!(", {left}"));
                let load = format!("load<{width}>({name} + {at}{left})");
                let Some(when) = when else { return Ok(Some(format!("const auto v{} = {load};", id.0))) };
                let kind = crate::cuda::print::c_type(w.subject.dtype(slot));
                let when = self.expression(w, *when, &[], false)?;
                Some(format!(
                    "pack<{kind}, {width}> v{} = {{}};\nif ({}) v{} = {load};",
                    id.0, when.text, id.0
                ))
            }
            ValueOp::Random { buffer, distribution, key, index } if is_block(index, axis) => {
                let at = self.affine(w, index, false);
                let text = random(w, *buffer, *distribution, *key, &at, width);
                Some(format!("const auto v{} = {text};", id.0))
            }
            _ => None,
        })
    }

    fn section(&mut self, w: &mut Writer<'_>, roots: &[ValueId], names: bool) -> Result<(), String> {
        self.section_at(w, roots, names, false)
    }

    /// Gives names to what these values need and is worth one; with `names`, to the values themselves. `inside`: of the loop over `k`.
    fn section_at(
        &mut self,
        w: &mut Writer<'_>,
        roots: &[ValueId],
        names: bool,
        inside: bool,
    ) -> Result<(), String> {
        let stage = self.stage;
        let needed = self.closure(roots);
        let mut uses = vec![0usize; stage.values.len()];
        for id in roots {
            uses[id.index()] += 1;
        }
        let mut early = vec![false; stage.values.len()];
        for id in &needed {
            let op = &stage.value(*id).op;
            for operand in op.operands() {
                uses[operand.index()] += 1;
            }
            // What one of two may read is read whichever it is, so that there is no branch around it.
            if let ValueOp::Select(_, x, y) = op {
                early[x.index()] = true;
                early[y.index()] = true;
            }
        }
        let mut texts: Vec<Option<Expr>> = vec![None; stage.values.len()];
        for id in needed {
            let value = stage.value(id);
            let expression = self.expression(w, id, &texts, inside)?;
            let load = matches!(value.op, ValueOp::Load { when: None, .. });
            let wanted = uses[id.index()] > 1
                || names && roots.contains(&id)
                || early[id.index()] && load
                || expression.text.len() > LONG;
            if wanted && !is_trivial(&value.op) {
                w.line(format!("const {} v{} = {};", register(value.dtype), id.0, expression.text));
                self.names[id.index()] = Some(Expr::atom(format!("v{}", id.0)));
            }
            texts[id.index()] = Some(expression);
        }
        // What is left without a name is spelt out where it is used.
        Ok(())
    }

    fn affine(&self, w: &mut Writer<'_>, at: &Affine, inside: bool) -> Expr {
        w.affine(at, &|place| self.variable(place, inside))
    }

    /// A value's name, or what it is. `texts`: what operands without a name are, as far as that is known.
    fn expression(
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
    fn element(&self, w: &mut Writer<'_>, buffer: BufferId, at: &Affine, inside: bool) -> Expr {
        let slot = w.subject.slot(buffer);
        let at = self.affine(w, at, inside);
        let element = format!("{}[{}]", w.subject.name(slot), at.text);
        Expr::atom(if is_half(w.subject.dtype(slot)) { format!("widen({element})") } else { element })
    }

    /// What a store writes, as it lies in memory.
    fn stored(&self, w: &mut Writer<'_>, store: &Store, inside: bool) -> Result<String, String> {
        let dtype = self.stage.value(store.value).dtype;
        if !is_half(dtype) {
            return Ok(self.expression(w, store.value, &[], inside)?.text);
        }
        // A cast to the narrow type rounds, as the store does.
        let value = match (&self.names[store.value.index()], &self.stage.value(store.value).op) {
            (None, ValueOp::Cast(x)) if !is_half(self.stage.value(*x).dtype) => {
                let from = self.stage.value(*x).dtype;
                spell::cast(&self.expression(w, *x, &[], inside)?, from, DType::F32)
            }
            _ => self.expression(w, store.value, &[], inside)?,
        };
        Ok(format!("{}({})", narrow(dtype), value.text))
    }

    fn store(&self, w: &mut Writer<'_>, store: &Store, inside: bool) -> Result<(), String> {
        let slot = w.subject.slot(store.buffer);
        let at = self.affine(w, &store.at, inside);
        let place = format!("{}[{}]", w.subject.name(slot), at.text);
        if !store.accumulate {
            let value = self.stored(w, store, inside)?;
            w.line(format!("{place} = {value};"));
            return Ok(());
        }
        let dtype = self.stage.value(store.value).dtype;
        let value = self.expression(w, store.value, &[], inside)?;
        w.line(match dtype {
            DType::F32 | DType::F64 => format!("{place} += {};", value.text),
            DType::F16 | DType::BF16 => {
                format!("{place} = {}(widen({place}) + {});", narrow(dtype), value.at(Level::Product))
            }
            _ => format!("{place} = int_add({place}, {});", value.text),
        });
        Ok(())
    }

    /// One step of a reduction.
    fn fold(&self, w: &mut Writer<'_>, at: usize, inside: bool) -> Result<(), String> {
        let reduce = &self.stage.reductions[at];
        let value = self.expression(w, reduce.of, &[], inside)?;
        let pack = if self.is_pack(reduce) { "[k]" } else { "" };
        let so_far = format!("r{at}{pack}");
        match reduce.how {
            How::Fold(reduction) => {
                let dtype = self.stage.value(reduce.of).dtype;
                w.line(spell::step(reduction, dtype, &so_far, &value));
            }
            How::Arg { .. } => {
                let step = self.row_major(w, inside);
                let functor = spell::functor(reduce.how);
                w.line(format!("arg_step<{functor}>({so_far}, t{at}{pack}, {}, {});", value.text, step.text));
            }
        }
        Ok(())
    }

    /// The row-major index over the reduced loops.
    fn row_major(&self, w: &mut Writer<'_>, inside: bool) -> Expr {
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

/// Is it as short as a name?
fn is_trivial(op: &ValueOp) -> bool {
    matches!(op, ValueOp::Constant(_) | ValueOp::Dim(_) | ValueOp::Index(_) | ValueOp::Reduced(_))
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

fn random(
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
