//! Every rule against central differences in f64, first and second order.

use super::gradient;
use crate::evaluate::{Symbols, Value, Values, evaluate_with};
use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Compare, Conv, Distribution, Op, Reduction, Unary};
use crate::graph::{Builder, DType, Graph, NodeId, TensorType};

/// Numbers that look random, the same in every run, in [-1, 1).
fn numbers(count: usize, mut seed: u64) -> Vec<f64> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 40) as f64) / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A function of some f32 inputs, being differentiated.
struct Case {
    name: String,
    builder: Builder,
    inputs: Vec<(String, NodeId, Vec<usize>)>,
    values: Values<f64>,
}

impl Case {
    fn new(name: impl Into<String>) -> Case {
        let name = name.into();
        Case { builder: Builder::new(name.clone()), name, inputs: Vec::new(), values: Values::new() }
    }

    /// An input with elements spread over [centre - spread, centre + spread).
    fn input(&mut self, shape: &[usize], centre: f64, spread: f64) -> NodeId {
        let count: usize = shape.iter().product();
        let seed = 7 + 31 * self.inputs.len() as u64;
        self.input_of(shape, numbers(count, seed).into_iter().map(|v| centre + spread * v).collect())
    }

    fn input_of(&mut self, shape: &[usize], values: Vec<f64>) -> NodeId {
        let name = format!("x{}", self.inputs.len());
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::from(*d)).collect();
        let id = self.builder.input(&name, TensorType::new(DType::F32, dims)).unwrap();
        self.values.insert(name.clone(), Value::from_f64(DType::F32, shape, &values).unwrap());
        self.inputs.push((name, id, shape.to_vec()));
        id
    }

    fn push(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.builder.push(op, inputs, None).unwrap()
    }

    fn push_as(&mut self, op: Op, inputs: &[NodeId], shape: &[usize]) -> NodeId {
        let dtype = self.builder.ty(inputs[0]).dtype;
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::from(*d)).collect();
        self.builder.push(op, inputs, Some(TensorType::new(dtype, dims))).unwrap()
    }

    /// A scalar that weighs every element of `y` differently.
    fn weighed(&mut self, y: NodeId) -> NodeId {
        let ty = self.builder.ty(y).clone();
        let axes: Vec<usize> = (0..ty.rank()).collect();
        let count = ty.elements().as_constant().unwrap() as usize;
        let table = numbers(count, 99).into_iter().map(|v| v + 1.5).collect();
        let weights = self.builder.push(Op::Table(table), &[], Some(ty)).unwrap();
        let product = self.builder.binary(Binary::Mul, y, weights).unwrap();
        self.builder.reduce(Reduction::Sum, product, &axes).unwrap()
    }

    /// Checks the gradient of the weighed sum of `y`, and the gradient of a weighed sum of that.
    fn check(mut self, y: NodeId) {
        let loss = self.weighed(y);
        let wrt: Vec<NodeId> = self.inputs.iter().map(|i| i.1).collect();
        let first = gradient(&mut self.builder, loss, None, &wrt).unwrap();
        self.compare(loss, &first, "first");
        let mut total: Option<NodeId> = None;
        for g in &first {
            let part = self.weighed(*g);
            total = Some(total.map_or(part, |t| self.builder.binary(Binary::Add, t, part).unwrap()));
        }
        let total = total.unwrap();
        let second = gradient(&mut self.builder, total, None, &wrt).unwrap();
        self.compare(total, &second, "second");
    }

    fn compare(&self, loss: NodeId, gradients: &[NodeId], order: &str) {
        let mut graph = self.builder.graph.clone();
        graph.outputs = vec![("loss".into(), loss)];
        let run = |graph: &Graph, values: &Values<f64>| {
            evaluate_with::<f64>(graph, values, &Values::new(), &Symbols::new())
                .unwrap_or_else(|e| panic!("{}: {e}", self.name))
        };
        let loss_at = |values: &Values<f64>| run(&graph, values).outputs["loss"].to_f64()[0];
        let mut adjoint = graph.clone();
        adjoint.outputs = gradients.iter().enumerate().map(|(i, g)| (format!("x{i}"), *g)).collect();
        let found = run(&adjoint, &self.values).outputs;
        for (name, _, shape) in &self.inputs {
            let (point, found) = (self.values[name].to_f64(), found[name].to_f64());
            for i in 0..point.len() {
                let step = 1e-5;
                let at = |delta: f64| {
                    let mut moved = point.clone();
                    moved[i] += delta;
                    let mut values = self.values.clone();
                    values.insert(name.clone(), Value::from_f64(DType::F32, shape, &moved).unwrap());
                    loss_at(&values)
                };
                let expected = (at(step) - at(-step)) / (2.0 * step);
                assert!(
                    (expected - found[i]).abs() <= 1e-5 * (1.0 + expected.abs()),
                    "{}, {order} gradient of {name}[{i}]: {} but the difference says {expected}",
                    self.name,
                    found[i]
                );
            }
        }
    }
}

