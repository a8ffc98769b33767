//! `info`: the model's card.

use clap::ArgMatches;
use serde_json::{Map, Value, json};

use crate::command::output;
use crate::execute::dims_at;
use crate::payload::{CardData, Manifest, Payload};
use crate::program::{Prediction, Program};

pub fn run(payload: &Payload, given: &ArgMatches) {
    let Manifest { program, card, .. } = &payload.manifest;
    let names = |list: Vec<&str>| list.join(", ");
    let predictions = names(program.predictions.iter().map(|p| p.name.as_str()).collect());
    let generations = names(program.generations.iter().map(|g| g.name.as_str()).collect());
    let parameters = output::thousands(card.parameters);
    let (gpus, archs) = (payload.is_for_gpus(), archs(program));
    // What runs on processors, if anything does.
    let on_processor = payload.manifest.processor.as_ref().map(|other| &other.program);
    let on_processor = if gpus { on_processor } else { Some(program) };
    let features = on_processor.map_or(Vec::new(), |program| program.code.features.clone());
    let processors = match (on_processor, &features[..]) {
        (None, _) => String::new(),
        (_, []) => card.target.clone(),
        _ => format!("{} ({})", card.target, features.join(", ")),
    };
    let device = match (gpus, on_processor) {
        (false, _) => "cpu",
        (true, Some(_)) => "auto",
        (true, None) => "cuda",
    };
    let graphics = if gpus {
        let math = if card.math == "f32" { String::new() } else { format!("products in {}; ", card.math) };
        format!("{}; {math}NVIDIA's driver of CUDA 13 or later", archs.join(", "))
    } else {
        String::new()
    };
    let operations: Vec<(&str, f64)> =
        program.predictions.iter().filter_map(|p| operations(program, p)).collect();
    let counted = |(name, count): &(&str, f64)| format!("{} in {name}", output::scaled(*count, "FLOP"));
    let data = card.data.as_ref();
    let mut rows = vec![
        ("model", program.name.clone()),
        ("parameters", parameters),
        ("weights", card.cost.iter().fold(card.dtype.clone(), |all, cost| format!("{all}; {cost}"))),
        ("a row takes", operations.iter().map(counted).collect::<Vec<_>>().join(", ")),
        ("predictions", predictions),
        ("generations", generations),
        ("GPUs", graphics),
        ("processors", processors),
        ("trained on", data.map_or_else(String::new, trained_on)),
        ("licence of the data", data.map_or_else(String::new, |data| data.licence.clone())),
        ("built by", format!("Weft {}", card.weft)),
        ("spec (SHA-256)", card.spec_sha256.clone()),
        ("weights (SHA-256)", card.weights_sha256.clone().unwrap_or_default()),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    if given.get_flag("json") {
        let training: Map<String, Value> = card.training.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let sources: Map<String, Value> =
            program.sources.iter().map(|(n, t)| (n.clone(), json!(t))).collect();
        output::json(&json!({
            "model": program.name, "parameters": card.parameters, "dtype": card.dtype, "dtype_cost": card.cost,
            "predictions": program.predictions.iter().map(|p| &p.name).collect::<Vec<_>>(),
            "generations": program.generations.iter().map(|g| &g.name).collect::<Vec<_>>(),
            "device": device, "archs": archs, "math": card.math, "target": card.target, "features": features, "flops": operations.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>(),
            "data": card.data, "weft": card.weft, "spec_sha256": card.spec_sha256,
            "weights_sha256": card.weights_sha256, "training": training, "sources": sources,
        }));
        return;
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().for_each(|(name, value)| output::line(&format!("{name:width$}  {value}")));
    if !card.training.is_empty() {
        output::line("training:");
        card.training.iter().for_each(|(name, value)| output::line(&format!("  {name}  {value}")));
    }
    if let Some((name, text)) = program.sources.iter().find(|(name, _)| !name.starts_with("std/")) {
        output::line(&format!("{name}:"));
        text.lines().for_each(|line| output::line(&format!("  {line}")));
    }
}

/// `digits: 8,000 rows to train on, 1,000 to validate, 500 to test; train.csv (SHA-256 …)`
fn trained_on(data: &CardData) -> String {
    let [train, validation, test] = data.rows.map(output::thousands);
    let file = |(name, sum): &(String, String)| match sum.as_str() {
        "" => name.clone(),
        _ => format!("{name} (SHA-256 {sum})"),
    };
    let mut files: Vec<String> = data.files.iter().map(file).collect();
    if data.more > 0 {
        files.push(format!("{} more", data.more));
    }
    let rows = format!("{train} rows to train on, {validation} to validate, {test} to test");
    format!("{}: {rows}; {}", data.name, files.join(", "))
}

/// The GPUs that a program has code for: `sm_80`, and `compute_80` for all later ones.
fn archs(program: &Program) -> Vec<String> {
    program.device.images.iter().map(|image| image.arch.to_string()).collect()
}

/// The floating point operations of a prediction of one row.
fn operations<'p>(program: &'p Program, prediction: &'p Prediction) -> Option<(&'p str, f64)> {
    let entry = program.entries.iter().find(|entry| entry.name == prediction.entry)?;
    let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|symbol| (symbol.as_str(), 1)).collect();
    let dims = dims_at(entry, &symbols).ok()?;
    let count = dims.get(entry.flops?.0 as usize)?;
    Some((&prediction.name, *count as f64))
}
