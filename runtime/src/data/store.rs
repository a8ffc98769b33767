//! The bytes of columns in the making: in memory while they are few, in a file from then on.
//!
//! The file is an entry of the cache, so that the next run maps it and reads nothing; where the user wants no cache, it has no name
//! and goes with the process. Either way the memory that reading takes is bounded, however large the data are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use serde::Serialize;

use super::cache::{Entry, Staging};
use super::column::Values;
use super::memory::Memory;
use crate::error::{Error, Result};
use crate::io::failpoint;

/// So much is gathered before it is written.
const BUFFER: usize = 1 << 20;

/// A run of bytes that grows.
#[derive(Debug)]
pub struct Store<'m> {
    /// None where the bytes stay in memory for a moment only.
    memory: Option<&'m Memory>,
    entry: Option<Entry>,
    making: Making,
}

#[derive(Debug)]
enum Making {
    Memory(Vec<u8>),
    File(Staging, BufWriter<File>),
}

impl<'m> Store<'m> {
    /// `entry`: its place in the cache, if there is a cache.
    pub fn new(memory: &'m Memory, entry: Option<Entry>) -> Store<'m> {
        Store { memory: Some(memory), entry, making: Making::Memory(Vec::new()) }
    }

    /// In memory however many they are: a piece that is soon put together with others.
    pub fn piece() -> Store<'m> {
        Store { memory: None, entry: None, making: Making::Memory(Vec::new()) }
    }

    /// The bytes of a piece.
    pub fn into_bytes(self) -> Vec<u8> {
        if let Making::Memory(run) = self.making { run } else { Vec::new() }
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Making::Memory(run) = &mut self.making {
            if self.memory.is_none_or(|memory| memory.take(bytes.len() as u64)) {
                run.extend_from_slice(bytes);
                return Ok(());
            }
            self.spill()?;
        }
        let limit = self.limit();
        let Making::File(staging, file) = &mut self.making else { return Ok(()) };
        let written = failpoint::reach("cache").and_then(|()| file.write_all(bytes));
        written.map_err(too_large(limit, staging))
    }

    fn limit(&self) -> u64 {
        self.memory.map_or(0, Memory::limit)
    }

    /// From here on, into a file.
    fn spill(&mut self) -> Result<()> {
        let limit = self.limit();
        let Making::Memory(run) = &mut self.making else { return Ok(()) };
        let entry = self.entry.take().unwrap_or_else(Entry::without_name);
        let staging =
            entry.stage().map_err(|source| Error::Spill { folder: entry.parent(), limit, source })?;
        let run = std::mem::take(run);
        let file = File::create(staging.path(0)).and_then(|file| {
            let mut file = BufWriter::with_capacity(BUFFER, file);
            file.write_all(&run)?;
            Ok(file)
        });
        if let Some(memory) = self.memory {
            memory.give_back(run.len() as u64);
        }
        let file = file.map_err(too_large(limit, &staging))?;
        self.making = Making::File(staging, file);
        Ok(())
    }

    /// All bytes are there. `about` is kept beside them in the cache.
    pub fn finish(self, about: &impl Serialize) -> Result<Values> {
        let limit = self.limit();
        let (staging, file) = match self.making {
            Making::Memory(mut run) => {
                run.shrink_to_fit();
                return Ok(Values::from(run));
            }
            Making::File(staging, file) => (staging, file),
        };
        let failed = too_large(limit, &staging);
        let closed = file.into_inner().map(drop).map_err(|error| error.into_error());
        let finish = || staging.finish(1, serde_json::to_value(about)?);
        let map = closed.and_then(|()| finish()).map_err(failed)?.into_iter().next();
        map.map(|map| Values::Mapped(Arc::new(map))).ok_or_else(|| Error::Unsound("a file was lost".into()))
    }
}

fn too_large(limit: u64, staging: &Staging) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let folder = staging.folder().to_path_buf();
    move |source| Error::Spill { folder, limit, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    fn bytes(values: &Values) -> &[u8] {
        match values {
            Values::Owned(bytes) => bytes,
            Values::Mapped(map) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_too_large_for_memory_goes_into_a_file_and_stays_the_same() {
        let (folder, root) = (Folder::new(), Folder::new());
        let source = folder.file("rows.csv", b"");
        let entry =
            || Entry::of(Some(root.path().to_path_buf()), "rows", std::slice::from_ref(&source)).unwrap();
        for (limit, entry, mapped) in
            [(1000, Some(entry()), false), (25, Some(entry()), true), (25, None, true), (0, None, true)]
        {
            let kept = entry.clone();
            let memory = Memory::new(Some(limit));
            let mut store = Store::new(&memory, entry);
            for i in 0..20u8 {
                store.append(&[i, i]).unwrap();
                store.append(&[100 + i]).unwrap();
            }
            let values = store.finish(&"about").unwrap();
            assert_eq!(bytes(&values), (0..20u8).flat_map(|i| [i, i, 100 + i]).collect::<Vec<_>>());
            assert_eq!(matches!(values, Values::Mapped(_)), mapped);
            let Some(kept) = kept else { continue };
            assert_eq!(
                kept.open().map(|(maps, about)| (maps.len(), about)),
                mapped.then(|| (1, "about".into()))
            );
        }
    }

    #[test]
    fn memory_is_given_back_once_a_file_holds_the_bytes() {
        let memory = Memory::new(Some(10));
        let mut large = Store::new(&memory, None);
        large.append(&[1; 8]).unwrap();
        assert!(!memory.take(8));
        large.append(&[1; 8]).unwrap();
        assert!(memory.take(8));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named_with_the_ways_out() {
        let folder = Folder::new();
        let taken = folder.file("taken", b"a file");
        let entry = Entry::of(Some(taken), "rows", &[]).unwrap();
        let memory = Memory::new(Some(1 << 20));
        let mut store = Store::new(&memory, Some(entry));
        store.append(&[0; 1 << 20]).unwrap();
        let message = store.append(&[0]).unwrap_err().to_string();
        for part in ["taken", "1 MiB", "WEFT_CACHE", "--data-memory"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
