//! The cache: columns that were dear to make, as files that are mapped, so that a second run starts at once and an epoch may be larger
//! than memory.
//!
//! An entry is a folder: files of bytes, and `table.json`, which says what was read (paths, sizes, times, options), so that
//! changed data is read anew. It is made beside its place and renamed, so that it is whole or not there; what a process left half made
//! when it died is removed by the next one that makes something. How much all entries take is bounded ([`room`]). Whoever can keep the bytes
//! in memory does so where something goes wrong here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use flate2::Crc;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::room;

/// What does not belong to an entry is from another version, and made anew.
const VERSION: u32 = 2;
const TABLE: &str = "table.json";
/// Locked by the process that makes the entry.
const LOCK: &str = "lock";
/// Files up to this size are checked whole when they are opened; of larger ones only the length.
const CHECKED: u64 = 1 << 30;

/// The user's cache folder: `WEFT_CACHE`, else the system's place for caches; none where there is no such place, or where
/// `WEFT_CACHE` is empty.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(given) = folder("WEFT_CACHE") {
        return (!given.as_os_str().is_empty()).then_some(given);
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = folder("XDG_CACHE_HOME").filter(absolute);
    let base = base.or_else(|| folder("LOCALAPPDATA").filter(absolute));
    let base = base.or_else(|| folder("HOME").filter(absolute).map(|home| home.join(".cache")));
    base.map(|base| base.join("weft"))
}

/// The place of something in the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    folder: PathBuf,
    key: String,
    /// It stays when the process ends.
    kept: bool,
}

/// What `table.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    key: String,
    /// Length and check sum of each file.
    files: Vec<(u64, u32)>,
    /// What the maker wrote about it.
    about: serde_json::Value,
}

impl Entry {
    /// What is made by `how` from some files; none where there is no cache or a file cannot be looked at.
    pub fn of(root: Option<PathBuf>, how: &str, files: &[PathBuf]) -> Option<Entry> {
        let mut key = how.to_owned();
        let mut name = Hash::new(how.as_bytes());
        for file in files {
            let path = fs::canonicalize(file).ok()?;
            let about = fs::metadata(&path).ok()?;
            let time = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            key += &format!("\n{} {} {}", path.display(), about.len(), time.as_nanos());
            name.add(path.as_os_str().as_encoded_bytes());
        }
        // The name is that of the files whatever they hold, so that an entry that is no longer true makes room for its successor.
        Some(Entry { folder: root?.join("data").join(format!("{:016x}", name.0)), key, kept: true })
    }

    /// A place for files that go with the process.
    pub fn without_name() -> Entry {
        Entry { folder: std::env::temp_dir().join("weft-data").join("rows"), key: String::new(), kept: false }
    }

    /// Where entries lie.
    pub fn parent(&self) -> PathBuf {
        self.folder.parent().unwrap_or(&self.folder).to_path_buf()
    }

    /// The files of an entry and what is written about them; none when it is not there, not true any more, or damaged.
    pub fn open(&self) -> Option<(Vec<Mmap>, serde_json::Value)> {
        let text = fs::read(self.folder.join(TABLE)).ok()?;
        let contents: Contents = serde_json::from_slice(&text).ok()?;
        if contents.version != VERSION || contents.key != self.key {
            return None;
        }
        let mut maps = Vec::new();
        for (number, (length, sum)) in contents.files.iter().enumerate() {
            let map = map(&self.folder.join(file_name(number))).ok()?;
            let checked = *length > CHECKED || check_sum(&map) == *sum;
            if map.len() as u64 != *length || !checked {
                return None;
            }
            maps.push(map);
        }
        room::used(&self.folder.join(TABLE));
        Some((maps, contents.about))
    }

    /// Begins to make the entry.
    pub fn stage(&self) -> io::Result<Staging> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut name = self.folder.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}-{}.tmp", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let folder = self.folder.with_file_name(name);
        remove_abandoned(&self.parent());
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        // Where files cannot be locked, nothing is taken for abandoned either.
        let _ = lock.try_lock();
        Ok(Staging { entry: self.clone(), folder, _lock: lock })
    }
}

/// An entry in the making; it is taken away again unless it is finished.
#[derive(Debug)]
pub struct Staging {
    entry: Entry,
    folder: PathBuf,
    _lock: File,
}

