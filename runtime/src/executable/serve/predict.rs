//! `POST /predict`: requests as jobs, and the worker that runs those that fit together as one batch.
//!
//! A row gets the numbers that it gets in any other run of as many rows; which rows run beside it never shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderMap};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;

use super::State;
use super::answer::{Body, JSON, LINES, Problem, whole};
use super::body::{self, Kind};
use super::options::Options;
use super::queue::{Batching, Queue, Waiting};
use super::route::{number, query};
use super::tensors::{self, About, Form, Given};
use crate::command::Failure;
use crate::command::inputs::Texts;
use crate::command::results::{self, Results};
use crate::command::row::{Maker, has_rows};
use crate::error::Error;
use crate::execute::Session;
use crate::io::{npy, weights};
use crate::program::{InputSource, Prediction};
use crate::tensor::{Tensor, TensorView};

/// Larger bodies become tensors on another thread, so that nobody waits for it who sent a small one.
const LARGE: usize = 64 << 10;

/// A `predict` item, with its worker at work.
pub struct Item {
    pub name: &'static str,
    maker: Arc<Maker<'static>>,
    queue: Arc<Queue<Job>>,
}

/// The rows of one request.
struct Job {
    given: Given,
    /// Others may run beside it.
    together: bool,
    reply: oneshot::Sender<Result<Results, Problem>>,
}

impl Waiting for Job {
    fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }

    fn rows(&self) -> usize {
        self.given.rows
    }

    fn fits(&self, other: &Job) -> bool {
        let same = |(one, two): (&Tensor, &Tensor)| one.shape.get(1..) == two.shape.get(1..);
        self.together && self.given.tensors.iter().zip(&other.given.tensors).all(same)
    }
}

impl Item {
    pub fn start(
        prediction: &'static Prediction,
        session: Session,
        texts: &Texts<'static>,
        options: &Options,
    ) -> Result<Item, Failure> {
        let entry = session.entry(&prediction.entry)?;
        let maker = Arc::new(Maker::new(&texts.program.entries[entry], texts, false)?);
        let queue = Arc::new(Queue::new(options.queue));
        let batching = Batching { rows: options.batch, delay: options.delay };
        let worker = Worker { session, entry, most: options.batch };
        let jobs = Arc::clone(&queue);
        thread::Builder::new()
            .name(prediction.name.clone())
            .spawn(move || worker.work(&jobs, &batching))
            .map_err(Error::Thread)?;
        Ok(Item { name: &prediction.name, maker, queue })
    }

    pub async fn answer(&self, state: &State, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (headers, options) = (request.headers(), &state.options);
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let about = About {
            kind: Kind::of(headers)?,
            seed: number(&request, "seed")?.unwrap_or(0),
            input: query(&request, "input").map(str::to_owned),
            shape: header("x-shape"),
            dtype: header("x-dtype"),
        };
        let wanted = Wanted::of(headers);
        let mut content = body::read(request, options.body, &state.held, options.timeout).await?;
        let (bytes, maker) = (std::mem::take(&mut content.bytes), Arc::clone(&self.maker));
        let make = move || tensors::given(&maker, &about, bytes);
        let given = match content.len() {
            small if small <= LARGE => make()?,
            _ => tokio::task::spawn_blocking(make).await.map_err(|_| Problem::broken())??,
        };
        let random = self.maker.entry().inputs.iter().any(|input| input.source == InputSource::Random);
        let many = has_rows(self.maker.entry());
        if random && given.rows > options.batch {
            let message = format!("what is drawn at random takes {} rows at most", options.batch);
            return Err(Problem::content(message).help("send fewer rows, or serve with a larger --max-batch"));
        }
        let (form, rows) = (given.form, given.rows);
        let (reply, answer) = oneshot::channel();
        if !self.queue.push(Job { given, together: many && !random, reply }) {
            return Err(Problem::busy("too many requests are waiting"));
        }
        let results = match tokio::time::timeout(options.timeout, answer).await {
            Ok(Ok(results)) => results?,
            Ok(Err(_)) => return Err(Problem::broken()),
            Err(_) => return Err(Problem::busy("the answer took too long")),
        };
        wanted.answer(&results, form, rows, many)
    }
}

/// Who runs the jobs of an item.
struct Worker {
    session: Session,
    entry: usize,
    /// Rows of one run.
    most: usize,
}

impl Worker {
    fn work(mut self, jobs: &Queue<Job>, batching: &Batching) -> ! {
        loop {
            let batch = jobs.take(batching);
            match &batch[..] {
                [_] => batch.into_iter().for_each(|job| self.alone(job)),
                _ => self.together(batch),
            }
        }
    }

