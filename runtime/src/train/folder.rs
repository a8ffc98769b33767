//! The folder of a run: one run at a time, and no run lost by accident.
//!
//! Whoever trains anew where a run was left unfinished moves that run aside (`runs/mnist.1`), unless he says that it may go. A
//! finished run gives way: its weights are replaced as the new ones come.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::point::Point;
use super::{Event, Observer};
use crate::error::{Error, Result};
use crate::io;

/// A file that is locked while a run is in the folder.
const LOCK: &str = ".lock";

/// A run's folder, for this process alone.
#[derive(Debug)]
pub struct Folder {
    /// The system gives the lock back when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Takes the folder for a new run.
    pub fn for_new(path: &Path, fresh: bool, observer: &mut dyn Observer) -> Result<Folder> {
        let folder = Folder::take(path)?;
        let unfinished = match checkpoint::peek(path) {
            Ok(found) => found.is_some_and(|(_, state)| state.end.is_none()),
            // Whatever cannot be read may be worth something.
            Err(_) => true,
        };
        if !unfinished || fresh {
            for (_, file) in checkpoint::list(path)? {
                io::remove(&file)?;
            }
            return Ok(folder);
        }
        let aside = aside(path);
        fs::rename(path, &aside).map_err(Error::file("move the unfinished run aside from", path))?;
        let text = format!(
            "an unfinished run was in {}; it is in {} now (go on with it by --resume {})",
            path.display(),
            aside.display(),
            aside.display()
        );
        observer.event(&Event::Note { text: &text });
        Folder::take(path)
    }

    /// Takes the folder of a run that goes on from one of its checkpoints. Later ones, which could not be read, are set aside.
    pub fn for_old(path: &Path, from: Point) -> Result<Folder> {
        let folder = Folder::take(path)?;
        for (_, file) in checkpoint::list(path)?.into_iter().filter(|(point, _)| *point > from) {
            let damaged = file.with_extension("damaged");
            fs::rename(&file, &damaged).map_err(Error::file("rename", &file))?;
        }
        Ok(folder)
    }

    /// Makes the folder where it is not there, and locks it.
    fn take(path: &Path) -> Result<Folder> {
        fs::create_dir_all(path).map_err(Error::file("make the folder", path))?;
        let name = path.join(LOCK);
        let lock = File::create(&name).map_err(Error::file("write", &name))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { folder: path.to_path_buf() }),
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => {
                sweep(path);
                sweep(&path.join(checkpoint::FOLDER));
                Ok(Folder { _lock: lock })
            }
        }
    }
}

/// Whether two paths lead to one folder.
pub fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Takes away what a process that was killed while it wrote has left. What stays does no harm.
fn sweep(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    for left in entries.filter(|path| path.extension().is_some_and(|end| end == "tmp")) {
        let _ = fs::remove_file(left);
    }
}

/// The first free name of `runs/mnist.1`, `runs/mnist.2`, …
fn aside(path: &Path) -> PathBuf {
    let mut number = 1usize;
    loop {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{number}"));
        let path = PathBuf::from(name);
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}
