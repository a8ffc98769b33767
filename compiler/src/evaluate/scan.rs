//! Loops: the body is evaluated step by step, by the evaluator itself.

use super::value::same_kind;
use super::{EvalError, Machine, Real, Symbols, Value, Values, evaluate_nodes, fail};
use crate::graph::{DType, Scan};
use ndarray::{ArrayD, Axis, IxDyn};

/// The results of a scan: final carries, then stacks.
pub(super) fn run<T: Real>(
    machine: &mut Machine,
    scan: &Scan,
    operands: &[&Value<T>],
) -> Result<Vec<Value<T>>, EvalError> {
    let trip = machine.dim(&scan.trip)?;
    let Ok(trip) = usize::try_from(trip) else { return fail(format!("a scan of {trip} steps")) };
    let (sequences, rest) = operands.split_at(scan.elements.min(operands.len()));
    let (first, captures) = rest.split_at(scan.carries.min(rest.len()));
    let mut carries: Vec<Value<T>> = first.iter().map(|value| (*value).clone()).collect();
    let mut stacks: Vec<Value<T>> = Vec::new();
    for index in scan.carries..scan.results() {
        let Some(ty) = scan.result_type(index) else { continue };
        stacks.push(zeros(ty.dtype, &machine.shape(&ty.shape)?));
    }
    let symbols: Symbols = machine.symbols.clone();
    for turn in 0..trip {
        let step = if scan.reversed { trip - 1 - turn } else { turn };
        let slices = sequences.iter().map(|sequence| slice(sequence, step));
        let inputs: Values<T> = slices
            .chain(carries)
            .chain(captures.iter().map(|value| (*value).clone()))
            .enumerate()
            .map(|(place, value)| (scan.input_name(place), value))
            .collect();
        let (values, out_of_range) = evaluate_nodes(&scan.body, &inputs, &Values::new(), &symbols)?;
        out_of_range.iter().for_each(|path| machine.note_out_of_range(path));
        let mut results = scan.body.outputs.iter().map(|(_, id)| values[id.index()].clone());
        carries = results.by_ref().take(scan.carries).collect();
        for (stack, value) in stacks.iter_mut().zip(results) {
            put(stack, step, &value);
        }
    }
    Ok(carries.into_iter().chain(stacks).collect())
}

fn zeros<T: Real>(dtype: DType, shape: &[usize]) -> Value<T> {
    Value::generate(dtype, shape, |_| 0.0)
}

fn slice<T: Real>(sequence: &Value<T>, step: usize) -> Value<T> {
    same_kind!(sequence, a => a.index_axis(Axis(0), step).to_owned())
}

fn put<T: Real>(stack: &mut Value<T>, step: usize, value: &Value<T>) {
    fn assign<E: Clone>(stack: &mut ArrayD<E>, step: usize, value: &ArrayD<E>) {
        stack.index_axis_mut(Axis(0), step).assign(value);
    }
    match (stack, value) {
        (Value::Float(stack), Value::Float(value)) => assign(stack, step, value),
        (Value::Int(stack), Value::Int(value)) => assign(stack, step, value),
        (Value::Bool(stack), Value::Bool(value)) => assign(stack, step, value),
        // The body's outputs have the types of the results.
        _ => {}
    }
}

/// What stands for the token of a scan.
pub(super) fn token<T: Real>() -> Value<T> {
    Value::Bool(ArrayD::from_elem(IxDyn(&[0]), false))
}
