//! Programs against the reference evaluator: the same graphs, on one thread and on two.

mod beside;
mod forms;
mod halves;
mod loops;
mod models;
mod narrow;
mod prepared;
mod targets;

use super::{Target, compile};
use crate::evaluate::{self, Value, Values};
use crate::graph::random::{self, Case, Given, Options};
use crate::graph::{DType, Entry, Graph, Module, Variable};
use std::sync::Arc;
use weft_runtime::execute::Session;
use weft_runtime::program::{InputSource, VariableKind};
use weft_runtime::tensor::Tensor;

/// A tensor of these values.
fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
    let mut data = Vec::new();
    for v in values {
        match dtype {
            DType::F32 => data.extend((*v as f32).to_le_bytes()),
            DType::F64 => data.extend(v.to_le_bytes()),
            DType::I32 => data.extend((*v as i32).to_le_bytes()),
            DType::I64 => data.extend((*v as i64).to_le_bytes()),
            DType::U8 => data.push(*v as u8),
            DType::I8 => data.push(*v as i8 as u8),
            DType::Bool => data.push(u8::from(*v != 0.0)),
            DType::F16 => data.extend(half::f16::from_f64(*v).to_le_bytes()),
            DType::BF16 => data.extend(half::bf16::from_f64(*v).to_le_bytes()),
        }
    }
    Tensor { dtype, shape: shape.to_vec(), data }
}

/// A module of one entry with inputs from the caller.
fn module(graph: &Graph, variables: Vec<Variable>) -> Module {
    let mut inputs = Vec::new();
    for node in &graph.nodes {
        if let crate::graph::Op::Input(name) = &node.op {
            inputs.push((name.clone(), node.ty.clone(), InputSource::Caller));
        }
    }
    let entry = Entry { graph: graph.clone(), inputs };
    Module { name: "test".into(), variables, entries: vec![entry], ..Module::default() }
}

/// What a run gave: outputs, then variables, by name.
type Results = Vec<(String, DType, Vec<u8>, Vec<f64>)>;

fn run(module: &Module, given: &[Given], variables: &[Given], threads: usize) -> Result<Results, String> {
    let program = compile(module, Target::Host).map_err(|e| e.to_string())?;
    run_program(module, Arc::new(program), given, variables, threads)
}

fn run_program(
    module: &Module,
    program: Arc<weft_runtime::program::Program>,
    given: &[Given],
    variables: &[Given],
    threads: usize,
) -> Result<Results, String> {
    let mut session = Session::new(program, threads).map_err(|e| e.to_string())?;
    for variable in variables {
        let at = module.variables.iter().position(|v| v.path == variable.name).ok_or("no such variable")?;
        let value = tensor(variable.dtype, &variable.shape, &variable.values);
        session.variable_bytes_mut(at).copy_from_slice(&value.data);
    }
    let order = &module.entries[0].inputs;
    let tensors: Vec<Tensor> = order
        .iter()
        .map(|(name, ..)| {
            let g = given.iter().find(|g| g.name == *name).expect("every input is given");
            tensor(g.dtype, &g.shape, &g.values)
        })
        .collect();
    let views: Vec<_> = tensors.iter().map(Tensor::view).collect();
    let mut results = Results::new();
    // Twice, with the arena full of NaNs before the second: nothing may be left over from a run.
    session.scribble().map_err(|e| e.to_string())?;
    {
        let outputs = session.run(0, &views).map_err(|e| e.to_string())?;
        for (name, view) in outputs.iter() {
            results.push((name.to_string(), view.dtype, view.data.to_vec(), view.to_f64()));
        }
    }
    for (at, variable) in module.variables.iter().enumerate() {
        let view = session.variable(at);
        results.push((variable.path.clone(), view.dtype, view.data.to_vec(), view.to_f64()));
    }
    Ok(results)
}

/// The evaluator's values, and whether it met an index out of range.
fn expected(graph: &Graph, given: &[Given], variables: &[Given]) -> (Values<f32>, bool) {
    let named = |list: &[Given]| -> Values<f32> {
        list.iter()
            .map(|g| (g.name.clone(), Value::from_f64(g.dtype, &g.shape, &g.values).expect("fits")))
            .collect()
    };
    let outcome = evaluate::evaluate(graph, &named(given), &named(variables)).expect("evaluates");
    let mut values = outcome.outputs;
    values.extend(outcome.updates);
    (values, !outcome.out_of_range.is_empty())
}

/// Runs on one and two threads, and compares with the evaluator. Gives the first difference.
fn check(graph: &Graph, given: &[Given], variables: &[(Variable, Given)]) -> Result<(), String> {
    let module = module(graph, variables.iter().map(|v| v.0.clone()).collect());
    let values: Vec<Given> = variables.iter().map(|v| v.1.clone()).collect();
    let (expected, out_of_range) = expected(graph, given, &values);
    let one = match run(&module, given, &values, 1) {
        Err(message) if out_of_range && message.contains("is not within") => return Ok(()),
        other => other?,
    };
    let two = run(&module, given, &values, 2)?;
    for ((name, dtype, bytes, got), other) in one.iter().zip(&two) {
        if bytes != &other.2 {
            return Err(format!("{name} differs between one thread and two"));
        }
        let Some(want) = expected.get(name) else { continue };
        let want = want.to_f64();
        if want.len() != got.len() {
            return Err(format!("{name} has {} elements, not {}", got.len(), want.len()));
        }
        let scale = want.iter().filter(|w| w.is_finite()).fold(1.0f64, |m, w| m.max(w.abs()));
        for (at, (g, w)) in got.iter().zip(&want).enumerate() {
            let close = if dtype.is_float() {
                g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= 2e-5 * scale
            } else {
                g == w
            };
            if !close {
                return Err(format!("{name}[{at}] is {g}, not {w}"));
            }
        }
    }
    Ok(())
}

fn check_case(case: &Case) -> Result<(), String> {
    check(&case.graph, &case.inputs, &[])
}

/// The same graph with every node as an output, so that nothing is fused away.
fn bare(case: &Case) -> Case {
    let mut case = case.clone();
    let ids = case.graph.ids().filter(|id| !matches!(case.graph.node(*id).op, crate::graph::Op::Scan(_)));
    case.graph.outputs = ids.map(|id| (format!("y{}", id.0), id)).collect();
    case
}

#[test]
fn random_graphs_agree_node_by_node() {
    let mut failures = Vec::new();
    for seed in 0..100 {
        let case = bare(&random::case(seed, Options { steps: 12, smooth: false, loops: true }));
        if let Err(message) = check_case(&case) {
            failures.push(format!("seed {seed}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn random_graphs_agree_when_fused() {
    let mut failures = Vec::new();
    for seed in 1000..1150 {
        let case = random::case(seed, Options { steps: 16, smooth: false, loops: true });
        if let Err(message) = check_case(&case) {
            failures.push(format!("seed {seed}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A weight of small, fixed values.
fn variable(path: &str, shape: &[usize], kind: VariableKind, dtype: DType, scale: f64) -> (Variable, Given) {
    let ty = crate::graph::TensorType::new(
        dtype,
        shape.iter().map(|e| crate::graph::Dim::from(*e)).collect::<Vec<_>>(),
    );
    let mut rng = random::Rng::new(path.len() as u64 + shape.iter().sum::<usize>() as u64);
    let values = (0..shape.iter().product()).map(|_| scale * rng.unit()).collect();
    let variable =
        Variable { path: path.into(), kind, ty, trainable: true, channels: vec![], span: Default::default() };
    (variable, Given { name: path.into(), dtype, shape: shape.to_vec(), values })
}
