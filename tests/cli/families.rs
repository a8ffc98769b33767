//! One executable of each family of models, alone in an empty root: its answers are those of `weft predict` and `weft generate`.
//!
//! The models are tiny and trained for a few steps: what they say is nonsense, but the same nonsense.

use std::path::{Path, PathBuf};
use std::process::Command;

use weft_runtime::io::{npy, png};
use weft_runtime::tensor::Tensor;

use crate::executable;
use crate::files;
use crate::harness::{Run, fine, folder, root, text, write};
use crate::train::trained;

/// A spec of the repository with smaller settings and its weights.
pub struct Model {
    pub folder: PathBuf,
    pub args: Vec<String>,
    pub weights: String,
}

/// Trains a spec of `specs/` for an epoch.
fn model(name: &str, spec: &str, settings: &[&str], data: &str, more: &[&str]) -> Model {
    let folder = folder(&format!("family_{name}"));
    let run = folder.join("run");
    let mut args = vec![spec.to_owned()];
    settings.iter().for_each(|setting| args.extend(["--set".into(), (*setting).to_owned()]));
    let mut train: Vec<&str> = vec!["train"];
    train.extend(args.iter().map(String::as_str));
    train.extend(["--data", data, "--out", text(&run), "--json", "--epochs", "1"]);
    train.extend(more);
    fine(&train);
    let weights = text(&run.join("last.safetensors")).to_owned();
    Model { folder, args, weights }
}

impl Model {
    pub fn weft(&self, command: &str, item: &str, more: &[&str]) -> Run {
        fine(&self.command(command, item, more))
    }

    /// A command line of `weft` about it.
    pub fn command<'a>(&'a self, command: &'a str, item: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec![command, &self.args[0]];
        args.extend((!item.is_empty()).then_some(item));
        args.extend(self.args[1..].iter().map(String::as_str));
        args.extend(["--weights", &self.weights]);
        args.extend(more);
        args
    }

    /// Builds it, and moves it where nothing else is.
    fn alone(&self) -> Alone {
        let built = self.folder.join("built");
        self.weft("build", "", &["-o", text(&built)]);
        let root = self.folder.join("root");
        std::fs::create_dir(&root).expect("the folder can be made");
        std::fs::rename(&built, root.join("model")).expect("it can be moved");
        Alone { root }
    }
}

/// A folder that is the whole world of the executable in it.
struct Alone {
    root: PathBuf,
}

impl Alone {
    /// Runs it with no environment, in a root that holds it alone. Who may not change the root is told so, and runs it beside the others.
    fn run(&self, args: &[&str]) -> Run {
        let places = ["/usr/sbin/chroot", "/usr/bin/chroot", "/sbin/chroot"];
        if let Some(chroot) = places.iter().find(|place| Path::new(place).is_file()) {
            let mut command = Command::new(chroot);
            command.arg(&self.root).arg("/model").args(args).env_clear();
            let ended = command.output().expect("it starts");
            // Its own exit code: it was not allowed to, or could not start what it was given.
            if ended.status.code() != Some(125) {
                return Run::of(args, ended).ends_with(0);
            }
        }
        eprintln!(
            "NOT RUN IN AN EMPTY ROOT: this user may not change the root; run the tests as root to have it tested"
        );
        let mut command = Command::new(self.root.join("model"));
        command.args(args).env_clear().current_dir(&self.root);
        Run::of(args, command.output().expect("it starts")).ends_with(0)
    }

    /// What it drew.
    fn drawn(&self) -> Tensor {
        picture(self.root.join("drawn.png"))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        write(&self.root, name, content)
    }
}

/// The pixels of a picture: how they are packed in its file depends on what else is in the program.
fn picture(file: impl AsRef<Path>) -> Tensor {
    png::read(file.as_ref(), 3).expect("it was drawn")
}

