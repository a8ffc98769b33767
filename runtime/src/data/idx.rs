//! MNIST's idx format, plain or gzipped: `0, 0, type, rank`, the extents as big-endian u32, then the values.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{Column, Files, Table, missing};
use crate::error::{Error, Result};
use crate::program::DType;

/// The type byte of unsigned bytes, which is all that image and label files hold.
const UNSIGNED_BYTE: u8 = 8;

/// An array of bytes as it stands in a file.
#[derive(Debug, PartialEq)]
struct Array {
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// Reads `{train,validation,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`. Only the training files must be there when
/// `may_lack_test`, else those of t10k too.
pub fn load(set: &str, folder: &Path, may_lack_test: bool) -> Result<Files> {
    let mut lacking = Vec::new();
    let train = Pair::find(folder, "train", true, &mut lacking);
    let validation = Pair::find(folder, "validation", false, &mut lacking);
    let test = Pair::find(folder, "t10k", !may_lack_test, &mut lacking);
    match train {
        Some(train) if lacking.is_empty() => Ok(Files {
            train: train.read()?,
            validation: validation.map(|pair| pair.read()).transpose()?,
            test: test.map(|pair| pair.read()).transpose()?,
        }),
        _ => Err(missing(set, folder, &lacking)),
    }
}

/// The two files of one part.
struct Pair {
    images: PathBuf,
    labels: PathBuf,
}

impl Pair {
    /// Finds both files. Half a pair is always lacking its other half; a whole pair only when it is required.
    fn find(folder: &Path, part: &str, required: bool, lacking: &mut Vec<String>) -> Option<Pair> {
        let names = [format!("{part}-images-idx3-ubyte"), format!("{part}-labels-idx1-ubyte")];
        let found = names.each_ref().map(|name| {
            [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
        });
        if required || found.iter().any(Option::is_some) {
            let absent = names.iter().zip(&found).filter(|(_, path)| path.is_none());
            lacking.extend(absent.map(|(name, _)| format!("{name}[.gz]")));
        }
        let [images, labels] = found;
        Some(Pair { images: images?, labels: labels? })
    }

    fn read(&self) -> Result<Table> {
        let images = read(&self.images)?;
        let labels = read(&self.labels)?;
        let &[rows, height, width] = images.shape.as_slice() else {
            return Err(Error::damaged(
                &self.images,
                format!("images have 3 axes, not {}", images.shape.len()),
            ));
        };
        if labels.shape.len() != 1 {
            return Err(Error::damaged(
                &self.labels,
                format!("labels have 1 axis, not {}", labels.shape.len()),
            ));
        }
        if labels.shape[0] != rows {
            return Err(Error::damaged(
                &self.labels,
                format!(
                    "there are {} labels, but {rows} images in {}",
                    labels.shape[0],
                    self.images.display()
                ),
            ));
        }
        if u32::try_from(rows).is_err() || rows == 0 {
            return Err(Error::damaged(&self.images, format!("a data set cannot have {rows} rows")));
        }
        let labels: Vec<u8> = labels.data.iter().flat_map(|&label| i32::from(label).to_le_bytes()).collect();
        Ok(Table {
            rows,
            columns: vec![
                Column::new("image", DType::U8, [height, width, 1], images.data),
                Column::new("label", DType::I32, [], labels),
            ],
            left_out: Vec::new(),
        })
    }
}

/// Reads one file, gzipped or not: the content tells, whatever the name says.
fn read(path: &Path) -> Result<Array> {
    let open = || File::open(path).map(BufReader::new).map_err(Error::file("read", path));
    let mut magic = [0; 2];
    let gzipped = open()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let plain = open()?;
    let array = if gzipped { parse(MultiGzDecoder::new(plain)) } else { parse(plain) };
    array.map_err(|problem| match problem {
        Problem::Content(message) => Error::damaged(path, message),
        Problem::Reading(error) if gzipped && error.kind() != std::io::ErrorKind::Interrupted => {
            Error::damaged(path, format!("the gzip stream is damaged: {error}"))
        }
        Problem::Reading(error) => Error::file("read", path)(error),
    })
}

enum Problem {
    Content(String),
    Reading(std::io::Error),
}

fn parse(mut reader: impl Read) -> Result<Array, Problem> {
    let content = |message: String| Err(Problem::Content(message));
    let mut header = Vec::new();
    let mut take = |reader: &mut dyn Read, bytes: usize| {
        header.clear();
        reader.take(bytes as u64).read_to_end(&mut header).map_err(Problem::Reading)?;
        if header.len() < bytes {
            return Err(Problem::Content("the file ends within its header".into()));
        }
        Ok(header.clone())
    };
    let magic = take(&mut reader, 4)?;
    let [0, 0, kind, rank] = magic[..] else {
        return content(format!("this is no idx file: it starts with {magic:02x?} instead of 00 00"));
    };
    if kind != UNSIGNED_BYTE {
        return content(format!(
            "values of idx type {kind:#04x} are no images or labels, which are unsigned bytes (0x08)"
        ));
    }
    let extents = take(&mut reader, 4 * usize::from(rank))?;
    let shape: Vec<usize> =
        extents.as_chunks::<4>().0.iter().map(|&b| u32::from_be_bytes(b) as usize).collect();
    let Some(expected) = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)) else {
        return content(format!("the extents {shape:?} are larger than memory"));
    };
    // The buffer grows with what is really there, so that a wrong header costs nothing; one byte more shows an excess.
    let mut data = Vec::new();
    reader.take((expected as u64).saturating_add(1)).read_to_end(&mut data).map_err(Problem::Reading)?;
    if data.len() < expected {
        return content(format!(
            "the extents {shape:?} ask for {expected} bytes, but only {} follow",
            data.len()
        ));
    }
    if data.len() > expected {
        return content(format!("more than the {expected} bytes follow that the extents {shape:?} ask for"));
    }
    data.shrink_to_fit();
    Ok(Array { shape, data })
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::io::testing::Folder;

