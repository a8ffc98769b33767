//! `weft snapshot`: from the first files over changes and decisions to what is orphaned.

use crate::harness::{command, folder, root, text, weft};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

const SPEC: &str = "\
edition 2026

setting width = 8

model Net(x: f32[n, 4]) -> f32[n, 2] {
    x |> dense(width) |> relu |> dense(2)
}

predict net(x: f32[n, 4]) {
    softmax(Net(x))
}
";

/// Runs `weft snapshot` in a folder; the exit code and what it said on standard output and standard error.
fn snapshot(folder: &Path, args: &[&str], answers: &str) -> (Option<i32>, String) {
    let mut command = command(&[&["snapshot"], args].concat());
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("weft starts");
    // Who asks nothing may be gone before it is answered.
    let _ = child.stdin.take().expect("it is piped").write_all(answers.as_bytes());
    let output = child.wait_with_output().expect("weft ends");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("it is text");
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

/// It ends with this code and says all of this.
fn says(folder: &Path, args: &[&str], code: i32, parts: &[&str]) -> String {
    let (ended, said) = snapshot(folder, args, "");
    assert_eq!(ended, Some(code), "{args:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{args:?} does not say `{part}`:\n{said}");
    }
    said
}

/// A folder with one spec.
fn project(name: &str) -> std::path::PathBuf {
    let folder = folder(&format!("snapshot_{name}"));
    write(&folder, "net.weft", SPEC);
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the file can be written");
}

/// The names of the files in `snapshots/`.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn objects(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

const KEPT: &str = "net__graph_predict.net.snap";
const PENDING: &str = "net__graph_predict.net.snap.new";

#[test]
fn from_the_first_file_to_an_accepted_change() {
    let folder = project("flow");
    says(&folder, &["--check"], 1, &["net.weft: graph of predict.net is new", "snapshots: 1 new"]);
    assert!(files(&folder).is_empty(), "--check writes nothing");
    says(&folder, &[], 1, &["is new", "`weft snapshot --accept`"]);
    assert_eq!(files(&folder), [PENDING]);
    says(&folder, &["--accept"], 0, &["all settled"]);
    assert_eq!(files(&folder), [KEPT]);
    says(&folder, &[], 0, &["snapshots: 1 the same"]);
    let kept = std::fs::read_to_string(folder.join("snapshots").join(KEPT)).expect("it is there");
    assert!(kept.starts_with(
        "---\nsource: \"net.weft\"\nexpression: \"weft emit net.weft --stage graph --entry predict.net\"\n---\ngraph predict.net\n"
    ));

    write(&folder, "net.weft", &SPEC.replace("relu", "tanh").replace("width = 8", "width = 16"));
    let said = says(
        &folder,
        &["net.weft"],
        1,
        &[
            "net.weft: graph of predict.net has changed: ",
            "  Net.dense                     net.weft:6 | x |> dense(width) |> tanh |> dense(2)",
            "    ~ weight  f32[4, 8] → f32[4, 16]",
            "    ~ contract, broadcast, add  f32[n, 8] → f32[n, 16]",
            "    + %Net.tanh = tanh %Net.dense.add : f32[n, 16]",
            "    - %Net.relu.select = select",
            "~ contract  reads %Net.relu.select, %Net.dense_2.weight → %Net.tanh, %Net.dense_2.weight",
        ],
    );
    assert!(!said.contains("predict.net.softmax"), "what did not change is not shown:\n{said}");
    assert_eq!(files(&folder), [KEPT, PENDING]);
    // What is as it was again waits no longer.
    write(&folder, "net.weft", SPEC);
    says(&folder, &[], 0, &["1 the same"]);
    assert_eq!(files(&folder), [KEPT]);
}

