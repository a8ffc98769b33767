//! `weft emit` and `weft summary`.

use crate::harness::{fine, folder, has_numbers, weft, write};
use serde_json::Value;

const SPEC: &str = "tests/specs/small.weft";

#[test]
fn every_stage_is_printed_twice_alike() {
    for stage in ["ast", "typed", "graph", "optimized", "loops", "clif", "asm", "cuda", "cuda-source"] {
        for entry in ["train", "predict", "init", "train.evaluate"] {
            let args = ["emit", SPEC, "--stage", stage, "--entry", entry];
            let run = fine(&args);
            assert!(!run.out.trim().is_empty() && run.out.ends_with('\n'), "{run}");
            assert_eq!(run.err, "");
            assert_eq!(run.out, fine(&args).out, "{stage} of {entry} differs from run to run");
        }
    }
}

#[test]
fn forms_fit_the_stages() {
    for stage in ["ast", "typed", "graph", "optimized", "loops", "clif", "asm", "cuda", "cuda-source"] {
        let whole = fine(&["emit", SPEC, "--stage", stage, "--format", "json"]).out;
        let value: Value = serde_json::from_str(&whole).unwrap_or_else(|e| panic!("{stage}: {e}"));
        assert!(value.is_object(), "{stage}");
        assert_eq!(whole, fine(&["emit", SPEC, "--stage", stage, "--json"]).out);
        for (form, start) in [("dot", "digraph"), ("svg", "<svg")] {
            let args = ["emit", SPEC, "--stage", stage, "--format", form];
            if ["graph", "optimized"].contains(&stage) {
                let run = fine(&args);
                assert!(run.out.starts_with(start), "{run}");
                assert_eq!(run.out, fine(&args).out);
            } else {
                weft(&args).fails(2, &[&format!("`{stage}` has no {form} form")]);
            }
        }
    }
}

#[test]
fn the_tree_is_the_canonical_text_and_needs_no_sound_spec() {
    let folder = folder("emit_ast");
    let spec = write(&folder, "a.weft", "edition 2026\nmodel M(x:f32[n,8]){x|>nothing(4)}");
    let text = fine(&["emit", &spec, "--stage", "ast"]).out;
    let again = write(&folder, "b.weft", &text);
    assert_eq!(fine(&["emit", &again, "--stage", "ast"]).out, text);
    weft(&["emit", &spec, "--stage", "graph"]).fails(1, &["nothing is called `nothing` here"]);
    for name in ["mnist_mlp", "mnist_cnn", "autoencoder", "cifar_cnn"] {
        let text = fine(&["emit", &format!("specs/{name}.weft"), "--stage", "ast"]).out;
        let again = write(&folder, "again.weft", &text);
        assert_eq!(fine(&["emit", &again, "--stage", "ast"]).out, text, "{name}");
    }
}

/// Multiply-adds of a convolution with 3×3 kernels, as FLOPs.
fn convolution(side: i64, from: i64, to: i64) -> i64 {
    2 * side * side * to * 9 * from
}

#[test]
fn the_summary_counts_what_the_architecture_says() {
    let conv = |from: i64, to: i64| 9 * from * to + to;
    let dense = |from: i64, to: i64| from * to + to;
    // 28 → 26 → 13 → 11 → 5 → 3 pixels a side; the head sees 3 × 3 × 64 numbers.
    let parameters = conv(1, 32) + conv(32, 64) + conv(64, 64) + dense(3 * 3 * 64, 64) + dense(64, 10);
    assert_eq!(parameters, 93_322);
    let products =
        convolution(26, 1, 32) + convolution(11, 32, 64) + convolution(3, 64, 64) + 2 * (576 * 64 + 64 * 10);

    let summary = fine(&["summary", "specs/mnist_cnn.weft", "--json"]).last_object();
    assert_eq!(summary["parameters"], parameters);
    let flops = summary["flops"].as_i64().expect("a count");
    // What is not a product (biases, ReLU, pooling, softmax) is a few percent of it all.
    assert!((products..products + products / 20).contains(&flops), "{flops} against {products} of products");
    has_numbers(&summary, &["planned_bytes", "training_planned_bytes", "batch"]);
    let layers = summary["layers"].as_array().expect("a list");
    let own: Vec<(&str, i64)> = layers
        .iter()
        .filter_map(|l| Some((l["path"].as_str()?, l["parameters"].as_i64()?)))
        .filter(|(path, _)| path.contains('.'))
        .collect();
    let expected = [
        ("Cnn.conv2d", conv(1, 32)),
        ("Cnn.conv2d_2", conv(32, 64)),
        ("Cnn.conv2d_3", conv(64, 64)),
        ("Cnn.dense", dense(576, 64)),
        ("Cnn.dense_2", dense(64, 10)),
    ];
    assert_eq!(own, expected);

    let ten = fine(&["summary", "specs/mnist_cnn.weft", "--json", "--batch", "10"]).last_object();
    assert_eq!(ten["flops"], 10 * flops);
    assert!(ten["planned_bytes"].as_i64() > summary["planned_bytes"].as_i64());
}

#[test]
fn the_summary_reads_well() {
    let text = fine(&["summary", "specs/mnist_cnn.weft"]).out;
    for part in [
        "Cnn.conv2d_2",
        "conv2d(filters = 64, kernel = 3)",
        "f32[n, 11, 11, 64]",
        "18,496",
        "93,322 parameters",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}
