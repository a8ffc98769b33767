//! A small scanner that runs before pest: it finds comments, brackets and the places where items and statements start.
//!
//! pest stops at the first error and recurses on nesting. So the scanner first blanks out comments, checks the brackets,
//! bounds the nesting and splits the file into items; when pest rejects an item, [`Scan::pieces_at`] tells which
//! statement the error is in, so that this statement alone is given up (see `parse.rs`).
//!
//! White space means nothing to the grammar, but the scanner does look at line starts when it must *guess*: where a
//! broken statement ends, and which item an unclosed `{` belongs to.

mod brackets;
mod comment;
mod lexer;
mod pieces;

use crate::ast::{Comment, SourceFile};
use crate::parse::SyntaxError;
use crate::span::{FileId, Span};
pub use comment::reads_as_divisor;
use lexer::Lexer;

/// Brackets may nest this deep: pest recurses on them.
pub const MAX_BRACKETS: usize = 96;
/// An expression's tree may be this deep: later stages recurse on it.
pub const MAX_DEPTH: usize = 400;

/// The words that start an item, for splitting and for "did you mean".
pub const ITEM_WORDS: &[&str] = &[
    "edition",
    "use",
    "setting",
    "fn",
    "layer",
    "model",
    "optimizer",
    "metric",
    "data",
    "train",
    "predict",
    "generate",
    "load",
];

/// Words that start a statement wherever they stand.
const STRONG: &[&str] = &["let", "assert", "yield", "for"];
/// Words that start a statement or clause when a word follows.
const WEAK: &[&str] = &[
    "weight",
    "state",
    "setting",
    "sum",
    "collect",
    "fit",
    "split",
    "on",
    "minimize",
    "measure",
    "step",
    "keep",
    "stop",
    "freeze",
    "clip",
    "average",
    "reduce",
    "validate",
    "checkpoint",
];
/// Names that can't be used as names.
pub const RESERVED: &[&str] = &[
    "let", "if", "else", "for", "in", "and", "or", "not", "true", "false", "none", "fn", "assert", "yield",
    "scan", "fresh",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    Number,
    Text,
    Open,
    Close,
    Mark,
}

#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
    /// First on its line.
    pub first: bool,
    /// For a bracket that has a partner: the partner's index.
    pub mate: Option<usize>,
}

/// A `///` line.
#[derive(Clone, Debug)]
pub struct DocLine {
    pub comment: Comment,
    /// The index of the first token after it.
    pub before: usize,
}

/// What the scanner found.
#[derive(Debug)]
pub struct Scan {
    pub file: FileId,
    /// The text with comments and stray characters replaced by spaces; every offset is as in the original.
    pub text: String,
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
    pub docs: Vec<DocLine>,
    pub errors: Vec<SyntaxError>,
    /// Places whose statement cannot be given to pest; their errors are reported.
    pub broken: Vec<usize>,
    /// Token ranges, one an item (or a piece of text that starts like none).
    pub items: Vec<ItemRange>,
}

#[derive(Clone, Copy, Debug)]
pub struct ItemRange {
    /// Tokens `first..last`.
    pub first: usize,
    pub last: usize,
    /// How many `}` are missing at its end.
    pub unclosed: usize,
}

impl Scan {
    pub fn new(file: FileId, source: &str) -> Scan {
        let mut scan = Scan {
            file,
            text: String::new(),
            tokens: Vec::new(),
            comments: Vec::new(),
            docs: Vec::new(),
            errors: Vec::new(),
            broken: Vec::new(),
            items: Vec::new(),
        };
        let mut bytes = source.as_bytes().to_vec();
        Lexer { scan: &mut scan, source, bytes: &mut bytes }.run();
        // Only ASCII spaces were written, over whole characters.
        scan.text = String::from_utf8(bytes).unwrap_or_default();
        scan.split_items();
        scan.measure();
        scan
    }

    pub fn word(&self, token: &Token) -> &str {
        self.text.get(token.start..token.end).unwrap_or("")
    }

    pub fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|t| self.word(t) == text)
    }

    pub fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    pub fn token_span(&self, index: usize) -> Span {
        self.tokens
            .get(index)
            .map_or(self.span(self.text.len(), self.text.len()), |t| self.span(t.start, t.end))
    }

    /// Can an expression end with this token?
    pub fn ends_operand(&self, token: &Token) -> bool {
        match token.kind {
            TokenKind::Number | TokenKind::Text | TokenKind::Close => true,
            TokenKind::Word => !matches!(
                self.word(token),
                "and" | "or" | "not" | "in" | "let" | "if" | "for" | "else" | "fresh"
            ),
            TokenKind::Open => false,
            TokenKind::Mark => false,
        }
    }

    /// Gives each item the doc lines before it; what documents nothing stays a comment.
    pub fn attach_docs(&self, tree: &mut SourceFile) {
        tree.comments.clone_from(&self.comments);
        for line in &self.docs {
            let documented = self
                .tokens
                .get(line.before)
                .and_then(|token| tree.items.iter_mut().find(|item| item.span.start as usize == token.start));
            let Some(item) = documented else {
                tree.comments.push(line.comment.clone());
                continue;
            };
            let text = line.comment.text.trim_start_matches('/');
            let text = text.strip_prefix(' ').unwrap_or(text);
            match &mut item.doc {
                Some(doc) => {
                    doc.push('\n');
                    doc.push_str(text);
                }
                None => item.doc = Some(text.to_owned()),
            }
        }
        tree.comments.sort_by_key(|comment| comment.span.start);
    }
}