    /// An idx file's bytes.
    pub fn file(extents: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        bytes.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
        bytes.extend_from_slice(data);
        bytes
    }

    /// Writes the pair of a part: 2 × 2 images whose bytes are all the row's number, labels that count modulo 10.
    pub fn write_pair(folder: &Folder, part: &str, rows: u32) {
        let pixels: Vec<u8> = (0..rows).flat_map(|row| [row as u8; 4]).collect();
        let labels: Vec<u8> = (0..rows).map(|row| (row % 10) as u8).collect();
        folder.file(&format!("{part}-images-idx3-ubyte"), &file(&[rows, 2, 2], &pixels));
        folder.file(&format!("{part}-labels-idx1-ubyte"), &file(&[rows], &labels));
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{file, write_pair};
    use super::*;
    use crate::error::Class;
    use crate::io::testing::Folder;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_files_are_the_same() {
        let folder = Folder::new();
        let bytes = file(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Array { shape: vec![2, 1, 3], data: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read(&folder.file("a", &bytes)).unwrap(), expected);
        assert_eq!(read(&folder.file("a.gz", &gzip(&bytes))).unwrap(), expected);
        // An unpacked file that kept its name, and the other way round.
        assert_eq!(read(&folder.file("b.gz", &bytes)).unwrap(), expected);
        assert_eq!(read(&folder.file("b", &gzip(&bytes))).unwrap(), expected);
    }

    #[test]
    fn a_folder_becomes_columns() {
        let folder = Folder::new();
        write_pair(&folder, "train", 12);
        write_pair(&folder, "t10k", 3);
        let files = load("digits", folder.path(), false).unwrap();
        assert_eq!((files.train.rows, files.test.unwrap().rows), (12, 3));
        assert!(files.validation.is_none());
        let [image, label] = files.train.columns.as_slice() else { panic!() };
        assert_eq!((image.shape.as_slice(), image.row_bytes()), (&[2, 2, 1][..], 4));
        assert_eq!(image.bytes().unwrap()[44..], [11; 4]);
        assert_eq!(label.bytes().unwrap()[40..], [0, 0, 0, 0, 1, 0, 0, 0]);
        write_pair(&folder, "validation", 4);
        assert_eq!(load("digits", folder.path(), false).unwrap().validation.unwrap().rows, 4);
    }

    #[test]
    fn missing_files_are_named() {
        let folder = Folder::new();
        let message = |path: &Path, may_lack_test| match load("digits", path, may_lack_test) {
            Err(error) => {
                assert_eq!(error.class(), Class::Input);
                error.to_string()
            }
            Ok(_) => panic!("nothing was missing"),
        };
        let nowhere = folder.path().join("nowhere");
        let all = message(&nowhere, false);
        assert!(all.contains("does not exist; it must hold: train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-images"), "{all}");
        assert!(all.contains("--data digits=DIR"), "{all}");
        write_pair(&folder, "train", 2);
        assert!(message(folder.path(), false).contains("lacks: t10k-images-idx3-ubyte[.gz], t10k-labels"));
        assert!(load("digits", folder.path(), true).is_ok());
        folder.file("validation-labels-idx1-ubyte", &file(&[1], &[0]));
        assert!(message(folder.path(), true).contains("lacks: validation-images-idx3-ubyte[.gz] ("));
    }

    #[test]
    fn damaged_files_are_explained() {
        let folder = Folder::new();
        let good = file(&[2, 3], &[0; 6]);
        let message = |bytes: &[u8]| read(&folder.file("file", bytes)).unwrap_err().to_string();
        assert!(message(&[]).contains("ends within its header"));
        assert!(message(&good[..10]).contains("ends within its header"));
        assert!(message(&good[..17]).contains("the extents [2, 3] ask for 6 bytes, but only 5 follow"));
        assert!(message(&[&good[..], &[0]].concat()).contains("more than the 6 bytes follow"));
        assert!(message(b"hello world").contains("no idx file"));
        assert!(message(&[0, 0, 0x0d, 1, 0, 0, 0, 0]).contains("type 0x0d"));
        assert!(message(&file(&[u32::MAX, u32::MAX, u32::MAX], &[])).contains("larger than memory"));
        assert!(message(&file(&[u32::MAX, 1], &[1, 2])).contains("only 2 follow"));
        let packed = gzip(&good);
        assert!(message(&packed[..packed.len() - 9]).contains("gzip stream is damaged"));
        assert!(message(&good[..17]).starts_with(&folder.path().join("file").display().to_string()));
    }

    #[test]
    fn pairs_that_do_not_belong_together_are_explained() {
        let folder = Folder::new();
        let message = || match load("digits", folder.path(), true) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was accepted"),
        };
        write_pair(&folder, "train", 5);
        folder.file("train-labels-idx1-ubyte", &file(&[4], &[0; 4]));
        assert!(message().contains("there are 4 labels, but 5 images in"));
        folder.file("train-labels-idx1-ubyte", &file(&[5, 1], &[0; 5]));
        assert!(message().contains("labels have 1 axis, not 2"));
        folder.file("train-images-idx3-ubyte", &file(&[5, 4], &[0; 20]));
        assert!(message().contains("images have 3 axes, not 2"));
        write_pair(&folder, "train", 0);
        assert!(message().contains("cannot have 0 rows"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..64), rank in 0u8..6) {
            let _ = parse([&[0, 0, 8, rank][..], &tail].concat().as_slice());
        }
    }
}
