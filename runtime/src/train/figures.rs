//! Figures, and which epoch has the best one.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::data::Split;

/// Reported numbers by name, in the spec's order: the loss first, then each metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub Vec<(String, f32)>);

impl Figures {
    pub fn get(&self, name: &str) -> Option<f32> {
        self.0.iter().find(|(own, _)| own == name).map(|&(_, value)| value)
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

/// Follows one figure over the epochs.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    split: Split,
    figure: usize,
    higher_is_better: bool,
    /// The best epoch and its value.
    best: Option<(usize, f32)>,
}

impl Best {
    pub fn new(split: Split, figure: usize, higher_is_better: bool) -> Best {
        Best { split, figure, higher_is_better, best: None }
    }

    /// The watched number of an epoch.
    pub fn pick(&self, train: &Figures, validation: Option<&Figures>) -> Option<f32> {
        let figures = if self.split == Split::Train { Some(train) } else { validation };
        figures.and_then(|figures| figures.0.get(self.figure)).map(|&(_, value)| value)
    }

    /// Takes an epoch's number; whether it is better than all before. A number that is none never is.
    pub fn improves(&mut self, epoch: usize, value: Option<f32>) -> bool {
        let Some(value) = value.filter(|value| !value.is_nan()) else { return false };
        let better = match self.best {
            None => true,
            Some((_, best)) if self.higher_is_better => value > best,
            Some((_, best)) => value < best,
        };
        if better {
            self.best = Some((epoch, value));
        }
        better
    }

    /// How many epochs the best one lies back.
    pub fn epochs_without(&self, epoch: usize) -> usize {
        epoch - self.best.map_or(0, |(best, _)| best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_order_as_json() {
        let figures = Figures(vec![("loss".into(), 0.5), ("accuracy".into(), 1.0), ("auc".into(), f32::NAN)]);
        assert_eq!(serde_json::to_string(&figures).unwrap(), r#"{"loss":0.5,"accuracy":1.0,"auc":null}"#);
        assert_eq!(figures.get("accuracy"), Some(1.0));
    }

    #[test]
    fn only_a_better_number_counts() {
        let mut best = Best::new(Split::Validation, 0, false);
        let improved: Vec<bool> = [f32::NAN, 3.0, 3.0, 2.0, f32::NAN, 2.5]
            .into_iter()
            .zip(1..)
            .map(|(value, epoch)| best.improves(epoch, Some(value)))
            .collect();
        assert_eq!(improved, [false, true, false, true, false, false]);
        assert_eq!(best.epochs_without(6), 2);
        let mut higher = Best::new(Split::Validation, 0, true);
        assert!(higher.improves(1, Some(1.0)) && higher.improves(2, Some(2.0)) && !higher.improves(3, Some(2.0)));
    }
}
