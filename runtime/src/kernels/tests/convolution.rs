use super::{Dims, check, numbers};
use crate::program::{Convolution, ConvolutionKind, Kernel, PANEL};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Shape {
    n: usize,
    input: [usize; 2],
    groups: usize,
    /// Channels of a group.
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    after: [usize; 2],
    dilation: [usize; 2],
}

/// Checks the three kinds; false if no output exists.
fn case(s: Shape, splits: usize, cuts: &[usize]) -> bool {
    let Shape { n, input, groups, channels: [cig, cog], kernel, stride, padding, after, dilation } = s;
    let mut output = [0; 2];
    for axis in 0..2 {
        let reach = (kernel[axis] - 1) * dilation[axis] + 1;
        let Some(room) = (input[axis] + padding[axis] + after[axis]).checked_sub(reach) else { return false };
        output[axis] = room / stride[axis] + 1;
    }
    let (ci, co, taps) = (groups * cig, groups * cog, kernel[0] * kernel[1]);
    let x = numbers(n * input[0] * input[1] * ci, 1);
    let w = numbers(taps * cig * co, 2);
    let dy = numbers(n * output[0] * output[1] * co, 3);
    let mut y = vec![0.0f64; dy.len()];
    let mut dx = vec![0.0f64; x.len()];
    let mut dw = vec![0.0f64; splits * w.len()];
    for image in 0..n {
        let split = (0..splits)
            .find(|split| (n * split / splits..n * (split + 1) / splits).contains(&image))
            .unwrap();
        for oy in 0..output[0] {
            for ox in 0..output[1] {
                for tap in 0..taps {
                    let [ky, kx] = [tap / kernel[1], tap % kernel[1]];
                    let iy = (oy * stride[0] + ky * dilation[0]).wrapping_sub(padding[0]);
                    let ix = (ox * stride[1] + kx * dilation[1]).wrapping_sub(padding[1]);
                    if iy >= input[0] || ix >= input[1] {
                        continue;
                    }
                    let (from, to) =
                        ((image * input[0] + iy) * input[1] + ix, (image * output[0] + oy) * output[1] + ox);
                    for group in 0..groups {
                        for c in 0..cig {
                            for o in group * cog..(group + 1) * cog {
                                let (xi, wi, yi) =
                                    (from * ci + group * cig + c, (tap * cig + c) * co + o, to * co + o);
                                y[yi] += f64::from(x[xi]) * f64::from(w[wi]);
                                dx[xi] += f64::from(dy[yi]) * f64::from(w[wi]);
                                dw[split * w.len() + wi] += f64::from(x[xi]) * f64::from(dy[yi]);
                            }
                        }
                    }
                }
            }
        }
    }
    // The weights tap by tap, transposed, in panels.
    let panels = if groups == 1 {
        let across = ci.div_ceil(PANEL);
        let mut panels = vec![0.0; taps * across * co * PANEL];
        for tap in 0..taps {
            for c in 0..ci {
                for o in 0..co {
                    panels[((tap * across + c / PANEL) * co + o) * PANEL + c % PANEL] =
                        w[(tap * ci + c) * co + o];
                }
            }
        }
        panels
    } else {
        w.clone()
    };
    let mut d = Dims::default();
    let mut pair = |pair: [usize; 2]| pair.map(|value| d.add(value));
    let mut convolution = Convolution {
        kind: ConvolutionKind::Forward,
        input: pair(input),
        output: pair(output),
        kernel: pair(kernel),
        padding: pair(padding),
        stride: stride.map(|x| x as u32),
        dilation: dilation.map(|x| x as u32),
        n: d.add(n),
        input_channels: d.add(ci),
        output_channels: d.add(co),
        groups: d.add(groups),
        splits: d.add(1),
    };
    check(&Kernel::Convolution(convolution.clone()), &d, &[&x, &w], &y, None, cuts);
    convolution.kind = ConvolutionKind::Data;
    check(&Kernel::Convolution(convolution.clone()), &d, &[&dy, &panels], &dx, None, cuts);
    convolution.kind = ConvolutionKind::Weights;
    convolution.splits = d.add(splits);
    check(&Kernel::Convolution(convolution), &d, &[&x, &dy], &dw, None, cuts);
    true
}

