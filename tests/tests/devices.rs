//! One program, every device: what the evaluator says, the CPU says too, and on any number of threads to the last bit; and so does a GPU,
//! here an interpreter of its kernels, where NVRTC is there to compile them ([`weft_tests::cuda`]).

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_compiler::cuda::Math;
use weft_compiler::evaluate::{self, Value, Values};
use weft_compiler::grad;
use weft_compiler::graph::random::{self, Case};
use weft_compiler::graph::{Builder, Graph, Module, NodeId, Op};
use weft_compiler::passes::{narrow, rounded};
use weft_compiler::stages;
use weft_runtime::program::{DType, VariableKind};
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::graphs::alone;
use weft_tests::{batches, cuda, specs};

/// Named results of a device, as f64 (which holds every f32 exactly).
type Results = BTreeMap<String, Vec<f64>>;

/// The case's inputs.
fn given(case: &Case) -> Tensors {
    let tensor = |given: &random::Given| {
        let data = match given.dtype {
            DType::F32 => given.values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            DType::I32 => given.values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect(),
            DType::I64 => given.values.iter().flat_map(|v| (*v as i64).to_le_bytes()).collect(),
            other => panic!("`{}` is {other:?}", given.name),
        };
        Tensor { dtype: given.dtype, shape: given.shape.clone(), data }
    };
    case.inputs.iter().map(|g| (g.name.clone(), tensor(g))).collect()
}

/// The graph with the gradients of its float outputs with respect to its float inputs as further outputs.
fn with_gradients(graph: &Graph) -> Graph {
    let mut b = Builder { graph: graph.clone(), span: Default::default(), path: "".into() };
    let inputs: Vec<(String, NodeId)> = graph
        .ids()
        .filter_map(|id| match &graph.node(id).op {
            Op::Input(name) if graph.node(id).ty.dtype.is_float() => Some((name.clone(), id)),
            _ => None,
        })
        .collect();
    let wrt: Vec<NodeId> = inputs.iter().map(|(_, id)| *id).collect();
    for (place, (_, y)) in
        graph.outputs.iter().enumerate().filter(|(_, (_, y))| graph.node(*y).ty.dtype.is_float())
    {
        let gradients = grad::gradient(&mut b, *y, None, &wrt).expect("every primitive has a rule");
        let named = inputs.iter().zip(gradients).map(|((name, _), g)| (format!("{name}'{place}"), g));
        b.graph.outputs.extend(named);
    }
    b.graph
}

/// Whether the evaluator met an index out of range, which the CPU refuses.
fn strays(graph: &Graph, inputs: &Tensors) -> bool {
    let values: Values<f32> = inputs
        .iter()
        .map(|(name, t)| {
            let value = Value::from_f64(t.dtype, &t.shape, &t.view().to_f64());
            (name.clone(), value.expect("the elements fill the shape"))
        })
        .collect();
    let outcome = evaluate::evaluate(graph, &values, &Values::new()).expect("the graph is well typed");
    !outcome.out_of_range.is_empty()
}

fn run_on(device: Device, module: &Module, inputs: &Tensors) -> Results {
    Machine::new(module.clone(), device).run(&module.entries[0].graph.name, inputs)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().filter(|v| v.is_finite()).fold(0.0, |m, v| m.max(v.abs()))
}

/// The largest difference, infinite where only one of both is finite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst: f64, (x, y)| match x == y || (x.is_nan() && y.is_nan()) {
        true => worst,
        false if (x - y).is_nan() => f64::INFINITY,
        false => worst.max((x - y).abs()),
    })
}

/// Equal to the last bit; a NaN equals a NaN.
fn same_bits(a: &Results, b: &Results) -> Result<(), String> {
    for (name, values) in a {
        let other = &b[name];
        if distance(values, other) > 0.0 {
            return Err(format!("`{name}` differs"));
        }
    }
    Ok(())
}

