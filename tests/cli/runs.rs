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

/// A figure's tag in an event file of TensorBoard's.
fn tagged(folder: &Path, tag: &str) -> bool {
    let files = std::fs::read_dir(folder.join("tensorboard/train")).expect("TensorBoard's folder is there");
    files.flatten().any(|file| {
        let bytes = std::fs::read(file.path()).expect("it can be read");
        bytes.windows(tag.len()).any(|window| window == tag.as_bytes())
    })
}

#[test]
fn a_run_tells_of_gradients_and_kernels_and_answers_without_a_predict_item() {
    let out = folder("runs_plain");
    let spec =
        "model Net(x: f32[n, 28, 28, 1]) -> f32[n, 10] { x |> flatten |> dense(16) |> relu |> dense(10) }
        data digits = mnist(\"none\") { image = f32(image) / 255  split validation = 0.2 }
        train {
            on digits as { image, label }
            batch = 32
            epochs = 3
            validate every 4 batches
            minimize cross_entropy(Net(image), label) using adam(rate = 1e-2)
            keep best by validation.loss
        }";
    let spec = write(&out, "plain.weft", spec);
    let run = fine(&["train", &spec, "--data", &trained().data(), "--out", text(&out), "--json"]);
    let kept = lines(&out);
    let (end, points) = kept.split_last().expect("there are lines");
    // Every fourth batch, counted on from epoch to epoch, and the end of each epoch.
    let rows = run.objects()[0]["rows"]["train"].as_u64().expect("the rows to train on");
    let batches = rows.div_ceil(32);
    let expected: Vec<(u64, Option<u64>)> = (0..3 * batches)
        .map(|done| (done / batches + 1, done % batches + 1))
        .filter(|(epoch, batch)| *batch == batches || ((epoch - 1) * batches + batch).is_multiple_of(4))
        .map(|(epoch, batch)| (epoch, Some(batch).filter(|batch| *batch < batches)))
        .collect();
    let within: Vec<(u64, Option<u64>)> = points
        .iter()
        .map(|point| (point["epoch"].as_u64().unwrap_or_default(), point["batch"].as_u64()))
        .collect();
    assert_eq!(within, expected);
    let told: Vec<Value> = run.objects().into_iter().filter(|o| o["best"].is_boolean()).collect();
    assert_eq!(told.len(), points.len());
    for (point, told) in points.iter().zip(&told) {
        let validation = |value: &Value| value["validation"]["loss"].as_f64();
        assert_eq!(validation(point), validation(told));
        let lengths = point["gradient_norms"].as_object().expect("there are gradients");
        let names: Vec<&String> = lengths.keys().collect();
        assert_eq!(lengths.len(), 4, "{names:?}");
        assert!(lengths.values().all(|length| length.as_f64() > Some(0.0)), "{lengths:?}");
    }
    assert_eq!(end["best_batch"], run.last_object()["best_batch"]);
    let page = read(&out, "report.html");
    for wanted in [
        "length of all gradients",
        "class=\"matrix\"",
        "<code>train.step</code>",
        "Net.dense",
        "The model, asked",
    ] {
        assert!(page.contains(wanted), "the page lacks {wanted}");
    }
    assert!(tagged(&out, "gradient norm/Net.dense.weight") && tagged(&out, "answers/right"));
}

#[test]
fn models_that_make_pictures_show_them_epoch_by_epoch() {
    let out = folder("runs_drawn");
    let spec = "model Encoder(image: f32[n, 28, 28, 1]) -> f32[n, 6] { image |> flatten |> dense(6) }
        model Decoder(code: f32[n, 6]) -> f32[n, 28, 28, 1] { code |> dense(784) |> sigmoid |> reshape([n, 28, 28, 1]) }
        data digits = mnist(\"none\") { image = f32(image) / 255 }
        train {
            on digits as { image }
            batch = 50
            epochs = 3
            minimize mean(mse(Decoder(Encoder(image)), image)) using adam(rate = 1e-2)
        }
        predict code(image: u8[n, 28, 28, 1]) -> { code } { { code = Encoder(f32(image) / 255) } }
        predict dream(noise: f32[n, 6]) -> { image } { { image = Decoder(noise) } }
        predict redraw(image: u8[n, 28, 28, 1]) -> { image } { { image = Decoder(Encoder(f32(image) / 255)) } }";
    let spec = write(&out, "drawn.weft", spec);
    let run = out.join("run");
    fine(&["train", &spec, "--data", &trained().data(), "--out", text(&run), "--epochs", "2"]);
    let file = |item: &str, epoch: usize| {
        std::fs::read(run.join(format!("samples/{item}/epoch-{epoch}.png"))).expect("it was drawn")
    };
    let before = ["dream", "redraw"].map(|item| [file(item, 1), file(item, 2)]);
    assert!(before.iter().all(|[one, two]| one != two), "an epoch changes what is drawn");
    // What goes on keeps what was drawn, and draws from the same rows and the same noise.
    fine(&["train", &spec, "--data", &trained().data(), "--resume", text(&run), "--epochs", "3"]);
    assert_eq!(["dream", "redraw"].map(|item| [file(item, 1), file(item, 2)]), before);
    let whole = out.join("whole");
    fine(&["train", &spec, "--data", &trained().data(), "--out", text(&whole), "--epochs", "3"]);
    for item in ["dream", "redraw"] {
        let name = format!("samples/{item}/epoch-3.png");
        assert!(std::fs::read(whole.join(&name)).ok() == std::fs::read(run.join(&name)).ok(), "{item}");
    }
    let page = read(&run, "report.html");
    for wanted in [
        "<code>predict dream</code>, from the same noise",
        "<code>predict redraw</code>, from the same rows",
        "Given, and drawn by the model",
        "code by label",
        "principal components of 6 numbers",
        "epoch 3</figcaption>",
    ] {
        assert!(page.contains(wanted), "the page lacks {wanted}");
    }
    assert!(tagged(&run, "samples/dream") && tagged(&run, "answers/given and drawn"));
}
