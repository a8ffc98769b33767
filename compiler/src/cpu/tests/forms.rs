//! The kernel forms at sizes where vectors, strips and several tasks matter.

use super::{Given, check, module, random};
use crate::cpu::{Compilation, Target};
use crate::graph::op::{Binary, Op, Reduction, Unary};
use crate::graph::{Builder, DType, Dim, Graph, NodeId, TensorType, TypeError};

type Built = Result<Builder, TypeError>;

fn given(name: &str, dtype: DType, shape: &[usize], below: usize) -> Given {
    let mut rng = random::Rng::new(shape.iter().sum::<usize>() as u64);
    let mut value = || if dtype.is_float() { 2.0 * rng.unit() } else { rng.below(below) as f64 };
    let values = (0..shape.iter().product()).map(|_| value()).collect();
    Given { name: name.into(), dtype, shape: shape.to_vec(), values }
}

/// A graph over `x: f32[n, width]`.
fn rows(width: i64, build: impl Fn(&mut Builder, NodeId) -> Result<Vec<NodeId>, TypeError>) -> Graph {
    let made = || -> Built {
        let mut b = Builder::new("rows");
        let n = Dim::symbol("n");
        b.graph.bounds.push(("n".into(), 64));
        let x = b.input("x", TensorType::new(DType::F32, vec![n, Dim::constant(width)]))?;
        let outputs = build(&mut b, x)?;
        b.graph.outputs = outputs.into_iter().enumerate().map(|(i, id)| (format!("y{i}"), id)).collect();
        Ok(b)
    };
    made().expect("the graph is well typed").graph
}

fn softmax(b: &mut Builder, x: NodeId) -> Result<NodeId, TypeError> {
    let shape = b.ty(x).shape.clone();
    let largest = b.reduce(Reduction::Max, x, &[1])?;
    let largest = b.broadcast_back(largest, &shape, &[1])?;
    let shifted = b.binary(Binary::Sub, x, largest)?;
    let e = b.unary(Unary::Exp, shifted)?;
    let sum = b.reduce(Reduction::Sum, e, &[1])?;
    let sum = b.broadcast_back(sum, &shape, &[1])?;
    b.binary(Binary::Div, e, sum)
}

fn layer_norm(b: &mut Builder, x: NodeId) -> Result<NodeId, TypeError> {
    let shape = b.ty(x).shape.clone();
    let width = shape[1].as_constant().unwrap_or(1) as f64;
    let scaled = |b: &mut Builder, x: NodeId, by: f64| {
        let ty = b.ty(x).clone();
        let by = b.full(by, &ty)?;
        b.binary(Binary::Mul, x, by)
    };
    let mean = b.reduce(Reduction::Sum, x, &[1])?;
    let mean = scaled(b, mean, 1.0 / width)?;
    let mean = b.broadcast_back(mean, &shape, &[1])?;
    let centred = b.binary(Binary::Sub, x, mean)?;
    let square = b.binary(Binary::Mul, centred, centred)?;
    let variance = b.reduce(Reduction::Sum, square, &[1])?;
    let variance = scaled(b, variance, 1.0 / width)?;
    let ty = b.ty(variance).clone();
    let tiny = b.full(1e-5, &ty)?;
    let variance = b.binary(Binary::Add, variance, tiny)?;
    let factor = b.unary(Unary::Rsqrt, variance)?;
    let factor = b.broadcast_back(factor, &shape, &[1])?;
    b.binary(Binary::Mul, centred, factor)
}

#[test]
fn rows_agree_at_odd_and_even_widths() {
    for width in [1, 7, 64, 300, 1021] {
        let graph = rows(width, |b, x| Ok(vec![softmax(b, x)?, layer_norm(b, x)?]));
        for n in [1, 5, 70] {
            let x = given("x", DType::F32, &[n, width as usize], 1);
            check(&graph, &[x], &[]).unwrap_or_else(|e| panic!("{n} rows of {width}: {e}"));
        }
    }
}

/// A gate reads its product and its bias where they lie, unless somebody else wants their sum.
#[test]
fn functions_of_sums_agree() {
    for width in [1, 7, 16, 64, 80, 300] {
        let graph = rows(width, |b, x| {
            let shape = b.ty(x).shape.clone();
            let bias = b.reduce(Reduction::Max, x, &[0])?;
            let bias = b.broadcast_back(bias, &shape, &[0])?;
            let alone = b.binary(Binary::Add, x, bias)?;
            let (gate, twice) = (b.unary(Unary::Sigmoid, alone)?, b.binary(Binary::Add, x, x)?);
            let held = b.unary(Unary::Tanh, twice)?;
            let other = b.binary(Binary::Add, bias, bias)?;
            let read = b.unary(Unary::Tanh, other)?;
            Ok(vec![b.binary(Binary::Mul, gate, held)?, read, other])
        });
        for n in [1, 5, 70] {
            let x = given("x", DType::F32, &[n, width as usize], 1);
            check(&graph, &[x], &[]).unwrap_or_else(|e| panic!("{n} rows of {width}: {e}"));
        }
    }
}

