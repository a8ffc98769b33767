//! Kernels that move along an axis by index: gather, scatter-add, cumulative sum. Indices are i32; a gather moves elements of any type,
//! the others add f32.
//!
//! An index out of range is clamped, and noted.

use super::resolve;
use crate::program::Kernel;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The first index out of range of a run, whichever thread meets it: its place among the indices, and itself.
#[derive(Debug)]
pub struct Stray(AtomicU64);

impl Default for Stray {
    fn default() -> Stray {
        Stray(AtomicU64::new(u64::MAX))
    }
}

impl Stray {
    pub fn note(&self, place: usize, index: i32) {
        // The place in the upper half: the least word is that of the first place.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.0.fetch_min(u64::from(place) << 32 | u64::from(index as u32), Relaxed);
    }

    /// Place and index, if one was noted; forgets it.
    pub fn take(&self) -> Option<(usize, i32)> {
        if self.0.load(Relaxed) == u64::MAX {
            return None;
        }
        let word = self.0.swap(u64::MAX, Relaxed);
        Some(((word >> 32) as usize, word as u32 as i32))
    }
}

#[derive(Debug)]
pub struct Bound {
    form: Form,
    /// Rows that an index can name.
    pub axis: usize,
    /// Of the indices.
    pub count: usize,
    inner: usize,
}

#[derive(Debug)]
enum Form {
    CumulativeSum {
        reverse: bool,
        exclusive: bool,
    },
    /// Bytes of an element.
    Gather {
        size: usize,
    },
    ScatterAdd,
}

impl Bound {
    /// Binds one of this file's kernels; an error for others.
    pub fn bind(kernel: &Kernel, dims: &[i64]) -> Result<Bound, String> {
        let extent = |dim| resolve::extent(dim, dims);
        let bound = match *kernel {
            Kernel::CumulativeSum { axis, inner, reverse, exclusive } => Bound {
                form: Form::CumulativeSum { reverse, exclusive },
                axis: extent(axis)?,
                count: 0,
                inner: extent(inner)?,
            },
            Kernel::Gather { dtype, axis, count, inner } => Bound {
                form: Form::Gather { size: dtype.size() },
                axis: extent(axis)?,
                count: extent(count)?,
                inner: extent(inner)?,
            },
            Kernel::ScatterAdd { axis, count, inner } => Bound {
                form: Form::ScatterAdd,
                axis: extent(axis)?,
                count: extent(count)?,
                inner: extent(inner)?,
            },
            _ => return Err("this kernel does not move by index".into()),
        };
        if bound.axis > i32::MAX as usize {
            return Err(format!("an axis of {} is too long for its indices", bound.axis));
        }
        resolve::product_of([bound.axis.max(bound.count), bound.inner, 8])?;
        Ok(bound)
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize, stray: &Stray) {
        // SAFETY: the caller vouches for buffers as large as the kernel's doc says.
        unsafe {
            match self.form {
                Form::CumulativeSum { reverse, exclusive } => {
                    let (x, out) = (buffers[0].cast::<f32>().cast_const(), buffers[1].cast::<f32>());
                    for outer in begin..end {
                        let at = outer * self.axis * self.inner;
                        self.cumulative_sum(x.wrapping_add(at), out.wrapping_add(at), reverse, exclusive);
                    }
                }
                Form::Gather { size } => {
                    let (table, out) = (buffers[0].cast_const(), buffers[2]);
                    let indices = std::slice::from_raw_parts(buffers[1].cast::<i32>(), self.count);
                    let row_bytes = self.inner * size;
                    for index in begin..end {
                        let (outer, i) = (index / self.count, index % self.count);
                        let target = out.wrapping_add(index * row_bytes);
                        match self.clamp(i, indices[i], stray) {
                            Some(row) => {
                                let source = table.add((outer * self.axis + row) * row_bytes);
                                target.copy_from_nonoverlapping(source, row_bytes);
                            }
                            None => target.write_bytes(0, row_bytes),
                        }
                    }
                }
                Form::ScatterAdd => {
                    let (updates, out) = (buffers[0].cast::<f32>().cast_const(), buffers[2].cast::<f32>());
                    let indices = std::slice::from_raw_parts(buffers[1].cast::<i32>(), self.count);
                    out.wrapping_add(begin * self.inner).write_bytes(0, (end - begin) * self.inner);
                    let mut at = begin;
                    while at < end {
                        let (outer, first) = (at / self.axis, at % self.axis);
                        let rows = first..self.axis.min(first + end - at);
                        for (i, &index) in indices.iter().enumerate() {
                            let Some(row) = self.clamp(i, index, stray).filter(|row| rows.contains(row))
                            else {
                                continue;
                            };
                            let source = updates.wrapping_add((outer * self.count + i) * self.inner);
                            let target = out.wrapping_add((outer * self.axis + row) * self.inner);
                            for j in 0..self.inner {
                                *target.add(j) += *source.add(j);
                            }
                        }
                        at += rows.len();
                    }
                }
            }
        }
    }

    /// The row that an index names; none in an empty table.
    fn clamp(&self, place: usize, index: i32, stray: &Stray) -> Option<usize> {
        let row = usize::try_from(index).unwrap_or(0);
        if index < 0 || row >= self.axis {
            stray.note(place, index);
        }
        (self.axis > 0).then(|| row.min(self.axis - 1))
    }

    unsafe fn cumulative_sum(&self, x: *const f32, out: *mut f32, reverse: bool, exclusive: bool) {
        for j in 0..self.inner {
            let mut sum = 0.0f32;
            for step in 0..self.axis {
                let i = if reverse { self.axis - 1 - step } else { step };
                // SAFETY: inside the axis × inner elements of x and of out.
                unsafe {
                    let value = *x.add(i * self.inner + j);
                    *out.add(i * self.inner + j) = if exclusive { sum } else { sum + value };
                    sum += value;
                }
            }
        }
    }
}
