//! Loop nests on a GPU (here an interpreter of their kernels), in all forms that the back end prints, at sizes where packs end early, rows are
//! shared and groups are uneven, and on numbers at the edges of their types. Without NVRTC there is nothing to run; see [`weft_tests::cuda`].

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_compiler::graph::op::{Binary, Compare, Distribution, Op, Reduction, Unary};
use weft_compiler::graph::random::Rng;
use weft_compiler::graph::{Builder, Dim, Entry, Module, NodeId, TensorType, TypeError};
use weft_runtime::program::{DType, InputSource};
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::{batches, cuda, specs};

type Made = Result<Vec<NodeId>, TypeError>;

/// A tensor of these numbers, each as its type holds it.
fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
    let bytes = |v: f64| -> Vec<u8> {
        match dtype {
            DType::F32 => (v as f32).to_le_bytes().into(),
            DType::F64 => v.to_le_bytes().into(),
            DType::F16 => half::f16::from_f64(v).to_le_bytes().into(),
            DType::BF16 => half::bf16::from_f64(v).to_le_bytes().into(),
            DType::I8 => (v as i8).to_le_bytes().into(),
            DType::U8 => vec![v as u8],
            DType::I32 => (v as i32).to_le_bytes().into(),
            DType::I64 => (v as i64).to_le_bytes().into(),
            DType::Bool => vec![u8::from(v != 0.0)],
        }
    };
    Tensor { dtype, shape: shape.to_vec(), data: values.iter().flat_map(|v| bytes(*v)).collect() }
}

/// Numbers in [-2, 2), or small whole ones.
fn numbers(dtype: DType, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(shape.iter().sum::<usize>() as u64);
    let mut value = || if dtype.is_float() { 2.0 * rng.unit() } else { rng.below(5) as f64 };
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| value()).collect();
    tensor(dtype, shape, &values)
}

/// A graph over inputs of these names and types; the first extent of each is `n` where `free` says so.
fn module(inputs: &[(&str, &Tensor)], free: bool, build: &dyn Fn(&mut Builder, &[NodeId]) -> Made) -> Module {
    let made = || -> Result<Builder, TypeError> {
        let mut b = Builder::new("nests");
        let mut nodes = Vec::new();
        for (name, tensor) in inputs {
            let mut shape: Vec<Dim> = tensor.shape.iter().map(|e| Dim::from(*e)).collect();
            if let (true, Some(first)) = (free && *name != "random", shape.first_mut()) {
                *first = Dim::symbol("n");
            }
            nodes.push(b.input(name, TensorType::new(tensor.dtype, shape))?);
        }
        let outputs = build(&mut b, &nodes)?;
        b.graph.outputs = outputs.into_iter().enumerate().map(|(at, id)| (format!("y{at}"), id)).collect();
        Ok(b)
    };
    let graph = made().expect("the graph is well typed").graph;
    let typed = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Input(name) => Some((name.clone(), node.ty.clone(), InputSource::Caller)),
        _ => None,
    });
    let inputs = typed.collect();
    Module { name: "nests".into(), entries: vec![Entry { graph, inputs }], ..Module::default() }
}

/// Runs a graph on the GPU and compares it with a device of the same precision; floats may be off by `slack` of the largest.
fn agrees(
    against: Device,
    slack: f64,
    inputs: &[(&str, Tensor)],
    free: bool,
    build: &dyn Fn(&mut Builder, &[NodeId]) -> Made,
) {
    let named: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let module = module(&named, free, build);
    let given: Tensors = inputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    let run = |device| Machine::new(module.clone(), device).run("nests", &given);
    let (wanted, got): (BTreeMap<_, Vec<f64>>, _) = (run(against), run(Device::Cuda));
    for (at, (name, id)) in module.entries[0].graph.outputs.iter().enumerate() {
        let node = module.entries[0].graph.node(*id);
        let slack = if node.ty.dtype.is_float() { slack } else { 0.0 };
        let largest = wanted[name].iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
        for (place, (wanted, got)) in wanted[name].iter().zip(&got[name]).enumerate() {
            let same = wanted == got || wanted.is_nan() && got.is_nan();
            let shapes: Vec<_> = inputs.iter().map(|i| &i.1.shape).collect();
            assert!(
                same || (wanted - got).abs() <= slack * largest,
                "output {at} ({:?} of {shapes:?}), element {place}: {got}, not {wanted}",
                node.op
            );
        }
    }
}

