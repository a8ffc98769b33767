//! `weft data`: what it counts, and its picture.

use crate::files;
use crate::harness::{fine, folder, text, weft, write};
use crate::train::{MLP, trained};
use weft_runtime::io::png;

#[test]
fn parts_classes_and_ranges_are_those_of_the_files() {
    let data = trained().data();
    let object = fine(&["data", MLP, "--data", &data, "--json"]).last_object();
    assert_eq!(object["rows"]["train"], files::TRAIN_ROWS);
    assert_eq!(object["rows"]["test"], files::TEST_ROWS);
    assert_eq!(object["raw"]["image"], "u8[28, 28, 1]");
    assert_eq!(object["row"]["image"], "f32[28, 28, 1]");
    let counts = object["classes"][0]["counts"].as_array().expect("a list");
    assert_eq!(counts.len(), 10);
    for class in counts {
        let is = |row: &usize| u64::from(files::label(*row)) == class[0].as_u64().unwrap_or(99);
        assert_eq!(class[1][0], (0..files::TRAIN_ROWS).filter(is).count(), "{class}");
        assert_eq!(class[1][2], (0..files::TEST_ROWS).filter(is).count(), "{class}");
    }
    let image = &object["fields"][0]["fields"][0];
    assert!(image["max"].as_f64() > Some(0.8) && image["max"].as_f64() <= Some(1.0), "{image}");
    let plain = fine(&["data", MLP, "--data", &data]).out;
    assert!(plain.contains("300 rows to train on, 60 to validate, 70 to test"), "{plain}");
    assert!(plain.contains("\n  row 3: "), "{plain}");
}

#[test]
fn a_picture_shows_rows_beside_what_a_training_sees() {
    let folder = folder("data_show");
    let spec = write(
        &folder,
        "flipped.weft",
        "model Net(x: f32[n, 28, 28, 1]) -> f32[n, 10] { x |> flatten |> dense(10) }
         data digits = mnist(\"none\") {
             image = f32(image) / 255
             fit level = mean(image)
             augment { image = 1 - image }
         }
         train {
             on digits as { image, label }
             minimize cross_entropy(Net(image - digits.level), label) using sgd(0.1)
         }",
    );
    let data = trained().data();
    let out = folder.join("rows.png");
    let run = fine(&["data", &spec, "--data", &data, "--show", "4", "--out", text(&out)]);
    assert!(run.out.contains("wrote "), "{run}");
    assert!(run.out.contains("fit digits.level = 0.1"), "{run}");
    // Four tiles in two columns, each a row and its negative, enlarged three times.
    let sheet = png::read(&out, 1).expect("a picture");
    assert_eq!(sheet.shape[1], 2 * (2 * 84 + 6) + 6);
    let at = |x: usize| i32::from(sheet.data[x]);
    assert!((at(0) + at(84 + 6) - 255).abs() <= 1, "the training sees the negative: {} {}", at(0), at(90));
    weft(&["data", &spec, "--data", "other=x"]).fails(1, &["other", "digits"]);
}

#[test]
fn classes_are_called_by_their_names() {
    let folder = folder("data_names");
    write(&folder, "beasts.csv", "weight,kind\n1,cat\n9,horse\n2,cat\n3,\n");
    let spec = write(
        &folder,
        "beasts.weft",
        "model Net(x: f32[n, 1]) -> f32[n, 2] { x |> dense(2) }
         data beasts = csv(\"beasts.csv\") -> { weight: f32, kind: class? }
         train { on beasts as { weight, kind } minimize cross_entropy(Net(expand(weight, -1)), maximum(kind, 0)) using sgd(0.1) }",
    );
    let run = fine(&["data", &spec]);
    let lines: Vec<String> =
        run.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["-1 missing 1 0 0", "0 cat 2 0 0", "1 horse 1 0 0"] {
        assert!(lines.iter().any(|shown| shown.starts_with(line)), "{line}: {run}");
    }
    let object = fine(&["data", &spec, "--json"]).last_object();
    assert_eq!(object["classes"][0]["names"], serde_json::json!(["missing", "cat", "horse"]));
    // A label that names nothing is told by its row, before the first step.
    let strict = write(
        &folder,
        "strict.weft",
        std::fs::read_to_string(&spec).expect("a spec").replace("maximum(kind, 0)", "kind"),
    );
    weft(&["train", &strict, "--out", text(&folder.join("run"))]).fails(
        1,
        &[
            "row 4 of the train part",
            "beasts.csv",
            "no `kind` (a missing class is -1)",
            "strict.weft:3 takes 0 to 1",
        ],
    );
    assert!(!folder.join("run").exists());
    // Where it is computed, at the step that meets it.
    let computed = strict.replace("strict", "computed");
    std::fs::write(
        &computed,
        std::fs::read_to_string(&strict).expect("a spec").replace(", kind)", ", kind + 1)"),
    )
    .expect("written");
    let run = weft(&["train", &computed, "--out", text(&folder.join("run"))]).ends_with(1);
    for wanted in ["the index 2", "is not within 0 to 1", "it comes from row 2 of `beasts`"] {
        assert!(run.err.contains(wanted), "{wanted}: {run}");
    }
}
