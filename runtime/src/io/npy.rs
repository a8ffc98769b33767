//! NumPy's `.npy`: magic, version, a Python dictionary as header, then the values.
//!
//! Read and written: little-endian C-order arrays of f32, f64, u8, i32, i64 and bool.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result, plain};
use crate::program::DType;
use crate::tensor::{Tensor, TensorView, byte_count};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The header, with all before it, is padded to a multiple of this.
const HEADER_ALIGNMENT: usize = 64;
/// A header describes one array.
const LONGEST_HEADER: usize = 1 << 20;

pub fn read(path: &Path) -> Result<Tensor> {
    parse(super::read(path)?).map_err(|message| Error::damaged(path, message))
}

pub fn write(path: &Path, tensor: TensorView<'_>) -> Result<()> {
    let header = header(tensor).map_err(|message| Error::damaged(path, message))?;
    super::write_atomically(path, &[&header, tensor.data])
}

/// The bytes of an array's file.
pub fn encode(tensor: TensorView<'_>) -> Result<Vec<u8>, String> {
    header(tensor).map(|header| [&header, tensor.data].concat())
}

pub fn parse(bytes: Vec<u8>) -> Result<Tensor, String> {
    let mut rest = bytes.as_slice();
    let Header { dtype, shape, bytes: expected, start } = Header::read(&mut rest)?;
    let there = rest.len();
    if there != expected {
        return Err(short(dtype, &shape, expected, there as u64));
    }
    let mut data = bytes;
    data.drain(..start);
    if dtype == DType::Bool
        && let Some(byte) = data.iter().find(|&&byte| byte > 1)
    {
        return Err(format!("a bool is {byte}; it must be 0 or 1"));
    }
    Ok(Tensor { dtype, shape, data })
}

/// The complaint about a file that is longer or shorter than its header says.
pub fn short(dtype: DType, shape: &[usize], expected: usize, there: u64) -> String {
    format!("{} values of shape {shape:?} take {expected} bytes, but {there} follow the header", dtype.name())
}

/// What stands before the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Bytes of all values.
    pub bytes: usize,
    /// Where the values begin.
    pub start: usize,
}

