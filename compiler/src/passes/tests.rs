//! Each pass on small graphs in text form, and all of them on random graphs against the evaluator.

use super::{Pass, cse, dce, fold, hoist, layout, moments, optimize, reductions, simplify, views};
use crate::evaluate::{Symbols, Value, Values, evaluate_with};
use crate::grad::gradient;
use crate::graph::op::{Binary, Compare, Op, Reduction, Unary};
use crate::graph::random::{self, Case, Options};
use crate::graph::text::{parse, print};
use crate::graph::{Builder, DType, Dim, Graph, NodeId, TensorType, verify};
use proptest::prelude::*;

/// Runs a pass and then `dce`, and compares the text; what a text calls its nodes is no matter.
fn check(pass: Pass, before: &str, after: &str) {
    let mut result = parse(before).unwrap();
    pass(&mut result);
    dce::run(&mut result);
    verify(&result).unwrap();
    let (text, expected) = (print(&result), print(&parse(after).unwrap()));
    assert_eq!(text, expected, "\n{text}\n{expected}");
}

#[test]
fn simplify_identities() {
    check(
        simplify::run,
        r#"%0 = input "x" : f32[n]
        %1 = constant 1.0 : f32[]
        %2 = broadcast %1 {axes=[]} : f32[n]
        %3 = mul %0, %2 : f32[n]
        %4 = neg %3 : f32[n]
        %5 = neg %4 : f32[n]
        %6 = constant 2.0 : f32[]
        %7 = broadcast %6 {axes=[]} : f32[n]
        %8 = pow %5, %7 : f32[n]
        %9 = neg %8 : f32[n]
        %10 = add %0, %9 : f32[n]
        output "y" = %10"#,
        r#"%0 = input "x" : f32[n]
        %1 = mul %0, %0 : f32[n]
        %2 = sub %0, %1 : f32[n]
        output "y" = %2"#,
    );
}

/// The gradient of a kernel into three channels is computed the other way round, and its values are the same.
#[test]
fn a_weight_gradient_into_few_channels_is_turned_round() {
    let text = r#"%0 = input "x" : f64[2, 7, 6, 16]
        %1 = input "dy" : f64[2, 8, 4, 3]
        %2 = conv_weights %0, %1 {stride=[1, 1], padding=[(1, 2), (0, 2)], dilation=[1, 2], groups=1} : f64[3, 3, 16, 3]
        output "dw" = %2"#;
    let graph = parse(text).unwrap();
    let mut turned = graph.clone();
    assert!(layout::run(&mut turned) && verify(&turned).is_ok());
    assert!(!layout::run(&mut turned), "once is enough");
    let numbers = |count: usize| (0..count).map(|i| ((i * 37 + 11) % 17) as f64 - 8.0).collect::<Vec<_>>();
    let value = |shape: &[usize]| {
        Value::<f64>::from_f64(DType::F64, shape, &numbers(shape.iter().product())).unwrap()
    };
    let inputs: Values<f64> =
        [("x".into(), value(&[2, 7, 6, 16])), ("dy".into(), value(&[2, 8, 4, 3]))].into_iter().collect();
    let of = |graph: &Graph| {
        let outcome = evaluate_with(graph, &inputs, &Values::new(), &Symbols::new()).unwrap();
        outcome.outputs["dw"].to_f64()
    };
    assert_eq!(of(&graph), of(&turned));
}

