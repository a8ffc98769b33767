//! The standard library and the models against PyTorch and scikit-learn, on every device.

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_compiler::grad;
use weft_compiler::graph::{Builder, Entry, Module, NodeId, Op, TensorType};
use weft_runtime::program::{DType, InputSource, VariableKind};
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::golden::{Case, Kind, cases};
use weft_tests::specs;

/// Runs all cases of one kind on all devices, and reports every tensor that is off.
fn run_all(kind: Kind, run: fn(&Case, Device) -> Result<(), String>) {
    let (mut failures, mut count) = (Vec::new(), 0);
    for case in cases().iter().filter(|c| c.kind == kind && c.needs.is_none()) {
        for device in Device::with_gpu() {
            count += 1;
            let outcome = std::panic::catch_unwind(|| run(case, device)).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
            });
            if let Err(why) = outcome {
                failures.push(format!("{} on {device:?}: {why}", case.name));
            }
        }
    }
    assert!(count > 0, "there are no cases of this kind");
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn models_agree_with_pytorch() {
    run_all(Kind::Model, model);
}

#[test]
fn trainings_agree_with_pytorch() {
    run_all(Kind::Train, training);
}

#[test]
fn metrics_agree_with_scikit_learn() {
    run_all(Kind::Evaluate, evaluation);
}

#[test]
fn first_values_have_their_distribution() {
    run_all(Kind::Initialise, initialisation);
}

/// One application of `model Case`: result, gradients, new states.
fn model(case: &Case, device: Device) -> Result<(), String> {
    let options = Options { training: case.training, ..Options::default() };
    let module = module(case, &options)?;
    let tensors = case.tensors();
    let module = with_gradients(module, &tensors)?;
    let mut machine = Machine::new(module, device);
    restore(&mut machine, &tensors);
    let inputs: Tensors = tensors
        .iter()
        .filter_map(|(name, tensor)| {
            let name =
                name.strip_prefix("input.").or(name.starts_with("cotangent.").then_some(name.as_str()))?;
            Some((name.to_owned(), tensor.clone()))
        })
        .collect();
    let outputs = machine.run("predict", &inputs);
    let mut check = Check::new(case, &tensors, device);
    for (name, got) in &outputs {
        check.compare(name, got);
    }
    check.states(&machine);
    check.finish(&["output", "gradient.", "after."])
}

/// The `predict` entry with the gradients of its result, weighted by the cotangent, as further outputs.
fn with_gradients(mut module: Module, tensors: &Tensors) -> Result<Module, String> {
    module.entries.retain(|e| e.graph.name == "predict");
    let entry = module.entries.pop().ok_or("there is no entry `predict`")?;
    let Entry { graph, mut inputs } = entry;
    let (_, y) = graph.outputs.first().cloned().ok_or("the model has no result")?;
    let mut wanted: Vec<(String, NodeId)> = Vec::new();
    for id in graph.ids() {
        let path = match &graph.node(id).op {
            Op::Input(name) => format!("gradient.input.{name}"),
            Op::Variable(path) => format!("gradient.{path}"),
            _ => continue,
        };
        if tensors.contains_key(&path) {
            wanted.push((path, id));
        }
    }
    let span = graph.node(y).span;
    let ty: TensorType = graph.node(y).ty.clone();
    let mut builder = Builder { graph, span, path: "".into() };
    builder.graph.outputs = vec![("output".into(), y)];
    if !tensors.contains_key("cotangent.output") {
        // An integer result has no gradient.
        module.entries = vec![Entry { graph: builder.graph, inputs }];
        return Ok(module);
    }
    let cotangent = builder.input("cotangent.output", ty.clone()).map_err(|e| e.message)?;
    inputs.push(("cotangent.output".into(), ty, InputSource::Caller));
    let wrt: Vec<NodeId> = wanted.iter().map(|(_, id)| *id).collect();
    let gradients = grad::last_gradient(&mut builder, y, Some(cotangent), &wrt).map_err(|e| e.to_string())?;
    for ((path, _), gradient) in wanted.into_iter().zip(gradients) {
        builder.graph.outputs.push((path, gradient));
    }
    module.entries = vec![Entry { graph: builder.graph, inputs }];
    Ok(module)
}

