//! Contractions, convolutions, gather and scatter.

use super::{Builtin, Call, First};
use crate::check::context::Decision;
use crate::check::value::{Tensor, Value};
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::op::{Conv, Op, Reduction};
use crate::graph::{DType, Dim, NodeId, TensorType};
use weft_grammar::Span;

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "contract(a, b, batch = [], sum = [])",
        doc: "Sums of products over the pairs of axes `sum`, side by side over the pairs `batch`; result axes: batch, free of a, free of b.\n\nExample: `contract(a, b, sum = [(1, 1)])`",
        first: First::Plain,
        run: contract,
    },
    Builtin {
        signature: "einsum(formula, …operands)",
        doc: "Contraction by named axes: `einsum(\"nqd,nkd->nqk\", q, k)`. Axes that are not in the result are summed.\n\nExample: `einsum(\"nqhd,nkhd->nhqk\", q, k)`",
        first: First::Plain,
        run: einsum,
    },
    Builtin {
        signature: "conv(x, w, stride = 1, padding = 0, dilation = 1, groups = 1)",
        doc: "Convolution (a correlation) of `[n, spatial…, ci]` with `[kernel…, ci / groups, co]` in 1 or 2 axes. `padding`: a number, or a list of numbers or of (before, after).\n\nExample: `conv(image, kernels, stride = 2, padding = 1)`",
        first: First::Tensor,
        run: |c, call| {
            let (x, w) = (call.tensor(c, "x")?, call.tensor(c, "w")?);
            let spatial = c.tensor_type(w).rank().saturating_sub(2);
            let conv = attributes(c, call, spatial)?;
            check_conv(c, call, x, w, spatial)?;
            let before = c.diagnostics.len();
            let node = c.emit(Op::Conv(conv), &[x.node, w.node], None, call.span);
            if node.is_err() && channels_first(&c.tensor_type(x)) {
                for diagnostic in c.diagnostics.iter_mut().skip(before) {
                    diagnostic.hint =
                        Some("the channels stand last here: `[n, height, width, channels]`".into());
                }
            }
            node.map(|node| c.tensor(node))
        },
    },
    Builtin {
        signature: "conv_data(dy, w, shape, stride = 1, padding = 0, dilation = 1, groups = 1)",
        doc: "The adjoint of `conv` in its input, which has this shape: a transposed convolution.\n\nExample: `conv_data(dy, kernels, shape = [n, 14, 14, 1], padding = 1)`",
        first: First::Tensor,
        run: |c, call| {
            let (dy, w) = (call.tensor(c, "dy")?, call.tensor(c, "w")?);
            let spatial = c.tensor_type(w).rank().saturating_sub(2);
            let conv = attributes(c, call, spatial)?;
            let shape = call.need("shape")?;
            let shape = c.shape_list(&shape.value, shape.span)?;
            let ty = TensorType::new(c.tensor_type(dy).dtype, shape);
            let node = c.emit(Op::ConvData(conv), &[dy.node, w.node], Some(ty), call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "gather(table, indices, axis = 0)",
        doc: "Replaces `axis` of the table by the axes of the indices: `gather(table, tokens)` looks rows up.\n\nExample: `gather(table([1, 5]), label)`",
        first: First::Tensor,
        run: |c, call| {
            let (table, ty) = call.typed(c, "table")?;
            let indices = index_tensor(c, call)?;
            let axis = call.axis(c, "axis", 0, ty.rank())?;
            c.check_vocabulary(indices.node, &ty.shape[axis], call.span)?;
            let node = c.emit(Op::Gather { axis }, &[table.node, indices.node], None, call.span)?;
            Ok(c.tensor(node))
        },
    },
    Builtin {
        signature: "scatter_add(updates, indices, shape, axis = 0)",
        doc: "Adds each update to the row of a zero tensor of this shape that its index names: the adjoint of `gather`.\n\nExample: `scatter_add(x, label, [10, 64])`",
        first: First::Tensor,
        run: |c, call| {
            let (updates, ty) = call.typed(c, "updates")?;
            let indices = index_tensor(c, call)?;
            let shape = call.need("shape")?;
            let shape = c.shape_list(&shape.value, shape.span)?;
            let axis = call.axis(c, "axis", 0, shape.len())?;
            let given = TensorType::new(ty.dtype, shape);
            let node =
                c.emit(Op::ScatterAdd { axis }, &[updates.node, indices.node], Some(given), call.span)?;
            Ok(c.tensor(node))
        },
    },
];

fn index_tensor(c: &mut Checker<'_>, call: &Call<'_>) -> Result<Tensor> {
    let argument = call.need("indices")?;
    let tensor = c.as_tensor(&argument.value, DType::I32, argument.span)?;
    let ty = c.tensor_type(tensor);
    if ty.dtype != DType::I32 {
        return c.fail_hint(
            Code::DTypeMismatch,
            argument.span,
            format!("indices are i32, but this is {ty}"),
            "cast them: `i32(…)`",
        );
    }
    Ok(tensor)
}

fn contract(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (a, b) = (call.tensor(c, "a")?, call.tensor(c, "b")?);
    let (ranks, mut pairs) = ((c.tensor_type(a).rank(), c.tensor_type(b).rank()), Vec::new());
    for name in ["batch", "sum"] {
        let mut list = Vec::new();
        if let Some(argument) = call.get(name) {
            let items = argument.value.elements().cloned().unwrap_or_default();
            for item in items.iter() {
                let Some([i, j]) = item.elements().map(|v| v.as_slice()) else {
                    return c.fail(
                        Code::WrongKind,
                        argument.span,
                        format!("`{name}` is a list of pairs of axes"),
                    );
                };
                let (i, j) = (c.value_int(i, argument.span)?, c.value_int(j, argument.span)?);
                list.push((c.axis(i, ranks.0, argument.span)?, c.axis(j, ranks.1, argument.span)?));
            }
        }
        pairs.push(list);
    }
    let sum = pairs.pop().unwrap_or_default();
    let batch = pairs.pop().unwrap_or_default();
    let node = c.emit(Op::Contract { batch, sum }, &[a.node, b.node], None, call.span)?;
    Ok(c.tensor(node))
}

/// One operand of an einsum under way: its node and the letters of its axes.
struct Lettered {
    node: NodeId,
    letters: Vec<char>,
}

fn einsum(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let formula = call.need("formula")?;
    let Value::Text(text) = &formula.value else {
        return c.fail(
            Code::WrongKind,
            formula.span,
            "the first argument of `einsum` is its formula, a text",
        );
    };
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((left, right)) = compact.split_once("->") else {
        return c.fail(Code::WrongKind, formula.span, "a formula looks like \"ij,jk->ik\"");
    };
    let terms: Vec<Vec<char>> = left.split(',').map(|t| t.chars().collect()).collect();
    let result: Vec<char> = right.chars().collect();
    let unique =
        |letters: &[char]| letters.iter().enumerate().all(|(i, l)| !letters.iter().take(i).any(|m| m == l));
    if terms.iter().any(|t| !unique(t))
        || !unique(&result)
        || !compact.chars().all(|c| c.is_ascii_alphabetic() || ",->".contains(c))
    {
        return c.fail(Code::WrongKind, formula.span, "each letter stands once in a term of a formula");
    }
    if terms.len() != call.rest.len() {
        let message = format!("the formula has {} operands, but {} are given", terms.len(), call.rest.len());
        return c.fail(Code::ExtraArgument, call.span, message);
    }
    if let Some(letter) = result.iter().find(|l| !terms.iter().any(|t| t.contains(l))) {
        return c.fail(Code::WrongKind, formula.span, format!("`{letter}` of the result is in no operand"));
    }
    let mut extents: Vec<(char, Dim, Span)> = Vec::new();
    let mut operands: Vec<Lettered> = Vec::new();
    for (letters, argument) in terms.into_iter().zip(&call.rest) {
        let tensor = c.as_tensor(&argument.value, DType::F32, argument.span)?;
        let ty = c.tensor_type(tensor);
        if ty.rank() != letters.len() {
            let term: String = letters.iter().collect();
            return c.fail(
                Code::RankMismatch,
                argument.span,
                format!("`{term}` names {} axes, but this is {ty}", letters.len()),
            );
        }
        let mut shape = Vec::new();
        for (letter, extent) in letters.iter().zip(&ty.shape) {
            match extents.iter().find(|(l, _, _)| l == letter).cloned() {
                None => {
                    extents.push((*letter, extent.clone(), argument.span));
                    shape.push(extent.clone());
                }
                Some((_, have, at)) => {
                    match c.context.decide(&have, extent) {
                        Decision::Equal => {}
                        Decision::Unknown => {
                            let span = c.user_span(argument.span);
                            let message = format!("`{letter}` of `einsum` is {have} and {extent}");
                            c.context.guard(have.clone() - extent.clone(), message, span);
                        }
                        Decision::Differ => {
                            return Err(c.report(
                                Diagnostic::error(
                                    Code::DimMismatch,
                                    argument.span,
                                    format!("`{letter}` is {have} here but {extent} there"),
                                )
                                .label(format!("`{letter}` is {extent}"))
                                .related(at, format!("`{letter}` is {have}")),
                            ));
                        }
                    }
                    shape.push(have);
                }
            }
        }
        let tensor = c.retyped(tensor, &shape, argument.span)?;
        operands.push(Lettered { node: tensor.node, letters });
    }
    // Left to right, two at a time; a letter that nothing further needs is summed as soon as it can be.
    let mut operands = operands.into_iter();
    let mut left = operands.next().ok_or(Reported)?;
    let mut rest: Vec<Lettered> = operands.collect();
    loop {
        let later =
            |letter: &char| result.contains(letter) || rest.iter().any(|o| o.letters.contains(letter));
        left = summed(c, left, &later, call.span)?;
        if rest.is_empty() {
            break;
        }
        let right = rest.remove(0);
        let later =
            |letter: &char| result.contains(letter) || rest.iter().any(|o| o.letters.contains(letter));
        let right = {
            let with_left = |letter: &char| later(letter) || left.letters.contains(letter);
            summed(c, right, &with_left, call.span)?
        };
        left = multiply(c, left, right, &later, call.span)?;
    }
    let permutation: Option<Vec<usize>> =
        result.iter().map(|l| left.letters.iter().position(|m| m == l)).collect();
    c.place(call.span);
    let node = c.context.builder.transpose(left.node, &permutation.ok_or(Reported)?);
    let node = c.built(node, call.span)?;
    Ok(c.tensor(node))
}

/// Sums over the letters that nothing needs any more.
fn summed(
    c: &mut Checker<'_>,
    operand: Lettered,
    needed: &dyn Fn(&char) -> bool,
    span: Span,
) -> Result<Lettered> {
    let axes: Vec<usize> =
        operand.letters.iter().enumerate().filter(|(_, l)| !needed(l)).map(|(i, _)| i).collect();
    if axes.is_empty() {
        return Ok(operand);
    }
    let letters = operand.letters.iter().filter(|l| needed(l)).copied().collect();
    let node = c.emit(Op::Reduce { reduction: Reduction::Sum, axes }, &[operand.node], None, span)?;
    Ok(Lettered { node, letters })
}

fn multiply(
    c: &mut Checker<'_>,
    a: Lettered,
    b: Lettered,
    later: &dyn Fn(&char) -> bool,
    span: Span,
) -> Result<Lettered> {
    let (mut batch, mut sum) = (Vec::new(), Vec::new());
    let mut letters = Vec::new();
    for (i, letter) in a.letters.iter().enumerate() {
        if let Some(j) = b.letters.iter().position(|l| l == letter) {
            if later(letter) {
                batch.push((i, j));
                letters.push(*letter);
            } else {
                sum.push((i, j));
            }
        }
    }
    letters.extend(a.letters.iter().filter(|l| !b.letters.contains(l)));
    letters.extend(b.letters.iter().filter(|l| !a.letters.contains(l)));
    let node = c.emit(Op::Contract { batch, sum }, &[a.node, b.node], None, span)?;
    Ok(Lettered { node, letters })
}

fn attributes(c: &mut Checker<'_>, call: &Call<'_>, spatial: usize) -> Result<Conv> {
    let stride = call.sizes(c, "stride", Some(spatial), 1)?;
    let dilation = call.sizes(c, "dilation", Some(spatial), 1)?;
    let groups = call.int(c, "groups", 1)?;
    let groups = match usize::try_from(groups).ok().filter(|g| *g >= 1) {
        Some(groups) => groups,
        None => return c.fail(Code::WrongKind, call.span, format!("there cannot be {groups} groups")),
    };
    let zero = || (Dim::constant(0), Dim::constant(0));
    let mut padding: Vec<(Dim, Dim)> = (0..spatial).map(|_| zero()).collect();
    if let Some(argument) = call.get("padding") {
        let items = match argument.value.elements() {
            Some(items) => items.to_vec(),
            None => vec![argument.value.clone(); spatial],
        };
        if items.len() != spatial {
            return c.fail(
                Code::WrongKind,
                argument.span,
                format!("`padding` needs {spatial} entries, one a spatial axis"),
            );
        }
        for (slot, item) in padding.iter_mut().zip(&items) {
            *slot = match item.elements().map(|v| v.as_slice()) {
                Some([before, after]) => {
                    (c.value_dim(before, argument.span)?, c.value_dim(after, argument.span)?)
                }
                Some(_) => {
                    return c.fail(
                        Code::WrongKind,
                        argument.span,
                        "a padding is a number or (before, after)",
                    );
                }
                None => {
                    let both = c.value_dim(item, argument.span)?;
                    (both.clone(), both)
                }
            };
        }
    }
    Ok(Conv { stride, padding, dilation, groups })
}

/// The common mistake, in better words than the primitive's own.
/// Does it look like `[n, channels, height, width]`?
fn channels_first(ty: &TensorType) -> bool {
    let extents: Vec<Option<i64>> = ty.shape.iter().skip(1).map(Dim::as_constant).collect();
    matches!(extents.as_slice(), [Some(1..=4), Some(8..), Some(8..)])
}

fn check_conv(c: &mut Checker<'_>, call: &Call<'_>, x: Tensor, w: Tensor, spatial: usize) -> Result<()> {
    let (tx, tw) = (c.tensor_type(x), c.tensor_type(w));
    if !(1..=2).contains(&spatial) || tx.rank() != spatial + 2 {
        let message = format!(
            "a convolution of {tx} with {tw} is not possible: 1 or 2 spatial axes are needed in both"
        );
        return c.fail(Code::RankMismatch, call.span, message);
    }
    Ok(())
}