/// What a product is only read transposed for is the product of the operands the other way round, with batches and several axes too.
#[test]
fn a_product_that_is_read_transposed_is_turned() {
    check(
        layout::turned,
        r#"%0 = input "x" : f32[b, n, 6, 7]
        %1 = input "y" : f32[n, b, 5]
        %2 = contract %0, %1 {batch=[(0, 1)], sum=[(1, 0)]} : f32[b, 6, 7, 5]
        %3 = transpose %2 {permutation=[0, 3, 1, 2]} : f32[b, 5, 6, 7]
        output "z" = %3"#,
        r#"%0 = input "x" : f32[b, n, 6, 7]
        %1 = input "y" : f32[n, b, 5]
        %2 = contract %1, %0 {batch=[(1, 0)], sum=[(0, 1)]} : f32[b, 5, 6, 7]
        output "z" = %2"#,
    );
    // Not where it is read as it is too, nor another order, nor a product with a weight.
    for text in [
        r#"%0 = input "x" : f32[n, 6]
        %1 = input "y" : f32[n, 5]
        %2 = contract %0, %1 {batch=[], sum=[(0, 0)]} : f32[6, 5]
        %3 = transpose %2 {permutation=[1, 0]} : f32[5, 6]
        output "z" = %3
        output "t" = %2"#,
        r#"%0 = input "x" : f32[n, 6, 7]
        %1 = input "y" : f32[n, 5]
        %2 = contract %0, %1 {batch=[], sum=[(0, 0)]} : f32[6, 7, 5]
        %3 = transpose %2 {permutation=[2, 1, 0]} : f32[5, 7, 6]
        output "z" = %3"#,
        r#"%0 = input "x" : f32[n, 6]
        %1 = variable "w" : f32[6, 5]
        %2 = contract %0, %1 {batch=[], sum=[(1, 0)]} : f32[n, 5]
        %3 = transpose %2 {permutation=[1, 0]} : f32[5, n]
        output "z" = %3"#,
    ] {
        check(layout::turned, text, text);
    }
}

#[test]
fn a_product_with_zero_stays() {
    let text = r#"%0 = input "x" : f32[]
        %1 = constant 0.0 : f32[]
        %2 = mul %0, %1 : f32[]
        output "y" = %2"#;
    check(simplify::run, text, text);
}

#[test]
fn simplify_selections_and_casts() {
    check(
        simplify::run,
        r#"%0 = input "x" : bf16[n]
        %1 = input "c" : bool[n]
        %2 = cast %0 : f32[n]
        %3 = cast %2 : f64[n]
        %4 = not %1 : bool[n]
        %5 = cast %1 : f64[n]
        %6 = select %4, %3, %5 : f64[n]
        output "y" = %6"#,
        r#"%0 = input "x" : bf16[n]
        %1 = input "c" : bool[n]
        %2 = cast %0 : f64[n]
        %3 = cast %1 : f64[n]
        %4 = select %1, %3, %2 : f64[n]
        output "y" = %4"#,
    );
    // From float to integer a cast saturates, between integers it wraps: -1 is 0 by the one way and 255 by the other.
    let text = r#"%0 = input "x" : i8[n]
        %1 = cast %0 : f32[n]
        %2 = cast %1 : u8[n]
        output "y" = %2"#;
    check(simplify::run, text, text);
}

#[test]
fn views_compose() {
    check(
        views::run,
        r#"%0 = input "x" : f32[n, 2, 3]
        %1 = transpose %0 {permutation=[1, 2, 0]} : f32[2, 3, n]
        %2 = transpose %1 {permutation=[2, 0, 1]} : f32[n, 2, 3]
        %3 = reshape %2 : f32[n, 6]
        %4 = reshape %3 : f32[n, 3, 2]
        %5 = slice %4 {axis=1, start=1, step=1} : f32[n, 2, 2]
        %6 = slice %5 {axis=1, start=1, step=-1} : f32[n, 2, 2]
        output "y" = %6"#,
        r#"%0 = input "x" : f32[n, 2, 3]
        %1 = reshape %0 : f32[n, 3, 2]
        %2 = slice %1 {axis=1, start=2, step=-1} : f32[n, 2, 2]
        output "y" = %2"#,
    );
    check(
        views::run,
        r#"%0 = input "x" : f32[n, 4]
        %1 = slice %0 {axis=1, start=0, step=1} : f32[n, 1]
        %2 = slice %0 {axis=1, start=1, step=1} : f32[n, 3]
        %3 = concat %1, %2 {axis=1} : f32[n, 4]
        %4 = broadcast %3 {axes=[0, 2]} : f32[n, 5, 4]
        %5 = slice %4 {axis=1, start=2, step=2} : f32[n, 2, 4]
        output "y" = %5"#,
        r#"%0 = input "x" : f32[n, 4]
        %1 = broadcast %0 {axes=[0, 2]} : f32[n, 2, 4]
        output "y" = %1"#,
    );
}

