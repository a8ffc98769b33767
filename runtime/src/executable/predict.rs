//! `predict`: answers what the options give, or every row of standard input.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::{Model, arguments, model};
use crate::command::inputs::{self, Texts};
use crate::command::{Failure, results, rows};
use crate::payload::Payload;
use crate::tensor::{Tensor, TensorView};

pub fn run(payload: &Payload, given: &ArgMatches) -> Result<(), Failure> {
    let program = &payload.manifest.program;
    let Some((prediction, given)) = arguments::chosen(&program.predictions, |p| &p.name, given) else {
        return Err(Failure::usage("say which prediction"));
    };
    let Model { mut session, vocabularies, classes } = model(payload, given)?;
    let index = session.entry(&prediction.entry)?;
    let entry = &program.entries[index];
    let texts = Texts { program, kept: &vocabularies, base: Path::new("") };
    let seed = arguments::seed(given);
    let values = arguments::inputs(entry, None, given);
    let texts_taken = crate::text::given::texts(entry);
    let tensors = entry.inputs.iter().filter(|input| !input.is_made()).map(|input| input.name.as_str());
    let known: Vec<&str> = texts_taken.into_iter().chain(tensors).collect();
    if values.is_empty() && !known.is_empty() {
        if stdin().is_terminal() {
            return Err(Failure::usage("nothing is given to predict from").help("see predict --help"));
        }
        return rows::answer(&mut session, index, &texts, seed, stdin().lock());
    }
    arguments::all_given(&known, &values)?;
    let tensors = inputs::read(entry, &values, &texts, seed)?;
    let views: Vec<TensorView<'_>> = tensors.iter().map(Tensor::view).collect();
    let outputs = session.run(index, &views)?;
    let results = outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect();
    match given.get_one::<PathBuf>("output") {
        Some(path) => results::save(&results, path),
        None => {
            results::print(&results, &classes, given.get_flag("json"));
            Ok(())
        }
    }
}
