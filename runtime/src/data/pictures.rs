//! Pictures that are decoded in the background, in the order in which they are wanted.
//!
//! Threads decode them one by one, into memory or, where they are too large for that, into the file that will be theirs in the cache;
//! whoever reads a picture that is not there yet moves it to the front and waits. What a picture is depends on its file alone, so the
//! order of decoding changes no bit.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use memmap2::Mmap;

use super::cache::{Entry, Staging};
use super::disk::Disk;
use super::memory::Memory;
use crate::error::{Error, Result};
use crate::io::resize::resize;
use crate::io::{failpoint, image};

/// So many unreadable pictures are named at once.
const NAMED: usize = 8;

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const READY: u8 = 2;
const UNREADABLE: u8 = 3;

/// What a picture becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Size {
    fn bytes(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// The pictures of a folder.
pub struct Pictures {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    set: String,
    files: Vec<PathBuf>,
    size: Size,
    pixels: Pixels,
    states: Vec<AtomicU8>,
    work: Mutex<Work>,
    changed: Condvar,
    stop: AtomicBool,
}

struct Work {
    next: VecDeque<u32>,
    /// Pictures that are not decoded yet.
    left: usize,
    unreadable: Vec<(u32, String)>,
    /// Why there is no room for more of them, as the system says it.
    full: Option<io::ErrorKind>,
}

/// Where the decoded pictures are.
enum Pixels {
    /// Each in memory of its own; all of them go into the cache in the end.
    Memory(Vec<OnceLock<Box<[u8]>>>, Option<Entry>),
    /// In a file in the making, which becomes an entry of the cache once all are there.
    File { disk: Disk, staging: Mutex<Option<Staging>>, folder: PathBuf, limit: u64 },
    /// In the cache.
    Made(Mmap),
}

/// Why a picture is not there.
enum Trouble {
    Unreadable(String),
    Full(io::Error),
}

impl fmt::Debug for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pictures({} files)", self.shared.files.len())
    }
}

