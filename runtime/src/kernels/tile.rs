//! The register tile: the one micro-kernel under contractions and convolutions.
//!
//! A tile is `MR` rows by `NV` vectors of C, held in registers while k runs:
//!
//! ```text
//! for (a, b) in segments, i in 0..length:          // k, in order
//!     C[r, :] = fma(A[rows[r] + a + i * a_step], B[b + i * b_step + column], C[r, :])
//! ```
//!
//! The rows of A and C sit at arbitrary element offsets, so that the pixels of a convolution, the rows of a matrix and
//! those of a transposed one are the same thing. B is read either in rows (the next panel is [`PANEL`] columns further) or
//! in packed panels (`b_panel` elements further). What is kept as bf16 or i8 is always in panels, and is widened as it is read.
//!
//! A second pair of factors may follow the first in the same registers, so that a sum of two products is stored once.
//!
//! **Bits.** Every element of C is one chain of fused multiply-adds over k (of one pair of factors, then of the other), from zero, then (when
//! accumulating) added to C once. Neither the size of the tile nor an element's place in it matters; only `Level::Portable`, which has no fused
//! multiply-add on x86-64, differs from the other levels.

use super::isa::Level;
use super::vector::{self, Element, Vector};
use crate::program::{DType, PANEL};
use half::bf16;

/// f32 in a cache line.
const LINE: usize = 16;
/// So many bytes ahead, panels of narrow elements are asked for: they are short, and end before the processor has foreseen much of them.
const AHEAD: usize = 1024;

/// A run of k: where it starts in A (beyond a row's own offset) and in B. All runs of a tile are equally long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub a: isize,
    pub b: isize,
}

/// What a tile multiplies: rows of A with columns of B. Offsets and steps count elements.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    pub a: *const f32,
    /// Offsets of the tile's rows in A; a kernel for adjacent rows reads the first only.
    pub a_rows: *const isize,
    pub a_step: isize,
    /// Elements of the family's type.
    pub b: *const u8,
    pub b_step: isize,
    /// From one panel of 32 columns to the next.
    pub b_panel: isize,
    pub segments: *const Segment,
    pub segment_count: usize,
    pub length: usize,
}

/// The operands of one tile.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub first: Factors,
    /// Goes on with the sums of the first.
    pub then: Option<Factors>,
    /// Of the columns, for a B of i8.
    pub scales: *const f32,
    pub c: *mut f32,
    pub c_rows: *const isize,
    /// Columns that exist, at most the tile's width: those beyond are neither read nor written.
    pub columns: usize,
    /// Adds to C instead of overwriting it.
    pub accumulate: bool,
    /// C is in a near cache: nobody asks for its lines.
    pub near: bool,
}

/// # Safety
/// Everything that the [`Tile`] describes must lie in live allocations, and C must not overlap A or B.
pub type TileFunction = unsafe fn(&Tile);

/// The tiles of one instruction set.
#[derive(Debug)]
pub struct Family {
    /// f32 lanes of a vector.
    pub lanes: usize,
    /// Tiles 1, 2, 4 and 8 vectors wide.
    widths: [Width; 4],
}

/// Tiles of one width, by height: `general[rows - 1]`, and the same for rows of A that are neighbours in memory.
#[derive(Debug)]
struct Width {
    general: &'static [TileFunction],
    adjacent: &'static [TileFunction],
}

