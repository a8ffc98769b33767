//! Pictures that are decoded in the background, in the order in which they are wanted.
//!
//! The memory for all of them is there from the start: a file of the cache in the making, or memory of our own. Threads fill it in, row
//! by row; whoever reads a row that is not there yet moves it to the front and waits. What a row holds depends on its file alone, so
//! the order of decoding changes no bit.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use memmap2::{Mmap, MmapMut};

use super::cache::Entry;
use super::resize::resize;
use crate::error::{Error, Result};
use crate::io::image;

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
    memory: Memory,
    states: Vec<AtomicU8>,
    work: Mutex<Work>,
    changed: Condvar,
    stop: AtomicBool,
    entry: Option<Entry>,
}

struct Work {
    next: VecDeque<u32>,
    /// Pictures that are not decoded yet.
    left: usize,
    unreadable: Vec<(u32, String)>,
}

/// Bytes that threads fill in while others read what is full.
struct Memory {
    /// Owns the bytes.
    _map: Backing,
    start: *mut u8,
}

#[allow(dead_code, reason = "they only keep the memory")]
enum Backing {
    Making(MmapMut),
    Made(Mmap),
}

// SAFETY: a row is written by the one thread that took it (`TAKEN`), and read only after that thread has released it
// (`READY`); the map itself is never touched between its making and its end.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl fmt::Debug for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pictures({} files)", self.shared.files.len())
    }
}

impl Pictures {
    /// The pictures of some files. What an earlier run left in the cache is taken from there.
    pub fn of(set: &str, files: Vec<PathBuf>, size: Size, entry: Option<Entry>) -> Result<Pictures> {
        let bytes = size.bytes().checked_mul(files.len());
        let bytes = bytes.ok_or_else(|| Error::Data {
            set: set.into(),
            message: "the pictures are larger than memory".into(),
        })?;
        let kept = entry.as_ref().and_then(Entry::open).and_then(|(maps, about)| {
            let map = maps.into_iter().next().filter(|map| map.len() == bytes)?;
            let unreadable: Vec<(u32, String)> = serde_json::from_value(about).ok()?;
            Some((map, unreadable))
        });
        let (memory, unreadable, made) = match kept {
            Some((map, unreadable)) => (Memory::made(map), unreadable, true),
            None => (Memory::anonymous(bytes)?, Vec::new(), false),
        };
        let states =
            (0..files.len()).map(|_| AtomicU8::new(if made { READY } else { WAITING })).collect::<Vec<_>>();
        for (row, _) in &unreadable {
            if let Some(state) = states.get(*row as usize) {
                state.store(UNREADABLE, Ordering::Relaxed);
            }
        }
        let left = if made { 0 } else { files.len() };
        let work = Work { next: (0..left as u32).collect(), left, unreadable };
        let shared = Shared {
            set: set.to_owned(),
            files,
            size,
            memory,
            states,
            work: Mutex::new(work),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            entry,
        };
        Ok(Pictures { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) })
    }

    pub fn len(&self) -> usize {
        self.shared.files.len() * self.shared.size.bytes()
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

    /// One picture, when it is decoded.
    pub fn row(&self, row: usize) -> Result<&[u8]> {
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
            while !matches!(state.load(Ordering::Acquire), READY | UNREADABLE) {
                work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            if state.load(Ordering::Acquire) == UNREADABLE {
                // The others are looked at too, so that one run names them all.
                while work.left > 0 && work.unreadable.len() < NAMED {
                    work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
                return Err(shared.complaint(&work.unreadable));
            }
        }
        Ok(shared.memory.row(row, shared.size.bytes()))
    }

    /// Waits for all pictures; those that cannot be read are given by number and reason.
    pub fn finish(&self) -> Vec<(u32, String)> {
        self.start();
        let mut work = self.shared.lock();
        while work.left > 0 {
            work = self.shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        let mut unreadable = work.unreadable.clone();
        unreadable.sort();
        unreadable
    }

    /// All pictures, back to back.
    pub fn bytes(&self) -> Result<&[u8]> {
        let unreadable = self.finish();
        if !unreadable.is_empty() {
            return Err(self.shared.complaint(&unreadable));
        }
        Ok(self.shared.memory.row(0, self.len()))
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
                Err(reason) => {
                    work.unreadable.push((row, reason));
                    state.store(UNREADABLE, Ordering::Release);
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

    fn decode(&self, row: usize) -> Result<(), String> {
        let file = self.files.get(row).ok_or("there is no such file")?;
        let Size { height, width, channels } = self.size;
        let picture = image::read(file, channels).map_err(|error| error.to_string())?;
        let [rows, columns, _] = picture.shape[..] else { return Err("it is no picture".into()) };
        let bytes = resize(&picture.data, (rows, columns), (height, width), channels);
        self.memory.write(row, &bytes);
        Ok(())
    }

    /// Puts the pictures into the cache. Whatever fails, they are in memory.
    fn keep(&self, mut unreadable: Vec<(u32, String)>) {
        let Some(staging) = self.entry.as_ref().and_then(|entry| entry.stage().ok()) else { return };
        unreadable.sort();
        let bytes = self.memory.row(0, self.files.len() * self.size.bytes());
        let written =
            File::create(staging.path(0)).and_then(|mut file| std::io::Write::write_all(&mut file, bytes));
        if written.is_ok() {
            let _ = staging.finish(1, serde_json::json!(unreadable));
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

impl Memory {
    fn made(map: Mmap) -> Memory {
        let start = map.as_ptr().cast_mut();
        Memory { _map: Backing::Made(map), start }
    }

    fn anonymous(bytes: usize) -> Result<Memory> {
        let mut map = MmapMut::map_anon(bytes.max(1)).map_err(|source| Error::Memory { bytes, source })?;
        let start = map.as_mut_ptr();
        Ok(Memory { _map: Backing::Making(map), start })
    }

    fn row(&self, row: usize, bytes: usize) -> &[u8] {
        // SAFETY: callers ask for rows inside of the map, which lives as long as `self`, and only after they are `READY`.
        unsafe { std::slice::from_raw_parts(self.start.add(row * bytes), bytes) }
    }

    fn write(&self, row: usize, bytes: &[u8]) {
        // SAFETY: the one thread that took the row writes it, and nobody reads it before it is `READY`.
        unsafe { self.start.add(row * bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }
}
