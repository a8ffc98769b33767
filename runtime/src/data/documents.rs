//! Files of plain text: as lines, as paragraphs, or whole; and files whose lines belong together.

use std::path::{Path, PathBuf};

use super::column::{Column, Table};
use super::{paths, rows};
use crate::error::{Error, Result};
use crate::io;
use crate::program::Rows;

/// The texts of a row each; together they are the files, with nothing left out.
pub fn load(set: &str, path: &Path, by: Rows) -> Result<Table> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for file in paths::files(set, path, &[".txt", ".md", ".text"])? {
        let text = io::read_text(&file)?;
        let begin = bytes.len() as u64;
        bytes.extend_from_slice(text.as_bytes());
        match by {
            Rows::File => ends.push(begin + text.len() as u64),
            Rows::Line => {
                let mut end = begin;
                ends.extend(text.split_inclusive('\n').map(|line| {
                    end += line.len() as u64;
                    end
                }));
            }
            Rows::Paragraph => {
                let (mut end, mut empty) = (begin, false);
                for line in text.split_inclusive('\n') {
                    let blank = line.trim().is_empty();
                    if empty && !blank {
                        ends.push(end);
                    }
                    empty = blank;
                    end += line.len() as u64;
                }
                if end > begin {
                    ends.push(end);
                }
            }
        }
    }
    if ends.is_empty() {
        return Err(Error::damaged(path, "there is no text"));
    }
    table(set, vec![Column::texts("text", bytes, ends.clone())], ends.len())
}

/// Files whose lines of one number are of one row.
pub fn lines(set: &str, folder: &Path, files: &[(String, String)]) -> Result<Table> {
    let paths: Vec<PathBuf> = files.iter().map(|(_, file)| folder.join(file)).collect();
    let absent: Vec<String> =
        paths.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
    if !absent.is_empty() {
        return Err(Error::MissingData(format!(
            "data set `{set}`: there is no file {} (or give another folder with --data {set}=DIR)",
            absent.join(", ")
        )));
    }
    let mut columns = Vec::new();
    let mut first: Option<(&PathBuf, usize)> = None;
    for ((field, _), path) in files.iter().zip(&paths) {
        let text = io::read_text(path)?;
        let (mut bytes, mut ends) = (Vec::with_capacity(text.len()), Vec::new());
        for line in text.lines() {
            bytes.extend_from_slice(line.as_bytes());
            ends.push(bytes.len() as u64);
        }
        match &first {
            None => first = Some((path, ends.len())),
            Some((other, count)) if *count != ends.len() => {
                let message = format!(
                    "{} lines, but {} has {count}: lines of one number belong together",
                    ends.len(),
                    other.display()
                );
                return Err(Error::damaged(path, message));
            }
            Some(_) => {}
        }
        columns.push(Column::texts(field, bytes, ends));
    }
    let count = first.map_or(0, |(_, count)| count);
    if count == 0 {
        let empty: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there are no lines in {}", empty.join(", "));
        return Err(Error::Data { set: set.into(), message });
    }
    table(set, columns, count)
}

fn table(set: &str, columns: Vec<Column>, rows: usize) -> Result<Table> {
    if rows > rows::MAX_ROWS {
        let message = format!("there are {rows} rows, but at most {}", rows::MAX_ROWS);
        return Err(Error::Data { set: set.into(), message });
    }
    Ok(Table { rows, columns, left_out: Vec::new() })
}
