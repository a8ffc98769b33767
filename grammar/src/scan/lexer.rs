//! Text → tokens, comments and white space.

use super::comment::reads_as_divisor;
use super::{DocLine, Scan, Token, TokenKind};
use crate::ast::Comment;
use crate::codes;
use crate::habits;
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
                b'\'' if self.quoted(at).is_some() => at = self.single_quoted(at),
                b'/' if self.rest(at).starts_with("/*") => {
                    at = self.block_comment(at);
                    continue;
                }
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
                b'"' | b'\'' => TokenKind::Text,
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
        while self.rest(at).starts_with('.')
            && self.rest(at).as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        {
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
            "...", "|>", "->", "<-", "+=", "-=", "*=", "/=", "**", "//", "==", "=>", "!=", "<=", ">=", "=",
            "<", ">", "+", "-", "*", "/", "%", "@", ",", ":", ";", ".",
        ];
        if let Some(after) = rest.strip_prefix('?').filter(|_| self.after_word(at)) {
            // Only a row's field can end so; anywhere else it is another language's choice.
            let after = after.trim_start();
            let ends = [",", "}", "from ", "from\"", "//"].iter().any(|end| after.starts_with(end));
            return ends.then_some(1);
        }
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

    /// A text that never ends is guessed to end before what closes a bracket around it, or opens a body.
    fn unclosed_text(&mut self, at: usize, end: usize) -> usize {
        let text = self.source.get(at..end).unwrap_or("");
        let mut depth = 0usize;
        let closer = text.char_indices().find(|(_, c)| match c {
            '(' | '[' => {
                depth += 1;
                false
            }
            ')' | ']' if depth == 0 => true,
            ')' | ']' => {
                depth -= 1;
                false
            }
            _ => false,
        });
        let body = text.strip_suffix('{').map(str::len);
        let length = closer.map(|(offset, _)| offset).or(body).unwrap_or(text.len());
        let end = at + text.get(..length).map_or(length, |text| text.trim_end().len());
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
        let shown: String = text.chars().take(8).flat_map(visible).collect();
        let hint = habits::character(&text).map(str::to_owned);
        if text.starts_with('#') {
            // What follows was meant as a comment.
            let line = at + rest.lines().next().unwrap_or("").len();
            self.stray_error(at, at + 1, "`#` means nothing here", Some("a comment starts with `//`".into()));
            self.clear(at, line);
            return line;
        }
        self.stray_error(at, end, format!("`{shown}` means nothing here"), hint);
        self.scan.broken.push(at);
        self.clear(at, end);
        end
    }

    fn stray_error(&mut self, start: usize, end: usize, message: impl Into<String>, hint: Option<String>) {
        let (message, span) = (message.into(), self.scan.span(start, end));
        self.scan.errors.push(SyntaxError { code: codes::STRAY, message, span, related: None, hint });
    }

    /// The length of a text in single quotes.
    fn quoted(&self, at: usize) -> Option<usize> {
        let line = self.rest(at + 1).lines().next().unwrap_or("");
        line.find('\'').map(|length| length + 2)
    }

    /// A text in single quotes is read as if they were double.
    fn single_quoted(&mut self, at: usize) -> usize {
        let end = at + self.quoted(at).unwrap_or(1);
        let text = self.source.get(at + 1..end - 1).unwrap_or("").to_owned();
        self.stray_error(at, end, "a text stands in double quotes", Some(format!("write `\"{text}\"`")));
        if text.contains(['"', '\\']) {
            self.scan.broken.push(at);
            return end;
        }
        for place in [at, end - 1] {
            if let Some(byte) = self.bytes.get_mut(place) {
                *byte = b'"';
            }
        }
        end
    }

    /// `/* … */`, which is no comment here but is passed over like one.
    fn block_comment(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        let end = at + rest.find("*/").map_or(rest.lines().next().unwrap_or("").len(), |length| length + 2);
        let hint = "a comment starts with `//` and ends with its line";
        self.stray_error(at, at + 2, "`/*` starts no comment", Some(hint.into()));
        self.clear(at, end);
        end
    }
}

/// A character as it is shown in a message: control characters by their number.
fn visible(c: char) -> Vec<char> {
    if c.is_control() { c.escape_debug().collect() } else { vec![c] }
}
