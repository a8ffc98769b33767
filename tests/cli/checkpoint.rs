//! Nothing is lost: runs that are killed, that meet a full disk, or that are gone on with under another spec.

use crate::harness::{Run, command, fine, folder, text, weft, write};
use crate::train::{MLP, trained};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A small training that saves after every third batch.
fn args<'a>(data: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", MLP, "--set", "units=8", "--data", data, "--batch", "8", "--seed", "5", "--json"];
    let saving = ["--checkpoint-every", "3", "--threads", "1", "--out", text(out)];
    [&fixed[..], &saving, more].concat()
}

fn weights(out: &Path) -> [Vec<u8>; 2] {
    ["best", "last"].map(|name| std::fs::read(out.join(format!("{name}.safetensors"))).expect("it was saved"))
}

/// How far the checkpoints of a run go; every one that is there can be read.
fn reached(out: &Path) -> Option<(usize, usize)> {
    let found = weft_runtime::train::peek(out).expect("a checkpoint can be read");
    found.map(|(_, state)| (state.epochs, state.batch))
}

/// The figures of a run's last line, without its time.
fn figures(run: &Run) -> String {
    let mut end = run.last_object();
    end["seconds"] = 0.into();
    end["weights"] = 0.into();
    end.to_string()
}

/// What an undisturbed run of so many epochs leaves.
fn undisturbed(name: &str, epochs: &str) -> ([Vec<u8>; 2], String) {
    let out = folder(name);
    let run = fine(&args(&trained().data(), &out, &["--epochs", epochs]));
    (weights(&out), figures(&run))
}

#[test]
#[cfg(unix)]
fn a_hundred_kills_lose_nothing() {
    let (expected, last_line) = undisturbed("killed_expected", "40");
    let (data, out) = (trained().data(), folder("killed"));
    let (mut random, mut kills, mut finished, mut before) = (7u64, 0, 0, None);
    while kills < 100 {
        let going_on = before.is_some();
        let more: &[&str] = if going_on { &["--resume"] } else { &["--epochs", "40", "--fresh"] };
        let mut child = command(&args(&data, &out, more))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("weft starts");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 200));
        let over = child.try_wait().expect("it can be asked").is_some();
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it ends");
        if over {
            assert!(status.success(), "a run that was gone on with fails: {status}");
            assert!(weights(&out) == expected, "after {kills} kills the bits differ");
            (finished, before) = (finished + 1, None);
            continue;
        }
        kills += 1;
        let now = reached(&out);
        assert!(!going_on || now >= before, "kill {kills}: from {before:?} back to {now:?}");
        before = now;
    }
    if before.is_some() {
        let run = fine(&args(&data, &out, &["--resume"]));
        assert_eq!(figures(&run), last_line);
        assert!(weights(&out) == expected, "after {kills} kills and {finished} ends the bits differ");
    }
}

#[test]
fn a_process_that_dies_at_any_write_lost_nothing() {
    let (expected, last_line) = undisturbed("failpoints_expected", "3");
    let (data, out) = (trained().data(), folder("failpoints"));
    for point in ["create", "write", "sync", "rename", "folder", "remove"] {
        // A file has some dozen pieces to write.
        let times = if point == "write" { [1, 60, 150, 400] } else { [1, 2, 4, 11] };
        for time in times {
            let place = format!("{point}:{time}=abort");
            let status = command(&args(&data, &out, &["--epochs", "3", "--fresh"]))
                .env("WEFT_FAILPOINT", &place)
                .output()
                .expect("weft starts")
                .status;
            let saved = reached(&out).is_some();
            // The first few files are those that describe the run.
            assert!(saved || time < times[3], "{place}: nothing was saved");
            if !status.success() {
                let run = fine(&args(&data, &out, if saved { &["--resume"] } else { &["--epochs", "3"] }));
                assert_eq!(figures(&run), last_line, "{place}");
            }
            assert!(weights(&out) == expected, "{place}: the bits differ");
        }
    }
}