impl Pictures {
    /// The pictures of some files. What an earlier run left in the cache is taken from there.
    pub fn of(
        set: &str,
        files: Vec<PathBuf>,
        size: Size,
        memory: &Memory,
        entry: Option<Entry>,
    ) -> Result<Pictures> {
        let bytes = size.bytes().checked_mul(files.len()).ok_or_else(|| Error::Data {
            set: set.into(),
            message: "the pictures are larger than any file".into(),
        })?;
        let kept = entry.as_ref().and_then(Entry::open).and_then(|(maps, about)| {
            let map = maps.into_iter().next().filter(|map| map.len() == bytes)?;
            let unreadable: Vec<(u32, String)> = serde_json::from_value(about).ok()?;
            Some((map, unreadable))
        });
        let (pixels, unreadable, made) = match kept {
            Some((map, unreadable)) => (Pixels::Made(map), unreadable, true),
            None if memory.take(bytes as u64) => {
                let none = (0..files.len()).map(|_| OnceLock::new()).collect();
                (Pixels::Memory(none, entry), Vec::new(), false)
            }
            None => (Pixels::file(entry, memory)?, Vec::new(), false),
        };
        let states =
            (0..files.len()).map(|_| AtomicU8::new(if made { READY } else { WAITING })).collect::<Vec<_>>();
        for (row, _) in &unreadable {
            if let Some(state) = states.get(*row as usize) {
                state.store(UNREADABLE, Ordering::Relaxed);
            }
        }
        let left = if made { 0 } else { files.len() };
        let work = Work { next: (0..left as u32).collect(), left, unreadable, full: None };
        let shared = Shared {
            set: set.to_owned(),
            files,
            size,
            pixels,
            states,
            work: Mutex::new(work),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        };
        Ok(Pictures { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) })
    }

    /// Decodes these rows before all others.
    pub fn want(&self, rows: &[u32]) {
        let mut work = self.shared.lock();
        if work.left == 0 {
            return;
        }
        let waiting = |row: &u32| {
            let state = self.shared.states.get(*row as usize);
            state.is_some_and(|state| state.load(Ordering::Relaxed) == WAITING)
        };
        let mut first: VecDeque<u32> = rows.iter().copied().filter(waiting).collect();
        // Those that nobody asked for come after; whoever takes a row passes over what is decoded already.
        first.extend((0..self.shared.files.len() as u32).filter(waiting));
        work.next = first;
        drop(work);
        self.start();
    }

    /// Appends one picture, when it is decoded.
    pub fn read(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let shared = &*self.shared;
        let state =
            shared.states.get(row).ok_or_else(|| Error::Unsound(format!("there is no picture {row}")))?;
        if state.load(Ordering::Acquire) != READY {
            let mut work = shared.lock();
            if state.load(Ordering::Acquire) == WAITING {
                work.next.push_front(row as u32);
            }
            drop(work);
            self.start();
            let mut work = shared.lock();
            while !matches!(state.load(Ordering::Acquire), READY | UNREADABLE) && work.full.is_none() {
                work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            shared.check_room(&work)?;
            if state.load(Ordering::Acquire) == UNREADABLE {
                // The others are looked at too, so that one run names them all.
                while work.left > 0 && work.unreadable.len() < NAMED && work.full.is_none() {
                    work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
                return Err(shared.complaint(&work.unreadable));
            }
        }
        shared.pixels.read(row, shared.size.bytes(), out)
    }

    /// Waits for all pictures; those that cannot be read are given by number and reason.
    pub fn finish(&self) -> Result<Vec<(u32, String)>> {
        self.start();
        let mut work = self.shared.lock();
        while work.left > 0 && work.full.is_none() {
            work = self.shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        self.shared.check_room(&work)?;
        let mut unreadable = work.unreadable.clone();
        unreadable.sort();
        Ok(unreadable)
    }

    /// Starts the threads, unless they run or there is nothing to do.
    fn start(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if !threads.is_empty() || self.shared.lock().left == 0 {
            return;
        }
        let count = thread::available_parallelism().map_or(1, usize::from).min(self.shared.files.len());
        for _ in 0..count {
            let shared = Arc::clone(&self.shared);
            let work = move || shared.decode_all();
            match thread::Builder::new().name("weft-pictures".into()).spawn(work) {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
        if threads.is_empty() {
            // Without a thread to spare, it is done here and now.
            drop(threads);
            self.shared.decode_all();
        }
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode_all(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(row) = self.take() else { return };
            let Some(state) = self.states.get(row as usize) else { continue };
            let decoded = self.decode(row as usize);
            let mut work = self.lock();
            match decoded {
                Ok(()) => state.store(READY, Ordering::Release),
                Err(Trouble::Unreadable(reason)) => {
                    work.unreadable.push((row, reason));
                    state.store(UNREADABLE, Ordering::Release);
                }
                Err(Trouble::Full(error)) => {
                    work.full = Some(error.kind());
                    drop(work);
                    self.changed.notify_all();
                    return;
                }
            }
            work.left -= 1;
            let last = (work.left == 0).then(|| work.unreadable.clone());
            drop(work);
            self.changed.notify_all();
            if let Some(unreadable) = last {
                self.keep(unreadable);
            }
        }
    }

    /// The next picture that nobody has taken.
    fn take(&self) -> Option<u32> {
        let mut work = self.lock();
        while let Some(row) = work.next.pop_front() {
            let state = self.states.get(row as usize)?;
            if state.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(row);
            }
        }
        None
    }

    fn decode(&self, row: usize) -> Result<(), Trouble> {
        let unreadable = |reason: &str| Trouble::Unreadable(reason.to_owned());
        let file = self.files.get(row).ok_or_else(|| unreadable("there is no such file"))?;
        let Size { height, width, channels } = self.size;
        let picture = image::read(file, channels).map_err(|error| unreadable(&error.to_string()))?;
        let [rows, columns, _] = picture.shape[..] else { return Err(unreadable("it is no picture")) };
        let bytes = resize(&picture.data, (rows, columns), (height, width), channels);
        self.pixels.write(row, bytes).map_err(Trouble::Full)
    }

    /// Puts the pictures into the cache. Whatever fails, they are where they are.
    fn keep(&self, mut unreadable: Vec<(u32, String)>) {
        unreadable.sort();
        let kept = match &self.pixels {
            Pixels::Memory(pictures, Some(entry)) => entry.stage().and_then(|staging| {
                let mut file = BufWriter::new(File::create(staging.path(0))?);
                let none = vec![0; self.size.bytes()];
                pictures
                    .iter()
                    .try_for_each(|picture| file.write_all(picture.get().map_or(&none, |picture| picture)))?;
                file.into_inner().map_err(|error| error.into_error())?;
                Ok(staging)
            }),
            Pixels::File { disk, staging, .. } => {
                let staging = staging.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(staging) = staging else { return };
                disk.set_len((self.files.len() * self.size.bytes()) as u64).map(|()| staging)
            }
            _ => return,
        };
        let _ = kept.and_then(|staging| staging.finish(1, serde_json::json!(unreadable)));
    }

    /// Is there room for the pictures?
    fn check_room(&self, work: &Work) -> Result<()> {
        match (work.full, &self.pixels) {
            (Some(kind), Pixels::File { folder, limit, .. }) => {
                Err(Error::Spill { folder: folder.clone(), limit: *limit, source: kind.into() })
            }
            _ => Ok(()),
        }
    }

    fn complaint(&self, unreadable: &[(u32, String)]) -> Error {
        let mut unreadable = unreadable.to_vec();
        unreadable.sort();
        let mut lines: Vec<String> =
            unreadable.iter().take(NAMED).map(|(_, reason)| format!("\n  {reason}")).collect();
        if unreadable.len() > NAMED {
            lines.push(format!("\n  and {} more", unreadable.len() - NAMED));
        }
        let count = if unreadable.len() == 1 {
            "a picture".to_owned()
        } else {
            format!("{} pictures", unreadable.len())
        };
        let message = format!(
            "{count} cannot be read; `unreadable = skip` in the spec passes over such files:{}",
            lines.concat()
        );
        Error::Data { set: self.set.clone(), message }
    }
}

impl Pixels {
    fn file(entry: Option<Entry>, memory: &Memory) -> Result<Pixels> {
        let entry = entry.unwrap_or_else(Entry::without_name);
        let limit = memory.limit();
        let made = entry.stage().and_then(|staging| {
            let disk = Disk::create(&staging.path(0))?;
            let folder = staging.folder().to_path_buf();
            Ok(Pixels::File { disk, staging: Mutex::new(Some(staging)), folder, limit })
        });
        made.map_err(|source| Error::Spill { folder: entry.parent(), limit, source })
    }

    /// Appends a picture that is there.
    fn read(&self, row: usize, bytes: usize, out: &mut Vec<u8>) -> Result<()> {
        let missing = || Error::Unsound(format!("there is no picture {row}"));
        match self {
            Pixels::Memory(pictures, _) => {
                let picture = pictures.get(row).and_then(OnceLock::get).ok_or_else(missing)?;
                out.extend_from_slice(picture);
            }
            Pixels::File { disk, .. } => return disk.read((row * bytes) as u64, bytes, out),
            Pixels::Made(map) => {
                out.extend_from_slice(map.get(row * bytes..(row + 1) * bytes).ok_or_else(missing)?);
            }
        }
        Ok(())
    }

    fn write(&self, row: usize, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Pixels::Memory(pictures, _) => {
                if let Some(picture) = pictures.get(row) {
                    let _ = picture.set(bytes.into());
                }
                Ok(())
            }
            Pixels::File { disk, .. } => {
                failpoint::reach("cache").and_then(|()| disk.write((row * bytes.len()) as u64, &bytes))
            }
            Pixels::Made(_) => Ok(()),
        }
    }
}
