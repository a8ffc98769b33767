//! What a run leaves in its folder beside the weights: its spec, its figures, TensorBoard's files and a report.
//!
//! A [`Record`] watches a training and writes as it goes, so that a run that is cut off has left all that is known of it. What it cannot
//! write it tells once; the training goes on, since its weights are worth more than its figures.

pub mod about;
pub mod answers;
pub mod codes;
pub mod history;
mod items;
mod licence;
pub mod model;
pub mod samples;
mod tensorboard;

use self::about::{About, Data, DataFile};
use self::answers::Answers;
use self::history::{End, Epoch, History};
use self::items::Items;
use self::model::Model;
use self::samples::Samples;
use self::tensorboard::TensorBoard;
use crate::profile::Kernels;
use crate::report::{self, Report};
use crate::spec::Spec;
use crate::{output, release, training};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weft_runtime::data::Parts;
use weft_runtime::error::{Error, Result};
use weft_runtime::execute::Session;
use weft_runtime::io;
use weft_runtime::program::{DType, VariableKind};
use weft_runtime::train::{Event, Figures, Observer, Point, Record as State, Summary};

pub const SPEC_FILE: &str = "spec.weft";
pub const REPORT_FILE: &str = "report.html";
/// While a training runs, its report is written anew when the last one is as old as this.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// Steps that are measured kernel by kernel, counted from the first that this process takes: those before warm up.
const PROFILED: std::ops::Range<usize> = 3..8;

/// Writes down what happens in a training.
pub struct Record<'s> {
    folder: PathBuf,
    about: About,
    spec: &'s Spec,
    /// Its text with every default written out.
    text: String,
    model: Model,
    answers: Option<Answers>,
    samples: Option<Samples>,
    /// What each entry of a step took, and how many steps there were.
    kernels: Vec<(String, Kernels)>,
    stepped: usize,
    /// The data, once it is known.
    parts: Option<Parts>,
    history: History,
    board: Option<TensorBoard>,
    /// Batches that make one step.
    accumulate: usize,
    reported: Option<Instant>,
    begun: bool,
    /// Something could not be written, which was told.
    broken: bool,
}

impl<'s> Record<'s> {
    /// Of a training that writes into `folder`; `text` is its spec with every default written out.
    pub fn new(folder: &Path, about: About, spec: &'s Spec, text: String, model: Model) -> Record<'s> {
        Record {
            folder: folder.to_path_buf(),
            about,
            spec,
            text,
            model,
            answers: None,
            samples: None,
            kernels: Vec::new(),
            stepped: 0,
            parts: None,
            history: History::default(),
            board: None,
            accumulate: 1,
            reported: None,
            begun: false,
            broken: false,
        }
    }

    /// Asks the trained model, for the report. Whatever keeps its answers from being known is no mistake of the training.
    pub fn answer(&mut self, weights: &Path) {
        let Some(parts) = &self.parts else { return };
        let items = self.items(parts, self.about.threads);
        match items.and_then(|mut items| answers::ask(&mut items, parts, weights)) {
            Ok(answers) => self.answers = answers,
            Err(error) => self.tell(Err(error)),
        }
    }

    fn items(&self, parts: &Parts, threads: usize) -> Result<Items> {
        Items::new(self.spec, &self.about.data.name, parts, self.about.seed, threads)
    }

    /// The training is over: with this outcome, or with this error.
    pub fn close(&mut self, outcome: std::result::Result<&Summary, &Error>) {
        if !self.begun {
            return;
        }
        let end = match outcome {
            Ok(summary) => End {
                ending: training::word(summary.ending).to_owned(),
                epochs: summary.epochs,
                best_epoch: summary.best.map(Point::epoch),
                best_batch: summary.best.and_then(Point::within),
                seconds: summary.seconds,
                test: summary.test.clone().unwrap_or_default(),
                error: None,
            },
            Err(error) => End {
                ending: "failed".to_owned(),
                epochs: self.history.epochs_done(),
                best_epoch: self.history.best().map(|epoch| epoch.epoch),
                best_batch: self.history.best().and_then(|epoch| epoch.batch),
                seconds: now() - self.about.started,
                test: Figures::default(),
                error: Some(error.to_string()),
            },
        };
        let written = self.append(&history::line(&end)).and_then(|()| match &mut self.board {
            Some(board) => {
                board.end(&end, now(), self.answers.as_ref().map_or(Vec::new(), tensorboard::pictures))
            }
            None => Ok(()),
        });
        self.history.end = Some(end);
        self.about.data = Data::at(&self.about.data.name, Path::new(&self.about.data.path));
        let saved = outcome.map_or(&[][..], |summary| &summary.saved);
        let file = |path: &PathBuf| DataFile {
            name: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
            bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            sha256: about::sha256(path),
        };
        self.about.weights = saved.iter().map(file).collect();
        let written = written.and_then(|()| self.about.write(&self.folder)).and_then(|()| self.report());
        self.tell(written);
    }

    /// Begins the folder's files, with the epochs that a run that goes on has done before. What the folder told of them counts, because
    /// it knows more; what it told of others is of a run that is no more.
    fn begin(&mut self, done: &[State]) -> Result<()> {
        self.begun = true;
        std::fs::create_dir_all(&self.folder).map_err(Error::file("make the folder", &self.folder))?;
        let told = if done.is_empty() {
            History::default()
        } else {
            History::read(&self.folder).unwrap_or_default()
        };
        let epoch = |state: &State| {
            let new = Epoch::of(state);
            let same = |told: &&Epoch| {
                (told.epoch, told.batch) == (new.epoch, new.batch) && told.agrees(&state.train)
            };
            let told = told.epochs.iter().find(same).cloned();
            told.unwrap_or_else(|| Epoch { step: self.steps(state), time: now(), ..new })
        };
        self.history = History { epochs: done.iter().map(epoch).collect(), end: None };
        io::write_atomically(&self.folder.join(history::FILE), &[self.history.text().as_bytes()])?;
        io::write_atomically(&self.folder.join(SPEC_FILE), &[self.text.as_bytes()])?;
        self.about.write(&self.folder)?;
        self.board = Some(TensorBoard::create(&self.folder, &self.history)?);
        if let Some(parts) = self.parts.as_ref().filter(|_| samples::are_drawn(self.spec)) {
            let (items, done) = (self.items(parts, 1)?, self.history.epochs_done());
            release::compiler();
            self.samples = Samples::begin(items, parts, &self.folder, done)?;
            if let (Some(samples), Some(board)) = (&self.samples, &mut self.board) {
                board.samples(&self.history, samples)?;
            }
        }
        Ok(())
    }

    /// Steps since the start of the run.
    fn steps(&self, record: &State) -> usize {
        let an_epoch = record.batches.div_ceil(self.accumulate);
        record.point.epochs * an_epoch + record.point.batch / self.accumulate
    }

    fn epoch(&mut self, epoch: Epoch, session: &Session) -> Result<()> {
        self.append(&history::line(&epoch))?;
        let drawn = match (&mut self.samples, &self.parts) {
            (Some(samples), Some(parts)) if epoch.batch.is_none() => {
                samples.take(epoch.epoch, session, parts)?
            }
            _ => Vec::new(),
        };
        if let Some(board) = &mut self.board {
            board.epoch(&epoch)?;
            board.drawn(epoch.step, epoch.time, drawn)?;
        }
        self.history.epochs.push(epoch);
        if self.reported.is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            self.report()?;
        }
        Ok(())
    }

