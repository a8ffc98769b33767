//! Unigram vocabularies: pieces with probabilities that make the words of a text most likely (Kudo 2018).
//!
//! It begins with many pieces (all letters, and substrings that stand often) and goes back and forth: expectation–maximisation gives
//! the pieces their probabilities, then those are dropped that the text loses least without, until few enough are left. A word is a
//! lattice: places between its letters, and pieces as edges between places. The edges of the first pieces are found once; a piece
//! that is dropped is only left out. Words and pieces are in alphabetical order and sums in that of the words, so that no hash map
//! shows in the result.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::SPECIAL;
use super::words::Counts;

/// The longest piece, in letters; and the longest word that is learned from.
const LONGEST_PIECE: usize = 16;
const LONGEST_WORD: usize = 256;
/// The first pieces, for each of those that are wanted.
const FIRST_PIECES: usize = 16;
/// Letters are kept that make up so much of the text; others are unknown.
const COVERED: f64 = 0.9995;
/// Rounds of expectation–maximisation between two prunings, and the share of pieces that a pruning leaves.
const ROUNDS: usize = 2;
const LEFT: f64 = 0.75;
/// Pieces that are expected to stand less often are dropped at once.
const LEAST: f64 = 0.5;

/// A piece between two places of a word.
#[derive(Clone, Copy)]
struct Edge {
    start: u16,
    end: u16,
    piece: u32,
}

/// A word with its count and its edges, by their ends.
struct Word {
    count: f64,
    places: usize,
    edges: Vec<Edge>,
}

struct Pieces {
    texts: Vec<String>,
    /// The logarithm of the probability; minus infinity of those that were dropped.
    scores: Vec<f64>,
    /// Letters are never dropped.
    letters: usize,
}

/// The special tokens and up to `size - 4` pieces with their log-probabilities, most likely first.
pub fn learn(counts: Counts, size: usize) -> Vec<(String, f64)> {
    let room = size.saturating_sub(SPECIAL.len());
    let (letters, words) = prepared(counts, room);
    let mut pieces = first_pieces(&letters, &words, room.saturating_mul(FIRST_PIECES));
    let numbers: HashMap<&str, u32> =
        pieces.texts.iter().enumerate().map(|(number, text)| (text.as_str(), number as u32)).collect();
    let words: Vec<Word> = words.iter().map(|(word, count)| lattice(word, *count, &numbers)).collect();
    let wanted = room + room / 10;
    loop {
        for _ in 0..ROUNDS {
            let expected = expected(&pieces.scores, &words);
            maximise(&mut pieces, &expected);
        }
        let alive = pieces.scores.iter().filter(|score| score.is_finite()).count();
        if alive <= wanted {
            break;
        }
        prune(&mut pieces, &words, wanted.max((alive as f64 * LEFT) as usize));
    }
    chosen(pieces, room)
}

/// Letters that stand in a row, and how often.
type Run = (Vec<char>, u64);

/// The letters that are kept, most frequent first, and the words as runs of such letters, in order.
fn prepared(counts: Counts, room: usize) -> (Vec<(char, u64)>, Vec<Run>) {
    let mut letters: HashMap<char, u64> = HashMap::new();
    for (word, count) in &counts {
        word.chars().for_each(|letter| *letters.entry(letter).or_default() += count);
    }
    let mut letters: Vec<(char, u64)> = letters.into_iter().collect();
    letters.sort_unstable_by_key(|(letter, count)| (Reverse(*count), *letter));
    let all: u64 = letters.iter().map(|(_, count)| count).sum();
    let (mut covered, mut kept) = (0, 0);
    while kept < letters.len().min(room) && (covered as f64) < COVERED * all as f64 {
        covered += letters[kept].1;
        kept += 1;
    }
    letters.truncate(kept);
    let known: std::collections::HashSet<char> = letters.iter().map(|(letter, _)| *letter).collect();
    let mut runs: HashMap<Vec<char>, u64> = HashMap::new();
    for (word, count) in counts {
        let word: Vec<char> = word.chars().collect();
        for run in word.split(|letter| !known.contains(letter)) {
            if !run.is_empty() && run.len() <= LONGEST_WORD {
                *runs.entry(run.to_vec()).or_default() += count;
            }
        }
    }
    let mut words: Vec<Run> = runs.into_iter().collect();
    words.sort_unstable();
    (letters, words)
}

