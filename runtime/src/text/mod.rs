//! Text and tokens: tokenizers, how they are trained, and how texts become rows of tokens.
//!
//! A [`Tokenizer`] *is* a `tokenizer.json` in the form of Hugging Face's `tokenizers`, whether it came from a file or was trained here: the
//! text is kept beside the weights, so that whoever has the weights cuts texts into the same tokens. The trainers (`words.rs`,
//! `bpe.rs`, `unigram.rs`) are pure functions of how often each word stands in the training texts and give the same bytes on
//! every run. Bytes are tokens by themselves (`bytes.rs`); the crate `tokenizers` behind the feature `text` does the rest.

mod bpe;
mod bytes;
mod encode;
pub mod given;
mod json;
#[cfg(feature = "text")]
mod model;
#[cfg(not(feature = "text"))]
#[path = "absent.rs"]
mod model;
pub mod overlap;
mod piece;
mod stream;
#[cfg(test)]
mod tests;
mod train;
mod unigram;
mod words;

use std::sync::Arc;

use crate::error::{Error, Result};
use model::Model;

pub use encode::Encoder;
pub(crate) use encode::similar;
pub use piece::Piece;
pub use stream::Stream;
pub use train::train;

/// What trained vocabularies begin with: the tokens that fill rows up, that stand for what is unknown, and that begin and end a text.
pub const SPECIAL: [&str; 4] = ["<pad>", "<unk>", "<s>", "</s>"];
/// Does a name have the form that special tokens have everywhere: `</s>`, `[SEP]`?
pub fn is_special(name: &str) -> bool {
    let between = |open: char, close: char| {
        let inner = name.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(char::is_whitespace))
    };
    between('<', '>') || between('[', ']')
}

/// Is a `tokenizer.json` that of bytes, for which no build needs the feature `text`?
pub fn is_bytes(json: &str) -> bool {
    json == bytes::json()
}

/// The names that other tokenizers give to the token that fills rows up.
const PADDING: [&str; 4] = ["<pad>", "[PAD]", "<|padding|>", "<PAD>"];

/// A tokenizer.
#[derive(Clone)]
pub struct Tokenizer {
    name: Arc<str>,
    json: Arc<str>,
    /// None of the tokenizer of bytes, which needs none.
    model: Option<Arc<Model>>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.name, self.size())
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; `name` is what errors call it.
    pub fn from_json(name: &str, json: &str) -> Result<Tokenizer> {
        let wrong = |message| Error::Tokenizer { name: name.to_string(), message };
        let model = match is_bytes(json) {
            true => None,
            false => Some(Arc::new(Model::from_json(json).map_err(wrong)?)),
        };
        Ok(Tokenizer { name: name.into(), json: json.into(), model })
    }

    /// That of bytes, which has no special tokens.
    pub fn of_bytes(name: &str) -> Tokenizer {
        Tokenizer { name: name.into(), json: bytes::json().into(), model: None }
    }

    /// What errors and weights files call it.
    pub fn named(self, name: &str) -> Tokenizer {
        Tokenizer { name: name.into(), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `tokenizer.json` itself.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// All token ids are below.
    pub fn size(&self) -> usize {
        self.model.as_ref().map_or(bytes::SIZE, |model| model.size())
    }

    /// The tokens of a text; `special` adds those that the tokenizer puts around every text (`[CLS]`, `</s>`).
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<i32>> {
        match &self.model {
            None => Ok(bytes::encode(text)),
            Some(model) => model.encode(text, special).map_err(|message| self.wrong(message)),
        }
    }

    /// The text of tokens; `special` keeps tokens such as `</s>`. Ids that are no token are passed over.
    pub fn decode(&self, ids: &[i32], special: bool) -> Result<String> {
        let known: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        match &self.model {
            None => Ok(bytes::decode(&known)),
            Some(model) => model.decode(&known, special).map_err(|message| self.wrong(message)),
        }
    }

    pub fn id_of(&self, token: &str) -> Option<i32> {
        let id = match &self.model {
            None => bytes::id_of(token),
            Some(model) => model.id_of(token),
        };
        id.and_then(|id| i32::try_from(id).ok())
    }

    pub fn token_of(&self, id: i32) -> Option<String> {
        let id = u32::try_from(id).ok()?;
        match &self.model {
            None => bytes::token_of(id),
            Some(model) => model.token_of(id),
        }
    }

    /// Are its tokens whole words (or letters), so that no piece of a text can lie across their borders by chance?
    pub fn has_whole_words(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.has_whole_words())
    }

    /// The token that fills up rows: the one that the tokenizer names, else 0.
    pub fn pad(&self) -> i32 {
        let named = self.model.as_ref().and_then(|model| model.pad()).and_then(|id| i32::try_from(id).ok());
        named.or_else(|| PADDING.iter().find_map(|token| self.id_of(token))).unwrap_or(0)
    }

    /// Text that grows token by token.
    pub fn stream(&self) -> Stream<'_> {
        Stream::new(self)
    }

    fn wrong(&self, message: String) -> Error {
        Error::Tokenizer { name: self.name.to_string(), message }
    }
}