#[test]
fn scripts_get_objects() {
    let folder = project("json");
    says(&folder, &["--accept"], 0, &[]);
    write(&folder, "net.weft", &SPEC.replace("|> relu ", ""));
    let found = objects(&says(&folder, &["--json"], 1, &[]));
    // Two linear layers in a row are worth a word.
    let [warning, change, sums] = &found[..] else { panic!("{found:?}") };
    assert_eq!(warning["code"], "W0404");
    assert_eq!((&change["spec"], &change["stage"]), (&"net.weft".into(), &"graph".into()));
    assert_eq!((&change["entry"], &change["status"]), (&"predict.net".into(), &"changed".into()));
    assert_eq!(change["paths"][0]["path"], "Net.dense_2");
    assert_eq!(change["paths"][0]["changed"][0]["node"], "Net.dense_2.contract");
    assert_eq!(change["paths"][0]["lines"][0]["line"], 6);
    assert_eq!(change["paths"][1]["removed"].as_array().map(Vec::len), Some(6));
    // What is gone stands on no line: the line is that of what read it.
    assert_eq!(change["paths"][1]["lines"][0]["line"], 6);
    assert_eq!((&sums["changed"], &sums["same"]), (&1.into(), &0.into()));
}

#[test]
fn stages_and_entries_that_are_kept_stay_compared() {
    let folder = project("stages");
    says(&folder, &["--accept", "--stage", "loops", "--stage", "typed", "--entry", "predict"], 0, &[]);
    says(&folder, &["--accept", "--stage", "optimized", "--entry", "init"], 0, &[]);
    let kept = ["net__loops_predict.net.snap", "net__optimized_init.snap", "net__typed.snap"];
    assert_eq!(files(&folder), kept);
    // The stages in use are those of the files; each has the spec's predictions.
    says(&folder, &["--check"], 1, &["optimized of predict.net is new", "3 the same, 1 new"]);
    // Where there are no nodes, lines are shown.
    write(&folder, "net.weft", &SPEC.replace("dense(2)", "dense(2, bias = false)"));
    says(&folder, &["--stage", "typed"], 1, &["typed has changed", "@@", "bias = false"]);
    says(&folder, &["--entry", "train"], 2, &["the spec has no entry `train`", "predict.net"]);
    // In a folder it is enough that some spec has the entry.
    write(&folder, "other.weft", &SPEC.replace("predict net", "predict other"));
    let said =
        says(&folder, &["--entry", "predict.other"], 1, &["graph of predict.other is new", ": 1 new;"]);
    assert!(!said.contains("has no entry"), "{said}");
    says(&folder, &["net.weft", "--entry", "predict.other"], 2, &["net.weft: the spec has no entry"]);
}

#[test]
fn settings_have_files_of_their_own() {
    let folder = project("settings");
    says(&folder, &["--accept"], 0, &[]);
    says(&folder, &["--accept", "--set", "width=16"], 0, &["1 new"]);
    assert_eq!(files(&folder), [KEPT, "net__graph_predict.net@width=16.snap"]);
    says(&folder, &["--check", "--set", "width=16"], 0, &["1 the same"]);
    says(&folder, &["--check", "--set", "wdth=16"], 1, &["E0108", "did you mean `width`?"]);
    // Who names no settings means all that there are files of.
    says(&folder, &["--check"], 0, &["2 the same"]);
    write(&folder, "net.weft", &SPEC.replace("relu", "tanh"));
    let found = objects(&says(&folder, &["--check", "--json"], 1, &[]));
    assert_eq!((&found[0]["settings"], &found[0]["status"]), (&json!({}), &"changed".into()));
    assert_eq!((&found[1]["settings"], &found[1]["status"]), (&json!({ "width": "16" }), &"changed".into()));
    write(&folder, "net.weft", &SPEC.replace("setting width", "setting units").replace("(width", "(units"));
    says(&folder, &["--check"], 1, &["1 the same, 1 orphaned", "net.weft has no setting width"]);
}

