//! A small pretty printer after Wadler and Prettier: a document says where lines *may* break, and a group breaks all of
//! its own lines when it doesn't fit the width.

/// The longest line, where it can be helped.
pub const WIDTH: usize = 110;
const INDENT: usize = 4;

#[derive(Clone, Debug)]
pub enum Doc {
    Text(String),
    /// A space, or a new line when the group breaks.
    Line,
    /// A space, or a new line when the group breaks and what follows doesn't fit on the line.
    Flow,
    /// Nothing, or a new line when the group breaks.
    Soft,
    /// Always a new line; breaks every group around it.
    Hard,
    /// A blank line before the next line.
    Blank,
    /// Only when the group breaks.
    Broken(&'static str),
    /// A comment at the end of this line; breaks every group around it.
    Suffix(String),
    Concat(Vec<Doc>),
    Indent(Box<Doc>),
    Group(Box<Doc>),
    /// A group that breaks rather than any group before it on its line: a short body.
    Tail(Box<Doc>),
}

pub fn text(text: impl Into<String>) -> Doc {
    Doc::Text(text.into())
}

pub fn concat(parts: impl IntoIterator<Item = Doc>) -> Doc {
    Doc::Concat(parts.into_iter().collect())
}

pub fn indent(doc: Doc) -> Doc {
    Doc::Indent(Box::new(doc))
}

pub fn group(doc: Doc) -> Doc {
    Doc::Group(Box::new(doc))
}

pub fn tail(doc: Doc) -> Doc {
    Doc::Tail(Box::new(doc))
}

pub fn nothing() -> Doc {
    Doc::Concat(Vec::new())
}

impl Doc {
    /// Must the groups around this break?
    pub fn forces_break(&self) -> bool {
        match self {
            Doc::Hard | Doc::Blank | Doc::Suffix(_) => true,
            Doc::Concat(parts) => parts.iter().any(Doc::forces_break),
            Doc::Indent(doc) | Doc::Group(doc) | Doc::Tail(doc) => doc.forces_break(),
            _ => false,
        }
    }

    /// How long it is on one line, if it can stand on one.
    pub fn width(&self) -> Option<usize> {
        match self {
            Doc::Text(text) => Some(text.chars().count()),
            Doc::Line | Doc::Flow => Some(1),
            Doc::Soft | Doc::Broken(_) => Some(0),
            Doc::Hard | Doc::Blank | Doc::Suffix(_) => None,
            Doc::Concat(parts) => parts.iter().map(Doc::width).sum(),
            Doc::Indent(doc) | Doc::Group(doc) | Doc::Tail(doc) => doc.width(),
        }
    }

    /// The first character that is always printed.
    pub fn first_char(&self) -> Option<char> {
        match self {
            Doc::Text(text) => text.chars().next(),
            Doc::Concat(parts) => parts.iter().find_map(Doc::first_char),
            Doc::Indent(doc) | Doc::Group(doc) | Doc::Tail(doc) => doc.first_char(),
            _ => None,
        }
    }

    pub fn render(&self) -> String {
        let mut renderer = Renderer { out: String::new(), column: 0, suffix: String::new(), blank: false };
        renderer.run(self);
        renderer.flush();
        let mut out = renderer.out;
        out.truncate(out.trim_end().len());
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }
}

struct Renderer {
    out: String,
    column: usize,
    suffix: String,
    blank: bool,
}

impl Renderer {
    fn run(&mut self, doc: &Doc) {
        // What is left to print: its indentation, whether its lines break, and the piece.
        let mut stack: Vec<(usize, bool, &Doc)> = vec![(0, true, doc)];
        while let Some((depth, broken, doc)) = stack.pop() {
            match doc {
                Doc::Text(text) => self.write(text),
                Doc::Line | Doc::Flow if !broken => self.write(" "),
                Doc::Soft if !broken => {}
                Doc::Flow if fits(&Doc::Line, &stack, WIDTH.saturating_sub(self.column)) => self.write(" "),
                Doc::Line | Doc::Flow | Doc::Soft | Doc::Hard => self.new_line(depth),
                Doc::Blank => self.blank = true,
                Doc::Broken(text) if broken => self.write(text),
                Doc::Broken(_) => {}
                Doc::Suffix(comment) => {
                    self.suffix.push(' ');
                    self.suffix.push_str(comment);
                }
                Doc::Concat(parts) => stack.extend(parts.iter().rev().map(|part| (depth, broken, part))),
                Doc::Indent(doc) => stack.push((depth + 1, broken, doc)),
                Doc::Group(doc) | Doc::Tail(doc) => {
                    let broken = doc.forces_break() || !fits(doc, &stack, WIDTH.saturating_sub(self.column));
                    stack.push((depth, broken, doc));
                }
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn flush(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        if self.out.ends_with('\n') || self.out.is_empty() {
            self.suffix = self.suffix.trim_start().to_owned();
        }
        self.out.push_str(&self.suffix);
        self.suffix.clear();
    }

    fn new_line(&mut self, depth: usize) {
        self.flush();
        self.out.push('\n');
        if std::mem::take(&mut self.blank) {
            self.out.push('\n');
        }
        self.column = depth * INDENT;
        self.out.push_str(&" ".repeat(self.column));
    }
}

/// Does the group, printed flat, fit in `width`, with what follows it up to the next possible new line?
fn fits(doc: &Doc, rest: &[(usize, bool, &Doc)], width: usize) -> bool {
    let mut left = width as isize;
    let mut stack: Vec<(bool, &Doc)> = vec![(false, doc)];
    let mut rest = rest.iter().rev();
    loop {
        let Some((broken, doc)) = stack.pop().or_else(|| rest.next().map(|(_, broken, doc)| (*broken, *doc)))
        else {
            return true;
        };
        match doc {
            Doc::Text(text) => left -= text.chars().count() as isize,
            Doc::Line | Doc::Flow if !broken => left -= 1,
            Doc::Soft if !broken => {}
            Doc::Line | Doc::Flow | Doc::Soft | Doc::Hard => return true,
            Doc::Broken(text) if broken => left -= text.len() as isize,
            Doc::Concat(parts) => stack.extend(parts.iter().rev().map(|part| (broken, part))),
            // What follows may break its own groups: a tail does so before what is measured here, others only if they must.
            Doc::Indent(doc) | Doc::Tail(doc) => stack.push((broken, doc)),
            Doc::Group(doc) => stack.push((broken && doc.forces_break(), doc)),
            Doc::Broken(_) | Doc::Blank | Doc::Suffix(_) => {}
        }
        if left < 0 {
            return false;
        }
    }
}
