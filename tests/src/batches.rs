//! Batches for the entries of any spec, of fixed patterns: what a data set and the runtime would give a step.

use crate::device::{Machine, Tensors};
use weft_compiler::graph::random::Rng;
use weft_compiler::graph::{DType, Module};
use weft_runtime::program::{Cell, InputSource};
use weft_runtime::tensor::Tensor;

/// The scalars that the runtime gives a step.
fn scalar(source: &InputSource, done: usize) -> Tensor {
    match source {
        InputSource::Random => Tensor::from_i64(&[2], &[1, done as i64]),
        InputSource::Epoch => Tensor::from_f32(&[], &[done as f32 / 10.0]),
        InputSource::TotalSteps => Tensor::from_i64(&[], &[10]),
        InputSource::RateFactor => Tensor::from_f32(&[], &[1.0]),
        _ => Tensor::from_i64(&[], &[done as i64]),
    }
}

/// Inputs of an entry for so many rows, of a data set or of a caller: numbers and bytes of a fixed pattern, and labels from 0 to 9, or below what they look up.
pub fn of(module: &Module, entry: &str, rows: usize, done: usize) -> Tensors {
    let entry = module.entries.iter().find(|e| e.graph.name == entry).expect("the entry is there");
    let mut rng = Rng::new(100 + done as u64);
    entry
        .inputs
        .iter()
        .map(|(name, ty, source)| {
            let field = match source {
                InputSource::Field { data, field } => Some((*data, field)),
                InputSource::Caller | InputSource::Tokens { .. } | InputSource::Lengths { .. } => None,
                _ => return (name.clone(), scalar(source, done)),
            };
            let shape: Vec<usize> =
                ty.shape.iter().map(|d| d.as_constant().map_or(rows, |c| c as usize)).collect();
            let count = shape.iter().product::<usize>();
            let tensor = match ty.dtype {
                DType::U8 => {
                    Tensor::from_u8(&shape, &(0..count).map(|_| rng.below(256) as u8).collect::<Vec<_>>())
                }
                DType::I32 => {
                    let indexed = module.trainings.iter().take(1).flat_map(|training| &training.indexed);
                    let indexed = indexed.filter(|indexed| indexed.field == *name);
                    // Of classes that only the data tell, there are two at least.
                    let classes = field.is_some_and(|(data, field)| {
                        let mut fields = module.data[data].fields.iter();
                        fields.any(|f| f.name == *field && matches!(f.cell, Cell::Class(_)))
                    });
                    let most = indexed.map(|indexed| indexed.rows).min().unwrap_or(10);
                    let most = most.min(if classes { 2 } else { 10 });
                    let values: Vec<i32> = (0..count).map(|_| rng.below(most) as i32).collect();
                    Tensor::from_i32(&shape, &values)
                }
                DType::F32 => {
                    let values: Vec<f32> = (0..count).map(|_| rng.below(200) as f32 / 100.0 - 1.0).collect();
                    Tensor::from_f32(&shape, &values)
                }
                other => panic!("`{name}` is {other:?}"),
            };
            (name.clone(), tensor)
        })
        .collect()
}

/// Is this a value that a data set computes from its rows?
pub fn is_fitted(module: &Module, path: &str) -> bool {
    module.data.iter().any(|set| path.strip_prefix(&set.name).is_some_and(|rest| rest.starts_with('.')))
}

/// Sets what a data set would have fitted to its rows.
pub fn set_fitted(machine: &mut Machine) {
    let module = machine.module().clone();
    for variable in module.variables.iter().filter(|variable| is_fitted(&module, &variable.path)) {
        let shape: Vec<usize> = variable
            .ty
            .shape
            .iter()
            .map(|d| d.as_constant().expect("its shape is constant") as usize)
            .collect();
        let count = shape.iter().product();
        let some = match variable.ty.dtype {
            DType::I64 => Tensor::from_i64(&shape, &vec![1; count]),
            DType::I32 => Tensor::from_i32(&shape, &vec![1; count]),
            _ => Tensor::from_f32(&shape, &vec![0.5; count]),
        };
        machine.set(&variable.path, &some);
    }
}
