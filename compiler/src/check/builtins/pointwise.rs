//! Elementwise builtins, casts, constants and random numbers.

use super::{Builtin, Call, First};
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::Code;
use crate::graph::op::{Binary, Distribution, Op, Unary};
use crate::graph::{DType, Dim, TensorType};

macro_rules! unary {
    ($($signature:literal, $op:ident, $doc:literal, $example:literal;)*) => {
        &[$(Builtin {
            signature: $signature,
            doc: concat!($doc, "\n\nExample: `", $example, "`"),
            first: First::Number,
            run: |c, call| { let x = call.operand("x")?; c.unary(Unary::$op, x, call.span) },
        }),*]
    };
}

macro_rules! casts {
    ($($signature:literal, $dtype:ident;)*) => {
        &[$(Builtin {
            signature: $signature,
            doc: concat!(
                "Casts a tensor, a number or a dim to this element type; a fraction rounds towards zero.\n\nExample: `",
                $signature,
                "`"
            ),
            first: First::Number,
            run: |c, call| cast(c, call, DType::$dtype),
        }),*]
    };
}

const UNARY: &[Builtin] = unary! {
    "neg(x)", Neg, "`-x`.", "neg(x)";
    "abs(x)", Abs, "The magnitude.", "mean(abs(x))";
    "sign(x)", Sign, "-1, 0 or 1.", "sign(x)";
    "floor(x)", Floor, "Rounds down.", "floor(x / 2)";
    "ceil(x)", Ceil, "Rounds up.", "ceil(x / 2)";
    "round(x)", Round, "Rounds to the nearest, halves to even.", "round(x * 255)";
    "sqrt(x)", Sqrt, "The square root.", "sqrt(x * x + 1)";
    "rsqrt(x)", Rsqrt, "`1 / sqrt(x)`.", "x * rsqrt(variance(x) + 1e-5)";
    "exp(x)", Exp, "`e` to the power of `x`.", "exp(-x)";
    "expm1(x)", Expm1, "`exp(x) - 1`, exact near 0.", "expm1(x)";
    "log(x)", Log, "The natural logarithm.", "log(p + 1e-7)";
    "log1p(x)", Log1p, "`log(1 + x)`, exact near 0.", "log1p(x * x)";
    "sin(x)", Sin, "The sine.", "sin(x)";
    "cos(x)", Cos, "The cosine.", "cos(x)";
    "tanh(x)", Tanh, "The hyperbolic tangent.", "x |> dense(64) |> tanh";
    "sigmoid(x)", Sigmoid, "`1 / (1 + exp(-x))`.", "x |> dense(1) |> sigmoid";
    "erf(x)", Erf, "The error function.", "erf(x)";
};

const CASTS: &[Builtin] = casts! {
    "f32(x)", F32;
    "f64(x)", F64;
    "f16(x)", F16;
    "bf16(x)", BF16;
    "i8(x)", I8;
    "u8(x)", U8;
    "i32(x)", I32;
    "i64(x)", I64;
};

const BINARY: &[Builtin] = &[
    Builtin {
        signature: "maximum(a, b)",
        doc: "The larger, element by element; NaN if either is.\n\nExample: `maximum(x, 0)`",
        first: First::Number,
        run: |c, call| pair(c, call, Binary::Max),
    },
    Builtin {
        signature: "minimum(a, b)",
        doc: "The smaller, element by element; NaN if either is.\n\nExample: `minimum(x, 1)`",
        first: First::Number,
        run: |c, call| pair(c, call, Binary::Min),
    },
    Builtin {
        signature: "where(condition, then, otherwise)",
        doc: "`then` where the condition is true, else `otherwise`.\n\nExample: `where(x <= 0, 0, x)`",
        first: First::Plain,
        run: choose,
    },
    Builtin {
        signature: "hold(x)",
        doc: "The value itself, with no gradient.\n\nExample: `x + hold(round(x) - x)`",
        first: First::Number,
        run: |c, call| {
            let x = call.tensor(c, "x")?;
            let node = c.emit(Op::Hold, &[x.node], None, call.span)?;
            Ok(c.tensor(node))
        },
    },
];