impl Family {
    pub fn of(level: Level) -> &'static Family {
        Family::over(level, DType::F32)
    }

    /// The tiles that read a B of this type: f32, bf16 or i8.
    pub fn over(level: Level, kept: DType) -> &'static Family {
        let of_level = match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &AVX512,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &AVX2,
            _ => &PORTABLE,
        };
        match kept {
            DType::BF16 => &of_level[1],
            DType::I8 => &of_level[2],
            _ => &of_level[0],
        }
    }

    /// The shape of tile for a block of so many rows and columns: (rows at most, vectors).
    ///
    /// Few rows take wide tiles, because a chain of multiply-adds needs about eight others beside it to hide its latency.
    pub fn shape(&self, rows: usize, columns: usize) -> (usize, usize) {
        let wanted = match rows {
            0 | 1 => 3,
            2 | 3 => 2,
            _ => 1,
        };
        let mut width = wanted;
        while width > 0 && columns <= self.lanes << (width - 1) {
            width -= 1;
        }
        (self.widths[width].general.len(), 1 << width)
    }

    /// The kernel of a tile of a shape that [`Family::shape`] gave, with no more rows than that.
    pub fn tile(&self, rows: usize, vectors: usize, adjacent: bool) -> TileFunction {
        let width = &self.widths[vectors.trailing_zeros() as usize];
        if adjacent { width.adjacent[rows - 1] } else { width.general[rows - 1] }
    }
}

/// The micro-kernel; `ADJACENT`: row r of A is r elements after row 0.
#[inline(always)]
unsafe fn tile<V: Vector, B: Element, const MR: usize, const NV: usize, const ADJACENT: bool>(tile: &Tile) {
    // SAFETY: the caller's own promises.
    unsafe {
        if tile.columns == NV * V::LANES {
            sum::<V, B, MR, NV, ADJACENT, true>(tile)
        } else {
            sum::<V, B, MR, NV, ADJACENT, false>(tile)
        }
    }
}

/// The micro-kernel itself; `FULL`: all columns exist, so that no load or store needs a mask.
#[inline(always)]
unsafe fn sum<
    V: Vector,
    B: Element,
    const MR: usize,
    const NV: usize,
    const ADJACENT: bool,
    const FULL: bool,
>(
    tile: &Tile,
) {
    let panel_vectors = PANEL / V::LANES;
    // SAFETY: the caller vouches for the tile's operands (see `TileFunction`), the masks for the columns beyond its edge.
    unsafe {
        let masks: [V::Mask; NV] =
            std::array::from_fn(|v| V::mask(tile.columns.saturating_sub(v * V::LANES)));
        // C is often in no cache: its lines come while k runs.
        for r in 0..if tile.near { 0 } else { MR } {
            let c = tile.c.wrapping_offset(*tile.c_rows.add(r));
            for line in (0..NV * V::LANES).step_by(LINE) {
                vector::prefetch_to_write(c.wrapping_add(line));
            }
        }
        let mut sums = [[V::zero(); NV]; MR];
        let (mut factors, mut then) = (&tile.first, tile.then.as_ref());
        loop {
            let rows: [*const f32; MR] = std::array::from_fn(|r| {
                factors.a.wrapping_offset(*factors.a_rows.add(if ADJACENT { 0 } else { r }))
            });
            for s in 0..factors.segment_count {
                let segment = *factors.segments.add(s);
                let mut a = segment.a;
                let mut b = factors.b.cast::<B>().wrapping_offset(segment.b);
                for _ in 0..factors.length {
                    if size_of::<B>() < size_of::<f32>() && MR < 4 {
                        for panel in 0..NV.div_ceil(panel_vectors) {
                            let panel = b.wrapping_offset(panel as isize * factors.b_panel);
                            vector::prefetch_to_read(panel.cast::<u8>().wrapping_add(AHEAD).cast());
                        }
                    }
                    let row_of_b: [V; NV] = std::array::from_fn(|v| {
                        let panel = (v / panel_vectors) as isize * factors.b_panel;
                        let source = b.wrapping_offset(panel + (v % panel_vectors * V::LANES) as isize);
                        let there = v / panel_vectors * PANEL < tile.columns;
                        if FULL { B::load_full::<V>(source) } else { B::load::<V>(source, masks[v], there) }
                    });
                    for r in 0..MR {
                        let x = V::splat(rows[if ADJACENT { 0 } else { r }].offset(a).add(if ADJACENT {
                            r
                        } else {
                            0
                        }));
                        for v in 0..NV {
                            sums[r][v] = x.multiply_add(row_of_b[v], sums[r][v]);
                        }
                    }
                    a += factors.a_step;
                    b = b.wrapping_offset(factors.b_step);
                }
            }
            match then.take() {
                Some(next) => factors = next,
                None => break,
            }
        }
        for r in 0..MR {
            let c = tile.c.wrapping_offset(*tile.c_rows.add(r));
            for v in 0..NV {
                let target = c.wrapping_add(v * V::LANES);
                let mut sum = sums[r][v];
                if B::SCALED {
                    let scales = tile.scales.wrapping_add(v * V::LANES);
                    let scales = if FULL { V::load_full(scales) } else { V::load(scales, masks[v]) };
                    sum = sum.multiply_add(scales, V::zero());
                }
                if tile.accumulate {
                    let before = if FULL { V::load_full(target) } else { V::load(target, masks[v]) };
                    sum = before.add(sum);
                }
                if FULL {
                    sum.store_full(target);
                } else {
                    sum.store(target, masks[v]);
                }
            }
        }
    }
}