#[test]
fn reductions_merge() {
    check(
        reductions::run,
        r#"%0 = input "x" : f32[n, 3]
        %1 = broadcast %0 {axes=[0, 2]} : f32[n, m, 3]
        %2 = reduce_sum %1 {axes=[1, 2]} : f32[n]
        %3 = reduce_sum %2 {axes=[0]} : f32[]
        bound m <= 7
        output "y" = %3"#,
        r#"bound m <= 7
        %0 = input "x" : f32[n, 3]
        %1 = dim m : f32[]
        %2 = broadcast %1 {axes=[]} : f32[n, 3]
        %3 = mul %0, %2 : f32[n, 3]
        %4 = reduce_sum %3 {axes=[0, 1]} : f32[]
        output "y" = %4"#,
    );
    check(
        reductions::run,
        r#"%0 = input "x" : f32[2, n, 3]
        %1 = transpose %0 {permutation=[2, 0, 1]} : f32[3, 2, n]
        %2 = reduce_max %1 {axes=[1]} : f32[3, n]
        output "y" = %2"#,
        r#"%0 = input "x" : f32[2, n, 3]
        %1 = reduce_max %0 {axes=[0]} : f32[n, 3]
        %2 = transpose %1 {permutation=[1, 0]} : f32[3, n]
        output "y" = %2"#,
    );
    // The largest of no elements is -inf, so a broadcast to an unknown number stays.
    let text = r#"bound m <= 7
        %0 = input "x" : f32[3]
        %1 = broadcast %0 {axes=[1]} : f32[m, 3]
        %2 = reduce_max %1 {axes=[0]} : f32[3]
        output "y" = %2"#;
    check(reductions::run, text, text);
}

#[test]
fn broadcasts_and_reshapes_sink() {
    check(
        hoist::run,
        r#"%0 = input "x" : f32[3]
        %1 = broadcast %0 {axes=[1]} : f32[n, 3]
        %2 = exp %1 : f32[n, 3]
        %3 = constant 2.0 : f32[]
        %4 = broadcast %3 {axes=[]} : f32[n, 3]
        %5 = mul %2, %4 : f32[n, 3]
        bound n <= 2
        output "y" = %5"#,
        r#"bound n <= 2
        %0 = input "x" : f32[3]
        %1 = constant 2.0 : f32[]
        %2 = exp %0 : f32[3]
        %3 = broadcast %1 {axes=[]} : f32[3]
        %4 = mul %2, %3 : f32[3]
        %5 = broadcast %4 {axes=[1]} : f32[n, 3]
        output "y" = %5"#
            .replace(
                "%1 = constant 2.0 : f32[]\n        %2 = exp %0 : f32[3]",
                "%1 = exp %0 : f32[3]\n        %2 = constant 2.0 : f32[]",
            )
            .replace("broadcast %1 {axes=[]}", "broadcast %2 {axes=[]}")
            .replace("mul %2, %3", "mul %1, %3")
            .as_str(),
    );
}

#[test]
fn constants_fold_and_equal_nodes_merge() {
    check(
        fold::run,
        r#"%0 = constant 3.0 : f32[]
        %1 = table [1.0, 2.0] : f32[2]
        %2 = reduce_sum %1 {axes=[0]} : f32[]
        %3 = mul %0, %2 : f32[]
        output "y" = %3"#,
        r#"%0 = constant 9.0 : f32[]
        output "y" = %0"#,
    );
    check(
        cse::run,
        r#"%0 = input "x" : f32[n]
        %1 = input "random" : i64[2]
        %2 = random %1 {distribution=uniform, key="a"} : f32[n]
        %3 = random %1 {distribution=uniform, key="a"} : f32[n]
        %4 = random %1 {distribution=uniform, key="b"} : f32[n]
        %5 = add %0, %2 : f32[n]
        %6 = add %3, %0 : f32[n]
        %7 = sub %5, %6 : f32[n]
        %8 = mul %7, %4 : f32[n]
        output "y" = %8"#,
        r#"%0 = input "x" : f32[n]
        %1 = input "random" : i64[2]
        %2 = random %1 {distribution=uniform, key="a"} : f32[n]
        %3 = random %1 {distribution=uniform, key="b"} : f32[n]
        %4 = add %0, %2 : f32[n]
        %5 = sub %4, %4 : f32[n]
        %6 = mul %5, %3 : f32[n]
        output "y" = %6"#,
    );
}

