//! CIFAR-10's binary batches: rows of one label byte and 3 × 32 × 32 channel-first bytes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::cache::{Entry, cache_folder};
use super::memory::Memory;
use super::rows::Rows;
use super::store::Store;
use super::{Files, Table, missing};
use crate::error::{Error, Result};
use crate::program::{DType, Field};

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE;
const ROW_BYTES: usize = 1 + CHANNELS * PIXELS;
const CLASSES: u8 = 10;

/// Reads `data_batch_{1..5}.bin` and `test_batch.bin`.
pub fn load(set: &str, folder: &Path, memory: &Memory) -> Result<Files> {
    let train: Vec<String> = (1..=5).map(|number| format!("data_batch_{number}.bin")).collect();
    let test = ["test_batch.bin".to_string()];
    let lacking: Vec<String> =
        train.iter().chain(&test).filter(|name| !folder.join(name).is_file()).cloned().collect();
    if !lacking.is_empty() {
        return Err(missing(set, folder, &lacking));
    }
    let read = |names: &[String]| read(folder, names, memory);
    Ok(Files { train: read(&train)?, validation: None, test: Some(read(&test)?) })
}

/// Reads files one after another into one table, channels last.
fn read(folder: &Path, names: &[String], memory: &Memory) -> Result<Table> {
    let fields =
        [Field::new("image", DType::U8, [SIDE, SIDE, CHANNELS]), Field::new("label", DType::I32, [])];
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let entry = Entry::of(cache_folder(), "cifar", &paths);
    if let Some(table) = Rows::kept(&fields, entry.as_ref()) {
        return Ok(table);
    }
    let mut rows = Rows::new(&fields, Store::new(memory, entry));
    for path in &paths {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let bytes = file.metadata().map_err(Error::file("read", path))?.len();
        if bytes == 0 || bytes % ROW_BYTES as u64 != 0 {
            let message = format!("{bytes} bytes are no whole number of rows of {ROW_BYTES} bytes");
            return Err(Error::damaged(path, message));
        }
        let (mut file, mut row) = (BufReader::with_capacity(1 << 16, file), [0; ROW_BYTES]);
        for _ in 0..bytes / ROW_BYTES as u64 {
            file.read_exact(&mut row).map_err(Error::file("read", path))?;
            let wrong = |message: String| Error::damaged(path, format!("row {} {message}", rows.len()));
            let [label, planes @ ..] = &row;
            if *label >= CLASSES {
                return Err(wrong(format!("has the label {label}, but there are {CLASSES} classes")));
            }
            rows.bytes(
                0,
                (0..PIXELS).flat_map(|pixel| (0..CHANNELS).map(move |c| planes[c * PIXELS + pixel])),
            );
            rows.bytes(1, i32::from(*label).to_le_bytes());
            rows.end_row(|_, message| Error::damaged(path, message))?;
        }
    }
    rows.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    /// A row whose red, green and blue planes start with 10, 20, 30 plus the label.
    fn row(label: u8) -> Vec<u8> {
        let mut row = vec![0; ROW_BYTES];
        row[0] = label;
        for channel in 0..CHANNELS {
            row[1 + channel * PIXELS] = 10 * (channel as u8 + 1) + label;
        }
        row
    }

    fn write_all(folder: &Folder) {
        for number in 1..=5 {
            folder.file(&format!("data_batch_{number}.bin"), &[row(number), row(0)].concat());
        }
        folder.file("test_batch.bin", &row(9));
    }

    #[test]
    fn planes_become_pixels() {
        let folder = Folder::new();
        write_all(&folder);
        let files = load("images", folder.path(), &Memory::new(None)).unwrap();
        assert_eq!((files.train.rows, files.test.unwrap().rows), (10, 1));
        let [image, label] = files.train.columns.as_slice() else { panic!() };
        let mut row = Vec::new();
        image.read(2, &mut row).unwrap();
        assert_eq!((row.len(), &row[..4]), (3072, &[12, 22, 32, 0][..]));
        assert_eq!(label.integer(2).unwrap(), 2);
        assert!(image.read(10, &mut row).is_err());
    }

    #[test]
    fn missing_and_damaged_files_are_explained() {
        let folder = Folder::new();
        let message =
            || load("images", folder.path(), &Memory::new(None)).map(|_| ()).unwrap_err().to_string();
        assert!(message().contains("lacks: data_batch_1.bin, data_batch_2.bin"));
        write_all(&folder);
        folder.file("data_batch_3.bin", &row(1)[1..]);
        assert!(message().contains("data_batch_3.bin: 3072 bytes are no whole number of rows of 3073 bytes"));
        folder.file("data_batch_3.bin", &[]);
        assert!(message().contains("data_batch_3.bin: 0 bytes"));
        folder.file("data_batch_3.bin", &row(10));
        assert!(message().contains("row 4 has the label 10"));
    }
}
