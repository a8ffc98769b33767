//! The values of a stage at one point of its loops, or at 4 or 16 points side by side.
//!
//! [`Body`] memoises values of the current loop body. What does not vary along the vector axis stays a scalar and is spread when a
//! vector needs it; Cranelift moves such code out of the loop. Masks are 4 × i32 of all ones or zeros; a scalar bool is an i8.
//! Bytes in vectors are 4 × i32 too, and half floats are f32 (see [`super::half`]).

use super::half::is_half;
use super::nest::{Lower, Result, vector_type};
use crate::graph::DType;
use crate::graph::op::{Binary, Compare, Unary};
use crate::plan::nest::{Stage, ValueId, ValueOp};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use smallvec::SmallVec;
use weft_runtime::kernels::math::MathFunction;

/// How many elements a loop body makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Scalar,
    /// So many vectors of 4.
    Vectors(usize),
}

impl Width {
    pub fn parts(self) -> usize {
        match self {
            Width::Scalar => 1,
            Width::Vectors(parts) => parts,
        }
    }

    pub fn elements(self) -> i64 {
        match self {
            Width::Scalar => 1,
            Width::Vectors(parts) => 4 * parts as i64,
        }
    }
}

/// A value: one scalar for all points, or a vector for each four.
#[derive(Clone, Debug)]
pub enum Held {
    One(ir::Value),
    Many(SmallVec<[ir::Value; 4]>),
}

impl Held {
    pub fn one(&self) -> Result<ir::Value> {
        match self {
            Held::One(value) => Ok(*value),
            Held::Many(_) => Err("a scalar was expected".into()),
        }
    }
}

/// The values of one loop body.
#[derive(Debug)]
pub struct Body<'a> {
    pub stage: &'a Stage,
    pub axis: Option<usize>,
    varies: Vec<bool>,
    /// Reads the reduced loops' variables, or results of reductions.
    inside: Vec<bool>,
    uses: Vec<u32>,
    vector: bool,
    width: Width,
    hoisted: Vec<Option<ir::Value>>,
    memo: Vec<Option<Held>>,
    pub reduced: Vec<Held>,
    /// In a strip: where values of earlier phases lie. See [`super::strip`].
    pub strip: Option<super::strip::Phase>,
}

