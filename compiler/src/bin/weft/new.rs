//! `weft new`: a commented spec to start from, with data that it trains on at once.
//!
//! The starters lie in `specs/new/` and name themselves `starter.weft`; another family is another file and another row of
//! [`STARTERS`]. What they learn from is in the repository and in the command too, so that an empty folder is enough.

use crate::args::New;
use crate::failure::Failure;
use crate::output;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::path::Path;
use weft_runtime::error::plain;

/// A family of models: its spec, and what that learns from.
pub struct Starter {
    pub family: &'static str,
    spec: &'static str,
    data: &'static Shipped,
}

/// Files that a starter learns from.
struct Shipped {
    /// Where its specs look for them.
    folder: &'static str,
    what: &'static str,
    /// (file name, bytes)
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! starter {
    ($family:literal, $data:expr) => {
        Starter {
            family: $family,
            spec: include_str!(concat!("../../../../specs/new/", $family, ".weft")),
            data: $data,
        }
    };
}

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../../specs/", $folder, "/", $name)))),*]
    };
}

pub const STARTERS: &[Starter] = &[
    starter!("cnn", &DIGITS),
    starter!("mlp", &DIGITS),
    starter!("autoencoder", &DIGITS),
    starter!("gan", &DIGITS),
    starter!("lstm", &DIGITS),
    starter!("transformer", &GENESIS),
];

const DIGITS: Shipped = Shipped {
    folder: "data/mnist",
    what: "10,000 handwritten digits (1.6 MB)",
    files: files!(
        "data/mnist": "README.md",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "validation-images-idx3-ubyte.gz",
        "validation-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ),
};

const GENESIS: Shipped = Shipped {
    folder: "data/genesis",
    what: "the book of Genesis in English (0.2 MB)",
    files: files!("data/genesis": "README.md", "genesis.txt"),
};

pub fn run(args: &New) -> Result<(), Failure> {
    let Some(starter) = STARTERS.iter().find(|starter| starter.family == args.family) else {
        return Err(Failure::usage(format!("there is no starter `{}`", args.family)));
    };
    let given = args.name.to_string_lossy();
    let stem = given.rsplit(['/', '\\']).next().unwrap_or(&given);
    let stem = stem.strip_suffix(".weft").unwrap_or(stem);
    let sound = stem.starts_with(|c: char| c.is_alphabetic())
        && stem.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !sound {
        return Err(Failure::usage(format!("`{stem}` is no name for a spec"))
            .help("a name starts with a letter and goes on with letters, digits, `_` and `-`"));
    }
    let folder = args.name.parent().unwrap_or(Path::new(""));
    let spec = folder.join(format!("{stem}.weft"));
    let shown = spec.display().to_string();
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    }
    let text =
        starter.spec.replace("runs/starter/", &format!("runs/{stem}/")).replace("starter.weft", &shown);
    match create(&spec, text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::input(format!("{shown} is there already, and stays as it is"))
                .help("give another name, or remove the file first"));
        }
        Err(error) => return Err(failed(&spec, &error)),
    }
    let data = folder.join(starter.data.folder);
    let written = ship(starter.data, &data)?;
    if args.json {
        output::json(&json!({ "spec": shown, "data": data.display().to_string(), "data_written": written }));
        return Ok(());
    }
    output::line(&format!("{shown}: a spec to start from ({})", args.family));
    if written {
        output::line(&format!("{}: {}", data.display(), starter.data.what));
    }
    output::line(&format!("\nTrain it with:  weft train {shown}"));
    Ok(())
}

/// Writes the files into the folder, unless it holds data already; whatever is there stays.
fn ship(data: &Shipped, folder: &Path) -> Result<bool, Failure> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(false);
    }
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for (name, bytes) in data.files {
        let path = folder.join(name);
        create(&path, bytes).map_err(|error| failed(&path, &error))?;
    }
    Ok(true)
}

/// Writes a file that is not there yet.
fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::File::create_new(path)?.write_all(bytes)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {}", path.display(), plain(error)))
}
