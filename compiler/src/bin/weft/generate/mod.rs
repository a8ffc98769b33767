//! `weft generate`: text out of a model, shown as it is written.

pub mod bench;
mod measure;
mod nearest;

use crate::args::{DeviceArgs, Generate};
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::page::Page;
use crate::spec::Spec;
use crate::{inputs, interrupt, spec};
use std::path::Path;
use weft_runtime::execute::Session;
use weft_runtime::generate::{Asked, Generator};
use weft_runtime::program::Generation;

pub fn run(args: &Generate) -> Result<(), Failure> {
    if let (Some(on), Some(against)) = (&args.on, &args.against) {
        return measure::run(args, on, against);
    }
    let spec = asked_spec(args)?;
    let mut generator =
        generator(&spec, args.name.as_deref(), args.weights.as_deref(), (args.machine, args.threads))?;
    let given = inputs::of_generation(&generator, &args.inputs, args.seed)?;
    let asked = Asked { max: args.max.map(|max| max as usize), by: None, seed: args.seed };
    let mut page = Page::new(&given, args.spec.json, interrupt::taken());
    let written = generator.write(&given, &asked, &mut page).map_err(Failure::writing);
    page.close();
    written.map(|_| ())
}

/// Checks the spec. The strategy that is asked for takes the place of its own.
fn asked_spec(args: &Generate) -> Result<Spec, Failure> {
    let spec = spec::sound_with(&args.spec, |options| options.strategy.clone_from(&args.by))?;
    Ok(spec.kept(&args.kept))
}

/// The generation named, or the only one, with its weights.
pub fn generator(
    spec: &Spec,
    name: Option<&str>,
    weights: Option<&Path>,
    (device, threads): (DeviceArgs, Option<u16>),
) -> Result<Generator, Failure> {
    let program = compile::program_on(device, spec, Wanted::Generation, threads)?;
    let generation = chosen(&program.generations, name)?;
    let mut session = Session::new(program.clone(), compile::threads(threads))?;
    let entry = |name: &String| session.entry(name).map_err(Failure::from);
    let entries = [entry(&generation.start)?, entry(&generation.step)?];
    compile::weights(&mut session, &entries, weights, spec)?;
    let kept = match weights {
        Some(weights) => weft_runtime::weights::provenance(weights)?,
        None => weft_runtime::weights::Provenance::default(),
    };
    Generator::new(session, generation, &kept.vocabularies, &spec.folder).map_err(Failure::from)
}

fn chosen<'a>(generations: &'a [Generation], name: Option<&str>) -> Result<&'a Generation, Failure> {
    let names = || generations.iter().map(|g| g.name.clone()).collect::<Vec<_>>().join(", ");
    match (name, generations) {
        (_, []) => Err(Failure::input("the spec has no `generate` item")
            .help("declare one: `generate story(prompt: text[n]) { … }`; `weft explain generate` shows how")),
        (Some(name), all) => all.iter().find(|g| g.name == name).ok_or_else(|| {
            Failure::usage(format!("the spec has no generate item `{name}`; it has: {}", names()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage(format!("the spec has several generate items: {}", names()))
            .help("choose one: weft generate SPEC NAME")),
    }
}