/// Some steps of a `train` block.
fn training(case: &Case, device: Device) -> Result<(), String> {
    let mut module = module(case, &Options::default())?;
    let step = module.trainings.first().and_then(|t| t.steps.first()).cloned().ok_or("no training")?;
    let report = module.trainings[0].report.clone();
    module.entries.retain(|e| [step.as_str(), report.as_str(), "init"].contains(&e.graph.name.as_str()));
    let tensors = case.tensors();
    let mut machine = Machine::new(module, device);
    machine.run("init", &scalars(case, 0));
    restore(&mut machine, &tensors);
    let mut check = Check::new(case, &tensors, device);
    let mut losses = Vec::new();
    for done in 0..case.steps {
        machine.reset();
        machine.run(&step, &batch(&machine, &step, case, &tensors, done % case.batches, done));
        losses.push(machine.run(&report, &Tensors::new())["loss"][0]);
    }
    check.compare("loss", &losses);
    check.states(&machine);
    check.finish(&["loss", "after."])
}

/// One pass over all batches.
fn evaluation(case: &Case, device: Device) -> Result<(), String> {
    let mut module = module(case, &Options::default())?;
    let training = module.trainings.first().cloned().ok_or("no training")?;
    let names = [training.evaluate.as_str(), training.report.as_str(), "init"];
    module.entries.retain(|e| names.contains(&e.graph.name.as_str()));
    if device == Device::Evaluator32 && module.variables.iter().any(|v| v.ty.dtype == DType::F64) {
        // It would compute in f32 what the metric asks for in f64, because f32 loses it.
        return Ok(());
    }
    let tensors = case.tensors();
    let mut machine = Machine::new(module, device);
    machine.run("init", &scalars(case, 0));
    restore(&mut machine, &tensors);
    machine.reset();
    let mut gathered: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for place in 0..case.batches {
        let inputs = batch(&machine, &training.evaluate, case, &tensors, place, place);
        for (name, values) in machine.run(&training.evaluate, &inputs) {
            gathered.entry(name).or_default().extend(values);
        }
    }
    let figures = machine.run(&training.report, &collected(&machine, &training.report, &gathered));
    for (name, expected) in &case.expected {
        let mut numbers = Vec::new();
        flatten(expected, &mut numbers);
        let got = figures.get(name).ok_or_else(|| format!("there is no figure `{name}`"))?;
        let bound = case.tolerance(name);
        if got.len() != numbers.len() || !got.iter().zip(&numbers).all(|(g, e)| near(*g, *e, bound)) {
            return Err(format!("{name} is {got:?}, not {expected} (± {bound:.1e})"));
        }
    }
    Ok(())
}

/// The rows that a report wants, out of what the batches gave.
fn collected(machine: &Machine, report: &str, gathered: &BTreeMap<String, Vec<f64>>) -> Tensors {
    let entry = machine.module().entries.iter().find(|e| e.graph.name == report).expect("the entry was kept");
    let tensor = |ty: &TensorType, values: &[f64]| {
        let row: Vec<usize> =
            ty.shape[1..].iter().map(|d| d.as_constant().expect("constant") as usize).collect();
        let shape = [&[values.len() / row.iter().product::<usize>()], row.as_slice()].concat();
        match ty.dtype {
            DType::F32 => Tensor::from_f32(&shape, &values.iter().map(|v| *v as f32).collect::<Vec<_>>()),
            DType::I32 => Tensor::from_i32(&shape, &values.iter().map(|v| *v as i32).collect::<Vec<_>>()),
            other => panic!("no case collects {}", other.name()),
        }
    };
    entry.inputs.iter().map(|(name, ty, _)| (name.clone(), tensor(ty, &gathered[name]))).collect()
}

