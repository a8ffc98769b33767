//! Where a row is at its end: at a token, or before a text.

use crate::error::{Error, Result};
use crate::program::Token;
use crate::text::{Tokenizer, is_special, similar};

/// Tokens that end a row, and texts, in the form that the decoding loop asks for.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    tokens: Vec<i32>,
    texts: Vec<String>,
    tokenizer: Option<Tokenizer>,
}

impl Ends {
    /// Looks the names up: a name is a token of the vocabulary, else a piece of text; one that has the form of a special token must be one.
    pub fn new(until: &[Token], tokenizer: Option<&Tokenizer>) -> Result<Ends> {
        let mut ends = Ends { tokenizer: tokenizer.cloned(), ..Ends::default() };
        for token in until {
            match token {
                Token::Name(name)
                    if tokenizer.is_some_and(|t| t.id_of(name).is_none()) && !is_special(name) =>
                {
                    ends.texts.push(name.clone());
                }
                token => ends.tokens.push(id_of(token, tokenizer)?),
            }
        }
        Ok(ends)
    }

    pub fn tokens(&self) -> &[i32] {
        &self.tokens
    }

    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Does this token end a row?
    pub fn is_end(&self, token: i32) -> bool {
        self.tokens.contains(&token)
    }

    /// Do the new tokens hold a text that ends a row, and hold it since the last of them?
    pub fn text_ends(&self, written: &[i32]) -> Result<bool> {
        let (Some(tokenizer), Some(longest)) = (&self.tokenizer, self.texts.iter().map(String::len).max())
        else {
            return Ok(false);
        };
        // A token is a byte at least, so that the text lies within so many.
        let tail = &written[written.len().saturating_sub(longest + 1)..];
        let text = tokenizer.decode(tail, false)?;
        Ok(self.texts.iter().any(|end| text.contains(end.as_str())))
    }
}

/// The number of a token.
pub fn id_of(token: &Token, tokenizer: Option<&Tokenizer>) -> Result<i32> {
    match (token, tokenizer) {
        (Token::Id(id), _) => Ok(*id),
        (Token::Name(name), Some(tokenizer)) => tokenizer.id_of(name).ok_or_else(|| {
            let message = format!("it has no token `{name}`{}", similar(tokenizer, name));
            Error::Tokenizer { name: tokenizer.name().into(), message }
        }),
        (Token::Name(name), None) => {
            Err(Error::Unsound(format!("the generation names the token `{name}` but has no vocabulary")))
        }
    }
}
