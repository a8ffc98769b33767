//! Weft's runtime: everything that runs a [`program::Program`], and no compiler.

pub mod program;
