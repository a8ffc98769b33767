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
