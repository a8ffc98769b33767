//! `info`: the model's card.

use clap::ArgMatches;
use serde_json::{Map, Value, json};

use crate::command::output;
use crate::payload::{Manifest, Payload};

pub fn run(payload: &Payload, given: &ArgMatches) {
    let Manifest { program, card, .. } = &payload.manifest;
    let names = |list: Vec<&str>| list.join(", ");
    let predictions = names(program.predictions.iter().map(|p| p.name.as_str()).collect());
    let generations = names(program.generations.iter().map(|g| g.name.as_str()).collect());
    let parameters = output::thousands(card.parameters);
    let mut rows = vec![
        ("model", program.name.clone()),
        ("parameters", parameters),
        ("weights", card.cost.iter().fold(card.dtype.clone(), |all, cost| format!("{all}; {cost}"))),
        ("predictions", predictions),
        ("generations", generations),
        ("processors", card.target.clone()),
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
            "target": card.target, "weft": card.weft, "spec_sha256": card.spec_sha256,
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
