//! Reductions in registers: what they start from, how a step changes them, what they give.

use super::nest::{Lower, Result, vector_type};
use super::value::{Body, Held, Width};
use crate::graph::DType;
use crate::graph::op::Reduction;
use crate::plan::affine::Affine;
use crate::plan::nest::{How, Reduce, Stage, ValueId};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use cranelift_frontend::Variable;

/// The arg-reduction of the same value that finds this reduction's result on its way.
pub fn twin(stage: &Stage, reduce: &Reduce) -> Option<usize> {
    let largest = match reduce.how {
        How::Fold(Reduction::Max) => true,
        How::Fold(Reduction::Min) => false,
        _ => return None,
    };
    stage.reductions.iter().position(|r| *r == Reduce { how: How::Arg { largest }, of: reduce.of })
}

/// A reduction in registers.
#[derive(Debug)]
pub struct Fold {
    how: How,
    of: ValueId,
    dtype: DType,
    best: Vec<Variable>,
    /// For an arg-reduction: the index of the best.
    place: Vec<Variable>,
}

impl Fold {
    pub fn new(
        lower: &mut Lower<'_, '_>,
        stage: &Stage,
        body: &Body<'_>,
        how: How,
        of: ValueId,
        width: Width,
    ) -> Result<Fold> {
        let dtype = stage.value(of).dtype;
        let varies = body.varies(of) && width != Width::Scalar;
        let parts = if varies { width.parts() } else { 1 };
        let mut start = lower.neutral(how, dtype)?;
        if varies {
            start = lower.splat(start, dtype);
        }
        let declare = |lower: &mut Lower<'_, '_>, start: ir::Value| {
            let ty = lower.b.func.dfg.value_type(start);
            let variable = lower.b.declare_var(ty);
            lower.b.def_var(variable, start);
            variable
        };
        let best = (0..parts).map(|_| declare(lower, start)).collect();
        let place = if matches!(how, How::Arg { .. }) {
            let mut zero = lower.b.ins().iconst(types::I32, 0);
            if varies {
                zero = lower.b.ins().splat(types::I32X4, zero);
            }
            (0..parts).map(|_| declare(lower, zero)).collect()
        } else {
            Vec::new()
        };
        Ok(Fold { how, of, dtype, best, place })
    }

    /// The four vectors of partial results in memory.
    pub fn load(
        lower: &mut Lower<'_, '_>,
        stage: &Stage,
        how: How,
        of: ValueId,
        address: ir::Value,
    ) -> Result<Fold> {
        let dtype = stage.value(of).dtype;
        let best = (0..4)
            .map(|part| {
                let flags = MemFlagsData::trusted();
                let value = lower.b.ins().load(vector_type(dtype), flags, address, 16 * part);
                let variable = lower.b.declare_var(vector_type(dtype));
                lower.b.def_var(variable, value);
                variable
            })
            .collect();
        Ok(Fold { how, of, dtype, best, place: Vec::new() })
    }

    pub fn save(&self, lower: &mut Lower<'_, '_>, address: ir::Value) {
        for (part, variable) in self.best.iter().enumerate() {
            let value = lower.b.use_var(*variable);
            lower.b.ins().store(MemFlagsData::trusted(), value, address, 16 * part as i32);
        }
    }

    pub fn step(
        &self,
        lower: &mut Lower<'_, '_>,
        stage: &Stage,
        body: &mut Body<'_>,
        width: Width,
    ) -> Result<()> {
        let value = body.value(lower, self.of)?;
        let parts: Vec<ir::Value> = match (&value, self.best.len()) {
            (Held::One(v), 1) if width == Width::Scalar || !body.varies(self.of) => vec![*v],
            (Held::One(v), count) => vec![lower.splat(*v, self.dtype); count],
            (Held::Many(list), _) => list.to_vec(),
        };
        for (part, value) in parts.into_iter().enumerate() {
            let old = lower.b.use_var(self.best[part]);
            if let How::Arg { largest } = self.how {
                let better = lower.better(largest, self.dtype, value, old)?;
                let place = lower.row_major(stage)?;
                let before = lower.b.use_var(self.place[part]);
                let wide = lower.b.func.dfg.value_type(old).is_vector();
                let (best, place) = if wide {
                    let place = lower.b.ins().splat(types::I32X4, place);
                    (lower.blend(better, value, old), lower.b.ins().bitselect(better, place, before))
                } else {
                    (lower.b.ins().select(better, value, old), lower.b.ins().select(better, place, before))
                };
                lower.b.def_var(self.best[part], best);
                lower.b.def_var(self.place[part], place);
            } else {
                let new = lower.combine(self.how, self.dtype, old, value)?;
                lower.b.def_var(self.best[part], new);
            }
        }
        Ok(())
    }

    pub fn result(&self, lower: &mut Lower<'_, '_>) -> Held {
        Fold::held(lower, if self.place.is_empty() { &self.best } else { &self.place })
    }

    /// The best element itself, of an arg-reduction too.
    pub fn extreme(&self, lower: &mut Lower<'_, '_>) -> Held {
        Fold::held(lower, &self.best)
    }

    fn held(lower: &mut Lower<'_, '_>, variables: &[Variable]) -> Held {
        let values: Vec<ir::Value> = variables.iter().map(|v| lower.b.use_var(*v)).collect();
        match values.as_slice() {
            [one] if !lower.b.func.dfg.value_type(*one).is_vector() => Held::One(*one),
            many => Held::Many(many.into()),
        }
    }
}

impl Lower<'_, '_> {
    /// The row-major index over the reduced loops, as i32.
    fn row_major(&mut self, stage: &Stage) -> Result<ir::Value> {
        let first = stage.kept.len();
        let index: Vec<Affine> = (0..stage.reduced.len()).map(|v| Affine::variable(first + v)).collect();
        let mut flat: Option<ir::Value> = None;
        for (place, extent) in index.iter().zip(&stage.reduced) {
            let at = self.affine(place, None)?;
            flat = Some(match flat {
                Some(outer) => {
                    let extent = self.dim(extent)?;
                    let outer = self.b.ins().imul(outer, extent);
                    self.b.ins().iadd(outer, at)
                }
                None => at,
            });
        }
        let flat = match flat {
            Some(flat) => flat,
            None => self.int(0),
        };
        Ok(self.b.ins().ireduce(types::I32, flat))
    }

    /// What a reduction starts from, as a scalar.
    pub fn neutral(&mut self, how: How, dtype: DType) -> Result<ir::Value> {
        let reduction = match how {
            How::Fold(reduction) => reduction,
            How::Arg { largest: true } => Reduction::Max,
            How::Arg { largest: false } => Reduction::Min,
        };
        self.constant(crate::plan::neutral(reduction, dtype), dtype)
    }
}
