//! Rates that fall when a figure no longer gets better.

use super::figures::Best;
use crate::program::ReduceRate;

/// Follows one figure over the epochs and says what rates are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Plateau {
    best: Best,
    factor: f64,
    patience: usize,
    cooldown: usize,
    /// Epochs in a row without a better figure.
    waited: usize,
    /// Epochs that do not count any more.
    cooling: usize,
    scale: f64,
}

impl Plateau {
    pub fn new(rule: &ReduceRate, best: Best) -> Plateau {
        Plateau {
            best,
            factor: rule.factor,
            patience: rule.epochs,
            cooldown: rule.cooldown,
            waited: 0,
            cooling: 0,
            scale: 1.0,
        }
    }

    /// Takes an epoch's number, read from its figures by `pick`; gives the product of all reductions so far.
    pub fn after(&mut self, epoch: usize, pick: impl Fn(&Best) -> Option<f32>) -> f64 {
        let better = self.best.improves(epoch, pick(&self.best));
        self.waited = if better || self.cooling > 0 { 0 } else { self.waited + 1 };
        self.cooling = self.cooling.saturating_sub(1);
        if self.waited >= self.patience {
            self.scale *= self.factor;
            (self.waited, self.cooling) = (0, self.cooldown);
        }
        self.scale
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
        let mut plateau = Plateau::new(&rule, Best::new(Split::Validation, 0, false));
        losses.iter().zip(1..).map(|(&loss, epoch)| plateau.after(epoch, |_| Some(loss))).collect()
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
