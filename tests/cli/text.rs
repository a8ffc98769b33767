//! Texts: cut into tokens by a vocabulary of the training rows, which travels with the weights.

use crate::harness::{fine, folder, text, weft, write};
use std::path::{Path, PathBuf};

pub const SPEC: &str = "
model Mood(tokens: i32[n, t], length: i32[n]) -> f32[n, 2] {
    let real = expand(f32(expand(iota(t), 0) < expand(length, -1)), -1)
    sum(embedding(60, 8)(tokens) * real, axis = 1) |> dense(2)
}
data reviews = csv(\"reviews.csv\") -> { text: text, label: class } {
    fit words = word_level(text, size = 60)
    tokens = tokenize(text, words, max_length = 9)
    split validation = 0.2, distinct = text
}
train {
    on reviews as { tokens, label }
    batch = 8
    epochs = 12
    seed = 3
    bucket = true
    let logits = Mood(tokens, tokens.length)
    minimize cross_entropy(logits, label) using adam(rate = 0.05)
    measure accuracy(logits, label)
}
predict mood(text: text[n]) -> { label, confidence } {
    let tokens = tokenize(text, reviews.words, max_length = 9)
    let p = softmax(Mood(tokens, tokens.length))
    { label = argmax(p), confidence = max(p, axis = -1) }
}
";

/// Reviews of different lengths whose mood one word tells; some stand twice.
pub fn reviews() -> String {
    let mut rows = String::from("text,label\n");
    for number in (0..120).chain(0..8) {
        let filler = ["the", "film", "was", "and", "its", "end", "plot"];
        let length = 1 + number * 7 % 11;
        let mut words: Vec<&str> = (0..length).map(|place| filler[(number + place * 3) % 7]).collect();
        let good = number % 2 == 0;
        words.insert(length / 2 % 5, [["dull", "bad"], ["fine", "great"]][usize::from(good)][number / 2 % 2]);
        rows += &format!("{},{}\n", words.join(" "), if good { "good" } else { "poor" });
    }
    rows
}

struct Home {
    folder: PathBuf,
    spec: String,
}

fn home(name: &str, spec: &str) -> Home {
    let folder = folder(name);
    write(&folder, "reviews.csv", reviews());
    let spec = write(&folder, "mood.weft", spec);
    Home { folder, spec }
}

fn trained(home: &Home, out: &str, more: &[&str]) -> PathBuf {
    let out = home.folder.join(out);
    let mut args = vec!["train", &home.spec, "--out", text(&out), "--json"];
    args.extend(more);
    fine(&args);
    out
}

fn bytes(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("last.safetensors")).expect("the weights are there")
}

#[test]
fn a_text_is_judged_by_the_words_of_the_training() {
    let home = home("text", SPEC);
    let run = trained(&home, "run", &[]);
    let weights = run.join("last.safetensors");
    let said = |input: &str| {
        let given = format!("text={input}");
        fine(&["predict", &home.spec, "--weights", text(&weights), "--input", &given]).out
    };
    assert!(said("the end was great").starts_with("label 0"), "{}", said("the end was great"));
    assert!(said("what a dull plot").starts_with("label 1"));
    let lines = write(&home.folder, "said.txt", "the film was bad\nfine and the end was fine\n");
    let both = said(&lines);
    let labels: Vec<&str> = both.lines().map(|line| &line[..7]).collect();
    assert_eq!(labels, ["label 1", "label 0"]);
    let objects = write(
        &home.folder,
        "said.jsonl",
        "\"the film was bad\"\n{\"text\": \"fine and the end was fine\"}\n",
    );
    assert_eq!(said(&objects), both);
    // An empty line is an empty text, so that answers line up with the file; the end of the last line is no text.
    let spaced = write(&home.folder, "spaced.txt", "the film was bad\n\n\r\nfine and the end was fine\n");
    let answers = said(&spaced);
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[3]),
        (4, both.lines().next().unwrap(), both.lines().last().unwrap())
    );
    assert_eq!(lines[1], lines[2]);
    // A row beside a longer one gets the answer that it gets alone.
    let alone: Vec<String> =
        ["the film was bad", "fine and the end was fine"].iter().map(|text| said(text)).collect();
    assert_eq!(alone.concat(), both);
    // The report shows texts with their answers.
    let page = std::fs::read_to_string(run.join("report.html")).expect("a report");
    assert!(
        page.contains("great") && page.contains("<th>text</th>") || page.contains(">text<"),
        "no text in the report"
    );
    // Other data of the same weights are cut by the words of the weights.
    write(&home.folder, "reviews.csv", format!("{}zebra great,good\nzebra bad,poor\n", reviews()));
    let held = write(&home.folder, "held.weft", SPEC.replace("split validation", "split test"));
    let evaluated = fine(&["eval", &held, "--weights", text(&weights)]).out;
    assert!(evaluated.contains("accuracy"), "{evaluated}");
    // So are those of a training that starts from them.
    let further = trained(&home, "further", &["--weights", text(&weights), "--epochs", "1"]);
    let vocabulary = |run: &Path| {
        let bytes = bytes(run);
        let size = u64::from_le_bytes(*bytes.first_chunk::<8>().expect("a header")) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + size]).expect("JSON");
        header["__metadata__"]["vocabulary.reviews.words"].as_str().expect("the vocabulary").to_owned()
    };
    assert_eq!(vocabulary(&further), vocabulary(&run));
    assert!(!vocabulary(&run).contains("zebra"));
    let wrong = weft(&["predict", &home.spec, "--weights", text(&weights), "--input", "words=bad"]);
    assert!(wrong.code != Some(0) && wrong.err.contains("the inputs are `text`"), "{}", wrong.err);
}

