//! Scalar and vector arithmetic of each dtype.

use super::half::is_half;
use super::nest::{Lower, Result};
use super::value::{conditions, scalar_type};
use crate::graph::DType;
use crate::graph::op::{Binary, Reduction, Unary};
use crate::plan::nest::{How, ValueOp};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};

impl Lower<'_, '_> {
    /// A constant of a dtype, as a scalar.
    pub fn constant(&mut self, value: f64, dtype: DType) -> Result<ir::Value> {
        Ok(match dtype {
            DType::F32 => self.b.ins().f32const(value as f32),
            DType::F64 => self.b.ins().f64const(value),
            DType::Bool => self.b.ins().iconst(types::I8, i64::from(value != 0.0)),
            DType::I32 => self.b.ins().iconst(types::I32, i64::from(value as i32)),
            DType::I64 => self.int(value as i64),
            DType::I8 => self.b.ins().iconst(types::I8, i64::from(value as i8)),
            DType::U8 => self.b.ins().iconst(types::I8, i64::from((value as u8) as i8)),
            DType::F16 | DType::BF16 => {
                let value = self.b.ins().f32const(value as f32);
                self.round_half(value, dtype)
            }
        })
    }

    /// One step of a reduction. Vectors and scalars alike; masks and bools combine bit by bit.
    pub fn combine(&mut self, how: How, dtype: DType, x: ir::Value, y: ir::Value) -> Result<ir::Value> {
        let How::Fold(reduction) = how else { return Err("an arg-reduction has no partial results".into()) };
        Ok(match (reduction, dtype.is_float()) {
            (Reduction::Sum, true) => self.b.ins().fadd(x, y),
            (Reduction::Sum, false) => self.b.ins().iadd(x, y),
            (Reduction::Prod, true) => self.b.ins().fmul(x, y),
            (Reduction::Prod, false) => self.b.ins().imul(x, y),
            (Reduction::Max, _) => self.extreme(true, dtype, x, y, false),
            (Reduction::Min, _) => self.extreme(false, dtype, x, y, false),
            (Reduction::Any, _) => self.b.ins().bor(x, y),
            (Reduction::All, _) => self.b.ins().band(x, y),
        })
    }

    /// The larger (smaller) of two; NaN if either is. `number`: the second is known to be no NaN.
    fn extreme(
        &mut self,
        largest: bool,
        dtype: DType,
        x: ir::Value,
        y: ir::Value,
        number: bool,
    ) -> ir::Value {
        if !dtype.is_float() {
            return match (largest, dtype == DType::U8) {
                (true, false) => self.b.ins().smax(x, y),
                (true, true) => self.b.ins().umax(x, y),
                (false, false) => self.b.ins().smin(x, y),
                (false, true) => self.b.ins().umin(x, y),
            };
        }
        let order = if largest { FloatCC::GreaterThan } else { FloatCC::LessThan };
        // A NaN in x stays, because no comparison with it holds; one in y is asked for.
        let mut second = self.b.ins().fcmp(order, y, x);
        if !number {
            let nan = self.b.ins().fcmp(FloatCC::Unordered, y, y);
            second = self.b.ins().bor(second, nan);
        }
        self.blend(second, y, x)
    }

    /// Whether x is a better extreme than the best so far; a first NaN is.
    pub fn better(
        &mut self,
        largest: bool,
        dtype: DType,
        x: ir::Value,
        best: ir::Value,
    ) -> Result<ir::Value> {
        if !dtype.is_float() {
            let order = match (largest, dtype == DType::U8) {
                (true, false) => IntCC::SignedGreaterThan,
                (false, false) => IntCC::SignedLessThan,
                (true, true) => IntCC::UnsignedGreaterThan,
                (false, true) => IntCC::UnsignedLessThan,
            };
            return Ok(self.b.ins().icmp(order, x, best));
        }
        // Beyond the best or a NaN, unless the best is a NaN already.
        let order = if largest { FloatCC::UnorderedOrGreaterThan } else { FloatCC::UnorderedOrLessThan };
        let beyond = self.b.ins().fcmp(order, x, best);
        let number = self.b.ins().fcmp(FloatCC::Ordered, best, best);
        Ok(self.b.ins().band(beyond, number))
    }

    /// `condition ? x : y`, lane by lane for vectors.
    pub fn blend(&mut self, condition: ir::Value, x: ir::Value, y: ir::Value) -> ir::Value {
        let ty = self.b.func.dfg.value_type(x);
        if !ty.is_vector() {
            return self.b.ins().select(condition, x, y);
        }
        let little = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        let mask = if self.b.func.dfg.value_type(condition) == ty {
            condition
        } else {
            self.b.ins().bitcast(ty, little, condition)
        };
        self.b.ins().bitselect(mask, x, y)
    }