#[test]
fn changes_are_decided_one_by_one() {
    let folder = project("review");
    write(&folder, "other.weft", &SPEC.replace("net(", "other("));
    says(&folder, &["--accept"], 0, &["2 new"]);
    for name in ["net", "other"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.weft"))).expect("it is there");
        write(&folder, &format!("{name}.weft"), &text.replace("relu", "tanh"));
    }
    let (code, said) = snapshot(&folder, &["--review"], "what?\nd\na\n");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("+%Net.tanh = tanh") && said.matches("accept, reject").count() == 4, "{said}");
    // The first is kept; the second was left at the end of the answers, and waits.
    assert_eq!(
        files(&folder),
        [KEPT, "other__graph_predict.other.snap", "other__graph_predict.other.snap.new"]
    );
    says(&folder, &["net.weft"], 0, &[]);
    let (code, _) = snapshot(&folder, &["--review"], "r\n");
    assert_eq!(code, Some(1), "a rejected change is still one of the spec");
    assert_eq!(files(&folder), [KEPT, "other__graph_predict.other.snap"]);
    // What is orphaned stays or goes.
    std::fs::remove_file(folder.join("other.weft")).expect("it is there");
    let (code, said) = snapshot(&folder, &["--review"], "n\n");
    assert!(code == Some(1) && said.contains("there is no other.weft\nremove it? [y/n]"), "{said}");
    let (code, said) = snapshot(&folder, &["--review"], "y\n");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(files(&folder), [KEPT]);
}

/// Questions stand there before they are answered, and differences are painted.
#[test]
#[cfg(unix)]
fn a_terminal_shows_colours_and_asks() {
    let folder = project("terminal");
    says(&folder, &["--accept"], 0, &[]);
    write(&folder, "net.weft", &SPEC.replace("relu", "tanh"));
    let mut command = command(&["snapshot", "--review"]);
    command.current_dir(&folder).env("TERM", "xterm");
    let question = "accept, reject, skip or diff? [a/r/s/d] ";
    let (code, shown) = on_a_terminal(command, question, &["d", "?", "a"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\x1b[32m+ %Net.tanh = tanh %Net.dense.add : f32[n, 8]\x1b[0m"), "{shown}");
    assert!(shown.contains("\x1b[31m-%Net.relu.le"), "the difference in lines:\n{shown}");
    assert!(shown.matches(question).count() == 3 && shown.contains("all settled"), "{shown}");
    says(&folder, &["--check"], 0, &["1 the same"]);
}

/// Runs a command on a terminal of its own, and types an answer each time that it asks; how it ended, and what the terminal shows.
#[cfg(unix)]
fn on_a_terminal(
    mut command: std::process::Command,
    question: &str,
    answers: &[&str],
) -> (Option<i32>, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::io::Read;
    use std::os::unix::ffi::OsStringExt;
    use std::sync::mpsc;
    use std::time::Duration;

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("the terminal can be used");
    let name = ptsname(&ours, Vec::new()).expect("the terminal has a name").into_bytes();
    let path = std::ffi::OsString::from_vec(name);
    let theirs = std::fs::File::options().read(true).write(true).open(path).expect("the terminal opens");
    let again = || theirs.try_clone().expect("another handle");
    command.stdin(again()).stdout(again()).stderr(again());
    let mut child = command.spawn().expect("weft starts");
    // The terminal ends when nobody holds its other side any more.
    drop((command, theirs));
    let mut keys = std::fs::File::from(ours);
    let mut screen = keys.try_clone().expect("another handle");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            let _ = sender.send(bytes[..count].to_vec());
        }
    });
    let (mut shown, mut answered) = (Vec::new(), 0);
    loop {
        match receiver.recv_timeout(Duration::from_secs(120)) {
            Ok(bytes) => shown.extend(bytes),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().expect("it still runs");
                panic!("it says nothing more:\n{}", String::from_utf8_lossy(&shown));
            }
        }
        if String::from_utf8_lossy(&shown).matches(question).count() > answered {
            let answer = answers.get(answered).expect("it asks no more than there are answers");
            keys.write_all(format!("{answer}\n").as_bytes()).expect("it can be typed");
            answered += 1;
        }
    }
    let code = child.wait().expect("weft ends").code();
    (code, String::from_utf8_lossy(&shown).replace("\r\n", "\n"))
}

