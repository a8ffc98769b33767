//! Text that grows token by token, as a model writes it.

use super::Tokenizer;
use crate::error::Result;

/// Gives the new text of each token. Tokens that only together make a letter (the bytes of `é`) give it with the last of them, and a
/// token's text may depend on the one before it (a space between words), so the last tokens are decoded together.
#[derive(Debug)]
pub struct Stream<'t> {
    tokenizer: &'t Tokenizer,
    ids: Vec<i32>,
    /// From here on tokens are decoded together; the text of those before `read` was given.
    context: usize,
    read: usize,
}

impl<'t> Stream<'t> {
    pub fn new(tokenizer: &'t Tokenizer) -> Stream<'t> {
        Stream { tokenizer, ids: Vec::new(), context: 0, read: 0 }
    }

    /// Goes on behind these tokens, whose text was given elsewhere.
    pub fn after(tokenizer: &'t Tokenizer, ids: &[i32]) -> Stream<'t> {
        Stream { tokenizer, ids: ids.to_vec(), context: 0, read: ids.len() }
    }

    /// The text that a token adds; empty while a letter is not whole.
    pub fn push(&mut self, id: i32) -> Result<String> {
        self.ids.push(id);
        let given = self.tokenizer.decode(&self.ids[self.context..self.read], false)?;
        let all = self.tokenizer.decode(&self.ids[self.context..], false)?;
        if all.len() <= given.len() || all.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        // Where the shorter text is no beginning of the longer one, the longer one's end is the best answer.
        let new = all.strip_prefix(&given).map(str::to_string);
        let new = new.unwrap_or_else(|| all.chars().skip(given.chars().count()).collect());
        (self.context, self.read) = (self.read, self.ids.len());
        Ok(new)
    }

    /// What is left of letters that never became whole.
    pub fn end(&mut self) -> Result<String> {
        let given = self.tokenizer.decode(&self.ids[self.context..self.read], false)?;
        let all = self.tokenizer.decode(&self.ids[self.context..], false)?;
        (self.context, self.read) = (self.ids.len(), self.ids.len());
        Ok(all.strip_prefix(&given).unwrap_or_default().to_string())
    }
}
