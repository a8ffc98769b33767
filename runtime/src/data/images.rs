//! A folder of pictures: a folder for each class, or folders `train`, `validation` and `test` with such folders in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::Entry;
use super::column::{Class, Column, Table, Values};
use super::memory::Memory;
use super::pictures::{Pictures, Size};
use super::{Files, cache, paths};
use crate::error::{Error, Result};
use crate::program::DType;

const ENDINGS: [&str; 3] = [".png", ".jpg", ".jpeg"];
const TRAIN: &[&str] = &["train", "training"];
const VALIDATION: &[&str] = &["validation", "valid", "val", "dev"];
const TEST: &[&str] = &["test", "testing"];

/// Reads the pictures of a folder, and says what was left out.
pub fn load(
    set: &str,
    folder: &Path,
    size: Size,
    skip: bool,
    memory: &Memory,
    notes: &mut Vec<String>,
) -> Result<Files> {
    if !folder.is_dir() {
        return Err(Error::MissingData(format!(
            "data set `{set}`: {}; it must hold a folder of pictures for each class, or folders `train`, \
             `validation` and `test` with such folders (or give another folder with --data {set}=DIR)",
            paths::no_folder(folder)
        )));
    }
    let inner = folders(folder)?;
    let part =
        |names: &[&str]| inner.iter().find(|folder| names.contains(&name(folder).to_lowercase().as_str()));
    let mut read = |folder: &Path| table(set, folder, size, skip, memory, notes);
    match part(TRAIN) {
        Some(train) => Ok(Files {
            train: read(train)?,
            validation: part(VALIDATION).map(|folder| read(folder)).transpose()?,
            test: part(TEST).map(|folder| read(folder)).transpose()?,
        }),
        None => Ok(Files { train: read(folder)?, validation: None, test: None }),
    }
}

fn table(
    set: &str,
    folder: &Path,
    size: Size,
    skip: bool,
    memory: &Memory,
    notes: &mut Vec<String>,
) -> Result<Table> {
    let (mut files, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in folders(folder)? {
        let mut pictures: Vec<PathBuf> = paths::list(&class)?
            .into_iter()
            .filter(|file| {
                let name = name(file).to_lowercase();
                !name.starts_with('.')
                    && ENDINGS.iter().any(|ending| name.ends_with(ending))
                    && file.is_file()
            })
            .collect();
        pictures.sort();
        if let Some(first) = pictures.first() {
            labels.extend(std::iter::repeat_n(classes.len() as i32, pictures.len()));
            classes.push(Class { name: name(&class), place: first.display().to_string() });
        }
        files.extend(pictures);
    }
    if files.is_empty() {
        let message = format!(
            "data set `{set}`: the folder {} has no folder with pictures ({}); each class has a folder of its own",
            folder.display(),
            ENDINGS.map(|ending| format!("*{ending}")).join(", ")
        );
        return Err(Error::MissingData(message));
    }
    if files.len() > super::rows::MAX_ROWS {
        return Err(Error::Data {
            set: set.into(),
            message: format!("there are {} pictures, which is too many", files.len()),
        });
    }
    let entry = Entry::of(cache::cache_folder(), &format!("pictures {size:?}"), &files);
    let pictures = Arc::new(Pictures::of(set, files.clone(), size, memory, entry)?);
    let mut left_out = Vec::new();
    if skip {
        left_out = pictures.finish()?;
        if let Some((_, reason)) = left_out.first() {
            let more =
                if left_out.len() > 1 { format!(", and {} more", left_out.len() - 1) } else { String::new() };
            notes.push(format!(
                "{} of {} pictures are passed over: {reason}{more}",
                left_out.len(),
                files.len()
            ));
        }
    }
    let labels: Vec<u8> = labels.into_iter().flat_map(i32::to_le_bytes).collect();
    Ok(Table {
        rows: files.len(),
        columns: vec![
            Column::new(
                "image",
                DType::U8,
                [size.height, size.width, size.channels],
                Values::Pictures(pictures),
            ),
            Column { classes: Some(classes.into()), ..Column::new("label", DType::I32, [], labels) },
        ],
        left_out: left_out.into_iter().map(|(row, _)| row).collect(),
    })
}

/// The folders in a folder, in the order of their names.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = paths::list(folder)?;
    found.retain(|path| path.is_dir() && !name(path).starts_with('.'));
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
