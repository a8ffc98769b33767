//! The standard library as a whole: nothing in it is without a golden case, and what golden files cannot say is tested here: noise, first
//! values that depend on one another, and the penalties of an evaluation.

use std::collections::{BTreeMap, HashSet};
use weft_compiler::check::{self, Options};
use weft_compiler::graph::Module;
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::{cuda, golden, specs};

/// Items that no golden case names, and why.
const WITHOUT_CASE: &[(&str, &[&str])] = &[
    (
        "parts of layers and initialisers, whose cases would show a mistake in them",
        &[
            "same_padding",
            "halves",
            "axis_padding",
            "axis_paddings",
            "transposed_extent",
            "cell_places",
            "cell_means",
            "cell_maxima",
            "ends",
            "interpolation",
            "standardise",
            "incoming_norm",
            "strongest",
            "angles",
            "fan_in",
            "fan_out",
            "inverse_erf",
            "product",
            "size",
        ],
    ),
    (
        "parts of losses and metrics, whose cases would show a mistake in them",
        &[
            "pick",
            "unless_ignored",
            "weight_of",
            "how_many",
            "answers",
            "confusion",
            "diagonal",
            "share_of",
            "class_average",
            "ranking",
            "in_order",
            "increments",
            "roc_area",
            "precision_area",
        ],
    ),
    (
        "noise, whose distribution is tested below",
        &["dropout", "spatial_dropout", "drop_path", "alpha_dropout", "gaussian_noise", "gaussian_dropout"],
    ),
    (
        "parts of recurrent layers and of `ctc_loss`, which have cases",
        &["log_add", "step_scale", "forget_bias", "backwards"],
    ),
    ("text, whose encodings are held against Hugging Face's in the runtime's tests", &["tokenize"]),
    (
        "what augments rows, whose distribution is tested in augmentation.rs",
        &[
            "random_between",
            "random_flip",
            "random_crop",
            "random_rotation",
            "random_affine",
            "random_brightness",
            "random_contrast",
            "random_saturation",
            "random_erasing",
            "cutout",
            "erased",
            "mixup",
            "cutmix",
            "random_share",
        ],
    ),
];

/// The names that declarations of library text make.
fn declared(text: &str) -> Vec<&str> {
    let kinds = ["fn", "layer", "model", "optimizer", "metric"];
    let heads = text.lines().filter_map(|line| line.split_once(' ')).filter(|(kind, _)| kinds.contains(kind));
    heads.filter_map(|(_, rest)| words(rest).next()).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn every_item_has_a_golden_case() {
    let read = |case: golden::Case| match (case.text, case.spec) {
        (Some(text), _) => text,
        (None, Some(path)) => std::fs::read_to_string(specs::root().join(path)).expect("the spec is there"),
        (None, None) => String::new(),
    };
    let cases: Vec<String> = golden::cases().into_iter().map(read).collect();
    let named: HashSet<&str> = cases.iter().flat_map(|text| words(text)).collect();
    let excused: HashSet<&str> = WITHOUT_CASE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let items: Vec<&str> = check::library().iter().flat_map(|(_, text)| declared(text)).collect();
    let missing: Vec<&&str> =
        items.iter().filter(|name| !named.contains(**name) && !excused.contains(**name)).collect();
    assert!(missing.is_empty(), "make golden cases for {missing:?} (tests/golden/README.md)");
    let gone: Vec<&&str> = excused.iter().filter(|name| !items.contains(name)).collect();
    assert!(gone.is_empty(), "{gone:?} are in WITHOUT_CASE, but not in the library");
}

fn module(text: &str, training: bool) -> Module {
    let checked = specs::check_text(text, &Options { training, ..Options::default() });
    let shown = specs::rendered(&checked);
    checked.module.unwrap_or_else(|| panic!("{shown}"))
}

// ---- noise

const ROWS: usize = 200;
const PLACES: usize = 10;
const CHANNELS: usize = 30;

/// The devices that run programs: a processor, and a GPU where kernels can be compiled.
fn compiled() -> Vec<Device> {
    let gpu = cuda::is_ready().then_some(Device::Cuda);
    gpu.into_iter().chain([Device::Cpu(2)]).collect()
}

/// What a layer makes of a constant tensor of `[ROWS, PLACES, CHANNELS]`; all devices must agree.
fn applied(layer: &str, constant: f32, training: bool) -> Vec<f64> {
    let text = format!("model Case(x: f32[n, {PLACES}, {CHANNELS}]) {{ x |> {layer} }}");
    let x = Tensor::from_f32(&[ROWS, PLACES, CHANNELS], &vec![constant; ROWS * PLACES * CHANNELS]);
    let inputs: Tensors =
        BTreeMap::from([("x".to_owned(), x), ("random".to_owned(), Tensor::from_i64(&[2], &[5, 7]))]);
    let run = |device| {
        let outputs = Machine::new(module(&text, training), device).run("predict", &inputs);
        outputs.into_values().next().expect("a model has a result")
    };
    let oracle = run(Device::Evaluator32);
    let results = compiled().into_iter().map(|device| {
        let result = run(device);
        let far = oracle.iter().zip(&result).any(|(a, b)| (a - b).abs() > 1e-5);
        assert!(!far, "{layer}: {device:?} differs");
        result
    });
    results.collect::<Vec<_>>().pop().expect("there is a processor")
}

/// (mean, deviation)
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, square.sqrt())
}

