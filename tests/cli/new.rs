//! `weft new`: every starter checks without a warning, is canonical, and trains in an empty folder.

use crate::harness::{command, fine, folder, root, text, weft, write};

/// The families, by the files that are their starters.
fn families() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("specs/new")).expect("the starters lie there").flatten();
    let all: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".weft")?.to_owned()))
        .collect();
    assert!(all.len() >= 6);
    all
}

#[test]
fn every_starter_is_sound_and_canonical() {
    let folder = folder("new_all");
    for family in families() {
        let spec = folder.join(format!("{family}.weft"));
        let run = fine(&["new", &family, text(&spec)]);
        assert!(run.out.contains(&format!("weft train {}", text(&spec))), "{run}");
        let written = std::fs::read_to_string(&spec).expect("the spec was written");
        assert!(!written.contains("starter"), "{written}");
        assert_eq!(fine(&["check", "--deny", "warnings", text(&spec)]).err, "");
        fine(&["fmt", "--check", text(&spec)]);
    }
}

#[test]
fn an_empty_folder_is_enough_to_train() {
    let folder = folder("new_train");
    let run = |args: &[&str]| {
        let output = command(args).current_dir(&folder).output().expect("weft starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "weft {args:?}\n{out}\n{err}");
        out.into_owned()
    };
    let said = run(&["new", "mlp", "digits"]);
    assert!(said.contains("digits.weft") && said.contains("data/mnist: 10,000 handwritten digits"), "{said}");
    assert!(folder.join("data/mnist/README.md").exists(), "the digits come with their licence");
    let said = run(&["new", "transformer", "letters"]);
    assert!(said.contains("data/genesis: the book of Genesis"), "{said}");
    // A second spec shares the data.
    let said = run(&["new", "mlp", "again.weft", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!((&said["spec"], &said["data_written"]), (&"again.weft".into(), &false.into()));
    // An epoch is far better than no training: blind guesses are right for one digit in ten, a blank image is as far off as
    // images are bright, a discriminator that guesses loses twice the logarithm of two, and one letter in six is a space.
    for family in families() {
        run(&["new", &family, &format!("first_{family}")]);
        let said = run(&["train", &format!("first_{family}.weft"), "--epochs", "1", "--json"]);
        let last = said.lines().last().unwrap_or_default();
        let end: serde_json::Value = serde_json::from_str(last).expect("it is JSON");
        let figure = |name: &str| end["test"][name].as_f64();
        let learned = match family.as_str() {
            "cnn" | "mlp" => figure("accuracy").is_some_and(|share| share > 0.8),
            "lstm" => figure("accuracy").is_some_and(|share| share > 0.5),
            "autoencoder" => figure("mean_absolute_error").is_some_and(|error| error < 0.12),
            "gan" => figure("discriminator.loss").is_some_and(|loss| loss < 1.35),
            "transformer" => figure("accuracy").is_some_and(|share| share > 0.25),
            other => panic!("what has {other} learned?"),
        };
        assert!(learned, "{family}: {last}");
        // What plays against itself has no best epoch.
        let kept = if family == "gan" { "last" } else { "best" };
        assert!(folder.join(format!("runs/first_{family}/{kept}.safetensors")).exists());
        if family == "transformer" {
            let weights = "runs/first_transformer/best.safetensors";
            let begun = ["--weights", weights, "--input", "prompt=In the beginning", "--json"];
            let said = run(&[&["generate", "first_transformer.weft"], &begun[..]].concat());
            let said: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
            assert_eq!(said["tokens"].as_array().map(Vec::len), Some(64), "{said}");
        }
    }
}

#[test]
fn nothing_is_overwritten_and_names_are_checked() {
    let folder = folder("new_refuses");
    let spec = write(&folder, "mine.weft", "edition 2026\n");
    weft(&["new", "cnn", &spec]).fails(1, &["mine.weft is there already", "another name"]);
    assert_eq!(std::fs::read_to_string(&spec).expect("it is there"), "edition 2026\n");
    for name in ["1st", "a b", "é!", "", "x.txt"] {
        weft(&["new", "cnn", text(&folder.join(name))]).ends_with(2);
    }
    weft(&["new", "rnn", "digits"]).fails(2, &["rnn", "cnn", "autoencoder"]);
    // A folder before the name is made.
    fine(&["new", "cnn", text(&folder.join("a/b/digits"))]);
    assert!(folder.join("a/b/digits.weft").exists() && folder.join("a/b/data/mnist").is_dir());
}
