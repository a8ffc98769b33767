//! Data sets: files become columns, columns become parts (train, validation, test), parts become batches.
//!
//! A source is read into one [`Table`] per set of files, once, row by row: in memory while that has room ([`Memory`]), from then on into a
//! file of the cache that is mapped, so that an epoch may be larger than memory.
//! A [`Part`] is a list of rows of a table; holding out rows for validation copies nothing. What a part's rows are, and in
//! which order an epoch takes them, depends on the seed alone.

mod arrays;
pub mod batch;
mod blocks;
#[cfg(test)]
mod broken;
mod cache;
mod cells;
mod cifar;
mod classes;
mod column;
mod csv;
mod disk;
mod distinct;
mod documents;
mod idx;
mod images;
mod imdb;
#[cfg(test)]
pub(crate) use idx::testing as idx_testing;
mod jsonl;
mod memory;
mod parquet;
mod paths;
mod pictures;
mod room;
mod rows;
mod series;
pub mod shuffle;
mod split;
mod store;
mod text;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::program::{Cell, DType, DataSet, DataSource, Field, Held};
use crate::text::Tokenizer;
use crate::weights::Classes;

pub use batch::{Batch, Batches, Order};
use cache::Entry;
pub use cache::cache_folder;
pub use column::{Class, Column, Ragged, Table, Values};
pub use memory::{Memory, bytes};
pub use room::{CACHE_SIZE, limit as cache_limit};
pub use series::fits as fits_series;

use rows::Rows;
use store::Store;

/// The three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    pub fn from_name(name: &str) -> Result<Split> {
        Split::ALL.into_iter().find(|split| split.name() == name).ok_or_else(|| Error::Unknown {
            what: "part of the data",
            name: name.to_string(),
            candidates: Split::ALL.map(|split| split.name().to_string()).to_vec(),
        })
    }
}

/// Some rows of a table, in order.
#[derive(Clone, Debug)]
pub struct Part {
    pub table: Arc<Table>,
    pub rows: Arc<[u32]>,
}

impl Part {
    fn whole(table: Table) -> Part {
        let rows = table.usable().into();
        Part { table: Arc::new(table), rows }
    }

