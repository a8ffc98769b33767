//! Rows of a user's own files: what is wrong with them is told with its place and a way out; what is right is counted and trained on.

use crate::files;
use crate::harness::{command, fine, folder, text, weft, write};
use std::path::Path;

const SPEC: &str = "
data d = SOURCE -> ROW { BODY split validation = 0.25SPLIT }
model Net(x: f32[n, 2]) -> f32[n, 3] { x |> dense(3) }
train { on d as { x, kind } batch = 8 epochs = 2
    let y = Net(x)
    minimize cross_entropy(y, kind) using sgd(0.1) measure accuracy(y, kind) }
predict which(x: f32[n, 2]) -> { kind } { { kind = argmax(Net(x)) } }
";
const ROW: &str = "{ a: f32, b: f32?, kind: class }";
const BODY: &str = "x = stack([a, fill_missing(b, 0)])";

fn spec(folder: &Path, source: &str, row: &str, split: &str) -> String {
    let text =
        SPEC.replace("SOURCE", source).replace("ROW", row).replace("BODY", BODY).replace("SPLIT", split);
    write(folder, "rows.weft", text)
}

/// Rows of three kinds; every fourth `b` is missing.
fn csv(rows: usize) -> String {
    let row = |i: usize| {
        let b = if i.is_multiple_of(4) { String::new() } else { (i % 9).to_string() };
        format!("{}.5,{b},{}\n", i % 7, ["left", "right", "none"][i % 3])
    };
    "a,b,kind\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

#[test]
fn wrong_cells_have_a_place_a_cause_and_a_way_out() {
    let home = folder("rows_wrong");
    let spec = spec(&home, "csv(\"rows.csv\")", ROW, "");
    let long = format!("a,b,kind\n1,2,\"{}\n", "x".repeat(70 << 20));
    let nothing = b"";
    let cases: [(&[u8], &[&str]); 23] = [
        (
            b"a,b,kind\n1,2,x\n\"1,2,y\n3,4,z\n",
            &["rows.csv: line 3: a quotation mark begins a cell here", "`quotes = false`"],
        ),
        (b"a,b,kind\n\n1,2,\"x\n1,2,y\n", &["rows.csv: line 3: a quotation mark begins a cell here"]),
        (b"a,b,kind\n\"1\n\",2,x\n1,\"2,y\n", &["rows.csv: line 4: a quotation mark begins a cell here"]),
        (b"a,\"b,kind\n1,2,x\n", &["rows.csv: line 1: a quotation mark begins a cell here"]),
        (
            b"a,b,kind\n\"1,2,x\n\"3\",4\n",
            &["rows.csv: line 2: 2 cells, but the header names 3; a cell of it goes over several lines"],
        ),
        (b"a,b,kind\n1,2,x\n1,2\n", &["rows.csv: line 3: 2 cells, but the header names 3"]),
        (b"a,b,kind\n1,2,x\n1,2,y,z\n", &["rows.csv: line 3: 4 cells, but the header names 3"]),
        (b"a,b,kind\n1,2,x\none,2,y\n", &["rows.csv: line 3: column `a`: `one` is no number"]),
        (b"a,b,kind\n1,2,x\n,2,y\n", &["line 3: column `a`: nothing is there", "`a: f32?`"]),
        (b"a,b,kind\n1,2,x\n1,2,\n", &["line 3: column `kind`: nothing is there", "`kind: class?`"]),
        (b"a,b,kind\n1,2,x\n1,2,\xff\xfe\n", &["line 3: column `kind`: the bytes are no UTF-8"]),
        (b"\xff\xfea\0,\0b\0\n\0", &["this file is UTF-16; save it as UTF-8"]),
        (b"a,b,knid\n1,2,x\n", &["there is no column `kind` (did you mean `knid`?)", "names a, b, knid"]),
        (b"a,a,b,kind\n1,1,2,x\n", &["the header names `a` twice"]),
        (b"a,b,kind\n1,2,x\n1,2,x\n1,2,x\n1,2,x\n", &["`kind` is `x` in all rows", "nothing to tell apart"]),
        (b"a,b,kind\n", &["rows.csv: there are no rows"]),
        (nothing, &["the file is empty: its first line names the columns"]),
        (b"a,b,kind\n1,2,x\n", &["holding out 0.25 of 1 rows leaves none"]),
        (
            b"a;b;kind\n1;2;x\n",
            &["there are no columns `a`, `b`, `kind`", "with `separator = \";\"` they are several"],
        ),
        (long.as_bytes(), &["a row is longer than 67108864 bytes; is a quote never closed?"]),
        (b"\x1f\x8b\x08\0\0\0\0\0", &["rows.csv: it cannot be read"]),
        (b"a,b,kind\n1e999,2,x\n1,2,y\n", &["line 2: column `a`: `1e999` is too large for f32"]),
        (b"a,b,kind\n1,2,x\n0x1F,2,y\n", &["line 3: column `a`: `0x1F` is no number"]),
    ];
    for (bytes, says) in cases {
        write(&home, "rows.csv", bytes);
        weft(&["train", &spec, "--out", text(&home.join("out"))]).fails(1, says);
        assert!(!home.join("out").exists(), "nothing was begun: {says:?}");
    }
    let csv = write(&home, "rows.csv", csv(30));
    std::fs::remove_file(&csv).expect("removed");
    weft(&["train", &spec]).fails(1, &["there is no file", "rows.csv", "--data d=FILE"]);
    std::fs::create_dir(&csv).expect("made");
    weft(&["train", &spec]).fails(1, &["the folder", "has no file *.csv or", "--data d=PATH"]);
}

#[test]
fn wrong_objects_and_numbers_are_told_too() {
    let home = folder("rows_wrong_json");
    let json = spec(&home, "jsonl(\"rows.jsonl\")", ROW, "");
    let cases: [(&[u8], &[&str]); 8] = [
        (b"{\"a\": 1, \"b\": 2, \"kind\": \"x\"}\n{\"a\": 1,\n", &["rows.jsonl: line 2: this is no JSON"]),
        (b"[1, 2]\n", &["line 1: a row is an object"]),
        (b"{\"a\": \"one\", \"b\": 2, \"kind\": \"x\"}\n", &["line 1: `a`: `one` is no number"]),
        (b"{\"A\": 1, \"b\": 2, \"kind\": \"x\"}\n", &["line 1: `a`: nothing is there"]),
        (
            b"{\"a\": 1, \"b\": 2, \"kin\": \"x\"}\n",
            &["line 1: `kind`: nothing is there", "did you mean `kin`?"],
        ),
        (b"{\"a\": [1, 2], \"b\": 2, \"kind\": \"x\"}\n", &["line 1: `a`: more than 1 number"]),
        (b"{\"a\": {}, \"b\": 2, \"kind\": \"x\"}\n", &["line 1: `a`: an object is no value of a field"]),
        (b"{\"a\": 1, \"b\": 2, \"kind\": \"\xff\"}\n", &["line 1: this is no JSON"]),
    ];
    for (bytes, says) in cases {
        write(&home, "rows.jsonl", bytes);
        weft(&["train", &json]).fails(1, says);
    }
    let whole = spec(&home, "csv(\"rows.csv\")", "{ a: u8, b: f32?, kind: class }", "");
    let body =
        std::fs::read_to_string(&whole).expect("it was written").replace("stack([a,", "stack([f32(a),");
    let whole = write(&home, "whole.weft", body);
    for (cell, says) in
        [("256", "256 does not fit into u8"), ("1.5", "1.5 is no whole number"), ("-1", "does not fit")]
    {
        write(&home, "rows.csv", format!("a,b,kind\n1,2,x\n{cell},2,y\n"));
        weft(&["train", &whole]).fails(1, &["rows.csv: line 3: column `a`: ", says]);
    }
    let text_spec = write(
        &home,
        "text.weft",
        "data d = text(\"book.txt\", window = 8) { x = f32(text) }
         model Net(x: f32[n, 8]) -> f32[n, 1] { x |> dense(1) }
         train { on d as { x } minimize mean(Net(x) ** 2, axis = -1) using sgd(0.1) }",
    );
    write(&home, "book.txt", b"a line\nand gr\xfc\xdfe in Latin-1\n");
    weft(&["train", &text_spec]).fails(1, &["book.txt: line 2: byte 13 is no UTF-8; save the file as UTF-8"]);
    write(&home, "book.txt", "short");
    weft(&["train", &text_spec]).fails(1, &["book.txt: 5 bytes fill no window of 8"]);
}

#[test]
fn missing_cells_and_classes_are_counted() {
    let home = folder("rows_counted");
    write(&home, "rows.csv", csv(40));
    let spec = spec(&home, "csv(\"rows.csv\")", ROW, ", stratify = kind");
    let body = std::fs::read_to_string(&spec).expect("it was written");
    let raw = write(&home, "raw.weft", body.replace("x = stack", "level = b  x = stack"));
    let object = fine(&["data", &raw, "--json"]).last_object();
    let part = |name: &str| {
        let parts = object["fields"].as_array().expect("a list").iter();
        let part = parts.clone().find(|part| part["part"] == name).expect("the part is there");
        let fields = part["fields"].as_array().expect("a list").clone();
        fields.into_iter().find(|field| field["name"] == "level").expect("the field is there")
    };
    // Ten of forty cells are empty, and each row is in one part.
    let missing = |name: &str| part(name)["missing"].as_u64().expect("a number");
    assert_eq!(missing("train") + missing("validation"), 10, "{object}");
    let counts = object["classes"][0]["counts"].as_array().expect("a list");
    let all = |class: &serde_json::Value| (0..3).map(|p| class[1][p].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!(counts.iter().map(all).collect::<Vec<_>>(), [14, 13, 13]);
    // 14, 13 and 13 rows in a quarter: as evenly as whole rows can be.
    assert!(counts.iter().all(|class| [3, 4].contains(&class[1][1].as_u64().unwrap_or(0))), "{object}");
    assert!(fine(&["data", &raw]).out.contains(" missing"));
}

#[test]
fn other_data_are_numbered_by_the_classes_of_the_training() {
    let home = folder("rows_classes");
    write(&home, "rows.csv", csv(40));
    let spec = spec(&home, "csv(\"rows.csv\")", ROW, ", test = 0.1");
    let out = home.join("out");
    fine(&["train", &spec, "--out", text(&out)]);
    let weights = out.join("best.safetensors");
    let weights = if weights.exists() { weights } else { out.join("last.safetensors") };
    let tested = |name: &str, body: &str, spec: &str| {
        let data = format!("d={}", write(&home, name, body));
        fine(&["eval", spec, "--weights", text(&weights), "--data", &data, "--json"]).last_object()["test"]
            .clone()
    };
    let column = std::fs::read_to_string(&spec).expect("it was written");
    let column = column.replace("split validation = 0.25, test = 0.1", "split column = part");
    let by_column = write(&home, "column.weft", column);
    let table = |rows: &[&str]| {
        let parts: String = rows.iter().map(|row| format!("{row},test\n")).collect();
        format!("a,b,kind,part\n1,1,left,train\n1,1,none,train\n{parts}")
    };
    let rows = ["0.5,3,right", "2.5,1,left", "6.5,8,right", "1.5,,none"];
    let mut turned = rows;
    turned.reverse();
    let (one, other) =
        (tested("one.csv", &table(&rows), &by_column), tested("two.csv", &table(&turned), &by_column));
    assert_eq!(one["accuracy"], other["accuracy"], "the order of the rows gives classes no other number");
    // Two of the three classes: the third keeps its number.
    let few = tested("few.csv", &table(&rows[..3]), &by_column);
    assert!(few["accuracy"].as_f64().is_some(), "{few}");
    let unknown = format!("d={}", write(&home, "unknown.csv", table(&["1,1,upwards"])));
    let says =
        ["unknown.csv:4: `kind` is `upwards`, which is none of the classes left, none, right", "class?"];
    weft(&["eval", &by_column, "--weights", text(&weights), "--data", &unknown]).fails(1, &says);
}

/// Forty digits in folders of their classes, in two parts.
fn pictures(home: &Path) {
    for row in 0..40 {
        let part = if row < 30 { "train" } else { "test" };
        let class = home.join(part).join(format!("number {}", files::label(row) % 4));
        std::fs::create_dir_all(&class).expect("made");
        std::fs::write(class.join(format!("{row}.png")), files::png(28, 28, &files::digit(row)))
            .expect("written");
    }
}

#[test]
fn a_folder_of_pictures_is_trained_on_evaluated_shown_and_asked_about() {
    let home = folder("rows_pictures");
    pictures(&home.join("digits"));
    let text_of = |options: &str| {
        format!(
            "data d = images(\"digits\", size = (14, 14), channels = 1{options}) {{ image = f32(image) / 255 split validation = 0.2 }}
             model Net(x: f32[n, 14, 14, 1]) -> f32[n, 4] {{ x |> flatten |> dense(4) }}
             train {{ on d as {{ image, label }} epochs = 3 batch = 8
                 let y = Net(image)
                 minimize cross_entropy(y, label) using adam() measure accuracy(y, label) }}
             predict digit(image: u8[n, 14, 14, 1]) -> {{ label }} {{ {{ label = argmax(Net(f32(image) / 255)) }} }}"
        )
    };
    let spec = write(&home, "digits.weft", text_of(""));
    let (out, cache) = (home.join("out"), home.join("cache"));
    let run = |args: &[&str]| {
        let output = command(args).env("WEFT_CACHE", &cache).output().expect("weft starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let (code, counted, said) = run(&["data", &spec, "--show", "4", "--out", text(&home.join("sheet.png"))]);
    assert_eq!(code, Some(0), "{said}");
    assert!(counted.contains("24 rows to train on, 6 to validate, 10 to test"), "{counted}");
    assert!(home.join("sheet.png").exists());
    let (code, _, said) = run(&["train", &spec, "--out", text(&out)]);
    assert_eq!(code, Some(0), "{said}");
    let weights = out.join("last.safetensors");
    let (code, tested, said) = run(&["eval", &spec, "--weights", text(&weights), "--json"]);
    assert!(code == Some(0) && tested.contains("\"accuracy\""), "{tested}{said}");
    let small = format!("image={}", write(&home, "one.png", files::png(14, 14, &[9; 196])));
    let (code, asked, said) = run(&["predict", &spec, "--weights", text(&weights), "--input", &small]);
    assert!(code == Some(0) && asked.contains("label") && asked.contains("(number "), "{asked}{said}");
    // A picture of another size is brought to the one that the folder's have been brought to.
    let large = format!("image={}", write(&home, "large.png", files::png(31, 28, &[9; 868])));
    let (code, same, said) = run(&["predict", &spec, "--weights", text(&weights), "--input", &large]);
    assert!(code == Some(0) && same == asked, "{same}{said}");

    // A file that is none is named with the way out, and passed over only when the spec says so.
    write(&home.join("digits/train/number 1"), "broken.png", "no picture");
    write(&home.join("digits/train/number 2"), "empty.jpg", "");
    for command in ["data", "train"] {
        let (code, _, said) = run(&[command, &spec]);
        assert_eq!(code, Some(1), "{said}");
        for part in ["2 pictures cannot be read", "`unreadable = skip`", "broken.png", "empty.jpg"] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
    let skipping = write(&home, "skipping.weft", text_of(", unreadable = skip"));
    let (code, counted, said) = run(&["data", &skipping]);
    assert_eq!(code, Some(0), "{said}");
    assert!(counted.contains("24 rows to train on, 6 to validate, 10 to test"), "{counted}");
    let (code, out, said) = run(&["train", &skipping, "--out", text(&home.join("skipped"))]);
    assert_eq!(code, Some(0), "{said}");
    assert!((out + &said).contains("2 of 32 pictures are passed over: "), "{said}");
    let (code, _, said) = run(&["data", &spec, "--data", "d=nowhere"]);
    assert!(
        code == Some(1) && said.contains("nowhere does not exist") && said.contains("--data d=DIR"),
        "{said}"
    );
    std::fs::create_dir(home.join("hollow")).expect("made");
    let hollow = format!("d={}", text(&home.join("hollow")));
    let (code, _, said) = run(&["data", &spec, "--data", &hollow]);
    assert!(code == Some(1) && said.contains("has no folder with pictures"), "{said}");
}
