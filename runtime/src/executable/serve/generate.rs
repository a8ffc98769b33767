//! `POST /generate`: text as it is written, or whole.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::{Bytes, Incoming};
use hyper::header::ACCEPT;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::State;
use super::answer::{Body, JSON, LINES, Problem, streamed, whole};
use super::body::{self, Kind};
use super::options::Options;
use super::queue::{Batching, Queue, Waiting};
use super::route::number;
use super::tensors::{self, Form};
use crate::command::inputs::Texts;
use crate::command::row::{Maker, Row};
use crate::command::{Failure, page};
use crate::error::Error;
use crate::execute::Session;
use crate::generate::{Asked, Generator, Given, Reading, Text};
use crate::program::{Generation, Input};

/// Pieces that may be written before the client takes them; one that lags further behind gets no more.
const AHEAD: usize = 1 << 16;

/// A `generate` item, with its worker at work.
pub struct Item {
    pub name: &'static str,
    maker: Maker<'static>,
    texts: Vec<String>,
    tensors: Vec<Input>,
    queue: Arc<Queue<Job>>,
}

struct Job {
    given: Given,
    asked: Asked,
    /// When to end with what is written so far.
    end: Instant,
    to: Sender<Event>,
}

impl Waiting for Job {
    fn is_gone(&self) -> bool {
        self.to.is_closed()
    }

    fn rows(&self) -> usize {
        1
    }

    /// Rows of one request run side by side; those of several wait for each other.
    fn fits(&self, _: &Job) -> bool {
        false
    }
}

/// What is told of a generation while it goes on.
enum Event {
    Wrote(usize, String),
    /// A row is whole, and this is all of it.
    Done(usize, Value),
    Failed(Problem),
}

impl Item {
    pub fn start(
        generation: &'static Generation,
        session: Session,
        texts: &Texts<'static>,
        options: &Options,
    ) -> Result<Item, Failure> {
        let entry = &texts.program.entries[session.entry(&generation.start)?];
        let maker = Maker::new(entry, texts, false)?;
        let generator = Generator::new(session, generation, texts.kept, texts.base)?;
        let names = generator.texts().into_iter().map(str::to_owned).collect();
        let tensors = generator.tensors().into_iter().cloned().collect();
        let queue = Arc::new(Queue::new(options.queue));
        let jobs = Arc::clone(&queue);
        thread::Builder::new()
            .name(generation.name.clone())
            .spawn(move || work(generator, &jobs))
            .map_err(Error::Thread)?;
        Ok(Item { name: &generation.name, maker, texts: names, tensors, queue })
    }

    pub async fn answer(&self, state: &State, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let options = &state.options;
        let kind = Kind::of(request.headers())?;
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let live = match accept {
            accept if accept.contains("text/event-stream") => Some(Live::Events),
            accept if accept.contains("text/plain") => Some(Live::Text),
            _ => None,
        };
        let max = number(&request, "max")?.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        if max == Some(0) {
            return Err(Problem::content("`max` is at least 1"));
        }
        let asked = Asked { max, by: None, seed: number(&request, "seed")?.unwrap_or(0) };
        let content = body::read(request, options.body, &state.held, options.timeout).await?;
        let (rows, form) = match (kind, &self.texts[..]) {
            (Kind::Json | Kind::Lines, _) => tensors::rows(kind, &content.bytes)?,
            (Kind::Text, [name]) if self.tensors.is_empty() => {
                (vec![Row::of_text(name, tensors::text(&content.bytes)?)], Form::One)
            }
            _ => return Err(Problem::content("this takes JSON").help(self.takes())),
        };
        if rows.is_empty() || rows.len() > options.batch {
            let message = format!("a request is 1 to {} rows", options.batch);
            return Err(Problem::content(message));
        }
        if live == Some(Live::Text) && rows.len() > 1 {
            return Err(Problem::content("several rows cannot be one text")
                .help("ask for text/event-stream or application/json"));
        }
        let given = self.given(&rows)?;
        let (to, mut events) = channel(AHEAD);
        let end = Instant::now() + options.timeout;
        if !self.queue.push(Job { given, asked, end, to }) {
            return Err(Problem::busy("too many requests are waiting"));
        }
        // Its turn must come in time, and a while after its own end it is whole.
        let patience = options.timeout + Duration::from_secs(5);
        match live {
            Some(live) => {
                let first = match tokio::time::timeout(patience, events.recv()).await {
                    Ok(Some(Event::Failed(problem))) => return Err(problem),
                    Ok(first) => first,
                    Err(_) => return Err(Problem::busy("the answer took too long")),
                };
                let stream = Stream { live, ready: first, events, ended: false };
                Ok(streamed(live.kind(), stream))
            }
            None => {
                let mut texts: Vec<Option<Value>> = vec![None; rows.len()];
                let all = async {
                    while let Some(event) = events.recv().await {
                        match event {
                            Event::Wrote(..) => {}
                            Event::Done(row, value) => {
                                if let Some(text) = texts.get_mut(row) {
                                    *text = Some(value);
                                }
                            }
                            Event::Failed(problem) => return Err(problem),
                        }
                    }
                    Ok(())
                };
                match tokio::time::timeout(patience, all).await {
                    Ok(done) => done?,
                    Err(_) => return Err(Problem::busy("the answer took too long")),
                }
                let mut texts = texts.into_iter().map(|text| text.unwrap_or(Value::Null));
                Ok(match form {
                    Form::One => whole(StatusCode::OK, JSON, texts.next().unwrap_or(Value::Null).to_string()),
                    Form::List => whole(StatusCode::OK, JSON, Value::Array(texts.collect()).to_string()),
                    Form::Lines => whole(
                        StatusCode::OK,
                        LINES,
                        texts.map(|text| format!("{text}\n")).collect::<String>(),
                    ),
                })
            }
        }
    }

