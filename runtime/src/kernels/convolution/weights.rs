//! Weight gradient: rows are taps and input channels; k runs over output pixels, image after image; B is dy itself.
//!
//! A tile's rows lie a pixel apart in x. Where that is far, the same lines of the first cache and many pages would be asked for
//! again by each tile beside it, so both operands are packed before, block by block.

use super::geometry::Geometry;
use crate::kernels::block::{Block, Kept};
use crate::kernels::isa::Level;
use crate::kernels::pack;
use crate::kernels::resolve::{Axis, Layout};
use crate::kernels::runs::{KC, Run};
use crate::kernels::tile::Segment;
use crate::program::{PANEL, TILE_ROWS};
use std::ops::Range;

/// Elements from one pixel of x to the next from which the operands are packed, if several tiles take them.
const FAR: usize = 128;
/// Rows that are worked on at a time, several tiles of the index space.
const ROWS: usize = 5 * TILE_ROWS;
/// Panels that are packed at a time.
const PANELS: usize = 8;

/// Output pixels that are summed in one chain: rows of the batch's images, and columns.
#[derive(Clone, Debug)]
struct Pixels {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// The runs of one tap (or of all taps, if none reaches out of the input), block by block.
#[derive(Debug)]
struct TapRuns {
    segments: Vec<Segment>,
    /// First segment, number and length of segments.
    blocks: Vec<(usize, usize, usize)>,
}

#[derive(Debug)]
pub struct Weights {
    unpadded: bool,
    /// The blocks of split `s` are `splits[s]..splits[s + 1]`.
    splits: Vec<usize>,
    taps: Vec<TapRuns>,
    /// The axes of a row: ky, kx, input channel; strides in x and dw.
    rows: [Axis; 3],
    /// Pixels of the longest block.
    longest: usize,
    /// Whether the operands are packed, for more columns than one tile's.
    packs: bool,
}

/// What a thread works with: tables of offsets, and the packed operands.
struct Scratch<'a> {
    a_rows: &'a mut [isize],
    c_rows: &'a mut [isize],
    panels: *mut f32,
    strips: *mut f32,
}

impl Weights {
    pub fn new(g: &Geometry, splits: usize) -> Result<Weights, String> {
        let [oh, ow] = g.output;
        let mut blocks = Vec::new();
        let mut starts = vec![0];
        let pieces = ow.div_ceil(KC).max(1);
        for split in 0..splits {
            let rows = g.n * split / splits * oh..g.n * (split + 1) / splits * oh;
            let group = (KC / ow.max(1)).max(1);
            let groups = rows.len().div_ceil(group).max(1);
            for i in 0..groups {
                let part = rows.start + rows.len() * i / groups..rows.start + rows.len() * (i + 1) / groups;
                for p in 0..pieces {
                    blocks
                        .push(Pixels { rows: part.clone(), columns: ow * p / pieces..ow * (p + 1) / pieces });
                }
            }
            starts.push(blocks.len());
        }
        let unpadded = g.unpadded();
        let taps = if unpadded {
            vec![TapRuns::new(g, &blocks, [0, 0])]
        } else {
            (0..g.taps())
                .map(|tap| TapRuns::new(g, &blocks, [tap / g.kernel[1], tap % g.kernel[1]]))
                .collect()
        };
        let ci = g.group_inputs();
        let row = (g.input[1] * g.ci * g.dilation[0]) as isize;
        let rows = [
            Axis { extent: g.kernel[0], a: row, b: 0, c: (g.kernel[1] * ci * g.co) as isize },
            Axis { extent: g.kernel[1], a: (g.ci * g.dilation[1]) as isize, b: 0, c: (ci * g.co) as isize },
            Axis { extent: ci, a: 1, b: 0, c: g.co as isize },
        ];
        let longest = taps.iter().flat_map(|runs| &runs.blocks).map(|&(_, count, length)| count * length);
        let (longest, packs) =
            (longest.max().unwrap_or(0), g.stride[1] * g.ci >= FAR && g.group_outputs() > PANEL);
        Ok(Weights { unpadded, splits: starts, taps, rows, longest, packs })
    }

    pub fn splits(&self) -> usize {
        self.splits.len() - 1
    }

    pub fn scratch_bytes(&self) -> usize {
        let floats =
            if self.packs { self.panels_room() + ROWS * (self.longest + pack::STRIP_GAP) } else { 0 };
        size_of::<isize>() * 2 * ROWS + size_of::<f32>() * floats
    }

    fn panels_room(&self) -> usize {
        PANELS * PANEL * self.longest
    }

