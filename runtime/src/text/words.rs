//! Vocabularies of whole words and of letters: the most frequent ones.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::SPECIAL;

/// How often each word stands in some texts.
pub type Counts = HashMap<String, u64>;

/// The special tokens, and then the most frequent words, `size` in all; among words of one count, those first in the alphabet.
pub fn most_frequent(counts: Counts, size: usize) -> Vec<String> {
    let mut words: Vec<(String, u64)> =
        counts.into_iter().filter(|(word, _)| !SPECIAL.contains(&word.as_str())).collect();
    words.sort_unstable_by(|(a, n), (b, m)| (Reverse(n), a).cmp(&(Reverse(m), b)));
    words.truncate(size.saturating_sub(SPECIAL.len()));
    SPECIAL.iter().map(|token| token.to_string()).chain(words.into_iter().map(|(word, _)| word)).collect()
}

/// The letters of some words.
pub fn letters(counts: Counts) -> Counts {
    let mut letters = Counts::new();
    for (word, count) in counts {
        for letter in word.chars() {
            *letters.entry(letter.to_string()).or_default() += count;
        }
    }
    letters
}
