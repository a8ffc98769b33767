//! How long each weight is over the epochs, and its gradient: weights that explode or don't move, and gradients that vanish, show here
//! first.

use super::chart::{Chart, Line};
use super::curves::names;
use crate::run::history::{Epoch, History};
use weft_runtime::train::Figures;

/// Lines of one chart, and charts of one kind.
const LINES: usize = 6;
const CHARTS: usize = 6;

pub fn section(history: &History) -> String {
    let total = |epoch: &Epoch| {
        let squares: f64 = epoch.gradient_norms.numbers().map(|(_, norm)| f64::from(norm).powi(2)).sum();
        (!epoch.gradient_norms.is_empty()).then(|| (epoch.place(), squares.sqrt()))
    };
    let all = Line {
        name: "all".into(),
        class: "c0".into(),
        points: history.epochs.iter().filter_map(total).collect(),
    };
    let all = Chart {
        title: "length of all gradients".into(),
        lines: vec![all],
        axis: "epoch",
        ..Chart::default()
    };
    let charts = [
        all.card(),
        kind(history, "length of gradients", |epoch| &epoch.gradient_norms),
        kind(history, "length of weights", |epoch| &epoch.weight_norms),
    ]
    .concat();
    if charts.is_empty() {
        return charts;
    }
    let weights = names(history, |epoch| &epoch.weight_norms).len();
    let left = weights.saturating_sub(LINES * CHARTS);
    let more = if left > 0 { format!(" {left} more weights are in metrics.jsonl.") } else { String::new() };
    let gradients = match all_are_empty(history) {
        true => "",
        false => " Gradients are those of the last batch before each point, before any clipping.",
    };
    format!(
        "<p class=\"note\">Euclidean lengths, weight by weight.{gradients}{more}</p>\n<div class=\"cards\">\n{charts}</div>\n"
    )
}

fn all_are_empty(history: &History) -> bool {
    history.epochs.iter().all(|epoch| epoch.gradient_norms.is_empty())
}

/// Charts of some lines each.
fn kind<'h>(history: &'h History, what: &str, of: impl Fn(&'h Epoch) -> &'h Figures + Copy) -> String {
    let weights = names(history, of);
    let several = weights.len() > LINES;
    let chart = |(number, group): (usize, &[&str])| {
        let line = |(at, name): (usize, &&str)| {
            let points = history
                .epochs
                .iter()
                .filter_map(|epoch| Some((epoch.place(), f64::from(of(epoch).number(name)?))));
            Line { name: (*name).to_owned(), class: format!("c{at}"), points: points.collect() }
        };
        let numbers = format!(", {} to {}", number * LINES + 1, number * LINES + group.len());
        Chart {
            title: format!("{what}{}", if several { numbers } else { String::new() }),
            lines: group.iter().enumerate().map(line).collect(),
            axis: "epoch",
            ..Chart::default()
        }
        .card()
    };
    weights.chunks(LINES).take(CHARTS).enumerate().map(chart).collect()
}
