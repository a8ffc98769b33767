//! `generate`: writes text, shown as it is written, from what the options give, or for every row of standard input.

use std::io::{IsTerminal, stdin};
use std::path::Path;

use clap::ArgMatches;

use super::{Model, arguments, model};
use crate::command::inputs::Texts;
use crate::command::page::Page;
use crate::command::{Failure, inputs, interrupt, stories};
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
    let seed = arguments::seed(given);
    let asked = Asked { max: given.get_one::<u32>("max").map(|max| *max as usize), by: None, seed };
    let values = arguments::inputs(generator.entry(), more, given);
    let known = generator.known();
    if values.is_empty() && !known.is_empty() {
        if stdin().is_terminal() {
            return Err(Failure::usage("nothing is given to begin with").help("see generate --help"));
        }
        let texts = Texts { program, kept: &vocabularies, base: Path::new("") };
        return stories::answer(&mut generator, &texts, &asked, stdin().lock());
    }
    arguments::all_given(&known, &values)?;
    let texts = inputs::of_generation(&generator, &values, seed)?;
    let mut page = Page::new(&texts, given.get_flag("json"), interrupt::taken());
    let written = generator.write(&texts, &asked, &mut page);
    page.close();
    written.map(|_| ()).map_err(Failure::writing)
}
