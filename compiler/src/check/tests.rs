//! Inline specs → graphs and diagnostics.

use super::{Checked, Options, check};
use crate::diagnostics::{Color, render};
use crate::graph::{text, verify_module};

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

/// Every graph of a spec that must be right.
fn module(checked: &Checked) -> &crate::graph::Module {
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

#[test]
fn the_shipped_cnn_elaborates() {
    let text = include_str!("../../../specs/mnist_cnn.weft");
    let checked = run(text);
    let module = module(&checked);
    let names: Vec<&str> = module.entries.iter().map(|e| e.graph.name.as_str()).collect();
    println!("{names:?}");
    for e in &module.entries { println!("{}", text::print(&e.graph)); }
    println!("{}", checked.typed.as_ref().unwrap());
}
