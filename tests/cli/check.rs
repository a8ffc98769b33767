//! `weft check` and `--set`: what is said of a spec, and where.

use crate::files;
use crate::harness::{fine, folder, text, weft, write};
use serde_json::json;

#[test]
fn the_shipped_specs_are_fine() {
    for name in ["mnist_mlp", "mnist_cnn", "autoencoder", "cifar_cnn"] {
        let spec = format!("specs/{name}.weft");
        assert_eq!(fine(&["check", &spec, "--deny", "warnings"]).out, format!("{spec}: fine\n"));
        assert_eq!(fine(&["check", &spec, "--json"]).out, "");
    }
}

/// Two mistakes in two models: line 4 column 22, and line 8 column 5.
const WRONG: &str = "\
edition 2026

model Net(x: f32[n, 8]) -> f32[n, 4] {
    x |> dense(8) |> rellu |> dense(4)
}

model Other(x: f32[n, 8]) -> f32[n, 4] {
    x |> dense(5)
}
";

#[test]
fn every_mistake_is_shown_with_its_place() {
    let spec = write(&folder("check_wrong"), "wrong.weft", WRONG);
    weft(&["check", &spec]).fails(
        1,
        &[
            "error[E0101]: nothing is called `rellu` here",
            "wrong.weft:4:22",
            "did you mean `relu`?",
            "error[E0212]: axis 1 must be 4, but it is 5",
            "wrong.weft:8:5",
            "wrong.weft: 2 errors",
        ],
    );
}

#[test]
fn diagnostics_are_objects_for_scripts() {
    let spec = write(&folder("check_json"), "wrong.weft", WRONG);
    let run = weft(&["check", &spec, "--json"]).ends_with(1);
    let expected = [
        ("E0101", "nothing is called `rellu` here", 4, 22),
        ("E0212", "axis 1 must be 4, but it is 5", 8, 5),
    ];
    let found = run.objects();
    assert_eq!(found.len(), expected.len(), "{run}");
    for (object, (code, message, line, column)) in found.iter().zip(expected) {
        let wanted =
            json!({ "code": code, "message": message, "file": spec, "line": line, "column": column });
        for (key, value) in wanted.as_object().expect("it is an object") {
            assert_eq!(&object[key], value, "{key} of {object}");
        }
        assert_eq!(object["severity"], "error");
    }
    assert_eq!(run.err, "");
}

#[test]
fn a_file_that_does_not_parse_has_a_place_too() {
    let spec =
        write(&folder("check_syntax"), "broken.weft", "edition 2026\nmodel M(x: f32[n, 8] { x }\nmodel {\n");
    let found = weft(&["check", &spec, "--json"]).ends_with(1).objects();
    assert!(!found.is_empty());
    for object in found {
        assert!(object["code"].as_str().is_some_and(|c| c.starts_with("E00")), "{object}");
        assert!(object["line"].as_u64().is_some_and(|l| (2..=4).contains(&l)), "{object}");
    }
}

#[test]
fn warnings_can_be_denied() {
    let text = "edition 2026\n\nmodel M(x: f32[n, 8]) { x |> dense(16) |> dense(4) }\n";
    let spec = write(&folder("check_warnings"), "linear.weft", text);
    let run = fine(&["check", &spec]);
    assert_eq!(run.out, format!("{spec}: fine (1 warning)\n"));
    assert!(run.err.contains("warning[W0404]"), "{run}");
    weft(&["check", &spec, "--deny", "warnings"]).fails(1, &["warning[W0404]", "linear.weft: 1 warning"]);
    let found = fine(&["check", &spec, "--json"]).objects();
    assert_eq!((&found[0]["severity"], &found[0]["code"]), (&json!("warning"), &json!("W0404")));
    let other = json!([{ "file": spec, "line": 3, "column": 30, "label": "`dense` here" }]);
    assert_eq!(found[0]["related"], other);
    weft(&["check", &spec, "--json", "--deny", "warnings"]).ends_with(1);
}

/// A spec with a warning is trained, measured and shown all the same, and each command warns once.
#[test]
fn every_command_warns_once() {
    let folder = folder("check_warns_once");
    files::digits(&folder);
    let source = "data digits = mnist(\".\") { image = f32(image) / 255 }
model Net(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(16) |> dense(10) }
train {
    on digits as { image, label }
    epochs = 1
    minimize cross_entropy(Net(image), label) using adam()
}
predict digit(image: f32[n, 28, 28, 1]) -> { p } { { p = softmax(Net(image)) } }
";
    let spec = write(&folder, "linear.weft", source);
    let out = folder.join("out");
    let trained = weft(&["train", &spec, "--out", text(&out)]).ends_with(0);
    let weights = out.join("last.safetensors");
    let measured = weft(&["eval", &spec, "--weights", text(&weights)]).ends_with(0);
    for run in [trained, measured, fine(&["summary", &spec]), fine(&["emit", &spec, "--stage", "graph"])] {
        assert_eq!(run.err.matches("warning[").count(), 1, "{run}");
        assert!(run.err.contains("linear.weft:2:72") && !run.out.contains("warning"), "{run}");
        assert!(!run.err.contains('\u{1b}'), "colours are for terminals:\n{run}");
    }
}

