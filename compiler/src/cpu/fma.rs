//! `a·b + c` in one rounding, on processors that have no instruction for it too: results are the same bits on all.

use super::nest::Lower;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Type, types};

impl Lower<'_, '_> {
    /// `a·b + c` of f32 or f64, scalars and vectors alike. (On a processor without FMA, an f64 is rounded twice.)
    pub fn fma(&mut self, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        if self.has_fma {
            return self.b.ins().fma(a, b, c);
        }
        match self.b.func.dfg.value_type(a) {
            types::F32 => {
                let wide = [a, b, c].map(|x| self.b.ins().fpromote(types::F64, x));
                let sum = self.to_odd(wide, types::I64);
                self.b.ins().fdemote(types::F32, sum)
            }
            types::F32X4 => {
                let lower = self.half(a, b, c);
                // The upper two lanes, moved to the lower ones.
                let upper = [a, b, c].map(|x| {
                    let x = self.reinterpret(x, types::I64X2);
                    let x = self.b.ins().extractlane(x, 1);
                    let x = self.b.ins().scalar_to_vector(types::I64X2, x);
                    self.reinterpret(x, types::F32X4)
                });
                let [a, b, c] = upper;
                let upper = self.half(a, b, c);
                let lower = self.reinterpret(lower, types::I64X2);
                let upper = self.reinterpret(upper, types::I64X2);
                let upper = self.b.ins().extractlane(upper, 0);
                let both = self.b.ins().insertlane(lower, upper, 1);
                self.reinterpret(both, types::F32X4)
            }
            _ => {
                let product = self.b.ins().fmul(a, b);
                self.b.ins().fadd(product, c)
            }
        }
    }

    /// Of the lower two lanes of four; the upper ones are 0.
    fn half(&mut self, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        let wide = [a, b, c].map(|x| self.b.ins().fvpromote_low(x));
        let sum = self.to_odd(wide, types::I64X2);
        self.b.ins().fvdemote(sum)
    }

    /// `a·b + c` in f64 for f32 values: their product is exact there, and the sum is rounded to odd, so that rounding it once more,
    /// to f32, gives what one rounding would (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008).
    fn to_odd(&mut self, [a, b, c]: [ir::Value; 3], bits: Type) -> ir::Value {
        let float = self.b.func.dfg.value_type(a);
        let product = self.b.ins().fmul(a, b);
        let sum = self.b.ins().fadd(product, c);
        // What the sum lost (Knuth's two-sum).
        let of_c = self.b.ins().fsub(sum, product);
        let of_product = self.b.ins().fsub(sum, of_c);
        let lost_c = self.b.ins().fsub(c, of_c);
        let lost_product = self.b.ins().fsub(product, of_product);
        let lost = self.b.ins().fadd(lost_product, lost_c);
        let zero = self.b.ins().fsub(lost, lost);
        // An infinity loses NaN, which is not greater: it stays as it is.
        let size = self.b.ins().fabs(lost);
        let inexact = self.b.ins().fcmp(FloatCC::GreaterThan, size, zero);
        let (word, lost_word) = (self.reinterpret(sum, bits), self.reinterpret(lost, bits));
        let (one, none) = (self.word(1, bits), self.word(0, bits));
        let last = self.b.ins().band(word, one);
        let even = self.b.ins().icmp(IntCC::Equal, last, none);
        // Away from zero where both have one sign, else towards it.
        let signs = self.b.ins().bxor(word, lost_word);
        let towards = self.b.ins().icmp(IntCC::SignedLessThan, signs, none);
        let (up, down) = (self.b.ins().iadd(word, one), self.b.ins().isub(word, one));
        let moved = self.pick(towards, down, up);
        let moved = self.pick(even, moved, word);
        let result = self.pick(inexact, moved, word);
        self.reinterpret(result, float)
    }

    fn word(&mut self, value: i64, ty: Type) -> ir::Value {
        let one = self.b.ins().iconst(types::I64, value);
        if ty.is_vector() { self.b.ins().splat(ty, one) } else { one }
    }

    fn pick(&mut self, condition: ir::Value, yes: ir::Value, no: ir::Value) -> ir::Value {
        if self.b.func.dfg.value_type(yes).is_vector() {
            self.b.ins().bitselect(condition, yes, no)
        } else {
            self.b.ins().select(condition, yes, no)
        }
    }

    fn reinterpret(&mut self, x: ir::Value, ty: Type) -> ir::Value {
        let flags = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        self.b.ins().bitcast(ty, flags, x)
    }
}