/// What a gate lets through is multiplied and added by the same call, unless somebody else wants the gate, or what it multiplies is in no memory.
#[test]
fn gates_times_a_factor_plus_an_addend_agree() {
    for width in [1, 7, 16, 64, 80, 300] {
        let graph = rows(width, |b, x| {
            let shape = b.ty(x).shape.clone();
            let [bias, other] = [Reduction::Max, Reduction::Min].map(|how| {
                let bias = b.reduce(how, x, &[0])?;
                b.broadcast_back(bias, &shape, &[0])
            });
            let (bias, other) = (bias?, other?);
            let gate = |b: &mut Builder, function: Unary, bias: NodeId| {
                let sum = b.binary(Binary::Add, x, bias)?;
                b.unary(function, sum)
            };
            // A cell: a gate of what was, plus a gate of what is new, and a gate of that.
            let (keep, take) = (gate(b, Unary::Sigmoid, bias)?, gate(b, Unary::Sigmoid, other)?);
            let new = gate(b, Unary::Tanh, bias)?;
            let (kept, taken) = (b.binary(Binary::Mul, keep, x)?, b.binary(Binary::Mul, take, new)?);
            let cell = b.binary(Binary::Add, kept, taken)?;
            let bent = b.unary(Unary::Tanh, cell)?;
            let shown = gate(b, Unary::Sigmoid, other)?;
            let shown = b.binary(Binary::Mul, bent, shown)?;
            // Factors and addends that no call has made; a gate that is read beside, and one of a gate.
            let product = b.binary(Binary::Mul, x, other)?;
            let made = gate(b, Unary::Tanh, other)?;
            let made = b.binary(Binary::Mul, made, product)?;
            let added = b.binary(Binary::Add, made, x)?;
            let beside = gate(b, Unary::Sigmoid, bias)?;
            let beside = b.binary(Binary::Mul, beside, keep)?;
            let twice = b.binary(Binary::Add, beside, beside)?;
            let sum = b.reduce(Reduction::Sum, shown, &[1])?;
            Ok(vec![cell, shown, added, twice, keep, sum])
        });
        for n in [1, 5, 70] {
            let x = given("x", DType::F32, &[n, width as usize], 1);
            check(&graph, &[x], &[]).unwrap_or_else(|e| panic!("{n} rows of {width}: {e}"));
        }
    }
}

#[test]
fn reductions_agree_along_every_axis() {
    for width in [3, 33, 128] {
        let graph = rows(width, |b, x| {
            let mut outputs = Vec::new();
            for axes in [vec![0], vec![1], vec![0, 1]] {
                for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min] {
                    outputs.push(b.reduce(reduction, x, &axes)?);
                }
                outputs.push(b.push(Op::ArgReduce { largest: true, axes: axes.clone() }, &[x], None)?);
            }
            Ok(outputs)
        });
        // Past 4096 rows, the leading axis is reduced in blocks only when the declared bound says so; here it is one loop.
        for n in [1, 17, 500] {
            let x = given("x", DType::F32, &[n, width as usize], 1);
            check(&graph, &[x], &[]).unwrap_or_else(|e| panic!("{n} rows of {width}: {e}"));
        }
    }
}

#[test]
fn long_columns_are_summed_in_blocks() {
    let mut graph = rows(40, |b, x| Ok(vec![b.reduce(Reduction::Sum, x, &[0])?]));
    graph.bounds = vec![("n".into(), 20_000)];
    for n in [1, 63, 65, 20_000] {
        check(&graph, &[given("x", DType::F32, &[n, 40], 1)], &[]).unwrap_or_else(|e| panic!("{n}: {e}"));
    }
}

