//! From "pest stopped here" to a message in our words.

use crate::codes;
use crate::habits;
use crate::parse::{Rule, SyntaxError, WeftParser};
use crate::scan::{ITEM_WORDS, ItemRange, RESERVED, Scan, Token, TokenKind};
use crate::span::Span;
use pest::Parser as _;
use pest::error::ErrorVariant;

/// The rule for an item that starts with this word.
pub fn item_rule(word: &str) -> Option<Rule> {
    Some(match word {
        "edition" => Rule::edition_item,
        "use" => Rule::use_item,
        "setting" => Rule::setting_item,
        "fn" | "layer" | "model" | "optimizer" => Rule::callable_item,
        "metric" => Rule::metric_item,
        "data" => Rule::data_item,
        "train" => Rule::train_item,
        "predict" => Rule::predict_item,
        "generate" => Rule::generate_item,
        "load" => Rule::load_item,
        _ => return None,
    })
}

/// The rule for the body alone of an item whose head is broken.
pub fn body_rule(item: Rule) -> Option<Rule> {
    Some(match item {
        Rule::callable_item | Rule::predict_item | Rule::generate_item => Rule::block,
        Rule::metric_item => Rule::metric_body,
        Rule::data_item => Rule::data_body,
        Rule::train_item => Rule::train_body,
        Rule::load_item => Rule::load_body,
        _ => return None,
    })
}

/// Text that starts like no item.
pub fn unknown_item(word: &str, kind: TokenKind, span: Span) -> SyntaxError {
    if kind != TokenKind::Word {
        return SyntaxError {
            code: codes::UNEXPECTED,
            message: format!("expected an item, but found `{word}`"),
            span,
            related: None,
            hint: Some(format!("an item starts with one of {}", list_words(ITEM_WORDS))),
        };
    }
    let hint = match (habits::item(word), nearest(word, ITEM_WORDS)) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!("an item starts with one of {}", list_words(ITEM_WORDS)),
    };
    SyntaxError {
        code: codes::UNKNOWN_ITEM,
        message: format!("no item starts with `{word}`"),
        span,
        related: None,
        hint: Some(hint),
    }
}

fn list_words(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// `Net.fit(…)` where items stand.
pub fn called_item(word: &str, span: Span) -> SyntaxError {
    SyntaxError {
        code: codes::UNKNOWN_ITEM,
        message: format!("nothing is done with `{word}` here: a spec declares what there is"),
        span,
        related: None,
        hint: Some("a training is the item `train { on DATA as { FIELD } … }`; `weft train` runs it".into()),
    }
}

/// An item in the body of another: its error and its name.
pub fn nested_item(scan: &Scan, item: &ItemRange, at: usize) -> Option<(SyntaxError, String)> {
    let (first, _) = scan.pieces_at(item, at).next()?;
    let (token, name) = (scan.tokens.get(first)?, scan.tokens.get(first + 1)?);
    let word = scan.word(token);
    if first <= item.first || word == "setting" || !scan.starts_item(first) {
        return None;
    }
    let error = SyntaxError {
        code: codes::UNEXPECTED,
        message: format!("`{word}` cannot stand inside another item"),
        span: scan.span(token.start, token.end),
        related: None,
        hint: Some("write it before or after this one: the order of items means nothing".into()),
    };
    Some((error, scan.word(name).to_owned()))
}

/// The candidate nearest to a misspelt word, when one is near enough.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = (word.len() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance that counts a swap of neighbours as one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.bytes().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().copied().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if j > 0 && previous == Some(y) && b.get(j - 1) == Some(&x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

/// pest rejected an item at the byte `at`.
pub fn rejected(scan: &Scan, item: &ItemRange, at: usize, variant: &ErrorVariant<Rule>) -> SyntaxError {
    let index = scan.tokens.partition_point(|token| token.end <= at).min(item.last);
    let next = scan.tokens.get(index).filter(|_| index < item.last);
    let previous = index.checked_sub(1).and_then(|i| scan.tokens.get(i));
    let piece = scan.pieces_at(item, at).next();
    let expected: &[Rule] = match variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    Rejection { scan, item, index, piece, next, previous, expected }.explain()
}

struct Rejection<'a> {
    scan: &'a Scan,
    item: &'a ItemRange,
    /// The token that pest stopped at.
    index: usize,
    /// The tokens of the statement around it; `None` in the item's head.
    piece: Option<(usize, usize)>,
    next: Option<&'a Token>,
    previous: Option<&'a Token>,
    expected: &'a [Rule],
}

