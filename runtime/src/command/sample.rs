//! What is run to see how long it takes: random inputs, and what the process needs.

use crate::error::Result;
use crate::execute::dims_at;
use crate::kernels::random;
use crate::program::{DType, Entry};
use crate::tensor::Tensor;

/// Inputs of the right types for a prediction: floats in [0, 1), bytes of any value, other integers 0 or 1.
pub fn inputs(entry: &Entry, batch: usize, seed: u64) -> Result<Vec<Tensor>> {
    let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|s| (s.as_str(), batch)).collect();
    let dims = dims_at(entry, &symbols)?;
    Ok(entry
        .inputs
        .iter()
        .map(|input| {
            let shape: Vec<usize> = input.shape.iter().map(|d| dims[d.0 as usize].max(0) as usize).collect();
            let key = random::key(&input.name);
            let count = shape.iter().product::<usize>() as u64;
            let values = (0..count).map(|i| random::uniform(i, [seed as i64, 0], key));
            let data: Vec<u8> = match input.dtype {
                DType::F32 => values.flat_map(f32::to_le_bytes).collect(),
                DType::F64 => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
                DType::U8 => values.map(|v| (v * 256.0) as u8).collect(),
                DType::I32 => values.flat_map(|v| i32::from(v < 0.5).to_le_bytes()).collect(),
                DType::I64 => values.flat_map(|v| i64::from(v < 0.5).to_le_bytes()).collect(),
                DType::I8 | DType::Bool => values.map(|v| u8::from(v < 0.5)).collect(),
                DType::F16 | DType::BF16 => values.flat_map(|_| [0, 0]).collect(),
            };
            Tensor { dtype: input.dtype, shape, data }
        })
        .collect())
}

/// The largest resident size that this process has had; 0 where the system does not say.
pub fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
