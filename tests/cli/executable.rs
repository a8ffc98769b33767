//! `weft build`: files that run by themselves, wherever they are put.

use crate::files;
use crate::harness::{Run, fine, folder, has_numbers, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use weft_runtime::io::{npy, weights};
use weft_runtime::program::DType;
use weft_runtime::tensor::Tensor;

pub const ROWS: std::ops::Range<usize> = 1000..1010;

/// The perceptron as an executable, in a folder where nothing else is.
pub fn digits(name: &str) -> PathBuf {
    let path = folder(name).join("digits");
    fine(&["build", MLP, "--set", NARROW, "--weights", &trained().best(), "--output", text(&path)]);
    path
}

/// Runs an executable in its own folder, without an environment.
pub fn run(executable: &Path, args: &[&str], input: &str) -> Run {
    run_in(executable, args, input, &[])
}

/// The same in an environment of these variables alone.
pub fn run_in(executable: &Path, args: &[&str], input: &str, environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(executable);
    command
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(executable.parent().expect("it lies in a folder"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = loop {
        match command.spawn() {
            // Another test started a process while this file was being written, and that one has it open for a moment.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(5))
            }
            started => break started.expect("it starts"),
        }
    };
    // It may end before it has read all.
    let _ = child.stdin.take().map(|mut to| to.write_all(input.as_bytes()));
    Run::of(args, child.wait_with_output().expect("it ends"))
}

pub fn rows(folder: &Path) -> String {
    let data = ROWS.flat_map(files::digit).collect();
    let path = folder.join("rows.npy");
    let tensor = Tensor { dtype: DType::U8, shape: vec![ROWS.len(), 28, 28, 1], data };
    npy::write(&path, tensor.view()).expect("the array can be written");
    text(&path).to_owned()
}

/// A row of pixels as JSON.
pub fn json_row(row: usize) -> String {
    let digit = files::digit(row);
    let lines: Vec<Vec<[u8; 1]>> = digit.chunks(28).map(|line| line.iter().map(|v| [*v]).collect()).collect();
    serde_json::json!({ "image": lines }).to_string()
}

#[test]
fn an_executable_answers_as_predict_does() {
    let digits = digits("executable");
    let home = digits.parent().expect("a folder");
    let rows = rows(home);
    let due = fine(&[
        "predict",
        MLP,
        "--set",
        NARROW,
        "--weights",
        &trained().best(),
        "--json",
        "--input",
        &format!("image={rows}"),
    ]);
    let own = run(&digits, &["predict", "--image", "rows.npy", "--json"], "").ends_with(0);
    assert_eq!(own.out, due.out);
    let one = run(&digits, &["predict", "--image", "rows.npy", "--json", "--threads", "1"], "").ends_with(0);
    assert_eq!(one.out, due.out);
    // For people, and from a picture.
    write(home, "one.png", files::png(28, 28, &files::digit(ROWS.start)));
    let plain = run(&digits, &["predict", "--image", "one.png"], "").ends_with(0).out;
    assert!(plain.starts_with("label ") && plain.contains("confidence 0."), "{plain}");
    // Other weights take the place of those that are built in.
    let last = trained().best();
    let given =
        run(&digits, &["predict", "--image", "rows.npy", "--json", "--weights", &last], "").ends_with(0);
    assert_eq!(given.out, due.out);
    // It takes nothing from the machine but the kernel: no interpreter loads libraries for it.
    if cfg!(target_os = "linux") {
        assert!(!is_loaded_by_another(&std::fs::read(&digits).expect("it can be read")));
    }
}

/// Does an ELF file name a program that loads libraries for it (a header of type `PT_INTERP`)?
fn is_loaded_by_another(elf: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte))
    };
    assert_eq!(&elf[..5], b"\x7fELF\x02");
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0);
    (0..count).any(|header| number(table + header * size, 4) == 3)
}

