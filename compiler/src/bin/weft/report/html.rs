//! Pieces of HTML, and numbers as people read them.

/// Text where markup is expected: a name with a `<` in it stays a name. Fit for attributes in double quotes too.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters have no place in a page.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Four digits that count: `0.09873`, `12.35`, `1.200e-5`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".into()
        } else if value > 0.0 {
            "∞".into()
        } else {
            "−∞".into()
        };
    }
    let digits = match size {
        0.0 => return "0".into(),
        _ if !(1e-3..1e6).contains(&size) => return format!("{value:.3e}").replace('-', "−"),
        _ if value.fract() == 0.0 => 0,
        _ => (3 - size.log10().floor() as i32).clamp(0, 6) as usize,
    };
    format!("{value:.digits$}").replace('-', "−")
}

/// `1 min 5 s`
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) if seconds < 10.0 => format!("{seconds:.1} s"),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// How a column of a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table whose cells are markup already.
pub fn table(class: &str, header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let side = |place: usize| match header.get(place) {
        Some((_, Align::Right)) => " class=\"n\"",
        _ => "",
    };
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
        cells.enumerate().map(|(at, cell)| format!("<{tag}{}>{cell}</{tag}>", side(at))).collect()
    };
    let head = cells("th", &mut header.iter().map(|(name, _)| text(name)));
    let body: String =
        rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", &mut row.iter().cloned()))).collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n"
    )
}

/// Names and values, one under the other; the values are markup already.
pub fn facts(facts: &[(&str, String)]) -> String {
    let rows: String = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<div><dt>{}</dt><dd>{value}</dd></div>\n", text(name)))
        .collect();
    format!("<dl class=\"facts\">\n{rows}</dl>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(text("<b>\"&'\u{1}"), "&lt;b&gt;&quot;&amp;&#39;\u{fffd}");
    }

    #[test]
    fn numbers_have_four_digits_that_count() {
        let shown: Vec<String> =
            [0.0, 0.098_734_5, 12.345_67, 1234.567, 98_765.4, 15.0, -0.5, 1.2e-5, 2.5e9, f64::NAN]
                .map(number)
                .to_vec();
        assert_eq!(
            shown,
            ["0", "0.09873", "12.35", "1235", "98765", "15", "−0.5000", "1.200e−5", "2.500e9", "NaN"]
        );
        assert_eq!(
            [4.25, 59.6, 65.0, 7300.0].map(duration),
            ["4.2 s", "1 min 0 s", "1 min 5 s", "2 h 1 min"]
        );
    }
}
