//! What the model answers: where it is wrong and how often, and pictures of it.

use super::codes;
use super::html::{self, Align};
use crate::output;
use crate::run::answers::{Answers, Classes, Picture, Shown, Values};
use std::fmt::Write;
use weft_runtime::io::png;
use weft_runtime::program::DType;
use weft_runtime::tensor::TensorView;

/// A table of more classes would be no table to look at.
const MAX_MATRIX: usize = 40;
const MAX_CLASSES: usize = 100;
/// Points of a scatter plot.
const MAX_POINTS: usize = 1500;

pub fn section(answers: &Answers) -> String {
    let mut items: Vec<&str> = Vec::new();
    let asked = [
        answers.classes.as_ref().map(|classes| &classes.item),
        answers.values.as_ref().map(|values| &values.item),
        answers.drawn.as_ref().map(|drawn| &drawn.item),
        answers.codes.as_ref().map(|codes| &codes.item),
    ];
    for item in asked.into_iter().flatten() {
        if !items.contains(&item.as_str()) {
            items.push(item);
        }
    }
    let named = |item: &&str| match *item {
        "predict" => "The model".to_owned(),
        item => format!("<code>predict {}</code>", html::text(item)),
    };
    let mut out = format!(
        "<p class=\"note\">{}, asked about {} rows of the {} part with the kept weights.</p>\n",
        items.iter().map(named).collect::<Vec<_>>().join(", "),
        output::thousands(answers.rows as u64),
        answers.part
    );
    if let Some(classes) = &answers.classes {
        out += &matrix(classes);
        out += &by_class(classes);
        out += &gallery("Wrong, and surest of it", classes, &classes.wrong);
        out += &gallery("Right", classes, &classes.right);
    }
    if let Some(values) = &answers.values {
        out += &scatter(values);
    }
    if let Some(drawn) = answers.drawn.as_ref().filter(|drawn| !drawn.pairs.is_empty()) {
        out += "<h3>Given, and drawn by the model</h3>\n<div class=\"gallery\">\n";
        for [given, drawn] in &drawn.pairs {
            let _ = writeln!(out, "<div class=\"sample pair\">{}{}</div>", picture(given), picture(drawn));
        }
        out += "</div>\n";
    }
    out + &answers.codes.as_ref().map_or(String::new(), codes::section)
}

/// Rows are the truth, columns the answers.
fn counts(classes: &Classes) -> Vec<Vec<usize>> {
    let count = classes.count().min(MAX_CLASSES);
    let mut counts = vec![vec![0; count]; count];
    for (truth, answer, _) in &classes.pairs {
        if let Some(cell) = counts.get_mut(*truth).and_then(|row| row.get_mut(*answer)) {
            *cell += 1;
        }
    }
    counts
}

fn matrix(classes: &Classes) -> String {
    let counts = counts(classes);
    if counts.len() > MAX_MATRIX {
        return String::new();
    }
    let head: String =
        (0..counts.len()).map(|c| format!("<th>{}</th>", html::text(&classes.name(c)))).collect();
    let mut rows = String::new();
    for (truth, row) in counts.iter().enumerate() {
        let total = row.iter().sum::<usize>().max(1) as f64;
        let cell = |(answer, count): (usize, &usize)| {
            // Few mistakes among many right answers are what one looks for, so small shares are not left white.
            let depth = (*count as f64 / total).sqrt();
            let class = if answer == truth { "hit" } else { "miss" };
            let text = if *count == 0 { String::new() } else { count.to_string() };
            let light = if depth > 0.6 { " deep" } else { "" };
            format!(
                "<td class=\"{class}{light}\" style=\"--d:{depth:.3}\" title=\"{} taken for {}: {count}\">{text}</td>",
                html::text(&classes.name(truth)),
                html::text(&classes.name(answer))
            )
        };
        let cells: String = row.iter().enumerate().map(cell).collect();
        let _ = writeln!(rows, "<tr><th>{}</th>{cells}</tr>", html::text(&classes.name(truth)));
    }
    format!(
        "<h3>Confusion: truth by row, answer by column</h3>\n<div class=\"card\"><div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>{head}</tr></thead><tbody>\n{rows}</tbody></table></div></div>\n"
    )
}

fn by_class(classes: &Classes) -> String {
    let counts = counts(classes);
    let ratio = |part: usize, whole: usize| part as f64 / whole as f64;
    let percent =
        |share: f64| if share.is_finite() { format!("{:.1}%", 100.0 * share) } else { "–".to_owned() };
    let row = |class: usize| {
        let right = counts[class][class];
        let (truths, answers) =
            (counts[class].iter().sum::<usize>(), counts.iter().map(|row| row[class]).sum::<usize>());
        let (precision, recall) = (ratio(right, answers), ratio(right, truths));
        let f1 = ratio(2 * right, truths + answers);
        let bar = format!(
            "<span class=\"bar\"><i style=\"width:{:.1}%\"></i></span>",
            if f1.is_finite() { 100.0 * f1 } else { 0.0 }
        );
        vec![
            html::text(&classes.name(class)),
            percent(precision),
            percent(recall),
            percent(f1),
            bar,
            output::thousands(truths as u64),
        ]
    };
    let rows: Vec<Vec<String>> = (0..counts.len()).map(row).collect();
    let header = [
        ("class", Align::Left),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("", Align::Left),
        ("rows", Align::Right),
    ];
    format!("<h3>By class</h3>\n<div class=\"card\">{}</div>\n", html::table("wide", &header, &rows))
}