#[test]
fn a_full_disk_is_said_and_costs_nothing_that_was_saved() {
    let (expected, _) = undisturbed("full_disk_expected", "3");
    let (data, out) = (trained().data(), folder("full_disk"));
    for (failure, says) in [("write:40=enospc", "no storage space"), ("sync:9=eio", "cannot write")] {
        let mut disturbed = command(&args(&data, &out, &["--epochs", "3", "--fresh"]));
        let output = disturbed.env("WEFT_FAILPOINT", failure).output().expect("weft starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(err.contains(says) && err.contains("cannot write"), "{err}");
        // It was told when it happened, and the training went on.
        assert!(told.contains("\"event\":\"warning\"") && told.contains("\"epoch\":3"), "{told}");
        assert!(reached(&out) >= Some((0, 3)), "the last good checkpoint is there");
        fine(&args(&data, &out, &["--resume"]));
        assert!(weights(&out) == expected, "{failure}: the bits differ");
    }
}

/// A run that was interrupted after its first epoch.
#[cfg(unix)]
fn left(name: &str) -> PathBuf {
    use std::io::BufRead;
    let (data, out) = (trained().data(), folder(name));
    let mut child = command(&args(&data, &out, &["--epochs", "20000"]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("weft starts");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    assert!(lines.any(|line| line.expect("the output is text").contains("\"epoch\":1")));
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill starts").success());
    let last = lines.last().expect("it says how it ended").expect("the output is text");
    assert!(
        last.contains("\"ending\":\"interrupted\"") && child.wait().expect("it ends").success(),
        "{last}"
    );
    out
}

#[test]
#[cfg(unix)]
fn an_unfinished_run_is_gone_on_with_or_moved_aside() {
    let out = left("left");
    let (epochs, batch) = reached(&out).expect("it was saved when it was interrupted");
    assert!(epochs >= 1);
    let data = trained().data();
    // One process at a time.
    let lock = std::fs::File::open(out.join(".lock")).expect("it is there");
    lock.lock().expect("nobody has it");
    weft(&args(&data, &out, &["--resume"])).fails(1, &["another process is training in", "--out"]);
    drop(lock);
    // With what its command line said, but for the epochs.
    let more = (epochs + 2).to_string();
    let run = fine(&["train", MLP, "--resume", text(&out), "--epochs", &more, "--json"]);
    let notes: Vec<String> =
        run.objects().iter().filter(|o| o["event"] == "note").map(|o| o["text"].to_string()).collect();
    assert!(notes.iter().any(|note| note.contains("where there were 20000")), "{run}");
    assert_eq!(
        run.last_object()["epochs"].as_u64(),
        Some(epochs as u64 + 2),
        "from {epochs}, {batch}: {run}"
    );
    let again = fine(&["train", MLP, "--resume", text(&out), "--json"]);
    assert!(again.out.contains("this run came to its end"), "{again}");
    assert_eq!(figures(&again), figures(&run));

    let out = left("left_aside");
    let aside = PathBuf::from(format!("{}.1", text(&out)));
    let _ = std::fs::remove_dir_all(&aside);
    let run = fine(&args(&data, &out, &["--epochs", "1"]));
    assert!(run.out.contains("an unfinished run was in") && run.out.contains("left_aside.1"), "{run}");
    assert!(reached(&aside) >= Some((1, 0)) && reached(&out) == Some((1, 0)));
    // A finished run gives way.
    fine(&args(&data, &out, &["--epochs", "2"]));
    assert!(!PathBuf::from(format!("{}.2", text(&out))).exists());
}

#[test]
#[cfg(unix)]
fn what_cannot_go_on_is_refused_with_a_way_out() {
    let (out, data) = (left("refused"), trained().data());
    let resume =
        |more: &[&str]| weft(&[&["train", MLP, "--resume", text(&out), "--epochs", "3"], more].concat());
    let run = resume(&["--set", "units=16"]).ends_with(1);
    for part in
        ["- setting units = 8", "+ setting units = 16", "Mlp.dense.weight is f32[784, 8]", "--weights"]
    {
        assert!(run.err.contains(part), "{part}: {run}");
    }
    let run = resume(&["--seed", "6"]).ends_with(1);
    assert!(run.err.contains("this run has the seed 5, not 6"), "{run}");
    let other = folder("refused_data");
    crate::files::digits(&other);
    let labels = other.join("train-labels-idx1-ubyte");
    let mut bytes = std::fs::read(&labels).expect("it was written");
    bytes[8..].reverse();
    std::fs::write(&labels, bytes).expect("it can be written");
    let run = resume(&["--data", &format!("digits={}", text(&other))]).ends_with(1);
    assert!(run.err.contains("the data have changed since") && run.err.contains("--weights"), "{run}");
    let run = resume(&["--data", "digits=nowhere"]).ends_with(1);
    assert!(run.err.contains("nowhere"), "{run}");
    // A damaged file: the one before it will do.
    let newest =
        std::fs::read_dir(out.join("checkpoints")).expect("it is there").map(|e| e.expect("it is").path());
    let mut files: Vec<PathBuf> = newest.collect();
    files.sort_by_key(|f| std::fs::metadata(f).and_then(|m| m.modified()).expect("it has a time"));
    let last = files.pop().expect("there is one");
    let mut bytes = std::fs::read(&last).expect("it is there");
    let end = bytes.len() - 9;
    bytes[end] ^= 1;
    std::fs::write(&last, &bytes).expect("it can be written");
    weft(&["train", MLP, "--resume", text(&out), "--fresh"]).fails(2, &["--fresh"]);
    let run = weft(&["train", MLP, "--resume", text(&out), "--epochs", "1", "--data", &data]).ends_with(0);
    assert!(run.err.contains("going on from the checkpoint before it"), "{run}");
    let nothing = folder("refused_nothing");
    weft(&["train", MLP, "--resume", text(&nothing)])
        .fails(1, &["holds no checkpoint of a run", "without --resume"]);
}

/// The operation and its line are named, and nothing that was saved is touched.
#[test]
fn a_loss_that_is_no_number_is_traced_to_its_line() {
    let folder = folder("not_a_number");
    let spec = |loss: &str| {
        let data = trained().data();
        let data = data.trim_start_matches("digits=");
        let text = format!(
            "data digits = mnist(\"{data}\") {{ image = f32(image) / 255 }}\n\
             model M(image: f32[n, 28, 28, 1]) -> f32[n, 10] {{ image |> flatten |> dense(10) }}\n\
             train {{\n    on digits as {{ image, label }}\n    epochs = 3\n    let p = softmax(M(image))\n    \
             {loss}\n}}\n"
        );
        write(&folder, "bad.weft", text)
    };
    let out = folder.join("out");
    for (loss, says) in [
        (
            "minimize mean(-log(relu(p - 0.1))) using sgd(rate = 0.1)",
            &["-inf in", "log", "bad.weft:7:20", "above 0"][..],
        ),
        (
            "minimize cross_entropy(p / (p - p), label) using sgd(rate = 0.1)",
            &["div` gave inf in", "bad.weft:7:28", "of which `", "keep the divisor away from 0"],
        ),
        (
            "minimize mean((M(image) + 0 * p) ** 2 * 1e30) using sgd(rate = 1e30)",
            &["no longer finite after batch", "bad.weft:7:", "smaller rate"],
        ),
    ] {
        for more in [&[][..], &["--check-numerics"]] {
            let file = spec(loss);
            let run = weft(&[&["train", &file, "--out", text(&out)], more].concat()).ends_with(1);
            for part in says {
                assert!(run.err.contains(part), "{part}: {run}");
            }
        }
    }
}

#[test]
fn the_spec_says_how_often_a_run_is_saved() {
    let (home, data) = (folder("checkpoint_clause"), trained().data());
    let plain = std::fs::read_to_string(crate::harness::root().join(MLP)).expect("the spec is there");
    let saved = |clause: &str, more: &[&str]| {
        let spec = write(&home, "mlp.weft", plain.replace("    seed = 1", &format!("    seed = 1 {clause}")));
        let out = home.join("out");
        let args = ["train", &spec, "--set", "units=8", "--data", &data, "--batch", "8", "--epochs", "5"];
        let keep = ["--quiet", "--fresh", "--keep-checkpoints", "100", "--out", text(&out)];
        fine(&[&args[..], &keep, more].concat());
        let files = std::fs::read_dir(out.join("checkpoints")).expect("they are there").flatten();
        let mut names: Vec<String> =
            files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        std::fs::remove_dir_all(out.join("checkpoints")).expect("removed");
        (names, weights(&out))
    };
    // What is due at the end of an epoch may come a little later, where the copy before is still being written.
    let none_in = |names: &[String], epochs: usize| {
        (0..epochs).all(|epoch| names.iter().all(|name| !name.starts_with(&format!("epoch-{epoch}"))))
    };
    let (usual, expected) = saved("", &[]);
    assert!(none_in(&usual, 1) && usual.contains(&"epoch-5.safetensors".to_owned()), "{usual:?}");
    let (often, bits) = saved("checkpoint every 3 batches", &[]);
    assert!(often.contains(&"epoch-0-batch-3.safetensors".to_owned()) && bits == expected, "{often:?}");
    let (seldom, bits) = saved("checkpoint every 4 epochs", &[]);
    assert!(none_in(&seldom, 4) && bits == expected, "{seldom:?}");
    assert!(seldom.iter().any(|name| name.starts_with("epoch-4")), "{seldom:?}");
    // The command line has the last word.
    let (flag, bits) = saved("checkpoint every 3 batches", &["--checkpoint-every", "1h"]);
    assert!(none_in(&flag, 1) && bits == expected, "{flag:?}");
}