    fn alone(&mut self, job: Job) {
        let Given { tensors, rows, .. } = &job.given;
        let results =
            if job.together && *rows > self.most { self.in_parts(tensors, *rows) } else { self.run(tensors) };
        // Who is gone needs no answer.
        let _ = job.reply.send(results.map_err(Problem::from));
    }

    /// Many rows, in runs of as many as are allowed.
    fn in_parts(&mut self, tensors: &[Tensor], rows: usize) -> Result<Results, Error> {
        let mut all: Option<Results> = None;
        for start in (0..rows).step_by(self.most) {
            let part: Vec<usize> = (start..rows.min(start + self.most)).collect();
            let part: Vec<Tensor> = tensors.iter().map(|tensor| tensor.rows(&part)).collect();
            let found = self.run(&part)?;
            match &mut all {
                None => all = Some(found),
                Some(all) => {
                    all.iter_mut().zip(found).for_each(|((_, all), (_, part))| append(all, &part));
                }
            }
        }
        Ok(all.unwrap_or_default())
    }

    /// Several requests in one run; where that fails, each alone, as it is the fault of one.
    fn together(&mut self, jobs: Vec<Job>) {
        let mut all: Vec<Tensor> = jobs[0].given.tensors.clone();
        for job in &jobs[1..] {
            all.iter_mut().zip(&job.given.tensors).for_each(|(all, part)| append(all, part));
        }
        let Ok(results) = self.run(&all) else {
            jobs.into_iter().for_each(|job| self.alone(job));
            return;
        };
        let mut start = 0;
        for job in jobs {
            let rows: Vec<usize> = (start..start + job.given.rows).collect();
            start += job.given.rows;
            let part = results.iter().map(|(name, tensor)| (name.clone(), tensor.rows(&rows))).collect();
            let _ = job.reply.send(Ok(part));
        }
    }

    fn run(&mut self, tensors: &[Tensor]) -> Result<Results, Error> {
        let views: Vec<TensorView<'_>> = tensors.iter().map(Tensor::view).collect();
        let outputs = self.session.run(self.entry, &views)?;
        Ok(outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
    }
}

/// Puts rows behind others.
fn append(all: &mut Tensor, part: &Tensor) {
    if let (Some(rows), Some(more)) = (all.shape.first_mut(), part.shape.first()) {
        *rows += more;
        all.data.extend_from_slice(&part.data);
    }
}

/// How the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Json,
    Npy,
    Safetensors,
    Picture,
}

impl Wanted {
    /// The first of those that the client takes and that we have.
    fn of(headers: &HeaderMap) -> Wanted {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let known = kinds.filter_map(|kind| match kind {
            "application/x-npy" => Some(Wanted::Npy),
            "application/safetensors" => Some(Wanted::Safetensors),
            "image/png" => Some(Wanted::Picture),
            "application/json" | "application/jsonl" | "*/*" => Some(Wanted::Json),
            _ => None,
        });
        known.into_iter().next().unwrap_or(Wanted::Json)
    }

    fn answer(
        self,
        results: &Results,
        form: Form,
        rows: usize,
        many: bool,
    ) -> Result<Response<Body>, Problem> {
        let first = || {
            results.first().map(|(_, tensor)| tensor).ok_or_else(|| Problem::content("there is no result"))
        };
        let cannot = |message: String| Problem::new(StatusCode::NOT_ACCEPTABLE, message);
        Ok(match self {
            Wanted::Json => {
                let row = |row| if many { results::row(results, row) } else { results::object(results) };
                match form {
                    Form::One => whole(StatusCode::OK, JSON, row(0).to_string()),
                    Form::List => {
                        let list = Value::Array((0..rows).map(row).collect());
                        whole(StatusCode::OK, JSON, list.to_string())
                    }
                    Form::Lines => {
                        let lines: String = (0..rows).map(|r| format!("{}\n", row(r))).collect();
                        whole(StatusCode::OK, LINES, lines)
                    }
                }
            }
            Wanted::Npy => {
                let bytes = npy::encode(first()?.view()).map_err(cannot)?;
                whole(StatusCode::OK, "application/x-npy", bytes)
            }
            Wanted::Safetensors => {
                let views: BTreeMap<&str, TensorView<'_>> =
                    results.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
                let mut bytes = weights::head(&views, &BTreeMap::new());
                views.values().for_each(|view| bytes.extend_from_slice(view.data));
                whole(StatusCode::OK, "application/safetensors", bytes)
            }
            Wanted::Picture => {
                let sheet = results::sheet(first()?).map_err(|failure| cannot(failure.message))?;
                whole(StatusCode::OK, "image/png", sheet.encoded()?)
            }
        })
    }
}
