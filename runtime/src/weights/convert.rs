//! Values of one type as those that a variable keeps.

use super::quantised::{Matter, quantise};
use crate::execute::Session;
use crate::program::{DType, Variable, scale_path};
use crate::tensor::Tensor;
use half::{bf16, f16};

/// Whether values of a type may become those of a variable: floats become floats of any width, and numbers with scales.
pub fn converts(from: DType, to: &Variable) -> bool {
    from == to.dtype || (from.is_float() && (to.dtype.is_float() || !to.channels.is_empty()))
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

/// How many values are no numbers. A model that holds one answers nothing else.
pub fn nans(tensor: &Tensor) -> usize {
    fn count<const N: usize>(data: &[u8], is_nan: impl Fn([u8; N]) -> bool) -> usize {
        data.as_chunks::<N>().0.iter().filter(|bytes| is_nan(**bytes)).count()
    }
    match tensor.dtype {
        DType::F32 => count(&tensor.data, |bytes| f32::from_le_bytes(bytes).is_nan()),
        DType::F64 => count(&tensor.data, |bytes| f64::from_le_bytes(bytes).is_nan()),
        DType::F16 => count(&tensor.data, |bytes| f16::from_le_bytes(bytes).is_nan()),
        DType::BF16 => count(&tensor.data, |bytes| bf16::from_le_bytes(bytes).is_nan()),
        _ => 0,
    }
}

/// Gives a variable its value, which [`converts`] to it and has its shape; one that keeps numbers gets their scales too. What a value of
/// such a one is multiplied by may be told.
pub fn put(session: &mut Session, index: usize, tensor: Tensor, matter: Matter<'_>) {
    let variable = &session.program().variables[index];
    if variable.channels.is_empty() || tensor.dtype == variable.dtype {
        let tensor = converted(tensor, variable.dtype);
        session.variable_bytes_mut(index).copy_from_slice(&tensor.data);
        return;
    }
    let weight = converted(tensor, DType::F32).view().to_f32();
    let quantised = quantise(&weight, &variable.shape, &variable.channels, matter);
    let path = scale_path(&variable.path);
    let scales = session.program().variables.iter().position(|variable| variable.path == path);
    let values = session.variable_bytes_mut(index);
    values.iter_mut().zip(quantised.values).for_each(|(byte, value)| *byte = value as u8);
    if let Some(scales) = scales {
        let bytes = session.variable_bytes_mut(scales).as_chunks_mut::<4>().0;
        bytes.iter_mut().zip(quantised.scales).for_each(|(bytes, scale)| *bytes = scale.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::VariableKind;

    #[test]
    fn what_is_no_number_is_counted_in_floats_of_every_width() {
        let nan = |dtype, data: Vec<u8>| nans(&Tensor { dtype, shape: vec![2], data });
        assert_eq!(nan(DType::F32, [1.0f32, f32::NAN].map(f32::to_le_bytes).concat()), 1);
        assert_eq!(nan(DType::F64, [f64::NAN, -f64::NAN].map(f64::to_le_bytes).concat()), 2);
        assert_eq!(nan(DType::F16, [f16::NAN, f16::INFINITY].map(f16::to_le_bytes).concat()), 1);
        assert_eq!(nan(DType::BF16, [bf16::MAX, bf16::NAN].map(bf16::to_le_bytes).concat()), 1);
        assert_eq!(nan(DType::I32, vec![0xff; 8]), 0);
    }

    #[test]
    fn floats_of_another_width_are_converted() {
        let wide =
            Tensor { dtype: DType::F64, shape: vec![2], data: [0.1f64, -2.0].map(f64::to_le_bytes).concat() };
        assert_eq!(converted(wide, DType::F32), Tensor::from_f32(&[2], &[0.1, -2.0]));
        let variable = |dtype, channels: &[usize]| Variable {
            path: "w".into(),
            kind: VariableKind::Weight,
            dtype,
            shape: vec![2, 2],
            trainable: true,
            channels: channels.to_vec(),
        };
        assert!(!converts(DType::I32, &variable(DType::F32, &[])));
        assert!(!converts(DType::F32, &variable(DType::I8, &[])));
        assert!(converts(DType::BF16, &variable(DType::I8, &[1])));
    }
}
