//! Plain text as windows of bytes. Windows may overlap, so they are places in the text, not copies.

use std::path::Path;

use super::column::{Column, Table};
use super::{paths, rows};
use crate::error::{Error, Result};
use crate::io;
use crate::program::DType;

pub fn read(set: &str, path: &Path, window: usize, stride: usize) -> Result<Table> {
    let (mut bytes, mut starts): (Vec<u8>, Vec<u64>) = (Vec::new(), Vec::new());
    for file in paths::files(set, path, &[".txt", ".md", ".text"])? {
        let text = io::read(&file)?;
        if let Err(error) = std::str::from_utf8(&text) {
            let at = error.valid_up_to();
            let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
            return Err(Error::damaged(
                &file,
                format!("line {line}: byte {at} is no UTF-8; save the file as UTF-8"),
            ));
        }
        let text = text.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(&text);
        let begin = bytes.len();
        bytes.extend_from_slice(text);
        let mut start = begin;
        while start + window <= bytes.len() {
            starts.push(start as u64);
            start += stride.max(1);
        }
    }
    if starts.is_empty() {
        return Err(Error::damaged(path, format!("{} bytes fill no window of {window}", bytes.len())));
    }
    if starts.len() > rows::MAX_ROWS {
        let message = format!(
            "there are {} windows, but at most {}; take a larger `stride`",
            starts.len(),
            rows::MAX_ROWS
        );
        return Err(Error::Data { set: set.into(), message });
    }
    let column =
        Column { starts: Some(starts.as_slice().into()), ..Column::new("text", DType::U8, [window], bytes) };
    Ok(Table { rows: starts.len(), columns: vec![column], left_out: Vec::new() })
}
