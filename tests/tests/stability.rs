//! What did not change keeps its text: all that stands before a layer that is appended, and everything when only the text around
//! it changes. That is what makes a snapshot's difference worth reading.

use proptest::prelude::*;
use weft_compiler::stages::{self, Stage};
use weft_tests::specs::root;

/// A kind of model: the tensor that it takes, and layers that take and give such tensors.
struct Kind {
    takes: &'static str,
    layers: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        takes: "n, 8",
        layers: &[
            "dense(8)",
            "dense(5)",
            "dense(13, bias = false)",
            "relu",
            "gelu",
            "softmax",
            "layer_norm",
            "batch_norm",
            "dropout(0.5)",
            "wrapped(dense(7))",
        ],
    },
    Kind {
        takes: "n, 8, 8, 3",
        layers: &[
            "conv2d(4, kernel = 3, padding = same)",
            "conv2d(6, kernel = 1, bias = false)",
            "relu",
            "tanh",
            "batch_norm",
            "spatial_dropout(0.1)",
            "wrapped(conv2d(3, kernel = 3, padding = same))",
        ],
    },
    Kind {
        takes: "n, 16, 4",
        layers: &[
            "conv1d(4, kernel = 3, padding = same)",
            "dense(6)",
            "layer_norm",
            "silu",
            "softmax",
            "dropout(0.2)",
            "wrapped(dense(4))",
        ],
    },
];

/// A kind, some layers, and one to append.
fn models() -> impl Strategy<Value = (usize, Vec<&'static str>, &'static str)> {
    (0..KINDS.len()).prop_flat_map(|kind| {
        let layer = || prop::sample::select(KINDS[kind].layers);
        (Just(kind), prop::collection::vec(layer(), 1..6), layer())
    })
}

fn text(spec: &str, stage: Stage, entry: &str) -> String {
    let read =
        |name: &str| if name == "m.weft" { Ok(spec.to_owned()) } else { Err(format!("no file {name}")) };
    stages::snapshot("m.weft", read, stage, Some(entry)).unwrap_or_else(|e| panic!("{e}\n{spec}"))
}

/// The lines of a graph with the nodes of a model.
fn of<'a>(model: &str, graph: &'a str) -> Vec<&'a str> {
    let name = format!("%{model}.");
    graph.lines().filter(|line| line.starts_with(&name)).collect()
}

/// The lines that are no more.
fn gone<'a>(before: &'a str, after: &str) -> Vec<&'a str> {
    let after: Vec<&str> = after.lines().collect();
    before.lines().filter(|line| !after.contains(line)).collect()
}

/// A node's type, as its line ends.
fn ty(line: &str) -> &str {
    line.rsplit(" : ").next().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Not one line of the model changes that was there; all that is new is the layer's own, or stands in what reads the model.
    #[test]
    fn a_layer_that_is_appended_changes_its_own_lines((kind, layers, last) in models(), above in "(\n|// a b\n){0,4}") {
        let graph = |layers: &[&str], above: &str| {
            let takes = KINDS[kind].takes;
            let spec = format!(
                "{above}layer wrapped(inner: fn)(x: f32[...]) {{ x |> inner |> tanh }}
                model M(x: f32[{takes}]) {{ x |> {} }}
                predict p(x: f32[{takes}]) {{ M(x) * 2 }}",
                layers.join(" |> ")
            );
            text(&spec, Stage::Graph, "predict")
        };
        let before = graph(&layers, "");
        prop_assert_eq!(&before, &graph(&layers, &above), "what stands above does not count");
        let after = graph(&[&layers[..], &[last]].concat(), &above);
        let (old, new) = (of("M", &before), of("M", &after));
        prop_assert_eq!(&new[..old.len()], &old[..], "{}", after);
        let gone = gone(&before, &after);
        for line in &gone {
            prop_assert!(line.starts_with("%p.") || line.starts_with("output"), "{}", line);
        }
        let product = |graph: &str| graph.lines().find(|l| l.starts_with("%p.mul = ")).map(str::to_owned).unwrap();
        if ty(&product(&before)) == ty(&product(&after)) {
            // A dropout is nothing at all in a prediction.
            let read = if new.len() == old.len() { vec![] } else { vec![product(&before)] };
            prop_assert_eq!(gone, read, "only the reader of the model reads something else");
        }
    }
}

/// The same of the repository's specs: what changes is only what reads the new layer.
#[test]
fn appending_to_a_real_model_changes_only_its_reader() {
    for (spec, model, end) in [
        ("mnist_mlp", "Mlp", "dense(10)"),
        ("mnist_cnn", "Cnn", "dense(10)"),
        ("cifar_cnn", "Photos", "dense(10)"),
        ("autoencoder", "Autoencoder", "encoder |> decoder"),
    ] {
        let file = root().join("specs").join(spec).with_extension("weft");
        let spec = std::fs::read_to_string(file).expect("the spec is there");
        let longer = spec.replacen(end, &format!("{end} |> sinusoid"), 1)
            + "\nfn sinusoid(x: float[...]) { sin(x) }\n";
        assert_ne!(spec, longer);
        let (before, after) = (text(&spec, Stage::Graph, "predict"), text(&longer, Stage::Graph, "predict"));
        let (old, new) = (of(model, &before), of(model, &after));
        assert_eq!(new[..old.len()], old[..]);
        let [added] = &new[old.len()..] else { panic!("{after}") };
        let read = added
            .split(" = sin ")
            .nth(1)
            .and_then(|rest| rest.split(" : ").next())
            .expect("it reads the model");
        let gone = gone(&before, &after);
        assert!(!gone.is_empty());
        for line in gone {
            assert!(line.split([' ', ',']).any(|word| word == read), "{line}");
        }
    }
}

/// Comments, blank lines and items that nothing reaches are in no text of a stage, nor do they name anything anew.
#[test]
fn text_around_changes_nothing() {
    let spec = std::fs::read_to_string(root().join("specs/mnist_mlp.weft")).expect("the spec is there");
    let (edition, rest) = spec.split_once('\n').expect("it has lines");
    let around = "// Blank lines and a layer of another model.\n\n\nlayer other(x: f32[n, d]) { x |> dense(3) |> relu }\n";
    let moved = format!("{edition}\n{around}{}", rest.replace("\n\n", "\n\n// a comment\n\n"));
    for stage in [Stage::Typed, Stage::Graph, Stage::Optimized, Stage::Loops] {
        for entry in ["train", "predict"] {
            assert_eq!(text(&spec, stage, entry), text(&moved, stage, entry), "{} of {entry}", stage.name());
        }
    }
}