#[test]
fn updates_without_effect_go() {
    check(
        dce::run,
        r#"%0 = input "unused" : f32[n]
        %1 = variable "a" : f32[3]
        %2 = variable "b" : f32[3]
        %3 = exp %2 : f32[3]
        update "a" = %1
        update "b" = %3"#,
        r#"%0 = input "unused" : f32[n]
        %1 = variable "b" : f32[3]
        %2 = exp %1 : f32[3]
        update "b" = %2"#,
    );
}

#[test]
fn pointwise_convolutions_are_contractions() {
    check(
        layout::run,
        r#"%0 = input "x" : f32[n, 5, 5, 8]
        %1 = variable "w" : f32[1, 1, 8, 4]
        %2 = conv %0, %1 {stride=[1, 1], padding=[(0, 0), (0, 0)], dilation=[1, 1], groups=1} : f32[n, 5, 5, 4]
        %3 = conv_weights %0, %2 {stride=[1, 1], padding=[(0, 0), (0, 0)], dilation=[1, 1], groups=1} : f32[1, 1, 8, 4]
        output "y" = %2
        output "dw" = %3"#,
        r#"%0 = input "x" : f32[n, 5, 5, 8]
        %1 = variable "w" : f32[1, 1, 8, 4]
        %2 = reshape %1 : f32[8, 4]
        %3 = contract %0, %2 {batch=[], sum=[(3, 0)]} : f32[n, 5, 5, 4]
        %4 = contract %0, %3 {batch=[], sum=[(0, 0), (1, 1), (2, 2)]} : f32[8, 4]
        %5 = reshape %4 : f32[1, 1, 8, 4]
        output "y" = %3
        output "dw" = %5"#,
    );
}

#[test]
fn contractions_take_transpositions_and_broadcasts_in() {
    check(
        layout::run,
        r#"%0 = input "x" : f32[n, t, 8]
        %1 = variable "w" : f32[4, 8]
        %2 = transpose %1 {permutation=[1, 0]} : f32[8, 4]
        %3 = contract %0, %2 {batch=[], sum=[(2, 0)]} : f32[n, t, 4]
        %4 = broadcast %1 {axes=[1, 2]} : f32[n, 4, 8]
        %5 = contract %0, %4 {batch=[(0, 0)], sum=[(2, 2)]} : f32[n, t, 4]
        output "y" = %3
        output "z" = %5"#,
        r#"%0 = input "x" : f32[n, t, 8]
        %1 = variable "w" : f32[4, 8]
        %2 = contract %0, %1 {batch=[], sum=[(2, 1)]} : f32[n, t, 4]
        %3 = contract %0, %1 {batch=[], sum=[(2, 1)]} : f32[n, t, 4]
        output "y" = %2
        output "z" = %3"#,
    );
}

