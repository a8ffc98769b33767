//! Snapshots of every stage, for every spec in `specs/`: what a change of the compiler does to real programs is seen in review.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test -p weft-tests --test stages`, then read the difference.
//! The code generator's own stages are long, so they are taken of one very small spec only.

use proptest::prelude::*;
use std::path::Path;
use weft_compiler::check::Options;
use weft_compiler::stages::{self, Format, Stage};
use weft_tests::specs;

/// A stage of a spec of the repository, as text.
fn emit(path: &str, stage: Stage, entry: Option<&str>) -> String {
    let once = || {
        let checked = specs::check_file(path, &Options::default());
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

/// Snapshots of one stage of every spec; of each entry, where the stage is of one entry.
macro_rules! snapshots {
    ($stage:expr) => {
        insta::glob!("../../specs", "*.weft", |path| {
            insta::assert_snapshot!($stage.name(), emit(&named(path), $stage, None));
        })
    };
    ($stage:expr, $($entry:literal),*) => {
        insta::glob!("../../specs", "*.weft", |path| {
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

/// A layer of a model that takes and gives rows of numbers.
fn layer() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..64usize).prop_map(|units| format!("dense({units})")),
        (1..64usize).prop_map(|units| format!("dense({units}, bias = false)")),
        prop::sample::select(vec![
            "relu",
            "tanh",
            "gelu",
            "softmax",
            "layer_norm",
            "batch_norm",
            "dropout(0.5)"
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Nodes are named by path: what stood before an appended layer has not one line changed, and all that is new is the layer's or
    /// stands in the predict item, which reads the model.
    #[test]
    fn a_layer_that_is_appended_changes_its_own_lines(
        layers in prop::collection::vec(layer(), 1..6), last in layer(), blanks in 0..5usize,
    ) {
        let graph = |layers: &[String], blanks: usize| {
            let spec = format!(
                "{}model M(x: f32[n, 8]) {{ x |> {} }}\npredict p(x: f32[n, 8]) {{ softmax(M(x)) }}",
                "\n".repeat(blanks),
                layers.join(" |> ")
            );
            stages::snapshot("m.weft", |_| Ok::<_, String>(spec.clone()), Stage::Graph, Some("predict")).unwrap()
        };
        let before = graph(&layers, 0);
        prop_assert_eq!(&before, &graph(&layers, blanks), "lines of the spec do not count");
        let after = graph(&[layers, vec![last]].concat(), blanks);
        let of_model = |text: &str| -> Vec<String> {
            text.lines().filter(|l| l.starts_with("%M.")).map(str::to_owned).collect()
        };
        let (old, new) = (of_model(&before), of_model(&after));
        prop_assert_eq!(&new[..old.len()], &old[..], "{}", after);
        let lines: Vec<&str> = before.lines().collect();
        for line in after.lines().filter(|l| !lines.contains(l)) {
            let own = new[old.len()..].iter().any(|l| l == line);
            prop_assert!(own || line.starts_with("%p.") || line.starts_with("output"), "{}", line);
        }
    }
}
