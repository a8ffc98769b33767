//! Loops against the evaluator: the same bits on one thread and on many, at batches and trips of all sizes, and no allocation.

use super::{Given, Target, compile, expected, module, random, run_program};
use crate::graph::text::parse;
use crate::graph::{DType, Dim, Graph, Op, verify};
use crate::plan::{self, Step};
use std::sync::Arc;

/// Values for all inputs of a graph at these symbols.
pub fn inputs(graph: &Graph, symbols: &[(&str, usize)], below: usize) -> Vec<Given> {
    let bind = |name: &str| symbols.iter().find(|(s, _)| *s == name).map(|(_, v)| *v as i64);
    let mut rng = random::Rng::new(7);
    let inputs = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Input(name) => Some((name, &node.ty)),
        _ => None,
    });
    inputs
        .map(|(name, ty)| {
            let extent = |dim: &Dim| dim.evaluate(&bind).expect("symbols are given") as usize;
            let shape: Vec<usize> = ty.shape.iter().map(extent).collect();
            let mut value = || match ty.dtype {
                DType::Bool => rng.below(2) as f64,
                dtype if dtype.is_float() => 0.25 * rng.unit(),
                _ => rng.below(below) as f64,
            };
            let values = (0..shape.iter().product()).map(|_| value()).collect();
            Given { name: name.clone(), dtype: ty.dtype, shape, values }
        })
        .collect()
}

