//! The text of a row that is being written: what of it can be shown already, and where it ends.

use super::{Stream, Tokenizer};
use crate::error::Result;

/// Makes text of a row's tokens. What may be the beginning of a text that ends the row is held back until it is known not to be.
#[derive(Debug)]
pub struct Piece<'t> {
    /// None where tokens are numbers.
    stream: Option<Stream<'t>>,
    ends: &'t [String],
    /// All that was given.
    text: String,
    held: String,
    ended: bool,
}

impl<'t> Piece<'t> {
    /// The text behind the tokens `begin`, up to one of `ends`.
    pub fn new(tokenizer: Option<&'t Tokenizer>, begin: &[i32], ends: &'t [String]) -> Piece<'t> {
        let stream = tokenizer.map(|tokenizer| Stream::after(tokenizer, begin));
        Piece { stream, ends, text: String::new(), held: String::new(), ended: false }
    }

    /// The text that a token adds.
    pub fn push(&mut self, token: i32) -> Result<String> {
        let new = match &mut self.stream {
            Some(stream) => stream.push(token)?,
            // Where tokens are numbers, their text is numbers, too.
            None if self.text.is_empty() => token.to_string(),
            None => format!(" {token}"),
        };
        Ok(self.take(&new))
    }

    /// What was held back to the end.
    pub fn end(&mut self) -> Result<String> {
        let rest = self.stream.as_mut().map(Stream::end).transpose()?.unwrap_or_default();
        let mut new = self.take(&rest);
        if !self.ended {
            let held = std::mem::take(&mut self.held);
            self.text += &held;
            new += &held;
        }
        Ok(new)
    }

    /// All text that was given.
    pub fn into_text(self) -> String {
        self.text
    }

    fn take(&mut self, new: &str) -> String {
        if self.ended {
            return String::new();
        }
        self.held += new;
        let end = self.ends.iter().filter_map(|end| self.held.find(end.as_str())).min();
        self.ended = end.is_some();
        let given: String = self.held.drain(..end.unwrap_or_else(|| self.sure())).collect();
        self.text += &given;
        given
    }

    /// How much of what is held is the beginning of no end.
    fn sure(&self) -> usize {
        let held = &self.held;
        let begins = |at: &usize| self.ends.iter().any(|end| end.starts_with(&held[*at..]));
        held.char_indices().map(|(at, _)| at).find(begins).unwrap_or(held.len())
    }
}
