//! Training a vocabulary: words are counted with the tokenizer's own way of cutting texts, and a trainer makes tokens of them.

use std::thread;

use serde_json::{Value, json};

use super::model::Model;
use super::words::{self, Counts};
use super::{SPECIAL, Tokenizer, bpe, bytes, json as file, unigram};
use crate::error::{Error, Result};
use crate::program::{Vocabulary, VocabularySource};

/// Trains the vocabulary on texts. The same texts give the same bytes, whatever the number of threads.
pub fn train(vocabulary: &Vocabulary, texts: &[&str], threads: usize) -> Result<Tokenizer> {
    let wrong = |message: String| Error::Tokenizer { name: vocabulary.name.clone(), message };
    let form = Form::of(&vocabulary.source);
    let special: Vec<String> = SPECIAL.iter().map(|token| token.to_string()).collect();
    let counts = count(&form.file(file::word_level(&special)), texts, threads).map_err(wrong)?;
    if counts.is_empty() {
        return Err(wrong("there is no word in the training texts".into()));
    }
    let size = vocabulary.size;
    let model = match &vocabulary.source {
        VocabularySource::WordLevel { .. } => file::word_level(&words::most_frequent(counts, size)),
        VocabularySource::Characters { .. } => {
            let letters = words::most_frequent(words::letters(counts), size);
            file::bpe(&letters, &[], true)
        }
        VocabularySource::Bpe { .. } => {
            let bpe::Bpe { tokens, merges } = bpe::learn(counts, &bytes::letters().collect::<Vec<_>>(), size);
            file::bpe(&tokens, &merges, false)
        }
        VocabularySource::Unigram { .. } => file::unigram(&unigram::learn(counts, size)),
        VocabularySource::File(_) | VocabularySource::Bytes => {
            return Err(wrong("a tokenizer that is known already is not trained".into()));
        }
    };
    Tokenizer::from_json(&vocabulary.name, &form.file(model))
}

/// Everything of a tokenizer but its model.
struct Form {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

impl Form {
    fn of(source: &VocabularySource) -> Form {
        let (normalizer, pre_tokenizer, decoder) = match source {
            VocabularySource::WordLevel { lowercase, .. } => {
                let form = json!({ "type": "NFC" });
                let normalizer = match lowercase {
                    true => json!({ "type": "Sequence", "normalizers": [form, { "type": "Lowercase" }] }),
                    false => form,
                };
                (normalizer, json!({ "type": "BertPreTokenizer" }), Value::Null)
            }
            VocabularySource::Characters { .. } => (Value::Null, Value::Null, json!({ "type": "Fuse" })),
            VocabularySource::Bpe { .. } | VocabularySource::File(_) | VocabularySource::Bytes => {
                (Value::Null, bytes::form(), bytes::form())
            }
            VocabularySource::Unigram { .. } => {
                let spaces = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
                (json!({ "type": "NFKC" }), spaces.clone(), spaces)
            }
        };
        Form { normalizer, pre_tokenizer, decoder }
    }

    fn file(&self, model: Value) -> String {
        file::file(self.normalizer.clone(), self.pre_tokenizer.clone(), self.decoder.clone(), model)
    }
}

/// How often each word stands in the texts.
fn count(json: &str, texts: &[&str], threads: usize) -> Result<Counts, String> {
    let model = Model::from_json(json)?;
    let part = |texts: &[&str]| -> Result<Counts, String> {
        let mut counts = Counts::new();
        for text in texts {
            model.each_word(text, &mut |word| match counts.get_mut(word) {
                _ if word.is_empty() => {}
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_string(), 1)),
            })?;
        }
        Ok(counts)
    };
    let size = texts.len().div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = texts.chunks(size).map(|texts| scope.spawn(|| part(texts))).collect();
        let mut all = Counts::new();
        for counts in parts {
            let counts = counts.join().map_err(|_| "counting words failed".to_string())??;
            counts.into_iter().for_each(|(word, count)| *all.entry(word).or_default() += count);
        }
        Ok(all)
    })
}
