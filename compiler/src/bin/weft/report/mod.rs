//! `report.html`: a run on one page that needs nothing else. No network, no fonts, no pictures beside it; the charts are SVG, the
//! script only shows the values under the pointer.
//!
//! Making the page is pure: a [`Report`] is all that is known, and what is not known leaves its section out.

mod answers;
mod chart;
mod codes;
mod comparison;
mod curves;
mod html;
mod kernels;
mod model;
mod norms;
mod outcome;
mod samples;

use crate::profile::Kernels;
use crate::run::about::About;
use crate::run::answers::Answers;
use crate::run::history::History;
use crate::run::model::Model;
use crate::run::samples::Samples;

pub use self::comparison::page as comparison;

/// All that a page tells.
pub struct Report<'a> {
    pub about: &'a About,
    pub history: &'a History,
    /// The spec with every default written out.
    pub spec: &'a str,
    pub model: &'a Model,
    pub answers: Option<&'a Answers>,
    pub samples: Option<&'a Samples>,
    /// What each entry of a step took.
    pub kernels: &'a [(String, Kernels)],
}

/// A run of which only its folder is left.
pub struct Run {
    pub name: String,
    pub about: About,
    pub history: History,
    pub spec: String,
}

/// A section: its anchor, its title, its content. Without content it is left out.
struct Section {
    anchor: &'static str,
    title: &'static str,
    content: String,
}

/// The whole page.
pub fn page(report: &Report<'_>) -> String {
    let section = |anchor, title, content| Section { anchor, title, content };
    let sections = [
        section("curves", "Curves", curves::section(report.history)),
        section("answers", "Answers", report.answers.map_or(String::new(), answers::section)),
        section("samples", "Samples", report.samples.map_or(String::new(), samples::section)),
        section("weights", "Weights and gradients", norms::section(report.history)),
        section("model", "The model", model::section(report.model)),
        section("kernels", "Where a step's time goes", kernels::section(report.kernels)),
        section("run", "The run", outcome::facts(report)),
        section("spec", "The spec", format!("<pre class=\"spec\">{}</pre>\n", html::text(report.spec))),
    ];
    document(&report.about.spec, &outcome::head(report), &sections)
}

/// A page of sections under a head.
fn document(title: &str, head: &str, sections: &[Section]) -> String {
    let sections: Vec<&Section> = sections.iter().filter(|s| !s.content.is_empty()).collect();
    let links: String =
        sections.iter().map(|s| format!("<a href=\"#{}\">{}</a>", s.anchor, html::text(s.title))).collect();
    let body: String = sections
        .iter()
        .map(|s| {
            let (anchor, title) = (s.anchor, html::text(s.title));
            format!("<section id=\"{anchor}\">\n<h2>{title}</h2>\n{}</section>\n", s.content)
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · Weft</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <header>\n{head}<nav>{links}</nav>\n</header>\n<main>\n{body}</main>\n<script>\n{}</script>\n</body>\n</html>\n",
        html::text(title),
        include_str!("style.css"),
        include_str!("hover.js"),
    )
}
