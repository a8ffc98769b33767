//! `weft train` and `weft eval` on small data sets.

use crate::files;
use crate::harness::{Run, command, fine, folder, has_numbers, text, weft, write};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

/// What a training of the perceptron left, for all tests that need trained weights.
pub struct Trained {
    pub digits: PathBuf,
    pub out: PathBuf,
    pub run: Run,
}

impl Trained {
    pub fn best(&self) -> String {
        text(&self.out.join("best.safetensors")).to_owned()
    }

    pub fn data(&self) -> String {
        format!("digits={}", text(&self.digits))
    }
}

pub const MLP: &str = "specs/mnist_mlp.weft";
/// The perceptron is made narrow here.
pub const NARROW: &str = "units=32";

/// Trains once, for all tests of this process.
pub fn trained() -> &'static Trained {
    static TRAINED: OnceLock<Trained> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let digits = folder("digits");
        files::digits(&digits);
        let out = folder("trained");
        let data = format!("digits={}", text(&digits));
        let run = fine(&train(&data, &out, &["--json", "--epochs", "4", "--batch", "8", "--seed", "5"]));
        Trained { digits, out, run }
    })
}

fn train<'a>(data: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", MLP, "--set", NARROW, "--data", data, "--out", text(out)];
    args.extend(more);
    args
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn a_training_learns_and_tells_scripts() {
    let Trained { out, run, .. } = trained();
    let objects = run.objects();
    let end = run.last_object();
    assert_eq!((&end["event"], &end["epochs"]), (&Value::from("end"), &Value::from(4)), "{run}");
    has_numbers(&end, &["seconds"]);
    let last = run.out.lines().last().unwrap_or_default();
    assert!(last.starts_with("{\"event\":\"end\",\"epochs\":4,\"seconds\":"), "{last}");
    for part in ["train", "validation", "test"] {
        has_numbers(&end[part], &["loss", "accuracy"]);
    }
    // Blind guesses are right for one digit in ten.
    assert!(end["test"]["accuracy"].as_f64() > Some(0.8), "{run}");
    assert!(end["test"]["loss"].as_f64() < Some(1.5), "{run}");
    assert_eq!(objects[0]["event"], "start");
    let rows = &objects[0]["rows"];
    let expected = [files::TRAIN_ROWS, files::VALIDATION_ROWS, files::TEST_ROWS];
    assert_eq!(["train", "validation", "test"].map(|p| rows[p].as_u64()), expected.map(|n| Some(n as u64)));
    let epochs: Vec<&Value> = objects.iter().filter(|o| o["event"] == "epoch").collect();
    assert_eq!(epochs.len(), 4);
    for (epoch, number) in epochs.iter().zip(1..) {
        assert_eq!(epoch["epoch"], number);
        has_numbers(epoch, &["seconds", "samples_per_second"]);
        has_numbers(&epoch["train"], &["loss", "accuracy"]);
        has_numbers(&epoch["validation"], &["loss", "accuracy"]);
    }
    // What was kept is the epoch with the best validation accuracy, and those are the figures at the end.
    let best = epochs.iter().rfind(|e| e["best"] == true).expect("some epoch is the best");
    assert_eq!(end["best_epoch"], best["epoch"]);
    assert_eq!((&end["train"], &end["validation"]), (&best["train"], &best["validation"]));
    let highest = epochs.iter().filter_map(|e| e["validation"]["accuracy"].as_f64()).fold(0.0, f64::max);
    assert_eq!(end["validation"]["accuracy"].as_f64(), Some(highest));
    assert!(out.join("best.safetensors").is_file() && out.join("last.safetensors").is_file());
    assert_eq!(run.err, "");
}

#[test]
fn plain_lines_for_people() {
    let out = folder("train_plain");
    let run = fine(&train(&trained().data(), &out, &["--epochs", "2"]));
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines.iter().any(|l| l.starts_with("epoch   1  loss ")), "{run}");
    assert!(lines.iter().any(|l| l.starts_with("epoch   2  ") && l.contains("validation  loss ")), "{run}");
    assert!(lines.iter().any(|l| l.starts_with("test ") && l.contains("accuracy ")), "{run}");
    assert!(run.out.contains("2 epochs in ") && run.out.contains("last.safetensors"), "{run}");
    assert!(
        !run.out.contains('\u{1b}') && !run.err.contains('\u{1b}'),
        "colours where nobody sees them: {run}"
    );
}