    /// # Safety
    /// The operands must cover the geometry, scratch what `scratch_bytes` says.
    pub unsafe fn run(
        &self,
        level: Level,
        g: &Geometry,
        [x, dy]: [*const f32; 2],
        dw: *mut f32,
        range: Range<usize>,
        scratch: *mut u8,
    ) {
        let tables = scratch.cast::<isize>();
        let panels = tables.wrapping_add(2 * ROWS).cast::<f32>();
        // SAFETY: scratch holds two tables of `ROWS` offsets, then the panels and the strips.
        let (a_rows, c_rows) = unsafe { std::slice::from_raw_parts_mut(tables, 2 * ROWS) }.split_at_mut(ROWS);
        let mut scratch = Scratch { a_rows, c_rows, panels, strips: panels.wrapping_add(self.panels_room()) };
        let m = g.taps() * g.group_inputs();
        let across = g.co.div_ceil(PANEL);
        let each = g.weight_tiles();
        let mut begin = range.start;
        while begin < range.end {
            let split = begin / each;
            let end = range.end.min((split + 1) * each);
            let dw = dw.wrapping_add(split * m * g.co);
            // Block after block, so that its pixels stay in the second cache while all the range's tiles take them.
            for block in self.splits[split]..self.splits[split + 1] {
                let accumulate = block > self.splits[split];
                let mut at = begin;
                while at < end {
                    let (down, left) = (at % each / across, at % across);
                    let whole = if left == 0 { ((end - at) / across).min(ROWS / TILE_ROWS) } else { 0 };
                    let (tall, wide) = match whole {
                        0 => (1, (end - at).min(across - left)),
                        _ => (whole, across),
                    };
                    let rows = down * TILE_ROWS..((down + tall) * TILE_ROWS).min(m);
                    let columns = left * PANEL..((left + wide) * PANEL).min(g.co);
                    // SAFETY: as for this function.
                    unsafe {
                        self.rectangle(level, g, [x, dy], dw, rows, columns, block, accumulate, &mut scratch)
                    };
                    at += tall * wide;
                }
            }
            begin = end;
        }
    }

    /// Sums one block of pixels into a rectangle of the gradient, cut where groups and (with padding) taps change.
    unsafe fn rectangle(
        &self,
        level: Level,
        g: &Geometry,
        [x, dy]: [*const f32; 2],
        dw: *mut f32,
        rows: Range<usize>,
        columns: Range<usize>,
        block: usize,
        accumulate: bool,
        scratch: &mut Scratch<'_>,
    ) {
        let Scratch { a_rows, c_rows, panels, strips } = scratch;
        let (a_rows, c_rows) = (&mut a_rows[..rows.len()], &mut c_rows[..rows.len()]);
        let a_step = (g.stride[1] * g.ci) as isize;
        Layout::new(&self.rows).fill(rows.start, a_rows, c_rows);
        let (ci, co) = (g.group_inputs(), g.group_outputs());
        let mut first = rows.start;
        while first < rows.end {
            let tap = first / ci;
            let end = if self.unpadded { rows.end } else { rows.end.min((tap + 1) * ci) };
            let part = first - rows.start..end - rows.start;
            if !self.unpadded {
                // The tap's own place is in its segments.
                a_rows[part.clone()]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, row)| *row = (first % ci + i) as isize);
            }
            let run = self.taps[if self.unpadded { 0 } else { tap }].of(block);
            let mut column = columns.start;
            while column < columns.end {
                let group = column / co;
                let mut next = columns.end.min((group + 1) * co);
                if self.packs {
                    next = next.min(column + PANELS * PANEL);
                }
                let mut block = Block {
                    a: x.wrapping_add(group * ci),
                    a_rows: &a_rows[part.clone()],
                    a_step,
                    adjacent: true,
                    strip: None,
                    b: dy.wrapping_add(column),
                    kept: Kept::WIDE,
                    b_step: g.co as isize,
                    b_panel: PANEL as isize,
                    segments: run.segments,
                    length: run.length,
                    c: dw.wrapping_add(column),
                    c_rows: &c_rows[part.clone()],
                    columns: next - column,
                    accumulate,
                    then: None,
                };
                // SAFETY: the segments list valid pixels only; the caller vouches for the operands, and scratch has room for the
                // longest block.
                unsafe {
                    if self.packs && block.columns > PANEL {
                        block = pack::both(&block, level, *panels, *strips);
                    }
                    block.run(level);
                }
                column = next;
            }
            first = end;
        }
    }
}

impl TapRuns {
    fn new(g: &Geometry, blocks: &[Pixels], tap: [usize; 2]) -> TapRuns {
        let (down, across) = (g.valid(0, tap[0]), g.valid(1, tap[1]));
        let mut runs = TapRuns { segments: Vec::new(), blocks: Vec::with_capacity(blocks.len()) };
        for block in blocks {
            let start = across.start.max(block.columns.start);
            let length = across.end.min(block.columns.end).saturating_sub(start);
            let first = runs.segments.len();
            for row in block.rows.clone() {
                let (image, oy) = (row / g.output[0], row % g.output[0]);
                if length > 0 && down.contains(&oy) {
                    let iy = g.source(0, oy, tap[0]);
                    let x = (image * g.input[0] + iy) * g.input[1] + g.source(1, start, tap[1]);
                    let y = row * g.output[1] + start;
                    runs.segments.push(Segment { a: (x * g.ci) as isize, b: (y * g.co) as isize });
                }
            }
            runs.blocks.push((first, runs.segments.len() - first, length));
        }
        runs
    }

    fn of(&self, block: usize) -> Run<'_> {
        let (first, count, length) = self.blocks[block];
        Run { segments: &self.segments[first..first + count], packed: &[], length }
    }
}
