//! Texts and rows of different lengths, from files to batches.

use super::*;
use crate::io::testing::Folder;
use crate::program::{Cell, Encoding, Rows, Splits, Vocabulary, VocabularySource};

fn read(set: &DataSet, folder: &Folder) -> Result<Parts> {
    known(set, folder, &[])
}

fn known(set: &DataSet, folder: &Folder, vocabularies: &[(String, String)]) -> Result<Parts> {
    let place = place(set, folder.path(), None);
    let memory = Memory::new(None);
    load(set, &place, 1, &Known { classes: &[], vocabularies, base: folder.path() }, &memory, None)
}

fn set(source: DataSource, fields: Vec<Field>) -> DataSet {
    DataSet {
        name: "d".into(),
        source,
        fields,
        splits: Splits::default(),
        fit: None,
        vocabularies: Vec::new(),
    }
}

fn texts(name: &str) -> Field {
    Field { cell: Cell::Text, ragged: Some(name.into()), ..Field::new(name, DType::U8, []) }
}

fn label() -> Field {
    Field { cell: Cell::Class(Vec::new()), ..Field::new("label", DType::I32, []) }
}

fn csv(file: &str, fields: Vec<Field>) -> DataSet {
    set(DataSource::Csv { file: file.into(), separator: b',', header: true, quotes: true }, fields)
}

fn length(of: &str) -> Field {
    Field { cell: Cell::Length { of: of.into() }, ..Field::new(Field::length_of(of), DType::I32, []) }
}

fn encoding() -> Encoding {
    Encoding {
        vocabulary: "d.words".into(),
        max_length: None,
        keep_end: false,
        fixed: false,
        special: true,
        begin: None,
        end: None,
        window: None,
    }
}

fn tokens(encoding: Encoding) -> Field {
    let window: Vec<usize> = encoding.window.iter().map(|(window, _)| *window).collect();
    let ragged = window.is_empty().then(|| "text.tokens".to_string());
    let cell = Cell::Tokens { text: "text".into(), encoding };
    Field { cell, ragged, ..Field::new("text.tokens", DType::I32, window) }
}

fn words() -> Vocabulary {
    let source = VocabularySource::WordLevel { texts: vec!["text".into()], lowercase: true };
    Vocabulary { name: "d.words".into(), source, size: 100 }
}

fn reviews(encoding: Encoding) -> DataSet {
    let fields = vec![texts("text"), label(), tokens(encoding), length("text.tokens")];
    DataSet { vocabularies: vec![words()], ..csv("r.csv", fields) }
}

fn reviews_file(folder: &Folder) {
    let rows = "text,label\na b c d,x\na,y\n\"a b\",x\n,y\n";
    folder.file("r.csv", rows.as_bytes());
}

fn integers(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}

fn batch(part: &Part, rows: &[u32]) -> (Batch, usize) {
    let mut batch = Batch::default();
    batch.gather(part, rows).unwrap();
    (batch, part.table.columns.iter().position(|column| column.name == "text.tokens").unwrap())
}

