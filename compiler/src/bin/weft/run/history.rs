//! What is known of a run's epochs, as `metrics.jsonl` keeps it: a line for each epoch and for each validation within one, and a last line
//! when the run has ended.
//!
//! The file is the one memory of a run: TensorBoard's files and the report are made of it, also after the run was resumed.

use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use weft_runtime::error::Result;
use weft_runtime::io;
use weft_runtime::train::{Figures, Reading, Record};

pub const FILE: &str = "metrics.jsonl";

/// A run so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub epochs: Vec<Epoch>,
    pub end: Option<End>,
}

/// One epoch, or a validation within one: a line of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Epoch {
    pub epoch: usize,
    /// So many batches of the epoch were done, out of so many, where it was not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<usize>,
    /// Steps since the start of the run.
    pub step: usize,
    /// How long its steps took.
    pub seconds: f64,
    /// When that was, in seconds since 1970.
    pub time: f64,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub rates: Figures,
    pub train: Figures,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub validation: Figures,
    /// Were its weights the best so far?
    pub best: bool,
    /// The length of each weight, and of its gradient on one batch.
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub weight_norms: Figures,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub gradient_norms: Figures,
}

/// How a run ended: the last line of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct End {
    /// `finished`, `stopped_early`, `interrupted` or `failed`
    pub ending: String,
    pub epochs: usize,
    pub best_epoch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_batch: Option<usize>,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub test: Figures,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One line of the file, with its end.
