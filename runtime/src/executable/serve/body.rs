//! The bodies of requests: read within limits, and what they are.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};

use super::answer::Problem;

/// Bodies of the largest size that may be held at once, by all clients together.
const LARGEST_AT_ONCE: usize = 8;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    Lines,
    Npy,
    /// Values alone; the headers say what they are.
    Raw,
    Safetensors,
    Picture,
    Text,
}

impl Kind {
    pub fn of(headers: &HeaderMap) -> Result<Kind, Problem> {
        let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(Kind::Json) };
        let given = given.to_str().unwrap_or_default();
        let name = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Ok(match name.as_str() {
            // What curl says of all that it is given with -d.
            "application/json" | "application/x-www-form-urlencoded" | "" => Kind::Json,
            "application/jsonl" | "application/x-ndjson" | "application/jsonlines" => Kind::Lines,
            "application/x-npy" | "application/npy" => Kind::Npy,
            "application/octet-stream" => Kind::Raw,
            "application/safetensors" | "application/x-safetensors" => Kind::Safetensors,
            "image/png" | "image/jpeg" | "image/jpg" => Kind::Picture,
            "text/plain" => Kind::Text,
            _ => {
                let message = format!("a body of type `{given}` is not understood");
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).help(
                        "send application/json, application/jsonl, application/x-npy, application/safetensors, \
                         application/octet-stream, image/png, image/jpeg or text/plain",
                    ).unread());
            }
        })
    }
}

/// Bytes of all bodies that are held.
#[derive(Debug, Default)]
pub struct Held(AtomicUsize);

/// A body, which counts as held until this is dropped.
#[derive(Debug)]
pub struct Content<'h> {
    pub bytes: Vec<u8>,
    held: &'h Held,
    counted: usize,
}

impl Content<'_> {
    /// Bytes of the body, also when they have been taken.
    pub fn len(&self) -> usize {
        self.counted
    }

    /// Counts more bytes, unless that were too many.
    fn count(&mut self, bytes: usize, most: usize) -> bool {
        self.counted += bytes;
        self.held.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= most
    }
}

impl Drop for Content<'_> {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Reads the whole body of a request, of so many bytes at most.
pub async fn read<'h>(
    request: Request<Incoming>,
    most: usize,
    held: &'h Held,
    patience: Duration,
) -> Result<Content<'h>, Problem> {
    let too_large = || {
        let problem =
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request takes {most} bytes at most"));
        let help = "send fewer rows at once, or serve with a larger --max-body";
        problem.help(help).unread()
    };
    let crowded = || Problem::busy("too much is being sent at once").unread();
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let mut content = Content { bytes: Vec::new(), held, counted: 0 };
    let mut body = request.into_body();
    let all = async {
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")).unread()
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if content.bytes.len() + data.len() > most {
                return Err(too_large());
            }
            if !content.count(data.len(), LARGEST_AT_ONCE.saturating_mul(most)) {
                return Err(crowded());
            }
            content.bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(patience, all).await {
        Ok(read) => read.map(|()| content),
        Err(_) => Err(Problem::slow("the body of this request")),
    }
}
