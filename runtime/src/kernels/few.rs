//! Contractions of few rows, as of one step of a generation: all that counts is how fast B comes from memory, so it is read once, where it
//! lies, in long stretches.
//!
//! - [`across`]: B has unit stride along n. A stretch of C's columns is kept in the first cache, and rows of B are added to it, several at a
//!   time. Each element is the same chain of multiply-adds as in a register tile, so it has the same bits.
//! - [`along`]: B has unit stride along k, as a table of embeddings that logits are computed from, and may be kept as bf16 or i8. Each element
//!   is a dot product, in [`LANES`]
//!   sums that a fixed tree adds up. Columns come one after another: memory is fastest where all that a thread reads is one stretch, and half as
//!   fast where it goes along several columns at once.

use super::isa::{Level, versions};
use super::tile::Segment;
use super::vector::{self, Element, Vector};
use crate::program::DType;
use half::bf16;

/// A contraction of at most so many rows is one of few.
pub const ROWS: usize = 4;
/// The same where B has unit stride along k: a column stays in the first cache while all rows meet it.
pub const ROWS_ALONG: usize = 8;
/// Columns of C that are kept as sums.
pub const STRETCH: usize = 512;
/// Rows of B that are added together.
const TOGETHER: usize = 4;
/// Sums of a dot product, the same for every width of vectors.
const LANES: usize = 32;
/// Vectors that hold them, at most.
const VECTORS: usize = LANES / 4;
/// Rows of B that are asked for ahead.
const AHEAD: isize = 2 * TOGETHER as isize;

/// Some rows and columns of C; offsets and steps count elements.
#[derive(Clone, Copy, Debug)]
pub struct Few<'a> {
    pub a: *const f32,
    pub a_rows: &'a [isize],
    pub a_step: isize,
    /// Elements of the type that the kernel is told.
    pub b: *const f32,
    /// Of the columns, where B is i8.
    pub scales: *const f32,
    /// From one k to the next, and from one column to the next; one of them is 1.
    pub b_step: isize,
    pub b_column: isize,
    pub c: *mut f32,
    pub c_rows: &'a [isize],
    pub columns: usize,
}

