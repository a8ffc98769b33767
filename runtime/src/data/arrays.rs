//! NumPy arrays as columns: a `.npy` file a field, or all in one `.npz`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use super::cells::{self, Number};
use super::column::{Column, Table};
use super::rows::{self, Rows};
use crate::error::{Error, Result, nearest};
use crate::io::npy;
use crate::program::{Cell, DType, DataSet, Field};
use crate::tensor::Tensor;

/// Reads a file for each field, from a folder.
pub fn npy(set: &DataSet, folder: &Path, files: &[(String, String)]) -> Result<Table> {
    let names = || files.iter().map(|(name, _)| name.as_str());
    table(set, folder, |field| {
        let Some((_, file)) = files.iter().find(|(name, _)| *name == field.from) else {
            let near = nearest(&field.from, names())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let message = format!("no file is given for `{}`{near}", field.from);
            return Err(Error::Data { set: set.name.clone(), message });
        };
        let path = folder.join(file);
        if !path.is_file() {
            let message = format!("data set `{}`: there is no file {}", set.name, path.display());
            return Err(Error::MissingData(format!(
                "{message} (or give another folder with --data {}=DIR)",
                set.name
            )));
        }
        npy::read(&path)
    })
}

/// Reads the arrays of one file.
pub fn npz(set: &DataSet, path: &Path) -> Result<Table> {
    if !path.is_file() {
        let message = format!("data set `{}`: there is no file {}", set.name, path.display());
        return Err(Error::MissingData(format!(
            "{message} (or give another one with --data {}=FILE)",
            set.name
        )));
    }
    let wrong = |message: String| Error::damaged(path, message);
    let file = BufReader::new(File::open(path).map_err(Error::file("read", path))?);
    let mut archive =
        ZipArchive::new(file).map_err(|error| wrong(format!("this is no .npz file: {error}")))?;
    let names: Vec<String> =
        archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name).to_owned()).collect();
    table(set, path, |field| {
        if !names.contains(&field.from) {
            let near = nearest(&field.from, names.iter().map(String::as_str));
            let hint =
                near.map_or(format!("it has {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
            return Err(wrong(format!("there is no array `{}`; {hint}", field.from)));
        }
        let name = format!("{}.npy", field.from);
        let unreadable = |error: &dyn std::fmt::Display| wrong(format!("`{name}`: {error}"));
        let entry = archive.by_name(&name).map_err(|error| unreadable(&error))?;
        // What unpacks to more than the header of the archive says is a trick.
        let size = entry.size();
        let mut bytes = Vec::new();
        entry.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 != size {
            return Err(unreadable(&format!("it does not unpack to the {size} bytes that the archive says")));
        }
        npy::parse(bytes).map_err(|message| unreadable(&message))
    })
}

fn table(set: &DataSet, place: &Path, mut array: impl FnMut(&Field) -> Result<Tensor>) -> Result<Table> {
    let mut columns: Vec<Column> = Vec::new();
    let mut count: Option<(usize, String)> = None;
    for field in &set.fields {
        let tensor = array(field)?;
        let wrong = |message: String| Error::damaged(place, format!("`{}`: {message}", field.from));
        let Some((&rows, shape)) = tensor.shape.split_first() else {
            return Err(wrong("an array without axes has no rows".into()));
        };
        if shape != field.shape {
            let message = format!(
                "its rows are {}{shape:?}, but the spec says {}{:?}",
                tensor.dtype.name(),
                field.dtype.name(),
                field.shape
            );
            return Err(wrong(message));
        }
        if rows > rows::MAX_ROWS {
            return Err(wrong(format!("it has {rows} rows, but at most {} can be read", rows::MAX_ROWS)));
        }
        match &count {
            Some((others, other)) if *others != rows => {
                return Err(wrong(format!("it has {rows} rows, but `{other}` has {others}")));
            }
            _ => count = Some((rows, field.from.clone())),
        }
        columns.push(column(field, tensor).map_err(wrong)?);
    }
    let rows = count.map_or(0, |(rows, _)| rows);
    if rows == 0 {
        return Err(Error::damaged(place, "there are no rows"));
    }
    Ok(Table { rows, columns, left_out: Vec::new() })
}

/// An array as a column of the field's type.
fn column(field: &Field, tensor: Tensor) -> Result<Column, String> {
    if let Cell::Class(_) = field.cell {
        let fields = std::slice::from_ref(field);
        let mut rows = Rows::new(fields);
        for (row, number) in numbers(&tensor).enumerate() {
            let name = match number {
                Number::Int(value) => value.to_string(),
                Number::Float(value) => value.to_string(),
                Number::Bool(value) => value.to_string(),
            };
            rows.text(0, &name, || format!("row {row}"))?;
            rows.end_row().map_err(|(_, message)| message)?;
        }
        return rows.finish().columns.pop().ok_or_else(|| "it has no rows".into());
    }
    if field.cell == Cell::Text {
        return Err("an array of numbers is no text".into());
    }
    let named = |bytes: Vec<u8>| Column::new(&field.name, field.dtype, field.shape.as_slice(), bytes);
    if tensor.dtype == field.dtype {
        return Ok(named(tensor.data));
    }
    let width = field.shape.iter().product::<usize>().max(1);
    let mut bytes = Vec::with_capacity(tensor.data.len() / tensor.dtype.size() * field.dtype.size());
    for (place, number) in numbers(&tensor).enumerate() {
        cells::push(number, field.dtype, &mut bytes)
            .map_err(|message| format!("row {}: {message}", place / width))?;
    }
    Ok(named(bytes))
}

fn numbers(tensor: &Tensor) -> impl Iterator<Item = Number> {
    let dtype = tensor.dtype;
    tensor.data.chunks_exact(dtype.size()).map(move |bytes| match (dtype, bytes) {
        (DType::F32, &[a, b, c, d]) => Number::Float(f32::from_le_bytes([a, b, c, d]).into()),
        (DType::I32, &[a, b, c, d]) => Number::Int(i32::from_le_bytes([a, b, c, d]).into()),
        (DType::U8, &[a]) => Number::Int(a.into()),
        (DType::I8, &[a]) => Number::Int((a as i8).into()),
        (DType::Bool, &[a]) => Number::Bool(a != 0),
        (DType::F64, bytes) => Number::Float(f64::from_le_bytes(eight(bytes))),
        (_, bytes) => Number::Int(i64::from_le_bytes(eight(bytes))),
    })
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}
