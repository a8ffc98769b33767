//! Rows on their way into columns: readers hand over one cell after another, whatever their format.

use std::collections::HashMap;
use std::sync::Arc;

use super::cells::{self, Number};
use super::column::{Class, Column, Table};
use crate::program::{Cell, DType, Field};

/// More values than this are no classes.
const MAX_CLASSES: usize = 1 << 20;
/// Rows are counted with 32 bits.
pub const MAX_ROWS: usize = u32::MAX as usize;

/// Columns in the making.
#[derive(Debug)]
pub struct Rows<'f> {
    fields: &'f [Field],
    columns: Vec<Making>,
    rows: usize,
}

#[derive(Debug, Default)]
struct Making {
    bytes: Vec<u8>,
    /// Bytes that the rows so far make.
    full: usize,
    width: usize,
    /// How many steps there are up to the end of each row, where rows differ in length.
    ends: Vec<u64>,
    numbers: HashMap<String, i32>,
    classes: Vec<Class>,
}

impl<'f> Rows<'f> {
    pub fn new(fields: &'f [Field]) -> Rows<'f> {
        let width = |field: &Field| field.dtype.size() * field.shape.iter().product::<usize>();
        let columns =
            fields.iter().map(|field| Making { width: width(field), ..Making::default() }).collect();
        Rows { fields, columns, rows: 0 }
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
                column.bytes.resize(column.full + column.width, 0);
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
        if field.ragged.is_none() && column.bytes.len() >= column.full + column.width {
            return Err(format!("more than {}", numbers(column.width / field.dtype.size())));
        }
        cells::push(number, field.dtype, &mut column.bytes)
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
                column.bytes.resize(column.full + column.width, 0);
                Ok(())
            }
            Cell::Numbers => {
                while column.bytes.len() < column.full + column.width {
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
        if field.ragged.is_none() && column.bytes.len() >= column.full + column.width {
            return Err(format!("more than {}", numbers(column.width / field.dtype.size())));
        }
        cells::push_missing(field.dtype, &mut column.bytes);
        Ok(())
    }

    /// All cells of a row are there. The error says which field of it is not.
    pub fn end_row(&mut self) -> Result<(), (usize, String)> {
        if self.rows >= MAX_ROWS {
            return Err((0, format!("a data set has at most {MAX_ROWS} rows")));
        }
        for (index, (column, field)) in self.columns.iter_mut().zip(self.fields).enumerate() {
            let got = column.bytes.len() - column.full;
            if field.ragged.is_some() {
                if !got.is_multiple_of(column.width.max(1)) {
                    let size = field.dtype.size();
                    let message =
                        format!("{}, which are no steps of {}", numbers(got / size), column.width / size);
                    return Err((index, message));
                }
                column.full += got;
                column.ends.push((column.full / column.width.max(1)) as u64);
                continue;
            }
            if got != column.width {
                let size = field.dtype.size();
                let message = format!("{} where the row has {}", numbers(got / size), column.width / size);
                return Err((index, message));
            }
            column.full += column.width;
        }
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Table {
        let columns = self.fields.iter().zip(self.columns).map(|(field, making)| {
            let (name, shape) = (&field.name, field.shape.as_slice());
            match (&field.ragged, &field.cell) {
                (Some(_), Cell::Text) => Column::texts(name, making.bytes, making.ends),
                (Some(_), _) => Column::ragged(name, field.dtype, shape, making.bytes, making.ends),
                (None, cell) => Column {
                    classes: matches!(cell, Cell::Class(_)).then(|| Arc::from(making.classes)),
                    ..Column::new(name, field.dtype, shape, making.bytes)
                },
            }
        });
        Table { rows: self.rows, columns: columns.collect(), left_out: Vec::new() }
    }
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
        (Cell::Text, _) if field.ragged.is_some() => "text?",
        (Cell::Text, _) => "text[…]?",
        (_, DType::F64) => "f64?",
        _ => "f32?",
    };
    format!("nothing is there; where values may be missing, the spec says `{}: {ty}`", field.name)
}