fn images(alone: &Alone) -> String {
    let data = executable::ROWS.flat_map(files::digit).collect::<Vec<u8>>();
    let tensor = Tensor::from_u8(&[executable::ROWS.len(), 28, 28, 1], &data);
    alone.file("rows.npy", npy::encode(tensor.view()).expect("it can be written"))
}

#[test]
fn a_classifier_alone() {
    let settings = ["width=2"];
    let model = model("classifier", "specs/mnist_cnn.weft", &settings, &trained().data(), &[]);
    let alone = model.alone();
    let rows = images(&alone);
    let due = model.weft("predict", "", &["--json", "--input", &format!("image={rows}")]);
    assert_eq!(alone.run(&["predict", "--image", "rows.npy", "--json"]).out, due.out);
    alone.file("seven.png", files::png(28, 28, &files::digit(7)));
    assert!(alone.run(&["predict", "--image", "seven.png"]).out.starts_with("label "));
    assert!(alone.run(&["info"]).out.contains("mnist_cnn"));
}

#[test]
fn an_autoencoder_alone() {
    let settings = ["units=8", "code=4"];
    let model = model("autoencoder", "specs/autoencoder.weft", &settings, &trained().data(), &[]);
    let alone = model.alone();
    let rows = images(&alone);
    let (input, output) = (format!("image={rows}"), text(&model.folder.join("due.png")).to_owned());
    model.weft("predict", "", &["--input", &input, "--output", &output]);
    alone.run(&["predict", "--image", "rows.npy", "--output", "drawn.png"]);
    assert!(alone.drawn() == picture(&output));
}

#[test]
fn a_generator_of_images_alone() {
    let settings = ["width=2", "latent=6"];
    let model = model("gan", "specs/gan_mnist.weft", &settings, &trained().data(), &["--batch", "100"]);
    let alone = model.alone();
    let output = text(&model.folder.join("due.png")).to_owned();
    model.weft("predict", "", &["--input", "z=normal(4)", "--seed", "3", "--output", &output]);
    alone.run(&["predict", "--z", "normal(4)", "--seed", "3", "--output", "drawn.png"]);
    assert!(alone.drawn() == picture(&output));
}

/// Texts whose words tell which they are.
const FILMS: [(&str, &str); 4] = [
    ("the plot was dull and the end was bad", "poor"),
    ("a great film and a fine end", "good"),
    ("dull from the first word to the last", "poor"),
    ("what a fine great film", "good"),
];

#[test]
fn a_classifier_of_texts_alone() {
    let table = folder("family_films").join("films.csv");
    let rows = (0..60).map(|row| FILMS[row % 4]).map(|(film, label)| format!("{film},{label}\n"));
    std::fs::write(&table, format!("text,label\n{}", rows.collect::<String>())).expect("it can be written");
    let data = format!("reviews={}", text(&table));
    let settings = ["vocab=30", "units=4"];
    // The rows stand many times, so those that are alike may not be kept apart.
    let spec = std::fs::read_to_string(root().join("specs/imdb_lstm.weft")).expect("the spec is there");
    let spec = spec.replace("distinct = text, ", "");
    let spec = write(&folder("family_films_spec"), "imdb_lstm.weft", spec);
    let model = model("texts", &spec, &settings, &data, &["--batch", "8"]);
    let alone = model.alone();
    for (film, _) in FILMS {
        let due = model.weft("predict", "", &["--json", "--input", &format!("text={film}")]);
        assert_eq!(alone.run(&["predict", "--text", film, "--json"]).out, due.out, "{film}");
    }
}

/// Verses in two languages.
pub const VERSES: [(&str, &str); 3] = [
    (
        "In the beginning God created the heaven and the earth.",
        "En el principio creó Dios los cielos y la tierra.",
    ),
    ("And God said, Let there be light.", "Y dijo Dios: Sea la luz."),
    ("And the evening and the morning were the second day.", "Y fue la tarde y la mañana el segundo día."),
];

