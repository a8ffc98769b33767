//! Depthwise convolutions (a group a channel): vectors over channels, a few at a time.

use super::geometry::Geometry;
use crate::kernels::isa::versions;
use crate::kernels::vector::Vector;
use crate::program::{ConvolutionKind, PANEL, TILE_ROWS};

#[derive(Clone, Copy, Debug)]
pub struct Depthwise {
    pub kind: ConvolutionKind,
    pub splits: usize,
}

versions! {
    /// Runs a range of the index space of the convolution's kind.
    ///
    /// # Safety
    /// The operands must cover the geometry, and the machine must have the level's instructions.
    pub unsafe fn run = body<V>,
    (depthwise: &Depthwise, g: &Geometry, operands: [*const f32; 2], out: *mut f32, begin: usize, end: usize)
}

/// Vectors that are summed side by side.
const VECTORS: usize = 4;
/// Image rows of a weight gradient that are summed side by side.
const ROWS: usize = 4;

#[inline(always)]
unsafe fn body<V: Vector>(
    depthwise: &Depthwise,
    g: &Geometry,
    [a, b]: [*const f32; 2],
    out: *mut f32,
    begin: usize,
    end: usize,
) {
    // SAFETY: the caller's own promises; each function visits valid taps only.
    unsafe {
        match depthwise.kind {
            ConvolutionKind::Forward => {
                for row in begin..end {
                    forward_row::<V>(g, a, b, out, row);
                }
            }
            ConvolutionKind::Data => {
                for row in begin..end {
                    data_row::<V>(g, a, b, out, row);
                }
            }
            ConvolutionKind::Weights => {
                let each = g.weight_tiles();
                let across = g.co.div_ceil(PANEL);
                for index in begin..end {
                    let (split, tile) = (index / each, index % each);
                    let images = g.n * split / depthwise.splits..g.n * (split + 1) / depthwise.splits;
                    let out = out.wrapping_add(split * g.taps() * g.co);
                    let (down, first) = (tile / across * TILE_ROWS, tile % across * PANEL);
                    for tap in down..(down + TILE_ROWS).min(g.taps()) {
                        weight_tap::<V>(g, a, b, out, images.clone(), tap, first, PANEL.min(g.co - first));
                    }
                }
            }
        }
    }
}

/// Adds `x[i] * w[i]` to a few vectors of sums.
#[inline(always)]
unsafe fn accumulate<V: Vector>(
    sums: &mut [V; VECTORS],
    masks: &[V::Mask; VECTORS],
    x: *const f32,
    w: *const f32,
) {
    for v in 0..VECTORS {
        let lane = v * V::LANES;
        // SAFETY: the masks name channels that exist.
        unsafe {
            let factor = V::load(w.wrapping_add(lane), masks[v]);
            sums[v] = V::load(x.wrapping_add(lane), masks[v]).multiply_add(factor, sums[v]);
        }
    }
}

#[inline(always)]
unsafe fn masks<V: Vector>(channels: usize) -> [V::Mask; VECTORS] {
    // SAFETY: the caller has the vector's instruction set.
    std::array::from_fn(|v| unsafe { V::mask(channels.saturating_sub(v * V::LANES)) })
}

/// One output row.
#[inline(always)]
unsafe fn forward_row<V: Vector>(g: &Geometry, x: *const f32, w: *const f32, y: *mut f32, row: usize) {
    let (image, oy) = (row / g.output[0], row % g.output[0]);
    let down = g.reaching(0, oy);
    for ox in 0..g.output[1] {
        let across = g.reaching(1, ox);
        for first in (0..g.ci).step_by(VECTORS * V::LANES) {
            // SAFETY: valid taps lie in the input.
            unsafe {
                let masks = masks::<V>(g.ci - first);
                let mut sums = [V::zero(); VECTORS];
                for ky in down.clone() {
                    let line = (image * g.input[0] + g.source(0, oy, ky)) * g.input[1];
                    for kx in across.clone() {
                        let pixel = x.wrapping_add((line + g.source(1, ox, kx)) * g.ci + first);
                        accumulate(&mut sums, &masks, pixel, w.add((ky * g.kernel[1] + kx) * g.ci + first));
                    }
                }
                let target = y.wrapping_add((row * g.output[1] + ox) * g.ci + first);
                for v in 0..VECTORS {
                    sums[v].store(target.wrapping_add(v * V::LANES), masks[v]);
                }
            }
        }
    }
}