#[test]
fn rows_are_filled_up_to_the_longest_of_their_batch() {
    let folder = Folder::new();
    reviews_file(&folder);
    let parts = read(&reviews(encoding()), &folder).unwrap();
    let (all, tokens) = batch(&parts.train, &[0, 1, 2, 3]);
    assert_eq!(all.shape(&parts.train.table, tokens), [4, 4]);
    assert_eq!(integers(&all.columns[tokens]), [4, 5, 6, 7, 4, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(integers(&all.columns[tokens + 1]), [4, 1, 2, 0]);
    // Without a row that is long, less is filled up; a row without tokens still has an axis of 1.
    let (short, _) = batch(&parts.train, &[2, 1]);
    assert_eq!(integers(&short.columns[tokens]), [4, 5, 4, 0]);
    let (empty, _) = batch(&parts.train, &[3]);
    assert_eq!(empty.shape(&parts.train.table, tokens), [1, 1]);
    // No batch holds texts.
    assert!(all.columns[0].is_empty() && parts.train.table.columns[0].is_text());
    assert_eq!(parts.train.table.columns[0].text(2).unwrap(), "a b");
    assert_eq!(parts.longest("text.tokens"), Some(4));
}

#[test]
fn a_length_cuts_rows_or_is_that_of_all() {
    let folder = Folder::new();
    reviews_file(&folder);
    let cut = Encoding { max_length: Some(3), ..encoding() };
    let parts = read(&reviews(cut.clone()), &folder).unwrap();
    let (all, tokens) = batch(&parts.train, &[0, 1]);
    assert_eq!(integers(&all.columns[tokens]), [4, 5, 6, 4, 0, 0]);
    let end = read(&reviews(Encoding { keep_end: true, ..cut.clone() }), &folder).unwrap();
    assert_eq!(integers(&batch(&end.train, &[0]).0.columns[tokens]), [5, 6, 7]);
    let fixed = Encoding { max_length: Some(6), fixed: true, ..cut };
    let parts = read(&reviews(fixed), &folder).unwrap();
    let (one, tokens) = batch(&parts.train, &[1]);
    assert_eq!(integers(&one.columns[tokens]), [4, 0, 0, 0, 0, 0]);
    assert_eq!(integers(&one.columns[tokens + 1]), [1]);
}

#[test]
fn a_vocabulary_is_of_the_training_part_or_of_the_training_that_was() {
    let folder = Folder::new();
    folder.file("r.csv", b"text,label\na b,x\nb b,y\n");
    folder.file("test.csv", b"text,label\nzebra b,x\n");
    let mut set = reviews(encoding());
    set.splits.test = Held::File("test.csv".into());
    let parts = read(&set, &folder).unwrap();
    let tokenizer = &parts.vocabularies[0];
    assert_eq!((tokenizer.token_of(4), tokenizer.id_of("zebra")), (Some("b".into()), None));
    let (test, tokens) = batch(&parts.test, &[0]);
    assert_eq!(integers(&test.columns[tokens]), [1, 4], "an unknown word");
    // Another file, cut by the vocabulary of the first.
    folder.file("r.csv", b"text,label\nzebra zebra a,x\nzebra,y\n");
    let kept = [("d.words".to_string(), tokenizer.json().to_string())];
    let parts = known(&set, &folder, &kept).unwrap();
    assert_eq!(integers(&batch(&parts.train, &[0]).0.columns[tokens]), [1, 1, 5]);
    let lost = [("d.words".to_string(), "{}".to_string())];
    assert!(known(&set, &folder, &lost).unwrap_err().to_string().contains("this is no tokenizer.json"));
}

#[test]
fn windows_run_over_the_texts_of_a_part() {
    let folder = Folder::new();
    folder.file("book.txt", "ab\nc\n\ndé".as_bytes());
    let letters = Vocabulary {
        name: "d.words".into(),
        source: VocabularySource::Characters { texts: vec!["text".into()] },
        size: 100,
    };
    let source = DataSource::Documents { file: "book.txt".into(), rows: Rows::Line };
    let field = tokens(Encoding { window: Some((4, 2)), ..encoding() });
    let mut set = DataSet { vocabularies: vec![letters], ..set(source, vec![texts("text"), field]) };
    let parts = read(&set, &folder).unwrap();
    assert_eq!(parts.train.len(), 3);
    let mut batch = Batch::default();
    batch.gather(&parts.train, &[0, 1, 2]).unwrap();
    let said = |row: &[i32]| parts.vocabularies[0].decode(row, true).unwrap();
    let rows: Vec<String> = integers(&batch.columns[0]).chunks(4).map(said).collect();
    assert_eq!(rows, ["ab\nc", "\nc\n\n", "\n\ndé"]);
    set.fields[1] = tokens(Encoding { window: Some((40, 2)), ..encoding() });
    let message = read(&set, &folder).unwrap_err().to_string();
    assert_eq!(message, "data set `d`: the train part has 8 tokens, which fill no window of 40");
}

#[test]
fn texts_are_lines_paragraphs_or_files() {
    let folder = Folder::new();
    folder.file("b.txt", b"one\ntwo\n\n\nthree");
    let rows = |rows: Rows| -> Vec<String> {
        let source = DataSource::Documents { file: "b.txt".into(), rows };
        let parts = read(&set(source, vec![texts("text")]), &folder).unwrap();
        (0..parts.train.len())
            .map(|row| parts.train.table.columns[0].text(row).unwrap().to_string())
            .collect()
    };
    assert_eq!(rows(Rows::Line), ["one\n", "two\n", "\n", "\n", "three"]);
    assert_eq!(rows(Rows::Paragraph), ["one\ntwo\n\n\n", "three"]);
    assert_eq!(rows(Rows::File).concat(), "one\ntwo\n\n\nthree");
    folder.file("b.txt", b"good\nbad \xff\n");
    let source = DataSource::Documents { file: "b.txt".into(), rows: Rows::Line };
    let message = read(&set(source, vec![texts("text")]), &folder).unwrap_err().to_string();
    assert!(message.ends_with("b.txt: line 2: byte 9 is no UTF-8; save the file as UTF-8"), "{message}");
}

#[test]
fn lines_of_one_number_are_one_row() {
    let folder = Folder::new();
    folder.file("en.txt", b"one\ntwo\n");
    folder.file("es.txt", b"uno\ndos\n");
    let files: Vec<(String, String)> =
        [("english", "en.txt"), ("spanish", "es.txt")].map(|(a, b)| (a.into(), b.into())).into();
    let pairs = |files: &[(String, String)]| {
        let source = DataSource::Lines { folder: String::new(), files: files.to_vec() };
        read(&set(source, vec![texts("english"), texts("spanish")]), &folder)
    };
    let parts = pairs(&files).unwrap();
    let column = |name: &str| parts.train.table.column(name).unwrap();
    assert_eq!((column("english").text(1).unwrap(), column("spanish").text(1).unwrap()), ("two", "dos"));
    folder.file("es.txt", b"uno\ndos\ntres\n");
    let message = pairs(&files).unwrap_err().to_string();
    assert!(message.contains("es.txt: 3 lines, but ") && message.contains("en.txt has 2"), "{message}");
    let absent = [("english".to_string(), "absent.txt".to_string())];
    assert!(pairs(&absent).unwrap_err().to_string().contains("absent.txt"));
    let both = [files[0].clone(), ("spanish".into(), "in/absent.txt".into()), absent[0].clone()];
    let message = pairs(&both).unwrap_err().to_string();
    assert!(message.contains("there is no file ") && message.contains("in/absent.txt, "), "{message}");
    assert!(!message.contains("en.txt"), "{message}");
    for file in ["en.txt", "es.txt"] {
        folder.file(file, b"");
    }
    let message = pairs(&files).unwrap_err().to_string();
    assert!(message.contains("there are no lines in ") && message.contains("en.txt, "), "{message}");
    assert!(message.ends_with("es.txt"), "{message}");
}

#[test]
fn an_empty_cell_is_an_empty_text_and_no_value_is_an_error() {
    let folder = Folder::new();
    let short = Field { cell: Cell::Text, ..Field::new("short", DType::U8, [2]) };
    let fields = vec![texts("text"), short, label()];
    folder.file("r.csv", b"text,short,label\n,,x\n\"\",a,y\n");
    let parts = read(&csv("r.csv", fields.clone()), &folder).unwrap();
    let table = &parts.train.table;
    assert_eq!((table.column("text").unwrap().text(0).unwrap(), table.rows), ("", 2));
    let json = |fields: &[Field]| set(DataSource::JsonLines { file: "r.jsonl".into() }, fields.to_vec());
    let optional: Vec<Field> = fields.iter().map(|field| Field { optional: true, ..field.clone() }).collect();
    for (lacking, says) in [
        ("{\"text\": null, \"short\": \"\", \"label\": \"x\"}\n", "`text: text?`"),
        ("{\"short\": \"\", \"label\": \"x\"}\n", "`text: text?`"),
        ("{\"text\": \"\", \"label\": \"x\"}\n", "`short: text[2]?`"),
    ] {
        let whole = "{\"text\": \"\", \"short\": \"\", \"label\": \"y\"}\n";
        folder.file("r.jsonl", format!("{whole}{lacking}").as_bytes());
        let message = read(&json(&fields), &folder).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains(says), "{message}");
        let parts = read(&json(&optional), &folder).unwrap();
        assert_eq!(parts.train.table.column("text").unwrap().text(1).unwrap(), "");
    }
}

#[test]
fn reviews_lie_in_their_folders() {
    let folder = Folder::new();
    for (file, text) in [
        ("train/pos/0_9.txt", "good"),
        ("train/pos/10_8.txt", "fine"),
        ("train/pos/2_7.txt", "nice"),
        ("train/neg/0_1.txt", "bad"),
        ("test/pos/0_10.txt", "best"),
        ("test/neg/0_2.txt", "poor"),
    ] {
        let path = folder.path().join("imdb").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let imdb = set(
        DataSource::Imdb { folder: "imdb".into() },
        vec![texts("text"), label(), Field::new("rating", DType::I32, [])],
    );
    let parts = read(&imdb, &folder).unwrap();
    let table = &parts.train.table;
    let said: Vec<&str> = (0..4).map(|row| table.columns[0].text(row).unwrap()).collect();
    assert_eq!(said, ["bad", "good", "nice", "fine"]);
    let whole =
        |at: usize| -> Vec<i64> { (0..4).map(|row| table.columns[at].integer(row).unwrap()).collect() };
    assert_eq!(whole(1), [0, 1, 1, 1]);
    assert_eq!(whole(2), [1, 9, 7, 8]);
    assert_eq!((parts.test.len(), parts.classes[0].1.as_slice()), (2, &["neg".into(), "pos".into()][..]));
    std::fs::write(folder.path().join("imdb/train/pos/readme.txt"), "x").unwrap();
    assert!(read(&imdb, &folder).unwrap_err().to_string().contains("ID_RATING.txt"));
    std::fs::remove_dir_all(folder.path().join("imdb/test")).unwrap();
    let message = read(&imdb, &folder).unwrap_err().to_string();
    assert!(message.contains("lacks: test/neg, test/pos"), "{message}");
    // A file where a folder is looked for.
    for (file, says) in
        [("r.csv", "`csv(…)` reads such a file"), ("r.bin", "r.bin is a file, where this source")]
    {
        folder.file(file, b"text,label\n");
        let other = set(DataSource::Imdb { folder: file.into() }, imdb.fields.clone());
        let message = read(&other, &folder).unwrap_err().to_string();
        assert!(message.contains(says) && !message.contains("does not exist"), "{message}");
    }
}

#[test]
fn a_text_stands_once_in_all_parts() {
    let folder = Folder::new();
    folder.file("r.csv", b"text,label\na,x\nb,y\na,y\nc,x\n");
    folder.file("test.csv", b"text,label\nb,x\nd,y\n");
    let mut set = csv("r.csv", vec![texts("text"), label()]);
    set.fields[1].cell = Cell::Class(vec!["x".into(), "y".into()]);
    set.splits.distinct = Some("text".into());
    let parts = read(&set, &folder).unwrap();
    assert_eq!(*parts.train.rows, [0, 1, 3], "the first is kept");
    assert_eq!(parts.notes, ["1 row is left out, whose `text` stands in another"]);
    set.splits.test = Held::File("test.csv".into());
    let parts = read(&set, &folder).unwrap();
    assert_eq!((&*parts.train.rows, &*parts.test.rows), (&[0, 3][..], &[0, 1][..]));
    assert_eq!(parts.notes, ["2 rows are left out, whose `text` stands in others"]);
    folder.file("r.csv", b"text,label,part\na,x,train\nb,y,train\na,y,test\n");
    set.splits = Splits { column: Some("part".into()), distinct: Some("text".into()), ..Splits::default() };
    let parts = read(&set, &folder).unwrap();
    assert_eq!((&*parts.train.rows, &*parts.test.rows), (&[1][..], &[2][..]));
}

const SERIES: &str = "# a comment
@problemName Walks
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
1,2,3:4,5,6:up
7,?:8,9:down
";

fn series(ragged: bool, steps: &[usize]) -> DataSet {
    let shape: Vec<usize> = steps.iter().copied().chain([2]).collect();
    let series = Field {
        optional: true,
        ragged: ragged.then(|| "t".to_string()),
        ..Field::new("series", DType::F32, shape)
    };
    let mut fields = vec![series, label()];
    fields.extend(ragged.then(|| length("series")));
    set(DataSource::Series { file: "walks.ts".into() }, fields)
}

#[test]
fn time_series_are_rows_of_steps() {
    let folder = Folder::new();
    folder.file("walks.ts", SERIES.as_bytes());
    let parts = read(&series(true, &[]), &folder).unwrap();
    let mut batch = Batch::default();
    batch.gather(&parts.train, &[0, 1]).unwrap();
    let values: Vec<f32> = batch.columns[0].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(batch.shape(&parts.train.table, 0), [2, 3, 2]);
    assert_eq!(values[..8], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0, 7.0, 8.0]);
    assert!(values[8].is_nan() && values[9..] == [9.0, 0.0, 0.0]);
    assert_eq!(integers(&batch.columns[1]), [1, 0]);
    assert_eq!(integers(&batch.columns[2]), [3, 2]);
}

#[test]
fn a_head_that_lies_is_found_out() {
    let folder = Folder::new();
    let message = |text: String, set: &DataSet| {
        folder.file("walks.ts", text.as_bytes());
        read(set, &folder).unwrap_err().to_string()
    };
    let ragged = series(true, &[]);
    for (from, to, expected) in [
        ("@dimensions 2", "@dimensions 3", "the series have 3 channels, but the spec says 2"),
        ("7,?:8,9:down", "7,?:8,9:left", "line 11: `left` is none of the classes of the head: up, down"),
        ("7,?:8,9:down", "7,?:8:down", "channel 2 has 1 steps, but another has 2"),
        ("7,?:8,9:down", "7,?:down", "line 11: 1 channels, where the spec says 2"),
        ("7,?:8,9:down", "7,x:8,9:down", "channel 1, step 2: `x` is no number"),
        ("@timeStamps false", "@timeStamps true", "series with time stamps are not read"),
        ("@classLabel true up down", "@classLabel false", "the cases have neither a class nor a target"),
        ("@data", "@dota", "a line of the head begins with `@`"),
        ("@dimensions 2", "@dimensions two", "`@dimensions` is a whole number, not `two`"),
    ] {
        let found = message(SERIES.replace(from, to), &ragged);
        assert!(found.contains(expected), "{found}");
    }
    assert!(message("@data\n".into(), &ragged).contains("neither a class"), "no head at all");
    let missing =
        DataSet { fields: vec![Field { optional: false, ..ragged.fields[0].clone() }, label()], ..ragged };
    assert!(message(SERIES.into(), &missing).contains("the spec says `series: f32[t, 2]?`"));
    let alike = message(SERIES.into(), &series(false, &[3]));
    assert!(alike.contains("line 11: `series`: 4 numbers where the row has 6"), "{alike}");
}

#[test]
fn axes_of_one_name_are_as_long_in_every_row() {
    let folder = Folder::new();
    let list = |name: &str| Field { ragged: Some("t".into()), ..Field::new(name, DType::I32, []) };
    let set = set(DataSource::JsonLines { file: "r.jsonl".into() }, vec![list("words"), list("tags")]);
    folder.file("r.jsonl", b"{\"words\":[1,2],\"tags\":[0,1]}\n{\"words\":[3],\"tags\":[1]}\n");
    assert_eq!(read(&set, &folder).unwrap().train.len(), 2);
    folder.file("r.jsonl", b"{\"words\":[1,2],\"tags\":[0,1]}\n{\"words\":[3],\"tags\":[1,1]}\n");
    let message = read(&set, &folder).unwrap_err().to_string();
    assert!(message.contains("row 2 of the train part has 1 steps of `words`, but 2 of `tags`"), "{message}");
}

#[test]
fn buckets_hold_rows_of_similar_length_and_every_row_once() {
    let rows = 1000u32;
    let lengths: Vec<u64> = (0..u64::from(rows)).map(|row| (row * 7919) % 97 + 1).collect();
    let ends: Vec<u64> =
        lengths.iter().scan(0, |end, n| Some(std::mem::replace(end, *end + n) + n)).collect();
    let steps = *ends.last().unwrap() as usize;
    let column = Column::ragged("x", DType::U8, [], vec![1; steps], ends);
    let part = Part::whole(Table { rows: rows as usize, columns: vec![column], left_out: Vec::new() });
    let filled = |bucket: bool, epoch: u64| -> (usize, Vec<u32>) {
        let order = Order { batch: 16, shuffle: Some((3, epoch)), bucket };
        let rows = order.rows(&part);
        let longest = |rows: &[u32]| rows.iter().map(|row| lengths[*row as usize]).max().unwrap() as usize;
        (rows.chunks(16).map(|rows| longest(rows) * rows.len()).sum(), rows)
    };
    let (loose, _) = filled(false, 1);
    let (tight, order) = filled(true, 1);
    assert!(tight < steps + steps / 10 && loose > steps + steps / 2, "{tight} {loose} {steps}");
    assert_eq!(filled(true, 1).1, order, "the same again");
    assert_ne!(filled(true, 2).1, order, "another epoch");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..rows).collect::<Vec<_>>());
    // Batches are not in the order of their lengths.
    let means: Vec<u64> =
        order.chunks(16).map(|rows| rows.iter().map(|row| lengths[*row as usize]).sum()).collect();
    assert!(means.windows(2).any(|pair| pair[0] > pair[1]) && means.windows(2).any(|pair| pair[0] < pair[1]));
}

