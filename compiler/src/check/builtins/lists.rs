//! Compile-time builtins: lists, numbers, texts, maps.

use super::{Builtin, Call, First, MAX_LIST};
use crate::check::value::{FunctionKind, Value};
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::{DType, NodeId};
use weft_grammar::Span;

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "len(list)",
        doc: "The number of elements of a list, tuple, map or text.\n\nExample: `len([64, 32])`",
        first: First::Plain,
        run: |c, call| {
            let (value, span) = call.operand("list")?;
            let n = match &value {
                Value::Map(entries) => entries.len(),
                Value::Text(text) => text.chars().count(),
                other => match other.elements() {
                    Some(items) => items.len(),
                    None => {
                        let message = format!("`len` takes a list, not {}", other.kind());
                        return c.fail_hint(
                            Code::WrongKind,
                            span,
                            message,
                            "`shape(x)` gives a tensor's dims",
                        );
                    }
                },
            };
            Ok(Value::Int(n as i64))
        },
    },
    Builtin {
        signature: "per_axis(sizes, count)",
        doc: "A list of `count` sizes: a single one stands for all, a list must have that many.\n\nExample: `per_axis(3, 2)` is `[3, 3]`",
        first: First::Plain,
        run: |c, call| {
            let (value, span) = call.operand("sizes")?;
            let count = call.int(c, "count", 1)?;
            let count = usize::try_from(count).ok().filter(|n| (0..=8).contains(n)).unwrap_or(1);
            match value.elements() {
                Some(items) if items.len() == count => Ok(Value::list(items.to_vec())),
                Some(items) => {
                    let name = c.sources.text(span).to_owned();
                    let has = items.len();
                    let message = format!(
                        "a number for all or a list of {count} fits here, but `{name}` has length {has}"
                    );
                    c.fail(Code::WrongKind, span, message)
                }
                None => Ok(Value::list(vec![value; count])),
            }
        },
    },
    Builtin {
        signature: "known(size)",
        doc: "Is a size known when the spec is compiled? A symbol such as `n` is not.\n\nExample: `known(28)` is `true`",
        first: First::Plain,
        run: |c, call| match call.operand("size")? {
            (Value::Dim(_), _) => Ok(Value::Bool(false)),
            (value, _) if value.is_number() => Ok(Value::Bool(true)),
            (value, span) => {
                c.fail(Code::WrongKind, span, format!("`known` takes a size, not {}", value.kind()))
            }
        },
    },
    Builtin {
        signature: "range(start, end = none, step = 1)",
        doc: "`range(n)`: 0 … n - 1; `range(a, b)`: a … b - 1, by `step`.\n\nExample: `range(2, 8, step = 2)`",
        first: First::Plain,
        run: range,
    },
    Builtin {
        signature: "shape(x)",
        doc: "The dims of a tensor, as a list.\n\nExample: `shape(image)`",
        first: First::Number,
        run: |c, call| {
            let (_, ty) = call.typed(c, "x")?;
            Ok(Value::list(ty.shape.into_iter().map(Value::dim).collect()))
        },
    },
    Builtin {
        signature: "rank(x)",
        doc: "The number of axes of a tensor.\n\nExample: `rank(image)`",
        first: First::Number,
        run: |c, call| {
            let (_, ty) = call.typed(c, "x")?;
            Ok(Value::Int(ty.rank() as i64))
        },
    },
    Builtin {
        signature: "dtype(x)",
        doc: "The element type of a tensor, as a text.\n\nExample: `dtype(x)`",
        first: First::Number,
        run: |c, call| {
            let (_, ty) = call.typed(c, "x")?;
            Ok(Value::text(ty.dtype.name()))
        },
    },
    Builtin {
        signature: "int(x)",
        doc: "A compile-time number as an int, rounded towards zero.\n\nExample: `int(64 * 0.75)`",
        first: First::Plain,
        run: |c, call| {
            let (value, span) = call.operand("x")?;
            match &value {
                Value::Int(_) | Value::Dim(_) => Ok(value),
                Value::Bool(b) => Ok(Value::Int(i64::from(*b))),
                Value::Float(f) if f.abs() < 9e15 => Ok(Value::Int(f.trunc() as i64)),
                Value::Tensor(_) => c.fail_hint(
                    Code::NotCompileTime,
                    span,
                    "`int` is for compile-time numbers",
                    "`i32(x)` casts a tensor",
                ),
                other => c.fail(Code::WrongKind, span, format!("`int` does not take {}", other.kind())),
            }
        },
    },
    Builtin {
        signature: "float(x)",
        doc: "A compile-time number as a float.\n\nExample: `float(3)`",
        first: First::Plain,
        run: |c, call| {
            let (value, span) = call.operand("x")?;
            match value.as_float() {
                Some(f) => Ok(Value::Float(f)),
                None => {
                    let hint = "`f32(x)` casts a tensor or a dim";
                    c.fail_hint(
                        Code::WrongKind,
                        span,
                        format!("`float` does not take {}", value.kind()),
                        hint,
                    )
                }
            }
        },
    },
    Builtin {
        signature: "text(x)",
        doc: "A compile-time value as a text.\n\nExample: `text(64)`",
        first: First::Plain,
        run: |_, call| {
            let (value, _) = call.operand("x")?;
            Ok(match value {
                Value::Text(_) => value,
                other => Value::text(&other.show()),
            })
        },
    },
    Builtin {
        signature: "fail(message)",
        doc: "Stops with this message.\n\nExample: `if rank(x) == 2 { x } else { fail(\"a matrix is needed\") }`",
        first: First::Plain,
        run: |c, call| {
            let (value, _) = call.operand("message")?;
            let text = match &value {
                Value::Text(text) => text.to_string(),
                other => other.show(),
            };
            c.fail(Code::AssertionFailed, call.span, text)
        },
    },
    Builtin {
        signature: "repeat(count, layer)",
        doc: "`count` copies of a layer, one after another; each has its own weights unless the layer is bound to a name.\n\nExample: `x |> repeat(3, fn(x) { x |> dense(64) |> relu })`",
        first: First::Plain,
        run: |c, call| {
            if let Ok((Value::Function(layer), span)) = call.operand("count") {
                let message = format!(
                    "the number of copies comes first, but this is {}",
                    Value::Function(layer.clone()).kind()
                );
                let hint = format!("write `repeat(3, {}(…))`", layer.name());
                return c.fail_hint(Code::WrongKind, span, message, hint);
            }
            let count = call.int(c, "count", 0)?;
            if !(0..=4096).contains(&count) {
                let span = call.need("count")?.span;
                return c.fail(Code::TooLarge, span, format!("{count} copies are not possible"));
            }
            let (value, span) = call.operand("layer")?;
            let inner = c.function(&value, span)?;
            Ok(Value::function(FunctionKind::Repeat { count, inner, span }))
        },
    },
    Builtin {
        signature: "gradient(y, x)",
        doc: "The gradient of the sum of `y` with respect to `x`, a tensor that `y` was computed from (or a list of such).\n\nExample: `gradient(sum(x * x), x)`",
        first: First::Plain,
        run: gradient,
    },
];

