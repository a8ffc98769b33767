//! What the model drew after each epoch, from the same rows or the same noise.

use super::answers::embedded;
use super::html;
use crate::run::samples::{Maker, Samples};

/// Epochs that are shown beside each other.
const SHOWN: usize = 9;

pub fn section(samples: &Samples) -> String {
    samples.makers.iter().map(maker).collect()
}

fn maker(maker: &Maker) -> String {
    if maker.epochs.is_empty() {
        return String::new();
    }
    let from = match maker.given {
        Some(_) => "the same rows after each epoch",
        None => "the same noise after each epoch",
    };
    let figure = |caption: &str, file: &[u8]| {
        format!(
            "<figure class=\"card sheet\">{}<figcaption>{}</figcaption></figure>\n",
            embedded(file, caption),
            html::text(caption)
        )
    };
    let given = maker.given.as_ref().map_or(String::new(), |file| figure("given", file));
    let sheets: String = chosen(maker.epochs.len())
        .into_iter()
        .filter_map(|at| maker.epochs.get(at))
        .map(|(epoch, file)| figure(&format!("epoch {epoch}"), file))
        .collect();
    format!(
        "<h3><code>predict {}</code>, from {from}</h3>\n<div class=\"sheets\">\n{given}{sheets}</div>\n",
        html::text(&maker.name)
    )
}

/// The first and the last, and some between them: early ones, which differ most, lie closer together.
fn chosen(count: usize) -> Vec<usize> {
    if count <= SHOWN {
        return (0..count).collect();
    }
    let last = (count - 1) as f64;
    let mut chosen: Vec<usize> =
        (0..SHOWN).map(|at| ((at as f64 / (SHOWN - 1) as f64).powf(1.7) * last).round() as usize).collect();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_first_and_the_last_are_shown() {
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(100);
        assert_eq!((many.first(), many.last()), (Some(&0), Some(&99)));
        assert!(many.len() <= 9 && many.windows(2).all(|pair| pair[0] < pair[1]), "{many:?}");
    }
}
