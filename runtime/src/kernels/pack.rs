//! Packing: a matrix with any strides becomes panels of [`PANEL`] columns, zero-padded, or strips of a tile's rows. What is kept narrow stays so.

use super::block::Block;
use super::isa::Level;
use super::resolve::{self, Axis};
use super::tile::Segment;
use super::vector;
use crate::program::{DType, PANEL, Pack};
use half::bf16;

/// Elements between strips, so that they don't begin in the same set of a cache.
pub const STRIP_GAP: usize = 16;
/// f32 in a cache line.
const LINE: usize = 16;
/// Steps of k, and columns, that are turned around together.
const SQUARE: usize = 16;
/// Steps of k that the strips take at a time.
const STEPS: usize = 8;
/// So many steps of k ahead, what is to be packed is asked for: they may lie a page apart, which the processor doesn't foresee.
const AHEAD: isize = 8;

#[derive(Debug)]
pub struct Bound {
    taps: Axis,
    k: Axis,
    n: Axis,
    kept: DType,
}

impl Bound {
    pub fn bind(kernel: &Pack, dims: &[i64]) -> Result<Bound, String> {
        let bound = Bound {
            taps: resolve::axis(&kernel.taps, dims)?,
            k: resolve::axis(&kernel.k, dims)?,
            n: resolve::axis(&kernel.n, dims)?,
            kept: kernel.kept,
        };
        resolve::product_of([bound.taps.extent, bound.k.extent, bound.n.extent.next_multiple_of(PANEL)])?;
        Ok(bound)
    }

    pub fn extent(&self) -> usize {
        self.taps.extent * self.n.extent.div_ceil(PANEL)
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize) {
        // SAFETY: the caller's own promises.
        unsafe {
            match self.kept {
                DType::BF16 => self.run_as::<bf16>(buffers, begin, end),
                DType::I8 => self.run_as::<i8>(buffers, begin, end),
                _ => self.run_as::<f32>(buffers, begin, end),
            }
        }
    }

    unsafe fn run_as<T: Copy>(&self, buffers: &[*mut u8], begin: usize, end: usize) {
        let (source, panels) = (buffers[0].cast::<T>().cast_const(), buffers[1].cast::<T>());
        let across = self.n.extent.div_ceil(PANEL);
        for index in begin..end {
            let (tap, first) = (index / across, index % across * PANEL);
            let source = source.wrapping_offset(tap as isize * self.taps.a + first as isize * self.n.a);
            let columns = PANEL.min(self.n.extent - first);
            // SAFETY: the caller vouches for the buffers.
            unsafe {
                let target = panels.add(index * self.k.extent * PANEL);
                panel(source, self.k.a, self.n.a, self.k.extent, columns, target);
            }
        }
    }
}

/// Packs one panel: `target[k, 0..PANEL]` from `source[k, 0..columns]` and zeros, which are zeros of every type.
///
/// # Safety
/// `source` and `target` must cover what is read and written.
pub unsafe fn panel<T: Copy>(
    source: *const T,
    k_step: isize,
    n_step: isize,
    k: usize,
    columns: usize,
    target: *mut T,
) {
    // SAFETY: the caller's own promise.
    unsafe {
        if n_step == 1 {
            for i in 0..k {
                let (row, source) = (target.add(i * PANEL), source.offset(i as isize * k_step));
                for line in (0..PANEL).step_by(LINE) {
                    let ahead = source.wrapping_offset(AHEAD * k_step).wrapping_add(line);
                    vector::prefetch_to_read(ahead.cast());
                }
                if columns == PANEL {
                    row.cast::<[T; PANEL]>().write_unaligned(source.cast::<[T; PANEL]>().read_unaligned());
                } else {
                    row.copy_from_nonoverlapping(source, columns);
                    row.add(columns).write_bytes(0, PANEL - columns);
                }
            }
            return;
        }
        // A transposition, in squares that stay in the first cache; those of four by four stay in registers.
        for first in (0..k).step_by(SQUARE) {
            let rows = first..(first + SQUARE).min(k);
            let by_four = size_of::<T>() == size_of::<f32>() && k_step == 1 && rows.len() == SQUARE;
            let fours = if by_four { columns / 4 * 4 } else { 0 };
            for column in (0..fours).step_by(4) {
                let source = source.offset(column as isize * n_step + first as isize);
                let target = target.add(first * PANEL + column);
                for i in (0..SQUARE).step_by(4) {
                    turn_four(source.add(i).cast(), n_step, target.add(i * PANEL).cast());
                }
            }
            for column in fours..columns {
                let source = source.offset(column as isize * n_step);
                for i in rows.clone() {
                    *target.add(i * PANEL + column) = *source.offset(i as isize * k_step);
                }
            }
            for i in rows {
                target.add(i * PANEL + columns).write_bytes(0, PANEL - columns);
            }
        }
    }
}

