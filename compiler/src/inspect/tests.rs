//! Derivatives against finite differences, and what is found in graphs.

use super::*;
use crate::check::{Options, check};
use crate::evaluate::{Value, Values, evaluate};
use crate::graph::Module;

fn module(text: &str) -> Module {
    let mut loader = |_: &str| Ok(text.to_owned());
    let checked = check("main.weft", &mut loader, &Options::default());
    checked.module.unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
}

fn looked_into(text: &str, paths: &[&str]) -> (Module, Inspection) {
    let module = module(text);
    let entry = module.predictions.first().map(|p| p.entry.clone()).unwrap();
    let entry = module.entries.iter().find(|e| e.graph.name == entry).unwrap();
    let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
    let inspection = inspect(entry, None, &paths).unwrap();
    for entry in [&inspection.forward, &inspection.gradient] {
        crate::graph::verify(&entry.graph).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    }
    (module, inspection)
}

/// A value of every variable that is neither 0 nor alike anywhere.
fn variables(module: &Module) -> Values<f64> {
    let mut number = 0u32;
    let mut next = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(number >> 8) / f64::from(1 << 24) - 0.45
    };
    let value = |ty: &TensorType, next: &mut dyn FnMut() -> f64| {
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.as_constant().unwrap() as usize).collect();
        Value::generate(ty.dtype, &shape, |_| next())
    };
    module.variables.iter().map(|v| (v.path.clone(), value(&v.ty, &mut next))).collect()
}

const CNN: &str = "
model Cnn(image: f32[n, 8, 8, 1]) -> f32[n, 3] {
    image |> conv2d(4, kernel = 3) |> relu |> max_pool2d(2) |> conv2d(5, kernel = 2) |> tanh |> flatten |> dense(3)
}
predict kind(image: u8[n, 8, 8, 1]) -> { label, confidence } {
    let p = softmax(Cnn(f32(image) / 255))
    { label = argmax(p), confidence = max(p, axis = -1) }
}";

fn run(entry: &Entry, inputs: &Values<f64>, variables: &Values<f64>) -> Values<f64> {
    evaluate(&entry.graph, inputs, variables).unwrap().outputs
}

#[test]
fn derivatives_in_the_input_are_those_of_finite_differences() {
    let (module, looked) = looked_into(CNN, &[]);
    let variables = variables(&module);
    assert_eq!(looked.explained, "label");
    assert_eq!(looked.scores, Scores::Classes(Some(3)));
    assert_eq!(
        looked.leaves,
        [Leaf { input: "image".into(), name: "inspect.image".into(), embedded: false }]
    );
    let mut pixel = 7u32;
    let image = Value::generate(DType::U8, &[2, 8, 8, 1], |_| {
        pixel = pixel.wrapping_mul(75).wrapping_add(74) % 65_537;
        f64::from(pixel % 256)
    });
    let mut inputs = Values::from([("image".to_owned(), image)]);
    let seen = run(&looked.forward, &inputs, &variables);
    // Before the softmax: the scores are no probabilities.
    let scores = seen[SCORE].to_f64();
    assert!((scores[..3].iter().sum::<f64>() - 1.0).abs() > 1e-3, "{scores:?}");
    let x = seen["inspect.image="].to_f64();
    let class = Value::from_f64(DType::I32, &[2], &[2.0, 0.0]).unwrap();
    inputs.insert(CLASS.to_owned(), class);
    let mut at = |x: &[f64]| {
        let value = Value::from_f64(DType::F32, &[2, 8, 8, 1], x).unwrap();
        inputs.insert("inspect.image".to_owned(), value);
        run(&looked.gradient, &inputs, &variables)
    };
    let here = at(&x);
    assert_eq!(here[SCORE].to_f64(), [scores[2], scores[3]]);
    let gradient = here["inspect.image'"].to_f64();
    let step = 1e-4;
    for place in (0..x.len()).step_by(5) {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[place] += by;
            x
        };
        let difference: f64 = at(&moved(step))[SCORE].to_f64().iter().sum::<f64>()
            - at(&moved(-step))[SCORE].to_f64().iter().sum::<f64>();
        let slope = difference / (2.0 * step);
        assert!(
            (slope - gradient[place]).abs() < 1e-6 * slope.abs().max(1.0),
            "{place}: {slope} {}",
            gradient[place]
        );
    }
    assert!(gradient.iter().any(|g| g.abs() > 1e-3));
    // Grad-CAM looks at the second convolution, after its tanh, and is never negative.
    assert_eq!(looked.cam.as_deref(), Some("Cnn.conv2d_2"));
    assert_eq!(here[CAM].shape(), [2, 2, 2]);
    assert!(here[CAM].to_f64().iter().all(|v| *v >= 0.0));
}

