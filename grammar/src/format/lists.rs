//! What stands between commas → canonical text, with the comments among it.

use super::Printer;
use super::layout::{Doc, concat, group, indent, tail, text};
use crate::ast::*;
use crate::span::Span;

impl<'a> Printer<'a> {
    pub fn name(&self, name: &Name) -> Doc {
        text(name.text.clone())
    }

    /// `a, b, c` in a place without brackets: breaks after commas.
    pub fn separated<T: Placed>(&mut self, all: &'a [T], print: impl Fn(&mut Self, &'a T) -> Doc) -> Doc {
        let mut parts = Vec::new();
        for (index, one) in all.iter().enumerate() {
            if index > 0 {
                parts.extend([text(","), self.line_end(one.place().start), Doc::Line]);
                parts.append(&mut self.own_lines(one.place().start));
            }
            parts.push(print(self, one));
        }
        group(indent(concat(parts)))
    }

    /// `(a, b, c)`: on one line, or one a line with a comma after each. A bracket with a space inside, `{ `, is a brace.
    pub fn delimited<T: Placed>(
        &mut self,
        open: &'static str,
        all: &'a [T],
        print: impl Fn(&mut Self, &'a T) -> Doc,
        close: &'static str,
        end: u32,
    ) -> Doc {
        let brace = open.ends_with(' ');
        let lines = brace && all.first().is_some_and(|first| self.opens_lines(first.place().start));
        let edge = || match (lines, brace) {
            (true, _) => Doc::Hard,
            (_, true) => Doc::Line,
            _ => Doc::Soft,
        };
        if all.is_empty() {
            return text(format!("{}{}", open.trim_end(), close.trim_start()));
        }
        let mut parts = Vec::new();
        for (index, one) in all.iter().enumerate() {
            self.element_comments(&mut parts, one.place().start);
            parts.push(if index == 0 { edge() } else { Doc::Line });
            // Comments were put before the line they belong to.
            parts.append(&mut self.own_lines(one.place().start));
            parts.push(print(self, one));
            parts.push(if index + 1 < all.len() { text(",") } else { Doc::Broken(",") });
        }
        self.element_comments(&mut parts, end);
        let rest = self.own_lines(end);
        if !rest.is_empty() {
            parts.push(Doc::Hard);
            parts.extend(rest);
            // The last comment's own new line is the one before the bracket.
            parts.pop();
        }
        let list = concat([text(open.trim_end()), indent(concat(parts)), edge(), text(close.trim_start())]);
        if brace { tail(list) } else { group(list) }
    }

    /// Puts a comment that follows an element on its line.
    fn element_comments(&mut self, parts: &mut Vec<Doc>, end: u32) {
        let follows = self
            .comments
            .get(self.next)
            .is_some_and(|comment| comment.span.start < end && Self::can_follow(comment));
        if follows && let Some(comment) = self.comment_before(end) {
            parts.push(Doc::Suffix(comment.text.clone()));
        }
    }

    /// The comments before the byte `end`, each with its new line.
    pub fn own_lines(&mut self, end: u32) -> Vec<Doc> {
        let mut lines = Vec::new();
        while let Some(comment) = self.comment_before(end) {
            lines.extend([text(comment.text.clone()), Doc::Hard]);
        }
        lines
    }

    /// The comment that ends the line before the byte `end`, if one does.
    pub fn line_end(&mut self, end: u32) -> Doc {
        let mut parts = Vec::new();
        self.element_comments(&mut parts, end);
        concat(parts)
    }
}

/// What can stand between commas has a place in the source.
pub trait Placed {
    fn place(&self) -> Span;
}

impl Placed for Expr {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Argument {
    fn place(&self) -> Span {
        self.name.as_ref().map_or(self.value.span, |name| name.span.to(self.value.span))
    }
}

impl Placed for Index {
    fn place(&self) -> Span {
        match self {
            Index::At(expr) => expr.span,
            Index::Range { span, .. } | Index::Rest(span) => *span,
        }
    }
}

impl Placed for Param {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Text {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Column {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Type {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Name {
    fn place(&self) -> Span {
        self.span
    }
}

impl<A: Placed, B: Placed> Placed for (A, B) {
    fn place(&self) -> Span {
        self.0.place().to(self.1.place())
    }
}

impl<B: Placed> Placed for (Option<Name>, B) {
    fn place(&self) -> Span {
        self.0.as_ref().map_or(self.1.place(), |name| name.span.to(self.1.place()))
    }
}

impl Placed for (Name, Option<Name>) {
    fn place(&self) -> Span {
        self.0.span
    }
}

/// A text as a literal.
pub fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub fn quoted(value: &str) -> Doc {
    text(quote(value))
}
