//! A tiny scanner that runs before pest: it finds comments, brackets and the places where items and statements start.
//!
//! pest stops at the first error and recurses on nesting. So the scanner first blanks out comments, checks the brackets,
//! bounds the nesting and splits the file into items; when pest rejects an item, [`Scan::pieces_at`] tells which
//! statement the error is in, so that this statement alone is given up (see `parse.rs`).
//!
//! White space means nothing to the grammar, but the scanner does look at line starts when it must *guess*: where a
//! broken statement ends, and which item an unclosed `{` belongs to.

use crate::ast::{Comment, SourceFile};
use crate::codes;
use crate::parse::SyntaxError;
use crate::span::{FileId, Span};

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
    "weight", "state", "setting", "sum", "collect", "fit", "split", "on", "minimize", "measure", "step",
    "keep", "stop", "freeze", "clip", "average", "reduce",
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

    fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|t| self.word(t) == text)
    }

    pub fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn token_span(&self, index: usize) -> Span {
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

    fn starts_item(&self, index: usize) -> bool {
        let Some(token) = self.tokens.get(index) else { return false };
        if token.kind != TokenKind::Word {
            return false;
        }
        let word = self.word(token);
        let next = self.tokens.get(index + 1);
        if !ITEM_WORDS.contains(&word) {
            return false;
        }
        match next.map(|t| t.kind) {
            Some(TokenKind::Word) => true,
            Some(TokenKind::Text) => word == "use",
            Some(TokenKind::Number) => word == "edition",
            Some(TokenKind::Open) => word == "train" && self.is(index + 1, "{"),
            _ => false,
        }
    }

    /// Matches the brackets and cuts the file into items.
    fn split_items(&mut self) {
        // Whether to believe that an item word at the very start of a line starts an item even inside braces: only when
        // the braces don't balance, because indentation means nothing in a good file.
        let balanced = self.braces_balance();
        let mut stack: Vec<usize> = Vec::new();
        let mut start: Option<usize> = None;
        let mut items = Vec::new();
        for index in 0..self.tokens.len() {
            let Some(&token) = self.tokens.get(index) else { break };
            match token.kind {
                TokenKind::Word => {
                    let at_margin = self.at_margin(&token);
                    if !balanced && at_margin && !stack.is_empty() && self.starts_item(index) {
                        let unclosed = self.close_all(&mut stack, index);
                        items.push(ItemRange { first: start.unwrap_or(0), last: index, unclosed });
                        start = Some(index);
                    } else if stack.is_empty() && start.is_none_or(|first| self.cuts(first, index)) {
                        if let Some(first) = start {
                            items.push(ItemRange { first, last: index, unclosed: 0 });
                        }
                        start = Some(index);
                    } else if STRONG.contains(&self.word(&token)) && token.first {
                        self.close_parens(&mut stack, index);
                    }
                }
                TokenKind::Open => stack.push(index),
                TokenKind::Close => self.close(&mut stack, index),
                _ => {}
            }
            if start.is_none() {
                start = Some(index);
            }
        }
        let count = self.tokens.len();
        let unclosed = self.close_all(&mut stack, count);
        if let Some(first) = start {
            items.push(ItemRange { first, last: count, unclosed });
        }
        self.items = items;
    }

    fn at_margin(&self, token: &Token) -> bool {
        token.start == 0 || self.text.as_bytes().get(token.start - 1) == Some(&b'\n')
    }

    fn braces_balance(&self) -> bool {
        let mut depth = 0i64;
        for token in &self.tokens {
            match self.text.as_bytes().get(token.start) {
                Some(b'{') if token.kind == TokenKind::Open => depth += 1,
                Some(b'}') if token.kind == TokenKind::Close => depth -= 1,
                _ => {}
            }
        }
        depth <= 0
    }

    /// Outside all brackets: does a new item start at the word `index`, given that the last began at `first`?
    fn cuts(&self, first: usize, index: usize) -> bool {
        let Some(previous) = index.checked_sub(1).and_then(|i| self.tokens.get(i)) else { return true };
        let Some(token) = self.tokens.get(index) else { return false };
        // `layer train(…)`: the name of an item may be an item word.
        if index == first + 1 && self.starts_item(first) {
            return false;
        }
        if self.starts_item(index) {
            return self.ends_operand(previous);
        }
        // A misspelt item word: a word that starts a line after a body, or that another word follows there.
        let word = self.word(token);
        let inside =
            matches!(word, "where" | "better" | "from" | "else" | "and" | "or" | "carrying" | "over" | "as");
        let after_body = self.is(index - 1, "}");
        let next = self.tokens.get(index + 1);
        let two_words =
            next.is_some_and(|t| t.kind == TokenKind::Word && !t.first) && self.ends_operand(previous);
        self.at_margin(token) && !inside && (after_body || two_words)
    }

    fn related(&self, open: usize) -> Option<(Span, String)> {
        let token = self.tokens.get(open)?;
        Some((self.token_span(open), format!("this `{}` is never closed", self.word(token))))
    }

    fn unclosed(&mut self, open: usize, at: usize) {
        let Some(token) = self.tokens.get(open) else { return };
        let message = format!("unclosed `{}`", self.word(token));
        let start = token.start;
        let mut span = self.token_span(at.min(self.tokens.len()));
        if at >= self.tokens.len() {
            span = self.span(self.text.trim_end().len(), self.text.len());
        }
        self.errors.push(SyntaxError {
            code: codes::UNCLOSED,
            message,
            span,
            related: self.related(open),
            hint: None,
        });
        self.broken.push(start);
    }

    fn close_all(&mut self, stack: &mut Vec<usize>, at: usize) -> usize {
        let mut braces = 0;
        // One cause, one error: of the braces that are open, the innermost is the likeliest to lack its partner.
        let mut reported = false;
        while let Some(open) = stack.pop() {
            let brace = self.is(open, "{");
            braces += usize::from(brace);
            if !reported {
                self.unclosed(open, at);
                // A missing `}` is put back by the parser; nothing need be given up for it.
                if brace {
                    self.broken.pop();
                }
            }
            reported = true;
        }
        braces
    }

    /// A word that always starts a statement ends every `(` and `[` before it.
    fn close_parens(&mut self, stack: &mut Vec<usize>, at: usize) {
        let mut reported = false;
        while let Some(&open) = stack.last() {
            if self.is(open, "{") {
                break;
            }
            stack.pop();
            if !reported {
                self.unclosed(open, at);
            }
            reported = true;
        }
    }

    fn close(&mut self, stack: &mut Vec<usize>, index: usize) {
        let Some(token) = self.tokens.get(index).copied() else { return };
        let found = self.word(&token).to_owned();
        let wanted = match found.as_str() {
            ")" => "(",
            "]" => "[",
            _ => "{",
        };
        // Look past unclosed brackets for the partner, but only a `}` may look past a `{`.
        let mut partner = None;
        for (position, &open) in stack.iter().enumerate().rev() {
            if self.is(open, wanted) {
                partner = Some(position);
                break;
            }
            if self.is(open, "{") {
                break;
            }
        }
        match (partner, stack.last().copied()) {
            (Some(position), _) => {
                let skipped = stack.split_off(position + 1);
                if let Some(&open) = skipped.last() {
                    self.unclosed(open, index);
                }
                if let Some(open) = stack.pop() {
                    if let Some(token) = self.tokens.get_mut(open) {
                        token.mate = Some(index);
                    }
                    if let Some(token) = self.tokens.get_mut(index) {
                        token.mate = Some(open);
                    }
                }
            }
            (None, Some(open)) if !self.is(open, "{") => {
                stack.pop();
                let opened = self.token_span(open);
                let mark = self.tokens.get(open).map_or("", |t| self.word(t));
                let closer = if mark == "(" { ")" } else { "]" };
                self.errors.push(SyntaxError {
                    code: codes::MISMATCHED,
                    message: format!("expected `{closer}` but found `{found}`"),
                    span: self.span(token.start, token.end),
                    related: Some((opened, format!("this `{mark}` is open"))),
                    hint: None,
                });
                self.broken.push(opened.start as usize);
            }
            _ => {
                self.errors.push(SyntaxError {
                    code: codes::UNOPENED,
                    message: format!("`{found}` closes nothing"),
                    span: self.span(token.start, token.end),
                    related: None,
                    hint: None,
                });
                self.blank(token.start, token.end);
            }
        }
    }

    /// Takes a stray mark out of the text, so that the rest can be parsed.
    fn blank(&mut self, start: usize, end: usize) {
        if self.text.is_char_boundary(start) && self.text.is_char_boundary(end) {
            self.text.replace_range(start..end, &" ".repeat(end - start));
        }
        if let Some(token) = self.tokens.iter_mut().find(|t| t.start == start) {
            token.kind = TokenKind::Mark;
        }
    }

    /// Bounds the nesting: pest recurses on brackets, later stages on the depth of the tree.
    fn measure(&mut self) {
        // For each open bracket, the operators so far in the expression around it.
        let mut levels: Vec<usize> = vec![0];
        let mut total = 0usize;
        let mut brackets = 0usize;
        let mut reported_at = None;
        for index in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(index).copied() else { break };
            let previous = index.checked_sub(1).and_then(|i| self.tokens.get(i)).copied();
            let after_operand = previous.is_some_and(|p| self.ends_operand(&p));
            let (clear, operator) = match token.kind {
                TokenKind::Open => (false, true),
                TokenKind::Close => (false, false),
                TokenKind::Number | TokenKind::Text => (after_operand, false),
                TokenKind::Word => match self.word(&token) {
                    "and" | "or" | "not" | "fresh" | "fn" | "scan" => (false, true),
                    "if" => (after_operand, true),
                    "else" => (false, false),
                    _ => (after_operand, false),
                },
                TokenKind::Mark => match self.word(&token) {
                    "," | ";" => (true, false),
                    _ => (false, true),
                },
            };
            if clear && let Some(level) = levels.last_mut() {
                total -= *level;
                *level = 0;
            }
            if operator && let Some(level) = levels.last_mut() {
                *level += 1;
                total += 1;
            }
            match token.kind {
                TokenKind::Open => {
                    levels.push(0);
                    brackets += 1;
                }
                TokenKind::Close if levels.len() > 1 => {
                    total -= levels.pop().unwrap_or(0);
                    brackets = brackets.saturating_sub(1);
                }
                _ => {}
            }
            if brackets > MAX_BRACKETS || total > MAX_DEPTH {
                let item = self.items.partition_point(|item| item.first <= index);
                if reported_at != Some(item) {
                    reported_at = Some(item);
                    self.errors.push(SyntaxError {
                        code: codes::TOO_DEEP,
                        message: "this is nested too deeply".into(),
                        span: self.span(token.start, token.end),
                        related: None,
                        hint: Some("give a part of it a name with `let`".into()),
                    });
                }
                self.broken.push(token.start);
            }
        }
    }

    /// The statements around the byte `at` of an item, as token ranges, from the innermost outwards.
    pub fn pieces_at(&self, item: &ItemRange, at: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut bodies = Vec::new();
        for index in item.first..item.last {
            let Some(token) = self.tokens.get(index) else { break };
            if token.start >= at {
                break;
            }
            if token.kind == TokenKind::Open && self.is(index, "{") {
                let close = token.mate.map_or(item.last, |mate| mate.min(item.last));
                let ends = token.mate.and_then(|mate| self.tokens.get(mate)).map_or(usize::MAX, |t| t.start);
                if at <= ends && index + 1 < close {
                    bodies.push((index + 1, close));
                }
            }
        }
        bodies.into_iter().rev().map(move |(first, last)| self.piece(first, last, at))
    }

    /// The statement at `at` of the body in the tokens `first..last`.
    fn piece(&self, first: usize, last: usize, at: usize) -> (usize, usize) {
        let mut piece = first;
        let mut index = first;
        while let Some(token) = self.tokens.get(index).filter(|_| index < last) {
            if index > first && self.starts_statement(index) {
                // An error at the very start of a statement is the fault of the one before: it isn't complete.
                if token.start >= at {
                    return (piece, index);
                }
                piece = index;
            }
            index = match (token.kind, token.mate) {
                (TokenKind::Open, Some(mate)) if mate > index => mate + 1,
                _ => index + 1,
            };
        }
        (piece, last)
    }

    /// Where an error really is: in `a =` and, on the next line, `b = 1`, pest stops at the second `=`.
    pub fn blame(&self, at: usize) -> usize {
        let index = self.tokens.partition_point(|token| token.start < at);
        let stopped =
            self.tokens.get(index).is_some_and(|t| t.start == at && matches!(self.word(t), "=" | "<-"));
        let Some([before, name]) = index.checked_sub(2).and_then(|first| self.tokens.get(first..index))
        else {
            return at;
        };
        if stopped && !self.ends_operand(before) && self.starts_statement(index - 1) {
            name.start
        } else {
            at
        }
    }

    /// Where the value of a statement starts, just after its `=` or `<-`.
    pub fn value_of(&self, (first, last): (usize, usize)) -> Option<usize> {
        let mut index = first;
        while let Some(token) = self.tokens.get(index).filter(|_| index < last) {
            if matches!(self.word(token), "=" | "<-") {
                return Some(token.end);
            }
            index = match (token.kind, token.mate) {
                (TokenKind::Open, Some(mate)) if mate > index => mate + 1,
                (TokenKind::Open, _) => return None,
                _ => index + 1,
            };
        }
        None
    }

    /// Where the body of an item opens: its last outermost `{`.
    pub fn body_of(&self, item: &ItemRange) -> Option<usize> {
        let mut body = None;
        let mut index = item.first;
        while let Some(token) = self.tokens.get(index).filter(|_| index < item.last) {
            if self.is(index, "{") {
                body = Some(token.start);
            }
            index = match (token.kind, token.mate) {
                (TokenKind::Open, Some(mate)) if mate > index => mate + 1,
                _ => index + 1,
            };
        }
        body
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

    fn starts_statement(&self, index: usize) -> bool {
        let Some(token) = self.tokens.get(index) else { return false };
        let Some(previous) = index.checked_sub(1).and_then(|i| self.tokens.get(i)) else { return true };
        if token.kind == TokenKind::Open {
            return false;
        }
        let word = self.word(token);
        let next = self.tokens.get(index + 1);
        let complete = self.ends_operand(previous);
        if token.kind == TokenKind::Word && STRONG.contains(&word) && (token.first || complete) {
            return true;
        }
        let next_word = next.is_some_and(|t| t.kind == TokenKind::Word);
        if token.kind == TokenKind::Word && token.first && next_word && WEAK.contains(&word) {
            return true;
        }
        let takes_new_value = next.is_some_and(|t| matches!(self.word(t), "=" | "<-"));
        // `a =` with nothing after it, and `b = 1` on the next line.
        let cut_short = previous.kind == TokenKind::Mark && !matches!(self.word(previous), "," | ":");
        if takes_new_value && token.kind == TokenKind::Word && token.first && cut_short {
            return true;
        }
        complete && token.kind == TokenKind::Word && (token.first || WEAK.contains(&word) && next_word)
            || complete
                && takes_new_value
                && !matches!(self.word(previous), "with" | "carrying" | "split" | "fit")
            || complete && token.first && matches!(token.kind, TokenKind::Text | TokenKind::Number)
            || self.is(index - 1, ";")
    }
}

