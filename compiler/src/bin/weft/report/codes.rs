//! Where rows lie by what a model makes of them: a point for each, in the colour of its class.

use super::html;
use crate::output;
use crate::run::codes::Codes;
use std::fmt::Write;

/// The drawing's sides.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 340.0;
const MARGIN: f64 = 12.0;
/// As many colours as the page's own.
const COLOURS: usize = 8;

pub fn section(codes: &Codes) -> String {
    let side = |axis: usize| {
        let values = codes.points.iter().map(|point| point[axis]);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ([left, right], [low, high]) = (<[f64; 2]>::from(side(0)), <[f64; 2]>::from(side(1)));
    if codes.points.is_empty() || left >= right || low >= high {
        return String::new();
    }
    let along = |value: f64, from: f64, to: f64, room: f64| {
        MARGIN + (value - from) / (to - from) * (room - 2.0 * MARGIN)
    };
    let mut counts = [0usize; Codes::MAX_CLASSES + 1];
    let mut dots = String::new();
    for (row, point) in codes.points.iter().enumerate() {
        let class = codes.classes.get(row).copied().unwrap_or(0).min(Codes::MAX_CLASSES);
        counts[class] += 1;
        let (x, y) = (along(point[0], left, right, WIDTH), HEIGHT - along(point[1], low, high, HEIGHT));
        let _ = write!(dots, "<{} class=\"{}\"/>", mark(class, x, y), colour(class));
    }
    let legend: String = match codes.classes.is_empty() {
        true => String::new(),
        false => (0..=Codes::MAX_CLASSES)
            .filter(|class| counts[*class] > 0)
            .map(|class| key(codes, class))
            .collect(),
    };
    let axes = match codes.width {
        2 => "its two numbers".to_owned(),
        width => format!(
            "the first two principal components of {width} numbers, which hold {:.0}% of the variance",
            100.0 * codes.share
        ),
    };
    format!(
        "<h3>Where the rows lie</h3>\n<figure class=\"card codes\"><figcaption><span class=\"title\">{}</span><span class=\"legend\">{legend}</span></figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"a point for each row\">{dots}</svg>\n<p class=\"note\"><code>{}</code> of {} rows: {axes}.</p></figure>\n",
        html::text(&match codes.field.as_str() {
            "" => codes.name.clone(),
            field => format!("{} by {field}", codes.name),
        }),
        html::text(&codes.name),
        output::thousands(codes.points.len() as u64),
    )
}

fn colour(class: usize) -> String {
    if class == Codes::MAX_CLASSES { "missing".to_owned() } else { format!("c{}", class % COLOURS) }
}

/// Classes beyond the colours are squares.
fn mark(class: usize, x: f64, y: f64) -> String {
    if class < COLOURS {
        format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"")
    } else {
        format!("rect x=\"{:.1}\" y=\"{:.1}\" width=\"4.8\" height=\"4.8\"", x - 2.4, y - 2.4)
    }
}

fn key(codes: &Codes, class: usize) -> String {
    let name = match class {
        Codes::MAX_CLASSES => "missing".to_owned(),
        class => codes.names.get(class).cloned().unwrap_or_else(|| class.to_string()),
    };
    let shape = mark(class, 5.0, 5.0);
    format!(
        "<span><svg class=\"swatch\" viewBox=\"0 0 10 10\"><{shape} class=\"{}\"/></svg>{}</span>",
        colour(class),
        html::text(&name)
    )
}
