//! Batches: rows gathered to contiguous buffers, one batch ahead of their use.
//!
//! Rows that differ in length are filled up to the longest of their batch. With buckets, batches are of rows of similar length, so that
//! little is filled up: an epoch's rows are drawn as ever, sorted by length within stretches of some batches, and the batches
//! are drawn again. A batch that is not full stays the last one.
//!
//! A thread of its own fills one buffer while the other is used; the two go round and round, so an epoch allocates nothing.
//! What is in a batch is a function of the part, the order and the batch's number: reading ahead changes no bit.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::Part;
use super::column::Table;
use super::shuffle::{self, Windows};
use crate::error::{Error, Result};

/// In which order an epoch takes the rows, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub batch: usize,
    /// Seed and number of the epoch; none leaves the rows as they are.
    pub shuffle: Option<(u64, u64)>,
    /// Whether batches are of rows of similar length.
    pub bucket: bool,
}

/// Rows of so many batches are sorted by their lengths together: enough to find rows alike, few enough to leave chance its part.
const STRETCH: usize = 50;

impl Order {
    /// Rows as they lie.
    pub fn plain(batch: usize) -> Order {
        Order { batch, shuffle: None, bucket: false }
    }

    /// The rows of a part in this order.
    pub fn rows(&self, part: &Part) -> Vec<u32> {
        let rows = self.drawn(part);
        if self.bucket { self.bucketed(part, rows) } else { rows }
    }

    /// The rows in an order whose batches are of similar length.
    fn bucketed(&self, part: &Part, mut rows: Vec<u32>) -> Vec<u32> {
        let batch = self.batch.max(1);
        let full = rows.len() / batch * batch;
        for stretch in rows[..full].chunks_mut(batch * STRETCH) {
            stretch.sort_by_key(|row| part.table.length(*row));
        }
        let Some((seed, epoch)) = self.shuffle else { return rows };
        let drawn = shuffle::order(full / batch, epoch, seed ^ shuffle::BUCKETS);
        let batches = drawn.iter().filter_map(|&place| rows.chunks(batch).nth(place as usize));
        let last = rows.get(full..).unwrap_or_default();
        batches.chain([last]).flatten().copied().collect()
    }

    fn drawn(&self, part: &Part) -> Vec<u32> {
        let Some((seed, epoch)) = self.shuffle else { return part.rows.to_vec() };
        let order = match self.windows(part) {
            Some(windows) => windows.order(),
            None => shuffle::order(part.len(), epoch, seed),
        };
        order.into_iter().map(|place| part.rows[place as usize]).collect()
    }

    fn windows(&self, part: &Part) -> Option<Windows> {
        let (seed, epoch) = self.shuffle?;
        Windows::of(part.len(), part.table.row_bytes(), epoch, seed)
    }

    /// Batches that a part of so many rows makes; the last one may be short.
    pub fn batches(&self, rows: usize) -> usize {
        rows.div_ceil(self.batch.max(1))
    }
}

/// Some rows, as contiguous columns in the order of the table's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: usize,
    /// Their numbers in the table.
    pub numbers: Vec<u32>,
    pub columns: Vec<Vec<u8>>,
    /// Of columns whose rows differ in length: the extent of that axis here.
    pub extents: Vec<Option<usize>>,
}

impl Batch {
    pub fn gather(&mut self, part: &Part, rows: &[u32]) -> Result<()> {
        self.rows = rows.len();
        self.numbers.clear();
        self.numbers.extend_from_slice(rows);
        self.columns.resize_with(part.table.columns.len(), Vec::new);
        self.extents.resize(part.table.columns.len(), None);
        let columns = self.columns.iter_mut().zip(&mut self.extents);
        for ((out, extent), column) in columns.zip(&part.table.columns) {
            out.clear();
            let Some(ragged) = &column.ragged else {
                for &row in rows {
                    column.read(row as usize, out)?;
                }
                continue;
            };
            let Some(pad) = &ragged.pad else { continue };
            let longest = ragged.extent(rows);
            *extent = Some(longest);
            let width = longest * column.row_bytes();
            for &row in rows {
                let filled = out.len() + width;
                column.read(row as usize, out)?;
                out.truncate(filled);
                out.extend(pad.iter().copied().cycle().take(filled - out.len()));
            }
        }
        Ok(())
    }

    /// The shape of a column of the table in this batch.
    pub fn shape(&self, table: &Table, column: usize) -> Vec<usize> {
        let step = table.columns.get(column).map_or(&[][..], |column| &column.shape);
        let extent = self.extents.get(column).copied().flatten();
        std::iter::once(self.rows).chain(extent).chain(step.iter().copied()).collect()
    }
}

/// What the disk is to bring next: the blocks of each window, while the window before it is used.
struct Ahead {
    windows: VecDeque<Vec<(u32, u32)>>,
    /// Where in the order the window begins before which the next blocks are wanted.
    from: usize,
    /// Rows of the window before the first of `windows`.
    before: usize,
}

impl Ahead {
    fn of(part: &Part, order: &Order) -> Ahead {
        let windows = order.windows(part).map_or_else(VecDeque::new, |windows| windows.blocks().collect());
        Ahead { windows, from: 0, before: 0 }
    }

