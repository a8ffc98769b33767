//! `serve`: a small HTTP server for what the program can do.
//!
//! ```text
//! listener ── connection ── request ── queue of its item ── worker: a session, several requests a run
//!            (one thread, asynchronous: server, wire, route)   (one thread an item, and its pool: predict, generate)
//! ```
//!
//! One thread waits for all clients at once, so that a slow one costs a few kilobytes and nobody's time. It reads requests, makes tensors of
//! them and puts them into the bounded queue of their item. There a worker takes all that fit together and runs them as one batch.
//!
//! Whatever a client sends, it gets an answer and the process lives on: headers, bodies, lists, pictures, runs, queues, connections and
//! the time that all of it takes have limits, and what is over one is refused before it is read, decoded or allocated.

mod answer;
mod body;
mod card;
mod generate;
mod options;
mod predict;
mod queue;
mod route;
mod server;
mod tensors;
mod wire;

use std::path::Path;
use std::sync::Arc;

use clap::ArgMatches;

use super::Source;
use crate::command::Failure;
use crate::command::inputs::Texts;
use crate::payload::Payload;

use options::Options;
pub use options::arguments;

/// All that requests are answered from.
struct State {
    payload: &'static Payload,
    options: Options,
    predictions: Vec<predict::Item>,
    generations: Vec<generate::Item>,
    /// Bytes of bodies that are held at this moment.
    held: body::Held,
}

/// Serves until it is told to stop. The payload lives as long as the process.
pub fn run(payload: &'static Payload, given: &ArgMatches) -> Result<(), Failure> {
    let options = Options::of(given)?;
    let program = &payload.manifest.program;
    let (mut predictions, mut generations) = (Vec::new(), Vec::new());
    let mut source = Source::of(payload, given)?;
    // What belongs to other weights lives as long as these, which is to the end.
    let kept: &'static [(String, String)] = std::mem::take(&mut source.vocabularies).leak();
    let texts = Texts { program, kept, base: Path::new("") };
    let session = || {
        let mut session = source.session()?;
        session.limit(options.memory);
        Ok::<_, Failure>(session)
    };
    for prediction in &program.predictions {
        predictions.push(predict::Item::start(prediction, session()?, &texts, &options)?);
    }
    for generation in &program.generations {
        generations.push(generate::Item::start(generation, session()?, &texts, &options)?);
    }
    let held = body::Held::default();
    server::run(Arc::new(State { payload, options, predictions, generations, held }))
}
