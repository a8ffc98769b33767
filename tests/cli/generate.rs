//! Text out of a model: what `transformers` writes with the same weights, and what a user can do right and wrong.

use crate::harness::{Run, command, fine, folder, root, text, weft, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use weft_runtime::io::npy;
use weft_runtime::io::weights;
use weft_runtime::tensor::Tensor;

pub const GPT2: &str = "
model Gpt2(tokens: i32[n, t]) -> f32[n, t, 40] {
    let symbols = embedding(40, 16)
    let y = symbols(tokens)
        |> positions(32)
        |> block: repeat(2, transformer_block(attention(2, causal = true), feed_forward(64, activation = gelu(approximate = true))))
        |> last_norm: layer_norm
    y @ transpose(symbols.table)
}

generate more(prompt: i32[n, p]) {
    begin = prompt
    until = 1
    max = 16

    Gpt2(target)
}
";

/// What `tests/golden/generation.py` recorded of a model: the new tokens of each row and, of beams, their scores.
fn golden(name: &str) -> Value {
    let path = root().join("tests/golden/generation").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the golden file is there"))
        .expect("the golden file is JSON")
}

fn input(golden: &Value, name: &str, folder: &Path) -> String {
    let rows = golden["inputs"][name].as_array().expect("rows");
    let values: Vec<i32> = rows.iter().flat_map(ids).collect();
    let path = folder.join(format!("{name}.npy"));
    let tensor = Tensor::from_i32(&[rows.len(), values.len() / rows.len()], &values);
    npy::write(&path, tensor.view()).expect("the input can be written");
    format!("{name}={}", text(&path))
}

fn ids(row: &Value) -> Vec<i32> {
    row.as_array().expect("a row").iter().map(|id| id.as_i64().expect("a number") as i32).collect()
}

/// A strategy of the golden file, as `--by` takes it.
fn strategy(by: &Value) -> String {
    let arguments = by.as_object().expect("arguments").iter();
    let arguments: Vec<String> =
        arguments.map(|(name, value)| format!("{name} = {}", value.to_string().replace('"', ""))).collect();
    let word = if by["width"].is_null() { "greedy" } else { "beam" };
    if arguments.is_empty() { word.into() } else { format!("{word}({})", arguments.join(", ")) }
}

/// Every case of a golden file, by a command that lacks only its strategy.
fn agree(golden: &Value, args: &[&str]) {
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() >= 7);
    for case in cases {
        let by = strategy(&case["by"]);
        let rows = fine(&[args, &["--by", &by, "--json"]].concat()).objects();
        let due = case["tokens"].as_array().expect("rows");
        assert_eq!(rows.len(), due.len());
        for (at, (row, due)) in rows.iter().zip(due).enumerate() {
            let mut due = ids(due);
            assert_eq!(row["ended"], due.last() == Some(&1), "{by}, row {at}");
            due.retain(|id| *id != 1);
            assert_eq!(ids(&row["tokens"]), due, "{by}, row {at}");
            if let Some(score) = case["scores"].get(at) {
                let (got, due) = (row["score"].as_f64().expect("a score"), score.as_f64().expect("a score"));
                assert!((got - due).abs() <= 1e-4 * due.abs().max(1.0), "{by}, row {at}: {got}, not {due}");
            }
        }
    }
}

#[test]
fn t5_writes_what_transformers_writes() {
    let folder = folder("generate_t5");
    let home = root().join("tests/golden/generation/t5.safetensors");
    let place = folder.join("data/t5-small");
    std::fs::create_dir_all(&place).expect("the folder can be made");
    std::fs::copy(&home, place.join("model.safetensors")).expect("the golden file is there");
    let spec = folder.join("t5_small.weft");
    std::fs::copy(root().join("specs/t5_small.weft"), &spec).expect("the spec is there");
    let golden = golden("t5");
    let source = input(&golden, "source", &folder);
    let mut args = vec!["generate", text(&spec), "target_of", "--input", &source, "--max", "16"];
    let settings = weights::read(&home).expect("the golden file can be read").metadata["settings"].clone();
    settings.split(' ').for_each(|setting| args.extend(["--set", setting]));
    agree(&golden, &args);
}

