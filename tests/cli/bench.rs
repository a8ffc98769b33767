//! `weft bench`: what it prints, not how fast anything is.

use crate::harness::{fine, has_numbers, weft};
use crate::train::{MLP, NARROW, trained};
use serde_json::Value;

/// The keys of the last line, fixed for scripts.
const KEYS: [&str; 12] = [
    "batch",
    "threads",
    "median_ms",
    "p10_ms",
    "p90_ms",
    "flops",
    "gflops",
    "fma_peak_share",
    "planned_bytes",
    "task_bytes",
    "peak_rss_bytes",
    "read_bandwidth_gbs",
];

fn bench(more: &[&str]) -> Vec<Value> {
    let data = trained().data();
    fine(&[&["bench", MLP, "--set", NARROW, "--data", &data, "--repeats", "5", "--json"], more].concat())
        .objects()
}

#[test]
fn the_last_line_has_the_keys_that_scripts_read() {
    for (entry, batch) in [("train", 20), ("predict", 3)] {
        let number = batch.to_string();
        let objects = bench(&["--entry", entry, "--batch", &number, "--threads", "2"]);
        assert_eq!(objects.len(), 1);
        let last = &objects[0];
        has_numbers(last, &KEYS);
        assert_eq!(
            (&last["entry"], &last["batch"], &last["threads"]),
            (&entry.into(), &batch.into(), &2.into())
        );
        let ms = ["p10_ms", "median_ms", "p90_ms"].map(|k| last[k].as_f64().unwrap_or(f64::NAN));
        assert!(0.0 < ms[0] && ms[0] <= ms[1] && ms[1] <= ms[2], "{last}");
        // Products forward only, or forward and both ways back (but not to the image).
        let (wide, narrow) = (784 * 32, 32 * 16 + 16 * 10);
        let products = batch * 2 * if entry == "train" { 2 * wide + 3 * narrow } else { wide + narrow };
        let flops = last["flops"].as_i64().unwrap_or(0);
        assert!((products..2 * products).contains(&flops), "{flops} against {products} of products");
        assert!(last["fma_peak_share"].as_f64().is_some_and(|s| s > 0.0 && s < 1.0), "{last}");
    }
}

#[test]
fn the_profile_has_a_row_per_kernel_with_the_specs_line() {
    let objects = bench(&["--batch", "20", "--profile"]);
    let (last, rows) = objects.split_last().expect("something is printed");
    has_numbers(last, &KEYS);
    assert!(rows.len() > 5, "{rows:?}");
    let text = std::fs::read_to_string(crate::harness::root().join(MLP)).expect("the spec is there");
    for row in rows {
        has_numbers(row, &["us", "gflops", "gbs", "floor_us", "line"]);
        assert!(row["kernel"].is_string() && row["kind"].is_string());
    }
    // The first layer's product stands where the spec has the layer.
    let product =
        rows.iter().find(|r| r["kernel"] == "Mlp.dense" && r["kind"] == "contraction").expect("there is one");
    let line = product["line"]
        .as_u64()
        .and_then(|l| text.lines().nth(l as usize - 1))
        .expect("it is a line of the spec");
    assert!(line.contains("dense(units)"), "{line}");
    let plain =
        fine(&["bench", MLP, "--set", NARROW, "--data", &trained().data(), "--repeats", "5", "--profile"])
            .out;
    assert!(plain.contains("GFLOP/s") && plain.contains("median "), "{plain}");
}

#[test]
fn too_little_data_is_said() {
    let data = trained().data();
    let args = ["bench", MLP, "--set", NARROW, "--data", &data, "--batch", "1000"];
    weft(&args).fails(1, &["fewer than 1000 rows", "--batch N"]);
}