#[test]
fn unary_rules() {
    for &op in Unary::ALL {
        if op == Unary::Not {
            continue;
        }
        let mut case = Case::new(op.name());
        let positive = matches!(op, Unary::Sqrt | Unary::Rsqrt | Unary::Log);
        let x = if positive { case.input(&[5], 1.5, 1.0) } else { case.input(&[5], 0.1, 0.8) };
        let y = case.push(Op::Unary(op), &[x]);
        case.check(y);
    }
}

#[test]
fn binary_rules() {
    for &op in Binary::ALL {
        if matches!(op, Binary::And | Binary::Or) {
            continue;
        }
        let mut case = Case::new(op.name());
        let positive = op == Binary::Pow;
        let a = if positive { case.input(&[6], 1.5, 1.0) } else { case.input(&[6], 0.1, 2.0) };
        let b = case.input(&[6], 1.4, 0.6);
        let y = case.push(Op::Binary(op), &[a, b]);
        case.check(y);
        let mut case = Case::new(format!("{} of one input", op.name()));
        let a = case.input(&[6], 1.5, 1.0);
        let squared = case.push(Op::Binary(Binary::Mul), &[a, a]);
        // Larger than `a` by a margin or smaller by one, and never tied.
        let y = case.push(Op::Binary(op), &[a, squared]);
        case.check(y);
    }
}

#[test]
fn powers_of_a_constant_exponent() {
    for exponent in [0.0, 1.0, 2.0, 3.0, -1.0, 0.5] {
        let mut case = Case::new(format!("pow {exponent}"));
        let x = case.input(&[4], 1.5, 1.0);
        let ty = case.builder.ty(x).clone();
        let p = case.builder.full(exponent, &ty).unwrap();
        let y = case.push(Op::Binary(Binary::Pow), &[x, p]);
        case.check(y);
    }
    // A negative base has a derivative when the exponent is a whole constant.
    let mut case = Case::new("pow 3 of a negative base");
    let x = case.input(&[4], -1.5, 1.0);
    let ty = case.builder.ty(x).clone();
    let p = case.builder.full(3.0, &ty).unwrap();
    let y = case.push(Op::Binary(Binary::Pow), &[x, p]);
    case.check(y);
}

/// Runs a graph of one f32[k] input `x` and gives the gradient of the sum of `y`.
fn gradient_at(x: &[f64], y: impl Fn(&mut Builder, NodeId) -> NodeId) -> Vec<f64> {
    let mut b = Builder::new("point");
    let input = b.input("x", TensorType::new(DType::F32, [Dim::from(x.len())])).unwrap();
    let y = y(&mut b, input);
    let g = gradient(&mut b, y, None, &[input]).unwrap();
    b.graph.outputs = vec![("g".into(), g[0])];
    let values = Values::from([("x".to_string(), Value::from_f64(DType::F32, &[x.len()], x).unwrap())]);
    evaluate_with::<f64>(&b.graph, &values, &Values::new(), &Symbols::new()).unwrap().outputs["g"].to_f64()
}

