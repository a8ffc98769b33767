//! Where in a run something happened, and whether it is time for it again.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::program::Every;

/// A moment between two batches: epochs that are done, and batches of the next one. Later points are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    pub epochs: usize,
    pub batch: usize,
}

impl Point {
    /// The end of an epoch.
    pub const fn end_of(epoch: usize) -> Point {
        Point { epochs: epoch, batch: 0 }
    }

    /// The number of the epoch that is over here, or that this is in.
    pub const fn epoch(self) -> usize {
        self.epochs + (self.batch > 0) as usize
    }

    /// Batches of an epoch that is not over.
    pub fn within(self) -> Option<usize> {
        (self.batch > 0).then_some(self.batch)
    }

    /// Batches since the start, where an epoch has so many.
    pub const fn batches(self, an_epoch: usize) -> usize {
        self.epochs * an_epoch + self.batch
    }
}

/// `epoch 3`, or `epoch 3, batch 500`
impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}", self.epoch())?;
        self.within().map_or(Ok(()), |batch| write!(f, ", batch {batch}"))
    }
}

impl Every {
    /// Whether one of the points between which so much lies was passed since the last time. (Of hours the loop knows nothing.)
    pub(super) fn passed(self, now: Point, last: Point, batches_an_epoch: usize) -> bool {
        match self {
            Every::Epochs(count) => now.epochs / count.max(1) > last.epochs / count.max(1),
            Every::Batches(count) => {
                let number = |point: Point| point.batches(batches_an_epoch) / count.max(1);
                number(now) > number(last)
            }
            Every::Time(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_passed_once() {
        let every = |every: Every, points: &[(usize, usize)]| {
            let mut last = Point::default();
            let passed = points.iter().filter(|(epochs, batch)| {
                let now = Point { epochs: *epochs, batch: *batch };
                let due = every.passed(now, last, 10);
                if due {
                    last = now;
                }
                due
            });
            passed.copied().collect::<Vec<_>>()
        };
        let points = [(0, 4), (0, 8), (1, 0), (1, 2), (2, 0), (2, 9), (3, 0), (4, 0)];
        assert_eq!(every(Every::Epochs(2), &points), [(2, 0), (4, 0)]);
        // The fourth, eighth, twelfth, twentieth batch, and later ones at the first point behind them.
        let passed = [(0, 4), (0, 8), (1, 2), (2, 0), (2, 9), (4, 0)];
        assert_eq!(every(Every::Batches(4), &points), passed);
    }

    #[test]
    fn points_are_told_as_people_count() {
        let texts = [Point::end_of(3), Point { epochs: 2, batch: 500 }].map(|point| point.to_string());
        assert_eq!(texts, ["epoch 3", "epoch 3, batch 500"]);
    }
}