/// All devices on one case. The evaluator in f64 is right; f32 may be off by what rounding does to this graph, and the CPU and a GPU by a
/// few times as much, since they sum in another order.
fn check(graph: Graph, inputs: &Tensors) -> Result<(), String> {
    let module = alone(graph);
    let [exact, rounded, one, two] = Device::ALL.map(|device| run_on(device, &module, inputs));
    same_bits(&one, &two)?;
    let gpu = on_gpu(&module, inputs)?;
    for (name, wanted) in &exact {
        let bound = 2e-5 * largest(wanted).max(1.0) + 8.0 * distance(wanted, &rounded[name]);
        for (device, got) in [("the CPU", Some(&one)), ("the GPU", gpu.as_ref())] {
            let off = got.map_or(0.0, |got| distance(wanted, &got[name]));
            if off > bound {
                return Err(format!("`{name}` is off by {off:.1e} on {device}, more than {bound:.1e}"));
            }
        }
    }
    Ok(())
}

/// What a GPU says, where kernels can be compiled; the same on a second run, which replays the first one's kernels.
fn on_gpu(module: &Module, inputs: &Tensors) -> Result<Option<Results>, String> {
    if !cuda::is_ready() {
        return Ok(None);
    }
    let mut machine = Machine::new(module.clone(), Device::Cuda);
    let entry = &module.entries[0].graph.name;
    let first = machine.run(entry, inputs);
    for _ in 0..2 {
        same_bits(&first, &machine.run(entry, inputs))
            .map_err(|why| format!("on the GPU, from run to run: {why}"))?;
    }
    Ok(Some(first))
}

#[test]
fn smooth_random_graphs_and_their_gradients_agree_on_all_devices() {
    let (mut failures, mut count) = (Vec::new(), 0);
    for seed in 5000..5070 {
        let case = random::case(seed, random::Options { steps: 14, smooth: true, loops: true });
        let (graph, inputs) = (with_gradients(&case.graph), given(&case));
        if strays(&graph, &inputs) {
            continue;
        }
        count += 1;
        failures.extend(check(graph, &inputs).err().map(|why| format!("seed {seed}: {why}")));
    }
    assert!(count > 40, "only {count} cases were left");
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
}

/// With jumps (comparisons, roundings, arg-max), where a rounding can decide: the devices of one precision are compared. A GPU has other
/// functions than the CPU and the evaluator (`exp`, `sin`), so it may be off by what rounding does to a graph as well.
#[test]
fn rough_random_graphs_agree_in_f32() {
    let (mut failures, mut count) = (Vec::new(), 0);
    for seed in 6000..6160 {
        let case = random::case(seed, random::Options { steps: 24, smooth: false, loops: true });
        let inputs = given(&case);
        if strays(&case.graph, &inputs) {
            continue;
        }
        count += 1;
        let module = alone(case.graph);
        let [wanted, one, two] =
            [Device::Evaluator32, Device::Cpu(1), Device::Cpu(2)].map(|d| run_on(d, &module, &inputs));
        let mut outcome = same_bits(&one, &two);
        let gpu = on_gpu(&module, &inputs).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let exact = gpu.is_some().then(|| run_on(Device::Evaluator64, &module, &inputs));
        for (name, wanted) in &wanted {
            for (device, got) in [("the CPU", Some(&one)), ("the GPU", gpu.as_ref())] {
                let off = got.map_or(0.0, |got| distance(wanted, &got[name]));
                let rounding = exact.as_ref().filter(|_| device == "the GPU");
                let rounding = rounding.map_or(0.0, |exact| distance(&exact[name], wanted));
                let bound = 2e-5 * largest(wanted).max(1.0) + 8.0 * rounding;
                if off > bound {
                    let why = format!("`{name}` is off by {off:.1e} on {device}, more than {bound:.1e}");
                    outcome = outcome.and(Err(why));
                }
            }
        }
        failures.extend(outcome.err().map(|why| format!("seed {seed}: {why}")));
    }
    assert!(count > 60, "only {count} cases were left");
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
}