fn broadcast_rows(b: &mut Builder, row: NodeId, like: NodeId) -> Result<NodeId, TypeError> {
    let shape = b.ty(like).shape.clone();
    b.broadcast_to(row, &shape)
}

#[test]
fn maps_agree_at_all_widths() {
    if !cuda::is_ready() {
        return;
    }
    for width in [1, 2, 3, 4, 7, 8, 20, 64] {
        for n in [1, 5, 67] {
            let inputs = [("x", numbers(DType::F32, &[n, width])), ("row", numbers(DType::F32, &[width]))];
            agrees(Device::Evaluator32, 1e-6, &inputs, false, &|b, v| {
                let row = broadcast_rows(b, v[1], v[0])?;
                let sum = b.binary(Binary::Add, v[0], row)?;
                let turned = b.transpose(sum, &[1, 0])?;
                let e = b.unary(Unary::Exp, v[0])?;
                Ok(vec![sum, turned, e])
            });
            agrees(Device::Evaluator32, 1e-6, &inputs[..1], true, &|b, v| {
                let e = b.unary(Unary::Exp, v[0])?;
                let half = b.cast(e, DType::F16)?;
                let turned = b.transpose(v[0], &[1, 0])?;
                Ok(vec![e, half, turned])
            });
        }
    }
}

#[test]
fn axes_of_any_extent_may_change_places() {
    if !cuda::is_ready() {
        return;
    }
    for (n, height, width) in [(5, 7, 18), (2, 3, 8), (33, 1, 5)] {
        let inputs = [("x", numbers(DType::F32, &[n, height, width]))];
        agrees(Device::Evaluator32, 0.0, &inputs, true, &|b, v| {
            let orders = [[1, 0, 2], [2, 0, 1], [2, 1, 0], [0, 2, 1]];
            orders.iter().map(|order| b.transpose(v[0], order)).collect()
        });
    }
}

#[test]
fn reductions_agree_along_every_axis() {
    if !cuda::is_ready() {
        return;
    }
    for (n, width) in [(1, 1), (3, 5), (17, 10), (5, 12), (40, 33), (9, 128), (3, 300), (2, 1030), (2, 2052)]
    {
        for free in [false, true] {
            let inputs = [("x", numbers(DType::F32, &[n, width]))];
            agrees(Device::Evaluator64, 2e-6, &inputs, free, &|b, v| {
                let mut outputs = Vec::new();
                for axes in [vec![0], vec![1], vec![0, 1]] {
                    for how in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
                        outputs.push(b.reduce(how, v[0], &axes)?);
                    }
                    for largest in [true, false] {
                        outputs.push(b.push(Op::ArgReduce { largest, axes: axes.clone() }, v, None)?);
                    }
                }
                Ok(outputs)
            });
            let whole = [("x", numbers(DType::I32, &[n, width]))];
            agrees(Device::Evaluator64, 0.0, &whole, free, &|b, v| {
                let mut outputs = Vec::new();
                let flags = b.cast(v[0], DType::Bool)?;
                let bytes = b.cast(v[0], DType::U8)?;
                for axes in [vec![0], vec![1], vec![0, 1]] {
                    for how in [Reduction::Sum, Reduction::Max, Reduction::Min] {
                        outputs.push(b.reduce(how, v[0], &axes)?);
                        outputs.push(b.reduce(how, bytes, &axes)?);
                    }
                    outputs.push(b.reduce(Reduction::Any, flags, &axes)?);
                    outputs.push(b.reduce(Reduction::All, flags, &axes)?);
                }
                Ok(outputs)
            });
        }
    }
}