/// Cuts text into tokens, comments and white space.
struct Lexer<'a> {
    scan: &'a mut Scan,
    source: &'a str,
    bytes: &'a mut Vec<u8>,
}

impl Lexer<'_> {
    fn run(mut self) {
        let mut at = 0;
        let mut first = true;
        while let Some(&byte) = self.source.as_bytes().get(at) {
            let start = at;
            match byte {
                b'\n' => {
                    first = true;
                    at += 1;
                    continue;
                }
                b' ' | b'\t' | b'\r' => {
                    at += 1;
                    continue;
                }
                b'/' if self.rest(at).starts_with("//") && self.is_comment(at, first) => {
                    at = self.comment(at, first);
                    continue;
                }
                b'"' => at = self.text(at),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                    at = self.run_of(at, |b| b.is_ascii_alphanumeric() || b == b'_')
                }
                b'0'..=b'9' => at = self.number(at),
                b'.' if self.rest(at).as_bytes().get(1).is_some_and(u8::is_ascii_digit)
                    && !self.after_word(at) =>
                {
                    at = self.number(at);
                }
                b'(' | b'[' | b'{' | b')' | b']' | b'}' => at += 1,
                _ => match self.mark(at) {
                    Some(length) => at += length,
                    None => {
                        at = self.stray(at);
                        continue;
                    }
                },
            }
            let kind = match byte {
                b'"' => TokenKind::Text,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => TokenKind::Word,
                b'0'..=b'9' => TokenKind::Number,
                b'.' if at > start + 1 && !self.rest(start).starts_with("..") => TokenKind::Number,
                b'(' | b'[' | b'{' => TokenKind::Open,
                b')' | b']' | b'}' => TokenKind::Close,
                _ => TokenKind::Mark,
            };
            self.scan.tokens.push(Token { kind, start, end: at, first, mate: None });
            first = false;
        }
    }

    fn rest(&self, at: usize) -> &str {
        self.source.get(at..).unwrap_or("")
    }

    fn run_of(&self, at: usize, part: impl Fn(u8) -> bool) -> usize {
        at + self.rest(at).bytes().take_while(|&b| part(b)).count()
    }

    fn after_word(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|i| self.source.as_bytes().get(i));
        before.is_some_and(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b')' | b']' | b'}' | b'*'))
    }

    fn number(&self, at: usize) -> usize {
        let mut at = self.run_of(at, |b| b.is_ascii_alphanumeric() || b == b'_');
        if self.rest(at).starts_with('.') && self.rest(at).as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
            at = self.run_of(at + 1, |b| b.is_ascii_alphanumeric() || b == b'_');
        }
        let exponent = matches!(self.source.as_bytes().get(at.wrapping_sub(1)), Some(b'e' | b'E'));
        if exponent && self.rest(at).starts_with(['+', '-']) {
            at = self.run_of(at + 1, |b| b.is_ascii_digit());
        }
        at
    }

    fn mark(&self, at: usize) -> Option<usize> {
        let rest = self.rest(at);
        const MARKS: &[&str] = &[
            "...", "|>", "->", "<-", "*=", "**", "//", "==", "!=", "<=", ">=", "=", "<", ">", "+", "-", "*",
            "/", "%", "@", ",", ":", ";", ".",
        ];
        MARKS.iter().find(|m| rest.starts_with(**m)).map(|m| m.len())
    }

    /// `//` is floor division between two operands of one line, and otherwise starts a comment: it is division when it
    /// follows an operand on its line and exactly one operand comes next, not two words in a row as in prose.
    fn is_comment(&self, at: usize, first: bool) -> bool {
        let rest = self.rest(at + 2);
        let line = rest.split('\n').next().unwrap_or("");
        let follows = !first && self.scan.tokens.last().is_some_and(|t| self.scan_ends_operand(t));
        if !follows || line.starts_with('/') {
            return true;
        }
        !reads_as_divisor(line)
    }

    fn scan_ends_operand(&self, token: &Token) -> bool {
        match token.kind {
            TokenKind::Word | TokenKind::Number | TokenKind::Text => true,
            TokenKind::Close => self.source.as_bytes().get(token.start) != Some(&b'}'),
            _ => false,
        }
    }

    fn comment(&mut self, at: usize, first: bool) -> usize {
        let length = self.rest(at).bytes().take_while(|&b| b != b'\n').count();
        let end = at + length;
        let text = self.rest(at).get(..length).unwrap_or("").trim_end().to_owned();
        let span = self.scan.span(at, at + text.len());
        let comment = Comment { own_line: first, span, text };
        if comment.text.starts_with("///") && first {
            self.scan.docs.push(DocLine { comment, before: self.scan.tokens.len() });
        } else {
            self.scan.comments.push(comment);
        }
        self.clear(at, end);
        end
    }

    fn clear(&mut self, start: usize, end: usize) {
        if let Some(bytes) = self.bytes.get_mut(start..end) {
            bytes.fill(b' ');
        }
    }

    fn text(&mut self, at: usize) -> usize {
        let mut escaped = false;
        for (offset, byte) in self.rest(at).bytes().enumerate().skip(1) {
            match byte {
                b'\n' => {
                    let end = at + self.rest(at).get(..offset).unwrap_or("").trim_end().len();
                    return self.unclosed_text(at, end);
                }
                b'"' if !escaped => return at + offset + 1,
                _ => escaped = byte == b'\\' && !escaped,
            }
        }
        let end = self.source.len();
        self.unclosed_text(at, end)
    }

    fn unclosed_text(&mut self, at: usize, end: usize) -> usize {
        self.scan.errors.push(SyntaxError {
            code: codes::UNCLOSED_TEXT,
            message: "unclosed text: a `\"` is missing on this line".into(),
            span: self.scan.span(at, end),
            related: None,
            hint: None,
        });
        self.scan.broken.push(at);
        end
    }

    /// A run of characters that no token starts with.
    fn stray(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        let known = |c: char| {
            c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_\"()[]{}|-<>*/=!+%@,:;.".contains(c)
        };
        let mut length: usize = rest.chars().take_while(|&c| !known(c)).map(char::len_utf8).sum();
        if length == 0 {
            length = rest.chars().next().map_or(1, char::len_utf8);
        }
        let end = at + length;
        let text = rest.get(..length).unwrap_or("").to_owned();
        if text == "\u{feff}" && at == 0 {
            self.clear(at, end);
            return end;
        }
        let hint = match text.as_str() {
            "&" | "&&" => Some("write `and`".to_owned()),
            "|" | "||" => Some("write `or`, or `|>` for a pipe".to_owned()),
            "!" => Some("write `not`".to_owned()),
            "'" => Some("texts stand in double quotes: `\"…\"`".to_owned()),
            "#" => Some("a comment starts with `//`".to_owned()),
            "^" => Some("a power is `**`".to_owned()),
            _ => None,
        };
        let shown: String = text.chars().take(8).flat_map(char::escape_debug).collect();
        self.scan.errors.push(SyntaxError {
            code: codes::STRAY,
            message: format!("`{shown}` means nothing here"),
            span: self.scan.span(at, end),
            related: None,
            hint,
        });
        self.scan.broken.push(at);
        self.clear(at, end);
        end
    }
}

