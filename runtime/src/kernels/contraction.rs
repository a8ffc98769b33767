//! Contractions: resolves the strides of a [`Contraction`] and runs [`Block`]s over ranges of rows or tiles.

use super::block::Block;
use super::isa::Level;
use super::resolve::{self, Axis, Layout};
use super::runs::Runs;
use crate::program::{Contraction, PANEL, Partition, TILE_ROWS};

/// Rows whose offsets are worked out at a time.
const ROWS: usize = 240;

#[derive(Debug)]
pub struct Bound {
    level: Level,
    batch: Vec<Axis>,
    batches: usize,
    m: Vec<Axis>,
    rows: usize,
    columns: usize,
    b_panel: isize,
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
        if columns > 1 && !kernel.packed && n.b != 1 {
            return Err("a contraction's B must have unit stride along n, or be packed".into());
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
        Ok(Bound {
            level,
            batches: resolve::product(&batch)?,
            rows: resolve::product(&m)?,
            columns,
            b_panel: if kernel.packed { (k_size * PANEL) as isize } else { PANEL as isize },
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
        2 * ROWS * size_of::<isize>()
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
        // SAFETY: scratch holds two tables of `ROWS` offsets; the caller vouches for the rest.
        unsafe {
            let tables = std::slice::from_raw_parts_mut(scratch.cast::<isize>(), 2 * ROWS);
            match self.partition {
                Partition::Rows => {
                    let mut at = begin;
                    while at < end {
                        let (batch, row) = (at / self.rows, at % self.rows);
                        let rows = (end - at).min(self.rows - row);
                        for split in 0..self.runs.splits() {
                            self.rectangle(buffers, tables, split, batch, row..row + rows, 0..self.columns);
                        }
                        at += rows;
                    }
                }
                Partition::Tiles => {
                    let across = self.tile_columns();
                    let each = self.tile_rows() * across;
                    let mut at = begin;
                    while at < end {
                        let (split, batch) = (at / each / self.batches, at / each % self.batches);
                        let (down, left) = (at % each / across, at % across);
                        // Whole rows of tiles make one rectangle, if the range starts a row; else the rest of this row.
                        let left_of_range = (end - at).min(each - at % each);
                        let (tall, wide) = match (left, left_of_range / across) {
                            (0, tall @ 1..) => (tall, across),
                            _ => (1, left_of_range.min(across - left)),
                        };
                        let rows = down * TILE_ROWS..((down + tall) * TILE_ROWS).min(self.rows);
                        let columns = left * PANEL..((left + wide) * PANEL).min(self.columns);
                        self.rectangle(buffers, tables, split, batch, rows, columns);
                        at += tall * wide;
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
        split: usize,
        batch: usize,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
    ) {
        let at = Layout::new(&self.batch).at(batch);
        let layout = Layout::new(&self.m);
        let a = buffers[0].cast::<f32>().cast_const().wrapping_offset(at.a);
        let b = buffers[1].cast::<f32>().cast_const();
        let b = b.wrapping_offset(at.b + (columns.start / PANEL) as isize * self.b_panel);
        let c = buffers[2].cast::<f32>().wrapping_offset(at.c);
        let c = c.wrapping_add(split * self.c_size + columns.start);
        let (a_rows, c_rows) = tables.split_at_mut(ROWS);
        for start in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - start);
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
                unsafe { block.run(self.level) };
            }
        }
    }
}
