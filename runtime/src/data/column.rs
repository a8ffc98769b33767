//! Columns: the values of one field in all rows, in memory of our own or mapped from a cache file.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use memmap2::Mmap;

use super::pictures::Pictures;
use crate::error::{Error, Result};
use crate::program::DType;

/// One field of all rows, back to back.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub dtype: DType,
    /// Of one row.
    pub shape: Vec<usize>,
    pub values: Values,
    /// The values that a class column's numbers stand for.
    pub classes: Option<Arc<[Class]>>,
    /// Where each row begins, if rows don't lie back to back.
    pub starts: Option<Arc<[u64]>>,
    /// How long rows are, if they differ; `shape` is then that of one step.
    pub ragged: Option<Ragged>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    pub name: String,
    /// Where it stands first: `flowers.csv:12`.
    pub place: String,
}

/// Where the bytes of a column are.
#[derive(Clone)]
pub enum Values {
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
    /// Decoded as they are wanted.
    Pictures(Arc<Pictures>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::Owned(bytes) => bytes.len(),
            Values::Mapped(map) => map.len(),
            Values::Pictures(pictures) => pictures.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> Result<&[u8]> {
        match self {
            Values::Owned(bytes) => Ok(bytes),
            Values::Mapped(map) => Ok(map),
            Values::Pictures(pictures) => pictures.bytes(),
        }
    }
}

impl From<Vec<u8>> for Values {
    fn from(bytes: Vec<u8>) -> Values {
        Values::Owned(Arc::new(bytes))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Values::Owned(_) => "Owned",
            Values::Mapped(_) => "Mapped",
            Values::Pictures(_) => "Pictures",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

impl Column {
    pub fn new(
        name: impl Into<String>,
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl Into<Values>,
    ) -> Column {
        Column {
            name: name.into(),
            dtype,
            shape: shape.into(),
            values: values.into(),
            classes: None,
            starts: None,
            ragged: None,
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
        let bytes = self.row(row)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::Unsound(format!("`{}` holds no texts", self.name)))?;
        Ok(text.trim_end_matches('\0'))
    }

    /// How long each row is: a column of one number a row.
    pub fn lengths(&self, name: String) -> Option<Column> {
        let ragged = self.ragged.as_ref()?;
        let steps = (0..ragged.ends.len()).filter_map(|row| ragged.steps(row));
        let lengths: Vec<u8> = steps.flat_map(|steps| (steps.len() as i32).to_le_bytes()).collect();
        Some(Column::new(name, DType::I32, [], lengths))
    }

    /// Bytes of one row, or of one step of it where rows differ in length.
    pub fn row_bytes(&self) -> usize {
        self.dtype.size() * self.shape.iter().product::<usize>()
    }

    /// The bytes of one row.
    pub fn row(&self, row: usize) -> Result<&[u8]> {
        if let Values::Pictures(pictures) = &self.values {
            return pictures.row(row);
        }
        let width = self.row_bytes();
        // Where it begins, and how many bytes it has.
        let place = match (&self.ragged, &self.starts) {
            (Some(ragged), _) => ragged
                .steps(row)
                .and_then(|steps| Some((steps.start.checked_mul(width)?, steps.len().checked_mul(width)?))),
            (None, Some(starts)) => {
                starts.get(row).and_then(|start| Some((usize::try_from(*start).ok()?, width)))
            }
            (None, None) => row.checked_mul(width).map(|start| (start, width)),
        };
        let bytes = self.values.bytes()?;
        place
            .and_then(|(start, width)| bytes.get(start..start.checked_add(width)?))
            .ok_or_else(|| Error::Unsound(format!("`{}` has no row {row}", self.name)))
    }

    /// The bytes of all rows, back to back.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        let Some(starts) = &self.starts else { return self.values.bytes().map(Cow::Borrowed) };
        let mut bytes = Vec::with_capacity(starts.len() * self.row_bytes());
        for row in 0..starts.len() {
            bytes.extend_from_slice(self.row(row)?);
        }
        Ok(bytes.into())
    }

    /// The whole numbers of a column of one integer a row.
    pub fn integers(&self) -> Result<Vec<i64>> {
        let bytes = self.bytes()?;
        Ok(match self.dtype {
            DType::U8 | DType::Bool => bytes.iter().map(|&b| i64::from(b)).collect(),
            DType::I8 => bytes.iter().map(|&b| i64::from(b as i8)).collect(),
            DType::I32 => bytes.as_chunks().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect(),
            DType::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            _ => return Err(Error::Unsound(format!("`{}` holds no whole numbers", self.name))),
        })
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

    /// These rows will be read soon, in this order.
    pub fn want(&self, rows: &[u32]) {
        for column in &self.columns {
            if let Values::Pictures(pictures) = &column.values {
                pictures.want(rows);
            }
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
