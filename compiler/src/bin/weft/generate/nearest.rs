//! The row of the training part that is most like a text: what one could answer without any model.

use std::collections::HashMap;

/// Texts, found by their words.
pub struct Nearest {
    /// The texts that each word stands in.
    by_word: HashMap<String, Vec<u32>>,
    /// How many different words each text has.
    sizes: Vec<u32>,
}

impl Nearest {
    pub fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Nearest {
        let mut nearest = Nearest { by_word: HashMap::new(), sizes: Vec::new() };
        for (number, text) in texts.enumerate() {
            let words = words(text);
            nearest.sizes.push(words.len() as u32);
            for word in words {
                nearest.by_word.entry(word).or_default().push(number as u32);
            }
        }
        nearest
    }

    /// The number of the text that shares most words with this one, seen from both (Dice's coefficient); of equal ones the first. None where no
    /// text shares any.
    pub fn to(&self, text: &str) -> Option<usize> {
        let words = words(text);
        let mut shared: HashMap<u32, u32> = HashMap::new();
        for word in &words {
            for number in self.by_word.get(word).into_iter().flatten() {
                *shared.entry(*number).or_default() += 1;
            }
        }
        let likeness = |(number, count): &(u32, u32)| {
            f64::from(2 * count) / (words.len() as f64 + f64::from(self.sizes[*number as usize]))
        };
        let best = shared.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(b.0.cmp(&a.0)));
        best.map(|(number, _)| number as usize)
    }
}

/// The different words of a text, whatever their case.
fn words(text: &str) -> Vec<String> {
    let pieces = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut words: Vec<String> = pieces.map(str::to_lowercase).collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_that_shares_most_is_nearest() {
        let texts = ["the earth was void", "the earth", "and the earth, the sea", "light"];
        let nearest = Nearest::new(texts.into_iter());
        assert_eq!(nearest.to("The Earth."), Some(1));
        assert_eq!(nearest.to("the sea and the earth"), Some(2));
        assert_eq!(nearest.to("void"), Some(0));
        assert_eq!(nearest.to("nothing of these"), None);
    }
}
