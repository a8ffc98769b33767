//! Rows of standard input, a JSON object on every line: those together that have arrived, so that nobody waits for lines that have not.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Failure;
use super::row::Row;

/// A line that is longer is no row.
const LONGEST: u64 = 64 << 20;

/// The rows of a stream.
#[derive(Debug)]
pub struct Lines<R> {
    lines: BufReader<R>,
    /// Of the line that was read last, from 1.
    number: u64,
    ended: bool,
    /// The name of an input, for an example.
    input: String,
}

/// Rows that have arrived, with the numbers of their lines, and why the line behind them is none.
#[derive(Debug)]
pub struct Arrived {
    pub rows: Vec<Row>,
    pub numbers: Vec<u64>,
    pub wrong: Option<Failure>,
}

impl<R: Read> Lines<R> {
    pub fn new(stream: R, input: &str) -> Lines<R> {
        let lines = BufReader::with_capacity(1 << 16, stream);
        Lines { lines, number: 0, ended: false, input: input.to_owned() }
    }

    /// The next rows, `most` at most: the first is waited for, the others are taken when they are there. Nothing at the end of the stream.
    pub fn next(&mut self, most: usize) -> Result<Option<Arrived>, Failure> {
        let mut arrived = Arrived { rows: Vec::new(), numbers: Vec::new(), wrong: None };
        while !self.ended
            && arrived.rows.len() < most
            && (arrived.rows.is_empty() || self.lines.buffer().contains(&b'\n'))
        {
            let mut line = Vec::new();
            let read = (&mut self.lines).take(LONGEST).read_until(b'\n', &mut line);
            let count = read.map_err(|error| Failure::reading(Path::new("standard input"), &error))?;
            self.ended = count == 0;
            self.number += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let wrong = match serde_json::from_slice::<Row>(&line) {
                Ok(row) => {
                    arrived.rows.push(row);
                    arrived.numbers.push(self.number);
                    continue;
                }
                Err(_) if count as u64 == LONGEST => format!(
                    "a row takes {LONGEST} bytes at most; give large tensors as files: {{\"{}\": \"FILE.npy\"}}",
                    self.input
                ),
                Err(error) => format!("this is no JSON object ({error})"),
            };
            arrived.wrong = Some(at(self.number, Failure::input(wrong)));
            self.ended = true;
        }
        let is_end = arrived.rows.is_empty() && arrived.wrong.is_none();
        Ok((!is_end).then_some(arrived))
    }
}

/// A failure of the row on a line.
pub fn at(line: u64, failure: Failure) -> Failure {
    Failure { message: format!("standard input: line {line}: {}", failure.message), ..failure }
}
