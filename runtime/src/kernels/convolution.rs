//! Convolutions: which pixels, taps and channels are the rows, runs and columns of the register tile.
//!
//! | kind | rows of a tile | k | B |
//! |---|---|---|---|
//! | forward | output pixels, across image rows | taps × input channels | w itself |
//! | data gradient | the input pixels that a tap reaches | output channels, tap after tap | w, packed tap by tap |
//! | weight gradient | taps × input channels | output pixels | dy itself |
//!
//! A forward convolution with padding reads a zero-bordered copy of the input rows that it needs; the gradients visit
//! valid taps only. Depthwise convolutions are in [`super::depthwise`]; other grouped ones loop over groups.

use super::block::Block;
use super::isa::Level;
use super::resolve::{self, Axis, Layout};
use super::runs::{KC, Run, Runs};
use super::tile::Segment;
use crate::program::{Convolution, ConvolutionKind, PANEL, TILE_ROWS};
use std::ops::Range;

/// Pixels whose offsets are worked out at a time.
const PIXELS: usize = 240;
/// Output rows that are looked at together in a forward convolution.
const STRIP_ROWS: usize = 64;
/// Bytes of a zero-bordered copy, at most (but for one output row).
const STRIP_BYTES: usize = 128 << 10;
/// Input pixels whose gradients are summed at a time, so that they stay in the first caches.
const DATA_PIXELS: usize = 120;

/// The numbers of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub n: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub ci: usize,
    pub co: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Geometry {
    fn resolve(kernel: &Convolution, dims: &[i64]) -> Result<Geometry, String> {
        let both = |pair: [_; 2]| -> Result<[usize; 2], String> {
            Ok([resolve::extent(pair[0], dims)?, resolve::extent(pair[1], dims)?])
        };
        let geometry = Geometry {
            n: resolve::extent(kernel.n, dims)?,
            input: both(kernel.input)?,
            output: both(kernel.output)?,
            ci: resolve::extent(kernel.input_channels, dims)?,
            co: resolve::extent(kernel.output_channels, dims)?,
            kernel: both(kernel.kernel)?,
            stride: kernel.stride.map(|stride| stride as usize),
            padding: both(kernel.padding)?,
            dilation: kernel.dilation.map(|dilation| dilation as usize),
            groups: resolve::extent(kernel.groups, dims)?,
        };
        let Geometry { n, input, output, ci, co, kernel, stride, dilation, groups, .. } = geometry;
        if groups == 0 || ci % groups != 0 || co % groups != 0 {
            return Err(format!("{groups} groups don't divide {ci} and {co} channels"));
        }
        if stride.contains(&0) || dilation.contains(&0) {
            return Err("a convolution's strides and dilations must be positive".into());
        }
        resolve::product_of([n, input[0], input[1], ci])?;
        resolve::product_of([n, output[0], output[1], co])?;
        resolve::product_of([kernel[0], kernel[1], ci / groups, co.next_multiple_of(PANEL)])?;
        for axis in 0..2 {
            let reach = [output[axis], stride[axis]].into_iter().chain([kernel[axis], dilation[axis]]);
            if reach.chain([geometry.padding[axis]]).any(|value| value > 1 << 30) {
                return Err("a convolution is too large".into());
            }
        }
        Ok(geometry)
    }

    /// Input channels of a group.
    pub fn group_inputs(&self) -> usize {
        self.ci / self.groups
    }

    /// Output channels of a group.
    pub fn group_outputs(&self) -> usize {
        self.co / self.groups
    }

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows or columns of input from the first tap to the last, inclusive.
    fn reach(&self, axis: usize) -> usize {
        self.kernel[axis].saturating_sub(1) * self.dilation[axis] + 1
    }

    /// Whether no tap ever falls outside the input.
    fn unpadded(&self) -> bool {
        (0..2).all(|axis| {
            let last = self.output[axis].saturating_sub(1) * self.stride[axis] + self.reach(axis);
            self.padding[axis] == 0 && last <= self.input[axis]
        })
    }

    /// The output positions that tap `tap` takes from inside the input.
    pub fn valid(&self, axis: usize, tap: usize) -> Range<usize> {
        let (stride, offset, padding) = (self.stride[axis], tap * self.dilation[axis], self.padding[axis]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + padding).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        first.min(end)..end
    }

    /// The input position of a valid pair of output position and tap.
    pub fn source(&self, axis: usize, output: usize, tap: usize) -> usize {
        output * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// The output position that takes an input position through a tap.
    pub fn target(&self, axis: usize, input: usize, tap: usize) -> Option<usize> {
        let offset = (input + self.padding[axis]).checked_sub(tap * self.dilation[axis])?;
        let output = offset / self.stride[axis];
        (offset % self.stride[axis] == 0 && output < self.output[axis]).then_some(output)
    }
}

#[derive(Debug)]
pub struct Bound {
    level: Level,
    geometry: Geometry,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Forward(Forward),
    Data(Data),
    Weights(Weights),
    Depthwise(super::depthwise::Depthwise),
}

impl Bound {
    pub fn bind(kernel: &Convolution, dims: &[i64], level: Level) -> Result<Bound, String> {
        let geometry = Geometry::resolve(kernel, dims)?;
        let splits = kernel.splits.max(1) as usize;
        let depthwise = geometry.groups == geometry.ci && geometry.ci == geometry.co && geometry.ci > 1;
        let form = if depthwise {
            Form::Depthwise(super::depthwise::Depthwise { kind: kernel.kind, splits })
        } else {
            match kernel.kind {
                ConvolutionKind::Forward => Form::Forward(Forward::new(&geometry)?),
                ConvolutionKind::Data => Form::Data(Data::new(&geometry)?),
                ConvolutionKind::Weights => Form::Weights(Weights::new(&geometry, splits)?),
            }
        };
        Ok(Bound { level, geometry, form })
    }

    pub fn extent(&self) -> usize {
        let g = &self.geometry;
        match &self.form {
            Form::Forward(_) => g.n * g.output[0],
            Form::Data(_) => g.n * g.input[0],
            Form::Weights(weights) => weights.splits() * weight_tiles(g),
            Form::Depthwise(depthwise) => match depthwise.kind {
                ConvolutionKind::Forward => g.n * g.output[0],
                ConvolutionKind::Data => g.n * g.input[0],
                ConvolutionKind::Weights => depthwise.splits * weight_tiles(g),
            },
        }
    }

    pub fn scratch_bytes(&self) -> usize {
        match &self.form {
            Form::Forward(forward) => {
                size_of::<isize>() * (2 * PIXELS + STRIP_ROWS) + size_of::<f32>() * forward.strip
            }
            Form::Data(data) => size_of::<isize>() * 2 * PIXELS + size_of::<f32>() * data.packed,
            Form::Weights(_) => size_of::<isize>() * 2 * TILE_ROWS,
            Form::Depthwise(_) => 0,
        }
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], range: Range<usize>, scratch: *mut u8) {
        let g = &self.geometry;
        let (a, b) = (buffers[0].cast::<f32>().cast_const(), buffers[1].cast::<f32>().cast_const());
        let c = buffers[2].cast::<f32>();
        // SAFETY: the caller's own promises.
        unsafe {
            match &self.form {
                Form::Forward(forward) => forward.run(self.level, g, [a, b], c, range, scratch),
                Form::Data(data) => data.run(self.level, g, [a, b], c, range, scratch),
                Form::Weights(weights) => weights.run(self.level, g, [a, b], c, range, scratch),
                Form::Depthwise(depthwise) => {
                    super::depthwise::run(self.level, depthwise, g, [a, b], c, range.start, range.end)
                }
            }
        }
    }
}

