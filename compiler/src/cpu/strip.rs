//! Calls of the vector math library, strip by strip.
//!
//! A stage with calls along its vector axis runs in strips of [`STRIP`] elements and, within a strip, in phases: a loop makes
//! the arguments of the calls of one level (and what later levels need from this one) and leaves them in memory; then the calls
//! run over the whole strip; then the next level reads the results. The last phase stores or reduces. A strip and all its
//! arguments fit the first-level cache. Where rows are short, a strip is made of several of them, and calls of one function in
//! one phase are one call: their arguments lie end to end.
//!
//! The argument of a gate is a sum of two loads, a product and a bias, and its result is a factor of what the gate lets through, which is often added
//! to something. Such a call ([`Gate`]) reads all of that where it lies and multiplies and adds in its own registers, so that no loop makes an
//! argument, and none is needed behind the gate.
//!
//! What a strip stores is often in no cache, and a store that waits for its line holds up those behind it. So a strip begins by asking for the
//! lines of its results: they come while the calls compute.

use super::nest::{LANES, Lower, Result, vector_type};
use super::value::{Body, Held, Width, function_of};
use crate::graph::op::{Binary, Distribution};
use crate::graph::{DType, Dim};
use crate::plan::affine::Affine;
use crate::plan::nest::{Stage, Store, Value, ValueId, ValueOp};
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, types};
use smallvec::SmallVec;
use weft_runtime::kernels::math::MathFunction;

/// Elements of a strip: a multiple of the 16 lanes of a reduction.
pub const STRIP: i64 = 256;

/// The phases of a stage, and where values lie between them.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The phase that makes each value; a call's result is there from the phase after its arguments on.
    level: Vec<usize>,
    /// The strip buffer of each value that has one.
    places: Vec<Option<ir::Value>>,
    /// Written in memory at the end of its own phase: not read back within it.
    called: Vec<bool>,
    /// The gates, by the values that come out of them.
    gates: Vec<Option<Gate>>,
    current: usize,
    /// The position within the strip.
    at: ir::Value,
}

/// `function(a + b) · factor + addend`, one call. Nobody else reads the sum, or what comes before a factor or an addend that is there.
#[derive(Clone, Copy, Debug)]
struct Gate {
    function: MathFunction,
    /// Two loads that go along the axis element by element.
    sum: [ValueId; 2],
    /// In memory, as the addend is: such a load, or the result of a call.
    factor: Option<ValueId>,
    addend: Option<ValueId>,
    /// The call and, where there is an addend, the product.
    within: [Option<ValueId>; 2],
}

impl Gate {
    fn operands(&self) -> impl Iterator<Item = ValueId> {
        self.factor.into_iter().chain(self.addend)
    }
}

impl Phase {
    /// Whether a value is computed (not read back) in the current phase.
    pub fn is_here(&self, id: ValueId) -> bool {
        self.level[id.index()] == self.current && !self.called[id.index()]
    }
}

/// Rows of a strip, all as long as each other.
#[derive(Clone, Copy, Debug)]
struct Rows {
    /// Of variable 0, or one that goes along the axis.
    along_axis: bool,
    count: ir::Value,
    length: ir::Value,
}

/// Elements of a row that is worth asking for its lines.
const FETCHED: i64 = 64;
/// So many results at most: more lines than a core waits for at once would keep the operands of the calls waiting.
const FETCHES: usize = 3;

