//! `GET /`: what the model is, and how it is asked.

use serde_json::{Map, Value, json};

use crate::payload::Manifest;
use crate::program::{DType, DimExpr, DimIndex, Entry, Generation};
use crate::text::given;

pub fn card(manifest: &Manifest) -> Value {
    let (program, card) = (&manifest.program, &manifest.card);
    let entry = |name: &str| program.entries.iter().find(|entry| entry.name == name);
    let path = |verb: &str, name: &str, count: usize| match count {
        1 => format!("/{verb}"),
        _ => format!("/{verb}/{name}"),
    };
    let predictions = program.predictions.iter().filter_map(|item| {
        let entry = entry(&item.entry)?;
        let outputs: Map<String, Value> = entry
            .outputs
            .iter()
            .map(|output| (output.name.clone(), tensor(entry, output.dtype, &output.shape)))
            .collect();
        let path = path("predict", &item.name, program.predictions.len());
        Some(json!({ "path": path, "item": item.name, "inputs": inputs(entry), "outputs": outputs }))
    });
    let generations = program.generations.iter().filter_map(|item| {
        let mut inputs = inputs(entry(&item.start)?);
        inputs.remove(Generation::TARGET);
        if let crate::program::Begin::Text { text, .. } = &item.begin {
            inputs.insert(text.clone(), json!("text"));
        }
        let path = path("generate", &item.name, program.generations.len());
        Some(json!({ "path": path, "item": item.name, "inputs": inputs, "max": item.max }))
    });
    json!({
        "model": program.name, "parameters": card.parameters, "weft": card.weft,
        "spec_sha256": card.spec_sha256, "weights_sha256": card.weights_sha256,
        "predictions": predictions.collect::<Vec<_>>(), "generations": generations.collect::<Vec<_>>(),
    })
}

fn inputs(entry: &Entry) -> Map<String, Value> {
    let texts = given::texts(entry).into_iter().map(|name| (name.to_owned(), json!("text")));
    let tensors = entry.inputs.iter().filter(|input| !input.is_made());
    let tensors = tensors.map(|input| (input.name.clone(), tensor(entry, input.dtype, &input.shape)));
    texts.chain(tensors).collect()
}

fn tensor(entry: &Entry, dtype: DType, shape: &[DimIndex]) -> Value {
    let dim = |dim: &DimIndex| match &entry.dims[dim.0 as usize] {
        DimExpr::Constant(extent) => json!(extent),
        DimExpr::Symbol(symbol) => json!(entry.symbols[*symbol as usize]),
        _ => json!("…"),
    };
    json!({ "dtype": dtype.name(), "shape": shape.iter().map(dim).collect::<Vec<_>>() })
}
