//! Learned weights kept in a narrower float type, for models that are only run: half the bytes to read, and every sum still in f32.
//!
//! ```text
//! variable W : f32  →  cast(variable W : bf16) : f32
//! ```
//!
//! Matrices, tables and convolutions' kernels are narrowed, for they are what takes memory; biases, scales and states stay as they are.

use super::rewrite::rewrite;
use crate::graph::{DType, Entry, Graph, Module, Op, TensorType};
use std::collections::BTreeMap;
use weft_runtime::program::VariableKind;

/// The module with its large weights kept as `dtype`.
pub fn weights(module: &Module, dtype: DType) -> Module {
    let mut module = module.clone();
    let mut narrowed = BTreeMap::new();
    for variable in &mut module.variables {
        if variable.kind == VariableKind::Weight && variable.ty.dtype == DType::F32 && variable.ty.rank() > 1
        {
            variable.ty.dtype = dtype;
            narrowed.insert(variable.path.clone(), variable.ty.clone());
        }
    }
    for Entry { graph, .. } in &mut module.entries {
        narrow(graph, &narrowed);
    }
    module
}

fn narrow(graph: &mut Graph, narrowed: &BTreeMap<String, TensorType>) {
    rewrite(graph, |b, node| {
        let Op::Variable(path) = &node.op else { return Ok(None) };
        let Some(ty) = narrowed.get(path) else { return Ok(None) };
        let kept = b.push(node.op.clone(), &[], Some(ty.clone()))?;
        b.cast(kept, node.ty.dtype).map(Some)
    });
    let mut b = crate::graph::Builder::new("");
    std::mem::swap(&mut b.graph, graph);
    for at in 0..b.graph.updates.len() {
        let (path, id) = &b.graph.updates[at];
        let Some(ty) = narrowed.get(path) else { continue };
        // A cast of a float fits always.
        if let Ok(cast) = b.cast(*id, ty.dtype) {
            b.graph.updates[at].1 = cast;
        }
    }
    *graph = b.graph;
}
