//! Packing: a matrix with any strides becomes panels of [`PANEL`] columns, zero-padded.

use super::resolve::{self, Axis};
use crate::program::{PANEL, Pack};

#[derive(Debug)]
pub struct Bound {
    taps: Axis,
    k: Axis,
    n: Axis,
}

impl Bound {
    pub fn bind(kernel: &Pack, dims: &[i64]) -> Result<Bound, String> {
        let bound = Bound {
            taps: resolve::axis(&kernel.taps, dims)?,
            k: resolve::axis(&kernel.k, dims)?,
            n: resolve::axis(&kernel.n, dims)?,
        };
        resolve::product_of([bound.taps.extent, bound.k.extent, bound.n.extent.next_multiple_of(PANEL)])?;
        Ok(bound)
    }

    pub fn extent(&self) -> usize {
        self.taps.extent * self.n.extent.div_ceil(PANEL)
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize) {
        let (source, panels) = (buffers[0].cast::<f32>().cast_const(), buffers[1].cast::<f32>());
        let across = self.n.extent.div_ceil(PANEL);
        for index in begin..end {
            let (tap, first) = (index / across, index % across * PANEL);
            let source = source.wrapping_offset(tap as isize * self.taps.a + first as isize * self.n.a);
            let columns = PANEL.min(self.n.extent - first);
            // SAFETY: the caller vouches for the buffers.
            unsafe {
                let target = panels.add(index * self.k.extent * PANEL);
                panel(source, self.k.a, self.n.a, self.k.extent, columns, target);
            }
        }
    }
}

/// Packs one panel: `target[k, 0..PANEL]` from `source[k, 0..columns]` and zeros.
///
/// # Safety
/// `source` and `target` must cover what is read and written.
pub unsafe fn panel(
    source: *const f32,
    k_step: isize,
    n_step: isize,
    k: usize,
    columns: usize,
    target: *mut f32,
) {
    // SAFETY: the caller's own promise.
    unsafe {
        if n_step == 1 {
            for i in 0..k {
                let row = target.add(i * PANEL);
                row.copy_from_nonoverlapping(source.offset(i as isize * k_step), columns);
                row.add(columns).write_bytes(0, PANEL - columns);
            }
            return;
        }
        // A transposition, in squares that stay in the first cache.
        const SQUARE: usize = 16;
        for first in (0..k).step_by(SQUARE) {
            let rows = first..(first + SQUARE).min(k);
            for column in 0..columns {
                let source = source.offset(column as isize * n_step);
                for i in rows.clone() {
                    *target.add(i * PANEL + column) = *source.offset(i as isize * k_step);
                }
            }
            for i in rows {
                target.add(i * PANEL + columns).write_bytes(0, PANEL - columns);
            }
        }
    }
}
