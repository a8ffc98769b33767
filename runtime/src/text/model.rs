//! The crate `tokenizers`, as far as we use it: a `tokenizer.json` that encodes and decodes.
//!
//! The file is somebody else's, so what it claims is checked before it is believed, and a panic inside the crate is an error like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::NormalizedString;
use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{
    Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

/// Ids are kept in 32 bits, and a vocabulary of more tokens is none.
const MOST_TOKENS: u32 = 1 << 24;

pub struct Model {
    inner: Tokenizer,
    size: usize,
}

impl Model {
    pub fn from_json(json: &str) -> Result<Model, String> {
        let mut inner = guarded(|| json.parse::<Tokenizer>().map_err(|error| first_line(&error.to_string())))
            .map_err(|message| format!("this is no tokenizer.json: {message}"))?;
        // Rows are cut and filled up by the data set; a file that says otherwise would do it twice.
        guarded(|| inner.with_truncation(None).map(|_| ()).map_err(|error| error.to_string()))?;
        let vocabulary = inner.get_vocab(true);
        let largest = vocabulary.iter().max_by_key(|(token, id)| (**id, token.as_str()));
        let size = match largest {
            None => return Err("it has no tokens".into()),
            Some((token, id)) if *id >= MOST_TOKENS => {
                return Err(format!(
                    "the token `{token}` has the number {id}, but a vocabulary has at most {MOST_TOKENS}"
                ));
            }
            Some((_, id)) => *id as usize + 1,
        };
        let model = Model { inner, size };
        // What is wrong with templates and unknown tokens shows at the first text.
        model.encode("a b \u{e9}", true)?;
        Ok(model)
    }

    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<i32>, String> {
        let encoding = guarded(|| self.inner.encode_fast(text, special).map_err(|error| error.to_string()))?;
        let id = |&id: &u32| match (id as usize) < self.size {
            true => Ok(id as i32),
            false => Err(format!("it gives the token {id}, which its vocabulary does not have")),
        };
        // Padding that the file asks for is left out: a batch has its own.
        let kept =
            encoding.get_ids().iter().zip(encoding.get_attention_mask()).filter(|(_, mask)| **mask != 0);
        kept.map(|(token, _)| id(token)).collect()
    }

    pub fn decode(&self, ids: &[u32], special: bool) -> Result<String, String> {
        guarded(|| self.inner.decode(ids, !special).map_err(|error| error.to_string()))
    }

    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn has_whole_words(&self) -> bool {
        matches!(self.inner.get_model(), ModelWrapper::WordLevel(_))
    }

    pub fn pad(&self) -> Option<u32> {
        self.inner.get_padding().map(|padding| padding.pad_id)
    }

    /// The words that the tokenizer cuts a text into before its model sees them.
    pub fn each_word(&self, text: &str, with: &mut dyn FnMut(&str)) -> Result<(), String> {
        let mut normal = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normal).map_err(|error| error.to_string())?;
        }
        let mut words = PreTokenizedString::from(normal);
        if let Some(pre) = self.inner.get_pre_tokenizer() {
            pre.pre_tokenize(&mut words).map_err(|error| error.to_string())?;
        }
        for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            with(word);
        }
        Ok(())
    }
}

/// What the crate gives, or why it gives nothing.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it contradicts itself".into()))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or(message).to_string()
}
