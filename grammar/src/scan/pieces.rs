//! For recovery: which statement a byte is in, where its value begins, and where a body opens.

use super::{ItemRange, STRONG, Scan, TokenKind, WEAK};

impl Scan {
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
