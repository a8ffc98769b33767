//! Shapes: views, placements, slicing.

use super::{Builtin, Call, First};
use crate::check::context::Decision;
use crate::check::scope::Scope;
use crate::check::value::{Tensor, Value};
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::op::Op;
use crate::graph::{DType, Dim, TensorType};
use weft_grammar::Span;
use weft_grammar::ast::{self, Index};

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "reshape(x, dims)",
        doc: "The same elements in row-major order under another shape.\n\nExample: `x |> reshape([n, 8, 8])`",
        first: First::Tensor,
        run: reshape,
    },
    Builtin {
        signature: "transpose(x, permutation = none)",
        doc: "Result axis i is axis `permutation[i]`; without one, the last two axes change places.\n\nExample: `transpose(x)`",
        first: First::Tensor,
        run: transpose,
    },
    Builtin {
        signature: "broadcast(x, dims)",
        doc: "Adds leading axes and stretches extents of 1 to this shape.\n\nExample: `broadcast(bias, [n, 64])`",
        first: First::Tensor,
        run: |c, call| {
            let x = call.tensor(c, "x")?;
            let dims = call.need("dims")?;
            let shape = c.shape_list(&dims.value, dims.span)?;
            c.place(call.span);
            let node = c.context.builder.broadcast_to(x.node, &shape);
            let node = c.built(node, call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "expand(x, axis)",
        doc: "A new axis of extent 1 at this place of the result; `-1` puts it last.\n\nExample: `expand(x, -1)`",
        first: First::Tensor,
        run: |c, call| {
            let (x, ty) = call.typed(c, "x")?;
            let axis = call.axis(c, "axis", -1, ty.rank() + 1)?;
            let node = expanded(c, x, axis, call.span)?;
            Ok(c.tensor(node.node))
        },
    },
    Builtin {
        signature: "squeeze(x, axis)",
        doc: "Removes an axis of extent 1.\n\nExample: `x |> dense(1) |> squeeze(-1)`",
        first: First::Tensor,
        run: |c, call| {
            let (x, ty) = call.typed(c, "x")?;
            let axis = call.axis(c, "axis", -1, ty.rank())?;
            let mut shape = ty.shape.clone();
            let extent = shape.remove(axis);
            if !extent.is(1) {
                return c.fail(
                    Code::ShapeMismatch,
                    call.span,
                    format!("axis {axis} of {ty} is {extent}, not 1"),
                );
            }
            let node = reshaped(c, x, &shape, call.span)?;
            Ok(c.tensor(node.node))
        },
    },
    Builtin {
        signature: "window(x, axis, size, stride = 1, dilation = 1)",
        doc: "Sliding windows over the axes from `axis` on: `[n, h, w, c]` becomes `[n, oh, ow, kh, kw, c]` for a `size` of two.\n\nExample: `max(window(image, axis = 1, size = [2, 2], stride = 2), axis = [3, 4])`",
        first: First::Tensor,
        run: |c, call| {
            let (x, ty) = call.typed(c, "x")?;
            let axis = call.axis(c, "axis", 0, ty.rank())?;
            let (size, stride, dilation) = window_sizes(c, call)?;
            let node = c.emit(Op::Window { axis, size, stride, dilation }, &[x.node], None, call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "unwindow(x, axis, size, shape, stride = 1, dilation = 1)",
        doc: "The adjoint of `window`: overlapping windows are added up to a tensor of this shape.\n\nExample: `unwindow(window(signal, axis = 1, size = 5), axis = 1, size = 5, shape = shape(signal))`",
        first: First::Tensor,
        run: |c, call| {
            let (x, ty) = call.typed(c, "x")?;
            let axis = call.axis(c, "axis", 0, ty.rank())?;
            let (size, stride, dilation) = window_sizes(c, call)?;
            let shape = call.need("shape")?;
            let shape = c.shape_list(&shape.value, shape.span)?;
            let given = TensorType::new(ty.dtype, shape);
            let node =
                c.emit(Op::Unwindow { axis, size, stride, dilation }, &[x.node], Some(given), call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "pad(x, amounts, value = 0)",
        doc: "Puts (before, after) elements of `value` around each axis; `amounts` has one pair an axis.\n\nExample: `pad(x, [(0, 0), (1, 1)])`",
        first: First::Tensor,
        run: pad,
    },
    Builtin {
        signature: "concat(parts, axis = -1)",
        doc: "Joins tensors along an axis.\n\nExample: `concat([a, b])`",
        first: First::Plain,
        run: |c, call| {
            let parts = parts(c, call)?;
            let rank = parts.first().map_or(0, |p| c.tensor_type(*p).rank());
            let axis = call.axis(c, "axis", -1, rank)?;
            joined(c, &parts, axis, call.span)
        },
    },
    Builtin {
        signature: "stack(parts, axis = 0)",
        doc: "Puts tensors of one shape side by side along a new axis.\n\nExample: `stack([a, b], axis = 1)`",
        first: First::Plain,
        run: |c, call| {
            let parts = parts(c, call)?;
            let rank = parts.first().map_or(0, |p| c.tensor_type(*p).rank());
            let axis = call.axis(c, "axis", 0, rank + 1)?;
            let mut expanded_parts = Vec::new();
            for part in parts {
                expanded_parts.push(expanded(c, part, axis, call.span)?);
            }
            joined(c, &expanded_parts, axis, call.span)
        },
    },
    Builtin {
        signature: "split(x, parts, axis = -1)",
        doc: "A list of `parts` equal pieces along an axis, or of pieces of the extents in a list.\n\nExample: `let value, gate = split(x, 2)`",
        first: First::Tensor,
        run: split,
    },
];

fn reshaped(c: &mut Checker<'_>, x: Tensor, shape: &[Dim], span: Span) -> Result<Tensor> {
    c.place(span);
    let node = c.context.builder.reshape(x.node, shape);
    let node = c.built(node, span)?;
    Ok(c.context.tensor(node))
}

fn reshape(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let dims = call.need("dims")?;
    let shape = c.shape_list(&dims.value, dims.span)?;
    let (have, want) = (ty.elements(), TensorType::new(ty.dtype, shape.clone()).elements());
    match c.context.decide(&have, &want) {
        Decision::Equal if have == want => {
            let node = reshaped(c, x, &shape, call.span)?;
            Ok(Value::Tensor(node))
        }
        Decision::Differ => Err(c.report(
            Diagnostic::error(
                Code::ShapeMismatch,
                call.span,
                format!("{ty} has {have} elements, but the new shape has {want}"),
            )
            .related(
                dims.span,
                format!("[{}]", shape.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ")),
            ),
        )),
        decision => {
            if decision == Decision::Unknown {
                let at = c.user_span(call.span);
                let message = format!("{ty} has {have} elements, but its new shape has {want}");
                c.context.guard(have.clone() - want.clone(), message, at);
            }
            // The counts are equal but written otherwise: flat, the one extent becomes the other.
            let flat = reshaped(c, x, &[have], call.span)?;
            let flat = c.retyped(flat, &[want], call.span)?;
            let node = reshaped(c, flat, &shape, call.span)?;
            Ok(Value::Tensor(node))
        }
    }
}

fn transpose(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let rank = ty.rank();
    let permutation = match call.get("permutation").map(|a| (&a.value, a.span)) {
        None | Some((Value::None, _)) => {
            if rank < 2 {
                return c.fail(Code::RankMismatch, call.span, format!("{ty} has no two axes to change"));
            }
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.swap(rank - 1, rank - 2);
            axes
        }
        Some((value, span)) => {
            let Some(items) = value.elements().cloned() else {
                return c.fail(Code::WrongKind, span, "a permutation is a list of axes");
            };
            let mut axes = Vec::new();
            for item in items.iter() {
                let axis = c.value_int(item, span)?;
                axes.push(c.axis(axis, rank, span)?);
            }
            axes
        }
    };
    if permutation.len() != rank {
        return c.fail(Code::RankMismatch, call.span, format!("{ty} needs a permutation of {rank} axes"));
    }
    c.place(call.span);
    let node = c.context.builder.transpose(x.node, &permutation);
    let node = c.built(node, call.span)?;
    Ok(c.tensor(node))
}

/// A new axis of extent 1. As a broadcast, which says more than a reshape.
fn expanded(c: &mut Checker<'_>, x: Tensor, axis: usize, span: Span) -> Result<Tensor> {
    let ty = c.tensor_type(x);
    let mut shape = ty.shape;
    shape.insert(axis.min(shape.len()), Dim::constant(1));
    let axes = (0..shape.len()).filter(|i| *i != axis).collect();
    let node = c.emit(Op::Broadcast { axes }, &[x.node], Some(TensorType::new(ty.dtype, shape)), span)?;
    Ok(c.context.tensor(node))
}

fn window_sizes(c: &mut Checker<'_>, call: &Call<'_>) -> Result<(Vec<usize>, Vec<usize>, Vec<usize>)> {
    let size = call.sizes(c, "size", None, 1)?;
    let stride = call.sizes(c, "stride", Some(size.len()), 1)?;
    let dilation = call.sizes(c, "dilation", Some(size.len()), 1)?;
    Ok((size, stride, dilation))
}

fn pad(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let amounts = call.need("amounts")?;
    let value = call.float(c, "value", 0.0)?;
    let items = amounts.value.elements().cloned().unwrap_or_default();
    if items.len() != ty.rank() {
        let message = format!("`pad` of {ty} needs {} pairs, one an axis, not {}", ty.rank(), items.len());
        return c.fail(Code::RankMismatch, amounts.span, message);
    }
    let mut pairs = Vec::new();
    for item in items.iter() {
        let Some([before, after]) = item.elements().map(|v| v.as_slice()) else {
            return c.fail(Code::WrongKind, amounts.span, "`pad` takes a list of (before, after)");
        };
        pairs.push((c.value_dim(before, amounts.span)?, c.value_dim(after, amounts.span)?));
    }
    if pairs.iter().all(|(a, b)| a.is(0) && b.is(0)) {
        return Ok(Value::Tensor(x));
    }
    let node = c.emit(Op::Pad { amounts: pairs, value }, &[x.node], None, call.span)?;
    Ok(c.tensor(node))
}

/// The tensors of a list argument, cast-free and of one dtype.
fn parts(c: &mut Checker<'_>, call: &Call<'_>) -> Result<Vec<Tensor>> {
    let argument = call.need("parts")?;
    let Some(items) = argument.value.elements().cloned().filter(|v| !v.is_empty()) else {
        let message = format!("`{}` takes a list of tensors", call.builtin.name());
        return c.fail_hint(Code::WrongKind, argument.span, message, "put them in brackets: `[a, b]`");
    };
    let mut tensors = Vec::new();
    for item in items.iter() {
        if !item.is_tensor() {
            return c.fail(
                Code::WrongKind,
                argument.span,
                format!("a tensor is needed here, not {}", item.kind()),
            );
        }
        tensors.push(c.as_tensor(item, DType::F32, argument.span)?);
    }
    Ok(tensors)
}

/// Joins along an axis; the other axes must agree.
fn joined(c: &mut Checker<'_>, parts: &[Tensor], axis: usize, span: Span) -> Result {
    let first = match parts.first() {
        Some(first) => c.tensor_type(*first),
        None => return Err(Reported),
    };
    let mut nodes = Vec::new();
    for part in parts {
        let ty = c.tensor_type(*part);
        if ty.rank() != first.rank() || ty.dtype != first.dtype {
            return c.fail(Code::ShapeMismatch, span, format!("{ty} cannot be joined to {first}"));
        }
        let mut shape = ty.shape.clone();
        for (i, (slot, want)) in shape.iter_mut().zip(&first.shape).enumerate() {
            if i == axis {
                continue;
            }
            match c.context.decide(want, slot) {
                Decision::Equal => {}
                Decision::Unknown => {
                    let at = c.user_span(span);
                    c.context.guard(
                        want.clone() - slot.clone(),
                        format!("{ty} is joined to {first} along axis {axis}"),
                        at,
                    );
                }
                Decision::Differ => {
                    return Err(c.report(
                        Diagnostic::error(
                            Code::ShapeMismatch,
                            span,
                            format!("{ty} cannot be joined to {first} along axis {axis}"),
                        )
                        .note(format!("axis {i} is {slot} on one side and {want} on the other")),
                    ));
                }
            }
            *slot = want.clone();
        }
        nodes.push(c.retyped(*part, &shape, span)?.node);
    }
    if let [only] = nodes.as_slice() {
        return Ok(c.tensor(*only));
    }
    let node = c.emit(Op::Concat { axis }, &nodes, None, span)?;
    Ok(c.tensor(node))
}

fn split(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (x, ty) = call.typed(c, "x")?;
    let axis = call.axis(c, "axis", -1, ty.rank())?;
    let extent = ty.shape.get(axis).cloned().ok_or(Reported)?;
    let parts = call.need("parts")?;
    let sizes: Vec<Dim> = match parts.value.elements() {
        Some(_) => c.shape_list(&parts.value, parts.span)?,
        None => {
            let k = c.value_int(&parts.value, parts.span)?;
            if !(1..=4096).contains(&k) {
                return c.fail(
                    Code::WrongKind,
                    parts.span,
                    format!("a tensor cannot be split into {k} parts"),
                );
            }
            let simple = c.context.simplify(&extent);
            let part =
                match (extent.exact_div(&Dim::constant(k)), simple.rem(&Dim::constant(k)).as_constant()) {
                    (Some(part), _) => part,
                    (None, Some(0)) => extent.floor_div(&Dim::constant(k)),
                    (None, Some(_)) => {
                        return Err(c.report(
                            Diagnostic::error(
                                Code::InexactDim,
                                call.span,
                                format!(
                                    "axis {axis} of {ty} is {extent}, which {k} equal parts do not divide"
                                ),
                            )
                            .related(parts.span, format!("{k} parts")),
                        ));
                    }
                    (None, None) => {
                        let at = c.user_span(call.span);
                        c.context.guard(
                            extent.rem(&Dim::constant(k)),
                            format!("`{extent}` must be divisible by {k}"),
                            at,
                        );
                        extent.floor_div(&Dim::constant(k))
                    }
                };
            (0..k).map(|_| part.clone()).collect()
        }
    };
    let total = sizes.iter().cloned().fold(Dim::constant(0), |a, b| a + b);
    if parts.value.elements().is_some() && c.context.decide(&total, &extent) == Decision::Differ {
        return c.fail(
            Code::ShapeMismatch,
            parts.span,
            format!("the parts sum to {total}, but axis {axis} of {ty} is {extent}"),
        );
    }
    let mut start = Dim::constant(0);
    let mut pieces = Vec::new();
    for size in sizes {
        let mut piece = ty.clone();
        if let Some(slot) = piece.shape.get_mut(axis) {
            *slot = size.clone();
        }
        let node =
            c.emit(Op::Slice { axis, start: start.clone(), step: 1 }, &[x.node], Some(piece), call.span)?;
        pieces.push(c.tensor(node));
        start = start + size;
    }
    Ok(Value::list(pieces))
}

impl Checker<'_> {
    /// `x[…]`: a number takes one element and removes the axis, a range keeps it, `...` stands for the axes between.
    pub(crate) fn slice(&mut self, tensor: Tensor, indices: &[Index], span: Span, scope: &Scope) -> Result {
        let rank = self.tensor_type(tensor).rank();
        let rests = indices.iter().filter(|i| matches!(i, Index::Rest(_))).count();
        if rests > 1 || indices.len() - rests > rank {
            let ty = self.tensor_type(tensor);
            return self.fail(
                Code::BadIndex,
                span,
                format!("{ty} takes at most {rank} indices and one `...`"),
            );
        }
        let skipped = rank - (indices.len() - rests);
        let mut axis = 0;
        let mut x = tensor;
        let mut removed = Vec::new();
        for index in indices {
            match index {
                Index::Rest(_) => {
                    axis += skipped;
                    continue;
                }
                Index::At(at) => {
                    let value = self.expr(at, scope)?;
                    if value.is_tensor() {
                        return self.fail_hint(
                            Code::NotCompileTime,
                            at.span,
                            "an index is a compile-time number",
                            "`gather(x, indices, axis = …)` looks elements up",
                        );
                    }
                    let place = self.index_dim(&value, at.span)?;
                    x = self.take(x, axis, place, at.span)?;
                    removed.push(axis);
                }
                Index::Range { start, end, step, span } => {
                    x = self.range(x, axis, start.as_ref(), end.as_ref(), step.as_ref(), *span, scope)?;
                }
            }
            axis += 1;
        }
        if removed.is_empty() {
            return Ok(Value::Tensor(x));
        }
        let shape = self.tensor_type(x).shape;
        let kept: Vec<Dim> =
            shape.into_iter().enumerate().filter(|(i, _)| !removed.contains(i)).map(|(_, d)| d).collect();
        reshaped(self, x, &kept, span).map(Value::Tensor)
    }

    /// An index as a dim: unlike an extent, it may be negative.
    fn index_dim(&mut self, value: &Value, span: Span) -> Result<Dim> {
        match value.as_dim() {
            Some(dim) => Ok(dim),
            None => self.fail(Code::WrongKind, span, format!("an index is an int, not {}", value.kind())),
        }
    }

    /// One element along an axis, which keeps extent 1.
    fn take(&mut self, x: Tensor, axis: usize, place: Dim, span: Span) -> Result<Tensor> {
        let mut ty = self.tensor_type(x);
        let extent = ty.shape.get(axis).cloned().ok_or(Reported)?;
        let start = match place.as_constant() {
            Some(i) if i < 0 => extent.clone() + place.clone(),
            _ => place.clone(),
        };
        let outside = start.as_constant().is_some_and(|s| s < 0)
            || (extent.clone() - start.clone()).as_constant().is_some_and(|left| left < 1);
        if outside {
            return self.fail(
                Code::BadIndex,
                span,
                format!("there is no element {place} on axis {axis} of {ty}"),
            );
        }
        let what = format!("for this element of {ty}");
        self.context.guard_not_negative(&start, &what, span);
        self.context.guard_not_negative(&(extent - start.clone() - Dim::constant(1)), &what, span);
        if let Some(slot) = ty.shape.get_mut(axis) {
            *slot = Dim::constant(1);
        }
        let node = self.emit(Op::Slice { axis, start, step: 1 }, &[x.node], Some(ty), span)?;
        Ok(self.context.tensor(node))
    }

    #[allow(clippy::too_many_arguments)]
    fn range(
        &mut self,
        x: Tensor,
        axis: usize,
        start: Option<&ast::Expr>,
        end: Option<&ast::Expr>,
        step: Option<&ast::Expr>,
        span: Span,
        scope: &Scope,
    ) -> Result<Tensor> {
        let mut ty = self.tensor_type(x);
        let extent = ty.shape.get(axis).cloned().ok_or(Reported)?;
        let step = match step {
            Some(e) => self.int(e, scope)?,
            None => 1,
        };
        if step == 0 {
            return self.fail(Code::BadIndex, span, "a slice cannot have step 0");
        }
        let bound = |c: &mut Self, e: Option<&ast::Expr>| -> Result<Option<Dim>> {
            let Some(e) = e else { return Ok(None) };
            let value = c.expr(e, scope)?;
            let dim = c.index_dim(&value, e.span)?;
            let dim = if dim.as_constant().is_some_and(|i| i < 0) { extent.clone() + dim } else { dim };
            // A constant bound is cut to a constant extent, as in Python.
            Ok(Some(match (dim.as_constant(), extent.as_constant()) {
                (Some(i), Some(n)) => Dim::constant(i.clamp(0, n)),
                _ => dim,
            }))
        };
        let (start, end) = (bound(self, start)?, bound(self, end)?);
        let one = Dim::constant(1);
        // What must not be negative, lest the slice reads beyond the axis.
        let (first, count, within) = if step > 0 {
            let first = start.unwrap_or(Dim::constant(0));
            let end = end.unwrap_or(extent.clone());
            let within = [first.clone(), end.clone() - first.clone(), extent.clone() - end.clone()];
            (first.clone(), (end - first).ceil_div(&Dim::constant(step)), within)
        } else {
            let last = extent.clone() - one.clone();
            let first = match start {
                Some(s) => s.smaller(&last),
                None => last,
            };
            let stop = end.unwrap_or(Dim::constant(-1));
            let within = [first.clone(), first.clone() - stop.clone(), stop.clone() + one];
            (first.clone(), (first - stop).ceil_div(&Dim::constant(step.saturating_neg())), within)
        };
        let count = match count.as_constant() {
            Some(n) if n < 0 => Dim::constant(0),
            _ => count,
        };
        if step == 1 && count == extent && first.is(0) {
            return Ok(x);
        }
        if (extent.clone() - count.clone()).as_constant().is_some_and(|left| left < 0) {
            return self.fail(Code::BadIndex, span, format!("this range is longer than axis {axis} of {ty}"));
        }
        if count.as_constant() != Some(0) {
            let what = format!("for this slice of {ty}");
            within.iter().for_each(|dim| self.context.guard_not_negative(dim, &what, span));
        }
        if let Some(slot) = ty.shape.get_mut(axis) {
            *slot = count;
        }
        let node = self.emit(Op::Slice { axis, start: first, step }, &[x.node], Some(ty), span)?;
        Ok(self.context.tensor(node))
    }
}
