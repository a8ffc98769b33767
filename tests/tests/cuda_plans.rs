//! What plans for a GPU do with weights and operands: weights of i8 are read as they are, weights that are rounded are rounded once, and a product
//! does for its operands while it loads them what is for it alone. Nothing is compiled or run.

use weft_compiler::check::Options;
use weft_compiler::cuda::{Math, plan_in};
use weft_compiler::graph::{Entry, Module};
use weft_compiler::passes::{self, narrow};
use weft_compiler::plan::nest::Nest;
use weft_compiler::plan::{BufferId, Kernel, Launch, Plan, Step, Storage};
use weft_runtime::program::{ConvolutionKind, DType};
use weft_tests::specs;

fn module(name: &str) -> Module {
    let checked = specs::check_file(&format!("specs/{name}.weft"), &Options::default());
    let shown = specs::rendered(&checked);
    checked.module.unwrap_or_else(|| panic!("{shown}"))
}

/// The plans of some entries, with their names.
fn plans(module: &Module, math: Math, wanted: impl Fn(&str) -> bool) -> Vec<(String, Plan)> {
    let entries = module.entries.iter().filter(|entry| wanted(&entry.graph.name));
    entries
        .map(|entry| {
            let name = entry.graph.name.clone();
            let entry = Entry { graph: passes::optimize(&entry.graph), inputs: entry.inputs.clone() };
            let plan = plan_in(&entry, &module.variables, math).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, plan)
        })
        .collect()
}

fn answers(name: &str) -> bool {
    name.starts_with("predict") || name.starts_with("generate")
}

/// Models with so many products at least, and of them in a loop over a sequence.
const MODELS: [(&str, usize, usize); 6] = [
    ("bert", 20, 0),
    ("en_es", 20, 0),
    ("gpt", 20, 0),
    ("imdb_lstm", 2, 2),
    ("lstm_series", 2, 2),
    ("vit", 20, 0),
];

fn is_variable(plan: &Plan, buffer: BufferId) -> bool {
    matches!(plan.buffers[plan.root(buffer).index()].storage, Storage::Variable(_))
}

#[test]
fn weights_of_i8_are_read_as_they_are() {
    for (name, least, loops) in MODELS {
        let module = narrow::weights(&module(name), DType::I8);
        let (mut products, mut steps) = (0, 0);
        let both = [Math::F32, Math::Bf16]
            .map(|math| plans(&module, math, answers).into_iter().map(move |p| (math, p)));
        for (math, (entry, plan)) in both.into_iter().flatten() {
            let of_loops = plan.segments.iter().flat_map(|segment| &segment.steps);
            let in_loop = of_loops.filter(|step| matches!(step, Step::Loop(_))).flat_map(Step::launches);
            let kept =
                |launch: &&Launch| matches!(launch.kernel, Kernel::Contraction { kept: DType::I8, .. });
            steps += in_loop.filter(kept).count();
            for launch in plan.segments.iter().flat_map(|segment| segment.launches()) {
                for (slot, (buffer, _)) in launch.buffers.iter().enumerate() {
                    if plan.buffers[buffer.index()].dtype != DType::I8 || !is_variable(&plan, *buffer) {
                        continue;
                    }
                    let as_it_is = match &launch.kernel {
                        Kernel::Contraction { kept, .. } => {
                            // What it is multiplied with is rounded.
                            let other = plan.buffers[launch.operand(0).index()].dtype;
                            *kept == DType::I8 && slot == 1 && other == math.operands().unwrap_or(DType::F32)
                        }
                        // Rows of a table are widened behind.
                        Kernel::Gather { dtype, .. } => *dtype == DType::I8,
                        _ => false,
                    };
                    let weight = &plan.buffers[buffer.index()].name;
                    assert!(as_it_is, "{name}, {entry}, {}: {} widens {weight}", math.name(), launch.path);
                    products += usize::from(slot == 1);
                }
            }
        }
        assert!(products >= least, "{name}: only {products} products");
        assert!(steps >= loops, "{name}: only {steps} of them in a loop");
    }
}

#[test]
fn weights_that_a_run_does_not_change_are_rounded_once() {
    for (name, least, _) in MODELS {
        let module = module(name);
        let mut rounded = 0;
        for (entry, plan) in plans(&module, Math::Bf16, |name| answers(name) || name == "train.evaluate") {
            for (at, segment) in plan.segments.iter().enumerate() {
                for launch in segment.launches() {
                    let (mut read, written) = (launch.buffers.clone(), launch.written());
                    read.retain(|(buffer, _)| !written.contains(buffer));
                    let halves = |buffer: &BufferId| plan.buffers[buffer.index()].dtype == DType::BF16;
                    let from_weights =
                        !read.is_empty() && read.iter().all(|(buffer, _)| is_variable(&plan, *buffer));
                    if from_weights && written.iter().any(halves) {
                        assert!(
                            at < plan.prepares,
                            "{name}, {entry}: {} rounds weights at each run",
                            launch.path
                        );
                        rounded += 1;
                    }
                }
            }
        }
        assert!(rounded >= least / 2, "{name}: only {rounded} kernels round weights");
    }
}

/// The maps of a launch.
fn maps(launch: &Launch) -> Vec<&Nest> {
    match &launch.kernel {
        Kernel::Nest(nest) => vec![nest],
        Kernel::Parts(parts) => parts.iter().map(|part| &part.nest).collect(),
        _ => Vec::new(),
    }
}

