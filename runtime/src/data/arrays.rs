//! NumPy arrays as rows: a `.npy` file a field, or all in one `.npz`. All are read side by side, a row of each at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::cache::{Entry, cache_folder};
use super::cells::Number;
use super::column::{Column, Places, Table, Values};
use super::disk::Disk;
use super::memory::Memory;
use super::rows::{self, Rows};
use super::store::Store;
use crate::error::{Error, Result, nearest, plain};
use crate::io::npy::{self, Header};
use crate::program::{Cell, DType, DataSet, Field};

/// Reads a file for each field, from a folder. A file that is too large for memory is read in place, where its values are of the
/// field's type.
pub fn npy(set: &DataSet, folder: &Path, files: &[(String, String)], memory: &Memory) -> Result<Table> {
    let mut paths = Vec::new();
    for field in &set.fields {
        let Some((_, file)) = files.iter().find(|(name, _)| *name == field.from) else {
            let near = nearest(&field.from, files.iter().map(|(name, _)| name.as_str()))
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
        paths.push(path);
    }
    let mut arrays = Vec::new();
    for (field, path) in set.fields.iter().zip(&paths) {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let length = file.metadata().map_err(Error::file("read", path))?.len();
        let array = Array::open(field, path, Box::new(BufReader::with_capacity(1 << 16, file)))?;
        let there = length.saturating_sub(array.header.start as u64);
        if there != array.header.bytes as u64 {
            let Header { dtype, shape, bytes, .. } = &array.header;
            return Err(array.wrong(npy::short(*dtype, shape, *bytes, there)));
        }
        arrays.push(array);
    }
    let rows = same_rows(&arrays)?;
    // Those that stay where they are, and those that are read.
    let (mut columns, mut read) = (Vec::new(), Vec::new());
    for (array, path) in arrays.into_iter().zip(&paths) {
        let bytes = array.header.bytes as u64;
        let as_it_is = array.is_as_it_is() && array.field.dtype != DType::Bool;
        let in_memory = memory.take(bytes);
        if in_memory {
            // It is taken again row by row.
            memory.give_back(bytes);
        }
        if in_memory || !as_it_is {
            read.push((array, path.clone()));
            continue;
        }
        let field = array.field;
        let values = Values::File(Arc::new(Disk::open(path)?));
        let column = Column::new(&field.name, field.dtype, field.shape.as_slice(), values);
        columns.push(Column { places: Places::even(array.header.start, column.row_bytes()), ..column });
    }
    let (read, files): (Vec<Array<'_>>, Vec<PathBuf>) = read.into_iter().unzip();
    columns.extend(rows_of(read, rows, files, memory)?.columns);
    // In the order of the fields again.
    columns.sort_by_key(|column| set.fields.iter().position(|field| field.name == column.name));
    Ok(Table { rows, columns, left_out: Vec::new() })
}

/// Reads the arrays of one file.
pub fn npz(set: &DataSet, path: &Path, memory: &Memory) -> Result<Table> {
    if !path.is_file() {
        let message = format!("data set `{}`: there is no file {}", set.name, path.display());
        return Err(Error::MissingData(format!(
            "{message} (or give another one with --data {}=FILE)",
            set.name
        )));
    }
    let wrong = |message: String| Error::damaged(path, message);
    // Each array is unpacked by an opening of its own.
    let mut archives = Vec::new();
    for _ in &set.fields {
        let file = BufReader::new(File::open(path).map_err(Error::file("read", path))?);
        let archive = ZipArchive::new(file);
        archives.push(archive.map_err(|error| wrong(format!("this is no .npz file: {error}")))?);
    }
    // An archive whose entries share their bytes would unpack to far more than a file of its size can hold.
    let overlap = archives.first_mut().map_or(Ok(false), ZipArchive::has_overlapping_files);
    if overlap.map_err(|error| wrong(format!("this is no .npz file: {error}")))? {
        return Err(wrong("its arrays lie over one another; make the file again".into()));
    }
    let mut arrays = Vec::new();
    for (field, archive) in set.fields.iter().zip(&mut archives) {
        let names: Vec<String> =
            archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name).to_owned()).collect();
        if !names.contains(&field.from) {
            let near = nearest(&field.from, names.iter().map(String::as_str));
            let hint =
                near.map_or(format!("it has {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
            return Err(wrong(format!("there is no array `{}`; {hint}", field.from)));
        }
        let name = format!("{}.npy", field.from);
        let entry = archive.by_name(&name).map_err(|error| wrong(format!("`{name}`: {error}")))?;
        arrays.push(Array::open(field, path, Box::new(BufReader::with_capacity(1 << 16, entry)))?);
    }
    let rows = same_rows(&arrays)?;
    rows_of(arrays, rows, vec![path.to_path_buf()], memory)
}

/// An array in a file, at its first row.
struct Array<'a> {
    field: &'a Field,
    path: PathBuf,
    source: Box<dyn Read + 'a>,
    header: Header,
}

impl<'a> Array<'a> {
    fn open(field: &'a Field, path: &Path, mut source: Box<dyn Read + 'a>) -> Result<Array<'a>> {
        let wrong = |message: String| Error::damaged(path, format!("`{}`: {message}", field.from));
        let header = Header::read(&mut source).map_err(wrong)?;
        let Some((&rows, shape)) = header.shape.split_first() else {
            return Err(wrong("an array without axes has no rows".into()));
        };
        if shape != field.shape {
            return Err(wrong(format!(
                "its rows are {}{shape:?}, but the spec says {}{:?}",
                header.dtype.name(),
                field.dtype.name(),
                field.shape
            )));
        }
        if rows > rows::MAX_ROWS {
            return Err(wrong(format!("it has {rows} rows, but at most {} can be read", rows::MAX_ROWS)));
        }
        if field.cell == Cell::Text {
            return Err(wrong("an array of numbers is no text".into()));
        }
        Ok(Array { field, path: path.to_path_buf(), source, header })
    }

    fn wrong(&self, message: String) -> Error {
        Error::damaged(&self.path, format!("`{}`: {message}", self.field.from))
    }

    fn rows(&self) -> usize {
        self.header.shape.first().copied().unwrap_or(0)
    }

    /// Are its bytes those of the field?
    fn is_as_it_is(&self) -> bool {
        self.header.dtype == self.field.dtype && self.field.cell == Cell::Numbers
    }

    /// Reads one row into the field at a place.
    fn next(&mut self, row: usize, index: usize, rows: &mut Rows<'_>, bytes: &mut Vec<u8>) -> Result<()> {
        let dtype = self.header.dtype;
        let count = dtype.size() * self.field.shape.iter().product::<usize>();
        bytes.clear();
        let read = self.source.by_ref().take(count as u64).read_to_end(bytes);
        read.map_err(|error| self.wrong(format!("it cannot be read: {}", plain(&error))))?;
        if bytes.len() < count {
            let there = row * count + bytes.len();
            return Err(self.wrong(npy::short(dtype, &self.header.shape, self.header.bytes, there as u64)));
        }
        if dtype == DType::Bool
            && let Some(byte) = bytes.iter().find(|byte| **byte > 1)
        {
            return Err(self.wrong(format!("row {row}: a bool is {byte}; it must be 0 or 1")));
        }
        if self.is_as_it_is() {
            rows.bytes(index, bytes.iter().copied());
            return Ok(());
        }
        for value in bytes.chunks_exact(dtype.size()) {
            let number = number(dtype, value);
            let taken = match self.field.cell {
                Cell::Class(_) => rows.text(index, &name(number), || format!("row {row}")),
                _ => rows.number(index, number),
            };
            taken.map_err(|message| self.wrong(format!("row {row}: {message}")))?;
        }
        Ok(())
    }

    /// Nothing follows the last row.
    fn end(&mut self) -> Result<()> {
        let mut more = Vec::new();
        let read = self.source.by_ref().take(1).read_to_end(&mut more);
        read.map_err(|error| self.wrong(format!("it cannot be read: {}", plain(&error))))?;
        match more.len() {
            0 => Ok(()),
            _ => Err(self.wrong(format!(
                "more follows than the {} bytes of an array of shape {:?}",
                self.header.bytes, self.header.shape
            ))),
        }
    }
}