/// One input row's gradient.
#[inline(always)]
unsafe fn data_row<V: Vector>(g: &Geometry, dy: *const f32, w: *const f32, dx: *mut f32, row: usize) {
    let (image, iy) = (row / g.input[0], row % g.input[0]);
    for ix in 0..g.input[1] {
        for first in (0..g.ci).step_by(VECTORS * V::LANES) {
            // SAFETY: `target` gives positions inside the output.
            unsafe {
                let masks = masks::<V>(g.ci - first);
                let mut sums = [V::zero(); VECTORS];
                for ky in 0..g.kernel[0] {
                    let Some(oy) = g.target(0, iy, ky) else { continue };
                    let line = (image * g.output[0] + oy) * g.output[1];
                    for kx in 0..g.kernel[1] {
                        let Some(ox) = g.target(1, ix, kx) else { continue };
                        let pixel = dy.wrapping_add((line + ox) * g.ci + first);
                        accumulate(&mut sums, &masks, pixel, w.add((ky * g.kernel[1] + kx) * g.ci + first));
                    }
                }
                let target = dx.wrapping_add((row * g.input[1] + ix) * g.ci + first);
                for v in 0..VECTORS {
                    sums[v].store(target.wrapping_add(v * V::LANES), masks[v]);
                }
            }
        }
    }
}

/// The weight gradient of one tap for a few channels: image rows are summed one after another.
#[inline(always)]
unsafe fn weight_tap<V: Vector>(
    g: &Geometry,
    x: *const f32,
    dy: *const f32,
    dw: *mut f32,
    images: std::ops::Range<usize>,
    tap: usize,
    first: usize,
    channels: usize,
) {
    let [ky, kx] = [tap / g.kernel[1], tap % g.kernel[1]];
    let (down, across) = (g.valid(0, ky), g.valid(1, kx));
    let rows = images.len() * down.len();
    let left = if across.is_empty() { 0 } else { g.source(1, across.start, kx) };
    for start in (first..first + channels).step_by(2 * V::LANES) {
        // SAFETY: valid taps lie in the input.
        unsafe {
            let masks: [V::Mask; 2] =
                std::array::from_fn(|v| V::mask((first + channels - start).saturating_sub(v * V::LANES)));
            let mut totals = [V::zero(); 2];
            let mut row = 0;
            while row < rows {
                // Several rows side by side, so that their chains of multiply-adds hide each other's latency.
                let count = ROWS.min(rows - row);
                let mut sums = [[V::zero(); 2]; ROWS];
                let lines: [_; ROWS] = std::array::from_fn(|i| {
                    let row = row + i.min(count - 1);
                    let (image, oy) = (images.start + row / down.len(), down.start + row % down.len());
                    let source = (image * g.input[0] + g.source(0, oy, ky)) * g.input[1] + left;
                    let target = (image * g.output[0] + oy) * g.output[1] + across.start;
                    (x.wrapping_add(source * g.ci + start), dy.wrapping_add(target * g.ci + start))
                });
                for i in 0..across.len() {
                    for (sum, (x, dy)) in sums.iter_mut().zip(lines) {
                        for v in 0..2 {
                            let x = V::load(x.wrapping_add(i * g.stride[1] * g.ci + v * V::LANES), masks[v]);
                            let dy = V::load(dy.wrapping_add(i * g.ci + v * V::LANES), masks[v]);
                            sum[v] = x.multiply_add(dy, sum[v]);
                        }
                    }
                }
                for sum in &sums[..count] {
                    totals = std::array::from_fn(|v| totals[v].add(sum[v]));
                }
                row += count;
            }
            let target = dw.wrapping_add(tap * g.ci + start);
            for v in 0..2 {
                totals[v].store(target.wrapping_add(v * V::LANES), masks[v]);
            }
        }
    }
}