/// A projection of the elements of a loop that are batch-major, with a bias: what the loop reads is steps-major, and the bias is
/// added by the step.
#[test]
fn what_a_step_reads_is_computed_in_its_order() {
    let body = r#"  | %element.0 = input : f64[n, 3]
  | %carry.0 = input : f64[n, 3]
  | %add = add %element.0, %carry.0 : f64[n, 3]
  | %tanh = tanh %add : f64[n, 3]
  | output "carry.0" = %tanh
%last = result %scan {index=0} : f64[n, 3]
output "last" = %last
"#;
    let before = format!(
        r#"graph g
%x = input : f64[n, t, 2]
%w = input : f64[2, 3]
%b = input : f64[3]
%h = input : f64[n, 3]
%contract = contract %x, %w {{batch=[], sum=[(2, 0)]}} : f64[n, t, 3]
%broadcast = broadcast %b {{axes=[2]}} : f64[n, t, 3]
%given = add %contract, %broadcast : f64[n, t, 3]
%transpose = transpose %given {{permutation=[1, 0, 2]}} : f64[t, n, 3]
%scan = scan %transpose, %h {{trip=t, reversed=false, elements=1, carries=1}} : bool[0]
{body}"#
    );
    let graph = parse(&before).unwrap();
    let optimized = optimize(&graph);
    let adds = optimized.nodes.iter().filter(|n| matches!(n.op, Op::Binary(_))).count();
    assert_eq!(adds, 0, "{}", print(&optimized));
    let made = optimized.nodes.iter().find(|n| matches!(n.op, Op::Contract { .. })).unwrap();
    assert_eq!(made.ty.shape, [Dim::symbol("t"), Dim::symbol("n"), Dim::from(3usize)]);
    // Both say the same.
    let symbols = Symbols::from([("n".to_string(), 4), ("t".to_string(), 5)]);
    let value = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        let of: Vec<f64> = (0..count).map(|i| (i * 7 % 11) as f64 / 11.0 - 0.4).collect();
        Value::from_f64(DType::F64, shape, &of).unwrap()
    };
    let values = Values::from([
        ("x".to_string(), value(&[4, 5, 2])),
        ("w".to_string(), value(&[2, 3])),
        ("b".to_string(), value(&[3])),
        ("h".to_string(), value(&[4, 3])),
    ]);
    let results = |graph: &Graph| evaluate_with(graph, &values, &Values::new(), &symbols).unwrap().outputs;
    assert_eq!(same(&results(&graph), &results(&optimized)), Ok(()));
}

/// A product of the states that the steps of a loop begin with, as the gradient of a recurrent weight is one.
fn product_of_states(first: &str, reversed: bool, more: &str) -> Graph {
    let text = format!(
        r#"graph g
%x = input : f64[5, n, 3]
%d = input : f64[5, n, 2]
%given = input : f64[n, 3]
%constant = constant 0.0 : f64[]
%zero = broadcast %constant {{axes=[]}} : f64[n, 3]
%scan = scan %x, %{first} {{trip=5, reversed={reversed}, elements=1, carries=1}} : bool[0]
  | %element.0 = input : f64[n, 3]
  | %carry.0 = input : f64[n, 3]
  | %add = add %element.0, %carry.0 : f64[n, 3]
  | %tanh = tanh %add : f64[n, 3]
  | output "carry.0" = %tanh
  | output "yield.0" = %carry.0
%last = result %scan {{index=0}} : f64[n, 3]
%states = result %scan {{index=1}} : f64[5, n, 3]
%left = contract %states, %d {{batch=[], sum=[(0, 0), (1, 1)]}} : f64[3, 2]
%right = contract %d, %states {{batch=[], sum=[(0, 0), (1, 1)]}} : f64[2, 3]
output "last" = %last
output "left" = %left
output "right" = %right
{more}"#
    );
    parse(&text).unwrap()
}

#[test]
fn a_loop_keeps_its_states_once() {
    let old = |graph: &Graph| {
        let scan = graph.nodes.iter().find_map(|node| match &node.op {
            Op::Scan(scan) => Some(scan.clone()),
            _ => None,
        });
        let scan = scan.unwrap();
        let carry = scan.inputs()[scan.elements];
        scan.body.outputs.iter().skip(scan.carries).any(|(_, value)| *value == carry)
    };
    let symbols = Symbols::from([("n".to_string(), 4)]);
    let value = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        let of: Vec<f64> = (0..count).map(|i| (i * 7 % 11) as f64 / 11.0 - 0.4).collect();
        Value::from_f64(DType::F64, shape, &of).unwrap()
    };
    let values = Values::from([
        ("x".to_string(), value(&[5, 4, 3])),
        ("d".to_string(), value(&[5, 4, 2])),
        ("given".to_string(), value(&[4, 3])),
    ]);
    let results = |graph: &Graph| evaluate_with(graph, &values, &Values::new(), &symbols).unwrap().outputs;
    for reversed in [false, true] {
        // Only what begins with zeros, and is read by nothing but products, is the other stack.
        for (first, more, kept) in
            [("zero", "", false), ("given", "", true), ("zero", "output \"states\" = %states\n", true)]
        {
            let graph = product_of_states(first, reversed, more);
            let optimized = optimize(&graph);
            assert_eq!(old(&optimized), kept, "{first} {reversed}\n{}", print(&optimized));
            assert_eq!(same(&results(&graph), &results(&optimized)), Ok(()), "{first} {reversed}");
        }
    }
}