const CONSTANTS: &[Builtin] = &[
    Builtin {
        signature: "zeros(…dims)",
        doc: "Zeros (f32) of these dims, or of a shape list.\n\nExample: `zeros(n, 10)`",
        first: First::Plain,
        run: |c, call| filled(c, call, 0.0),
    },
    Builtin {
        signature: "ones(…dims)",
        doc: "Ones (f32) of these dims, or of a shape list.\n\nExample: `ones(n, 10)`",
        first: First::Plain,
        run: |c, call| filled(c, call, 1.0),
    },
    Builtin {
        signature: "full(shape, value)",
        doc: "A tensor of this shape with one value everywhere; f32 unless the value is a tensor.\n\nExample: `full([n, 10], 0.1)`",
        first: First::Plain,
        run: |c, call| {
            let shape = call.need("shape")?;
            let shape = c.shape_list(&shape.value, shape.span)?;
            let value = call.tensor(c, "value")?;
            c.place(call.span);
            let node = c.context.builder.broadcast_to(value.node, &shape);
            let node = c.built(node, call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "zeros_like(x)",
        doc: "Zeros of the type of `x`.\n\nExample: `state m = zeros_like(w)`",
        first: First::Number,
        run: |c, call| like(c, call, 0.0),
    },
    Builtin {
        signature: "ones_like(x)",
        doc: "Ones of the type of `x`.\n\nExample: `x - ones_like(x)`",
        first: First::Number,
        run: |c, call| like(c, call, 1.0),
    },
    Builtin {
        signature: "iota(n)",
        doc: "`0, 1, …, n - 1` as i32[n].\n\nExample: `iota(10)`",
        first: First::Plain,
        run: iota,
    },
    Builtin {
        signature: "arange(n)",
        doc: "The same as `iota`: `0, 1, …, n - 1` as i32[n].\n\nExample: `arange(10)`",
        first: First::Plain,
        run: iota,
    },
    Builtin {
        signature: "table(values)",
        doc: "A small constant f32 tensor from a list of numbers, or of lists of one length. A tensor stays what it is.\n\nExample: `gather(table([1, 5]), label)`",
        first: First::Plain,
        run: table,
    },
    Builtin {
        signature: "uniform(…dims)",
        doc: "Uniform random numbers in [0, 1) (f32); the stream is that of the path.\n\nExample: `x + 0.01 * uniform(shape(x))`",
        first: First::Plain,
        run: |c, call| random(c, call, Distribution::Uniform),
    },
    Builtin {
        signature: "normal(…dims)",
        doc: "Normal random numbers of mean 0 and deviation 1 (f32); the stream is that of the path.\n\nExample: `x + 0.1 * normal(shape(x))`",
        first: First::Plain,
        run: |c, call| random(c, call, Distribution::Normal),
    },
];

/// (family, its builtins)
pub const TABLES: &[(&str, &[Builtin])] =
    &[("elementwise", UNARY), ("elementwise", BINARY), ("casts", CASTS), ("constants", CONSTANTS)];

fn cast(c: &mut Checker<'_>, call: &Call<'_>, dtype: DType) -> Result {
    let (value, span) = call.operand("x")?;
    let node = match &value {
        Value::Tensor(t) => {
            c.place(call.span);
            let node = c.context.builder.cast(t.node, dtype);
            c.built(node, call.span)?
        }
        Value::Float(f) if !dtype.is_float() => c.as_tensor(&Value::Int(f.trunc() as i64), dtype, span)?.node,
        Value::Bool(b) => c.as_tensor(&Value::Int(i64::from(*b)), dtype, span)?.node,
        other => c.as_tensor(other, dtype, span)?.node,
    };
    Ok(c.tensor(node))
}

fn pair(c: &mut Checker<'_>, call: &Call<'_>, op: Binary) -> Result {
    let (a, b) = (call.operand("a")?, call.operand("b")?);
    if a.0.is_number() && b.0.is_number() {
        return super::lists::larger(c, &[a, b], op == Binary::Max, call.span);
    }
    let nodes = c.broadcast(&[&a, &b], call.builtin.name(), call.span)?;
    let node = c.emit(Op::Binary(op), &nodes, None, call.span)?;
    Ok(c.tensor(node))
}

fn choose(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let condition = call.operand("condition")?;
    let (then, otherwise) = (call.operand("then")?, call.operand("otherwise")?);
    if let Value::Bool(b) = condition.0 {
        return Ok(if b { then.0 } else { otherwise.0 });
    }
    let test = c.as_tensor(&condition.0, DType::Bool, condition.1)?;
    if c.tensor_type(test).dtype != DType::Bool {
        let message = format!("`where` needs a bool tensor, not {}", c.tensor_type(test));
        return c.fail_hint(Code::DTypeMismatch, condition.1, message, "compare it: `x != 0`");
    }
    let dtype = c.shared_dtype(&[&then, &otherwise], "where", call.span)?;
    let a = c.as_tensor(&then.0, dtype, then.1)?;
    let b = c.as_tensor(&otherwise.0, dtype, otherwise.1)?;
    let nodes = c.broadcast_tensors(&[test, a, b], &[&condition, &then, &otherwise], "where", call.span)?;
    let node = c.emit(Op::Select, &nodes, None, call.span)?;
    Ok(c.tensor(node))
}

/// The dims of a variadic call: `zeros(n, 8)` or `zeros([n, 8])`.
fn dims(c: &mut Checker<'_>, call: &Call<'_>) -> Result<Vec<Dim>> {
    if let [only] = call.rest.as_slice() {
        return c.shape_list(&only.value, only.span);
    }
    let mut shape = Vec::new();
    for argument in &call.rest {
        shape.push(c.value_dim(&argument.value, argument.span)?);
    }
    Ok(shape)
}

fn filled(c: &mut Checker<'_>, call: &Call<'_>, value: f64) -> Result {
    let shape = dims(c, call)?;
    fill(c, call, value, &TensorType::new(DType::F32, shape))
}

fn fill(c: &mut Checker<'_>, call: &Call<'_>, value: f64, ty: &TensorType) -> Result {
    c.place(call.span);
    let node = c.context.builder.full(value, ty);
    let node = c.built(node, call.span)?;
    Ok(c.tensor(node))
}

fn like(c: &mut Checker<'_>, call: &Call<'_>, value: f64) -> Result {
    let (_, ty) = call.typed(c, "x")?;
    fill(c, call, value, &ty)
}

fn iota(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let argument = call.need("n")?;
    let n = c.value_dim(&argument.value, argument.span)?;
    let node = c.emit(Op::Iota { axis: 0 }, &[], Some(TensorType::new(DType::I32, vec![n])), call.span)?;
    Ok(c.tensor(node))
}

fn table(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let argument = call.need("values")?;
    if let Value::Tensor(tensor) = &argument.value {
        return Ok(Value::Tensor(*tensor));
    }
    let mut shape = Vec::new();
    let mut level = &argument.value;
    while let Some(items) = level.elements() {
        shape.push(Dim::from(items.len()));
        match items.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    let mut values = Vec::new();
    let flat = flatten(&argument.value, &shape, &mut values);
    if flat.is_none() || shape.is_empty() {
        return c.fail(
            Code::WrongKind,
            argument.span,
            "`table` takes a list of numbers, or of lists of one length",
        );
    }
    let node = c.emit(Op::Table(values), &[], Some(TensorType::new(DType::F32, shape)), call.span)?;
    Ok(c.tensor(node))
}

fn flatten(value: &Value, shape: &[Dim], into: &mut Vec<f64>) -> Option<()> {
    let Some((first, rest)) = shape.split_first() else {
        into.push(value.as_float()?);
        return Some(());
    };
    let items = value.elements().filter(|v| first.is(v.len() as i64))?;
    items.iter().try_for_each(|item| flatten(item, rest, into))
}

fn random(c: &mut Checker<'_>, call: &Call<'_>, distribution: Distribution) -> Result {
    let shape = dims(c, call)?;
    let path = c.path();
    let key = c.context.stream(format!("{path}.{}", call.builtin.name()));
    c.place(call.span);
    let seed = c.context.random();
    let seed = c.built(seed, call.span)?;
    let op = Op::Random { distribution, key };
    let node = c.emit(op, &[seed], Some(TensorType::new(DType::F32, shape)), call.span)?;
    Ok(c.tensor(node))
}