#[test]
fn a_path_gives_the_result_of_its_layer() {
    let (module, looked) = looked_into(CNN, &["Cnn.conv2d", "Cnn", "Cnn.none"]);
    let paths: Vec<&str> = looked.activations.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["Cnn.conv2d", "Cnn"]);
    let image = Value::generate(DType::U8, &[1, 8, 8, 1], |at| (at[1] * 30 + at[2]) as f64);
    let seen = run(&looked.forward, &Values::from([("image".to_owned(), image)]), &variables(&module));
    assert_eq!(seen["inspect.activation.0"].shape(), [1, 6, 6, 4]);
    assert_eq!(seen["inspect.activation.1"], seen[SCORE]);
}

#[test]
fn attention_is_found_by_what_it_does() {
    let (module, looked) = looked_into(
        "model Reader(words: i32[n, t]) -> f32[n, 2] {
             let x = words |> embedding(11, 8)
             x + attention(heads = 2)(x) |> mean(axis = 1) |> dense(2)
         }
         predict tone(words: i32[n, 5]) { softmax(Reader(words)) }",
        &[],
    );
    let paths: Vec<&str> = looked.attention.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["Reader.attention"]);
    assert!(looked.cam.is_none());
    assert!(looked.leaves[0].embedded);
    let words = Value::from_f64(DType::I32, &[1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let seen = run(&looked.forward, &Values::from([("words".to_owned(), words)]), &variables(&module));
    let map = &seen["inspect.attention.0"];
    assert_eq!(map.shape(), [1, 2, 5, 5]);
    for row in map.to_f64().chunks(5) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    assert_eq!(seen["inspect.words="].shape(), [1, 5, 8]);
}

#[test]
fn results_that_are_no_classes_are_explained_too() {
    let one =
        "model M(x: f32[n, 3]) -> f32[n] { sum(x * x, axis = -1) } predict p(x: f32[n, 3]) { sigmoid(M(x)) }";
    let (_, looked) = looked_into(one, &[]);
    assert_eq!(looked.scores, Scores::One);
    let x = Value::from_f64(DType::F32, &[1, 3], &[1.0, 2.0, -3.0]).unwrap();
    let found = run(&looked.gradient, &Values::from([("x".to_owned(), x)]), &Values::new());
    // Before the sigmoid: the derivative of a square.
    assert_eq!(found["x'"].to_f64(), [2.0, 4.0, -6.0]);
    let drawn = "predict p(x: u8[n, 2, 2]) { u8(round(f32(x) * 0.5)) }";
    let (_, looked) = looked_into(drawn, &[]);
    assert_eq!(looked.scores, Scores::Sum);
}

#[test]
fn a_result_of_comparisons_has_no_slope() {
    let module = module("predict p(x: i32[n]) { x > 3 }");
    let entry = &module.entries[1];
    assert_eq!(inspect(entry, None, &[]).unwrap_err(), InspectError::NoSlope);
    let named = inspect(entry, Some("nothing"), &[]).unwrap_err();
    assert!(named.to_string().contains("there are: "), "{named}");
}
