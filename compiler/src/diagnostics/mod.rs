//! What the compiler tells the author: one [`Diagnostic`] type, one renderer, one table of codes.
//!
//! A good message names *both sides*: the place that is wrong, the place that it disagrees with, how the shapes came about,
//! and what to do. So a diagnostic has a primary place, related places, notes and a hint.

pub mod articles;
pub mod codes;
pub mod habits;
mod path;
pub mod render;

pub use codes::{CODES, Code};
pub use path::did_you_mean_path;
pub use render::{Color, render};

use serde::Serialize;
use weft_grammar::{FileId, Span, SyntaxError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A place and what is to be said about it (perhaps nothing).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub primary: Label,
    pub related: Vec<Label>,
    /// The chain of shapes that led here, and other facts.
    pub notes: Vec<String>,
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: code.id(),
            message: message.into(),
            primary: Label { span, text: String::new() },
            related: Vec::new(),
            notes: Vec::new(),
            hint: None,
        }
    }

    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// What stands under the primary place.
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.primary.text = text.into();
        self
    }

    pub fn related(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.related.push(Label { span, text: text.into() });
        self
    }

    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    pub fn hint(mut self, text: impl Into<String>) -> Diagnostic {
        self.hint = Some(text.into());
        self
    }

    /// A hint only when there is one.
    pub fn hint_if(mut self, text: Option<String>) -> Diagnostic {
        self.hint = self.hint.or(text);
        self
    }
}

impl From<SyntaxError> for Diagnostic {
    fn from(error: SyntaxError) -> Diagnostic {
        let related = error.related.into_iter().map(|(span, text)| Label { span, text }).collect();
        Diagnostic {
            severity: Severity::Error,
            code: error.code,
            message: error.message,
            primary: Label { span: error.span, text: String::new() },
            related,
            notes: Vec::new(),
            hint: error.hint,
        }
    }
}

/// A file that was read: the user's spec, one that it uses, or a part of the standard library.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: String,
    pub text: String,
    pub std: bool,
}

/// Every file of a run, by [`FileId`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    pub files: Vec<Source>,
}

impl Sources {
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>, std: bool) -> FileId {
        self.files.push(Source { name: name.into(), text: text.into(), std });
        FileId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(file.0 as usize)
    }

    pub fn is_std(&self, file: FileId) -> bool {
        self.get(file).is_some_and(|s| s.std)
    }

    /// The text of a span; empty when the span is not of these sources.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).and_then(|s| s.text.get(span.start as usize..span.end as usize)).unwrap_or("")
    }

    /// The text of a span's line before it.
    pub fn line_before(&self, span: Span) -> &str {
        let before = self.get(span.file).and_then(|s| s.text.get(..span.start as usize)).unwrap_or("");
        before.rsplit('\n').next().unwrap_or("")
    }

    /// 1-based line and column (in characters) of a span's start.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let Some(source) = self.get(span.file) else { return (1, 1) };
        let mut at = (span.start as usize).min(source.text.len());
        while !source.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = source.text.get(..at).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
    }

    /// The file and the text of the line where a span begins, as `mnist_cnn.weft: x |> dense(10)`; empty when there is no such file.
    /// It stays the same when lines are added elsewhere.
    pub fn line(&self, span: Span) -> String {
        let Some(source) = self.get(span.file) else { return String::new() };
        let (line, _) = self.position(span);
        let text = source.text.lines().nth(line - 1).unwrap_or("").trim();
        format!("{}: {text}", source.name)
    }
}

/// The candidate nearest to a misspelt name, if one is near enough to be meant; of equals that which begins like it for longer.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        // Of two that are as near, the one that begins alike: `conv2` is `conv2d` rather than `conv`.
        .min_by(|a, b| a.0.cmp(&b.0).then(alike(name, b.1).cmp(&alike(name, a.1))).then(a.1.cmp(b.1)))
        .map(|(_, candidate)| candidate)
}

/// How many characters two names begin with in common.
fn alike(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// "did you mean `dense`?", or what there is when that is short.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    if let Some(meant) = meant(name, &all) {
        return Some(format!("did you mean `{meant}`?"));
    }
    (!all.is_empty() && all.len() <= 12).then(|| {
        let list = all.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
        format!("there {} {list}", if all.len() == 1 { "is" } else { "are" })
    })
}

/// What an unknown name of an expression stands for, or how the thing is said here. There are too many names to list.
pub fn did_you_mean_name<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let advice = || habits::advice(name).map(str::to_owned);
    habits::counterpart(name, &all)
        .map(|meant| format!("did you mean `{meant}`?"))
        .or_else(advice)
        .or_else(|| nearest(name, all.iter().copied()).map(|near| format!("did you mean `{near}`?")))
}

/// What an unknown argument stands for, or how the thing is said here, or what arguments there are.
pub fn did_you_mean_argument<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let all: Vec<&str> = candidates.into_iter().collect();
    let meant = habits::counterpart(name, &all).map(|meant| format!("did you mean `{meant}`?"));
    meant.or_else(|| habits::argument(name).map(str::to_owned)).or_else(|| did_you_mean(name, all))
}

/// What was meant by a name from elsewhere, or by a misspelt one.
pub(crate) fn meant<'a>(name: &str, all: &[&'a str]) -> Option<&'a str> {
    habits::counterpart(name, all).or_else(|| nearest(name, all.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour() {
        assert_eq!(nearest("dens", ["dense", "conv2d"]), Some("dense"));
        assert_eq!(nearest("conv2", ["conv", "conv1d", "conv2d"]), Some("conv2d"));
        assert_eq!(nearest("xyz", ["dense", "conv2d"]), None);
        assert_eq!(nearest("gellu", ["geglu", "gelu"]), Some("gelu"));
        assert_eq!(nearest("a", ["b"]), None);
    }

    #[test]
    fn positions_count_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.weft", "é\nüx", false);
        assert_eq!(sources.position(Span::new(file, 5, 6)), (2, 2));
    }
}
