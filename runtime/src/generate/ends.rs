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
    /// Looks the names up. One that has the form of a special token must be a token of the vocabulary. Another one is a piece of text, and a token where
    /// there is one of that name; a token alone where tokens are whole words, since a word is not meant within a longer one.
    pub fn new(until: &[Token], tokenizer: Option<&Tokenizer>) -> Result<Ends> {
        let mut ends = Ends { tokenizer: tokenizer.cloned(), ..Ends::default() };
        for token in until {
            let Some((name, tokenizer)) = text_of(token).zip(tokenizer) else {
                ends.tokens.push(id_of(token, tokenizer)?);
                continue;
            };
            let id = tokenizer.id_of(name);
            if id.is_none() || !tokenizer.has_whole_words() {
                ends.texts.push(name.to_owned());
            }
            ends.tokens.extend(id);
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

/// The name of a token that may be a piece of text.
fn text_of(token: &Token) -> Option<&str> {
    match token {
        Token::Name(name) if !is_special(name) => Some(name),
        _ => None,
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
