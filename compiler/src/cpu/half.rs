//! f16 and bf16 as forms in memory. In registers they are f32 that one of their numbers is equal to: a load widens, a cast rounds, a
//! store cuts off what is zero. Scalars and vectors of four alike; nothing here depends on how the processor treats denormals.

use super::nest::Lower;
use crate::graph::DType;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};

/// An infinite f32.
const EXPONENT: i64 = 0x7f80_0000;
/// All bits below the sign.
const MAGNITUDE: i64 = 0x7fff_ffff;
/// Added to a NaN, makes it quiet and keeps it a NaN however short it becomes.
const QUIET: i64 = 0x0040_0000;
/// Between the exponents of f32 and f16, in place.
const REBIAS: i64 = 112 << 23;
/// The smallest f16 that has all its digits, 2⁻¹⁴, as f32 bits.
const LEAST_NORMAL: i64 = 113 << 23;

/// Is it a float of 16 bits?
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

impl Lower<'_, '_> {
    /// The number whose 16 bits lie in the lower half of each i32, as f32.
    pub fn widen_half(&mut self, bits: ir::Value, dtype: DType) -> ir::Value {
        if dtype == DType::BF16 {
            let bits = self.shift_left(bits, 16);
            return self.as_float(bits);
        }
        let sign = self.masked(bits, 0x8000);
        let sign = self.shift_left(sign, 16);
        let digits = self.masked(bits, 0x7fff);
        let moved = self.shift_left(digits, 13);
        let rebias = self.int_like(REBIAS, bits);
        let normal = self.b.ins().iadd(moved, rebias);
        // Infinities and NaN have the largest exponent here and there.
        let infinite = self.int_like(EXPONENT, bits);
        let infinite = self.b.ins().bor(moved, infinite);
        let limit = self.int_like(0x7c00, bits);
        let beyond = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, digits, limit);
        let usual = self.blend(beyond, infinite, normal);
        // Below the least exponent the digits count units of 2⁻²⁴.
        let float = self.float_type(bits);
        let count = self.b.ins().fcvt_from_sint(float, digits);
        let unit = self.like(2f64.powi(-24), count);
        let small = self.b.ins().fmul(count, unit);
        let small = self.as_bits(small);
        let least = self.int_like(0x0400, bits);
        let below = self.b.ins().icmp(IntCC::SignedLessThan, digits, least);
        let magnitude = self.blend(below, small, usual);
        let bits = self.b.ins().bor(magnitude, sign);
        self.as_float(bits)
    }

    /// The nearest number of the narrow type, ties to even, as f32.
    pub fn round_half(&mut self, value: ir::Value, dtype: DType) -> ir::Value {
        let cut = if dtype == DType::BF16 { 16 } else { 13 };
        let bits = self.as_bits(value);
        let last = self.shift_right(bits, cut);
        let last = self.masked(last, 1);
        let half = self.int_like((1 << (cut - 1)) - 1, bits);
        let up = self.b.ins().iadd(half, last);
        let rounded = self.b.ins().iadd(bits, up);
        let mut rounded = self.masked(rounded, -1 << cut);
        if dtype == DType::F16 {
            let sign = self.masked(bits, !MAGNITUDE);
            let magnitude = self.masked(rounded, MAGNITUDE);
            let largest = self.int_like(REBIAS + (0x7bff << 13), bits);
            let infinite = self.int_like(EXPONENT, bits);
            let beyond = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, largest);
            let usual = self.blend(beyond, infinite, magnitude);
            // Below the least exponent: 0.5 has its last digit where f16 has, 2⁻²⁴.
            let size = self.b.ins().fabs(value);
            let magic = self.like(0.5, value);
            let sum = self.b.ins().fadd(size, magic);
            let small = self.b.ins().fsub(sum, magic);
            let small = self.as_bits(small);
            let exact = self.masked(bits, MAGNITUDE);
            let least = self.int_like(LEAST_NORMAL, bits);
            let below = self.b.ins().icmp(IntCC::SignedLessThan, exact, least);
            let magnitude = self.blend(below, small, usual);
            rounded = self.b.ins().bor(magnitude, sign);
        }
        let quiet = self.int_like(QUIET, bits);
        let nan = self.b.ins().bor(bits, quiet);
        let nan = self.masked(nan, -1 << cut);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, value, value);
        let bits = self.blend(is_nan, nan, rounded);
        self.as_float(bits)
    }

    /// The 16 bits of a number of the narrow type, in the lower half of each i32.
    pub fn half_bits(&mut self, value: ir::Value, dtype: DType) -> ir::Value {
        let bits = self.as_bits(value);
        if dtype == DType::BF16 {
            return self.shift_right(bits, 16);
        }
        let sign = self.shift_right(bits, 16);
        let sign = self.masked(sign, 0x8000);
        let magnitude = self.masked(bits, MAGNITUDE);
        let rebias = self.int_like(REBIAS, bits);
        let normal = self.b.ins().isub(magnitude, rebias);
        let normal = self.shift_right(normal, 13);
        let digits = self.shift_right(magnitude, 13);
        let digits = self.masked(digits, 0x03ff);
        let infinite = self.int_like(0x7c00, bits);
        let special = self.b.ins().bor(digits, infinite);
        let limit = self.int_like(EXPONENT, bits);
        let beyond = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, magnitude, limit);
        let usual = self.blend(beyond, special, normal);
        let size = self.b.ins().fabs(value);
        let units = self.like(2f64.powi(24), value);
        let count = self.b.ins().fmul(size, units);
        let whole = self.int_type(value);
        let count = self.b.ins().fcvt_to_sint_sat(whole, count);
        let least = self.int_like(LEAST_NORMAL, bits);
        let below = self.b.ins().icmp(IntCC::SignedLessThan, magnitude, least);
        let digits = self.blend(below, count, usual);
        self.b.ins().bor(digits, sign)
    }

    fn as_bits(&mut self, value: ir::Value) -> ir::Value {
        let ty = self.int_type(value);
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(ir::Endianness::Little), value)
    }

    fn as_float(&mut self, bits: ir::Value) -> ir::Value {
        let ty = self.float_type(bits);
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(ir::Endianness::Little), bits)
    }

    fn is_vector(&self, value: ir::Value) -> bool {
        self.b.func.dfg.value_type(value).is_vector()
    }

    fn int_type(&self, value: ir::Value) -> ir::Type {
        if self.is_vector(value) { types::I32X4 } else { types::I32 }
    }

    fn float_type(&self, value: ir::Value) -> ir::Type {
        if self.is_vector(value) { types::F32X4 } else { types::F32 }
    }

    fn int_like(&mut self, number: i64, other: ir::Value) -> ir::Value {
        let scalar = self.b.ins().iconst(types::I32, i64::from(number as i32));
        if self.is_vector(other) { self.b.ins().splat(types::I32X4, scalar) } else { scalar }
    }

    fn masked(&mut self, bits: ir::Value, mask: i64) -> ir::Value {
        let mask = self.int_like(mask, bits);
        self.b.ins().band(bits, mask)
    }

    fn shift_left(&mut self, bits: ir::Value, by: i64) -> ir::Value {
        self.b.ins().ishl_imm_u(bits, by)
    }

    fn shift_right(&mut self, bits: ir::Value, by: i64) -> ir::Value {
        self.b.ins().ushr_imm_u(bits, by)
    }
}