/// Tiles of one split of a weight gradient.
pub fn weight_tiles(g: &Geometry) -> usize {
    (g.taps() * g.group_inputs()).div_ceil(TILE_ROWS) * g.co.div_ceil(PANEL)
}

#[derive(Debug)]
struct Forward {
    runs: Runs,
    /// Output rows in a strip.
    rows: usize,
    /// Elements of a zero-bordered copy; 0 if the input is read directly.
    strip: usize,
    /// Elements from one row that A is read from to the next.
    row: usize,
}

impl Forward {
    fn new(g: &Geometry) -> Result<Forward, String> {
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

    unsafe fn run(
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
                let (mut row, mut ox) = (p0 / ow, p0 % ow);
                for i in 0..count {
                    a_rows[i] = starts[row] + (ox * g.stride[1] * g.ci) as isize;
                    c_rows[i] = (((rows.start + row) * ow + ox) * g.co) as isize;
                    ox += 1;
                    if ox == ow {
                        (row, ox) = (row + 1, 0);
                    }
                }
                for group in 0..g.groups {
                    for (index, run) in self.runs.of(0).enumerate() {
                        let block = Block {
                            a: a.wrapping_add(group * g.group_inputs()),
                            a_rows: &a_rows[..count],
                            a_step: self.runs.a_step,
                            adjacent: g.ci == 1 && g.stride[1] == 1,
                            b: w.wrapping_add(group * g.group_outputs()),
                            b_step: self.runs.b_step,
                            b_panel: PANEL as isize,
                            segments: run.segments,
                            length: run.length,
                            c: y.wrapping_add(group * g.group_outputs()),
                            c_rows: &c_rows[..count],
                            columns: g.group_outputs(),
                            accumulate: index > 0,
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
                            let source = x.add((image * ih + iy) * iw * g.ci);
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

#[derive(Debug)]
struct Data {
    runs: Runs,
    /// Elements of one group's packed weights, packed here; 0 if they come packed.
    packed: usize,
}

impl Data {
    fn new(g: &Geometry) -> Result<Data, String> {
        let axis = Axis { extent: g.group_outputs(), a: 1, b: PANEL as isize, c: 0 };
        let panels = g.group_inputs().next_multiple_of(PANEL);
        let packed = resolve::product_of([g.taps(), g.group_outputs(), panels])?;
        Ok(Data { runs: Runs::new(vec![axis], 1)?, packed: if g.groups > 1 { packed } else { 0 } })
    }

    unsafe fn run(
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
            dx.add(range.start * row).write_bytes(0, range.len() * row);
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
                            super::pack::panel(source, 1, g.co as isize, g.group_outputs(), columns, panel);
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
                        b: w.wrapping_add(tap * panels * g.group_outputs()),
                        b_step: self.runs.b_step,
                        b_panel: (PANEL * g.group_outputs()) as isize,
                        segments: run.segments,
                        length: run.length,
                        c: dx.wrapping_add(group * g.group_inputs()),
                        c_rows,
                        columns: g.group_inputs(),
                        accumulate: true,
                    };
                    // SAFETY: only pixels inside dy and dx are listed; the caller vouches for the operands.
                    unsafe { block.run(level) };
                }
            };
            for row in rows.clone() {
                let (image, iy) = (row / ih, row % ih);
                let Some(oy) = g.target(0, iy, ky) else { continue };
                for ox in across.clone() {
                    if count == PIXELS {
                        flush(&a_rows[..count], &c_rows[..count]);
                        count = 0;
                    }
                    a_rows[count] = (((image * oh + oy) * ow + ox) * g.co) as isize;
                    c_rows[count] = ((row * iw + g.source(1, ox, kx)) * g.ci) as isize;
                    count += 1;
                }
            }
            flush(&a_rows[..count], &c_rows[..count]);
        }
    }
}

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
struct Weights {
    unpadded: bool,
    /// The blocks of split `s` are `splits[s]..splits[s + 1]`.
    splits: Vec<usize>,
    taps: Vec<TapRuns>,
    /// The axes of a row: ky, kx, input channel; strides in x and dw.
    rows: [Axis; 3],
}

impl Weights {
    fn new(g: &Geometry, splits: usize) -> Result<Weights, String> {
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
        Ok(Weights { unpadded, splits: starts, taps, rows })
    }

    fn splits(&self) -> usize {
        self.splits.len() - 1
    }

    unsafe fn run(
        &self,
        level: Level,
        g: &Geometry,
        [x, dy]: [*const f32; 2],
        dw: *mut f32,
        range: Range<usize>,
        scratch: *mut u8,
    ) {
        // SAFETY: scratch holds two tables of `TILE_ROWS` offsets.
        let tables = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<isize>(), 2 * TILE_ROWS) };
        let m = g.taps() * g.group_inputs();
        let across = g.co.div_ceil(PANEL);
        let each = weight_tiles(g);
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
                    let wide = (end - at).min(across - left);
                    let rows = down * TILE_ROWS..((down + 1) * TILE_ROWS).min(m);
                    let columns = left * PANEL..((left + wide) * PANEL).min(g.co);
                    // SAFETY: as for this function.
                    unsafe {
                        self.rectangle(level, g, [x, dy], dw, rows, columns, block, accumulate, tables)
                    };
                    at += wide;
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
        tables: &mut [isize],
    ) {
        let (a_rows, c_rows) = tables.split_at_mut(TILE_ROWS);
        let (a_rows, c_rows) = (&mut a_rows[..rows.len()], &mut c_rows[..rows.len()]);
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
                let next = columns.end.min((group + 1) * co);
                let block = Block {
                    a: x.wrapping_add(group * ci),
                    a_rows: &a_rows[part.clone()],
                    a_step: (g.stride[1] * g.ci) as isize,
                    adjacent: true,
                    b: dy.wrapping_add(column),
                    b_step: g.co as isize,
                    b_panel: PANEL as isize,
                    segments: run.segments,
                    length: run.length,
                    c: dw.wrapping_add(column),
                    c_rows: &c_rows[part.clone()],
                    columns: next - column,
                    accumulate,
                };
                // SAFETY: the segments list valid pixels only; the caller vouches for the operands.
                unsafe { block.run(level) };
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
        Run { segments: &self.segments[first..first + count], length }
    }
}
