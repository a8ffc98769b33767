//! Tree → canonical text.
//!
//! The text depends on the tree alone, but for what the tree's places tell of the writer's choices: where comments stand, where a
//! blank line sets two statements apart, where a line begins with a stage of a pipe or after a brace, which parentheses say
//! what holds without them, and which fields of a record are bare names. This file holds the rows of a body and their comments; the
//! others print one family of the tree each, and `layout.rs` breaks lines.

mod expr;
mod items;
mod layout;
mod lists;
mod statements;
mod train;

use crate::ast::*;
use crate::scan;
use crate::span::Span;
use layout::{Doc, concat, indent, nothing, tail, text};
pub use lists::quote;
pub(crate) use lists::quoted;

/// The canonical text of a file without errors: idempotent, keeps comments and the grouping by blank lines.
pub fn format(file: &SourceFile, source: &str) -> String {
    let mut text = print(file, source);
    // A line that was broken because it was too long is the writer's own break when the text is read again, and may spare what
    // stands around it. Such breaks only ever grow in number, so this ends, nearly always at the first turn.
    for _ in 0..MAX_TURNS {
        let again = print(&crate::parse(crate::FileId(0), &text).file, &text);
        if again == text {
            break;
        }
        text = again;
    }
    text
}

/// Far more turns than a text takes.
const MAX_TURNS: usize = 8;

fn print(file: &SourceFile, source: &str) -> String {
    let mut printer = Printer { source, comments: &file.comments, next: 0 };
    let mut rows = Rows::default();
    if let Some(edition) = &file.edition {
        printer.row(&mut rows, edition.span, |p| concat([text("edition "), p.name(edition)]));
    }
    let mut previous: Option<&ItemKind> = None;
    for item in &file.items {
        // Items are set apart, but short ones of a kind may stand together.
        let together =
            previous.is_some_and(|previous| stand_together(previous, &item.kind)) && item.doc.is_none();
        let apart = !together && (previous.is_some() || file.edition.is_some());
        printer.comments_before(&mut rows, item.span.start, apart);
        if apart && !rows.comment_last {
            rows.blank();
        }
        for line in item.doc.iter().flat_map(|doc| doc.split('\n')) {
            let line = if line.is_empty() { "///".to_owned() } else { format!("/// {line}") };
            rows.push(text(line));
            rows.end = None;
        }
        printer.row(&mut rows, item.span, |p| p.item(item));
        previous = Some(&item.kind);
    }
    printer.comments_before(&mut rows, u32::MAX, false);
    rows.finish().render()
}

fn stand_together(a: &ItemKind, b: &ItemKind) -> bool {
    use ItemKind::*;
    match (a, b) {
        (Use { .. }, Use { .. }) | (Setting(_), Setting(_)) => true,
        (Load(a), Load(b)) => a.rules.is_empty() && b.rules.is_empty(),
        _ => false,
    }
}

pub(crate) struct Printer<'a> {
    source: &'a str,
    comments: &'a [Comment],
    /// The first comment that is not printed yet.
    next: usize,
}

/// Lines of a body, one a statement or comment.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Vec<Doc>,
    /// Where the last row ended in the source.
    end: Option<u32>,
    /// The row of the last statement, which a `;` may have to end.
    statement: Option<usize>,
    comment_last: bool,
    suffixed: bool,
}

impl Rows {
    pub fn push(&mut self, doc: Doc) {
        if !self.rows.is_empty() {
            self.rows.push(Doc::Hard);
        }
        self.rows.push(doc);
        self.comment_last = false;
        self.suffixed = false;
    }

    pub fn blank(&mut self) {
        if !self.rows.is_empty() && !matches!(self.rows.last(), Some(Doc::Blank)) {
            self.rows.push(Doc::Blank);
        }
    }

    fn finish(self) -> Doc {
        concat(self.rows)
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<'a> Printer<'a> {
    pub fn gap(&self, start: u32, end: u32) -> &'a str {
        self.source.get(start as usize..end as usize).unwrap_or("")
    }

    /// Keeps one blank line where the writer left some between the last row and `start`.
    fn keep_blank(&self, rows: &mut Rows, start: u32) {
        let Some(end) = rows.end.filter(|end| *end <= start) else { return };
        // What stands between two line ends and is empty; a doc comment may stand there too.
        let mut lines = self.gap(end, start).split('\n').skip(1).peekable();
        while let Some(line) = lines.next() {
            if line.trim().is_empty() && lines.peek().is_some() {
                return rows.blank();
            }
        }
    }

    /// Takes the next comment if it stands before the byte `end`.
    pub fn comment_before(&mut self, end: u32) -> Option<&'a Comment> {
        let comment = self.comments.get(self.next).filter(|comment| comment.span.start < end)?;
        self.next += 1;
        Some(comment)
    }

