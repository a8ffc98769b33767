//! Figures, and when the best one was seen.
//!
//! Most figures are a number. A metric of classes may give one for each class, or a table such as a confusion matrix.

use std::fmt::{Display, Formatter};

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::exact;
use super::point::Point;
use crate::data::Split;

/// What is reported, by name, in the spec's order: the loss first, then each metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub Vec<(String, Reading)>);

/// The value of a figure: a number (no extents), a vector (one) or a table (two), row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Figures {
    pub fn get(&self, name: &str) -> Option<&Reading> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A figure that is a number.
    pub fn number(&self, name: &str) -> Option<f32> {
        self.get(name).and_then(Reading::number)
    }

    /// All figures that are numbers.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f32)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.number()?)))
    }
}

impl Reading {
    pub fn number(&self) -> Option<f32> {
        if self.shape.is_empty() { self.values.first().copied() } else { None }
    }

    /// The rows of a table; a vector or a number is one row.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.shape.last().copied().unwrap_or(1).max(1))
    }
}

impl From<f32> for Reading {
    fn from(value: f32) -> Reading {
        Reading { shape: Vec::new(), values: vec![value] }
    }
}

/// As JSON would write it, but for what is no number: `0.5`, `[0.5, NaN]`, `[[1, 0], [2, 3]]`.
impl Display for Reading {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let list = |row: &[f32]| {
            let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
            format!("[{}]", numbers.join(", "))
        };
        match self.shape.len() {
            0 => f.write_str(&self.values.first().map_or(String::new(), f32::to_string)),
            1 => f.write_str(&list(&self.values)),
            _ => write!(f, "[{}]", self.rows().map(list).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A number, a list of numbers, or a list of such lists.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.shape.len() {
            0 => self.values.first().serialize(serializer),
            1 => self.values.serialize(serializer),
            _ => serializer.collect_seq(self.rows()),
        }
    }
}

/// As a map in the spec's order: `{"loss": 0.1, "accuracy": 0.98}`.
impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Which figure is followed over a run, and what is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    pub split: Split,
    /// Its point among the figures.
    pub figure: usize,
    pub higher_is_better: bool,
}

/// The best number so far, where it was seen, and where a number was seen last.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, Deserialize)]
pub struct Standing {
    best: Option<Best>,
    looked: Point,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, Deserialize)]
struct Best {
    point: Point,
    #[serde(with = "exact")]
    value: f32,
}

impl Watched {
    /// The watched number, where one was taken: of validation at each validation, of training at the end of each epoch, when it is that of
    /// all rows.
    pub fn pick(&self, point: Point, train: &Figures, validation: Option<&Figures>) -> Option<f32> {
        let figures = match self.split {
            Split::Train => Some(train).filter(|_| point.within().is_none()),
            _ => validation,
        };
        figures.and_then(|figures| figures.0.get(self.figure)).and_then(|(_, value)| value.number())
    }
}

impl Standing {
    /// Takes the number seen at a point; whether it is better than all before. A number that is none never is.
    pub fn improves(&mut self, watched: &Watched, point: Point, value: f32) -> bool {
        self.looked = point;
        let better = match self.best {
            _ if value.is_nan() => false,
            None => true,
            Some(best) if watched.higher_is_better => value > best.value,
            Some(best) => value < best.value,
        };
        if better {
            self.best = Some(Best { point, value });
        }
        better
    }

    /// How many batches the best number lies before the last one, where an epoch has so many.
    pub fn batches_without(&self, an_epoch: usize) -> usize {
        let best = self.best.map_or(Point::default(), |best| best.point);
        self.looked.batches(an_epoch).saturating_sub(best.batches(an_epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_order_as_json() {
        let table =
            |shape: &[usize], values: &[f32]| Reading { shape: shape.to_vec(), values: values.to_vec() };
        let figures = Figures(vec![
            ("loss".into(), 0.5.into()),
            ("accuracy".into(), 1.0.into()),
            ("auc".into(), f32::NAN.into()),
            ("recall".into(), table(&[2], &[0.5, f32::NAN])),
            ("confusion".into(), table(&[2, 2], &[1.0, 0.0, 2.0, 3.0])),
        ]);
        assert_eq!(
            serde_json::to_string(&figures).unwrap(),
            r#"{"loss":0.5,"accuracy":1.0,"auc":null,"recall":[0.5,null],"confusion":[[1.0,0.0],[2.0,3.0]]}"#
        );
        assert_eq!((figures.number("accuracy"), figures.number("recall")), (Some(1.0), None));
        let text: Vec<String> = figures.0.iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(text[3..], ["[0.5, NaN]", "[[1, 0], [2, 3]]"]);
    }

    #[test]
    fn only_a_better_number_counts() {
        let lower = Watched { split: Split::Validation, figure: 0, higher_is_better: false };
        let mut best = Standing::default();
        let improved: Vec<bool> = [f32::NAN, 3.0, 3.0, 2.0, f32::NAN, 2.5]
            .into_iter()
            .zip(1..)
            .map(|(value, epoch)| best.improves(&lower, Point::end_of(epoch), value))
            .collect();
        assert_eq!(improved, [false, true, false, true, false, false]);
        assert_eq!(best.batches_without(10), 20);
        assert!(!best.improves(&lower, Point { epochs: 6, batch: 5 }, 2.0));
        assert_eq!(best.batches_without(10), 25);
        let higher = Watched { higher_is_better: true, ..lower };
        let mut best = Standing::default();
        let improved = [1.0, 2.0, 2.0].map(|value| best.improves(&higher, Point::end_of(1), value));
        assert_eq!(improved, [true, true, false]);
    }
}