impl Body<'_> {
    /// Whether the stage's calls are worth strips; single calls at a point are made in place.
    pub fn calls_in_strips(&self, _lower: &Lower<'_, '_>) -> bool {
        self.vectorises()
            && self.varying_calls().next().is_some()
            && (self.stage.reduced.is_empty() || self.axis.is_some_and(|a| a >= self.stage.kept.len()))
    }

    /// The length of the rows of which several make a strip: short ones, all whole vectors, with no call but those that go along
    /// them from beginning to end.
    pub fn rows_in_strips(&self, lower: &Lower<'_, '_>) -> Option<i64> {
        let extent = self.axis.and_then(|axis| self.stage.kept.get(axis)).and_then(Dim::as_constant)?;
        let fits = extent >= LANES && extent % LANES == 0 && 2 * extent <= STRIP;
        let along = |(at, value): (usize, &Value)| {
            let varies = self.varies(ValueId(at as u32));
            let call = function_of(&value.op, value.dtype).is_some();
            !matches!(value.op, ValueOp::Random { .. })
                && (!call || varies && value.op.operands().iter().all(|operand| self.varies(*operand)))
        };
        let whole = self.stage.reduced.is_empty() && self.calls_in_strips(lower);
        (fits && whole && self.stage.values.iter().enumerate().all(along)).then_some(extent)
    }

    /// A value of an earlier phase.
    pub fn read_strip(&mut self, lower: &mut Lower<'_, '_>, id: ValueId) -> Result<Option<Held>> {
        let Some(strip) = &self.strip else { return Ok(None) };
        let Some(place) = strip.places[id.index()] else { return Ok(None) };
        if strip.is_here(id) {
            return Ok(None);
        }
        let dtype = self.stage.value(id).dtype;
        let offset = lower.b.ins().ishl_imm_u(strip.at, 2);
        let address = lower.b.ins().iadd(place, offset);
        let flags = MemFlagsData::trusted();
        Ok(Some(match self.width() {
            Width::Scalar => {
                let value = lower.b.ins().load(super::nest::lane_type(dtype), flags, address, 0);
                Held::One(lower.lane_to_scalar(value, dtype))
            }
            Width::Vectors(parts) => {
                let ty = vector_type(dtype);
                let load = |part: usize| lower.b.ins().load(ty, flags, address, 16 * part as i32);
                Held::Many((0..parts).map(load).collect())
            }
        }))
    }

    /// Sets the phases of the stage up: levels, and strip buffers for arguments, results and values that cross phases.
    fn plan_strips(&self, lower: &mut Lower<'_, '_>) -> Phase {
        let stage = self.stage;
        let count = stage.values.len();
        let gates = self.gates(lower);
        let within: Vec<ValueId> = gates.iter().flatten().flat_map(|gate| gate.within).flatten().collect();
        let (mut level, mut called) = (vec![0; count], vec![false; count]);
        let mut crosses = vec![false; count];
        for (at, value) in stage.values.iter().enumerate() {
            let id = ValueId(at as u32);
            if !self.varies(id) || within.contains(&id) {
                continue;
            }
            let operands: SmallVec<[ValueId; 3]> = match &gates[at] {
                Some(gate) => gate.operands().collect(),
                None => value.op.operands().into_iter().collect(),
            };
            let call = gates[at].is_some() || function_of(&value.op, value.dtype).is_some();
            let highest = operands.iter().map(|o| level[o.index()]).max().unwrap_or(0);
            called[at] = call || matches!(value.op, ValueOp::Random { .. });
            level[at] = highest + usize::from(called[at]);
            for operand in operands {
                let leaf =
                    matches!(stage.value(operand).op, ValueOp::Load { when: None, .. } | ValueOp::Index(_));
                // An argument of a call, or a value that a later phase reads and that is no plain load. What a gate reads is in memory.
                let read = call || level[operand.index()] < level[at] && !leaf;
                if self.varies(operand) && read && gates[at].is_none() {
                    crosses[operand.index()] = true;
                }
            }
        }
        // The last phase stores and reduces.
        let last = level.iter().copied().max().unwrap_or(0);
        for id in stage.stores.iter().map(|s| s.value).chain(stage.reductions.iter().map(|r| r.of)) {
            let leaf = matches!(stage.value(id).op, ValueOp::Load { when: None, .. } | ValueOp::Index(_));
            if self.varies(id) && level[id.index()] < last && !leaf {
                crosses[id.index()] = true;
            }
        }
        let places = (0..count)
            .map(|at| (called[at] || crosses[at]).then(|| lower.scratch(4 * STRIP as u32)))
            .collect();
        Phase { level, places, called, gates, current: 0, at: lower.nowhere }
    }

    /// The gates of the stage, by the values that come out of them.
    fn gates(&self, lower: &Lower<'_, '_>) -> Vec<Option<Gate>> {
        let mut gates: Vec<Option<Gate>> = vec![None; self.stage.values.len()];
        // What is behind a value has a higher number.
        for at in (0..gates.len()).rev() {
            let id = ValueId(at as u32);
            if gates.iter().flatten().all(|gate| !gate.within.contains(&Some(id))) {
                gates[at] = self.gate(lower, id);
            }
        }
        gates
    }

    /// The gate that a value comes out of.
    fn gate(&self, lower: &Lower<'_, '_>, id: ValueId) -> Option<Gate> {
        let ValueOp::Binary(Binary::Add, x, y) = self.stage.value(id).op else {
            return self.gate_without_addend(lower, id);
        };
        [(y, x), (x, y)].into_iter().find_map(|(product, addend)| {
            let gate = self.gate_without_addend(lower, product)?;
            let fits = gate.factor.is_some() && self.used_once(product) && self.is_in_memory(lower, addend);
            fits.then(|| Gate { addend: Some(addend), within: [gate.within[0], Some(product)], ..gate })
        })
    }

    /// The same, for a call or for a product of one.
    fn gate_without_addend(&self, lower: &Lower<'_, '_>, id: ValueId) -> Option<Gate> {
        let ValueOp::Binary(Binary::Mul, x, y) = self.stage.value(id).op else {
            return self.call_of_sum(lower, id);
        };
        [(x, y), (y, x)].into_iter().find_map(|(call, factor)| {
            let gate = self.call_of_sum(lower, call)?;
            let fits = self.used_once(call) && self.is_in_memory(lower, factor);
            fits.then_some(Gate { factor: Some(factor), within: [Some(call), None], ..gate })
        })
    }

    /// The call of a sum of two loads that a value is.
    fn call_of_sum(&self, lower: &Lower<'_, '_>, id: ValueId) -> Option<Gate> {
        let value = self.stage.value(id);
        let function = match function_of(&value.op, value.dtype)? {
            MathFunction::Tanh => MathFunction::TanhOfSum,
            MathFunction::Sigmoid => MathFunction::SigmoidOfSum,
            _ => return None,
        };
        let &[argument] = value.op.operands().as_slice() else { return None };
        let ValueOp::Binary(Binary::Add, x, y) = self.stage.value(argument).op else { return None };
        let fits = self.varies(id) && self.used_once(argument);
        let loads = [x, y].into_iter().all(|load| self.goes_along(lower, load));
        let gate = Gate { function, sum: [x, y], factor: None, addend: None, within: [None; 2] };
        (fits && loads).then_some(gate)
    }

    /// Is it a load of f32 whose elements lie side by side along the axis?
    fn goes_along(&self, lower: &Lower<'_, '_>, id: ValueId) -> bool {
        match &self.stage.value(id).op {
            ValueOp::Load { buffer, at, when: None } => {
                lower.job.dtypes.get(buffer.index()) == Some(&DType::F32)
                    && self.axis.is_some_and(|axis| at.coefficient(axis).is(1))
            }
            _ => false,
        }
    }

    /// Does a value lie in memory before a call: such a load, or the result of another call?
    fn is_in_memory(&self, lower: &Lower<'_, '_>, id: ValueId) -> bool {
        let value = self.stage.value(id);
        let called = || function_of(&value.op, value.dtype).is_some() || self.gate(lower, id).is_some();
        self.goes_along(lower, id) || self.varies(id) && called()
    }

    /// Calls of one function in one phase, each by its argument and its result, where the argument has no other use in a call.
    fn alike_calls(&self, phase: &Phase) -> Vec<Vec<(ValueId, ValueId)>> {
        type Calls = Vec<(ValueId, ValueId)>;
        let mut groups: Vec<((usize, MathFunction), Calls)> = Vec::new();
        let calls: Vec<ValueId> = self.varying_calls().collect();
        let takes = |call: &ValueId, id: ValueId| self.stage.value(*call).op.operands().contains(&id);
        for result in &calls {
            let value = self.stage.value(*result);
            let operands = value.op.operands();
            let (Some(function), [argument]) = (function_of(&value.op, value.dtype), operands.as_slice())
            else {
                continue;
            };
            if phase.gates[result.index()].is_some()
                || !phase.called[result.index()]
                || phase.called[argument.index()]
                || calls.iter().filter(|c| takes(c, *argument)).count() > 1
            {
                continue;
            }
            let key = (phase.level[result.index()], function);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, list)) => list.push((*argument, *result)),
                None => groups.push((key, vec![(*argument, *result)])),
            }
        }
        groups.into_iter().map(|(_, list)| list).filter(|list| list.len() > 1).collect()
    }
}

