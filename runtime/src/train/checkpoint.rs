//! Checkpoint files: a run at one moment, whole in one safetensors file.
//!
//! A file holds every variable under its path, what metrics have collected of an epoch that is not over, and the best weights so
//! far. Its metadata say what was started ([`Run`]) and how far it came ([`State`]). Since weights stand under their own names, a
//! checkpoint can be used wherever a weights file can.
//!
//! Files are written atomically, and the last few of a run are kept, so that one that a disk has damaged is not the only one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::fingerprint::Fingerprint;
use super::point::Point;
use super::state::State;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::io;
use crate::io::weights::Weights;
use crate::program::Program;
use crate::tensor::{Tensor, TensorView};
use crate::weights::{self, BESIDE};

/// The folder of a run's checkpoints inside its own.
pub const FOLDER: &str = "checkpoints";
/// The form of the metadata; other forms are refused.
const VERSION: u32 = 2;

/// What was started. A run goes on where these are the same, or where a difference does no harm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub version: u32,
    /// The spec's name, and its text with every default written out.
    pub spec: String,
    pub text: String,
    pub training: String,
    pub seed: u64,
    pub batch: usize,
    pub epochs: usize,
    /// Rows to train on, to validate and to test.
    pub rows: [usize; 3],
    /// See [`Fingerprint`].
    pub data: String,
    /// What was found in the data, as weights files say it.
    #[serde(default, alias = "classes")]
    pub found: BTreeMap<String, String>,
    /// What the command line said, for the one who wants to go on by saying less; the runtime does not look into it.
    pub arguments: String,
}

impl Run {
    pub fn new(program: &Program, training: &str) -> Run {
        Run { version: VERSION, spec: program.name.clone(), training: training.into(), ..Run::default() }
    }

    /// What weights files say of themselves: the figures of training and of validation, as far as they are known.
    pub fn describe(&self, point: Point, known: [Option<&Figures>; 2]) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("spec".to_string(), self.spec.clone()),
            ("training".to_string(), self.training.clone()),
            ("epoch".to_string(), point.epoch().to_string()),
            ("seed".to_string(), self.seed.to_string()),
        ]);
        metadata.extend(point.within().map(|batch| ("batch".to_string(), batch.to_string())));
        metadata.extend(self.found.clone());
        for (split, figures) in [Split::Train, Split::Validation].into_iter().zip(known) {
            for (name, value) in figures.iter().flat_map(|figures| &figures.0) {
                metadata.insert(format!("{}.{name}", split.name()), value.to_string());
            }
        }
        metadata
    }
}

/// A run at one moment, in memory.
#[derive(Debug)]
pub struct Snapshot {
    pub program: Arc<Program>,
    pub run: Run,
    pub data: Arc<Fingerprint>,
    pub state: State,
    /// A copy of all variables, and where each one lies in it.
    pub variables: Vec<u8>,
    pub places: Vec<(usize, usize)>,
    /// Weights and their averages.
    pub averages: Vec<(usize, usize)>,
    pub collected: Vec<(String, Tensor)>,
    /// The best weights and states: see [`weights::snapshot`].
    pub best: Option<Arc<Vec<u8>>>,
    /// Whether the weights files are to be written as well.
    pub with_weights: bool,
}

impl Snapshot {
    pub fn variable(&self, index: usize) -> TensorView<'_> {
        let (variable, (start, bytes)) = (&self.program.variables[index], self.places[index]);
        let data = &self.variables[start..start + bytes];
        TensorView { dtype: variable.dtype, shape: &variable.shape, data }
    }

    /// The values of some variables under the names of others.
    pub fn tensors(&self, pairs: impl Iterator<Item = (usize, usize)>) -> BTreeMap<&str, TensorView<'_>> {
        pairs
            .map(|(name, value)| (self.program.variables[name].path.as_str(), self.variable(value)))
            .collect()
    }

    /// Writes the checkpoint; gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(FOLDER).join(file_of(self.state.point()));
        let mut names: Vec<(String, TensorView<'_>)> = Vec::new();
        for index in 0..self.program.variables.len() {
            names.push((self.program.variables[index].path.clone(), self.variable(index)));
        }
        for (name, rows) in &self.collected {
            names.push((format!("{BESIDE}collected/{name}"), rows.view()));
        }
        if let Some(best) = &self.best {
            let tensors = weights::named(&self.program, best).into_iter().flatten();
            names.extend(tensors.map(|(name, view)| (format!("{BESIDE}best/{name}"), view)));
        }
        let tensors: BTreeMap<&str, TensorView<'_>> =
            names.iter().map(|(name, view)| (name.as_str(), *view)).collect();
        let run = Run { data: self.data.text().to_owned(), ..self.run.clone() };
        let mut metadata = run.describe(self.state.reached(), self.state.latest());
        metadata.insert("checksum".into(), checksum(&tensors));
        metadata.insert("run".into(), json(&run)?);
        metadata.insert("state".into(), json(&self.state)?);
        io::weights::write(&path, &tensors, &metadata)?;
        Ok(path)
    }
}

