//! Convolutions into few channels: images from features, gradients of images.
//!
//! A register tile whose columns are one to four channels would leave most lanes idle. So the columns are all taps at once:
//! `T[pixel, (tap, c)] = Σ_k source[pixel, k] · w[tap, k, c]` is one product over the source's pixels, and each target element
//! then gathers its taps' terms in order. A forward convolution has source x and target y (stride 1 only, since other strides
//! would compute terms that nobody takes); a data gradient has source dy and target dx.

use super::PIXELS;
use super::geometry::Geometry;
use crate::kernels::block::{Block, Kept};
use crate::kernels::isa::Level;
use crate::kernels::resolve::{self, Axis};
use crate::kernels::runs::Runs;
use crate::program::{ConvolutionKind, PANEL};
use std::ops::Range;

/// So few channels are narrow.
const CHANNELS: usize = 4;
/// Bytes of terms that are held at a time, at most (but for one target row).
const TERM_BYTES: usize = 192 << 10;

#[derive(Debug)]
pub struct Narrow {
    kind: ConvolutionKind,
    runs: Runs,
    /// Channels of source and target.
    depth: usize,
    channels: usize,
    /// Heights and widths of source and target.
    source: [usize; 2],
    target: [usize; 2],
    /// Elements from one row of the weights, as they are given, to the next.
    weight_step: usize,
    /// Target rows that are worked on together, and the elements of their terms.
    rows: usize,
    terms: usize,
}

impl Narrow {
    /// `None` if the convolution is not narrow.
    pub fn new(kind: ConvolutionKind, g: &Geometry) -> Result<Option<Narrow>, String> {
        let (depth, channels, source, target, weight_step) = match kind {
            ConvolutionKind::Forward if g.stride == [1, 1] => (g.ci, g.co, g.input, g.output, g.co),
            ConvolutionKind::Data => (g.co, g.ci, g.output, g.input, PANEL),
            _ => return Ok(None),
        };
        if g.groups > 1 || channels > CHANNELS || channels == 0 || depth < 2 * CHANNELS || g.taps() < 2 {
            return Ok(None);
        }
        // The taps of a few target rows reach so many source rows.
        let reached = |rows: usize| ((rows + g.reach(0)).div_ceil(g.stride[0]) + 1).min(source[0].max(1));
        let row = resolve::product_of([source[1], g.taps(), channels])?;
        let fits = |rows: &usize| reached(*rows) * row * size_of::<f32>() <= TERM_BYTES;
        let rows = (2..=target[0]).take_while(fits).last().unwrap_or(1);
        let terms = resolve::product_of([reached(rows), row])?;
        let axis = Axis { extent: depth, a: 1, b: (g.taps() * channels) as isize, c: 0 };
        let runs = Runs::new(vec![axis], 1)?;
        Ok(Some(Narrow { kind, runs, depth, channels, source, target, weight_step, rows, terms }))
    }

    /// Target rows of one image.
    pub fn target_rows(&self) -> usize {
        self.target[0]
    }

    pub fn scratch_bytes(&self, g: &Geometry) -> usize {
        size_of::<isize>() * 2 * PIXELS
            + size_of::<f32>() * (self.depth * g.taps() * self.channels + self.terms)
    }

    /// The source position that a tap brings to a target position.
    fn origin(&self, g: &Geometry, axis: usize, target: usize, tap: usize) -> Option<usize> {
        match self.kind {
            ConvolutionKind::Forward => {
                g.valid(axis, tap).contains(&target).then(|| g.source(axis, target, tap))
            }
            _ => g.target(axis, target, tap),
        }
    }