/// What three steps at three batch sizes leave: figures after each, and all variables at the end.
fn train(module: &Module, device: Device) -> (Results, Results) {
    let training = &module.trainings[0];
    let mut machine = Machine::new(module.clone(), device);
    machine.run("init", &batches::of(module, "init", 0, 0));
    batches::set_fitted(&mut machine);
    let mut figures = Results::new();
    for (done, rows) in [7, 64, 1].into_iter().enumerate() {
        machine.reset();
        for step in &training.steps {
            machine.run(step, &batches::of(module, step, rows, done));
        }
        for (name, value) in machine.run(&training.report, &Tensors::new()) {
            figures.entry(name).or_default().extend(value);
        }
    }
    // The evaluation of other rows with the weights of the end.
    machine.reset();
    machine.run(&training.evaluate, &batches::of(module, &training.evaluate, 33, 3));
    for (name, value) in machine.run(&training.report, &Tensors::new()) {
        figures.entry(name).or_default().extend(value);
    }
    let variables = module.variables.iter().map(|v| (v.path.clone(), machine.get(&v.path))).collect();
    (figures, variables)
}

/// One spec: three steps of one program at three batch sizes, on the evaluator, on the CPU and on a GPU.
fn spec_agrees(path: &str, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let checked = specs::check_file(path, &Options { settings, ..Options::default() });
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let (figures, variables) = train(&module, Device::Evaluator32);
    let (one, one_variables) = train(&module, Device::Cpu(1));
    let (two, two_variables) = train(&module, Device::Cpu(2));
    same_bits(&one, &two)
        .and(same_bits(&one_variables, &two_variables))
        .unwrap_or_else(|why| panic!("{path}, between thread counts: {why}"));
    let wanted = (&figures, &variables);
    agree(path, &module, wanted, (&one, &one_variables));
    if cuda::is_ready() {
        let (gpu, gpu_variables) = train(&module, Device::Cuda);
        agree(&format!("{path} on a GPU"), &module, wanted, (&gpu, &gpu_variables));
    }
}

/// Two specs' training steps with products in other numbers, against the evaluator of the same rounded graph. A sum that runs in another order may
/// bring an operand to the next number of its type, which is as much as `rounding` of it.
fn spec_agrees_in(path: &str, settings: &[(&str, &str)], math: Math, rounding: f64) {
    if !cuda::is_ready() {
        return;
    }
    let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let checked = specs::check_file(path, &Options { settings, ..Options::default() });
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let mut alike = stages::optimized(&module);
    if let Some(dtype) = math.operands() {
        alike.entries.iter_mut().for_each(|entry| rounded::operands(&mut entry.graph, dtype));
    }
    let (figures, variables) = train(&alike, Device::Evaluator32);
    let (got_figures, got_variables) = train(&module, Device::CudaIn(math));
    for (name, wanted) in figures.iter().filter(|(name, _)| name.ends_with("loss")) {
        let off = distance(wanted, &got_figures[name]);
        assert!(
            off <= rounding * largest(wanted).max(1.0),
            "{path} in {math:?}: `{name}` is {:?}, not {wanted:?}",
            got_figures[name]
        );
    }
    for variable in module.variables.iter().filter(|v| v.kind == VariableKind::Weight) {
        let (wanted, got) = (&variables[&variable.path], &got_variables[&variable.path]);
        // Adam's three steps go by the sign of a gradient that is nothing but rounding.
        let strayed = wanted.iter().zip(got).filter(|(a, b)| (**a - **b).abs() > 1e-4).count();
        let worst = distance(wanted, got);
        assert!(
            strayed <= 2 + wanted.len() / 10 && worst <= 2e-2,
            "{path} in {math:?}: {strayed} of {} elements of {} are off, {worst:.1e} at worst",
            wanted.len(),
            variable.path
        );
    }
}

#[test]
fn training_in_the_numbers_of_tensor_cores_agrees() {
    for (math, rounding) in [(Math::Bf16, 4e-3), (Math::F16, 1e-3), (Math::Tf32, 4e-3)] {
        spec_agrees_in("specs/mnist_cnn.weft", &[("width", "8")], math, rounding);
        let small = [("layers", "1"), ("width", "32"), ("heads", "2"), ("context", "10")];
        spec_agrees_in("specs/gpt.weft", &small, math, rounding);
    }
}