fn values(case: &Case) -> Values<f64> {
    let value = |given: &random::Given| Value::from_f64(given.dtype, &given.shape, &given.values).unwrap();
    case.inputs.iter().map(|given| (given.name.clone(), value(given))).collect()
}

/// Max pooling of a relu of values with ties, negative windows and a NaN: outputs and gradients before and after.
#[test]
fn relu_moves_behind_max_pooling_with_its_gradient() {
    for (size, stride) in [(2, 2), (3, 2)] {
        let mut b = Builder::new("pool");
        let shape = [2usize, 5, 5, 3];
        let x = b.input("x", TensorType::new(DType::F64, shape.map(Dim::from).to_vec())).unwrap();
        let bias = b.input("bias", TensorType::new(DType::F64, vec![Dim::from(3usize)])).unwrap();
        let ty = b.ty(x).clone();
        let (zero, spread) = (b.full(0.0, &ty).unwrap(), b.broadcast_to(bias, &ty.shape).unwrap());
        let y = b.binary(Binary::Add, x, spread).unwrap();
        let below = b.compare(Compare::Le, y, zero).unwrap();
        let y = b.select(below, zero, y).unwrap();
        let window =
            Op::Window { axis: 1, size: vec![size; 2], stride: vec![stride; 2], dilation: vec![1; 2] };
        let windows = b.push(window, &[y], None).unwrap();
        let y = b.reduce(Reduction::Max, windows, &[3, 4]).unwrap();
        let squares = b.binary(Binary::Mul, y, y).unwrap();
        let loss = b.reduce(Reduction::Sum, squares, &[0, 1, 2, 3]).unwrap();
        let gradients = gradient(&mut b, loss, None, &[x, bias]).unwrap();
        b.graph.outputs = vec![("y".into(), y), ("dx".into(), gradients[0]), ("db".into(), gradients[1])];
        let mut given: Vec<f64> = (0..150).map(|i| f64::from(i * i % 11 - 7)).collect();
        given[17] = f64::NAN;
        let value = |shape: &[usize], of: &[f64]| Value::from_f64(DType::F64, shape, of).unwrap();
        let values = Values::from([
            ("x".to_string(), value(&shape, &given)),
            ("bias".to_string(), value(&[3], &[0.5, -1.0, 0.0])),
        ]);
        let results =
            |graph: &Graph| evaluate_with(graph, &values, &Values::new(), &Symbols::new()).unwrap().outputs;
        let optimized = optimize(&b.graph);
        assert_eq!(same(&results(&b.graph), &results(&optimized)), Ok(()));
        // Nothing of the input's size is masked any more.
        let full = optimized.nodes.iter().filter(|n| n.op == Op::Select && n.ty.shape == ty.shape);
        assert_eq!(full.count(), 0, "{}", print(&optimized));
    }
}

