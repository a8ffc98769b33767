//! `weft predict`, and weights that do not fit.

use crate::files;
use crate::harness::{Run, folder, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use std::path::Path;
use weft_runtime::io::npy;
use weft_runtime::program::DType;
use weft_runtime::tensor::Tensor;

/// Rows that no part of the training data has.
const FRESH: std::ops::Range<usize> = 1000..1020;

/// Writes images as an array of bytes.
fn array(folder: &Path, name: &str, shape: &[usize], data: Vec<u8>) -> String {
    save(folder, name, &Tensor { dtype: DType::U8, shape: shape.to_vec(), data })
}

fn save(folder: &Path, name: &str, tensor: &Tensor) -> String {
    let path = folder.join(name);
    npy::write(&path, tensor.view()).expect("the array can be written");
    text(&path).to_owned()
}

fn predict(weights: &str, input: &str, more: &[&str]) -> Run {
    weft(&[&["predict", MLP, "--set", NARROW, "--weights", weights, "--input", input], more].concat())
}

#[test]
fn arrays_and_pictures_give_the_same_labels() {
    let (folder, weights) = (folder("predict"), trained().best());
    let images: Vec<u8> = FRESH.flat_map(files::digit).collect();
    let input = format!("image={}", array(&folder, "rows.npy", &[FRESH.len(), 28, 28, 1], images));
    let whole = predict(&weights, &input, &["--json"]).ends_with(0).last_object();
    let labels: Vec<u64> =
        whole["label"].as_array().expect("a list").iter().filter_map(|l| l.as_u64()).collect();
    let right = FRESH.zip(&labels).filter(|(row, label)| u64::from(files::label(*row)) == **label).count();
    assert!(labels.len() == FRESH.len() && right > FRESH.len() / 2, "{right} of {labels:?} are right");
    for confidence in whole["confidence"].as_array().expect("a list") {
        assert!(confidence.as_f64().is_some_and(|c| (0.1..=1.0).contains(&c)), "{confidence}");
    }
    // One picture at a time is one row; a dozen threads change nothing.
    for (place, row) in FRESH.enumerate().take(3) {
        let picture = write(&folder, "one.png", files::png(28, 28, &files::digit(row)));
        let one = predict(&weights, &format!("image={picture}"), &["--json"]).ends_with(0).last_object();
        assert_eq!(one["label"][0], whole["label"][place]);
        let difference = one["confidence"][0].as_f64().unwrap_or(f64::NAN)
            - whole["confidence"][place].as_f64().unwrap_or(f64::NAN);
        assert!(difference.abs() < 1e-5, "{one} is not row {place} of {whole}");
    }
    let threads = predict(&weights, &input, &["--json", "--threads", "12"]).ends_with(0).last_object();
    assert_eq!(threads, whole);
    // For people: a line a row.
    let plain = predict(&weights, &input, &[]).ends_with(0).out;
    assert_eq!(plain.lines().count(), FRESH.len());
    assert!(plain.starts_with(&format!("label {}  confidence 0.", labels[0])), "{plain}");
}

#[test]
fn the_result_can_be_a_file() {
    let (folder, weights) = (folder("predict_output"), trained().best());
    let images: Vec<u8> = FRESH.flat_map(files::digit).collect();
    let input = format!("image={}", array(&folder, "rows.npy", &[FRESH.len(), 28, 28, 1], images));
    let output = folder.join("labels.npy");
    let run = predict(&weights, &input, &["--output", text(&output)]).ends_with(0);
    assert_eq!(run.out, "");
    let labels = npy::read(&output).expect("an array");
    assert_eq!((labels.dtype, &labels.shape[..]), (DType::I32, &[FRESH.len()][..]));
    let shown = predict(&weights, &input, &["--json"]).ends_with(0).last_object();
    let shown: Vec<f64> =
        shown["label"].as_array().expect("a list").iter().filter_map(|l| l.as_f64()).collect();
    assert_eq!(labels.view().to_f64(), shown);
    predict(&weights, &input, &["--output", text(&folder.join("no/such/folder.npy"))]).fails(1, &["no/such"]);
}

#[test]
fn wrong_inputs_are_explained() {
    let (folder, weights) = (folder("predict_wrong"), trained().best());
    let good = array(&folder, "good.npy", &[28, 28, 1], files::digit(0));
    predict(&weights, &format!("image={good}"), &[]).ends_with(0);
    predict(&weights, &format!("picture={good}"), &[])
        .fails(2, &["no input `picture`; the inputs are `image`"]);
    let twice = format!("image={good}");
    predict(&weights, &twice, &["--input", &twice]).fails(2, &["`image` is given twice"]);
    predict(&weights, &twice, &["--predict", "other"]).fails(2, &["no predict item `other`; it has: digit"]);

    let small = array(&folder, "small.npy", &[2, 27, 28, 1], vec![0; 2 * 27 * 28]);
    predict(&weights, &format!("image={small}"), &[])
        .fails(1, &["axis 1 of input `image` must be 28, but it is 27"]);
    let flat = array(&folder, "flat.npy", &[784], vec![0; 784]);
    predict(&weights, &format!("image={flat}"), &[]).fails(1, &["`image` must have 4 axes", "[784]"]);
    let large = write(&folder, "large.png", files::png(30, 28, &[0; 30 * 28]));
    predict(&weights, &format!("image={large}"), &[]).fails(1, &["`image` must be 28, but it is 30"]);

    let halves = save(&folder, "halves.npy", &Tensor::from_f32(&[28, 28, 1], &[0.5; 784]));
    predict(&weights, &format!("image={halves}"), &[])
        .fails(1, &["`image` takes u8, but the file holds f32"]);
    // Whole numbers lose nothing.
    let whole = save(&folder, "whole.npy", &Tensor::from_f32(&[28, 28, 1], &[255.0; 784]));
    predict(&weights, &format!("image={whole}"), &[]).ends_with(0);

    predict(&weights, "image=nowhere.npy", &[]).fails(1, &["nowhere.npy"]);
    predict(&weights, "image=nowhere.gif", &[]).fails(2, &[".npy, .csv, .png or .jpg"]);
    let text_file = write(&folder, "text.npy", "no array");
    predict(&weights, &format!("image={text_file}"), &[]).fails(1, &["text.npy", "not an .npy file"]);
    let text_file = write(&folder, "text.png", "no picture");
    predict(&weights, &format!("image={text_file}"), &[]).fails(1, &["text.png", "cannot be decoded"]);
    let none = array(&folder, "none.npy", &[0, 28, 28, 1], vec![]);
    let run = predict(&weights, &format!("image={none}"), &["--json"]);
    assert!([Some(0), Some(1)].contains(&run.code) && !run.err.contains("panicked"), "no rows at all: {run}");
}

#[test]
fn weights_of_another_model_are_listed() {
    let (folder, weights) = (folder("weights_wrong"), trained().best());
    let input = format!("image={}", array(&folder, "good.npy", &[28, 28, 1], files::digit(0)));
    let foreign = weft(&["predict", "specs/mnist_cnn.weft", "--weights", &weights, "--input", &input]);
    let says = ["not those of `mnist_cnn`", "missing: Cnn.conv2d.weight", "unexpected: Mlp.dense.bias"];
    foreign.fails(1, &[&[&*weights][..], &says].concat());
    // The same names, other extents.
    let wide = weft(&["predict", MLP, "--set", "units=16", "--weights", &weights, "--input", &input]);
    wide.fails(
        1,
        &["different: ", "Mlp.dense.weight is f32[784, 32] in the file, but f32[784, 16] in the spec"],
    );
    let data = trained().data();
    let args = ["eval", "specs/mnist_cnn.weft", "--set", "width=4", "--data", &data, "--weights", &weights];
    weft(&args).fails(1, &says);
}

#[test]
fn damaged_weights_are_named() {
    let (folder, weights) = (folder("weights_damaged"), trained().best());
    let input = format!("image={}", array(&folder, "good.npy", &[28, 28, 1], files::digit(0)));
    let whole = std::fs::read(&weights).expect("the weights are there");
    let length_of_everything = [&[0xff; 8][..], &whole[8..]].concat();
    for (name, bytes) in [
        ("half.safetensors", &whole[..whole.len() / 2]),
        ("short.safetensors", &whole[..whole.len() - 1]),
        ("head.safetensors", &whole[..20]),
        ("empty.safetensors", &[]),
        ("text.safetensors", b"these are no weights at all"),
        ("huge.safetensors", &length_of_everything),
    ] {
        predict(&write(&folder, name, bytes), &input, &[]).fails(1, &[name]);
    }
    predict("nowhere.safetensors", &input, &[]).fails(1, &["nowhere.safetensors"]);
}

/// Constant ends of slices along an axis whose length is the caller's.
#[test]
fn slices_do_not_read_beyond_short_rows() {
    let folder = folder("predict_slices");
    let spec = "edition 2026
predict first(x: f32[n, t]) -> { y } { { y = x[:, :3] * 2.0 } }
predict last(x: f32[n, t]) -> { y } { { y = x[:, -3:] * 2.0 } }
predict fourth(x: f32[n, t]) -> { y } { { y = x[:, 3] * 2.0 } }
predict before(x: f32[n, t]) -> { y } { { y = sum(x[:, :-2], axis = 1) } }
predict reversed(x: f32[n, t]) -> { y } { { y = x[:, 2::-1] * 2.0 } }
";
    let spec = write(&folder, "slices.weft", spec);
    let run = |item: &str, row: &str| {
        let input = format!("x={}", write(&folder, "row.csv", row));
        weft(&["predict", &spec, "--predict", item, "--input", &input, "--json"])
    };
    let answers = [
        ("first", "[2.0,4.0,6.0]"),
        ("last", "[4.0,6.0,8.0]"),
        ("fourth", "8.0"),
        ("before", "3.0"),
        ("reversed", "[6.0,4.0,2.0]"),
    ];
    for (item, answer) in answers {
        let found = run(item, "1,2,3,4\n").ends_with(0).last_object();
        assert_eq!(found["y"][0].to_string(), answer, "{item}: {found}");
    }
    let wanted = [("first", 2, 3), ("last", 3, 3), ("fourth", 4, 4), ("before", 5, 2)];
    for (item, line, least) in wanted {
        let place = format!("slices.weft:{line}");
        run(item, "1\n").fails(1, &[&place, &format!("`t` must be {least} or more"), "f32[n, t]"]);
    }
    assert_eq!(run("before", "1,2\n").ends_with(0).last_object()["y"][0], 0.0);
}
