//! Operators: on compile-time numbers, on dims, and on tensors with broadcasting.

use super::context::Decision;
use super::value::{Tensor, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::op::{Binary, Compare, Op, Unary};
use crate::graph::{DType, Dim, NodeId, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::BinaryOperator as B;

/// An operand and its place.
pub type Operand = (Value, Span);

impl Checker<'_> {
    pub(crate) fn binary(&mut self, op: B, left: Operand, right: Operand, span: Span) -> Result {
        let (l, r) = (&left.0, &right.0);
        if matches!(l, Value::Error) || matches!(r, Value::Error) {
            return Err(Reported);
        }
        if op == B::MatMul {
            return self.matmul(left, right, span);
        }
        if (l.is_tensor() || r.is_tensor()) && !matches!(l, Value::None) && !matches!(r, Value::None) {
            return self.tensor_binary(op, left, right, span);
        }
        match (op, l, r) {
            (B::Eq | B::Ne, l, r) => match l.equals(r) {
                Some(same) => Ok(Value::Bool(same == (op == B::Eq))),
                None => self.undecided(l, r, span),
            },
            (B::Add, Value::List(a), Value::List(b)) => {
                let joined: Vec<Value> = a.iter().chain(b.iter()).cloned().collect();
                self.limited_list(joined, span)
            }
            (B::Add, Value::Tuple(a), Value::Tuple(b)) => {
                Ok(Value::tuple(a.iter().chain(b.iter()).cloned().collect()))
            }
            (B::Add, Value::Text(a), Value::Text(b)) if a.len() + b.len() < 1 << 16 => {
                Ok(Value::Text(Rc::from(format!("{a}{b}"))))
            }
            (B::And | B::Or, Value::Bool(a), Value::Bool(b)) => {
                Ok(Value::Bool(if op == B::And { *a && *b } else { *a || *b }))
            }
            (_, Value::Int(a), Value::Int(b)) => self.int_binary(op, *a, *b, span),
            (_, Value::Dim(_), Value::Int(_) | Value::Dim(_)) | (_, Value::Int(_), Value::Dim(_)) => {
                match (l.as_dim(), r.as_dim()) {
                    (Some(a), Some(b)) => self.dim_binary(op, a, b, span),
                    _ => Err(Reported),
                }
            }
            (_, Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                match (l.as_float(), r.as_float()) {
                    (Some(a), Some(b)) => self.float_binary(op, a, b, span),
                    _ => Err(Reported),
                }
            }
            // A dim is known only at run time, so with a fraction it becomes a scalar tensor.
            (_, Value::Dim(_), Value::Float(_)) | (_, Value::Float(_), Value::Dim(_)) => {
                self.tensor_binary(op, left, right, span)
            }
            _ => {
                let message = format!("`{}` does not take {} and {}", symbol(op), l.kind(), r.kind());
                let diagnostic = Diagnostic::error(Code::BadArithmetic, span, message)
                    .related(left.1, l.kind())
                    .related(right.1, r.kind());
                let functions = matches!(l, Value::Function(_)) || matches!(r, Value::Function(_));
                let hint =
                    functions.then(|| "apply it first, or write `fn(x) { … }` to join maps".to_owned());
                Err(self.report(diagnostic.hint_if(hint)))
            }
        }
    }

    fn undecided<T>(&mut self, l: &Value, r: &Value, span: Span) -> Result<T> {
        let message = if l.as_dim().is_some() && r.as_dim().is_some() {
            format!("whether `{}` and `{}` are equal is known only when it runs", l.show(), r.show())
        } else {
            format!("{} and {} cannot be compared", l.kind(), r.kind())
        };
        self.fail(Code::NotCompileTime, span, message)
    }

    fn int_binary(&mut self, op: B, a: i64, b: i64, span: Span) -> Result {
        let compared = match op {
            B::Lt => Some(a < b),
            B::Le => Some(a <= b),
            B::Gt => Some(a > b),
            B::Ge => Some(a >= b),
            _ => None,
        };
        if let Some(truth) = compared {
            return Ok(Value::Bool(truth));
        }
        if b == 0 && matches!(op, B::Div | B::FloorDiv | B::Rem) {
            return self.fail(Code::BadArithmetic, span, format!("{a} is divided by zero"));
        }
        let floor = |a: i64, b: i64| {
            let q = a.checked_div(b)?;
            Some(if a.checked_rem(b)? != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        };
        let result = match op {
            B::Add => a.checked_add(b),
            B::Sub => a.checked_sub(b),
            B::Mul => a.checked_mul(b),
            B::Div if a.checked_rem(b) == Some(0) => a.checked_div(b),
            B::Div => return Ok(Value::Float(a as f64 / b as f64)),
            B::FloorDiv => floor(a, b),
            B::Rem => floor(a, b).and_then(|q| a.checked_sub(q.checked_mul(b)?)),
            B::Pow if b < 0 => return Ok(Value::Float((a as f64).powf(b as f64))),
            B::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            _ => return self.fail(Code::BadArithmetic, span, format!("`{}` does not take ints", symbol(op))),
        };
        match result {
            Some(i) => Ok(Value::Int(i)),
            None => self.fail(Code::BadArithmetic, span, format!("`{a} {} {b}` overflows", symbol(op))),
        }
    }

    fn float_binary(&mut self, op: B, a: f64, b: f64, span: Span) -> Result {
        Ok(match op {
            B::Lt => Value::Bool(a < b),
            B::Le => Value::Bool(a <= b),
            B::Gt => Value::Bool(a > b),
            B::Ge => Value::Bool(a >= b),
            B::Add => Value::Float(a + b),
            B::Sub => Value::Float(a - b),
            B::Mul => Value::Float(a * b),
            B::Div | B::FloorDiv | B::Rem if b == 0.0 => {
                return self.fail(Code::BadArithmetic, span, format!("{a} is divided by zero"));
            }
            B::Div => Value::Float(a / b),
            B::FloorDiv => Value::Float((a / b).floor()),
            B::Rem => Value::Float(a - b * (a / b).floor()),
            B::Pow => Value::Float(a.powf(b)),
            _ => {
                return self.fail(
                    Code::BadArithmetic,
                    span,
                    format!("`{}` does not take floats", symbol(op)),
                );
            }
        })
    }

    fn dim_binary(&mut self, op: B, a: Dim, b: Dim, span: Span) -> Result {
        if complexity(&a).saturating_mul(complexity(&b)) > 4096 {
            return self.fail(Code::TooLarge, span, "this dim grows too complicated");
        }
        if b.is(0) && matches!(op, B::Div | B::FloorDiv | B::Rem) {
            return self.fail(Code::BadArithmetic, span, format!("`{a}` is divided by zero"));
        }
        Ok(Value::dim(match op {
            B::Add => a + b,
            B::Sub => a - b,
            B::Mul => a * b,
            B::FloorDiv => a.floor_div(&b),
            B::Rem => {
                let known = self.context.simplify(&a).rem(&self.context.simplify(&b));
                if known.is(0) { known } else { a.rem(&b) }
            }
            B::Div => match a.exact_div(&b) {
                Some(exact) => exact,
                None => {
                    let rest = self.context.simplify(&a).rem(&self.context.simplify(&b));
                    match rest.as_constant() {
                        Some(0) => {}
                        Some(_) => {
                            return self.fail(
                                Code::InexactDim,
                                span,
                                format!("`{a}` is not divisible by `{b}`"),
                            );
                        }
                        None => {
                            let at = self.user_span(span);
                            let message = format!("`{a}` must be divisible by `{b}`");
                            self.context.guard(a.rem(&b), message, at);
                        }
                    }
                    a.floor_div(&b)
                }
            },
            B::Pow => match b.as_constant().and_then(|b| u32::try_from(b).ok()) {
                Some(power) if power <= 4 => {
                    (0..power).fold(Dim::constant(1), |product, _| product * a.clone())
                }
                _ => return self.fail(Code::BadArithmetic, span, "a dim's power must be a constant up to 4"),
            },
            B::Lt | B::Le | B::Gt | B::Ge => {
                let difference = self.context.simplify(&(a.clone() - b.clone()));
                return match difference.as_constant() {
                    Some(d) => Ok(Value::Bool(match op {
                        B::Lt => d < 0,
                        B::Le => d <= 0,
                        B::Gt => d > 0,
                        _ => d >= 0,
                    })),
                    None => {
                        let message =
                            format!("whether `{a} {} {b}` holds is known only when it runs", symbol(op));
                        let hint = "a number in the input's type, or a `setting`, is known to the compiler";
                        self.fail_hint(Code::NotCompileTime, span, message, hint)
                    }
                };
            }
            _ => return self.fail(Code::BadArithmetic, span, format!("`{}` does not take dims", symbol(op))),
        }))
    }

    // ---- tensors

    /// A value as a tensor: a number takes the dtype that is asked for.
    pub(crate) fn as_tensor(&mut self, value: &Value, dtype: DType, span: Span) -> Result<Tensor> {
        let scalar = TensorType::scalar(dtype);
        let op = match value {
            Value::Tensor(t) if t.graph == self.context.id => return Ok(*t),
            Value::Int(i) if dtype != DType::Bool => Op::Constant(*i as f64),
            Value::Float(f) if dtype.is_float() => Op::Constant(*f),
            Value::Float(f) => {
                let message = format!(
                    "{} is a fraction, but the tensor is {}",
                    super::value::show_float(*f),
                    dtype.name()
                );
                return self.fail_hint(Code::DTypeMismatch, span, message, "cast the tensor: `f32(x)`");
            }
            Value::Dim(d) if dtype != DType::Bool => Op::DimValue(d.clone()),
            Value::Bool(b) if dtype == DType::Bool => Op::Constant(f64::from(u8::from(*b))),
            Value::Error => return Err(Reported),
            Value::Tensor(_) | Value::Elsewhere(_) => {
                self.readable(value.clone(), span)?;
                return Err(Reported);
            }
            other => {
                let hint = self.kind_hint("tensor", other);
                let message = format!("a tensor is needed here, not {}", other.kind());
                return Err(self.report(Diagnostic::error(Code::WrongKind, span, message).hint_if(hint)));
            }
        };
        let node = self.emit(op, &[], Some(scalar), span)?;
        Ok(self.context.tensor(node))
    }

    /// The dtype that operands share: that of the tensors, or a float for numbers alone.
    pub(crate) fn shared_dtype(&mut self, operands: &[&Operand], what: &str, span: Span) -> Result<DType> {
        let mut found: Option<(DType, TensorType, Span)> = None;
        for (value, at) in operands {
            let Value::Tensor(t) = value else { continue };
            let ty = self.tensor_type(*t);
            match &found {
                Some((dtype, other, other_at)) if *dtype != ty.dtype => {
                    let (target, which) = match (dtype.is_float(), ty.dtype.is_float()) {
                        (false, true) => (ty.dtype, "left"),
                        _ => (*dtype, "right"),
                    };
                    let hint = match what {
                        "and" | "or" => "compare first: `x != 0`".to_owned(),
                        _ => format!("cast the {which} one: `{}(…)`", target.name()),
                    };
                    let diagnostic = Diagnostic::error(
                        Code::DTypeMismatch,
                        span,
                        format!("`{what}` mixes {} and {}", dtype.name(), ty.dtype.name()),
                    )
                    .related(*other_at, other.to_string())
                    .related(*at, ty.to_string())
                    .hint(hint);
                    return Err(self.report(diagnostic));
                }
                Some(_) => {}
                None => found = Some((ty.dtype, ty, *at)),
            }
        }
        Ok(match found {
            Some((dtype, _, _)) => dtype,
            None if operands.iter().all(|(v, _)| matches!(v, Value::Bool(_))) => DType::Bool,
            None => DType::F32,
        })
    }

    /// Makes the operands tensors of one dtype and one shape.
    pub(crate) fn broadcast(&mut self, operands: &[&Operand], what: &str, span: Span) -> Result<Vec<NodeId>> {
        let dtype = self.shared_dtype(operands, what, span)?;
        let mut tensors = Vec::new();
        for (value, at) in operands {
            tensors.push(self.as_tensor(value, dtype, *at)?);
        }
        self.broadcast_tensors(&tensors, operands, what, span)
    }

    /// Rule 4: aligned at the last axis, missing axes are added in front, a literal 1 stretches.
    pub(crate) fn broadcast_tensors(
        &mut self,
        tensors: &[Tensor],
        operands: &[&Operand],
        what: &str,
        span: Span,
    ) -> Result<Vec<NodeId>> {
        let types: Vec<TensorType> = tensors.iter().map(|t| self.tensor_type(*t)).collect();
        let rank = types.iter().map(TensorType::rank).max().unwrap_or(0);
        // From the last axis: the extent, and which operand gave it.
        let mut shape: Vec<(Dim, usize)> = Vec::new();
        for back in 1..=rank {
            let mut found: Option<(Dim, usize)> = None;
            for (i, ty) in types.iter().enumerate() {
                let Some(extent) = ty.rank().checked_sub(back).and_then(|axis| ty.shape.get(axis)) else {
                    continue;
                };
                match &found {
                    None => found = Some((extent.clone(), i)),
                    Some((have, _)) if extent.is(1) && !have.is(1) => {}
                    Some((have, _)) if have.is(1) => found = Some((extent.clone(), i)),
                    Some((have, by)) => {
                        let sides = (types.get(*by), types.get(i));
                        match self.context.decide(have, extent) {
                            Decision::Equal => {}
                            Decision::Unknown => {
                                let at = self.user_span(span);
                                let message =
                                    format!("`{what}` needs one shape, but an axis is {have} and {extent}");
                                self.context.guard(have.clone() - extent.clone(), message, at);
                            }
                            Decision::Differ => {
                                let (Some(a), Some(b)) = sides else { return Err(Reported) };
                                let mut diagnostic = Diagnostic::error(
                                    Code::ShapeMismatch,
                                    span,
                                    format!("`{what}` of {a} and {b}: {have} and {extent} do not fit"),
                                );
                                for (place, ty) in [(*by, a), (i, b)] {
                                    if let Some((_, at)) = operands.get(place) {
                                        diagnostic = diagnostic.related(*at, ty.to_string());
                                    }
                                }
                                diagnostic = diagnostic.note(format!(
                                    "shapes are aligned at their last axis; axis -{back} is {have} on one side and {extent} on the other"
                                ));
                                return Err(self.report(diagnostic));
                            }
                        }
                    }
                }
            }
            shape.push(found.unwrap_or((Dim::constant(1), 0)));
        }
        let shape: Vec<Dim> = shape.into_iter().rev().map(|(d, _)| d).collect();
        let mut nodes = Vec::new();
        for (tensor, ty) in tensors.iter().zip(&types) {
            // Axes that a guard makes equal are written alike first.
            let lead = rank - ty.rank();
            let own: Vec<Dim> = ty
                .shape
                .iter()
                .enumerate()
                .map(|(i, d)| match shape.get(lead + i) {
                    Some(want) if !d.is(1) => want.clone(),
                    _ => d.clone(),
                })
                .collect();
            let tensor = self.retyped(*tensor, &own, span)?;
            self.place(span);
            let node = self.context.builder.broadcast_to(tensor.node, &shape);
            nodes.push(self.built(node, span)?);
        }
        Ok(nodes)
    }

    fn tensor_binary(&mut self, op: B, left: Operand, right: Operand, span: Span) -> Result {
        let nodes = self.broadcast(&[&left, &right], symbol(op), span)?;
        let dtype = nodes.first().map(|n| self.context.builder.ty(*n).dtype);
        if op == B::Div && dtype.is_some_and(|d| !d.is_float()) {
            return self.fail_hint(
                Code::DTypeMismatch,
                span,
                "`/` does not divide integer tensors",
                "`//` rounds down; or cast: `f32(x)`",
            );
        }
        let op = match op {
            B::Add => Op::Binary(Binary::Add),
            B::Sub => Op::Binary(Binary::Sub),
            B::Mul => Op::Binary(Binary::Mul),
            B::Div => Op::Binary(Binary::Div),
            B::FloorDiv => Op::Binary(Binary::FloorDiv),
            B::Rem => Op::Binary(Binary::Rem),
            B::Pow => Op::Binary(Binary::Pow),
            B::And => Op::Binary(Binary::And),
            B::Or => Op::Binary(Binary::Or),
            B::Eq => Op::Compare(Compare::Eq),
            B::Ne => Op::Compare(Compare::Ne),
            B::Lt => Op::Compare(Compare::Lt),
            B::Le => Op::Compare(Compare::Le),
            B::Gt => Op::Compare(Compare::Gt),
            B::Ge => Op::Compare(Compare::Ge),
            B::MatMul => return Err(Reported),
        };
        let node = self.emit(op, &nodes, None, span)?;
        Ok(self.tensor(node))
    }

    /// `a @ b`: the last axis of `a` with the last but one (or only) axis of `b`. More axes of `b` in front are a batch, aligned with
    /// those of `a`.
    fn matmul(&mut self, left: Operand, right: Operand, span: Span) -> Result {
        let dtype = self.shared_dtype(&[&left, &right], "@", span)?;
        let a = self.as_tensor(&left.0, dtype, left.1)?;
        let b = self.as_tensor(&right.0, dtype, right.1)?;
        let (ta, tb) = (self.tensor_type(a), self.tensor_type(b));
        let (Some(last), Some(_)) = (ta.rank().checked_sub(1), tb.rank().checked_sub(1)) else {
            return self.fail(
                Code::RankMismatch,
                span,
                format!("`@` needs axes to contract, not {ta} and {tb}"),
            );
        };
        let row = tb.rank().saturating_sub(2);
        let (Some(inner_a), Some(inner_b)) = (ta.shape.get(last).cloned(), tb.shape.get(row).cloned()) else {
            return Err(Reported);
        };
        match self.context.decide(&inner_a, &inner_b) {
            Decision::Equal => {}
            Decision::Unknown => {
                let at = self.user_span(span);
                let message = format!("`@` contracts {inner_a} with {inner_b}");
                self.context.guard(inner_a.clone() - inner_b.clone(), message, at);
            }
            Decision::Differ => {
                return Err(self.report(
                    Diagnostic::error(
                        Code::ShapeMismatch,
                        span,
                        format!("`@` contracts the last axis of {ta} with axis {row} of {tb}: {inner_a} and {inner_b}"),
                    )
                    .related(left.1, ta.to_string())
                    .related(right.1, tb.to_string()),
                ));
            }
        }
        // Batch axes: those of b before its matrix.
        let batches = row.min(tb.rank().saturating_sub(2));
        if batches > 0 && (ta.rank() < 2 || ta.rank() - 2 < batches) {
            return self.fail_hint(
                Code::RankMismatch,
                span,
                format!("`@` of {ta} and {tb}: the right side has more axes in front"),
                "`einsum` says which axes belong together",
            );
        }
        let mut shape_a = ta.shape.clone();
        if let Some(slot) = shape_a.get_mut(last) {
            *slot = inner_b.clone();
        }
        let lead = ta.rank().saturating_sub(2).saturating_sub(batches);
        let mut pairs = Vec::new();
        if batches > 0 {
            for i in 0..batches {
                let (Some(x), Some(y)) = (ta.shape.get(lead + i), tb.shape.get(i)) else {
                    return Err(Reported);
                };
                if self.context.decide(x, y) == Decision::Differ {
                    return Err(self.report(
                        Diagnostic::error(
                            Code::ShapeMismatch,
                            span,
                            format!("`@` of {ta} and {tb}: the batch axes {x} and {y} do not fit"),
                        )
                        .related(left.1, ta.to_string())
                        .related(right.1, tb.to_string()),
                    ));
                }
                if let Some(slot) = shape_a.get_mut(lead + i) {
                    *slot = y.clone();
                }
                pairs.push((lead + i, i));
            }
        }
        let a = self.retyped(a, &shape_a, span)?;
        let sum = vec![(last, row)];
        let node = self.emit(Op::Contract { batch: pairs, sum }, &[a.node, b.node], None, span)?;
        if lead == 0 || batches == 0 {
            return Ok(self.tensor(node));
        }
        // The result has the batch axes first; put a's leading axes back in front of them.
        let rank = self.context.builder.ty(node).rank();
        let permutation: Vec<usize> =
            (batches..batches + lead).chain(0..batches).chain(batches + lead..rank).collect();
        let node = self.emit(Op::Transpose { permutation }, &[node], None, span)?;
        Ok(self.tensor(node))
    }

    pub(crate) fn unary(&mut self, op: Unary, operand: Operand, span: Span) -> Result {
        let (value, at) = operand;
        Ok(match (op, &value) {
            (_, Value::Error) => return Err(Reported),
            (_, Value::Tensor(t)) => {
                let node = self.emit(Op::Unary(op), &[t.node], None, span)?;
                self.tensor(node)
            }
            (Unary::Not, Value::Bool(b)) => Value::Bool(!b),
            (Unary::Neg, Value::Int(i)) => match i.checked_neg() {
                Some(i) => Value::Int(i),
                None => return self.fail(Code::BadArithmetic, span, "this overflows"),
            },
            (Unary::Neg, Value::Dim(d)) => Value::dim(Dim::constant(0) - d.clone()),
            (Unary::Abs, Value::Int(i)) => match i.checked_abs() {
                Some(i) => Value::Int(i),
                None => return self.fail(Code::BadArithmetic, span, "this overflows"),
            },
            (Unary::Floor | Unary::Ceil | Unary::Round, Value::Int(_) | Value::Dim(_)) => value,
            (Unary::Sign, Value::Int(i)) => Value::Int(i.signum()),
            (op, Value::Int(_) | Value::Float(_)) if op != Unary::Not => {
                let x = value.as_float().ok_or(Reported)?;
                let y = number(op, x);
                if !y.is_finite() && x.is_finite() {
                    return self.fail(
                        Code::BadArithmetic,
                        span,
                        format!("`{}({})` is not a number", op.name(), value.show()),
                    );
                }
                Value::Float(y)
            }
            (op, Value::Dim(_)) if op != Unary::Not => {
                let tensor = self.as_tensor(&value, DType::F32, at)?;
                let node = self.emit(Op::Unary(op), &[tensor.node], None, span)?;
                self.tensor(node)
            }
            (op, other) => {
                let message = format!("`{}` does not take {}", op.name(), other.kind());
                return self.fail(Code::WrongKind, at, message);
            }
        })
    }

    pub(crate) fn limited_list(&mut self, values: Vec<Value>, span: Span) -> Result {
        if values.len() > super::builtins::MAX_LIST {
            return self.fail(
                Code::TooLarge,
                span,
                format!("a list of {} elements is too long", values.len()),
            );
        }
        Ok(Value::list(values))
    }
}

/// A unary operation on a compile-time number.
fn number(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x == 0.0 => 0.0,
        Unary::Sign => x.signum(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Erf => erf(x),
        Unary::Not => f64::NAN,
    }
}

/// The error function by its series and, far out, its continued fraction.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while f64::abs(term) > 1e-17 * f64::abs(sum) && n < 200.0 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let mut fraction = 0.0;
        for k in (1..60).rev() {
            fraction = f64::from(k) / 2.0 / (a + fraction);
        }
        1.0 - (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// A measure of a dim's size, so that products of polynomials stay small.
fn complexity(dim: &Dim) -> usize {
    dim.terms().map(|(atoms, _)| atoms.len() + 1).sum()
}

pub fn symbol(op: B) -> &'static str {
    match op {
        B::Add => "+",
        B::Sub => "-",
        B::Mul => "*",
        B::Div => "/",
        B::FloorDiv => "//",
        B::Rem => "%",
        B::Pow => "**",
        B::MatMul => "@",
        B::Eq => "==",
        B::Ne => "!=",
        B::Lt => "<",
        B::Le => "<=",
        B::Gt => ">",
        B::Ge => ">=",
        B::And => "and",
        B::Or => "or",
    }
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_agrees_with_tables() {
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            assert!((erf(x) - y).abs() < 1e-14 && (erf(-x) + y).abs() < 1e-14, "erf({x}) = {}", erf(x));
        }
    }
}
