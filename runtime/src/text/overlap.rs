//! How much of what a model wrote stands in what people wrote: BLEU and chrF of a whole corpus, as sacreBLEU counts them (Post 2018).
//!
//! Both are figures of finished texts, not of a batch: counts of all texts are added up before anything is divided. So they are no
//! `metric` of a spec, whose values come from a step's tensors (the tokens that a step guesses, with the right ones before them, are not
//! what the model writes by itself), but figures of the texts that a generation gives.

use std::collections::HashMap;
use std::hash::Hash;

/// The longest run of words that BLEU counts, and of letters that chrF does.
const WORDS: usize = 4;
const LETTERS: usize = 6;
/// chrF takes recall for so many times as important as precision.
const BETA: f64 = 2.0;

/// BLEU of texts against one reference each (Papineni et al. 2002), 0 to 100: tokenised by the rules `13a` of the WMT, and where no run of a
/// length is right, smoothed by halves (`exp`).
pub fn bleu<S: AsRef<str>>(texts: &[S], references: &[S]) -> f64 {
    let (mut right, mut all) = ([0u64; WORDS], [0u64; WORDS]);
    let (mut length, mut wanted) = (0, 0);
    for (text, reference) in texts.iter().zip(references) {
        let [text, reference] = [text, reference].map(|text| words(text.as_ref()));
        length += text.len();
        wanted += reference.len();
        for order in 1..=WORDS {
            let (count, _, matches) = overlap(&text, &reference, order);
            all[order - 1] += count;
            right[order - 1] += matches;
        }
    }
    if right.iter().all(|count| *count == 0) || all.contains(&0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let mut logarithms = 0.0;
    for (right, all) in right.into_iter().zip(all) {
        let precision = match right {
            0 => {
                smoothing *= 2.0;
                100.0 / (smoothing * all as f64)
            }
            right => 100.0 * right as f64 / all as f64,
        };
        logarithms += precision.ln();
    }
    let brevity = if length < wanted { (1.0 - wanted as f64 / length as f64).exp() } else { 1.0 };
    brevity * (logarithms / WORDS as f64).exp()
}

/// chrF of texts against one reference each (Popović 2015), 0 to 100: runs of up to six letters, white space left out.
pub fn chrf<S: AsRef<str>>(texts: &[S], references: &[S]) -> f64 {
    let mut totals = [[0u64; 3]; LETTERS];
    for (text, reference) in texts.iter().zip(references) {
        let [text, reference] = [text, reference]
            .map(|text| text.as_ref().chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>());
        for (order, total) in totals.iter_mut().enumerate() {
            let (count, wanted, matches) = overlap(&text, &reference, order + 1);
            let count = if wanted > 0 { count } else { 0 };
            total.iter_mut().zip([count, wanted, matches]).for_each(|(total, more)| *total += more);
        }
    }
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for [count, wanted, matches] in totals.into_iter().filter(|[count, wanted, _]| *count > 0 && *wanted > 0)
    {
        precision += matches as f64 / count as f64;
        recall += matches as f64 / wanted as f64;
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    (precision, recall) = (precision / orders, recall / orders);
    let factor = BETA * BETA;
    100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
}

/// Runs of so many elements: how many each has, and how many they share.
fn overlap<T: Eq + Hash>(text: &[T], reference: &[T], order: usize) -> (u64, u64, u64) {
    let mut counts: HashMap<&[T], u64> = HashMap::new();
    reference.windows(order).for_each(|run| *counts.entry(run).or_default() += 1);
    let mut matches = 0;
    for run in text.windows(order) {
        if let Some(left) = counts.get_mut(run).filter(|left| **left > 0) {
            *left -= 1;
            matches += 1;
        }
    }
    let runs = |length: usize| (length + 1).saturating_sub(order) as u64;
    (runs(text.len()), runs(reference.len()), matches)
}

/// The words of a text by the rules `13a`: marks are words of their own, but for points and commas within numbers.
fn words(text: &str) -> Vec<String> {
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (name, letter) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(name, letter);
    }
    let text: Vec<char> = format!(" {text} ").chars().collect();
    let mark = |c: char| matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/');
    let text: Vec<char> =
        text.into_iter().flat_map(|c| if mark(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    let point = |c: char| matches!(c, '.' | ',');
    let text = pairs(&text, |a, b| !a.is_ascii_digit() && point(b), |a, b| [a, ' ', b, ' '].to_vec());
    let text = pairs(&text, |a, b| point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b].to_vec());
    let text = pairs(&text, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' '].to_vec());
    text.into_iter().collect::<String>().split_whitespace().map(str::to_string).collect()
}

/// Replaces pairs of letters, from the left; no letter is of two pairs.
fn pairs(
    text: &[char],
    is_pair: impl Fn(char, char) -> bool,
    put: impl Fn(char, char) -> Vec<char>,
) -> Vec<char> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&first) = text.get(at) {
        match text.get(at + 1) {
            Some(&second) if is_pair(first, second) => {
                out.extend(put(first, second));
                at += 2;
            }
            _ => {
                out.push(first);
                at += 1;
            }
        }
    }
    out
}