/// Every run of the command hashes with another seed, and gives the same bytes.
#[test]
fn runs_do_not_differ() {
    let folder = folder("snapshot_runs");
    for spec in ["mnist_mlp.weft", "autoencoder.weft"] {
        std::fs::copy(root().join("specs").join(spec), folder.join(spec)).expect("it can be copied");
    }
    let stages = ["--stage", "typed", "--stage", "graph", "--stage", "optimized", "--stage", "loops"];
    says(&folder, &[&["--accept"], &stages[..]].concat(), 0, &["14 new; all settled"]);
    for _ in 0..2 {
        says(&folder, &["--check"], 0, &["14 the same"]);
    }
}

#[test]
fn what_lost_its_spec_or_its_entry_is_named_and_goes() {
    let folder = project("orphans");
    write(&folder, "other.weft", SPEC);
    says(&folder, &["--accept"], 0, &[]);
    std::fs::remove_file(folder.join("other.weft")).expect("it is there");
    write(&folder, "net.weft", &SPEC.replace("predict net", "predict class"));
    // A test's own snapshot is none of ours.
    write(&folder.join("snapshots"), "mine.snap", "---\nsource: tests/mine.rs\n---\ntext\n");
    let orphans = ["net.weft has no entry predict.net", "orphaned, there is no other.weft"];
    says(&folder, &[], 1, &orphans);
    says(&folder, &["--check"], 1, &orphans);
    // Who names one spec asks about no other.
    let said = says(&folder, &["--check", "net.weft"], 1, &orphans[..1]);
    assert!(!said.contains("other"), "{said}");
    says(&folder, &["--accept"], 0, &["all settled"]);
    assert_eq!(files(&folder), ["mine.snap", "net__graph_predict.class.snap"]);
    // A spec that does not check orphans nothing, and the others are compared all the same.
    write(&folder, "net.weft", &SPEC.replace("relu", "rellu"));
    write(&folder, "whole.weft", SPEC);
    let said = says(&folder, &["--accept"], 1, &["E0101", "whole.weft: graph of predict.net is new"]);
    assert!(!said.contains("orphaned"), "{said}");
}

#[test]
fn wrong_usage_is_said() {
    let folder = folder("snapshot_usage");
    says(&folder, &[], 1, &["there is no .weft file here"]);
    says(&folder, &["--check", "--accept"], 2, &["--check"]);
    says(&folder, &["gone.weft"], 1, &["cannot read gone.weft"]);
    write(&folder, "layers.weft", "edition 2026\n\nlayer block(x: f32[n, d]) { x |> dense(4) }\n");
    says(&folder, &[], 0, &[]);
    says(&folder, &["layers.weft"], 0, &["layers.weft: neither trains nor predicts"]);
}

/// insta made the example's snapshot, in a test of that package; here `weft snapshot` finds it the same. And what `weft snapshot`
/// makes, insta finds the same.
#[test]
fn insta_and_weft_share_their_files() {
    let spec = "tests/example/digits.weft";
    weft(&["snapshot", spec, "--check"]).ends_with(0);
    let made = folder("snapshot_insta");
    std::fs::copy(root().join(spec), made.join("digits.weft")).expect("it can be copied");
    weft(&["snapshot", text(&made.join("digits.weft")), "--accept"]).ends_with(0);
    let read = |name: &str| std::fs::read_to_string(made.join(name));
    let stage = weft_compiler::stages::Stage::Graph;
    let graph = weft_compiler::stages::snapshot("digits.weft", read, stage, None).expect("it is sound");
    insta::with_settings!({ snapshot_path => made.join("snapshots"), prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("digits__graph_predict.digit", graph);
    });
    // What a failed assertion left waits for a decision of `weft snapshot` as well.
    let snapshots = made.join("snapshots");
    let pending = "digits__graph_predict.digit.snap.new";
    let left = "---\nsource: tests/specs.rs\nassertion_line: 10\nexpression: graph\n---\ngraph of before\n";
    write(&snapshots, "digits__graph_predict.digit.snap", left);
    write(&snapshots, pending, left);
    says(
        &made,
        &["--check"],
        1,
        &["graph of predict.digit has changed", "~ graph of before → graph predict.digit"],
    );
    says(&made, &["--accept"], 0, &["1 changed; all settled"]);
    assert_eq!(files(&made), ["digits__graph_predict.digit.snap"]);
}
