//! Forward: rows are output pixels, across image rows; k runs over taps and input channels; B is w itself.

use super::PIXELS;
use super::geometry::Geometry;
use crate::kernels::block::{Block, Kept};
use crate::kernels::isa::Level;
use crate::kernels::resolve::{self, Axis};
use crate::kernels::runs::Runs;
use crate::program::PANEL;
use std::ops::Range;

/// Output rows that are looked at together.
const STRIP_ROWS: usize = 64;
/// Bytes of a zero-bordered copy, at most (but for one output row).
const STRIP_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub struct Forward {
    runs: Runs,
    /// Output rows in a strip.
    rows: usize,
    /// Elements of a zero-bordered copy; 0 if the input is read directly.
    strip: usize,
    /// Elements from one row that A is read from to the next.
    row: usize,
}

impl Forward {
    pub fn new(g: &Geometry) -> Result<Forward, String> {
        let copied = !g.unpadded();
        let width =
            if copied { g.output[1].saturating_sub(1) * g.stride[1] + g.reach(1) } else { g.input[1] };
        let row = resolve::product_of([width, g.ci])?;
        // A strip of several output rows may straddle images, each part of which needs rows of its own.
        let strip_rows = |rows: usize| {
            let parts = rows.div_ceil(g.output[0].max(1)) + 1;
            rows * g.stride[0] + parts.min(rows) * g.reach(0).saturating_sub(g.stride[0])
        };
        let fits = |rows: usize| strip_rows(rows) * row * size_of::<f32>() <= STRIP_BYTES;
        let rows = if copied {
            (2..=STRIP_ROWS).take_while(|&rows| fits(rows)).last().unwrap_or(1)
        } else {
            STRIP_ROWS
        };
        let (ci, co) = (g.group_inputs(), g.co as isize);
        let tap = ci as isize * co;
        let axes = vec![
            Axis {
                extent: g.kernel[0],
                a: (g.dilation[0] * row) as isize,
                b: tap * g.kernel[1] as isize,
                c: 0,
            },
            Axis { extent: g.kernel[1], a: (g.dilation[1] * g.ci) as isize, b: tap, c: 0 },
            Axis { extent: ci, a: 1, b: co, c: 0 },
        ];
        let strip = if copied { resolve::product_of([strip_rows(rows), row])? } else { 0 };
        Ok(Forward { runs: Runs::new(axes, 1)?, rows, strip, row })
    }

    pub fn scratch_bytes(&self) -> usize {
        size_of::<isize>() * (2 * PIXELS + STRIP_ROWS) + size_of::<f32>() * self.strip
    }

    /// # Safety
    /// The operands must cover the geometry, scratch what `scratch_bytes` says.
    pub unsafe fn run(
        &self,
        level: Level,
        g: &Geometry,
        [x, w]: [*const f32; 2],
        y: *mut f32,
        range: Range<usize>,
        scratch: *mut u8,
    ) {
        let [_, ow] = g.output;
        // SAFETY: scratch is as large as `scratch_bytes` says, and holds the tables first.
        let (tables, strip) = unsafe {
            let tables = scratch.cast::<isize>();
            let strip = tables.add(2 * PIXELS + STRIP_ROWS).cast::<f32>();
            (std::slice::from_raw_parts_mut(tables, 2 * PIXELS + STRIP_ROWS), strip)
        };
        let (starts, tables) = tables.split_at_mut(STRIP_ROWS);
        let (a_rows, c_rows) = tables.split_at_mut(PIXELS);
        for first in range.clone().step_by(self.rows) {
            let rows = first..(first + self.rows).min(range.end);
            let a = if self.strip > 0 {
                // SAFETY: the strip has room for the rows that `rows` need.
                unsafe { self.copy(g, x, strip, rows.clone(), starts) };
                strip.cast_const()
            } else {
                for (start, row) in starts.iter_mut().zip(rows.clone()) {
                    let (image, oy) = (row / g.output[0], row % g.output[0]);
                    *start = ((image * g.input[0] + oy * g.stride[0]) * self.row) as isize;
                }
                x
            };
            let pixels = 0..rows.len() * ow;
            for p0 in pixels.clone().step_by(PIXELS) {
                let count = PIXELS.min(pixels.end - p0);
                let mut done = 0;
                while done < count {
                    let (row, ox) = ((p0 + done) / ow, (p0 + done) % ow);
                    let part = done..(done + ow - ox).min(count);
                    let (a, c) = (starts[row], ((rows.start + row) * ow * g.co) as isize);
                    for (i, offset) in a_rows[part.clone()].iter_mut().enumerate() {
                        *offset = a + ((ox + i) * g.stride[1] * g.ci) as isize;
                    }
                    for (i, offset) in c_rows[part.clone()].iter_mut().enumerate() {
                        *offset = c + ((ox + i) * g.co) as isize;
                    }
                    done = part.end;
                }
                for group in 0..g.groups {
                    for (index, run) in self.runs.of(0).enumerate() {
                        let block = Block {
                            a: a.wrapping_add(group * g.group_inputs()),
                            a_rows: &a_rows[..count],
                            a_step: self.runs.a_step,
                            adjacent: false,
                            strip: None,
                            b: w.wrapping_add(group * g.group_outputs()),
                            kept: Kept::WIDE,
                            b_step: self.runs.b_step,
                            b_panel: PANEL as isize,
                            segments: run.segments,
                            length: run.length,
                            c: y.wrapping_add(group * g.group_outputs()),
                            c_rows: &c_rows[..count],
                            columns: g.group_outputs(),
                            accumulate: index > 0,
                            then: None,
                        };
                        // SAFETY: every tap lies in the input or in the strip; the caller vouches for the operands.
                        unsafe { block.run(level) };
                    }
                }
            }
        }
    }

    /// Copies the input rows that the output rows `rows` need, with zeros where they reach out of the input, and says
    /// where each output row starts.
    unsafe fn copy(
        &self,
        g: &Geometry,
        x: *const f32,
        strip: *mut f32,
        rows: Range<usize>,
        starts: &mut [isize],
    ) {
        let [ih, iw] = g.input;
        let width = self.row / g.ci.max(1);
        // Columns of the strip that lie inside the input.
        let inside = g.padding[1].min(width)..(iw + g.padding[1]).min(width).max(g.padding[1].min(width));
        let mut at = 0;
        let mut row = rows.start;
        while row < rows.end {
            let (image, oy) = (row / g.output[0], row % g.output[0]);
            let count = (g.output[0] - oy).min(rows.end - row);
            for i in 0..count {
                starts[row + i - rows.start] = ((at + i * g.stride[0]) * self.row) as isize;
            }
            for i in 0..(count - 1) * g.stride[0] + g.reach(0) {
                // SAFETY: `at` counts rows that `Forward::new` made room for; the source row is inside the input.
                unsafe {
                    let target = strip.add(at * self.row);
                    match (oy * g.stride[0] + i).checked_sub(g.padding[0]) {
                        Some(iy) if iy < ih && !inside.is_empty() => {
                            let source = x.wrapping_add((image * ih + iy) * iw * g.ci);
                            target.write_bytes(0, inside.start * g.ci);
                            let copied = target.add(inside.start * g.ci);
                            copied.copy_from_nonoverlapping(source, inside.len() * g.ci);
                            target.add(inside.end * g.ci).write_bytes(0, (width - inside.end) * g.ci);
                        }
                        _ => target.write_bytes(0, self.row),
                    }
                }
                at += 1;
            }
            row += count;
        }
    }
}
