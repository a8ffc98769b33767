//! The formatter on every spec there is, and `check --render`: the same meaning with every default written out.

use std::path::PathBuf;
use weft_compiler::check::{self, Options};
use weft_compiler::graph::text;
use weft_compiler::{render, stages};
use weft_grammar::{FileId, format, parse};
use weft_tests::specs::{check_text, root};

/// Every spec of the repository that can be parsed, right or wrong, and those that documents show.
fn specs() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["specs", "tests/specs", "tests/bad", "grammar/tests/specs"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "weft") {
                let text = std::fs::read_to_string(&path).expect("the spec can be read");
                all.push((path, text));
            }
        }
    }
    for document in ["README.md", "grammar/README.md", "specs/std/README.md", "docs/language.md"] {
        let path = root().join(document);
        let text = std::fs::read_to_string(&path).expect("the document is there");
        all.extend(blocks(&text).map(|block| (path.clone(), block)));
    }
    all.sort();
    all.retain(|(_, text)| parse(FileId(0), text).errors.is_empty());
    assert!(all.len() > 150, "only {} specs were found", all.len());
    all
}

/// The specs that a document shows.
fn blocks(document: &str) -> impl Iterator<Item = String> {
    document.split("```weft\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
}

/// A tree as text, without its places: what it means.
fn meaning(text: &str) -> String {
    let mut tree = parse(FileId(0), text).file;
    tree.comments.clear();
    let debug = format!("{tree:?}");
    let mut out = String::new();
    let mut pieces = debug.split("Span {");
    out.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        out.push_str(piece.split_once('}').map_or("", |(_, rest)| rest));
    }
    out
}

#[test]
fn formatting_is_idempotent_and_keeps_meaning_and_comments() {
    for (path, text) in specs() {
        let tree = parse(FileId(0), &text).file;
        let once = format(&tree, &text);
        let again = parse(FileId(0), &once);
        assert!(again.errors.is_empty(), "{}: {:?}", path.display(), again.errors);
        assert_eq!(format(&again.file, &once), once, "{}", path.display());
        assert_eq!(meaning(&text), meaning(&once), "{}", path.display());
        let comments = |tree: &weft_grammar::ast::SourceFile| {
            tree.comments.iter().map(|comment| comment.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(comments(&tree), comments(&again.file), "{}", path.display());
    }
}

fn read(name: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(name)).map_err(|e| e.to_string())
}

/// The spec with its defaults, which must mean the same.
fn rendered(path: &str, settings: &[(String, String)]) -> String {
    rendered_by(path, &mut { read }, settings)
}

fn rendered_by(
    path: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
    settings: &[(String, String)],
) -> String {
    let options = Options { settings: settings.to_vec(), ..Options::default() };
    let (checked, calls) = check::check_noting_calls(path, read, &options);
    let rendered = render::render(&checked, &calls, settings).expect("a sound spec is rendered").text;
    let mut loader = |name: &str| if name == path { Ok(rendered.clone()) } else { read(name) };
    let again = check::check(path, &mut loader, &Options::default());
    let messages = weft_tests::specs::rendered(&again);
    let (Some(before), Some(after)) = (&checked.module, &again.module) else {
        panic!("{path} does not check with its defaults:\n{messages}\n{rendered}");
    };
    let graphs = |module: &weft_compiler::graph::Module| {
        module.entries.iter().map(|entry| text::print(&entry.graph)).collect::<Vec<_>>()
    };
    assert_eq!(graphs(before), graphs(after), "{path} is another spec with its defaults:\n{rendered}");
    // Lines are other ones: that is what is rendered.
    let trainings = |module: &weft_compiler::graph::Module| {
        let mut trainings = module.trainings.clone();
        trainings.iter_mut().flat_map(|training| &mut training.indexed).for_each(|indexed| indexed.line = 0);
        format!("{trainings:?}")
    };
    assert_eq!(trainings(before), trainings(after), "{path}");
    // What has all its defaults has no more to show.
    let (checked, calls) = check::check_noting_calls(path, &mut loader, &Options::default());
    assert_eq!(
        render::render(&checked, &calls, &[]).map(|again| again.text).as_ref(),
        Some(&rendered),
        "{path}"
    );
    rendered
}

#[test]
fn a_rendered_spec_has_the_same_graphs() {
    for folder in ["specs", "specs/new"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("the folder is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".weft") {
                rendered(&format!("{folder}/{name}"), &[]);
            }
        }
    }
}

