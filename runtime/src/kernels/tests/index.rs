use super::super::Bound;
use super::super::index::Stray;
use super::{Dims, check, numbers};
use crate::program::{DType, Kernel};
use proptest::prelude::*;

/// Integers, as the f32 that have their bits.
fn as_floats(indices: &[i32]) -> Vec<f32> {
    indices.iter().map(|&i| f32::from_bits(i as u32)).collect()
}

proptest! {
    #[test]
    fn cumulative_sums(outer in 1usize..5, axis in 0usize..20, inner in 1usize..5, reverse: bool, exclusive: bool, cut: usize) {
        let mut d = Dims::default();
        let x = numbers(outer * axis * inner, 4);
        let mut expected = vec![0.0; x.len()];
        for o in 0..outer {
            for i in 0..axis {
                for other in 0..axis {
                    let before = if reverse { other > i } else { other < i };
                    if before || (other == i && !exclusive) {
                        for j in 0..inner {
                            expected[(o * axis + i) * inner + j] += f64::from(x[(o * axis + other) * inner + j]);
                        }
                    }
                }
            }
        }
        let kernel = Kernel::CumulativeSum { axis: d.add(axis), inner: d.add(inner), reverse, exclusive };
        check(&kernel, &d, &[&x], &expected, Some(outer), &[cut]);
    }

    #[test]
    fn gather_and_scatter_add(
        outer in 1usize..4, axis in 1usize..10, inner in 1usize..10,
        raw in proptest::collection::vec(0usize..1000, 0..20), cuts in [0usize..1000, 0usize..1000],
    ) {
        let mut d = Dims::default();
        let count = raw.len();
        let rows: Vec<i32> = raw.iter().map(|&i| (i % axis) as i32).collect();
        let indices = as_floats(&rows);
        let (table, updates) = (numbers(outer * axis * inner, 5), numbers(outer * count * inner, 6));
        let mut gathered = vec![0.0; updates.len()];
        let mut scattered = vec![0.0; table.len()];
        for o in 0..outer {
            for (i, &row) in rows.iter().enumerate() {
                for j in 0..inner {
                    let (at, to) = ((o * axis + row as usize) * inner + j, (o * count + i) * inner + j);
                    gathered[to] = f64::from(table[at]);
                    scattered[at] += f64::from(updates[to]);
                }
            }
        }
        let (axis_dim, count_dim, inner_dim) = (d.add(axis), d.add(count), d.add(inner));
        let gather = Kernel::Gather { dtype: DType::F32, axis: axis_dim, count: count_dim, inner: inner_dim };
        check(&gather, &d, &[&table, &indices], &gathered, Some(outer * count), &cuts);
        let scatter = Kernel::ScatterAdd { axis: axis_dim, count: count_dim, inner: inner_dim };
        check(&scatter, &d, &[&updates, &indices], &scattered, Some(outer * axis), &cuts);
    }
}

#[test]
fn an_index_out_of_range_is_clamped_and_noted() {
    let mut d = Dims::default();
    let kernel = Kernel::Gather { dtype: DType::F32, axis: d.add(3), count: d.add(2), inner: d.add(1) };
    let bound = Bound::bind(&kernel, &d.0).unwrap();
    let (table, indices, mut out) = ([1.0f32, 2.0, 3.0], [-1i32, 7], [0.0f32; 2]);
    let buffers =
        [table.as_ptr().cast_mut().cast(), indices.as_ptr().cast_mut().cast(), out.as_mut_ptr().cast()];
    let stray = Stray::default();
    // SAFETY: the buffers are as large as the kernel's doc says.
    unsafe { bound.run(&buffers, 0, 2, std::ptr::null_mut(), &stray) };
    assert_eq!((out, stray.take(), stray.take()), ([1.0, 3.0], Some((0, -1)), None));

    // An empty table has nothing to clamp to.
    let mut d = Dims::default();
    let kernel = Kernel::Gather { dtype: DType::F32, axis: d.add(0), count: d.add(2), inner: d.add(1) };
    let bound = Bound::bind(&kernel, &d.0).unwrap();
    // SAFETY: as above.
    unsafe { bound.run(&buffers, 0, 2, std::ptr::null_mut(), &stray) };
    assert_eq!(out, [0.0, 0.0]);
}

#[test]
fn bad_dims_are_errors() {
    let mut d = Dims::default();
    let kernel = Kernel::Gather { dtype: DType::F32, axis: d.add(3), count: d.add(4), inner: d.add(1) };
    assert!(Bound::bind(&kernel, &[-1, 4, 1]).is_err());
    assert!(Bound::bind(&kernel, &[3]).is_err());
    assert!(Bound::bind(&Kernel::Nest { function: 0, dims: vec![] }, &[]).is_err());
}
