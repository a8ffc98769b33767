//! Arithmetic of half-width floats (f16, bf16) in f32: generated code and kernels compute in f32, f64 and integers, and know the two as
//! forms in which numbers lie in memory.
//!
//! ```text
//! add a, b : bf16  →  cast(add(cast a, cast b) : f32) : bf16
//! ```
//!
//! Each operation still rounds its result to the narrow type, as IEEE arithmetic in it does; a sum rounds once, at its end. A cast to the
//! narrow type and back is never simplified away, because it rounds. What only moves elements is left as it is.

use super::rewrite::{Rewritten, rewrite};
use crate::graph::{Builder, DType, Graph, Node, Op, TensorType};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, widened)
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

fn widened(b: &mut Builder, node: &Node) -> Rewritten {
    let half_inputs = node.inputs.iter().any(|id| is_half(b.ty(*id).dtype));
    if moves(&node.op) || !(half_inputs || is_half(node.ty.dtype)) {
        return Ok(None);
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        let half = is_half(b.ty(input).dtype);
        inputs.push(if half { b.cast(input, DType::F32)? } else { input });
    }
    let dtype = if is_half(node.ty.dtype) { DType::F32 } else { node.ty.dtype };
    let wide = b.push(node.op.clone(), &inputs, Some(TensorType::new(dtype, node.ty.shape.clone())))?;
    b.cast(wide, node.ty.dtype).map(Some)
}

/// Operations that compute nothing, or are casts themselves.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Input(_)
            | Op::Variable(_)
            | Op::Constant(_)
            | Op::Table(_)
            | Op::Select
            | Op::Cast
            | Op::Hold
            | Op::Gather { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Window { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Scan(_)
            | Op::ScanResult { .. }
    )
}