impl Lower<'_, '_> {
    /// A kept vector axis with calls: `lo..hi` strip by strip.
    pub fn in_strips(
        &mut self,
        stage: &Stage,
        body: &mut Body<'_>,
        lo: ir::Value,
        hi: ir::Value,
    ) -> Result<()> {
        self.strips(stage, body, lo, hi, None, &mut |lower, body, _, _| lower.stores(body, false))
    }

    /// The rows `lo..hi` of variable 0, each `extent` elements along the axis, so many in a strip as there is room for.
    pub fn rows_in_strips(
        &mut self,
        stage: &Stage,
        body: &mut Body<'_>,
        lo: ir::Value,
        hi: ir::Value,
        extent: i64,
    ) -> Result<()> {
        self.strips(stage, body, lo, hi, Some(extent), &mut |lower, body, _, _| lower.stores(body, false))
    }

    /// A reduced vector axis with calls.
    pub fn fold_in_strips(
        &mut self,
        stage: &Stage,
        body: &mut Body<'_>,
        lanes: &[ir::Value],
        hi: ir::Value,
    ) -> Result<()> {
        let zero = self.int(0);
        self.strips(stage, body, zero, hi, None, &mut |lower, body, width, at| {
            lower.stores(body, true)?;
            match width {
                // Strips start at multiples of 16, so the four vectors are the lanes in order.
                Width::Vectors(4) => {
                    let flags = MemFlagsData::trusted();
                    for (reduce, address) in stage.reductions.iter().zip(lanes) {
                        let dtype = stage.value(reduce.of).dtype;
                        let value = body.value(lower, reduce.of)?;
                        for part in 0..4usize {
                            let value = lower.part(&value, part, dtype);
                            let offset = 16 * part as i32;
                            let ty = vector_type(dtype);
                            let old = lower.b.ins().load(ty, flags, *address, offset);
                            let new = lower.combine(reduce.how, dtype, old, value)?;
                            lower.b.ins().store(flags, new, *address, offset);
                        }
                    }
                    Ok(())
                }
                _ => lower.fold_one(stage, body, lanes, at),
            }
        })
    }

