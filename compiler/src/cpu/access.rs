//! Loads and stores: where an element lies, and how four of them side by side are read and written.

use super::half::is_half;
use super::nest::{Lower, Result, vector_type};
use super::value::{Body, Held, Width, scalar_type};
use crate::graph::{DType, Dim};
use crate::plan::affine::Affine;
use crate::plan::nest::Store;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use smallvec::SmallVec;

impl Lower<'_, '_> {
    /// Where an element lies: the base, and what does not vary along the axis.
    fn base(&mut self, slot: usize, at: &Affine, axis: Option<usize>) -> Result<ir::Value> {
        let offset = self.affine(at, axis)?;
        let dtype = self.job.dtypes.get(slot).copied().ok_or("a buffer has no slot")?;
        let bytes = self.bytes(offset, dtype);
        let buffer = self.buffers[slot];
        Ok(self.b.ins().iadd(buffer, bytes))
    }

    fn bytes(&mut self, elements: ir::Value, dtype: DType) -> ir::Value {
        match dtype.size() {
            1 => elements,
            size => self.b.ins().ishl_imm_u(elements, i64::from(size.trailing_zeros())),
        }
    }

    fn current(&self, axis: Option<usize>) -> Result<ir::Value> {
        let axis = axis.ok_or("no vector axis")?;
        self.iv.get(axis).copied().flatten().ok_or_else(|| "the vector variable is not set".into())
    }

    pub fn load(
        &mut self,
        body: &Body<'_>,
        slot: usize,
        at: &Affine,
        when: Option<ir::Value>,
        dtype: DType,
        wide: bool,
    ) -> Result<Held> {
        let mut flags = MemFlagsData::new().with_notrap();
        if self.job.readonly.get(slot).copied().unwrap_or(false) {
            flags = flags.with_readonly();
            // A load behind a guard stays where it is.
            if when.is_none() {
                flags = flags.with_can_move();
            }
        }
        let (address, step) = self.walking(body, slot, at, dtype)?;
        let guarded = |lower: &mut Self, address: ir::Value| match when {
            Some(when) => lower.b.ins().select(when, address, lower.nowhere),
            None => address,
        };
        if !wide {
            let address = guarded(self, address);
            return Ok(Held::One(self.load_scalar(flags, address, dtype)));
        }
        let step = step.ok_or("a load does not vary")?;
        let mut parts = SmallVec::new();
        if step.is(1) {
            let address = guarded(self, address);
            for part in 0..body.width().parts() {
                let offset = (4 * part * dtype.size()) as i32;
                parts.push(self.load_vector(flags, address, offset, dtype));
            }
            return Ok(Held::Many(parts));
        }
        let step = self.dim(&step)?;
        let step = self.bytes(step, dtype);
        for part in 0..body.width().parts() {
            let mut vector: Option<ir::Value> = None;
            for lane in 0..4u8 {
                let ahead = (4 * part) as i64 + i64::from(lane);
                let by = self.b.ins().imul_imm_s(step, ahead);
                let place = self.b.ins().iadd(address, by);
                let place = guarded(self, place);
                let element = self.load_scalar(flags, place, dtype);
                let element = self.as_lane(element, dtype);
                vector = Some(match vector {
                    None => self.b.ins().splat(vector_type(dtype), element),
                    Some(vector) => self.b.ins().insertlane(vector, element, lane),
                });
            }
            parts.extend(vector);
        }
        Ok(Held::Many(parts))
    }

    /// The address of an element of a buffer, and by how many elements it moves with the axis of the body, where it does.
    pub fn walking(
        &mut self,
        body: &Body<'_>,
        slot: usize,
        at: &Affine,
        dtype: DType,
    ) -> Result<(ir::Value, Option<Dim>)> {
        // The part that is the same along the axis is computed apart, so that it can leave the loop.
        let axis = body.axis.filter(|a| at.depends_on(*a));
        let address = self.base(slot, at, axis)?;
        let Some(step) = axis.map(|a| at.coefficient(a)) else { return Ok((address, None)) };
        let mut moved = self.current(axis)?;
        if !step.is(1) {
            let by = self.dim(&step)?;
            moved = self.b.ins().imul(moved, by);
        }
        let bytes = self.bytes(moved, dtype);
        Ok((self.b.ins().iadd(address, bytes), Some(step)))
    }

    fn load_scalar(&mut self, flags: MemFlagsData, address: ir::Value, dtype: DType) -> ir::Value {
        if !is_half(dtype) {
            return self.b.ins().load(scalar_type(dtype), flags, address, 0);
        }
        let bits = self.b.ins().load(types::I16, flags, address, 0);
        let bits = self.b.ins().uextend(types::I32, bits);
        self.widen_half(bits, dtype)
    }

    fn store_scalar(&mut self, flags: MemFlagsData, value: ir::Value, address: ir::Value, dtype: DType) {
        let mut value = value;
        if is_half(dtype) {
            let bits = self.half_bits(value, dtype);
            value = self.b.ins().ireduce(types::I16, bits);
        }
        self.b.ins().store(flags, value, address, 0);
    }

