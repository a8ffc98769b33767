//! Snapshot files: insta's format, so that `cargo insta review` opens them and `insta::assert_snapshot!` compares with them.
//!
//! A header between two lines `---`, then the text. What lies beside a file as `.snap.new` waits for a decision.

use crate::failure::Failure;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use weft_runtime::error::plain;

/// What a snapshot file says.
#[derive(Debug)]
pub struct Kept {
    /// The spec that it is of; a test's snapshot names the test's file here.
    pub source: Option<String>,
    pub text: String,
}

/// Reads a snapshot; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Kept>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(parse(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::reading(path, &error)),
    }
}

fn parse(text: &str) -> Kept {
    let text = text.replace("\r\n", "\n");
    let header = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    let Some((header, text)) = header else { return Kept { source: None, text } };
    let source = header.lines().find_map(|line| line.strip_prefix("source:")).map(str::trim);
    let source = source.map(|s| serde_json::from_str(s).unwrap_or_else(|_| s.to_owned()));
    Kept { source, text: text.to_owned() }
}

/// Ends of texts don't count, as with insta.
pub fn same(a: &str, b: &str) -> bool {
    a.trim_end() == b.trim_end()
}

/// Writes a snapshot, with the folder for it. `expression` is the command that shows the same text.
pub fn write(path: &Path, source: &str, expression: &str, text: &str) -> Result<(), Failure> {
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (source, expression) = (quoted(source), quoted(expression));
    let text = format!("---\nsource: {source}\nexpression: {expression}\n---\n{}\n", text.trim_end());
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(path, text))
        .map_err(|e| Failure::environment(format!("cannot write {}: {}", path.display(), plain(&e))))
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::environment(format!("cannot remove {}: {}", path.display(), plain(&error))))
        }
        _ => Ok(()),
    }
}

/// Where a snapshot waits for a decision: `a.snap.new` for `a.snap`.
pub fn pending(path: &Path) -> PathBuf {
    path.with_extension("snap.new")
}

/// The snapshots in a folder, decided and pending, as the path of the decided one; in order. An absent folder has none.
pub fn all(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::reading(folder, &error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".new").unwrap_or(&name);
            name.ends_with(".snap").then(|| folder.join(name))
        })
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
