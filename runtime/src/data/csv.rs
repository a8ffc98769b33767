//! Lines of cells: CSV and its kin, plain or gzipped, read in blocks of rows.

use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::blocks::{Block, Blocks};
use super::rows::Rows;
use super::{Watch, paths};
use crate::error::{Error, Result, nearest};
use crate::program::Field;

/// How the lines are written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub separator: u8,
    pub header: bool,
    /// A cell may stand in quotation marks.
    pub quotes: bool,
}

/// Reads the rows of one file.
pub fn read(path: &Path, form: Form, fields: &[Field], rows: &mut Rows<'_>, watch: Watch<'_>) -> Result<()> {
    let mut blocks = Blocks::open(path, watch, move |bytes| form.whole(bytes))?;
    let mut first = blocks.next()?.unwrap_or_else(|| Block { bytes: Vec::new(), line: 1 });
    if first.bytes.starts_with(&[0xff, 0xfe]) || first.bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::damaged(path, "this file is UTF-16; save it as UTF-8"));
    }
    if first.bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        first.bytes.drain(..3);
    }
    let mut reader = form.reader(&first.bytes);
    let mut record = ByteRecord::new();
    let is_there = next(&mut reader, &mut record, path)?;
    let head = usize::try_from(reader.position().byte()).unwrap_or(0).min(first.bytes.len());
    form.closed(&first.bytes[..head], first.line).map_err(|message| Error::damaged(path, message))?;
    let lines = if form.header {
        if !is_there {
            return Err(Error::damaged(path, "the file is empty: its first line names the columns"));
        }
        let names = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        first = first.after(head);
        Lines::by_name(path, form, names, fields)?
    } else {
        let names = (1..=record.len()).map(|place| place.to_string()).collect();
        if !is_there {
            return Ok(());
        }
        Lines::by_place(path, form, names, fields)?
    };
    let wrong = |field: usize, message: String| {
        let name = fields.get(field).map_or("", |field| field.name.as_str());
        Error::damaged(path, format!("`{name}`: {message}"))
    };
    blocks.each(first, |block| lines.rows(&block), |piece| rows.append(piece, wrong))
}

impl Form {
    fn reader(self, bytes: &[u8]) -> Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.separator)
            .quoting(self.quotes)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(bytes)
    }

    /// How many of these bytes, which begin with a row, are whole rows.
    fn whole(self, bytes: &[u8]) -> usize {
        self.cut(bytes).0
    }

    /// An error if a row ends inside of a cell whose quotation mark nothing closes; `first` is the number of its first line.
    fn closed(self, row: &[u8], first: u64) -> Result<(), String> {
        let Some(open) = self.cut(row).1 else { return Ok(()) };
        let line = first + memchr::memchr_iter(b'\n', &row[..open]).count() as u64;
        Err(format!(
            "line {line}: a quotation mark begins a cell here, and nothing closes it; close it, or write `quotes = false` in the spec \
             where such marks are letters"
        ))
    }

    /// How many of these bytes, which begin with a row, are whole rows, and where the quotation mark is that nothing closes. A quotation
    /// mark opens a cell where one begins, and is a letter elsewhere; in a cell that it opened, two of them are a letter, and one closes it.
    fn cut(self, bytes: &[u8]) -> (usize, Option<usize>) {
        let ends = |from: usize, to: usize| {
            memchr::memrchr2(b'\n', b'\r', &bytes[from..to]).map(|end| from + end + 1)
        };
        let quote = |from: usize| memchr::memchr(b'"', bytes.get(from..)?).map(|at| from + at);
        let (mut at, mut whole) = (0, 0);
        while self.quotes
            && let Some(mark) = quote(at)
        {
            whole = ends(at, mark).unwrap_or(whole);
            at = mark + 1;
            let begins = |before: u8| before == self.separator || matches!(before, b'\n' | b'\r');
            if !mark.checked_sub(1).is_none_or(|before| begins(bytes[before])) {
                continue;
            }
            let open = mark;
            loop {
                let Some(mark) = quote(at) else { return (whole, Some(open)) };
                at = mark + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        (ends(at, bytes.len()).unwrap_or(whole), None)
    }
}

fn next(reader: &mut Reader<&[u8]>, record: &mut ByteRecord, path: &Path) -> Result<bool> {
    reader.read_byte_record(record).map_err(|error| Error::damaged(path, error.to_string()))
}

/// How the lines of a file become rows.
struct Lines<'a> {
    path: &'a Path,
    form: Form,
    fields: &'a [Field],
    names: Vec<String>,
    columns: Vec<Cells>,
}

/// Which cells of a row make a field.
struct Cells {
    field: usize,
    places: Vec<usize>,
    /// Each cell is one number of the field.
    parts: bool,
}

