//! A model that is linked into a program: what its C functions take, and what they do.
//!
//! `weft build --emit staticlib` (object, sharedlib) gives a model's machine code, weights and manifest as sections of the program
//! itself, and C functions that are named after it: `digits_create`, `digits_predict_digit`. Each of these is a few instructions that the
//! compiler makes. They put what they are given into a row of words and call the functions of `abi`, which are the same for all models, so
//! that a program with several models holds this runtime once.
//!
//! [`signature`] says what each function takes. The header, those instructions and the runtime all ask it, so they agree.

#[cfg(feature = "library")]
pub mod abi;
mod call;
mod model;
pub mod signature;

pub use model::Model;

/// What the functions of `abi` are called: with the version of what they take, since a program may hold models of several Wefts.
pub const CREATE: &str = "weft_1_create";
pub const DESTROY: &str = "weft_1_destroy";
pub const LAST_ERROR: &str = "weft_1_last_error";
pub const CALL: &str = "weft_1_call";
pub const CLASS_NAME: &str = "weft_1_class_name";

pub const MEMORY: &str = "weft_1_memory";
pub const CREATE_IN: &str = "weft_1_create_in";

/// Everything of `abi`.
pub const FUNCTIONS: [&str; 7] = [CREATE, DESTROY, LAST_ERROR, CALL, CLASS_NAME, MEMORY, CREATE_IN];

/// Where the parts of a model lie in the image of the process: for each, how far from the descriptor's own address, and its bytes.
/// Distances need nothing of who loads the image.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Descriptor {
    pub magic: [u8; 8],
    pub code: (i64, u64),
    pub variables: (i64, u64),
    pub manifest: (i64, u64),
}

/// How a [`Descriptor`] begins, with its version.
pub const MAGIC: [u8; 8] = *b"weft-l\x00\x01";