impl<'a> Body<'a> {
    pub fn new(stage: &'a Stage, axis: Option<usize>) -> Body<'a> {
        let count = stage.values.len();
        let (mut varies, mut inside) = (vec![false; count], vec![false; count]);
        let mut uses = vec![0; count];
        let kept_axis = axis.is_some_and(|a| a < stage.kept.len());
        for (at, value) in stage.values.iter().enumerate() {
            let maps = value.op.maps();
            varies[at] = axis.is_some_and(|axis| maps.iter().any(|m| m.depends_on(axis)));
            inside[at] = maps.iter().any(|m| m.terms.iter().any(|(v, _)| *v >= stage.kept.len()));
            for operand in value.op.operands() {
                varies[at] |= varies[operand.index()];
                inside[at] |= inside[operand.index()];
                uses[operand.index()] += 1;
            }
            if let ValueOp::Reduced(place) = value.op {
                inside[at] = true;
                varies[at] = kept_axis && stage.reductions.get(place).is_some_and(|r| varies[r.of.index()]);
            }
        }
        for id in stage.stores.iter().map(|s| s.value).chain(stage.reductions.iter().map(|r| r.of)) {
            uses[id.index()] += 1;
        }
        let mut body = Body {
            stage,
            axis,
            varies,
            inside,
            uses,
            vector: false,
            width: Width::Scalar,
            hoisted: vec![None; count],
            memo: vec![None; count],
            reduced: Vec::new(),
            strip: None,
        };
        body.vector = axis.is_some() && body.fits_vectors();
        body
    }

    pub fn varies(&self, id: ValueId) -> bool {
        self.vector && self.varies[id.index()]
    }

    pub fn width(&self) -> Width {
        self.width
    }

    /// Whether the stage has a vector form: f32, i32 and masks; bytes and half floats are only read, made from f32, and stored.
    pub fn vectorises(&self) -> bool {
        self.vector
    }

    /// Whether nothing else reads a value.
    pub fn used_once(&self, id: ValueId) -> bool {
        self.uses[id.index()] == 1
    }

    pub fn scalar_only(&mut self) {
        self.vector = false;
    }

    fn fits_vectors(&self) -> bool {
        let wide = |dtype| matches!(dtype, DType::F32 | DType::I32 | DType::Bool) || is_half(dtype);
        let values = self.stage.values.iter().enumerate().filter(|(at, _)| self.varies[*at]);
        let mut fits = values.map(|(_, value)| match &value.op {
            ValueOp::Load { when, .. } => {
                (wide(value.dtype) || value.dtype == DType::U8)
                    && when.is_none_or(|w| !self.varies[w.index()])
            }
            ValueOp::Index(_) => matches!(value.dtype, DType::F32 | DType::I32),
            ValueOp::Inside(_) => false,
            ValueOp::Random { .. } => value.dtype == DType::F32,
            ValueOp::Binary(op, x, _) => match self.stage.value(*x).dtype {
                DType::F32 | DType::Bool => true,
                DType::I32 => {
                    matches!(op, Binary::Add | Binary::Sub | Binary::Mul | Binary::Max | Binary::Min)
                }
                _ => false,
            },
            ValueOp::Unary(op, _) => match value.dtype {
                DType::F32 | DType::Bool => true,
                DType::I32 => matches!(op, Unary::Neg | Unary::Abs),
                _ => false,
            },
            ValueOp::Compare(_, x, _) => wide(self.stage.value(*x).dtype),
            ValueOp::Cast(x) => match (self.stage.value(*x).dtype, value.dtype) {
                (DType::F32, DType::U8) => true,
                (from, to) => wide(to) && (wide(from) || from == DType::U8),
            },
            _ => wide(value.dtype),
        });
        fits.all(|fit| fit)
            && self.stage.stores.iter().all(|s| {
                let dtype = self.stage.value(s.value).dtype;
                wide(dtype) || dtype == DType::U8 && !s.accumulate
            })
            && self.stage.reductions.iter().all(|r| wide(self.stage.value(r.of).dtype))
    }

    /// Starts a loop body: nothing is known but what was hoisted.
    pub fn begin(&mut self, width: Width) {
        self.width = width;
        self.memo.iter_mut().for_each(|m| *m = None);
    }

    /// Makes the calls that are the same for the whole of the loops to come. (Cheap arithmetic moves by itself.)
    pub fn hoist(&mut self, lower: &mut Lower<'_, '_>) -> Result<()> {
        let stage = self.stage;
        self.begin(Width::Scalar);
        for (at, value) in stage.values.iter().enumerate() {
            let same = !self.varies[at] && !self.inside[at];
            if same && function_of(&value.op, value.dtype).is_some() {
                self.hoisted[at] = Some(self.value(lower, ValueId(at as u32))?.one()?);
            }
        }
        Ok(())
    }

    /// The values that vary along the vector axis and are made by a call.
    pub fn varying_calls(&self) -> impl Iterator<Item = ValueId> {
        self.stage.values.iter().enumerate().filter_map(|(at, v)| {
            let call = function_of(&v.op, v.dtype).is_some() || matches!(v.op, ValueOp::Random { .. });
            (call && self.varies[at]).then_some(ValueId(at as u32))
        })
    }

    pub fn value(&mut self, lower: &mut Lower<'_, '_>, id: ValueId) -> Result<Held> {
        if let Some(value) = self.hoisted[id.index()] {
            return Ok(Held::One(value));
        }
        if let Some(held) = &self.memo[id.index()] {
            return Ok(held.clone());
        }
        let held = match self.read_strip(lower, id)? {
            Some(held) => held,
            None => self.compute(lower, id)?,
        };
        self.memo[id.index()] = Some(held.clone());
        Ok(held)
    }

    fn compute(&mut self, lower: &mut Lower<'_, '_>, id: ValueId) -> Result<Held> {
        let stage = self.stage;
        let value = stage.value(id);
        let dtype = value.dtype;
        let wide = self.varies(id) && self.width != Width::Scalar;
        Ok(match &value.op {
            ValueOp::Constant(bits) => Held::One(lower.constant(f64::from_bits(*bits), dtype)?),
            ValueOp::Dim(dim) => {
                let value = lower.dim(dim)?;
                Held::One(lower.cast(value, DType::I64, dtype)?)
            }
            ValueOp::Reduced(place) => {
                self.reduced.get(*place).cloned().ok_or("a result is read before its reduction")?
            }
            ValueOp::Index(at) if wide => lower.ramp(at, self.axis, self.width, dtype)?,
            ValueOp::Index(at) => {
                let at = lower.affine(at, None)?;
                Held::One(lower.cast(at, DType::I64, dtype)?)
            }
            ValueOp::Inside(tests) => {
                let mut all: Option<ir::Value> = None;
                for (at, limit) in tests {
                    let at = lower.affine(at, None)?;
                    let limit = lower.dim(limit)?;
                    // One unsigned comparison: what is negative is large.
                    let test = lower.b.ins().icmp(ir::condcodes::IntCC::UnsignedLessThan, at, limit);
                    all = Some(match all {
                        Some(all) => lower.b.ins().band(all, test),
                        None => test,
                    });
                }
                match all {
                    Some(all) => Held::One(all),
                    None => Held::One(lower.constant(1.0, DType::Bool)?),
                }
            }
            ValueOp::Load { buffer, at, when } => {
                let when = self.guard(lower, *when)?;
                lower.load(self, buffer.index(), at, when, dtype, wide)?
            }
            ValueOp::Random { buffer, distribution, key, index } => {
                lower.random(self, buffer.index(), *distribution, *key, index, wide)?
            }
            op => {
                if let Some(fused) = self.fused(lower, id, wide)? {
                    return Ok(fused);
                }
                let mut operands: SmallVec<[Held; 3]> = SmallVec::new();
                let ids = op.operands();
                for operand in &ids {
                    operands.push(self.value(lower, *operand)?);
                }
                let dtypes: SmallVec<[DType; 3]> = ids.iter().map(|i| stage.value(*i).dtype).collect();
                if let Some(function) = function_of(op, dtype) {
                    return lower.call_here(function, &operands, dtype, wide, self.width);
                }
                if !wide {
                    let scalars: Result<SmallVec<[ir::Value; 3]>> = operands.iter().map(Held::one).collect();
                    return Ok(Held::One(lower.scalar(op, dtype, &dtypes, &scalars?, &self.known(&ids))?));
                }
                let known = self.known(&ids);
                let mut parts = SmallVec::new();
                for part in 0..self.width.parts() {
                    let mut vectors: SmallVec<[ir::Value; 3]> = SmallVec::new();
                    for (operand, dtype) in operands.iter().zip(&dtypes) {
                        vectors.push(lower.part(operand, part, *dtype));
                    }
                    parts.push(lower.vector(op, dtype, &dtypes, &vectors, &known)?);
                }
                Held::Many(parts)
            }
        })
    }

    /// Which operands are constants that are no NaN.
    fn known(&self, ids: &[ValueId]) -> SmallVec<[bool; 3]> {
        let number = |id: &ValueId| matches!(self.stage.value(*id).op, ValueOp::Constant(b) if !f64::from_bits(b).is_nan());
        ids.iter().map(number).collect()
    }

    fn guard(&mut self, lower: &mut Lower<'_, '_>, when: Option<ValueId>) -> Result<Option<ir::Value>> {
        when.map(|when| self.value(lower, when)?.one()).transpose()
    }

    /// `a·b + c` and `c - a·b` in one rounding, the same in every width.
    fn fused(&mut self, lower: &mut Lower<'_, '_>, id: ValueId, wide: bool) -> Result<Option<Held>> {
        let stage = self.stage;
        let (op, x, y) = match stage.value(id).op {
            ValueOp::Binary(op @ (Binary::Add | Binary::Sub), x, y)
                if stage.value(id).dtype == DType::F32 =>
            {
                (op, x, y)
            }
            _ => return Ok(None),
        };
        let product = |v: ValueId| match stage.value(v).op {
            ValueOp::Binary(Binary::Mul, a, b)
                if self.uses[v.index()] == 1 && self.varies[v.index()] == self.varies[id.index()] =>
            {
                Some((a, b))
            }
            _ => None,
        };
        let in_this_phase = |v: ValueId| self.strip.as_ref().is_none_or(|s| s.is_here(v));
        let (a, b, c, negate) = match (op, product(x), product(y)) {
            (_, _, Some((a, b))) if in_this_phase(y) => (a, b, x, op == Binary::Sub),
            (Binary::Add, Some((a, b)), _) if in_this_phase(x) => (a, b, y, false),
            _ => return Ok(None),
        };
        let (a, b, c) = (self.value(lower, a)?, self.value(lower, b)?, self.value(lower, c)?);
        let make = |lower: &mut Lower<'_, '_>, a: ir::Value, b: ir::Value, c: ir::Value| {
            let a = if negate { lower.b.ins().fneg(a) } else { a };
            lower.fma(a, b, c)
        };
        if !wide {
            let (a, b, c) = (a.one()?, b.one()?, c.one()?);
            return Ok(Some(Held::One(make(lower, a, b, c))));
        }
        let mut parts = SmallVec::new();
        for part in 0..self.width.parts() {
            let spread = |lower: &mut Lower<'_, '_>, held: &Held| lower.part(held, part, DType::F32);
            let (a, b, c) = (spread(lower, &a), spread(lower, &b), spread(lower, &c));
            parts.push(make(lower, a, b, c));
        }
        Ok(Some(Held::Many(parts)))
    }
}

/// The function of the math library that makes a value.
pub fn function_of(op: &ValueOp, dtype: DType) -> Option<MathFunction> {
    use MathFunction as M;
    let double = dtype == DType::F64;
    let pick = |single, wide| Some(if double { wide } else { single });
    if !matches!(dtype, DType::F32 | DType::F64) {
        return None;
    }
    match op {
        ValueOp::Unary(Unary::Exp, _) => pick(M::Exp, M::Exp64),
        ValueOp::Unary(Unary::Expm1, _) => pick(M::Expm1, M::Expm164),
        ValueOp::Unary(Unary::Log, _) => pick(M::Log, M::Log64),
        ValueOp::Unary(Unary::Log1p, _) => pick(M::Log1p, M::Log1p64),
        ValueOp::Unary(Unary::Tanh, _) => pick(M::Tanh, M::Tanh64),
        ValueOp::Unary(Unary::Sigmoid, _) => pick(M::Sigmoid, M::Sigmoid64),
        ValueOp::Unary(Unary::Erf, _) => pick(M::Erf, M::Erf64),
        ValueOp::Unary(Unary::Sin, _) => pick(M::Sin, M::Sin64),
        ValueOp::Unary(Unary::Cos, _) => pick(M::Cos, M::Cos64),
        ValueOp::Binary(Binary::Pow, ..) => pick(M::Pow, M::Pow64),
        _ => None,
    }
}

impl Lower<'_, '_> {
    /// One vector of a value.
    pub fn part(&mut self, held: &Held, part: usize, dtype: DType) -> ir::Value {
        match held {
            Held::One(value) => self.splat(*value, dtype),
            Held::Many(parts) => parts.get(part).copied().unwrap_or(parts[0]),
        }
    }

