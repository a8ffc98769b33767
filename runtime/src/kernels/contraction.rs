//! Contractions: resolves the strides of a [`Contraction`] and runs [`Block`]s over ranges of rows or tiles.
//!
//! Operands are read where they lie as long as that is fast. Where they have no unit stride along n, or what a tile takes at one k lies far
//! from what it takes at the next, a rectangle of C packs what it reads: some panels of B, and A in strips, one for each register tile (Goto &
//! van de Geijn 2008). Both stay in the second cache while they meet.
//!
//! A B that is kept as bf16 or i8 is read by tiles from panels alone: where it does not lie in panels, it is packed as it is.

use super::block::{Block, Kept, Then};
use super::few::{self, Few};
use super::isa::Level;
use super::pack;
use super::resolve::{self, Axis, Layout};
use super::runs::{KC, Runs};
use super::tile::Segment;
use crate::program::{Contraction, DType, PANEL, Partition, TILE_ROWS};
use std::ops::Range;

/// Rows whose offsets are worked out at a time.
const ROWS: usize = 240;
/// A step of so many elements from row to row of B.
const FAR: isize = 4096;
/// A step of so many elements from one k to the next in A, whose rows are neighbours.
const FAR_APART: isize = 256;
/// Rows and columns that pay for packing A.
const ROWS_PACKED: usize = 2 * TILE_ROWS;
const COLUMNS_PACKED: usize = 2 * PANEL;
/// Elements of a B that stays in no near cache.
const LARGE: usize = 64 << 10;
/// Panels of B that are packed at a time.
const PANELS: usize = 8;
/// Tiles follow one another down the columns of a band of at most so many tile rows, so that a range of them is about as high as wide.
const BAND: usize = 4;

#[derive(Debug)]
pub struct Bound {
    level: Level,
    batch: Vec<Axis>,
    batches: usize,
    m: Vec<Axis>,
    rows: usize,
    columns: usize,
    b_panel: isize,
    /// B's stride along n.
    b_step: isize,
    /// Whether panels of B are packed as they are needed.
    packs_b: bool,
    few: Option<Way>,
    adjacent: bool,
    /// Whether strips of A are packed as they are needed, where the rectangle is wide enough.
    packs_a: bool,
    /// Of B's elements.
    kept: DType,
    /// To what C holds.
    adds: bool,
    partition: Partition,
    runs: Runs,
    /// Elements of C, without the leading axis of splits.
    c_size: usize,
}

/// How a contraction of few rows goes through B; see [`few`].
#[derive(Clone, Copy, Debug)]
enum Way {
    Across,
    Along,
}

/// A thread's memory, cut up.
struct Room<'a> {
    a_rows: &'a mut [isize],
    c_rows: &'a mut [isize],
    panels: *mut f32,
    strips: *mut f32,
}

impl Bound {
    pub fn bind(kernel: &Contraction, dims: &[i64], level: Level) -> Result<Bound, String> {
        let mut batch = resolve::axes(&kernel.batch, dims)?;
        let mut m = resolve::axes(&kernel.m, dims)?;
        let k = resolve::axes(&kernel.k, dims)?;
        let n = resolve::axis(&kernel.n, dims)?;
        let columns = n.extent;
        if columns > 1 && n.c != 1 {
            return Err("a contraction's C must have unit stride along n".into());
        }
        let wide = kernel.kept == DType::F32;
        if !(wide || matches!(kernel.kept, DType::BF16 | DType::I8)) {
            return Err(format!("a contraction cannot read a B of {}", kernel.kept.name()));
        }
        if kernel.packed && batch.iter().any(|axis| axis.b != 0 && axis.extent > 1) {
            return Err("a contraction's packed B has no batch axes".into());
        }
        if kernel.adds && !kernel.packed {
            return Err("a contraction that adds to C has a packed B".into());
        }
        let c_size = resolve::product(batch.iter().chain(&m).chain([&n]))?;
        if kernel.partition == Partition::Rows {
            // A batch axis that B lacks is one more axis of rows.
            while let Some(axis) = batch.pop_if(|axis| axis.b == 0) {
                m.insert(0, axis);
            }
        }
        let m = resolve::collapse(m);
        let k_size = resolve::product(&k)?;
        let k = if kernel.packed { resolve::pack_k(k) } else { k };
        let rows = resolve::product(&m)?;
        let inner = resolve::collapse(k.clone());
        let few = match &inner[..] {
            _ if kernel.packed || rows > few::ROWS_ALONG || columns <= PANEL => None,
            [k] if n.b != 1 && (k.a, k.b) == (1, 1) => Some(Way::Along),
            _ if wide && rows <= few::ROWS && n.b == 1 && k_size * columns >= LARGE => Some(Way::Across),
            _ => None,
        };
        // The rows of a wide B fall into few sets of a cache; a panel of them that many rows of A meet is laid side by side.
        let far = kernel.partition == Partition::Tiles && k.iter().any(|axis| axis.b >= FAR);
        let adjacent = wide && m.last().is_some_and(|axis| axis.a == 1);
        let apart = adjacent && k.iter().all(|axis| axis.a >= FAR_APART);
        let packs_a = apart && rows >= ROWS_PACKED && columns >= COLUMNS_PACKED && inner.len() == 1;
        let packs_b = !kernel.packed && few.is_none() && (!wide || columns > 1 && (n.b != 1 || far));
        Ok(Bound {
            level,
            batches: resolve::product(&batch)?,
            rows,
            columns,
            b_panel: if kernel.packed { (k_size * PANEL) as isize } else { PANEL as isize },
            b_step: n.b,
            packs_b,
            few,
            adjacent,
            packs_a,
            kept: kernel.kept,
            adds: kernel.adds,
            partition: kernel.partition,
            runs: Runs::over(k, kernel.splits.max(1) as usize, KC * DType::F32.size() / kernel.kept.size())?,
            c_size,
            batch,
            m,
        })
    }

