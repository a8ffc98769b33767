//! `weft summary`: a model's layers, shapes, parameters, FLOPs, bytes and planned memory.

use crate::args::Summary;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::json;
use weft_compiler::stages;
use weft_runtime::execute::{Session, dims_at};
use weft_runtime::program::Entry;

pub fn run(args: &Summary) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?;
    let (Some(module), Some(typed)) = (&spec.checked.module, &spec.checked.typed) else {
        return Err(Failure::reported());
    };
    let batch = args.batch as usize;
    let program = compile::program(&spec, Wanted::Prediction, None)?;
    let prediction = program.predictions.first().ok_or_else(|| {
        Failure::input("the spec has no model to summarise")
            .help("declare one: `model Net(x: f32[n, 8]) { … }`")
    })?;
    let mut session = Session::new(program.clone(), 1)?;
    let index = session.entry(&prediction.entry)?;
    let entry = &program.entries[index];
    let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|s| (s.as_str(), batch)).collect();
    let dims = dims_at(entry, &symbols)?;
    session.reserve(index, &symbols)?;
    let (planned, flops) = (session.planned_bytes(index), entry.flops.map_or(0, |d| dims[d.0 as usize]));
    let training = training_memory(&spec, module, batch)?;
    let work = |path: &str| work_under(entry, &dims, path);
    let parameters = typed.parameters("");
    if args.spec.json {
        let layers: Vec<_> = typed
            .instances
            .iter()
            .map(|i| {
                let (flops, bytes) = work(&i.path);
                json!({
                    "path": i.path, "layer": i.layer, "inputs": i.inputs, "output": i.output, "line": i.line,
                    "parameters": typed.parameters(&i.path), "flops": flops, "bytes": bytes,
                })
            })
            .collect();
        output::json(&json!({
            "name": spec.name, "batch": batch, "parameters": parameters, "flops": flops,
            "planned_bytes": planned, "training_planned_bytes": training, "layers": layers,
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = typed
        .instances
        .iter()
        .map(|i| {
            let (flops, bytes) = work(&i.path);
            vec![
                i.path.clone(),
                i.layer.clone(),
                i.output.clone(),
                output::thousands(typed.parameters(&i.path).max(0) as u64),
                output::scaled(flops as f64, ""),
                output::bytes(bytes.max(0) as u64),
            ]
        })
        .collect();
    output::write(&output::table(&["path", "layer", "output", "parameters", "FLOPs", "bytes"], &rows));
    output::line(&format!(
        "\n{} parameters ({}); {} for a prediction at batch {batch}, in {} of planned memory",
        output::thousands(parameters.max(0) as u64),
        output::bytes(4 * parameters.max(0) as u64),
        output::scaled(flops as f64, "FLOP"),
        output::bytes(planned as u64)
    ));
    if let Some(training) = training {
        output::line(&format!(
            "a training step at batch {batch} takes {} of planned memory",
            output::bytes(training as u64)
        ));
    }
    Ok(())
}

/// FLOPs and bytes of the kernels that compute a layer or something inside it. A fused kernel counts where its last node stands.
pub fn work_under(entry: &Entry, dims: &[i64], path: &str) -> (i64, i64) {
    let launches = entry.segments.iter().flat_map(|s| s.launches());
    let inside =
        |p: &str| p.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '\'']));
    launches.filter(|l| inside(&l.path)).fold((0, 0), |(flops, bytes), l| {
        (flops + dims[l.flops.0 as usize], bytes + dims[l.bytes.0 as usize])
    })
}

/// The arena of the first training's step, where there is one.
fn training_memory(
    spec: &spec::Spec,
    module: &weft_compiler::graph::Module,
    batch: usize,
) -> Result<Option<usize>, Failure> {
    let Ok(name) = stages::entry_name(module, Some("train")) else { return Ok(None) };
    let program = compile::program(spec, Wanted::Training, None)?;
    let mut session = Session::new(program.clone(), 1)?;
    let index = session.entry(&name)?;
    let symbols: Vec<(&str, usize)> =
        program.entries[index].symbols.iter().map(|s| (s.as_str(), batch)).collect();
    session.reserve(index, &symbols)?;
    Ok(Some(session.planned_bytes(index)))
}
