//! What is linked into programs beside their models: the functions of [`weft_runtime::library`].

#[cfg(feature = "library")]
pub use weft_runtime::library::abi::*;
