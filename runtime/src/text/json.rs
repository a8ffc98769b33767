//! `tokenizer.json` files of trained vocabularies, written key by key so that the same vocabulary is the same bytes.

use serde_json::{Map, Value, json};

use super::SPECIAL;

/// A tokenizer file around a model.
pub fn file(normalizer: Value, pre_tokenizer: Value, decoder: Value, model: Value) -> String {
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true })
        })
        .collect();
    around(added, normalizer, pre_tokenizer, decoder, model)
}

/// One whose model has no special tokens.
pub fn file_without_special(normalizer: Value, pre_tokenizer: Value, decoder: Value, model: Value) -> String {
    around(Vec::new(), normalizer, pre_tokenizer, decoder, model)
}

fn around(
    added: Vec<Value>,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
) -> String {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder, "model": model,
    })
    .to_string()
}

/// A model of words.
pub fn word_level(tokens: &[String]) -> Value {
    json!({ "type": "WordLevel", "vocab": numbered(tokens), "unk_token": SPECIAL[1] })
}

/// A model of pieces that merges join. Without `unknown`, every text is made of pieces.
pub fn bpe(tokens: &[String], merges: &[(String, String)], unknown: bool) -> Value {
    json!({
        "type": "BPE", "dropout": null, "unk_token": unknown.then_some(SPECIAL[1]),
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": false, "vocab": numbered(tokens), "merges": merges,
    })
}

/// A model of pieces with their log-probabilities.
pub fn unigram(pieces: &[(String, f64)]) -> Value {
    json!({ "type": "Unigram", "unk_id": 1, "vocab": pieces, "byte_fallback": false })
}

/// Tokens with their places.
fn numbered(tokens: &[String]) -> Value {
    Value::Object(
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect::<Map<_, _>>(),
    )
}