#[test]
fn a_place_is_the_first_of_equals_and_not_a_number_wins() {
    if !cuda::is_ready() {
        return;
    }
    for width in [3, 10, 70, 1500] {
        let n = 6;
        let mut values: Vec<f64> = (0..n * width).map(|at| (at % 3) as f64).collect();
        // All the same; a lowest number; one NaN; two; infinities.
        values[..width].fill(2.0);
        values[width..2 * width].fill(f64::NEG_INFINITY);
        values[2 * width + width / 2] = f64::NAN;
        values[3 * width + 1] = f64::NAN;
        values[4 * width - 1] = f64::NAN;
        values[5 * width - 1] = f64::INFINITY;
        for transposed in [false, true] {
            let inputs = [("x", tensor(DType::F32, &[n, width], &values))];
            agrees(Device::Evaluator32, 0.0, &inputs, false, &|b, v| {
                let x = if transposed { b.transpose(v[0], &[1, 0])? } else { v[0] };
                let mut outputs = Vec::new();
                for axis in [0, 1] {
                    for largest in [true, false] {
                        outputs.push(b.push(Op::ArgReduce { largest, axes: vec![axis] }, &[x], None)?);
                    }
                    outputs.push(b.reduce(Reduction::Max, x, &[axis])?);
                    outputs.push(b.reduce(Reduction::Min, x, &[axis])?);
                }
                Ok(outputs)
            });
        }
    }
}

#[test]
fn long_columns_are_summed_in_blocks() {
    if !cuda::is_ready() {
        return;
    }
    let inputs = [("x", numbers(DType::F32, &[4500, 12]))];
    agrees(Device::Evaluator64, 2e-5, &inputs, false, &|b, v| {
        Ok(vec![b.reduce(Reduction::Sum, v[0], &[0])?])
    });
}

/// Fewer columns than make a line of memory, as many as there are; of all sizes of elements, in rows that begin anywhere in a sector.
#[test]
fn narrow_columns_agree() {
    if !cuda::is_ready() {
        return;
    }
    for width in 1..32 {
        for (n, rows) in [(1, 211), (3, 67 + width)] {
            let inputs = [("x", numbers(DType::F32, &[n, rows, width]))];
            agrees(Device::Evaluator64, 2e-6, &inputs, width % 2 == 0, &|b, v| {
                let square = b.binary(Binary::Mul, v[0], v[0])?;
                let sum = b.reduce(Reduction::Sum, square, &[1])?;
                let place = b.push(Op::ArgReduce { largest: true, axes: vec![1] }, v, None)?;
                Ok(vec![sum, place, b.reduce(Reduction::Sum, v[0], &[0, 1])?])
            });
        }
    }
    for dtype in [DType::F64, DType::F16, DType::BF16, DType::I64, DType::I32, DType::I8, DType::U8] {
        for width in [1, 3, 12, 29] {
            let inputs = [("x", numbers(dtype, &[2, 131, width]))];
            agrees(Device::Evaluator32, 1e-2, &inputs, false, &|b, v| {
                let sums = if dtype.is_float() { b.cast(v[0], DType::F32)? } else { v[0] };
                let sum = b.reduce(Reduction::Sum, sums, &[1])?;
                Ok(vec![sum, b.reduce(Reduction::Max, v[0], &[1])?, b.reduce(Reduction::Min, v[0], &[0, 1])?])
            });
        }
    }
}

#[test]
fn norms_and_softmax_agree() {
    if !cuda::is_ready() {
        return;
    }
    for width in [7, 64, 300] {
        let inputs = [("x", numbers(DType::F32, &[9, width]))];
        agrees(Device::Evaluator64, 1e-5, &inputs, true, &|b, v| {
            let shape = b.ty(v[0]).shape.clone();
            let largest = b.reduce(Reduction::Max, v[0], &[1])?;
            let largest = b.broadcast_back(largest, &shape, &[1])?;
            let shifted = b.binary(Binary::Sub, v[0], largest)?;
            let e = b.unary(Unary::Exp, shifted)?;
            let sum = b.reduce(Reduction::Sum, e, &[1])?;
            let sum = b.broadcast_back(sum, &shape, &[1])?;
            let softmax = b.binary(Binary::Div, e, sum)?;
            let square = b.binary(Binary::Mul, v[0], v[0])?;
            let length = b.reduce(Reduction::Sum, square, &[1])?;
            let factor = b.unary(Unary::Rsqrt, length)?;
            let factor = b.broadcast_back(factor, &shape, &[1])?;
            Ok(vec![softmax, b.binary(Binary::Mul, v[0], factor)?])
        });
    }
}