    pub fn extent(&self) -> usize {
        match self.partition {
            Partition::Rows => self.batches * self.rows,
            Partition::Tiles => self.runs.splits() * self.batches * self.tile_rows() * self.tile_columns(),
        }
    }

    pub fn scratch_bytes(&self) -> usize {
        let tables = 2 * ROWS * size_of::<isize>();
        tables + (self.panels_room() + self.strips_room()) * size_of::<f32>()
    }

    fn panels_room(&self) -> usize {
        let panels = self.tile_columns().min(PANELS);
        match self.few {
            Some(_) => few::ROWS * few::STRETCH,
            // In f32: panels are whole words, whatever their elements.
            None if self.packs_b => {
                panels * self.runs.longest() * PANEL * self.kept.size() / DType::F32.size()
            }
            None => 0,
        }
    }

    fn strips_room(&self) -> usize {
        // Each strip has some room of its own behind it.
        if self.packs_a { ROWS * (self.runs.longest() + pack::STRIP_GAP) } else { 0 }
    }

    fn tile_rows(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }

    fn tile_columns(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize, scratch: *mut u8) {
        let tables = scratch.cast::<isize>();
        let panels = tables.wrapping_add(2 * ROWS).cast::<f32>();
        // SAFETY: `scratch_bytes` made room for the tables, the panels and the strips, in this order.
        let (a_rows, c_rows) = unsafe { std::slice::from_raw_parts_mut(tables, 2 * ROWS) }.split_at_mut(ROWS);
        let room = &mut Room { a_rows, c_rows, panels, strips: panels.wrapping_add(self.panels_room()) };
        let mut at = begin;
        while at < end {
            let (split, batch, rows, columns, count) = match self.partition {
                Partition::Rows => {
                    let (batch, row) = (at / self.rows, at % self.rows);
                    let count = (end - at).min(self.rows - row);
                    (0..self.runs.splits(), batch, row..row + count, 0..self.columns, count)
                }
                Partition::Tiles => {
                    let each = self.tile_rows() * self.tile_columns();
                    let (split, batch) = (at / each / self.batches, at / each % self.batches);
                    let (rows, columns) = self.tiles(at % each, end - at);
                    let count = rows.len() * columns.len();
                    let cut = |tiles: Range<usize>, size: usize, most: usize| {
                        tiles.start * size..(tiles.end * size).min(most)
                    };
                    let (rows, columns) =
                        (cut(rows, TILE_ROWS, self.rows), cut(columns, PANEL, self.columns));
                    (split..split + 1, batch, rows, columns, count)
                }
            };
            for split in split {
                // SAFETY: a part of the range, for whose operands the caller vouches.
                unsafe {
                    let (rows, columns) = (rows.clone(), columns.clone());
                    match self.few {
                        Some(way) => self.few_rows(way, buffers, room, split, batch, rows, columns),
                        None => self.rectangle(buffers, room, split, batch, rows, columns),
                    }
                }
            }
            at += count;
        }
    }

    /// The largest rectangle that a run of at most so many tiles begins with: tile rows and tile columns.
    fn tiles(&self, at: usize, most: usize) -> (Range<usize>, Range<usize>) {
        let (tall, wide) = (self.tile_rows(), self.tile_columns());
        let bands = tall.div_ceil(BAND);
        let band = ((at / wide + 1) * bands - 1) / tall;
        let (top, bottom) = (tall * band / bands, tall * (band + 1) / bands);
        let (column, along) = ((at - top * wide) / (bottom - top), (at - top * wide) % (bottom - top));
        let height = bottom - top;
        if along > 0 || most < height {
            let count = most.min(height - along);
            return (top + along..top + along + count, column..column + 1);
        }
        (top..bottom, column..(column + most / height).min(wide))
    }

