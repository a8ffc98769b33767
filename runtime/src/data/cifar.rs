//! CIFAR-10's binary batches: rows of one label byte and 3 × 32 × 32 channel-first bytes.

use std::path::Path;

use super::{Column, Files, Table, missing};
use crate::error::{Error, Result};
use crate::io;
use crate::program::DType;

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE;
const ROW_BYTES: usize = 1 + CHANNELS * PIXELS;
const CLASSES: u8 = 10;

/// Reads `data_batch_{1..5}.bin` and `test_batch.bin`.
pub fn load(set: &str, folder: &Path) -> Result<Files> {
    let train: Vec<String> = (1..=5).map(|number| format!("data_batch_{number}.bin")).collect();
    let test = ["test_batch.bin".to_string()];
    let lacking: Vec<String> =
        train.iter().chain(&test).filter(|name| !folder.join(name).is_file()).cloned().collect();
    if !lacking.is_empty() {
        return Err(missing(set, folder, &lacking));
    }
    Ok(Files { train: read(folder, &train)?, validation: None, test: Some(read(folder, &test)?) })
}

/// Reads files one after another into one table, channels last.
fn read(folder: &Path, names: &[String]) -> Result<Table> {
    let (mut rows, mut images, mut labels) = (0, Vec::new(), Vec::new());
    for name in names {
        let path = folder.join(name);
        let bytes = io::read(&path)?;
        if bytes.is_empty() || bytes.len() % ROW_BYTES != 0 {
            let message = format!("{} bytes are no whole number of rows of {ROW_BYTES} bytes", bytes.len());
            return Err(Error::damaged(&path, message));
        }
        images.reserve(bytes.len());
        for row in bytes.as_chunks::<ROW_BYTES>().0 {
            let [label, planes @ ..] = row;
            if *label >= CLASSES {
                let message = format!("row {rows} has the label {label}, but there are {CLASSES} classes");
                return Err(Error::damaged(&path, message));
            }
            labels.extend(i32::from(*label).to_le_bytes());
            images
                .extend((0..PIXELS).flat_map(|pixel| (0..CHANNELS).map(move |c| planes[c * PIXELS + pixel])));
            rows += 1;
        }
    }
    Ok(Table {
        rows,
        columns: vec![
            Column::new("image", DType::U8, [SIDE, SIDE, CHANNELS], images),
            Column::new("label", DType::I32, [], labels),
        ],
        left_out: Vec::new(),
    })
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
        let files = load("images", folder.path()).unwrap();
        assert_eq!((files.train.rows, files.test.unwrap().rows), (10, 1));
        let [image, label] = files.train.columns.as_slice() else { panic!() };
        assert_eq!(image.values.len(), 10 * image.row_bytes());
        assert_eq!(image.row(2).unwrap()[..4], [12, 22, 32, 0]);
        assert_eq!(label.row(2).unwrap(), 2i32.to_le_bytes());
    }

    #[test]
    fn missing_and_damaged_files_are_explained() {
        let folder = Folder::new();
        let message = || load("images", folder.path()).map(|_| ()).unwrap_err().to_string();
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
