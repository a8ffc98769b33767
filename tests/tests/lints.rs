//! No false alarms: what this repository shows, and holds against PyTorch and scikit-learn, gets no warning.

use std::path::PathBuf;
use weft_compiler::check::{Checked, Options};
use weft_tests::golden;
use weft_tests::specs::{check_file, check_text, rendered, root};

/// Adds what is warned of in a sound spec.
fn note(wrong: &mut Vec<String>, name: &str, checked: &Checked) {
    if !checked.failed() && !checked.diagnostics.is_empty() {
        wrong.push(format!("{name}:\n{}", rendered(checked)));
    }
}

/// The `.weft` files under a folder, as paths from the root.
fn specs(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there").flatten();
    let mut all = Vec::new();
    for path in entries.map(|e| format!("{folder}/{}", e.file_name().to_string_lossy())) {
        if root().join(&path).is_dir() {
            all.extend(specs(&path));
        } else if path.ends_with(".weft") {
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn the_specs_of_this_repository_get_no_warning() {
    let mut wrong = Vec::new();
    let all = specs("specs");
    assert!(all.len() > 30, "{all:?}");
    for path in all {
        note(&mut wrong, &path, &check_file(&path, &Options::default()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn golden_specs_get_no_warning() {
    let mut wrong = Vec::new();
    for case in golden::cases() {
        if let Some(text) = &case.text {
            note(&mut wrong, &case.name, &check_text(text, &Options::default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn specs_of_documents_get_no_warning() {
    let mut wrong = Vec::new();
    let documents = ["README.md", "grammar/README.md", "specs/std/README.md", "docs/language.md"];
    for document in documents.map(PathBuf::from) {
        let text = std::fs::read_to_string(root().join(&document)).unwrap_or_default();
        // Fences alternate: text, block, text, …
        for block in text.split("\n```").skip(1).step_by(2) {
            if let Some(spec) = block.strip_prefix("weft\n") {
                note(&mut wrong, &document.display().to_string(), &check_text(spec, &Options::default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
