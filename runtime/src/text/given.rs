//! Texts that a prediction is given, as the tensors of its entry.

use std::path::Path;

use super::{Encoder, Tokenizer};
use crate::error::{Error, Result};
use crate::program::{Entry, InputSource, Program, Vocabulary};
use crate::tensor::Tensor;

/// The names of the texts that an entry takes.
pub fn texts(entry: &Entry) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for input in &entry.inputs {
        if let InputSource::Tokens { text, .. } = &input.source
            && !names.contains(&text.as_str())
        {
            names.push(text);
        }
    }
    names
}

/// A prediction that takes texts, with its tokenizers.
#[derive(Debug)]
pub struct Reader {
    /// For each input that is tokens: its name, the texts, what cuts them, what fills rows up, and the extent if it is fixed.
    inputs: Vec<(String, String, Encoder, i32, Option<usize>)>,
    /// Inputs that are lengths, and of which tokens.
    lengths: Vec<(String, String)>,
}

impl Reader {
    /// Finds the tokenizers: those that were kept with the weights, by the vocabularies' names, else the files in the spec's folder.
    pub fn new(program: &Program, entry: &Entry, kept: &[(String, String)], base: &Path) -> Result<Reader> {
        let mut reader = Reader { inputs: Vec::new(), lengths: Vec::new() };
        let mut known: Vec<(&str, Tokenizer)> = Vec::new();
        for input in &entry.inputs {
            match &input.source {
                InputSource::Tokens { text, encoding } => {
                    let name = encoding.vocabulary.as_str();
                    let tokenizer = match known.iter().find(|(known, _)| *known == name) {
                        Some((_, tokenizer)) => tokenizer.clone(),
                        None => self::tokenizer(program, name, kept, base)?,
                    };
                    known.push((name, tokenizer.clone()));
                    let fixed = encoding.max_length.filter(|_| encoding.fixed);
                    let encoder = Encoder::new(&tokenizer, encoding)?;
                    reader.inputs.push((input.name.clone(), text.clone(), encoder, tokenizer.pad(), fixed));
                }
                InputSource::Lengths { tokens } => reader.lengths.push((input.name.clone(), tokens.clone())),
                _ => {}
            }
        }
        Ok(reader)
    }

    /// How many tokens each input of tokens has for one row of the texts, those that are filled up as many as all have.
    pub fn lengths(&self, texts: &[(String, Vec<String>)], row: usize) -> Result<Vec<usize>> {
        let length = |(_, text, encoder, _, fixed): &(String, String, Encoder, i32, Option<usize>)| {
            let given = texts.iter().find(|(name, _)| name == text).and_then(|(_, texts)| texts.get(row));
            let count = encoder.encode(given.map(String::as_str).unwrap_or_default())?.len();
            Ok(fixed.unwrap_or(count))
        };
        self.inputs.iter().map(length).collect()
    }

    /// The entry's inputs that are made of texts, by name.
    pub fn tensors(&self, texts: &[(&str, Vec<&str>)]) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for (name, text, encoder, pad, fixed) in &self.inputs {
            let given = texts.iter().find(|(name, _)| name == text).map(|(_, texts)| texts.as_slice());
            let given = given.unwrap_or_default();
            let rows = given.iter().map(|text| encoder.encode(text)).collect::<Result<Vec<_>>>()?;
            let longest = fixed.unwrap_or_else(|| rows.iter().map(Vec::len).max().unwrap_or(0)).max(1);
            let mut tokens = Vec::with_capacity(rows.len() * longest);
            for row in &rows {
                tokens.extend(row.iter().copied().chain(std::iter::repeat(*pad)).take(longest));
            }
            all.push((name.clone(), Tensor::from_i32(&[rows.len(), longest], &tokens)));
            let lengths: Vec<i32> = rows.iter().map(|row| row.len() as i32).collect();
            for (input, _) in self.lengths.iter().filter(|(_, tokens)| tokens == name) {
                all.push((input.clone(), Tensor::from_i32(&[rows.len()], &lengths)));
            }
        }
        Ok(all)
    }
}

/// The tokenizer of a vocabulary of the program: what was kept with the weights, else what its file in the spec's folder holds.
pub fn tokenizer(program: &Program, name: &str, kept: &[(String, String)], base: &Path) -> Result<Tokenizer> {
    let of_data = program.data.iter().flat_map(|set| &set.vocabularies);
    let vocabulary: Option<&Vocabulary> =
        of_data.chain(&program.vocabularies).find(|vocabulary| vocabulary.name == name);
    let vocabulary =
        vocabulary.ok_or_else(|| Error::Unsound(format!("the program has no vocabulary `{name}`")))?;
    vocabulary.tokenizer(kept, base)?.ok_or_else(|| {
        let message =
            "it was never trained: it comes from the training rows, and weights of such a training hold it"
                .into();
        Error::Tokenizer { name: name.to_string(), message }
    })
}
