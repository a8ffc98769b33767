//! The text of each form of nest, for small graphs. What the texts compute is shown elsewhere, by running them.

use crate::cuda;
use crate::graph::op::{Binary, Distribution, Reduction, Unary};
use crate::graph::{Builder, DType, Dim, Entry, Graph, NodeId, Op, TensorType, TypeError, Variable};
use crate::plan::{Machine, plan_for};
use weft_runtime::program::{InputSource, VariableKind};

type Built = Result<Vec<NodeId>, TypeError>;

/// The kernels of a graph over inputs of these types; extents of 0 are the symbol `n`.
fn kernels(inputs: &[(&str, DType, &[i64])], build: impl Fn(&mut Builder, &[NodeId]) -> Built) -> String {
    let made = || -> Result<Builder, TypeError> {
        let mut b = Builder::new("test");
        let dim = |extent: &i64| if *extent == 0 { Dim::symbol("n") } else { Dim::constant(*extent) };
        let mut nodes = Vec::new();
        for (name, dtype, shape) in inputs {
            nodes.push(b.input(name, TensorType::new(*dtype, shape.iter().map(dim).collect::<Vec<_>>()))?);
        }
        let outputs = build(&mut b, &nodes)?;
        b.graph.outputs = outputs.into_iter().enumerate().map(|(at, id)| (format!("y{at}"), id)).collect();
        Ok(b)
    };
    printed(made().expect("the graph is well typed").graph, &[])
}

/// The kernels of a graph.
fn printed(graph: Graph, variables: &[Variable]) -> String {
    let typed = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Input(name) => Some((name.clone(), node.ty.clone(), InputSource::Caller)),
        _ => None,
    });
    let entry = Entry { inputs: typed.collect(), graph: graph.clone() };
    let plan = plan_for(&entry, variables, Machine::Gpu).expect("the graph has a plan");
    cuda::text(&plan, cuda::Math::F32, &|_| String::new()).expect("the plan has kernels")
}

/// A bias and a rectifier.
fn biased(b: &mut Builder, nodes: &[NodeId]) -> Result<NodeId, TypeError> {
    let ty = b.ty(nodes[0]).clone();
    let bias = b.broadcast_to(nodes[1], &ty.shape)?;
    let sum = b.binary(Binary::Add, nodes[0], bias)?;
    let zero = b.full(0.0, &ty)?;
    b.binary(Binary::Max, sum, zero)
}

