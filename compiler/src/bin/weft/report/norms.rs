//! How long each weight is over the epochs: weights that explode or don't move show here first.

use super::chart::{Chart, Line};
use super::curves::names;
use crate::run::history::History;

/// Lines of one chart, and charts.
const LINES: usize = 6;
const CHARTS: usize = 6;

pub fn section(history: &History) -> String {
    let weights = names(history, |epoch| &epoch.weight_norms);
    let chart = |(number, group): (usize, &[&str])| {
        let line = |(at, name): (usize, &&str)| {
            let points = history
                .epochs
                .iter()
                .filter_map(|epoch| Some((epoch.epoch as f64, f64::from(epoch.weight_norms.number(name)?))));
            Line { name: (*name).to_owned(), class: format!("c{at}"), points: points.collect() }
        };
        let title = format!("length of weights {} to {}", number * LINES + 1, number * LINES + group.len());
        Chart {
            title,
            lines: group.iter().enumerate().map(line).collect(),
            axis: "epoch",
            ..Chart::default()
        }
        .card()
    };
    let charts: String = weights.chunks(LINES).take(CHARTS).enumerate().map(chart).collect();
    let left = weights.len().saturating_sub(LINES * CHARTS);
    let more = if left > 0 {
        format!("<p class=\"note\">{left} more weights are in metrics.jsonl.</p>\n")
    } else {
        String::new()
    };
    if charts.is_empty() { charts } else { format!("<div class=\"cards\">\n{charts}</div>\n{more}") }
}
