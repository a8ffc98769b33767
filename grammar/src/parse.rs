//! Text → tree, with recovery.
//!
//! The scanner splits the file into items; pest parses each item alone. When pest rejects an item, the error is
//! explained in our words, the statement around it is cut out (a *hole* takes its place), and the item is parsed
//! again: so one bad statement costs one statement. When an item's head is broken, the item is lost, but its body is
//! still searched for further errors.

use crate::ast::SourceFile;
use crate::build::Builder;
use crate::codes;
use crate::explain;
use crate::scan::{ItemRange, Scan, TokenKind};
use crate::span::{FileId, Span};
use pest::Parser as _;
use pest::error::InputLocation;
use pest_derive::Parser;

#[derive(Parser)]
#[grammar = "../weft.pest"]
pub(crate) struct WeftParser;

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
    /// The names of items that could not be read: their uses are no further mistakes.
    pub lost: Vec<String>,
}

/// Offsets are 32 bits wide; a spec is far smaller.
const MAX_BYTES: usize = 16 << 20;
/// An item with more errors than this is given up.
const MAX_ROUNDS: usize = 64;

/// Parses one file. Never fails, never panics.
pub fn parse(file: FileId, text: &str) -> Parsed {
    if text.len() > MAX_BYTES {
        let error = SyntaxError {
            code: codes::TOO_LARGE,
            message: "this file is larger than 16 MB".into(),
            span: Span::new(file, 0, 0),
            related: None,
            hint: None,
        };
        return Parsed { file: SourceFile::default(), errors: vec![error], lost: Vec::new() };
    }
    let scan = Scan::new(file, text);
    let mut parser = Recovery {
        errors: scan.errors.clone(),
        builder: Builder::new(file),
        tree: SourceFile::default(),
        lost: Vec::new(),
        scan: &scan,
    };
    for item in &scan.items {
        parser.item(item);
    }
    let Recovery { mut errors, builder, mut tree, lost, .. } = parser;
    errors.extend(builder.errors);
    errors.sort_by_key(|error| (error.span.start, error.span.end));
    errors.dedup();
    scan.attach_docs(&mut tree);
    Parsed { file: tree, errors, lost }
}

struct Recovery<'s> {
    scan: &'s Scan,
    errors: Vec<SyntaxError>,
    builder: Builder,
    tree: SourceFile,
    lost: Vec<String>,
}

/// A statement that was cut out.
struct Cut {
    tokens: (usize, usize),
    start: usize,
    end: usize,
    /// Its value alone was cut out, `let x = ` still stands.
    value_only: bool,
}