/// Two layers that read a series, trained by the gradient itself: no optimizer makes more of what rounding leaves.
const READER: &str = r#"
data vowels = ts("vowels.ts") -> { series: f32[t, 12], label: class }
model Reader(series: f32[n, t, 12]) -> f32[n, 9] {
    series |> lstm(16, sequences = true) |> lstm(16) |> dense(9)
}
train {
    on vowels as { series, label }
    batch = 16
    epochs = 1
    minimize cross_entropy(Reader(series), label) using sgd(0.5)
}
"#;

/// A loop of products in 16 bits strays from one in f32 by what rounding explains: f16 keeps three bits more than bf16, and is off by about an
/// eighth of it.
#[test]
fn loops_in_the_numbers_of_tensor_cores_round_and_no_more() {
    if !cuda::is_ready() {
        return;
    }
    let checked = specs::check_text(READER, &Options::default());
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let (_, exact) = train(&module, Device::Evaluator32);
    let off = |math: Math| {
        let (_, variables) = train(&module, Device::CudaIn(math));
        let weights = module.variables.iter().filter(|v| v.kind == VariableKind::Weight);
        weights.map(|v| distance(&exact[&v.path], &variables[&v.path])).fold(0.0, f64::max)
    };
    let [wide, bf16, f16] = [Math::F32, Math::Bf16, Math::F16].map(off);
    assert!(wide < 1e-5, "f32 is off by {wide:.1e}");
    assert!(bf16 < 1e-2 && 4.0 * f16 < bf16, "bf16 is off by {bf16:.1e}, f16 by {f16:.1e}");
    assert!(100.0 * wide < bf16, "bf16 is off by {bf16:.1e}, and f32 by {wide:.1e}: did it round?");
}

/// Whether a device's figures and variables are those of the evaluator, as far as rounding allows.
fn agree(
    path: &str,
    module: &Module,
    (figures, variables): (&Results, &Results),
    (got_figures, got_variables): (&Results, &Results),
) {
    let continuous = |name: &str| {
        let own = ["mean_absolute_error", "reconstruction", "divergence", "error", "before"];
        name.ends_with("loss") || own.contains(&name)
    };
    for (name, wanted) in figures {
        let off = distance(wanted, &got_figures[name]);
        // What counts rows may be off by one or two, where classes tie but for rounding.
        let bound = if continuous(name) { 5e-4 * largest(wanted).max(1.0) } else { 2.5 / 33.0 };
        assert!(off <= bound, "{path}: `{name}` is {:?}, not {wanted:?}", got_figures[name]);
    }
    for variable in module.variables.iter().filter(|v| v.kind != VariableKind::Accumulator) {
        let (wanted, got) = (&variables[&variable.path], &got_variables[&variable.path]);
        assert!(wanted.iter().all(|v| v.is_finite()), "{path}: {} is not finite", variable.path);
        let (worst, scale) = (distance(wanted, got), largest(wanted));
        if variable.kind == VariableKind::Weight {
            // Adam divides a gradient by its own size, so a weight whose gradient is nothing but rounding may go either way.
            let strayed = wanted.iter().zip(got).filter(|(a, b)| (**a - **b).abs() > 1e-4).count();
            assert!(
                strayed <= 1 + wanted.len() / 50 && worst <= 2e-2,
                "{path}: {strayed} of {} elements of {} are off, {worst:.1e} at worst",
                wanted.len(),
                variable.path
            );
        } else {
            assert!(
                worst <= 1e-2 * scale + 1e-6,
                "{path}: {} is off by {worst:.1e} at worst, with elements up to {scale:.1e}",
                variable.path
            );
        }
    }
}