/// Rows with the model's answers: as pictures, or as a table of their fields.
fn gallery(title: &str, classes: &Classes, samples: &[(usize, Shown)]) -> String {
    let told = |at: usize| {
        let (truth, answer, sure) = classes.pairs.get(at)?;
        let sure = sure
            .filter(|s| (0.0..=1.0).contains(s))
            .map_or(String::new(), |s| format!(" <small>{:.0}%</small>", 100.0 * s));
        let [truth_name, answer_name] = [truth, answer].map(|class| html::text(&classes.name(*class)));
        Some(match truth == answer {
            true => format!("<span>{truth_name}{sure}</span>"),
            false => {
                format!("<span><b class=\"bad\">{answer_name}</b>{sure}</span><small>is {truth_name}</small>")
            }
        })
    };
    let (mut pictures, mut rows, mut header) = (String::new(), Vec::new(), Vec::new());
    for (at, shown) in samples {
        let Some(told) = told(*at) else { continue };
        match shown {
            Shown::Picture(image) => {
                let _ = writeln!(pictures, "<div class=\"sample\">{}{told}</div>", picture(image));
            }
            Shown::Cells(cells) => {
                header = cells.iter().map(|(name, _)| name.as_str()).collect();
                let cells = cells.iter().map(|(_, value)| html::text(value));
                rows.push(
                    [format!("<div class=\"told\">{told}</div>")]
                        .into_iter()
                        .chain(cells)
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
    let mut out = String::new();
    if !pictures.is_empty() {
        out += &format!("<h3>{title}</h3>\n<div class=\"gallery\">\n{pictures}</div>\n");
    }
    if !rows.is_empty() {
        let header: Vec<(&str, Align)> = [("answer", Align::Left)]
            .into_iter()
            .chain(header.into_iter().map(|name| (name, Align::Right)))
            .collect();
        out += &format!("<h3>{title}</h3>\n<div class=\"card\">{}</div>\n", html::table("", &header, &rows));
    }
    out
}

/// A picture in the page itself.
fn picture(picture: &Picture) -> String {
    let view = TensorView { dtype: DType::U8, shape: &picture.shape, data: &picture.pixels };
    png::encode(view).map_or(String::new(), |bytes| embedded(&bytes, ""))
}

/// A `.png` file in the page itself.
pub fn embedded(file: &[u8], alt: &str) -> String {
    format!("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", html::text(alt), base64(file))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Truth along, answer up; on the line both are the same.
fn scatter(values: &Values) -> String {
    let pairs: Vec<(f64, f64)> =
        values.pairs.iter().copied().filter(|(t, a)| t.is_finite() && a.is_finite()).collect();
    let all = || pairs.iter().flat_map(|(truth, answer)| [*truth, *answer]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    if pairs.is_empty() || low >= high {
        return String::new();
    }
    let count = pairs.len() as f64;
    let mean = pairs.iter().map(|(truth, _)| truth).sum::<f64>() / count;
    let error = pairs.iter().map(|(truth, answer)| (truth - answer).abs()).sum::<f64>() / count;
    let squares = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(|pair| f(pair).powi(2)).sum::<f64>();
    let explained = 1.0 - squares(&|(truth, answer)| truth - answer) / squares(&|(truth, _)| truth - mean);
    let place = |value: f64| (value - low) / (high - low) * 300.0;
    let dots: String = pairs
        .iter()
        .step_by(pairs.len().div_ceil(MAX_POINTS))
        .map(|(truth, answer)| {
            format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                40.0 + place(*truth),
                310.0 - place(*answer)
            )
        })
        .collect();
    format!(
        "<figure class=\"card scatter\"><figcaption><span class=\"title\">{}: answer over truth</span><span class=\"legend\"><span>mean error <b>{}</b></span><span>R² <b>{}</b></span></span></figcaption>\n\
         <svg viewBox=\"0 0 350 340\" role=\"img\" aria-label=\"answers over truth\"><path class=\"mark\" d=\"M40 310L340 10\"/><path class=\"axis\" d=\"M40 10V310H340\"/>\
         <g class=\"dots\">{dots}</g><text class=\"tick\" x=\"40\" y=\"328\">{lowest}</text><text class=\"tick\" x=\"340\" y=\"328\" text-anchor=\"end\">{highest}</text>\
         <text class=\"tick\" x=\"34\" y=\"310\" text-anchor=\"end\">{lowest}</text><text class=\"tick\" x=\"34\" y=\"18\" text-anchor=\"end\">{highest}</text></svg></figure>\n",
        html::text(&values.field),
        html::number(error),
        html::number(explained),
        lowest = html::number(low),
        highest = html::number(high),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn precision_and_recall_are_of_the_answers_and_of_the_truth() {
        let pairs = vec![(0, 0, None), (0, 1, None), (1, 1, None), (1, 1, None)];
        let table = by_class(&Classes { pairs, ..Classes::default() });
        for cell in [">100.0%<", ">50.0%<", ">66.7%<", ">80.0%<"] {
            assert!(table.contains(cell), "{cell} {table}");
        }
    }
}
