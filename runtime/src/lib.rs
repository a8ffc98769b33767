//! Weft's runtime: everything that runs a [`program::Program`], and no compiler.

pub mod command;
pub mod cuda;
#[cfg(feature = "train")]
pub mod data;
pub mod error;
#[cfg(feature = "executable")]
pub mod executable;
pub mod execute;
pub mod generate;
pub mod home;
pub mod io;
pub mod kernels;
pub mod library;
pub mod memory;
pub mod parallel;
pub mod payload;
pub mod pool;
pub mod processor;
pub mod program;
pub mod tensor;
pub mod text;
#[cfg(feature = "train")]
pub mod train;
pub mod weights;