/// A norm over the batch and positions, with its gradients, before and after: of what has the size of its input two sums are left each way, in
/// parts, and numbers far from zero keep their variance.
#[test]
fn a_norm_of_channels_sums_its_input_twice_each_way() {
    let mut b = Builder::new("norm");
    let shape = [3usize, 4, 5, 2];
    let axes = [0, 1, 2];
    let ty = TensorType::new(DType::F64, shape.map(Dim::from).to_vec());
    let x = b.input("x", ty.clone()).unwrap();
    let scale = b.input("scale", TensorType::new(DType::F64, vec![Dim::from(2usize)])).unwrap();
    let given = b.input("g", ty.clone()).unwrap();
    let mean = |b: &mut Builder, x: NodeId| {
        let sum = b.reduce(Reduction::Sum, x, &axes).unwrap();
        let count = b.full(60.0, &TensorType::new(DType::F64, vec![Dim::from(2usize)])).unwrap();
        b.binary(Binary::Div, sum, count).unwrap()
    };
    let m = mean(&mut b, x);
    let m = b.broadcast_back(m, &ty.shape, &axes).unwrap();
    let centred = b.binary(Binary::Sub, x, m).unwrap();
    let squares = b.binary(Binary::Mul, centred, centred).unwrap();
    let spread = mean(&mut b, squares);
    let rate = b.unary(Unary::Rsqrt, spread).unwrap();
    let rate = b.broadcast_back(rate, &ty.shape, &axes).unwrap();
    let even = b.binary(Binary::Mul, centred, rate).unwrap();
    let stretched = b.broadcast_to(scale, &ty.shape).unwrap();
    let y = b.binary(Binary::Mul, even, stretched).unwrap();
    let weighted = b.binary(Binary::Mul, y, given).unwrap();
    let loss = b.reduce(Reduction::Sum, weighted, &[0, 1, 2, 3]).unwrap();
    let gradients = gradient(&mut b, loss, None, &[x, scale]).unwrap();
    b.graph.outputs = vec![
        ("spread".into(), spread),
        ("y".into(), y),
        ("dx".into(), gradients[0]),
        ("dscale".into(), gradients[1]),
    ];
    let numbers = |count: usize, far: f64| -> Vec<f64> {
        (0..count).map(|i| far + ((i * 37 + 11) % 17) as f64 - 8.0).collect()
    };
    let value = |shape: &[usize], far: f64| {
        Value::<f64>::from_f64(DType::F64, shape, &numbers(shape.iter().product(), far)).unwrap()
    };
    let values = Values::from([
        ("x".to_string(), value(&shape, 1e5)),
        ("scale".to_string(), value(&[2], 1.0)),
        ("g".to_string(), value(&shape, 0.0)),
    ]);
    let results =
        |graph: &Graph| evaluate_with(graph, &values, &Values::new(), &Symbols::new()).unwrap().outputs;
    let optimized = optimize(&b.graph);
    let mut parted = optimized.clone();
    moments::run(&mut parted);
    verify(&parted).unwrap();
    assert_eq!(same(&results(&optimized), &results(&parted)), Ok(()));
    let whole = |node: &&crate::graph::Node| match &node.op {
        Op::Reduce { axes, .. } => parted.node(node.inputs[0]).ty.shape == ty.shape && axes[..] == [1, 2],
        _ => false,
    };
    assert_eq!(parted.nodes.iter().filter(whole).count(), 4, "{}", print(&parted));
    let sums = parted.nodes.iter().filter(|node| matches!(node.op, Op::Reduce { .. }));
    assert_eq!(sums.count(), 9, "{}", print(&parted));
}

fn run(graph: &Graph, case: &Case, values: &Values<f64>) -> Values<f64> {
    let symbols = Symbols::from([("n".to_string(), case.n)]);
    evaluate_with(graph, values, &Values::new(), &symbols)
        .unwrap_or_else(|e| panic!("{e}\n{}", print(graph)))
        .outputs
}

fn same(a: &Values<f64>, b: &Values<f64>) -> Result<(), String> {
    for (name, x) in a {
        let (x, y) = (x.to_f64(), b[name].to_f64());
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let close = (x - y).abs() <= 1e-9 * (1.0 + x.abs().max(y.abs()));
            if !(x == y || close || x.is_nan() && y.is_nan()) {
                return Err(format!("{name}[{i}]: {x} became {y}"));
            }
        }
    }
    Ok(())
}