/// A translator of verses, in folders of this name.
pub fn translator(name: &str) -> Model {
    let home = folder(&format!("{name}_verses"));
    let table = |rows: usize| {
        let rows = (0..rows).map(|row| VERSES[row % 3]).map(|(en, es)| format!("{en}\t{es}\n"));
        format!("english\tspanish\n{}", rows.collect::<String>())
    };
    write(&home, "train.tsv", table(48));
    write(&home, "test.tsv", table(3));
    let spec = std::fs::read_to_string(root().join("specs/en_es.weft")).expect("the spec is there");
    let spec = write(&home, "en_es.weft", spec.replace("data/verses/", ""));
    let settings = ["layers=1", "width=16", "heads=2", "hidden=32", "vocab=264", "longest=24"];
    let data = format!("verses={}", text(&home));
    model(name, &spec, &settings, &data, &["--batch", "8"])
}

#[test]
fn a_translator_alone() {
    let model = translator("translator");
    let alone = model.alone();
    for (verse, _) in VERSES {
        let input = format!("english={verse}");
        let due = model.weft("generate", "spanish", &["--input", &input, "--json"]);
        assert_eq!(alone.run(&["generate", "--english", verse, "--json"]).out, due.out, "{verse}");
        assert!(!due.last_object()["tokens"].as_array().expect("tokens").is_empty(), "{due}");
    }
    rows_in_a_pipe(&model, &alone.root.join("model"), &VERSES.map(|(verse, _)| verse));
}

/// Lines of a pipe are answered on a line each, in their order, until one is wrong, which is told with its number.
fn rows_in_a_pipe(model: &Model, translator: &Path, verses: &[&str]) {
    let row = |verse: &&str| serde_json::json!({ "english": verse }).to_string() + "\n";
    let lines: String = verses.iter().map(row).collect();
    let together = write(&model.folder, "together.jsonl", &lines);
    let due = model.weft("generate", "spanish", &["--input", &format!("english=@{together}"), "--json"]);
    assert_eq!(executable::run(translator, &["generate"], &lines).ends_with(0).out, due.out);
    assert_eq!(executable::run(translator, &["generate", "spanish"], &lines).ends_with(0).out, due.out);
    for (wrong, told) in [
        ("{\"english\": 3}\n", "`english` is no text"),
        ("{\"spanish\": \"no\"}\n", "there is no input `spanish`; the inputs are `english`"),
        ("no row\n", "this is no JSON object"),
    ] {
        let ended = executable::run(translator, &["generate"], &format!("{lines}\n{wrong}")).ends_with(1);
        assert_eq!(ended.out, due.out, "{wrong}");
        let line = format!("standard input: line {}: {told}", verses.len() + 2);
        assert!(ended.err.contains(&line), "{ended}");
    }
}

#[test]
fn a_teller_of_stories_alone() {
    let book = write(&folder("family_book"), "book.txt", "In the beginning was the Word. ".repeat(200));
    let settings = ["layers=2", "width=16", "heads=2", "context=64"];
    let model = model("story", "specs/gpt.weft", &settings, &format!("book={book}"), &[]);
    let alone = model.alone();
    for prompt in ["In the", "W", "é"] {
        let input = format!("prompt={prompt}");
        let more = ["--input", &input, "--max", "24", "--seed", "5", "--json"];
        let due = model.weft("generate", "story", &more);
        let own = ["generate", "--prompt", prompt, "--max", "24", "--seed", "5", "--json"];
        assert_eq!(alone.run(&own).out, due.out, "{prompt}");
        assert_eq!(due.last_object()["tokens"].as_array().map(Vec::len), Some(24));
    }
    // As it is written, and as one text.
    let told = alone.run(&["generate", "--prompt", "In", "--max", "5", "--seed", "5"]).out;
    let due = model.weft("generate", "story", &["--input", "prompt=In", "--max", "5", "--seed", "5"]);
    assert_eq!(told, due.out);
}