impl<'a> Lines<'a> {
    fn rows(&self, block: &Block) -> Result<Rows<'a>> {
        let Lines { path, fields, names, .. } = self;
        let mut rows = Rows::piece(fields);
        let mut reader = self.form.reader(&block.bytes);
        let mut record = ByteRecord::new();
        while next(&mut reader, &mut record, path)? {
            let line = block.line + line_of(&record, &block.bytes);
            let wrong = |message: String| Error::damaged(path, format!("line {line}: {message}"));
            if reader.position().byte() >= block.bytes.len() as u64 {
                let from = record.position().map_or(0, |position| position.byte() as usize);
                let (before, row) = block.bytes.split_at(from.min(block.bytes.len()));
                let first = block.line + memchr::memchr_iter(b'\n', before).count() as u64;
                self.form.closed(row, first).map_err(|message| Error::damaged(path, message))?;
            }
            if record.len() != names.len() {
                let first = if self.form.header { "the header names" } else { "the first line has" };
                let mut message = format!("{}, but {first} {}", cells(record.len()), names.len());
                if record.iter().any(|cell| cell.contains(&b'\n')) {
                    message += "; a cell of it goes over several lines: is a quotation mark closed too late?";
                }
                return Err(wrong(message));
            }
            for column in &self.columns {
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
        Ok(rows)
    }

    /// Finds each field's columns by the names of the header.
    fn by_name(path: &'a Path, form: Form, names: Vec<String>, fields: &'a [Field]) -> Result<Lines<'a>> {
        let mut lacking = Vec::new();
        let mut columns = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let exact: Vec<usize> = (0..names.len()).filter(|&place| names[place] == field.from).collect();
            let parts = exact.is_empty() && field.from.contains('*');
            let places = match parts {
                true => {
                    (0..names.len()).filter(|&place| paths::matches(&field.from, &names[place])).collect()
                }
                false => exact,
            };
            let wanted = field.shape.iter().product::<usize>();
            match places.len() {
                0 => lacking.push(match nearest(&field.from, names.iter().map(String::as_str)) {
                    Some(near) => format!("`{}` (did you mean `{near}`?)", field.from),
                    None => format!("`{}`", field.from),
                }),
                count if parts && field.ragged.is_none() && count != wanted => {
                    let found: Vec<String> = places.iter().map(|place| names[*place].clone()).collect();
                    let message = format!(
                        "`{}` is {wanted} numbers, but {count} columns are called `{}`: {}",
                        field.name,
                        field.from,
                        some(&found)
                    );
                    return Err(Error::damaged(path, message));
                }
                1 => {}
                _ if parts => {}
                _ => return Err(Error::damaged(path, format!("the header names `{}` twice", field.from))),
            }
            columns.push(Cells { field: index, places, parts });
        }
        if lacking.is_empty() {
            return Ok(Lines { path, form, fields, names, columns });
        }
        let what = if lacking.len() == 1 { "there is no column" } else { "there are no columns" };
        let mut message = format!("{what} {}; the header names {}", lacking.join(", "), some(&names));
        let several =
            |letter: &&&str| letter.as_bytes() != [form.separator] && names.concat().contains(**letter);
        if let (1, Some(letter)) = (names.len(), [";", "\t", "|", ",", " "].iter().find(several)) {
            message += &format!("; with `separator = {letter:?}` they are several");
        }
        Err(Error::damaged(path, message))
    }

    /// Without a header, columns are numbered from 1, and a field without a number comes after the one before it.
    fn by_place(path: &'a Path, form: Form, names: Vec<String>, fields: &'a [Field]) -> Result<Lines<'a>> {
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
        Ok(Lines { path, form, fields, names, columns })
    }
}

/// How many lines of a block stand before a row. Where a row begins, the empty lines before it have not been counted yet.
fn line_of(record: &ByteRecord, block: &[u8]) -> u64 {
    let Some(position) = record.position() else { return 0 };
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let empty = block.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    position.line() - 1 + empty.filter(|byte| **byte == b'\n').count() as u64
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".into() } else { format!("{count} cells") }
}

/// The first names of many.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{}, and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The cells of each row, and the line that it begins on.
    fn records(form: Form, block: &Block) -> Vec<(u64, Vec<Vec<u8>>)> {
        let (mut reader, mut record, mut rows) = (form.reader(&block.bytes), ByteRecord::new(), Vec::new());
        while next(&mut reader, &mut record, Path::new("rows")).unwrap() {
            let line = block.line + line_of(&record, &block.bytes);
            rows.push((line, record.iter().map(<[u8]>::to_vec).collect()));
        }
        rows
    }

    proptest! {
        /// Quotation marks may stand anywhere: blocks give the rows that the whole text gives.
        #[test]
        fn blocks_end_where_rows_end(text in "[ab,\"\n\r]{0,80}", size in 1usize..24, quotes: bool) {
            let form = Form { separator: b',', header: false, quotes };
            let all = records(form, &Block { bytes: text.clone().into_bytes(), line: 1 });
            let whole = move |bytes: &[u8]| form.whole(bytes);
            let mut blocks = Blocks::of(Path::new("rows"), Box::new(text.as_bytes()), Box::new(whole), size);
            let mut parts = Vec::new();
            while let Some(block) = blocks.next().unwrap() {
                parts.extend(records(form, &block));
            }
            prop_assert_eq!(parts, all);
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let form = Form { separator: b',', header: false, quotes: true };
        for (text, lines) in
            [("a\nb\n\n\nc\n", [1, 2, 5]), ("a\r\nb\r\n\r\nc", [1, 2, 4]), ("\n\na\n\"b\nb\"\nc", [3, 4, 6])]
        {
            let rows = records(form, &Block { bytes: text.into(), line: 1 });
            assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines, "{text:?}");
        }
    }
}
