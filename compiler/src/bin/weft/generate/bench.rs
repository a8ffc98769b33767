//! `weft bench SPEC --entry generate.NAME`: how long the first tokens take that a text begins with, and how long each one after them.

use super::chosen;
use crate::args::Bench;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::json;
use std::time::{Duration, Instant};
use weft_runtime::execute::{Session, dims_at};
use weft_runtime::generate::decoder;
use weft_runtime::kernels::{peak, random};
use weft_runtime::program::{Begin, DType, Entry, InputSource, Program, Storage};
use weft_runtime::tensor::Tensor;

/// Tokens that are written after them, if the item writes as many.
const WRITTEN: usize = 50;
/// Texts are written for so long, once there are [`ENOUGH`].
const BUDGET: Duration = Duration::from_secs(10);
const ENOUGH: usize = 3;

pub fn run(args: &Bench) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, Some(&args.run), None)?.kept(&args.kept);
    let program = compile::program_on(args.run.machine, &spec, Wanted::Generation, args.run.threads)?;
    let name = args.entry.strip_prefix("generate").and_then(|rest| rest.strip_prefix('.'));
    let generation = chosen(&program.generations, name)?;
    let threads = compile::threads(args.run.threads);
    let (rows, given) = (args.run.batch.unwrap_or(1) as usize, args.given as usize);
    let mut session = Session::new(program.clone(), threads)?;
    compile::fresh_weights(&mut session, args.run.seed.unwrap_or(1))?;
    let entry = |name: &str| session.entry(name).map(|at| &program.entries[at]).map_err(Failure::from);
    let (start, step) = (entry(&generation.start)?, entry(&generation.step)?);
    let begin = match &generation.begin {
        Begin::Tokens(tokens) => tokens.len(),
        Begin::Text { .. } | Begin::Input(_) => given,
    };
    let inputs = inputs(start, step, rows, given)?;
    let written = generation.max.clamp(2, WRITTEN);
    let (mut first, mut later) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while first.len() < args.repeats as usize && (first.len() < ENOUGH || began.elapsed() < BUDGET) {
        let before = Instant::now();
        let mut decoder = decoder(&mut session, generation, &inputs)?;
        let size = decoder.vocabulary();
        let token = |at: usize| (random::bits(at as u64, [0, 0], 1) as usize % size.max(1)) as i32;
        let given: Vec<i32> = (0..rows * begin).map(token).collect();
        decoder.step(&given, rows)?;
        first.push(before.elapsed().as_secs_f64() * 1e3);
        for place in 1..written {
            let before = Instant::now();
            let new: Vec<i32> = (0..rows).map(|row| token(place * rows + row)).collect();
            decoder.step(&new, rows)?;
            later.push(before.elapsed().as_secs_f64() * 1e3);
        }
    }
    let read = peak::read_bandwidth_gbs(threads).max(peak::read_bandwidth_gbs(threads));
    let [first_ms, later_ms] = [&mut first, &mut later].map(|times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let a_second = rows as f64 * 1e3 / later_ms;
    let bytes = weight_bytes(&program, step);
    let rate = bytes as f64 / (later_ms * 1e6);
    if args.spec.json {
        output::json(&json!({
            "entry": args.entry, "rows": rows, "threads": threads, "texts": first.len(), "begin": begin, "given": given, "written": written,
            "prefill_ms": first_ms, "step_ms": later_ms, "tokens_per_second": a_second, "weight_bytes": bytes,
            "read_gbs": rate, "read_bandwidth_gbs": read,
        }));
        return Ok(());
    }
    let texts = first.len();
    output::line(&format!("{} of {}, {rows} rows, {threads} threads, {texts} texts", args.entry, spec.name));
    output::line(&format!("  begins with {begin} tokens in {first_ms:.3} ms, then {later_ms:.3} ms a token"));
    output::line(&format!("  {a_second:.1} tokens a second, of {written} written"));
    output::line(&format!(
        "  {} of weights a token: {rate:.1} GB/s, {:.0}% of the {read:.0} that this machine reads",
        output::bytes(bytes),
        100.0 * rate / read
    ));
    Ok(())
}

/// Inputs of the start but the tokens, for so many rows: random numbers, and so many tokens 1 where a text is read.
fn inputs(entry: &Entry, step: &Entry, rows: usize, given: usize) -> Result<Vec<(String, Tensor)>, Failure> {
    let target = step.inputs.iter().find(|input| input.source == InputSource::Written);
    let symbol = |input: &weft_runtime::program::Input| match step.dims.get(input.shape.first()?.0 as usize) {
        Some(weft_runtime::program::DimExpr::Symbol(symbol)) => step.symbols.get(*symbol as usize),
        _ => None,
    };
    let by_row = target.and_then(symbol);
    let extent = |name: &String| if Some(name) == by_row { rows } else { given };
    let symbols: Vec<(&str, usize)> =
        entry.symbols.iter().map(|name| (name.as_str(), extent(name))).collect();
    let dims = dims_at(entry, &symbols)?;
    let others = entry.inputs.iter().filter(|input| input.source != InputSource::Written);
    Ok(others
        .map(|input| {
            let shape: Vec<usize> = input.shape.iter().map(|d| dims[d.0 as usize].max(0) as usize).collect();
            let count: usize = shape.iter().product();
            let drawn = |at: u64| random::uniform(at, [0, 0], random::key(&input.name));
            let tensor = match (input.dtype, &input.source) {
                (DType::I32, InputSource::Lengths { .. }) => {
                    Tensor::from_i32(&shape, &vec![given as i32; count])
                }
                (DType::I32, _) => Tensor::from_i32(&shape, &vec![1; count]),
                (DType::F32, _) => {
                    Tensor::from_f32(&shape, &(0..count as u64).map(drawn).collect::<Vec<_>>())
                }
                (dtype, _) => Tensor { dtype, shape, data: vec![0; count * dtype.size()] },
            };
            (input.name.clone(), tensor)
        })
        .collect())
}

/// Bytes of the variables that one run of the entry reads.
fn weight_bytes(program: &Program, entry: &Entry) -> u64 {
    let mut read: Vec<u32> = entry
        .buffers
        .iter()
        .filter_map(|buffer| match buffer.storage {
            Storage::Variable(variable) => Some(variable),
            _ => None,
        })
        .collect();
    read.sort_unstable();
    read.dedup();
    let bytes = |variable: u32| {
        let variable = &program.variables[variable as usize];
        (variable.shape.iter().product::<usize>() * variable.dtype.size()) as u64
    };
    read.into_iter().map(bytes).sum()
}