/// The softmax of a tensor over these axes, and the logarithm of the sum in it.
fn softmax(b: &mut Builder, x: NodeId, axes: &[usize]) -> Result<(NodeId, NodeId), TypeError> {
    let shape = b.ty(x).shape.clone();
    let largest = b.reduce(Reduction::Max, x, axes)?;
    let back = b.broadcast_back(largest, &shape, axes)?;
    let shifted = b.binary(Binary::Sub, x, back)?;
    let e = b.unary(Unary::Exp, shifted)?;
    let sum = b.reduce(Reduction::Sum, e, axes)?;
    let log = b.unary(Unary::Log, sum)?;
    let back = b.broadcast_back(sum, &shape, axes)?;
    Ok((b.binary(Binary::Div, e, back)?, b.binary(Binary::Add, log, largest)?))
}

/// The chains of nests that a GPU runs as one kernel: rows that threads keep or read again, of known and unknown length, with results that
/// others need too, by parts of a warp, warps and blocks.
#[test]
fn stages_over_the_same_rows_agree() {
    if !cuda::is_ready() {
        return;
    }
    for (n, width) in [(1, 1), (70, 7), (33, 64), (9, 300), (6, 1000), (5, 1030), (3, 4100), (33, 5000)] {
        let inputs = [
            ("x", numbers(DType::F32, &[n, width])),
            ("scale", numbers(DType::F32, &[width])),
            ("random", Tensor::from_i64(&[2], &[5, 9])),
        ];
        for free in [false, true] {
            // Where the rows are of any number, nothing else may be of as many.
            let given = if free { &inputs[..1] } else { &inputs[..2] };
            agrees(Device::Evaluator64, 2e-5, given, free, &|b, v| {
                let shape = b.ty(v[0]).shape.clone();
                let ty = b.ty(v[0]).clone();
                let sum = b.reduce(Reduction::Sum, v[0], &[1])?;
                let sum = b.broadcast_back(sum, &shape, &[1])?;
                let count = b.full(width as f64, &ty)?;
                let mean = b.binary(Binary::Div, sum, count)?;
                let centred = b.binary(Binary::Sub, v[0], mean)?;
                let square = b.binary(Binary::Mul, centred, centred)?;
                let spread = b.reduce(Reduction::Sum, square, &[1])?;
                let rate = b.unary(Unary::Rsqrt, spread)?;
                let back = b.broadcast_back(rate, &shape, &[1])?;
                let even = b.binary(Binary::Mul, centred, back)?;
                let even = match v.get(1) {
                    Some(scale) => {
                        let scale = broadcast_rows(b, *scale, v[0])?;
                        b.binary(Binary::Mul, even, scale)?
                    }
                    None => even,
                };
                let (soft, log) = softmax(b, even, &[1])?;
                let place = b.push(Op::ArgReduce { largest: true, axes: vec![1] }, &[v[0]], None)?;
                // What others need of the middle, and what only the end is of.
                Ok(vec![soft, log, place, centred, rate])
            });
        }
        // Rows that end with the tensor: one row, of a length that nobody knows before.
        if n * width < 4096 {
            agrees(Device::Evaluator64, 2e-5, &inputs[..1], true, &|b, v| {
                let (soft, log) = softmax(b, v[0], &[0, 1])?;
                Ok(vec![soft, log])
            });
        }
        // The gradient of a softmax, of what is kept of it, with dropout.
        agrees(Device::Evaluator64, 2e-5, &inputs, false, &|b, v| {
            let shape = b.ty(v[0]).shape.clone();
            let draw = b.push(
                Op::Random { distribution: Distribution::Uniform, key: "net.drop".into() },
                &[v[2]],
                Some(TensorType::new(DType::F32, shape.clone())),
            )?;
            let given = broadcast_rows(b, v[1], v[0])?;
            let given = b.binary(Binary::Mul, given, draw)?;
            let (soft, _) = softmax(b, v[0], &[1])?;
            let product = b.binary(Binary::Mul, soft, given)?;
            let sum = b.reduce(Reduction::Sum, product, &[1])?;
            let sum = b.broadcast_back(sum, &shape, &[1])?;
            let less = b.binary(Binary::Sub, given, sum)?;
            Ok(vec![b.binary(Binary::Mul, soft, less)?])
        });
    }
}

