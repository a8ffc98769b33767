//! `weft bench`: how long a training step or a prediction takes, and how far that is from what the machine can do.
//!
//! The peaks are measured in the same run, right around the timed repeats; those of a GPU are not known. Batches differ from repeat to
//! repeat, and a training step is the whole of it: random numbers, forward, backward, clipping, optimizer, metrics.

use crate::args::Bench;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::profile::{KernelRow, Kernels};
use crate::{dry, generate, output, release, sample, spec, train};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_runtime::data::Batch;
use weft_runtime::execute::{Profile, Session, dims_at};
use weft_runtime::kernels::peak;
use weft_runtime::program::{Entry, Program};
use weft_runtime::tensor::{Tensor, TensorView};
use weft_runtime::train::Trainer;

/// Timed repeats stop after this long, once there are [`ENOUGH`].
const BUDGET: Duration = Duration::from_secs(5);
const ENOUGH: usize = 20;
/// Runs before the first timed one, while they are within [`WARM_UP_BUDGET`].
const WARM_UP: usize = 10;
const WARM_UP_BUDGET: Duration = Duration::from_secs(2);
/// Different batches that the repeats cycle through.
const BATCHES: usize = 16;
/// Runs that a profile sums up, at most; no more begin after [`BUDGET`].
const PROFILED: usize = 20;

pub fn run(args: &Bench) -> Result<(), Failure> {
    if args.entry == "generate" || args.entry.starts_with("generate.") {
        return generate::bench::run(args);
    }
    if args.dry {
        return dry::run(args);
    }
    let wanted = if args.entry == "predict" || args.entry.starts_with("predict.") {
        Wanted::Prediction
    } else {
        Wanted::Training
    };
    let spec = spec::sound(&args.spec, Some(&args.run), None)?.kept(&args.kept);
    let before = Instant::now();
    let program = compile::program_on(args.run.machine, &spec, wanted, args.run.threads)?;
    let compile_ms = before.elapsed().as_secs_f64() * 1e3;
    let threads = compile::threads(args.run.threads);
    let mut subject = if wanted == Wanted::Training {
        Subject::training(args, &spec, program)?
    } else {
        Subject::prediction(args, program, threads)?
    };
    subject.run()?;
    let first_run_ms = crate::START.get().map_or(0.0, |start| start.elapsed().as_secs_f64() * 1e3);
    let warming = Instant::now();
    for _ in 1..WARM_UP {
        if warming.elapsed() < WARM_UP_BUDGET {
            subject.run()?;
        }
    }
    let device = subject.session().device().map(str::to_owned);
    let on_cpu = device.is_none();
    // None of a GPU.
    let fma_peak = || if on_cpu { peak::fma_peak_gflops(threads) } else { f64::NAN };
    let read_bandwidth = || if on_cpu { peak::read_bandwidth_gbs(threads) } else { f64::NAN };
    let fma = fma_peak();
    let times = subject.time(args.repeats as usize)?;
    // Before the bandwidth is measured, which takes a lot of memory itself.
    let resident = sample::peak_rss();
    // Twice, because a shared machine slows down and speeds up: the better figure is the machine's.
    let fma = fma.max(fma_peak());
    let read = read_bandwidth().max(read_bandwidth());
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let (median, p10, p90) = (at(0.5), at(0.1), at(0.9));
    let flops = subject.flops()?;
    let gflops = flops as f64 / (median * 1e6);
    let profile = if args.profile { Some(subject.profile()?) } else { None };
    if let Some(rows) = &profile {
        show_profile(args.spec.json, rows, fma, read);
    }
    let memory = subject.memory();
    if args.spec.json {
        output::json(&json!({
            "entry": args.entry, "batch": subject.batch, "threads": threads, "device": device, "repeats": times.len(),
            "median_ms": median, "p10_ms": p10, "p90_ms": p90,
            "flops": flops, "gflops": gflops,
            "fma_peak_gflops": fma, "fma_peak_share": gflops / fma, "read_bandwidth_gbs": read,
            "planned_bytes": memory.planned, "live_bytes": memory.live, "task_bytes": memory.tasks,
            "variable_bytes": memory.variables,
            "peak_rss_bytes": resident,
            "compile_ms": compile_ms, "first_run_ms": first_run_ms,
        }));
    } else {
        output::line(&format!(
            "{} of {}, batch {}, {}, {} repeats",
            args.entry,
            spec.name,
            subject.batch,
            device.clone().unwrap_or_else(|| format!("{threads} threads")),
            times.len()
        ));
        output::line(&format!("  median {median:.3} ms   p10 {p10:.3}   p90 {p90:.3}"));
        let share = match on_cpu {
            true => {
                format!(", {:.0}% of this machine's {fma:.0}; it reads {read:.0} GB/s", 100.0 * gflops / fma)
            }
            false => String::new(),
        };
        output::line(&format!("  {} = {gflops:.1} GFLOP/s{share}", output::scaled(flops as f64, "FLOP")));
        output::line(&format!(
            "  planned memory {}, of which {} are in use at once, and {} of the threads' own; {} of variables; peak resident {}",
            output::bytes(memory.planned as u64),
            output::bytes(memory.live as u64),
            output::bytes(memory.tasks as u64),
            output::bytes(memory.variables as u64),
            output::bytes(resident)
        ));
        output::line(&format!(
            "  compiled in {compile_ms:.0} ms; the first run was done {first_run_ms:.0} ms after the start of the process"
        ));
    }
    Ok(())
}

