//! Text → tokens, comments and white space.

use super::comment::reads_as_divisor;
use super::{DocLine, Scan, Token, TokenKind};
use crate::ast::Comment;
use crate::codes;
use crate::parse::SyntaxError;

/// Cuts text into tokens, comments and white space.
pub struct Lexer<'a> {
    pub scan: &'a mut Scan,
    pub source: &'a str,
    /// The source, with blanks where comments and stray characters stood.
    pub bytes: &'a mut Vec<u8>,
}

impl Lexer<'_> {
    pub fn run(mut self) {
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

    pub fn rest(&self, at: usize) -> &str {
        self.source.get(at..).unwrap_or("")
    }

    fn run_of(&self, at: usize, part: impl Fn(u8) -> bool) -> usize {
        at + self.rest(at).bytes().take_while(|&b| part(b)).count()
    }

    fn after_word(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|i| self.source.as_bytes().get(i));
        before.is_some_and(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b')' | b']' | b'}' | b'*'))
    }

    pub fn number(&self, at: usize) -> usize {
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

    pub fn mark(&self, at: usize) -> Option<usize> {
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

    pub fn comment(&mut self, at: usize, first: bool) -> usize {
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

    pub fn clear(&mut self, start: usize, end: usize) {
        if let Some(bytes) = self.bytes.get_mut(start..end) {
            bytes.fill(b' ');
        }
    }

    pub fn text(&mut self, at: usize) -> usize {
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