/// What a recurrent layer multiplies by, kept as i8 or bf16: on a GPU its steps read it so.
#[test]
fn narrow_weights_of_loops_agree() {
    if !cuda::is_ready() {
        return;
    }
    let text = "edition 2026\n\nmodel Read(x: f32[n, 7, 20]) -> f32[n, 5] {\n    \
                x |> lstm(32, sequences = true) |> gru(24) |> dense(5)\n}\n\n\
                predict read(x: f32[n, 7, 20]) -> { y } {\n    { y = Read(x) }\n}\n";
    let checked = specs::check_text(text, &Options::default());
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    for dtype in [DType::I8, DType::BF16] {
        let module = narrow::weights(&module, dtype);
        let weights = weights(&module);
        let run = |device: Device, inputs: &Tensors| {
            let mut machine = Machine::new(module.clone(), device);
            weights.iter().for_each(|(path, tensor)| machine.set(path, tensor));
            machine.run("predict.read", inputs)
        };
        for rows in [1, 3, 40] {
            let inputs = batches::of(&module, "predict.read", rows, 0);
            let wanted = run(Device::Evaluator64, &inputs);
            for (device, most) in [(Device::Cuda, 1e-5), (Device::CudaIn(Math::Bf16), 3e-2)] {
                let off = distance(&run(device, &inputs)["y"], &wanted["y"]);
                let largest = largest(&wanted["y"]);
                assert!(off <= most * largest, "{} of {rows} rows: {off} of {largest}", dtype.name());
            }
        }
    }
}

/// Some value for each variable, in its type.
fn weights(module: &Module) -> Tensors {
    let mut rng = random::Rng::new(7);
    let mut tensors = Tensors::new();
    for variable in &module.variables {
        let shape: Vec<usize> = variable
            .ty
            .shape
            .iter()
            .map(|extent| extent.as_constant().expect("it is fixed") as usize)
            .collect();
        let mut unit = || 2.0 * rng.unit() - 1.0;
        let mut value = |bytes: &mut Vec<u8>| match (variable.ty.dtype, variable.kind) {
            (DType::I8, _) => bytes.push((127.0 * unit()) as i8 as u8),
            (DType::BF16, _) => bytes.extend(half::bf16::from_f64(0.25 * unit()).to_le_bytes()),
            (_, VariableKind::Scale) => bytes.extend((0.002 + 0.001 * unit() as f32).to_le_bytes()),
            _ => bytes.extend((0.25 * unit() as f32).to_le_bytes()),
        };
        let mut data = Vec::new();
        (0..shape.iter().product::<usize>()).for_each(|_| value(&mut data));
        tensors.insert(variable.path.clone(), Tensor { dtype: variable.ty.dtype, shape, data });
    }
    tensors
}

#[test]
fn mnist_mlp_agrees() {
    spec_agrees("specs/mnist_mlp.weft", &[("units", "24")]);
}

#[test]
fn mnist_cnn_agrees() {
    spec_agrees("specs/mnist_cnn.weft", &[("width", "5")]);
}

#[test]
fn autoencoder_agrees() {
    spec_agrees("specs/autoencoder.weft", &[("units", "17"), ("code", "6")]);
}

#[test]
fn cifar_cnn_agrees() {
    spec_agrees("specs/cifar_cnn.weft", &[("width", "3")]);
}

#[test]
fn gpt_agrees() {
    spec_agrees("specs/gpt.weft", &[("layers", "2"), ("width", "12"), ("heads", "2"), ("context", "10")]);
}

#[test]
fn t5_agrees() {
    let small = [("layers", "1"), ("width", "12"), ("heads", "2"), ("head_width", "5"), ("hidden", "16")];
    spec_agrees("specs/t5_small.weft", &[&small[..], &[("vocab", "20"), ("length", "9")]].concat());
}

#[test]
fn recurrent_specs_agree() {
    spec_agrees("specs/lstm_series.weft", &[("units", "6")]);
    spec_agrees("specs/vowels_lstm.weft", &[]);
    spec_agrees("specs/peephole.weft", &[("units", "6")]);
}

#[test]
fn specs_of_reviews_agree() {
    spec_agrees("specs/imdb_lstm.weft", &[("vocab", "20"), ("units", "5")]);
    spec_agrees("specs/imdb_transformer.weft", &[("vocab", "20"), ("width", "8"), ("heads", "2")]);
}

#[test]
fn bert_agrees() {
    let small = [("layers", "1"), ("width", "12"), ("heads", "2"), ("hidden", "16")];
    spec_agrees("specs/bert.weft", &[&small[..], &[("vocab", "20"), ("length", "9")]].concat());
}

