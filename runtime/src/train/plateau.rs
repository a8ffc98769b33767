//! Rates that fall when a figure no longer gets better.

use serde::{Deserialize, Serialize};

use super::exact;
use super::figures::{Standing, Watched};
use super::point::Point;
use crate::program::ReduceRate;

/// `reduce rate by … after …`: when rates fall. Both times are in epochs.
#[derive(Clone, Copy, Debug)]
pub struct Plateau {
    pub watched: Watched,
    factor: f64,
    patience: usize,
    cooldown: usize,
}

/// How long there was nothing better, and what that did so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    best: Standing,
    /// Where a number was seen last.
    looked: Point,
    /// Batches in a row without a better one.
    waited: usize,
    /// Batches that do not count any more.
    cooling: usize,
    /// The product of all reductions.
    #[serde(with = "exact")]
    pub scale: f64,
}

impl Default for Waiting {
    fn default() -> Waiting {
        let (best, looked) = (Standing::default(), Point::default());
        Waiting { best, looked, waited: 0, cooling: 0, scale: 1.0 }
    }
}

impl Plateau {
    pub fn new(rule: &ReduceRate, watched: Watched) -> Plateau {
        Plateau { watched, factor: rule.factor, patience: rule.epochs, cooldown: rule.cooldown }
    }

    /// Takes the number that was seen at a point, where an epoch has so many batches.
    pub fn after(&self, point: Point, an_epoch: usize, value: f32, waiting: &mut Waiting) {
        let since = point.batches(an_epoch).saturating_sub(waiting.looked.batches(an_epoch));
        let better = waiting.best.improves(&self.watched, point, value);
        waiting.looked = point;
        let counted = since.saturating_sub(waiting.cooling);
        waiting.waited = if better { 0 } else { waiting.waited + counted };
        waiting.cooling = waiting.cooling.saturating_sub(since);
        if waiting.waited >= self.patience * an_epoch {
            waiting.scale *= self.factor;
            (waiting.waited, waiting.cooling) = (0, self.cooldown * an_epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::program::Watch;

    /// The scale after each of these losses, seen once in so many epochs of ten batches.
    fn scales_seen(every: f64, epochs: usize, cooldown: usize, losses: &[f32]) -> Vec<f64> {
        let watch = Watch { split: "validation".into(), figure: "loss".into(), higher_is_better: false };
        let rule = ReduceRate { factor: 0.5, epochs, watch, cooldown };
        let watched = Watched { split: Split::Validation, figure: 0, higher_is_better: false };
        let (plateau, mut waiting) = (Plateau::new(&rule, watched), Waiting::default());
        let after = |(&loss, number): (&f32, usize)| {
            let batches = (number as f64 * every * 10.0) as usize;
            plateau.after(Point { epochs: batches / 10, batch: batches % 10 }, 10, loss, &mut waiting);
            waiting.scale
        };
        losses.iter().zip(1..).map(after).collect()
    }

    fn scales(epochs: usize, cooldown: usize, losses: &[f32]) -> Vec<f64> {
        scales_seen(1.0, epochs, cooldown, losses)
    }

    const LOSSES: [f32; 14] = [5.0, 4.0, 4.0, 4.5, 4.1, 3.9, 4.0, f32::NAN, 3.9, 3.8, 4.0, 4.0, 4.0, 4.0];

    /// As PyTorch's ReduceLROnPlateau(patience = epochs - 1, threshold = 0) has it on the same losses.
    #[test]
    fn a_plateau_halves_the_rate() {
        let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.0625];
        assert_eq!(scales(2, 0, &LOSSES), expected);
        let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125];
        assert_eq!(scales(3, 0, &LOSSES), expected);
    }

    #[test]
    fn epochs_of_cooling_do_not_count() {
        let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125];
        assert_eq!(scales(2, 2, &LOSSES), expected);
    }

    /// Seen twice an epoch or every second epoch, the same epochs pass.
    #[test]
    fn patience_is_in_epochs_however_often_one_looks() {
        let losses = [5.0, 4.0, 4.0, 4.5, 4.1, 4.2, 4.1, 4.3];
        assert_eq!(scales_seen(0.5, 1, 0, &losses), [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
        assert_eq!(scales_seen(0.5, 1, 1, &losses), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]);
        assert_eq!(scales_seen(2.0, 3, 0, &losses[..6]), [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
    }
}
