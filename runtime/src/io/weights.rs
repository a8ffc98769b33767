//! Named tensors in safetensors files.
//!
//! Files are read by the `safetensors` crate. They are written here, because a file must have the same bytes whenever its
//! tensors and its metadata are the same, and the crate keeps metadata in a hash map.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::program::DType;
use crate::tensor::{Tensor, TensorView};

/// A file of named tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    pub tensors: BTreeMap<String, Tensor>,
    /// What is said about them: the spec's name, the epoch, figures.
    pub metadata: BTreeMap<String, String>,
}

pub fn read(path: &Path) -> Result<Weights> {
    parse(path, &super::read(path)?)
}

/// The same for the bytes of a file, whose path is told in errors.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Weights> {
    let wrong = |message: String| Error::damaged(path, message);
    let damaged = |error| wrong(format!("this is no sound safetensors file: {error}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata =
        header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut weights = Weights { tensors: BTreeMap::new(), metadata };
    for (name, view) in SafeTensors::deserialize(bytes).map_err(damaged)?.iter() {
        let dtype = from_file(view.dtype()).ok_or_else(|| {
            wrong(format!(
                "`{name}` holds values of type {:?}, which no weight has here; save it as f32",
                view.dtype()
            ))
        })?;
        let tensor = Tensor { dtype, shape: view.shape().to_vec(), data: view.data().to_vec() };
        weights.tensors.insert(name.to_string(), tensor);
    }
    Ok(weights)
}

/// Reads what a file says about its tensors, but not the tensors.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(Default, serde::Deserialize)]
    struct Head {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, String>,
    }
    let failed = |error| Error::file("read", path)(error);
    let mut file = File::open(path).map_err(failed)?;
    let room = file.metadata().map_err(failed)?.len().saturating_sub(8);
    let mut length = [0; 8];
    let whole = file.read_exact(&mut length).is_ok() && u64::from_le_bytes(length) <= room;
    let mut text = Vec::new();
    if whole {
        file.take(u64::from_le_bytes(length)).read_to_end(&mut text).map_err(failed)?;
    }
    match serde_json::from_slice::<Head>(&text) {
        Ok(head) => Ok(head.metadata),
        Err(error) => Err(Error::damaged(path, format!("this is no sound safetensors file: {error}"))),
    }
}

/// Writes tensors in the order of their names.
pub fn write(
    path: &Path,
    tensors: &BTreeMap<&str, TensorView<'_>>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let head = head(tensors, metadata);
    let mut parts: Vec<&[u8]> = vec![&head];
    parts.extend(tensors.values().map(|tensor| tensor.data));
    super::write_atomically(path, &parts)
}

/// What [`write()`] puts before the values, which follow in the order of their names.
pub fn head(tensors: &BTreeMap<&str, TensorView<'_>>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += tensor.data.len();
        let entry =
            json!({ "dtype": to_file(tensor.dtype), "shape": tensor.shape, "data_offsets": [start, end] });
        header.insert(name.to_string(), entry);
    }
    let mut text = Value::Object(header).to_string();
    // The data starts at a multiple of 8, so that a reader may map it.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn to_file(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F64 => "F64",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::I8 => "I8",
        DType::U8 => "U8",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::Bool => "BOOL",
    }
}

/// A type of the format's, where there is the same here.
pub(super) fn from_file(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;
    use proptest::prelude::*;

    fn sample() -> Weights {
        let mut weights = Weights::default();
        weights.tensors.insert("b.bias".into(), Tensor::from_f32(&[3], &[1., 2., 3.]));
        weights.tensors.insert("a \"quoted\"".into(), Tensor::from_u8(&[2, 1], &[1, 2]));
        weights.tensors.insert("scalar".into(), Tensor::from_i64(&[], &[-1]));
        weights.tensors.insert("empty".into(), Tensor::from_f32(&[0, 5], &[]));
        weights.metadata.insert("spec".into(), "mnist".into());
        weights.metadata.insert("epoch".into(), "3".into());
        weights
    }

    fn save(path: &Path, weights: &Weights) {
        let views = weights.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        write(path, &views, &weights.metadata).unwrap();
    }

    #[test]
    fn what_is_written_is_read_and_the_bytes_repeat() {
        let folder = Folder::new();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        save(&first, &sample());
        save(&second, &sample());
        assert_eq!(read(&first).unwrap(), sample());
        assert_eq!(read_metadata(&first).unwrap(), sample().metadata);
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let folder = Folder::new();
        let path = folder.path().join("w");
        save(&path, &sample());
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            let cut = folder.file("cut", &good[..length]);
            let _ = read_metadata(&cut);
            let error = read(&cut).unwrap_err();
            assert!(error.to_string().contains("no sound safetensors file"), "{error}");
        }
    }

    #[test]
    fn a_header_that_promises_too_much_is_an_error() {
        let folder = Folder::new();
        let text = r#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#;
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 4]].concat();
        assert!(read(&folder.file("w", &bytes)).is_err());
        assert!(read(&folder.file("w", &[255; 16])).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn flipped_bits_never_panic(position in 0usize..400, bit in 0u8..8) {
            let folder = Folder::new();
            let path = folder.path().join("w");
            save(&path, &sample());
            let mut bytes = std::fs::read(&path).unwrap();
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            let flipped = folder.file("flipped", &bytes);
            let _ = (read(&flipped), read_metadata(&flipped));
        }
    }
}
