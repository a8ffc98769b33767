//! Snapshots of every stage, for every spec in `specs/`: what a change of the compiler does to real programs is seen in review.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test -p weft-tests --test stages`, then read the difference.
//! The code generator's own stages are long, so they are taken of one very small spec only.

use std::path::Path;
use weft_compiler::check::Options;
use weft_compiler::stages::{self, Format, Stage};
use weft_tests::specs;

/// Specs of many equal layers: one of them shows what all are.
const DEEP: &[&str] = &["gpt", "t5_small", "bert", "vit", "en_es", "imdb_transformer"];

/// A stage of a spec of the repository, as text.
fn emit(path: &str, stage: Stage, entry: Option<&str>) -> String {
    let deep = DEEP.iter().any(|name| path == format!("specs/{name}.weft"));
    let settings = if deep { vec![("layers".to_owned(), "1".to_owned())] } else { Vec::new() };
    let once = || {
        let checked = specs::check_file(path, &Options { settings: settings.clone(), ..Options::default() });
        assert!(checked.diagnostics.is_empty(), "{}", specs::rendered(&checked));
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

/// Kernels of predictions, and of one spec's training: what other steps add is what these are made of, and the same kernels' gate and
/// suites see them all.
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
