//! From a text to the tokens of a row: the tokens that stand around it, and the length that it may have.

use std::path::Path;

use super::Tokenizer;
use crate::error::{Error, Result, nearest};
use crate::program::{Encoding, Vocabulary, VocabularySource};

/// A tokenizer with what a spec asks of it.
#[derive(Clone, Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// Stand before and after every text.
    before: Vec<i32>,
    after: Vec<i32>,
    /// The most tokens of a row, with those around it; and which end goes where there are more.
    max_length: Option<usize>,
    keep_end: bool,
}

impl Encoder {
    pub fn new(tokenizer: &Tokenizer, encoding: &Encoding) -> Result<Encoder> {
        let wrong = |message: String| Error::Tokenizer { name: encoding.vocabulary.clone(), message };
        let (mut before, mut after) = if encoding.special { around(tokenizer)? } else { Default::default() };
        let token = |token: &String| match tokenizer.id_of(token) {
            Some(id) => Ok(id),
            None => Err(wrong(format!("it has no token `{token}`{}", similar(tokenizer, token)))),
        };
        if let Some(begin) = &encoding.begin {
            before.insert(0, token(begin)?);
        }
        if let Some(end) = &encoding.end {
            after.push(token(end)?);
        }
        let max_length = encoding.max_length;
        if let Some(most) = max_length.filter(|most| *most <= before.len() + after.len()) {
            let around = before.len() + after.len();
            return Err(wrong(format!(
                "max_length = {most} leaves no room for a text: {around} tokens stand around each"
            )));
        }
        Ok(Encoder { tokenizer: tokenizer.clone(), before, after, max_length, keep_end: encoding.keep_end })
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let mut tokens = self.tokenizer.encode(text, false)?;
        if let Some(most) = self.max_length {
            let room = most - self.before.len() - self.after.len();
            match self.keep_end {
                true => drop(tokens.drain(..tokens.len().saturating_sub(room))),
                false => tokens.truncate(room),
            }
        }
        if !self.before.is_empty() {
            tokens.splice(0..0, self.before.iter().copied());
        }
        tokens.extend(&self.after);
        Ok(tokens)
    }
}

/// The tokens that a tokenizer puts before and after every text.
fn around(tokenizer: &Tokenizer) -> Result<(Vec<i32>, Vec<i32>)> {
    let (bare, whole) = (tokenizer.encode("a", false)?, tokenizer.encode("a", true)?);
    let place = (0..whole.len()).find(|&place| whole[place..].starts_with(&bare)).unwrap_or(0);
    let rest = whole.get(place + bare.len()..).unwrap_or_default();
    Ok((whole[..place].to_vec(), rest.to_vec()))
}

/// A special token that may have been meant.
pub(crate) fn similar(tokenizer: &Tokenizer, token: &str) -> String {
    let common = [
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        "[CLS]",
        "[SEP]",
        "[PAD]",
        "[UNK]",
        "[MASK]",
        "<|endoftext|>",
        "<bos>",
        "<eos>",
    ];
    let known: Vec<&str> = common.into_iter().filter(|token| tokenizer.id_of(token).is_some()).collect();
    match nearest(token, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; it has {}", known.join(", ")),
    }
}

impl Vocabulary {
    /// The tokenizer that this vocabulary is: what was kept with weights, else what its file holds; none where it is yet to be trained.
    pub fn tokenizer(&self, kept: &[(String, String)], base: &Path) -> Result<Option<Tokenizer>> {
        let tokenizer = match (kept.iter().find(|(name, _)| *name == self.name), &self.source) {
            (Some((_, json)), _) => Tokenizer::from_json(&self.name, json)?,
            (None, VocabularySource::File(file)) => {
                let path = base.join(file);
                let json = crate::io::read(&path)?;
                let json =
                    std::str::from_utf8(&json).map_err(|_| Error::damaged(&path, "this is no UTF-8"))?;
                Tokenizer::from_json(&path.display().to_string(), json)?.named(&self.name)
            }
            (None, VocabularySource::Bytes) => Tokenizer::of_bytes(&self.name),
            (None, _) => return Ok(None),
        };
        if tokenizer.size() > self.size {
            let message = format!(
                "it has {} tokens, but the spec says size = {}: a model that looks tokens up has no place for those beyond; write \
                 size = {}",
                tokenizer.size(),
                self.size,
                tokenizer.size()
            );
            return Err(Error::Tokenizer { name: self.name.clone(), message });
        }
        Ok(Some(tokenizer))
    }
}
