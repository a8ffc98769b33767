//! Requests that wait for a worker: so many at most, in their order, taken as many together as fit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What waits, and can be run with others.
pub trait Waiting {
    /// Whoever asked does not want to know any more.
    fn is_gone(&self) -> bool;

    fn rows(&self) -> usize;

    /// May the other be run in the same run?
    fn fits(&self, other: &Self) -> bool;
}

/// How many rows are run at once, and how long a run waits for them.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    pub rows: usize,
    pub delay: Duration,
}

#[derive(Debug)]
pub struct Queue<T> {
    jobs: Mutex<VecDeque<T>>,
    came: Condvar,
    most: usize,
}

impl<T: Waiting> Queue<T> {
    pub fn new(most: usize) -> Queue<T> {
        Queue { jobs: Mutex::new(VecDeque::new()), came: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // What is behind the lock is whole at any time.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job behind the others; false when there are too many.
    pub fn push(&self, job: T) -> bool {
        let mut jobs = self.lock();
        if jobs.len() >= self.most {
            jobs.retain(|job| !job.is_gone());
        }
        if jobs.len() >= self.most {
            return false;
        }
        jobs.push_back(job);
        drop(jobs);
        self.came.notify_one();
        true
    }

    /// Waits for a job, and takes it with all others that fit.
    pub fn take(&self, batching: &Batching) -> Vec<T> {
        let mut jobs = self.lock();
        let first = loop {
            match jobs.pop_front() {
                Some(job) if !job.is_gone() => break job,
                Some(_) => {}
                None => jobs = self.came.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let (mut rows, mut batch) = (first.rows(), vec![first]);
        let end = Instant::now() + batching.delay;
        loop {
            let mut place = 0;
            while rows < batching.rows && place < jobs.len() {
                let job = &jobs[place];
                if job.is_gone() {
                    jobs.remove(place);
                } else if rows + job.rows() <= batching.rows && batch[0].fits(job) {
                    rows += job.rows();
                    batch.extend(jobs.remove(place));
                } else {
                    place += 1;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if rows >= batching.rows || left.is_zero() {
                return batch;
            }
            let waited = self.came.wait_timeout(jobs, left);
            jobs = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number of rows of a kind; none is gone.
    #[derive(Debug, PartialEq)]
    struct Job(usize, char);

    impl Waiting for Job {
        fn is_gone(&self) -> bool {
            self.0 == 0
        }

        fn rows(&self) -> usize {
            self.0
        }

        fn fits(&self, other: &Job) -> bool {
            self.1 == other.1
        }
    }

    #[test]
    fn what_fits_is_taken_together_and_nothing_is_overtaken_by_its_kind() {
        let queue = Queue::new(6);
        for job in [Job(2, 'a'), Job(1, 'b'), Job(0, 'a'), Job(1, 'a'), Job(3, 'b'), Job(2, 'a')] {
            assert!(queue.push(job));
        }
        // The one that is gone makes room.
        assert!(queue.push(Job(9, 'a')));
        assert!(!queue.push(Job(1, 'c')));
        let batching = Batching { rows: 4, delay: Duration::ZERO };
        assert_eq!(queue.take(&batching), [Job(2, 'a'), Job(1, 'a')]);
        assert_eq!(queue.take(&batching), [Job(1, 'b'), Job(3, 'b')]);
        assert_eq!(queue.take(&batching), [Job(2, 'a')]);
        // One that is larger than a run is taken alone.
        assert_eq!(queue.take(&batching), [Job(9, 'a')]);
    }

    #[test]
    fn a_run_waits_for_rows_that_come() {
        let queue = Queue::new(8);
        let batching = Batching { rows: 2, delay: Duration::from_secs(600) };
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(&batching));
            assert!(queue.push(Job(1, 'a')));
            assert!(queue.push(Job(1, 'a')));
            assert_eq!(taken.join().unwrap(), [Job(1, 'a'), Job(1, 'a')]);
        });
    }
}
