//! A model's weights: between a session and a file of ours ([`files`]), and out of files of others ([`load_items`]).
//!
//! A file of weights also says what the training found in its data: the names of classes, and what texts were cut into.

mod convert;
mod files;
#[cfg(feature = "train")]
mod load;
mod misfits;

pub use files::{
    BESIDE, Provenance, exchange, load_needed_weights, load_weights, named, provenance, restore,
    save_weights, saved, snapshot,
};
#[cfg(feature = "train")]
pub use load::load_items;
pub use misfits::Misfits;

/// The names of the classes of some fields, in order.
pub type Classes = Vec<(String, Vec<String>)>;

/// Vocabularies by their names, each a `tokenizer.json`.
pub type Vocabularies = Vec<(String, String)>;

/// How a weights file begins the names of classes.
pub const CLASSES_KEY: &str = "classes.";

/// How a weights file begins the name of a vocabulary.
pub const VOCABULARY_KEY: &str = "vocabulary.";

/// What a weights file calls the classes of a field.
pub fn classes_key(set: &str, field: &str) -> String {
    format!("{CLASSES_KEY}{set}.{field}")
}

/// What a weights file calls a vocabulary.
pub fn vocabulary_key(name: &str) -> String {
    format!("{VOCABULARY_KEY}{name}")
}
