//! How long rows are: a histogram of the training part, whose bounds double.

use crate::output;
use std::collections::BTreeMap;

/// The longest bar, in characters.
const BAR: usize = 24;
/// Letters of a text that are shown.
const LETTERS: usize = 60;

/// The smallest, mean and largest length of the training part, and a bar for each range of lengths.
pub fn histogram(field: &str, [train, validation, test]: &[Vec<usize>; 3]) -> Vec<String> {
    let all = || train.iter().chain(validation).chain(test);
    let (Some(least), Some(most)) = (all().min(), all().max()) else { return Vec::new() };
    let mean = all().sum::<usize>() as f64 / all().count() as f64;
    let mut lines = vec![format!("  {field}: {least} … {most} steps a row, {mean:.1} on average")];
    let counts = counts(train);
    let largest = counts.values().copied().max().unwrap_or(0).max(1);
    for (from, count) in counts {
        let to = if from == 0 { 0 } else { from * 2 - 1 };
        let bar = "█".repeat((count * BAR).div_ceil(largest));
        let range = if from == to { from.to_string() } else { format!("{from}–{to}") };
        lines.push(format!("  {range:>13}  {:>9}  {bar}", output::thousands(count as u64)));
    }
    lines
}

/// How many rows have a length between a power of two, which is given, and the next.
pub fn counts(lengths: &[usize]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for &length in lengths {
        let from = if length == 0 { 0 } else { 1 << length.ilog2() };
        *counts.entry(from).or_insert(0) += 1;
    }
    counts
}

/// The beginning of a text, on one line.
pub fn beginning(text: &str) -> String {
    let mut letters = text.chars();
    let shown: String = letters.by_ref().take(LETTERS).flat_map(char::escape_debug).collect();
    if letters.next().is_some() { format!("\"{shown}…\"") } else { format!("\"{shown}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_between_powers_of_two() {
        let lines = histogram("tokens", &[vec![0, 1, 2, 3, 3, 7], vec![9], vec![]]);
        assert_eq!(lines[0], "  tokens: 0 … 9 steps a row, 3.6 on average");
        assert_eq!(counts(&[0, 1, 2, 3, 3, 7]), BTreeMap::from([(0, 1), (1, 1), (2, 3), (4, 1)]));
        assert!(lines.iter().any(|line| line.contains("2–3") && line.contains('3')), "{lines:?}");
    }
}