#[test]
fn choices_where_no_derivative_exists() {
    let constant = |b: &mut Builder, value: f64, like: NodeId| {
        let ty = b.ty(like).clone();
        b.full(value, &ty).unwrap()
    };
    // relu at 0, from both sides of `max`; clamping from above.
    for swapped in [false, true] {
        let g = gradient_at(&[-1.0, 0.0, 2.0], |b, x| {
            let zero = constant(b, 0.0, x);
            let (p, q) = if swapped { (zero, x) } else { (x, zero) };
            b.binary(Binary::Max, p, q).unwrap()
        });
        assert_eq!(g, [0.0, 0.0, 1.0]);
    }
    let g = gradient_at(&[-1.0, 0.0, 2.0], |b, x| {
        let zero = constant(b, 0.0, x);
        b.binary(Binary::Min, x, zero).unwrap()
    });
    assert_eq!(g, [1.0, 0.0, 0.0]);
    // A tie of two tensors goes to the first: here to x, and not to 2x - x.
    let g = gradient_at(&[1.0, -1.0], |b, x| {
        let two = constant(b, 2.0, x);
        let double = b.binary(Binary::Mul, x, two).unwrap();
        let same = b.binary(Binary::Sub, double, x).unwrap();
        let half = b.push(Op::Hold, &[x], None).unwrap();
        let kept = b.binary(Binary::Max, half, same).unwrap();
        b.binary(Binary::Min, x, kept).unwrap()
    });
    assert_eq!(g, [1.0, 1.0]);
    assert_eq!(gradient_at(&[0.0, 3.0], |b, x| b.unary(Unary::Abs, x).unwrap()), [0.0, 1.0]);
    // The first largest element gets it all.
    let g = gradient_at(&[1.0, 3.0, 3.0], |b, x| b.reduce(Reduction::Max, x, &[0]).unwrap());
    assert_eq!(g, [0.0, 1.0, 0.0]);
    // Products with zeros: one, two, none.
    let product = |b: &mut Builder, x: NodeId| b.reduce(Reduction::Prod, x, &[0]).unwrap();
    assert_eq!(gradient_at(&[2.0, 0.0, 5.0], product), [0.0, 10.0, 0.0]);
    assert_eq!(gradient_at(&[0.0, 0.0, 5.0], product), [0.0, 0.0, 0.0]);
    // 0^p is flat in p, and 0^0 in its base.
    let g = gradient_at(&[0.0, 2.0], |b, p| {
        let base = constant(b, 0.0, p);
        b.binary(Binary::Pow, base, p).unwrap()
    });
    assert_eq!(g, [0.0, 0.0]);
    let g = gradient_at(&[0.0, 2.0], |b, x| {
        let held = b.push(Op::Hold, &[x], None).unwrap();
        b.binary(Binary::Pow, x, held).unwrap()
    });
    assert_eq!(g, [0.0, 4.0]);
}

#[test]
fn nothing_flows_through_hold_and_random() {
    assert_eq!(gradient_at(&[1.0, 2.0], |b, x| b.push(Op::Hold, &[x], None).unwrap()), [0.0, 0.0]);
    let mut b = Builder::new("dropout");
    let x = b.input("x", TensorType::new(DType::F32, [Dim::constant(8)])).unwrap();
    let state = b.input("random", TensorType::new(DType::I64, [Dim::constant(2)])).unwrap();
    let ty = b.ty(x).clone();
    let op = Op::Random { distribution: Distribution::Uniform, key: "drop".into() };
    let noise = b.push(op, &[state], Some(ty.clone())).unwrap();
    let half = b.full(0.5, &ty).unwrap();
    let keep = b.compare(Compare::Lt, noise, half).unwrap();
    let zero = b.full(0.0, &ty).unwrap();
    let y = b.select(keep, x, zero).unwrap();
    let g = gradient(&mut b, y, None, &[x]).unwrap()[0];
    b.graph.outputs = vec![("y".into(), y), ("g".into(), g)];
    let inputs = Values::<f64>::from([
        ("x".to_string(), Value::from_f64(DType::F32, &[8], &[1.0; 8]).unwrap()),
        ("random".to_string(), crate::evaluate::random_state(3, 4)),
    ]);
    let out = evaluate_with(&b.graph, &inputs, &Values::new(), &Symbols::new()).unwrap().outputs;
    assert_eq!(out["y"], out["g"]);
    let kept = out["y"].to_f64().iter().filter(|v| **v != 0.0).count();
    assert!((1..8).contains(&kept), "{kept}");
    let integer = b.cast(x, DType::I32).unwrap();
    assert!(gradient(&mut b, integer, None, &[x]).is_err());
}

#[test]
fn select_cast_and_fan_out() {
    let mut case = Case::new("select");
    let (a, b) = (case.input(&[2, 3], 0.0, 1.0), case.input(&[2, 3], 0.3, 1.0));
    let bigger = case.push(Op::Compare(Compare::Lt), &[a, b]);
    let sum = case.push(Op::Binary(Binary::Mul), &[a, b]);
    let y = case.push(Op::Select, &[bigger, sum, b]);
    case.check(y);
    let mut case = Case::new("cast");
    let a = case.input(&[3], 0.0, 1.0);
    let half = case.builder.cast(a, DType::BF16).unwrap();
    let square = case.push(Op::Binary(Binary::Mul), &[half, half]);
    let y = case.builder.cast(square, DType::F32).unwrap();
    case.check(y);
}

