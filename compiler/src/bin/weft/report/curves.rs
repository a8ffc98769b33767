//! The curves of a run: each figure over the epochs, in training and in validation, and the rate.

use super::chart::{Chart, Line, tick_text};
use crate::run::history::{Epoch, History};
use weft_runtime::train::Figures;

/// A chart for each figure that is a number, then the rates.
pub fn section(history: &History) -> String {
    let mark = history.best().map(|best| (best.place(), format!("best: {}", tick_text(best.place()))));
    let line = |name: &str, class: &str, of: &dyn Fn(&Epoch) -> Option<f32>| {
        let points = history.epochs.iter().filter_map(|epoch| Some((epoch.place(), f64::from(of(epoch)?))));
        Line { name: name.to_owned(), class: class.to_owned(), points: points.collect() }
    };
    let mut charts = String::new();
    for figure in history.figures() {
        let parts = [
            line("train", "train", &|epoch| epoch.train.number(figure)),
            line("validation", "validation", &|epoch| epoch.validation.number(figure)),
        ];
        let lines: Vec<Line> = parts.into_iter().filter(|line| !line.points.is_empty()).collect();
        charts +=
            &Chart { title: figure.to_owned(), lines, mark: mark.clone(), axis: "epoch", linear: false }
                .card();
    }
    let rates: Vec<&str> = names(history, |epoch| &epoch.rates);
    let lines: Vec<Line> = rates
        .iter()
        .enumerate()
        .map(|(at, name)| line(name, &format!("c{}", at % 8), &|e| e.rates.number(name)))
        .collect();
    charts +=
        &Chart { title: "learning rate".to_owned(), lines, mark: None, axis: "epoch", linear: true }.card();
    if charts.is_empty() { charts } else { format!("<div class=\"cards\">\n{charts}</div>\n") }
}

/// The names of figures in any epoch, in order.
pub fn names<'a>(history: &'a History, of: impl Fn(&'a Epoch) -> &'a Figures) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in history.epochs.iter().flat_map(|epoch| &of(epoch).0) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}
