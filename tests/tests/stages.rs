//! Snapshots of every stage, for every spec in `specs/`: what a change of the compiler does to real programs is seen in review.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test -p weft-tests --test stages`, then read the difference.
//! The code generator's own stages are long, so they are taken of one very small spec only.

use std::path::Path;
use weft_compiler::check::{Checked, Options};
use weft_compiler::cuda;
use weft_compiler::stages::{self, Format, Stage};
use weft_runtime::execute::dims_at;
use weft_runtime::program::{Entry, Kernel, Program, Step};
use weft_tests::specs;

/// Specs of many equal layers: one of them shows what all are.
const DEEP: &[&str] = &["gpt", "t5_small", "bert", "vit", "en_es", "imdb_transformer"];

/// A spec of the repository, of one layer where it has many that are alike.
fn checked(path: &str) -> Checked {
    let deep = DEEP.iter().any(|name| path == format!("specs/{name}.weft"));
    let settings = if deep { vec![("layers".to_owned(), "1".to_owned())] } else { Vec::new() };
    let checked = specs::check_file(path, &Options { settings, ..Options::default() });
    assert!(checked.diagnostics.is_empty(), "{}", specs::rendered(&checked));
    checked
}

/// A stage of a spec of the repository, as text.
fn emit(path: &str, stage: Stage, entry: Option<&str>) -> String {
    let once = || {
        let checked = checked(path);
        stages::emit(&checked, stage, entry, Format::Text)
            .unwrap_or_else(|e| panic!("{path}, {}: {e:?}", stage.name()))
    };
    let text = once();
    assert!(text == once(), "{path}: {} differs from one time to the next", stage.name());
    text
}

/// The path from the root of a spec in `specs/`.
fn named(path: &Path) -> String {
    let name = path.file_name().and_then(|n| n.to_str()).expect("a spec's name is text");
    format!("specs/{name}")
}

/// Networks of many blocks that are alike or of layers that other specs show, and a matrix root of many steps: nobody would read the
/// thousands of lines of their graphs. What they are made of is in the other specs, and that they compute the right thing is the devices' suite.
const LONG: [&str; 10] = [
    "cifar_keras",
    "en_es",
    "gan_quality",
    "imdb_lstm",
    "imdb_transformer",
    "mobilenet",
    "peephole",
    "resnet50",
    "unet",
    "vowels_lstm",
];

fn is_long(path: &Path) -> bool {
    path.file_stem().and_then(|n| n.to_str()).is_some_and(|name| LONG.contains(&name))
}

/// Snapshots of one stage of every spec; of each entry, where the stage is of one entry.
macro_rules! snapshots {
    ($stage:expr) => {
        insta::glob!("../../specs", "*.weft", |path| {
            insta::assert_snapshot!($stage.name(), emit(&named(path), $stage, None));
        })
    };
    ($stage:expr, $($entry:literal),*) => {
        insta::glob!("../../specs", "*.weft", |path| {
            if is_long(path) {
                return;
            }
            $(
                let name = format!("{}_{}", $stage.name(), $entry);
                insta::assert_snapshot!(name, emit(&named(path), $stage, Some($entry)));
            )*
        })
    };
}

#[test]
fn ast() {
    snapshots!(Stage::Ast);
}

#[test]
fn typed() {
    snapshots!(Stage::Typed);
}

#[test]
fn graph() {
    snapshots!(Stage::Graph, "train", "predict");
}

#[test]
fn optimized() {
    snapshots!(Stage::Optimized, "train", "predict");
}

#[test]
fn loops() {
    snapshots!(Stage::Loops, "train", "predict");
}

/// Rows of a batch for which the sizes of launches are shown, and whatever else is not constant.
const ROWS: usize = 64;

/// What an entry starts on a GPU: a line for each launch, those of a loop's turn inside of it.
fn launches(program: &Program, entry: &Entry) -> String {
    let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|symbol| (symbol.as_str(), ROWS)).collect();
    let dims = dims_at(entry, &symbols).unwrap_or_else(|e| panic!("{}: {e:?}", entry.name));
    let mut text = format!("{}, at {ROWS} rows\n", entry.name);
    entry.segments.iter().for_each(|segment| list(program, &dims, &segment.steps, 1, &mut text));
    text
}

fn list(program: &Program, dims: &[i64], steps: &[Step], depth: usize, text: &mut String) {
    for step in steps {
        *text += &"  ".repeat(depth);
        match step {
            Step::Loop(inner) => {
                let (trip, block) = (dims[inner.trip.0 as usize], dims[inner.block.0 as usize]);
                let ahead = if block > 1 { format!(", {block} of them ahead") } else { String::new() };
                *text += &format!("{trip} turns{ahead}\n");
                list(program, dims, &inner.steps, depth + 1, text);
            }
            Step::Launch(launch) => {
                let Kernel::Device(start) = &launch.kernel else { panic!("{} is for no GPU", launch.path) };
                let function = &program.device.functions[start.function as usize];
                let blocks = start.grid.map(|extent| dims[extent.0 as usize].to_string()).join(" x ");
                let blocks = blocks.trim_end_matches(" x 1");
                *text += &format!("{}: {blocks} blocks of {}\n", function.name, function.threads);
            }
        }
    }
}

/// What a training step and a prediction of each spec start on a GPU.
#[test]
fn cuda_launches() {
    insta::glob!("../../specs", "*.weft", |path| {
        let checked = checked(&named(path));
        let module = checked.module.as_ref().expect("the spec is sound");
        let module = stages::optimized(module);
        let program = cuda::compile(&module, cuda::Math::F32, &|span| checked.sources.line(span))
            .unwrap_or_else(|e| panic!("{}: {e}", named(path)));
        let trainings = module.trainings.iter().flat_map(|t| t.steps.iter().chain(&t.updates));
        let wanted = trainings.chain(module.predictions.iter().map(|prediction| &prediction.entry));
        let entries = wanted.filter_map(|name| program.entries.iter().find(|entry| entry.name == *name));
        let text: String = entries.map(|entry| launches(&program, entry)).collect();
        insta::assert_snapshot!("cuda_launches", text);
    });
}

/// The kernels of predictions in full, and of one spec's training.
#[test]
fn cuda() {
    snapshots!(Stage::Cuda, "predict");
    insta::assert_snapshot!(
        "cuda_train@mnist_cnn.weft",
        emit("specs/mnist_cnn.weft", Stage::Cuda, Some("train"))
    );
}

/// The other entries are short, and one spec's show them.
#[test]
fn small_entries() {
    for entry in ["init", "train.evaluate", "train.report"] {
        for stage in [Stage::Optimized, Stage::Loops] {
            let name = format!("{}_{entry}@mnist_mlp.weft", stage.name());
            insta::assert_snapshot!(name, emit("specs/mnist_mlp.weft", stage, Some(entry)));
        }
    }
}

/// The default target of this architecture is the same on every machine.
#[test]
#[cfg(target_arch = "x86_64")]
fn code() {
    for stage in [Stage::Loops, Stage::Clif, Stage::Asm] {
        let text = emit("tests/specs/small.weft", stage, Some("predict"));
        insta::assert_snapshot!(format!("{}_predict@small.weft", stage.name()), text);
    }
}
