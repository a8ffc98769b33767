//! Kernels that move along an axis by index: gather, scatter-add, cumulative sum, top-k. Values are f32, indices i32.
//!
//! An index out of range is clamped, and noted in the error word.

use super::resolve;
use crate::program::Kernel;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The bit of the error word that says that an index was out of range.
pub const INDEX_OUT_OF_RANGE: u32 = 1;

/// Up to this k the best are kept sorted as a row passes by; beyond, indices are selected in scratch.
const SMALL_K: usize = 16;

#[derive(Debug)]
pub struct Bound {
    form: Form,
    axis: usize,
    /// Of the indices; the k of a top-k.
    count: usize,
    inner: usize,
}

#[derive(Debug)]
enum Form {
    CumulativeSum { reverse: bool, exclusive: bool },
    Gather,
    ScatterAdd,
    TopK,
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
            Kernel::Gather { axis, count, inner } => Bound {
                form: Form::Gather,
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
            Kernel::TopK { axis, k } => {
                Bound { form: Form::TopK, axis: extent(axis)?, count: extent(k)?, inner: 1 }
            }
            _ => return Err("this kernel does not move by index".into()),
        };
        if bound.axis > i32::MAX as usize {
            return Err(format!("an axis of {} is too long for its indices", bound.axis));
        }
        if matches!(bound.form, Form::TopK) && bound.count > bound.axis {
            return Err(format!("there are no {} largest of {}", bound.count, bound.axis));
        }
        resolve::product_of([bound.axis.max(bound.count), bound.inner])?;
        Ok(bound)
    }

    pub fn scratch_bytes(&self) -> usize {
        match self.form {
            Form::TopK if self.count > SMALL_K => self.axis * size_of::<u32>(),
            _ => 0,
        }
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(
        &self,
        buffers: &[*mut u8],
        begin: usize,
        end: usize,
        scratch: *mut u8,
        errors: &AtomicU32,
    ) {
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
                Form::Gather => {
                    let (table, out) = (buffers[0].cast::<f32>().cast_const(), buffers[2].cast::<f32>());
                    let indices = std::slice::from_raw_parts(buffers[1].cast::<i32>(), self.count);
                    for index in begin..end {
                        let (outer, i) = (index / self.count, index % self.count);
                        let target = out.wrapping_add(index * self.inner);
                        match self.clamp(indices[i], errors) {
                            Some(row) => {
                                let source = table.add((outer * self.axis + row) * self.inner);
                                target.copy_from_nonoverlapping(source, self.inner);
                            }
                            None => target.write_bytes(0, self.inner),
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
                            let Some(row) = self.clamp(index, errors).filter(|row| rows.contains(row)) else {
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
                Form::TopK => {
                    for row in begin..end {
                        let x = buffers[0].cast::<f32>().wrapping_add(row * self.axis);
                        let values = buffers[1].cast::<f32>().wrapping_add(row * self.count);
                        let indices = buffers[2].cast::<i32>().wrapping_add(row * self.count);
                        self.top_k(
                            std::slice::from_raw_parts(x, self.axis),
                            std::slice::from_raw_parts_mut(values, self.count),
                            std::slice::from_raw_parts_mut(indices, self.count),
                            scratch,
                        );
                    }
                }
            }
        }
    }

    /// The row that an index names; none in an empty table.
    fn clamp(&self, index: i32, errors: &AtomicU32) -> Option<usize> {
        let row = usize::try_from(index).unwrap_or(0);
        if index < 0 || row >= self.axis {
            errors.fetch_or(INDEX_OUT_OF_RANGE, Relaxed);
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

    unsafe fn top_k(&self, x: &[f32], values: &mut [f32], indices: &mut [i32], scratch: *mut u8) {
        if self.count > SMALL_K {
            // SAFETY: `scratch_bytes` made room for an index an element.
            let order = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<u32>(), self.axis) };
            order.iter_mut().enumerate().for_each(|(i, place)| *place = i as u32);
            let falling = |a: &u32, b: &u32| fall(x[*a as usize], x[*b as usize]).then(a.cmp(b));
            if self.count < self.axis {
                order.select_nth_unstable_by(self.count, falling);
            }
            order[..self.count].sort_unstable_by(falling);
            for (i, &place) in order[..self.count].iter().enumerate() {
                (values[i], indices[i]) = (x[place as usize], place as i32);
            }
            return;
        }
        let mut kept = 0;
        for (i, &value) in x.iter().enumerate() {
            // A later element goes behind all that it does not beat, and out if those are k.
            if kept == self.count && (kept == 0 || fall(value, values[kept - 1]) != Ordering::Less) {
                continue;
            }
            kept = (kept + 1).min(self.count);
            let mut place = kept - 1;
            while place > 0 && fall(value, values[place - 1]) == Ordering::Less {
                (values[place], indices[place]) = (values[place - 1], indices[place - 1]);
                place -= 1;
            }
            (values[place], indices[place]) = (value, i as i32);
        }
    }
}

/// Falling order; not-a-number counts as the largest, the two zeros as equal.
fn fall(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}
