//! MNIST's idx format, plain or gzipped: `0, 0, type, rank`, the extents as big-endian u32, then the values.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::cache::{Entry, cache_folder};
use super::memory::Memory;
use super::rows::Rows;
use super::store::Store;
use super::{Files, Table, missing};
use crate::error::{Error, Result, plain};
use crate::program::{DType, Field};

/// The type byte of unsigned bytes, which is all that image and label files hold.
const UNSIGNED_BYTE: u8 = 8;

/// Reads `{train,validation,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`. Only the training files must be there when
/// `may_lack_test`, else those of t10k too.
pub fn load(set: &str, folder: &Path, may_lack_test: bool, memory: &Memory) -> Result<Files> {
    let mut lacking = Vec::new();
    let train = Pair::find(folder, "train", true, &mut lacking);
    let validation = Pair::find(folder, "validation", false, &mut lacking);
    let test = Pair::find(folder, "t10k", !may_lack_test, &mut lacking);
    match train {
        Some(train) if lacking.is_empty() => Ok(Files {
            train: train.read(memory)?,
            validation: validation.map(|pair| pair.read(memory)).transpose()?,
            test: test.map(|pair| pair.read(memory)).transpose()?,
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

    fn read(&self, memory: &Memory) -> Result<Table> {
        let (mut images, mut labels) = (Array::open(&self.images)?, Array::open(&self.labels)?);
        let &[count, height, width] = images.shape.as_slice() else {
            return Err(Error::damaged(
                &self.images,
                format!("images have 3 axes, not {}", images.shape.len()),
            ));
        };
        let &[labelled] = labels.shape.as_slice() else {
            return Err(Error::damaged(
                &self.labels,
                format!("labels have 1 axis, not {}", labels.shape.len()),
            ));
        };
        if labelled != count {
            return Err(Error::damaged(
                &self.labels,
                format!("there are {labelled} labels, but {count} images in {}", self.images.display()),
            ));
        }
        if u32::try_from(count).is_err() || count == 0 || height * width == 0 {
            let message = format!("a data set cannot have {count} rows of {height} × {width} pixels");
            return Err(Error::damaged(&self.images, message));
        }
        let fields =
            [Field::new("image", DType::U8, [height, width, 1]), Field::new("label", DType::I32, [])];
        let entry = Entry::of(cache_folder(), "idx", &[self.images.clone(), self.labels.clone()]);
        if let Some(table) = Rows::kept(&fields, entry.as_ref()) {
            return Ok(table);
        }
        let mut rows = Rows::new(&fields, Store::new(memory, entry));
        let (mut image, mut label) = (Vec::new(), Vec::new());
        for _ in 0..count {
            images.next(height * width, &mut image)?;
            labels.next(1, &mut label)?;
            rows.bytes(0, image.iter().copied());
            rows.bytes(1, label.iter().flat_map(|&label| i32::from(label).to_le_bytes()));
            rows.end_row(|_, message| Error::damaged(&self.images, message))?;
        }
        images.end()?;
        labels.end()?;
        rows.finish()
    }
}

/// An array of bytes as it stands in a file, which is read from its beginning to its end.
struct Array {
    path: PathBuf,
    source: Box<dyn BufRead>,
    gzipped: bool,
    shape: Vec<usize>,
    /// Bytes that the shape asks for, and how many were read.
    expected: usize,
    read: usize,
}

impl Array {
    /// Opens a file, gzipped or not: the content tells, whatever the name says.
    fn open(path: &Path) -> Result<Array> {
        let mut plain = BufReader::new(File::open(path).map_err(Error::file("read", path))?);
        let gzipped = plain.fill_buf().map_err(Error::file("read", path))?.starts_with(&[0x1f, 0x8b]);
        let source: Box<dyn BufRead> = match gzipped {
            true => Box::new(BufReader::new(MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        let path = path.to_path_buf();
        let mut array = Array { path, source, gzipped, shape: Vec::new(), expected: 0, read: 0 };
        let magic = array.header(4)?;
        let [0, 0, kind, rank] = magic[..] else {
            let message = format!("this is no idx file: it starts with {magic:02x?} instead of 00 00");
            return Err(array.wrong(message));
        };
        if kind != UNSIGNED_BYTE {
            return Err(array.wrong(format!(
                "values of idx type {kind:#04x} are no images or labels, which are unsigned bytes (0x08)"
            )));
        }
        let extents = array.header(4 * usize::from(rank))?;
        array.shape = extents.as_chunks::<4>().0.iter().map(|&b| u32::from_be_bytes(b) as usize).collect();
        let expected = array.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        match expected {
            Some(expected) => array.expected = expected,
            None => return Err(array.wrong(format!("the extents {:?} are larger than memory", array.shape))),
        }
        Ok(array)
    }

    fn wrong(&self, message: String) -> Error {
        Error::damaged(&self.path, message)
    }

    fn header(&mut self, bytes: usize) -> Result<Vec<u8>> {
        let mut header = Vec::new();
        if self.take(bytes, &mut header)? < bytes {
            return Err(self.wrong("the file ends within its header".into()));
        }
        Ok(header)
    }

    /// So many bytes, or as many as there are.
    fn take(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<usize> {
        out.clear();
        self.source.by_ref().take(bytes as u64).read_to_end(out).map_err(|error| match self.gzipped {
            true => Error::damaged(&self.path, format!("the gzip stream is damaged: {}", plain(&error))),
            false => Error::file("read", &self.path)(error),
        })
    }

    /// The next bytes.
    fn next(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<()> {
        self.read += self.take(bytes, out)?;
        if out.len() < bytes {
            let message = format!(
                "the extents {:?} ask for {} bytes, but only {} follow",
                self.shape, self.expected, self.read
            );
            return Err(self.wrong(message));
        }
        Ok(())
    }

    /// Nothing follows what the extents ask for.
    fn end(&mut self) -> Result<()> {
        if self.take(1, &mut Vec::new())? > 0 {
            let message = format!(
                "more than the {} bytes follow that the extents {:?} ask for",
                self.expected, self.shape
            );
            return Err(self.wrong(message));
        }
        Ok(())
    }
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

    fn load(set: &str, folder: &Path, may_lack_test: bool) -> Result<Files> {
        super::load(set, folder, may_lack_test, &Memory::new(None))
    }

    /// The extents of a file and all its bytes.
    fn read(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
        let (mut array, mut data) = (Array::open(path)?, Vec::new());
        array.next(array.expected, &mut data)?;
        array.end()?;
        Ok((array.shape, data))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_files_are_the_same() {
        let folder = Folder::new();
        let bytes = file(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = (vec![2, 1, 3], vec![1, 2, 3, 4, 5, 6]);
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
        let mut last = Vec::new();
        image.read(11, &mut last).unwrap();
        assert_eq!(last, [11; 4]);
        assert_eq!([label.integer(10).unwrap(), label.integer(11).unwrap()], [0, 1]);
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
            let _ = read(&Folder::new().file("file", &[&[0, 0, 8, rank][..], &tail].concat()));
        }
    }
}