    /// B from an element on.
    fn b(&self, buffers: &[*mut u8], at: isize) -> *const f32 {
        self.further(buffers[1].cast::<f32>().cast_const(), at)
    }

    /// So many elements of B further; the pointer's own type means nothing.
    fn further(&self, b: *const f32, elements: isize) -> *const f32 {
        b.cast::<u8>().wrapping_offset(elements * self.kept.size() as isize).cast()
    }

    /// The columns' scales (none for a B that has none), and C.
    fn scales_and_c(&self, buffers: &[*mut u8]) -> (*const f32, *mut f32) {
        match buffers {
            [_, _, scales, c] => (scales.cast::<f32>().cast_const(), c.cast()),
            [_, _, c] => (std::ptr::null(), c.cast()),
            _ => (std::ptr::null(), std::ptr::null_mut()),
        }
    }

    /// How many buffers the kernel has.
    pub fn buffers(&self) -> usize {
        if self.kept == DType::I8 { 4 } else { 3 }
    }

    /// Whether the sums of this contraction can go on, in the same registers, with those of a later one that adds to them.
    pub fn can_go_on(&self, late: &Bound) -> bool {
        let plain = |bound: &Bound| {
            let whole = bound.runs.splits() == 1 && bound.runs.of(0).count() == 1 && bound.batches == 1;
            let in_place = !(bound.packs_a || bound.packs_b || bound.adjacent) && bound.few.is_none();
            whole && in_place && bound.partition == Partition::Rows && bound.kept == DType::F32
        };
        let places = |bound: &Bound| bound.m.iter().map(|axis| (axis.extent, axis.c)).collect::<Vec<_>>();
        plain(self)
            && plain(late)
            && !self.adds
            && late.adds
            && self.columns == late.columns
            && places(self) == places(late)
    }

    /// Multiply-adds for each element of C.
    pub fn terms(&self) -> usize {
        self.runs.of(0).map(|run| run.segments.len() * run.length).sum()
    }

