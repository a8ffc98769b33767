//! `--review`: the questions, and what may be answered.

use super::show;
use crate::failure::Failure;
use crate::output;
use std::io::BufRead;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Reject,
    Skip,
}

/// What becomes of a new or changed snapshot. `d` shows all lines that differ, and asks again.
pub fn change(kept: Option<&str>, text: &str) -> Result<Answer, Failure> {
    loop {
        match answer("accept, reject, skip or diff? [a/r/s/d] ")?.as_deref() {
            Some("a" | "accept") => return Ok(Answer::Accept),
            Some("r" | "reject") => return Ok(Answer::Reject),
            Some("s" | "skip") | None => return Ok(Answer::Skip),
            Some("d" | "diff") => output::write(&show::lines(kept.unwrap_or(""), text)),
            Some(_) => {}
        }
    }
}

/// Shall an orphan go?
pub fn removal() -> Result<bool, Failure> {
    loop {
        match answer("remove it? [y/n] ")?.as_deref() {
            Some("y" | "yes") => return Ok(true),
            Some("n" | "no") | None => return Ok(false),
            Some(_) => {}
        }
    }
}

/// Asks on standard output and reads a line of standard input; `None` at its end, where all that is left is skipped.
fn answer(question: &str) -> Result<Option<String>, Failure> {
    output::write(question);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.map_err(|e| Failure::environment(format!("cannot read the answer: {e}")))? == 0 {
        output::write("\n");
        return Ok(None);
    }
    Ok(Some(line.trim().to_lowercase()))
}
