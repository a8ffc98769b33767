//! The formatter on every spec there is, and `check --render`: the same meaning with every default written out.

use std::path::{Path, PathBuf};
use weft_compiler::check::{self, Options};
use weft_compiler::graph::text;
use weft_compiler::{render, stages};
use weft_grammar::{FileId, format, parse};
use weft_tests::specs::root;

/// Every spec of the repository that is meant to be right.
fn specs() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for folder in ["specs", "specs/std", "specs/new", "tests/specs", "grammar/tests/specs"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
        let paths = entries.flatten().map(|entry| entry.path());
        for path in paths.filter(|path| path.extension().is_some_and(|e| e == "weft")) {
            let text = std::fs::read_to_string(&path).expect("the spec can be read");
            all.push((path, text));
        }
    }
    all.sort();
    all.retain(|(_, text)| parse(FileId(0), text).errors.is_empty());
    assert!(all.len() > 30);
    all
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

/// The spec with its defaults, and the graphs of both.
fn rendered(path: &str, settings: &[(String, String)]) -> String {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).map_err(|e| e.to_string());
    let options = Options { settings: settings.to_vec(), ..Options::default() };
    let (checked, calls) = check::check_noting_calls(path, &mut { read }, &options);
    let rendered = render::render(&checked, &calls, settings).expect("a sound spec is rendered");
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
    assert_eq!(format!("{:?}", before.trainings), format!("{:?}", after.trainings), "{path}");
    // What has all its defaults has no more to show.
    let (checked, calls) = check::check_noting_calls(path, &mut loader, &Options::default());
    assert_eq!(render::render(&checked, &calls, &[]).as_ref(), Some(&rendered), "{path}");
    rendered
}

#[test]
fn a_rendered_spec_has_the_same_graphs() {
    for (path, _) in specs() {
        let root = root();
        let path = path.strip_prefix(&root).unwrap_or(&path);
        let trains = [Path::new("specs"), Path::new("specs/new")].contains(&path.parent().unwrap_or(path));
        if trains {
            rendered(&path.to_string_lossy(), &[]);
        }
    }
}

#[test]
fn a_rendered_spec_shows_every_default() {
    let shown = rendered("specs/mnist_mlp.weft", &[("units".into(), "64".into())]);
    for part in [
        "setting units = 64",
        "dense(units, bias = true, ",
        "adam(rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8)",
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

#[test]
fn the_syntax_stage_is_the_formatters_text() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).map_err(|e| e.to_string());
    let path = "specs/autoencoder.weft";
    let checked = check::check(path, &mut { read }, &Options::default());
    let text = read(path).expect("the spec is there");
    let emitted = stages::emit(&checked, stages::Stage::Ast, None, stages::Format::Text).expect("it is emitted");
    assert_eq!(emitted, format(&parse(FileId(0), &text).file, &text));
}
