//! How a run ended, and what it was: the head of the page, and the facts about it.

use super::Report;
use super::html::{self, duration, number};
use crate::output;
use crate::run::about::{Data, DataFile};

/// The name, how it ended, and the figures that count.
pub fn head(report: &Report<'_>) -> String {
    let (about, history) = (report.about, report.history);
    let training = if about.training == "train" { String::new() } else { format!(" · {}", about.training) };
    let end = history.end.as_ref();
    let (class, word) = match end.map(|end| end.ending.as_str()) {
        None => ("going", "running"),
        Some("stopped_early") => ("good", "stopped early"),
        Some("finished") => ("good", "finished"),
        Some("failed") => ("bad", "failed"),
        Some(_) => ("going", "interrupted"),
    };
    let epochs = history.epochs_done();
    let plural = if epochs == 1 { "" } else { "s" };
    let done = match epochs {
        0 if !history.epochs.is_empty() => "within the first epoch,".to_owned(),
        epochs => format!("{epochs} epoch{plural} in"),
    };
    let mut line = format!("{done} {}", duration(history.seconds()));
    if let Some(best) = history.best() {
        line += &format!(" · best after {}", best.name());
    }
    if about.parameters > 0 {
        line += &format!(" · {} parameters", output::thousands(about.parameters));
    }
    let mut out = format!(
        "<p class=\"kind\">Weft · training report</p>\n<h1>{}{} <span class=\"badge {class}\">{word}</span></h1>\n<p class=\"sub\">{line}</p>\n",
        html::text(&about.spec),
        html::text(&training),
    );
    if let Some(error) = end.and_then(|end| end.error.as_ref()) {
        out += &format!("<p class=\"failure\">{}</p>\n", html::text(error));
    }
    out + &tiles(report)
}

/// A tile for each figure: on the test part where there is one, else of the best or the last epoch.
fn tiles(report: &Report<'_>) -> String {
    let history = report.history;
    let kept = history.kept();
    let test = history.end.as_ref().map(|end| &end.test).filter(|test| !test.is_empty());
    let (part, figures) = match (test, kept) {
        (Some(test), _) => ("test", test),
        (None, Some(epoch)) if !epoch.validation.is_empty() => ("validation", &epoch.validation),
        (None, Some(epoch)) => ("train", &epoch.train),
        (None, None) => return String::new(),
    };
    let tile = |(name, value): (&str, f32)| {
        let other = |what: &str, value: Option<f32>| match value {
            Some(value) if part != what => format!("{what} {}", number(value.into())),
            _ => String::new(),
        };
        let others = [
            other("train", kept.and_then(|epoch| epoch.train.number(name))),
            other("validation", kept.and_then(|epoch| epoch.validation.number(name))),
        ];
        let others: Vec<&str> = others.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        format!(
            "<div class=\"tile\"><span>{part} {}</span><b>{}</b><small>{}</small></div>\n",
            html::text(name),
            number(value.into()),
            others.join(" · ")
        )
    };
    let tiles: String = figures.numbers().map(tile).collect();
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// What was run, on what, and how to run it again.
pub fn facts(report: &Report<'_>) -> String {
    let (about, machine) = (report.about, &report.about.machine);
    let plain = |value: &str| html::text(value);
    let count = |value: usize| output::thousands(value as u64);
    let rows = about.rows;
    html::facts(&[
        ("command", format!("<code>{}</code>", plain(&about.command))),
        ("started", date(about.started)),
        (
            "rows",
            format!(
                "{} to train on, {} to validate, {} to test",
                count(rows[0]),
                count(rows[1]),
                count(rows[2])
            ),
        ),
        ("batch, epochs, seed", format!("{}, {}, {}", about.batch, about.epochs, about.seed)),
        ("data", data(&about.data)),
        ("licence of the data", plain(&about.data.licence)),
        ("weights", about.weights.iter().map(file).collect()),
        ("threads", about.threads.to_string()),
        ("products in", plain(&about.math)),
        (
            "processor",
            plain(&format!("{} ({} cores, {})", machine.processor, machine.cores, machine.vectors)),
        ),
        ("memory", if machine.memory > 0 { output::bytes(machine.memory) } else { String::new() }),
        ("system", plain(&machine.system)),
        ("Weft", plain(&machine.weft)),
    ])
}

/// A folder's files, or a file.
fn data(data: &Data) -> String {
    if data.name.is_empty() {
        return String::new();
    }
    let more = if data.more > 0 { format!("<div>and {} more files</div>", data.more) } else { String::new() };
    let files: String = data.files.iter().map(file).collect();
    format!("{} from <code>{}</code>{files}{more}", html::text(&data.name), html::text(&data.path))
}

fn file(file: &DataFile) -> String {
    let sum = if file.sha256.is_empty() {
        String::new()
    } else {
        format!("<code class=\"sum\">{}</code>", file.sha256)
    };
    format!(
        "<div class=\"file\">{} <small>{}</small> {sum}</div>",
        html::text(&file.name),
        output::bytes(file.bytes)
    )
}

/// `2026-11-25 13:05 UTC` of seconds since 1970 (the civil calendar by Howard Hinnant's formula).
fn date(seconds: f64) -> String {
    if seconds <= 0.0 {
        return String::new();
    }
    let (days, rest) = ((seconds / 86400.0).floor() as i64, seconds.rem_euclid(86400.0) as i64);
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let shown = [951_782_400.0, 1_709_164_799.0, 1_764_075_900.0].map(date);
        assert_eq!(shown, ["2000-02-29 00:00 UTC", "2024-02-28 23:59 UTC", "2025-11-25 13:05 UTC"]);
    }
}
