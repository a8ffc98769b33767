//! The backward form: the adjoints of queries, keys and values (and of the bias), from the weights computed again.
//!
//! With weights `P`, result `O` and its adjoint `dO`, row by row: `dP = dO Vᵀ`, `dS = P ∘ (dP - Σ dO ∘ O)`, then `dQ = scale · dS K`,
//! `dK = scale · dSᵀ Q` and `dV = Pᵀ dO`.

use super::forward::scores;
use super::{Bound, KEYS, Product, ROWS, Room, Steps, rows, transposed};
use crate::program::PANEL;

/// The head `group` of the keys of example `n`, with all heads of queries that it serves.
///
/// # Safety
/// See [`Bound::run`].
pub unsafe fn head(bound: &Bound, buffers: &[*mut u8], n: usize, group: usize, room: &mut Room<'_>) {
    let each = bound.heads / bound.groups;
    let beside = 3 + usize::from(bound.bias.is_some()) + usize::from(bound.mask.is_some());
    let [result, sums, gradient, dq, dk, dv] = std::array::from_fn(|i| buffers[beside + i]);
    let k = Bound::steps(buffers[1], bound.k, n, group);
    let v = Bound::steps(buffers[2], bound.v, n, group);
    let of = |buffer, steps, heads, width, head| {
        Bound::steps(buffer, Bound::contiguous(steps, heads, width), n, head)
    };
    let dk = of(dk, bound.keys, bound.groups, bound.width, group);
    let dv = of(dv, bound.keys, bound.groups, bound.depth, group);
    // SAFETY: the caller vouches for the buffers, the room is made for the panels.
    unsafe {
        transposed(k, bound.keys, bound.width, room.keys);
        transposed(v, bound.keys, bound.depth, room.values);
        for step in 0..bound.keys {
            std::slice::from_raw_parts_mut(dk.row(step), bound.width).fill(0.0);
            std::slice::from_raw_parts_mut(dv.row(step), bound.depth).fill(0.0);
        }
    }
    for head in group * each..(group + 1) * each {
        let sums = sums.cast::<f32>().wrapping_add((n * bound.heads + head) * bound.queries);
        let bias = bound.bias_gradient.then(|| {
            let at = (n * bound.heads + head) * bound.queries * bound.keys;
            buffers[beside + 6].cast::<f32>().wrapping_add(at)
        });
        let parts = Parts {
            q: Bound::steps(buffers[0], bound.q, n, head),
            k,
            result: of(result, bound.queries, bound.heads, bound.depth, head),
            gradient: Bound::steps(gradient, bound.gradient, n, head),
            dq: of(dq, bound.queries, bound.heads, bound.width, head),
            dk,
            dv,
            sums,
            bias,
        };
        for first in (0..bound.queries).step_by(ROWS) {
            // SAFETY: the caller's own promises.
            unsafe { queries(bound, buffers, n, head, first, &parts, room) };
        }
    }
}

/// One head's share of everything.
struct Parts {
    q: Steps,
    k: Steps,
    result: Steps,
    gradient: Steps,
    dq: Steps,
    dk: Steps,
    dv: Steps,
    sums: *const f32,
    bias: Option<*mut f32>,
}

/// A block of queries against all keys that it sees.
unsafe fn queries(
    bound: &Bound,
    buffers: &[*mut u8],
    n: usize,
    head: usize,
    first: usize,
    parts: &Parts,
    room: &mut Room<'_>,
) {
    let count = ROWS.min(bound.queries - first);
    let limit = bound.limit(first + count);
    let beside = bound.beside(buffers);
    let (level, stride) = (bound.level, room.stride);
    // SAFETY: all parts lie in the head's own share of the buffers and in the room.
    unsafe {
        for r in 0..count {
            let one = std::slice::from_raw_parts(parts.result.row(first + r), bound.depth);
            let other = std::slice::from_raw_parts(parts.gradient.row(first + r), bound.depth);
            room.total[r] = rows::product(level, one, other);
            if limit == 0 {
                std::slice::from_raw_parts_mut(parts.dq.row(first + r), bound.width).fill(0.0);
            }
            if let Some(bias) = parts.bias {
                let row = bias.add((first + r) * bound.keys);
                std::slice::from_raw_parts_mut(row.add(limit), bound.keys - limit).fill(0.0);
            }
        }
        for from in (0..limit).step_by(KEYS) {
            let end = (from + KEYS).min(limit);
            let seen_keys = end - from;
            let frame = bound.rows(beside, n, head, first, from);
            scores(bound, parts.q, first, count, from, end, room);
            let product = Product {
                a: parts.gradient.row(first),
                a_row: parts.gradient.step,
                a_step: 1,
                b: room.values.wrapping_add(from * bound.depth),
                b_step: PANEL as isize,
                b_panel: (bound.depth * PANEL) as isize,
                rows: count,
                length: bound.depth,
                c: room.slopes,
                c_row: stride as isize,
                columns: seen_keys,
                accumulate: false,
            };
            product.run(level, room.a_rows, room.c_rows);
            for r in 0..count {
                let weights = std::slice::from_raw_parts_mut(room.scores.add(r * stride), stride);
                let slopes = std::slice::from_raw_parts_mut(room.slopes.add(r * stride), stride);
                let seen = bound.visible(first + r, from, end);
                rows::prepare(level, &frame, r, weights, seen);
                let sum = *parts.sums.add(first + r);
                rows::slope(level, weights, slopes, seen, seen_keys, sum, room.total[r]);
                if let Some(bias) = parts.bias {
                    bias.add((first + r) * bound.keys + from)
                        .copy_from_nonoverlapping(slopes.as_ptr(), seen_keys);
                }
                rows::scale(level, bound.scale, &mut slopes[..seen_keys]);
            }
            // dQ += dS K
            let product = Product {
                a: room.slopes,
                a_row: stride as isize,
                a_step: 1,
                b: parts.k.row(from),
                b_step: parts.k.step,
                b_panel: PANEL as isize,
                rows: count,
                length: seen_keys,
                c: parts.dq.row(first),
                c_row: parts.dq.step,
                columns: bound.width,
                accumulate: from > 0,
            };
            product.run(level, room.a_rows, room.c_rows);
            // dV += Pᵀ dO and dK += dSᵀ Q: the block's columns are the rows of A.
            let across = |a: *mut f32, of: Steps, to: Steps, columns: usize| Product {
                a,
                a_row: 1,
                a_step: stride as isize,
                b: of.row(first),
                b_step: of.step,
                b_panel: PANEL as isize,
                rows: seen_keys,
                length: count,
                c: to.row(from),
                c_row: to.step,
                columns,
                accumulate: true,
            };
            across(room.scores, parts.gradient, parts.dv, bound.depth).run(level, room.a_rows, room.c_rows);
            across(room.slopes, parts.q, parts.dk, bound.width).run(level, room.a_rows, room.c_rows);
        }
    }
}
