//! What a run leaves in its folder beside the weights: its spec, its figures, TensorBoard's files and a report.
//!
//! A [`Record`] watches a training and writes as it goes, so that a run that is cut off has left all that is known of it. What it cannot
//! write it tells once; the training goes on, since its weights are worth more than its figures.

pub mod about;
pub mod answers;
pub mod history;
pub mod model;
mod tensorboard;

use self::about::{About, Data, DataFile};
use self::answers::Answers;
use self::history::{End, Epoch, History};
use self::model::Model;
use self::tensorboard::TensorBoard;
use crate::output;
use crate::report::{self, Report};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weft_runtime::data::Parts;
use weft_runtime::error::{Error, Result};
use weft_runtime::execute::Session;
use weft_runtime::io;
use weft_runtime::program::{DType, VariableKind};
use weft_runtime::train::{Event, Figures, Observer, Record as State, Summary};

pub const SPEC_FILE: &str = "spec.weft";
pub const REPORT_FILE: &str = "report.html";
/// While a training runs, its report is written anew when the last one is as old as this.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// Writes down what happens in a training.
pub struct Record {
    folder: PathBuf,
    about: About,
    /// The spec with every default written out.
    spec: String,
    model: Model,
    answers: Option<Answers>,
    /// The data, once it is known.
    pub parts: Option<Parts>,
    history: History,
    board: Option<TensorBoard>,
    /// Steps that an epoch makes.
    steps: usize,
    /// Batches that make one step.
    accumulate: usize,
    reported: Option<Instant>,
    begun: bool,
    /// Something could not be written, which was told.
    broken: bool,
}

impl Record {
    /// Of a training that writes into `folder`; `spec` is its text with every default written out.
    pub fn new(folder: &Path, about: About, spec: String, model: Model) -> Record {
        Record {
            folder: folder.to_path_buf(),
            about,
            spec,
            model,
            answers: None,
            parts: None,
            history: History::default(),
            board: None,
            steps: 0,
            accumulate: 1,
            reported: None,
            begun: false,
            broken: false,
        }
    }

    /// What the trained model answers, for the report. Whatever keeps it from being known is no mistake of the training.
    pub fn answered(&mut self, answers: std::result::Result<Option<Answers>, Error>) {
        match answers {
            Ok(answers) => self.answers = answers,
            Err(error) => self.tell(Err(error)),
        }
    }

    /// The training is over: with this outcome, or with this error.
    pub fn close(&mut self, outcome: std::result::Result<&Summary, &Error>) {
        if !self.begun {
            return;
        }
        let end = match outcome {
            Ok(summary) => End {
                ending: history::word(summary.ending).to_owned(),
                epochs: summary.epochs,
                best_epoch: summary.best_epoch,
                seconds: summary.seconds,
                test: summary.test.clone().unwrap_or_default(),
                error: None,
            },
            Err(error) => End {
                ending: "failed".to_owned(),
                epochs: self.history.epochs.len(),
                best_epoch: self.history.best().map(|epoch| epoch.epoch),
                seconds: now() - self.about.started,
                test: Figures::default(),
                error: Some(error.to_string()),
            },
        };
        let written = self.append(&history::line(&end)).and_then(|()| match &mut self.board {
            Some(board) => board.end(&end, now(), Vec::new()),
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
            let same = |told: &&Epoch| told.epoch == state.epoch && told.agrees(&state.train);
            told.epochs.iter().find(same).cloned().unwrap_or_else(|| Epoch {
                step: state.batches.div_ceil(self.accumulate),
                time: now(),
                ..Epoch::new(
                    state.epoch,
                    state.seconds,
                    &state.train,
                    state.validation.as_ref(),
                    &state.rates,
                    state.best,
                )
            })
        };
        self.history = History { epochs: done.iter().map(epoch).collect(), end: None };
        io::write_atomically(&self.folder.join(history::FILE), &[self.history.text().as_bytes()])?;
        io::write_atomically(&self.folder.join(SPEC_FILE), &[self.spec.as_bytes()])?;
        self.about.write(&self.folder)?;
        self.board = Some(TensorBoard::create(&self.folder, &self.history)?);
        Ok(())
    }

    fn epoch(&mut self, epoch: Epoch) -> Result<()> {
        self.append(&history::line(&epoch))?;
        if let Some(board) = &mut self.board {
            board.epoch(&epoch)?;
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
            spec: &self.spec,
            model: &self.model,
            answers: self.answers.as_ref(),
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

impl Observer for Record {
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
            Event::EpochStart { batches, .. } => self.steps = batches.div_ceil(self.accumulate),
            Event::EpochEnd { epoch, seconds, train, validation, rates, best, session } => {
                let written = self.epoch(Epoch {
                    step: epoch * self.steps,
                    time: now(),
                    weight_norms: norms(session),
                    ..Epoch::new(*epoch, *seconds, train, *validation, rates, *best)
                });
                self.tell(written);
            }
            _ => {}
        }
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

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
