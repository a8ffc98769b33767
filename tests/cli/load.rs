//! `load` of files that others wrote: Keras' three kinds, and files that lie.

use crate::harness::*;

/// The network of `tests/golden/hdf5.py`, by its own names.
const NET: &str = r#"
model Net(image: f32[n, 4, 4, 1]) -> f32[n, 3] {
    image |> stem: conv2d(2, kernel = 3) |> norm: batch_norm |> flatten |> dropout(0.5) |> head: dense(3)
}

predict scores(image: f32[n, 4, 4, 1]) -> { scores } {
    { scores = Net(image) }
}
"#;

const OLDER: &str = r#"
    "net/{layer}/kernel" -> {layer}.weight
    "net/{layer}/bias" -> {layer}.bias
    "net/{layer}/gamma" -> {layer}.scale
    "net/{layer}/beta" -> {layer}.bias
    "net/{layer}/moving_{what}" -> {layer}.moving_{what}
"#;

const NEWER: &str = r#"
    "layers/conv2d/vars/0" -> stem.weight
    "layers/conv2d/vars/1" -> stem.bias
    "layers/batch_normalization/vars/0" -> norm.scale
    "layers/batch_normalization/vars/1" -> norm.bias
    "layers/batch_normalization/vars/2" -> norm.moving_mean
    "layers/batch_normalization/vars/3" -> norm.moving_variance
    "layers/dense/vars/0" -> head.weight
    "layers/dense/vars/1" -> head.bias
"#;

/// What Keras answers to what `asked` asks; the script prints it.
const KERAS: [f64; 3] = [-898.93585, -1069.8464, -1240.7568];

/// A spec that loads a file, which lies beside it.
fn spec(folder: &std::path::Path, file: &str, rules: &str) -> String {
    let path = folder.join(format!("{}.weft", file.replace('.', "_")));
    std::fs::write(&path, format!("{NET}\nload Net from \"{file}\" {{{rules}}}\n"))
        .expect("it can be written");
    text(&path).to_owned()
}

/// The spec's answer to sixteen numbers.
fn asked(spec: &str, folder: &std::path::Path) -> Run {
    let image = folder.join("image.npy");
    // 0.0, 0.1, … 1.5
    let values: Vec<f32> = (0..16).map(|i| i as f32 / 10.0).collect();
    let tensor = weft_runtime::tensor::Tensor::from_f32(&[1, 4, 4, 1], &values);
    weft_runtime::io::npy::write(&image, tensor.view()).expect("it can be written");
    weft(&["predict", spec, "--input", &format!("image={}", text(&image)), "--json"])
}

