//! The command line as a user and a script see it: exit codes, messages, JSON, files.
//!
//! These tests start the real `weft`, so they lie with the compiler's package. What a command computes is tested elsewhere; here it
//! is that the right thing happens for what is typed.

// The purity of the compiler's library is no rule for tests of its command.
#![allow(clippy::disallowed_methods)]

mod bench;
mod check;
mod checkpoint;
mod cuda;
mod data;
mod download;
mod emit;
mod executable;
mod explain;
mod families;
mod files;
mod fit;
mod fmt;
mod generate;
#[cfg(target_os = "linux")]
mod gpus;
mod harness;
mod hostile;
mod inspect;
#[cfg(target_os = "linux")]
mod library;
mod load;
mod metrics;
mod new;
mod overfit;
mod paging;
mod predict;
mod pretrained;
mod rows;
mod runs;
mod serve;
mod served;
mod sizes;
mod snapshot;
mod text;
mod train;
mod usage;
