//! Attention that is spelt out is found, in trainings too, and computes the same.

use weft_compiler::check::Options;
use weft_compiler::grad;
use weft_compiler::graph::{Builder, Entry, Graph, Module, NodeId, Op, TensorType};
use weft_compiler::stages;
use weft_runtime::program::{DType, InputSource};
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::specs;

const QKV: &str = "q: f32[n, t, 4, 6], k: f32[n, s, 4, 6], v: f32[n, s, 4, 5]";

/// Forms of attention: the parameters beside queries, keys and values, and the expression.
const FORMS: [(&str, &str); 9] = [
    ("", "attend(q, k, v)"),
    ("", "attend(q, k, v, causal = true)"),
    ("mask: bool[n, 1, 1, s]", "attend(q, k, v, mask)"),
    ("mask: bool[n, 1, t, s]", "attend(q, k, v, mask, causal = true)"),
    ("bias: f32[4, t, s]", "attend(q, k, v, bias = bias, scale = 1.0)"),
    ("bias: f32[4, t, s], mask: bool[n, 1, 1, s]", "attend(q, k, v, mask, bias, causal = true)"),
    // Two heads of keys serve four of queries.
    ("", "attend(q, k[:, :, :2], v[:, :, 1:3], causal = true)"),
    // As one would write it by hand, heads first.
    ("", "einsum(\"nhqk,nkhd->nqhd\", softmax(einsum(\"nqhd,nkhd->nhqk\", q, k) / 2.5), v)"),
    (
        "bias: f32[4, t, s]",
        "einsum(\"nhqk,nhkd->nhqd\", softmax(2 * 0.5 * bias + einsum(\"nhqd,nhkd->nhqk\", transpose(q, [0, 2, 1, 3]), transpose(k, [0, 2, 1, 3]))), transpose(v, [0, 2, 1, 3]))",
    ),
];

fn module(text: &str) -> Module {
    let checked = specs::check_text(text, &Options::default());
    checked
        .module
        .unwrap_or_else(|| panic!("{}", specs::rendered(&specs::check_text(text, &Options::default()))))
}

fn form(more: &str, expression: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("model Case({QKV}{comma}{more}) {{ {expression} }}\n")
}

/// The entry `predict` with its gradients in all float inputs, weighted by an input of the result's type.
fn with_gradients(text: &str, last: bool) -> Module {
    let mut module = module(text);
    module.entries.retain(|e| e.graph.name == "predict");
    let Entry { graph, mut inputs } = module.entries.pop().expect("the entry is there");
    let (_, y) = graph.outputs[0].clone();
    let ty: TensorType = graph.node(y).ty.clone();
    let wrt: Vec<(String, NodeId)> = graph
        .ids()
        .filter_map(|id| match &graph.node(id).op {
            Op::Input(name) if graph.node(id).ty.dtype == DType::F32 => Some((name.clone(), id)),
            _ => None,
        })
        .collect();
    let mut b = Builder { graph, span: Default::default(), path: "".into() };
    let seed = b.input("seed", ty.clone()).expect("the type is sound");
    inputs.push(("seed".into(), ty, InputSource::Caller));
    let ids: Vec<NodeId> = wrt.iter().map(|(_, id)| *id).collect();
    let take = if last { grad::last_gradient } else { grad::gradient };
    let gradients = take(&mut b, y, Some(seed), &ids).expect("there is a gradient");
    for ((name, _), gradient) in wrt.iter().zip(gradients) {
        b.graph.outputs.push((format!("of {name}"), gradient));
    }
    module.entries = vec![Entry { graph: b.graph, inputs }];
    module
}