#[test]
fn training_on_texts_is_the_same_bits_for_every_number_of_threads_and_after_an_interruption() {
    let home = home("text_bits", SPEC);
    let first = bytes(&trained(&home, "one", &["--threads", "1"]));
    assert_eq!(bytes(&trained(&home, "two", &["--threads", "2"])), first);
    let cut = home.folder.join("cut");
    fine(&["train", &home.spec, "--out", text(&cut), "--json", "--epochs", "5"]);
    fine(&["train", &home.spec, "--resume", text(&cut), "--json", "--epochs", "12"]);
    let tensors = |bytes: &[u8]| {
        let size = u64::from_le_bytes(*bytes.first_chunk::<8>().expect("a header")) as usize;
        bytes[8 + size..].to_vec()
    };
    assert_eq!(tensors(&bytes(&cut)), tensors(&first));
}

#[test]
fn data_shows_texts_tokens_and_lengths() {
    let home = home("text_data", SPEC);
    let shown = fine(&["data", &home.spec]).out;
    for part in [
        "i32[text.tokens]",
        "reviews.words: ",
        "steps a row",
        "text \"",
        "left out, whose `text` stands in others",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&fine(&["data", &home.spec, "--json"]).out).expect("JSON");
    assert_eq!(json["lengths"][0]["field"], "text.tokens");
    assert!(json["vocabularies"][0]["tokens"].as_u64().is_some_and(|tokens| tokens <= 60));
}

#[test]
fn a_tokenizer_from_a_file_is_checked_and_kept() {
    let json =
        std::fs::read_to_string(crate::harness::root().join("tests/golden/tokenizers/word_piece.json"))
            .expect("there");
    let spec = SPEC
        .replace("word_level(text, size = 60)", "tokenizer(\"bert.json\", size = 200)")
        .replace("embedding(60", "embedding(200");
    let home = home("text_file", &spec);
    let file = write(&home.folder, "bert.json", &json);
    let run = trained(&home, "run", &[]);
    std::fs::remove_file(&file).expect("removed");
    let weights = run.join("last.safetensors");
    fine(&["predict", &home.spec, "--weights", text(&weights), "--input", "text=the end"]);
    for (content, message) in
        [(None, "cannot read"), (Some(&json[..json.len() / 2]), "this is no tokenizer.json")]
    {
        if let Some(content) = content {
            write(&home.folder, "bert.json", content);
        }
        let failed = weft(&["data", &home.spec]);
        assert!(failed.code != Some(0) && failed.err.contains(message), "{}", failed.err);
    }
    write(&home.folder, "bert.json", &json);
    let small = write(&home.folder, "small.weft", spec.replace("size = 200", "size = 100"));
    let failed = weft(&["data", &small]);
    assert!(failed.err.contains("it has 200 tokens, but the spec says size = 100"), "{}", failed.err);
    let unknown = write(
        &home.folder,
        "unknown.weft",
        spec.replace("words, max_length", "words, end = \"</S>\", max_length"),
    );
    let failed = weft(&["data", &unknown]);
    assert!(failed.err.contains("it has no token `</S>`"), "{}", failed.err);
}

#[test]
fn windows_of_tokens_train_a_language_model() {
    let folder = folder("text_windows");
    write(&folder, "book.txt", "abcd efgh\n".repeat(60));
    let spec = write(
        &folder,
        "book.weft",
        "model Next(tokens: i32[n, t]) -> f32[n, t, 40] { tokens |> embedding(40, 16) |> dense(40) }
data book = text(\"book.txt\") {
    fit letters = characters(text, size = 40)
    tokens = tokenize(text, letters, window = 9, stride = 4)
    next = tokens[1:]
    tokens = tokens[:-1]
    split validation = 0.2
}
train {
    on book as { tokens, next }
    batch = 8
    epochs = 12
    let logits = Next(tokens)
    minimize cross_entropy(logits, next) using adam(rate = 0.05)
    measure accuracy(logits, next), perplexity(logits, next)
}
",
    );
    let out = folder.join("run");
    let run = fine(&["train", &spec, "--out", text(&out), "--json"]).out;
    let last = run.lines().rfind(|line| line.contains("\"epoch\":12,")).expect("the last epoch");
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    // Every letter but the first ones of words is told by the letter before it.
    assert!(last["validation"]["accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.95), "{last}");
}
