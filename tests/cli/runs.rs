//! What a training leaves in its folder, and `weft compare`.

use crate::harness::{fine, folder, root, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use serde_json::Value;
use std::path::Path;

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn lines(folder: &Path) -> Vec<Value> {
    read(folder, "metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn figures_of_the_folder_are_those_that_were_told() {
    let trained = trained();
    let told = trained.run.objects();
    let told: Vec<&Value> = told.iter().filter(|o| o["event"] == "epoch").collect();
    let kept = lines(&trained.out);
    let (end, epochs) = kept.split_last().expect("there are lines");
    assert_eq!(epochs.len(), told.len());
    for (kept, told) in epochs.iter().zip(told) {
        for key in ["epoch", "train", "validation", "best"] {
            assert_eq!(kept[key], told[key], "{key}");
        }
    }
    let last = trained.run.last_object();
    for key in ["ending", "epochs", "best_epoch", "test"] {
        assert_eq!(end[key], last[key], "{key}");
    }
    // The spec that is left has the settings of the run, and is a spec.
    let spec = read(&trained.out, "spec.weft");
    assert!(spec.contains("setting units = 32"), "{spec}");
    fine(&["check", text(&trained.out.join("spec.weft"))]);
}

#[test]
fn a_second_training_into_a_folder_tells_nothing_of_the_first() {
    let out = folder("runs_twice");
    for epochs in ["3", "1"] {
        let data = trained().data();
        fine(&["train", MLP, "--set", NARROW, "--data", &data, "--out", text(&out), "--epochs", epochs]);
    }
    assert_eq!(lines(&out).iter().filter(|line| line["epoch"].is_number()).count(), 1);
    for part in ["train", "validation", "test"] {
        let files =
            std::fs::read_dir(out.join("tensorboard").join(part)).expect("TensorBoard's folder is there");
        assert_eq!(files.count(), 1, "{part}");
    }
}

#[test]
fn the_report_is_one_page_that_needs_no_network() {
    let page = read(&trained().out, "report.html");
    for wanted in [
        "<!doctype html>",
        "finished</span>",
        "data-lines=",
        "Mlp.dense_3",
        "setting units = 32",
        "class=\"matrix\"",
        "By class",
        "src=\"data:image/png;base64,",
        "digits from",
        "best.safetensors",
    ] {
        assert!(page.contains(wanted), "the page lacks {wanted}");
    }
    for external in ["src=\"http", "href=\"http", "url(http", "@import", "<link", "<iframe"] {
        assert!(!page.contains(external), "the page reads {external}");
    }
    assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
}

#[test]
fn a_run_whose_numbers_go_wrong_leaves_a_report_of_what_there_is() {
    let out = folder("runs_wrong");
    let spec = write(
        &out,
        "a<b.weft",
        read(&root().join("specs"), "mnist_mlp.weft").replace("rate = 1e-3", "rate = 1e30"),
    );
    let run = weft(&["train", &spec, "--set", NARROW, "--data", &trained().data(), "--out", text(&out)]);
    assert_eq!(run.code, Some(1), "{run}");
    let page = read(&out, "report.html");
    assert!(page.contains("failed</span>") && page.contains("class=\"failure\""), "{page}");
    assert!(page.contains("a&lt;b") && !page.contains("a<b"), "names are no markup");
    assert_eq!(lines(&out).last().expect("there is a line")["ending"], "failed");
}

#[test]
fn two_runs_are_compared() {
    let first = trained();
    let out = folder("runs_other");
    fine(&["train", MLP, "--set", "units=16", "--data", &first.data(), "--out", text(&out), "--epochs", "2"]);
    let page = text(&out).to_owned() + "/both.html";
    let run = fine(&["compare", text(&first.out), text(&out), "--html", &page]);
    for wanted in ["test accuracy", "best epoch", "- setting units = 32", "+ setting units = 16", "▁", "█"]
    {
        assert!(run.out.contains(wanted), "it lacks {wanted}:\n{run}");
    }
    let json = fine(&["compare", text(&first.out), text(&out), "--json"]).last_object();
    let accuracy =
        json["figures"].as_array().and_then(|all| all.iter().find(|f| f["figure"] == "test accuracy"));
    let accuracy = accuracy.expect("it has the accuracy");
    assert_eq!(accuracy["values"][0], first.run.last_object()["test"]["accuracy"]);
    assert_eq!(accuracy["higher_is_better"], true);
    let page = std::fs::read_to_string(page).expect("the page is written");
    assert!(page.contains("<ins>+ setting units = 16</ins>") && page.contains("data-lines="));
    weft(&["compare", text(&first.out), "/nonexistent"]).fails(1, &["metrics.jsonl", "the folder of a run"]);
}
