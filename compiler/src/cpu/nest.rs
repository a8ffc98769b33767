//! Loops: a nest's index space, its stages, and the ways a stage is vectorised.
//!
//! Vectors are 4 × f32, and the innermost loop is unrolled by 4 of them; what is left over runs element by element with the
//! very same operations, so an element's bits do not depend on where a range begins. A reduction along the vector axis keeps
//! 16 partial sums, element i going to sum i mod 16, and folds them in one fixed tree.

use super::Job;
use super::fold::{Fold, twin};
use super::half::is_half;
use super::isa::has_fma;
use super::value::{Body, Held, Width};
use crate::graph::{DType, Dim};
use crate::plan::affine::Affine;
use crate::plan::nest::{How, Stage, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, Variable};
use std::collections::HashMap;

/// Elements of the partial results of a reduction along the vector axis.
pub const LANES: i64 = 16;
/// A reduction of a constant extent up to this is simply walked.
const SHORT: i64 = 16;
/// Small reductions around a vector (pooling windows) are unrolled up to so many steps.
const UNROLL: i64 = 9;

pub type Result<T> = std::result::Result<T, String>;

/// Lowers one nest.
pub(crate) struct Lower<'a, 'f> {
    pub job: &'a Job,
    pub b: FunctionBuilder<'f>,
    pub buffers: Vec<ir::Value>,
    dims: HashMap<Dim, ir::Value>,
    pub table: ir::Value,
    /// The current loop variables of the stage.
    pub iv: Vec<Option<ir::Value>>,
    /// Readable memory for loads whose guard is false.
    pub nowhere: ir::Value,
    pub call_conv: CallConv,
    pub has_fma: bool,
    range: (ir::Value, ir::Value),
}

impl std::fmt::Debug for Lower<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lower").field("job", self.job).finish_non_exhaustive()
    }
}

/// `fn(buffers, dims, table, begin, end)`
pub fn signature(isa: &dyn TargetIsa) -> ir::Signature {
    let mut signature = ir::Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(types::I64); 5];
    signature
}

pub(crate) fn lower(job: &Job, mut b: FunctionBuilder<'_>, isa: &dyn TargetIsa) -> Result<()> {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let fixed = MemFlagsData::trusted().with_readonly().with_can_move();
    let mut buffers = Vec::new();
    for slot in 0..job.dtypes.len() {
        buffers.push(b.ins().load(types::I64, fixed, params[0], 8 * slot as i32));
    }
    let mut dims = HashMap::new();
    for (place, dim) in job.dims.iter().enumerate() {
        dims.insert(dim.clone(), b.ins().load(types::I64, fixed, params[1], 8 * place as i32));
    }
    let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 128, 4));
    let nowhere = b.ins().stack_addr(types::I64, slot, 0);
    let mut lower = Lower {
        job,
        b,
        buffers,
        dims,
        table: params[2],
        iv: Vec::new(),
        nowhere,
        call_conv: isa.default_call_conv(),
        has_fma: has_fma(isa),
        range: (params[3], params[4]),
    };
    lower.nest()?;
    lower.b.ins().return_(&[]);
    lower.b.seal_all_blocks();
    lower.b.finalize(isa.frontend_config());
    Ok(())
}

impl Lower<'_, '_> {
    pub fn int(&mut self, value: i64) -> ir::Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// The value of a dim: a constant, or what the caller passed.
    pub fn dim(&mut self, dim: &Dim) -> Result<ir::Value> {
        match dim.as_constant() {
            Some(value) => Ok(self.int(value)),
            None => self.dims.get(dim).copied().ok_or_else(|| format!("the dim {dim} was not passed")),
        }
    }

