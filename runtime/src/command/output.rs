//! Standard output. A closed pipe ends the command quietly, unless it has other [work to do](work_on); a full disk behind a redirect is reported.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static WORKING: AtomicBool = AtomicBool::new(false);

/// From now on the command is at work on more than its output: where a pipe is closed, it goes on, and what it would say is dropped.
pub fn work_on() {
    WORKING.store(true, Ordering::Relaxed);
}

/// Writes to standard output at once, or leaves the process. What a closed pipe no longer takes is dropped where there is other work.
pub fn write(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        failed(&error);
    }
}

/// One line of standard output.
pub fn line(text: &str) {
    write(&format!("{text}\n"));
}

/// One JSON object on a line of its own.
pub fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

fn failed(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        if WORKING.load(Ordering::Relaxed) {
            return;
        }
        std::process::exit(0);
    }
    // Standard error is all that is left to say it on; if that is gone too, the exit code still says it.
    let _ = writeln!(io::stderr(), "error: cannot write the output: {}", crate::error::plain(error));
    std::process::exit(super::failure::Class::Environment as i32);
}

/// A line on standard error, for people; a closed one is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `1,234,567`
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.23 M`: a count in the largest unit that keeps it at least 1.
pub fn scaled(value: f64, unit: &str) -> String {
    for (factor, prefix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= factor {
            return format!("{:.2} {prefix}{unit}", value / factor);
        }
    }
    format!("{value:.0} {unit}").trim_end().to_owned()
}

/// `12.3 MiB`
pub fn bytes(value: u64) -> String {
    let value = value as f64;
    for (factor, unit) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if value >= factor as f64 {
            return format!("{:.1} {unit}", value / factor as f64);
        }
    }
    format!("{value:.0} B")
}

/// Rows of cells as left-aligned columns (numbers right-aligned), two spaces apart.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let count = header.len();
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count());
        cells.chain(header.get(c).map(|s| s.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let numeric: Vec<bool> = (0..count)
        .map(|c| {
            !rows.is_empty()
                && rows
                    .iter()
                    .filter_map(|r| r.get(c))
                    .all(|s| s.is_empty() || s.starts_with(|d: char| d.is_ascii_digit() || d == '-'))
        })
        .collect();
    let mut out = String::new();
    let mut push = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (c, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let gap = if c > 0 { "  " } else { "" };
            if numeric[c] {
                text += &format!("{gap}{pad}{cell}");
            } else {
                text += &format!("{gap}{cell}{pad}");
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    push(&mut header.iter().copied());
    for row in rows {
        push(&mut row.iter().take(count).map(String::as_str));
    }
    out
}