    fn of(&self, rows: impl IntoIterator<Item = u32>) -> Part {
        Part { table: Arc::clone(&self.table), rows: rows.into_iter().collect() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A data set, read and split.
#[derive(Clone, Debug)]
pub struct Parts {
    pub train: Part,
    pub validation: Part,
    pub test: Part,
    /// The names of the classes of each class field.
    pub classes: Classes,
    /// What texts were cut into, in the order in which the data set names them.
    pub vocabularies: Vec<Tokenizer>,
    /// What the user should know about the reading.
    pub notes: Vec<String>,
}

impl Parts {
    pub fn get(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// How long the longest row of a field is, whose rows differ in length.
    pub fn longest(&self, field: &str) -> Option<usize> {
        let extent = |split| {
            let part = self.get(split);
            Some(part.table.column(field)?.ragged.as_ref()?.extent(&part.rows))
        };
        Split::ALL.into_iter().filter_map(extent).max()
    }

    fn get_mut(&mut self, split: Split) -> &mut Part {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

/// What a source's files hold; parts that have no files of their own are none.
struct Files {
    train: Table,
    validation: Option<Table>,
    test: Option<Table>,
}

/// Where the files of a data set are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source's own file or folder.
    pub path: PathBuf,
    /// What other files of the data set are relative to.
    pub base: PathBuf,
}

/// Where a data set is: what the user gave, else what the spec says, relative to the spec's own folder. A folder that is given
/// for a file holds the files of the spec by their names.
pub fn place(set: &DataSet, base: &Path, given: Option<&Path>) -> Place {
    let own = Path::new(set.source.path());
    match given {
        None => Place { path: base.join(own), base: base.to_path_buf() },
        Some(given) if set.source.is_file() && given.is_dir() => {
            Place { path: given.join(own.file_name().unwrap_or(own.as_os_str())), base: given.to_path_buf() }
        }
        Some(given) => Place { path: given.to_path_buf(), base: base.to_path_buf() },
    }
}

/// Who wants to know how far the reading of a data set's files is.
pub trait FileObserver: std::fmt::Debug + Send + Sync {
    /// So many bytes of a file are read, out of so many.
    fn reading(&self, file: &Path, bytes: u64, size: u64);
}

type Watch<'a> = Option<&'a dyn FileObserver>;

/// What an earlier training found in its data, so that it isn't found anew in other data.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// By [`crate::weights::classes_key`].
    pub classes: &'a [(String, Vec<String>)],
    pub vocabularies: &'a [(String, String)],
    /// The spec's folder, which the files of tokenizers are relative to.
    pub base: &'a Path,
}

/// Reads a data set. The seed decides which rows are held out where the files have no such part. Rows that don't fit into `memory` go
/// into files; those that differ in length are in memory.
pub fn load(
    set: &DataSet,
    place: &Place,
    seed: u64,
    known: &Known<'_>,
    memory: &Memory,
    watch: Watch<'_>,
) -> Result<Parts> {
    let mut notes = Vec::new();
    let mut files = match &set.source {
        DataSource::Idx { .. } => {
            idx::load(&set.name, &place.path, set.splits.test != Held::Nothing, memory)?
        }
        DataSource::Cifar10 { .. } => cifar::load(&set.name, &place.path, memory)?,
        DataSource::Images { height, width, channels, skip_unreadable, .. } => {
            let size = pictures::Size { height: *height, width: *width, channels: *channels };
            images::load(&set.name, &place.path, size, *skip_unreadable, memory, &mut notes)?
        }
        DataSource::Arrays { files, .. } => {
            Files { train: arrays::npy(set, &place.path, files, memory)?, validation: None, test: None }
        }
        DataSource::Csv { .. }
        | DataSource::JsonLines { .. }
        | DataSource::Parquet { .. }
        | DataSource::Npz { .. }
        | DataSource::Text { .. }
        | DataSource::Documents { .. }
        | DataSource::Series { .. } => rows_of_files(set, place, memory, watch)?,
        DataSource::Lines { files, .. } => {
            Files { train: documents::lines(&set.name, &place.path, files)?, validation: None, test: None }
        }
        DataSource::Imdb { .. } => imdb::load(&set.name, &place.path)?,
    };
    for table in [Some(&files.train), files.validation.as_ref(), files.test.as_ref()].into_iter().flatten() {
        check_fields(set, &place.path, table)?;
    }
    let by_column = set.splits.column.is_some();
    if let Some(field) = set.splits.distinct.as_ref().filter(|_| !by_column) {
        distinct::of_files(&set.name, &mut files, field, &mut notes)?;
    }
    let mut parts = split::split(set, files, seed)?;
    if let Some(field) = set.splits.distinct.as_ref().filter(|_| by_column) {
        distinct::of_parts(&set.name, &mut parts, field, &mut notes)?;
    }
    classes::number(set, &mut parts, known.classes)?;
    tokens::tokenize(set, &mut parts, known)?;
    parts.notes = notes;
    Ok(parts)
}

/// Reads a source whose rows lie in files of one kind: its own, and those that `split` names.
fn rows_of_files(set: &DataSet, place: &Place, memory: &Memory, watch: Watch<'_>) -> Result<Files> {
    let own = table(set, &place.path, memory, watch)?;
    let other = |held: &Held| match held {
        Held::File(file) => {
            let file = Path::new(file);
            let beside = place.base.join(file.file_name().unwrap_or(file.as_os_str()));
            let path = place.base.join(file);
            let path = if path.exists() || !beside.exists() { &path } else { &beside };
            table(set, path, memory, watch).map(Some)
        }
        _ => Ok(None),
    };
    Ok(Files { train: own, validation: other(&set.splits.validation)?, test: other(&set.splits.test)? })
}

/// Reads the rows of a file, or of some.
fn table(set: &DataSet, path: &Path, memory: &Memory, watch: Watch<'_>) -> Result<Table> {
    let endings: &[&str] = match &set.source {
        DataSource::Npz { .. } => return arrays::npz(set, path, memory),
        DataSource::Text { window, stride, .. } => {
            return text::read(&set.name, path, *window, *stride, memory);
        }
        DataSource::Documents { rows, .. } => return documents::load(&set.name, path, *rows),
        DataSource::Series { .. } => &[".ts"],
        DataSource::Csv { .. } => &[".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt"],
        DataSource::JsonLines { .. } => {
            &[".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz"]
        }
        _ => &[".parquet"],
    };
    let mut fields: Vec<Field> = set.fields.iter().filter(|field| field.is_read()).cloned().collect();
    if let Some(column) = &set.splits.column {
        let cell = Cell::Class(Vec::new());
        let part = Field::new(split::PART_COLUMN, DType::I32, []);
        fields.push(Field { cell, from: column.clone(), ..part });
    }
    let files = paths::files(&set.name, path, endings)?;
    // Rows that differ in length stay in memory, so there would be nothing whole in the cache.
    let whole = fields.iter().all(|field| field.ragged.is_none());
    let entry = Entry::of(cache_folder(), &format!("{:?} {fields:?}", set.source), &files).filter(|_| whole);
    if let Some(table) = Rows::kept(&fields, entry.as_ref()) {
        return Ok(table);
    }
    let mut rows = Rows::new(&fields, Store::new(memory, entry));
    for file in files {
        match &set.source {
            DataSource::Csv { separator, header, quotes, .. } => {
                let form = csv::Form { separator: *separator, header: *header, quotes: *quotes };
                csv::read(&file, form, &fields, &mut rows, watch)?;
            }
            DataSource::JsonLines { .. } => jsonl::read(&file, &fields, &mut rows, watch)?,
            DataSource::Series { .. } => series::read(&file, &fields, &mut rows)?,
            DataSource::Parquet { .. } => parquet::read(&file, &fields, &mut rows)?,
            other => return Err(Error::Unsound(format!("{} has no rows in files", other.path()))),
        }
    }
    if rows.len() == 0 {
        return Err(Error::damaged(path, "there are no rows"));
    }
    rows.finish()
}

/// Checks that the rows are what the spec was compiled for.
fn check_fields(set: &DataSet, folder: &Path, table: &Table) -> Result<()> {
    for field in set.fields.iter().filter(|field| field.is_read()) {
        let Some(column) = table.columns.iter().find(|column| column.name == field.name) else {
            return Err(Error::Unknown {
                what: "field of the data",
                name: format!("{}.{}", set.name, field.name),
                candidates: table.columns.iter().map(|column| column.name.clone()).collect(),
            });
        };
        if (column.dtype, &column.shape) != (field.dtype, &field.shape) {
            return Err(Error::damaged(
                folder,
                format!(
                    "`{}.{}` is {}{:?} in these files, but the spec says {}{:?}",
                    set.name,
                    field.name,
                    column.dtype.name(),
                    column.shape,
                    field.dtype.name(),
                    field.shape
                ),
            ));
        }
    }
    Ok(())
}

/// An error that says which files to put where.
fn missing(set: &str, folder: &Path, missing: &[String]) -> Error {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let state = match folder.is_dir() {
        true => format!("the folder {} lacks", folder.display()),
        false => format!("{}; it must hold", paths::no_folder(folder)),
    };
    Error::MissingData(format!(
        "data set `{set}`: {state}: {} (or give another folder with --data {set}=DIR)",
        missing.join(", "),
    ))
}

#[cfg(test)]
#[path = "tests.rs"]
mod texts;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Splits;

    #[test]
    fn rows_of_another_kind_are_explained() {
        let mut set = DataSet {
            name: "d".into(),
            source: DataSource::Idx { folder: String::new() },
            fields: vec![Field::new("x", DType::U8, [2])],
            splits: Splits::default(),
            fit: None,
            vocabularies: Vec::new(),
        };
        let table =
            Table { rows: 1, columns: vec![Column::new("x", DType::U8, [1], vec![0])], left_out: Vec::new() };
        let message = check_fields(&set, Path::new("here"), &table).unwrap_err().to_string();
        assert_eq!(message, "here: `d.x` is u8[1] in these files, but the spec says u8[2]");
        set.fields[0].name = "y".into();
        let message = check_fields(&set, Path::new("here"), &table).unwrap_err().to_string();
        assert_eq!(message, "no field of the data is named `d.y`; known: x");
    }
}
