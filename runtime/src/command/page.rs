//! Where written texts go: to the terminal as they are written, or whole, a row or a JSON object each.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use super::output;
use crate::generate::{Given, Reading, Text};

/// Where the texts go.
#[derive(Debug)]
pub struct Page<'g> {
    form: Form<'g>,
    /// Something was written, so that there is a line to end.
    begun: bool,
    /// The row that is printed next, and those that are whole before their turn.
    next: usize,
    waiting: BTreeMap<usize, String>,
    interrupted: &'static AtomicBool,
}

#[derive(Debug)]
enum Form<'g> {
    /// One text, as it is written.
    Live,
    /// One text, line by line; what of the last line there is.
    Lines(String),
    /// Several texts, each when it is whole.
    Rows,
    /// An object a row, with what was given, numbered from here.
    Json(&'g Given, usize),
}

impl Reading for Page<'_> {
    fn wrote(&mut self, _: usize, piece: &str) {
        self.begun = true;
        match &mut self.form {
            Form::Live => output::write(piece),
            Form::Lines(line) => {
                line.push_str(piece);
                if let Some(end) = line.rfind('\n') {
                    output::write(&line.drain(..=end).collect::<String>());
                }
            }
            Form::Rows | Form::Json(..) => {}
        }
    }

    fn done(&mut self, row: usize, text: &Text) {
        self.begun = true;
        let shown = match &self.form {
            Form::Live | Form::Lines(_) => return,
            Form::Rows => text.text.clone(),
            Form::Json(given, first) => object(given, row, *first, text).to_string(),
        };
        self.waiting.insert(row, shown);
        while let Some(shown) = self.waiting.remove(&self.next) {
            output::line(&shown);
            self.next += 1;
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl<'g> Page<'g> {
    /// For what is given: one text is shown as it is written, several when each is whole. A set flag ends the writing.
    pub fn new(given: &'g Given, as_json: bool, interrupted: &'static AtomicBool) -> Page<'g> {
        let rows = given.texts.first().map_or(1, |(_, texts)| texts.len());
        let form = match (as_json, rows) {
            (true, _) => Form::Json(given, 0),
            (false, 1) if std::io::stdout().is_terminal() => Form::Live,
            (false, 1) => Form::Lines(String::new()),
            (false, _) => Form::Rows,
        };
        Page { form, begun: false, next: 0, waiting: BTreeMap::new(), interrupted }
    }

    /// For rows of a stream, behind so many others: an object each.
    pub fn of_rows(given: &'g Given, before: usize, interrupted: &'static AtomicBool) -> Page<'g> {
        let form = Form::Json(given, before);
        Page { form, begun: false, next: 0, waiting: BTreeMap::new(), interrupted }
    }

    /// How many rows have been shown.
    pub fn shown(&self) -> usize {
        self.next
    }

    /// Ends the last line; after an interruption, shows also what waited for rows before it.
    pub fn close(&mut self) {
        match &mut self.form {
            Form::Live | Form::Lines(_) if !self.begun => {}
            Form::Live => output::line(""),
            Form::Lines(line) => output::line(&std::mem::take(line)),
            Form::Rows | Form::Json(..) => {
                std::mem::take(&mut self.waiting).into_values().for_each(|shown| output::line(&shown));
            }
        }
    }
}

/// A written row as JSON, with what was given, numbered behind those before it.
pub fn object(given: &Given, row: usize, before: usize, text: &Text) -> Value {
    let given: Map<String, Value> =
        given.texts.iter().map(|(name, texts)| (name.clone(), json!(texts.get(row)))).collect();
    let written = &text.written;
    json!({
        "row": before + row, "given": given, "text": text.text, "tokens": written.tokens, "ended": written.ended, "score": written.score,
    })
}