/// A number, or the numbers of lists of lists.
fn flatten(value: &serde_json::Value, numbers: &mut Vec<f64>) {
    match value.as_array() {
        Some(list) => list.iter().for_each(|value| flatten(value, numbers)),
        None => numbers.push(value.as_f64().expect("a figure is of numbers")),
    }
}

/// A NaN is near nothing.
fn near(got: f64, expected: f64, bound: f64) -> bool {
    (got - expected).abs() <= bound
}

/// A weight before any training.
fn initialisation(case: &Case, device: Device) -> Result<(), String> {
    let mut module = module(case, &Options::default())?;
    module.entries.retain(|e| e.graph.name == "init");
    let path = case.expected.get("path").and_then(|p| p.as_str()).ok_or("no path")?;
    let mut machine = Machine::new(module, device);
    machine.run("init", &scalars(case, 0));
    let values = machine.get(path);
    let shape: Vec<usize> = case.expected["shape"]
        .as_array()
        .ok_or("no shape")?
        .iter()
        .filter_map(|d| d.as_u64())
        .map(|d| d as usize)
        .collect();
    if values.len() != shape.iter().product::<usize>() {
        return Err(format!("{} elements, not {shape:?}", values.len()));
    }
    let (mean, deviation) =
        (case.expected("mean").ok_or("no mean")?, case.expected("deviation").ok_or("no deviation")?);
    let count = values.len() as f64;
    let got_mean = values.iter().sum::<f64>() / count;
    let got_deviation = (values.iter().map(|v| (v - got_mean).powi(2)).sum::<f64>() / count).sqrt();
    // Both figures within 2% of the deviation; a constant exactly, up to rounding.
    let allowed = 0.02 * deviation + 1e-6;
    if !near(got_mean, mean, allowed) || !near(got_deviation, deviation, allowed) {
        return Err(format!("mean {got_mean} and deviation {got_deviation}, not {mean} and {deviation}"));
    }
    if let Some(limit) = case.expected("limit")
        && let Some(beyond) = values.iter().find(|v| (*v - mean).abs() > limit * (1.0 + 1e-6))
    {
        return Err(format!("{beyond} is more than {limit} from {mean}"));
    }
    if case.expected.get("orthogonal").and_then(|o| o.as_bool()) == Some(true) {
        let (rows, columns) = (shape[0], shape[1]);
        let row = |r: usize| &values[r * columns..(r + 1) * columns];
        for (a, b) in (0..rows).flat_map(|a| (0..=a).map(move |b| (a, b))) {
            let product: f64 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
            let expected = f64::from(u8::from(a == b));
            if !near(product, expected, 1e-4) {
                return Err(format!("the product of rows {a} and {b} is {product}"));
            }
        }
    }
    Ok(())
}

fn module(case: &Case, options: &Options) -> Result<Module, String> {
    let plain = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let settings = case.settings.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    let options = Options { settings, ..options.clone() };
    let checked = match (&case.text, &case.spec) {
        (Some(text), _) => specs::check_text(text, &options),
        (None, Some(path)) => specs::check_file(path, &options),
        (None, None) => return Err("the case has neither text nor spec".into()),
    };
    let shown = specs::rendered(&checked);
    checked.module.ok_or(shown)
}

/// Sets weights and states to the case's.
fn restore(machine: &mut Machine, tensors: &Tensors) {
    for (name, tensor) in tensors {
        if let Some(path) = name.strip_prefix("weight.").or(name.strip_prefix("state.")) {
            machine.set(path, tensor);
        }
    }
}

