//! A block: any number of rows and columns of C for one run of k, cut into register tiles.

use super::isa::Level;
use super::tile::{Factors, Family, Segment, Tile};
use crate::program::{DType, PANEL};
use std::ops::Range;

/// How the elements of B are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// f32, bf16 or i8.
    pub dtype: DType,
    /// For i8, from the block's first column on.
    pub scales: *const f32,
}

impl Kept {
    /// As f32.
    pub const WIDE: Kept = Kept { dtype: DType::F32, scales: std::ptr::null() };
}

/// The operands of a block; offsets and steps count elements (see [`Tile`]). Column 0 starts a panel.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub a: *const f32,
    pub a_rows: &'a [isize],
    pub a_step: isize,
    /// Whether neighbouring rows may be neighbours in A, which is then looked at tile by tile.
    pub adjacent: bool,
    /// Where A was packed: from the strip of one tile to the next. In a strip, each k has the tile's rows side by side; `a_rows` and
    /// `a_step` say nothing then.
    pub strip: Option<usize>,
    /// Elements of `kept`'s type. What is narrow is in panels, and its A in rows.
    pub b: *const f32,
    pub kept: Kept,
    pub b_step: isize,
    pub b_panel: isize,
    pub segments: &'a [Segment],
    pub length: usize,
    pub c: *mut f32,
    pub c_rows: &'a [isize],
    pub columns: usize,
    pub accumulate: bool,
    /// A second product of as many rows and columns, which is added to the first. C is then what a loop writes again at each turn, and is near.
    pub then: Option<Then<'a>>,
}

/// The operands of a product that goes on with the sums of a block, as [`Block`] has them. Its B is of f32.
#[derive(Clone, Copy, Debug)]
pub struct Then<'a> {
    pub a: *const f32,
    pub a_rows: &'a [isize],
    pub a_step: isize,
    pub b: *const f32,
    pub b_step: isize,
    pub b_panel: isize,
    pub segments: &'a [Segment],
    pub length: usize,
}

impl Then<'_> {
    /// Those of a tile.
    fn factors(&self, rows: Range<usize>, column: usize) -> Factors {
        let at = (column / PANEL) as isize * self.b_panel + (column % PANEL) as isize;
        Factors {
            a: self.a,
            a_rows: self.a_rows[rows].as_ptr(),
            a_step: self.a_step,
            b: self.b.wrapping_offset(at).cast(),
            b_step: self.b_step,
            b_panel: self.b_panel,
            segments: self.segments.as_ptr(),
            segment_count: self.segments.len(),
            length: self.length,
        }
    }
}

impl Block<'_> {
    /// The rows of a tile, at most.
    pub fn height(&self, level: Level) -> usize {
        Family::of(level).shape(self.a_rows.len(), self.columns).0
    }

    /// The rows of each tile. They are cut evenly, so that no tile is much lower than the others.
    pub fn tiles(&self, level: Level) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.a_rows.len();
        let tiles = rows.div_ceil(self.height(level));
        (0..tiles).map(move |tile| rows * tile / tiles..rows * (tile + 1) / tiles)
    }

    /// Computes the block. A panel of B stays in the nearest caches while the rows pass by.
    ///
    /// # Safety
    /// Everything that the block describes must lie in live allocations, C must not overlap A or B, and the machine must
    /// have the level's instructions.
    pub unsafe fn run(&self, level: Level) {
        let rows = self.a_rows.len();
        debug_assert_eq!(rows, self.c_rows.len());
        if rows == 0 {
            return;
        }
        let family = Family::over(level, self.kept.dtype);
        let size = self.kept.dtype.size() as isize;
        let (_, vectors) = family.shape(rows, self.columns);
        let width = vectors * family.lanes;
        let mut column = 0;
        while column < self.columns {
            let at = (column / PANEL) as isize * self.b_panel + (column % PANEL) as isize;
            let b = self.b.cast::<u8>().wrapping_offset(at * size);
            let columns = width.min(self.columns - column);
            for (index, part) in self.tiles(level).enumerate() {
                let (a_rows, c_rows) = (&self.a_rows[part.clone()], &self.c_rows[part.clone()]);
                let adjacent = self.adjacent && a_rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
                let (a, a_rows, a_step, adjacent) = match self.strip {
                    Some(strip) => {
                        (self.a.wrapping_add(index * strip), &[0isize][..], part.len() as isize, true)
                    }
                    None => (self.a, a_rows, self.a_step, adjacent),
                };
                let first = Factors {
                    a,
                    a_rows: a_rows.as_ptr(),
                    a_step,
                    b,
                    b_step: self.b_step,
                    b_panel: self.b_panel,
                    segments: self.segments.as_ptr(),
                    segment_count: self.segments.len(),
                    length: self.length,
                };
                let tile = Tile {
                    first,
                    then: self.then.map(|then| then.factors(part.clone(), column)),
                    scales: self.kept.scales.wrapping_add(column),
                    c: self.c.wrapping_add(column),
                    c_rows: c_rows.as_ptr(),
                    columns,
                    accumulate: self.accumulate,
                    near: self.then.is_some(),
                };
                // SAFETY: a part of the block, for which the caller vouches.
                unsafe { family.tile(part.len(), vectors, adjacent)(&tile) };
            }
            column += width;
        }
    }
}
