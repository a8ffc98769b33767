//! The steps of a sequence: what a model's text says about them, so that one text trains on whole sequences and can go step by step.
//!
//! On a whole sequence `position` counts from 0 and `cached` is the identity. Where a sequence is made step by step, `position` goes on
//! counting, and `cached` keeps what the earlier steps gave.

use super::{Builtin, Call, First};
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::Code;
use crate::graph::op::Op;
use crate::graph::{DType, TensorType};

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "position(t)",
        doc: "The place of each step of the axis `t` in its sequence, from 0 on, as i32[t].\n\nExample: `gather(table, position(t))`",
        first: First::Plain,
        run: position,
    },
    Builtin {
        signature: "cached(x, over)",
        doc: "`x` at all steps of the axis `over` up to the present one. On a whole sequence that is `x` itself.\n\nExample: `let k = cached(x |> key: dense(64), over = t)`",
        first: First::Tensor,
        run: cached,
    },
];

fn position(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let argument = call.need("t")?;
    let steps = c.value_dim(&argument.value, argument.span)?;
    if let Some(later) = c.positions_so_far(&steps, call.span) {
        return later;
    }
    let ty = TensorType::new(DType::I32, vec![steps]);
    let node = c.emit(Op::Iota { axis: 0 }, &[], Some(ty), call.span)?;
    Ok(c.tensor(node))
}

fn cached(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let over = call.need("over")?;
    let steps = c.value_dim(&over.value, over.span)?;
    if let Some(all) = c.all_so_far(x.node, &steps, call.span) {
        return all;
    }
    // Which axis is meant matters only where a sequence is made step by step; there its extent is a symbol of its own.
    if ty.shape.contains(&steps) {
        return Ok(Value::Tensor(x));
    }
    c.fail(Code::BadIndex, over.span, format!("no axis of {ty} has the {steps} steps of `over`"))
}
