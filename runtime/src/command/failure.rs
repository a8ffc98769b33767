//! Why a command ended early, and the exit code that says so to scripts.

use std::fmt;

use crate::error::{self, Error, plain};

/// The exit codes of `weft` and of executables, fixed for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// The spec, the data, the weights or another input is wrong.
    Input = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The machine failed: no space, no permission, no such device.
    Environment = 3,
    /// All is well but the result, which is worse than what was asked for allows.
    Refused = 4,
}

#[derive(Debug)]
pub struct Failure {
    pub class: Class,
    /// What went wrong; empty when it has been reported already.
    pub message: String,
    /// A way out, when there is one to name.
    pub help: Option<String>,
}

impl Failure {
    pub fn input(message: impl Into<String>) -> Failure {
        Failure { class: Class::Input, message: message.into(), help: None }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { class: Class::Usage, message: message.into(), help: None }
    }

    pub fn environment(message: impl Into<String>) -> Failure {
        Failure { class: Class::Environment, message: message.into(), help: None }
    }

    pub fn refused(message: impl Into<String>) -> Failure {
        Failure { class: Class::Refused, message: message.into(), help: None }
    }

    /// The cause was printed already, as diagnostics.
    pub fn reported() -> Failure {
        Failure::input("")
    }

    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// What ended a generation. Where the model's memory is full, fewer tokens are a way out.
    pub fn writing(error: Error) -> Failure {
        let full = matches!(error, Error::Full(_));
        let failure = Failure::from(error);
        if full {
            failure
                .help("the model may take no more tokens: write fewer with --max N, or give a shorter text")
        } else {
            failure
        }
    }

    /// A file that could not be read: missing is the input's fault, anything else the machine's.
    pub fn reading(path: &std::path::Path, error: &std::io::Error) -> Failure {
        let message = format!("cannot read {}: {}", path.display(), plain(error));
        match error.kind() {
            std::io::ErrorKind::NotFound
            | std::io::ErrorKind::IsADirectory
            | std::io::ErrorKind::InvalidData => Failure::input(message),
            _ => Failure::environment(message),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.class() {
            error::Class::Input => Failure::input(error.to_string()),
            error::Class::Environment => Failure::environment(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}