    fn load_vector(
        &mut self,
        flags: MemFlagsData,
        address: ir::Value,
        offset: i32,
        dtype: DType,
    ) -> ir::Value {
        if dtype.size() == 4 {
            return self.b.ins().load(vector_type(dtype), flags, address, offset);
        }
        let little = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        if is_half(dtype) {
            let halves = self.b.ins().load(types::I64, flags, address, offset);
            let halves = self.b.ins().scalar_to_vector(types::I64X2, halves);
            let halves = self.b.ins().bitcast(types::I16X8, little, halves);
            let bits = self.b.ins().uwiden_low(halves);
            return self.widen_half(bits, dtype);
        }
        // Four bytes, widened to four lanes.
        let bytes = self.b.ins().load(types::I32, flags, address, offset);
        let bytes = self.b.ins().scalar_to_vector(types::I32X4, bytes);
        let bytes = self.b.ins().bitcast(types::I8X16, little, bytes);
        let halves = self.b.ins().uwiden_low(bytes);
        let words = self.b.ins().uwiden_low(halves);
        if dtype != DType::Bool {
            return words;
        }
        let zero = self.b.ins().iconst(types::I32, 0);
        let zero = self.b.ins().splat(types::I32X4, zero);
        self.b.ins().icmp(ir::condcodes::IntCC::NotEqual, words, zero)
    }

    /// The stores inside (or after) the reduced loops. All that is read at this point is read before anything is written: a result may
    /// lie over an operand.
    pub fn stores(&mut self, body: &mut Body<'_>, inner: bool) -> Result<()> {
        let stage = body.stage;
        for store in stage.stores.iter().filter(|s| s.inner == inner) {
            body.value(self, store.value)?;
        }
        if inner {
            for reduce in &stage.reductions {
                body.value(self, reduce.of)?;
            }
        }
        for store in stage.stores.iter().filter(|s| s.inner == inner) {
            self.store(body, store)?;
        }
        Ok(())
    }

    fn store(&mut self, body: &mut Body<'_>, store: &Store) -> Result<()> {
        let held = body.value(self, store.value)?;
        let dtype = body.stage.value(store.value).dtype;
        let slot = store.buffer.index();
        let flags = MemFlagsData::new().with_notrap();
        let (address, step) = self.walking(body, slot, &store.at, dtype)?;
        let (Width::Vectors(count), Some(step)) = (body.width(), step) else {
            let mut value = held.one()?;
            if store.accumulate {
                let old = self.load_scalar(flags, address, dtype);
                value = self.add(old, value, dtype);
            }
            self.store_scalar(flags, value, address, dtype);
            return Ok(());
        };
        let stride = if step.is(1) { None } else { Some(self.dim(&step)?) };
        for part in 0..count {
            let mut value = self.part(&held, part, dtype);
            match stride {
                None => {
                    let offset = (4 * part * dtype.size()) as i32;
                    if store.accumulate {
                        let old = self.load_vector(flags, address, offset, dtype);
                        value = self.add(old, value, dtype);
                    }
                    value = match dtype {
                        DType::Bool => self.narrow_mask(value),
                        DType::U8 => self.narrow_bytes(value),
                        DType::F16 | DType::BF16 => self.narrow_halves(value, dtype),
                        _ => value,
                    };
                    self.b.ins().store(flags, value, address, offset);
                }
                Some(stride) => {
                    let stride = self.bytes(stride, dtype);
                    for lane in 0..4u8 {
                        let by = self.b.ins().imul_imm_s(stride, (4 * part) as i64 + i64::from(lane));
                        let place = self.b.ins().iadd(address, by);
                        let element = self.b.ins().extractlane(value, lane);
                        let mut element = self.lane_to_scalar(element, dtype);
                        if store.accumulate {
                            let old = self.load_scalar(flags, place, dtype);
                            element = self.add(old, element, dtype);
                        }
                        self.store_scalar(flags, element, place, dtype);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, x: ir::Value, y: ir::Value, dtype: DType) -> ir::Value {
        if dtype.is_float() { self.b.ins().fadd(x, y) } else { self.b.ins().iadd(x, y) }
    }

    /// A mask as four bytes of 0 or 1, in an i32.
    fn narrow_mask(&mut self, mask: ir::Value) -> ir::Value {
        let halves = self.b.ins().snarrow(mask, mask);
        let bytes = self.b.ins().snarrow(halves, halves);
        let word = self.first_word(bytes);
        self.b.ins().band_imm_s(word, 0x0101_0101)
    }

    /// Four lanes of 0 to 255 as four bytes, in an i32.
    fn narrow_bytes(&mut self, lanes: ir::Value) -> ir::Value {
        let halves = self.b.ins().snarrow(lanes, lanes);
        let bytes = self.b.ins().unarrow(halves, halves);
        self.first_word(bytes)
    }

    /// Four half floats as they lie in memory, in an i64.
    fn narrow_halves(&mut self, lanes: ir::Value, dtype: DType) -> ir::Value {
        let little = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        let bits = self.half_bits(lanes, dtype);
        let halves = self.b.ins().unarrow(bits, bits);
        let words = self.b.ins().bitcast(types::I64X2, little, halves);
        self.b.ins().extractlane(words, 0)
    }

    fn first_word(&mut self, bytes: ir::Value) -> ir::Value {
        let little = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        let words = self.b.ins().bitcast(types::I32X4, little, bytes);
        self.b.ins().extractlane(words, 0)
    }
}
