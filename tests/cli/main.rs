//! The command line as a user and a script see it: exit codes, messages, JSON, files.
//!
//! These tests start the real `weft`, so they lie with the compiler's package. What a command computes is tested elsewhere; here it
//! is that the right thing happens for what is typed.

mod bench;
mod check;
mod emit;
mod files;
mod harness;
mod predict;
mod train;
mod usage;
