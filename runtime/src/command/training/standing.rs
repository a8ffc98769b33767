//! How a run stands while it goes on: the best figures so far, when it will be done, what memory it takes.

use std::time::Instant;

use crate::command::output;
use crate::program::Training;
use crate::train::Figures;

#[derive(Debug)]
pub struct Standing {
    higher_is_better: Vec<String>,
    /// Of validation, or of training where nothing is held out.
    best: Vec<(String, f32)>,
    validated: bool,
    epochs: usize,
    start: Instant,
    /// Where this process began, in epochs.
    first: Option<f64>,
}

impl Standing {
    pub fn new() -> Standing {
        let (higher_is_better, best) = (Vec::new(), Vec::new());
        Standing { higher_is_better, best, validated: false, epochs: 0, start: Instant::now(), first: None }
    }

    pub fn begin(&mut self, training: &Training, epochs: usize) {
        let higher = training.figures.iter().filter(|figure| figure.higher_is_better);
        self.higher_is_better = higher.map(|figure| figure.name.clone()).collect();
        (self.epochs, self.start) = (epochs, Instant::now());
    }

    /// An epoch begins, with this share of it done already.
    pub fn epoch(&mut self, epoch: usize, share: f64) {
        self.first.get_or_insert(epoch.saturating_sub(1) as f64 + share);
    }

    /// Takes the figures of an epoch, or of a validation within one.
    pub fn note(&mut self, train: &Figures, validation: Option<&Figures>) {
        if validation.is_some() && !std::mem::replace(&mut self.validated, true) {
            self.best.clear();
        }
        let Some(figures) = validation.or(Some(train).filter(|_| !self.validated)) else { return };
        for (name, value) in figures.numbers().filter(|(_, value)| !value.is_nan()) {
            let higher = self.higher_is_better.iter().any(|own| own == name);
            match self.best.iter_mut().find(|(own, _)| own == name) {
                Some((_, best)) if (value > *best) == higher => *best = value,
                Some(_) => {}
                None => self.best.push((name.to_owned(), value)),
            }
        }
    }

    /// `loss 0.1234 (best 0.1100)  accuracy 0.9871`
    pub fn row(&self, figures: &Figures) -> String {
        let cell = |(name, value): (&str, f32)| {
            let best = self.best.iter().find(|(own, _)| own == name);
            let best = best.map_or(String::new(), |(_, best)| format!(" (best {best:.4})"));
            format!("{name} {value:.4}{best}")
        };
        figures.numbers().map(cell).collect::<Vec<_>>().join("  ")
    }

    /// `2:05 left of the run`, once enough of it is done to tell.
    pub fn left(&self, epoch: usize, share: f64) -> String {
        let at = epoch.saturating_sub(1) as f64 + share;
        let done = at - self.first.unwrap_or(at);
        let elapsed = self.start.elapsed().as_secs_f64();
        if done <= 0.0 || elapsed < 1.0 {
            return String::new();
        }
        let left = (elapsed / done * (self.epochs as f64 - at).max(0.0)).round() as u64;
        let time = match (left / 3600, left / 60 % 60, left % 60) {
            (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
            (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
        };
        format!("  {time} left of the run")
    }
}

/// The memory that this process has now: `51.2 MiB`; nothing where the system does not say.
pub fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.map_or(String::new(), |kibibytes| format!("  {}", output::bytes(kibibytes * 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_what_the_figure_calls_better() {
        let mut standing = Standing { higher_is_better: vec!["accuracy".into()], ..Standing::new() };
        let figures = |loss: f32, accuracy: f32| {
            Figures(vec![("loss".into(), loss.into()), ("accuracy".into(), accuracy.into())])
        };
        for (loss, accuracy) in [(0.5, 0.8), (0.25, 0.9), (f32::NAN, 0.7)] {
            standing.note(&figures(9.0, 1.0), Some(&figures(loss, accuracy)));
            standing.note(&figures(0.1, 1.0), None);
        }
        assert_eq!(
            standing.row(&figures(1.0, 0.5)),
            "loss 1.0000 (best 0.2500)  accuracy 0.5000 (best 0.9000)"
        );
    }
}
