//! A virtual GPU: an interpreter of PTX behind a stand-in `libcuda.so.1`.
//!
//! Text of PTX ([`ptx`]) is decoded once ([`decode`]) into the program of each kernel ([`code`]), which the machine
//! ([`machine`]) runs on memory that knows what was allocated and written ([`memory`]). [`driver`] is the driver's
//! interface on top: the functions that a program finds in `libcuda.so.1`. See README.md.

pub mod cache;
pub mod code;
pub mod counts;
pub mod decode;
pub mod driver;
pub mod fault;
pub mod gpu;
mod lanes;
mod library;
pub mod machine;
pub mod memory;
pub mod module;
mod numeric;
pub mod ptx;
pub mod settings;

pub use library::{install, library, load};