impl Header {
    /// Reads the beginning of a file; the values follow.
    pub fn read(source: &mut impl Read) -> Result<Header, String> {
        let mut take = |count: usize| {
            let mut bytes = Vec::new();
            let read = source.by_ref().take(count as u64).read_to_end(&mut bytes);
            read.map_err(|error| format!("it cannot be read: {}", plain(&error)))?;
            if bytes.len() < count { Err("the file ends within its header".to_owned()) } else { Ok(bytes) }
        };
        if take(MAGIC.len()).ok().as_deref() != Some(MAGIC) {
            return Err("this is not an .npy file (it does not start with \\x93NUMPY)".into());
        }
        let version = take(2)?;
        let (length, before) = match version[..] {
            [1, _] => (take(2)?, 10),
            [2 | 3, _] => (take(4)?, 12),
            _ => return Err(format!("version {} of the format is not known", version[0])),
        };
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length > LONGEST_HEADER {
            return Err(format!("its header would be {length} bytes long"));
        }
        let text = take(length)?;
        let text = std::str::from_utf8(&text).map_err(|_| "the header is not text")?;
        let (dtype, shape) = parse_header(text)?;
        let bytes = byte_count(dtype, &shape);
        let bytes = bytes.ok_or_else(|| format!("the shape {shape:?} is larger than memory"))?;
        Ok(Header { dtype, shape, bytes, start: before + length })
    }
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(text: &str) -> Result<(DType, Vec<usize>), String> {
    let wrong = || format!("the header cannot be understood: {}", text.trim_end());
    let value = |key: &str| {
        let at = text.find(&format!("'{key}'"))? + key.len() + 2;
        text[at..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr =
        value("descr").and_then(|rest| rest.strip_prefix('\'')).and_then(|rest| rest.split('\'').next());
    let dtype = match descr.ok_or_else(wrong)? {
        "<f4" => DType::F32,
        "<f8" => DType::F64,
        "|u1" => DType::U8,
        "<i4" => DType::I32,
        "<i8" => DType::I64,
        "|b1" => DType::Bool,
        other => {
            return Err(format!(
                "values of type `{other}` cannot be read; convert to f32, f64, u8, i32, i64 or bool, little endian"
            ));
        }
    };
    let order = value("fortran_order").ok_or_else(wrong)?;
    if order.starts_with("True") {
        return Err("the array is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    if !order.starts_with("False") {
        return Err(wrong());
    }
    let extents =
        value("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split_once(')'));
    let shape = extents
        .ok_or_else(wrong)?
        .0
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    Ok((dtype, shape))
}

fn header(tensor: TensorView<'_>) -> Result<Vec<u8>, String> {
    let descr = match tensor.dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::U8 => "|u1",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::Bool => "|b1",
        other => return Err(format!("{} values cannot be written as .npy", other.name())),
    };
    let extents: String = match tensor.shape {
        // A tuple of one is written with a comma.
        [extent] => format!("{extent},"),
        shape => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(HEADER_ALIGNMENT) - 10;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&[1, 0]);
    let length = u16::try_from(length).map_err(|_| "the tensor has too many axes".to_string())?;
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;
    use proptest::prelude::*;

    fn bytes_of(tensor: &Tensor) -> Vec<u8> {
        [header(tensor.view()).unwrap(), tensor.data.clone()].concat()
    }

    #[test]
    fn all_types_and_ranks_survive() {
        let folder = Folder::new();
        let path = folder.path().join("x.npy");
        for dtype in [DType::F32, DType::F64, DType::U8, DType::I32, DType::I64, DType::Bool] {
            for shape in [vec![], vec![3], vec![2, 3], vec![0, 4], vec![1, 2, 1, 2]] {
                let count: usize = shape.iter().product();
                let data = (0..count * dtype.size()).map(|i| (i % 2) as u8).collect();
                let tensor = Tensor { dtype, shape, data };
                write(&path, tensor.view()).unwrap();
                assert_eq!(read(&path).unwrap(), tensor);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_that_numpy_writes() {
        let bytes = bytes_of(&Tensor::from_f32(&[1], &[1.5]));
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
        let text = format!("{text:<117}\n");
        assert_eq!(bytes, [b"\x93NUMPY\x01\x00\x76\x00", text.as_bytes(), &[0, 0, 0xc0, 0x3f]].concat());
    }

    #[test]
    fn damaged_files_are_explained() {
        let good = bytes_of(&Tensor::from_f32(&[2, 3], &[0.0; 6]));
        let message = |bytes: Vec<u8>| parse(bytes).unwrap_err();
        let swapped = |from: &str, to: &str| {
            let at = good.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            let mut bytes = good.clone();
            bytes.splice(at..at + from.len(), to.bytes());
            bytes
        };
        assert!(message(b"PK\x03\x04".to_vec()).contains("not an .npy file"));
        assert!(message(good[..9].to_vec()).contains("ends within its header"));
        assert!(message(good[..80].to_vec()).contains("ends within its header"));
        assert!(message(good[..good.len() - 1].to_vec()).contains("take 24 bytes, but 23 follow"));
        assert!(message([good.clone(), vec![0]].concat()).contains("but 25 follow"));
        assert!(message(swapped("(2, 3)", "(2, 4)")).contains("take 32 bytes"));
        assert!(message(swapped("(2, 3)", "(2,-3)")).contains("cannot be understood"));
        assert!(message(swapped("<f4", ">f4")).contains("`>f4`"));
        assert!(message(swapped("False", "True ")).contains("Fortran"));
        assert!(message(swapped("'shape'", "'shapE'")).contains("cannot be understood"));
        let mut version = good.clone();
        version[6] = 9;
        assert!(message(version).contains("version 9"));
        let mut truth = bytes_of(&Tensor { dtype: DType::Bool, shape: vec![1], data: vec![1] });
        *truth.last_mut().unwrap() = 2;
        assert!(message(truth).contains("a bool is 2"));
    }

    #[test]
    fn a_header_that_promises_too_much_allocates_nothing() {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8), }";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        assert!(parse(bytes).unwrap_err().contains("larger than memory"));
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        assert!(parse(bytes.clone()).unwrap_err().contains("4294967295 bytes long"));
        bytes.truncate(8);
        bytes.extend(1000u32.to_le_bytes());
        assert!(parse(bytes).unwrap_err().contains("ends within"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse([MAGIC, &tail].concat());
        }
    }
}