#[test]
fn few_rows_read_their_weights_where_they_lie() {
    let mut graph = rows(70, |b, x| {
        let matrix = |rows: i64, columns: i64| {
            TensorType::new(DType::F32, vec![Dim::constant(rows), Dim::constant(columns)])
        };
        let weight = b.input("weight", matrix(70, 200))?;
        let table = b.input("table", matrix(300, 70))?;
        let dense = b.push(Op::Contract { batch: vec![], sum: vec![(1, 0)] }, &[x, weight], None)?;
        let logits = b.push(Op::Contract { batch: vec![], sum: vec![(1, 1)] }, &[x, table], None)?;
        Ok(vec![dense, logits])
    });
    graph.bounds = vec![("n".into(), 3)];
    for n in 1..=3 {
        let weights = [("x", [n, 70]), ("weight", [70, 200]), ("table", [300, 70])];
        let all: Vec<_> = weights.iter().map(|(name, shape)| given(name, DType::F32, shape, 1)).collect();
        check(&graph, &all, &[]).unwrap_or_else(|e| panic!("{n} rows: {e}"));
    }
    let compilation = Compilation::new(&module(&graph, Vec::new()), Target::Host).expect("plans");
    let text = crate::plan::text::print(&compilation.plans[0]);
    assert!(!text.contains("pack"), "nothing is copied:\n{text}");
}

#[test]
fn overlapping_windows_add_up() {
    let made = || -> Built {
        let mut b = Builder::new("windows");
        let dims = |list: &[i64]| -> Vec<Dim> {
            [Dim::symbol("n")].into_iter().chain(list.iter().map(|d| Dim::constant(*d))).collect()
        };
        let x = b.input("x", TensorType::new(DType::F32, dims(&[9, 9, 20])))?;
        let (size, stride, dilation) = (vec![3, 3], vec![2, 2], vec![1, 1]);
        let window =
            Op::Window { axis: 1, size: size.clone(), stride: stride.clone(), dilation: dilation.clone() };
        let windows = b.push(window, &[x], None)?;
        let pooled = b.reduce(Reduction::Max, windows, &[3, 4])?;
        let ty = TensorType::new(DType::F32, dims(&[9, 9, 20]));
        let back = b.push(Op::Unwindow { axis: 1, size, stride, dilation }, &[windows], Some(ty))?;
        b.graph.outputs = vec![("pooled".into(), pooled), ("back".into(), back)];
        Ok(b)
    };
    let graph = made().expect("the graph is well typed").graph;
    for n in [1, 6] {
        check(&graph, &[given("x", DType::F32, &[n, 9, 9, 20], 1)], &[]).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn plans_and_code_are_the_same_every_time() {
    let graph = rows(96, |b, x| Ok(vec![softmax(b, x)?]));
    let text = || {
        let compilation = Compilation::new(&module(&graph, Vec::new()), Target::Host).expect("plans");
        let plan = &compilation.plans[0];
        crate::plan::text::print(plan) + &crate::cpu::clif_text(plan, Target::X86_64).expect("lowers")
    };
    assert_eq!(text(), text());
}

#[test]
fn a_softmax_is_three_loops_over_a_row() {
    let graph = rows(96, |b, x| Ok(vec![softmax(b, x)?]));
    let compilation = Compilation::new(&module(&graph, Vec::new()), Target::Host).expect("plans");
    insta::assert_snapshot!(crate::plan::text::print(&compilation.plans[0]));
}

#[test]
fn variables_swap_and_follow_their_old_values() {
    use super::variable;
    use weft_runtime::program::VariableKind;
    let made = || -> Result<_, TypeError> {
        let mut b = Builder::new("swap");
        let mut variables = Vec::new();
        let mut nodes = Vec::new();
        for path in ["a", "bb", "ccc", "dddd"] {
            let (v, given) = variable(path, &[40, 3], VariableKind::State, DType::F32, 1.0);
            nodes.push(b.push(Op::Variable(path.into()), &[], Some(v.ty.clone()))?);
            variables.push((v, given));
        }
        let ty = b.ty(nodes[0]).clone();
        // a and bb change places; ccc becomes ccc + a; dddd becomes a constant, and its old value is returned.
        let sum = b.binary(Binary::Add, nodes[2], nodes[0])?;
        let flipped =
            b.push(Op::Slice { axis: 0, start: Dim::constant(39), step: -1 }, &[nodes[2]], Some(ty.clone()))?;
        let constant = b.full(0.5, &ty)?;
        b.graph.updates = vec![
            ("a".into(), nodes[1]),
            ("bb".into(), nodes[0]),
            ("ccc".into(), sum),
            ("dddd".into(), constant),
        ];
        b.graph.outputs = vec![("old".into(), nodes[3]), ("flipped".into(), flipped)];
        Ok((b.graph, variables))
    };
    let (graph, variables) = made().expect("the graph is well typed");
    check(&graph, &[], &variables).unwrap_or_else(|e| panic!("{e}"));
}
