//! `weft build`: a spec with its trained weights as one file that runs by itself.

mod pruned;
mod stubs;
mod training;

use crate::args::Build;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::run::about::{About, Data, sha256};
use crate::{args, output, spec};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use weft_compiler::cpu::Target;
use weft_runtime::execute::Session;
use weft_runtime::payload::{self, Card, CardData, Parts};
use weft_runtime::program::{InputSource, Program, VariableKind};
use weft_runtime::text::given;
use weft_runtime::weights::{self, Provenance, Vocabularies};

pub fn run(args: &Build) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?.kept(&args.kept);
    let program = compile::program_for(args.target.into(), &spec, Wanted::Executable, None)?;
    if program.entries.is_empty() {
        return Err(Failure::input("the spec has nothing that an executable could do")
            .help("declare a `predict` or a `generate` item: `predict digit(image: u8[n, 28, 28]) { … }`"));
    }
    let stub = stubs::of(&program, args.train)?;
    let mut session = Session::new(program.clone(), compile::threads(None))?;
    let entries: Vec<usize> = (0..program.entries.len()).collect();
    compile::weights(&mut session, &entries, args.weights.as_deref(), &spec)?;
    let kept = args.weights.as_deref().map(weights::provenance).transpose()?.unwrap_or_default();
    let vocabularies = vocabularies(&program, &kept.vocabularies, &spec)?;
    let (program, variables) = pruned::program(&session);
    let training = if args.train { Some(training::of(args, &spec, &program)?) } else { None };
    let card = Card {
        weft: env!("CARGO_PKG_VERSION").into(),
        target: Target::from(args.target).name().into(),
        parameters: parameters(&program),
        spec_sha256: spec_sha256(&program),
        weights_sha256: args.weights.as_deref().map(sha256),
        training: provenance(args)?,
        data: args.weights.as_deref().and_then(data),
    };
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(&program.name));
    let Provenance { classes, .. } = kept;
    let parts = Parts { stub, program, variables: &variables, training, vocabularies, classes, card };
    payload::write(&path, parts)?;
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    if args.spec.json {
        output::json(&json!({
            "output": path, "bytes": bytes, "weight_bytes": variables.len(), "stub_bytes": stub.len(),
        }));
        return Ok(());
    }
    output::line(&format!(
        "{} of {}: {} of weights over {} of runtime",
        output::bytes(bytes),
        path.display(),
        output::bytes(variables.len() as u64),
        output::bytes(stub.len() as u64)
    ));
    Ok(())
}

impl From<args::Target> for Target {
    fn from(given: args::Target) -> Target {
        match given {
            args::Target::V3 => Target::default(),
            args::Target::Native => Target::Native,
            args::Target::Baseline => Target::Baseline,
        }
    }
}

/// Every tokenizer that texts are read or written by, whatever file it came from.
fn vocabularies(
    program: &Program,
    kept: &[(String, String)],
    spec: &spec::Spec,
) -> Result<Vocabularies, Failure> {
    let read =
        program.entries.iter().flat_map(|entry| &entry.inputs).filter_map(|input| match &input.source {
            InputSource::Tokens { encoding, .. } => Some(&encoding.vocabulary),
            _ => None,
        });
    let written = program.generations.iter().filter_map(|generation| generation.vocabulary.as_ref());
    let mut names: Vec<&String> = read.chain(written).collect();
    names.sort();
    names.dedup();
    let json = |name: &String| {
        let tokenizer = given::tokenizer(program, name, kept, &spec.folder)?;
        Ok((name.clone(), tokenizer.json().to_string()))
    };
    names.into_iter().map(json).collect()
}

fn parameters(program: &Program) -> u64 {
    let weights = program.variables.iter().filter(|variable| variable.kind == VariableKind::Weight);
    weights.map(|variable| variable.shape.iter().product::<usize>() as u64).sum()
}

/// Of the texts of the spec and of the files that it uses, in their order.
fn spec_sha256(program: &Program) -> String {
    let mut sum = Sha256::new();
    program
        .sources
        .iter()
        .filter(|(name, _)| !name.starts_with("std/"))
        .for_each(|(_, text)| sum.update(text));
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What weights were trained on, if the run beside them says that it made them.
fn data(weights: &Path) -> Option<CardData> {
    let about = About::read(weights.parent()?);
    let sum = sha256(weights);
    about.weights.iter().find(|file| file.sha256 == sum)?;
    let Data { name, files, more, licence, .. } = about.data;
    Some(CardData {
        name,
        files: files.into_iter().map(|file| (file.name, file.sha256)).collect(),
        more: more as u64,
        rows: about.rows.map(|rows| rows as u64),
        licence,
    })
}

/// What the file of weights says of its training; vocabularies and classes stand elsewhere.
fn provenance(args: &Build) -> Result<Vec<(String, String)>, Failure> {
    let Some(file) = &args.weights else { return Ok(Vec::new()) };
    let metadata = weft_runtime::io::weights::read_metadata(file)?;
    let told = |(key, _): &(String, String)| {
        !key.starts_with(weights::CLASSES_KEY) && !key.starts_with(weights::VOCABULARY_KEY)
    };
    Ok(metadata.into_iter().filter(told).collect())
}
