//! A run's figures for TensorBoard: one folder of event files for training and one for validation, as Keras lays them out, so that
//! their curves lie in one chart. `tensorboard --logdir runs` shows all runs.

use super::answers::{Answers, Picture, Shown};
use super::history::{End, Epoch, History};
use super::samples::{self, Maker, Samples};
use std::path::{Path, PathBuf};
use weft_runtime::error::{Error, Result};
use weft_runtime::io::events::{Event, Events, PREFIX, Value};
use weft_runtime::train::Figures;

pub const FOLDER: &str = "tensorboard";

/// The files of the parts of the data, each made when there is something to say of its part.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    parts: [(&'static str, Option<Events>); 3],
    /// Of the last epoch.
    step: usize,
}

impl TensorBoard {
    /// Begins anew with what is known of a run; files of an earlier beginning are removed, so that no epoch is told twice.
    pub fn create(run: &Path, history: &History) -> Result<TensorBoard> {
        let folder = run.join(FOLDER);
        let parts = ["train", "validation", "test"];
        for part in parts {
            let Ok(files) = std::fs::read_dir(folder.join(part)) else { continue };
            for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(PREFIX))
            {
                std::fs::remove_file(file.path()).map_err(Error::file("remove", &file.path()))?;
            }
        }
        let mut board = TensorBoard { folder, parts: parts.map(|part| (part, None)), step: 0 };
        for epoch in &history.epochs {
            board.epoch(epoch)?;
        }
        Ok(board)
    }

    pub fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.step = epoch.step;
        let mut train = scalars("", &epoch.train);
        train.extend(scalars("rate/", &epoch.rates));
        train.extend(scalars("weight norm/", &epoch.weight_norms));
        train.extend(scalars("gradient norm/", &epoch.gradient_norms));
        self.write(0, epoch.time, train)?;
        self.write(1, epoch.time, scalars("", &epoch.validation))
    }

    /// What items drew after an epoch.
    pub fn drawn(&mut self, step: usize, time: f64, drawn: Vec<(String, Vec<u8>)>) -> Result<()> {
        self.step = step;
        self.write(
            0,
            time,
            drawn.into_iter().map(|(item, png)| (format!("samples/{item}"), image(png))).collect(),
        )
    }

    /// What items drew in epochs before.
    pub fn samples(&mut self, history: &History, samples: &Samples) -> Result<()> {
        for epoch in history.epochs.iter().filter(|epoch| epoch.batch.is_none()) {
            let of = |maker: &Maker| {
                let file = maker.epochs.iter().find(|(number, _)| *number == epoch.epoch);
                file.map(|(_, file)| (maker.name.clone(), file.clone()))
            };
            self.drawn(epoch.step, epoch.time, samples.makers.iter().filter_map(of).collect())?;
        }
        Ok(())
    }

    /// The figures of the test part, and pictures by their tags.
    pub fn end(&mut self, end: &End, time: f64, pictures: Vec<(String, Value)>) -> Result<()> {
        self.write(2, time, scalars("", &end.test))?;
        self.write(0, time, pictures)
    }

    fn write(&mut self, part: usize, time: f64, values: Vec<(String, Value)>) -> Result<()> {
        let Some((name, events)) = self.parts.get_mut(part).filter(|_| !values.is_empty()) else {
            return Ok(());
        };
        let events = match events {
            Some(events) => events,
            none => none.insert(Events::create(&self.folder.join(name), time)?),
        };
        events.write(&Event { time, step: self.step as i64, values })
    }
}

/// The pictures of answers, by their tags.
pub fn pictures(answers: &Answers) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut add = |tag: &str, pictures: Vec<&Picture>| {
        if !pictures.is_empty() {
            found.extend(samples::sheet(&pictures).ok().map(|png| (tag.to_owned(), image(png))));
        }
    };
    let shown = |rows: &[(usize, Shown)]| {
        rows.iter()
            .filter_map(
                |(_, shown)| if let Shown::Picture(picture) = shown { Some(picture.clone()) } else { None },
            )
            .collect::<Vec<_>>()
    };
    if let Some(classes) = &answers.classes {
        add("answers/wrong", shown(&classes.wrong).iter().collect());
        add("answers/right", shown(&classes.right).iter().collect());
    }
    if let Some(drawn) = &answers.drawn {
        // Those that were given in a line above what the model made of them.
        let lines = drawn.pairs.chunks(samples::COLUMNS);
        add(
            "answers/given and drawn",
            lines.flat_map(|line| line.iter().map(|p| &p[0]).chain(line.iter().map(|p| &p[1]))).collect(),
        );
    }
    found
}

fn image(png: Vec<u8>) -> Value {
    let [height, width] = samples::size(&png);
    Value::Image { size: [height, width, 3], png }
}

/// Figures that are numbers.
fn scalars(prefix: &str, figures: &Figures) -> Vec<(String, Value)> {
    figures.numbers().map(|(name, value)| (format!("{prefix}{name}"), Value::Scalar(value))).collect()
}