versions! {
    /// Adds a run of k to C, or begins C with it; `sums` has room for [`ROWS`] stretches.
    ///
    /// # Safety
    /// The operands lie in live memory, C apart from A and B; the machine has the level's instructions.
    pub unsafe fn across = across_rows<V>,
        (few: &Few<'_>, segments: &[Segment], length: usize, accumulate: bool, sums: *mut f32)
}

/// C from all of k, which is one axis of `length` with unit stride in A and B, from `first` on. B is f32, bf16 or i8.
///
/// # Safety
/// As for [`across`].
pub unsafe fn along(level: Level, kept: DType, few: &Few<'_>, first: Segment, length: usize) {
    // SAFETY: the caller's own promises.
    unsafe {
        match kept {
            DType::BF16 => along_bf16(level, few, first, length),
            DType::I8 => along_i8(level, few, first, length),
            _ => along_f32(level, few, first, length),
        }
    }
}

versions! { unsafe fn along_f32 = columns_f32<V>, (few: &Few<'_>, first: Segment, length: usize) }
versions! { unsafe fn along_bf16 = columns_bf16<V>, (few: &Few<'_>, first: Segment, length: usize) }
versions! { unsafe fn along_i8 = columns_i8<V>, (few: &Few<'_>, first: Segment, length: usize) }

#[inline(always)]
unsafe fn across_rows<V: Vector>(
    few: &Few<'_>,
    segments: &[Segment],
    length: usize,
    accumulate: bool,
    sums: *mut f32,
) {
    // SAFETY: the caller vouches for the operands, masks for the columns beyond the last.
    unsafe {
        for first in (0..few.columns).step_by(STRETCH) {
            let columns = STRETCH.min(few.columns - first);
            let vectors = columns.div_ceil(V::LANES);
            let mask = |v: usize| V::mask(columns - v * V::LANES);
            for v in 0..few.a_rows.len() * STRETCH / V::LANES {
                V::zero().store_full(sums.add(v * V::LANES));
            }
            for segment in segments {
                let (a, b) =
                    (few.a.wrapping_offset(segment.a), few.b.wrapping_offset(segment.b).wrapping_add(first));
                let mut k = 0;
                while k < length {
                    let b = b.wrapping_offset(k as isize * few.b_step);
                    let rows = TOGETHER.min(length - k);
                    for (r, row) in few.a_rows.iter().enumerate() {
                        let sums = sums.add(r * STRETCH);
                        let a = a.wrapping_offset(row + k as isize * few.a_step);
                        if rows == TOGETHER {
                            let x: [V; TOGETHER] =
                                std::array::from_fn(|i| V::splat(a.offset(i as isize * few.a_step)));
                            for v in 0..vectors {
                                let (at, mask) = (v * V::LANES, mask(v));
                                let mut sum = V::load_full(sums.add(at));
                                for i in 0..TOGETHER {
                                    let b = b.wrapping_offset(i as isize * few.b_step).wrapping_add(at);
                                    vector::prefetch_to_read(b.wrapping_offset(AHEAD * few.b_step));
                                    sum = x[i].multiply_add(V::load(b, mask), sum);
                                }
                                sum.store_full(sums.add(at));
                            }
                        } else {
                            for i in 0..rows as isize {
                                let x = V::splat(a.offset(i * few.a_step));
                                let b = b.wrapping_offset(i * few.b_step);
                                for v in 0..vectors {
                                    let at = v * V::LANES;
                                    let sum = V::load_full(sums.add(at));
                                    let sum = x.multiply_add(V::load(b.wrapping_add(at), mask(v)), sum);
                                    sum.store_full(sums.add(at));
                                }
                            }
                        }
                    }
                    k += rows;
                }
            }
            for (r, row) in few.c_rows.iter().enumerate() {
                for v in 0..vectors {
                    let (at, mask) = (v * V::LANES, mask(v));
                    let target = few.c.wrapping_offset(*row).wrapping_add(first + at);
                    let sum = V::load_full(sums.add(r * STRETCH + at));
                    let sum = if accumulate { V::load(target, mask).add(sum) } else { sum };
                    sum.store(target, mask);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn columns_f32<V: Vector>(few: &Few<'_>, first: Segment, length: usize) {
    // SAFETY: the caller's own promises, here and in the next two.
    unsafe { along_columns::<V, f32>(few, first, length) }
}

#[inline(always)]
unsafe fn columns_bf16<V: Vector>(few: &Few<'_>, first: Segment, length: usize) {
    // SAFETY: as above.
    unsafe { along_columns::<V, bf16>(few, first, length) }
}

#[inline(always)]
unsafe fn columns_i8<V: Vector>(few: &Few<'_>, first: Segment, length: usize) {
    // SAFETY: as above.
    unsafe { along_columns::<V, i8>(few, first, length) }
}

#[inline(always)]
unsafe fn along_columns<V: Vector, B: Element>(few: &Few<'_>, first: Segment, length: usize) {
    let (a, b) = (few.a.wrapping_offset(first.a), few.b.cast::<B>().wrapping_offset(first.b));
    for column in 0..few.columns {
        let b = b.wrapping_offset(column as isize * few.b_column);
        for (a_row, c_row) in few.a_rows.iter().zip(few.c_rows) {
            let c = few.c.wrapping_offset(*c_row).wrapping_add(column);
            // SAFETY: as above.
            unsafe {
                let sum = dot::<V, B>(a.wrapping_offset(*a_row), b, length);
                *c = if B::SCALED { sum * *few.scales.add(column) } else { sum };
            }
        }
    }
}

/// The product of two runs in [`LANES`] sums: `k` is added to that of number `k % LANES`.
#[inline(always)]
unsafe fn dot<V: Vector, B: Element>(a: *const f32, b: *const B, length: usize) -> f32 {
    // Wider vectors than a sum's lanes are there for nobody.
    const { assert!(LANES.is_multiple_of(V::LANES) && LANES / V::LANES <= VECTORS) };
    let vectors = LANES / V::LANES;
    let mut sums = [0.0f32; LANES];
    // SAFETY: the caller's own promise; masks name elements that exist.
    unsafe {
        let mut own = [V::zero(); VECTORS];
        let mut k = 0;
        while k + LANES <= length {
            for v in 0..vectors {
                let at = k + v * V::LANES;
                own[v] = V::load_full(a.add(at)).multiply_add(B::load_full::<V>(b.add(at)), own[v]);
            }
            k += LANES;
        }
        if k < length {
            let mut rest = [0.0f32; LANES];
            for at in k..length {
                rest[at - k] = (*b.add(at)).widen();
            }
            for v in (0..vectors).take_while(|v| k + v * V::LANES < length) {
                let at = k + v * V::LANES;
                let rest = V::load_full(rest.as_ptr().add(v * V::LANES));
                own[v] = V::load(a.add(at), V::mask(length - at)).multiply_add(rest, own[v]);
            }
        }
        for v in 0..vectors {
            own[v].store_full(sums.as_mut_ptr().add(v * V::LANES));
        }
    }
    vector::tree(sums)
}