    /// A scalar in all lanes.
    pub fn splat(&mut self, value: ir::Value, dtype: DType) -> ir::Value {
        let value = self.as_lane(value, dtype);
        self.b.ins().splat(vector_type(dtype), value)
    }

    /// A scalar as it stands in a lane of a vector.
    pub fn as_lane(&mut self, value: ir::Value, dtype: DType) -> ir::Value {
        match dtype {
            DType::Bool => {
                let wide = self.b.ins().uextend(types::I32, value);
                self.b.ins().ineg(wide)
            }
            DType::U8 => self.b.ins().uextend(types::I32, value),
            _ => value,
        }
    }

    /// A lane of a vector as a scalar.
    pub fn lane_to_scalar(&mut self, value: ir::Value, dtype: DType) -> ir::Value {
        match dtype {
            DType::Bool => self.b.ins().icmp_imm_s(ir::condcodes::IntCC::NotEqual, value, 0),
            DType::U8 => self.b.ins().ireduce(types::I8, value),
            _ => value,
        }
    }

    /// An index along the axis: `base + step · (0, 1, 2, 3)`.
    fn ramp(
        &mut self,
        at: &crate::plan::affine::Affine,
        axis: Option<usize>,
        width: Width,
        dtype: DType,
    ) -> Result<Held> {
        let start = self.affine(at, None)?;
        let step = self.dim(&at.coefficient(axis.ok_or("no vector axis")?))?;
        let (start, step) = (self.b.ins().ireduce(types::I32, start), self.b.ins().ireduce(types::I32, step));
        let zero = self.b.ins().iconst(types::I32, 0);
        let mut places = self.b.ins().splat(types::I32X4, zero);
        for lane in 1..4u8 {
            let by = self.b.ins().imul_imm_s(step, i64::from(lane));
            places = self.b.ins().insertlane(places, by, lane);
        }
        let mut parts = SmallVec::new();
        for part in 0..width.parts() {
            let by = self.b.ins().imul_imm_s(step, 4 * part as i64);
            let first = self.b.ins().iadd(start, by);
            let first = self.b.ins().splat(types::I32X4, first);
            let mut index = self.b.ins().iadd(first, places);
            if dtype == DType::F32 {
                index = self.b.ins().fcvt_from_sint(types::F32X4, index);
            }
            parts.push(index);
        }
        Ok(Held::Many(parts))
    }

