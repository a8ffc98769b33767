//! What plans for a GPU do with weights and operands: weights of i8 are read as they are, weights that are rounded are rounded once, and what a
//! product could do for its operands while it loads them is little. Nothing is compiled or run.

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
        for (entry, plan) in plans(&module, Math::F32, answers) {
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
                        Kernel::Contraction { kept, .. } => *kept == DType::I8 && slot == 1,
                        // Rows of a table are widened behind.
                        Kernel::Gather { dtype, .. } => *dtype == DType::I8,
                        _ => false,
                    };
                    let weight = &plan.buffers[buffer.index()].name;
                    assert!(as_it_is, "{name}, {entry}: {} widens {weight}", launch.path);
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

#[test]
fn what_a_product_could_do_while_it_loads_is_little() {
    for name in [
        "cifar_cnn",
        "fashion_mnist",
        "gpt",
        "imdb_lstm",
        "mnist_cnn",
        "mnist_mlp",
        "resnet50",
        "vit",
        "vowels_cnn",
    ] {
        for (entry, plan) in plans(&module(name), Math::F32, |name| name.starts_with("train.step")) {
            let launches: Vec<&Launch> =
                plan.segments.iter().flat_map(|segment| segment.launches()).collect();
            let products = launches.iter().filter(|launch| {
                matches!(launch.kernel, Kernel::Contraction { .. } | Kernel::Convolution { .. })
            });
            // It would not be written, and not be read again.
            let saved: i64 = products
                .flat_map(|product| {
                    [0, 1].map(|slot| could_be_done_while_loading(&plan, &launches, product, slot))
                })
                .map(|bytes| 2 * bytes)
                .sum();
            let all: i64 = launches.iter().map(|launch| plan.estimate(&launch.bytes)).sum();
            let share = 100.0 * saved as f64 / all as f64;
            println!("{name}, {entry}: {share:.1} % of {:.1} MiB", all as f64 / f64::from(1 << 20));
            assert!(share < 18.0, "{name}, {entry}: {share:.1} %");
        }
    }
}
