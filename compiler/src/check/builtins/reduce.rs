//! Reductions, argmax, cumulative sums, sorting.

use super::{Builtin, Call, First};
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::Code;
use crate::graph::op::{Op, Reduction};
use crate::graph::{DType, Dim, NodeId, TensorType};

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "sum(x, axis = none, keep = false)",
        doc: "The sum over all axes, or over `axis` (a number or a list); `keep` leaves extents of 1.\n\nExample: `sum(x * x, axis = -1)`",
        first: First::Tensor,
        run: |c, call| reduce(c, call, Reduction::Sum),
    },
    Builtin {
        signature: "prod(x, axis = none, keep = false)",
        doc: "The product.\n\nExample: `prod(x, axis = -1)`",
        first: First::Tensor,
        run: |c, call| reduce(c, call, Reduction::Prod),
    },
    Builtin {
        signature: "max(x, axis = none, keep = false, …rest)",
        doc: "The largest element. Of several numbers, or of a list of numbers: the largest of them.\n\nExample: `max(softmax(logits), axis = -1)`",
        first: First::Number,
        run: |c, call| extreme(c, call, Reduction::Max),
    },
    Builtin {
        signature: "min(x, axis = none, keep = false, …rest)",
        doc: "The smallest element. Of several numbers, or of a list of numbers: the smallest of them.\n\nExample: `min(x, axis = -1, keep = true)`",
        first: First::Number,
        run: |c, call| extreme(c, call, Reduction::Min),
    },
    Builtin {
        signature: "any(x, axis = none, keep = false)",
        doc: "Is any element true?\n\nExample: `any(x > 0.5, axis = -1)`",
        first: First::Tensor,
        run: |c, call| reduce(c, call, Reduction::Any),
    },
    Builtin {
        signature: "all(x, axis = none, keep = false)",
        doc: "Are all elements true?\n\nExample: `all(x > 0.5, axis = -1)`",
        first: First::Tensor,
        run: |c, call| reduce(c, call, Reduction::All),
    },
    Builtin {
        signature: "argmax(x, axis = -1)",
        doc: "The index (i32) of the largest element along `axis`; ties go to the lowest.\n\nExample: `argmax(logits)`",
        first: First::Tensor,
        run: |c, call| arg(c, call, true),
    },
    Builtin {
        signature: "argmin(x, axis = -1)",
        doc: "The index (i32) of the smallest element along `axis`; ties go to the lowest.\n\nExample: `argmin(x, axis = 1)`",
        first: First::Tensor,
        run: |c, call| arg(c, call, false),
    },
    Builtin {
        signature: "cumsum(x, axis = -1, reverse = false, exclusive = false)",
        doc: "Sums of all elements up to each one along `axis`.\n\nExample: `cumsum(x, axis = 1)`",
        first: First::Tensor,
        run: |c, call| {
            let (x, ty) = call.typed(c, "x")?;
            let axis = call.axis(c, "axis", -1, ty.rank())?;
            let reverse = call.flag(c, "reverse", false)?;
            let exclusive = call.flag(c, "exclusive", false)?;
            let node = c.emit(Op::CumulativeSum { axis, reverse, exclusive }, &[x.node], None, call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "top_k(x, k)",
        doc: "The `k` largest along the last axis in falling order: `(values, indices)`.\n\nExample: `let values, indices = top_k(logits, 5)`",
        first: First::Tensor,
        run: |c, call| {
            let x = call.tensor(c, "x")?;
            let k = call.int(c, "k", 1)?;
            let last = c.tensor_type(x).shape.last().and_then(Dim::as_constant);
            let Some(k) = usize::try_from(k).ok().filter(|k| *k >= 1 && last.is_none_or(|l| *k as i64 <= l))
            else {
                return c.fail(Code::BadIndex, call.span, format!("there are no {k} largest elements here"));
            };
            let mut ty = c.tensor_type(x);
            if let Some(last) = ty.shape.last_mut() {
                *last = Dim::from(k);
            }
            let sorted = |c: &mut Checker<'_>, indices| {
                let dtype = if indices { DType::I32 } else { ty.dtype };
                let ty = TensorType::new(dtype, ty.shape.clone());
                c.emit(Op::Sort { falling: true, indices }, &[x.node], Some(ty), call.span)
            };
            let (values, indices) = (sorted(c, false)?, sorted(c, true)?);
            Ok(Value::tuple(vec![c.tensor(values), c.tensor(indices)]))
        },
    },
    Builtin {
        signature: "sort(x, axis = -1, falling = false)",
        doc: "The elements along `axis` in rising (falling) order. Equal ones keep their order; NaN is the largest.\n\nExample: `sort(x)`",
        first: First::Tensor,
        run: |c, call| sort(c, call, false),
    },
    Builtin {
        signature: "argsort(x, axis = -1, falling = false)",
        doc: "The places (i32) of the elements along `axis` in rising (falling) order, equal ones by place.\n\nExample: `argsort(x, falling = true)`",
        first: First::Tensor,
        run: |c, call| sort(c, call, true),
    },
];