#[test]
fn reductions_and_sums_along_an_axis() {
    for &reduction in Reduction::ALL {
        if matches!(reduction, Reduction::Any | Reduction::All) {
            continue;
        }
        for axes in [vec![1], vec![0, 2], vec![0, 1, 2], vec![2]] {
            let mut case = Case::new(format!("{} {axes:?}", reduction.name()));
            let x = case.input(&[2, 3, 2], 0.5, 1.0);
            let y = case.push(Op::Reduce { reduction, axes }, &[x]);
            case.check(y);
        }
    }
    for (reverse, exclusive) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut case = Case::new(format!("cumulative sum {reverse} {exclusive}"));
        let x = case.input(&[2, 3], 0.0, 1.0);
        let square = case.push(Op::Binary(Binary::Mul), &[x, x]);
        let y = case.push(Op::CumulativeSum { axis: 1, reverse, exclusive }, &[square]);
        case.check(y);
    }
}

#[test]
fn contractions() {
    type Pairs = Vec<(usize, usize)>;
    let cases: Vec<(&[usize], &[usize], Pairs, Pairs)> = vec![
        (&[2, 3], &[3, 4], vec![], vec![(1, 0)]),
        (&[3, 2], &[4, 3], vec![], vec![(0, 1)]),
        (&[2, 3, 2], &[2, 2, 3], vec![(0, 1)], vec![(1, 2)]),
        (&[2, 3, 4], &[4, 3, 2], vec![], vec![(1, 1), (2, 0)]),
        (&[4, 2, 3, 2], &[2, 3, 4], vec![(3, 0), (2, 1)], vec![(0, 2)]),
        (&[2], &[3], vec![], vec![]),
        (&[3], &[3], vec![], vec![(0, 0)]),
        (&[2, 3], &[3, 2], vec![(0, 1), (1, 0)], vec![]),
    ];
    for (a, b, batch, sum) in cases {
        let mut case = Case::new(format!("contract {a:?} {b:?} {batch:?} {sum:?}"));
        let (a, b) = (case.input(a, 0.2, 1.0), case.input(b, -0.1, 1.0));
        let y = case.push(Op::Contract { batch, sum }, &[a, b]);
        case.check(y);
    }
}

fn conv(stride: &[usize], padding: &[(i64, i64)], dilation: &[usize], groups: usize) -> Conv {
    Conv {
        stride: stride.to_vec(),
        padding: padding.iter().map(|(a, b)| (Dim::from(*a), Dim::from(*b))).collect(),
        dilation: dilation.to_vec(),
        groups,
    }
}

#[test]
fn convolutions() {
    let cases: Vec<(&[usize], &[usize], Conv)> = vec![
        (&[2, 5, 2], &[3, 2, 3], conv(&[1], &[(0, 0)], &[1], 1)),
        (&[1, 8, 2], &[3, 1, 4], conv(&[2], &[(1, 2)], &[2], 2)),
        (&[1, 4, 4, 2], &[3, 3, 2, 2], conv(&[1, 1], &[(1, 1), (1, 1)], &[1, 1], 1)),
        (&[1, 6, 5, 2], &[3, 2, 2, 1], conv(&[2, 3], &[(1, 0), (0, 2)], &[1, 2], 1)),
        // Depthwise, with a remainder that no window reaches.
        (&[1, 6, 4, 3], &[3, 2, 1, 3], conv(&[2, 2], &[(0, 0), (0, 1)], &[1, 1], 3)),
        (&[1, 5, 3, 4], &[2, 2, 2, 4], conv(&[1, 2], &[(1, 1), (0, 0)], &[3, 1], 2)),
    ];
    for (x, w, conv) in cases {
        let name = format!("{x:?} {w:?} {conv:?}");
        let mut case = Case::new(format!("conv {name}"));
        let (x_id, w_id) = (case.input(x, 0.1, 1.0), case.input(w, 0.2, 1.0));
        let y = case.push(Op::Conv(conv.clone()), &[x_id, w_id]);
        let out: Vec<usize> =
            case.builder.ty(y).shape.iter().map(|d| d.as_constant().unwrap() as usize).collect();
        case.check(y);
        let mut case = Case::new(format!("conv data {name}"));
        let (dy, w_id) = (case.input(&out, 0.1, 1.0), case.input(w, 0.2, 1.0));
        let y = case.push_as(Op::ConvData(conv.clone()), &[dy, w_id], x);
        case.check(y);
        let mut case = Case::new(format!("conv weights {name}"));
        let (x_id, dy) = (case.input(x, 0.1, 1.0), case.input(&out, 0.2, 1.0));
        let y = case.push_as(Op::ConvWeights(conv), &[x_id, dy], w);
        case.check(y);
    }
}

