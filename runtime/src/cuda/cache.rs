//! What NVRTC compiled, kept on disk, so that a program that was run before starts at once.
//!
//! An image is a file in the folder `cuda` of the user's cache, called by the SHA-256 of all that it follows from: source, architecture, options and
//! NVRTC's version. Files are put in their place as a whole, and have a checksum; one that is damaged is as good as none, and is written anew.
//! Those that nobody has used for the longest time go when there are too many. Nothing here ever fails: without a place to write to, each start
//! compiles.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::nvrtc::Compiled;
use crate::data;

/// What begins otherwise is from another version.
const MAGIC: [u8; 8] = *b"weftcu\x00\x01";
/// Bytes that all images may take: thousands of kernels, and little beside the data of the same cache.
const MOST: u64 = 1 << 30;
/// When a file is used, its time is only noted where it is older than this.
const FRESH: Duration = Duration::from_secs(3600);

/// Where compiled kernels are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    limit: u64,
}

/// What an image follows from.
#[derive(Clone, Debug)]
pub(super) struct Key(String);

impl Key {
    pub fn of(parts: &[&str]) -> Key {
        let mut sum = Sha256::new();
        for part in parts {
            // No two lists of parts are the same bytes.
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        }
        Key(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Cache {
    /// The user's: in [`data::cache_folder`], and no larger than what `WEFT_CACHE_SIZE` allows data.
    pub fn of_user() -> Cache {
        let folder = data::cache_folder().map(|folder| folder.join("cuda"));
        Cache { folder, limit: MOST.min(data::cache_limit()) }
    }

    /// None: everything is compiled.
    pub const fn none() -> Cache {
        Cache { folder: None, limit: 0 }
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(&key.0))
    }

    pub(super) fn find(&self, key: &Key) -> Option<Compiled> {
        let path = self.path(key)?;
        let compiled = parse(&fs::read(&path).ok()?)?;
        let age = fs::metadata(&path).and_then(|about| about.modified()).ok()?.elapsed();
        if age.is_ok_and(|age| age > FRESH) {
            let file = File::options().append(true).open(&path);
            let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        }
        Some(compiled)
    }

    pub(super) fn keep(&self, key: &Key, compiled: &Compiled) {
        if let Some(path) = self.path(key) {
            let _ = write(&path, &encode(compiled));
        }
    }

    /// Removes the oldest files until all take no more than is allowed.
    pub(super) fn make_room(&self) {
        let Some(folder) = &self.folder else { return };
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Ok(about) = entry.metadata()
                && let Ok(time) = about.modified()
            {
                files.push((time, entry.path(), about.len()));
            }
        }
        let mut taken: u64 = files.iter().map(|(.., size)| size).sum();
        files.sort();
        for (_, path, size) in files {
            if taken <= self.limit {
                return;
            }
            if fs::remove_file(path).is_ok() {
                taken -= size;
            }
        }
    }
}

/// Puts a file in its place. What a crash leaves of it is found by its checksum, so nothing waits for the disk.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.tmp", process::id()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The mark, the length of the log, the log, the image, and a checksum of all that.
fn encode(compiled: &Compiled) -> Vec<u8> {
    let Compiled { bytes, log } = compiled;
    let mut file = Vec::with_capacity(MAGIC.len() + 8 + log.len() + bytes.len());
    file.extend(MAGIC);
    file.extend((log.len() as u32).to_le_bytes());
    file.extend(log.as_bytes());
    file.extend(bytes);
    file.extend(crc32c::crc32c(&file).to_le_bytes());
    file
}

fn parse(file: &[u8]) -> Option<Compiled> {
    let (content, sum) = file.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (length, rest) = content.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
    let (log, bytes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(Compiled { bytes: bytes.to_vec(), log: String::from_utf8(log.to_vec()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    fn compiled(size: usize) -> Compiled {
        Compiled { bytes: vec![7; size], log: "24 registers".into() }
    }

    fn cache(folder: &Folder, limit: u64) -> Cache {
        Cache { folder: Some(folder.path().join("deep/cuda")), limit }
    }

    #[test]
    fn what_is_kept_is_found_by_the_same_key_alone() {
        let folder = Folder::new();
        let cache = cache(&folder, MOST);
        let key = Key::of(&["sm_80", "kernel", "source"]);
        assert_eq!(cache.find(&key), None);
        cache.keep(&key, &compiled(100));
        assert_eq!(cache.find(&key), Some(compiled(100)));
        for other in
            [["sm_90a", "kernel", "source"], ["sm_80", "kernels", "ource"], ["sm_80", "kernel", "source "]]
        {
            assert_eq!(cache.find(&Key::of(&other)), None, "{other:?}");
        }
        cache.keep(&key, &compiled(3));
        assert_eq!(cache.find(&key), Some(compiled(3)));
        assert_eq!(fs::read_dir(folder.path().join("deep/cuda")).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_not_there_and_are_written_anew() {
        let folder = Folder::new();
        let cache = cache(&folder, MOST);
        let key = Key::of(&["source"]);
        cache.keep(&key, &compiled(20));
        let path = cache.path(&key).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(cache.find(&key), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            fs::write(&path, changed).unwrap();
            assert_eq!(cache.find(&key), None, "{at}");
        }
        cache.keep(&key, &compiled(20));
        assert_eq!(cache.find(&key), Some(compiled(20)));
    }

    #[test]
    fn what_was_used_last_stays() {
        let folder = Folder::new();
        let keys = ["old", "older", "new"].map(|name| Key::of(&[name]));
        let large = cache(&folder, MOST);
        for (key, hours) in keys.iter().zip([5, 9, 2]) {
            large.keep(key, &compiled(1000));
            let file = File::options().append(true).open(large.path(key).unwrap()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        }
        // The oldest is used once more.
        assert!(large.find(&keys[1]).is_some());
        let small = cache(&folder, 2100);
        small.make_room();
        assert_eq!(keys.each_ref().map(|key| small.find(key).is_some()), [false, true, true]);
        cache(&folder, 0).make_room();
        assert_eq!(keys.each_ref().map(|key| small.find(key).is_some()), [false; 3]);
    }

    #[test]
    fn a_place_that_takes_nothing_is_no_error() {
        let folder = Folder::new();
        // A file stands where the folder should be.
        let cache = Cache { folder: Some(folder.file("taken", b"").join("cuda")), limit: MOST };
        let key = Key::of(&["source"]);
        for cache in [cache, Cache::none()] {
            cache.keep(&key, &compiled(10));
            assert_eq!(cache.find(&key), None);
            cache.make_room();
        }
    }
}