#[test]
fn all_of_keras_files_load_and_answer_as_keras_does() {
    let folder = folder("load_keras");
    for (file, rules) in [("keras.h5", OLDER), ("keras.weights.h5", NEWER), ("keras.keras", NEWER)] {
        std::fs::copy(root().join("tests/golden/hdf5").join(file), folder.join(file)).expect("it is there");
        let answer = asked(&spec(&folder, file, rules), &folder).ends_with(0).last_object();
        let scores: Vec<f64> = answer["scores"][0]
            .as_array()
            .expect("a row")
            .iter()
            .map(|v| v.as_f64().expect("a number"))
            .collect();
        for (score, wanted) in scores.iter().zip(KERAS) {
            assert!((score - wanted).abs() < 1e-5 * wanted.abs(), "{file}: {scores:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named_before_anything_is_loaded() {
    let folder = folder("load_misfits");
    std::fs::copy(root().join("tests/golden/hdf5/keras.h5"), folder.join("keras.h5")).expect("it is there");
    let rules = OLDER.replace("net/{layer}/kernel", "net/{layer}/kernels");
    let run = asked(&spec(&folder, "keras.h5", &rules), &folder);
    run.fails(1, &["keras.h5", "missing: net/stem/kernels (the file has net/stem/kernel)", "unexpected"]);
    let wide = spec(&folder, "keras.h5", OLDER);
    let text = std::fs::read_to_string(&wide)
        .expect("it is there")
        .replace("dense(3)", "dense(4)")
        .replace("f32[n, 3]", "f32[n, 4]");
    std::fs::write(&wide, text).expect("it can be written");
    asked(&wide, &folder).fails(1, &["Net.head.weight is f32[8, 3] in the file, but f32[8, 4] in the spec"]);
}

#[test]
fn a_rule_that_transposes_says_what_it_makes_of_a_shape() {
    let folder = folder("load_transposed");
    let weight = |shape: &[usize]| weft_runtime::tensor::Tensor::from_f32(shape, &[0.5; 8]);
    let bias = weft_runtime::tensor::Tensor::from_f32(&[2], &[0.25; 2]);
    for (name, shape) in [("theirs", [2, 4]), ("ours", [4, 2]), ("other", [8, 1])] {
        let weight = weight(&shape);
        let tensors = [("0.weight", weight.view()), ("0.bias", bias.view())].into_iter().collect();
        weft_runtime::io::weights::write(
            &folder.join(name).with_extension("safetensors"),
            &tensors,
            &Default::default(),
        )
        .expect("it can be written");
    }
    let asked = |file: &str, rule: &str| {
        let spec = format!(
            "model N(x: f32[n, 4]) {{ x |> out: dense(2) }}\n\
             load N from \"{file}.safetensors\" {{ {rule} }}\n\
             predict y(x: f32[n, 4]) {{ {{ y = N(x), }} }}\n"
        );
        weft(&["predict", &write(&folder, "spec.weft", spec), "--input", "x=1,2,3,4", "--json"])
    };
    // One rule serves weight and bias: a vector has no axes to swap.
    let answer = asked("theirs", "\"0.{p}\" -> out.{p} transposed").ends_with(0).last_object();
    assert_eq!(answer["y"], serde_json::json!([[5.25, 5.25]]));
    asked("ours", "\"0.{p}\" -> out.{p} transposed").fails(
        1,
        &["N.out.weight is f32[4, 2] in the file, but f32[4, 2] in the spec (its rule transposes it to [2, 4]: leave out `transposed`"],
    );
    asked("other", "\"0.{p}\" -> out.{p} transposed").fails(
        1,
        &["N.out.weight is f32[8, 1] in the file, but f32[4, 2] in the spec (its rule transposes it to [1, 8])"],
    );
    asked("theirs", "\"0.{p}\" -> out.{p}").fails(
        1,
        &["N.out.weight is f32[2, 4] in the file, but f32[4, 2] in the spec (a rule with `transposed` brings it into this order)"],
    );
}

#[test]
fn without_weights_the_spec_must_load_all() {
    let folder = folder("load_nothing");
    let path = folder.join("nothing.weft");
    std::fs::write(&path, NET).expect("it can be written");
    asked(text(&path), &folder).fails(2, &["there are no weights to predict with", "--weights"]);
}

#[test]
fn files_that_lie_are_refused() {
    let folder = folder("load_lies");
    let whole = std::fs::read(root().join("tests/golden/hdf5/keras.h5")).expect("it is there");
    let header = |text: &str, data: usize| {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &vec![0; data]].concat()
    };
    let entry = |name: &str, from: usize, to: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{from},{to}]}}"#, (to - from) / 4)
    };
    let lies: [(&str, Vec<u8>); 6] = [
        ("cut.h5", whole[..whole.len() / 3].to_vec()),
        ("length.safetensors", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("overlap.safetensors", header(&format!("{{{},{}}}", entry("a", 0, 8), entry("b", 4, 12)), 12)),
        (
            "huge.safetensors",
            header(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, 4),
        ),
        ("nan.safetensors", header(r#"{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}"#, 4)),
        ("empty.safetensors", Vec::new()),
    ];
    for (name, bytes) in lies {
        std::fs::write(folder.join(name), bytes).expect("it can be written");
        asked(&spec(&folder, name, ""), &folder).fails(1, &[name]);
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = folder("load_nan");
    let path = folder.join("small.weft");
    let spec = "model Net(x: f32[n, 2]) { x |> dense(1) }\n\
                load Net from \"small.safetensors\"\n\
                predict scores(x: f32[n, 2]) { { scores = Net(x), } }\n";
    std::fs::write(&path, spec).expect("it can be written");
    let write = |name: &str, inside: &str, weight: &[f32]| {
        let weight = weft_runtime::tensor::Tensor::from_f32(&[2, 1], weight);
        let bias = weft_runtime::tensor::Tensor::from_f32(&[1], &[0.5]);
        let names = [format!("{inside}dense.weight"), format!("{inside}dense.bias")];
        let tensors = [(&*names[0], weight.view()), (&*names[1], bias.view())].into_iter().collect();
        weft_runtime::io::weights::write(&folder.join(name), &tensors, &Default::default())
            .expect("it can be written");
    };
    let ask = |more: &[&str]| weft(&[&["predict", text(&path), "--input", "x=1,2", "--json"], more].concat());
    write("small.safetensors", "", &[1.0, f32::NAN]);
    ask(&[]).fails(1, &["no numbers (NaN): dense.weight (1 of 2)"]);
    write("small.safetensors", "", &[1.0, 2.0]);
    assert_eq!(ask(&[]).ends_with(0).last_object()["scores"][0][0], 5.5);
    // The same in a file of our own.
    let own = folder.join("own.safetensors");
    write("own.safetensors", "Net.", &[f32::NAN, f32::NAN]);
    ask(&["--weights", text(&own)]).fails(1, &["no numbers (NaN): Net.dense.weight (2 of 2)"]);
    write("own.safetensors", "Net.", &[3.0, 2.0]);
    assert_eq!(ask(&["--weights", text(&own)]).ends_with(0).last_object()["scores"][0][0], 7.5);
}

/// The images of `tests/golden/cifar_keras.py`: squares of one colour on a background of another, with noise.
fn squares(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut draw = |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % limit
    };
    let mut bytes = Vec::new();
    for _ in 0..count {
        let ground = [draw(256), draw(256), draw(256)];
        let ink = [draw(256), draw(256), draw(256)];
        let (top, left, size) = (draw(24), draw(24), 4 + draw(20));
        for y in 0..32 {
            for x in 0..32 {
                let inside = (top..top + size).contains(&y) && (left..left + size).contains(&x);
                let colour = if inside { ink } else { ground };
                bytes.extend(colour.map(|c| (c / 2 + draw(128)).min(255) as u8));
            }
        }
    }
    bytes
}

/// The weights are 11 MB that are not shipped; `specs/cifar_keras.weft` says where to get them.
#[test]
#[ignore = "needs specs/data/cnn_model.h5"]
fn a_real_network_of_keras_answers_as_keras_does() {
    let folder = folder("load_cifar");
    let image = folder.join("images.npy");
    let images = weft_runtime::tensor::Tensor::from_u8(&[100, 32, 32, 3], &squares(100));
    weft_runtime::io::npy::write(&image, images.view()).expect("it can be written");
    let input = format!("image={}", text(&image));
    let answer = fine(&["predict", "specs/cifar_keras.weft", "--input", &input, "--json"]).last_object();
    let golden = root().join("tests/golden/cifar_keras/scores.safetensors");
    let golden = weft_runtime::io::weights::read(&golden).expect("it is there");
    let wanted = golden.tensors["scores"].view().to_f64();
    let rows = answer["scores"].as_array().expect("rows");
    assert_eq!(rows.len(), 100);
    for (row, wanted) in rows.iter().zip(wanted.chunks(10)) {
        for (score, wanted) in row.as_array().expect("a row").iter().zip(wanted) {
            assert!((score.as_f64().expect("a number") - wanted).abs() < 1e-3, "{row} {wanted:?}");
        }
    }
}