#[test]
fn indexing() {
    for axis in [0, 1, 2] {
        let indices = |case: &mut Case| {
            let ty = TensorType::new(DType::I32, [Dim::constant(2), Dim::constant(2)]);
            case.builder.push(Op::Table(vec![1.0, 0.0, 1.0, 9.0]), &[], Some(ty)).unwrap()
        };
        let mut case = Case::new(format!("gather {axis}"));
        let x = case.input(&[2, 3, 2], 0.0, 1.0);
        let i = indices(&mut case);
        let square = case.push(Op::Binary(Binary::Mul), &[x, x]);
        let y = case.push(Op::Gather { axis }, &[square, i]);
        let mut shape: Vec<usize> = vec![2, 3, 2];
        shape.splice(axis..=axis, [2, 2]);
        case.check(y);
        let mut case = Case::new(format!("scatter {axis}"));
        let x = case.input(&shape, 0.0, 1.0);
        let i = indices(&mut case);
        let square = case.push(Op::Binary(Binary::Mul), &[x, x]);
        let y = case.push_as(Op::ScatterAdd { axis }, &[square, i], &[2, 3, 2]);
        case.check(y);
    }
    for shape in [&[5][..], &[2, 4], &[2, 2, 3]] {
        for (falling, count) in [(true, Some(2)), (false, None)] {
            let mut case =
                Case::new(format!("the first {count:?} of {shape:?} in order, falling: {falling}"));
            let x = case.input(shape, 0.0, 1.0);
            let square = case.push(Op::Binary(Binary::Mul), &[x, x]);
            let first = [&shape[..shape.len() - 1], &[count.unwrap_or(shape[shape.len() - 1])]].concat();
            let y = case.push_as(Op::Sort { falling, indices: false }, &[square], &first);
            case.check(y);
        }
    }
}

/// A view or a placement of the square of an input.
fn check_view(name: &str, shape: &[usize], op: Op, result: Option<&[usize]>) {
    let mut case = Case::new(name);
    let x = case.input(shape, 0.0, 1.0);
    let square = case.push(Op::Binary(Binary::Mul), &[x, x]);
    let y = match result {
        Some(result) => case.push_as(op, &[square], result),
        None => case.push(op, &[square]),
    };
    case.check(y);
}

#[test]
fn views_and_placements() {
    check_view("reshape", &[2, 3, 2], Op::Reshape, Some(&[4, 3]));
    check_view("transpose", &[2, 3, 2], Op::Transpose { permutation: vec![2, 0, 1] }, None);
    check_view("broadcast", &[1, 3], Op::Broadcast { axes: vec![1, 3] }, Some(&[2, 4, 2, 3]));
    check_view("broadcast of ones", &[1, 1], Op::Broadcast { axes: vec![0, 1] }, Some(&[1, 3]));
    for (start, step, count) in
        [(0, 1, 7), (2, 1, 3), (0, 2, 4), (1, 3, 2), (1, 2, 3), (6, -1, 7), (5, -2, 3), (6, -3, 2), (4, 5, 1)]
    {
        let op = Op::Slice { axis: 1, start: Dim::constant(start), step };
        check_view(&format!("slice {start} {step} {count}"), &[2, 7], op, Some(&[2, count as usize]));
    }
    type Windows<'a> = (&'a [usize], usize, [Vec<usize>; 3]);
    let windows: [Windows<'_>; 4] = [
        (&[2, 7], 1, [vec![3], vec![1], vec![2]]),
        (&[7, 2], 0, [vec![3], vec![2], vec![1]]),
        (&[1, 5, 4, 2], 1, [vec![2, 3], vec![2, 1], vec![1, 1]]),
        (&[1, 6, 6], 1, [vec![2, 2], vec![2, 3], vec![3, 1]]),
    ];
    for (shape, axis, [size, stride, dilation]) in windows {
        let name = format!("window {shape:?} {size:?} {stride:?} {dilation:?}");
        let op = Op::Window { axis, size: size.clone(), stride: stride.clone(), dilation: dilation.clone() };
        let mut b = Builder::new("shape");
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::from(*d)).collect();
        let x = b.input("x", TensorType::new(DType::F32, dims)).unwrap();
        let y = b.push(op.clone(), &[x], None).unwrap();
        let out: Vec<usize> = b.ty(y).shape.iter().map(|d| d.as_constant().unwrap() as usize).collect();
        check_view(&name, shape, op, None);
        check_view(&format!("un{name}"), &out, Op::Unwindow { axis, size, stride, dilation }, Some(shape));
    }
    let amounts = vec![(Dim::constant(1), Dim::constant(0)), (Dim::constant(0), Dim::constant(2))];
    check_view("pad", &[2, 3], Op::Pad { amounts, value: 3.0 }, None);
    let mut case = Case::new("concat");
    let (a, b) = (case.input(&[2, 2], 0.0, 1.0), case.input(&[2, 3], 0.0, 1.0));
    let square = case.push(Op::Binary(Binary::Mul), &[a, a]);
    let y = case.push(Op::Concat { axis: 1 }, &[square, b, a]);
    let y = case.push(Op::Binary(Binary::Mul), &[y, y]);
    case.check(y);
}