/// Bytes of an operand that a map makes for one product alone, which loads each of its elements once: it has no more rows, or columns, beside it
/// than one tile. Such a map could be done while the operand is loaded.
fn could_be_done_while_loading(plan: &Plan, launches: &[&Launch], product: &Launch, slot: usize) -> i64 {
    let (a_beside, b_beside) = match &product.kernel {
        Kernel::Contraction { m, n, .. } => {
            let rows = m.iter().map(|axis| plan.estimate(&axis.extent)).product::<i64>();
            (plan.estimate(&n.extent), rows)
        }
        Kernel::Convolution { kind: ConvolutionKind::Weights, kernel, input_channels, .. } => {
            let taps = plan.estimate(&kernel[0]) * plan.estimate(&kernel[1]);
            (i64::MAX, taps * plan.estimate(input_channels))
        }
        _ => return 0,
    };
    if [a_beside, b_beside][slot] > 64 {
        return 0;
    }
    if product.prologues.iter().any(|prologue| prologue.slot == slot) {
        return 0;
    }
    let operand = product.buffers[slot].0;
    let touches = |launch: &&&Launch| launch.buffers.iter().any(|(buffer, _)| *buffer == operand);
    let alone = launches.iter().filter(touches).count() == 2
        && plan.outputs.iter().all(|output| output.3 != operand)
        && matches!(plan.buffers[operand.index()].storage, Storage::Arena { .. } | Storage::Alias(_));
    let mapped = launches.iter().flat_map(|launch| maps(launch)).any(|nest| {
        let [stage] = nest.stages.as_slice() else { return false };
        stage.reductions.is_empty() && stage.stores.iter().any(|store| store.buffer == operand)
    });
    let buffer = &plan.buffers[operand.index()];
    if alone && mapped { plan.estimate(&buffer.elements) * buffer.dtype.size() as i64 } else { 0 }
}

/// Bytes that a plan's kernels move, and those that products save by their prologues: what these make is neither written nor read again.
fn moved_and_saved(plan: &Plan) -> (i64, i64, usize) {
    let launches: Vec<&Launch> = plan.segments.iter().flat_map(|segment| segment.launches()).collect();
    let made = || launches.iter().flat_map(|launch| &launch.prologues);
    let bytes = |buffer: BufferId| {
        let buffer = &plan.buffers[buffer.index()];
        plan.estimate(&buffer.elements) * buffer.dtype.size() as i64
    };
    let saved = made().map(|prologue| 2 * bytes(prologue.of)).sum();
    (launches.iter().map(|launch| plan.estimate(&launch.bytes)).sum(), saved, made().count())
}

fn every_spec() -> Vec<String> {
    let folder = std::fs::read_dir(specs::root().join("specs")).expect("the specs are there");
    let mut names: Vec<String> = folder
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".weft").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// What prologues save of the bytes of some entries in f32, in percent, at least: the adjoint of a first convolution, pixels before a dense layer,
/// embeddings with their padding, what a norm leaves before a convolution of one tap.
const SAVED: [(&str, &str, f64); 7] = [
    ("autoencoder", "predict.reconstruct", 39.0),
    ("fashion_mnist", "train.step", 15.0),
    ("imdb_cnn", "train.evaluate", 22.0),
    ("mnist_cnn", "predict.digit", 1.5),
    ("mnist_cnn", "train.step", 15.0),
    ("mnist_mlp", "predict.digit", 40.0),
    ("mobilenet", "predict.classify", 14.0),
];

/// What may be left of an entry's bytes, in percent: maps that read much for a result of 16 bits, and compute long on it, as the norm, the sum and the
/// activation at the end of `resnet50`'s blocks.
const LEFT: f64 = 3.0;

#[test]
fn products_do_while_they_load_what_is_for_them_alone() {
    let mut seen = 0;
    for name in every_spec() {
        let module = module(&name);
        for math in [Math::F32, Math::Bf16] {
            let wanted =
                |name: &str| answers(name) || name.starts_with("train.step") || name == "train.evaluate";
            for (entry, plan) in plans(&module, math, wanted) {
                let launches: Vec<&Launch> =
                    plan.segments.iter().flat_map(|segment| segment.launches()).collect();
                let (moved, saved, count) = moved_and_saved(&plan);
                let products = launches.iter().filter(|launch| {
                    matches!(launch.kernel, Kernel::Contraction { .. } | Kernel::Convolution { .. })
                });
                // It would not be written, and not be read again.
                let left: i64 = products
                    .flat_map(|product| {
                        [0, 1].map(|slot| could_be_done_while_loading(&plan, &launches, product, slot))
                    })
                    .map(|bytes| 2 * bytes)
                    .sum();
                let all = (moved + saved).max(1) as f64;
                let [saved, left] = [saved, left].map(|bytes| 100.0 * bytes as f64 / all);
                let of = format!("{name}, {entry}, {}", math.name());
                let mib = all / f64::from(1 << 20);
                if count > 0 || left > 0.0 {
                    println!(
                        "{of}: {count} prologues save {saved:.1} % of {mib:.1} MiB; {left:.1} % are left"
                    );
                }
                assert!(left < LEFT, "{of}: {left:.1} % are left");
                if math == Math::F32
                    && let Some((.., least)) = SAVED.iter().find(|one| (one.0, one.1) == (&name, &entry))
                {
                    assert!(saved >= *least, "{of}: {saved:.1} % are saved");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, SAVED.len(), "some entries are not there any more");
}
