//! Files in and out: `.npy` and `.png` for single tensors, safetensors for weights (and HDF5 for those that Keras wrote), event
//! files for TensorBoard.
//!
//! Files are written whole or not at all: to a temporary file in the same folder, flushed to the disk, then renamed. What a
//! header claims is checked against the file's size before anything is allocated.

#[cfg(feature = "train")]
pub mod events;
pub(crate) mod failpoint;
#[cfg(feature = "train")]
pub mod hdf5;
pub mod image;
#[cfg(feature = "train")]
mod keras;
pub mod npy;
pub mod png;
pub mod resize;
#[cfg(feature = "train")]
pub mod stored;
pub mod weights;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file("read", path))
}

/// The text of a file, which must be UTF-8; a mark of its byte order is no part of it.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::damaged(path, "this file is UTF-16; save it as UTF-8"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            Err(Error::damaged(path, format!("line {line}: byte {at} is no UTF-8; save the file as UTF-8")))
        }
    }
}

/// Maps a file that is only read, to be looked at here and there.
pub fn map(path: &Path) -> Result<Mmap> {
    let mapped = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        // SAFETY: the map is private and never written to. Who cuts or changes the file while weights are taken from it breaks
        // its own reading; nobody does so with a file of weights, and what is changed here is replaced as a whole, by renaming.
        unsafe { Mmap::map(&file) }
    });
    mapped.map_err(Error::file("read", path))
}

/// Replaces a file's content at once: whoever reads sees the old or the new bytes, also after a crash. A link stays one, and what it leads to is
/// written; what is no file, such as a pipe or a device, is written into.
pub fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    if is_stream(path) {
        return write_into(path, parts).map_err(Error::file("write", path));
    }
    let path = &behind_links(path);
    let temporary = temporary_name(path);
    let written = write_parts(&temporary, parts).and_then(|()| {
        failpoint::reach("rename")?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error that counts is the first one; the temporary file may not even exist.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Error::file("write", path))?;
    // The rename itself is only safe once the folder is on the disk. Not every file system lets a folder be synchronised.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        && let Ok(folder) = File::open(folder)
    {
        failpoint::reach("folder").map_err(Error::file("write", path))?;
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The same for a file that can be run.
pub fn write_executable(path: &Path, parts: &[&[u8]]) -> Result<()> {
    write_atomically(path, parts)?;
    #[cfg(unix)]
    if !is_stream(path) {
        use std::os::unix::fs::PermissionsExt;
        let mut mode = fs::metadata(path).map_err(Error::file("write", path))?.permissions();
        // Whoever may read it may run it.
        mode.set_mode(mode.mode() | (mode.mode() & 0o444) >> 2);
        fs::set_permissions(path, mode).map_err(Error::file("write", path))?;
    }
    Ok(())
}

/// Removes a file that is no longer needed.
pub fn remove(path: &Path) -> Result<()> {
    failpoint::reach("remove").and_then(|()| fs::remove_file(path)).map_err(Error::file("remove", path))
}

/// Is this a pipe, a device or the like: something that takes bytes, and is no place for a file?
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|known| !known.is_file() && !known.is_dir())
}

/// Where links lead, of which the last may lead to a file that is not there yet.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // Links that lead in a circle lead nowhere; one of them gives way to the file.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => break,
        }
    }
    path
}

fn write_into(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut stream = File::options().write(true).open(path)?;
    parts.iter().try_for_each(|part| {
        failpoint::reach("write")?;
        stream.write_all(part)
    })
}

fn write_parts(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    failpoint::reach("create")?;
    let mut file = File::create(path)?;
    for part in parts {
        failpoint::reach("write")?;
        file.write_all(part)?;
    }
    failpoint::reach("sync")?;
    file.sync_all()
}

/// A name beside the target that no other process uses.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of its own for a test, removed when dropped.
    #[derive(Debug)]
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Folder {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("weft-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }

        pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Folder;
    use super::*;
    use crate::error::Class;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = Folder::new();
        let path = folder.file("weights", b"old");
        write_atomically(&path, &[b"ne", b"w"]).unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_a_pipe_is_written_into() {
        use std::os::unix::fs::symlink;
        let folder = Folder::new();
        let (real, absent) = (folder.file("real", b"old"), folder.path().join("absent"));
        let (link, hanging) = (folder.path().join("link"), folder.path().join("hanging"));
        symlink("real", folder.path().join("between")).unwrap();
        symlink("between", &link).unwrap();
        symlink(&absent, &hanging).unwrap();
        for (link, target) in [(&link, &real), (&hanging, &absent)] {
            write_executable(link, &[b"new"]).unwrap();
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            assert_eq!(read(target).unwrap(), b"new");
        }
        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        write_atomically(&circle, &[b"new"]).unwrap();
        assert_eq!(read(&circle).unwrap(), b"new");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_written_into() {
        use std::io::Read;
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = std::io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        write_executable(&path, &[b"ne", b"w"]).unwrap();
        drop(writer);
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        assert_eq!(written, "new");
    }

    #[test]
    fn a_target_that_cannot_be_written_is_named_and_left_alone() {
        let folder = Folder::new();
        // A folder in the file's place: the rename fails, whoever runs the test.
        let path = folder.path().join("weights");
        fs::create_dir(&path).unwrap();
        folder.file("weights/inside", b"kept");
        let error = write_atomically(&path, &[b"new"]).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read(&path.join("inside")).unwrap(), b"kept");
    }

    #[test]
    fn a_file_that_is_not_there_is_the_users_mistake() {
        let error = read(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.class(), Class::Input);
        assert!(error.to_string().starts_with("cannot read /nonexistent/file: "));
    }
}
