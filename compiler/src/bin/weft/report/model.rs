//! The model: its layers as a table, its graph as a drawing.

use super::html::{self, Align};
use crate::output;
use crate::run::model::Model;

pub fn section(model: &Model) -> String {
    if model.layers.is_empty() {
        return String::new();
    }
    let header = [
        ("path", Align::Left),
        ("layer", Align::Left),
        ("output", Align::Left),
        ("parameters", Align::Right),
        ("FLOPs a row", Align::Right),
        ("line", Align::Right),
    ];
    let rows: Vec<Vec<String>> = model
        .layers
        .iter()
        .map(|layer| {
            vec![
                format!("<code>{}</code>", html::text(&layer.path)),
                html::text(&layer.layer),
                format!("<code class=\"shape\">{}</code>", html::text(&layer.output)),
                output::thousands(layer.parameters),
                html::text(&layer.flops),
                layer.line.to_string(),
            ]
        })
        .collect();
    let table = format!("<div class=\"card\">{}</div>\n", html::table("wide", &header, &rows));
    if model.graph.is_empty() {
        return table;
    }
    // The drawing says its own size; boxes are readable at a bit more than half of it.
    let width = model
        .graph
        .split("viewBox=\"0 0 ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    let sized =
        model.graph.replacen("<svg ", &format!("<svg width=\"{:.0}\" ", width.unwrap_or(1000.0) * 0.6), 1);
    format!(
        "{table}<details><summary>The graph, operation by operation</summary>\n<div class=\"graph\">{sized}</div></details>\n"
    )
}