/// The instances of [`tile`] for one instruction set and one type of B as a [`Family`]: heights that exist by width. Rows of A that are
/// neighbours are looked at only beside a B of f32 (`adjacent`): narrow weights meet rows of activations.
macro_rules! family {
    ($vector:ty, $element:ty, $adjacent:literal, $(#[$features:meta])?
        [$($one:literal)*] [$($two:literal)*] [$($four:literal)*] [$($eight:literal)*]) => {{
        $(#[$features])?
        unsafe fn kernel<const MR: usize, const NV: usize, const ADJACENT: bool>(operands: &Tile) {
            // SAFETY: as for the caller.
            unsafe { tile::<$vector, $element, MR, NV, ADJACENT>(operands) }
        }
        Family {
            lanes: <$vector as Vector>::LANES,
            widths: [
                Width { general: &[$(kernel::<$one, 1, false>),*], adjacent: &[$(kernel::<$one, 1, $adjacent>),*] },
                Width { general: &[$(kernel::<$two, 2, false>),*], adjacent: &[$(kernel::<$two, 2, $adjacent>),*] },
                Width { general: &[$(kernel::<$four, 4, false>),*], adjacent: &[$(kernel::<$four, 4, $adjacent>),*] },
                Width { general: &[$(kernel::<$eight, 8, false>),*], adjacent: &[$(kernel::<$eight, 8, $adjacent>),*] },
            ],
        }
    }};
}

/// The families of one instruction set: of f32, bf16 and i8.
macro_rules! families {
    ($name:ident, $vector:ty, [$(#[$features:meta])?] $heights:tt) => {
        static $name: [Family; 3] = [
            families!(@ $vector, f32, true, $(#[$features])? $heights),
            families!(@ $vector, bf16, false, $(#[$features])? $heights),
            families!(@ $vector, i8, false, $(#[$features])? $heights),
        ];
    };
    (@ $vector:ty, $element:ty, $adjacent:literal, $(#[$features:meta])? { $($heights:tt)* }) => {
        family!($vector, $element, $adjacent, $(#[$features])? $($heights)*)
    };
}

// 12 × 2 vectors leave 8 of the 32 registers for B and for the broadcasts of A.
#[cfg(target_arch = "x86_64")]
families!(AVX512, super::vector::x86::Wide, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]]
    { [1 2 3 4 5 6 7 8 9 10 11 12] [1 2 3 4 5 6 7 8 9 10 11 12] [1 2 3] [1] });

// 6 × 2 vectors fill 12 of the 16 registers.
#[cfg(target_arch = "x86_64")]
families!(AVX2, super::vector::x86::Half, [#[target_feature(enable = "avx2,fma")]]
    { [1 2 3 4 5 6] [1 2 3 4 5 6] [1 2 3] [1] });

families!(PORTABLE, super::vector::Four, [] { [1 2 3 4 5 6] [1 2 3 4 5 6] [1 2 3] [1] });
