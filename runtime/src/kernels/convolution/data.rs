//! Data gradient: for each tap, the input pixels that it reaches gain a product over output channels. So no term is
//! computed that is not needed, at any stride.

use super::PIXELS;
use super::geometry::Geometry;
use crate::kernels::block::{Block, Kept};
use crate::kernels::isa::Level;
use crate::kernels::resolve::{self, Axis};
use crate::kernels::runs::Runs;
use crate::program::PANEL;
use std::ops::Range;

/// Input pixels whose gradients are summed at a time, so that they stay in the first caches.
const DATA_PIXELS: usize = 120;

#[derive(Debug)]
pub struct Data {
    runs: Runs,
    /// Elements of one group's packed weights, packed here; 0 if they come packed.
    packed: usize,
}

impl Data {
    pub fn new(g: &Geometry) -> Result<Data, String> {
        let axis = Axis { extent: g.group_outputs(), a: 1, b: PANEL as isize, c: 0 };
        let panels = g.group_inputs().next_multiple_of(PANEL);
        let packed = resolve::product_of([g.taps(), g.group_outputs(), panels])?;
        Ok(Data { runs: Runs::new(vec![axis], 1)?, packed: if g.groups > 1 { packed } else { 0 } })
    }

    pub fn scratch_bytes(&self) -> usize {
        size_of::<isize>() * 2 * PIXELS + size_of::<f32>() * self.packed
    }

    /// # Safety
    /// The operands must cover the geometry, scratch what `scratch_bytes` says.
    pub unsafe fn run(
        &self,
        level: Level,
        g: &Geometry,
        [dy, w]: [*const f32; 2],
        dx: *mut f32,
        range: Range<usize>,
        scratch: *mut u8,
    ) {
        let row = g.input[1] * g.ci;
        // SAFETY: scratch is as large as `scratch_bytes` says; the range's rows of dx are this call's own.
        let (tables, packed) = unsafe {
            dx.wrapping_add(range.start * row).write_bytes(0, range.len() * row);
            let tables = scratch.cast::<isize>();
            (std::slice::from_raw_parts_mut(tables, 2 * PIXELS), tables.add(2 * PIXELS).cast::<f32>())
        };
        let rows = (DATA_PIXELS / g.input[1].max(1)).max(1);
        for group in 0..g.groups {
            let w = if self.packed > 0 {
                let group_w = w.wrapping_add(group * g.group_outputs());
                for tap in 0..g.taps() {
                    let tap_size = g.group_inputs() * g.co;
                    let panels = g.group_inputs().div_ceil(PANEL);
                    for panel in 0..panels {
                        let at = (tap * panels + panel) * g.group_outputs() * PANEL;
                        let source = group_w.wrapping_add(tap * tap_size + panel * PANEL * g.co);
                        let columns = PANEL.min(g.group_inputs() - panel * PANEL);
                        // SAFETY: scratch has room for a group's panels; the caller vouches for w.
                        unsafe {
                            let panel = packed.add(at);
                            crate::kernels::pack::panel(
                                source,
                                1,
                                g.co as isize,
                                g.group_outputs(),
                                columns,
                                panel,
                            );
                        }
                    }
                }
                packed.cast_const()
            } else {
                w
            };
            for first in range.clone().step_by(rows) {
                let chunk = first..(first + rows).min(range.end);
                // SAFETY: as for this function.
                unsafe { self.chunk(level, g, [dy, w], dx, chunk, group, tables) };
            }
        }
    }

    /// Adds what every tap brings to some input rows of a group.
    unsafe fn chunk(
        &self,
        level: Level,
        g: &Geometry,
        [dy, w]: [*const f32; 2],
        dx: *mut f32,
        rows: Range<usize>,
        group: usize,
        tables: &mut [isize],
    ) {
        let ([ih, iw], [oh, ow]) = (g.input, g.output);
        let panels = g.group_inputs().div_ceil(PANEL) * PANEL;
        let (a_rows, c_rows) = tables.split_at_mut(PIXELS);
        for tap in 0..g.taps() {
            let [ky, kx] = [tap / g.kernel[1], tap % g.kernel[1]];
            let across = g.valid(1, kx);
            let mut count = 0;
            let flush = |a_rows: &[isize], c_rows: &[isize]| {
                for run in self.runs.of(0) {
                    let block = Block {
                        a: dy.wrapping_add(group * g.group_outputs()),
                        a_rows,
                        a_step: self.runs.a_step,
                        adjacent: false,
                        strip: None,
                        b: w.wrapping_add(tap * panels * g.group_outputs()),
                        kept: Kept::WIDE,
                        b_step: self.runs.b_step,
                        b_panel: (PANEL * g.group_outputs()) as isize,
                        segments: run.segments,
                        length: run.length,
                        c: dx.wrapping_add(group * g.group_inputs()),
                        c_rows,
                        columns: g.group_inputs(),
                        accumulate: true,
                        then: None,
                    };
                    // SAFETY: only pixels inside dy and dx are listed; the caller vouches for the operands.
                    unsafe { block.run(level) };
                }
            };
            for row in rows.clone() {
                let (image, iy) = (row / ih, row % ih);
                let Some(oy) = g.target(0, iy, ky) else { continue };
                let mut first = across.start;
                while first < across.end {
                    if count == PIXELS {
                        flush(&a_rows[..count], &c_rows[..count]);
                        count = 0;
                    }
                    let part = count..count + (across.end - first).min(PIXELS - count);
                    let a = ((image * oh + oy) * ow + first) * g.co;
                    let c = (row * iw + g.source(1, first, kx)) * g.ci;
                    for (i, offset) in a_rows[part.clone()].iter_mut().enumerate() {
                        *offset = (a + i * g.co) as isize;
                    }
                    for (i, offset) in c_rows[part.clone()].iter_mut().enumerate() {
                        *offset = (c + i * g.stride[1] * g.ci) as isize;
                    }
                    first += part.len();
                    count = part.end;
                }
            }
            flush(&a_rows[..count], &c_rows[..count]);
        }
    }
}