fn reduce(c: &mut Checker<'_>, call: &Call<'_>, reduction: Reduction) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let axes = call.axes(c, ty.rank())?;
    let keep = call.flag(c, "keep", false)?;
    c.place(call.span);
    let node = if axes.is_empty() {
        // Nothing is reduced; `push` still checks the element type.
        x.node
    } else {
        c.emit(Op::Reduce { reduction, axes: axes.clone() }, &[x.node], None, call.span)?
    };
    kept(c, node, &ty.shape, &axes, keep, call)
}

/// Puts the reduced axes back with extent 1.
fn kept(
    c: &mut Checker<'_>,
    node: NodeId,
    shape: &[Dim],
    axes: &[usize],
    keep: bool,
    call: &Call<'_>,
) -> Result {
    if !keep {
        return Ok(c.tensor(node));
    }
    let shape: Vec<Dim> = shape
        .iter()
        .enumerate()
        .map(|(i, d)| if axes.contains(&i) { Dim::constant(1) } else { d.clone() })
        .collect();
    c.place(call.span);
    let node = c.context.builder.reshape(node, &shape);
    let node = c.built(node, call.span)?;
    Ok(c.tensor(node))
}

/// `max(x, axis = …)` of a tensor; `max(a, b, …)` of numbers.
fn extreme(c: &mut Checker<'_>, call: &Call<'_>, reduction: Reduction) -> Result {
    let (first, span) = call.operand("x")?;
    if first.is_tensor() {
        if let Some(extra) = call.rest.first() {
            let message = format!("`{}` of a tensor takes `axis` and `keep`", call.builtin.name());
            return c.fail(Code::ExtraArgument, extra.span, message);
        }
        return reduce(c, call, reduction);
    }
    let mut numbers: Vec<(Value, weft_grammar::Span)> = match first.elements() {
        Some(items) => items.iter().map(|v| (v.clone(), span)).collect(),
        None => vec![(first, span)],
    };
    for name in ["axis", "keep"] {
        numbers.extend(call.get(name).map(|a| (a.value.clone(), a.span)));
    }
    numbers.extend(call.rest.iter().map(|a| (a.value.clone(), a.span)));
    if numbers.iter().any(|(v, _)| v.is_tensor()) {
        let name = if reduction == Reduction::Max { "maximum" } else { "minimum" };
        return c.fail_hint(
            Code::WrongKind,
            call.span,
            format!("`{}` of several values takes numbers", call.builtin.name()),
            format!("`{name}(a, b)` compares tensors element by element"),
        );
    }
    super::lists::larger(c, &numbers, reduction == Reduction::Max, call.span)
}

fn sort(c: &mut Checker<'_>, call: &Call<'_>, indices: bool) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let axis = call.axis(c, "axis", -1, ty.rank())?;
    let falling = call.flag(c, "falling", false)?;
    // The primitive sorts along the last axis; an exchange of two axes is its own inverse.
    let mut exchange: Vec<usize> = (0..ty.rank()).collect();
    exchange.swap(axis, ty.rank() - 1);
    let exchanged = |c: &mut Checker<'_>, node| {
        c.place(call.span);
        let node = c.context.builder.transpose(node, &exchange);
        c.built(node, call.span)
    };
    let node = exchanged(c, x.node)?;
    let node = c.emit(Op::Sort { falling, indices }, &[node], None, call.span)?;
    let node = exchanged(c, node)?;
    Ok(c.tensor(node))
}

fn arg(c: &mut Checker<'_>, call: &Call<'_>, largest: bool) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let axis = call.axis(c, "axis", -1, ty.rank())?;
    let node = c.emit(Op::ArgReduce { largest, axes: vec![axis] }, &[x.node], None, call.span)?;
    Ok(c.tensor(node))
}