    /// A call for the elements of this body alone.
    fn call_here(
        &mut self,
        function: MathFunction,
        operands: &[Held],
        dtype: DType,
        wide: bool,
        width: Width,
    ) -> Result<Held> {
        let flags = MemFlagsData::trusted();
        let mut addresses = Vec::new();
        for operand in operands {
            let address = self.scratch(64);
            if wide {
                for part in 0..width.parts() {
                    let value = self.part(operand, part, dtype);
                    self.b.ins().store(flags, value, address, 16 * part as i32);
                }
            } else {
                let value = operand.one()?;
                self.b.ins().store(flags, value, address, 0);
            }
            addresses.push(address);
        }
        let to = addresses.first().copied().ok_or("a call without operands")?;
        let count = self.int(if wide { width.elements() } else { 1 });
        self.call(function, to, &addresses, count);
        if !wide {
            return Ok(Held::One(self.b.ins().load(scalar_type(dtype), flags, to, 0)));
        }
        let load = |part: usize| self.b.ins().load(vector_type(dtype), flags, to, 16 * part as i32);
        Ok(Held::Many((0..width.parts()).map(load).collect()))
    }

    fn random(
        &mut self,
        body: &Body<'_>,
        slot: usize,
        distribution: crate::graph::op::Distribution,
        key: u64,
        index: &crate::plan::affine::Affine,
        wide: bool,
    ) -> Result<Held> {
        let to = self.scratch(64);
        let first = self.affine(index, None)?;
        let even = body.axis.is_some_and(|axis| index.coefficient(axis).is(1));
        if wide && !even {
            return Err("random elements are not consecutive".into());
        }
        let count = self.int(if wide { body.width().elements() } else { 1 });
        self.call_random(distribution, to, first, count, slot, key);
        let flags = MemFlagsData::trusted();
        if !wide {
            return Ok(Held::One(self.b.ins().load(types::F32, flags, to, 0)));
        }
        let load = |part: usize| self.b.ins().load(types::F32X4, flags, to, 16 * part as i32);
        Ok(Held::Many((0..body.width().parts()).map(load).collect()))
    }
}

/// The type of a scalar in registers.
pub fn scalar_type(dtype: DType) -> ir::Type {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => types::F32,
        DType::F64 => types::F64,
        DType::I8 | DType::U8 | DType::Bool => types::I8,
        DType::I32 => types::I32,
        DType::I64 => types::I64,
    }
}

