//! JSON lines: an object a line, read one after another.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::cells::{Number, shown};
use super::rows::Rows;
use crate::error::{Error, Result, nearest, plain};
use crate::program::{Cell, Field};

/// A longer line is no row.
const LONGEST_ROW: u64 = 64 << 20;

/// Reads the rows of one file.
pub fn read(path: &Path, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    let mut file = BufReader::new(File::open(path).map_err(Error::file("read", path))?);
    let start = file.fill_buf().map_err(Error::file("read", path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return objects(path, BufReader::new(MultiGzDecoder::new(file)), fields, rows);
    }
    objects(path, file, fields, rows)
}

fn objects(path: &Path, mut source: impl BufRead, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        let wrong = |message: String| Error::damaged(path, format!("line {number}: {message}"));
        let read = source.by_ref().take(LONGEST_ROW + 1).read_until(b'\n', &mut line);
        let read =
            read.map_err(|error| Error::damaged(path, format!("it cannot be read: {}", plain(&error))))?;
        if read == 0 {
            return Ok(());
        }
        if line.len() as u64 > LONGEST_ROW {
            return Err(wrong(format!("it is longer than {LONGEST_ROW} bytes")));
        }
        let text = line.strip_prefix(&[0xef, 0xbb, 0xbf]).filter(|_| number == 1).unwrap_or(&line);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let object: Value = serde_json::from_slice(text).map_err(|error| {
            // The parser counts lines too, but it only sees one.
            let error = error.to_string();
            wrong(format!("this is no JSON: {}", error.split(" at line").next().unwrap_or(&error)))
        })?;
        let Value::Object(object) = object else {
            return Err(wrong("a row is an object: `{\"name\": value, …}`".into()));
        };
        for (index, field) in fields.iter().enumerate() {
            let result = match object.get(&field.from) {
                None | Some(Value::Null) => rows.missing(index).map_err(|message| {
                    match nearest(&field.from, object.keys().map(String::as_str)) {
                        Some(near) if !object.contains_key(&field.from) => {
                            format!("{message}; did you mean `{near}`?")
                        }
                        _ => message,
                    }
                }),
                Some(value) => cell(value, index, field, rows, || format!("{}:{number}", path.display())),
            };
            result.map_err(|message| wrong(format!("`{}`: {message}", field.from)))?;
        }
        rows.end_row(|field, message| {
            wrong(format!("`{}`: {message}", fields.get(field).map_or("", |field| field.from.as_str())))
        })?;
    }
}

fn cell(
    value: &Value,
    index: usize,
    field: &Field,
    rows: &mut Rows<'_>,
    place: impl FnOnce() -> String,
) -> Result<(), String> {
    match (&field.cell, value) {
        (_, Value::Object(_)) => Err("an object is no value of a field".into()),
        (Cell::Numbers, Value::Array(_)) => numbers(value, index, rows),
        (_, Value::Array(_)) => Err("a list stands where one text is wanted".into()),
        (_, Value::String(text)) => rows.text(index, text, place),
        (Cell::Numbers, value) => match number(value) {
            Some(number) => rows.number(index, number),
            None => Err(format!("`{}` is no number", shown(&value.to_string()))),
        },
        (_, value) => rows.text(index, &value.to_string(), place),
    }
}

/// Lists of numbers, or of such lists: nesting is bounded by the parser.
fn numbers(value: &Value, index: usize, rows: &mut Rows<'_>) -> Result<(), String> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| numbers(value, index, rows)),
        Value::Null => rows.part(index, ""),
        Value::String(text) => rows.part(index, text),
        value => match number(value) {
            Some(number) => rows.number(index, number),
            None => Err(format!("`{}` is no number", shown(&value.to_string()))),
        },
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(value) => Some(Number::Bool(*value)),
        Value::Number(number) => {
            number.as_i64().map(Number::Int).or_else(|| number.as_f64().map(Number::Float))
        }
        _ => None,
    }
}
