//! Where a run stands: all that it is beside its variables and its spec.
//!
//! A [`State`] and the variables together are the whole of a run: from them it goes on to the same bits. Random numbers and the
//! order of rows are functions of the seed and of the batch's number, so that they need no state of their own.

use serde::{Deserialize, Serialize};

use super::Ending;
use super::exact;
use super::figures::{Figures, Standing};
use super::plateau::Waiting;
use super::point::Point;

/// What a run has reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs that are done: trained, validated and judged.
    pub epochs: usize,
    /// Batches taken of the epoch after those.
    pub batch: usize,
    /// What that epoch's training came to, once only its validation is left.
    #[serde(with = "exact::perhaps")]
    pub trained: Option<Figures>,
    /// Seconds that training on that epoch's batches has taken so far, and the whole run.
    pub epoch_seconds: f64,
    pub seconds: f64,
    /// Whether the averages are those of this training's weights: from its first update on.
    pub averaged: bool,
    /// How the watched figures stand.
    pub best: Standing,
    pub stop: Standing,
    pub plateau: Waiting,
    /// Whose weights are kept as the best.
    pub kept: Option<Kept>,
    /// The epochs so far and the validations within them, in order.
    pub history: Vec<Record>,
    /// How the run came to its end, if it did.
    pub end: Option<End>,
}

/// What was seen at one point of a run: at the end of an epoch, or at a validation within one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub point: Point,
    /// Batches of an epoch.
    pub batches: usize,
    /// How long the epoch's steps took so far.
    pub seconds: f64,
    /// Of the epoch's rows so far. Figures that are tables are kept of the latest record only.
    #[serde(with = "exact::figures")]
    pub train: Figures,
    #[serde(with = "exact::perhaps")]
    pub validation: Option<Figures>,
    /// The rates of the last step, of optimizers whose rate may change.
    #[serde(with = "exact::rates")]
    pub rates: Vec<(String, f32)>,
    pub best: bool,
}

/// What is known of the best weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub point: Point,
    #[serde(with = "exact::figures")]
    pub train: Figures,
    #[serde(with = "exact::perhaps")]
    pub validation: Option<Figures>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub ending: Ending,
    #[serde(with = "exact::perhaps")]
    pub test: Option<Figures>,
}

impl State {
    /// Where the run is.
    pub const fn point(&self) -> Point {
        Point { epochs: self.epochs, batch: self.batch }
    }

    /// Where its weights are from: an epoch that is only to be validated is over for them.
    pub const fn reached(&self) -> Point {
        match self.trained {
            Some(_) => Point::end_of(self.epochs + 1),
            None => self.point(),
        }
    }

    /// Notes what was seen; the tables of the record before are let go.
    pub fn note(&mut self, record: Record) {
        if let Some(last) = self.history.last_mut() {
            for figures in [Some(&mut last.train), last.validation.as_mut()].into_iter().flatten() {
                figures.0.retain(|(_, reading)| reading.shape.len() < 2);
            }
        }
        self.history.push(record);
    }

    /// The figures of the weights as they are, of training and of validation.
    pub fn latest(&self) -> [Option<&Figures>; 2] {
        match self.history.last() {
            Some(last) if last.point == self.reached() => [Some(&last.train), last.validation.as_ref()],
            _ => [self.trained.as_ref(), None],
        }
    }

    /// Where was validated last; the start where that never was.
    pub fn validated(&self) -> Point {
        let last = self.history.iter().rfind(|record| record.validation.is_some());
        last.map_or(Point::default(), |record| record.point)
    }

    /// Epochs whose training is done.
    pub fn trained_epochs(&self) -> usize {
        self.epochs + usize::from(self.trained.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reading;
    use super::*;

    #[test]
    fn a_state_comes_back_as_the_same_bits() {
        let odd = Reading { shape: vec![3], values: vec![f32::NAN, f32::NEG_INFINITY, 0.1 + 0.2] };
        let figures = Figures(vec![("loss".into(), (1.0f32 / 3.0).into()), ("recall".into(), odd)]);
        let record = Record {
            point: Point { epochs: 0, batch: 5 },
            batches: 7,
            seconds: 0.25,
            train: figures.clone(),
            validation: None,
            rates: vec![("rate".into(), 1e-3)],
            best: true,
        };
        let mut state = State { epochs: 1, best: Standing::default(), ..State::default() };
        state.plateau.scale = 0.1f64.powi(7);
        state.note(record);
        let text = serde_json::to_string(&state).unwrap();
        let back: State = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.plateau.scale.to_bits(), state.plateau.scale.to_bits());
        let values = &back.history[0].train.get("recall").unwrap().values;
        assert!(values[0].is_nan() && values[1] == f32::NEG_INFINITY && values[2] == 0.1 + 0.2);
    }

    #[test]
    fn tables_are_kept_of_the_latest_record() {
        let table = Reading { shape: vec![1, 1], values: vec![1.0] };
        let figures = Figures(vec![("loss".into(), 1.0.into()), ("confusion".into(), table)]);
        let record = |epoch| Record {
            point: Point::end_of(epoch),
            batches: 7,
            seconds: 0.0,
            train: figures.clone(),
            validation: Some(figures.clone()),
            rates: vec![],
            best: false,
        };
        let mut state = State::default();
        state.note(record(1));
        state.note(record(2));
        let lengths: Vec<usize> = state.history.iter().map(|r| r.train.0.len()).collect();
        assert_eq!(lengths, [1, 2]);
        assert_eq!(state.history[0].validation.as_ref().unwrap().0.len(), 1);
    }
}
