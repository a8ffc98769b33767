//! Weights as other tools save them: the specs' `load` items find every one, and the model gives what it gave there.

use crate::harness::{fine, folder, text, weft};
use std::path::PathBuf;
use weft_runtime::io::{npy, weights};

/// A spec in a folder of its own, with the golden file (see `tests/golden/pretrained.py`) where its `load` item looks.
struct Pretrained {
    folder: PathBuf,
    spec: String,
    golden: PathBuf,
}

impl Pretrained {
    fn new(spec: &str, golden: &str, place: &str) -> Pretrained {
        let folder = folder(&format!("pretrained_{golden}"));
        let root = crate::harness::root();
        let golden = root.join("tests/golden/pretrained").join(format!("{golden}.safetensors"));
        let copy = folder.join(format!("{spec}.weft"));
        std::fs::copy(root.join("specs").join(format!("{spec}.weft")), &copy).expect("the spec is there");
        let target = folder.join(place);
        std::fs::create_dir_all(target.parent().expect("a file lies in a folder"))
            .expect("the folder can be made");
        std::fs::copy(&golden, target).expect("the golden file is there");
        Pretrained { spec: text(&copy).to_owned(), folder, golden }
    }

    /// Runs a prediction on the golden inputs; gives its numbers and those that are due.
    fn predict(&self, item: &str) -> (Vec<f64>, Vec<f64>) {
        let file = weights::read(&self.golden).expect("the golden file can be read");
        let out = self.folder.join("out.npy");
        let mut args = vec!["predict".to_owned(), self.spec.clone(), "--predict".into(), item.into()];
        for setting in file.metadata["settings"].split(' ') {
            args.extend(["--set".into(), setting.into()]);
        }
        for (name, tensor) in &file.tensors {
            if let Some(input) = name.strip_prefix("input.") {
                let path = self.folder.join(format!("{input}.npy"));
                npy::write(&path, tensor.view()).expect("the input can be written");
                args.extend(["--input".into(), format!("{input}={}", text(&path))]);
            }
        }
        args.extend(["--output".into(), text(&out).to_owned()]);
        fine(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let got = npy::read(&out).expect("the result can be read");
        assert_eq!(got.shape, file.tensors["output"].shape);
        (got.view().to_f64(), file.tensors["output"].view().to_f64())
    }
}

fn agree(got: &[f64], due: &[f64]) {
    for (place, (got, due)) in got.iter().zip(due).enumerate() {
        assert!((got - due).abs() <= 1e-4 * due.abs().max(1.0), "number {place} is {got}, not {due}");
    }
}

#[test]
fn t5_gives_the_logits_that_transformers_gives() {
    let case = Pretrained::new("t5_small", "t5", "data/t5-small/model.safetensors");
    let (got, due) = case.predict("logits");
    agree(&got, &due);
}

#[test]
fn bert_gives_the_sentence_vectors_that_transformers_gives() {
    let case = Pretrained::new("bert", "bert", "data/minilm/model.safetensors");
    let (got, due) = case.predict("vector");
    agree(&got, &due);
}

#[test]
fn weights_that_nothing_loads_are_asked_for() {
    let case = Pretrained::new("bert", "bert", "data/minilm/model.safetensors");
    let run = weft(&["predict", &case.spec, "--predict", "sentiment", "--input", "text=a film"]);
    run.fails(2, &["no `load` of the spec gives `Sentiment.head.weight` its value", "--weights FILE"]);
}
