//! One file from one of several mirrors, whole and with the right check sum, or not at all.
//!
//! What arrives goes to `.NAME.part` beside its place; a later attempt, by this process or another, goes on where it ends. Only what has
//! the right length and the right SHA-256 is renamed to its place. A mirror that lies (another length, other bytes, a web page) is left for
//! the next one; one that breaks off or stalls is asked again a few times, with growing waits and growing time to answer.

use super::known::File;
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    /// Until the answer begins.
    pub answer: Duration,
    /// For the whole body at the first attempt; twice as long at each further one, which goes on where the last one ended.
    pub body: Duration,
    /// Attempts that brought nothing new, a mirror.
    pub attempts: u32,
    /// After the first such attempt; twice as long after each further one.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(20),
            body: Duration::from_secs(60),
            attempts: 3,
            wait: Duration::from_millis(500),
        }
    }
}

/// Why a file could not be had.
#[derive(Debug)]
pub enum FetchError {
    /// What each mirror did.
    Mirrors(Vec<String>),
    /// This machine failed, which no other mirror changes.
    Disk(PathBuf, std::io::Error),
}

/// What one attempt came to.
enum Attempt {
    Whole,
    /// Worth another attempt here.
    Broken(String),
    /// This mirror has nothing for us.
    Useless(String),
}

/// Fetches a file into a folder. `seen` is told how many bytes are there, again and again.
pub fn fetch(
    file: &File,
    folder: &Path,
    mirrors: &[String],
    patience: Patience,
    seen: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    let part = folder.join(format!(".{}.part", file.name));
    let disk = |error| FetchError::Disk(part.clone(), error);
    let mut failures = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
        let (mut fruitless, mut round) = (0, 0);
        let why = loop {
            let before = length(&part);
            let agent = agent(patience, round);
            let outcome = attempt(&agent, &url, file, &part, seen).map_err(disk)?;
            round += 1;
            match outcome {
                Attempt::Whole => match checked(file, &part).map_err(disk)? {
                    true => {
                        fs::rename(&part, folder.join(file.name)).map_err(disk)?;
                        return Ok(());
                    }
                    // Perhaps what was there before was another's: once more from the start.
                    false => {
                        fs::remove_file(&part).map_err(disk)?;
                        if before == 0 {
                            break "sent other bytes than the data set's (the SHA-256 differs)".to_owned();
                        }
                    }
                },
                Attempt::Useless(why) => {
                    let _ = fs::remove_file(&part);
                    break why;
                }
                Attempt::Broken(why) => {
                    fruitless = if length(&part) > before { 0 } else { fruitless + 1 };
                    if fruitless >= patience.attempts {
                        break why;
                    }
                    std::thread::sleep(patience.wait * 2u32.saturating_pow(fruitless.min(6)));
                }
            }
        };
        failures.push(format!("{url}: {why}"));
    }
    Err(FetchError::Mirrors(failures))
}

fn agent(patience: Patience, round: u32) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.answer))
        .timeout_recv_body(Some(patience.body * 2u32.saturating_pow(round.min(6))))
        .max_redirects(5)
        .http_status_as_error(false)
        .user_agent(concat!("weft/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::new_with_config(config)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

/// Asks once, for what is missing, and appends what comes. An error is one of this machine's disk.
fn attempt(
    agent: &Agent,
    url: &str,
    file: &File,
    part: &Path,
    seen: &mut dyn FnMut(u64),
) -> std::io::Result<Attempt> {
    let mut have = length(part);
    if have >= file.bytes {
        // Longer is never right; as long waits for its check sum.
        if have == file.bytes {
            return Ok(Attempt::Whole);
        }
        fs::remove_file(part)?;
        have = 0;
    }
    // Nothing may be packed on the way: lengths and places are those of the file.
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::TooManyRedirects) => {
            return Ok(Attempt::Useless("redirects without end".to_owned()));
        }
        Err(ureq::Error::BadUri(_) | ureq::Error::HostNotFound) => {
            return Ok(Attempt::Useless("there is no such host".to_owned()));
        }
        Err(error) => return Ok(Attempt::Broken(error.to_string())),
    };
    let status = response.status();
    let from = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(have) => have,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            fs::remove_file(part)?;
            return Ok(Attempt::Broken(format!("answers {status} to a request for the rest of the file")));
        }
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Ok(Attempt::Broken(format!("answers {status}")));
        }
        _ => return Ok(Attempt::Useless(format!("answers {status}"))),
    };
    let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    if text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
        return Ok(Attempt::Useless("sends a web page instead of the file".to_owned()));
    }
    let claimed = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if let Some(claimed) = claimed.filter(|claimed| from.saturating_add(*claimed) != file.bytes) {
        let expected = file.bytes - from;
        return Ok(Attempt::Useless(format!(
            "offers {claimed} bytes, but the data set's file has {expected} from there on"
        )));
    }
    let mut out = OpenOptions::new().create(true).append(true).open(part)?;
    if from == 0 {
        out.set_len(0)?;
    }
    let mut there = from;
    // One byte more than there may be shows a body without end.
    let mut body = response.into_body().into_reader().take(file.bytes - from + 1);
    let mut buffer = vec![0; 1 << 16];
    let why = loop {
        match body.read(&mut buffer) {
            Ok(0) => break format!("breaks off after {there} of {} bytes", file.bytes),
            Ok(count) => {
                there += count as u64;
                if there > file.bytes {
                    return Ok(Attempt::Useless(format!(
                        "sends more than the {} bytes of the data set's file",
                        file.bytes
                    )));
                }
                out.write_all(&buffer[..count])?;
                seen(there);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break format!("stops after {there} of {} bytes: {error}", file.bytes),
        }
    };
    if there < file.bytes {
        return Ok(Attempt::Broken(why));
    }
    out.sync_all()?;
    Ok(Attempt::Whole)
}

/// Where a part of a file begins: `bytes 100-199/200`.
fn range_start<T>(response: &Response<T>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Has a file the right bytes?
fn checked(file: &File, path: &Path) -> std::io::Result<bool> {
    let mut hash = Sha256::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hash)?;
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digest == file.sha256)
}