/// Elements of a row of two axes that are one along the last of them, and along the first, read by two stages of one kernel.
#[test]
fn rows_of_two_axes_read_what_is_one_along_either() {
    if !cuda::is_ready() {
        return;
    }
    for (height, width) in [(28, 28), (5, 64), (7, 9)] {
        let inputs = [
            ("x", numbers(DType::F32, &[6, height, width])),
            ("rows", numbers(DType::F32, &[6, height])),
            ("columns", numbers(DType::F32, &[6, width])),
        ];
        agrees(Device::Evaluator64, 2e-5, &inputs, false, &|b, v| {
            let shape = b.ty(v[0]).shape.clone();
            let rows = b.broadcast_back(v[1], &shape, &[2])?;
            let columns = b.broadcast_back(v[2], &shape, &[1])?;
            let both = b.binary(Binary::Mul, rows, columns)?;
            let x = b.binary(Binary::Add, v[0], both)?;
            let sum = b.reduce(Reduction::Sum, x, &[1, 2])?;
            let sum = b.broadcast_back(sum, &shape, &[1, 2])?;
            let less = b.binary(Binary::Sub, x, sum)?;
            Ok(vec![b.binary(Binary::Max, less, rows)?])
        });
    }
}

/// The mean and the variance of a tensor over these axes, and what is left of it.
fn moments(b: &mut Builder, x: NodeId, axes: &[usize]) -> Result<(NodeId, NodeId, NodeId), TypeError> {
    let shape = b.ty(x).shape.clone();
    let count = axes.iter().fold(Dim::constant(1), |count, axis| count * shape[*axis].clone());
    let sum = b.reduce(Reduction::Sum, x, axes)?;
    let ty = b.ty(sum).clone();
    let count = match count.as_constant() {
        Some(count) => b.full(count as f64, &ty)?,
        None => {
            let count = b.push(Op::DimValue(count), &[], Some(TensorType::scalar(DType::F32)))?;
            b.broadcast_to(count, &ty.shape)?
        }
    };
    let mean = b.binary(Binary::Div, sum, count)?;
    let back = b.broadcast_back(mean, &shape, axes)?;
    let centred = b.binary(Binary::Sub, x, back)?;
    let square = b.binary(Binary::Mul, centred, centred)?;
    let spread = b.reduce(Reduction::Sum, square, axes)?;
    Ok((mean, b.binary(Binary::Div, spread, count)?, centred))
}

