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
    /// The values that a class column's numbers stand for.
    pub classes: Option<Arc<[Class]>>,
    /// The number that stands for each number in `values`, once the classes have their order.
    pub numbers: Option<Arc<[i32]>>,
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
            classes: None,
            numbers: None,
        }
    }

    /// Bytes of one row.
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
        let width = self.row_bytes();
        let missing = || Error::Unsound(format!("`{}` has no row {row}", self.name));
        let bytes: &[u8] = match &self.values {
            Values::Pictures(pictures) => return pictures.read(row, out),
            Values::File(disk) => {
                return disk.read(self.places.of(row).ok_or_else(missing)?, width, out);
            }
            Values::Owned(bytes) => bytes,
            Values::Mapped(map) => map,
        };
        let start = self.places.of(row).and_then(|start| usize::try_from(start).ok());
        let row = start.and_then(|start| bytes.get(start..start.checked_add(width)?)).ok_or_else(missing)?;
        out.extend_from_slice(row);
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

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