#[test]
fn an_empty_file_of_text_is_an_error() {
    let folder = Folder::new();
    folder.file("e.txt", b"");
    let source = DataSource::Documents { file: "e.txt".into(), rows: Rows::Line };
    let message = read(&set(source, vec![texts("text")]), &folder).unwrap_err().to_string();
    assert!(message.ends_with("there is no text"), "{message}");
}

/// Many blocks, whose classes come up in another order in each: the rows are as if the file were read from its beginning to its end.
#[test]
fn rows_of_many_blocks_are_those_of_the_file() {
    let folder = Folder::new();
    let (count, kinds) = (60_000usize, ["left", "right", "up", "down"]);
    let kind = |row: usize| kinds[(row / 900 + row * row % 3) % 4];
    let (mut text, mut json) = ("text,number,label\n".to_string(), String::new());
    for row in 0..count {
        text += &format!("\"{row}, \n\"\"quoted\"\"\",{row}.5,{}\n", kind(row));
        json += &format!(
            "{{\"label\": \"{}\", \"text\": \"{row}, \\n\\\"quoted\\\"\", \"number\": {row}.5}}\n",
            kind(row)
        );
    }
    folder.file("r.csv", text.as_bytes());
    folder.file("r.jsonl", json.as_bytes());
    let fields = || vec![texts("text"), Field::new("number", DType::F32, []), label()];
    for set in [csv("r.csv", fields()), set(DataSource::JsonLines { file: "r.jsonl".into() }, fields())] {
        let parts = read(&set, &folder).unwrap();
        let table = &parts.train.table;
        assert_eq!(
            (table.rows, &parts.classes[0].1[..]),
            (count, &["down", "left", "right", "up"].map(String::from)[..])
        );
        for row in 0..count {
            let mut number = Vec::new();
            table.columns[1].read(row, &mut number).unwrap();
            assert_eq!(number, (row as f32 + 0.5).to_le_bytes());
            let name = &parts.classes[0].1[table.columns[2].integer(row).unwrap() as usize];
            assert_eq!(
                (table.columns[0].text(row).unwrap(), name.as_str()),
                (format!("{row}, \n\"quoted\"").as_str(), kind(row))
            );
        }
    }
}
