//! What a thread does at one point of a stage's loops, or at a few points side by side.
//!
//! A value that is read once stands where it is read; others get a name. Along an axis, whose points one thread computes side by side,
//! what all of them share comes first, then whole packs are loaded, then a short loop over `k` computes each point, and packs are
//! stored. All that is read at a point is read before anything is written there, for a result may lie over an operand.

use super::spell::{self, Expr, Level, is_half, narrow, register};
use super::value::{Axis, Scope, Writer, is_block, random, twin};
use crate::cuda::print::c_type;
use crate::graph::DType;
use crate::plan::nest::{How, Store, ValueId, ValueOp};
use std::collections::BTreeSet;

/// Longer expressions are cut up by names.
const LONG: usize = 88;

impl Scope<'_> {
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
            if let Some(held) = self.held.get(&store.buffer) {
                let value = self.stored(w, store, false)?;
                w.line(format!("{} = {value};", held.place));
            }
            if self.is_in_memory(store) {
                self.store(w, store, false)?;
            }
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
            if *packed && !self.held.contains_key(&store.buffer) {
                let kind = c_type(w.subject.dtype(slot));
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
            if *packed || self.held.contains_key(&store.buffer) {
                let value = self.stored(w, store, true)?;
                w.line(format!("{}[k] = {value};", self.result(store)));
            }
            if !*packed {
                self.store(w, store, true)?;
            }
        }
        w.close();
        self.names = before;
        let packed =
            stores.iter().zip(&packed).filter(|(store, packed)| **packed && self.is_in_memory(store));
        for (store, _) in packed {
            let slot = w.subject.slot(store.buffer);
            let at = self.affine(w, &store.at, false).at(Level::Sum);
            let left = axis.left.as_ref().map_or(String::new(), |left| format!(", {left}"));
            w.line(format!("store({} + {at}, {}{left});", w.subject.name(slot), self.result(store)));
        }
        Ok(())
    }

    fn is_in_memory(&self, store: &Store) -> bool {
        self.held.get(&store.buffer).is_none_or(|held| held.stored)
    }

    /// The pack that a store fills.
    fn result(&self, store: &Store) -> String {
        if let Some(held) = self.held.get(&store.buffer) {
            return held.place.clone();
        }
        let place = self.stage.stores.iter().position(|s| s == store).unwrap_or(0);
        if self.stage.stores.len() > 1 { format!("result{place}") } else { "result".into() }
    }

    /// Is a store one of whole packs?
    fn is_whole(&self, w: &Writer<'_>, axis: &Axis, store: &Store) -> bool {
        if !self.is_in_memory(store) {
            return true;
        }
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
                let kind = c_type(w.subject.dtype(slot));
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

    pub fn section(&mut self, w: &mut Writer<'_>, roots: &[ValueId], names: bool) -> Result<(), String> {
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

    /// What a store writes, as it lies in memory.
    pub fn stored(&self, w: &mut Writer<'_>, store: &Store, inside: bool) -> Result<String, String> {
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

    pub fn store(&self, w: &mut Writer<'_>, store: &Store, inside: bool) -> Result<(), String> {
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
}

/// Is it as short as a name?
fn is_trivial(op: &ValueOp) -> bool {
    matches!(op, ValueOp::Constant(_) | ValueOp::Dim(_) | ValueOp::Index(_) | ValueOp::Reduced(_))
}
