//! Metrics from the first batch to the last line: collected rows, vectors and tables.

use crate::files;
use crate::harness::{fine, folder, text, write};
use serde_json::Value;

const SPEC: &str = "
model Net(image: f32[n, 28, 28, 1]) -> f32[n, 10] { image |> flatten |> dense(10) }

data digits = mnist(\".\") {
    image = f32(image) / 255
    split validation = 0.1
}

train {
    on digits as { image, label }
    batch = 8
    epochs = 2
    let logits = Net(image)
    minimize cross_entropy(logits, label) using sgd(rate = 0.1)
    measure auc(logits[:, 3], f32(label == 3)), class_auc(softmax(logits), label, average = each)
    measure confusion_matrix(logits, label), class_report(logits, label)
    keep best by validation.auc
}
";

/// A number, or all numbers of lists of lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(list) => list.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().expect("a figure is of numbers")],
    }
}

#[test]
fn figures_of_classes_are_tables_for_people_and_lists_for_scripts() {
    let folder = folder("metrics");
    files::digits(&folder);
    let spec = write(&folder, "net.weft", SPEC);
    let out = folder.join("out");
    let run = fine(&["train", &spec, "--out", text(&out), "--json"]);
    let end = run.last_object();
    for part in ["train", "validation", "test"] {
        let figures = &end[part];
        let area = figures["auc"].as_f64().unwrap_or(-1.0);
        assert!((0.0..=1.0).contains(&area), "{run}");
        assert_eq!(figures["class_auc"].as_array().map(Vec::len), Some(10), "{run}");
        let counts = figures["confusion_matrix"].as_array().expect("a table is a list of lists");
        let rows: Vec<f64> = counts.iter().map(|row| numbers(row).iter().sum()).collect();
        assert_eq!((rows.len(), &rows), (10, &numbers(&figures["class_report.support"])), "{run}");
    }

    // Whatever the batches, an epoch has the same rows, and the figures of ranks and counts are the same.
    let weights = out.join("best.safetensors");
    let evaluate = |more: &[&str]| {
        let mut args = vec!["eval", &spec, "--weights", text(&weights)];
        args.extend(more);
        fine(&args)
    };
    let one = evaluate(&["--json", "--batch", "8"]).last_object();
    for batch in ["1", "7", "1000"] {
        let other = evaluate(&["--json", "--batch", batch]).last_object();
        for figure in ["auc", "class_auc", "confusion_matrix"] {
            let (one, other) = (numbers(&one["test"][figure]), numbers(&other["test"][figure]));
            assert_eq!(one.len(), other.len());
            let same = one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(same, "{figure} in batches of {batch}: {other:?}, not {one:?}");
        }
    }

    let shown = evaluate(&[]).out;
    let line = |start: &str| -> Vec<&str> {
        let found = shown.lines().find(|line| line.trim_start().starts_with(start));
        found
            .unwrap_or_else(|| panic!("no line starts with `{start}`:\n{shown}"))
            .split_whitespace()
            .collect()
    };
    assert_eq!(line("class_report"), ["class_report", "precision", "recall", "f1", "support"]);
    assert_eq!(line("confusion_matrix")[1..], ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(!line("test").contains(&"confusion_matrix"), "{shown}");
}