#[test]
fn a_table_is_read_by_both() {
    let folder = folder("executable_table");
    let spec = write(
        &folder,
        "sums.weft",
        "predict sums(x: f32[n, 3], y: f32[n]) -> { total } { { total = sum(x, axis = -1) + y } }\n",
    );
    let executable = folder.join("sums");
    fine(&["build", &spec, "-o", text(&executable)]);
    write(&folder, "x.csv", "a,b,c\n1,2,3\n\n4,5,6.5\n");
    write(&folder, "y.csv", "10\n20\n");
    let own = run(&executable, &["predict", "--x", "x.csv", "--y", "y.csv", "--json"], "").ends_with(0);
    assert_eq!(own.last_object(), serde_json::json!({ "total": [16.0, 35.5] }));
    let x = format!("x={}", text(&folder.join("x.csv")));
    let y = format!("y={}", text(&folder.join("y.csv")));
    assert_eq!(fine(&["predict", &spec, "--input", &x, "--input", &y, "--json"]).out, own.out);
    let rows = "{\"x\": [1, 2, 3], \"y\": 1}\n{\"y\": 0, \"x\": [0, 0, 0]}\n";
    let answers = run(&executable, &["predict"], rows).ends_with(0);
    assert_eq!(answers.out, "{\"total\":7.0}\n{\"total\":0.0}\n");
    write(&folder, "wrong.csv", "1,2,3\n4,5\n");
    run(&executable, &["predict", "--x", "wrong.csv", "--y", "y.csv"], "").fails(1, &["line 2", "2 numbers"]);
    run(&executable, &["predict", "--x", "x.csv"], "").fails(2, &["`y` is missing"]);
}

#[test]
fn rows_of_standard_input_are_answered_line_by_line() {
    let digits = digits("executable_rows");
    let rows = rows(digits.parent().expect("a folder"));
    let whole = run(&digits, &["predict", "--image", &rows, "--json"], "").ends_with(0).last_object();
    let lines: String = ROWS.map(|row| json_row(row) + "\n\n").collect();
    let answers = run(&digits, &["predict"], &lines).ends_with(0).objects();
    assert_eq!(answers.len(), ROWS.len());
    for (place, answer) in answers.iter().enumerate() {
        assert_eq!(answer["label"], whole["label"][place]);
        let difference = |key: &str| {
            (answer[key].as_f64().expect("a number") - whole[key][place].as_f64().expect("a number")).abs()
        };
        assert!(difference("confidence") < 1e-5);
    }
    // What came before a line that is no row is answered.
    let wrong = format!("{}\n{{\"image\": [1, 2]}}\n", json_row(ROWS.start));
    let ended = run(&digits, &["predict"], &wrong).ends_with(1);
    assert_eq!(ended.objects().len(), 1);
    assert!(ended.err.contains("line 2"), "{ended}");
    run(&digits, &["predict"], "{\"imag\": 1}\n").fails(1, &["line 1", "no input `imag`", "`image`"]);
    let flat = run(&digits, &["predict"], "{\"image\": [1, 2, 3]}\n");
    flat.fails(1, &["line 1", "`image` of one row has the shape [3], where [28, 28, 1] is wanted"]);
    run(&digits, &["predict"], "seven\n").fails(1, &["line 1", "no JSON object"]);
}

/// Code for older processors and for this very one gives the same answers.
#[test]
fn executables_are_made_for_other_processors() {
    let folder = folder("executable_targets");
    let rows = rows(&folder);
    let answers = |target: &str| {
        let path = folder.join(target);
        let weights = trained().best();
        let output = ["--output", text(&path), "--target", target];
        fine(&[&["build", MLP, "--set", NARROW, "--weights", &weights], &output[..]].concat());
        let told = run(&path, &["info", "--json"], "").ends_with(0).last_object();
        let features = told["features"].to_string();
        assert_eq!(
            features.contains("\"avx2\""),
            target != "baseline" && cfg!(target_arch = "x86_64"),
            "{told}"
        );
        run(&path, &["predict", "--image", &rows, "--json"], "").ends_with(0).out
    };
    let default = answers("x86-64-v3");
    assert_eq!(answers("native"), default);
    assert_eq!(answers("baseline"), default);
    let wrong = ["build", MLP, "--target", "pentium"];
    weft(&wrong).fails(2, &["pentium", "x86-64-v3", "native", "baseline"]);
}

