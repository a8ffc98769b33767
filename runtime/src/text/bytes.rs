//! The tokenizer of bytes: each byte of a text is a token, with its own number.
//!
//! It is a `tokenizer.json` as any other, and anybody's library reads it so. But it needs none: whoever reads texts by it alone can do
//! without the crate behind the feature `text`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::json as file;

/// Its `tokenizer.json`.
static JSON: LazyLock<String> = LazyLock::new(|| {
    let letters: Vec<String> = letters().map(String::from).collect();
    let form = form();
    file::file_without_special(Value::Null, form.clone(), form, file::bpe(&letters, &[], false))
});

pub fn json() -> &'static str {
    &JSON
}

/// How byte-level tokenizers cut texts, and put them together again.
pub fn form() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true })
}

/// The 256 letters that stand for bytes in byte-level tokenizers: printable ones for themselves, the others from U+0100 on.
pub fn letters() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0..=255).map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or(' ')
        }
    })
}

pub const SIZE: usize = 256;

pub fn encode(text: &str) -> Vec<i32> {
    text.bytes().map(i32::from).collect()
}

/// Bytes that are no UTF-8 become U+FFFD.
pub fn decode(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn id_of(token: &str) -> Option<u32> {
    let mut letters = token.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    self::letters().position(|known| known == letter).map(|place| place as u32)
}

pub fn token_of(id: u32) -> Option<String> {
    letters().nth(usize::try_from(id).ok()?).map(String::from)
}
