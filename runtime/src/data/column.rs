//! Columns: the values of one field in all rows, in memory of our own, mapped from a file of ours, or read from the user's.
//!
//! Columns of one table may share their bytes: a row's fields lie side by side then, so that a row of a data set that is larger than memory
//! is one place on the disk.

use std::fmt;
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::pictures::Pictures;
use crate::error::{Error, Result};
use crate::program::DType;

/// One field of all rows.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub dtype: DType,
    /// Of one row.
    pub shape: Vec<usize>,
    pub values: Values,
    pub places: Places,
    /// How long rows are, if they differ; `shape` is then that of one step, and `places` mean nothing.
    pub ragged: Option<Ragged>,
    /// The values that a class column's numbers stand for.
    pub classes: Option<Arc<[Class]>>,
    /// The number that stands for each number in `values`, once the classes have their order.
    pub numbers: Option<Arc<[i32]>>,
}

/// Rows of different lengths, back to back.
#[derive(Clone, Debug)]
pub struct Ragged {
    /// How many steps there are up to the end of each row.
    pub ends: Arc<[u64]>,
    /// The bytes of one element that rows are filled up with in a batch. None of texts: they are for tokenizers and for people, and no
    /// batch holds them.
    pub pad: Option<Arc<[u8]>>,
    /// Rows of a batch are filled up to so many steps, rather than to the longest of them.
    pub fixed: Option<usize>,
}

impl Ragged {
    /// The steps of a row.
    pub fn steps(&self, row: usize) -> Option<std::ops::Range<usize>> {
        let end = |row: usize| self.ends.get(row).and_then(|end| usize::try_from(*end).ok());
        let start = if row == 0 { 0 } else { end(row - 1)? };
        Some(start..end(row)?.max(start))
    }

    /// The extent of the axis in a batch of these rows. No axis is empty.
    pub fn extent(&self, rows: &[u32]) -> usize {
        let longest = rows.iter().filter_map(|row| self.steps(*row as usize)).map(|steps| steps.len()).max();
        self.fixed.or(longest).unwrap_or(0).max(1)
    }
}

/// One of the values of a class column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub name: String,
    /// Where it stands first: `flowers.csv:12`.
    pub place: String,
}

/// Where in its bytes the rows of a column begin: one every `stride` bytes, in runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub stride: u64,
    /// The first row of each run, and where it begins; rising, and the first run begins with row 0.
    pub runs: Arc<[(u64, u64)]>,
}

impl Places {
    /// The first row begins at `first`.
    pub fn even(first: usize, stride: usize) -> Places {
        Places { stride: stride as u64, runs: Arc::new([(0, first as u64)]) }
    }

    fn of(&self, row: usize) -> Option<u64> {
        let row = row as u64;
        let run = self.runs.partition_point(|(first, _)| *first <= row);
        let (first, start) = self.runs.get(run.checked_sub(1)?)?;
        start.checked_add((row - first).checked_mul(self.stride)?)
    }
}

/// Where the bytes of a column are.
#[derive(Clone)]
pub enum Values {
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
    /// In a file of the user's, which is read row by row.
    File(Arc<Disk>),
    /// Decoded as they are wanted.
    Pictures(Arc<Pictures>),
}

impl From<Vec<u8>> for Values {
    fn from(bytes: Vec<u8>) -> Values {
        Values::Owned(Arc::new(bytes))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::Owned(bytes) => write!(f, "Owned({} bytes)", bytes.len()),
            Values::Mapped(map) => write!(f, "Mapped({} bytes)", map.len()),
            Values::File(disk) => disk.fmt(f),
            Values::Pictures(pictures) => pictures.fmt(f),
        }
    }
}

impl Column {
    /// A column whose rows lie back to back.
    pub fn new(
        name: impl Into<String>,
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl Into<Values>,
    ) -> Column {
        let shape = shape.into();
        let bytes = dtype.size() * shape.iter().product::<usize>();
        Column {
            name: name.into(),
            dtype,
            shape,
            values: values.into(),
            places: Places::even(0, bytes),
            ragged: None,
            classes: None,
            numbers: None,
        }
    }

    /// Texts, by where each ends.
    pub fn texts(name: impl Into<String>, bytes: Vec<u8>, ends: Vec<u64>) -> Column {
        let ragged = Ragged { ends: ends.into(), pad: None, fixed: None };
        Column { ragged: Some(ragged), ..Column::new(name, DType::U8, [], bytes) }
    }

    /// Rows that differ in length, by how many steps there are up to the end of each.
    pub fn ragged(
        name: impl Into<String>,
        dtype: DType,
        step: impl Into<Vec<usize>>,
        values: impl Into<Values>,
        ends: Vec<u64>,
    ) -> Column {
        let ragged = Ragged { ends: ends.into(), pad: Some(vec![0; dtype.size()].into()), fixed: None };
        Column { ragged: Some(ragged), ..Column::new(name, dtype, step, values) }
    }

    /// Does it hold texts?
    pub fn is_text(&self) -> bool {
        self.ragged.as_ref().is_some_and(|ragged| ragged.pad.is_none())
    }

    /// The text of a row of a column of texts.
    pub fn text(&self, row: usize) -> Result<&str> {
        let bytes = self.place(row).and_then(|place| self.memory()?.get(place));
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.ok_or_else(|| Error::Unsound(format!("`{}` has no text in row {row}", self.name)))
    }