fn near(got: f64, expected: f64, bound: f64) -> bool {
    (got - expected).abs() <= bound
}

#[test]
fn an_evaluation_has_no_noise() {
    for layer in WITHOUT_CASE.iter().find(|(why, _)| why.contains("noise")).expect("there is noise").1 {
        assert!(applied(&format!("{layer}(0.3)"), 2.0, false).iter().all(|v| *v == 2.0), "{layer}");
    }
}

#[test]
fn dropout_keeps_the_mean() {
    // What is dropped together: (row, place, channel) → the group of a place.
    type Group = fn(usize, usize, usize) -> usize;
    let cases: [(&str, Group); 3] = [
        ("dropout", |n, t, c| (n * PLACES + t) * CHANNELS + c),
        ("spatial_dropout", |n, _, c| n * CHANNELS + c),
        ("drop_path", |n, _, _| n),
    ];
    for (layer, group) in cases {
        let y = applied(&format!("{layer}(0.3)"), 1.0, true);
        let mut groups: BTreeMap<usize, f64> = BTreeMap::new();
        for (i, v) in y.iter().enumerate() {
            assert!(near(*v, 0.0, 0.0) || near(*v, 1.0 / 0.7, 1e-6), "{layer}: {v}");
            let (n, t, c) = (i / (PLACES * CHANNELS), i / CHANNELS % PLACES, i % CHANNELS);
            let first = *groups.entry(group(n, t, c)).or_insert(*v);
            assert_eq!(first, *v, "{layer}: what belongs together is dropped together");
        }
        let dropped = groups.values().filter(|v| **v == 0.0).count() as f64 / groups.len() as f64;
        // Four deviations of a share of so many draws.
        let bound = 4.0 * (0.3 * 0.7 / groups.len() as f64).sqrt();
        assert!(near(dropped, 0.3, bound), "{layer} drops {dropped} of {}", groups.len());
    }
}

#[test]
fn noise_has_its_mean_and_deviation() {
    let (mean, deviation) = moments(&applied("gaussian_noise(0.2)", 3.0, true));
    assert!(near(mean, 3.0, 0.004) && near(deviation, 0.2, 0.004), "{mean} ± {deviation}");
    let (mean, deviation) = moments(&applied("gaussian_dropout(0.2)", 3.0, true));
    assert!(near(mean, 3.0, 0.03) && near(deviation, 1.5, 0.03), "{mean} ± {deviation}");
    // Of selu's outputs, alpha dropout keeps mean 0 and variance 1: of x = 1 and -1 together those of the noise alone.
    let (up, down) = (applied("alpha_dropout(0.2)", 1.0, true), applied("alpha_dropout(0.2)", -1.0, true));
    let (mean, deviation) = moments(&[up, down].concat());
    assert!(near(mean, 0.0, 0.02) && near(deviation, 1.0, 0.02), "{mean} ± {deviation}");
}