/// Bytes that the entry with the largest plan needs.
struct Memory {
    planned: usize,
    live: usize,
    /// Of all threads, whichever entry asks for most.
    tasks: usize,
    variables: usize,
}

/// What is timed.
pub struct Subject {
    work: Work,
    pub batch: usize,
    next: usize,
}

enum Work {
    Training { trainer: Box<Trainer>, batches: Vec<Batch> },
    Prediction { session: Box<Session>, entry: usize, inputs: Vec<Vec<Tensor>> },
}

impl Subject {
    pub fn training(args: &Bench, spec: &spec::Spec, program: Arc<Program>) -> Result<Subject, Failure> {
        if args.entry != "train" {
            return Err(Failure::usage(format!("`{}` is no entry that can be timed", args.entry))
                .help("time `train`, `predict`, `predict.NAME` or `generate.NAME`"));
        }
        let training = train::block(&program, None)?;
        let options = compile::run_options(&args.run, spec)?;
        let mut trainer = Trainer::new(program, training, &options)?;
        trainer.initialise(None)?;
        trainer.fit()?;
        release::compiler();
        let batch = trainer.batch_size();
        let mut source = trainer.batches(1)?;
        let mut batches = Vec::new();
        while batches.len() < BATCHES
            && let Some(next) = source.next_batch()?
        {
            if next.rows == batch {
                batches.push(next.clone());
            }
        }
        drop(source);
        if batches.is_empty() {
            return Err(Failure::input(format!(
                "the data has fewer than {batch} rows, so there is no whole batch to time"
            ))
            .help("choose a smaller batch with --batch N"));
        }
        Ok(Subject { work: Work::Training { trainer: Box::new(trainer), batches }, batch, next: 0 })
    }

    pub fn prediction(args: &Bench, program: Arc<Program>, threads: usize) -> Result<Subject, Failure> {
        let names: Vec<&str> = program.predictions.iter().map(|p| p.name.as_str()).collect();
        let chosen = match args.entry.strip_prefix("predict.") {
            Some(name) => program.predictions.iter().find(|p| p.name == name),
            None => program.predictions.first(),
        };
        let chosen = chosen.ok_or_else(|| {
            Failure::usage(format!(
                "the spec has no `{}`; it has {}",
                args.entry,
                if names.is_empty() { "nothing to predict with".to_owned() } else { names.join(", ") }
            ))
        })?;
        let mut session = Session::new(program.clone(), threads)?;
        compile::fresh_weights(&mut session, args.run.seed.unwrap_or(1))?;
        let entry = session.entry(&chosen.entry)?;
        let batch = args.run.batch.unwrap_or(1) as usize;
        let description = &program.entries[entry];
        let inputs =
            (0..BATCHES as u64).map(|b| sample::inputs(description, batch, b)).collect::<Result<_, _>>()?;
        Ok(Subject { work: Work::Prediction { session: Box::new(session), entry, inputs }, batch, next: 0 })
    }

    pub fn run(&mut self) -> Result<(), Failure> {
        let turn = self.next;
        self.next += 1;
        let done = match &mut self.work {
            Work::Training { trainer, batches } => trainer.step(&batches[turn % batches.len()], turn),
            Work::Prediction { session, entry, inputs } => {
                let views: Vec<TensorView<'_>> =
                    inputs[turn % inputs.len()].iter().map(Tensor::view).collect();
                session.run(*entry, &views).map(|_| ())
            }
        };
        done.map_err(Failure::from)
    }

