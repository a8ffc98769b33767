//! What the documents show is true: specs in them check without errors, and the README opens with the two commands.

use std::path::PathBuf;
use weft_compiler::check::Options;
use weft_compiler::registry::example;
use weft_tests::specs::{check_text, rendered, root};

/// A fenced block of a document.
struct Block {
    /// What stands after the fence: `weft`, `sh`, `weft,ignore`, or nothing.
    info: String,
    /// The line of its fence, from 1.
    line: usize,
    text: String,
}

/// The fenced blocks of a document, in order.
fn blocks(document: &str) -> Vec<Block> {
    let (mut all, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (number, line) in (1..).zip(document.lines()) {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.trim().to_owned(), line: number, text: String::new() });
            }
            (Some(_), Some(_)) => all.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the block of line {} is never closed", open.map_or(0, |b| b.line));
    all
}

/// Every document of the project. The articles of `weft explain` show specs that are wrong; their own tests know which.
fn documents() -> Vec<(PathBuf, String)> {
    let (mut all, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "articles"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                all.extend(std::fs::read_to_string(&path).ok().map(|text| (path, text)));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn the_documents_are_found() {
    let found = documents();
    for name in [
        "README.md",
        "docs/language.md",
        "grammar/README.md",
        "specs/std/README.md",
        "tests/golden/README.md",
    ] {
        assert!(
            found.iter().any(|(path, _)| *path == root().join(name)),
            "{name} is not among the documents"
        );
    }
}

/// A document's blocks are whole specs. But for the README's, they may be snippets, which are completed as the library's examples are:
/// by the rule of `registry::example`.
#[test]
fn every_spec_in_the_documents_checks() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let snippets = path != root().join("README.md");
        for block in blocks(&text).iter().filter(|b| b.info == "weft") {
            let checked = check_text(&block.text, &Options::default());
            let why = match checked.failed().then(|| example::check(&block.text, "")) {
                None => continue,
                Some(example::Outcome::Fine(_)) if snippets => continue,
                Some(example::Outcome::Wrong(why)) if snippets => why,
                Some(_) => rendered(&checked),
            };
            wrong.push(format!("{}, block of line {}:\n{why}", path.display(), block.line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_opens_with_the_two_commands() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let commands: Vec<String> = blocks(&readme)
        .into_iter()
        .filter(|b| b.info == "sh")
        .map(|b| b.text.trim().to_owned())
        .take(2)
        .collect();
    assert_eq!(commands, ["cargo run --release -- train specs/mnist_cnn.weft", "cargo test"]);
}

#[test]
fn blocks_are_found() {
    let found = blocks("text\n```sh\na\n```\n\n  ```weft,ignore\nb\n\nc\n  ```\n");
    let seen: Vec<(&str, usize, &str)> = found.iter().map(|b| (&*b.info, b.line, &*b.text)).collect();
    assert_eq!(seen, [("sh", 2, "a\n"), ("weft,ignore", 6, "b\n\nc\n")]);
}