    /// The value of a map at the current loop variables, without one of them.
    pub fn affine(&mut self, at: &Affine, without: Option<usize>) -> Result<ir::Value> {
        let mut sum: Option<ir::Value> = None;
        for (variable, coefficient) in &at.terms {
            if Some(*variable) == without {
                continue;
            }
            let iv = self.iv.get(*variable).copied().flatten().ok_or("a loop variable is not set")?;
            let term = if coefficient.is(1) {
                iv
            } else {
                let by = self.dim(coefficient)?;
                self.b.ins().imul(iv, by)
            };
            sum = Some(match sum {
                Some(sum) => self.b.ins().iadd(sum, term),
                None => term,
            });
        }
        if !at.constant.is(0) || sum.is_none() {
            let constant = self.dim(&at.constant)?;
            sum = Some(match sum {
                Some(sum) => self.b.ins().iadd(sum, constant),
                None => constant,
            });
        }
        sum.ok_or_else(|| "an empty sum".into())
    }

    /// `for i in lo..hi step by`, as long as `fit` elements are left. The variable holds where it stopped afterwards.
    pub fn steps(
        &mut self,
        variable: Variable,
        hi: ir::Value,
        by: i64,
        fit: i64,
        body: &mut dyn FnMut(&mut Self, ir::Value) -> Result<()>,
    ) -> Result<()> {
        let (head, inside, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let limit = if fit == 1 {
            hi
        } else {
            let slack = self.int(fit - 1);
            self.b.ins().isub(hi, slack)
        };
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        let at = self.b.use_var(variable);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, at, limit);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        body(self, at)?;
        let next = self.b.ins().iadd_imm_s(at, by);
        self.b.def_var(variable, next);
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(after);
        Ok(())
    }

    pub fn for_each(
        &mut self,
        hi: ir::Value,
        body: &mut dyn FnMut(&mut Self, ir::Value) -> Result<()>,
    ) -> Result<()> {
        let variable = self.b.declare_var(types::I64);
        let zero = self.int(0);
        self.b.def_var(variable, zero);
        self.steps(variable, hi, 1, 1, body)
    }

    fn nest(&mut self) -> Result<()> {
        let nest = &self.job.nest;
        let Some(first) = nest.stages.first() else { return Ok(()) };
        let (begin, end) = self.range;
        if nest.space == 1 && first.vector == Some(0) {
            // The range itself is walked in vectors.
            self.iv = vec![None; first.extents().len()];
            return self.along(first, begin, end, None);
        }
        if let ([stage], 1) = (nest.stages.as_slice(), nest.space)
            && stage.vector == Some(1)
            && stage.kept.len() == 2
        {
            let mut body = Body::new(stage, stage.vector);
            if let Some(extent) = body.rows_in_strips(self) {
                self.iv = vec![None; stage.extents().len()];
                return self.rows_in_strips(stage, &mut body, begin, end, extent);
            }
        }
        let extents = first.kept[..nest.space].to_vec();
        // Where the range begins, from the innermost loop out; then the variables count on.
        let mut rest = begin;
        let mut counters = vec![None; nest.space];
        for (place, extent) in extents.iter().enumerate().rev() {
            let variable = self.b.declare_var(types::I64);
            if place == 0 {
                self.b.def_var(variable, rest);
            } else {
                let extent = self.dim(extent)?;
                // An empty extent makes an empty range; the division must not trap on it.
                let one = self.int(1);
                let by = self.b.ins().umax(extent, one);
                let quotient = self.b.ins().udiv(rest, by);
                let whole = self.b.ins().imul(quotient, by);
                let remainder = self.b.ins().isub(rest, whole);
                self.b.def_var(variable, remainder);
                rest = quotient;
            }
            counters[place] = Some(variable);
        }
        let counters: Vec<Variable> = counters.into_iter().flatten().collect();
        let flat = self.b.declare_var(types::I64);
        self.b.def_var(flat, begin);
        self.steps(flat, end, 1, 1, &mut |lower, _| {
            let here: Vec<ir::Value> = counters.iter().map(|c| lower.b.use_var(*c)).collect();
            for stage in &lower.job.nest.stages {
                lower.iv = vec![None; stage.extents().len()];
                for (slot, value) in lower.iv.iter_mut().zip(&here) {
                    *slot = Some(*value);
                }
                lower.inner(stage, lower.job.nest.space)?;
            }
            lower.advance(&counters, &extents)
        })
    }

