//! What the kernels of a step took, the longest first.

use super::html::{self, Align};
use crate::profile::{KernelRow, Kernels};

/// Kernels of which each has a line.
const SHOWN: usize = 16;

pub fn section(entries: &[(String, Kernels)]) -> String {
    entries
        .iter()
        .filter(|(_, kernels)| !kernels.0.is_empty())
        .map(|(name, kernels)| table(name, kernels))
        .collect()
}

fn table(name: &str, kernels: &Kernels) -> String {
    let total = kernels.total_us().max(1e-9);
    let mut rows: Vec<&KernelRow> = kernels.0.iter().collect();
    rows.sort_by(|a, b| b.median_us().total_cmp(&a.median_us()));
    let (shown, rest) = rows.split_at(rows.len().min(SHOWN));
    let rate = |row: &KernelRow| {
        let gigaflops = row.flops as f64 / (row.median_us() * 1e3);
        if row.flops > 0 && gigaflops.is_finite() { html::number(gigaflops) } else { String::new() }
    };
    let line = |row: &&KernelRow| {
        let share = 100.0 * row.median_us() / total;
        vec![
            format!("{:.1}", row.median_us()),
            format!("{share:.1}%"),
            format!("<span class=\"bar\"><i style=\"width:{share:.1}%\"></i></span>"),
            rate(row),
            if row.line > 0 { row.line.to_string() } else { String::new() },
            html::text(row.kind),
            format!("<code>{}</code>", html::text(&row.path)),
        ]
    };
    let mut cells: Vec<Vec<String>> = shown.iter().map(line).collect();
    if !rest.is_empty() {
        let us: f64 = rest.iter().map(|row| row.median_us()).sum();
        let (share, none) = (100.0 * us / total, String::new());
        cells.push(vec![
            format!("{us:.1}"),
            format!("{share:.1}%"),
            format!("<span class=\"bar\"><i style=\"width:{share:.1}%\"></i></span>"),
            none.clone(),
            none.clone(),
            none,
            format!("{} others", rest.len()),
        ]);
    }
    let header = [
        ("µs", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
        ("GFLOP/s", Align::Right),
        ("line", Align::Right),
        ("kind", Align::Left),
        ("computes", Align::Left),
    ];
    let runs = kernels.0.first().map_or(0, |row| row.runs());
    format!(
        "<p class=\"note\"><code>{}</code>: {} µs in {} kernels, medians of {runs} steps near the start of the run. \
         Lines are those of the spec; a fused kernel stands where its last operation does.</p>\n<div class=\"card\">{}</div>\n",
        html::text(name),
        html::number(total),
        kernels.0.len(),
        html::table("wide", &header, &cells)
    )
}