    /// Milliseconds of each repeat, sorted.
    fn time(&mut self, repeats: usize) -> Result<Vec<f64>, Failure> {
        let start = Instant::now();
        let mut times = Vec::with_capacity(repeats);
        while times.len() < repeats && (times.len() < ENOUGH || start.elapsed() < BUDGET) {
            let before = Instant::now();
            self.run()?;
            times.push(before.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// The entries that a repeat runs.
    fn entries<'a>(&self, program: &'a Program) -> Vec<(usize, &'a Entry)> {
        let steps = |names: &[String]| -> Vec<usize> {
            names.iter().filter_map(|n| program.entries.iter().position(|e| e.name == *n)).collect()
        };
        let indices = match &self.work {
            Work::Training { .. } => program
                .trainings
                .first()
                .map(|t| [steps(&t.steps), steps(&t.updates)].concat())
                .unwrap_or_default(),
            Work::Prediction { entry, .. } => vec![*entry],
        };
        indices.into_iter().map(|i| (i, &program.entries[i])).collect()
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.work {
            Work::Training { trainer, .. } => trainer.session(),
            Work::Prediction { session, .. } => session,
        }
    }

    fn program(&mut self) -> Program {
        self.session().program().clone()
    }

    /// Algorithmic FLOPs of one repeat.
    fn flops(&mut self) -> Result<i64, Failure> {
        let (program, batch) = (self.program(), self.batch);
        let mut sum = 0;
        for (_, entry) in self.entries(&program) {
            let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|s| (s.as_str(), batch)).collect();
            let dims = dims_at(entry, &symbols)?;
            sum += entry.flops.map_or(0, |d| dims[d.0 as usize]);
        }
        Ok(sum)
    }

    fn memory(&mut self) -> Memory {
        let program = self.program();
        let indices: Vec<usize> = self.entries(&program).into_iter().map(|(i, _)| i).collect();
        let session = self.session();
        let largest = indices.into_iter().max_by_key(|i| session.planned_bytes(*i));
        let of = |bytes: &dyn Fn(usize) -> usize| largest.map_or(0, bytes);
        Memory {
            planned: of(&|i| session.planned_bytes(i)),
            live: of(&|i| session.live_bytes(i)),
            tasks: session.task_bytes(),
            variables: session.variable_bytes(),
        }
    }

    /// Kernels with their mean time, in the order in which they run.
    fn profile(&mut self) -> Result<Vec<KernelRow>, Failure> {
        let mut rows = Kernels::default();
        let start = Instant::now();
        for _ in 0..PROFILED {
            if start.elapsed() > BUDGET {
                break;
            }
            let turn = self.next;
            self.next += 1;
            let mut place = 0;
            let mut add = |profile: Profile<'_>| place = rows.take(place, &profile.launches);
            match &mut self.work {
                Work::Training { trainer, batches } => {
                    let batch = &batches[turn % batches.len()];
                    trainer.profile_step(batch, turn, &mut add)?;
                }
                Work::Prediction { session, entry, inputs } => {
                    let views: Vec<TensorView<'_>> =
                        inputs[turn % inputs.len()].iter().map(Tensor::view).collect();
                    add(session.run_profiled(*entry, &views)?);
                }
            }
        }
        Ok(rows.0)
    }
}

/// A kernel's floor is the longer of its FLOPs over the FMA peak and its bytes over the read bandwidth. What fits in cache
/// can be below the second.
fn show_profile(as_json: bool, rows: &[KernelRow], fma: f64, read: f64) {
    let total: f64 = rows.iter().map(KernelRow::median_us).sum();
    if as_json {
        for row in rows {
            let us = row.median_us();
            let floor = floor_us(row, fma, read);
            output::json(&json!({
                "kernel": row.path, "kind": row.kind, "line": row.line, "us": us, "flops": row.flops, "bytes": row.bytes,
                "gflops": rate(row.flops, us), "gbs": rate(row.bytes, us), "floor_us": floor,
                "times_floor": if floor > 0.0 { json!(us / floor) } else { Value::Null },
            }));
        }
        return;
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let us = row.median_us();
            let floor = floor_us(row, fma, read);
            vec![
                format!("{us:.1}"),
                format!("{:.1}%", 100.0 * us / total.max(1e-9)),
                format!("{:.1}", rate(row.flops, us)),
                format!("{:.1}", rate(row.bytes, us)),
                if floor > 0.0 { format!("{:.1}x", us / floor) } else { String::new() },
                format!("{}", row.line),
                row.kind.to_owned(),
                row.path.clone(),
            ]
        })
        .collect();
    output::write(&output::table(
        &["µs", "share", "GFLOP/s", "GB/s", "floor", "line", "kind", "computes"],
        &cells,
    ));
    output::line(&format!("{total:.1} µs in kernels; a floor of 1.0x is the machine's own limit\n"));
}

fn rate(count: i64, us: f64) -> f64 {
    if us > 0.0 { count as f64 / (us * 1e3) } else { 0.0 }
}

fn floor_us(row: &KernelRow, fma: f64, read: f64) -> f64 {
    (row.flops as f64 / (fma * 1e3)).max(row.bytes as f64 / (read * 1e3))
}