impl Staging {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, number: usize) -> PathBuf {
        self.folder.join(file_name(number))
    }

    /// Puts the entry into its place, and gives its files. All of them were written and closed.
    pub fn finish(self, count: usize, about: serde_json::Value) -> io::Result<Vec<Mmap>> {
        let mut maps = Vec::with_capacity(count);
        for number in 0..count {
            maps.push(map(&self.path(number))?);
        }
        if !self.entry.kept {
            return Ok(maps);
        }
        let mut files = Vec::new();
        for (number, map) in maps.iter().enumerate() {
            File::open(self.path(number))?.sync_all()?;
            files.push((map.len() as u64, if map.len() as u64 > CHECKED { 0 } else { check_sum(map) }));
        }
        let contents = Contents { version: VERSION, key: self.entry.key.clone(), files, about };
        let mut file = File::create(self.folder.join(TABLE))?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        let _ = fs::remove_file(self.folder.join(LOCK));
        if let Err(error) = fs::rename(&self.folder, &self.entry.folder) {
            // Something stands in its place: what is no longer true, or what another process made meanwhile.
            let old = self.folder.with_extension("old");
            if fs::rename(&self.entry.folder, &old).is_err() {
                return Err(error);
            }
            let renamed = fs::rename(&self.folder, &self.entry.folder);
            let _ = fs::remove_dir_all(&old);
            renamed?;
        }
        room::make(&self.entry.parent(), TABLE, &self.entry.folder, room::limit());
        Ok(maps)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Once it was finished, it is not there any more.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes what processes that are gone have left half made.
fn remove_abandoned(folder: &Path) {
    for staging in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = staging.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let abandoned = |lock: io::Result<File>| lock.is_ok_and(|lock| lock.try_lock().is_ok());
        if name.ends_with(".old") || (name.ends_with(".tmp") && abandoned(File::open(staging.join(LOCK)))) {
            let _ = fs::remove_dir_all(&staging);
        }
    }
}

fn file_name(number: usize) -> String {
    format!("{number}.column")
}

/// Maps a file of the cache.
pub fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: only Weft writes to its cache, and it never changes a file that is in its place there.
    unsafe { Mmap::map(&file) }
}

fn check_sum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// FNV-1a, of 64 bits.
struct Hash(u64);

impl Hash {
    fn new(bytes: &[u8]) -> Hash {
        let mut hash = Hash(0xcbf2_9ce4_8422_2325);
        hash.add(bytes);
        hash
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    #[test]
    fn an_entry_is_true_until_its_files_change() {
        let (folder, root) = (Folder::new(), Folder::new());
        let source = folder.file("rows.csv", b"a\n1\n");
        let entry =
            || Entry::of(Some(root.path().to_path_buf()), "csv", std::slice::from_ref(&source)).unwrap();
        assert!(entry().open().is_none());
        for content in [b"one", b"two"] {
            let staging = entry().stage().unwrap();
            fs::write(staging.path(0), content).unwrap();
            let made = staging.finish(1, serde_json::json!({ "rows": 3 })).unwrap();
            assert_eq!(&made[0][..], content);
            let (maps, about) = entry().open().unwrap();
            assert_eq!((&maps[0][..], about["rows"].as_u64()), (&content[..], Some(3)));
        }
        assert_eq!(fs::read_dir(root.path().join("data")).unwrap().count(), 1);
        assert!(
            Entry::of(Some(root.path().to_path_buf()), "tsv", std::slice::from_ref(&source))
                .unwrap()
                .open()
                .is_none()
        );
        folder.file("rows.csv", b"a\n12\n");
        assert!(entry().open().is_none());
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_makes_is_not() {
        let (folder, root) = (Folder::new(), Folder::new());
        let source = folder.file("rows.csv", b"a\n1\n");
        let entry = Entry::of(Some(root.path().to_path_buf()), "csv", &[source]).unwrap();
        let living = entry.stage().unwrap();
        // Nobody holds the lock of this one.
        let dead = entry.parent().join("0123.1-0.tmp");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        fs::write(dead.join("0.column"), b"bytes").unwrap();
        let other = entry.stage().unwrap();
        assert!(!dead.exists() && living.folder().exists() && other.folder().exists());
        fs::write(living.path(0), b"bytes").unwrap();
        living.finish(1, serde_json::Value::Null).unwrap();
        assert!(entry.open().is_some());
    }

    #[test]
    fn files_without_a_name_outlive_their_folder() {
        let staging = Entry::without_name().stage().unwrap();
        let folder = staging.folder().to_path_buf();
        fs::write(staging.path(0), b"bytes").unwrap();
        let maps = staging.finish(1, serde_json::Value::Null).unwrap();
        assert!(!folder.exists());
        assert_eq!(&maps[0][..], b"bytes");
    }

    #[test]
    fn what_is_damaged_or_unfinished_is_not_there() {
        let (folder, root) = (Folder::new(), Folder::new());
        let source = folder.file("rows.csv", b"a\n1\n");
        let entry = Entry::of(Some(root.path().to_path_buf()), "csv", &[source]).unwrap();
        let staging = entry.stage().unwrap();
        fs::write(staging.path(0), b"bytes").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(root.path().join("data")).unwrap().count(), 0);
        let staging = entry.stage().unwrap();
        fs::write(staging.path(0), b"bytes").unwrap();
        staging.finish(1, serde_json::Value::Null).unwrap();
        assert!(entry.open().is_some());
        for damaged in [&b"bytez"[..], b"byte", b""] {
            fs::write(entry.folder.join("0.column"), damaged).unwrap();
            assert!(entry.open().is_none());
        }
        fs::write(entry.folder.join(TABLE), b"{").unwrap();
        assert!(entry.open().is_none());
    }
}
