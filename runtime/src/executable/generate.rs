//! `generate`: writes text, shown as it is written.

use std::path::Path;

use clap::ArgMatches;

use super::{Model, arguments, model};
use crate::command::page::Page;
use crate::command::{Failure, inputs, interrupt};
use crate::error::Error;
use crate::generate::{Asked, Generator};
use crate::payload::Payload;
use crate::program::Begin;

pub fn run(payload: &Payload, given: &ArgMatches) -> Result<(), Failure> {
    let program = &payload.manifest.program;
    let Some((generation, given)) = arguments::chosen(&program.generations, |g| &g.name, given) else {
        return Err(Failure::usage("say which generation"));
    };
    let Model { session, vocabularies, .. } = model(payload, given)?;
    let mut generator = Generator::new(session, generation, &vocabularies, Path::new(""))?;
    let more = match &generation.begin {
        Begin::Text { text, .. } => Some(text.as_str()),
        _ => None,
    };
    let values = arguments::inputs(generator.entry(), more, given);
    let seed = arguments::seed(given);
    let texts = inputs::of_generation(&generator, &values, seed)?;
    let max = given.get_one::<u32>("max").map(|max| *max as usize);
    let mut page = Page::new(&texts, given.get_flag("json"), interrupt::taken());
    let written = generator.write(&texts, &Asked { max, by: None, seed }, &mut page);
    page.close();
    written.map(|_| ()).map_err(|error| {
        let full = matches!(error, Error::IndexOutOfRange { .. } | Error::Guard { .. });
        let failure = Failure::from(error);
        if full {
            failure.help("the model may take no more tokens: write fewer with --max N")
        } else {
            failure
        }
    })
}
