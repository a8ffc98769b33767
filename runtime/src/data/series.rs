//! Time series in the `.ts` format of sktime and aeon: a head of `@` lines, and a case a line whose channels stand between colons.
//!
//! `1,2,3:4,5,6:walking` is a case of two channels with three steps and the class `walking`; `?` is a missing value. Rows become
//! `[steps, channels]`. What the head says of channels, lengths and classes is held against the cases.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::cells;
use super::rows::Rows;
use crate::error::{Error, Result, plain};
use crate::program::{Cell, DType, Field};

/// What the head says.
#[derive(Debug, Default)]
struct Head {
    dimensions: Option<usize>,
    length: Option<usize>,
    equal_length: bool,
    timestamps: bool,
    /// The names of the classes; none where a case ends with no class.
    classes: Option<Vec<String>>,
    /// A case ends with a number.
    target: bool,
}

/// Reads the cases of a file.
pub fn read(path: &Path, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    let file = std::fs::File::open(path).map_err(Error::file("read", path))?;
    let (mut head, mut in_data) = (Head::default(), false);
    let (series, label) = places(fields)?;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                Error::damaged(path, format!("line {}: the bytes are no UTF-8", index + 1))
            }
            _ => Error::damaged(path, format!("it cannot be read: {}", plain(&error))),
        })?;
        let wrong = |message: String| Error::damaged(path, format!("line {}: {message}", index + 1));
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !in_data {
            in_data = head.line(line).map_err(wrong)?;
            if in_data {
                head.check(&fields[series], label.map(|label| &fields[label])).map_err(wrong)?;
            }
            continue;
        }
        let place = || format!("{}:{}", path.display(), index + 1);
        head.case(line, series, label, fields, rows, &place).map_err(wrong)?;
        rows.end_row(|field, message| wrong(format!("`{}`: {message}", fields[field].name)))?;
    }
    if !in_data {
        return Err(Error::damaged(path, "there is no `@data` line, after which the cases stand"));
    }
    Ok(())
}

/// Which field is the series, and which the class or target of a case.
fn places(fields: &[Field]) -> Result<(usize, Option<usize>)> {
    let series = fields.iter().position(is_series);
    let label = (0..fields.len()).find(|place| Some(*place) != series);
    Ok((series.ok_or_else(|| Error::Unsound("no field is a series".into()))?, label))
}

fn is_series(field: &Field) -> bool {
    field.cell == Cell::Numbers
        && field.dtype == DType::F32
        && (field.ragged.is_some() || !field.shape.is_empty())
}

impl Head {
    /// Takes in a line; says whether the cases begin.
    fn line(&mut self, line: &str) -> Result<bool, String> {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or_default().to_lowercase();
        let rest: Vec<&str> = words.collect();
        let truth = || match rest.first().map(|word| word.to_lowercase()).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            other => {
                Err(format!("`{key}` is true or false, not `{}`", cells::shown(other.unwrap_or_default())))
            }
        };
        let count = || {
            let word = rest.first().copied().unwrap_or_default();
            word.parse().map_err(|_| format!("`{key}` is a whole number, not `{}`", cells::shown(word)))
        };
        match key.as_str() {
            "@data" => return Ok(true),
            "@timestamps" => self.timestamps = truth()?,
            "@equallength" => self.equal_length = truth()?,
            "@dimensions" | "@dimension" => self.dimensions = Some(count()?),
            "@univariate" => {
                if truth()? {
                    self.dimensions = Some(1);
                }
            }
            "@serieslength" => self.length = Some(count()?),
            "@classlabel" => {
                let names = rest.iter().skip(1).map(|name| name.to_string()).collect();
                self.classes = truth()?.then_some(names);
            }
            "@targetlabel" => self.target = truth()?,
            key if key.starts_with('@') => {}
            _ => return Err("a line of the head begins with `@`; the cases come after `@data`".into()),
        }
        Ok(false)
    }

    /// Are these the series that the spec says?
    fn check(&self, series: &Field, label: Option<&Field>) -> Result<(), String> {
        if self.timestamps {
            return Err(
                "series with time stamps are not read: the steps of a series have equal distances here"
                    .into(),
            );
        }
        let channels = series.shape.last().copied().unwrap_or(1);
        if let Some(dimensions) = self.dimensions.filter(|dimensions| *dimensions != channels) {
            return Err(format!(
                "the series have {dimensions} channels, but the spec says {channels}: `{}: f32[t, {dimensions}]`",
                series.name
            ));
        }
        if let (Some(length), None, [steps, _]) = (self.length, &series.ragged, series.shape.as_slice())
            && length != *steps
        {
            return Err(format!("the series have {length} steps, but the spec says {steps}"));
        }
        match label {
            Some(label) if self.classes.is_none() && !self.target => Err(format!(
                "the cases have neither a class nor a target, but the spec asks for `{}`",
                label.name
            )),
            Some(label) if matches!(label.cell, Cell::Class(_)) && self.target => {
                Err(format!("the cases have a number each: write `{}: f32`", label.name))
            }
            _ => Ok(()),
        }
    }

    /// Reads a case.
    fn case(
        &self,
        line: &str,
        series: usize,
        label: Option<usize>,
        fields: &[Field],
        rows: &mut Rows<'_>,
        place: &dyn Fn() -> String,
    ) -> Result<(), String> {
        let mut parts: Vec<&str> = line.split(':').collect();
        let last = if self.classes.is_some() || self.target { parts.pop().map(str::trim) } else { None };
        if let (Some(names), Some(name)) = (&self.classes, last)
            && !names.is_empty()
            && !names.iter().any(|known| known == name)
        {
            return Err(format!(
                "`{}` is none of the classes of the head: {}",
                cells::shown(name),
                names.join(", ")
            ));
        }
        let channels = fields[series].shape.last().copied().unwrap_or(1);
        if parts.len() != channels {
            return Err(format!("{} channels, where the spec says {channels}", parts.len()));
        }
        let channels: Vec<Vec<&str>> = parts.iter().map(|part| part.split(',').collect()).collect();
        let steps = channels.iter().map(Vec::len).max().unwrap_or(0);
        if let Some(short) = channels.iter().position(|channel| channel.len() != steps) {
            return Err(format!(
                "channel {} has {} steps, but another has {steps}: all channels of a case are as long",
                short + 1,
                channels[short].len()
            ));
        }
        for step in 0..steps {
            for (number, channel) in channels.iter().enumerate() {
                let value = channel.get(step).copied().unwrap_or_default();
                rows.part(series, value)
                    .map_err(|message| format!("channel {}, step {}: {message}", number + 1, step + 1))?;
            }
        }
        match (label, last) {
            (Some(label), Some(last)) => rows
                .text(label, last, place)
                .map_err(|message| format!("`{}`: {message}", fields[label].name)),
            _ => Ok(()),
        }
    }
}

/// Can such a source give these fields: one series of floats, and a class or a number?
pub fn fits(fields: &[Field]) -> bool {
    let read = || fields.iter().filter(|field| field.is_read());
    let mut others = read().filter(|field| !is_series(field));
    let single = |field: &Field| field.shape.is_empty() && field.ragged.is_none() && field.cell != Cell::Text;
    read().filter(|field| is_series(field)).count() == 1 && read().count() <= 2 && others.all(single)
}
