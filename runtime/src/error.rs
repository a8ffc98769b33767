//! Everything that can go wrong while a program runs, as one type.
//!
//! Each error has a [`Class`], from which the command line takes its exit code: either what was given is wrong (a file, a
//! shape, a name), or the machine failed us (no memory, a full disk, a processor that lacks instructions).

use std::io;
use std::path::{Path, PathBuf};

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
    #[error("an index is out of range in `{path}` ({file}:{line})")]
    IndexOutOfRange { path: String, file: String, line: u32 },
    #[error("no {what} is named `{name}`{}", known(.candidates))]
    Unknown { what: &'static str, name: String, candidates: Vec<String> },
    /// The program itself contradicts its own contract: it is damaged, or its maker has a bug.
    #[error("the program is not sound: {0}")]
    Unsound(String),
    #[error("{}: {message}", file.display())]
    Damaged { file: PathBuf, message: String },
    /// Files that must be there; the message says which ones to put where.
    #[error("{0}")]
    MissingData(String),
    #[error("{}: {message}", file.display())]
    Weights { file: PathBuf, message: String },
    #[error("training `{training}`: {message}")]
    Training { training: String, message: String },
    #[error("the loss is {value} after batch {batch} of epoch {epoch}; what was saved before is kept")]
    NonFinite { value: f32, epoch: usize, batch: usize },
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("this program was compiled for another machine: {0}")]
    Target(String),
    #[error("cannot get {bytes} bytes of memory: {source}")]
    Memory { bytes: usize, source: io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl Error {
    pub fn class(&self) -> Class {
        match self {
            // A file that is not there was named wrongly; one that cannot be read or written is the machine's business.
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Class::Input,
            Error::File { .. } | Error::Target(_) | Error::Memory { .. } | Error::Thread(_) => {
                Class::Environment
            }
            _ => Class::Input,
        }
    }

    pub(crate) fn damaged(file: &Path, message: impl Into<String>) -> Error {
        Error::Damaged { file: file.to_path_buf(), message: message.into() }
    }

    /// For `map_err`: an operating system's error with what was being done to which file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::File { action, path, source }
    }
}

fn known(candidates: &[String]) -> String {
    match candidates {
        [] => String::new(),
        names => format!("; known: {}", names.join(", ")),
    }
}
