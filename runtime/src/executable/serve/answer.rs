//! What clients are told: results, pieces of text as they are written, and what is wrong with the way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::generate::Stream;
use super::wire::Begun;
use crate::command::Failure;
use crate::command::failure::Class;

pub const JSON: &str = "application/json";
pub const LINES: &str = "application/jsonl";

/// Why a request has no result.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// What may be asked of this path.
    allow: Option<&'static str>,
    /// Not all of the request was read, so nothing after it can be understood.
    unread: bool,
}

impl Problem {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into(), help: None, allow: None, unread: false }
    }

    /// The request is fine, but what it holds is not.
    pub fn content(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// It would be answered at another time.
    pub fn busy(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, message).help("try again in a second")
    }

    /// It did not come in time.
    pub fn slow(what: &str) -> Problem {
        let message = format!("{what} did not arrive in time");
        let help = "send it at once, or let the server wait longer with --timeout";
        Problem::new(StatusCode::REQUEST_TIMEOUT, message).help(help).unread()
    }

    /// What should never be seen.
    pub fn broken() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the worker gave no answer")
    }

    pub fn method(allow: &'static str) -> Problem {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this takes {allow}"));
        Problem { allow: Some(allow), ..problem }
    }

    /// The request is refused before all of it is read.
    pub fn unread(self) -> Problem {
        Problem { unread: true, ..self }
    }

    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }

    pub fn value(&self) -> Value {
        match &self.help {
            Some(help) => json!({ "error": self.message, "help": help }),
            None => json!({ "error": self.message }),
        }
    }

    pub fn answer(&self) -> Response<Body> {
        let mut answer = whole(self.status, JSON, self.value().to_string());
        let headers = answer.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.unread {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let status = match failure.class {
            Class::Environment => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem { help: failure.help, ..Problem::new(status, failure.message) }
    }
}

impl From<crate::error::Error> for Problem {
    fn from(error: crate::error::Error) -> Problem {
        let too_large = matches!(error, crate::error::Error::TooLarge { .. });
        let problem = Problem::from(Failure::from(error));
        if too_large { problem.help("give less, or serve with a larger --memory") } else { problem }
    }
}

/// An answer as bytes, for who asked before there was a request.
pub fn refusal(problem: &Problem) -> Vec<u8> {
    let (status, body) = (problem.status, problem.value().to_string());
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    );
    format!("{head}\r\n{body}").into_bytes()
}

/// An answer that is all there.
pub fn whole(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    with(status, kind, Content::Whole(Some(content.into())))
}

/// An answer that is still being made.
pub fn streamed(kind: &'static str, stream: Stream) -> Response<Body> {
    with(StatusCode::OK, kind, Content::Written(Box::new(stream)))
}

pub fn value(value: &Value) -> Response<Body> {
    whole(StatusCode::OK, JSON, value.to_string())
}

fn with(status: StatusCode, kind: &'static str, content: Content) -> Response<Body> {
    let mut answer = Response::new(Body { content, begun: None });
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The body of an answer.
pub struct Body {
    content: Content,
    begun: Option<Begun>,
}

enum Content {
    Whole(Option<Bytes>),
    Written(Box<Stream>),
}

impl Body {
    /// Its request counts as begun until it is written.
    pub fn until_written(self, begun: Begun) -> Body {
        Body { begun: Some(begun), ..self }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let next = match &mut body.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Content::Written(stream) => stream.poll(context),
        };
        if matches!(next, Poll::Ready(None)) {
            body.begun = None;
        }
        next.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Content::Written(_) => SizeHint::default(),
        }
    }
}