impl Rejection<'_> {
    fn explain(&self) -> SyntaxError {
        let after = self.previous.map_or("", |token| self.scan.word(token));
        let found = self.next.map_or("", |token| self.scan.word(token));
        if let Some(error) = self.elif(after, found) {
            return error;
        }
        let (code, message) = self.message(after, found);
        let hint = self.hint(code, after, found).or_else(|| self.near(found)).or_else(|| self.form());
        SyntaxError { code, message, span: self.place(code), related: None, hint }
    }

    /// What is there, or, when nothing fitting is there, the end of what came before.
    fn place(&self, code: &'static str) -> Span {
        let named = matches!(code, codes::UNEXPECTED | codes::BAD_NUMBER) && self.next.is_some();
        let closing = self.next.is_none_or(|next| next.first || next.kind == TokenKind::Close) && !named;
        match (self.previous, self.next) {
            (Some(previous), _) if closing => self.scan.span(previous.start, previous.end),
            (_, Some(next)) => self.scan.span(next.start, next.end),
            (Some(previous), None) => self.scan.span(previous.start, previous.end),
            (None, None) => self.scan.span(0, 0),
        }
    }

    fn expects(&self, rule: Rule) -> bool {
        self.expected.contains(&rule)
    }

    fn message(&self, after: &str, found: &str) -> (&'static str, String) {
        let expression = self.expects(Rule::number) || self.expects(Rule::list) || self.expects(Rule::expr);
        let whole = WeftParser::parse(Rule::number, found).is_ok_and(|pairs| pairs.as_str() == found);
        if self.next.is_some_and(|n| n.kind == TokenKind::Number) && !whole {
            return (codes::BAD_NUMBER, format!("`{found}` is not a number"));
        }
        let reserved = RESERVED.contains(&found) && !self.next.is_some_and(|n| n.first);
        let operator = self.previous.is_some_and(|t| t.kind == TokenKind::Mark)
            && !matches!(after, "," | ":" | ";" | "." | "->");
        if operator && self.next.is_some_and(|n| n.first) && !self.expects(Rule::path) {
            return (codes::EXPECTED_EXPRESSION, format!("expected an expression after `{after}`"));
        }
        let name = self.expects(Rule::name) || self.expects(Rule::pattern) || self.expects(Rule::dotted);
        if name && !expression {
            return match reserved {
                true => (codes::RESERVED_WORD, format!("`{found}` is a reserved word, not a name")),
                false if after.is_empty() => (codes::EXPECTED_NAME, "expected a name".into()),
                false => (codes::EXPECTED_NAME, format!("expected a name after `{after}`")),
            };
        }
        let incomplete = self.previous.is_some_and(|token| !self.scan.ends_operand(token));
        if expression
            && (incomplete || self.previous.is_some_and(|t| t.kind == TokenKind::Word))
            && after != "{"
        {
            let message = match found {
                "" => format!("expected an expression after `{after}`"),
                _ if self.next.is_some_and(|n| n.first) => format!("expected an expression after `{after}`"),
                _ => format!("expected an expression after `{after}`, but found `{found}`"),
            };
            return (codes::EXPECTED_EXPRESSION, message);
        }
        let mut words: Vec<&str> = Vec::new();
        for rule in self.expected {
            if let Some(word) = describe(*rule)
                && !words.contains(&word)
            {
                words.push(word);
            }
        }
        if self.expects(Rule::close_brace) && !found.is_empty() {
            return (codes::UNEXPECTED, format!("expected a statement or `}}`, but found `{found}`"));
        }
        let found = if found.is_empty() { "the end".to_owned() } else { format!("`{found}`") };
        match words.as_slice() {
            [] if self.index == self.item.first + 2 && self.expects(Rule::open_paren) => {
                (codes::EXPECTED, format!("expected `(` after `{after}`, but found {found}"))
            }
            [] => (codes::UNEXPECTED, format!("unexpected {found}")),
            [words @ .., last] if words.len() < 4 => {
                let mut list = words.join(", ");
                if !list.is_empty() {
                    list.push_str(" or ");
                }
                list.push_str(last);
                (codes::EXPECTED, format!("expected {list} after `{after}`, but found {found}"))
            }
            _ => (codes::UNEXPECTED, format!("unexpected {found} after `{after}`")),
        }
    }

    /// `elif` is two statements and a stray `else` to the grammar.
    fn elif(&self, after: &str, found: &str) -> Option<SyntaxError> {
        if (after, found) != ("}", "else") {
            return None;
        }
        let open = self.previous.and_then(|close| close.mate)?;
        let before = self.scan.tokens.get(..open)?;
        let start = before.iter().rposition(|t| t.kind == TokenKind::Close && self.scan.word(t) == "}")?;
        let token =
            before.get(start + 1).filter(|t| ["elif", "elsif", "elseif"].contains(&self.scan.word(t)))?;
        Some(SyntaxError {
            code: codes::UNEXPECTED,
            message: format!("`{}` goes on with no `if`", self.scan.word(token)),
            span: self.scan.span(token.start, token.end),
            related: None,
            hint: Some("write `else if`".into()),
        })
    }

    /// The word that is misspelt, or only begun, among those that may stand here.
    fn near(&self, found: &str) -> Option<String> {
        let expected = self.expected.iter().filter_map(|rule| describe(*rule));
        let words: Vec<&str> = expected
            .filter_map(|word| word.strip_prefix('`')?.strip_suffix('`'))
            .filter(|word| word.starts_with(char::is_alphabetic))
            .collect();
        let begun = || words.iter().find(|word| found.len() > 2 && word.starts_with(found)).copied();
        let near = nearest(found, &words).or_else(begun).filter(|near| *near != found)?;
        self.next.is_some_and(|next| next.kind == TokenKind::Word).then(|| format!("did you mean `{near}`?"))
    }

    /// How the statement or the item is written, when its outline is what is wrong.
    fn form(&self) -> Option<String> {
        let first = self.piece.map_or(self.item.first, |(first, _)| first);
        let word = self.scan.word(self.scan.tokens.get(first)?);
        let form = habits::form(word)?;
        // Inside brackets or after the `=` an expression is wrong.
        let mut index = first;
        while index < self.index {
            let token = self.scan.tokens.get(index)?;
            index = match (token.kind, token.mate) {
                (TokenKind::Open, Some(mate)) if mate < self.index => mate + 1,
                (TokenKind::Open, _) => return None,
                _ if self.scan.word(token) == "=" => return None,
                _ => index + 1,
            };
        }
        Some(format!("it is written `{form}`"))
    }

    /// Is one of the tokens before, on the same line, this word?
    fn line_has(&self, word: &str) -> bool {
        let before = self.scan.tokens.get(..self.index).unwrap_or(&[]);
        let mut line = before.iter().rev().take(1 + before.iter().rev().take_while(|t| !t.first).count());
        line.any(|token| self.scan.word(token) == word)
    }

    /// What other languages write in this way.
    fn habit(&self, code: &'static str, after: &str, found: &str) -> Option<String> {
        let following = self.scan.tokens.get(self.index + 1);
        let word = |token: Option<&Token>| token.is_some_and(|t| t.kind == TokenKind::Word);
        let starts = self.piece.is_some_and(|(first, _)| self.index == first + 1);
        let typed = self.index.checked_sub(2).is_some_and(|i| self.scan.is(i, ":"));
        let adjacent = |a: Option<&Token>, b: Option<&Token>| a.zip(b).is_some_and(|(a, b)| a.end == b.start);
        Some(match found {
            "+=" | "-=" | "*=" | "/=" if word(self.previous) => {
                let operator = found.trim_end_matches('=');
                format!("write `{after} = {after} {operator} …`")
            }
            _ if self.scan.is(self.item.first, "load") && self.piece.is_some() => {
                "it is written `\"NAME IN THE FILE\" -> MODEL.PATH`, or `… transposed`; the path without quotes".into()
            }
            "=>" | ":" if self.expects(Rule::result) || self.expects(Rule::arrow) => {
                "a result's type follows `->`".into()
            }
            "=>" => "a nameless function is `fn(x) { … }`".into(),
            _ if code == codes::RESERVED_WORD => format!("choose another name, as `{found}_`"),
            _ if code == codes::BAD_NUMBER && !self.expects(Rule::number) && !self.expects(Rule::expr) => {
                "a name starts with a letter".into()
            }
            ":" if self.line_has("lambda") => "a nameless function is `fn(x) { … }`".into(),
            ":" if starts && word(self.previous) => format!("a value is given with `=`: `{after} = …`"),
            ":" if self.expects(Rule::block) || self.expects(Rule::open_brace) => {
                "a body stands in braces: `{ … }`".into()
            }
            "**" | "*" if matches!(after, "(" | ",") => {
                "there are no `*args` and `**kwargs`: every parameter has its name".into()
            }
            "(" if typed => format!("the dims of a type stand in brackets: `{after}[n, 10]`"),
            "-" if adjacent(self.previous, self.next)
                && adjacent(self.next, following)
                && word(following) =>
            {
                let following = following.map_or("", |t| self.scan.word(t));
                format!("`-` is no part of a name: `{after}_{following}`")
            }
            "else" => "a choice is written `if c { a } else { b }`".into(),
            "for" if self.line_has("minimize") => {
                "`over` tells whose weights move: `minimize LOSS over MODEL using …`".into()
            }
            "for" | "while" if self.scan.is(self.item.first, "train") => {
                "a training repeats by itself: `epochs = 10` says how often".into()
            }
            "," if self.previous.is_some_and(|t| t.kind == TokenKind::Number)
                && following.is_some_and(|t| t.kind == TokenKind::Number) =>
            {
                let following = following.map_or("", |t| self.scan.word(t));
                format!("digits are grouped with `_`: `{after}_{following}`")
            }
            _ if word(self.previous)
                && word(self.next)
                && self.expects(Rule::colon)
                && ["int", "float", "bool", "text", "str", "list", "Tensor"].contains(&after) =>
            {
                format!("the type follows the name: `{found}: {after}`")
            }
            _ if code == codes::BAD_NUMBER => "numbers look like 64, 1_000, 0.5, 1e-3".into(),
            _ => return None,
        })
    }

    fn hint(&self, code: &'static str, after: &str, found: &str) -> Option<String> {
        if let Some(hint) = self.habit(code, after, found) {
            return Some(hint);
        }
        let hint = match (after, found) {
            ("=", "=") => "equality is `==`",
            ("}", "|>") => "put the `if` in parentheses to go on with its value",
            ("*", "*") => "a power is `**`, without a space",
            (_, "=") if self.expects(Rule::infix) => {
                "equality is `==`; a new value for a name is a statement of its own"
            }
            _ if self.line_has_division() => {
                "`//` after a value is floor division here; a comment can stand on a line of its own"
            }
            _ => return None,
        };
        Some(hint.into())
    }

    /// Was a `//` on this line read as floor division? Perhaps it was meant as a comment.
    fn line_has_division(&self) -> bool {
        let Some(previous) = self.previous else { return false };
        let before = self.scan.text.get(..previous.end).unwrap_or("");
        let line = before.rsplit('\n').next().unwrap_or("");
        line.contains("//")
    }
}

