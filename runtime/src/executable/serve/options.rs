//! What the command line says of serving, above all its limits.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::command::Failure;

#[derive(Clone, Debug)]
pub struct Options {
    pub host: IpAddr,
    pub port: u16,
    /// Bytes of a request's body.
    pub body: usize,
    /// Requests that wait for an item.
    pub queue: usize,
    /// Rows of one run.
    pub batch: usize,
    /// How long a run waits for more rows.
    pub delay: Duration,
    /// For a request to arrive, and for it to be answered.
    pub timeout: Duration,
    pub connections: usize,
    /// Bytes of a run, beside the weights.
    pub memory: usize,
}

/// Adds the options to the command.
pub fn arguments(command: Command) -> Command {
    let option = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).default_value(default).help(help)
    };
    let count = |arg: Arg| arg.value_parser(value_parser!(u32).range(1..));
    let size = |arg: Arg| arg.value_parser(ValueParser::new(size));
    command
        .arg(
            option("host", "ADDRESS", "127.0.0.1", "The address to listen at; 0.0.0.0 is every one")
                .value_parser(host),
        )
        .arg(
            option("port", "PORT", "8080", "The port to listen at; 0 takes a free one")
                .value_parser(value_parser!(u16)),
        )
        .arg(size(option("max-body", "SIZE", "16M", "A larger request is refused")))
        .arg(count(option("queue", "N", "256", "Requests that wait at most, for each item")))
        .arg(count(option("max-batch", "N", "64", "Rows that are run at once at most")))
        .arg(
            option("max-delay", "MS", "0", "How long a run waits for more rows")
                .value_parser(value_parser!(u32).range(..=60_000)),
        )
        .arg(
            option("timeout", "SECONDS", "30", "For a request to arrive, and for it to be answered")
                .value_parser(value_parser!(u32).range(1..=86_400)),
        )
        .arg(count(option("connections", "N", "256", "Clients at once at most")))
        .arg(size(
            Arg::new("memory")
                .long("memory")
                .value_name("SIZE")
                .help("What a run may take beside the weights [default: half of what is free]"),
        ))
        .after_help(
            "GET / describes the model, GET /health says that it is well. POST /predict takes JSON (an object is a row, a list of them \
             several), application/x-npy, application/safetensors, image/png or image/jpeg.",
        )
}

impl Options {
    pub fn of(given: &ArgMatches) -> Result<Options, Failure> {
        let missing = |name: &str| Failure::usage(format!("--{name} is missing"));
        let count = |name: &str| match given.get_one::<u32>(name) {
            Some(count) => Ok(*count as usize),
            None => Err(missing(name)),
        };
        Ok(Options {
            host: *given.get_one::<IpAddr>("host").ok_or_else(|| missing("host"))?,
            port: *given.get_one::<u16>("port").ok_or_else(|| missing("port"))?,
            body: *given.get_one::<usize>("max-body").ok_or_else(|| missing("max-body"))?,
            queue: count("queue")?,
            batch: count("max-batch")?,
            delay: Duration::from_millis(count("max-delay")? as u64),
            timeout: Duration::from_secs(count("timeout")? as u64),
            connections: count("connections")?,
            memory: given.get_one::<usize>("memory").copied().unwrap_or_else(half_of_free),
        })
    }
}

fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => text.parse().map_err(|_| "give an address such as 127.0.0.1, 0.0.0.0 or ::1".to_owned()),
    }
}

/// `4096`, `64k`, `16M`, `2G`
fn size(text: &str) -> Result<usize, String> {
    let units = [('k', 10), ('K', 10), ('m', 20), ('M', 20), ('g', 30), ('G', 30)];
    let unit = units.iter().find(|(letter, _)| text.ends_with(*letter));
    let (digits, shift) = match unit {
        Some((letter, shift)) => (text.trim_end_matches(*letter), *shift),
        None => (text, 0),
    };
    let count = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(1 << shift));
    count.filter(|count| *count > 0).ok_or_else(|| "give a size such as 65536, 64k, 16M or 2G".to_owned())
}

/// Half of the memory that nobody uses; where the system doesn't say it, what any machine has.
fn half_of_free() -> usize {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    free.map_or(2 << 30, |free| free.saturating_mul(512))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64k"), Ok(64 << 10));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "0", "k", "1T", "-1", "1.5M", "99999999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