/// Orders for comparisons of signed and unsigned integers and of floats.
pub fn conditions(compare: Compare, unsigned: bool) -> (ir::condcodes::IntCC, ir::condcodes::FloatCC) {
    use ir::condcodes::{FloatCC, IntCC};
    match (compare, unsigned) {
        (Compare::Eq, _) => (IntCC::Equal, FloatCC::Equal),
        (Compare::Ne, _) => (IntCC::NotEqual, FloatCC::NotEqual),
        (Compare::Lt, false) => (IntCC::SignedLessThan, FloatCC::LessThan),
        (Compare::Le, false) => (IntCC::SignedLessThanOrEqual, FloatCC::LessThanOrEqual),
        (Compare::Gt, false) => (IntCC::SignedGreaterThan, FloatCC::GreaterThan),
        (Compare::Ge, false) => (IntCC::SignedGreaterThanOrEqual, FloatCC::GreaterThanOrEqual),
        (Compare::Lt, true) => (IntCC::UnsignedLessThan, FloatCC::LessThan),
        (Compare::Le, true) => (IntCC::UnsignedLessThanOrEqual, FloatCC::LessThanOrEqual),
        (Compare::Gt, true) => (IntCC::UnsignedGreaterThan, FloatCC::GreaterThan),
        (Compare::Ge, true) => (IntCC::UnsignedGreaterThanOrEqual, FloatCC::GreaterThanOrEqual),
    }
}