/// What a rule is called in "expected …". Operators and calls can follow any expression, which says nothing.
fn describe(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::eq => "`=`",
        Rule::times_eq => "`*=`",
        Rule::left_arrow => "`<-`",
        Rule::arrow => "`->`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::close_paren => "`)`",
        Rule::close_bracket => "`]`",
        Rule::close_brace => "`}`",
        Rule::open_brace
        | Rule::block
        | Rule::metric_body
        | Rule::data_body
        | Rule::train_body
        | Rule::load_body => "`{`",
        Rule::params => "`(`",
        Rule::name | Rule::dotted => "a name",
        Rule::ty => "a type",
        Rule::text => "a text",
        Rule::path => "a path",
        Rule::pattern => "a name",
        Rule::kw_in => "`in`",
        Rule::kw_over => "`over`",
        Rule::kw_for => "`for`",
        Rule::kw_from => "`from`",
        Rule::kw_best => "`best`",
        Rule::kw_by => "`by`",
        Rule::kw_after => "`after`",
        Rule::kw_epochs => "`epochs`",
        Rule::kw_batches => "`batches`",
        Rule::kw_minutes => "`minutes`",
        Rule::kw_every => "`every`",
        Rule::kw_without => "`without`",
        Rule::kw_better => "`better`",
        Rule::kw_using => "`using`",
        Rule::kw_gradients => "`gradients`",
        Rule::kw_weights => "`weights`",
        Rule::kw_rate => "`rate`",
        Rule::by_value | Rule::kw_value => "`value`",
        Rule::by_norm | Rule::kw_norm => "`norm`",
        Rule::by_global_norm | Rule::kw_global => "`global norm`",
        Rule::year => "a year",
        Rule::result => "`->`",
        Rule::expr | Rule::number => "an expression",
        _ => return None,
    })
}