/// Words of the language that may stand beside another word in an expression.
const JOINING: &[&str] = &[
    "and", "or", "not", "if", "else", "fn", "fresh", "scan", "in", "over", "reversed", "carrying", "let",
    "weight", "state", "setting", "with", "yield", "assert", "for", "map",
];

/// Does the rest of a line after `//` go on like code: one operand, then a mark or the end? Prose has two words in a row.
pub fn reads_as_divisor(line: &str) -> bool {
    let operand = line.trim().trim_start_matches(['-', ' ']);
    let word = |text: &str| text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let length = match operand.as_bytes().first() {
        Some(b'(') => match group_of_code(operand) {
            Some(length) => length,
            None => return false,
        },
        Some(b'0'..=b'9') => {
            let whole = word(operand);
            let rest = operand.get(whole..).unwrap_or("");
            let fraction = rest.strip_prefix('.').map_or(0, |digits| 1 + word(digits));
            if fraction == 1 { whole } else { whole + fraction }
        }
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => word(operand),
        _ => return false,
    };
    let after = operand.get(length..).unwrap_or("").trim_start();
    match after.as_bytes().first() {
        None => true,
        // `size.` ends a sentence, `size.h` is a field.
        Some(b'.') => after.as_bytes().get(1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_'),
        Some(b) => b"()[]{},:;+-*/%@<>=!|".contains(b),
    }
}

/// The length of the `( … )` that the line starts with, or of all the line when the group goes on; `None` for prose.
fn group_of_code(line: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut word_before = "";
    let mut at = 0;
    while let Some(&byte) = line.as_bytes().get(at) {
        let rest = line.get(at..)?;
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        if length > 0 {
            let word = rest.get(..length)?;
            if !word_before.is_empty() && !JOINING.contains(&word) && !JOINING.contains(&word_before) {
                return None;
            }
            word_before = word;
            at += length;
            continue;
        }
        match byte {
            b' ' => {}
            b'"' => {
                let mut escaped = false;
                let close = rest.bytes().skip(1).position(|b| {
                    let closes = b == b'"' && !escaped;
                    escaped = b == b'\\' && !escaped;
                    closes
                })?;
                at += close + 1;
                word_before = "";
            }
            // What follows is for the next `//` to decide.
            b'/' if rest.starts_with("//") => return Some(line.len()),
            b'(' => {
                depth += 1;
                word_before = "";
            }
            b')' => {
                depth = depth.saturating_sub(1);
                word_before = "";
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ if byte.is_ascii() => word_before = "",
            _ => return None,
        }
        at += 1;
    }
    Some(line.len())
}