    /// `lo..hi` of the axis, or of rows of so many elements.
    fn strips(
        &mut self,
        stage: &Stage,
        body: &mut Body<'_>,
        lo: ir::Value,
        hi: ir::Value,
        rows: Option<i64>,
        last: &mut dyn FnMut(&mut Self, &mut Body<'_>, Width, ir::Value) -> Result<()>,
    ) -> Result<()> {
        let axis = body.axis.ok_or("no vector axis")?;
        let phase = body.plan_strips(self);
        let levels = phase.level.iter().copied().max().unwrap_or(0);
        let groups = if rows.is_some() { body.alike_calls(&phase) } else { Vec::new() };
        let room = |lower: &mut Self, calls: usize| lower.scratch(4 * STRIP as u32 * calls as u32);
        let blocks: Vec<[ir::Value; 2]> =
            groups.iter().map(|group| [room(self, group.len()), room(self, group.len())]).collect();
        let start = self.b.declare_var(types::I64);
        self.b.def_var(start, lo);
        let step = rows.map_or(STRIP, |extent| STRIP / extent);
        self.steps(start, hi, step, 1, &mut |lower, first| {
            let left = lower.b.ins().isub(hi, first);
            let most = lower.int(step);
            let steps = lower.b.ins().smin(left, most);
            let count = rows.map_or(steps, |extent| lower.b.ins().imul_imm_s(steps, extent));
            let length = rows.map_or(count, |extent| lower.int(extent));
            let one = lower.int(1);
            let rows_here =
                Rows { along_axis: rows.is_none(), count: if rows.is_some() { steps } else { one }, length };
            lower.fetch(body, first, rows_here)?;
            let mut phase = phase.clone();
            for (group, [arguments, results]) in groups.iter().zip(&blocks) {
                for (place, (argument, result)) in group.iter().enumerate() {
                    let bytes = lower.b.ins().imul_imm_s(count, 4 * place as i64);
                    phase.places[argument.index()] = Some(lower.b.ins().iadd(*arguments, bytes));
                    phase.places[result.index()] = Some(lower.b.ins().iadd(*results, bytes));
                }
            }
            for level in 0..=levels {
                let mut calls = Vec::new();
                let mut written = Vec::new();
                for (at, value) in stage.values.iter().enumerate() {
                    let id = ValueId(at as u32);
                    if phase.called[at] && phase.level[at] == level + 1 {
                        calls.push((id, value));
                    } else if phase.places[at].is_some() && phase.level[at] == level && !phase.called[at] {
                        written.push(id);
                    }
                }
                if !written.is_empty() || level == levels {
                    // At a place of the strip, whose loop variables are set.
                    let mut point = |lower: &mut Self, width: Width, at: ir::Value, position: ir::Value| {
                        body.begin(width);
                        body.strip = Some(Phase { current: level, at, ..phase.clone() });
                        for id in &written {
                            if let Some(place) = phase.places[id.index()] {
                                lower.keep(body, *id, place, at)?;
                            }
                        }
                        if level == levels { last(lower, body, width, position) } else { Ok(()) }
                    };
                    let zero = lower.int(0);
                    match rows {
                        None => lower.widths(
                            zero,
                            count,
                            None,
                            true,
                            level != levels,
                            &mut |lower, width, at| {
                                let position = lower.b.ins().iadd(first, at);
                                lower.iv[axis] = Some(position);
                                point(lower, width, at, position)
                            },
                        )?,
                        Some(extent) => lower.for_each(steps, &mut |lower, row| {
                            let (zero, end) = (lower.int(0), lower.int(extent));
                            let begin = lower.b.ins().imul_imm_s(row, extent);
                            lower.iv[0] = Some(lower.b.ins().iadd(first, row));
                            lower.widths(
                                zero,
                                end,
                                Some(extent),
                                true,
                                true,
                                &mut |lower, width, position| {
                                    lower.iv[axis] = Some(position);
                                    let at = lower.b.ins().iadd(begin, position);
                                    point(lower, width, at, position)
                                },
                            )
                        })?,
                    }
                }
                for (id, value) in calls {
                    let group = groups.iter().find(|group| group.iter().any(|(_, result)| *result == id));
                    if group.is_some_and(|group| group[0].1 != id) {
                        continue;
                    }
                    let to = phase.places[id.index()].ok_or("a call has no strip")?;
                    if let ValueOp::Random { buffer, distribution, key, index } = &value.op {
                        lower.iv[axis] = Some(first);
                        let element = lower.affine(index, None)?;
                        lower.call_random(*distribution, to, element, count, buffer.index(), *key);
                        continue;
                    }
                    if let Some(gate) = phase.gates[id.index()] {
                        lower.call_gate(body, &phase, gate, to, first, rows_here)?;
                        continue;
                    }
                    let function = function_of(&value.op, value.dtype).ok_or("not a call")?;
                    let mut arguments: SmallVec<[ir::Value; 2]> = SmallVec::new();
                    for operand in value.op.operands() {
                        arguments.push(match phase.places[operand.index()] {
                            Some(place) => place,
                            // An argument that is the same along the strip (a power's exponent).
                            None => lower.spread(body, operand, count, axis, first)?,
                        });
                    }
                    let times = group.map_or(1, |group| group.len() as i64);
                    let all = lower.b.ins().imul_imm_s(count, times);
                    lower.call(function, to, &arguments, all);
                }
            }
            body.strip = None;
            Ok(())
        })
    }

    /// Where the first row of a strip lies in a buffer, and how many elements the next one is further.
    fn first_row(
        &mut self,
        body: &Body<'_>,
        slot: usize,
        at: &Affine,
        first: ir::Value,
        rows: Rows,
    ) -> Result<(ir::Value, ir::Value)> {
        let axis = body.axis.ok_or("no vector axis")?;
        let (zero, dtype) = (self.int(0), self.job.dtypes.get(slot).copied().ok_or("a buffer has no slot")?);
        self.iv[axis] = Some(if rows.along_axis { first } else { zero });
        if !rows.along_axis {
            self.iv[0] = Some(first);
        }
        let (address, _) = self.walking(body, slot, at, dtype)?;
        let step = if rows.along_axis { zero } else { self.dim(&at.coefficient(0))? };
        Ok((address, step))
    }

    /// Asks for the lines of what a strip stores and does not read.
    fn fetch(&mut self, body: &Body<'_>, first: ir::Value, rows: Rows) -> Result<()> {
        let stage = body.stage;
        let axis = body.axis.ok_or("no vector axis")?;
        if stage.extents().get(axis).and_then(Dim::as_constant).is_some_and(|extent| extent < FETCHED) {
            return Ok(());
        }
        let fresh = |store: &&Store| {
            store.at.coefficient(axis).is(1)
                && !store.accumulate
                && stage.reads().all(|(buffer, _)| buffer != store.buffer)
        };
        if stage.stores.iter().filter(fresh).count() > FETCHES {
            return Ok(());
        }
        for store in stage.stores.iter().filter(fresh) {
            let (start, step) = self.first_row(body, store.buffer.index(), &store.at, first, rows)?;
            let size = self.job.dtypes[store.buffer.index()].size() as i64;
            let (step, bytes) =
                (self.b.ins().imul_imm_s(step, size), self.b.ins().imul_imm_s(rows.length, size));
            self.call_table(MathFunction::Fetch, &[start, step, rows.count, bytes]);
        }
        Ok(())
    }

    /// A gate, over the rows of a strip.
    fn call_gate(
        &mut self,
        body: &Body<'_>,
        phase: &Phase,
        gate: Gate,
        to: ir::Value,
        first: ir::Value,
        rows: Rows,
    ) -> Result<()> {
        let mut arguments: SmallVec<[ir::Value; 12]> = SmallVec::new();
        arguments.push(to);
        let [a, b] = gate.sum;
        for operand in [Some(a), Some(b), gate.factor, gate.addend] {
            let place = operand.and_then(|id| phase.places[id.index()]);
            let (start, step) = match operand.map(|id| &body.stage.value(id).op) {
                None => (self.int(0), self.int(0)),
                Some(ValueOp::Load { buffer, at, .. }) if place.is_none() => {
                    self.first_row(body, buffer.index(), at, first, rows)?
                }
                Some(_) => (place.ok_or("what a gate reads is in no strip")?, rows.length),
            };
            arguments.extend([start, step]);
        }
        arguments.extend([rows.count, rows.length]);
        self.call_table(gate.function, &arguments);
        Ok(())
    }

    /// Writes a value of this phase into its strip.
    fn keep(&mut self, body: &mut Body<'_>, id: ValueId, place: ir::Value, at: ir::Value) -> Result<()> {
        let dtype = body.stage.value(id).dtype;
        let held = body.value(self, id)?;
        let offset = self.b.ins().ishl_imm_u(at, 2);
        let address = self.b.ins().iadd(place, offset);
        let flags = MemFlagsData::trusted();
        match body.width() {
            Width::Scalar => {
                let value = held.one()?;
                let value = self.as_lane(value, dtype);
                self.b.ins().store(flags, value, address, 0);
            }
            Width::Vectors(parts) => {
                for part in 0..parts {
                    let value = self.part(&held, part, dtype);
                    self.b.ins().store(flags, value, address, 16 * part as i32);
                }
            }
        }
        Ok(())
    }

    /// A strip of one value.
    fn spread(
        &mut self,
        body: &mut Body<'_>,
        id: ValueId,
        count: ir::Value,
        axis: usize,
        first: ir::Value,
    ) -> Result<ir::Value> {
        let place = self.scratch(4 * STRIP as u32);
        let dtype = body.stage.value(id).dtype;
        self.iv[axis] = Some(first);
        body.begin(Width::Scalar);
        let value = body.value(self, id)?.one()?;
        let value = self.as_lane(value, dtype);
        let zero = self.int(0);
        self.widths(zero, count, None, false, false, &mut |lower, _, at| {
            let offset = lower.b.ins().ishl_imm_u(at, 2);
            let address = lower.b.ins().iadd(place, offset);
            lower.b.ins().store(MemFlagsData::trusted(), value, address, 0);
            Ok(())
        })?;
        Ok(place)
    }

    /// Memory of this call's own.
    pub fn scratch(&mut self, bytes: u32) -> ir::Value {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
        let slot = self.b.create_sized_stack_slot(slot);
        self.b.ins().stack_addr(types::I64, slot, 0)
    }

    /// `function(to, sources..., count)`
    pub fn call(&mut self, function: MathFunction, to: ir::Value, sources: &[ir::Value], count: ir::Value) {
        let mut arguments: SmallVec<[ir::Value; 4]> = SmallVec::new();
        arguments.push(to);
        arguments.extend_from_slice(sources);
        arguments.push(count);
        self.call_table(function, &arguments);
    }

    pub fn call_random(
        &mut self,
        distribution: Distribution,
        to: ir::Value,
        first: ir::Value,
        count: ir::Value,
        state: usize,
        key: u64,
    ) {
        let function = match distribution {
            Distribution::Uniform => MathFunction::Uniform,
            Distribution::Normal => MathFunction::Normal,
        };
        let state = self.buffers[state];
        let key = self.int(key as i64);
        self.call_table(function, &[to, first, count, state, key]);
    }

    fn call_table(&mut self, function: MathFunction, arguments: &[ir::Value]) {
        let mut signature = ir::Signature::new(self.call_conv);
        signature.params = vec![AbiParam::new(types::I64); arguments.len()];
        let signature = self.b.import_signature(signature);
        let fixed = MemFlagsData::trusted().with_readonly().with_can_move();
        let callee = self.b.ins().load(types::I64, fixed, self.table, 8 * function as i32);
        self.b.ins().call_indirect(signature, callee, arguments);
    }
}

const _: () = assert!(STRIP % LANES == 0);
