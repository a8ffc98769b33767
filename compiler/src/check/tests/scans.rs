//! Loops: what a `scan` becomes, against the evaluator.

use super::*;
use crate::evaluate::{Value, Values, evaluate};

/// The output of the spec's model on these inputs (name, shape, elements), with `n` = 2 and `t` = 3; its variables are 0, 1, 2 … / 10.
fn output(text: &str, inputs: &[(&str, &[usize], &[f64])]) -> Vec<f64> {
    let checked = run(text);
    let module = module(&checked);
    let entry = module.entries.iter().find(|e| e.graph.name.starts_with("predict")).unwrap();
    let mut values = Values::<f64>::new();
    for (name, shape, elements) in inputs {
        let (_, ty, _) = entry.inputs.iter().find(|(n, ..)| n == name).unwrap();
        values.insert((*name).to_owned(), Value::from_f64(ty.dtype, shape, elements).unwrap());
    }
    let mut variables = Values::<f64>::new();
    for v in &module.variables {
        let shape: Vec<usize> = v.ty.shape.iter().map(|d| d.as_constant().unwrap() as usize).collect();
        let elements: Vec<f64> = (0..shape.iter().product()).map(|i: usize| i as f64 / 10.0).collect();
        variables.insert(v.path.clone(), Value::from_f64(v.ty.dtype, &shape, &elements).unwrap());
    }
    let outcome = evaluate(&entry.graph, &values, &variables).unwrap();
    outcome.outputs.values().next().unwrap().to_f64()
}

const SIX: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

#[test]
fn a_sum_along_an_axis() {
    let text = "model M(x: f32[n, t]) { scan a in x over t carrying s = zeros(n) { s = s + a\n yield s } }";
    assert_eq!(output(text, &[("x", &[2, 3], SIX)]), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    let reversed = text.replace("over t", "over t reversed");
    assert_eq!(output(&reversed, &[("x", &[2, 3], SIX)]), [6.0, 5.0, 3.0, 15.0, 11.0, 6.0]);
}

#[test]
fn random_elements_are_others_at_each_step() {
    let text = "model M(x: f32[n, t, 4]) { scan a in x over t carrying h = zeros(n, 4) { h = h + a * uniform([n, 4])\n yield h } }";
    let checked = run(text);
    let graph = graph(module(&checked), "predict");
    let random: Vec<String> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, crate::graph::Op::Random { .. }))
        .map(|n| n.ty.to_string())
        .collect();
    assert_eq!(random, ["f32[t, n, 4]"]);
}

#[test]
fn layers_in_a_body_own_their_weights() {
    let text = "model M(x: f32[n, t, 4]) { let s = scan a in x over t carrying h = zeros(n, 8) { h = tanh(dense(8)(a) + dense(8, bias = false)(h)) }\n s.h }";
    let checked = run(text);
    let paths: Vec<&str> = module(&checked).variables.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(paths, ["M.dense.weight", "M.dense.bias", "M.dense_2.weight"]);
}

/// The rows of a picture as 28 steps: a training step, optimised.
const ROWS: &str = "data digits = mnist() { image = f32(image) / 255 }
model Net(image: f32[n, 28, 28, 1]) -> f32[n, 10] { reshape(image, [n, 28, 28]) |> lstm(16, sequences = true) |> lstm(16) |> dense(10) }
train {
    on digits as { image, label }
    batch = 64
    epochs = 1
    minimize cross_entropy(Net(image), label) using sgd(rate = 0.1)
}";

#[test]
fn an_lstm_trains_with_few_contractions_a_step() {
    let checked = run(ROWS);
    let graph = crate::passes::optimize(graph(module(&checked), "train.step"));
    insta::assert_snapshot!(crate::graph::text::print(&graph));
}

#[test]
fn graphs_do_not_grow_with_the_sequence() {
    let size = |steps: usize| {
        let text = format!(
            "model Net(x: f32[n, {steps}, 3]) -> f32[n, 2] {{ x |> lstm(5, sequences = true) |> gru(4) |> dense(2) }}"
        );
        let checked = run(&text);
        let graph = crate::passes::optimize(graph(module(&checked), "predict"));
        fn count(graph: &crate::graph::Graph) -> usize {
            let inner = graph.nodes.iter().map(|n| match &n.op {
                crate::graph::Op::Scan(scan) => count(&scan.body),
                _ => 0,
            });
            graph.nodes.len() + inner.sum::<usize>()
        }
        count(&graph)
    };
    assert_eq!(size(10), size(1000));
}
