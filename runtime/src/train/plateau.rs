//! Rates that fall when a figure no longer gets better.

use serde::{Deserialize, Serialize};

use super::exact;
use super::figures::{Standing, Watched};
use crate::program::ReduceRate;

/// `reduce rate by … after …`: when rates fall.
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
    /// Epochs in a row without a better figure.
    waited: usize,
    /// Epochs that do not count any more.
    cooling: usize,
    /// The product of all reductions.
    #[serde(with = "exact")]
    pub scale: f64,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { best: Standing::default(), waited: 0, cooling: 0, scale: 1.0 }
    }
}

impl Plateau {
    pub fn new(rule: &ReduceRate, watched: Watched) -> Plateau {
        Plateau { watched, factor: rule.factor, patience: rule.epochs, cooldown: rule.cooldown }
    }

    /// Takes an epoch's number.
    pub fn after(&self, epoch: usize, value: Option<f32>, waiting: &mut Waiting) {
        let better = waiting.best.improves(&self.watched, epoch, value);
        waiting.waited = if better || waiting.cooling > 0 { 0 } else { waiting.waited + 1 };
        waiting.cooling = waiting.cooling.saturating_sub(1);
        if waiting.waited >= self.patience {
            waiting.scale *= self.factor;
            (waiting.waited, waiting.cooling) = (0, self.cooldown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::program::Watch;

    /// The scale after each of these losses.
    fn scales(epochs: usize, cooldown: usize, losses: &[f32]) -> Vec<f64> {
        let watch = Watch { split: "validation".into(), figure: "loss".into(), higher_is_better: false };
        let rule = ReduceRate { factor: 0.5, epochs, watch, cooldown };
        let watched = Watched { split: Split::Validation, figure: 0, higher_is_better: false };
        let (plateau, mut waiting) = (Plateau::new(&rule, watched), Waiting::default());
        let after = |(&loss, epoch)| {
            plateau.after(epoch, Some(loss), &mut waiting);
            waiting.scale
        };
        losses.iter().zip(1..).map(after).collect()
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
}