#[test]
fn a_decoder_goes_on_as_transformers_does() {
    let folder = folder("generate_gpt2");
    let spec = write(&folder, "gpt2.weft", GPT2);
    let weights = root().join("tests/golden/generation/gpt2.safetensors");
    let golden = golden("gpt2");
    let prompt = input(&golden, "prompt", &folder);
    agree(&golden, &["generate", &spec, "--weights", text(&weights), "--input", &prompt]);
}

/// Each byte of the book is followed by one other, so that the model knows how to go on.
const BOOK: &str = "abc é,\n";
const SPEC: &str = "
setting beams = 2
model Next(tokens: i32[n, t]) -> f32[n, t, 256] { tokens |> embedding(256, 16) |> dense(256) }
data book = text(\"book.txt\", window = 17) {
    input = i32(text[:-1])
    next = i32(text[1:])
}
data pairs = csv(\"pairs.csv\") -> { prompt: text, answer: text } { split test = 0.25 }
train {
    on book as { input, next }
    batch = 8
    epochs = 12
    seed = 1
    minimize cross_entropy(Next(input), next) using adam(rate = 0.03)
}
generate story(prompt: text[n]) {
    begin = tokenize(prompt, bytes())
    max = 16

    Next(target)
}
generate word(prompt: text[n]) {
    begin = tokenize(prompt, bytes())
    until = [\" \", \",\\n\"]

    Next(target)
}
generate wild(prompt: text[n]) {
    begin = tokenize(prompt, bytes())
    max = 40
    by = sample(temperature = 8.0)

    Next(target)
}
generate searched(prompt: text[n]) {
    begin = tokenize(prompt, bytes())
    until = \"\\n\"
    max = 9
    by = beam(beams, length_penalty = 0.5)

    Next(target)
}
generate numbers() {
    begin = [97, 98]
    max = 3

    Next(target)
}
";

pub struct Home {
    pub folder: PathBuf,
    pub spec: String,
    pub weights: String,
}

/// A folder with a model that was trained on the book.
pub fn home(name: &str) -> Home {
    let folder = folder(name);
    write(&folder, "book.txt", BOOK.repeat(60));
    write(&folder, "pairs.csv", format!("prompt,answer\n{}", "a,bc\nab,c\n".repeat(30)));
    let spec = write(&folder, "next.weft", SPEC);
    let run = folder.join("run");
    fine(&["train", &spec, "--out", text(&run), "--json"]);
    let weights = text(&run.join("last.safetensors")).to_owned();
    Home { folder, spec, weights }
}

impl Home {
    fn args<'a>(&'a self, item: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["generate", &self.spec, item, "--weights", &self.weights], more].concat()
    }

    pub fn written(&self, item: &str, more: &[&str]) -> String {
        fine(&self.args(item, more)).out
    }
}

#[test]
fn a_text_is_gone_on_with_letter_by_letter() {
    let home = home("generate");
    assert_eq!(home.written("story", &["--input", "prompt=a"]), "bc é,\nabc é,\na\n");
    assert_eq!(home.written("story", &["--input", "prompt=a", "--max", "4"]), "bc \u{fffd}\n");
    // A text ends before one of the pieces that end it, of which nothing is shown.
    assert_eq!(home.written("word", &["--input", "prompt=a"]), "bc\n");
    assert_eq!(home.written("word", &["--input", "prompt=c "]), "é\n");
    assert_eq!(home.written("searched", &["--input", "prompt=a"]), "bc é,\n");
    assert_eq!(home.written("searched", &["--input", "prompt=a", "--set", "beams=1"]), "bc é,\n");
    assert_eq!(home.written("numbers", &[]), "99 32 195\n");
    let object = fine(&home.args("word", &["--input", "prompt=ab", "--json"])).last_object();
    assert_eq!(object["text"], "c");
    assert_eq!(object["given"]["prompt"], "ab");
    assert_eq!(object["ended"], true);
    let object = fine(&home.args("story", &["--input", "prompt=ab", "--json", "--max", "2"])).last_object();
    assert_eq!((&object["ended"], ids(&object["tokens"])), (&Value::Bool(false), vec![99, 32]));
}