impl Recovery<'_> {
    fn item(&mut self, item: &ItemRange) {
        let Some(first) = self.scan.tokens.get(item.first) else { return };
        let Some(rule) = explain::item_rule(self.scan.word(first)) else {
            return self.unknown(item);
        };
        let Some((start, mut text)) = self.item_text(item) else { return };
        if self.rounds(item, rule, start, &mut text) {
            return;
        }
        // The head is broken.
        if let Some(name) = self.scan.tokens.get(item.first + 1).filter(|t| t.kind == TokenKind::Word) {
            self.lost.push(self.scan.word(name).to_owned());
        }
        let Some((open, rule)) = self.scan.body_of(item).zip(explain::body_rule(rule)) else { return };
        let Some((_, whole)) = self.item_text(item) else { return };
        let mut body = whole.get(open - start..).unwrap_or("").to_owned();
        let mut tree = std::mem::take(&mut self.tree);
        self.rounds(item, rule, open, &mut body);
        std::mem::swap(&mut tree, &mut self.tree);
    }

    fn item_text(&self, item: &ItemRange) -> Option<(usize, String)> {
        let first = self.scan.tokens.get(item.first)?;
        let last = self.scan.tokens.get(item.last.checked_sub(1)?)?;
        let mut text = self.scan.text.get(first.start..last.end)?.to_owned();
        text.push_str(&"}".repeat(item.unclosed));
        Some((first.start, text))
    }

    fn unknown(&mut self, item: &ItemRange) {
        let Some(token) = self.scan.tokens.get(item.first) else { return };
        let span = self.scan.span(token.start, token.end);
        // A mark that an error was already reported for.
        if self.scan.broken.contains(&token.start)
            || self.scan.text.get(token.start..token.end).is_some_and(|t| t.trim().is_empty())
        {
            return;
        }
        if let Some(name) = self.scan.tokens.get(item.first + 1).filter(|t| t.kind == TokenKind::Word) {
            self.lost.push(self.scan.word(name).to_owned());
        }
        let word = self.scan.word(token);
        self.errors.push(match self.scan.is(item.first + 1, ".") {
            true => explain::called_item(word, span),
            false => explain::unknown_item(word, token.kind, span),
        });
    }

    /// Parses, cutting out what is wrong, until nothing is. `false`: an error is outside every statement.
    fn rounds(&mut self, item: &ItemRange, rule: Rule, start: usize, text: &mut String) -> bool {
        let end = start + text.len();
        let mut cuts: Vec<Cut> = Vec::new();
        let broken: Vec<usize> =
            self.scan.broken.iter().copied().filter(|at| (start..end).contains(at)).collect();
        for at in broken {
            let covered = cuts.iter().any(|cut| (cut.start..cut.end).contains(&at));
            if !covered && !self.cut(item, at + 1, start, text, &mut cuts) {
                return false;
            }
        }
        for _ in 0..MAX_ROUNDS {
            let error = match WeftParser::parse(rule, text) {
                Ok(pairs) => {
                    self.builder.file_items(pairs, start, &mut self.tree);
                    return true;
                }
                Err(error) => error,
            };
            let at = start
                + match error.location {
                    InputLocation::Pos(at) => at,
                    InputLocation::Span((at, _)) => at,
                };
            let at = self.scan.blame(at);
            // What follows a broken statement on its line belongs to it.
            let line = |from: usize| self.scan.text.get(from..at).is_some_and(|gap| !gap.contains('\n'));
            let known = cuts.iter().any(|cut| (cut.start..=cut.end).contains(&at) || line(cut.end));
            match explain::nested_item(self.scan, item, at) {
                _ if known => {}
                Some((error, name)) => {
                    self.lost.push(name);
                    self.errors.push(error);
                }
                None => self.errors.push(explain::rejected(self.scan, item, at, &error.variant)),
            }
            if !self.cut(item, at, start, text, &mut cuts) {
                return false;
            }
        }
        true
    }

    /// Puts a hole in the place of the innermost statement around `at` that can still be cut.
    fn cut(&self, item: &ItemRange, at: usize, start: usize, text: &mut String, cuts: &mut Vec<Cut>) -> bool {
        for tokens in self.scan.pieces_at(item, at.max(start)) {
            let (Some(first), Some(last)) =
                (self.scan.tokens.get(tokens.0), self.scan.tokens.get(tokens.1 - 1))
            else {
                continue;
            };
            if first.start < start {
                continue;
            }
            let earlier = cuts.iter().position(|cut| cut.tokens == tokens);
            let value = self.scan.value_of(tokens).filter(|&value| value < at);
            let (from, value_only) = match (earlier.and_then(|i| cuts.get(i)), value) {
                (None, Some(value)) => (value, true),
                (None, None) => (first.start, false),
                (Some(cut), _) if cut.value_only => (first.start, false),
                (Some(_), _) => continue,
            };
            // An unclosed body swallows the end of the text; the braces put back there must stay.
            let until = last.end.min(start + text.len());
            let (Some(a), Some(b)) = (from.checked_sub(start), until.checked_sub(start)) else { continue };
            if a >= b || text.get(a..b).is_none() {
                // Nothing stands after the `=`: make room in front of what follows.
                if value_only && text.get(a..=a).is_some_and(|c| c.trim().is_empty()) {
                    text.replace_range(a..=a, "\u{1}");
                    cuts.push(Cut { tokens, start: from, end: from + 1, value_only });
                    return true;
                }
                if let Some(range) = text.get(first.start - start..b).map(|_| first.start - start..b) {
                    let length = range.len();
                    text.replace_range(range, &format!("\u{1}{}", " ".repeat(length - 1)));
                    cuts.push(Cut { tokens, start: first.start, end: until, value_only: false });
                    return true;
                }
                continue;
            }
            text.replace_range(a..b, &format!("\u{1}{}", " ".repeat(b - a - 1)));
            let cut = Cut { tokens, start: from, end: until, value_only };
            match earlier.and_then(|i| cuts.get_mut(i)) {
                Some(slot) => *slot = cut,
                None => cuts.push(cut),
            }
            return true;
        }
        false
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
