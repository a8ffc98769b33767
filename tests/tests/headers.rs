//! What models look like from C: the headers of specs, and every name that they give to a program.

use weft_compiler::check::Options;
use weft_compiler::library::{Model, docs, header};
use weft_compiler::{assemble, stages};
use weft_runtime::payload::Card;
use weft_runtime::program::Program;
use weft_runtime::weights::Classes;
use weft_tests::specs::check_file;

/// What a spec answers with, compiled.
fn program(name: &str) -> Program {
    let checked = check_file(&format!("specs/{name}.weft"), &Options::default());
    let mut module = checked.module.expect("the spec is right");
    let answers = |name: &String| {
        module.predictions.iter().any(|prediction| prediction.entry == *name)
            || module
                .generations
                .iter()
                .any(|generation| [&generation.start, &generation.step].contains(&name))
    };
    let entries = module.entries.iter().filter(|entry| answers(&entry.graph.name)).cloned().collect();
    module.entries = entries;
    let mut program = stages::compile(&module).expect("it compiles");
    let sources = checked.sources.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
    assemble::locate(&mut program, sources);
    program
}

/// The header, and the names behind it.
fn shown(name: &str, classes: &[(&str, &[&str])]) -> String {
    let program = program(name);
    let classes: Classes = classes
        .iter()
        .map(|(key, names)| (format!("classes.{key}"), names.iter().map(|name| name.to_string()).collect()))
        .collect();
    let card = Card {
        weft: "0".into(),
        target: "x86-64-v3".into(),
        parameters: 1,
        spec_sha256: "5bec".into(),
        weights_sha256: Some("3e19".into()),
        ..Card::default()
    };
    let docs = docs(&program);
    let model = Model { prefix: name, program: &program, classes: &classes, card: &card, docs: &docs };
    format!("{}\n{}\n", header::header(&model), model.names().join("\n"))
}

#[test]
fn headers_say_what_is_given_and_what_comes() {
    insta::assert_snapshot!("mnist_cnn", shown("mnist_cnn", &[]));
    // Texts, and classes that have names.
    insta::assert_snapshot!("imdb_lstm", shown("imdb_lstm", &[("reviews.label", &["neg", "pos"])]));
    // A result that is called as what is given, and noise that depends on a seed.
    insta::assert_snapshot!("denoising", shown("denoising", &[]));
    // Sizes of several axes.
    insta::assert_snapshot!("lstm_series", shown("lstm_series", &[]));
    // Text that is written piece by piece.
    insta::assert_snapshot!("gpt", shown("gpt", &[]));
}
