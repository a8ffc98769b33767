//! Rows on their way into columns: readers hand over one cell after another, whatever their format. The fields of a row lie side by side,
//! but for those whose rows differ in length: these stay in memory, each for itself.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::Entry;
use super::cells::{self, Number};
use super::column::{Class, Column, Places, Table, Values};
use super::store::Store;
use crate::error::{Error, Result};
use crate::program::{Cell, DType, Field};

/// More values than this are no classes.
const MAX_CLASSES: usize = 1 << 20;
/// Rows are counted with 32 bits.
pub const MAX_ROWS: usize = u32::MAX as usize;

/// Columns in the making.
#[derive(Debug)]
pub struct Rows<'a> {
    fields: &'a [Field],
    columns: Vec<Making>,
    store: Store<'a>,
    /// The fields of one row, side by side.
    row: Vec<u8>,
    rows: usize,
}

/// One field of the row that is read.
#[derive(Debug, Default)]
struct Making {
    bytes: Vec<u8>,
    /// Bytes of a row, or of one step of it where rows differ in length.
    width: usize,
    /// The rows so far, and how many steps there are up to the end of each, where they differ in length.
    kept: Vec<u8>,
    ends: Vec<u64>,
    numbers: HashMap<String, i32>,
    classes: Vec<Class>,
}

/// What the cache says of rows, beside their bytes.
#[derive(Serialize, Deserialize)]
struct About {
    rows: usize,
    /// The classes of each field.
    classes: Vec<Vec<Class>>,
}

