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
];

#[test]
fn the_shipped_specs_elaborate() {
    for (name, text) in SPECS {
        let checked = run(text);
        assert_eq!(rendered(&checked), "", "{name}");
        module(&checked);
    }
}
