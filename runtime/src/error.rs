//! Everything that can go wrong while a program runs, as one type.
//!
//! Each error has a [`Class`], from which the command line takes its exit code: either what was given is wrong (a file, a
//! shape, a name), or the machine failed us (no memory, a full disk, a processor that lacks instructions).

use std::io;
use std::path::{Path, PathBuf};

use crate::tensor::Tensor;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Spec, data, weights or arguments are wrong.
    Input,
    /// Disk, memory, threads or processor failed.
    Environment,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{entry}` takes {expected} inputs, but {got} were given")]
    InputCount { entry: String, expected: usize, got: usize },
    #[error("`{entry}`: input `{input}` is missing")]
    MissingInput { entry: String, input: String },
    #[error("`{entry}`: input `{input}` must be {expected}, but {got} was given")]
    InputType { entry: String, input: String, expected: String, got: String },
    #[error("`{entry}`: input `{input}` must have {expected} axes, but the shape {got:?} was given")]
    InputRank { entry: String, input: String, expected: usize, got: Vec<usize> },
    #[error("`{entry}`: axis {axis} of input `{input}` must be {expected}, but it is {got}")]
    InputAxis { entry: String, input: String, axis: usize, expected: String, got: usize },
    #[error("`{entry}`: input `{input}` holds {got} bytes, but its shape asks for {expected}")]
    InputBytes { entry: String, input: String, expected: usize, got: usize },
    #[error("{file}:{line}: {message}")]
    Guard { message: String, file: String, line: u32 },
    #[error("`{entry}`: {message}")]
    Dim { entry: String, message: String },
    #[error("`{entry}` would take {} of memory for this, and {} are allowed", size(*.bytes as u64), size(*.limit as u64))]
    TooLarge { entry: String, bytes: usize, limit: usize },
    /// The row of the data is there when it is known.
    #[error("{}", row.clone().unwrap_or_else(|| format!("{stray} in `{path}` ({file}:{line})")))]
    IndexOutOfRange { path: String, file: String, line: u32, stray: StrayIndex, row: Option<String> },
    #[error("no {what} is named `{name}`{}", known(.name, .candidates))]
    Unknown { what: &'static str, name: String, candidates: Vec<String> },
    /// The program itself contradicts its own contract: it is damaged, or its maker has a bug.
    #[error("the program is not sound: {0}")]
    Unsound(String),
    #[error("{}: {message}", file.display())]
    Damaged { file: PathBuf, message: String },
    /// Rows that cannot be what the spec says of them.
    #[error("data set `{set}`: {message}")]
    Data { set: String, message: String },
    #[error("tokenizer `{name}`: {message}")]
    Tokenizer { name: String, message: String },
    /// Files that must be there; the message says which ones to put where.
    #[error("{0}")]
    MissingData(String),
    /// What a `generate` item is given, or what its model says, leads to no text.
    #[error("{message}")]
    Generation { message: String },
    /// The model can take no more tokens, in its own words.
    #[error("{0}")]
    Full(Box<Error>),
    #[error("{}: {message}", file.display())]
    Weights { file: PathBuf, message: String },
    #[error("cannot go on from {}: {message}", file.display())]
    Resume { file: PathBuf, message: String },
    #[error("{} holds no checkpoint of a run to go on with", folder.display())]
    NoRun { folder: PathBuf },
    #[error("another process is training in {}; choose another folder with --out", folder.display())]
    Busy { folder: PathBuf },
    #[error("training `{training}`: {message}")]
    Training { training: String, message: String },
    /// The step that made it so is there when it was looked for.
    #[error("{what} after batch {batch} of epoch {epoch}; what was saved before is kept")]
    NonFinite { what: String, epoch: usize, batch: usize, step: Option<Box<FailedStep>> },
    #[error("cannot {action} {}: {}", path.display(), plain(.source))]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the data take more than {} of memory, and the rest cannot be written to {}: {}; make room there, name another folder with \
         WEFT_CACHE, or allow more memory with --data-memory", size(*.limit), folder.display(), plain(.source)
    )]
    Spill { folder: PathBuf, limit: u64, source: io::Error },
    #[error("this program was compiled for another machine: {0}")]
    Target(String),
    /// What a GPU cannot do, or that there is none, with a way out.
    #[error("{0}")]
    Device(String),
    /// What is larger than a kernel's numbers, or than a grid.
    #[error(
        "{file}:{line}: `{path}` {message}; make batches smaller, or run it on this processor (--device cpu)"
    )]
    DeviceSize { path: String, file: String, line: u32, message: String },
    #[error(
        "{name} has no {} of memory left ({} of {} are free); make batches smaller, or end other programs that use it",
        size(*.bytes as u64), size(*.free as u64), size(*.total as u64)
    )]
    DeviceMemory { name: String, bytes: usize, free: usize, total: usize },
    #[error("cannot get {bytes} bytes of memory: {}", plain(.source))]
    Memory { bytes: usize, source: io::Error },
    #[error(
        "the memory that this model was given is too small: {wanted} more bytes are needed, {left} are left; give what is asked for at the \
         largest sizes of its calls"
    )]
    GivenMemory { wanted: usize, left: usize },
    #[error("cannot start a thread: {}", plain(.0))]
    Thread(io::Error),
}

/// A run of an entry that can be repeated.
#[derive(Clone, Debug)]
pub struct FailedStep {
    pub entry: String,
    /// By name, in the entry's order.
    pub inputs: Vec<(String, Tensor)>,
    /// All variables by path, as they were before.
    pub variables: Vec<(String, Tensor)>,
}

/// An index that names no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrayIndex {
    pub index: i32,
    /// Its place among so many indices.
    pub place: usize,
    pub count: usize,
    /// How many rows there are to name.
    pub rows: usize,
}

/// `the index 12 (number 5 of 64) is not within 0 to 9`
impl std::fmt::Display for StrayIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StrayIndex { index, place, count, rows } = self;
        write!(f, "the index {index} (number {} of {count}) ", place + 1)?;
        match rows {
            0 => write!(f, "names nothing: there are no rows"),
            rows => write!(f, "is not within 0 to {}", rows - 1),
        }
    }
}

impl Error {
    pub fn class(&self) -> Class {
        match self {
            // A file that is not there was named wrongly; one that cannot be read or written is the machine's business.
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Class::Input,
            Error::File { action: "read", source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                Class::Input
            }
            Error::File { .. }
            | Error::Target(_)
            | Error::Device(_)
            | Error::DeviceMemory { .. }
            | Error::DeviceSize { .. }
            | Error::Memory { .. }
            | Error::GivenMemory { .. }
            | Error::Spill { .. }
            | Error::Thread(_) => Class::Environment,
            _ => Class::Input,
        }
    }

    pub(crate) fn damaged(file: &Path, message: impl Into<String>) -> Error {
        Error::Damaged { file: file.to_path_buf(), message: message.into() }
    }

    /// For `map_err`: an operating system's error with what was being done to which file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::File { action, path, source }
    }
}

/// What else there is: the one that was probably meant, or else all.
fn known(name: &str, candidates: &[String]) -> String {
    match nearest(name, candidates.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if candidates.is_empty() => String::new(),
        None => format!("; known: {}", candidates.join(", ")),
    }
}

/// The most similar name, when it is similar enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|&(similarity, _)| similarity > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A number of bytes in the largest unit that leaves it whole.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 10 << 20 => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

/// The system's words without its error number, to stand inside a sentence: `no space left on device`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_gets_its_neighbour_or_all() {
        let message = |name: &str| {
            let candidates = vec!["train.step".to_string(), "predict.digit".to_string()];
            Error::Unknown { what: "entry", name: name.into(), candidates }.to_string()
        };
        assert_eq!(message("train.stop"), "no entry is named `train.stop`; did you mean `train.step`?");
        assert_eq!(message("x"), "no entry is named `x`; known: train.step, predict.digit");
    }

    #[test]
    fn the_machines_failures_are_not_the_users() {
        let file = |kind: io::ErrorKind| Error::file("read", Path::new("x"))(kind.into()).class();
        assert_eq!(file(io::ErrorKind::NotFound), Class::Input);
        assert_eq!(file(io::ErrorKind::StorageFull), Class::Environment);
        assert_eq!(file(io::ErrorKind::PermissionDenied), Class::Environment);
        assert_eq!(Error::Unsound(String::new()).class(), Class::Input);
    }
}