#[test]
fn threads_do_not_change_a_bit_but_the_seed_does() {
    let data = trained().data();
    let weights = |name: &str, more: &[&str]| {
        let out = folder(name);
        let run = fine(&train(&data, &out, &[&["--json", "--epochs", "1"], more].concat()));
        (bytes(&out, "last.safetensors"), bytes(&out, "best.safetensors"), run.last_object()["test"].clone())
    };
    let one = weights("train_one_thread", &["--seed", "3", "--threads", "1"]);
    assert!(
        one == weights("train_two_threads", &["--seed", "3", "--threads", "2"]),
        "1 and 2 threads differ"
    );
    assert!(
        one.0 != weights("train_other_seed", &["--seed", "4", "--threads", "1"]).0,
        "the seed is ignored"
    );
}

#[test]
fn the_convolutional_specs_train_alike_on_every_thread_count() {
    let photos = folder("photos");
    files::photos(&photos, 12);
    let photos = format!("photos={}", text(&photos));
    for (name, data, width, rows) in [
        (
            "mnist_cnn",
            trained().data(),
            "width=4",
            [files::TRAIN_ROWS, files::VALIDATION_ROWS, files::TEST_ROWS],
        ),
        (
            "autoencoder",
            trained().data(),
            "units=8",
            [files::TRAIN_ROWS, files::VALIDATION_ROWS, files::TEST_ROWS],
        ),
        ("cifar_cnn", photos, "width=4", [60, 0, 12]),
    ] {
        let spec = format!("specs/{name}.weft");
        let [one, two] = ["1", "2"].map(|threads| {
            let out = folder(&format!("{name}_{threads}"));
            let args =
                ["train", &spec, "--set", width, "--data", &data, "--out", text(&out), "--epochs", "1"];
            let run = fine(&[&args[..], &["--batch", "16", "--json", "--threads", threads]].concat());
            let given = &run.objects()[0]["rows"];
            let given = ["train", "validation", "test"].map(|p| given[p].as_u64().unwrap_or(0) as usize);
            // A spec may hold rows out for validation where the files have no such part.
            assert_eq!((given[0] + given[1], given[2]), (rows[0] + rows[1], rows[2]), "{run}");
            let end = run.last_object();
            has_numbers(&end["test"], &["loss"]);
            assert!(out.join("best.safetensors").is_file(), "{run}");
            (bytes(&out, "last.safetensors"), end["train"].clone(), end["test"].clone())
        });
        assert!(one == two, "{name}: 1 and 2 threads differ: {:?} and {:?}", (one.1, one.2), (two.1, two.2));
    }
}

#[test]
fn evaluation_repeats_the_figures_of_the_training() {
    let trained = trained();
    let (data, best) = (trained.data(), trained.best());
    let args = ["eval", MLP, "--set", NARROW, "--data", &data, "--weights", &best];
    // The batch of the training: sums over batches are rounded batch by batch.
    let run = fine(&[&args[..], &["--json", "--batch", "8"]].concat());
    let end = run.last_object();
    assert_eq!(end["event"], "end");
    assert_eq!(end["test"], trained.run.last_object()["test"]);
    let plain = fine(&args).out;
    assert!(plain.starts_with("test ") && plain.contains("accuracy"), "{plain}");
    let another = fine(&[&args[..], &["--json", "--batch", "64", "--threads", "2"]].concat()).last_object();
    assert_eq!(another["test"]["accuracy"], end["test"]["accuracy"], "the batch decides nothing");
}

#[test]
fn a_training_can_go_on_from_weights() {
    let trained = trained();
    let out = folder("train_on");
    let (data, best) = (trained.data(), trained.best());
    let run = fine(&train(&data, &out, &["--json", "--epochs", "1", "--weights", &best]));
    let (before, after) = (trained.run.last_object(), run.last_object());
    assert!(after["train"]["loss"].as_f64() < before["train"]["loss"].as_f64().map(|l| 1.1 * l), "{run}");
    weft(&train(&data, &out, &["--weights", "nowhere.safetensors"])).fails(1, &["nowhere.safetensors"]);
}

