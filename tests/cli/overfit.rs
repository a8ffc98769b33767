//! `weft train --overfit-batch`: the verdict, and that nothing is left behind.

use crate::harness::{Run, folder, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use std::path::Path;

fn overfit(spec: &str, more: &[&str]) -> Run {
    let data = trained().data();
    weft(&[&["train", spec, "--data", &data, "--overfit-batch"], more].concat())
}

/// The perceptron's spec with another line in the place of one.
fn changed(folder: &Path, from: &str, to: &str) -> String {
    let spec = std::fs::read_to_string(crate::harness::root().join(MLP)).expect("the spec is there");
    assert!(spec.contains(from), "{from}");
    write(folder, "changed.weft", spec.replace(from, to))
}

#[test]
fn a_sound_spec_learns_a_batch_by_heart_and_leaves_nothing() {
    let run = overfit(MLP, &["150", "--set", NARROW, "--seed", "3"]).ends_with(0);
    assert!(run.out.contains("150 steps on one batch"), "{run}");
    assert!(run.out.contains("by heart"), "{run}");
    assert!(run.out.contains("\nstep    100  loss 0."), "{run}");
    assert!(!run.out.contains("weights in"), "{run}");
    let again = overfit(MLP, &["150", "--set", NARROW, "--seed", "3"]).ends_with(0);
    assert_eq!(run.out, again.out, "the same seed takes the same batch");
    overfit(MLP, &["9", "--out", "somewhere"]).fails(2, &["--overfit-batch", "--out"]);
    overfit(MLP, &["0"]).fails(2, &["0"]);
}

#[test]
fn what_cannot_learn_is_told_why() {
    let folder = folder("overfit");
    // Units that are all dead: nothing behind them moves.
    let dead = changed(&folder, "|> relu", "|> fn(x) { relu(x - 1e6) }");
    let run = overfit(&dead, &["40", "--json"]).ends_with(1);
    let end = run.last_object();
    assert_eq!(end["verdict"], "stuck", "{run}");
    let unmoved: Vec<&str> =
        end["unmoved_weights"].as_array().expect("a list").iter().filter_map(|w| w.as_str()).collect();
    assert!(unmoved.iter().any(|w| w.starts_with("Mlp.dense.")), "{run}");
    assert_eq!(
        run.objects().iter().filter(|o| o["event"] == "step").count(),
        6,
        "1, 2, 5, 10, 20, 40: {run}"
    );
    assert!(!folder.join("runs").exists() && !text(&folder).is_empty());
}