    /// Runs rows of this contraction and of a later one, with which it [can go on](Bound::can_go_on): `buffers` are those of both.
    ///
    /// # Safety
    /// See [`super::Bound::run`], of both.
    pub unsafe fn run_on(
        &self,
        late: &Bound,
        buffers: [&[*mut u8]; 2],
        begin: usize,
        end: usize,
        scratch: *mut u8,
    ) {
        let (Some(run), Some(then)) = (self.runs.of(0).next(), late.runs.of(0).next()) else { return };
        // SAFETY: `scratch_bytes` made room for the tables of one contraction, of which each row has a half.
        let tables = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<isize>(), 2 * ROWS) };
        let (rows, c_rows) = tables.split_at_mut(ROWS);
        let (a_rows, late_rows) = rows.split_at_mut(ROWS / 2);
        for start in (begin..end).step_by(ROWS / 2) {
            let count = (end - start).min(ROWS / 2);
            Layout::new(&late.m).fill(start, &mut late_rows[..count], &mut c_rows[..count]);
            Layout::new(&self.m).fill(start, &mut a_rows[..count], &mut c_rows[..count]);
            let then = Then {
                a: buffers[1][0].cast::<f32>().cast_const(),
                a_rows: &late_rows[..count],
                a_step: late.runs.a_step,
                b: late.b(buffers[1], 0),
                b_step: late.runs.b_step,
                b_panel: late.b_panel,
                segments: then.segments,
                length: then.length,
            };
            let block = Block {
                a: buffers[0][0].cast::<f32>().cast_const(),
                a_rows: &a_rows[..count],
                a_step: self.runs.a_step,
                adjacent: false,
                strip: None,
                b: self.b(buffers[0], 0),
                kept: Kept::WIDE,
                b_step: self.runs.b_step,
                b_panel: self.b_panel,
                segments: run.segments,
                length: run.length,
                c: self.scales_and_c(buffers[0]).1,
                c_rows: &c_rows[..count],
                columns: self.columns,
                accumulate: false,
                then: Some(then),
            };
            // SAFETY: rows of both contractions, for whose operands the caller vouches.
            unsafe { block.run(self.level) };
        }
    }

    /// Computes a rectangle of C, whose first column starts a panel.
    unsafe fn rectangle(
        &self,
        buffers: &[*mut u8],
        room: &mut Room<'_>,
        split: usize,
        batch: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let at = Layout::new(&self.batch).at(batch);
        let layout = Layout::new(&self.m);
        let a = buffers[0].cast::<f32>().cast_const().wrapping_offset(at.a);
        let b = self.b(buffers, at.b);
        let (scales, c) = self.scales_and_c(buffers);
        let c = c.wrapping_offset(at.c).wrapping_add(split * self.c_size);
        let blocks = rows.len().div_ceil(ROWS);
        let group = if self.packs_b { PANELS * PANEL } else { columns.len() };
        for first in columns.clone().step_by(group.max(1)) {
            let columns = first..columns.end.min(first + group);
            let at = match self.packs_b {
                true => columns.start as isize * self.b_step,
                false => (columns.start / PANEL) as isize * self.b_panel,
            };
            for (index, run) in self.runs.of(split).enumerate() {
                let long = run.segments.len() * run.length;
                let mut whole = Block {
                    a,
                    a_rows: &[],
                    a_step: self.runs.a_step,
                    adjacent: self.adjacent,
                    strip: None,
                    b: self.further(b, at),
                    kept: Kept { dtype: self.kept, scales: scales.wrapping_add(columns.start) },
                    b_step: self.runs.b_step,
                    b_panel: self.b_panel,
                    segments: run.segments,
                    length: run.length,
                    c: c.wrapping_add(columns.start),
                    c_rows: &[],
                    columns: columns.len(),
                    accumulate: self.adds || index > 0,
                    then: None,
                };
                if self.packs_b {
                    // SAFETY: scratch has room for the longest run; the caller vouches for B.
                    unsafe { pack::panels(&whole, self.b_step, room.panels) };
                    whole.b = room.panels.cast_const();
                    whole.b_step = PANEL as isize;
                    whole.b_panel = (long * PANEL) as isize;
                    whole.segments = run.packed;
                }
                for block in 0..blocks {
                    let start = rows.start + rows.len() * block / blocks;
                    let count = rows.start + rows.len() * (block + 1) / blocks - start;
                    layout.fill(start, &mut room.a_rows[..count], &mut room.c_rows[..count]);
                    let mut block =
                        Block { a_rows: &room.a_rows[..count], c_rows: &room.c_rows[..count], ..whole };
                    // One axis of k is one segment.
                    let packed = block.segments.first().map(|segment| Segment { a: 0, ..*segment });
                    // SAFETY: a part of the contraction, for whose operands the caller vouches; scratch has room for the strips of as many
                    // rows as a block has.
                    unsafe {
                        if self.packs_a && block.columns >= COLUMNS_PACKED && packed.is_some() {
                            let strip = block.height(self.level) * long + pack::STRIP_GAP;
                            pack::strips(&block, self.level, strip, room.strips);
                            block.a = room.strips.cast_const();
                            block.strip = Some(strip);
                            block.segments = packed.as_slice();
                        }
                        block.run(self.level);
                    }
                }
            }
        }
    }

    /// Computes a rectangle of C that has few rows.
    unsafe fn few_rows(
        &self,
        way: Way,
        buffers: &[*mut u8],
        room: &mut Room<'_>,
        split: usize,
        batch: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let at = Layout::new(&self.batch).at(batch);
        let (a_rows, c_rows) = (&mut room.a_rows[..rows.len()], &mut room.c_rows[..rows.len()]);
        Layout::new(&self.m).fill(rows.start, a_rows, c_rows);
        let b = self.b(buffers, at.b);
        let (scales, c) = self.scales_and_c(buffers);
        let c = c.wrapping_offset(at.c).wrapping_add(split * self.c_size);
        let few = Few {
            a: buffers[0].cast::<f32>().cast_const().wrapping_offset(at.a),
            a_rows,
            a_step: self.runs.a_step,
            b: self.further(b, columns.start as isize * self.b_step),
            scales: scales.wrapping_add(columns.start),
            b_step: self.runs.b_step,
            b_column: self.b_step,
            c: c.wrapping_add(columns.start),
            c_rows,
            columns: columns.len(),
        };
        let mut runs = self.runs.of(split);
        // SAFETY: a part of the contraction, for whose operands the caller vouches; the room holds the sums.
        unsafe {
            match way {
                Way::Across => runs.enumerate().for_each(|(index, run)| {
                    few::across(self.level, &few, run.segments, run.length, index > 0, room.panels);
                }),
                Way::Along => {
                    // The runs of one axis follow one another.
                    let first = runs.next().and_then(|run| run.segments.first()).copied().unwrap_or_default();
                    let length = self.runs.of(split).map(|run| run.segments.len() * run.length).sum();
                    few::along(self.level, self.kept, &few, first, length);
                }
            }
        }
    }
}
