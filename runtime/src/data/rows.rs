//! Rows on their way into columns: readers hand over one cell after another, whatever their format. The fields of a row lie side by side.

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
    rows: usize,
}

/// One field of the row that is read.
#[derive(Debug, Default)]
struct Making {
    bytes: Vec<u8>,
    width: usize,
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
        let columns =
            fields.iter().map(|field| Making { width: width(field), ..Making::default() }).collect();
        Rows { fields, columns, store, rows: 0 }
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
            Cell::Text => {
                let kept = &cell.as_bytes()[..cell.len().min(column.width)];
                column.bytes.extend_from_slice(kept);
                column.bytes.resize(column.width, 0);
                Ok(())
            }
            Cell::Numbers if field.shape.is_empty() => {
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
        if column.bytes.len() >= column.width {
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
        }
    }

    /// One number of a field is missing.
    fn missing_part(&mut self, index: usize) -> Result<(), String> {
        let (field, column) = (&self.fields[index], &mut self.columns[index]);
        if !field.optional {
            return Err(empty(field));
        }
        if column.bytes.len() >= column.width {
            return Err(format!("more than {}", numbers(column.width / field.dtype.size())));
        }
        cells::push_missing(field.dtype, &mut column.bytes);
        Ok(())
    }

    /// All cells of a row are there. `wrong` says where a field stands that is not whole.
    pub fn end_row(&mut self, wrong: impl FnOnce(usize, String) -> Error) -> Result<()> {
        if self.rows >= MAX_ROWS {
            return Err(wrong(0, format!("a data set has at most {MAX_ROWS} rows")));
        }
        for (index, (column, field)) in self.columns.iter().zip(self.fields).enumerate() {
            let got = column.bytes.len();
            if got != column.width {
                let size = field.dtype.size();
                let message = format!("{} where the row has {}", numbers(got / size), column.width / size);
                return Err(wrong(index, message));
            }
        }
        for column in &mut self.columns {
            self.store.append(&column.bytes)?;
            column.bytes.clear();
        }
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Table> {
        let classes = self.columns.into_iter().map(|column| column.classes).collect();
        let about = About { rows: self.rows, classes };
        let values = self.store.finish(&about)?;
        Ok(table(self.fields, about.rows, about.classes, values))
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

/// Bytes of a field.
pub fn width(field: &Field) -> usize {
    field.dtype.size() * field.shape.iter().product::<usize>()
}

impl Making {
    /// The number of a class among those seen so far.
    fn class(&mut self, name: &str, place: impl FnOnce() -> String) -> Result<(), String> {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                if self.classes.len() >= MAX_CLASSES {
                    return Err(format!(
                        "there are more than {MAX_CLASSES} different values: these are no classes"
                    ));
                }
                let number = self.classes.len() as i32;
                self.classes.push(Class { name: name.to_owned(), place: place() });
                self.numbers.insert(name.to_owned(), number);
                number
            }
        };
        self.bytes.extend(number.to_le_bytes());
        Ok(())
    }
}

fn numbers(count: usize) -> String {
    if count == 1 { "1 number".into() } else { format!("{count} numbers") }
}

fn empty(field: &Field) -> String {
    let ty = match (&field.cell, field.dtype) {
        (Cell::Class(_), _) => "class?",
        (Cell::Text, _) => "text[…]?",
        (_, DType::F64) => "f64?",
        _ => "f32?",
    };
    format!("nothing is there; where values may be missing, the spec says `{}: {ty}`", field.name)
}