impl<'a> Rows<'a> {
    pub fn new(fields: &'a [Field], store: Store<'a>) -> Rows<'a> {
        let columns = fields.iter().map(|field| Making { width: step(field), ..Making::default() }).collect();
        Rows { fields, columns, store, row: Vec::new(), rows: 0 }
    }

    /// Rows of a stretch of a file, for [`Rows::append`].
    pub fn piece(fields: &'a [Field]) -> Rows<'a> {
        Rows::new(fields, Store::piece())
    }

    /// Appends the rows of a piece, whose classes get the numbers that they have here. `wrong` says which field cannot be.
    pub fn append(&mut self, piece: Rows<'_>, wrong: impl Fn(usize, String) -> Error) -> Result<()> {
        if piece.rows > MAX_ROWS - self.rows {
            return Err(wrong(0, too_many()));
        }
        let mut bytes = piece.store.into_bytes();
        let stride = self.fields.iter().map(width).sum();
        let mut first = 0;
        for (index, mut other) in piece.columns.into_iter().enumerate() {
            let (Some(own), Some(field)) = (self.columns.get_mut(index), self.fields.get(index)) else {
                break;
            };
            let steps = own.ends.last().copied().unwrap_or(0);
            own.kept.append(&mut other.kept);
            own.ends.extend(other.ends.iter().map(|end| end + steps));
            let mut numbers = Vec::with_capacity(other.classes.len());
            for class in other.classes {
                numbers
                    .push(own.number(&class.name, || class.place).map_err(|message| wrong(index, message))?);
            }
            if (0..).zip(&numbers).any(|(there, here)| there != *here) {
                renumber(&mut bytes, first, stride, &numbers);
            }
            first += width(field);
        }
        self.store.append(&bytes)?;
        self.rows += piece.rows;
        Ok(())
    }

    /// The rows that an earlier run has left in the cache.
    pub fn kept(fields: &[Field], entry: Option<&Entry>) -> Option<Table> {
        let (maps, about) = entry?.open()?;
        let About { rows, classes } = serde_json::from_value(about).ok()?;
        let map = maps.into_iter().next()?;
        let whole = map.len() == fields.iter().map(width).sum::<usize>().checked_mul(rows)?;
        (whole && classes.len() == fields.len())
            .then(|| table(fields, rows, classes, Values::Mapped(Arc::new(map))))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// A cell of text, read as what its field is. `place` is only asked when it must be kept.
    pub fn text(&mut self, index: usize, cell: &str, place: impl FnOnce() -> String) -> Result<(), String> {
        let (field, column) = (&self.fields[index], &mut self.columns[index]);
        match &field.cell {
            Cell::Class(_) => {
                let cell = cell.trim();
                if cell.is_empty() {
                    return self.missing(index);
                }
                column.class(cell, place)
            }
            Cell::Text if field.ragged.is_some() => {
                column.bytes.extend_from_slice(cell.as_bytes());
                Ok(())
            }
            Cell::Text => {
                let kept = &cell.as_bytes()[..cell.len().min(column.width)];
                column.bytes.extend_from_slice(kept);
                column.bytes.resize(column.width, 0);
                Ok(())
            }
            Cell::Numbers if field.shape.is_empty() && field.ragged.is_none() => {
                let cell = cell.trim();
                if cells::is_missing(cell) {
                    return self.missing(index);
                }
                self.number(index, cells::parse(cell, field.dtype)?)
            }
            // Several numbers in one cell: `0.1 0.2 0.3`, `[1, 2, 3]`.
            Cell::Numbers => {
                let apart = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '[' | ']' | '(' | ')');
                for number in cell.split(apart).filter(|number| !number.is_empty()) {
                    self.part(index, number)?;
                }
                Ok(())
            }
            Cell::Tokens { .. } | Cell::Length { .. } => Err("it is made of another field".into()),
        }
    }

    /// One number of a field, as text.
    pub fn part(&mut self, index: usize, cell: &str) -> Result<(), String> {
        let cell = cell.trim();
        if cells::is_missing(cell) {
            return self.missing_part(index);
        }
        self.number(index, cells::parse(cell, self.fields[index].dtype)?)
    }

    /// One number of a field, or a class that is written as a number.
    pub fn number(&mut self, index: usize, number: Number) -> Result<(), String> {
        let (field, column) = (&self.fields[index], &mut self.columns[index]);
        if field.ragged.is_none() && column.bytes.len() >= column.width {
            return Err(format!("more than {}", numbers(column.width / field.dtype.size())));
        }
        cells::push(number, field.dtype, &mut column.bytes)
    }

    /// Bytes of a field, as they are.
    pub fn bytes(&mut self, index: usize, bytes: impl IntoIterator<Item = u8>) {
        self.columns[index].bytes.extend(bytes);
    }

    /// The whole field is missing.
    pub fn missing(&mut self, index: usize) -> Result<(), String> {
        let (field, column) = (&self.fields[index], &mut self.columns[index]);
        match field.cell {
            _ if !field.optional => Err(empty(field)),
            _ if field.ragged.is_some() => Ok(()),
            Cell::Class(_) => {
                column.bytes.extend((-1i32).to_le_bytes());
                Ok(())
            }
            Cell::Text => {
                column.bytes.resize(column.width, 0);
                Ok(())
            }
            Cell::Numbers => {
                while column.bytes.len() < column.width {
                    cells::push_missing(field.dtype, &mut column.bytes);
                }
                Ok(())
            }
            Cell::Tokens { .. } | Cell::Length { .. } => Err("it is made of another field".into()),
        }
    }

    /// One number of a field is missing.
    fn missing_part(&mut self, index: usize) -> Result<(), String> {
        let (field, column) = (&self.fields[index], &mut self.columns[index]);
        if !field.optional {
            return Err(empty(field));
        }
        if field.ragged.is_none() && column.bytes.len() >= column.width {
            return Err(format!("more than {}", numbers(column.width / field.dtype.size())));
        }
        cells::push_missing(field.dtype, &mut column.bytes);
        Ok(())
    }

    /// All cells of a row are there. `wrong` says where a field stands that is not whole.
    pub fn end_row(&mut self, wrong: impl FnOnce(usize, String) -> Error) -> Result<()> {
        if self.rows >= MAX_ROWS {
            return Err(wrong(0, too_many()));
        }
        for (index, (column, field)) in self.columns.iter().zip(self.fields).enumerate() {
            let got = column.bytes.len();
            if field.ragged.is_some() {
                if !got.is_multiple_of(column.width.max(1)) {
                    let size = field.dtype.size();
                    let message =
                        format!("{}, which are no steps of {}", numbers(got / size), column.width / size);
                    return Err(wrong(index, message));
                }
                continue;
            }
            if got != column.width {
                let size = field.dtype.size();
                let message = format!("{} where the row has {}", numbers(got / size), column.width / size);
                return Err(wrong(index, message));
            }
        }
        for (column, field) in self.columns.iter_mut().zip(self.fields) {
            if field.ragged.is_some() {
                column.kept.append(&mut column.bytes);
                column.ends.push((column.kept.len() / column.width.max(1)) as u64);
                continue;
            }
            self.row.append(&mut column.bytes);
        }
        self.store.append(&self.row)?;
        self.row.clear();
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Table> {
        let (mut classes, mut apart) = (Vec::new(), Vec::new());
        for (column, field) in self.columns.into_iter().zip(self.fields) {
            classes.push(column.classes);
            apart.push(match (&field.ragged, &field.cell) {
                (None, _) => None,
                (Some(_), Cell::Text) => Some(Column::texts(&field.name, column.kept, column.ends)),
                (Some(_), _) => {
                    let shape = field.shape.as_slice();
                    Some(Column::ragged(&field.name, field.dtype, shape, column.kept, column.ends))
                }
            });
        }
        let about = About { rows: self.rows, classes };
        let values = self.store.finish(&about)?;
        let mut table = table(self.fields, about.rows, about.classes, values);
        for (column, apart) in table.columns.iter_mut().zip(apart) {
            if let Some(apart) = apart {
                *column = apart;
            }
        }
        Ok(table)
    }
}

/// Columns over rows that lie in one run of bytes.
fn table(fields: &[Field], rows: usize, classes: Vec<Vec<Class>>, values: Values) -> Table {
    let stride = fields.iter().map(width).sum();
    let mut first = 0;
    let columns = fields.iter().zip(classes).map(|(field, classes)| {
        let places = Places::even(first, stride);
        first += width(field);
        Column {
            classes: matches!(field.cell, Cell::Class(_)).then(|| Arc::from(classes)),
            places,
            ..Column::new(&field.name, field.dtype, field.shape.as_slice(), values.clone())
        }
    });
    Table { rows, columns: columns.collect(), left_out: Vec::new() }
}

/// Bytes of a field beside the others of its row; none of one whose rows differ in length.
pub fn width(field: &Field) -> usize {
    if field.ragged.is_some() { 0 } else { step(field) }
}

/// Bytes of a field, or of one step of it.
fn step(field: &Field) -> usize {
    field.dtype.size() * field.shape.iter().product::<usize>()
}

impl Making {
    fn class(&mut self, name: &str, place: impl FnOnce() -> String) -> Result<(), String> {
        let number = self.number(name, place)?;
        self.bytes.extend(number.to_le_bytes());
        Ok(())
    }

    /// The number of a class among those seen so far.
    fn number(&mut self, name: &str, place: impl FnOnce() -> String) -> Result<i32, String> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        if self.classes.len() >= MAX_CLASSES {
            return Err(format!("there are more than {MAX_CLASSES} different values: these are no classes"));
        }
        let number = self.classes.len() as i32;
        self.classes.push(Class { name: name.to_owned(), place: place() });
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

/// Gives the classes of a field their numbers in another list; what is missing stays so.
fn renumber(bytes: &mut [u8], first: usize, stride: usize, numbers: &[i32]) {
    for row in bytes.chunks_exact_mut(stride) {
        let Some(cell) = row.get_mut(first..).and_then(|cells| cells.first_chunk_mut::<4>()) else { return };
        let number = usize::try_from(i32::from_le_bytes(*cell)).ok();
        if let Some(number) = number.and_then(|number| numbers.get(number)) {
            *cell = number.to_le_bytes();
        }
    }
}

fn too_many() -> String {
    format!("a data set has at most {MAX_ROWS} rows")
}

fn numbers(count: usize) -> String {
    if count == 1 { "1 number".into() } else { format!("{count} numbers") }
}

fn empty(field: &Field) -> String {
    let extents = field.ragged.iter().cloned().chain(field.shape.iter().map(usize::to_string));
    let shape = match extents.collect::<Vec<_>>() {
        extents if extents.is_empty() => String::new(),
        extents => format!("[{}]", extents.join(", ")),
    };
    let ty = match (&field.cell, field.dtype) {
        (Cell::Class(_), _) => "class".to_owned(),
        (Cell::Text, _) if field.ragged.is_some() => "text".to_owned(),
        (Cell::Text, _) => format!("text{shape}"),
        (_, DType::F64) => format!("f64{shape}"),
        _ => format!("f32{shape}"),
    };
    format!("nothing is there; where values may be missing, the spec says `{}: {ty}?`", field.name)
}