/// The number of rows, which is the same of all arrays.
fn same_rows(arrays: &[Array<'_>]) -> Result<usize> {
    let Some(first) = arrays.first() else { return Ok(0) };
    for array in arrays {
        if array.rows() != first.rows() {
            let (rows, others, other) = (array.rows(), first.rows(), &first.field.from);
            return Err(array.wrong(format!("it has {rows} rows, but `{other}` has {others}")));
        }
    }
    if first.rows() == 0 {
        return Err(Error::damaged(&first.path, "there are no rows"));
    }
    Ok(first.rows())
}

/// Reads all rows of some arrays.
fn rows_of(mut arrays: Vec<Array<'_>>, count: usize, files: Vec<PathBuf>, memory: &Memory) -> Result<Table> {
    let fields: Vec<Field> = arrays.iter().map(|array| array.field.clone()).collect();
    let entry = Entry::of(cache_folder(), &format!("arrays {fields:?}"), &files);
    if let Some(table) = Rows::kept(&fields, entry.as_ref()) {
        return Ok(table);
    }
    let mut rows = Rows::new(&fields, Store::new(memory, entry));
    let mut bytes = Vec::new();
    for row in 0..count {
        for (index, array) in arrays.iter_mut().enumerate() {
            array.next(row, index, &mut rows, &mut bytes)?;
        }
        rows.end_row(|_, message| match files.first() {
            Some(file) => Error::damaged(file, message),
            None => Error::Unsound(message),
        })?;
    }
    arrays.iter_mut().try_for_each(Array::end)?;
    rows.finish()
}

/// What a number is called as a class.
fn name(number: Number) -> String {
    match number {
        Number::Int(value) => value.to_string(),
        Number::Float(value) => value.to_string(),
        Number::Bool(value) => value.to_string(),
    }
}

fn number(dtype: DType, bytes: &[u8]) -> Number {
    match (dtype, bytes) {
        (DType::F32, &[a, b, c, d]) => Number::Float(f32::from_le_bytes([a, b, c, d]).into()),
        (DType::I32, &[a, b, c, d]) => Number::Int(i32::from_le_bytes([a, b, c, d]).into()),
        (DType::U8, &[a]) => Number::Int(a.into()),
        (DType::I8, &[a]) => Number::Int((a as i8).into()),
        (DType::Bool, &[a]) => Number::Bool(a != 0),
        (DType::F64, bytes) => Number::Float(f64::from_le_bytes(eight(bytes))),
        (_, bytes) => Number::Int(i64::from_le_bytes(eight(bytes))),
    }
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}
