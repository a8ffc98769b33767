//! The reverse rule of loops, against central differences: random loops, loops in loops, and the gradient of a gradient.

use super::gradient;
use crate::evaluate::{Symbols, Value, Values, evaluate_with};
use crate::graph::op::{Binary, Op, Reduction};
use crate::graph::random::{self, Options};
use crate::graph::text::{parse, print};
use crate::graph::{Builder, DType, Graph, NodeId, verify};

/// The sum of the sums of these nodes, each through a sine so that its elements weigh differently.
fn total(b: &mut Builder, nodes: &[NodeId]) -> NodeId {
    let mut sum = b.constant(0.0, DType::F32).unwrap();
    for id in nodes.iter().filter(|id| b.ty(**id).dtype == DType::F32).copied().collect::<Vec<_>>() {
        let axes: Vec<usize> = (0..b.ty(id).rank()).collect();
        let wave = b.unary(crate::graph::op::Unary::Sin, id).unwrap();
        let part = b.reduce(Reduction::Sum, wave, &axes).unwrap();
        sum = b.binary(Binary::Add, sum, part).unwrap();
    }
    sum
}

/// The gradient of `loss` in the inputs against differences in a few of their elements.
fn compare(
    graph: &Graph,
    loss: NodeId,
    gradients: &[(String, NodeId)],
    values: &Values<f64>,
    known: &Symbols,
) {
    let mut graph = graph.clone();
    graph.outputs = vec![("loss".into(), loss)];
    graph.outputs.extend(gradients.iter().map(|(name, id)| (format!("d.{name}"), *id)));
    assert_eq!(verify(&graph), Ok(()), "{}", print(&graph));
    let run = |values: &Values<f64>| evaluate_with::<f64>(&graph, values, &Values::new(), known).unwrap();
    let here = run(values);
    for (name, _) in gradients {
        let (point, found) = (values[name].to_f64(), here.outputs[&format!("d.{name}")].to_f64());
        for i in (0..point.len()).step_by(1 + point.len() / 3) {
            let at = |delta: f64| {
                let mut moved = point.clone();
                moved[i] += delta;
                let mut values = values.clone();
                let value = Value::from_f64(DType::F32, values[name].shape(), &moved).unwrap();
                values.insert(name.clone(), value);
                run(&values).outputs["loss"].to_f64()[0]
            };
            // Richardson's extrapolation of two central differences; where they part, the function bends too much to tell.
            let slope = |step: f64| (at(step) - at(-step)) / (2.0 * step);
            let (wide, close) = (slope(2e-4), slope(1e-4));
            let expected = (4.0 * close - wide) / 3.0;
            let doubt = 1e-6 * (1.0 + expected.abs()) + (close - wide).abs() + 1e-9 * at(0.0).abs();
            assert!(
                (expected - found[i]).abs() <= doubt,
                "{name}[{i}]: {} but the difference says {expected}\n{}",
                found[i],
                print(&graph)
            );
        }
    }
}

/// First and second order in all float inputs.
fn check(graph: Graph, values: &Values<f64>, known: &Symbols) {
    let mut b = Builder { graph, ..Builder::new("") };
    let outputs: Vec<NodeId> = b.graph.outputs.iter().map(|(_, id)| *id).collect();
    let inputs: Vec<(String, NodeId)> = b
        .graph
        .ids()
        .filter_map(|id| match &b.graph.node(id).op {
            Op::Input(name) if b.ty(id).dtype == DType::F32 => Some((name.clone(), id)),
            _ => None,
        })
        .collect();
    let wrt: Vec<NodeId> = inputs.iter().map(|(_, id)| *id).collect();
    let named = |made: Vec<NodeId>| inputs.iter().map(|(name, _)| name.clone()).zip(made).collect::<Vec<_>>();
    let loss = total(&mut b, &outputs);
    let first = gradient(&mut b, loss, None, &wrt).unwrap();
    compare(&b.graph, loss, &named(first.clone()), values, known);
    let loss = total(&mut b, &first);
    let second = gradient(&mut b, loss, None, &wrt).unwrap();
    compare(&b.graph, loss, &named(second), values, known);
}

#[test]
fn random_loops() {
    let mut loops = 0;
    for seed in 0..150 {
        let case = random::case(seed, Options { steps: 8, smooth: true, loops: true });
        if !case.graph.nodes.iter().any(|n| matches!(n.op, Op::Scan(_))) {
            continue;
        }
        loops += 1;
        let values: Values<f64> = case
            .inputs
            .iter()
            .map(|g| (g.name.clone(), Value::from_f64(g.dtype, &g.shape, &g.values).unwrap()))
            .collect();
        check(case.graph, &values, &Symbols::from([("n".to_string(), case.n)]));
    }
    assert!(loops > 60, "{loops}");
}

/// What the reverse loop of a recurrent cell keeps and does.
#[test]
fn a_recurrent_cell() {
    let graph = parse(
        r#"graph cell
        %x = input "x" : f32[3, 2, 4]
        %w = input "w" : f32[4, 4]
        %h = input "h" : f32[2, 4]
        output "x" = %x"#,
    )
    .unwrap();
    let mut b = Builder { graph, ..Builder::new("") };
    let body = parse(
        r#"graph body
        %e = input "element.0" : f32[2, 4]
        %h = input "carry.0" : f32[2, 4]
        %w = input "capture.0" : f32[4, 4]
        %p = contract %h, %w {batch=[], sum=[(1, 0)]} : f32[2, 4]
        %s = add %e, %p : f32[2, 4]
        %n = tanh %s : f32[2, 4]
        output "carry.0" = %n
        output "yield.1" = %n"#,
    );
    let mut body = body.unwrap();
    body.outputs[1].0 = crate::graph::scan::output_name(1, 1);
    let scan = crate::graph::Scan { trip: 3usize.into(), reversed: false, elements: 1, carries: 1, body };
    let results = b.scan(scan, &[NodeId(0), NodeId(2), NodeId(1)]).unwrap();
    let loss = total(&mut b, &results);
    let made = gradient(&mut b, loss, None, &[NodeId(0), NodeId(1), NodeId(2)]).unwrap();
    b.graph.outputs = made.into_iter().enumerate().map(|(at, id)| (format!("d{at}"), id)).collect();
    let graph = crate::passes::optimize(&b.graph);
    insta::assert_snapshot!(print(&graph));
}
