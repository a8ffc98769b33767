//! Files of rows as text, in blocks that end where a row ends: read one after another, made into rows by several threads, put together
//! in the order of the file. So the rows are the same for every number of threads, and only the blocks in hand take memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::bufread::MultiGzDecoder;

use super::Watch;
use crate::error::{Error, Result, plain};

/// Bytes of a block: many rows, and still much less than a processor's cache.
const BLOCK: usize = 256 << 10;
/// A row longer than this is none: a quote that is never closed, or no text at all.
const LONGEST_ROW: usize = 64 << 20;
/// More threads are not faster than the one at a time that reads the file.
const THREADS: usize = 8;

/// How many of these bytes, which begin with a row, are whole rows.
type Whole<'a> = dyn Fn(&[u8]) -> usize + Send + 'a;

/// Some whole rows.
#[derive(Debug)]
pub struct Block {
    pub bytes: Vec<u8>,
    /// The number of its first line, from 1.
    pub line: u64,
}

impl Block {
    /// Without its first bytes, which are whole rows.
    pub fn after(mut self, bytes: usize) -> Block {
        let rest = self.bytes.split_off(bytes.min(self.bytes.len()));
        Block { line: self.line + lines(&self.bytes), bytes: rest }
    }
}

/// The blocks of a file that are not taken yet.
pub struct Blocks<'a> {
    path: &'a Path,
    source: Box<dyn Read + Send + 'a>,
    whole: Box<Whole<'a>>,
    size: usize,
    /// What was read already and belongs to the next block.
    rest: Vec<u8>,
    line: u64,
    is_read: bool,
}

impl<'a> Blocks<'a> {
    /// Opens a file, plain or gzipped.
    pub fn open(
        path: &'a Path,
        watch: Watch<'a>,
        whole: impl Fn(&[u8]) -> usize + Send + 'a,
    ) -> Result<Blocks<'a>> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let size = file.metadata().map_or(0, |about| about.len());
        let mut file = BufReader::with_capacity(1 << 16, Watched { file, path, watch, done: 0, size });
        let start = file.fill_buf().map_err(Error::file("read", path))?;
        let source: Box<dyn Read + Send + 'a> = match start.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        Ok(Blocks::of(path, source, Box::new(whole), BLOCK))
    }

    /// `size`: bytes that are read at once.
    pub fn of(
        path: &'a Path,
        source: Box<dyn Read + Send + 'a>,
        whole: Box<Whole<'a>>,
        size: usize,
    ) -> Blocks<'a> {
        Blocks { path, source, whole, size, rest: Vec::new(), line: 1, is_read: false }
    }

    /// The next block; none at the end of the file. The last row need not end.
    pub fn next(&mut self) -> Result<Option<Block>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let end = loop {
            // What a row began with is read once more from its beginning, so there is ever more of it at once.
            let wanted = self.size.max((2 * bytes.len()).min(LONGEST_ROW + 1));
            let missing = wanted - bytes.len();
            if !self.is_read {
                bytes.reserve(missing);
                let read = self.source.by_ref().take(missing as u64).read_to_end(&mut bytes);
                self.is_read = read.map_err(|error| self.unreadable(&error))? < missing;
            }
            match if self.is_read { bytes.len() } else { (self.whole)(&bytes) } {
                0 if self.is_read => return Ok(None),
                0 if bytes.len() > LONGEST_ROW => {
                    let message = format!(
                        "line {}: a row is longer than {LONGEST_ROW} bytes; is a quote never closed?",
                        self.line
                    );
                    return Err(Error::damaged(self.path, message));
                }
                0 => {}
                end => break end,
            }
        };
        self.rest = bytes.split_off(end);
        let block = Block { line: self.line, bytes };
        self.line += lines(&block.bytes);
        Ok(Some(block))
    }

    /// Makes something of each block, on several threads, and takes what was made in the order of the file. `first` was taken
    /// before, to see what the file is like.
    pub fn each<T: Send>(
        mut self,
        first: Block,
        make: impl Fn(Block) -> Result<T> + Sync,
        mut take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let threads = match self.is_read && self.rest.is_empty() {
            true => 0,
            false => thread::available_parallelism().map_or(1, usize::from).min(THREADS),
        };
        take(make(first)?)?;
        if threads > 0 && self.on_threads(threads, &make, &mut take)? {
            return Ok(());
        }
        while let Some(block) = self.next()? {
            take(make(block)?)?;
        }
        Ok(())
    }

    /// False where there is no thread to be had.
    fn on_threads<T: Send>(
        &mut self,
        threads: usize,
        make: &(impl Fn(Block) -> Result<T> + Sync),
        take: &mut impl FnMut(T) -> Result<()>,
    ) -> Result<bool> {
        // Who takes a block puts the place of its result into the queue before anyone takes the next block, so the queue has the order of
        // the file; and it holds so few that nobody gets far ahead.
        let (queue, results) = sync_channel::<Receiver<Result<T>>>(threads);
        let source = Mutex::new(Some((self, queue)));
        let work = || {
            loop {
                let (block, result) = {
                    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some((blocks, queue)) = source.as_mut() else { return };
                    let block = blocks.next().transpose();
                    let (result, place) = sync_channel(1);
                    let over = !matches!(block, Some(Ok(_)));
                    let unwanted = block.is_some() && queue.send(place).is_err();
                    if over || unwanted {
                        *source = None;
                    }
                    match block {
                        Some(block) if !unwanted => (block, result),
                        _ => return,
                    }
                };
                // Nobody waits for it any more once an earlier one was wrong.
                let _ = result.send(block.and_then(make));
            }
        };
        thread::scope(|scope| {
            let spawn = || thread::Builder::new().name("weft-rows".into()).spawn_scoped(scope, work);
            if (0..threads).filter(|_| spawn().is_ok()).count() == 0 {
                return Ok(false);
            }
            for result in results {
                let lost = |_| Error::Unsound("a thread that reads rows is gone".into());
                take(result.recv().map_err(lost)??)?;
            }
            Ok(true)
        })
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        Error::damaged(self.path, format!("it cannot be read: {}", plain(error)))
    }
}