fn range(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (start, end) = match call.get("end").map(|a| &a.value) {
        None | Some(Value::None) => (0, call.int(c, "start", 0)?),
        Some(_) => (call.int(c, "start", 0)?, call.int(c, "end", 0)?),
    };
    let step = call.int(c, "step", 1)?;
    if step == 0 {
        return c.fail(Code::BadArithmetic, call.span, "`range` cannot have step 0");
    }
    let (a, b, s) = (i128::from(start), i128::from(end), i128::from(step));
    let count = if s > 0 { (b - a + s - 1) / s } else { (a - b - s - 1) / -s }.max(0);
    if count > MAX_LIST as i128 {
        return c.fail(Code::TooLarge, call.span, format!("a list of {count} elements is too long"));
    }
    Ok(Value::list((0..count).filter_map(|i| i64::try_from(a + i * s).ok()).map(Value::Int).collect()))
}

/// The largest (smallest) of numbers and dims.
pub fn larger(c: &mut Checker<'_>, numbers: &[(Value, Span)], largest: bool, span: Span) -> Result {
    let mut best: Option<Value> = None;
    for (value, at) in numbers {
        best = Some(match (best, value) {
            (None, Value::Int(_) | Value::Float(_) | Value::Dim(_)) => value.clone(),
            (Some(have), value) => match (have.as_dim(), value.as_dim()) {
                (Some(a), Some(b)) => {
                    let difference = c.context.simplify(&(a.clone() - b.clone())).as_constant();
                    match difference {
                        Some(d) if (d >= 0) == largest => have,
                        Some(_) => value.clone(),
                        None => Value::dim(if largest { a.larger(&b) } else { a.smaller(&b) }),
                    }
                }
                _ => match (have.as_float(), value.as_float()) {
                    (Some(a), Some(b)) if (a >= b) == largest => have,
                    (Some(_), Some(_)) => value.clone(),
                    _ => {
                        return c.fail(
                            Code::WrongKind,
                            *at,
                            format!("a number is needed here, not {}", value.kind()),
                        );
                    }
                },
            },
            (None, other) => {
                return c.fail(
                    Code::WrongKind,
                    *at,
                    format!("a number or a tensor is needed here, not {}", other.kind()),
                );
            }
        });
    }
    match best {
        Some(value) => Ok(value),
        None => c.fail(Code::WrongKind, span, "there is no number to choose from"),
    }
}

fn gradient(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let y = call.tensor(c, "y")?;
    let (x, span) = call.operand("x")?;
    let (many, list) = match x.elements() {
        Some(items) => (true, items.to_vec()),
        None => (false, vec![x]),
    };
    let mut wrt: Vec<NodeId> = Vec::new();
    for item in &list {
        if !item.is_tensor() {
            return c.fail(
                Code::NoGradient,
                span,
                format!("a gradient is taken with respect to a tensor, not {}", item.kind()),
            );
        }
        wrt.push(c.as_tensor(item, DType::F32, span)?.node);
    }
    let nodes = c.gradients(y.node, None, &wrt, false, call.span)?;
    let mut values: Vec<Value> = nodes.into_iter().map(|n| c.tensor(n)).collect();
    match (many, values.len()) {
        (false, 1) => values.pop().ok_or(Reported),
        _ => Ok(Value::list(values)),
    }
}