/// Letters, and the substrings whose length times count is largest. Longer ones are only looked for where shorter ones stand twice.
fn first_pieces(letters: &[(char, u64)], words: &[Run], most: usize) -> Pieces {
    let mut found: Vec<(u64, String)> = Vec::new();
    let mut shorter: HashMap<&[char], u64> = HashMap::new();
    for length in 2..=LONGEST_PIECE {
        let mut counts: HashMap<&[char], u64> = HashMap::new();
        for (word, count) in words {
            for part in word.windows(length) {
                let often = |part: &[char]| shorter.get(part).is_some_and(|count| *count >= 2);
                if length == 2 || (often(&part[1..]) && often(&part[..length - 1])) {
                    *counts.entry(part).or_default() += count;
                }
            }
        }
        counts.retain(|_, count| *count >= 2);
        found.extend(
            counts.iter().map(|(part, count)| (count * length as u64, part.iter().collect::<String>())),
        );
        shorter = counts;
    }
    found.retain(|(_, text)| !SPECIAL.contains(&text.as_str()));
    found.sort_unstable_by(|(a, x), (b, y)| (Reverse(a), x).cmp(&(Reverse(b), y)));
    found.truncate(most.saturating_sub(letters.len()));
    let mut texts: Vec<String> = letters.iter().map(|(letter, _)| letter.to_string()).collect();
    let mut counts: Vec<f64> = letters.iter().map(|(_, count)| *count as f64).collect();
    for (count, text) in found {
        texts.push(text);
        counts.push(count as f64);
    }
    let sum: f64 = counts.iter().sum();
    let scores = counts.into_iter().map(|count| (count / sum).ln()).collect();
    Pieces { texts, scores, letters: letters.len() }
}

fn lattice(word: &[char], count: u64, numbers: &HashMap<&str, u32>) -> Word {
    let mut edges = Vec::new();
    let mut text = String::new();
    for start in 0..word.len() {
        text.clear();
        for end in start + 1..=word.len().min(start + LONGEST_PIECE) {
            text.push(word[end - 1]);
            if let Some(piece) = numbers.get(text.as_str()) {
                edges.push(Edge { start: start as u16, end: end as u16, piece: *piece });
            }
        }
    }
    edges.sort_by_key(|edge| edge.end);
    Word { count: count as f64, places: word.len() + 1, edges }
}

/// How often each piece is expected in the words, over all ways to cut them.
fn expected(scores: &[f64], words: &[Word]) -> Vec<f64> {
    let mut expected = vec![0.0; scores.len()];
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for word in words {
        before.clear();
        before.resize(word.places, f64::NEG_INFINITY);
        after.clear();
        after.resize(word.places, f64::NEG_INFINITY);
        before[0] = 0.0;
        after[word.places - 1] = 0.0;
        for edge in &word.edges {
            let way = before[edge.start as usize] + scores[edge.piece as usize];
            before[edge.end as usize] = either(before[edge.end as usize], way);
        }
        for edge in word.edges.iter().rev() {
            let way = after[edge.end as usize] + scores[edge.piece as usize];
            after[edge.start as usize] = either(after[edge.start as usize], way);
        }
        let all = before[word.places - 1];
        if !all.is_finite() {
            continue;
        }
        for edge in &word.edges {
            let share =
                before[edge.start as usize] + scores[edge.piece as usize] + after[edge.end as usize] - all;
            expected[edge.piece as usize] += word.count * share.exp();
        }
    }
    expected
}

