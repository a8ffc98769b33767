//! Data sets: files become columns, columns become parts (train, validation, test), parts become batches.
//!
//! A source is read whole into one [`Table`] per set of files: each field is one byte vector, so a row is a slice of each.
//! A [`Part`] is a list of rows of a table; holding out rows for validation copies nothing. What a part's rows are, and in
//! which order an epoch takes them, depends on the seed alone.

pub mod batch;
mod cifar;
mod idx;
#[cfg(test)]
pub(crate) use idx::testing as idx_testing;
pub mod shuffle;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::program::{DType, DataSet, DataSource};

pub use batch::{Batch, Batches, Order};

/// One field of all rows, back to back.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub dtype: DType,
    /// Of one row.
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Column {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.dtype.size() * self.shape.iter().product::<usize>()
    }
}

/// Rows as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub rows: usize,
    pub columns: Vec<Column>,
}

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
        let rows = (0..table.rows as u32).collect();
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
}

impl Parts {
    pub fn get(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// What a source's files hold; parts that have no files of their own are none.
struct Files {
    train: Table,
    validation: Option<Table>,
    test: Option<Table>,
}

/// The folder of a data set: what the user gave, else what the spec says, relative to the spec's own folder.
pub fn folder(set: &DataSet, base: &Path, given: Option<&Path>) -> PathBuf {
    match (given, &set.source) {
        (Some(folder), _) => folder.to_path_buf(),
        (None, DataSource::Idx { folder } | DataSource::Cifar10 { folder }) => base.join(folder),
    }
}

/// Reads a data set from its folder. The seed decides which rows are held out where the files have no such part.
pub fn load(set: &DataSet, folder: &Path, seed: u64) -> Result<Parts> {
    let has_test_share = set.test > 0.0;
    let files = match set.source {
        DataSource::Idx { .. } => idx::load(&set.name, folder, has_test_share)?,
        DataSource::Cifar10 { .. } => cifar::load(&set.name, folder)?,
    };
    for table in [Some(&files.train), files.validation.as_ref(), files.test.as_ref()].into_iter().flatten() {
        check_fields(set, folder, table)?;
    }
    split(set, files, seed)
}

/// Checks that the rows are what the spec was compiled for.
fn check_fields(set: &DataSet, folder: &Path, table: &Table) -> Result<()> {
    for field in &set.fields {
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

/// Holds rows out of the training part where the files have no such part.
fn split(set: &DataSet, files: Files, seed: u64) -> Result<Parts> {
    let count = files.train.rows;
    let share = |share: f64, there: bool| {
        if there { 0 } else { (share.clamp(0.0, 1.0) * count as f64).round() as usize }
    };
    let validation_rows = share(set.validation, files.validation.is_some());
    let test_rows = share(set.test, files.test.is_some());
    let held_out = validation_rows + test_rows;
    if held_out > 0 && held_out >= count {
        return Err(Error::Damaged {
            file: set.name.clone().into(),
            message: format!("holding out {held_out} of {count} rows leaves none to train on"),
        });
    }
    let all = Part::whole(files.train);
    let order = if held_out > 0 { shuffle::order(count, shuffle::HOLD_OUT, seed) } else { all.rows.to_vec() };
    // Each part keeps the order of the file.
    let sorted = |rows: &[u32]| {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    };
    let held = |range: std::ops::Range<usize>| all.of(sorted(&order[range]));
    Ok(Parts {
        validation: files.validation.map_or_else(|| held(0..validation_rows), Part::whole),
        test: files.test.map_or_else(|| held(validation_rows..held_out), Part::whole),
        train: held(held_out..count),
    })
}

/// An error that says which files to put where.
fn missing(set: &str, folder: &Path, missing: &[String]) -> Error {
    let state = if folder.is_dir() { "lacks" } else { "does not exist; it must hold" };
    Error::MissingData(format!(
        "data set `{set}`: the folder {} {state}: {} (or give another folder with --data {set}=DIR)",
        folder.display(),
        missing.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Field;

    fn table(rows: usize) -> Table {
        let column = Column {
            name: "x".into(),
            dtype: DType::U8,
            shape: vec![1],
            data: (0..rows).map(|row| row as u8).collect(),
        };
        Table { rows, columns: vec![column] }
    }

    fn set(validation: f64, test: f64) -> DataSet {
        DataSet {
            name: "d".into(),
            source: DataSource::Idx { folder: String::new() },
            fields: vec![Field { name: "x".into(), dtype: DType::U8, shape: vec![1] }],
            validation,
            test,
            fit: None,
        }
    }

    #[test]
    fn shares_are_held_out_by_the_seed_without_overlap() {
        let parts = |seed| {
            split(&set(0.2, 0.1), Files { train: table(50), validation: None, test: None }, seed).unwrap()
        };
        let first = parts(1);
        assert_eq!((first.train.len(), first.validation.len(), first.test.len()), (35, 10, 5));
        let mut all: Vec<u32> = Split::ALL.iter().flat_map(|&s| first.get(s).rows.to_vec()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<u32>>());
        assert_eq!(first.validation.rows, parts(1).validation.rows);
        assert_ne!(first.validation.rows, parts(2).validation.rows);
    }

    #[test]
    fn parts_with_files_of_their_own_are_left_whole() {
        let files = Files { train: table(9), validation: Some(table(3)), test: Some(table(2)) };
        let parts = split(&set(0.5, 0.5), files, 1).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (9, 3, 2));
    }

    #[test]
    fn holding_out_everything_is_an_error() {
        let files = Files { train: table(4), validation: None, test: None };
        assert!(split(&set(0.5, 0.5), files, 1).is_err());
    }

    #[test]
    fn rows_of_another_kind_are_explained() {
        let mut other = set(0.0, 0.0);
        other.fields[0].shape = vec![2];
        let message = check_fields(&other, Path::new("here"), &table(1)).unwrap_err().to_string();
        assert_eq!(message, "here: `d.x` is u8[1] in these files, but the spec says u8[2]");
        other.fields[0].name = "y".into();
        let message = check_fields(&other, Path::new("here"), &table(1)).unwrap_err().to_string();
        assert_eq!(message, "no field of the data is named `d.y`; known: x");
    }
}