/// What norms need of channels: columns in parts and whole, of known and unknown length, as many side by side as make lines of memory or
/// not, and the sums of their gradients. Numbers far from zero keep their variance.
#[test]
fn statistics_of_columns_agree() {
    if !cuda::is_ready() {
        return;
    }
    for (n, places, channels, far) in [
        (3, 7, 8, 0.0),
        (5, 33, 24, 0.0),
        (4, 100, 5, 0.0),
        (2, 1100, 16, 0.0),
        (6, 64, 32, 100.0),
        (70, 1, 40, 0.0),
    ] {
        let shape = [n, places, channels];
        let mut rng = Rng::new(places as u64);
        let values: Vec<f64> = (0..n * places * channels).map(|_| far + 2.0 * rng.unit() - 1.0).collect();
        let inputs = [
            ("x", tensor(DType::F32, &shape, &values)),
            ("g", numbers(DType::F32, &shape)),
            ("scale", numbers(DType::F32, &[channels])),
        ];
        for free in [false, true] {
            // Where the batch is of any size, nothing else may be of as many.
            let given = if free { &inputs[..1] } else { &inputs[..] };
            let slack = if far > 0.0 { 1e-4 } else { 1e-5 };
            agrees(Device::Evaluator64, slack, given, free, &|b, v| {
                let mut outputs = Vec::new();
                for axes in [&[1][..], &[0, 1], &[0]] {
                    let (mean, spread, centred) = moments(b, v[0], axes)?;
                    let shape = b.ty(v[0]).shape.clone();
                    let rate = b.unary(Unary::Rsqrt, spread)?;
                    let rate = b.broadcast_back(rate, &shape, axes)?;
                    let even = b.binary(Binary::Mul, centred, rate)?;
                    outputs.extend([mean, spread, even]);
                    let &[_, given, scale] = v else { continue };
                    // The gradient of a norm, with the sums as reverse mode makes them.
                    let scale = b.broadcast_to(scale, &shape)?;
                    let scaled = b.binary(Binary::Mul, given, scale)?;
                    let first = b.binary(Binary::Mul, given, even)?;
                    let second = b.binary(Binary::Mul, scaled, centred)?;
                    let rated = b.binary(Binary::Mul, scaled, rate)?;
                    let twice = b.binary(Binary::Mul, centred, rate)?;
                    let third = b.binary(Binary::Add, rated, twice)?;
                    let third = b.unary(Unary::Neg, third)?;
                    for sum in [given, first, second, third] {
                        outputs.push(b.reduce(Reduction::Sum, sum, axes)?);
                    }
                }
                Ok(outputs)
            });
        }
    }
}

#[test]
fn windows_agree_forward_and_back() {
    if !cuda::is_ready() {
        return;
    }
    // Side by side, with a margin, with a gap; over one another, with and without places that no window ends at; with gaps within.
    for (size, stride, dilation, extent, channels) in [
        (2, 2, 1, 8, 12),
        (2, 2, 1, 9, 3),
        (1, 2, 1, 9, 4),
        (2, 3, 1, 10, 4),
        (3, 2, 1, 9, 20),
        (3, 2, 1, 8, 8),
        (4, 3, 1, 11, 2),
        (3, 1, 2, 8, 5),
        (2, 2, 2, 9, 3),
        (3, 1, 1, 7, 1),
    ] {
        let count = (extent - dilation * (size - 1) - 1) / stride + 1;
        let inputs = [("x", numbers(DType::F32, &[3, extent, extent, channels]))];
        let (size, stride, dilation) = (vec![size; 2], vec![stride; 2], vec![dilation; 2]);
        agrees(Device::Evaluator64, 1e-6, &inputs, true, &|b, v| {
            let (size, stride, dilation) = (size.clone(), stride.clone(), dilation.clone());
            let window = Op::Window {
                axis: 1,
                size: size.clone(),
                stride: stride.clone(),
                dilation: dilation.clone(),
            };
            let windows = b.push(window, v, None)?;
            assert_eq!(b.ty(windows).shape[1], Dim::from(count));
            let pooled = b.reduce(Reduction::Max, windows, &[3, 4])?;
            let place = b.push(Op::ArgReduce { largest: true, axes: vec![3, 4] }, &[windows], None)?;
            let ty = b.ty(v[0]).clone();
            let twice = b.binary(Binary::Add, windows, windows)?;
            let back = b.push(Op::Unwindow { axis: 1, size, stride, dilation }, &[twice], Some(ty))?;
            Ok(vec![pooled, place, back])
        });
    }
}

