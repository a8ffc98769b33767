//! Fit values: computed from the rows of the training part alone, and carried by the weights from then on.

use crate::harness::{fine, folder, root, text, write};
use std::path::Path;

const SPEC: &str = "
model Net(image: f32[n, 28, 28, 1]) -> f32[n, 10] { image |> flatten |> dense(10) }
fn scaled(image: u8[...]) { f32(image) / 255 }
data digits = mnist(\"data\") {
    image = scaled(image)
    fit centre = mean(image, axis = 0)
    fit spread = std(image)
    fit weights = class_weights(label, 10)
    image = (image - centre) / spread
}
train {
    on digits as { image, label }
    batch = 500
    let logits = Net(image)
    minimize { loss = cross_entropy(logits, label), weight = gather(digits.weights, label) } using sgd(0.1)
    measure accuracy(logits, label)
}
predict digit(image: u8[n, 28, 28, 1]) -> { label, centre } {
    { label = argmax(Net((scaled(image) - digits.centre) / digits.spread)), centre = sum(digits.centre) }
}
";

/// The shipped digits, with the files of one part from those of another.
fn digits(folder: &Path, parts: [&str; 3]) -> String {
    for (part, from) in ["train", "validation", "t10k"].into_iter().zip(parts) {
        for kind in ["images-idx3", "labels-idx1"] {
            let file = |part: &str| format!("{part}-{kind}-ubyte.gz");
            std::fs::copy(root().join("specs/data/mnist").join(file(from)), folder.join(file(part)))
                .expect("copied");
        }
    }
    format!("digits={}", text(folder))
}

/// The bytes of a tensor in a weights file.
fn tensor(file: &str, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("the weights are there");
    let size = u64::from_le_bytes(*bytes.first_chunk::<8>().expect("a header")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + size]).expect("JSON");
    let place = |i: usize| header[name]["data_offsets"][i].as_u64().expect("the tensor is there") as usize;
    bytes[8 + size + place(0)..8 + size + place(1)].to_vec()
}

#[test]
fn fit_values_come_from_the_training_rows_alone_and_travel_with_the_weights() {
    let home = folder("fit");
    let spec = write(&home, "fit.weft", SPEC);
    let part = |name: &str, parts: [&str; 3]| {
        let folder = home.join(name);
        std::fs::create_dir(&folder).expect("made");
        digits(&folder, parts)
    };
    let given = part("given", ["train", "validation", "t10k"]);
    let swapped = part("swapped", ["train", "t10k", "validation"]);
    let other = part("other", ["t10k", "validation", "train"]);
    let trained = |data: &str, name: &str| {
        let out = home.join(name);
        fine(&["train", &spec, "--data", data, "--out", text(&out), "--json"]);
        text(&out.join("last.safetensors")).to_owned()
    };
    let weights = trained(&given, "a");
    let (same, differs) = (trained(&swapped, "b"), trained(&other, "c"));
    for name in ["digits.centre", "digits.spread", "digits.weights"] {
        assert_eq!(tensor(&weights, name), tensor(&same, name), "{name} saw rows that are held out");
        assert_ne!(tensor(&weights, name), tensor(&differs, name), "{name}");
    }
    assert_eq!(tensor(&weights, "digits.rows"), 8000i64.to_le_bytes());

    // The test part measures the same, whatever the training part beside it is: nothing is computed again.
    let evaluated = |data: &str| {
        let run = fine(&["eval", &spec, "--weights", &weights, "--data", data, "--json"]);
        run.last_object()["test"].clone()
    };
    let beside = part("beside", ["validation", "validation", "t10k"]);
    assert_eq!(evaluated(&given), evaluated(&beside));
    assert!(evaluated(&given)["accuracy"].as_f64().is_some_and(|share| share > 0.7));
}
