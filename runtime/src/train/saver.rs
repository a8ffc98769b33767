//! Saving a run while it goes on: copies in memory, files by a thread of their own.
//!
//! The training stands still only while the variables are copied. There is one copy: while a thread writes it, the training
//! does not wait, and what became due meanwhile is taken from a later batch. Unless more is asked for, writing takes
//! at most a tenth of the time.
//!
//! A file that cannot be written does not end a training, which may well outlive a full disk: the error is told at once, the
//! next copy is another try, and only when the last one fails does the run end with the error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::checkpoint::{self, Snapshot};
use super::figures::Figures;
use super::point::Point;
use super::state::State;
use super::{AVERAGE_FILE, BEST_FILE, LAST_FILE, SAVE_EVERY, WEIGHTS_FILES};
use crate::error::{Error, Result};
use crate::io;
use crate::program::Every;
use crate::tensor::TensorView;
use crate::weights;

/// Writing takes at most one part in so many of the time, unless the user says how often it is done.
const SHARE: u32 = 10;

/// Saves one run into its folder.
#[derive(Debug)]
pub struct Saver {
    folder: PathBuf,
    /// What the user or the spec asks for; else now and then, as long as writing takes little of the time.
    every: Option<Every>,
    /// Whether something ought to be saved because it was asked for, or because an epoch is over.
    asked: bool,
    due: bool,
    last: Instant,
    /// Where in the run the last copy was taken.
    point: Point,
    /// How long the writer took for its last copy.
    took: Duration,
    /// The copy, while it is here.
    home: Option<Box<Snapshot>>,
    copies: Option<SyncSender<Box<Snapshot>>>,
    written: Receiver<Written>,
    thread: Option<JoinHandle<()>>,
    /// The weights files that are there.
    pub saved: Vec<PathBuf>,
}

/// A copy comes back from the writer.
#[derive(Debug)]
struct Written {
    copy: Box<Snapshot>,
    result: Result<Vec<PathBuf>>,
    took: Duration,
}

impl Saver {
    /// Starts the writer. `first`: the run as it is at the start, so that the memory of later copies is there before the first step.
    pub fn start(folder: &Path, every: Option<Every>, keep: usize, first: Snapshot) -> Result<Saver> {
        let (copies, to_write) = sync_channel::<Box<Snapshot>>(1);
        let (back, written) = sync_channel(1);
        let mut writer = Writer { folder: folder.to_path_buf(), keep, best: None };
        let work = move || {
            for copy in to_write {
                let start = Instant::now();
                let result = writer.write(&copy);
                if back.send(Written { copy, result, took: start.elapsed() }).is_err() {
                    return;
                }
            }
        };
        let checkpoints = folder.join(checkpoint::FOLDER);
        std::fs::create_dir_all(&checkpoints).map_err(Error::file("make the folder", &checkpoints))?;
        let thread = thread::Builder::new().name("weft-saver".into()).spawn(work).map_err(Error::Thread)?;
        Ok(Saver {
            folder: folder.to_path_buf(),
            every,
            asked: false,
            due: false,
            last: Instant::now(),
            point: first.state.point(),
            took: Duration::ZERO,
            home: Some(Box::new(first)),
            copies: Some(copies),
            written,
            thread: Some(thread),
            saved: Vec::new(),
        })
    }

    /// Takes the weights files that are there for this run's own.
    pub fn find_files(&mut self) {
        self.saved =
            WEIGHTS_FILES.iter().map(|file| self.folder.join(file)).filter(|f| f.is_file()).collect();
    }

    /// Whether to give a copy now; an error is that of an earlier one. `batches`: those of an epoch.
    pub fn wants(&mut self, point: Point, batches: usize) -> (bool, Option<Error>) {
        let error = self.written.try_recv().ok().and_then(|written| self.back(written));
        self.asked |= match self.every {
            Some(Every::Time(time)) => self.last.elapsed() >= time,
            Some(every) => every.passed(point, self.point, batches),
            None => false,
        };
        // The end of an epoch is saved, too, unless epochs are counted.
        self.due |= match self.every {
            Some(Every::Epochs(_)) => false,
            Some(_) => point.within().is_none(),
            None => point.within().is_none() || self.last.elapsed() >= SAVE_EVERY,
        };
        let rested = || self.last.elapsed() >= self.took * SHARE;
        ((self.asked || self.due && rested()) && self.home.is_some(), error)
    }