/// The sum of all float outputs.
fn loss(b: &mut Builder) -> Option<NodeId> {
    let mut total: Option<NodeId> = None;
    for (_, id) in b.graph.outputs.clone() {
        if !b.ty(id).dtype.is_float() {
            continue;
        }
        let axes: Vec<usize> = (0..b.ty(id).rank()).collect();
        let sum = b.reduce(Reduction::Sum, id, &axes).unwrap();
        total = Some(match total {
            None => sum,
            Some(t) => b.push(Op::Binary(crate::graph::op::Binary::Add), &[t, sum], None).unwrap(),
        });
    }
    total
}

/// The case with a loss, and with the gradients of its float inputs as outputs.
fn with_gradients(case: &Case) -> Option<Graph> {
    let mut b = Builder::new("gradients");
    b.graph = case.graph.clone();
    let loss = loss(&mut b)?;
    let wrt: Vec<(String, NodeId)> = b
        .graph
        .ids()
        .filter_map(|id| match &b.graph.node(id).op {
            Op::Input(name) if b.ty(id).dtype.is_float() => Some((name.clone(), id)),
            _ => None,
        })
        .collect();
    let ids: Vec<NodeId> = wrt.iter().map(|(_, id)| *id).collect();
    let gradients = gradient(&mut b, loss, None, &ids).unwrap();
    b.graph.outputs = vec![("loss".into(), loss)];
    b.graph.outputs.extend(wrt.into_iter().zip(gradients).map(|((name, _), g)| (name, g)));
    Some(b.graph)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn optimize_preserves_values(seed: u64) {
        let case = random::case(seed, Options { steps: 40, smooth: false, loops: true });
        let optimized = optimize(&case.graph);
        prop_assert_eq!(verify(&optimized), Ok(()));
        prop_assert_eq!(print(&optimize(&optimized)), print(&optimized));
        let values = values(&case);
        let (before, after) = (run(&case.graph, &case, &values), run(&optimized, &case, &values));
        if let Err(e) = same(&before, &after) {
            prop_assert!(false, "{}\n{}\n{}", e, print(&case.graph), print(&optimized));
        }
        let mut parted = optimized.clone();
        moments::run(&mut parted);
        prop_assert_eq!(verify(&parted), Ok(()));
        prop_assert_eq!(same(&before, &run(&parted, &case, &values)), Ok(()));
    }

    #[test]
    fn gradients_of_random_graphs_are_differences(seed: u64) {
        let case = random::case(seed, Options { steps: 15, smooth: true, loops: true });
        let Some(graph) = with_gradients(&case) else { return Ok(()) };
        prop_assert_eq!(verify(&graph), Ok(()));
        let point = values(&case);
        let found = run(&graph, &case, &point);
        prop_assert_eq!(same(&found, &run(&optimize(&graph), &case, &point)), Ok(()));
        let mut loss = graph.clone();
        loss.outputs.truncate(1);
        for given in case.inputs.iter().filter(|given| given.dtype.is_float()) {
            // One element of each input, chosen by the seed.
            let i = (seed % given.values.len() as u64) as usize;
            let at = |step: f64| {
                let mut moved = given.values.clone();
                moved[i] += step;
                let mut values = point.clone();
                values.insert(given.name.clone(), Value::from_f64(given.dtype, &given.shape, &moved).unwrap());
                run(&loss, &case, &values)["loss"].to_f64()[0]
            };
            let slope = |step: f64| (at(step) - at(-step)) / (2.0 * step);
            // Richardson's extrapolation of two central differences.
            let (wide, close) = (slope(2e-4), slope(1e-4));
            let expected = (4.0 * close - wide) / 3.0;
            // A loop of exponentials may leave the range of numbers, where differences say nothing.
            if !expected.is_finite() {
                continue;
            }
            let doubt = 1e-6 * (1.0 + expected.abs()) + (close - wide).abs() + 1e-9 * at(0.0).abs();
            let g = found[&given.name].to_f64()[i];
            prop_assert!((g - expected).abs() <= doubt, "{}[{}]: {} is {} by differences\n{}", given.name, i, g, expected, print(&case.graph));
        }
    }
}