#[test]
fn what_is_no_spec_is_said_plainly() {
    let folder = folder("check_files");
    let binary = write(&folder, "weights.weft", b"ab\xff\xfe");
    for command in ["check", "summary", "train"] {
        weft(&[command, "nowhere.weft"]).fails(1, &["error: cannot read nowhere.weft: no such file"]);
        weft(&[command, text(&folder)]).fails(1, &["error: cannot read", "is a directory"]);
        weft(&[command, &binary]).fails(1, &["is not UTF-8 text (byte 2)"]);
    }
}

#[test]
fn a_used_file_is_found_beside_the_spec_and_its_mistakes_carry_its_name() {
    let folder = folder("check_use");
    write(&folder, "blocks.weft", "edition 2026\n\nlayer block(x: f32[n, d]) { x |> dense(4) |> relu }\n");
    let spec = write(
        &folder,
        "main.weft",
        "edition 2026\n\nuse \"blocks.weft\"\n\nmodel M(x: f32[n, 8]) -> f32[n, 4] { x |> block }\n",
    );
    fine(&["check", &spec]);
    write(&folder, "blocks.weft", "edition 2026\n\nlayer block(x: f32[n, d]) { x |> dens(4) |> relu }\n");
    let found = weft(&["check", &spec, "--json"]).ends_with(1).objects();
    let file = found[0]["file"].as_str().expect("a file is named");
    assert!(file.ends_with("blocks.weft"), "{file}");
    assert_eq!((&found[0]["line"], &found[0]["column"]), (&json!(3), &json!(34)));
}

#[test]
fn settings_can_be_set_and_are_checked() {
    let spec = "specs/mnist_mlp.weft";
    let parameters = |units: &str| {
        let set = format!("units={units}");
        fine(&["summary", spec, "--json", "--set", &set]).last_object()["parameters"].as_i64()
    };
    let count = |units: i64| 785 * units + (units + 1) * (units / 2) + (units / 2 + 1) * 10;
    assert_eq!(parameters("128"), Some(count(128)));
    assert_eq!(parameters("6"), Some(count(6)));
    weft(&["check", spec, "--set", "unts=6"])
        .fails(1, &["E0108", "no setting `unts`", "did you mean `units`?"]);
    for value in ["big", "1.5", "true", ""] {
        let set = format!("units={value}");
        weft(&["check", spec, "--set", &set]).fails(1, &["E0108", &set, "`units` is an int"]);
    }
    weft(&["check", spec, "--set", "units=-3"]).fails(1, &["error[E"]);
    // The last one counts.
    let twice = fine(&["summary", spec, "--json", "--set", "units=6", "--set", "units=8"]).last_object();
    assert_eq!(twice["parameters"], count(8));
}

#[test]
fn a_rendered_spec_is_a_spec() {
    let folder = folder("check_render");
    let spec = "specs/mnist_mlp.weft";
    let shown = fine(&["check", "--render", spec, "--set", "units=48"]).out;
    assert!(shown.contains("setting units = 48\n") && shown.contains("shuffle = true"), "{shown}");
    let rendered = write(&folder, "rendered.weft", &shown);
    fine(&["fmt", "--check", &rendered]);
    let graph = |spec: &str, more: &[&str]| {
        let args = ["emit", spec, "--stage", "graph", "--entry", "predict"];
        fine(&[&args[..], more].concat()).out
    };
    assert_eq!(graph(&rendered, &[]), graph(spec, &["--set", "units=48"]));
    let object = fine(&["check", "--render", "--json", spec, "--set", "units=48"]).last_object();
    assert_eq!(object["rendered"], shown);
    // A wrong spec has errors and no defaults.
    let wrong = write(&folder, "wrong.weft", "model M(x: f32[n, 8]) { x |> dens(3) }\n");
    weft(&["check", "--render", &wrong]).fails(1, &["did you mean `dense`?"]);
    // What another file sets cannot be written into this one.
    write(&folder, "blocks.weft", "setting wide = 4\nlayer block(x: f32[n, d]) { x |> dense(wide) }\n");
    let text = "use \"blocks.weft\"\nmodel M(x: f32[n, 8]) { x |> block }\npredict p(x: f32[n, 8]) -> { y } { { y = M(x) } }\n";
    let uses = write(&folder, "uses.weft", text);
    let run = fine(&["check", "--render", &uses, "--set", "wide=6"]);
    assert!(run.err.contains("`wide` is a setting of a file in use"), "{run}");
}

#[test]
fn a_choice_that_is_none_is_one_mistake_that_names_the_choices() {
    let text = "setting kind: choice(small, large) = small\n\n\
        model Net(x: f32[n, 8]) { if kind == small { x |> dense(4) } else { x |> dense(8) } }\n";
    let spec = write(&folder("check_choice"), "choice.weft", text);
    fine(&["check", &spec, "--set", "kind=large"]);
    weft(&["check", &spec, "--set", "kind=huge"])
        .fails(1, &["E0108", "the setting `kind` is small or large", "choice.weft: 1 error\n"]);
}

#[test]
fn a_loss_with_weights_says_how_another_is_added_to_it() {
    let spec = "tests/bad/training/weighted_loss_added.weft";
    weft(&["check", spec]).fails(1, &["E0201", "weight = e.weight"]);
}