// ---- weights

/// The first effective weight of a dense layer with this argument, and the raw one.
fn first_weight(argument: &str, device: Device) -> (Vec<f64>, Vec<f64>) {
    let text = format!("model Case(x: f32[n, 40]) {{ x |> dense(30, bias = false, {argument}) }}");
    let mut machine = Machine::new(module(&text, false), device);
    let random = Tensor::from_i64(&[2], &[1, 0]);
    machine.run("init", &BTreeMap::from([("random".to_owned(), random)]));
    let identity: Vec<f32> = (0..1600).map(|i| f32::from(u8::from(i / 40 == i % 40))).collect();
    let inputs = BTreeMap::from([("x".to_owned(), Tensor::from_f32(&[40, 40], &identity))]);
    let effective = machine.run("predict", &inputs).into_values().next().expect("a model has a result");
    (effective, machine.get("Case.dense.weight"))
}

#[test]
fn a_first_value_reads_the_first_value_of_its_weight() {
    for device in compiled() {
        let (effective, weight) = first_weight("reparametrise = weight_norm", device);
        let far = effective.iter().zip(&weight).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-6, "weight_norm changes a first weight by {far} on {device:?}");
        let (effective, weight) = first_weight("reparametrise = spectral_norm", device);
        for (what, matrix, expected) in
            [("spectral_norm leaves", effective, 1.0), ("the raw weight has", weight, 1.5)]
        {
            let largest = largest_singular_value(&matrix, 40, 30);
            let fits = if expected == 1.0 { near(largest, 1.0, 0.05) } else { largest > 1.2 };
            assert!(fits, "{what} a largest singular value of {largest} on {device:?}");
        }
    }
}

fn largest_singular_value(matrix: &[f64], rows: usize, columns: usize) -> f64 {
    let mut v = vec![1.0; columns];
    let mut length = 0.0;
    for _ in 0..500 {
        let u: Vec<f64> =
            (0..rows).map(|i| (0..columns).map(|j| matrix[i * columns + j] * v[j]).sum()).collect();
        v = (0..columns).map(|j| (0..rows).map(|i| matrix[i * columns + j] * u[i]).sum()).collect();
        length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= length);
    }
    length.sqrt()
}

#[test]
fn an_evaluation_counts_penalties() {
    let text = |regularise: &str| {
        format!(
            "model Case(x: f32[n, 4]) -> f32[n, 2] {{ x |> dense(2, bias = false, init = constant(0.5){regularise}) }}
            data rows = mnist() {{ x = f32(image[0, :4, 0]) / 255 }}
            train {{
                on rows as {{ x, label }}
                batch = 3
                minimize cross_entropy(Case(x), label % 2) using sgd(rate = 0)
            }}"
        )
    };
    let figures = |regularise: &str, device: Device| {
        let mut machine = Machine::new(module(&text(regularise), false), device);
        let image = Tensor::from_u8(&[3, 28, 28, 1], &[9; 3 * 784]);
        let inputs = BTreeMap::from([
            ("rows.image".to_owned(), image.clone()),
            ("image".to_owned(), image),
            ("rows.label".to_owned(), Tensor::from_i32(&[3], &[0, 1, 2])),
            ("label".to_owned(), Tensor::from_i32(&[3], &[0, 1, 2])),
            ("random".to_owned(), Tensor::from_i64(&[2], &[1, 0])),
            ("step".to_owned(), Tensor::from_i64(&[], &[0])),
        ]);
        machine.run("init", &inputs);
        ["train.step", "train.evaluate"].map(|entry| {
            machine.reset();
            machine.run(entry, &inputs);
            machine.run(entry, &inputs);
            machine.run("train.report", &inputs)["loss"][0]
        })
    };
    for device in compiled() {
        let plain = figures("", device);
        // Eight elements of 0.5.
        for (place, figure) in figures(", regularise = l2(0.1)", device).iter().enumerate() {
            let due = plain[place] + 0.2;
            assert!(near(*figure, due, 1e-5), "{figure} is not {due} on {device:?}");
        }
    }
}
