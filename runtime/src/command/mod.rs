//! What the commands of `weft` and those of an executable have in common: why one ends early, what the user gives a prediction, and how
//! results are shown. Both print the same answers because both print them here.

pub mod failure;
pub mod inputs;
pub mod interrupt;
pub mod lines;
pub mod output;
pub mod page;
pub mod picture;
pub mod results;
pub mod row;
pub mod rows;
pub mod sample;
pub mod stories;
#[cfg(feature = "train")]
pub mod training;

pub use failure::Failure;