/// `target[i, j] = source[j, i]` for four by four elements, where rows of the target are [`PANEL`] long.
#[inline(always)]
unsafe fn turn_four(source: *const f32, step: isize, target: *mut f32) {
    // SAFETY: the caller's own promise; the instructions are in the baseline of the architecture.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::*;
            let [a, b, c, d] = std::array::from_fn(|j| _mm_loadu_ps(source.offset(j as isize * step)));
            let (low, high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (other_low, other_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            let rows = [
                _mm_movelh_ps(low, other_low),
                _mm_movehl_ps(other_low, low),
                _mm_movelh_ps(high, other_high),
                _mm_movehl_ps(other_high, high),
            ];
            for (i, row) in rows.into_iter().enumerate() {
                _mm_storeu_ps(target.add(i * PANEL), row);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        for i in 0..4 {
            for j in 0..4 {
                *target.add(i * PANEL + j) = *source.offset(j as isize * step).add(i);
            }
        }
    }
}

/// Packs the A of a block whose rows are neighbours, one strip for each tile: `target[tile * strip + k * height + row]`, where the segments
/// follow one another along k. All tiles take a few steps of k together, so that A is read in long stretches, while what comes next is on its
/// way.
///
/// # Safety
/// The block's A must be there, and `target` have room for the strips.
pub unsafe fn strips(block: &Block<'_>, level: Level, strip: usize, target: *mut f32) {
    let neighbours = block.a_rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let pieces = block.length.div_ceil(STEPS);
    let place = |piece: usize| {
        let first = piece % pieces * STEPS;
        let segment = block.segments[piece / pieces];
        let source = block.a.wrapping_offset(segment.a + first as isize * block.a_step);
        (source, STEPS.min(block.length - first))
    };
    let mut before = 0;
    for piece in 0..pieces * block.segments.len() {
        let (source, steps) = place(piece);
        let (next, _) = place((piece + 1).min(pieces * block.segments.len() - 1));
        for (tile, rows) in block.tiles(level).enumerate() {
            let target = target.wrapping_add(tile * strip + before * rows.len());
            let row = block.a_rows[rows.start];
            let (next, source) = (next.wrapping_offset(row), source.wrapping_offset(row));
            let height = rows.len();
            // SAFETY: the caller's own promise.
            unsafe {
                match DEALS.get(height - 1) {
                    Some(deal) if neighbours => deal(source, next, block.a_step, steps, target),
                    _ => {
                        for step in 0..steps {
                            let source = source.offset(step as isize * block.a_step);
                            for (place, other) in rows.clone().enumerate() {
                                *target.add(step * height + place) =
                                    *source.offset(block.a_rows[other] - row);
                            }
                        }
                    }
                }
            }
        }
        before += steps;
    }
}

/// See [`deal`].
type Deal = unsafe fn(*const f32, *const f32, isize, usize, *mut f32);

/// [`deal`] for each height of a tile.
const DEALS: [Deal; 12] = [
    deal::<1>, deal::<2>, deal::<3>, deal::<4>, deal::<5>, deal::<6>, deal::<7>, deal::<8>, deal::<9>,
    deal::<10>, deal::<11>, deal::<12>,
];

/// Deals some steps of k to one strip of `HEIGHT` neighbours, and asks for those that follow at `next`.
unsafe fn deal<const HEIGHT: usize>(
    source: *const f32,
    next: *const f32,
    step: isize,
    steps: usize,
    target: *mut f32,
) {
    for i in 0..steps {
        let at = i as isize * step;
        vector::prefetch_to_read(next.wrapping_offset(at));
        // SAFETY: the caller's own promise.
        unsafe {
            let source = source.offset(at).cast::<[f32; HEIGHT]>();
            target.add(i * HEIGHT).cast::<[f32; HEIGHT]>().write_unaligned(source.read_unaligned());
        }
    }
}

/// Packs B's panels, one behind the other, where the segments follow one another along k. All panels take a few steps of k together.
///
/// # Safety
/// The block's B must be there with columns `step` apart, and `target` have room for the panels.
pub unsafe fn panels(block: &Block<'_>, step: isize, target: *mut f32) {
    // SAFETY: the caller's own promises.
    unsafe {
        match block.kept.dtype {
            DType::BF16 => panels_as(block, block.b.cast::<bf16>(), step, target.cast()),
            DType::I8 => panels_as(block, block.b.cast::<i8>(), step, target.cast()),
            _ => panels_as(block, block.b, step, target),
        }
    }
}

unsafe fn panels_as<T: Copy>(block: &Block<'_>, b: *const T, step: isize, target: *mut T) {
    let long = block.segments.len() * block.length;
    for (index, segment) in block.segments.iter().enumerate() {
        for at in (0..block.length).step_by(SQUARE) {
            let source = b.wrapping_offset(segment.b + at as isize * block.b_step);
            let target = target.wrapping_add((index * block.length + at) * PANEL);
            let steps = SQUARE.min(block.length - at);
            for first in (0..block.columns).step_by(PANEL) {
                let columns = PANEL.min(block.columns - first);
                let source = source.wrapping_offset(first as isize * step);
                // SAFETY: the caller's own promise.
                unsafe {
                    panel(source, block.b_step, step, steps, columns, target.wrapping_add(first * long))
                };
            }
        }
    }
}

/// Packs both operands of a block, with B's columns side by side: gives the block that reads them, for which all of k is one segment.
///
/// # Safety
/// As for [`strips`] and [`panels`].
pub unsafe fn both<'a>(
    block: &Block<'a>,
    level: Level,
    to_panels: *mut f32,
    to_strips: *mut f32,
) -> Block<'a> {
    let long = block.segments.len() * block.length;
    let strip = block.height(level) * long + STRIP_GAP;
    // SAFETY: the caller's own promises.
    unsafe {
        panels(block, 1, to_panels);
        strips(block, level, strip, to_strips);
    }
    Block {
        a: to_strips,
        strip: Some(strip),
        b: to_panels,
        b_step: PANEL as isize,
        b_panel: (long * PANEL) as isize,
        segments: &[Segment { a: 0, b: 0 }],
        length: long,
        ..*block
    }
}
