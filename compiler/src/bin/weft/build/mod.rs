//! `weft build`: a spec with its trained weights as one file that runs by itself, or as a part of other programs.

mod gpus;
mod linked;
mod narrow;
mod pruned;
mod stubs;
mod training;

use crate::args::{Build, Device, Product};
use crate::compile::{self, Machine, Wanted};
use crate::failure::Failure;
use crate::run::about::{About, Data, sha256};
use crate::{args, output, spec};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use weft_compiler::cpu::Target;
use weft_compiler::cuda::Math;
use weft_runtime::execute::Session;
use weft_runtime::payload::{self, Card, CardData, Parts};
use weft_runtime::program::{InputSource, Program, VariableKind};
use weft_runtime::text::given;
use weft_runtime::weights::{self, Classes, Provenance, Vocabularies};

pub fn run(args: &Build) -> Result<(), Failure> {
    let wide = spec::sound(&args.spec, None, None)?;
    let spec = wide.clone().kept(&args.kept);
    if args.train && args.kept.narrow().is_some() {
        return Err(Failure::usage(format!("a training needs weights of f32, not of {}", args.kept.name()))
            .help("leave out --dtype, or --train"));
    }
    let archs = gpus::archs(args)?;
    let program = compile::program_for(Machine::Cpu(args.target.into()), &spec, Wanted::Executable, None)?;
    if args.train && !matches!(args.emit, Product::Exe | Product::Payload) {
        return Err(Failure::usage("a program's model does not train").help("leave out --train, or --emit"));
    }
    if program.entries.is_empty() {
        return Err(Failure::input("the spec has nothing that an executable could do")
            .help("declare a `predict` or a `generate` item: `predict digit(image: u8[n, 28, 28]) { … }`"));
    }
    let mut session = Session::new(program.clone(), compile::threads(None))?;
    let entries: Vec<usize> = (0..program.entries.len()).collect();
    // What functions take is said by the spec alone; weights that are named tell a header the names of classes.
    let declares_only = args.emit == Product::Header && args.weights.is_none();
    let cost = match declares_only {
        true => None,
        false => {
            compile::weights(&mut session, &entries, args.weights.as_deref(), &spec)?;
            narrow::chosen(args, &wide, &spec, &mut session)?
        }
    };
    if let Some(cost) = cost.as_ref().filter(|_| !args.spec.json) {
        let allowed = match args.force {
            true => String::new(),
            false => format!("; at most {} allowed: --allow-loss", args.allow_loss),
        };
        output::line(&format!("{} weights: {cost}{allowed}", args.kept.name()));
    }
    let kept = args.weights.as_deref().map(weights::provenance).transpose()?.unwrap_or_default();
    let vocabularies = match declares_only {
        true => Vocabularies::new(),
        false => vocabularies(&program, &kept.vocabularies, &spec)?,
    };
    // Weights are read, drawn and measured by the processor's program, whatever runs them in the end.
    let mut program = session.program().clone();
    let mut on_gpus = match archs[..] {
        [] => None,
        _ => Some(gpus::program(args, &spec, Wanted::Executable, &archs)?),
    };
    let mut programs: Vec<&mut Program> = std::iter::once(&mut program).chain(&mut on_gpus).collect();
    let variables = pruned::prune(&mut programs, &session);
    let mut training = if args.train { Some(training::of(args, &spec, &program)?) } else { None };
    let mut processor = None;
    if let Some(on_gpus) = on_gpus {
        let other = std::mem::replace(&mut program, on_gpus);
        let other_training = match &mut training {
            Some((program, _)) => {
                let on_gpus = gpus::program(args, &spec, Wanted::Training, &archs)?;
                Some(std::mem::replace(program, on_gpus))
            }
            None => None,
        };
        processor = Some((other, other_training)).filter(|_| args.device == Device::Auto);
    }
    let card = Card {
        weft: env!("CARGO_PKG_VERSION").into(),
        target: Target::from(args.target).name().into(),
        parameters: parameters(&program),
        math: Math::from(args.math.math).name().into(),
        dtype: args.kept.name().into(),
        cost: cost.as_ref().map(ToString::to_string),
        spec_sha256: spec_sha256(&program),
        weights_sha256: args.weights.as_deref().map(sha256),
        training: provenance(args)?,
        data: args.weights.as_deref().and_then(data),
    };
    let Provenance { classes, .. } = kept;
    let built = Built { program, variables, training, processor, vocabularies, classes, card };
    match args.emit {
        Product::Exe => executable(args, built, cost.as_ref()),
        Product::Payload => payload(args, built),
        Product::Header | Product::Object | Product::Staticlib | Product::Sharedlib => {
            linked::write(args, built)
        }
    }
}

/// A model, ready to be put into files.
struct Built {
    /// Without what is never done here, such as training.
    program: Program,
    /// As a session of the program has them.
    variables: Vec<u8>,
    /// See [`payload::Trainable`].
    training: Option<(Program, Vec<u8>)>,
    /// See [`payload::OnProcessor`].
    processor: Option<(Program, Option<Program>)>,
    vocabularies: Vocabularies,
    classes: Classes,
    card: Card,
}

impl Built {
    fn write(self, path: &Path, stub: &[u8]) -> Result<(), Failure> {
        let Built { program, variables, training, processor, vocabularies, classes, card } = self;
        let variables = &variables;
        let parts = Parts { stub, program, variables, training, processor, vocabularies, classes, card };
        Ok(payload::write(path, parts)?)
    }
}

fn executable(args: &Build, built: Built, cost: Option<&narrow::Cost>) -> Result<(), Failure> {
    let stub = stubs::of(&built.vocabularies, args.train, args.device != Device::Cpu)?;
    let (path, weights) = (output(args, &built.program, "", ""), built.variables.len());
    built.write(&path, stub)?;
    let bytes = size(&path);
    if args.spec.json {
        output::json(&json!({
            "output": path, "bytes": bytes, "weight_bytes": weights, "stub_bytes": stub.len(),
            "dtype": args.kept.name(), "cost": cost.map(narrow::Cost::json),
        }));
        return Ok(());
    }
    output::line(&format!(
        "{} of {}: {} of weights over {} of runtime",
        output::bytes(bytes),
        path.display(),
        output::bytes(weights as u64),
        output::bytes(stub.len() as u64)
    ));
    Ok(())
}

fn payload(args: &Build, built: Built) -> Result<(), Failure> {
    let path = output(args, &built.program, "", ".payload");
    let weights = built.variables.len();
    built.write(&path, &[])?;
    let bytes = size(&path);
    if args.spec.json {
        output::json(&json!({ "output": path, "bytes": bytes, "weight_bytes": weights }));
    } else {
        output::line(&format!("{} of {}", output::bytes(bytes), path.display()));
    }
    Ok(())
}

/// Where the product is written: as the command line says, or by the spec's name.
fn output(args: &Build, program: &Program, before: &str, after: &str) -> PathBuf {
    args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{before}{}{after}", program.name)))
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
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