pub fn line(value: &impl Serialize) -> String {
    // Plain numbers and texts always have a form in JSON.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

impl History {
    /// Reads the file of a run's folder.
    pub fn read(folder: &Path) -> Result<History> {
        Ok(History::parse(&String::from_utf8_lossy(&io::read(&folder.join(FILE))?)))
    }

    /// Lines that are none, such as one that was being written when the power went, are passed over; of two lines about one place
    /// the later counts.
    pub fn parse(text: &str) -> History {
        let mut history = History::default();
        for line in text.lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            if let Some(epoch) = Epoch::from_json(&value) {
                history.epochs.retain(|known| known.order() < epoch.order());
                history.epochs.push(epoch);
                history.end = None;
            } else {
                history.end = End::from_json(&value).or(history.end);
            }
        }
        history
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let epochs: String = self.epochs.iter().map(line).collect();
        epochs + &self.end.as_ref().map_or(String::new(), line)
    }

    /// The one whose weights were kept as the best.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().rfind(|epoch| epoch.best)
    }

    /// The names of all figures of training and validation, in order.
    pub fn figures(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(|epoch| epoch.train.0.iter().chain(&epoch.validation.0))
        {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The one whose figures stand for the run: the best, else the last that was validated, else the last.
    pub fn kept(&self) -> Option<&Epoch> {
        let validated = || self.epochs.iter().rfind(|epoch| !epoch.validation.is_empty());
        self.best().or_else(validated).or(self.epochs.last())
    }

    /// Epochs that are over.
    pub fn epochs_done(&self) -> usize {
        self.epochs.iter().rfind(|epoch| epoch.batch.is_none()).map_or(0, |epoch| epoch.epoch)
    }

    pub fn seconds(&self) -> f64 {
        let steps = || {
            let whole = self.epochs.iter().filter(|epoch| epoch.batch.is_none()).map(|epoch| epoch.seconds);
            let rest = self.epochs.last().filter(|epoch| epoch.batch.is_some()).map_or(0.0, |e| e.seconds);
            whole.sum::<f64>() + rest
        };
        self.end.as_ref().map_or_else(steps, |end| end.seconds)
    }
}

impl Epoch {
    /// What the loop noted.
    pub fn of(record: &Record) -> Epoch {
        let rates = record.rates.iter().map(|(name, rate)| (name.clone(), (*rate).into())).collect();
        let batch = record.point.within();
        Epoch {
            epoch: record.point.epoch(),
            batch,
            batches: batch.map(|_| record.batches),
            seconds: record.seconds,
            rates: Figures(rates),
            train: record.train.clone(),
            validation: record.validation.clone().unwrap_or_default(),
            best: record.best,
            ..Epoch::default()
        }
    }

    /// Later places are greater.
    fn order(&self) -> (usize, usize) {
        (self.epoch, self.batch.unwrap_or(usize::MAX))
    }

    /// Where it lies along a run, in epochs.
    pub fn place(&self) -> f64 {
        match (self.batch, self.batches) {
            (Some(batch), Some(batches)) => {
                self.epoch.saturating_sub(1) as f64 + batch as f64 / batches.max(1) as f64
            }
            _ => self.epoch as f64,
        }
    }

    /// `epoch 3`, or `epoch 3, batch 500`
    pub fn name(&self) -> String {
        let batch = self.batch.map_or(String::new(), |batch| format!(", batch {batch}"));
        format!("epoch {}{batch}", self.epoch)
    }

    /// Are these its numbers of training? (Tables may be left out of what is compared.)
    pub fn agrees(&self, train: &Figures) -> bool {
        train.numbers().all(|(name, value)| {
            self.train.number(name).is_some_and(|own| own == value || own.is_nan() && !value.is_finite())
        })
    }

    fn from_json(value: &Value) -> Option<Epoch> {
        let float = |key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
        Some(Epoch {
            epoch: whole(value.get("epoch")?)?,
            batch: value.get("batch").and_then(whole),
            batches: value.get("batches").and_then(whole),
            step: value.get("step").and_then(whole).unwrap_or_default(),
            seconds: float("seconds"),
            time: float("time"),
            rates: figures(value.get("rates")),
            train: figures(value.get("train")),
            validation: figures(value.get("validation")),
            best: value.get("best").and_then(Value::as_bool).unwrap_or_default(),
            weight_norms: figures(value.get("weight_norms")),
            gradient_norms: figures(value.get("gradient_norms")),
        })
    }
}

impl End {
    fn from_json(value: &Value) -> Option<End> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(End {
            ending: text("ending")?,
            epochs: value.get("epochs").and_then(whole).unwrap_or_default(),
            best_epoch: value.get("best_epoch").and_then(whole),
            best_batch: value.get("best_batch").and_then(whole),
            seconds: value.get("seconds").and_then(Value::as_f64).unwrap_or_default(),
            test: figures(value.get("test")),
            error: text("error"),
        })
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

/// Numbers, lists and tables by name. What is no number was none when it was written.
fn figures(value: Option<&Value>) -> Figures {
    let number = |value: &Value| value.as_f64().map_or(f32::NAN, |value| value as f32);
    let reading = |value: &Value| match value.as_array() {
        None => Reading::from(number(value)),
        Some(rows) if rows.iter().any(Value::is_array) => {
            let rows: Vec<&Vec<Value>> = rows.iter().filter_map(Value::as_array).collect();
            let width = rows.iter().map(|row| row.len()).max().unwrap_or_default();
            let cells = rows.iter().flat_map(|row| (0..width).map(|at| row.get(at).map_or(f32::NAN, number)));
            Reading { shape: vec![rows.len(), width], values: cells.collect() }
        }
        Some(row) => Reading { shape: vec![row.len()], values: row.iter().map(number).collect() },
    };
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    Figures(fields.map(|(name, value)| (name.clone(), reading(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, loss: f32) -> Epoch {
        let table = Reading { shape: vec![2, 2], values: vec![1.0, 0.0, 2.0, 3.0] };
        let train = Figures(vec![("loss".into(), loss.into()), ("confusion".into(), table)]);
        Epoch { epoch, step: 10 * epoch, seconds: 0.5, time: 1e9, train, best: true, ..Epoch::default() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let end = End { ending: "finished".into(), epochs: 2, best_epoch: Some(2), ..End::default() };
        let history = History { epochs: vec![epoch(1, 0.1), epoch(2, 0.05)], end: Some(end) };
        let text = history.text();
        assert_eq!(
            text.lines().next(),
            Some(
                r#"{"epoch":1,"step":10,"seconds":0.5,"time":1000000000.0,"train":{"loss":0.1,"confusion":[[1.0,0.0],[2.0,3.0]]},"best":true}"#
            )
        );
        assert_eq!(History::parse(&text), history);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_a_second_telling_counts() {
        let mut text = History { epochs: vec![epoch(1, 0.3), epoch(2, 0.2)], end: None }.text();
        text += &line(&epoch(2, 0.1));
        text += r#"{"epoch":3,"train":{"lo"#;
        let read = History::parse(&text);
        let losses: Vec<_> = read.epochs.iter().map(|e| (e.epoch, e.train.number("loss"))).collect();
        assert_eq!(losses, [(1, Some(0.3)), (2, Some(0.1))]);
    }

    #[test]
    fn a_number_that_is_none_stays_none() {
        let read = History::parse(&line(&epoch(1, f32::NAN)));
        assert!(read.epochs[0].train.number("loss").is_some_and(f32::is_nan));
    }
}