    /// # Safety
    /// The operands must cover the geometry, scratch [`Narrow::scratch_bytes`].
    pub unsafe fn run(
        &self,
        level: Level,
        g: &Geometry,
        [source, w]: [*const f32; 2],
        target: *mut f32,
        range: Range<usize>,
        scratch: *mut u8,
    ) {
        let width = g.taps() * self.channels;
        // SAFETY: scratch holds the tables, the weights and the terms, one after another.
        let (tables, weights, terms) = unsafe {
            let tables = scratch.cast::<isize>();
            let weights = tables.add(2 * PIXELS).cast::<f32>();
            (std::slice::from_raw_parts_mut(tables, 2 * PIXELS), weights, weights.add(self.depth * width))
        };
        for k in 0..self.depth {
            for tap in 0..g.taps() {
                for c in 0..self.channels {
                    // SAFETY: inside the weights, given and copied.
                    unsafe {
                        *weights.add(k * width + tap * self.channels + c) =
                            *w.add((tap * self.depth + k) * self.weight_step + c);
                    }
                }
            }
        }
        let mut row = range.start;
        while row < range.end {
            let (image, first) = (row / self.target[0], row % self.target[0]);
            let count = self.rows.min(self.target[0] - first).min(range.end - row);
            let rows = first..first + count;
            let origins =
                rows.clone().flat_map(|y| (0..g.kernel[0]).filter_map(move |ky| self.origin(g, 0, y, ky)));
            let reached = origins.fold((usize::MAX, 0), |(low, end), y| (low.min(y), end.max(y + 1)));
            let reached = reached.0.min(reached.1)..reached.1;
            // SAFETY: the rows' terms have room in scratch; the caller vouches for the operands.
            unsafe {
                let image_source = source.wrapping_add(image * self.source[0] * self.source[1] * self.depth);
                self.multiply(level, image_source, weights, terms, reached.clone(), width, tables);
                for y in rows {
                    let line =
                        target.wrapping_add((image * self.target[0] + y) * self.target[1] * self.channels);
                    match self.channels {
                        1 => self.gather::<1>(g, terms, reached.start, y, line),
                        2 => self.gather::<2>(g, terms, reached.start, y, line),
                        3 => self.gather::<3>(g, terms, reached.start, y, line),
                        _ => self.gather::<CHANNELS>(g, terms, reached.start, y, line),
                    }
                }
            }
            row += count;
        }
    }

    /// The terms of some source rows of an image.
    unsafe fn multiply(
        &self,
        level: Level,
        source: *const f32,
        weights: *const f32,
        terms: *mut f32,
        rows: Range<usize>,
        width: usize,
        tables: &mut [isize],
    ) {
        let (a_rows, c_rows) = tables.split_at_mut(PIXELS);
        let start = rows.start * self.source[1];
        for first in (start..rows.end * self.source[1]).step_by(PIXELS) {
            let count = PIXELS.min(rows.end * self.source[1] - first);
            for i in 0..count {
                a_rows[i] = ((first + i) * self.depth) as isize;
                c_rows[i] = ((first + i - start) * width) as isize;
            }
            for (index, run) in self.runs.of(0).enumerate() {
                let block = Block {
                    a: source,
                    a_rows: &a_rows[..count],
                    a_step: self.runs.a_step,
                    adjacent: false,
                    strip: None,
                    b: weights,
                    kept: Kept::WIDE,
                    b_step: self.runs.b_step,
                    b_panel: PANEL as isize,
                    segments: run.segments,
                    length: run.length,
                    c: terms,
                    c_rows: &c_rows[..count],
                    columns: width,
                    accumulate: index > 0,
                    then: None,
                };
                // SAFETY: as for this function.
                unsafe { block.run(level) };
            }
        }
    }

    /// Sums the terms of one target row, tap after tap.
    unsafe fn gather<const C: usize>(
        &self,
        g: &Geometry,
        terms: *const f32,
        first: usize,
        y: usize,
        line: *mut f32,
    ) {
        let width = g.taps() * C;
        // SAFETY: origins lie in the source rows whose terms were computed; the line is the target's.
        unsafe {
            line.write_bytes(0, self.target[1] * C);
            for ky in 0..g.kernel[0] {
                let Some(from) = self.origin(g, 0, y, ky) else { continue };
                let from = terms.add((from - first) * self.source[1] * width);
                for kx in 0..g.kernel[1] {
                    // Along the row, output and input positions advance together.
                    let outputs = g.valid(1, kx);
                    if outputs.is_empty() {
                        continue;
                    }
                    let input = g.source(1, outputs.start, kx);
                    let (source, target, target_step) = match self.kind {
                        ConvolutionKind::Forward => (input, outputs.start, 1),
                        _ => (outputs.start, input, g.stride[1]),
                    };
                    let term = from.add(source * width + (ky * g.kernel[1] + kx) * C);
                    let to = line.add(target * C);
                    for i in 0..outputs.len() {
                        for c in 0..C {
                            *to.add(i * target_step * C + c) += *term.add(i * width + c);
                        }
                    }
                }
            }
        }
    }
}