/// The inputs that the runtime makes: seed and batch number, steps, epochs.
fn scalars(case: &Case, done: usize) -> Tensors {
    let epoch = done / case.epoch_steps.max(1);
    BTreeMap::from([
        ("random".to_owned(), Tensor::from_i64(&[2], &[1, done as i64])),
        ("step".to_owned(), Tensor::from_i64(&[], &[done as i64])),
        ("epoch".to_owned(), Tensor::from_f32(&[], &[epoch as f32])),
        ("total".to_owned(), Tensor::from_i64(&[], &[case.total_steps as i64])),
        ("rate_factor".to_owned(), Tensor::from_f32(&[], &[1.0])),
    ])
}

/// One batch's fields under the names that the entry gives its inputs, and the scalars.
fn batch(
    machine: &Machine,
    entry: &str,
    case: &Case,
    tensors: &Tensors,
    place: usize,
    done: usize,
) -> Tensors {
    let entry = machine.module().entries.iter().find(|e| e.graph.name == entry).expect("the entry was kept");
    let scalars = scalars(case, done);
    let mut inputs = Tensors::new();
    for (name, _, source) in &entry.inputs {
        let tensor = match source {
            InputSource::Field { field, .. } => &tensors[&format!("batch.{place}.{field}")],
            InputSource::Random => &scalars["random"],
            InputSource::Step => &scalars["step"],
            InputSource::Epoch => &scalars["epoch"],
            InputSource::TotalSteps => &scalars["total"],
            InputSource::RateFactor => &scalars["rate_factor"],
            InputSource::Caller
            | InputSource::Collected
            | InputSource::Tokens { .. }
            | InputSource::Lengths { .. }
            | InputSource::Written
            | InputSource::Kept
            | InputSource::Carried { .. } => panic!("nobody gives `{name}`"),
        };
        inputs.insert(name.clone(), tensor.clone());
    }
    inputs
}

/// Compares what was computed with what was expected, and knows what was left out.
struct Check<'a> {
    case: &'a Case,
    expected: &'a Tensors,
    /// A factor on every tolerance.
    room: f64,
    seen: Vec<String>,
    off: Vec<String>,
}

impl<'a> Check<'a> {
    /// The f32 evaluator computes in f32 even what a spec asks for in f64 (where numbers cancel), so it is given more room.
    fn new(case: &'a Case, expected: &'a Tensors, device: Device) -> Check<'a> {
        let room = if device == Device::Evaluator32 { 8.0 } else { 1.0 };
        Check { case, expected, room, seen: Vec::new(), off: Vec::new() }
    }

    fn compare(&mut self, name: &str, got: &[f64]) {
        let Some(expected) = self.expected.get(name) else { return };
        self.seen.push(name.to_owned());
        let expected = expected.view().to_f64();
        if expected.len() != got.len() {
            self.off.push(format!("{name} has {} elements, not {}", got.len(), expected.len()));
            return;
        }
        let bound = self.room * self.case.tolerance(name);
        let worst = expected.iter().zip(got).map(|(e, g)| (e - g).abs()).fold(0.0, |worst: f64, d| {
            // A NaN is worse than anything.
            if d.is_nan() { f64::INFINITY } else { worst.max(d) }
        });
        if worst > bound {
            self.off.push(format!("{name} is off by {worst:.2e} (± {bound:.1e})"));
        }
    }

    fn states(&mut self, machine: &Machine) {
        let kept = [VariableKind::Weight, VariableKind::State];
        for variable in machine.module().variables.iter().filter(|v| kept.contains(&v.kind)) {
            self.compare(&format!("after.{}", variable.path), &machine.get(&variable.path));
        }
    }

    /// All expected tensors of these families must have been compared.
    fn finish(self, families: &[&str]) -> Result<(), String> {
        let mut off = self.off;
        for name in self.expected.keys() {
            if families.iter().any(|f| name.starts_with(f)) && !self.seen.contains(name) {
                off.push(format!("{name} was not computed"));
            }
        }
        if off.is_empty() { Ok(()) } else { Err(off.join("; ")) }
    }
}