#[test]
fn several_texts_are_written_as_if_each_were_alone() {
    let home = home("generate_rows");
    let prompts = ["a", "abc", "b", "abc é", "c"];
    let file = write(&home.folder, "prompts", prompts.join("\n"));
    let given = format!("prompt=@{file}");
    let lines = prompts.map(|prompt| home.written("word", &["--input", &format!("prompt={prompt}")]));
    assert_eq!(home.written("word", &["--input", &given]), lines.concat());
    let objects: Vec<String> =
        prompts.iter().map(|prompt| serde_json::json!({ "prompt": prompt }).to_string()).collect();
    let file = write(&home.folder, "prompts.jsonl", objects.join("\n"));
    assert_eq!(home.written("word", &["--input", &format!("prompt=@{file}")]), lines.concat());
    let mut child = command(&home.args("word", &["--input", "prompt=-"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("weft starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    stdin.write_all(prompts.join("\n").as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines.concat());
    // What is drawn for a row depends on its number and the seed, and on nothing beside it.
    let wild = |more: &[&str]| -> Vec<Value> {
        let args = home.args("wild", &[&["--input", &given, "--json"], more].concat());
        fine(&args).objects().iter().map(|row| row["tokens"].clone()).collect()
    };
    let first = wild(&["--seed", "3", "--threads", "1"]);
    assert_eq!(wild(&["--seed", "3", "--threads", "2"]), first);
    assert_ne!(wild(&["--seed", "4"]), first);
    let alone = fine(&home.args("wild", &["--input", "prompt=a", "--seed", "3", "--json"])).last_object();
    assert_eq!(alone["tokens"], first[0]);
}

#[test]
fn what_is_written_for_a_part_of_the_data_is_held_against_its_answers() {
    let home = home("generate_measured");
    let on = ["--on", "pairs.test", "--against", "answer"];
    let table = home.written("word", &on);
    for part in [
        "word                 ",
        "prompt itself",
        "nearest training row",
        "15 rows of pairs.test, against answer",
    ] {
        assert!(table.contains(part), "{table}");
    }
    let objects = fine(&home.args("word", &[&on[..], &["--rows", "10", "--json"]].concat())).objects();
    let (figures, rows) = objects.split_last().expect("the figures come last");
    assert_eq!((rows.len(), figures["rows"].as_u64()), (10, Some(10)));
    for row in rows {
        assert_eq!(row["text"], row["reference"], "{row}");
    }
    let chrf = |at: usize| figures["figures"][at]["chrf"].as_f64().expect("a number");
    assert_eq!((chrf(0), chrf(2)), (100.0, 100.0), "{figures}");
    assert!(chrf(1) < 50.0, "{figures}");
    let run = |more: &[&str]| weft(&home.args("word", more));
    run(&["--on", "pairs.tset", "--against", "answer"]).fails(2, &["pairs.tset", "did you mean `test`?"]);
    run(&["--on", "pears.test", "--against", "answer"]).fails(2, &["no data set `pears`", "book, pairs"]);
    run(&["--on", "pairs.test", "--against", "anser"]).fails(1, &["`anser`", "did you mean `answer`?"]);
    run(&["--on", "pairs.test"]).fails(2, &["--against"]);
    let input = ["--input", "prompt=a"];
    run(&[&on[..], &input[..]].concat()).fails(2, &["`prompt` comes from the rows of pairs.test"]);
}

#[cfg(unix)]
#[test]
fn lines_come_as_they_are_written_and_an_interruption_keeps_them() {
    let home = home("generate_interrupted");
    let mut child = command(&home.args("story", &["--input", "prompt=a", "--max", "1000000"]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("weft starts");
    let mut out = BufReader::new(child.stdout.take().expect("it has an output"));
    let mut line = String::new();
    for due in ["bc é,\n", "abc é,\n"] {
        line.clear();
        out.read_line(&mut line).expect("it writes");
        assert_eq!(line, due);
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill starts").success());
    let rest: Vec<String> = out.lines().map(|line| line.expect("it writes text")).collect();
    assert!(child.wait().expect("it ends").success());
    let (last, whole) = rest.split_last().expect("the last line is ended, too");
    assert!(whole.iter().all(|line| line == "abc é,"), "{whole:?}");
    assert!("abc é,".starts_with(last.trim_end_matches('\u{fffd}')), "{last:?}");
}

#[test]
fn what_a_user_asks_in_vain_is_said() {
    let home = home("generate_wrong");
    let run = |item: &str, more: &[&str]| -> Run { weft(&home.args(item, more)) };
    run("storry", &["--input", "prompt=a"]).fails(2, &["no generate item `storry`", "story, word, wild"]);
    let unnamed = weft(&["generate", &home.spec, "--weights", &home.weights, "--input", "prompt=a"]);
    unnamed.fails(2, &["several generate items", "weft generate SPEC NAME"]);
    run("story", &[]).fails(2, &["the input `prompt` is missing", "--input prompt=\"a text\""]);
    run("story", &["--input", "promt=a"]).fails(2, &["there is no input `promt`; the inputs are `prompt`"]);
    run("numbers", &["--input", "x=1"]).fails(2, &["nothing is to be given"]);
    run("story", &["--input", "prompt=a", "--input", "prompt=b"]).fails(2, &["given twice"]);
    run("story", &["--input", "prompt="]).fails(1, &["`prompt` has no token to begin with"]);
    let spaced = write(&home.folder, "spaced.txt", "a\nb\n\nc\n");
    let spaced = format!("prompt={spaced}");
    run("story", &["--input", &spaced])
        .fails(1, &["the text of `prompt` in row 3 has no token to begin with"]);
    run("story", &["--input", "prompt=@absent"]).fails(1, &["absent"]);
    run("story", &["--input", "prompt=a", "--max", "0"]).fails(2, &["--max"]);
    let by = |by: &str| run("story", &["--input", "prompt=a", "--by", by]);
    by("bean(4)").fails(1, &["no way to choose tokens", "called `bean`", "did you mean `beam`?"]);
    by("sample(temperature = 0)").fails(1, &["`temperature` is above 0", "`by = greedy`"]);
    by("beam(4").fails(1, &["--by"]);
    weft(&["generate", &home.spec, "story", "--input", "prompt=a"]).fails(2, &["--weights FILE"]);
    let none = write(&home.folder, "none.weft", "model M(x: f32[n, 8]) { x |> dense(8) }");
    weft(&["generate", &none]).fails(1, &["the spec has no `generate` item"]);
}

#[test]
fn a_token_that_the_model_lacks_is_no_full_memory() {
    let folder = folder("generate_stray");
    let spec = write(
        &folder,
        "m.weft",
        "model M(source: i32[n, s], target: i32[n, t]) -> f32[n, t, 30] {
             let context = source |> known: embedding(20, 4) |> mean(axis = 1)
             let words = target |> table: embedding(30, 4) |> places: positions(8)
             let both = words + expand(context, 1)
             both |> out: dense(30)
         }
         generate more(source: i32[n, s], start: i32[n, p]) {
             begin = start
             max = 20
             M(source, target)
         }",
    );
    let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]);
    let tensors = [
        ("M.known.table", tensor(&[20, 4])),
        ("M.table.table", tensor(&[30, 4])),
        ("M.places.table", tensor(&[8, 4])),
        ("M.out.weight", tensor(&[4, 30])),
        ("M.out.bias", tensor(&[30])),
    ];
    let path = folder.join("zeros.safetensors");
    let views: BTreeMap<&str, _> = tensors.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
    weights::write(&path, &views, &BTreeMap::new()).expect("the weights can be written");
    let run = |source: &str, start: &str, max: &str| {
        let (source, start) = (format!("source={source}"), format!("start={start}"));
        let given = ["--input", &source, "--input", &start, "--max", max];
        weft(&[&["generate", &spec, "--weights", text(&path)], &given[..]].concat())
    };
    assert_eq!(run("1,2", "1,2,29", "5").ends_with(0).out, "0 0 0 0 0\n");
    let full = "the model may take no more tokens";
    for (source, start, says) in [
        ("1,2", "1,2,30", "the token 30 is not in the model's vocabulary"),
        ("1,2", "1,-2", "the token -2 is not in the model's vocabulary"),
        ("1,20", "1,2", "the token 20 of `source` is not in the model's vocabulary"),
    ] {
        let said = run(source, start, "2").fails(1, &[says]);
        assert!(!said.err.contains(full), "{said}");
    }
    assert!(run("1,2", "1,2,30", "2").err.contains("has 30, 0 to 29"));
    assert!(run("1,2", "1,2,3", "9").err.contains(full));
    run("1,2", "1,2,3,4,5,6,7,8,9", "1").fails(1, &[full]);
}

#[test]
fn tokens_that_a_tokenizer_lacks_are_named_when_it_is_read() {
    let folder = folder("generate_tokens");
    let golden = root().join("tests/golden/tokenizers/unigram.json");
    std::fs::copy(golden, folder.join("t.json")).expect("the golden file is there");
    let with = |until: &str| {
        let spec = format!(
            "model M(tokens: i32[n, t]) -> f32[n, t, 200] {{ tokens |> embedding(200, 4) |> dense(200) }}
             data pairs = npz(\"pairs.npz\") -> {{ tokens: i32[4], next: i32[4] }}
             train {{ on pairs  minimize cross_entropy(M(tokens), next) using sgd() }}
             generate story(prompt: text[n]) {{
                 begin = tokenize(prompt, tokenizer(\"t.json\", size = 200))
                 until = \"{until}\"
                 M(target)
             }}"
        );
        write(&folder, "m.weft", spec)
    };
    let weights = weights_of_zeros(&folder);
    let run = |until: &str| {
        weft(&["generate", &with(until), "--weights", &weights, "--input", "prompt=light", "--max", "2"])
    };
    run("</ss>").fails(1, &["it has no token `</ss>`; did you mean `</s>`?"]);
    run("</s>").ends_with(0);
}

/// Weights of the model `M` above, all zero: every token is as good as any other.
fn weights_of_zeros(folder: &Path) -> String {
    let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]);
    let tensors = [
        ("M.dense.bias", tensor(&[200])),
        ("M.dense.weight", tensor(&[4, 200])),
        ("M.embedding.table", tensor(&[200, 4])),
    ];
    let path = folder.join("zeros.safetensors");
    let views: BTreeMap<&str, _> = tensors.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
    weights::write(&path, &views, &BTreeMap::new()).expect("the weights can be written");
    text(&path).to_owned()
}

#[test]
fn an_executable_writes_the_same_texts() {
    let home = home("generate_executable");
    let executable = home.folder.join("next");
    fine(&["build", &home.spec, "--weights", &home.weights, "-o", text(&executable)]);
    let written = |args: &[&str]| {
        let ended =
            std::process::Command::new(&executable).args(args).env_clear().output().expect("it starts");
        Run::of(args, ended).ends_with(0).out
    };
    for (item, input) in [("story", "a"), ("word", "c "), ("wild", "b"), ("searched", "a")] {
        let given = format!("prompt={input}");
        assert_eq!(
            written(&["generate", item, "--prompt", input]),
            home.written(item, &["--input", &given]),
            "{item}"
        );
    }
    assert_eq!(written(&["generate", "numbers"]), "99 32 195\n");
    assert_eq!(written(&["generate", "story", "--prompt", "a", "--max", "4"]), "bc \u{fffd}\n");
}
