//! Lines of cells: CSV and its kin, plain or gzipped, read row by row.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use flate2::bufread::MultiGzDecoder;

use super::paths;
use super::rows::Rows;
use crate::error::{Error, Result, nearest, plain};
use crate::program::Field;

/// A row longer than this is none: a quote that is never closed, or no text at all.
const LONGEST_ROW: usize = 64 << 20;

/// How the lines are written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub separator: u8,
    pub header: bool,
}

/// Reads the rows of one file.
pub fn read(path: &Path, form: Form, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(Error::file("read", path))?);
    let start = file.fill_buf().map_err(Error::file("read", path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return records(path, BufReader::new(MultiGzDecoder::new(file)), form, fields, rows);
    }
    records(path, file, form, fields, rows)
}

/// Which cells of a row make a field.
struct Cells {
    field: usize,
    places: Vec<usize>,
    /// Each cell is one number of the field.
    parts: bool,
}

fn records(
    path: &Path,
    mut source: impl BufRead,
    form: Form,
    fields: &[Field],
    rows: &mut Rows<'_>,
) -> Result<()> {
    let start = source.fill_buf().map_err(|error| unreadable(path, &error))?;
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(Error::damaged(path, "this file is UTF-16; save it as UTF-8"));
    }
    if start.starts_with(&[0xef, 0xbb, 0xbf]) {
        source.consume(3);
    }
    let since = Rc::new(Cell::new(0));
    let mut reader = ReaderBuilder::new()
        .delimiter(form.separator)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(Bounded { inner: source, since: Rc::clone(&since) });
    let mut record = ByteRecord::new();
    let mut next = |record: &mut ByteRecord| match reader.read_byte_record(record) {
        Ok(more) => {
            since.set(0);
            Ok(more)
        }
        Err(error) => Err(match error.into_kind() {
            ErrorKind::Io(error) => unreadable(path, &error),
            other => Error::damaged(path, format!("{other:?}")),
        }),
    };
    let (mut names, mut columns): (Vec<String>, Vec<Cells>) = (Vec::new(), Vec::new());
    if form.header {
        if !next(&mut record)? {
            return Err(Error::damaged(path, "the file is empty: its first line names the columns"));
        }
        names = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        columns = by_name(path, &names, fields)?;
    }
    let mut cells = record.len();
    while next(&mut record)? {
        let line = record.position().map_or(0, |position| position.line());
        let wrong = |message: String| Error::damaged(path, format!("line {line}: {message}"));
        if !form.header && columns.is_empty() {
            cells = record.len();
            names = (1..=cells).map(|place| place.to_string()).collect();
            columns = by_place(path, &names, fields)?;
        }
        if record.len() != cells {
            let first = if form.header { "the header names" } else { "the first line has" };
            return Err(wrong(format!("{} cells, but {first} {cells}", record.len())));
        }
        for column in &columns {
            let mut end = |place: usize| {
                let cell = record.get(place).unwrap_or_default();
                let cell = std::str::from_utf8(cell).map_err(|_| "the bytes are no UTF-8".to_owned())?;
                match column.parts {
                    true => rows.part(column.field, cell),
                    false => rows.text(column.field, cell, || format!("{}:{line}", path.display())),
                }
            };
            for &place in &column.places {
                let named = || format!("column `{}`", names.get(place).map_or("", String::as_str));
                end(place).map_err(|message| wrong(format!("{}: {message}", named())))?;
            }
        }
        rows.end_row(|field, message| {
            wrong(format!("`{}`: {message}", fields.get(field).map_or("", |field| field.name.as_str())))
        })?;
    }
    Ok(())
}

/// Finds each field's columns by the names of the header.
fn by_name(path: &Path, names: &[String], fields: &[Field]) -> Result<Vec<Cells>> {
    let mut lacking = Vec::new();
    let mut columns = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let exact: Vec<usize> = (0..names.len()).filter(|&place| names[place] == field.from).collect();
        let parts = exact.is_empty() && field.from.contains('*');
        let places = match parts {
            true => (0..names.len()).filter(|&place| paths::matches(&field.from, &names[place])).collect(),
            false => exact,
        };
        match places.len() {
            0 => lacking.push(match nearest(&field.from, names.iter().map(String::as_str)) {
                Some(near) => format!("`{}` (did you mean `{near}`?)", field.from),
                None => format!("`{}`", field.from),
            }),
            1 => {}
            _ if parts => {}
            _ => return Err(Error::damaged(path, format!("the header names `{}` twice", field.from))),
        }
        columns.push(Cells { field: index, places, parts });
    }
    if lacking.is_empty() {
        return Ok(columns);
    }
    let what = if lacking.len() == 1 { "there is no column" } else { "there are no columns" };
    let message = format!("{what} {}; the header names {}", lacking.join(", "), some(names));
    Err(Error::damaged(path, message))
}

/// Without a header, columns are numbered from 1, and a field without a number comes after the one before it.
fn by_place(path: &Path, names: &[String], fields: &[Field]) -> Result<Vec<Cells>> {
    let mut next = 0;
    let mut columns = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let number = if field.from == field.name { None } else { field.from.parse::<usize>().ok() };
        let place = number.map_or(next, |number| number.wrapping_sub(1));
        if place >= names.len() {
            let message = format!(
                "`{}` is column {}, but a line has {}",
                field.name,
                place.wrapping_add(1),
                names.len()
            );
            return Err(Error::damaged(path, message));
        }
        next = place + 1;
        columns.push(Cells { field: index, places: vec![place], parts: false });
    }
    Ok(columns)
}

/// The first names of many.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{}, and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::damaged(path, format!("it cannot be read: {}", plain(error)))
}

/// Ends a file whose row never ends.
struct Bounded<R> {
    inner: R,
    /// Bytes since the last row was whole.
    since: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.since.set(self.since.get() + count);
        if self.since.get() > LONGEST_ROW {
            let message = format!("a row is longer than {LONGEST_ROW} bytes; is a quote never closed?");
            return Err(std::io::Error::other(message));
        }
        Ok(count)
    }
}
