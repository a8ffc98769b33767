//! Inline specs → graphs and diagnostics.

use super::{Checked, Options, check};
use crate::diagnostics::{Color, render};
use crate::graph::{Graph, Module, verify_module};

/// Checks a spec given as text.
fn run(text: &str) -> Checked {
    run_with(text, &Options::default())
}

fn run_with(text: &str, options: &Options) -> Checked {
    let mut loader = |name: &str| match name {
        "main.weft" => Ok(text.to_owned()),
        other => Err(format!("there is no file {other}")),
    };
    check("main.weft", &mut loader, options)
}

fn rendered(checked: &Checked) -> String {
    checked.diagnostics.iter().map(|d| render(d, &checked.sources, Color::Never) + "\n").collect()
}

/// The verified graphs of a spec that must be right.
fn module(checked: &Checked) -> &Module {
    match &checked.module {
        Some(module) => {
            if let Err(errors) = verify_module(module) {
                panic!("{}", errors.join("\n"));
            }
            module
        }
        None => panic!("{}", rendered(checked)),
    }
}

fn graph<'m>(module: &'m Module, name: &str) -> &'m Graph {
    match module.entries.iter().find(|e| e.graph.name == name) {
        Some(entry) => &entry.graph,
        None => panic!("no entry {name}"),
    }
}

mod errors;
mod fuzz;
mod lints;
mod scans;
mod semantics;
mod updates;
mod weights;

const SPECS: &[(&str, &str)] = &[
    ("mnist_cnn", include_str!("../../../../specs/mnist_cnn.weft")),
    ("mnist_mlp", include_str!("../../../../specs/mnist_mlp.weft")),
    ("autoencoder", include_str!("../../../../specs/autoencoder.weft")),
    ("cifar_cnn", include_str!("../../../../specs/cifar_cnn.weft")),
    ("gpt", include_str!("../../../../specs/gpt.weft")),
    ("t5_small", include_str!("../../../../specs/t5_small.weft")),
    ("bert", include_str!("../../../../specs/bert.weft")),
    ("en_es", include_str!("../../../../specs/en_es.weft")),
    ("imdb_lstm", include_str!("../../../../specs/imdb_lstm.weft")),
    ("imdb_transformer", include_str!("../../../../specs/imdb_transformer.weft")),
    ("lstm_series", include_str!("../../../../specs/lstm_series.weft")),
    ("vit", include_str!("../../../../specs/vit.weft")),
    ("cifar_keras", include_str!("../../../../specs/cifar_keras.weft")),
    ("dcgan", include_str!("../../../../specs/dcgan.weft")),
    ("denoising", include_str!("../../../../specs/denoising.weft")),
    ("gan_mnist", include_str!("../../../../specs/gan_mnist.weft")),
    ("mobilenet", include_str!("../../../../specs/mobilenet.weft")),
    ("resnet50", include_str!("../../../../specs/resnet50.weft")),
    ("unet", include_str!("../../../../specs/unet.weft")),
    ("vae", include_str!("../../../../specs/vae.weft")),
];

#[test]
fn the_shipped_specs_elaborate() {
    for (name, text) in SPECS {
        let checked = run(text);
        assert_eq!(rendered(&checked), "", "{name}");
        module(&checked);
    }
}