#[test]
fn vit_agrees() {
    let small = [("size", "8"), ("patch", "4"), ("layers", "1"), ("width", "12"), ("heads", "2")];
    spec_agrees("specs/vit.weft", &[&small[..], &[("hidden", "16"), ("classes", "10")]].concat());
}

#[test]
fn iris_agrees() {
    spec_agrees("specs/iris.weft", &[]);
}

#[test]
fn en_es_agrees() {
    spec_agrees(
        "specs/en_es.weft",
        &[("layers", "1"), ("width", "8"), ("heads", "2"), ("hidden", "12"), ("vocab", "270")],
    );
}

#[test]
fn gan_mnist_agrees() {
    spec_agrees("specs/gan_mnist.weft", &[("latent", "5"), ("width", "4")]);
}

#[test]
fn dcgan_agrees() {
    spec_agrees("specs/dcgan.weft", &[("latent", "5"), ("width", "4")]);
}

#[test]
fn vae_agrees() {
    spec_agrees("specs/vae.weft", &[("width", "3")]);
}

#[test]
fn denoising_agrees() {
    spec_agrees("specs/denoising.weft", &[("width", "3")]);
}

#[test]
fn resnet_agrees() {
    spec_agrees(
        "specs/resnet50.weft",
        &[("depths", "[1, 2]"), ("peak", "0.001"), ("width", "4"), ("size", "32"), ("classes", "10")],
    );
}

#[test]
fn mobilenet_agrees() {
    let stages = "[(1, 4, 1, 1), (6, 6, 2, 2), (3, 8, 1, 1)]";
    let small = [("stages", stages), ("size", "32"), ("stem", "8"), ("last", "16"), ("classes", "10")];
    spec_agrees("specs/mobilenet.weft", &small);
}

#[test]
fn unet_agrees() {
    spec_agrees("specs/unet.weft", &[("widths", "[3, 5, 8]"), ("size", "44"), ("classes", "10")]);
}

/// Everything random in one model, as training would run it. Dividing by nothing, the bits themselves are seen.
const DRAWS: &str = "
edition 2026

model Draws(x: f32[n, 64]) {
    { dropped = x |> dropout(0.25), again = x |> dropout(0.25), uniforms = x * uniform(shape(x)), normals = x + normal(shape(x)) }
}
";

#[test]
fn random_numbers_are_the_same_everywhere() {
    let checked = specs::check_text(DRAWS, &Options { training: true, ..Options::default() });
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let rows = 50;
    let draw = |device: Device, state: [i64; 2]| {
        let inputs = Tensors::from([
            ("x".to_owned(), Tensor::from_f32(&[rows, 64], &vec![1.0; rows * 64])),
            ("random".to_owned(), Tensor::from_i64(&[2], &state)),
        ]);
        Machine::new(module.clone(), device).run("predict", &inputs)
    };
    let all = Device::ALL.map(|device| draw(device, [1, 0]));
    let exact = &all[0];
    for (other, device) in all.iter().zip(Device::ALL).skip(1) {
        for name in ["dropped", "again", "uniforms"] {
            // A scale of 4/3 is rounded in f32, a uniform number is not.
            assert!(distance(&exact[name], &other[name]) <= 1e-7, "`{name}` on {device:?}");
            let zeros = |r: &Results| r[name].iter().map(|v| *v == 0.0).collect::<Vec<_>>();
            assert_eq!(zeros(exact), zeros(other), "`{name}` on {device:?}");
        }
        assert!(distance(&exact["normals"], &other["normals"]) <= 1e-5, "`normals` on {device:?}");
    }
    let kept = exact["dropped"].iter().filter(|v| **v != 0.0).count() as f64 / (rows * 64) as f64;
    // 3,200 draws deviate by 0.0077.
    assert!((kept - 0.75).abs() < 0.04, "{kept} of all elements are kept");
    assert_ne!(exact["dropped"], exact["again"], "two dropouts of one model draw alike");
    for state in [[2, 0], [1, 1]] {
        assert_ne!(exact["dropped"], draw(Device::Cpu(1), state)["dropped"], "seed and batch decide nothing");
    }
}