    /// Is there a comment within the span that is not printed yet?
    pub fn has_comment(&self, span: Span) -> bool {
        self.comments.get(self.next).is_some_and(|comment| comment.span.start < span.end)
    }

    /// A comment may follow code on its line, unless it would then be read as a floor division.
    pub fn can_follow(comment: &Comment) -> bool {
        !comment.own_line && !comment.text.strip_prefix("//").is_some_and(scan::reads_as_divisor)
    }

    pub fn comments_before(&mut self, rows: &mut Rows, end: u32, apart: bool) {
        let mut first = true;
        while let Some(comment) = self.comment_before(end) {
            let same_line = rows.end.is_some_and(|end| !self.gap(end, comment.span.start).contains('\n'));
            if Self::can_follow(comment)
                && same_line
                && !rows.suffixed
                && !rows.is_empty()
                && !rows.comment_last
            {
                rows.rows.push(Doc::Suffix(comment.text.clone()));
                rows.suffixed = true;
            } else {
                match apart && first {
                    true => rows.blank(),
                    false => self.keep_blank(rows, comment.span.start),
                }
                first = false;
                rows.push(text(comment.text.clone()));
                rows.comment_last = true;
            }
            rows.end = Some(comment.span.end);
        }
        if !first {
            self.keep_blank(rows, end);
        }
    }

    /// Adds a row with the comments before and inside it.
    fn row(&mut self, rows: &mut Rows, span: Span, print: impl FnOnce(&mut Self) -> Doc) {
        self.comments_before(rows, span.start, false);
        self.keep_blank(rows, span.start);
        let before = self.next;
        let doc = print(self);
        // Statements simply follow each other; where two would grow together, a `;` keeps them apart.
        if matches!(doc.first_char(), Some('(' | '[' | '-'))
            && let Some(slot) = rows.statement.and_then(|index| rows.rows.get_mut(index))
        {
            let statement = std::mem::replace(slot, nothing());
            *slot = concat([statement, text(";")]);
        }
        // Comments at places where none can be kept go before the statement, or after it where one stands in it already: their order
        // stays.
        let placed = self.next > before;
        let rest: Vec<&Comment> = std::iter::from_fn(|| self.comment_before(span.end)).collect();
        if !placed {
            rest.iter().for_each(|comment| rows.push(text(comment.text.clone())));
        }
        rows.push(doc);
        rows.statement = rows.rows.len().checked_sub(1);
        if placed {
            rest.iter().for_each(|comment| rows.push(text(comment.text.clone())));
            rows.comment_last = !rest.is_empty();
        }
        rows.end = Some(span.end);
    }

    /// Did the writer begin a new line after the brace before this byte? What stands in braces then keeps lines of its own.
    fn opens_lines(&self, start: u32) -> bool {
        let before = self.gap(0, start);
        let brace = before.trim_end();
        brace.ends_with('{') && before.get(brace.len()..).is_some_and(|gap| gap.contains('\n'))
    }

    /// `{ … }` around rows, each on a line of its own.
    pub fn braces(&mut self, rows: Rows) -> Doc {
        Self::opened(text("{"), rows)
    }

    /// `clause { … }`, where the clause and then the brace too begin lines when they don't fit behind what stands before them.
    pub fn clause_and_braces(&mut self, clause: Doc, rows: Rows) -> Doc {
        let clause = indent(concat([Doc::Line, clause]));
        Self::opened(tail(concat([clause, Doc::Line, text("{")])), rows)
    }

    fn opened(open: Doc, rows: Rows) -> Doc {
        if rows.is_empty() {
            return concat([open, text("}")]);
        }
        concat([open, indent(concat([Doc::Hard, rows.finish()])), Doc::Hard, text("}")])
    }

    /// A body of clauses that follow each other, with the comments up to the end of `whole`.
    pub fn body<T>(
        &mut self,
        clauses: &'a [T],
        whole: Span,
        span: fn(&T) -> Span,
        print: fn(&mut Self, &'a T) -> Doc,
    ) -> Doc {
        let rows = self.rows(clauses, whole, span, print);
        self.braces(rows)
    }

    pub fn rows<T>(
        &mut self,
        clauses: &'a [T],
        whole: Span,
        span: fn(&T) -> Span,
        print: fn(&mut Self, &'a T) -> Doc,
    ) -> Rows {
        let mut rows = Rows::default();
        for clause in clauses {
            self.row(&mut rows, span(clause), |p| print(p, clause));
        }
        self.comments_before(&mut rows, whole.end, false);
        rows
    }
}