/// Tells how much of a file is read.
struct Watched<'a> {
    file: File,
    path: &'a Path,
    watch: Watch<'a>,
    done: u64,
    size: u64,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.done += count as u64;
        if let Some(watch) = self.watch {
            watch.reading(self.path, self.done, self.size);
        }
        Ok(count)
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(bytes: &[u8]) -> usize {
        memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
    }

    fn blocks(text: &str, size: usize) -> Blocks<'_> {
        Blocks::of(Path::new("rows"), Box::new(text.as_bytes()), Box::new(ends), size)
    }

    #[test]
    fn blocks_are_whole_rows_and_together_the_file() {
        let text = "one\ntwo\n\na longer one\n4\nno end";
        for size in 1..40 {
            let (mut all, mut blocks, mut line) = (String::new(), blocks(text, size), 1);
            while let Some(block) = blocks.next().unwrap() {
                assert_eq!(block.line, line, "{size}");
                line += block.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                all += std::str::from_utf8(&block.bytes).unwrap();
                assert!(all.ends_with('\n') || all == text, "{size}: {all:?}");
            }
            assert_eq!(all, text, "{size}");
        }
    }

    #[test]
    fn what_is_made_comes_in_the_order_of_the_file() {
        let text: String = (0..2000).map(|row| format!("{row}\n")).collect();
        let mut blocks = blocks(&text, 16);
        let first = blocks.next().unwrap().unwrap().after(2);
        assert_eq!((first.line, first.bytes.starts_with(b"1\n")), (2, true));
        let mut all = Vec::new();
        let make = |block: Block| Ok(String::from_utf8(block.bytes).unwrap());
        let take = |text: String| {
            all.extend(text.lines().map(|line| line.parse::<usize>().unwrap()));
            Ok(())
        };
        blocks.each(first, make, take).unwrap();
        assert_eq!(all, (1..2000).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_of_the_file_is_the_one() {
        let text: String = (0..500).map(|row| format!("{row}\n")).collect();
        for wrong_from in [0, 1, 250, 498] {
            let mut blocks = blocks(&text, 8);
            let first = blocks.next().unwrap().unwrap();
            let make = |block: Block| match block.line > wrong_from {
                true => Err(Error::damaged(Path::new("rows"), format!("line {}", block.line))),
                false => Ok(block.line),
            };
            let mut last = 0;
            let message = blocks.each(first, make, |line| {
                last = line;
                Ok(())
            });
            let message = message.unwrap_err().to_string();
            let line: u64 = message.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(
                line > wrong_from && last <= wrong_from && line <= wrong_from + 4,
                "{message} after {last}"
            );
        }
    }

    #[test]
    fn a_row_without_an_end_is_an_error() {
        let endless = Box::new(std::io::repeat(b'x').take(3 * LONGEST_ROW as u64));
        let head: &[u8] = b"head\n";
        let mut blocks = Blocks::of(Path::new("rows"), Box::new(head.chain(endless)), Box::new(ends), 64);
        assert_eq!(blocks.next().unwrap().unwrap().bytes, head);
        let message = blocks.next().unwrap_err().to_string();
        assert!(message.contains("line 2: a row is longer than"), "{message}");
    }
}
