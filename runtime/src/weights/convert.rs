//! Floats of one width as those of another.

use crate::program::DType;
use crate::tensor::Tensor;
use half::{bf16, f16};

/// Whether values of one type may become those of another.
pub fn converts(from: DType, to: DType) -> bool {
    from == to || (from.is_float() && to.is_float())
}

/// The nearest values of another float type.
pub fn converted(tensor: Tensor, dtype: DType) -> Tensor {
    if tensor.dtype == dtype {
        return tensor;
    }
    let values = tensor.view().to_f64();
    let data = match dtype {
        DType::F32 => values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&value| f16::from_f64(value).to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|&value| bf16::from_f64(value).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    Tensor { dtype, shape: tensor.shape, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_another_width_are_converted() {
        let wide =
            Tensor { dtype: DType::F64, shape: vec![2], data: [0.1f64, -2.0].map(f64::to_le_bytes).concat() };
        assert_eq!(converted(wide, DType::F32), Tensor::from_f32(&[2], &[0.1, -2.0]));
        assert!(!converts(DType::I32, DType::F32));
    }
}
