//! Plain text as windows of bytes. Windows may overlap, so they are places in the text, not copies.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::{Entry, cache_folder};
use super::column::{Column, Places, Table, Values};
use super::memory::Memory;
use super::store::Store;
use super::{paths, rows};
use crate::error::{Error, Result};
use crate::program::DType;

/// So much of a text is looked at at once.
const BUFFER: usize = 1 << 18;
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What the cache says of a text: where each file begins, and how many bytes there are.
#[derive(Default, Serialize, Deserialize)]
struct About {
    files: Vec<u64>,
    bytes: u64,
}

pub fn read(set: &str, path: &Path, window: usize, stride: usize, memory: &Memory) -> Result<Table> {
    let files = paths::files(set, path, &[".txt", ".md", ".text"])?;
    let entry = Entry::of(cache_folder(), "text", &files);
    let (values, about) = match kept(entry.as_ref()) {
        Some(kept) => kept,
        None => bytes_of(&files, Store::new(memory, entry))?,
    };
    // No window goes over the end of a file.
    let (mut runs, mut count, stride) = (Vec::new(), 0, stride.max(1) as u64);
    let ends = about.files.iter().skip(1).copied().chain([about.bytes]);
    for (start, end) in about.files.iter().copied().zip(ends) {
        if let Some(room) = (end - start).checked_sub(window as u64) {
            runs.push((count, start));
            count += room / stride + 1;
        }
    }
    if count == 0 {
        return Err(Error::damaged(path, format!("{} bytes fill no window of {window}", about.bytes)));
    }
    if count > rows::MAX_ROWS as u64 {
        let message =
            format!("there are {count} windows, but at most {}; take a larger `stride`", rows::MAX_ROWS);
        return Err(Error::Data { set: set.into(), message });
    }
    let column = Column::new("text", DType::U8, [window], values);
    let column = Column { places: Places { stride, runs: runs.into() }, ..column };
    Ok(Table { rows: count as usize, columns: vec![column], left_out: Vec::new() })
}

/// What an earlier run has left in the cache.
fn kept(entry: Option<&Entry>) -> Option<(Values, About)> {
    let (maps, about) = entry?.open()?;
    let about: About = serde_json::from_value(about).ok()?;
    let map = maps.into_iter().next()?;
    let sound = map.len() as u64 == about.bytes && about.files.iter().all(|start| *start <= about.bytes);
    (sound && about.files.is_sorted()).then(|| (Values::Mapped(Arc::new(map)), about))
}

/// The bytes of all files, one after another.
fn bytes_of(files: &[PathBuf], mut store: Store<'_>) -> Result<(Values, About)> {
    let mut about = About::default();
    for path in files {
        about.files.push(about.bytes);
        let file = File::open(path).map_err(Error::file("read", path))?;
        let mut source = BufReader::with_capacity(BUFFER, file);
        // A letter may begin in one piece of the file and end in the next.
        let (mut piece, mut read, mut lines) = (Vec::new(), 0u64, 1usize);
        loop {
            let more = source.fill_buf().map_err(Error::file("read", path))?;
            let (count, begun) = (more.len(), piece.len());
            piece.extend_from_slice(more);
            source.consume(count);
            let whole = match std::str::from_utf8(&piece) {
                Ok(_) => piece.len(),
                Err(error) if error.error_len().is_none() && count > 0 => error.valid_up_to(),
                Err(error) => {
                    let at = error.valid_up_to();
                    let line = lines + piece[..at].iter().filter(|byte| **byte == b'\n').count();
                    let byte = read - begun as u64 + at as u64;
                    let message = format!("line {line}: byte {byte} is no UTF-8; save the file as UTF-8");
                    return Err(Error::damaged(path, message));
                }
            };
            let first = read == begun as u64;
            let text = piece[..whole].strip_prefix(&MARK).filter(|_| first).unwrap_or(&piece[..whole]);
            store.append(text)?;
            about.bytes += text.len() as u64;
            lines += piece[..whole].iter().filter(|byte| **byte == b'\n').count();
            piece.drain(..whole);
            read += count as u64;
            if count == 0 {
                break;
            }
        }
    }
    Ok((store.finish(&about)?, about))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    fn windows(folder: &Folder, window: usize, stride: usize, memory: u64) -> Result<Vec<String>> {
        let memory = Memory::new(Some(memory));
        let files = paths::files("book", folder.path(), &[".txt"])?;
        let (values, about) = bytes_of(&files, Store::new(&memory, None))?;
        assert_eq!(about.files.len(), files.len());
        drop(values);
        let table = read("book", folder.path(), window, stride, &memory)?;
        let mut text = Vec::new();
        (0..table.rows).try_for_each(|row| table.columns[0].read(row, &mut text))?;
        Ok(text.chunks(window).map(|window| String::from_utf8_lossy(window).into_owned()).collect())
    }

    #[test]
    fn windows_never_go_over_the_end_of_a_file() {
        let folder = Folder::new();
        folder.file("a.txt", b"\xef\xbb\xbfabcdef");
        folder.file("b.txt", b"xy");
        folder.file("c.txt", b"123");
        for memory in [100, 4] {
            assert_eq!(windows(&folder, 3, 2, memory).unwrap(), ["abc", "cde", "123"]);
            assert_eq!(windows(&folder, 3, 1, memory).unwrap(), ["abc", "bcd", "cde", "def", "123"]);
        }
        assert!(
            windows(&folder, 7, 1, 100).unwrap_err().to_string().contains("11 bytes fill no window of 7")
        );
    }

    #[test]
    fn letters_may_lie_across_pieces_and_what_is_no_utf_8_has_its_place() {
        let folder = Folder::new();
        let mut text = vec![b'a'; BUFFER - 1];
        text.extend("é\nüü".as_bytes());
        folder.file("a.txt", &text);
        assert_eq!(windows(&folder, text.len(), 1, 1 << 20).unwrap().len(), 1);
        text.push(0xff);
        folder.file("a.txt", &text);
        let message = windows(&folder, 4, 1, 1 << 20).unwrap_err().to_string();
        assert!(message.contains(&format!("line 2: byte {} is no UTF-8", text.len() - 1)), "{message}");
        // The first half of a letter at the end.
        *text.last_mut().unwrap() = 0xc3;
        folder.file("a.txt", &text);
        let message = windows(&folder, 4, 1, 1 << 20).unwrap_err().to_string();
        assert!(message.contains(&format!("line 2: byte {} is no UTF-8", text.len() - 1)), "{message}");
    }
}
