//! Tensors as they cross the runtime's border: a type, a shape, and little-endian bytes in row-major order.
//!
//! Inside, programs see pointers only. These two types are what callers hand in and get out.

use crate::program::DType;
use half::{bf16, f16};

/// A borrowed tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    pub dtype: DType,
    pub shape: &'a [usize],
    pub data: &'a [u8],
}

/// An owned tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Tensor {
    pub fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, data: &self.data }
    }

    pub fn from_f32(shape: &[usize], values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::F32, shape: shape.to_vec(), data }
    }

    pub fn from_i32(shape: &[usize], values: &[i32]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::I32, shape: shape.to_vec(), data }
    }

    pub fn from_i64(shape: &[usize], values: &[i64]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::I64, shape: shape.to_vec(), data }
    }

    /// Some of its rows, which are along the first axis; those that it doesn't have are left out.
    pub fn rows(&self, rows: &[usize]) -> Tensor {
        let count = self.shape.first().copied().unwrap_or(0);
        let bytes = self.data.len() / count.max(1);
        let row = |row: &usize| self.data.get(row * bytes..(row + 1) * bytes);
        let parts: Vec<&[u8]> = rows.iter().filter_map(row).collect();
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = parts.len();
        }
        Tensor { dtype: self.dtype, shape, data: parts.concat() }
    }

    /// The values of an i32 tensor; empty for any other type.
    pub fn to_i32(&self) -> Vec<i32> {
        match self.dtype {
            DType::I32 => self.data.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b)).collect(),
            _ => Vec::new(),
        }
    }

    pub fn from_u8(shape: &[usize], values: &[u8]) -> Tensor {
        Tensor { dtype: DType::U8, shape: shape.to_vec(), data: values.to_vec() }
    }
}

impl TensorView<'_> {
    pub fn to_owned(&self) -> Tensor {
        Tensor { dtype: self.dtype, shape: self.shape.to_vec(), data: self.data.to_vec() }
    }

    /// All values widened to f64, for printing and comparing; integers above 2⁵³ are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        fn each<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            data.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
        }
        match self.dtype {
            DType::F32 => each(self.data, |b| f32::from_le_bytes(b).into()),
            DType::F64 => each(self.data, f64::from_le_bytes),
            DType::F16 => each(self.data, |b| f16::from_le_bytes(b).into()),
            DType::BF16 => each(self.data, |b| bf16::from_le_bytes(b).into()),
            DType::I8 => each(self.data, |b| i8::from_le_bytes(b).into()),
            DType::U8 | DType::Bool => each(self.data, |b| u8::from_le_bytes(b).into()),
            DType::I32 => each(self.data, |b| i32::from_le_bytes(b).into()),
            DType::I64 => each(self.data, |b| i64::from_le_bytes(b) as f64),
        }
    }

    /// The values of an f32 tensor; empty for any other type.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            DType::F32 => self.data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            _ => Vec::new(),
        }
    }
}

/// Bytes of a tensor; none when that does not fit.
pub fn byte_count(dtype: DType, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |product, &extent| product.checked_mul(extent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_floats_widen_exactly() {
        let halves: Vec<u8> =
            [0x3c00u16, 0xc000, 0x3555, 0x0001, 0x7c00].iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView { dtype: DType::F16, shape: &[5], data: &halves };
        assert_eq!(view.to_f64(), [1.0, -2.0, 0.333251953125, 5.960464477539063e-8, f64::INFINITY]);
        let brain = 0x3fc0u16.to_le_bytes();
        assert_eq!(TensorView { dtype: DType::BF16, shape: &[], data: &brain }.to_f64(), [1.5]);
    }

    #[test]
    fn a_byte_count_that_overflows_is_none() {
        assert_eq!(byte_count(DType::F32, &[2, 3]), Some(24));
        assert_eq!(byte_count(DType::F32, &[usize::MAX, 2]), None);
    }
}
