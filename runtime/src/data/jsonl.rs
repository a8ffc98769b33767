//! JSON lines: an object a line, read in blocks of lines.

use std::path::Path;

use serde_json::Value;

use super::Watch;
use super::blocks::{Block, Blocks};
use super::cells::{Number, shown};
use super::rows::Rows;
use crate::error::{Error, Result, nearest};
use crate::program::{Cell, Field};

/// Reads the rows of one file.
pub fn read(path: &Path, fields: &[Field], rows: &mut Rows<'_>, watch: Watch<'_>) -> Result<()> {
    let whole = |bytes: &[u8]| memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
    let mut blocks = Blocks::open(path, watch, whole)?;
    let Some(first) = blocks.next()? else { return Ok(()) };
    let wrong = |field: usize, message: String| {
        let name = fields.get(field).map_or("", |field| field.from.as_str());
        Error::damaged(path, format!("`{name}`: {message}"))
    };
    blocks.each(first, |block| objects(path, &block, fields), |piece| rows.append(piece, wrong))
}

fn objects<'a>(path: &Path, block: &Block, fields: &'a [Field]) -> Result<Rows<'a>> {
    let mut rows = Rows::piece(fields);
    for (number, line) in (block.line..).zip(block.bytes.split(|byte| *byte == b'\n')) {
        let wrong = |message: String| Error::damaged(path, format!("line {number}: {message}"));
        let text = line.strip_prefix(&[0xef, 0xbb, 0xbf]).filter(|_| number == 1).unwrap_or(line);
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
                Some(value) => {
                    cell(value, index, field, &mut rows, || format!("{}:{number}", path.display()))
                }
            };
            result.map_err(|message| wrong(format!("`{}`: {message}", field.from)))?;
        }
        rows.end_row(|field, message| {
            wrong(format!("`{}`: {message}", fields.get(field).map_or("", |field| field.from.as_str())))
        })?;
    }
    Ok(rows)
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