#[test]
fn numbers_at_the_edges_of_their_types_agree() {
    if !cuda::is_ready() {
        return;
    }
    let nan = f64::NAN;
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        1e-8,
        -1e-8,
        0.3,
        7.0,
        -3.25,
        15.5,
        -15.5,
        30.0,
        -30.0,
        88.0,
        -88.0,
        1000.0,
        -1000.0,
        1e6,
        4e9,
        -4e9,
        1e19,
        3e38,
        -3e38,
        1e-40,
        f64::INFINITY,
        f64::NEG_INFINITY,
        nan,
    ];
    let count = floats.len();
    let pairs: Vec<f64> = floats.iter().flat_map(|_| floats).collect();
    let others: Vec<f64> = floats.iter().flat_map(|v| [*v; 32]).collect();
    for dtype in [DType::F32, DType::F64] {
        let against = if dtype == DType::F64 { Device::Evaluator64 } else { Device::Evaluator32 };
        let inputs = [("x", tensor(dtype, &[count], &floats))];
        // Each alone, since a large result would hide what a small one is off by.
        for op in Unary::ALL.iter().filter(|op| **op != Unary::Not) {
            agrees(against, 2e-6, &inputs, false, &|b, v| Ok(vec![b.unary(*op, v[0])?]));
        }
        let narrow = [DType::F32, DType::F16, DType::BF16];
        agrees(against, 0.0, &inputs, false, &|b, v| {
            let all = [
                DType::F32,
                DType::F64,
                DType::F16,
                DType::BF16,
                DType::I32,
                DType::I64,
                DType::I8,
                DType::U8,
            ];
            let mut outputs = vec![b.cast(v[0], DType::Bool)?];
            // The evaluator in f64 keeps what is narrower as f64, too.
            let is_kept = |to: &DType| dtype == DType::F64 && narrow.contains(to);
            for to in all.into_iter().filter(|to| *to != dtype && !is_kept(to)) {
                outputs.push(b.cast(v[0], to)?);
            }
            Ok(outputs)
        });
        // The CPU takes what is nearly 0 in f32 for 0.
        let normal: Vec<f64> = floats.into_iter().filter(|v| v.abs() != 1e-40).collect();
        agrees(Device::Cpu(1), 0.0, &[("x", tensor(dtype, &[normal.len()], &normal))], false, &|b, v| {
            narrow.iter().filter(|to| **to != dtype).map(|to| b.cast(v[0], *to)).collect()
        });
        let inputs =
            [("x", tensor(dtype, &[count * count], &pairs)), ("y", tensor(dtype, &[count * count], &others))];
        agrees(against, 0.0, &inputs, false, &|b, v| {
            let mut outputs = Vec::new();
            for op in [
                Binary::Add,
                Binary::Sub,
                Binary::Mul,
                Binary::Div,
                Binary::Max,
                Binary::Min,
                Binary::FloorDiv,
            ] {
                outputs.push(b.binary(op, v[0], v[1])?);
            }
            for op in Compare::ALL {
                outputs.push(b.compare(*op, v[0], v[1])?);
            }
            let chosen = outputs[outputs.len() - 1];
            outputs.push(b.select(chosen, v[0], v[1])?);
            Ok(outputs)
        });
    }
}

#[test]
fn integers_wrap_around_and_divide_by_zero() {
    if !cuda::is_ready() {
        return;
    }
    let edges = [
        (DType::I8, vec![-128.0, -127.0, -7.0, -1.0, 0.0, 1.0, 2.0, 5.0, 126.0, 127.0]),
        (DType::U8, vec![0.0, 1.0, 2.0, 3.0, 7.0, 127.0, 128.0, 200.0, 254.0, 255.0]),
        (
            DType::I32,
            vec![-2147483648.0, -2147483647.0, -7.0, -1.0, 0.0, 1.0, 2.0, 5.0, 65536.0, 2147483647.0],
        ),
        (DType::I64, vec![-9.0e18, -4294967296.0, -7.0, -1.0, 0.0, 1.0, 2.0, 5.0, 4294967296.0, 9.0e18]),
    ];
    for (dtype, values) in edges {
        let count = values.len();
        let pairs: Vec<f64> = values.iter().flat_map(|_| values.clone()).collect();
        let others: Vec<f64> = values.iter().flat_map(|v| vec![*v; count]).collect();
        let inputs =
            [("x", tensor(dtype, &[count * count], &pairs)), ("y", tensor(dtype, &[count * count], &others))];
        agrees(Device::Evaluator32, 0.0, &inputs, false, &|b, v| {
            let mut outputs = Vec::new();
            for op in [Unary::Neg, Unary::Abs, Unary::Sign] {
                outputs.push(b.unary(op, v[0])?);
            }
            for op in [
                Binary::Add,
                Binary::Sub,
                Binary::Mul,
                Binary::Div,
                Binary::FloorDiv,
                Binary::Rem,
                Binary::Max,
                Binary::Min,
                Binary::Pow,
            ] {
                outputs.push(b.binary(op, v[0], v[1])?);
            }
            for op in Compare::ALL {
                outputs.push(b.compare(*op, v[0], v[1])?);
            }
            for to in [DType::F32, DType::I8, DType::U8, DType::I32, DType::I64, DType::Bool] {
                if to != dtype {
                    outputs.push(b.cast(v[0], to)?);
                }
            }
            Ok(outputs)
        });
        agrees(Device::Evaluator64, 0.0, &inputs, false, &|b, v| Ok(vec![b.cast(v[0], DType::F64)?]));
    }
}

