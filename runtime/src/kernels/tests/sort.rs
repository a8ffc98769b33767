use super::super::Bound;
use super::super::index::Stray;
use super::{Dims, Scratch, numbers};
use crate::program::{DType, Kernel};
use proptest::prelude::*;

/// The first `count` of each row, and their places.
fn sorted<E: Copy + Default>(
    dtype: DType,
    x: &[E],
    axis: usize,
    count: usize,
    falling: bool,
) -> (Vec<E>, Vec<i32>) {
    let mut d = Dims::default();
    let kernel = Kernel::Sort { dtype, axis: d.add(axis), count: d.add(count), falling };
    let bound = Bound::bind(&kernel, &d.0).unwrap();
    let mut scratch = Scratch::new(bound.scratch_bytes());
    let rows = x.len() / axis.max(1);
    let (mut values, mut indices) = (vec![E::default(); rows * count], vec![0i32; rows * count]);
    let buffers = [x.as_ptr().cast_mut().cast(), values.as_mut_ptr().cast(), indices.as_mut_ptr().cast()];
    // SAFETY: the buffers are as large as the kernel's doc says.
    unsafe { bound.run(&buffers, 0, rows, scratch.start(), &Stray::default()) };
    scratch.check();
    (values, indices)
}

proptest! {
    #[test]
    fn the_first_of_each_row(
        rows in 1usize..4, axis in 0usize..60, part in 0.0f64..1.2, levels in 1i32..50, falling: bool
    ) {
        let count = ((axis as f64 * part).round() as usize).min(axis);
        // Few distinct values, so that there are ties; among them both zeros.
        let x: Vec<f32> = numbers(rows * axis, 7).iter().map(|x| (x * levels as f32).round()).collect();
        let (values, indices) = sorted(DType::F32, &x, axis, count, falling);
        let whole: Vec<i32> = x.iter().map(|x| *x as i32).collect();
        prop_assert_eq!(&sorted(DType::I32, &whole, axis, count, falling).1, &indices);
        let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        prop_assert_eq!(&sorted(DType::F64, &wide, axis, count, falling).1, &indices);
        for row in 0..rows {
            let x = &x[row * axis..][..axis];
            let mut order: Vec<usize> = (0..axis).collect();
            order.sort_by(|&a, &b| {
                let (a, b) = if falling { (b, a) } else { (a, b) };
                x[a].partial_cmp(&x[b]).unwrap()
            });
            for i in 0..count {
                prop_assert_eq!(indices[row * count + i] as usize, order[i]);
                prop_assert_eq!(values[row * count + i], x[order[i]]);
            }
        }
    }
}

#[test]
fn not_a_number_counts_as_the_largest() {
    let x = [1.0f32, f32::NAN, f32::INFINITY, -f32::NAN];
    assert_eq!(sorted(DType::F32, &x, 4, 4, true).1, [1, 3, 2, 0]);
    assert_eq!(sorted(DType::F32, &x, 4, 4, false).1, [0, 2, 1, 3]);
    assert_eq!(sorted(DType::F32, &x, 4, 2, true).1, [1, 3]);
}

#[test]
fn integers_of_each_width_have_their_order() {
    assert_eq!(sorted(DType::I64, &[0, i64::MIN, i64::MAX, -1], 4, 4, false).0, [i64::MIN, -1, 0, i64::MAX]);
    assert_eq!(sorted(DType::I32, &[0, i32::MIN, i32::MAX, -1], 4, 4, false).0, [i32::MIN, -1, 0, i32::MAX]);
    assert_eq!(sorted(DType::I8, &[0, -128, 127, -1], 4, 4, false).0, [-128i8, -1, 0, 127]);
    assert_eq!(sorted(DType::U8, &[0, 255, 7], 3, 3, true).0, [255u8, 7, 0]);
}

#[test]
fn bad_dims_are_errors() {
    let mut d = Dims::default();
    let kernel = Kernel::Sort { dtype: DType::F32, axis: d.add(3), count: d.add(4), falling: true };
    assert!(Bound::bind(&kernel, &d.0).is_err());
    assert!(Bound::bind(&kernel, &[-1, 4]).is_err());
    assert!(Bound::bind(&kernel, &[3]).is_err());
}