#[test]
fn a_map_moves_packs() {
    let text = kernels(&[("x", DType::F32, &[0, 128]), ("bias", DType::F32, &[128])], |b, nodes| {
        Ok(vec![biased(b, nodes)?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_map_of_uneven_rows_takes_single_elements() {
    let text = kernels(&[("x", DType::F32, &[0, 7]), ("bias", DType::F32, &[7])], |b, nodes| {
        Ok(vec![biased(b, nodes)?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_flat_map_may_end_within_a_pack() {
    let text = kernels(&[("x", DType::F32, &[0, 7])], |b, nodes| Ok(vec![b.unary(Unary::Exp, nodes[0])?]));
    insta::assert_snapshot!(text);
}

#[test]
fn narrow_floats_are_moved_by_eight() {
    let text = kernels(&[("x", DType::BF16, &[0, 64])], |b, nodes| {
        let wide = b.cast(nodes[0], DType::F32)?;
        let y = b.unary(Unary::Tanh, wide)?;
        Ok(vec![b.cast(y, DType::F16)?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_softmax_is_rows() {
    let text = kernels(&[("x", DType::F32, &[0, 512])], |b, nodes| {
        let shape = b.ty(nodes[0]).shape.clone();
        let largest = b.reduce(Reduction::Max, nodes[0], &[1])?;
        let largest = b.broadcast_back(largest, &shape, &[1])?;
        let shifted = b.binary(Binary::Sub, nodes[0], largest)?;
        let e = b.unary(Unary::Exp, shifted)?;
        let sum = b.reduce(Reduction::Sum, e, &[1])?;
        let sum = b.broadcast_back(sum, &shape, &[1])?;
        Ok(vec![b.binary(Binary::Div, e, sum)?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn short_rows_share_a_warp() {
    let text = kernels(&[("x", DType::F32, &[0, 10])], |b, nodes| {
        let place = b.push(Op::ArgReduce { largest: true, axes: vec![1] }, nodes, None)?;
        Ok(vec![place, b.reduce(Reduction::Max, nodes[0], &[1])?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn columns_are_walked_by_groups() {
    let text = kernels(&[("x", DType::F32, &[0, 40])], |b, nodes| {
        Ok(vec![b.reduce(Reduction::Sum, nodes[0], &[0])?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn narrow_columns_are_walked_side_by_side() {
    let text = kernels(&[("x", DType::F32, &[0, 150, 3])], |b, nodes| {
        Ok(vec![b.reduce(Reduction::Sum, nodes[0], &[1])?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_whole_is_work_for_a_block() {
    let text =
        kernels(&[("x", DType::F32, &[0])], |b, nodes| Ok(vec![b.reduce(Reduction::Sum, nodes[0], &[0])?]));
    insta::assert_snapshot!(text);
}

#[test]
fn windows_are_folded_by_their_threads() {
    let (size, stride, dilation) = (vec![2, 2], vec![2, 2], vec![1, 1]);
    let text = kernels(&[("x", DType::F32, &[0, 8, 8, 12])], |b, nodes| {
        let window =
            Op::Window { axis: 1, size: size.clone(), stride: stride.clone(), dilation: dilation.clone() };
        let windows = b.push(window, nodes, None)?;
        Ok(vec![b.reduce(Reduction::Max, windows, &[3, 4])?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn windows_that_overlap_add_up_in_order() {
    let (size, stride, dilation) = (vec![3, 3], vec![2, 2], vec![1, 1]);
    let text = kernels(&[("x", DType::F32, &[0, 4, 4, 3, 3, 20])], |b, nodes| {
        let back =
            Op::Unwindow { axis: 1, size: size.clone(), stride: stride.clone(), dilation: dilation.clone() };
        let ty = TensorType::new(
            DType::F32,
            [Dim::symbol("n")].into_iter().chain([9, 9, 20].map(Dim::constant)).collect::<Vec<_>>(),
        );
        Ok(vec![b.push(back, nodes, Some(ty))?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn random_elements_are_drawn_by_blocks() {
    let text = kernels(&[("random", DType::I64, &[2])], |b, nodes| {
        let ty = TensorType::new(DType::F32, vec![Dim::symbol("n"), Dim::constant(6)]);
        let uniform = Op::Random { distribution: Distribution::Uniform, key: "net.dropout".into() };
        let normal = Op::Random { distribution: Distribution::Normal, key: "net.noise".into() };
        Ok(vec![b.push(uniform, nodes, Some(ty.clone()))?, b.push(normal, nodes, Some(ty))?])
    });
    insta::assert_snapshot!(text);
}

#[test]
fn updates_of_all_weights_are_one_kernel() {
    let made = || -> Result<(Graph, Vec<Variable>), TypeError> {
        let mut b = Builder::new("test");
        let mut variables = Vec::new();
        for (name, shape) in [("a", vec![10i64, 64]), ("b", vec![37]), ("c", vec![5])] {
            let ty = TensorType::new(DType::F32, shape.into_iter().map(Dim::constant).collect::<Vec<_>>());
            let weight = b.push(Op::Variable(name.into()), &[], Some(ty.clone()))?;
            let gradient = b.input(&format!("{name}.gradient"), ty.clone())?;
            // The last one is updated otherwise.
            let gradient = if name == "c" { b.unary(Unary::Sign, gradient)? } else { gradient };
            let rate = b.full(0.1, &ty)?;
            let step = b.binary(Binary::Mul, rate, gradient)?;
            let new = b.binary(Binary::Sub, weight, step)?;
            b.graph.updates.push((name.into(), new));
            variables.push(Variable {
                path: name.into(),
                kind: VariableKind::Weight,
                ty,
                trainable: true,
                channels: Vec::new(),
                span: Default::default(),
            });
        }
        Ok((b.graph, variables))
    };
    let (graph, variables) = made().expect("the graph is well typed");
    let text = printed(graph, &variables);
    assert_eq!(text.matches("__global__").count(), 1, "{text}");
}

#[test]
fn no_buffer_is_called_like_a_function_of_the_prelude() {
    let declared = cuda::PRELUDE.lines().filter_map(|line| {
        let (head, _) = line.split_once("__forceinline__ ")?.1.split_once('(')?;
        head.split_whitespace().next_back().filter(|name| !name.starts_with("operator"))
    });
    let declared: Vec<&str> = declared.collect();
    assert!(declared.len() > 50, "{declared:?}");
    for name in declared {
        assert_ne!(cuda::names::identifier(name), name);
    }
}
