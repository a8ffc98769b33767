//! Contractions: resolves the strides of a [`Contraction`] and runs [`Block`]s over ranges of rows or tiles.

use super::block::Block;
use super::isa::Level;
use super::resolve::{self, Axis, Layout};
use super::runs::Runs;
use super::tile::Segment;
use crate::program::{Contraction, PANEL, Partition, TILE_ROWS};

/// Rows whose offsets are worked out at a time.
const ROWS: usize = 240;
/// A step of so many elements from row to row of B.
const FAR: isize = 1024;

#[derive(Debug)]
pub struct Bound {
    level: Level,
    batch: Vec<Axis>,
    batches: usize,
    m: Vec<Axis>,
    rows: usize,
    columns: usize,
    b_panel: isize,
    /// B's stride along n where panels of B are packed as they are needed.
    b_column: Option<isize>,
    adjacent: bool,
    partition: Partition,
    runs: Runs,
    /// Elements of C, without the leading axis of splits.
    c_size: usize,
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
        if kernel.packed && batch.iter().any(|axis| axis.b != 0 && axis.extent > 1) {
            return Err("a contraction's packed B has no batch axes".into());
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
        // The rows of a wide B fall into few sets of a cache; a panel of them that many rows of A meet is laid side by side.
        let wide = kernel.partition == Partition::Tiles && k.iter().any(|axis| axis.b >= FAR);
        let packs = columns > 1 && !kernel.packed && (n.b != 1 || wide);
        Ok(Bound {
            level,
            batches: resolve::product(&batch)?,
            rows: resolve::product(&m)?,
            columns,
            b_panel: if kernel.packed { (k_size * PANEL) as isize } else { PANEL as isize },
            b_column: packs.then_some(n.b),
            adjacent: m.last().is_some_and(|axis| axis.a == 1),
            partition: kernel.partition,
            runs: Runs::new(k, kernel.splits.max(1) as usize)?,
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
        let panel = if self.b_column.is_some() { self.runs.longest() * PANEL } else { 0 };
        2 * ROWS * size_of::<isize>() + panel * size_of::<f32>()
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
        // SAFETY: scratch holds two tables of `ROWS` offsets, then a panel; the caller vouches for the rest.
        unsafe {
            let tables = scratch.cast::<isize>();
            let panel = tables.add(2 * ROWS).cast::<f32>();
            let tables = std::slice::from_raw_parts_mut(tables, 2 * ROWS);
            match self.partition {
                Partition::Rows => {
                    let mut at = begin;
                    while at < end {
                        let (batch, row) = (at / self.rows, at % self.rows);
                        let rows = (end - at).min(self.rows - row);
                        for split in 0..self.runs.splits() {
                            self.rectangle(
                                buffers,
                                tables,
                                panel,
                                split,
                                batch,
                                row..row + rows,
                                0..self.columns,
                            );
                        }
                        at += rows;
                    }
                }
                Partition::Tiles => {
                    // Tiles follow one another along the shorter side, so that a range reads little of the longer operand.
                    let (tall, wide) = (self.tile_rows(), self.tile_columns());
                    let down_first = tall <= wide;
                    let (each, line) = (tall * wide, if down_first { tall } else { wide });
                    let mut at = begin;
                    while at < end {
                        let (split, batch) = (at / each / self.batches, at / each % self.batches);
                        let (first, along) = (at % each / line, at % line);
                        let count = (end - at).min(line - along);
                        let (rows, columns) = if down_first {
                            (along..along + count, first..first + 1)
                        } else {
                            (first..first + 1, along..along + count)
                        };
                        let cut = |range: std::ops::Range<usize>, size: usize, most: usize| {
                            range.start * size..(range.end * size).min(most)
                        };
                        let rows = cut(rows, TILE_ROWS, self.rows);
                        let columns = cut(columns, PANEL, self.columns);
                        self.rectangle(buffers, tables, panel, split, batch, rows, columns);
                        at += count;
                    }
                }
            }
        }
    }

    /// Computes a rectangle of C, whose first column starts a panel.
    unsafe fn rectangle(
        &self,
        buffers: &[*mut u8],
        tables: &mut [isize],
        panel: *mut f32,
        split: usize,
        batch: usize,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) {
        let at = Layout::new(&self.batch).at(batch);
        let layout = Layout::new(&self.m);
        let a = buffers[0].cast::<f32>().cast_const().wrapping_offset(at.a);
        let b = buffers[1].cast::<f32>().cast_const();
        let b = match self.b_column {
            Some(step) => b.wrapping_offset(at.b + columns.start as isize * step),
            None => b.wrapping_offset(at.b + (columns.start / PANEL) as isize * self.b_panel),
        };
        let c = buffers[2].cast::<f32>().wrapping_offset(at.c);
        let c = c.wrapping_add(split * self.c_size + columns.start);
        let (a_rows, c_rows) = tables.split_at_mut(ROWS);
        let blocks = rows.len().div_ceil(ROWS);
        for block in 0..blocks {
            let start = rows.start + rows.len() * block / blocks;
            let count = rows.start + rows.len() * (block + 1) / blocks - start;
            layout.fill(start, &mut a_rows[..count], &mut c_rows[..count]);
            for (index, run) in self.runs.of(split).enumerate() {
                let block = Block {
                    a,
                    a_rows: &a_rows[..count],
                    a_step: self.runs.a_step,
                    adjacent: self.adjacent,
                    b,
                    b_step: self.runs.b_step,
                    b_panel: self.b_panel,
                    segments: run.segments,
                    length: run.length,
                    c,
                    c_rows: &c_rows[..count],
                    columns: columns.len(),
                    accumulate: index > 0,
                };
                // SAFETY: a part of the contraction, for whose operands the caller vouches.
                unsafe {
                    match self.b_column {
                        Some(step) => self.run_packing(block, step, panel),
                        None => block.run(self.level),
                    }
                }
            }
        }
    }

    /// Runs a block whose B has any stride along n: each panel of it is packed first.
    unsafe fn run_packing(&self, block: Block<'_>, step: isize, panel: *mut f32) {
        // In the panel, segment follows segment.
        let rows = block.length as isize;
        if block.segments.is_empty() {
            // SAFETY: an empty sum reads nothing; it writes zeros.
            unsafe { block.run(self.level) };
        }
        for first in (0..block.columns).step_by(PANEL) {
            let columns = PANEL.min(block.columns - first);
            for (index, segment) in block.segments.iter().enumerate() {
                let source = block.b.wrapping_offset(segment.b + first as isize * step);
                let target = panel.wrapping_add(index * block.length * PANEL);
                // SAFETY: scratch has room for the longest block; the caller vouches for B.
                unsafe { super::pack::panel(source, self.runs.b_step, step, block.length, columns, target) };
            }
            for (index, segment) in block.segments.iter().enumerate() {
                let segment = [Segment { a: segment.a, b: index as isize * rows * PANEL as isize }];
                let part = Block {
                    b: panel.cast_const(),
                    b_step: PANEL as isize,
                    b_panel: PANEL as isize,
                    segments: &segment,
                    c: block.c.wrapping_add(first),
                    columns,
                    accumulate: block.accumulate || index > 0,
                    ..block
                };
                // SAFETY: a part of the block.
                unsafe { part.run(self.level) };
            }
        }
    }
}