fn groups_and_channels() -> impl Strategy<Value = (usize, [usize; 2])> {
    prop_oneof![
        (Just(1), [1usize..8, 1usize..70]),
        (Just(1), [8usize..40, 1usize..40]),
        // Narrow, forward and backward.
        (Just(1), [8usize..40, 1usize..5]),
        (Just(1), [1usize..5, 8usize..40]),
        (2usize..5, [1usize..6, 1usize..20]),
        // Depthwise.
        (2usize..100, [1usize..2, 1usize..2]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn convolutions_equal_naive_sums(
        n in 1usize..4,
        input in [1usize..10, 1usize..12],
        (groups, channels) in groups_and_channels(),
        kernel in [1usize..4, 1usize..4],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        after in [0usize..3, 0usize..3],
        dilation in [1usize..3, 1usize..3],
        splits in 1usize..4,
        cuts in proptest::collection::vec(0usize..1000, 3),
    ) {
        case(Shape { n, input, groups, channels, kernel, stride, padding, after, dilation }, splits, &cuts);
    }
}

#[test]
fn shapes_with_many_pixels_channels_or_rows() {
    let plain = Shape {
        n: 1,
        input: [9, 9],
        groups: 1,
        channels: [3, 40],
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        after: [1, 1],
        dilation: [1, 1],
    };
    // One dim, longer than any table.
    let long =
        Shape { input: [1, 700], kernel: [1, 5], padding: [0, 2], after: [0, 2], channels: [2, 5], ..plain };
    assert!(case(long, 1, &[0]));
    assert!(case(Shape { n: 3, padding: [0, 0], after: [0, 0], ..long }, 2, &[1]));
    assert!(case(Shape { channels: [300, 3], input: [4, 4], ..plain }, 1, &[1, 3]));
    assert!(case(Shape { channels: [3, 300], input: [4, 4], ..plain }, 1, &[1, 3]));
    // A strip of the zero-bordered copy holds but a few rows.
    assert!(case(Shape { n: 2, input: [20, 90], channels: [64, 2], ..plain }, 2, &[7, 21]));
    assert!(case(Shape { n: 2, input: [40, 90], channels: [9, 3], stride: [1, 1], ..plain }, 2, &[7, 21]));
    assert!(case(Shape { n: 2, input: [80, 90], channels: [3, 9], stride: [2, 2], ..plain }, 2, &[7, 21]));
    // Pixels of x so far from each other that a weight gradient packs its operands: whole tiles and parts, padded and not, in groups, and
    // more columns than are packed at a time.
    let far = Shape { n: 2, channels: [70, 40], stride: [2, 2], ..plain };
    assert!(case(far, 2, &[7, 21]));
    assert!(case(Shape { padding: [0, 0], after: [0, 0], ..far }, 1, &[5]));
    assert!(case(Shape { channels: [130, 70], stride: [1, 1], ..far }, 1, &[3, 50]));
    assert!(case(Shape { groups: 2, channels: [65, 40], stride: [1, 1], ..far }, 1, &[9]));
    assert!(case(Shape { channels: [130, 300], stride: [1, 1], input: [4, 4], ..far }, 2, &[90, 300]));
    // More splits than images; padding beyond the kernel's reach.
    assert!(case(Shape { n: 2, ..plain }, 5, &[3]));
    assert!(case(Shape { n: 2, padding: [5, 4], after: [6, 5], ..plain }, 1, &[3]));
    // Pointwise, which collapses to one matrix product.
    assert!(case(Shape { n: 3, kernel: [1, 1], padding: [0, 0], after: [0, 0], ..plain }, 1, &[3]));
}
