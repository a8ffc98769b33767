//! Weft's compiler as a library: text in, values out. No file, clock, thread or environment is touched here.

pub mod assemble;
pub mod check;
pub mod cpu;
pub mod cuda;
pub mod decode;
pub mod diagnostics;
pub mod evaluate;
pub mod grad;
pub mod graph;
pub mod inspect;
pub mod library;
pub mod numerics;
pub mod passes;
pub mod plan;
pub mod registry;
pub mod render;
pub mod stages;
