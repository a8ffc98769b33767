//! Brackets: matching them, bounding their nesting, and cutting the file into items between them. When they don't balance, what
//! starts a line tells which bracket is likeliest to lack its partner.

use super::{ITEM_WORDS, ItemRange, MAX_BRACKETS, MAX_DEPTH, STRONG, Scan, Token, TokenKind};
use crate::codes;
use crate::parse::SyntaxError;
use crate::span::Span;

impl Scan {
    pub fn starts_item(&self, index: usize) -> bool {
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
    pub fn split_items(&mut self) {
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
    pub fn cuts(&self, first: usize, index: usize) -> bool {
        let Some(previous) = index.checked_sub(1).and_then(|i| self.tokens.get(i)) else { return true };
        let Some(token) = self.tokens.get(index) else { return false };
        // `layer train(…)`: the name of an item may be an item word.
        if index == first + 1 && self.starts_item(first) {
            return false;
        }
        if self.starts_item(index) {
            return self.ends_operand(previous) || self.at_margin(token);
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

    pub fn unclosed(&mut self, open: usize, at: usize) {
        let Some(token) = self.tokens.get(open) else { return };
        let message = format!("unclosed `{}`", self.word(token));
        let start = token.start;
        let mut span = self.token_span(at.min(self.tokens.len()));
        if at >= self.tokens.len() {
            span = self.span(self.text.trim_end().len(), self.text.len());
        }
        let hint = Some(format!("a `{}` is missing before this", self.closer(open)));
        let related = self.related(open);
        self.errors.push(SyntaxError { code: codes::UNCLOSED, message, span, related, hint });
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

    pub fn close(&mut self, stack: &mut Vec<usize>, index: usize) {
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
        // `[4, 8))`: when the next bracket closes what is around the innermost, this one was meant to close that.
        let around = stack.len().checked_sub(2).and_then(|i| stack.get(i)).copied();
        let swapped = wanted != "{"
            && stack.last().is_some_and(|open| !self.is(*open, wanted))
            && around.is_some_and(|open| !self.is(open, "{") && self.is(index + 1, self.closer(open)));
        match (partner.filter(|_| !swapped), stack.last().copied()) {
            (Some(position), _) => {
                let skipped = stack.split_off(position + 1);
                if let Some(&open) = skipped.last() {
                    self.unclosed(open, index);
                }
                if let Some(open) = stack.pop() {
                    self.mate(open, index);
                }
            }
            (None, Some(open)) if !self.is(open, "{") => {
                stack.pop();
                let opened = self.token_span(open);
                let mark = self.tokens.get(open).map_or("", |t| self.word(t));
                let closer = self.closer(open);
                self.errors.push(SyntaxError {
                    code: codes::MISMATCHED,
                    message: format!("expected `{closer}` but found `{found}`"),
                    span: self.span(token.start, token.end),
                    related: Some((opened, format!("this `{mark}` is open"))),
                    hint: None,
                });
                // It is read as the right one.
                self.text.replace_range(token.start..token.end, closer);
                self.mate(open, index);
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

    fn mate(&mut self, open: usize, close: usize) {
        for (token, mate) in [(open, close), (close, open)] {
            if let Some(token) = self.tokens.get_mut(token) {
                token.mate = Some(mate);
            }
        }
    }

    /// What closes the bracket `open`.
    fn closer(&self, open: usize) -> &'static str {
        match self.tokens.get(open).map(|token| self.word(token)) {
            Some("(") => ")",
            Some("[") => "]",
            _ => "}",
        }
    }

    /// Takes a stray mark out of the text, so that the rest can be parsed.
    pub fn blank(&mut self, start: usize, end: usize) {
        if self.text.is_char_boundary(start) && self.text.is_char_boundary(end) {
            self.text.replace_range(start..end, &" ".repeat(end - start));
        }
        if let Some(token) = self.tokens.iter_mut().find(|t| t.start == start) {
            token.kind = TokenKind::Mark;
        }
    }

    /// Bounds the nesting: pest recurses on brackets, later stages on the depth of the tree.
    pub fn measure(&mut self) {
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
}