#[test]
fn truth_values_agree() {
    if !cuda::is_ready() {
        return;
    }
    let inputs = [
        ("x", tensor(DType::Bool, &[4, 5], &[0.0, 1.0, 1.0, 0.0, 1.0].repeat(4))),
        ("y", tensor(DType::Bool, &[4, 5], &[1.0, 1.0, 0.0, 0.0].repeat(5))),
    ];
    agrees(Device::Evaluator32, 0.0, &inputs, true, &|b, v| {
        let not = b.unary(Unary::Not, v[0])?;
        let and = b.binary(Binary::And, not, v[1])?;
        let or = b.binary(Binary::Or, not, v[1])?;
        let nested = b.binary(Binary::And, or, v[0])?;
        let number = b.cast(nested, DType::F32)?;
        Ok(vec![not, and, or, nested, number, b.cast(or, DType::I32)?, b.compare(Compare::Ne, v[0], v[1])?])
    });
}

/// Shapes that no kernel was made for, of which `cuda_bytes` counts what they move.
#[test]
fn shapes_that_nobody_made_kernels_for_agree() {
    if !cuda::is_ready() {
        return;
    }
    let checked = specs::check_file("tests/shapes.weft", &Options::default());
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let (mut wanted, mut got) =
        (Machine::new(module.clone(), Device::Evaluator32), Machine::new(module.clone(), Device::Cuda));
    for entry in &module.entries {
        let name = &entry.graph.name;
        let inputs = batches::of(&module, name, 3, 0);
        let (wanted, got) = (wanted.run(name, &inputs), got.run(name, &inputs));
        assert_eq!(wanted.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{name}");
        for (wanted, got) in wanted.values().zip(got.values()) {
            assert_eq!(wanted.len(), got.len(), "{name}");
            let largest = wanted.iter().fold(1.0, |most: f64, v| most.max(v.abs()));
            for (place, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                // The evaluator adds up 50,257 numbers one by one.
                let near = (wanted - got).abs() <= 3e-5 * largest;
                assert!(near, "{name}, element {place}: {got}, not {wanted}");
            }
        }
    }
}

#[test]
fn random_streams_are_those_of_the_cpu() {
    if !cuda::is_ready() {
        return;
    }
    let inputs = [("random", tensor(DType::I64, &[2], &[12345.0, 7.0]))];
    for width in [1usize, 4, 6, 33, 256] {
        for distribution in [Distribution::Uniform, Distribution::Normal] {
            let slack = if distribution == Distribution::Uniform { 0.0 } else { 1e-6 };
            agrees(Device::Cpu(1), slack, &inputs, false, &|b, v| {
                let ty = TensorType::new(DType::F32, vec![Dim::from(9usize), Dim::from(width)]);
                let op = Op::Random { distribution, key: "net.noise".into() };
                let drawn = b.push(op, v, Some(ty))?;
                let turned = b.transpose(drawn, &[1, 0])?;
                Ok(vec![drawn, b.unary(Unary::Neg, turned)?])
            });
        }
    }
}