    /// The next point of the index space: the innermost variable counts, and carries at its extent.
    fn advance(&mut self, counters: &[Variable], extents: &[Dim]) -> Result<()> {
        let mut carry = self.int(1);
        for (place, (counter, extent)) in counters.iter().zip(extents).enumerate().rev() {
            let at = self.b.use_var(*counter);
            let next = self.b.ins().iadd(at, carry);
            if place == 0 {
                self.b.def_var(*counter, next);
            } else {
                let extent = self.dim(extent)?;
                let over = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, next, extent);
                let zero = self.int(0);
                let wrapped = self.b.ins().select(over, zero, next);
                self.b.def_var(*counter, wrapped);
                carry = self.b.ins().uextend(types::I64, over);
            }
        }
        Ok(())
    }

    /// The kept loops of a stage from `from` on, up to the vectorised one.
    fn inner(&mut self, stage: &Stage, from: usize) -> Result<()> {
        if from < stage.kept.len() && stage.vector != Some(from) {
            let extent = self.dim(&stage.kept[from])?;
            return self.for_each(extent, &mut |lower, iv| {
                lower.iv[from] = Some(iv);
                lower.inner(stage, from + 1)
            });
        }
        match stage.vector {
            Some(v) if v < stage.kept.len() => {
                let (zero, extent) = (self.int(0), self.dim(&stage.kept[v])?);
                self.along(stage, zero, extent, stage.kept[v].as_constant())
            }
            _ => self.row(stage),
        }
    }

    /// Walks a kept vector axis. `whole` is its extent where that is constant and the walk starts at 0.
    fn along(&mut self, stage: &Stage, lo: ir::Value, hi: ir::Value, whole: Option<i64>) -> Result<()> {
        let axis = stage.vector.ok_or("no vector axis")?;
        let mut body = Body::new(stage, Some(axis));
        body.hoist(self)?;
        if body.calls_in_strips(self) {
            return self.in_strips(stage, &mut body, lo, hi);
        }
        let vector = body.vectorises();
        self.widths(lo, hi, whole, vector, true, &mut |lower, width, at| {
            lower.iv[axis] = Some(at);
            lower.at_point(stage, &mut body, width)
        })
    }

    /// `lo..hi` in steps of four vectors, then of one, then element by element.
    pub fn widths(
        &mut self,
        lo: ir::Value,
        hi: ir::Value,
        whole: Option<i64>,
        vector: bool,
        single: bool,
        body: &mut dyn FnMut(&mut Self, Width, ir::Value) -> Result<()>,
    ) -> Result<()> {
        let variable = self.b.declare_var(types::I64);
        self.b.def_var(variable, lo);
        let fits = |low: i64, left: &dyn Fn(i64) -> i64| whole.is_none_or(|e| left(e) >= low);
        if vector && fits(LANES, &|e| e) {
            self.steps(variable, hi, LANES, LANES, &mut |lower, at| body(lower, Width::Vectors(4), at))?;
        }
        if vector && single && fits(4, &|e| e % LANES) {
            self.steps(variable, hi, 4, 4, &mut |lower, at| body(lower, Width::Vectors(1), at))?;
        }
        let rest = if !vector {
            1
        } else if single {
            4
        } else {
            LANES
        };
        if rest == 1 || fits(1, &|e| e % rest) {
            self.steps(variable, hi, 1, 1, &mut |lower, at| body(lower, Width::Scalar, at))?;
        }
        Ok(())
    }

    /// Everything that a stage does at one point (or vector of points) of its kept loops.
    fn at_point(&mut self, stage: &Stage, body: &mut Body<'_>, width: Width) -> Result<()> {
        body.begin(width);
        if stage.reductions.is_empty() && stage.reduced.is_empty() {
            return self.stores(body, false);
        }
        let results = self.reduce_here(stage, body, width)?;
        body.begin(width);
        body.reduced = results;
        self.stores(body, false)
    }

    /// Walks the reduced loops with the results in registers.
    fn reduce_here(&mut self, stage: &Stage, body: &mut Body<'_>, width: Width) -> Result<Vec<Held>> {
        let mut folds = Vec::new();
        for reduce in &stage.reductions {
            folds.push(match twin(stage, reduce) {
                Some(_) => None,
                None => Some(Fold::new(self, stage, body, reduce.how, reduce.of, width)?),
            });
        }
        self.reduced_loops(stage, 0, &mut |lower| {
            body.begin(width);
            lower.stores(body, true)?;
            for fold in folds.iter().flatten() {
                fold.step(lower, stage, body, width)?;
            }
            Ok(())
        })?;
        let mut results = Vec::new();
        for (reduce, fold) in stage.reductions.iter().zip(&folds) {
            let other = twin(stage, reduce).and_then(|twin| folds[twin].as_ref());
            results.push(match (fold, other) {
                (Some(fold), _) => fold.result(self),
                (None, Some(other)) => other.extreme(self),
                (None, None) => return Err("a reduction has no fold".into()),
            });
        }
        Ok(results)
    }

    /// The reduced loops from `from` on. Those that make few steps together are unrolled.
    fn reduced_loops(
        &mut self,
        stage: &Stage,
        from: usize,
        body: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let place = stage.kept.len() + from;
        let Some((extent, inner)) = stage.reduced.get(from..).and_then(<[Dim]>::split_first) else {
            return body(self);
        };
        let steps = inner
            .iter()
            .try_fold(extent.as_constant(), |a, e| Some(Some(a?.saturating_mul(e.as_constant()?))));
        if steps.flatten().is_some_and(|s| s <= UNROLL) {
            for step in 0..extent.as_constant().unwrap_or(0) {
                self.iv[place] = Some(self.int(step));
                self.reduced_loops(stage, from + 1, body)?;
            }
            return Ok(());
        }
        let extent = self.dim(extent)?;
        self.for_each(extent, &mut |lower, iv| {
            lower.iv[place] = Some(iv);
            lower.reduced_loops(stage, from + 1, body)
        })
    }

    /// One point of the kept loops with the vector axis, if any, among the reduced ones.
    fn row(&mut self, stage: &Stage) -> Result<()> {
        let steps: Option<i64> =
            stage.reduced.iter().map(Dim::as_constant).try_fold(1i64, |a, e| Some(a.saturating_mul(e?)));
        let mut body = Body::new(stage, stage.vector);
        body.hoist(self)?;
        let simple = stage.vector.is_none()
            || stage.reductions.iter().any(|r| matches!(r.how, How::Arg { .. }))
            || steps.is_some_and(|s| s <= SHORT)
            || !body.vectorises();
        if simple {
            body.scalar_only();
            return self.at_point(stage, &mut body, Width::Scalar);
        }
        let axis = stage.vector.ok_or("no vector axis")?;
        let lanes = self.lanes(stage)?;
        let outer = stage.reduced.len() - 1;
        let extent = &stage.reduced[outer];
        let (zero, hi, whole) = (self.int(0), self.dim(extent)?, extent.as_constant());
        self.outer_reduced(stage, 0, outer, &mut |lower| {
            if body.calls_in_strips(lower) {
                return lower.fold_in_strips(stage, &mut body, &lanes, hi);
            }
            let mut folds = Vec::new();
            for (reduce, address) in stage.reductions.iter().zip(&lanes) {
                folds.push(Fold::load(lower, stage, reduce.how, reduce.of, *address)?);
            }
            let variable = lower.b.declare_var(types::I64);
            lower.b.def_var(variable, zero);
            if whole.is_none_or(|e| e >= LANES) {
                lower.steps(variable, hi, LANES, LANES, &mut |lower, at| {
                    lower.iv[axis] = Some(at);
                    body.begin(Width::Vectors(4));
                    lower.stores(&mut body, true)?;
                    for fold in &folds {
                        fold.step(lower, stage, &mut body, Width::Vectors(4))?;
                    }
                    Ok(())
                })?;
            }
            for (fold, address) in folds.iter().zip(&lanes) {
                fold.save(lower, *address);
            }
            if whole.is_none_or(|e| e % LANES != 0) {
                lower.steps(variable, hi, 1, 1, &mut |lower, at| {
                    lower.iv[axis] = Some(at);
                    body.begin(Width::Scalar);
                    lower.stores(&mut body, true)?;
                    lower.fold_one(stage, &mut body, &lanes, at)
                })?;
            }
            Ok(())
        })?;
        let mut results = Vec::new();
        for (reduce, address) in stage.reductions.iter().zip(&lanes) {
            results.push(Held::One(self.tree(stage, reduce.how, reduce.of, *address)?));
        }
        self.iv[axis] = None;
        body.begin(Width::Scalar);
        body.reduced = results;
        self.stores(&mut body, false)
    }

    fn outer_reduced(
        &mut self,
        stage: &Stage,
        from: usize,
        to: usize,
        body: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if from == to {
            return body(self);
        }
        let place = stage.kept.len() + from;
        let extent = self.dim(&stage.reduced[from])?;
        self.for_each(extent, &mut |lower, iv| {
            lower.iv[place] = Some(iv);
            lower.outer_reduced(stage, from + 1, to, body)
        })
    }

    /// Memory for the 16 partial results of each reduction, holding its neutral element.
    fn lanes(&mut self, stage: &Stage) -> Result<Vec<ir::Value>> {
        let mut addresses = Vec::new();
        for reduce in &stage.reductions {
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 64, 4);
            let slot = self.b.create_sized_stack_slot(slot);
            let address = self.b.ins().stack_addr(types::I64, slot, 0);
            let dtype = stage.value(reduce.of).dtype;
            let start = self.neutral(reduce.how, dtype)?;
            let start = self.splat(start, dtype);
            for part in 0..4 {
                self.b.ins().store(MemFlagsData::trusted(), start, address, 16 * part);
            }
            addresses.push(address);
        }
        Ok(addresses)
    }

    /// One element into its lane.
    pub fn fold_one(
        &mut self,
        stage: &Stage,
        body: &mut Body<'_>,
        lanes: &[ir::Value],
        at: ir::Value,
    ) -> Result<()> {
        for (reduce, address) in stage.reductions.iter().zip(lanes) {
            let dtype = stage.value(reduce.of).dtype;
            let value = body.value(self, reduce.of)?.one()?;
            let value = self.as_lane(value, dtype);
            let lane = self.b.ins().band_imm_s(at, LANES - 1);
            let offset = self.b.ins().ishl_imm_u(lane, 2);
            let place = self.b.ins().iadd(*address, offset);
            let flags = MemFlagsData::trusted();
            let ty = lane_type(dtype);
            let old = self.b.ins().load(ty, flags, place, 0);
            let new = self.combine(reduce.how, dtype, old, value)?;
            self.b.ins().store(flags, new, place, 0);
        }
        Ok(())
    }

    /// The fixed tree over the 16 lanes.
    fn tree(&mut self, stage: &Stage, how: How, of: ValueId, address: ir::Value) -> Result<ir::Value> {
        let dtype = stage.value(of).dtype;
        let ty = vector_type(dtype);
        let flags = MemFlagsData::trusted();
        let parts: Vec<ir::Value> = (0..4).map(|p| self.b.ins().load(ty, flags, address, 16 * p)).collect();
        let left = self.combine(how, dtype, parts[0], parts[1])?;
        let right = self.combine(how, dtype, parts[2], parts[3])?;
        let sum = self.combine(how, dtype, left, right)?;
        let lanes: Vec<ir::Value> = (0..4).map(|l| self.b.ins().extractlane(sum, l)).collect();
        let left = self.combine(how, dtype, lanes[0], lanes[1])?;
        let right = self.combine(how, dtype, lanes[2], lanes[3])?;
        let result = self.combine(how, dtype, left, right)?;
        Ok(self.lane_to_scalar(result, dtype))
    }
}

/// The scalar type of one lane of a vector of this dtype (masks are 32 bits wide).
pub fn lane_type(dtype: DType) -> ir::Type {
    if dtype == DType::F32 || is_half(dtype) { types::F32 } else { types::I32 }
}

pub fn vector_type(dtype: DType) -> ir::Type {
    if dtype == DType::F32 || is_half(dtype) { types::F32X4 } else { types::I32X4 }
}
