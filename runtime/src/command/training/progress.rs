//! How a training looks while it runs: a bar on a terminal, a line for each epoch and validation elsewhere, JSON objects for scripts.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::standing::{self, Standing};
use crate::command::{interrupt, output};
use crate::train::{Event, Figures, Observer, Reading, Record};

/// How often the figures of the running epoch are refreshed on a terminal.
const REFRESH: Duration = Duration::from_millis(200);
/// Without a terminal, a long epoch tells of itself this often.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Watches a training or an evaluation for the one who started it.
#[derive(Debug)]
pub struct Progress {
    form: Form,
    epoch_start: Instant,
    /// Rows of the epoch that this process has trained on, and those that were done before.
    rows_done: usize,
    rows_before: usize,
    batch: usize,
    last_figures: Instant,
    /// The rates shown last: a rate is shown when it has changed.
    rates: Vec<(String, f32)>,
    standing: Standing,
    /// What could not be saved, as it was told.
    unsaved: Vec<String>,
    interrupted: &'static AtomicBool,
}

#[derive(Debug)]
enum Form {
    Bar(Option<ProgressBar>),
    Lines,
    Json,
    /// Only what is wrong.
    Quiet,
}

impl Progress {
    /// Also takes Ctrl-C and SIGTERM: the training then ends after the batch in hand, with its weights saved.
    pub fn new(as_json: bool) -> Progress {
        let form = match (as_json, std::io::stderr().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Bar(None),
            (false, false) => Form::Lines,
        };
        let now = Instant::now();
        let (rates, standing) = (Vec::new(), Standing::new());
        Progress {
            form,
            epoch_start: now,
            rows_done: 0,
            rows_before: 0,
            batch: 0,
            last_figures: now,
            rates,
            standing,
            unsaved: Vec::new(),
            interrupted: interrupt::taken(),
        }
    }

    /// Tells nothing but what is wrong.
    pub fn quiet(self, quiet: bool) -> Progress {
        match (quiet, &self.form) {
            (true, Form::Bar(_) | Form::Lines) => Progress { form: Form::Quiet, ..self },
            _ => self,
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Start { training, epochs, batch, rows, .. } => {
                self.standing.begin(training, *epochs);
                self.batch = *batch;
                match &self.form {
                    Form::Quiet => {}
                    Form::Json => output::json(&json!({
                        "event": "start", "training": training.name, "epochs": epochs, "batch": batch,
                        "rows": { "train": rows[0], "validation": rows[1], "test": rows[2] },
                    })),
                    _ => output::line(&format!(
                        "{} rows to train on, {} to validate, {} to test; batches of {batch}",
                        output::thousands(rows[0] as u64),
                        output::thousands(rows[1] as u64),
                        output::thousands(rows[2] as u64),
                    )),
                }
            }
            Event::Note { text } => self.note("note", text),
            Event::Unsaved { error } => {
                let text = format!("{error}; the training goes on, and the next checkpoint is another try");
                // A disk that stays full is told once for each file, not at every try; scripts are told all.
                if matches!(self.form, Form::Json) || !self.unsaved.contains(&text) {
                    self.note("warning", &text);
                    self.unsaved.push(text);
                }
            }
            Event::EpochStart { epoch, epochs, batches, done } => {
                self.epoch_start = Instant::now();
                (self.rows_done, self.rows_before) = (0, done * self.batch);
                self.standing.epoch(*epoch, *done as f64 / (*batches).max(1) as f64);
                if let Form::Bar(bar) = &mut self.form {
                    let new = epoch_bar(*epoch, *epochs, *batches);
                    new.inc(*done as u64);
                    *bar = Some(new);
                }
            }
            Event::Batch { epoch, batch, batches, rows, figures } => {
                self.rows_done += rows;
                if let Form::Bar(Some(bar)) = &self.form {
                    bar.inc(1);
                }
                let Some(figures) = figures else { return };
                let rate = self.rows_done as f64 / self.epoch_start.elapsed().as_secs_f64().max(1e-9);
                let share = *batch as f64 / (*batches).max(1) as f64;
                let message = format!(
                    "{}  {}{}{}",
                    self.standing.row(figures),
                    output::scaled(rate, "samples/s"),
                    self.standing.left(*epoch, share),
                    standing::memory()
                );
                match &self.form {
                    Form::Bar(Some(bar)) => bar.set_message(message),
                    Form::Lines => {
                        output::line(&format!("epoch {epoch:>3}  {:>3.0}%  {message}", 100.0 * share))
                    }
                    _ => {}
                }
            }
            Event::Record { record, .. } => self.record(record),
            Event::Profile { .. } | Event::End { .. } => {}
        }
    }

