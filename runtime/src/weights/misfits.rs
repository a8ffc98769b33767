//! What keeps a file's tensors from being a model's weights, gathered before any of it is told.

use std::fmt::Display;
use std::path::Path;

use crate::error::{Error, Result, nearest};
use crate::program::Variable;

/// At most so many names of one kind are listed.
const LISTED: usize = 8;

/// What keeps a file's tensors from being a model's weights.
#[derive(Debug, Default)]
pub struct Misfits {
    missing: Vec<String>,
    unexpected: Vec<String>,
    different: Vec<String>,
    spoilt: Vec<String>,
}

impl Misfits {
    /// A name that the file lacks; `others` are those that it has.
    pub fn missing<'a>(&mut self, name: &str, others: impl Iterator<Item = &'a str>) {
        self.missing.push(match nearest(name, others) {
            Some(other) => format!("{name} (the file has {other})"),
            None => name.to_owned(),
        });
    }

    pub fn any_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    pub fn unexpected<S: ToString>(&mut self, names: impl IntoIterator<Item = S>) {
        self.unexpected.extend(names.into_iter().map(|name| name.to_string()));
    }

    /// A tensor, in words, that has another type or shape than the variable; `why` follows these words.
    pub fn different(&mut self, variable: &Variable, tensor: impl Display, why: &str) {
        self.different.push(format!(
            "{} is {tensor} in the file, but {}{:?} in the spec{why}",
            variable.path,
            variable.dtype.name(),
            variable.shape
        ));
    }

    /// A tensor some of whose values are NaN.
    pub fn spoilt(&mut self, name: &str, count: usize, of: usize) {
        self.spoilt.push(format!("{name} ({count} of {of})"));
    }

    /// An error that names them all, if there are any.
    pub fn check(self, file: &Path, model: &str) -> Result<()> {
        let kinds = [
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("different", self.different),
            ("no numbers (NaN)", self.spoilt),
        ];
        let problems: Vec<String> = kinds
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{kind}: {}", listed(&names)))
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        let message = format!("these weights are not those of `{model}`; {}", problems.join("; "));
        Err(Error::Weights { file: file.to_path_buf(), message })
    }
}

/// The first names, and how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    first.join(", ") + &rest
}
