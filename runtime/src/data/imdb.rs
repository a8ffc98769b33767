//! The IMDB reviews as Maas et al. (2011) published them: `{train,test}/{pos,neg}/ID_RATING.txt`.

use std::path::Path;

use super::column::{Class, Column, Table};
use super::{Files, paths};
use crate::error::{Error, Result};
use crate::io;
use crate::program::DType;

/// The classes in their order; `unsup`, which has none, is not read.
const CLASSES: [&str; 2] = ["neg", "pos"];

/// Reads the training and the test part.
pub fn load(set: &str, folder: &Path) -> Result<Files> {
    let folders: Vec<String> =
        ["train", "test"].iter().flat_map(|part| CLASSES.map(|class| format!("{part}/{class}"))).collect();
    let missing: Vec<String> = folders.into_iter().filter(|inner| !folder.join(inner).is_dir()).collect();
    if !missing.is_empty() {
        return Err(super::missing(set, folder, &missing));
    }
    let part = |name: &str| part(&folder.join(name));
    Ok(Files { train: part("train")?, validation: None, test: Some(part("test")?) })
}

fn part(folder: &Path) -> Result<Table> {
    let (mut bytes, mut ends, mut labels, mut ratings, mut classes) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, class) in CLASSES.iter().enumerate() {
        let folder = folder.join(class);
        let mut files = paths::list(&folder)?;
        files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
        if files.is_empty() {
            return Err(Error::damaged(&folder, "there is no review (*.txt)"));
        }
        // By their numbers, not their letters: 2 comes before 10.
        files.sort_by_cached_key(|file| (name(file).map(|(id, _)| id), file.clone()));
        for file in files {
            let Some((_, rating)) = name(&file) else {
                return Err(Error::damaged(&file, "a review is called ID_RATING.txt, such as `0_9.txt`"));
            };
            bytes.extend_from_slice(io::read_text(&file)?.as_bytes());
            ends.push(bytes.len() as u64);
            labels.extend((number as i32).to_le_bytes());
            ratings.extend(rating.to_le_bytes());
        }
        classes.push(Class { name: class.to_string(), place: folder.display().to_string() });
    }
    let rows = ends.len();
    let label = Column { classes: Some(classes.into()), ..Column::new("label", DType::I32, [], labels) };
    let columns =
        vec![Column::texts("text", bytes, ends), label, Column::new("rating", DType::I32, [], ratings)];
    Ok(Table { rows, columns, left_out: Vec::new() })
}

/// Number and rating in a file's name.
fn name(file: &Path) -> Option<(u64, i32)> {
    let (id, rating) = file.file_stem()?.to_str()?.split_once('_')?;
    Some((id.parse().ok()?, rating.parse().ok()?))
}