/// Documents show every clause of a `train` block, and items of a user's own.
#[test]
fn what_documents_show_can_be_rendered() {
    let mut whole = 0;
    for document in ["README.md", "docs/language.md"] {
        for block in blocks(&read(document).expect("the document is there")) {
            let checked = check_text(&block, &Options::default());
            if checked.module.is_some_and(|module| !module.entries.is_empty()) {
                rendered_by("case.weft", &mut |_| Ok(block.clone()), &[]);
                whole += 1;
            }
        }
    }
    assert!(whole > 5, "only {whole} specs are whole");
}

#[test]
fn a_rendered_spec_shows_every_default() {
    let shown = rendered("specs/mnist_mlp.weft", &[("units".into(), "64".into())]);
    for part in [
        "setting units = 64",
        "bias = true,\n        init = glorot_uniform,\n        regularise = none,",
        "adam(rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8",
        "accumulate = 1",
        "shuffle = true",
        "softmax(Mlp(scaled(image)), axis = -1)",
    ] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    // A default that is another argument is that argument.
    let shown = rendered("specs/mnist_cnn.weft", &[]);
    assert!(shown.contains("max_pool2d(2, stride = 2, padding = valid)"), "{shown}");
    assert!(shown.contains("cosine(1e-3, end = 0.0)"), "{shown}");
}

/// A spec whose calls are hard to fill: brackets around them, comments in them, items of its own and of another file.
const AWKWARD: &str = r#"
use "blocks.weft" { block, wide as wider }

setting units = 8
setting name = "plain"

fn at_most(x: float[...], most: int = none) { if most == none { x } else { minimum(x, most) } }

fn softmax_of(x, axis: int = -1) { (softmax(x)) * 2 }

layer head(classes: int, drop: float = 0.5)(x: f32[n, d]) -> f32[n, classes] {
    setting hidden = 4
    // One pair of brackets ) more.
    let y = (((dense(hidden))(x)) |> (leaky_relu))
    y |> dropout(
        drop, // as `)` said
    ) |> dense(classes)
}

model Net(image: f32[n, 28, 28, 1]) -> f32[n, 10] {
    let relu_alpha = 0.25
    let x = image |> flatten |> dense(units) |> elu
    let x = batch_norm(x)
    let twice = [dense(units), dense(units, bias = false)]
    for layer in twice { x = x |> layer }
    x |> at_most |> block |> wider(units = units) |> head(10)
}

data digits = mnist { image = f32(image) / 255 }

train {
    on digits
    minimize cross_entropy(Net(image), label) using adam
    measure accuracy(Net(image), label)
    keep best by validation.accuracy
}

predict digit(image: u8[n, 28, 28, 1]) -> { p } { { p = softmax_of(Net(f32(image))), } }
"#;

const BLOCKS: &str = r#"
setting steep = 3.0
layer block(units: int = 8, slope: float = steep, norm: fn = layer_norm)(x) { x |> dense(units) |> norm }
layer wide(units: int, more: int = 2 * units)(x) { x |> dense(more) }
"#;

#[test]
fn an_awkward_spec_can_be_rendered() {
    let read = |name: &str| match name {
        "awkward.weft" => Ok(AWKWARD.to_owned()),
        "blocks.weft" => Ok(BLOCKS.to_owned()),
        other => Err(format!("no file `{other}`")),
    };
    let settings =
        [("name", "so \"called\""), ("head.hidden", "6")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    insta::assert_snapshot!(rendered_by("awkward.weft", &mut { read }, &settings));
}

#[test]
fn the_syntax_stage_is_the_formatters_text() {
    let path = "specs/autoencoder.weft";
    let checked = check::check(path, &mut { read }, &Options::default());
    let text = read(path).expect("the spec is there");
    let emitted =
        stages::emit(&checked, stages::Stage::Ast, None, stages::Format::Text).expect("it is emitted");
    assert_eq!(emitted, format(&parse(FileId(0), &text).file, &text));
}
