//! The forward form: result, and the logarithm of each row's sum.

use super::super::few::{self, Few};
use super::super::tile::Segment;
use super::{Bound, KEYS, Product, ROWS, Room, Steps, rows, transposed};
use crate::program::{DType, PANEL};

/// The heads `begin..end`, counted over n and the queries' heads.
///
/// # Safety
/// See [`Bound::run`].
pub unsafe fn heads(bound: &Bound, buffers: &[*mut u8], begin: usize, end: usize, room: &mut Room<'_>) {
    let each = bound.heads / bound.groups;
    for at in begin..end {
        let (n, head) = (at / bound.heads, at % bound.heads);
        // Neighbouring heads that share their keys find them packed. For few queries that would take longer than their products.
        if !bound.few() && (at == begin || head % each == 0) {
            let k = Bound::steps(buffers[1], bound.k, n, head / each);
            // SAFETY: the caller vouches for the buffer, the room is made for it.
            unsafe { transposed(k, bound.keys, bound.width, room.keys) };
        }
        // SAFETY: the caller's own promises.
        unsafe { one(bound, buffers, n, head, room) };
    }
}

/// One head, whose keys are packed unless there are few queries.
unsafe fn one(bound: &Bound, buffers: &[*mut u8], n: usize, head: usize, room: &mut Room<'_>) {
    let beside = bound.beside(buffers);
    let own = buffers.len() - 2;
    let group = head * bound.groups / bound.heads;
    let q = Bound::steps(buffers[0], bound.q, n, head);
    let k = Bound::steps(buffers[1], bound.k, n, group);
    let v = Bound::steps(buffers[2], bound.v, n, group);
    let strides = Bound::contiguous(bound.queries, bound.heads, bound.depth);
    let result = Bound::steps(buffers[own], strides, n, head);
    let sums = buffers[own + 1].cast::<f32>().wrapping_add((n * bound.heads + head) * bound.queries);
    for first in (0..bound.queries).step_by(ROWS) {
        let count = ROWS.min(bound.queries - first);
        let limit = bound.limit(first + count);
        room.highest.fill(f32::MIN);
        room.total.fill(0.0);
        for from in (0..limit).step_by(KEYS) {
            let end = (from + KEYS).min(limit);
            let frame = bound.rows(beside, n, head, first, from);
            // SAFETY: all parts lie in the head's own share of the buffers and in the room.
            unsafe {
                if bound.few() {
                    few_scores(bound, q, k, from, end, room);
                } else {
                    scores(bound, q, first, count, from, end, room);
                }
                for r in 0..count {
                    let row = std::slice::from_raw_parts_mut(room.scores.add(r * room.stride), room.stride);
                    let seen = bound.visible(first + r, from, end);
                    let before = room.highest[r];
                    rows::prepare(bound.level, &frame, r, row, seen);
                    rows::weigh(bound.level, row, seen, end - from, &mut room.highest[r], &mut room.total[r]);
                    if from > 0 && room.highest[r] > before {
                        // All so far was relative to a lower maximum.
                        let out = std::slice::from_raw_parts_mut(result.row(first + r), bound.depth);
                        rows::rescale(bound.level, before, room.highest[r], out);
                    }
                }
                let product = Product {
                    a: room.scores,
                    a_row: room.stride as isize,
                    a_step: 1,
                    b: v.row(from),
                    b_step: v.step,
                    b_panel: PANEL as isize,
                    rows: count,
                    length: end - from,
                    c: result.row(first),
                    c_row: result.step,
                    columns: bound.depth,
                    accumulate: from > 0,
                };
                product.run(bound.level, room.a_rows, room.c_rows);
            }
        }
        for r in 0..count {
            // SAFETY: as above.
            unsafe {
                let out = std::slice::from_raw_parts_mut(result.row(first + r), bound.depth);
                if limit == 0 {
                    out.fill(0.0);
                }
                *sums.add(first + r) = rows::finish(bound.level, room.highest[r], room.total[r], out);
            }
        }
    }
}

/// The products of all queries, which are few, with the keys `from..end` where they lie.
unsafe fn few_scores(bound: &Bound, q: Steps, k: Steps, from: usize, end: usize, room: &mut Room<'_>) {
    for row in 0..bound.queries {
        room.a_rows[row] = row as isize * q.step;
        room.c_rows[row] = (row * room.stride) as isize;
    }
    let few = Few {
        a: q.at,
        a_rows: &room.a_rows[..bound.queries],
        a_step: 1,
        b: k.row(from),
        scales: std::ptr::null(),
        b_step: 1,
        b_column: k.step,
        c: room.scores,
        c_rows: &room.c_rows[..bound.queries],
        columns: end - from,
    };
    // SAFETY: the caller's own promise.
    unsafe { few::along(bound.level, DType::F32, &few, Segment::default(), bound.width) }
}

/// The products of the queries from `first` on with the packed keys `from..end`.
///
/// # Safety
/// The room's keys are packed, and its scores have room.
pub unsafe fn scores(
    bound: &Bound,
    q: Steps,
    first: usize,
    count: usize,
    from: usize,
    end: usize,
    room: &mut Room<'_>,
) {
    let product = Product {
        a: q.row(first),
        a_row: q.step,
        a_step: 1,
        b: room.keys.wrapping_add(from * bound.width),
        b_step: PANEL as isize,
        b_panel: (bound.width * PANEL) as isize,
        rows: count,
        length: bound.width,
        c: room.scores,
        c_row: room.stride as isize,
        columns: end - from,
        accumulate: false,
    };
    // SAFETY: the caller's own promise.
    unsafe { product.run(bound.level, room.a_rows, room.c_rows) }
}
