//! Text → tree, with recovery.

use crate::ast::SourceFile;
use crate::span::{FileId, Span};

/// What was wrong with the text, in our words (pest's own never leave this crate).
#[derive(Clone, Debug, PartialEq)]
pub struct SyntaxError {
    /// A stable code: `E0001` … `E0099` are syntax errors.
    pub code: &'static str,
    pub message: String,
    pub span: Span,
    /// A second place that explains the first: where the unclosed brace was opened.
    pub related: Option<(Span, String)>,
    pub hint: Option<String>,
}

/// A tree of whatever could be read, and every error found.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub file: SourceFile,
    pub errors: Vec<SyntaxError>,
}

/// Parses one file. Never fails, never panics.
pub fn parse(_file: FileId, _text: &str) -> Parsed {
    Parsed { file: SourceFile::default(), errors: Vec::new() }
}
