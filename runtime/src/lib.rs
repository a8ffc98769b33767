//! Weft's runtime: everything that runs a [`program::Program`], and no compiler.

pub mod data;
pub mod error;
pub mod execute;
pub mod generate;
pub mod io;
pub mod kernels;
pub mod memory;
pub mod pool;
pub mod program;
pub mod tensor;
pub mod text;
pub mod train;