/// A checkpoint as it was read.
#[derive(Debug)]
pub struct Checkpoint {
    pub path: PathBuf,
    pub run: Run,
    pub state: State,
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads a file whole, and checks that no bit of it was lost.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let Weights { tensors, metadata } = io::weights::read(path)?;
        let (run, state) = described(path, &metadata)?;
        let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        if metadata.get("checksum") != Some(&checksum(&views)) {
            return Err(Error::damaged(path, "the checkpoint's content is not what was written"));
        }
        Ok(Checkpoint { path: path.to_path_buf(), run, state, tensors })
    }

    /// The newest checkpoint of a run that can be read, with the errors of newer ones; none where there is no checkpoint.
    pub fn newest(folder: &Path) -> Result<Option<(Checkpoint, Vec<Error>)>> {
        let mut errors = Vec::new();
        for (_, path) in list(folder)?.into_iter().rev() {
            match Checkpoint::read(&path) {
                Ok(checkpoint) => return Ok(Some((checkpoint, errors))),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(None) } else { Err(errors.swap_remove(0)) }
    }

    /// The tensors that it holds beside the variables, under `best/` or `collected/`.
    pub fn beside(&self, what: &str) -> impl Iterator<Item = (&str, &Tensor)> {
        let prefix = format!("{BESIDE}{what}/");
        self.tensors.iter().filter_map(move |(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor)))
    }
}

/// What a run was started with and how far it came, from its newest readable checkpoint; only the head of the file is read.
pub fn peek(folder: &Path) -> Result<Option<(Run, State)>> {
    let mut first = None;
    for (_, path) in list(folder)?.into_iter().rev() {
        match io::weights::read_metadata(&path).and_then(|metadata| described(&path, &metadata)) {
            Ok(found) => return Ok(Some(found)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), Err)
}

fn described(path: &Path, metadata: &BTreeMap<String, String>) -> Result<(Run, State)> {
    fn part<T: DeserializeOwned>(path: &Path, metadata: &BTreeMap<String, String>, key: &str) -> Result<T> {
        let text = metadata.get(key).ok_or_else(|| Error::damaged(path, "this is no checkpoint of a run"))?;
        serde_json::from_str(text)
            .map_err(|e| Error::damaged(path, format!("its `{key}` cannot be read: {e}")))
    }
    let version = part::<serde_json::Value>(path, metadata, "run")?["version"].as_u64();
    if version != Some(VERSION.into()) {
        return Err(Error::damaged(path, "this checkpoint was written by another version of Weft"));
    }
    Ok((part(path, metadata, "run")?, part(path, metadata, "state")?))
}

/// The name of the file of a checkpoint. Files are ordered by their points.
fn file_of(point: Point) -> String {
    match point.batch {
        0 => format!("epoch-{}.safetensors", point.epochs),
        batch => format!("epoch-{}-batch-{batch}.safetensors", point.epochs),
    }
}

fn point_of(file: &str) -> Option<Point> {
    let rest = file.strip_prefix("epoch-")?.strip_suffix(".safetensors")?;
    let (epochs, batch) = rest.split_once("-batch-").unwrap_or((rest, "0"));
    let point = Point { epochs: epochs.parse().ok()?, batch: batch.parse().ok()? };
    (file_of(point) == file).then_some(point)
}

/// The checkpoints of a run, oldest first.
pub fn list(folder: &Path) -> Result<Vec<(Point, PathBuf)>> {
    let folder = folder.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", &folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("read", &folder))?;
        found.extend(entry.file_name().to_str().and_then(point_of).map(|point| (point, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Removes all but the newest `keep` checkpoints.
pub fn rotate(folder: &Path, keep: usize) -> Result<()> {
    let all = list(folder)?;
    for (_, path) in &all[..all.len().saturating_sub(keep.max(1))] {
        io::remove(path)?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String> {
    // Maps with keys that are no texts cannot be written; there are none.
    serde_json::to_string(value).map_err(|error| Error::Unsound(error.to_string()))
}

/// A sum over names and bytes that tells a damaged file.
fn checksum(tensors: &BTreeMap<&str, TensorView<'_>>) -> String {
    let mut sum = crc32fast::Hasher::new();
    for (name, tensor) in tensors {
        sum.update(name.as_bytes());
        sum.update(tensor.data);
    }
    format!("{:08x}", sum.finalize())
}