#[test]
fn slices_that_tile_a_tensor_have_a_concatenation_as_gradient() {
    let mut b = Builder::new("gates");
    let x = b.input("x", TensorType::new(DType::F32, [Dim::symbol("n"), Dim::constant(4)])).unwrap();
    let mut halves = Vec::new();
    for start in [0i64, 2] {
        let ty = TensorType::new(DType::F32, [Dim::symbol("n"), Dim::constant(2)]);
        let op = Op::Slice { axis: 1, start: Dim::constant(start), step: 1 };
        halves.push(b.push(op, &[x], Some(ty)).unwrap());
    }
    let y = b.binary(Binary::Mul, halves[0], halves[1]).unwrap();
    let g = gradient(&mut b, y, None, &[x]).unwrap()[0];
    assert_eq!(b.graph.node(g).op, Op::Concat { axis: 1 });
    assert!(!b.graph.nodes.iter().any(|n| matches!(n.op, Op::Pad { .. })));
}

#[test]
fn unreached_inputs_get_zeros_and_paths_get_a_mark() {
    let mut b = Builder::new("paths");
    b.path = "Net.dense".into();
    let x = b.input("x", TensorType::new(DType::F32, [Dim::constant(2)])).unwrap();
    let z = b.input("z", TensorType::new(DType::F32, [Dim::symbol("n")])).unwrap();
    let y = b.unary(Unary::Exp, x).unwrap();
    b.path = "after".into();
    let before = b.graph.nodes.len();
    let g = gradient(&mut b, y, None, &[x, z, y]).unwrap();
    assert_eq!(b.ty(g[1]), &TensorType::new(DType::F32, [Dim::symbol("n")]));
    assert!(b.graph.nodes[before..].iter().all(|n| &*n.path == "Net.dense'"));
    assert_eq!(&*b.path, "after");
    // The adjoint of y itself is the seed.
    assert_eq!(b.ty(g[2]), b.ty(y));
}

#[test]
fn a_seed_weighs_the_elements() {
    let mut b = Builder::new("seed");
    let ty = TensorType::new(DType::F32, [Dim::constant(2)]);
    let x = b.input("x", ty.clone()).unwrap();
    let y = b.binary(Binary::Mul, x, x).unwrap();
    let seed = b.push(Op::Table(vec![1.0, 10.0]), &[], Some(ty)).unwrap();
    let g = gradient(&mut b, y, Some(seed), &[x]).unwrap()[0];
    b.graph.outputs = vec![("g".into(), g)];
    let values = Values::from([("x".to_string(), Value::from_f64(DType::F32, &[2], &[3.0, 4.0]).unwrap())]);
    let out = evaluate_with::<f64>(&b.graph, &values, &Values::new(), &Symbols::new()).unwrap().outputs;
    assert_eq!(out["g"].to_f64(), [6.0, 80.0]);
    let scalar = b.constant(1.0, DType::F32).unwrap();
    assert!(gradient(&mut b, y, Some(scalar), &[x]).unwrap_err().message.contains("seed"));
}