    fn append(&self, line: &str) -> Result<()> {
        let path = self.folder.join(history::FILE);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::file("write", &path))
    }

    fn report(&mut self) -> Result<()> {
        let page = report::page(&Report {
            about: &self.about,
            history: &self.history,
            spec: &self.text,
            model: &self.model,
            answers: self.answers.as_ref(),
            samples: self.samples.as_ref(),
            kernels: &self.kernels,
        });
        self.reported = Some(Instant::now());
        io::write_atomically(&self.folder.join(REPORT_FILE), &[page.as_bytes()])
    }

    fn tell(&mut self, result: Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.broken, true)
        {
            output::note(&format!(
                "warning: {error}\n  note: the training goes on, but its folder will not tell all of it"
            ));
        }
    }
}

impl Observer for Record<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Start { training, epochs, batch, rows, history, parts, .. } => {
                self.parts = Some((*parts).clone());
                self.accumulate = training.accumulate.max(1);
                let higher = training.figures.iter().filter(|figure| figure.higher_is_better);
                self.about.higher_is_better = higher.map(|figure| figure.name.clone()).collect();
                (self.about.epochs, self.about.batch, self.about.rows) = (*epochs, *batch, *rows);
                self.about.started = now();
                let begun = self.begin(history);
                self.tell(begun);
            }
            Event::Record { record, session, gradients } => {
                let epoch = Epoch {
                    step: self.steps(record),
                    time: now(),
                    weight_norms: norms(session),
                    gradient_norms: in_order(gradients, session),
                    ..Epoch::of(record)
                };
                let written = self.epoch(epoch, session);
                self.tell(written);
            }
            Event::Profile { entry, launches } => {
                let known = self.kernels.iter().position(|(name, _)| name == entry);
                let known = known.unwrap_or_else(|| {
                    self.kernels.push(((*entry).to_owned(), Kernels::default()));
                    self.kernels.len() - 1
                });
                if let Some((_, kernels)) = self.kernels.get_mut(known) {
                    kernels.take(0, launches);
                }
            }
            _ => {}
        }
    }

    fn wants_profile(&mut self) -> bool {
        self.stepped += 1;
        PROFILED.contains(&(self.stepped - 1))
    }
}

/// The length of each weight.
fn norms(session: &Session) -> Figures {
    let variables = &session.program().variables;
    let weights = (0..variables.len()).filter(|&index| variables[index].kind == VariableKind::Weight);
    let floats = weights.filter(|&index| variables[index].dtype == DType::F32);
    let norm = |index: usize| {
        let values =
            session.variable(index).data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let squares: f64 = values.map(|value| f64::from(value).powi(2)).sum();
        (variables[index].path.clone(), (squares.sqrt() as f32).into())
    };
    Figures(floats.map(norm).collect())
}

/// The lengths of gradients, in the order of the weights.
fn in_order(gradients: &Figures, session: &Session) -> Figures {
    let place = |path: &str| session.program().variables.iter().position(|variable| variable.path == path);
    let mut ordered = gradients.clone();
    ordered.0.sort_by_key(|(path, _)| place(path));
    ordered
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