    /// A batch begins at this place of the order.
    fn advise(&mut self, part: &Part, place: usize) {
        while place >= self.from
            && let Some(blocks) = self.windows.pop_front()
        {
            self.from += self.before;
            self.before = blocks.iter().map(|(first, end)| (end - first) as usize).sum();
            // An epoch that is begun in its midst passes over windows.
            if place >= self.from + self.before {
                continue;
            }
            for (first, end) in blocks {
                if let (Some(first), Some(last)) =
                    (part.rows.get(first as usize), part.rows.get(end.saturating_sub(1) as usize))
                {
                    part.table.advise(*first, *last);
                }
            }
        }
    }
}

/// The batches of one epoch, gathered in the background.
#[derive(Debug)]
pub struct Batches {
    full: Option<Receiver<Result<Batch>>>,
    free: Option<SyncSender<Batch>>,
    current: Option<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    pub fn start(part: &Part, order: Order) -> Result<Batches> {
        Batches::start_at(part, order, 0)
    }

    /// The batches of an epoch from a later one on.
    pub fn start_at(part: &Part, order: Order, first: usize) -> Result<Batches> {
        let (send_full, full) = sync_channel(1);
        let (free, get_free) = sync_channel(2);
        let part = part.clone();
        let work = move || {
            let rows = order.rows(&part);
            part.table.want(&rows);
            let mut ahead = Ahead::of(&part, &order);
            let mut buffers = [Batch::default(), Batch::default()].into_iter();
            let size = order.batch.max(1);
            for (number, chunk) in rows.chunks(size).enumerate().skip(first) {
                ahead.advise(&part, number * size);
                // Both buffers are out: wait for one to come back. No answer means that nobody wants more.
                let Some(mut batch) = buffers.next().or_else(|| get_free.recv().ok()) else { return };
                let gathered = batch.gather(&part, chunk).map(|()| batch);
                let failed = gathered.is_err();
                if send_full.send(gathered).is_err() || failed {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("weft-batches".into()).spawn(work).map_err(Error::Thread)?;
        Ok(Batches { full: Some(full), free: Some(free), current: None, thread: Some(thread) })
    }

    /// The next batch; it lies in a buffer that is filled anew after the next call.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        if let (Some(used), Some(free)) = (self.current.take(), &self.free) {
            // After its last batch the thread is gone and wants no buffer back.
            let _ = free.send(used);
        }
        let next = self.full.as_ref().and_then(|full| full.recv().ok());
        self.current = next.transpose()?;
        Ok(self.current.as_ref())
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Closing the channels ends the thread, wherever it waits.
        self.full = None;
        self.free = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Table};
    use super::*;
    use crate::program::DType;

    fn part(rows: usize) -> Part {
        let wide = Column::new("wide", DType::U8, [3], (0..rows * 3).map(|i| i as u8).collect::<Vec<_>>());
        let labels = (0..rows as i32).flat_map(i32::to_le_bytes).collect::<Vec<_>>();
        let label = Column::new("label", DType::I32, [], labels);
        Part::whole(Table { rows, columns: vec![wide, label], left_out: Vec::new() })
    }

    fn all(part: &Part, order: Order) -> Vec<Batch> {
        let mut batches = Batches::start(part, order).unwrap();
        let mut out = Vec::new();
        while let Some(batch) = batches.next_batch().unwrap() {
            out.push(batch.clone());
        }
        out
    }

    #[test]
    fn reading_ahead_gives_the_rows_of_the_order() {
        let part = part(103);
        for shuffle in [None, Some((7, 0)), Some((7, 1))] {
            let order = Order { shuffle, ..Order::plain(10) };
            let expected: Vec<Batch> = order
                .rows(&part)
                .chunks(10)
                .map(|rows| {
                    let mut batch = Batch::default();
                    batch.gather(&part, rows).unwrap();
                    batch
                })
                .collect();
            assert_eq!(all(&part, order), expected);
            assert_eq!(expected.len(), order.batches(103));
            assert_eq!(expected[10].rows, 3);
        }
    }

    #[test]
    fn a_row_stays_together_and_every_row_comes_once() {
        let part = part(50);
        let batches = all(&part, Order { shuffle: Some((1, 4)), ..Order::plain(8) });
        let mut seen = Vec::new();
        for batch in &batches {
            for (wide, label) in batch.columns[0].chunks(3).zip(batch.columns[1].as_chunks::<4>().0) {
                let label = i32::from_le_bytes(*label);
                assert_eq!(wide[0], (label * 3) as u8);
                seen.push(label);
            }
        }
        assert_ne!(seen, (0..50).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn an_epoch_may_be_left_at_any_point() {
        let part = part(100);
        for taken in 0..5 {
            let mut batches = Batches::start(&part, Order::plain(10)).unwrap();
            for _ in 0..taken {
                assert!(batches.next_batch().unwrap().is_some());
            }
        }
        assert!(all(&part.of([]), Order { shuffle: Some((0, 0)), ..Order::plain(3) }).is_empty());
    }
}
