//! Two runs on one page: their figures side by side, their curves in the same charts, what differs between their specs.

use super::chart::{Chart, Line};
use super::html::{self, Align};
use super::{Run, Section, document};
use crate::compare::{Pair, facts, pairs};
use similar::ChangeTag;

pub fn page(a: &Run, b: &Run, changes: &[(ChangeTag, String)]) -> String {
    let head = format!(
        "<p class=\"kind\">Weft · two runs</p>\n<h1>{} <span class=\"versus\">and</span> {}</h1>\n",
        html::text(&a.name),
        html::text(&b.name)
    );
    let section = |anchor, title, content| Section { anchor, title, content };
    let sections = [
        section("figures", "Figures", figures(a, b)),
        section("curves", "Curves", curves(a, b)),
        section("spec", "What differs between the specs", difference(changes)),
    ];
    document(&format!("{} and {}", a.name, b.name), &head, &sections)
}

fn figures(a: &Run, b: &Run) -> String {
    let mut rows: Vec<Vec<String>> =
        facts(a, b).into_iter().map(|row| row.iter().map(|cell| html::text(cell)).collect()).collect();
    for Pair { name, values: [one, other], higher_is_better } in pairs(a, b) {
        let shown = |value: Option<f32>| value.map_or("–".to_owned(), |value| html::number(value.into()));
        let difference = one.zip(other).map_or(String::new(), |(one, other)| {
            let class = match (other > one) == higher_is_better {
                _ if other == one => "",
                true => "good",
                false => "bad",
            };
            let sign = if other > one { "+" } else { "" };
            format!("<span class=\"{class}\">{sign}{}</span>", html::number(f64::from(other - one)))
        });
        rows.push(vec![html::text(&name), shown(one), shown(other), difference]);
    }
    let header = [
        ("", Align::Left),
        (a.name.as_str(), Align::Right),
        (b.name.as_str(), Align::Right),
        ("difference", Align::Right),
    ];
    format!("<div class=\"card\">{}</div>\n", html::table("wide", &header, &rows))
}

fn curves(a: &Run, b: &Run) -> String {
    let mut names = a.history.figures();
    names.extend(b.history.figures().into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    let mut charts = String::new();
    for name in names {
        for part in ["validation", "train"] {
            let line = |run: &Run, class: &str| {
                let points = run.history.epochs.iter().filter_map(|epoch| {
                    let figures = if part == "train" { &epoch.train } else { &epoch.validation };
                    Some((epoch.place(), f64::from(figures.number(name)?)))
                });
                Line { name: run.name.clone(), class: class.to_owned(), points: points.collect() }
            };
            let lines: Vec<Line> =
                [line(a, "c0"), line(b, "c1")].into_iter().filter(|line| !line.points.is_empty()).collect();
            charts +=
                &Chart { title: format!("{part} {name}"), lines, axis: "epoch", ..Chart::default() }.card();
        }
    }
    if charts.is_empty() { charts } else { format!("<div class=\"cards\">\n{charts}</div>\n") }
}

fn difference(changes: &[(ChangeTag, String)]) -> String {
    if changes.is_empty() {
        return "<p class=\"note\">Nothing: with every default written out, they are the same.</p>\n"
            .to_owned();
    }
    let line = |(tag, line): &(ChangeTag, String)| {
        let line = html::text(line);
        match tag {
            ChangeTag::Equal => format!("  {line}\n"),
            ChangeTag::Delete => format!("<del>- {line}</del>\n"),
            ChangeTag::Insert => format!("<ins>+ {line}</ins>\n"),
        }
    };
    format!("<pre class=\"diff\">{}</pre>\n", changes.iter().map(line).collect::<String>())
}