    /// Fills the copy by `fill` and hands it to the writer, waiting for an earlier one where that is still being written. Gives
    /// the error of the earlier one.
    pub fn save(&mut self, fill: impl FnOnce(&mut Snapshot)) -> Option<Error> {
        let error = self.wait();
        if let (Some(mut copy), Some(copies)) = (self.home.take(), &self.copies) {
            fill(&mut copy);
            self.point = copy.state.point();
            // The writer ends only after this sender is gone.
            let _ = copies.send(copy);
            (self.asked, self.due, self.last) = (false, false, Instant::now());
        }
        error
    }

    /// Writes the last copy once more, with another state of the same variables.
    pub fn amend(&mut self, state: State) -> Option<Error> {
        let earlier = self.wait();
        let again = earlier.is_some();
        self.save(|copy| {
            copy.state = state;
            copy.with_weights &= again;
        });
        earlier
    }

    /// The last copy, once it is written; before any, that of the start.
    pub fn last_copy(mut self) -> Option<Box<Snapshot>> {
        // An error of the writer does not matter to what is in memory.
        let _ = self.wait();
        self.home.take()
    }

    /// Waits for the writer; gives its error.
    pub fn wait(&mut self) -> Option<Error> {
        if self.home.is_some() {
            return None;
        }
        self.written.recv().ok().and_then(|written| self.back(written))
    }

    fn back(&mut self, written: Written) -> Option<Error> {
        let Written { copy, result, took } = written;
        (self.home, self.took, self.last) = (Some(copy), took, Instant::now());
        match result {
            Ok(files) => {
                for file in files {
                    if !self.saved.contains(&file) {
                        self.saved.push(file);
                    }
                }
                None
            }
            Err(error) => Some(error),
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.copies = None;
        if let Some(thread) = self.thread.take() {
            // What it was writing comes to its end.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    keep: usize,
    /// Where the weights are from that the best file holds.
    best: Option<Point>,
}

impl Writer {
    /// Writes the weights files, then the checkpoint; gives the weights files.
    fn write(&mut self, copy: &Snapshot) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if copy.with_weights {
            let (point, known) = (copy.state.reached(), copy.state.latest());
            let plain = weights::saved(&copy.program).map(|index| (index, index));
            files.push(self.weights(LAST_FILE, copy, point, known, copy.tensors(plain))?);
            if copy.state.averaged && !copy.averages.is_empty() {
                let average = |index| copy.averages.iter().find(|(weight, _)| *weight == index);
                let averaged = weights::saved(&copy.program)
                    .map(|index| (index, average(index).map_or(index, |(_, average)| *average)));
                files.push(self.weights(AVERAGE_FILE, copy, point, known, copy.tensors(averaged))?);
            }
        }
        if let (Some(kept), Some(best)) = (&copy.state.kept, &copy.best)
            && self.best != Some(kept.point)
        {
            let known = [Some(&kept.train), kept.validation.as_ref()];
            let tensors = weights::named(&copy.program, best).into_iter().flatten().collect();
            files.push(self.weights(BEST_FILE, copy, kept.point, known, tensors)?);
            self.best = Some(kept.point);
        }
        copy.write(&self.folder)?;
        checkpoint::rotate(&self.folder, self.keep)?;
        Ok(files)
    }

    fn weights(
        &self,
        file: &str,
        copy: &Snapshot,
        point: Point,
        known: [Option<&Figures>; 2],
        tensors: BTreeMap<&str, TensorView<'_>>,
    ) -> Result<PathBuf> {
        let path = self.folder.join(file);
        io::weights::write(&path, &tensors, &copy.run.describe(point, known))?;
        Ok(path)
    }
}
