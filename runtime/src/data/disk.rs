//! A file that is read in place: the user's own, or one of the cache in the making.
//!
//! It is read, not mapped: whatever happens to it meanwhile is an error with its name, never a signal.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

pub struct Disk {
    file: File,
    path: PathBuf,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.path.display())
    }
}

impl Disk {
    pub fn open(path: &Path) -> Result<Disk> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        Ok(Disk { file, path: path.to_path_buf() })
    }

    /// A new file.
    pub fn create(path: &Path) -> io::Result<Disk> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Disk { file, path: path.to_path_buf() })
    }

    pub fn write(&self, start: u64, bytes: &[u8]) -> io::Result<()> {
        write_at(&self.file, bytes, start)
    }

    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    /// Appends so many bytes from a place on.
    pub fn read(&self, start: u64, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        out.resize(from + count, 0);
        read_at(&self.file, &mut out[from..], start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::damaged(&self.path, "the file became shorter while it was read")
            }
            _ => Error::file("read", &self.path)(error),
        })
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, start)
}

#[cfg(windows)]
fn read_at(file: &File, mut out: &mut [u8], mut start: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, start)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                start += count as u64;
                out = &mut out[count..];
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, start)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, start)?;
        start += count as u64;
        bytes = &bytes[count..];
    }
    Ok(())
}