#[test]
fn an_executable_says_what_it_is() {
    let digits = digits("executable_info");
    let told = run(&digits, &["info"], "").ends_with(0).out;
    for part in ["mnist_mlp", "parameters", "25,818", "x86-64-v3", "SHA-256", "model Mlp"] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    let told = run(&digits, &["info", "--json"], "").ends_with(0).last_object();
    assert_eq!(told["parameters"], 25818);
    assert_eq!(told["spec_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(told["weights_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(told["training"]["seed"], Value::from("5"));
    let flops = told["flops"].as_object().expect("by item").values().next().and_then(Value::as_f64);
    assert!(flops.is_some_and(|flops| (2.0 * 25_818.0..3.0 * 25_818.0).contains(&flops)), "{told}");
    assert_eq!(told["data"]["name"], "digits");
    assert!(told["data"]["rows"][0].as_u64().is_some_and(|rows| rows > 0), "{told}");
    let timed = run(&digits, &["bench", "--json"], "").ends_with(0).last_object();
    assert!(timed["median_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
    let help = run(&digits, &["predict", "--help"], "").ends_with(0).out;
    assert!(help.starts_with("The digit that an image shows, and how sure"), "the spec's own words:\n{help}");
    assert!(help.contains("--image <VALUE>") && help.contains("u8[n, 28, 28, 1]"), "{help}");
    run(&digits, &["predict", "--imag", "x"], "").fails(2, &["--image"]);
    run(&digits, &["predict", "--image", "none.npy"], "").fails(1, &["none.npy"]);
}

/// A file of weights may have more than predictions need.
#[test]
fn other_weights_may_be_those_of_more() {
    let digits = digits("executable_more_weights");
    let rows = rows(digits.parent().expect("a folder"));
    let mut all = weft_runtime::io::weights::read(Path::new(&trained().best())).expect("weights");
    all.tensors.insert("Critic.dense.weight".into(), Tensor::from_f32(&[2], &[1.0, 2.0]));
    let write = |name: &str, weights: &weft_runtime::io::weights::Weights| {
        let path = digits.with_file_name(name);
        let tensors = weights.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        weft_runtime::io::weights::write(&path, &tensors, &weights.metadata).expect("it can be written");
        text(&path).to_owned()
    };
    let more = write("more.safetensors", &all);
    let due = run(&digits, &["predict", "--image", &rows], "").ends_with(0).out;
    let found = run(&digits, &["predict", "--image", &rows, "--weights", &more], "").ends_with(0).out;
    assert_eq!(found, due);
    let lost = all.tensors.keys().rfind(|name| name.starts_with("Mlp")).expect("a weight").clone();
    all.tensors.remove(&lost);
    let less = write("less.safetensors", &all);
    let args = ["predict", "--image", &rows, "--weights", &less];
    run(&digits, &args, "").fails(1, &["missing", &lost]);
}

#[test]
fn an_executable_trains_its_weights_further() {
    let folder = folder("executable_train");
    let digits = folder.join("digits");
    let weights = trained().best();
    let build = ["build", MLP, "--set", NARROW, "--weights", &weights, "--output", text(&digits), "--train"];
    fine(&build);
    let data = &trained().digits;
    let given = |data: &str| {
        let args = ["train", "--data", data, "--epochs", "1", "--batch", "8", "--out", "finer", "--json"];
        run(&digits, &args, "")
    };
    let ended = given(text(data)).ends_with(0).last_object();
    assert_eq!((&ended["event"], &ended["epochs"]), (&Value::from("end"), &Value::from(1)), "{ended}");
    // It goes on where the weights were that are built in: the first epoch of their own training is far from that.
    let objects = trained().run.objects();
    let first = objects.iter().find(|object| object["event"] == "epoch").expect("an epoch");
    let loss = |object: &Value| object["train"]["loss"].as_f64().expect("a loss");
    assert!(loss(&ended) < 0.8 * loss(first), "{ended} after {first}");
    let finer = text(&folder.join("finer/best.safetensors")).to_owned();
    let rows = rows(&folder);
    let predict = ["predict", "--image", &rows, "--json"];
    let before = run(&digits, &predict, "").ends_with(0).out;
    let after = run(&digits, &[&predict[..], &["--weights", &finer]].concat(), "").ends_with(0).out;
    assert_ne!(after, before);
    let image = format!("image={rows}");
    let due = fine(&["predict", MLP, "--set", NARROW, "--weights", &finer, "--input", &image, "--json"]).out;
    assert_eq!(after, due);
    // The start is kept, and is what was built in.
    let start = text(&folder.join("finer/start.safetensors")).to_owned();
    let started = run(&digits, &[&predict[..], &["--weights", &start]].concat(), "").ends_with(0).out;
    assert_eq!(started, before);
    given("digit=none").fails(2, &["no data set `digit`", "digits"]);
    given("none").fails(1, &["none"]);
    run(&digits, &["train", "--out", "other"], "").fails(1, &["data/mnist", "--data digits=DIR"]);
}

/// Weights of i8 and bf16: what they cost is measured on the spec's data, and too much is refused.
#[test]
fn narrow_weights_are_measured_and_refused_where_they_cost_too_much() {
    let folder = folder("executable_narrow");
    let (weights, data) = (trained().best(), trained().data());
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let build = |name: &str, data: &str, more: &[&str]| {
        let output = path(name);
        let args = ["build", MLP, "--set", NARROW, "--weights", &weights, "--data", data, "-o", &output];
        weft(&[&args[..], more].concat())
    };
    let wide = build("f32", &data, &["--json"]).ends_with(0).last_object();
    assert_eq!((&wide["dtype"], &wide["cost"]), (&Value::from("f32"), &Value::Null));
    let rows = rows(&folder);
    let answers =
        |name: &str| run(&folder.join(name), &["predict", "--image", &rows, "--json"], "").ends_with(0);
    let list = |object: &Value, key: &str| -> Vec<f64> {
        let values = object[key].as_array().expect("a list").iter();
        values.map(|value| value.as_f64().expect("a number")).collect()
    };
    let due = answers("f32").last_object();
    for (name, share) in [("bf16", 0.6), ("int8", 0.35)] {
        let narrow =
            build(name, &data, &["--dtype", name, "--json", "--allow-loss", "5"]).ends_with(0).last_object();
        assert_eq!(narrow["dtype"], name);
        let cost = &narrow["cost"];
        assert_eq!(
            (&cost["figure"], &cost["unit"]),
            (&"validation.accuracy".into(), &"points".into()),
            "{cost}"
        );
        has_numbers(cost, &["before", "after", "lost"]);
        let bytes = |object: &Value| object["weight_bytes"].as_f64().expect("a number");
        assert!(bytes(&narrow) < share * bytes(&wide), "{narrow} {wide}");
        let info = run(&folder.join(name), &["info"], "").ends_with(0).out;
        assert!(info.contains(&format!("{name}; validation.accuracy ")), "{info}");
        let got = answers(name).last_object();
        let pairs = |key: &str| list(&got, key).into_iter().zip(list(&due, key)).collect::<Vec<_>>();
        assert_eq!((pairs("label").len(), list(&due, "label").len()), (ROWS.len(), ROWS.len()));
        assert!(
            pairs("label").iter().filter(|(got, due)| got == due).count() + 1 >= ROWS.len(),
            "{got} {due}"
        );
        assert!(pairs("confidence").iter().all(|(got, due)| (got - due).abs() < 0.05), "{got} {due}");
        // The command answers with weights that come as they are; bf16 is the same either way.
        let image = format!("image={rows}");
        let args = [
            "predict",
            MLP,
            "--set",
            NARROW,
            "--weights",
            &weights,
            "--dtype",
            name,
            "--input",
            &image,
            "--json",
        ];
        let plain = fine(&args);
        if name == "bf16" {
            assert_eq!(plain.out, answers(name).out);
        }
        // Other weights are narrowed as they are read.
        run(&folder.join(name), &["predict", "--image", &rows, "--weights", &weights], "").ends_with(0);
    }
    let said = build("said", &data, &["--dtype", "int8", "--allow-loss", "5"]).ends_with(0).out;
    assert!(
        said.contains("int8 weights: validation.accuracy ") && said.contains("at most 5 allowed"),
        "{said}"
    );
    // As if anything at all were too much.
    let harsh = ["--dtype", "int8", "--allow-loss=-50"];
    build("refused", &data, &harsh)
        .fails(4, &["cost too much: validation.accuracy", "--allow-loss", "--force"]);
    assert!(!folder.join("refused").exists());
    build("forced", &data, &[&harsh[..], &["--force"]].concat()).ends_with(0);
    // Without data nobody knows.
    let absent = format!("digits={}", path("nowhere"));
    let int8 = ["--dtype", "int8"];
    build("blind", &absent, &int8).fails(1, &["cannot be measured", "nowhere", "--unmeasured"]);
    build("blind", &absent, &["--dtype", "int8", "--unmeasured"]).ends_with(0);
    let info = run(&folder.join("blind"), &["info"], "").ends_with(0).out;
    assert!(info.lines().any(|line| line.trim_end().ends_with(" int8")), "{info}");
    build("both", &data, &["--dtype", "int8", "--train"]).fails(2, &["needs weights of f32", "--dtype"]);
}

#[test]
fn a_damaged_executable_runs_nothing() {
    let folder = folder("executable_damaged");
    let digits = folder.join("digits");
    let told = fine(&[
        "build",
        MLP,
        "--set",
        NARROW,
        "--weights",
        &trained().best(),
        "--json",
        "--output",
        text(&digits),
    ])
    .last_object();
    let whole = std::fs::read(&digits).expect("it can be read");
    let rows = rows(&folder);
    let damaged = |name: &str, bytes: &[u8]| {
        let path = digits.with_file_name("damaged");
        std::fs::copy(&digits, &path).expect("it can be copied");
        std::fs::write(&path, bytes).expect("it can be written");
        let commands: [&[&str]; 4] =
            [&["info"], &["predict", "--image", &rows], &["serve", "--port", "0"], &["--help"]];
        for command in commands {
            let run = run(&path, command, "");
            assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{name}: {run}");
            assert!(run.err.contains("build it anew"), "{name}: {run}");
        }
    };
    // Where each part is: the code begins at the next border behind the stub, the weights are found by their values.
    let stub = told["stub_bytes"].as_u64().expect("a number") as usize;
    let code = stub.next_multiple_of(16 << 10);
    let kept = weights::read(trained().best().as_ref()).expect("they can be read");
    let largest = kept.tensors.values().max_by_key(|tensor| tensor.data.len()).expect("a tensor");
    let sample = &largest.data[..64];
    let weights = whole.windows(64).rposition(|bytes| bytes == sample).expect("they are in the file");
    assert!(code < weights && whole[code] != 0);
    let end = whole.len();
    for (name, end) in [
        ("the last byte", end - 1),
        ("a part of the footer", end - 17),
        ("the footer", end - 40),
        ("the manifest", end - 3000),
        ("the weights", weights + 1000),
        ("the code", code + 16),
        ("all but the runtime", stub),
    ] {
        damaged(name, &whole[..end]);
    }
    // One that needs the system's C library is begun by that library's loader, which asks nobody.
    let has_loader = whole[..4096].windows(8).any(|bytes| bytes == b"ld-linux");
    if cfg!(target_arch = "x86_64") && !has_loader {
        for end in [stub - 1, stub / 2, 100_000, 8192] {
            damaged(&format!("{end} of {stub} bytes of the runtime"), &whole[..end]);
        }
    }
    damaged("something behind it", &[&whole, &b"\n"[..]].concat());
    damaged("twice", &[&whole[..], &whole[stub..]].concat());
    damaged("a piece out of the middle", &[&whole[..weights], &whole[weights + 4096..]].concat());
    let spots = [code, code + 100, weights, weights + 4000, end - 2000, end - 900];
    for at in spots.into_iter().chain(end - 40..end) {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        damaged(&format!("byte {at} of {end}"), &changed);
    }
}

#[test]
fn what_cannot_be_built_says_why() {
    let folder = folder("executable_wrong");
    let spec = write(&folder, "none.weft", "fn twice(x: f32[...]) { x + x }\n");
    weft(&["build", &spec]).fails(1, &["nothing that an executable could do"]);
    weft(&["build", MLP, "--set", NARROW]).fails(2, &["no weights", "--weights"]);
    let output = folder.join("none/digits");
    weft(&["build", MLP, "--set", NARROW, "--weights", &trained().best(), "-o", text(&output)])
        .fails(1, &["cannot write"]);
}