/// Numbers that look random, for inputs of these extents.
fn inputs(module: &Module, [n, t, s]: [usize; 3]) -> Tensors {
    let at = |symbol: &str| match symbol {
        "n" => Some(n as i64),
        "t" => Some(t as i64),
        _ => Some(s as i64),
    };
    let tensor = |(place, (name, ty)): (usize, (&String, &TensorType))| {
        let shape: Vec<usize> =
            ty.shape.iter().map(|d| d.evaluate(&at).expect("all are bound") as usize).collect();
        let count: usize = shape.iter().product();
        let number = |i: usize| ((i * 7919 + place * 104_729) % 2003) as f32 / 1001.5 - 1.0;
        let tensor = match ty.dtype {
            // The first query sees nothing.
            DType::Bool => Tensor {
                dtype: DType::Bool,
                data: (0..count).map(|i| u8::from(i >= s && number(i) > -0.5)).collect(),
                shape,
            },
            _ => Tensor::from_f32(&shape, &(0..count).map(number).collect::<Vec<_>>()),
        };
        (name.clone(), tensor)
    };
    module.entries[0].inputs.iter().map(|(name, ty, _)| (name, ty)).enumerate().map(tensor).collect()
}

/// Nodes with as many elements as there are scores, in the text of a graph.
fn scores(graph: &Graph) -> usize {
    let is_scores = |ty: &TensorType| {
        ty.dtype == DType::F32
            && ty.rank() >= 4
            && ty
                .shape
                .ends_with(&["t".into(), "s".into()].map(|s: String| weft_compiler::graph::Dim::symbol(s)))
    };
    graph
        .nodes
        .iter()
        .filter(|node| is_scores(&node.ty) && !matches!(node.op, Op::Broadcast { .. } | Op::Attention(_)))
        .count()
}

#[test]
fn every_form_is_found_and_its_gradient_too() {
    for (more, expression) in FORMS {
        let graph = stages::optimized(&with_gradients(&form(more, expression), true)).entries.remove(0).graph;
        let count = graph.nodes.iter().filter(|node| matches!(node.op, Op::Attention(_))).count();
        // The result, the sums, and an adjoint of queries, keys and values, and of the bias.
        assert_eq!(count, if more.contains("bias") { 6 } else { 5 }, "{expression}");
        assert_eq!(scores(&graph), 0, "{expression}");
    }
}

#[test]
fn what_is_found_computes_what_was_spelt_out() {
    for (more, expression) in FORMS {
        let text = form(more, expression);
        let (spelt, whole) = (with_gradients(&text, false), with_gradients(&text, true));
        let machine = |device| (device, Machine::new(whole.clone(), device));
        let mut machines: Vec<_> = Device::with_gpu().into_iter().map(machine).collect();
        for sizes in [[2, 3, 5], [1, 50, 50], [2, 9, 1], [1, 1, 7]] {
            let inputs = inputs(&spelt, sizes);
            // The unoptimised graph on the reference evaluator is the oracle.
            let due = Machine::new(spelt.clone(), Device::Evaluator64).run("predict", &inputs);
            for (device, machine) in &mut machines {
                let got = machine.run("predict", &inputs);
                for (name, due) in &due {
                    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 2e-5 * b.abs().max(1.0);
                    assert!(
                        due.len() == got[name].len() && got[name].iter().zip(due).all(near),
                        "{name} of {expression} at {sizes:?} on {device:?}: {:?}, not {due:?}",
                        got[name]
                    );
                }
            }
        }
    }
}

/// Where something else reads the weights, or a part of the form is asked for, nothing is put together.
#[test]
fn weights_that_are_needed_are_kept() {
    let kept = [
        // The weights are a result themselves.
        "let p = softmax(einsum(\"nqhd,nkhd->nhqk\", q, k))\n    { p, y = einsum(\"nhqk,nkhd->nqhd\", p, v) }",
        // Not along the keys.
        "einsum(\"nhqk,nkhd->nqhd\", softmax(einsum(\"nqhd,nkhd->nhqk\", q, k), axis = 2), v)",
        // Multiplied once more.
        "einsum(\"nhqk,nkhd->nqhd\", 0.5 * softmax(einsum(\"nqhd,nkhd->nhqk\", q, k)), v)",
    ];
    for expression in kept {
        let module = stages::optimized(&module(&form("", expression)));
        let found =
            module.entries.iter().flat_map(|e| &e.graph.nodes).any(|n| matches!(n.op, Op::Attention(_)));
        assert!(!found, "{expression}");
    }
}