    /// What the rows give the generation.
    fn given(&self, rows: &[Row]) -> Result<Given, Problem> {
        let tensors: Vec<&Input> = self.tensors.iter().collect();
        Ok(self.maker.generation(&self.texts, &tensors, rows)?)
    }

    fn takes(&self) -> String {
        let names: Vec<String> = self.texts.iter().map(|name| format!("\"{name}\": \"…\"")).collect();
        format!("such as {{{}}}", names.join(", "))
    }
}

fn work(mut generator: Generator, jobs: &Queue<Job>) -> ! {
    let alone = Batching { rows: 1, delay: Duration::ZERO };
    loop {
        for job in jobs.take(&alone) {
            let mut teller = Teller { job: &job, lost: false };
            if let Err(error) = generator.write(&job.given, &job.asked, &mut teller) {
                let full = matches!(error, Error::Full(_));
                let problem = Problem::from(error);
                let problem = match full {
                    true => problem.help("the model may take no more tokens: write fewer with ?max=N"),
                    false => problem,
                };
                teller.tell(Event::Failed(problem));
            }
        }
    }
}

/// Tells the client what is written.
struct Teller<'j> {
    job: &'j Job,
    /// It lags too far behind, or is gone.
    lost: bool,
}

impl Teller<'_> {
    fn tell(&mut self, event: Event) {
        self.lost = self.lost || self.job.to.try_send(event).is_err();
    }
}

impl Reading for Teller<'_> {
    fn wrote(&mut self, row: usize, piece: &str) {
        self.tell(Event::Wrote(row, piece.to_owned()));
    }

    fn done(&mut self, row: usize, text: &Text) {
        self.tell(Event::Done(row, page::object(&self.job.given, row, 0, text)));
    }

    fn interrupted(&self) -> bool {
        self.lost || self.job.to.is_closed() || Instant::now() >= self.job.end
    }
}

/// How text is sent while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    /// Server-sent events, an object each.
    Events,
    /// Nothing but the text.
    Text,
}

impl Live {
    fn kind(self) -> &'static str {
        match self {
            Live::Events => "text/event-stream",
            Live::Text => "text/plain; charset=utf-8",
        }
    }

    /// What is sent of an event. A text alone has no words for what went wrong: it breaks off.
    fn bytes(self, event: Event) -> io::Result<Bytes> {
        let told = |name: &str, value: Value| format!("event: {name}\ndata: {value}\n\n");
        Ok(Bytes::from(match (self, event) {
            (Live::Text, Event::Wrote(_, piece)) => piece,
            (Live::Text, Event::Done(..)) => String::new(),
            (Live::Text, Event::Failed(problem)) => return Err(io::Error::other(problem.message)),
            (Live::Events, Event::Wrote(row, piece)) => told("text", json!({ "row": row, "text": piece })),
            (Live::Events, Event::Done(_, value)) => told("done", value),
            (Live::Events, Event::Failed(problem)) => told("error", problem.value()),
        }))
    }
}

/// An answer that is being written.
pub struct Stream {
    live: Live,
    /// What has come already.
    ready: Option<Event>,
    events: Receiver<Event>,
    /// It came to an end that it was told.
    ended: bool,
}

impl Stream {
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let event = match self.ready.take() {
                Some(event) => Some(event),
                None => ready!(self.events.poll_recv(context)),
            };
            let Some(event) = event else {
                let broken = || Err(io::Error::other("the client lags too far behind"));
                return Poll::Ready((!std::mem::replace(&mut self.ended, true)).then(broken));
            };
            self.ended |= !matches!(event, Event::Wrote(..));
            let bytes = self.live.bytes(event);
            // An empty chunk would be the end.
            if !matches!(&bytes, Ok(bytes) if bytes.is_empty()) {
                return Poll::Ready(Some(bytes));
            }
        }
    }
}
