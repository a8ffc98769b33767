//! pest's pairs → the syntax tree. This file holds what all builders share: children in order, spans, names and texts.
//!
//! pest guarantees the shape of what comes here; where a child is missing all the same, a placeholder takes its place,
//! so that nothing can panic.

pub(crate) mod expr;
mod items;
mod statements;
mod train;
mod types;

use crate::ast::*;
use crate::codes;
use crate::parse::{Rule, SyntaxError};
use crate::span::{FileId, Span};
use pest::iterators::{Pair, Pairs};

pub type Node<'i> = Pair<'i, Rule>;

pub struct Builder {
    file: FileId,
    /// Where the parsed text starts in the file.
    base: usize,
    pub errors: Vec<SyntaxError>,
}

/// Is this rule a mark or keyword that says nothing once the construct is known?
fn is_mark(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        eq | left_arrow
            | arrow
            | dot
            | colon
            | comma
            | semicolon
            | open_paren
            | close_paren
            | open_bracket
            | close_bracket
            | open_brace
            | close_brace
            | kw_let
            | kw_if
            | kw_else
            | kw_for
            | kw_in
            | kw_assert
            | kw_yield
            | kw_scan
            | kw_fresh
            | kw_map
            | kw_as
            | kw_with
            | kw_weight
            | kw_state
            | kw_over
            | kw_carrying
            | kw_where
            | kw_choice
            | kw_edition
            | kw_use
            | kw_setting
            | kw_metric
            | kw_better
            | kw_sum
            | kw_collect
            | kw_value
            | kw_data
            | kw_split
            | kw_fit
            | kw_augment
            | kw_batch
            | kw_train
            | kw_on
            | kw_minimize
            | kw_using
            | kw_measure
            | kw_step
            | kw_keep
            | kw_best
            | kw_by
            | kw_stop
            | kw_after
            | kw_epochs
            | kw_without
            | kw_freeze
            | kw_clip
            | kw_gradients
            | kw_global
            | kw_norm
            | kw_average
            | kw_weights
            | kw_reduce
            | kw_rate
            | kw_validate
            | kw_checkpoint
            | kw_every
            | kw_batches
            | kw_minutes
            | kw_predict
            | kw_generate
            | kw_load
            | kw_from
            | EOI
    )
}

/// The children of a node that carry meaning, with typed ways to take them in order.
pub struct Children<'i> {
    pairs: Pairs<'i, Rule>,
    parent: Node<'i>,
}

impl<'i> Children<'i> {
    pub fn of(parent: Node<'i>) -> Children<'i> {
        Children { pairs: parent.clone().into_inner(), parent }
    }

    pub fn next(&mut self) -> Option<Node<'i>> {
        self.pairs.by_ref().find(|pair| !is_mark(pair.as_rule()))
    }

    pub fn peek(&self) -> Option<Node<'i>> {
        self.pairs.clone().find(|pair| !is_mark(pair.as_rule()))
    }

    /// The next child if it is of this rule.
    pub fn take(&mut self, rule: Rule) -> Option<Node<'i>> {
        self.peek().filter(|pair| pair.as_rule() == rule)?;
        self.next()
    }
}

impl Builder {
    pub fn new(file: FileId) -> Builder {
        Builder { file, base: 0, errors: Vec::new() }
    }

    pub fn span(&self, node: &Node<'_>) -> Span {
        // pest lets a rule that ends in a repetition swallow the white space after it.
        let span = node.as_span();
        let start = self.base + span.start();
        Span::new(self.file, start, start + span.as_str().trim_end().len())
    }

    pub fn error(&mut self, code: &'static str, message: impl Into<String>, span: Span, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.errors.push(SyntaxError { code, message: message.into(), span, related: None, hint });
    }

    /// Adds the items in `pairs`, which were parsed from the text at `base`.
    /// Builds every child of one rule.
    pub fn each<T>(
        &mut self,
        node: Node<'_>,
        rule: Rule,
        mut build: impl FnMut(&mut Self, Node<'_>) -> T,
    ) -> Vec<T> {
        node.into_inner().filter(|child| child.as_rule() == rule).map(|child| build(self, child)).collect()
    }

    pub fn exprs(&mut self, node: Node<'_>) -> Vec<Expr> {
        self.each(node, Rule::expr, Self::expr)
    }

    pub fn name(&self, node: Node<'_>) -> Name {
        Name { text: node.as_str().to_owned(), span: self.span(&node) }
    }

    pub fn name_of(&self, children: &mut Children<'_>) -> Name {
        match children.take(Rule::name) {
            Some(node) => self.name(node),
            None => Name { text: String::new(), span: self.span(&children.parent) },
        }
    }

    pub fn dotted(&mut self, node: Node<'_>) -> DottedName {
        let span = self.span(&node);
        DottedName { parts: self.each(node, Rule::name, |b, name| b.name(name)), span }
    }

    pub fn dotted_of(&mut self, children: &mut Children<'_>) -> DottedName {
        match children.take(Rule::dotted) {
            Some(node) => self.dotted(node),
            None => DottedName { parts: Vec::new(), span: self.span(&children.parent) },
        }
    }

    pub fn dotted_list(&mut self, node: Node<'_>) -> Vec<DottedName> {
        self.each(node, Rule::dotted, Self::dotted)
    }

    pub fn raw(&self, node: Node<'_>) -> Text {
        Text { value: node.as_str().to_owned(), span: self.span(&node) }
    }

    pub fn text_of(&mut self, children: &mut Children<'_>) -> Text {
        match children.take(Rule::text) {
            Some(node) => self.text(node),
            None => Text { value: String::new(), span: self.span(&children.parent) },
        }
    }

    /// A text literal, unescaped.
    pub fn text(&mut self, node: Node<'_>) -> Text {
        let span = self.span(&node);
        let inside = node.as_str().trim_start_matches('"');
        let inside = inside.strip_suffix('"').unwrap_or(inside);
        if !inside.contains('\\') {
            return Text { value: inside.to_owned(), span };
        }
        let mut value = String::with_capacity(inside.len());
        let mut rest = inside;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            value.push_str(before);
            let (character, length) = unescape(escape);
            match character {
                Some(character) => value.push(character),
                None => {
                    let start = span.start as usize + 1 + (inside.len() - escape.len());
                    let place = Span::new(span.file, start, start + length);
                    let shown = escape.get(..length).unwrap_or("\\");
                    let hint = "escapes are \\n \\t \\\" \\\\ and \\u{…}; a backslash is `\\\\`";
                    self.error(codes::BAD_ESCAPE, format!("`{shown}` is not an escape"), place, Some(hint));
                }
            }
            rest = escape.get(length..).unwrap_or("");
        }
        value.push_str(rest);
        Text { value, span }
    }
}

/// What an escape at the start of `text` stands for, and how many bytes it takes.
fn unescape(text: &str) -> (Option<char>, usize) {
    let Some(kind) = text.chars().nth(1) else { return (None, text.len()) };
    let simple = match kind {
        'n' => Some('\n'),
        't' => Some('\t'),
        '"' => Some('"'),
        '\\' => Some('\\'),
        _ => None,
    };
    if simple.is_some() {
        return (simple, 2);
    }
    let digits = text.strip_prefix("\\u{").and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
    match digits {
        Some(digits) if digits.len() <= 6 => {
            let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            (character, "\\u{}".len() + digits.len())
        }
        _ => (None, 1 + kind.len_utf8()),
    }
}
