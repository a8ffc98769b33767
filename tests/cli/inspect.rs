//! `weft inspect`: its files, its table, its sums.

use crate::files;
use crate::harness::{Run, fine, folder, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use std::path::Path;
use weft_runtime::io::{npy, png};

/// A row that no part of the training data has.
const FRESH: usize = 1003;

fn inspect(out: &Path, more: &[&str]) -> Run {
    let weights = trained().best();
    weft(&[&["inspect", MLP, "--set", NARROW, "--weights", &weights, "--out", text(out)], more].concat())
}

fn array(out: &Path, name: &str) -> (Vec<usize>, Vec<f64>) {
    let tensor = npy::read(&out.join(name)).unwrap_or_else(|e| panic!("{e}"));
    (tensor.shape.clone(), tensor.view().to_f64())
}

#[test]
fn an_image_gets_pictures_and_arrays_that_add_up() {
    let out = folder("inspect");
    let digit = files::digit(FRESH);
    let picture = format!("image={}", write(&out, "digit.png", files::png(28, 28, &digit)));
    let run = inspect(&out, &["--input", &picture, "--path", "Mlp.dense", "--json"]).ends_with(0);
    let all = run.last_object();
    let row = &all["rows"][0];
    assert_eq!(row["class"], files::label(FRESH), "{run}");
    let score = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
    let rises = score("score") - score("baseline_score");
    // Completeness: what the pixels add makes up the difference of the scores.
    assert!((score("integrated_sum") - rises).abs() < 0.05 * rises.abs(), "{run}");
    let (shape, adds) = array(&out, "image.integrated_gradients.npy");
    assert_eq!(shape, [28, 28, 1]);
    assert!((adds.iter().sum::<f64>() - score("integrated_sum")).abs() < 1e-3 * rises.abs().max(1.0));
    // What is black at the baseline and in the input adds nothing.
    assert!(adds.iter().zip(&digit).all(|(a, pixel)| *pixel > 0 || *a == 0.0));
    let shown = png::read(&out.join("image.saliency.png"), 3).expect("a picture");
    assert!(shown.shape[1] > 3 * shown.shape[0], "input, map and both, side by side: {:?}", shown.shape);
    assert_eq!(array(&out, "weight.Mlp.dense.weight.npy").0, [784, 32]);
    assert_eq!(array(&out, "activation.Mlp.dense.npy").0, [32]);
    for file in row["files"].as_array().into_iter().chain(all["files"].as_array()).flatten() {
        assert!(Path::new(file.as_str().expect("a path")).is_file(), "{file}");
    }
    // Another class has another map.
    let other = ((files::label(FRESH) + 1) % 10).to_string();
    let run = inspect(&out, &["--input", &picture, "--class", &other, "--json"]).ends_with(0).last_object();
    assert!(run["rows"][0]["score"].as_f64() < Some(score("score")));
    assert_ne!(array(&out, "image.integrated_gradients.npy").1, adds);
}

#[test]
fn the_slope_is_that_of_finite_differences() {
    let folder = folder("inspect_slope");
    let spec = write(
        &folder,
        "line.weft",
        "model Net(x: f32[n, 3]) -> f32[n, 2] { x |> dense(4) |> tanh |> dense(2) }
         predict kind(x: f32[n, 3]) { argmax(softmax(Net(x))) }",
    );
    let weights = folder.join("w.safetensors");
    save(&weights);
    let base =
        ["inspect", &spec, "--weights", text(&weights), "--out", text(&folder), "--json", "--class", "1"];
    let score = |x: [f64; 3]| {
        let input = format!("x={},{},{}", x[0], x[1], x[2]);
        let row = fine(&[&base[..], &["--input", &input]].concat()).last_object();
        row["rows"][0].clone()
    };
    let here = [0.3, -0.8, 1.2];
    let found = score(here);
    for place in 0..3 {
        let moved = |by: f64| {
            let mut x = here;
            x[place] += by;
            score(x)["score"].as_f64().unwrap_or(f64::NAN)
        };
        let slope = (moved(0.01) - moved(-0.01)) / 0.02;
        let told = &found["inputs"][place];
        assert_eq!(told["input"], format!("x[{place}]"));
        assert!(
            (told["slope"].as_f64().unwrap_or(f64::NAN) - slope).abs() < 2e-3,
            "{place}: {slope}, {told}"
        );
    }
    let table = fine(&[&base[..4], &["--out", text(&folder), "--input", "x=0.3,-0.8,1.2"]].concat()).out;
    assert!(table.contains("x[1]    -0.8      -0.1"), "{table}");
}

/// Weights of the small net, by a formula.
fn save(weights: &Path) {
    use weft_runtime::tensor::Tensor;
    let shapes: [(&str, &[usize]); 4] = [
        ("Net.dense.weight", &[3, 4]),
        ("Net.dense.bias", &[4]),
        ("Net.dense_2.weight", &[4, 2]),
        ("Net.dense_2.bias", &[2]),
    ];
    let tensor = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| (i * 7 % 11) as f32 / 8.0 - 0.6).collect();
        Tensor::from_f32(shape, &values)
    };
    let tensors: Vec<(&str, Tensor)> = shapes.iter().map(|(path, shape)| (*path, tensor(shape))).collect();
    let views = tensors.iter().map(|(path, tensor)| (*path, tensor.view())).collect();
    weft_runtime::io::weights::write(weights, &views, &Default::default()).expect("weights are written");
}

#[test]
fn wrong_questions_are_answered_with_a_way_out() {
    let out = folder("inspect_wrong");
    let picture = format!("image={}", write(&out, "digit.png", files::png(28, 28, &files::digit(FRESH))));
    inspect(&out, &[]).fails(2, &["--input"]);
    inspect(&out, &["--path", "Mlp.dens"]).fails(2, &["`Mlp.dens`", "did you mean `Mlp.dense`?"]);
    inspect(&out, &["--input", &picture, "--class", "10"]).fails(2, &["no class 10", "from 0 to 9"]);
    inspect(&out, &["--input", &picture, "--result", "x"]).fails(2, &["no such result", "label, confidence"]);
    inspect(&out, &["--input", "image=1,2,3"]).fails(1, &["`image` must have 4 axes"]);
    // Weights alone need no input.
    let run = inspect(&out, &["--path", "Mlp.dense.bias"]).ends_with(0);
    assert_eq!(run.out.lines().count(), 2, "{run}");
}
