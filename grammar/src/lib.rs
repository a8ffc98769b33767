//! Weft's text ⇄ syntax tree: spans, the tree, the parser with recovery, the formatter.
//!
//! This crate knows how a spec is written, not what it means. Parsing never fails: it returns a tree of whatever
//! could be read together with every error found.

pub mod ast;
mod build;
pub mod codes;
mod explain;
pub mod format;
mod habits;
pub mod parse;
mod scan;
pub mod span;
pub mod visit;

pub use codes::CODES;
pub use format::{format, quote};
pub use parse::{Parsed, SyntaxError, parse};
pub use span::{FileId, Span};