    /// Arithmetic that is spelt the same for scalars and vectors of floats.
    fn float(&mut self, op: &ValueOp, v: &[ir::Value], known: &[bool]) -> Result<Option<ir::Value>> {
        let b = &mut self.b;
        Ok(Some(match (op, v) {
            (ValueOp::Unary(Unary::Neg, _), [x]) => b.ins().fneg(*x),
            (ValueOp::Unary(Unary::Abs, _), [x]) => b.ins().fabs(*x),
            (ValueOp::Unary(Unary::Floor, _), [x]) => b.ins().floor(*x),
            (ValueOp::Unary(Unary::Ceil, _), [x]) => b.ins().ceil(*x),
            (ValueOp::Unary(Unary::Round, _), [x]) => b.ins().nearest(*x),
            (ValueOp::Unary(Unary::Sqrt, _), [x]) => b.ins().sqrt(*x),
            (ValueOp::Unary(Unary::Rsqrt, _), [x]) => {
                let root = b.ins().sqrt(*x);
                let one = self.like(1.0, *x);
                self.b.ins().fdiv(one, root)
            }
            (ValueOp::Unary(Unary::Sign, _), [x]) => {
                let (one, minus, zero) = (self.like(1.0, *x), self.like(-1.0, *x), self.like(0.0, *x));
                let positive = self.b.ins().fcmp(FloatCC::GreaterThan, *x, zero);
                let negative = self.b.ins().fcmp(FloatCC::LessThan, *x, zero);
                // Zero and NaN stay what they are.
                let below = self.blend(negative, minus, *x);
                self.blend(positive, one, below)
            }
            (ValueOp::Binary(Binary::Add, ..), [x, y]) => b.ins().fadd(*x, *y),
            (ValueOp::Binary(Binary::Sub, ..), [x, y]) => b.ins().fsub(*x, *y),
            (ValueOp::Binary(Binary::Mul, ..), [x, y]) => b.ins().fmul(*x, *y),
            (ValueOp::Binary(Binary::Div, ..), [x, y]) => b.ins().fdiv(*x, *y),
            (ValueOp::Binary(Binary::FloorDiv, ..), [x, y]) => {
                let quotient = b.ins().fdiv(*x, *y);
                b.ins().floor(quotient)
            }
            (ValueOp::Binary(Binary::Rem, ..), [x, y]) => {
                let quotient = b.ins().fdiv(*x, *y);
                let whole = b.ins().floor(quotient);
                let minus = b.ins().fneg(whole);
                self.fma(minus, *y, *x)
            }
            (ValueOp::Binary(op @ (Binary::Max | Binary::Min), ..), [x, y]) => {
                let largest = *op == Binary::Max;
                match known {
                    [true, false] => self.extreme(largest, DType::F32, *y, *x, true),
                    [_, number] => self.extreme(largest, DType::F32, *x, *y, *number),
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        }))
    }

    /// A float constant of the type of another value.
    pub fn like(&mut self, value: f64, other: ir::Value) -> ir::Value {
        let ty = self.b.func.dfg.value_type(other);
        match ty {
            types::F64 => self.b.ins().f64const(value),
            types::F32 => self.b.ins().f32const(value as f32),
            _ => {
                let scalar = self.b.ins().f32const(value as f32);
                self.b.ins().splat(ty, scalar)
            }
        }
    }

    pub fn scalar(
        &mut self,
        op: &ValueOp,
        dtype: DType,
        dtypes: &[DType],
        v: &[ir::Value],
        known: &[bool],
    ) -> Result<ir::Value> {
        let first = dtypes.first().copied().unwrap_or(dtype);
        if let ValueOp::Compare(compare, ..) = op {
            let (int, float) = conditions(*compare, first == DType::U8);
            let [x, y] = v else { return Err("a comparison takes two".into()) };
            return Ok(if first.is_float() {
                self.b.ins().fcmp(float, *x, *y)
            } else {
                self.b.ins().icmp(int, *x, *y)
            });
        }
        if let (ValueOp::Select(..), [c, x, y]) = (op, v) {
            return Ok(self.b.ins().select(*c, *x, *y));
        }
        if let (ValueOp::Cast(_), [x]) = (op, v) {
            return self.cast(*x, first, dtype);
        }
        if is_half(dtype) {
            return Err(unsupported(op, dtype));
        }
        if dtype.is_float() {
            return self.float(op, v, known)?.ok_or_else(|| unsupported(op, dtype));
        }
        if dtype == DType::Bool {
            return match (op, v) {
                (ValueOp::Unary(Unary::Not, _), [x]) => Ok(self.b.ins().bxor_imm_s(*x, 1)),
                (ValueOp::Binary(Binary::And, ..), [x, y]) => Ok(self.b.ins().band(*x, *y)),
                (ValueOp::Binary(Binary::Or, ..), [x, y]) => Ok(self.b.ins().bor(*x, *y)),
                _ => Err(unsupported(op, dtype)),
            };
        }
        self.integer(op, dtype, v)
    }

    fn integer(&mut self, op: &ValueOp, dtype: DType, v: &[ir::Value]) -> Result<ir::Value> {
        let ty = scalar_type(dtype);
        Ok(match (op, v) {
            (ValueOp::Unary(Unary::Neg, _), [x]) => self.b.ins().ineg(*x),
            (ValueOp::Unary(Unary::Abs, _), [x]) if dtype == DType::U8 => *x,
            (ValueOp::Unary(Unary::Abs, _), [x]) => {
                let minus = self.b.ins().ineg(*x);
                self.b.ins().smax(*x, minus)
            }
            (ValueOp::Unary(Unary::Sign, _), [x]) => {
                let zero = self.b.ins().iconst(ty, 0);
                let order =
                    if dtype == DType::U8 { IntCC::UnsignedGreaterThan } else { IntCC::SignedGreaterThan };
                let positive = self.b.ins().icmp(order, *x, zero);
                let less = self.b.ins().icmp(order, zero, *x);
                let (positive, less) = if ty == types::I8 {
                    (positive, less)
                } else {
                    (self.b.ins().uextend(ty, positive), self.b.ins().uextend(ty, less))
                };
                self.b.ins().isub(positive, less)
            }
            (ValueOp::Binary(Binary::Add, ..), [x, y]) => self.b.ins().iadd(*x, *y),
            (ValueOp::Binary(Binary::Sub, ..), [x, y]) => self.b.ins().isub(*x, *y),
            (ValueOp::Binary(Binary::Mul, ..), [x, y]) => self.b.ins().imul(*x, *y),
            (ValueOp::Binary(Binary::Max, ..), [x, y]) => self.extreme(true, dtype, *x, *y, false),
            (ValueOp::Binary(Binary::Min, ..), [x, y]) => self.extreme(false, dtype, *x, *y, false),
            (ValueOp::Binary(op @ (Binary::Div | Binary::FloorDiv | Binary::Rem), ..), [x, y]) => {
                self.divide(*op, dtype, *x, *y)
            }
            (ValueOp::Binary(Binary::Pow, ..), [x, y]) => self.power(dtype, *x, *y)?,
            _ => return Err(unsupported(op, dtype)),
        })
    }

    /// An integer power by squaring. Negative powers, and those beyond 2³², are 0 except of 1 and -1.
    fn power(&mut self, dtype: DType, x: ir::Value, y: ir::Value) -> Result<ir::Value> {
        let x = self.cast(x, dtype, DType::I64)?;
        let y = self.cast(y, dtype, DType::I64)?;
        let limit = self.int(1 << 32);
        let plain = self.b.ins().icmp(IntCC::UnsignedLessThan, y, limit);
        let zero = self.int(0);
        let exponent = self.b.ins().select(plain, y, zero);
        let [result, base, left] = [(); 3].map(|()| self.b.declare_var(types::I64));
        let one = self.int(1);
        self.b.def_var(result, one);
        self.b.def_var(base, x);
        self.b.def_var(left, exponent);
        let (head, body, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        let rest = self.b.use_var(left);
        self.b.ins().brif(rest, body, &[], after, &[]);
        self.b.switch_to_block(body);
        let (product, factor) = (self.b.use_var(result), self.b.use_var(base));
        let multiplied = self.b.ins().imul(product, factor);
        let odd = self.b.ins().band_imm_s(rest, 1);
        let product = self.b.ins().select(odd, multiplied, product);
        self.b.def_var(result, product);
        let square = self.b.ins().imul(factor, factor);
        self.b.def_var(base, square);
        let rest = self.b.ins().ushr_imm_u(rest, 1);
        self.b.def_var(left, rest);
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(after);
        let power = self.b.use_var(result);
        let odd = self.b.ins().band_imm_s(y, 1);
        let twice = self.b.ins().iadd(odd, odd);
        let alternating = self.b.ins().isub(one, twice);
        let is_one = self.b.ins().icmp_imm_s(IntCC::Equal, x, 1);
        let is_minus = self.b.ins().icmp_imm_s(IntCC::Equal, x, -1);
        let special = self.b.ins().select(is_minus, alternating, zero);
        let special = self.b.ins().select(is_one, one, special);
        let whole = self.b.ins().select(plain, power, special);
        self.cast(whole, DType::I64, dtype)
    }

    /// Integer division that never traps: by 0 it gives 0.
    fn divide(&mut self, op: Binary, dtype: DType, x: ir::Value, y: ir::Value) -> ir::Value {
        // In 64 bits no quotient of narrower integers overflows; of i64 itself only the smallest by -1 does.
        let wide = |lower: &mut Self, v: ir::Value| match dtype {
            DType::I64 => v,
            DType::U8 => lower.b.ins().uextend(types::I64, v),
            _ => lower.b.ins().sextend(types::I64, v),
        };
        let (x, y) = (wide(self, x), wide(self, y));
        let (zero, one) = (self.int(0), self.int(1));
        let none = self.b.ins().icmp_imm_s(IntCC::Equal, y, 0);
        let minus = self.b.ins().icmp_imm_s(IntCC::Equal, y, -1);
        let unsafe_divisor = self.b.ins().bor(none, minus);
        let by = self.b.ins().select(unsafe_divisor, one, y);
        let quotient = self.b.ins().sdiv(x, by);
        let product = self.b.ins().imul(quotient, by);
        let rest = self.b.ins().isub(x, product);
        // Rounded down where asked: a rest of the other sign than the divisor's belongs to the next quotient.
        let mixed = self.b.ins().bxor(rest, by);
        let mixed = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, mixed, 0);
        let some = self.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let down = self.b.ins().band(mixed, some);
        let result = match op {
            Binary::Rem => {
                let next = self.b.ins().iadd(rest, by);
                let rest = self.b.ins().select(down, next, rest);
                self.b.ins().select(unsafe_divisor, zero, rest)
            }
            _ => {
                let floor = if op == Binary::FloorDiv {
                    let next = self.b.ins().iadd_imm_s(quotient, -1);
                    self.b.ins().select(down, next, quotient)
                } else {
                    quotient
                };
                let negated = self.b.ins().ineg(x);
                let special = self.b.ins().select(none, zero, negated);
                self.b.ins().select(unsafe_divisor, special, floor)
            }
        };
        match dtype {
            DType::I64 => result,
            DType::I32 => self.b.ins().ireduce(types::I32, result),
            _ => self.b.ins().ireduce(types::I8, result),
        }
    }

    pub fn vector(
        &mut self,
        op: &ValueOp,
        dtype: DType,
        dtypes: &[DType],
        v: &[ir::Value],
        known: &[bool],
    ) -> Result<ir::Value> {
        let first = dtypes.first().copied().unwrap_or(dtype);
        Ok(match (op, v) {
            (ValueOp::Compare(compare, ..), [x, y]) => {
                let (int, float) = conditions(*compare, false);
                if first == DType::F32 {
                    self.b.ins().fcmp(float, *x, *y)
                } else {
                    self.b.ins().icmp(int, *x, *y)
                }
            }
            (ValueOp::Select(..), [c, x, y]) => self.blend(*c, *x, *y),
            (ValueOp::Cast(_), [x]) => self.cast_vector(*x, first, dtype)?,
            (ValueOp::Unary(Unary::Not, _), [x]) => self.b.ins().bnot(*x),
            (ValueOp::Binary(Binary::And, ..), [x, y]) => self.b.ins().band(*x, *y),
            (ValueOp::Binary(Binary::Or, ..), [x, y]) => self.b.ins().bor(*x, *y),
            _ if dtype == DType::F32 => self.float(op, v, known)?.ok_or_else(|| unsupported(op, dtype))?,
            (ValueOp::Unary(Unary::Neg, _), [x]) => self.b.ins().ineg(*x),
            (ValueOp::Unary(Unary::Abs, _), [x]) => self.b.ins().iabs(*x),
            (ValueOp::Binary(Binary::Add, ..), [x, y]) => self.b.ins().iadd(*x, *y),
            (ValueOp::Binary(Binary::Sub, ..), [x, y]) => self.b.ins().isub(*x, *y),
            (ValueOp::Binary(Binary::Mul, ..), [x, y]) => self.b.ins().imul(*x, *y),
            (ValueOp::Binary(Binary::Max, ..), [x, y]) => self.b.ins().smax(*x, *y),
            (ValueOp::Binary(Binary::Min, ..), [x, y]) => self.b.ins().smin(*x, *y),
            _ => return Err(unsupported(op, dtype)),
        })
    }

    fn cast_vector(&mut self, x: ir::Value, from: DType, to: DType) -> Result<ir::Value> {
        let zero = |lower: &mut Self| {
            let zero = lower.b.ins().iconst(types::I32, 0);
            lower.b.ins().splat(types::I32X4, zero)
        };
        if from != to && is_half(to) {
            let single = self.cast_vector(x, from, DType::F32)?;
            return Ok(self.round_half(single, to));
        }
        if from != to && is_half(from) {
            return self.cast_vector(x, DType::F32, to);
        }
        Ok(match (from, to) {
            (a, b) if a == b => x,
            (DType::I32 | DType::U8, DType::F32) => self.b.ins().fcvt_from_sint(types::F32X4, x),
            (DType::U8, DType::I32) => x,
            (DType::F32, DType::U8) => {
                let whole = self.b.ins().fcvt_to_sint_sat(types::I32X4, x);
                let low = zero(self);
                let high = self.b.ins().iconst(types::I32, 255);
                let high = self.b.ins().splat(types::I32X4, high);
                let whole = self.b.ins().smax(whole, low);
                self.b.ins().smin(whole, high)
            }
            (DType::I32 | DType::U8, DType::Bool) => {
                let zero = zero(self);
                self.b.ins().icmp(IntCC::NotEqual, x, zero)
            }
            // A mask is -1 or 0.
            (DType::Bool, DType::I32) => self.b.ins().ineg(x),
            (DType::Bool, DType::F32) => {
                let one = self.b.ins().ineg(x);
                self.b.ins().fcvt_from_sint(types::F32X4, one)
            }
            (DType::F32, DType::I32) => self.b.ins().fcvt_to_sint_sat(types::I32X4, x),
            (DType::F32, DType::Bool) => {
                let zero = self.like(0.0, x);
                self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            _ => return Err(format!("no vector conversion from {} to {}", from.name(), to.name())),
        })
    }

    /// A scalar of one dtype as another. Float → integer rounds towards zero and saturates.
    pub fn cast(&mut self, x: ir::Value, from: DType, to: DType) -> Result<ir::Value> {
        if from == to {
            return Ok(x);
        }
        if is_half(to) {
            let single = self.cast(x, from, DType::F32)?;
            return Ok(self.round_half(single, to));
        }
        if is_half(from) {
            return self.cast(x, DType::F32, to);
        }
        let ty = scalar_type(to);
        let unsigned = matches!(from, DType::U8 | DType::Bool);
        if from.is_float() {
            return Ok(match to {
                DType::F32 => self.b.ins().fdemote(types::F32, x),
                DType::F64 => self.b.ins().fpromote(types::F64, x),
                DType::Bool => {
                    let zero = self.like(0.0, x);
                    self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
                }
                DType::I32 | DType::I64 => self.b.ins().fcvt_to_sint_sat(ty, x),
                _ => {
                    let wide = self.b.ins().fcvt_to_sint_sat(types::I32, x);
                    let (low, high) = if to == DType::U8 { (0, 255) } else { (-128, 127) };
                    let low = self.b.ins().iconst(types::I32, low);
                    let high = self.b.ins().iconst(types::I32, high);
                    let wide = self.b.ins().smax(wide, low);
                    let wide = self.b.ins().smin(wide, high);
                    self.b.ins().ireduce(types::I8, wide)
                }
            });
        }
        if to == DType::Bool {
            return Ok(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0));
        }
        let bits = self.b.func.dfg.value_type(x).bits();
        let widen = |lower: &mut Self, to: ir::Type| match (bits.cmp(&to.bits()), unsigned) {
            (std::cmp::Ordering::Equal, _) => x,
            (std::cmp::Ordering::Greater, _) => lower.b.ins().ireduce(to, x),
            (std::cmp::Ordering::Less, true) => lower.b.ins().uextend(to, x),
            (std::cmp::Ordering::Less, false) => lower.b.ins().sextend(to, x),
        };
        if to.is_float() {
            let whole = if bits < 32 { widen(self, types::I32) } else { x };
            return Ok(self.b.ins().fcvt_from_sint(ty, whole));
        }
        Ok(widen(self, ty))
    }
}

fn unsupported(op: &ValueOp, dtype: DType) -> String {
    let name = match op {
        ValueOp::Unary(u, _) => u.name(),
        ValueOp::Binary(b, ..) => b.name(),
        ValueOp::Compare(c, ..) => c.name(),
        _ => "this operation",
    };
    format!("`{name}` is not computed on {}", dtype.name())
}