#[test]
fn missing_data_says_which_files_to_put_where() {
    let empty = folder("no_data");
    let out = folder("no_data_out");
    let nowhere = empty.join("nowhere");
    let idx = [
        "train-images-idx3-ubyte[.gz]",
        "train-labels-idx1-ubyte[.gz]",
        "t10k-images-idx3-ubyte[.gz]",
        "--data digits=DIR",
    ];
    for (place, says) in [(&empty, "lacks"), (&nowhere, "does not exist")] {
        let data = format!("digits={}", text(place));
        weft(&train(&data, &out, &[])).fails(1, &[&[text(place), says][..], &idx].concat());
    }
    let photos = format!("photos={}", text(&empty));
    let args = ["train", "specs/cifar_cnn.weft", "--set", "width=4", "--data", &photos, "--out", text(&out)];
    weft(&args).fails(1, &["data_batch_1.bin", "test_batch.bin", "--data photos=DIR"]);
    let wrong = format!("digit={}", text(&trained().digits));
    weft(&train(&wrong, &out, &[])).fails(1, &["no data set is named `digit`; did you mean `digits`?"]);
}

#[test]
fn damaged_data_is_named() {
    let digits = folder("bad_digits");
    files::digits(&digits);
    let labels = digits.join("train-labels-idx1-ubyte");
    let bytes = std::fs::read(&labels).expect("it was written");
    std::fs::write(&labels, &bytes[..100]).expect("it can be written");
    let data = format!("digits={}", text(&digits));
    weft(&train(&data, &folder("bad_digits_out"), &[])).fails(1, &["train-labels-idx1-ubyte"]);
}

#[test]
fn images_of_another_size_are_explained() {
    let digits = folder("other_digits");
    files::digits_of(&digits, 20);
    let data = format!("digits={}", text(&digits));
    let says = ["`digits.image` is u8[20, 20, 1] in these files, but the spec says u8[28, 28, 1]"];
    weft(&train(&data, &folder("other_digits_out"), &[])).fails(1, &says);
}

