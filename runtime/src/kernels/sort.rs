//! Sorting rows: the first few of each row, or all, in rising or falling order, with the places where they stood.
//!
//! An element and its place become one *key*, an unsigned number that sorts as the element does and then by place. So the sort
//! needs no comparison function, is stable without trying to be, and its result does not depend on how it is done.

use super::resolve;
use crate::program::{DType, Kernel};

/// Up to this count the first are kept in order as a row passes by; beyond, the keys of the whole row are sorted in scratch.
const FEW: usize = 16;

#[derive(Debug)]
pub struct Bound {
    dtype: DType,
    axis: usize,
    count: usize,
    falling: bool,
}

/// What can be sorted.
trait Element: Copy {
    type Key: Ord + Copy;
    const NO_KEY: Self::Key;
    fn key(self, place: u32, falling: bool) -> Self::Key;
    fn place(key: Self::Key) -> u32;
}

/// Elements of up to 32 bits share one 64-bit number with their place; wider ones stand before it. `$order` is the element as an
/// unsigned number of the same order.
macro_rules! element {
    ($($ty:ty, narrow, $order:expr;)*) => { $(
        impl Element for $ty {
            type Key = u64;
            const NO_KEY: u64 = 0;
            fn key(self, place: u32, falling: bool) -> u64 {
                let order: u32 = $order(self);
                u64::from(if falling { !order } else { order }) << 32 | u64::from(place)
            }
            fn place(key: u64) -> u32 {
                key as u32
            }
        }
    )* };
    ($($ty:ty, wide, $order:expr;)*) => { $(
        impl Element for $ty {
            type Key = (u64, u32);
            const NO_KEY: (u64, u32) = (0, 0);
            fn key(self, place: u32, falling: bool) -> (u64, u32) {
                let order: u64 = $order(self);
                (if falling { !order } else { order }, place)
            }
            fn place(key: (u64, u32)) -> u32 {
                key.1
            }
        }
    )* };
}

element! {
    f32, narrow, |x: f32| {
        // Adding 0 makes the two zeros one.
        let bits = (x + 0.0).to_bits();
        if x.is_nan() { u32::MAX } else if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    };
    i32, narrow, |x: i32| x.cast_unsigned() ^ (1 << 31);
    i8, narrow, |x: i8| i32::from(x).cast_unsigned() ^ (1 << 31);
    u8, narrow, u32::from;
}

element! {
    f64, wide, |x: f64| {
        let bits = (x + 0.0).to_bits();
        if x.is_nan() { u64::MAX } else if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    i64, wide, |x: i64| x.cast_unsigned() ^ (1 << 63);
}

/// A row's elements, and where its first ones and their places go.
struct Row<'a, E> {
    x: &'a [E],
    values: &'a mut [E],
    indices: &'a mut [i32],
}

impl Bound {
    /// Binds [`Kernel::Sort`]; an error for others.
    pub fn bind(kernel: &Kernel, dims: &[i64]) -> Result<Bound, String> {
        let Kernel::Sort { dtype, axis, count, falling } = *kernel else {
            return Err("this kernel does not sort".into());
        };
        let bound = Bound {
            dtype,
            axis: resolve::extent(axis, dims)?,
            count: resolve::extent(count, dims)?,
            falling,
        };
        if bound.axis > i32::MAX as usize {
            return Err(format!("an axis of {} is too long for its indices", bound.axis));
        }
        if bound.count > bound.axis {
            return Err(format!("there are no first {} of {}", bound.count, bound.axis));
        }
        if matches!(dtype, DType::F16 | DType::BF16 | DType::Bool) {
            return Err(format!("{} is not sorted", dtype.name()));
        }
        Ok(bound)
    }

    pub fn scratch_bytes(&self) -> usize {
        let key = if self.dtype.size() <= 4 { size_of::<u64>() } else { size_of::<(u64, u32)>() };
        key * if self.count <= FEW { self.count } else { self.axis }
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize, scratch: *mut u8) {
        // SAFETY: the caller's own promises.
        unsafe {
            match self.dtype {
                DType::F32 => self.rows::<f32>(buffers, begin, end, scratch),
                DType::F64 => self.rows::<f64>(buffers, begin, end, scratch),
                DType::I8 => self.rows::<i8>(buffers, begin, end, scratch),
                DType::U8 => self.rows::<u8>(buffers, begin, end, scratch),
                DType::I32 => self.rows::<i32>(buffers, begin, end, scratch),
                DType::I64 => self.rows::<i64>(buffers, begin, end, scratch),
                DType::F16 | DType::BF16 | DType::Bool => {}
            }
        }
    }

    unsafe fn rows<E: Element>(&self, buffers: &[*mut u8], begin: usize, end: usize, scratch: *mut u8) {
        let room = if self.count <= FEW { self.count } else { self.axis };
        for index in begin..end {
            let (from, to) = (index * self.axis, index * self.count);
            // SAFETY: x has `axis` elements a row, values and indices `count`; `scratch_bytes` made room for the keys, which any
            // bits are.
            let (row, keys) = unsafe {
                (
                    Row {
                        x: std::slice::from_raw_parts(buffers[0].cast::<E>().wrapping_add(from), self.axis),
                        values: std::slice::from_raw_parts_mut(
                            buffers[1].cast::<E>().wrapping_add(to),
                            self.count,
                        ),
                        indices: std::slice::from_raw_parts_mut(
                            buffers[2].cast::<i32>().wrapping_add(to),
                            self.count,
                        ),
                    },
                    keys::<E>(scratch, room),
                )
            };
            self.row(row, keys);
        }
    }

    fn row<E: Element>(&self, row: Row<'_, E>, keys: &mut [E::Key]) {
        let all = row.x.iter().zip(0u32..).map(|(x, place)| x.key(place, self.falling));
        if self.count <= FEW {
            keep_first(keys, all);
        } else {
            keys.iter_mut().zip(all).for_each(|(slot, key)| *slot = key);
            if self.count < self.axis {
                keys.select_nth_unstable(self.count);
            }
            keys[..self.count].sort_unstable();
        }
        for ((value, index), key) in row.values.iter_mut().zip(row.indices).zip(keys) {
            let place = E::place(*key);
            *index = place as i32;
            *value = row.x[place as usize];
        }
    }
}

/// A thread's scratch as keys.
unsafe fn keys<'a, E: Element>(scratch: *mut u8, room: usize) -> &'a mut [E::Key] {
    if room == 0 {
        return &mut [];
    }
    let start = scratch.cast::<E::Key>();
    for place in 0..room {
        // SAFETY: the caller gives scratch for so many keys, aligned to a cache line.
        unsafe { start.add(place).write(E::NO_KEY) };
    }
    // SAFETY: as above, and they are initialised.
    unsafe { std::slice::from_raw_parts_mut(start, room) }
}

/// Fills `kept` with the smallest keys in order.
fn keep_first<K: Ord + Copy>(kept: &mut [K], all: impl Iterator<Item = K>) {
    let mut count = 0;
    for key in all {
        if count == kept.len() && kept.last().is_none_or(|last| key > *last) {
            continue;
        }
        count = (count + 1).min(kept.len());
        let mut place = count - 1;
        while place > 0 && key < kept[place - 1] {
            kept[place] = kept[place - 1];
            place -= 1;
        }
        kept[place] = key;
    }
}