/// Runs a graph at each of these sizes on one, two, three and seven threads, and compares with the evaluator.
pub fn check(text: &str, sizes: &[&[(&str, usize)]]) {
    let graph = parse(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    verify(&graph).unwrap();
    let module = module(&graph, Vec::new());
    let program = Arc::new(compile(&module, Target::Host).unwrap());
    for symbols in sizes {
        let given = inputs(&graph, symbols, 3);
        let (expected, _) = expected(&graph, &given, &[]);
        let one = run_program(&module, program.clone(), &given, &[], 1).unwrap();
        for threads in [2, 3, 7] {
            let many = run_program(&module, program.clone(), &given, &[], threads).unwrap();
            let same = one.iter().zip(&many).all(|(a, b)| a.2 == b.2);
            assert!(same, "{symbols:?}: {threads} threads give other bits");
        }
        for (name, dtype, _, got) in &one {
            let want = expected[name].to_f64();
            assert_eq!(want.len(), got.len());
            let scale = want.iter().fold(1.0f64, |m, w| m.max(w.abs()));
            for (at, (g, w)) in got.iter().zip(&want).enumerate() {
                let close = if dtype.is_float() { (g - w).abs() <= 2e-5 * scale } else { g == w };
                assert!(close, "{symbols:?}: {name}[{at}] is {g}, not {w}");
            }
        }
    }
}

const SIZES: [&[(&str, usize)]; 9] = [
    &[("n", 1), ("t", 1)],
    &[("n", 1), ("t", 6)],
    &[("n", 5), ("t", 0)],
    &[("n", 2), ("t", 3)],
    &[("n", 16), ("t", 2)],
    &[("n", 17), ("t", 4)],
    &[("n", 48), ("t", 3)],
    &[("n", 64), ("t", 2)],
    &[("n", 70), ("t", 5)],
];

/// An LSTM over batch-major sequences of `t` steps, with all states and the last ones.
pub fn lstm(reversed: bool, units: usize, t: &str) -> String {
    let (all, cell, out) = (4 * units, 2 * units, 3 * units);
    format!(
        r#"graph predict
bound n <= 64
%x = input : f32[n, {t}, 10]
%w = input : f32[10, {all}]
%u = input : f32[{units}, {all}]
%b = input : f32[{all}]
%constant = constant 0.0 : f32[]
%zero = broadcast %constant {{axes=[]}} : f32[n, {units}]
%xt = transpose %x {{permutation=[1, 0, 2]}} : f32[{t}, n, 10]
%scan = scan %xt, %zero, %zero, %w, %u, %b {{trip={t}, reversed={reversed}, elements=1, carries=2}} : bool[0]
  | %element.0 = input : f32[n, 10]
  | %carry.0 = input : f32[n, {units}]
  | %carry.1 = input : f32[n, {units}]
  | %capture.0 = input : f32[10, {all}]
  | %capture.1 = input : f32[{units}, {all}]
  | %capture.2 = input : f32[{all}]
  | %a = contract %element.0, %capture.0 {{batch=[], sum=[(1, 0)]}} : f32[n, {all}]
  | %h = contract %carry.0, %capture.1 {{batch=[], sum=[(1, 0)]}} : f32[n, {all}]
  | %sum = add %a, %h : f32[n, {all}]
  | %bias = broadcast %capture.2 {{axes=[1]}} : f32[n, {all}]
  | %gates = add %sum, %bias : f32[n, {all}]
  | %i = slice %gates {{axis=1, start=0, step=1}} : f32[n, {units}]
  | %f = slice %gates {{axis=1, start={units}, step=1}} : f32[n, {units}]
  | %g = slice %gates {{axis=1, start={cell}, step=1}} : f32[n, {units}]
  | %o = slice %gates {{axis=1, start={out}, step=1}} : f32[n, {units}]
  | %si = sigmoid %i : f32[n, {units}]
  | %sf = sigmoid %f : f32[n, {units}]
  | %tg = tanh %g : f32[n, {units}]
  | %so = sigmoid %o : f32[n, {units}]
  | %kept = mul %sf, %carry.1 : f32[n, {units}]
  | %new = mul %si, %tg : f32[n, {units}]
  | %c = add %kept, %new : f32[n, {units}]
  | %tc = tanh %c : f32[n, {units}]
  | %y = mul %so, %tc : f32[n, {units}]
  | output "carry.0" = %y
  | output "carry.1" = %c
  | output "yield.0" = %y
  | output "yield.1" = %carry.1
  | output "yield.2" = %so
%last = result %scan {{index=0}} : f32[n, {units}]
%cell = result %scan {{index=1}} : f32[n, {units}]
%all = result %scan {{index=2}} : f32[{t}, n, {units}]
%cells = result %scan {{index=3}} : f32[{t}, n, {units}]
%states = transpose %all {{permutation=[1, 0, 2]}} : f32[n, {t}, {units}]
output "states" = %states
output "cells" = %cells
output "last" = %last
output "cell" = %cell
"#
    )
}

/// How many products of a plan add to what is there.
fn adding(text: &str) -> usize {
    let graph = parse(text).unwrap();
    let plan = plan::plan(&module(&graph, Vec::new()).entries[0], &[]).unwrap();
    plan::text::print(&plan)
        .lines()
        .filter(|line| line.contains("contract ") && line.contains(", added:"))
        .count()
}

#[test]
fn the_product_of_a_state_adds_to_that_of_the_input() {
    let text = lstm(false, 8, "t");
    assert_eq!(adding(&text), 1);
    // In the order of the standard library: the bias comes in between.
    let other = text
        .replace("%sum = add %a, %h", "%sum = add %bias, %a")
        .replace("%gates = add %sum, %bias", "%gates = add %h, %sum");
    let moved = "  | %bias = broadcast %capture.2 {axes=[1]} : f32[n, 32]\n";
    let first = "  | %sum = ";
    let other = other.replace(moved, "").replace(first, &format!("{moved}{first}"));
    assert_eq!(adding(&other), 1);
    check(&other, &SIZES);
    // A cell that sees one of the products by itself has both.
    let seen = text.replace("| %y = mul %so, %tc", "| %seen = slice %h {axis=1, start=0, step=1} : f32[n, 8]\n  | %both = add %so, %seen : f32[n, 8]\n  | %y = mul %both, %tc");
    assert_eq!(adding(&seen), 0);
    check(&seen, &SIZES);
    // So has one that reads them crosswise.
    let crossed = text.replace("| %sum = add %a, %h : f32[n, 32]", "| %front = slice %h {axis=1, start=0, step=1} : f32[n, 16]\n  | %behind = slice %h {axis=1, start=16, step=1} : f32[n, 16]\n  | %turned = concat %behind, %front {axis=1} : f32[n, 32]\n  | %sum = add %a, %turned : f32[n, 32]");
    assert_eq!(adding(&crossed), 0);
    check(&crossed, &SIZES);
}

#[test]
fn an_lstm_agrees_forwards_and_backwards() {
    for (reversed, units) in [(false, 8), (true, 8), (false, 64), (true, 3)] {
        check(&lstm(reversed, units, "t"), &SIZES);
    }
}

/// Layers of an LSTM as the passes leave them, over time-major sequences: the inputs' part of all steps' gates comes before each
/// loop.
pub fn stacked(layers: usize, units: usize) -> String {
    let all = 4 * units;
    let mut text = String::from("graph predict\nbound n <= 64\n%x = input : f32[n, 100, 10]\n");
    text += &format!(
        "%constant = constant 0.0 : f32[]\n%zero = broadcast %constant {{axes=[]}} : f32[n, {units}]\n\
         %h0 = transpose %x {{permutation=[1, 0, 2]}} : f32[100, n, 10]\n"
    );
    for layer in 1..=layers {
        let (before, width) = (layer - 1, if layer == 1 { 10 } else { units });
        text += &format!(
            r#"%w{layer} = input : f32[{width}, {all}]
%u{layer} = input : f32[{units}, {all}]
%b{layer} = input : f32[{all}]
%p{layer} = contract %h{before}, %w{layer} {{batch=[], sum=[(2, 0)]}} : f32[100, n, {all}]
%bias{layer} = broadcast %b{layer} {{axes=[2]}} : f32[100, n, {all}]
%a{layer} = add %p{layer}, %bias{layer} : f32[100, n, {all}]
%scan{layer} = scan %a{layer}, %zero, %zero, %u{layer} {{trip=100, reversed=false, elements=1, carries=2}} : bool[0]
  | %element.0 = input : f32[n, {all}]
  | %carry.0 = input : f32[n, {units}]
  | %carry.1 = input : f32[n, {units}]
  | %capture.0 = input : f32[{units}, {all}]
  | %r = contract %carry.0, %capture.0 {{batch=[], sum=[(1, 0)]}} : f32[n, {all}]
  | %gates = add %r, %element.0 : f32[n, {all}]
  | %i = slice %gates {{axis=1, start=0, step=1}} : f32[n, {units}]
  | %f = slice %gates {{axis=1, start={units}, step=1}} : f32[n, {units}]
  | %g = slice %gates {{axis=1, start={cell}, step=1}} : f32[n, {units}]
  | %o = slice %gates {{axis=1, start={out}, step=1}} : f32[n, {units}]
  | %si = sigmoid %i : f32[n, {units}]
  | %sf = sigmoid %f : f32[n, {units}]
  | %tg = tanh %g : f32[n, {units}]
  | %so = sigmoid %o : f32[n, {units}]
  | %kept = mul %sf, %carry.1 : f32[n, {units}]
  | %new = mul %si, %tg : f32[n, {units}]
  | %c = add %kept, %new : f32[n, {units}]
  | %tc = tanh %c : f32[n, {units}]
  | %y = mul %so, %tc : f32[n, {units}]
  | output "carry.0" = %y
  | output "carry.1" = %c
  | output "yield.0" = %y
%last{layer} = result %scan{layer} {{index=0}} : f32[n, {units}]
%h{layer} = result %scan{layer} {{index=2}} : f32[100, n, {units}]
"#,
            cell = 2 * units,
            out = 3 * units
        );
    }
    text + &format!("output \"last\" = %last{layers}\n")
}

#[test]
fn an_lstm_is_a_contraction_and_a_cell_in_each_step_cut_along_the_batch() {
    let graph = parse(&stacked(2, 64)).unwrap();
    let plan = plan::plan(&module(&graph, Vec::new()).entries[0], &[]).unwrap();
    let text = plan::text::print(&plan);
    let loops: Vec<(&Dim, usize)> = plan
        .segments
        .iter()
        .flat_map(|s| s.steps.iter().map(move |step| (s, step)))
        .filter_map(|(s, step)| match step {
            Step::Loop(inner) => Some((&s.units, inner.steps.len())),
            Step::Launch(_) => None,
        })
        .collect();
    let n = Dim::symbol("n");
    assert_eq!(loops, [(&n, 2), (&n, 2)], "{text}");
    insta::assert_snapshot!(text);
    check(&stacked(2, 64), &[&[("n", 1)], &[("n", 40)]]);
}

#[test]
fn the_size_of_a_program_does_not_depend_on_the_trip() {
    let sizes = ["3", "3000"].map(|trip| {
        let graph = parse(&lstm(false, 16, trip)).unwrap();
        let program = compile(&module(&graph, Vec::new()), Target::Host).unwrap();
        let launches: usize = program.entries[0].segments.iter().map(|s| s.launches().len()).sum();
        (program.code.functions.len(), launches, program.entries[0].buffers.len())
    });
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn carries_that_change_places_are_not_lost() {
    check(
        r#"graph predict
%first = input : f32[n]
%second = input : f32[n]
%still = input : f32[n]
%count = input : i32[n]
%steps = input : f32[t]
%scan = scan %first, %second, %still, %count {trip=t, reversed=false, elements=0, carries=4} : bool[0]
  | %carry.0 = input : f32[n]
  | %carry.1 = input : f32[n]
  | %carry.2 = input : f32[n]
  | %carry.3 = input : i32[n]
  | %add = add %carry.0, %carry.1 : f32[n]
  | %half = constant 0.5 : f32[]
  | %halves = broadcast %half {axes=[]} : f32[n]
  | %next = mul %add, %halves : f32[n]
  | %one = constant 1.0 : i32[]
  | %ones = broadcast %one {axes=[]} : i32[n]
  | %counted = add %carry.3, %ones : i32[n]
  | output "carry.0" = %carry.1
  | output "carry.1" = %next
  | output "carry.2" = %carry.2
  | output "carry.3" = %counted
  | output "yield.0" = %carry.0
  | output "yield.1" = %next
  | output "yield.2" = %next
  | output "yield.3" = %carry.2
  | output "yield.4" = %counted
  | output "yield.5" = %ones
%a = result %scan {index=0} : f32[n]
%b = result %scan {index=1} : f32[n]
%c = result %scan {index=2} : f32[n]
%d = result %scan {index=3} : i32[n]
%y = result %scan {index=4} : f32[t, n]
%z = result %scan {index=6} : f32[t, n]
%w = result %scan {index=7} : f32[t, n]
%v = result %scan {index=8} : i32[t, n]
%u = result %scan {index=9} : i32[t, n]
%doubled = add %y, %z : f32[t, n]
output "a" = %a
output "b" = %b
output "c" = %c
output "d" = %d
output "y" = %y
output "w" = %w
output "v" = %v
output "u" = %u
output "doubled" = %doubled
"#,
        &SIZES,
    );
}

#[test]
fn masks_and_flags_go_through_a_loop() {
    check(
        r#"graph predict
%x = input : f32[n, t, 5]
%mask = input : bool[n, t]
%done = input : bool[n]
%h = input : f32[n, 5]
%best = input : i32[n]
%xt = transpose %x {permutation=[1, 0, 2]} : f32[t, n, 5]
%mt = transpose %mask {permutation=[1, 0]} : bool[t, n]
%scan = scan %xt, %mt, %h, %done, %best {trip=t, reversed=true, elements=2, carries=3} : bool[0]
  | %element.0 = input : f32[n, 5]
  | %element.1 = input : bool[n]
  | %carry.0 = input : f32[n, 5]
  | %carry.1 = input : bool[n]
  | %carry.2 = input : i32[n]
  | %wide = broadcast %element.1 {axes=[0]} : bool[n, 5]
  | %add = add %element.0, %carry.0 : f32[n, 5]
  | %new = tanh %add : f32[n, 5]
  | %kept = select %wide, %new, %carry.0 : f32[n, 5]
  | %any = or %carry.1, %element.1 : bool[n]
  | %largest = arg_max %kept {axes=[1]} : i32[n]
  | output "carry.0" = %kept
  | output "carry.1" = %any
  | output "carry.2" = %largest
  | output "yield.0" = %kept
  | output "yield.1" = %carry.1
  | output "yield.2" = %carry.2
%a = result %scan {index=0} : f32[n, 5]
%b = result %scan {index=1} : bool[n]
%c = result %scan {index=2} : i32[n]
%y = result %scan {index=3} : f32[t, n, 5]
%z = result %scan {index=4} : bool[t, n]
%w = result %scan {index=5} : i32[t, n]
output "a" = %a
output "b" = %b
output "c" = %c
output "y" = %y
output "z" = %z
output "w" = %w
"#,
        &SIZES,
    );
}

#[test]
fn loops_nest() {
    check(
        r#"graph predict
%x = input : f32[t, n, 3, 4]
%h = input : f32[n, 4]
%w = input : f32[4, 4]
%scan = scan %x, %h, %w {trip=t, reversed=true, elements=1, carries=1} : bool[0]
  | %element.0 = input : f32[n, 3, 4]
  | %carry.0 = input : f32[n, 4]
  | %capture.0 = input : f32[4, 4]
  | %rows = transpose %element.0 {permutation=[1, 0, 2]} : f32[3, n, 4]
  | %sum = reduce_sum %element.0 {axes=[1]} : f32[n, 4]
  | %scan = scan %rows, %carry.0, %capture.0, %sum {trip=3, reversed=false, elements=1, carries=1} : bool[0]
  |   | %element.0 = input : f32[n, 4]
  |   | %carry.0 = input : f32[n, 4]
  |   | %capture.0 = input : f32[4, 4]
  |   | %capture.1 = input : f32[n, 4]
  |   | %a = contract %carry.0, %capture.0 {batch=[], sum=[(1, 0)]} : f32[n, 4]
  |   | %b = add %a, %element.0 : f32[n, 4]
  |   | %c = sub %b, %capture.1 : f32[n, 4]
  |   | %d = tanh %c : f32[n, 4]
  |   | output "carry.0" = %d
  |   | output "yield.0" = %carry.0
  |   | output "yield.1" = %b
  | %last = result %scan {index=0} : f32[n, 4]
  | %old = result %scan {index=1} : f32[3, n, 4]
  | %sums = result %scan {index=2} : f32[3, n, 4]
  | %back = transpose %old {permutation=[1, 0, 2]} : f32[n, 3, 4]
  | %both = add %back, %element.0 : f32[n, 3, 4]
  | output "carry.0" = %last
  | output "yield.0" = %sums
  | output "yield.1" = %both
%last = result %scan {index=0} : f32[n, 4]
%sums = result %scan {index=1} : f32[t, 3, n, 4]
%both = result %scan {index=2} : f32[t, n, 3, 4]
output "last" = %last
output "sums" = %sums
output "both" = %both
"#,
        &SIZES,
    );
}

#[test]
fn elements_and_captures_are_read_through_views() {
    check(
        r#"graph predict
%x = input : f32[n, t, 6]
%y = input : f32[2*t, n, 6]
%z = input : f32[t, n, 4]
%w = input : f32[12, 6]
%h = input : f32[n, 6]
%part = slice %x {axis=2, start=2, step=1} : f32[n, t, 3]
%xt = transpose %part {permutation=[1, 0, 2]} : f32[t, n, 3]
%even = slice %y {axis=0, start=1, step=2} : f32[t, n, 6]
%wide = pad %z {amounts=[(0, 0), (0, 0), (1, 1)], value=0.5} : f32[t, n, 6]
%square = mul %wide, %wide : f32[t, n, 6]
%turned = slice %square {axis=2, start=5, step=-1} : f32[t, n, 6]
%lower = slice %w {axis=0, start=6, step=1} : f32[6, 6]
%flipped = transpose %lower {permutation=[1, 0]} : f32[6, 6]
%upper = slice %w {axis=0, start=0, step=1} : f32[3, 6]
%bias = slice %w {axis=0, start=3, step=1} : f32[1, 6]
%row = reshape %bias : f32[6]
%scan = scan %xt, %even, %turned, %h, %flipped, %upper, %row, %x {trip=t, reversed=false, elements=3, carries=1} : bool[0]
  | %element.0 = input : f32[n, 3]
  | %element.1 = input : f32[n, 6]
  | %element.2 = input : f32[n, 6]
  | %carry.0 = input : f32[n, 6]
  | %capture.0 = input : f32[6, 6]
  | %capture.1 = input : f32[3, 6]
  | %capture.2 = input : f32[6]
  | %capture.3 = input : f32[n, t, 6]
  | %a = contract %element.0, %capture.1 {batch=[], sum=[(1, 0)]} : f32[n, 6]
  | %b = contract %carry.0, %capture.0 {batch=[], sum=[(1, 0)]} : f32[n, 6]
  | %c = add %a, %b : f32[n, 6]
  | %d = sub %c, %element.1 : f32[n, 6]
  | %e = contract %element.2, %capture.0 {batch=[], sum=[(1, 0)]} : f32[n, 6]
  | %f = add %d, %e : f32[n, 6]
  | %g = broadcast %capture.2 {axes=[1]} : f32[n, 6]
  | %i = add %f, %g : f32[n, 6]
  | %mean = reduce_sum %capture.3 {axes=[1]} : f32[n, 6]
  | %j = add %i, %mean : f32[n, 6]
  | %k = tanh %j : f32[n, 6]
  | %halves = reshape %element.1 : f32[n, 2, 3]
  | %swapped = transpose %halves {permutation=[0, 2, 1]} : f32[n, 3, 2]
  | %flat = reshape %swapped : f32[n, 6]
  | output "carry.0" = %k
  | output "yield.0" = %flat
  | output "yield.1" = %element.0
%last = result %scan {index=0} : f32[n, 6]
%flat = result %scan {index=1} : f32[t, n, 6]
%same = result %scan {index=2} : f32[t, n, 3]
output "last" = %last
output "flat" = %flat
output "same" = %same
"#,
        &SIZES,
    );
}

#[test]
fn loops_that_are_not_cut_run_as_one_task() {
    // The batch is summed in every step, and a row of weights is moved by all samples together.
    check(
        r#"graph predict
%x = input : f32[t, n, 6]
%w = input : f32[6, 5]
%m = input : f32[6]
%v = input : f32[5]
%scan = scan %x, %w, %m, %v {trip=t, reversed=false, elements=1, carries=3} : bool[0]
  | %element.0 = input : f32[n, 6]
  | %carry.0 = input : f32[6, 5]
  | %carry.1 = input : f32[6]
  | %carry.2 = input : f32[5]
  | %y = contract %element.0, %carry.0 {batch=[], sum=[(1, 0)]} : f32[n, 5]
  | %t = tanh %y : f32[n, 5]
  | %g = contract %element.0, %t {batch=[], sum=[(0, 0)]} : f32[6, 5]
  | %rate = constant 0.01 : f32[]
  | %rates = broadcast %rate {axes=[]} : f32[6, 5]
  | %step = mul %g, %rates : f32[6, 5]
  | %new = sub %carry.0, %step : f32[6, 5]
  | %sum = reduce_sum %element.0 {axes=[0]} : f32[6]
  | %mean = add %sum, %carry.1 : f32[6]
  | %u = contract %carry.1, %carry.0 {batch=[], sum=[(0, 0)]} : f32[5]
  | %nu = tanh %u : f32[5]
  | output "carry.0" = %new
  | output "carry.1" = %mean
  | output "carry.2" = %nu
  | output "yield.0" = %t
  | output "yield.1" = %carry.2
%w2 = result %scan {index=0} : f32[6, 5]
%m2 = result %scan {index=1} : f32[6]
%v2 = result %scan {index=2} : f32[5]
%t = result %scan {index=3} : f32[t, n, 5]
%u = result %scan {index=4} : f32[t, 5]
output "w" = %w2
output "m" = %m2
output "v" = %v2
output "t" = %t
output "u" = %u
"#,
        &[&[("n", 1), ("t", 4)], &[("n", 3), ("t", 1)], &[("n", 7), ("t", 0)], &[("n", 40), ("t", 3)]],
    );
}

#[test]
fn every_kernel_form_runs_in_a_loop() {
    check(
        r#"graph predict
%x = input : f32[t, n, 6, 4]
%k = input : f32[3, 4, 4]
%places = input : i32[t, n]
%table = input : f32[3, 4]
%h = input : f32[n, 6, 4]
%scan = scan %x, %places, %h, %k, %table {trip=t, reversed=true, elements=2, carries=1} : bool[0]
  | %element.0 = input : f32[n, 6, 4]
  | %element.1 = input : i32[n]
  | %carry.0 = input : f32[n, 6, 4]
  | %capture.0 = input : f32[3, 4, 4]
  | %capture.1 = input : f32[3, 4]
  | %conv = conv %carry.0, %capture.0 {stride=[1], padding=[(1, 1)], dilation=[1], groups=1} : f32[n, 6, 4]
  | %scores = contract %element.0, %carry.0 {batch=[(0, 0)], sum=[(2, 2)]} : f32[n, 6, 6]
  | %mixed = contract %scores, %element.0 {batch=[(0, 0)], sum=[(2, 1)]} : f32[n, 6, 4]
  | %sums = cumulative_sum %element.0 {axis=1, reverse=false, exclusive=false} : f32[n, 6, 4]
  | %row = gather %capture.1, %element.1 {axis=0} : f32[n, 4]
  | %rows = broadcast %row {axes=[0, 2]} : f32[n, 6, 4]
  | %sorted = sort %sums {falling=true, indices=false} : f32[n, 6, 2]
  | %a = add %conv, %mixed : f32[n, 6, 4]
  | %b = add %a, %rows : f32[n, 6, 4]
  | %c = tanh %b : f32[n, 6, 4]
  | %left = slice %c {axis=2, start=0, step=1} : f32[n, 6, 2]
  | %new = concat %left, %sorted {axis=2} : f32[n, 6, 4]
  | %bounded = tanh %new : f32[n, 6, 4]
  | output "carry.0" = %bounded
  | output "yield.0" = %new
  | output "yield.1" = %mixed
  | output "yield.2" = %row
%last = result %scan {index=0} : f32[n, 6, 4]
%all = result %scan {index=1} : f32[t, n, 6, 4]
%mixed = result %scan {index=2} : f32[t, n, 6, 4]
%row = result %scan {index=3} : f32[t, n, 4]
output "last" = %last
output "all" = %all
output "mixed" = %mixed
output "row" = %row
"#,
        &SIZES,
    );
}

#[test]
fn an_index_out_of_range_in_a_loop_names_its_operation() {
    let text = r#"graph predict
%places = input : i32[t, n]
%table = input : f32[3, 4]
%h = input : f32[n, 4]
%scan = scan %places, %h, %table {trip=t, reversed=false, elements=1, carries=1} : bool[0]
  | %element.0 = input : i32[n]
  | %carry.0 = input : f32[n, 4]
  | %capture.0 = input : f32[3, 4]
  | %Net.embed.row = gather %capture.0, %element.0 {axis=0} : f32[n, 4]  // Net.embed
  | %a = add %carry.0, %Net.embed.row : f32[n, 4]
  | output "carry.0" = %a
%last = result %scan {index=0} : f32[n, 4]
output "last" = %last
"#;
    let graph = parse(text).unwrap();
    let module = module(&graph, Vec::new());
    let program = Arc::new(compile(&module, Target::Host).unwrap());
    let given = inputs(&graph, &[("n", 5), ("t", 3)], 3);
    run_program(&module, program.clone(), &given, &[], 2).unwrap();
    let given = inputs(&graph, &[("n", 5), ("t", 3)], 9);
    let error = run_program(&module, program, &given, &[], 2).unwrap_err();
    assert!(error.contains("Net.embed"), "{error}");
}
