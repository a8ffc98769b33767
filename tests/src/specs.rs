//! Checking spec text in tests.

use std::path::{Path, PathBuf};
use weft_compiler::check::{self, Checked, Options};
use weft_compiler::diagnostics::{self, Color};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the root").to_path_buf()
}

/// Checks text that uses nothing but the standard library.
pub fn check_text(text: &str, options: &Options) -> Checked {
    let mut loader = |name: &str| match name {
        "case.weft" => Ok(text.to_owned()),
        other => Err(format!("no file `{other}`")),
    };
    check::check("case.weft", &mut loader, options)
}

/// Checks a spec of the repository, by its path from the root.
pub fn check_file(path: &str, options: &Options) -> Checked {
    let root = root();
    let mut loader = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|e| e.to_string());
    check::check(path, &mut loader, options)
}

/// What was found, as a reader sees it.
pub fn rendered(checked: &Checked) -> String {
    checked
        .diagnostics
        .iter()
        .map(|d| diagnostics::render(d, &checked.sources, Color::Never))
        .collect::<Vec<_>>()
        .join("\n")
}
