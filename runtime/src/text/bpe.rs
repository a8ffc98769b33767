//! Byte pair encoding: the pieces that stand beside each other most often become one, again and again (Sennrich et al. 2016).
//!
//! A word is a list of pieces. Each pair of neighbours has a count and the words that it may stand in. The next merge is the most
//! frequent pair; among pairs of one count it is the one whose pieces came first. A heap may hold counts that have fallen since:
//! they are put back with what they are now. Nothing here depends on the order of a hash map.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::SPECIAL;
use super::words::Counts;

/// A pair must stand so often to become a piece.
const LEAST: u64 = 2;

/// Tokens and merges.
#[derive(Debug, PartialEq)]
pub struct Bpe {
    pub tokens: Vec<String>,
    pub merges: Vec<(String, String)>,
}

/// A word as pieces, and how often it stands.
struct Word {
    pieces: Vec<u32>,
    count: u64,
}

type Pair = (u32, u32);

/// Learns up to `size` tokens from words; `alphabet` are the pieces that are there whatever the words are.
pub fn learn(counts: Counts, alphabet: &[char], size: usize) -> Bpe {
    let mut letters: Vec<char> =
        counts.keys().flat_map(|word| word.chars()).chain(alphabet.iter().copied()).collect();
    letters.sort_unstable();
    letters.dedup();
    let mut tokens: Vec<String> = SPECIAL.iter().map(|token| token.to_string()).collect();
    let mut numbers: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
    for letter in letters {
        numbers.insert(letter.to_string(), tokens.len() as u32);
        tokens.push(letter.to_string());
    }
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_unstable();
    let pieces = |word: &str| {
        word.chars()
            .filter_map(|letter| numbers.get(letter.encode_utf8(&mut [0; 4]) as &str).copied())
            .collect()
    };
    let mut words: Vec<Word> =
        words.iter().map(|(word, count)| Word { pieces: pieces(word), count: *count }).collect();

    let mut pairs: HashMap<Pair, u64> = HashMap::new();
    let mut places: HashMap<Pair, Vec<u32>> = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        for pair in word.pieces.windows(2) {
            let pair = (pair[0], pair[1]);
            *pairs.entry(pair).or_default() += word.count;
            note(&mut places, pair, index as u32);
        }
    }
    let mut heap: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
    let mut merges = Vec::new();
    while tokens.len() < size
        && let Some((count, Reverse(pair))) = heap.pop()
    {
        let now = pairs.get(&pair).copied().unwrap_or(0);
        if now != count {
            if now >= LEAST {
                heap.push((now, Reverse(pair)));
            }
            continue;
        }
        if count < LEAST {
            break;
        }
        let (left, right) = (tokens[pair.0 as usize].clone(), tokens[pair.1 as usize].clone());
        let piece = format!("{left}{right}");
        // Two ways to one piece share its number.
        let new = *numbers.entry(piece.clone()).or_insert(tokens.len() as u32);
        if new as usize == tokens.len() {
            tokens.push(piece);
        }
        merges.push((left, right));
        let mut grown: Vec<Pair> = Vec::new();
        for index in places.remove(&pair).unwrap_or_default() {
            let word = &mut words[index as usize];
            for old in word.pieces.windows(2) {
                if let Some(count) = pairs.get_mut(&(old[0], old[1])) {
                    *count -= word.count.min(*count);
                }
            }
            join(&mut word.pieces, pair, new);
            for made in word.pieces.windows(2) {
                let made = (made[0], made[1]);
                *pairs.entry(made).or_default() += word.count;
                if made.0 == new || made.1 == new {
                    note(&mut places, made, index);
                    grown.push(made);
                }
            }
        }
        pairs.remove(&pair);
        grown.sort_unstable();
        grown.dedup();
        heap.extend(grown.into_iter().filter_map(|pair| Some((*pairs.get(&pair)?, Reverse(pair)))));
    }
    Bpe { tokens, merges }
}

/// A pair may stand in this word; words come in order.
fn note(places: &mut HashMap<Pair, Vec<u32>>, pair: Pair, word: u32) {
    let words = places.entry(pair).or_default();
    if words.last() != Some(&word) {
        words.push(word);
    }
}

/// Every `pair` becomes `new`, from the left.
fn join(pieces: &mut Vec<u32>, pair: Pair, new: u32) {
    let mut kept = 0;
    let mut at = 0;
    while at < pieces.len() {
        let joined = pieces[at] == pair.0 && pieces.get(at + 1) == Some(&pair.1);
        pieces[kept] = if joined { new } else { pieces[at] };
        at += if joined { 2 } else { 1 };
        kept += 1;
    }
    pieces.truncate(kept);
}
