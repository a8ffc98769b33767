//! Weights from anywhere: a file of named tensors in any format that can be read, told by its first bytes.
//!
//! The file is mapped, not read: opening it looks at names, types and shapes alone, and a tensor's values are only touched when
//! they are asked for. So a model takes a few tensors of a large file at the cost of those few.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use zip::ZipArchive;
use zip::result::ZipError;

use super::hdf5::{Dataset, Hdf5, SIGNATURE};
use super::{keras, map, weights};
use crate::error::{Error, Result};
use crate::program::DType;
use crate::tensor::{Tensor, byte_count};

/// The weights in a `.keras` archive.
const IN_ARCHIVE: &str = "model.weights.h5";

/// A file of named tensors.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    content: Content,
    tensors: BTreeMap<String, Entry>,
}

/// What a file says of a tensor.
#[derive(Debug)]
pub struct Entry {
    /// `None`: no tensor here has this type.
    pub dtype: Option<DType>,
    pub shape: Vec<usize>,
    /// The type as the file calls it.
    type_name: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Bytes(Range<usize>),
    Dataset(Dataset),
}

enum Content {
    Mapped(Mmap),
    /// Out of an archive.
    Owned(Vec<u8>),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Mapped(map) => map,
            Content::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.type_name, self.shape)
    }
}

impl Stored {
    /// Reads what there is in a safetensors file, an HDF5 file such as Keras writes (`.h5`, `.weights.h5`), or a `.keras`
    /// archive.
    pub fn open(path: &Path) -> Result<Stored> {
        let damaged = |message: String| Error::damaged(path, message);
        let map = map(path)?;
        let mut content = Content::Mapped(map);
        if content.bytes().starts_with(b"PK\x03\x04") {
            content = Content::Owned(from_archive(content.bytes()).map_err(damaged)?);
        }
        let tensors = if is_hdf5(content.bytes()) {
            let wrong = |error| damaged(format!("this HDF5 file cannot be read: {error}"));
            let tree = Hdf5::open(content.bytes()).and_then(|file| file.tree()).map_err(wrong)?;
            let named = keras::weights(tree).map_err(wrong)?;
            named.into_iter().map(|(name, dataset)| (name, Entry::of_dataset(dataset))).collect()
        } else {
            in_safetensors(content.bytes()).map_err(|error| {
                damaged(format!("this is no sound safetensors file, nor one of Keras: {error}"))
            })?
        };
        Ok(Stored { path: path.to_path_buf(), content, tensors })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(name)
    }

    /// The values of a tensor. Ask for its shape before: memory for all of it is taken.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let wrong = |message: String| Error::damaged(&self.path, format!("`{name}`: {message}"));
        let entry = self.get(name).ok_or_else(|| wrong("there is no such tensor".into()))?;
        let dtype =
            entry.dtype.ok_or_else(|| wrong(format!("no weight here has the type {}", entry.type_name)))?;
        let data = match &entry.place {
            Place::Bytes(range) => self.content.bytes().get(range.clone()).unwrap_or_default().to_vec(),
            Place::Dataset(dataset) => {
                let size = byte_count(dtype, &entry.shape).ok_or_else(|| wrong("it is too large".into()))?;
                let mut data = vec![0; size];
                let file = Hdf5::open(self.content.bytes()).map_err(wrong)?;
                file.read(dataset, &mut data).map_err(wrong)?;
                data
            }
        };
        Ok(Tensor { dtype, shape: entry.shape.clone(), data })
    }
}

impl Entry {
    fn of_dataset(dataset: Dataset) -> Entry {
        Entry {
            dtype: dataset.element.dtype(),
            shape: dataset.shape.clone(),
            type_name: dataset.element.name(),
            place: Place::Dataset(dataset),
        }
    }
}

/// The signature may stand behind a block of the user's.
fn is_hdf5(bytes: &[u8]) -> bool {
    let at = |start: usize| bytes.get(start..).is_some_and(|rest| rest.starts_with(SIGNATURE));
    at(0) || (0..).map(|doublings| 512usize << doublings).take_while(|&start| start < bytes.len()).any(at)
}

/// The weights of a `.keras` archive.
fn from_archive(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |error: ZipError| format!("this archive cannot be read: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.file_names().any(|name| name.ends_with("data.pkl")) {
        return Err("this is PyTorch's own format, which can hold any program; write the weights with \
                    `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`"
            .into());
    }
    let member = match archive.by_name(IN_ARCHIVE) {
        Ok(member) => member,
        Err(ZipError::FileNotFound) => {
            return Err(format!("this archive has no `{IN_ARCHIVE}`, so it is none of Keras'"));
        }
        Err(error) => return Err(broken(error)),
    };
    // Memory grows with what comes out, whatever the archive says of its size.
    let size = member.size();
    let mut whole = Vec::new();
    let read = member.take(size.saturating_add(1)).read_to_end(&mut whole);
    read.map_err(|error| format!("`{IN_ARCHIVE}` in this archive is damaged: {error}"))?;
    Ok(whole)
}

fn in_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let words = |error: safetensors::SafeTensorError| error.to_string();
    // Checks that the tensors fill the file without gaps or overlaps, and that each has the size of its shape.
    SafeTensors::deserialize(bytes).map_err(words)?;
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(words)?;
    let start = 8 + header;
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (from, to) = info.data_offsets;
        let entry = Entry {
            dtype: weights::from_file(info.dtype),
            shape: info.shape.clone(),
            type_name: format!("{:?}", info.dtype).to_lowercase(),
            place: Place::Bytes(start + from..start + to),
        };
        (name, entry)
    };
    Ok(metadata.tensors().into_iter().map(entry).collect())
}