    /// How long each row is: a column of one number a row.
    pub fn lengths(&self, name: String) -> Option<Column> {
        let ragged = self.ragged.as_ref()?;
        let steps = (0..ragged.ends.len()).filter_map(|row| ragged.steps(row));
        let lengths: Vec<u8> = steps.flat_map(|steps| (steps.len() as i32).to_le_bytes()).collect();
        Some(Column::new(name, DType::I32, [], lengths))
    }

    /// Where in its bytes a row lies.
    fn place(&self, row: usize) -> Option<std::ops::Range<usize>> {
        let width = self.row_bytes();
        let (start, bytes) = match &self.ragged {
            Some(ragged) => {
                let steps = ragged.steps(row)?;
                (steps.start.checked_mul(width)?, steps.len().checked_mul(width)?)
            }
            None => (usize::try_from(self.places.of(row)?).ok()?, width),
        };
        Some(start..start.checked_add(bytes)?)
    }

    /// Its bytes, where they are in memory or mapped.
    fn memory(&self) -> Option<&[u8]> {
        match &self.values {
            Values::Owned(bytes) => Some(bytes),
            Values::Mapped(map) => Some(map),
            Values::File(_) | Values::Pictures(_) => None,
        }
    }

    /// Bytes of one row, or of one step of it where rows differ in length.
    pub fn row_bytes(&self) -> usize {
        self.dtype.size() * self.shape.iter().product::<usize>()
    }

    /// Appends the bytes of one row.
    pub fn read(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        self.read_raw(row, out)?;
        if let Some(numbers) = &self.numbers {
            let number = out.get(from..).and_then(|bytes| bytes.first_chunk::<4>()).copied();
            let number = number.and_then(|bytes| usize::try_from(i32::from_le_bytes(bytes)).ok());
            let number = number.and_then(|number| numbers.get(number)).copied().unwrap_or(-1);
            out.truncate(from);
            out.extend(number.to_le_bytes());
        }
        Ok(())
    }

    fn read_raw(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let missing = || Error::Unsound(format!("`{}` has no row {row}", self.name));
        match &self.values {
            Values::Pictures(pictures) => return pictures.read(row, out),
            Values::File(disk) => {
                return disk.read(self.places.of(row).ok_or_else(missing)?, self.row_bytes(), out);
            }
            Values::Owned(_) | Values::Mapped(_) => {}
        }
        let bytes = self.place(row).and_then(|place| self.memory()?.get(place)).ok_or_else(missing)?;
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// The whole number of a row, in a column of one integer a row.
    pub fn integer(&self, row: usize) -> Result<i64> {
        let mut bytes = Vec::with_capacity(8);
        self.read(row, &mut bytes)?;
        let wrong = || Error::Unsound(format!("`{}` holds no whole numbers", self.name));
        Ok(match (self.dtype, bytes.as_slice()) {
            (DType::U8 | DType::Bool, &[byte]) => i64::from(byte),
            (DType::I8, &[byte]) => i64::from(byte as i8),
            (DType::I32, &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
            (DType::I64, bytes) => i64::from_le_bytes(*bytes.first_chunk::<8>().ok_or_else(wrong)?),
            _ => return Err(wrong()),
        })
    }

    /// The system may bring these rows, which follow one another, into memory: they will be read soon.
    fn advise(&self, first: usize, last: usize) {
        let (Values::Mapped(map), Some(start), Some(end)) =
            (&self.values, self.places.of(first), self.places.of(last))
        else {
            return;
        };
        let bytes = end.saturating_sub(start).saturating_add(self.row_bytes() as u64);
        #[cfg(unix)]
        if let (Ok(start), Ok(bytes)) = (usize::try_from(start), usize::try_from(bytes))
            && start.checked_add(bytes).is_some_and(|end| end <= map.len())
        {
            let _ = map.advise_range(memmap2::Advice::WillNeed, start, bytes);
        }
        #[cfg(not(unix))]
        let _ = (map, bytes);
    }
}

/// Rows as columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub rows: usize,
    pub columns: Vec<Column>,
    /// Rows that are of no part, in order: pictures that cannot be read.
    pub left_out: Vec<u32>,
}

impl Table {
    /// The rows that can be used.
    pub fn usable(&self) -> Vec<u32> {
        (0..self.rows as u32).filter(|row| self.left_out.binary_search(row).is_err()).collect()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns.iter().map(Column::row_bytes).sum()
    }

    /// These rows will be read soon, in this order.
    pub fn want(&self, rows: &[u32]) {
        for column in &self.columns {
            if let Values::Pictures(pictures) = &column.values {
                pictures.want(rows);
            }
        }
    }

    /// Rows from one to another will be read next.
    pub fn advise(&self, first: u32, last: u32) {
        let mut before: Option<&Values> = None;
        for column in &self.columns {
            // Columns that share their bytes are neighbours, and what is said of one holds for all.
            let shared = match (before, &column.values) {
                (Some(Values::Mapped(a)), Values::Mapped(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
            if !shared {
                column.advise(first as usize, last as usize);
            }
            before = Some(&column.values);
        }
    }

    /// How long a row is, in steps of all fields whose rows differ in length.
    pub fn length(&self, row: u32) -> usize {
        let ragged =
            self.columns.iter().filter_map(|column| column.ragged.as_ref()).filter(|r| r.pad.is_some());
        ragged.filter_map(|ragged| ragged.steps(row as usize)).map(|steps| steps.len()).sum()
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