/// `ln(exp(a) + exp(b))`
fn either(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// New probabilities: those of a Dirichlet prior that likes few pieces (Liang & Klein 2007).
fn maximise(pieces: &mut Pieces, expected: &[f64]) {
    let counted = |(piece, count): (usize, &f64)| match *count {
        count if count >= LEAST => count,
        _ if piece < pieces.letters => LEAST,
        _ => 0.0,
    };
    let counts: Vec<f64> = expected.iter().enumerate().map(counted).collect();
    let all = digamma(counts.iter().sum());
    let alive: Vec<bool> = pieces.scores.iter().map(|score| score.is_finite()).collect();
    for ((score, count), alive) in pieces.scores.iter_mut().zip(counts).zip(alive) {
        *score = if alive && count > 0.0 { digamma(count) - all } else { f64::NEG_INFINITY };
    }
}

/// The derivative of the logarithm of the gamma function (Bernardo 1976).
fn digamma(mut x: f64) -> f64 {
    let mut result = 0.0;
    while x < 7.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    result + x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// The pieces of the likeliest way to cut a word, without one of them.
fn best(scores: &[f64], word: &Word, without: Option<u32>, into: &mut Vec<u32>) -> bool {
    let mut ways: Vec<(f64, Option<Edge>)> = vec![(f64::NEG_INFINITY, None); word.places];
    ways[0].0 = 0.0;
    for edge in word.edges.iter().filter(|edge| Some(edge.piece) != without) {
        let score = ways[edge.start as usize].0 + scores[edge.piece as usize];
        if score > ways[edge.end as usize].0 {
            ways[edge.end as usize] = (score, Some(*edge));
        }
    }
    into.clear();
    let mut place = word.places - 1;
    while let Some(edge) = ways[place].1 {
        into.push(edge.piece);
        place = edge.start as usize;
    }
    place == 0
}

/// Drops the pieces that the text loses least without, but for those that nothing else can make.
fn prune(pieces: &mut Pieces, words: &[Word], left: usize) {
    let mut counts = vec![0.0; pieces.scores.len()];
    let mut way = Vec::new();
    for word in words {
        best(&pieces.scores, word, None, &mut way);
        way.iter().for_each(|piece| counts[*piece as usize] += word.count);
    }
    let sum: f64 = counts.iter().sum();
    let numbers: HashMap<&str, u32> = pieces
        .texts
        .iter()
        .enumerate()
        .filter(|(number, _)| pieces.scores[*number].is_finite())
        .map(|(number, text)| (text.as_str(), number as u32))
        .collect();
    let mut losses: Vec<(f64, usize)> = Vec::new();
    let mut kept = 0;
    let mut dropped = Vec::new();
    for (piece, text) in pieces.texts.iter().enumerate() {
        if !pieces.scores[piece].is_finite() {
            continue;
        }
        let letters: Vec<char> = text.chars().collect();
        let word = lattice(&letters, 1, &numbers);
        if piece < pieces.letters || !best(&pieces.scores, &word, Some(piece as u32), &mut way) {
            kept += 1;
            continue;
        }
        let count = counts[piece];
        if count == 0.0 {
            dropped.push(piece);
            continue;
        }
        // Without it, its count goes to what stands for it.
        let others = (sum + count * (way.len() as f64 - 1.0)).ln();
        let then: f64 = way.iter().map(|other| (counts[*other as usize] + count).ln() - others).sum();
        losses.push((count / sum * (count.ln() - sum.ln() - then), piece));
    }
    losses.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
    dropped.extend(losses.iter().skip(left.saturating_sub(kept)).map(|(_, piece)| *piece));
    drop(numbers);
    for piece in dropped {
        pieces.scores[piece] = f64::NEG_INFINITY;
    }
}

/// The letters and the likeliest other pieces, most likely first, behind the special tokens.
fn chosen(pieces: Pieces, room: usize) -> Vec<(String, f64)> {
    let Pieces { texts, scores, letters } = pieces;
    let mut all: Vec<(bool, f64, String)> = texts
        .into_iter()
        .zip(scores)
        .enumerate()
        .filter(|(_, (_, score))| score.is_finite())
        .map(|(place, (text, score))| (place < letters, score, text))
        .collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
    all.truncate(room);
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.2.cmp(&b.2)));
    let special = SPECIAL.iter().map(|token| (token.to_string(), 0.0));
    special.chain(all.into_iter().map(|(_, score, text)| (text, score))).collect()
}
