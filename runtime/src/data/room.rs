//! The room that data in the cache may take. What nobody has used for the longest time makes way for what is new.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::memory::bytes;

/// How the environment says how large the cache may become.
pub const CACHE_SIZE: &str = "WEFT_CACHE_SIZE";
/// Where it doesn't.
const USUAL: u64 = 20 << 30;

/// Bytes that the entries of the cache may take: `WEFT_CACHE_SIZE`, else 20 GiB.
pub fn limit() -> u64 {
    std::env::var(CACHE_SIZE).ok().and_then(|text| bytes(&text).ok()).unwrap_or(USUAL)
}

/// Notes that an entry is used now: its file `about` bears the time. Where that cannot be written, it counts as used when it was made.
pub fn used(about: &Path) {
    let file = File::options().append(true).open(about);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

/// Removes entries of a folder until they take no more than `limit`, the one first whose file `about` is the oldest. `new` stays, however
/// large it is. What another process has mapped stays readable for it.
pub fn make(folder: &Path, about: &str, new: &Path, limit: u64) {
    let mut entries: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        // What is being made has none yet, or bears another name.
        let made = fs::metadata(entry.join(about)).and_then(|about| about.modified());
        if let (Ok(time), None) = (made, entry.extension()) {
            let size = size(&entry);
            entries.push((time, entry, size));
        }
    }
    entries.sort_by_key(|(time, path, _)| Reverse((path == new, *time)));
    let mut taken = 0u64;
    for (place, (_, path, size)) in entries.iter().enumerate() {
        taken = taken.saturating_add(*size);
        if place > 0 && taken > limit {
            // Under this name nobody opens it any more, and should this process die now, the next one removes it.
            let old = path.with_extension("old");
            if fs::rename(path, &old).is_ok() {
                let _ = fs::remove_dir_all(&old);
            }
        }
    }
}

/// Bytes of the files of a folder.
fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;
    use std::time::Duration;

    #[test]
    fn what_was_used_last_stays() {
        let folder = Folder::new();
        let entry = |name: &str, bytes: usize, age: u64| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("0.column"), vec![0; bytes]).unwrap();
            let about = File::create(path.join("about")).unwrap();
            about.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            path
        };
        let (old, older) = (entry("old", 100, 50), entry("older", 100, 90));
        let (new, making) = (entry("new", 100, 10), entry("making.1-0.tmp", 1000, 99));
        let there = || [&old, &older, &new, &making].map(|path| path.exists());
        make(folder.path(), "about", &new, 300);
        assert_eq!(there(), [true; 4]);
        used(&older.join("about"));
        make(folder.path(), "about", &new, 299);
        assert_eq!(there(), [false, true, true, true]);
        // The new one is too large for all others, and stays.
        make(folder.path(), "about", &new, 50);
        assert_eq!(there(), [false, false, true, true]);
    }
}