/// Starts a training that takes too long, and gives it once its first epoch is over, with the rest of its output.
#[cfg(unix)]
fn endless(out: &Path) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    use std::io::BufRead;
    let data = trained().data();
    let args = train(&data, out, &["--json", "--epochs", "20000"]);
    let mut child =
        command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weft starts");
    let output = child.stdout.take().expect("it was asked for");
    let mut lines = std::io::BufReader::new(output).lines().map(|l| l.expect("the output is text"));
    let first = lines.find(|l| l.contains("\"epoch\":1"));
    assert!(first.is_some(), "the training ended without an epoch");
    (child, lines)
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_a_training_with_its_weights_saved() {
    let out = folder("train_interrupted");
    let (child, lines) = endless(&out);
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill starts").success());
    let last = lines.last().expect("it says how it ended");
    let end: Value = serde_json::from_str(&last).expect("the last line is an object");
    assert_eq!((&end["event"], &end["ending"]), (&Value::from("end"), &Value::from("interrupted")), "{end}");
    assert!(end["epochs"].as_u64() >= Some(1), "{end}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    let last = text(&out.join("last.safetensors")).to_owned();
    let data = trained().data();
    fine(&["eval", MLP, "--set", NARROW, "--data", &data, "--weights", &last]);
}

#[test]
#[cfg(unix)]
fn a_training_whose_reader_leaves_goes_on_to_its_end() {
    let folder = folder("train_unread");
    let data = trained().data();
    for how in ["--json", "--seed=5"] {
        let out = folder.join(how);
        let args = train(&data, &out, &[how, "--epochs", "3"]);
        let mut child =
            command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weft starts");
        // Nobody reads: the first line finds the pipe closed, as that of `weft train … | head -1` does a while later.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && !said.contains("error"), "{said}");
        let last = text(&out.join("last.safetensors")).to_owned();
        fine(&["eval", MLP, "--set", NARROW, "--data", &data, "--weights", &last]);
    }
}

#[test]
fn weights_go_to_runs_when_nothing_else_is_said() {
    let here = folder("train_default");
    let spec = crate::harness::root().join(MLP);
    let data = trained().data();
    let args = ["train", text(&spec), "--set", NARROW, "--data", &data, "--epochs", "1", "--json"];
    let output = command(&args).current_dir(&here).output().expect("weft starts");
    assert!(output.status.success(), "{output:?}");
    assert!(here.join("runs/mnist_mlp/best.safetensors").is_file());
}

#[test]
fn a_label_that_is_no_class_is_named() {
    let digits = folder("bad_labels");
    files::digits(&digits);
    let labels = digits.join("train-labels-idx1-ubyte");
    let mut bytes = std::fs::read(&labels).expect("it was written");
    bytes[50] = 200;
    std::fs::write(&labels, bytes).expect("it can be written");
    let data = format!("digits={}", text(&digits));
    let run = weft(&train(&data, &folder("bad_labels_out"), &["--epochs", "1"])).ends_with(1);
    for wanted in ["row 43 of the train part", "the `label` 200", "mnist_mlp.weft:", "takes 0 to 9"] {
        assert!(run.err.contains(wanted), "{wanted}: {run}");
    }
}

#[test]
fn a_folder_that_is_a_file_is_the_environments_failure() {
    let folder = folder("out_is_file");
    let file = write(&folder, "file", "");
    for out in [file.clone(), format!("{file}/deeper")] {
        let run = weft(&train(&trained().data(), Path::new(&out), &["--json"])).ends_with(3);
        assert!(run.err.contains("cannot make the folder") && run.err.contains(&file), "{run}");
    }
}

/// A `load` item takes first values from another training's file, under names of its own, or names what does not fit.
#[test]
fn a_load_item_gives_the_first_weights() {
    let folder = folder("load");
    let spec = |load: &str| {
        let text = std::fs::read_to_string(crate::harness::root().join(MLP)).expect("the spec is there");
        write(&folder, "loading.weft", format!("{text}\n{load}\n"))
    };
    let weights = trained().out.join("best.safetensors");
    std::fs::copy(&weights, folder.join("first.safetensors")).expect("the weights are there");
    let data = trained().data();
    let out = folder.join("out");
    let args = |spec: String| {
        [
            "train".to_owned(),
            spec,
            "--set".into(),
            NARROW.into(),
            "--data".into(),
            data.clone(),
            "--epochs".into(),
            "1".into(),
        ]
        .into_iter()
        .chain(["--out".to_owned(), text(&out).to_owned(), "--json".into()])
        .collect::<Vec<String>>()
    };
    let run = |spec: String| weft(&args(spec).iter().map(String::as_str).collect::<Vec<_>>());
    let plain = run(spec("load Mlp from \"first.safetensors\"")).ends_with(0);
    let ruled = run(spec("load Mlp from \"first.safetensors\" { \"Mlp.{layer}.weight\" -> {layer}.weight }"))
        .ends_with(0);
    let last = |run: &crate::harness::Run| run.out.lines().last().map(str::to_owned).unwrap_or_default();
    let loss =
        |line: &str| line.split("\"train\":").nth(1).map(|rest| rest.chars().take(30).collect::<String>());
    assert_eq!(loss(&last(&plain)), loss(&last(&ruled)));
    let fresh = run(spec("")).ends_with(0);
    assert_ne!(loss(&last(&plain)), loss(&last(&fresh)), "the loaded weights change the training");
    // One layer from a file that holds more, which must be left out by name.
    let whole = run(spec("load Mlp.dense from \"first.safetensors\"")).ends_with(1);
    assert!(whole.err.contains("`\"Mlp.dense_2.bias\" -> none` leaves one out"), "{}", whole.err);
    let part = "load Mlp.dense from \"first.safetensors\" { \"Mlp.dense_{i}\" -> none }";
    let part = run(spec(part)).ends_with(0);
    assert!(![loss(&last(&plain)), loss(&last(&fresh))].contains(&loss(&last(&part))));
    let wrong =
        run(spec("load Mlp from \"first.safetensors\" { \"other.{layer}.weight\" -> {layer}.weight }"))
            .ends_with(1);
    assert!(wrong.err.contains("missing: other.dense.weight"), "{wrong}");
}