    fn wants_figures(&mut self) -> bool {
        let due = match self.form {
            Form::Bar(_) => self.last_figures.elapsed() >= REFRESH,
            Form::Lines => self.last_figures.elapsed() >= LINE_EVERY,
            Form::Json | Form::Quiet => false,
        };
        if due {
            self.last_figures = Instant::now();
        }
        due
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Progress {
    /// An epoch is over, or there was a validation within one.
    fn record(&mut self, record: &Record) {
        let over = record.point.within().is_none();
        if let Form::Bar(bar) = &mut self.form
            && let Some(bar) = bar.take_if(|_| over)
        {
            bar.finish_and_clear();
        }
        let rate = (self.rows_before + self.rows_done) as f64 / record.seconds.max(1e-9);
        self.standing.note(&record.train, record.validation.as_ref());
        self.last_figures = Instant::now();
        match &self.form {
            Form::Quiet => {}
            Form::Json => output::json(&record_json(record, rate)),
            Form::Bar(Some(bar)) => {
                let line = self.line(record, rate);
                bar.suspend(|| output::line(&line));
            }
            _ => output::line(&self.line(record, rate)),
        }
        self.rates.clone_from(&record.rates);
    }

    fn line(&self, record: &Record, rate: f64) -> String {
        let mut text = format!("epoch {:>3}  ", record.point.epoch());
        if let Some(batch) = record.point.within() {
            text += &format!("batch {batch}  ");
        }
        text += &row(&record.train);
        if let Some(validation) = &record.validation {
            text += &format!("  | validation  {}", row(validation));
        }
        for (name, value) in record.rates.iter().filter(|rate| !self.rates.contains(rate)) {
            text += &format!("  | {name} {value:.3e}");
        }
        text += &format!("  | {:.1} s, {}", record.seconds, output::scaled(rate, "samples/s"));
        if record.best { text + "  *" } else { text }
    }

    /// Something to know beside the figures.
    fn note(&self, kind: &str, text: &str) {
        match &self.form {
            Form::Json => output::json(&json!({ "event": kind, "text": text })),
            Form::Bar(Some(bar)) => bar.suspend(|| output::note(&format!("{kind}: {text}"))),
            _ => output::note(&format!("{kind}: {text}")),
        }
    }
}

fn record_json(record: &Record, rate: f64) -> Value {
    let event = if record.point.within().is_none() { "epoch" } else { "validation" };
    let mut object = json!({
        "event": event, "epoch": record.point.epoch(), "seconds": record.seconds, "samples_per_second": rate,
        "train": figures_json(Some(&record.train)), "validation": figures_json(record.validation.as_ref()),
        "best": record.best,
    });
    if let Some(batch) = record.point.within() {
        object["batch"] = json!(batch);
    }
    if !record.rates.is_empty() {
        let rates = record.rates.iter().map(|(name, value)| (name.clone(), number(value)));
        object["rates"] = Value::Object(rates.collect());
    }
    object
}

fn epoch_bar(epoch: usize, epochs: usize, batches: usize) -> ProgressBar {
    let bar = ProgressBar::new(batches as u64);
    let template = format!("epoch {epoch:>3}/{epochs} {{bar:24}} {{pos}}/{{len}} {{eta}} left  {{msg}}");
    // The template is ours and sound; were it not, the default style would do.
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

/// `loss 0.1234  accuracy 0.9871`: the figures that are numbers.
pub fn row(figures: &Figures) -> String {
    let cells: Vec<String> = figures.numbers().map(|(name, value)| format!("{name} {value:.4}")).collect();
    cells.join("  ")
}

/// A number through its shortest text, so that 0.983f32 is written as 0.983.
fn number(value: &f32) -> Value {
    json!(value.to_string().parse::<f64>().ok())
}

/// An absent part of the data as `null`.
pub fn figures_json(figures: Option<&Figures>) -> Value {
    let list = |row: &[f32]| Value::Array(row.iter().map(number).collect());
    let shown = |value: &Reading| match value.shape.len() {
        0 => value.values.first().map_or(Value::Null, number),
        1 => list(&value.values),
        _ => Value::Array(value.rows().map(list).collect()),
    };
    let map = |f: &Figures| f.0.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
    figures.map_or(Value::Null, |f| Value::Object(map(f)))
}
