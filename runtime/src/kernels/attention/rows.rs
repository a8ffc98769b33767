//! What happens to one row of scores between the products: a few elementwise passes and sums, compiled for each instruction set.
//!
//! Rows lie in scratch with room up to a multiple of [`LANES`]; sums are taken in so many lanes and then down a fixed tree, so that their
//! bits depend on the row alone.

use crate::kernels::isa::versions;
use crate::kernels::math::functions;
use crate::kernels::vector::tree;

/// Elements that are worked on together; it divides [`crate::program::PANEL`].
const LANES: usize = 32;

/// How scores become what the exponential is taken of; bias and mask from the block's first query and key on, with their steps.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub scale: f32,
    pub bias: Option<(*const f32, [isize; 2])>,
    pub mask: Option<(*const u8, [isize; 2])>,
}

versions! {
    /// Scales the first `seen` scores of row `r`, adds the bias, and makes what is masked, and the rest up to the next full strip, `-inf`.
    pub unsafe fn prepare = prepare_row, (frame: &Frame, r: usize, row: &mut [f32], seen: usize)
}

versions! {
    /// Turns prepared scores into exponentials relative to the highest score so far, 0 from `seen` up to `all`; moves the highest score, and
    /// scales the total to it before it adds the row's.
    pub unsafe fn weigh = weigh_row, (row: &mut [f32], seen: usize, all: usize, highest: &mut f32, total: &mut f32)
}

versions! {
    /// Turns prepared scores into weights (0 from `seen` up to `all`), and the weights' adjoints into those of the scores.
    pub unsafe fn slope = slope_row,
        (row: &mut [f32], slopes: &mut [f32], seen: usize, all: usize, sum: f32, product: f32)
}

versions! {
    unsafe fn multiply = multiply_row, (factor: f32, row: &mut [f32])
}

versions! {
    unsafe fn dot = dot_rows, (one: &[f32], other: &[f32], sum: &mut f32)
}

/// Multiplies a row.
///
/// # Safety
/// The machine has the level's instructions.
pub unsafe fn scale(level: crate::kernels::isa::Level, factor: f32, row: &mut [f32]) {
    if factor != 1.0 {
        // SAFETY: the caller's own promise.
        unsafe { multiply(level, factor, row) }
    }
}

/// Brings what was summed relative to `before` to a higher maximum.
///
/// # Safety
/// The machine has the level's instructions.
pub unsafe fn rescale(level: crate::kernels::isa::Level, before: f32, highest: f32, row: &mut [f32]) {
    // SAFETY: the caller's own promise.
    unsafe { multiply(level, functions::exp(before - highest), row) }
}

/// Divides a result by its row's total, and gives the logarithm of the sum of exponentials. Without any key, the result is 0 and the
/// logarithm infinite, so that weights computed from it are 0 too.
///
/// # Safety
/// The machine has the level's instructions.
pub unsafe fn finish(level: crate::kernels::isa::Level, highest: f32, total: f32, row: &mut [f32]) -> f32 {
    if total == 0.0 {
        row.fill(0.0);
        return f32::INFINITY;
    }
    // SAFETY: the caller's own promise.
    unsafe { multiply(level, 1.0 / total, row) };
    highest + functions::log(total)
}

/// The sum of products of two rows.
///
/// # Safety
/// The machine has the level's instructions.
pub unsafe fn product(level: crate::kernels::isa::Level, one: &[f32], other: &[f32]) -> f32 {
    let mut sum = 0.0;
    // SAFETY: the caller's own promise.
    unsafe { dot(level, one, other, &mut sum) };
    sum
}

#[inline(always)]
unsafe fn prepare_row(frame: &Frame, r: usize, row: &mut [f32], seen: usize) {
    let row = &mut row[..seen.next_multiple_of(LANES)];
    let scale = frame.scale;
    match frame.bias {
        None => row[..seen].iter_mut().for_each(|x| *x *= scale),
        Some((bias, [down, across])) => {
            let bias = bias.wrapping_offset(r as isize * down);
            if across == 1 {
                // SAFETY: the bias has an element for each key.
                let bias = unsafe { std::slice::from_raw_parts(bias, seen) };
                row[..seen].iter_mut().zip(bias).for_each(|(x, b)| *x = *x * scale + b);
            } else {
                for (i, x) in row[..seen].iter_mut().enumerate() {
                    // SAFETY: as above.
                    *x = *x * scale + unsafe { *bias.offset(i as isize * across) };
                }
            }
        }
    }
    if let Some((mask, [down, across])) = frame.mask {
        let mask = mask.wrapping_offset(r as isize * down);
        for (i, x) in row[..seen].iter_mut().enumerate() {
            // SAFETY: the mask has an element for each key.
            let looks = unsafe { *mask.offset(i as isize * across) } != 0;
            *x = if looks { *x } else { f32::NEG_INFINITY };
        }
    }
    row[seen..].fill(f32::NEG_INFINITY);
}

#[inline(always)]
unsafe fn weigh_row(row: &mut [f32], seen: usize, all: usize, highest: &mut f32, total: &mut f32) {
    let (strips, rest) = row.split_at_mut(seen.next_multiple_of(LANES));
    let (strips, _) = strips.as_chunks_mut::<LANES>();
    let mut most = [*highest; LANES];
    for strip in strips.iter() {
        for lane in 0..LANES {
            most[lane] = if strip[lane] > most[lane] { strip[lane] } else { most[lane] };
        }
    }
    let top = most.iter().fold(f32::MIN, |top, x| if *x > top { *x } else { top });
    let mut sums = [0.0f32; LANES];
    for strip in strips {
        for lane in 0..LANES {
            let weight = functions::exp(strip[lane] - top);
            strip[lane] = weight;
            sums[lane] += weight;
        }
    }
    let filled = seen.next_multiple_of(LANES);
    if all > filled {
        rest[..all - filled].fill(0.0);
    }
    *total = *total * functions::exp(*highest - top) + tree(sums);
    *highest = top;
}

#[inline(always)]
unsafe fn slope_row(row: &mut [f32], slopes: &mut [f32], seen: usize, all: usize, sum: f32, product: f32) {
    let filled = seen.next_multiple_of(LANES);
    let (strips, rest) = row.split_at_mut(filled);
    let (strips, _) = strips.as_chunks_mut::<LANES>();
    let (others, rest_of_slopes) = slopes.split_at_mut(filled);
    let (others, _) = others.as_chunks_mut::<LANES>();
    for (strip, slopes) in strips.iter_mut().zip(others) {
        for lane in 0..LANES {
            let weight = functions::exp(strip[lane] - sum);
            strip[lane] = weight;
            // What lies beyond the block is no number that counts, and has no weight.
            slopes[lane] = if weight == 0.0 { 0.0 } else { weight * (slopes[lane] - product) };
        }
    }
    if all > filled {
        rest[..all - filled].fill(0.0);
        rest_of_slopes[..all - filled].fill(0.0);
    }
}

#[inline(always)]
unsafe fn multiply_row(factor: f32, row: &mut [f32]) {
    row.iter_mut().for_each(|x| *x *= factor);
}

#[inline(always)]
unsafe fn dot_rows(one: &[f32], other: &[f32], sum: &mut f32) {
    let (strips, rest) = one.as_chunks::<LANES>();
    let (others, rest_of_others) = other.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (x, y) in strips.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in rest.iter().zip(rest_of_others).enumerate() {
        sums[lane] += x * y;
    }
    *sum = tree(sums);
}
