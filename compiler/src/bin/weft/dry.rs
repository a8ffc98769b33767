//! `weft bench --dry`: what the kernels of a GPU do, need, and take at best, without a GPU.
//!
//! FLOPs and the bytes that must move are the plan's. Registers and shared memory are those that NVRTC's machine code has, for an A100 (sm_80)
//! and an H100 (sm_90a); they say how many threads of a multiprocessor can be at work at once. The time at best is the longer of what
//! the arithmetic takes at the peak (of the units that do it) and what the bytes take at the bandwidth of the memory.
//!
//! **Bytes moved.** Where the driver is one that counts (the interpreter of `tests/ptxvm`), one step is run. What a kernel needs is each byte that it
//! reads once and each byte that it writes once; of a gather that is the rows that were asked for. Memory moves sectors of 32 bytes, so what begins
//! or ends within one needs a sector more for each buffer. What it moves are the sectors that are read from memory and written to it behind a
//! cache of a block's share: so what several blocks read at about the same time counts once, and a column that is read again for each of its
//! elements counts each time. Kernels that need so little that it is at hand as soon as they start are left out of the summary.

use crate::args::Bench;
use crate::bench::Subject;
use crate::compile::{self, Machine, Wanted};
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use weft_compiler::cuda::{Library, Math};
use weft_runtime::cuda::{self, Cache, Compiled};
use weft_runtime::execute::dims_at;
use weft_runtime::program::{Arch, DimIndex, Entry, Kernel, Program, Scope};

/// A GPU's limits, from NVIDIA's data sheets and the CUDA programming guide's table of compute capabilities.
struct Limits {
    name: &'static str,
    arch: Arch,
    /// Of arithmetic, in TFLOP/s: of the f32 units, and of tensor cores in tf32 and in 16 bits (without sparsity).
    teraflops: f64,
    tf32: f64,
    halves: f64,
    /// Of memory, in GB/s.
    gigabytes: f64,
    /// Bytes of shared memory, of a multiprocessor and of what each block takes beside its own.
    shared: u32,
    reserved: u32,
}

/// The A100 SXM of 80 GB, and the H100 SXM.
const GPUS: [Limits; 2] = [
    Limits {
        name: "A100",
        arch: Arch::cubin(80, Scope::Later),
        teraflops: 19.5,
        tf32: 156.0,
        halves: 312.0,
        gigabytes: 2039.0,
        shared: 164 << 10,
        reserved: 1 << 10,
    },
    Limits {
        name: "H100",
        arch: Arch::cubin(90, Scope::Alone),
        teraflops: 66.9,
        tf32: 494.7,
        halves: 989.4,
        gigabytes: 3352.0,
        shared: 228 << 10,
        reserved: 1 << 10,
    },
];
/// Of a multiprocessor of either: registers, threads, and blocks.
const REGISTERS: u32 = 65_536;
const THREADS: u32 = 2_048;
const BLOCKS: u32 = 32;
const WARP: u32 = 32;
/// Bytes that memory moves at once.
const SECTOR: u64 = 32;
/// What elementwise kernels and rows may move at most for each byte that they need.
const SOUND: f64 = 1.15;
/// Kernels that need fewer bytes are all start and no traffic.
const LITTLE: u64 = 16 << 10;
/// Registers are given to a warp in so many at a time, each of the four parts of a multiprocessor has as many warps, and shared memory is given out by
/// so many bytes.
const GRANULE: u32 = 256;
const PARTS: u32 = 4;
const SHARED_GRANULE: u32 = 128;

/// All launches of one kernel in a step.
#[derive(Debug, Default)]
struct Row {
    path: String,
    line: u32,
    launches: i64,
    /// Of one launch.
    buffers: u64,
    flops: i64,
    bytes: i64,
    /// Whether it multiplies on tensor cores.
    tensors: bool,
    counted: Option<Counted>,
}

/// What the interpreter counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    launches: u64,
    /// Bytes that are read and written, each once.
    needed: u64,
    /// Bytes that memory moves, and that warps ask for.
    moved: u64,
    asked: u64,
}

impl Counted {
    /// Bytes moved for each that is needed.
    fn share(&self) -> f64 {
        self.moved as f64 / self.needed.max(1) as f64
    }
}

pub fn run(args: &Bench) -> Result<(), Failure> {
    let predicts = args.entry == "predict" || args.entry.starts_with("predict.");
    let wanted = if predicts { Wanted::Prediction } else { Wanted::Training };
    let spec = spec::sound(&args.spec, Some(&args.run), None)?.kept(&args.kept);
    let math = Math::from(args.run.machine.math.math);
    let program = compile::program_for(Machine::Gpu(math), &spec, wanted, args.run.threads)?;
    let compiled: Vec<Vec<Compiled>> = GPUS
        .iter()
        .map(|gpu| cuda::compile(&program.device, gpu.arch, &Cache::of_user()))
        .collect::<Result<_, _>>()?;
    let (entries, batch) = steps(args, &program, predicts)?;
    let mut rows = rows(&program, &entries, batch)?;
    if let Some(counts) = counted(args, &spec, &program, predicts)? {
        for (name, counted) in counts {
            let function = program.device.functions.iter().position(|function| function.name == name);
            if let Some(row) = function.and_then(|function| rows.get_mut(&function)) {
                let ends = counted.launches * row.buffers * SECTOR;
                row.counted = Some(Counted { needed: counted.needed + ends, ..counted });
            }
        }
    }
    if args.spec.json {
        show_json(&program, &compiled, &rows, math);
    } else {
        show(args, &program, &compiled, &rows, (batch, math));
    }
    Ok(())
}

/// The entries of one step, and how many rows it has.
fn steps<'a>(args: &Bench, program: &'a Program, predicts: bool) -> Result<(Vec<&'a Entry>, usize), Failure> {
    let entry = |name: &str| program.entries.iter().find(|entry| entry.name == name);
    if predicts {
        let named = args.entry.strip_prefix("predict.");
        let chosen = program.predictions.iter().find(|p| named.is_none_or(|name| p.name == name));
        let entry = chosen.and_then(|chosen| entry(&chosen.entry));
        let entry = entry.ok_or_else(|| Failure::usage(format!("the spec has no `{}`", args.entry)))?;
        return Ok((vec![entry], args.run.batch.unwrap_or(1) as usize));
    }
    let training =
        program.trainings.first().filter(|_| args.entry == "train").ok_or_else(|| {
            Failure::usage(format!("the spec has no `{}` that can be looked at", args.entry))
        })?;
    let entries = training.steps.iter().chain(&training.updates).filter_map(|name| entry(name)).collect();
    Ok((entries, args.run.batch.map_or(training.batch, |batch| batch as usize)))
}

/// What each kernel does in these entries at a batch, by its function.
fn rows(program: &Program, entries: &[&Entry], batch: usize) -> Result<BTreeMap<usize, Row>, Failure> {
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for entry in entries {
        let symbols: Vec<(&str, usize)> = entry.symbols.iter().map(|s| (s.as_str(), batch)).collect();
        let dims = dims_at(entry, &symbols)?;
        let at = |dim: DimIndex| dims[dim.0 as usize];
        for launch in entry.segments.iter().flat_map(|segment| segment.launches()) {
            let Kernel::Device(start) = &launch.kernel else { continue };
            let row = rows.entry(start.function as usize).or_insert_with(|| Row {
                path: launch.path.clone(),
                line: launch.place.line,
                tensors: program.device.functions[start.function as usize]
                    .libraries
                    .contains(&(Library::Tensor as u32)),
                ..Row::default()
            });
            row.launches += 1;
            row.buffers = launch.buffers.len() as u64;
            row.flops += at(launch.flops);
            row.bytes += at(launch.bytes);
        }
    }
    Ok(rows)
}

/// What a driver that counts says of one step, by kernel; none where it does not.
fn counted(
    args: &Bench,
    spec: &spec::Spec,
    program: &Program,
    predicts: bool,
) -> Result<Option<BTreeMap<String, Counted>>, Failure> {
    if cuda::Device::open().is_err() || cuda::counts().is_none() {
        return Ok(None);
    }
    let mut program = program.clone();
    let image = cuda::image(&program.device, Arch::PTX, &Cache::of_user())?;
    program.device.images.push(image);
    let program = Arc::new(program);
    let mut subject = match predicts {
        true => Subject::prediction(args, program, 1)?,
        false => Subject::training(args, spec, program)?,
    };
    cuda::counts();
    subject.run()?;
    let mut found: BTreeMap<String, Counted> = BTreeMap::new();
    for line in cuda::counts().unwrap_or_default().lines() {
        let Ok(launch) = serde_json::from_str::<Value>(line) else { continue };
        let number = |name: &str| launch[name].as_u64().unwrap_or(0);
        let row = found.entry(launch["kernel"].as_str().unwrap_or_default().to_owned()).or_default();
        row.launches += 1;
        row.needed += number("bytes_read") + number("bytes_written");
        row.moved += SECTOR * (number("memory_read") + number("memory_written"));
        row.asked += SECTOR * (number("sectors_read") + number("sectors_written"));
    }
    Ok(Some(found))
}

/// The number before a phrase in what the compiler says.
fn said(log: &str, phrase: &str) -> u32 {
    let before = log.find(phrase).map(|at| &log[..at]);
    before.and_then(|before| before.split_whitespace().next_back()?.parse().ok()).unwrap_or(0)
}

impl Limits {
    /// Threads of a multiprocessor that are at work at once, in hundredths of all.
    fn occupancy(&self, threads: u32, registers: u32, shared: u32) -> f64 {
        let warps = threads.div_ceil(WARP);
        let of_warp = (registers * WARP).next_multiple_of(GRANULE).max(GRANULE);
        let by_registers = REGISTERS / of_warp / PARTS * PARTS / warps;
        let by_shared = self.shared / (shared + self.reserved).next_multiple_of(SHARED_GRANULE);
        let blocks = by_registers.min(by_shared).min(BLOCKS).min(THREADS / threads.max(1));
        100.0 * f64::from(blocks * threads) / f64::from(THREADS)
    }

    /// Microseconds of a kernel at best, where tensor cores multiply in such numbers.
    fn floor_us(&self, row: &Row, math: Math) -> f64 {
        let teraflops = match math {
            _ if !row.tensors => self.teraflops,
            Math::F32 | Math::Tf32 => self.tf32,
            Math::Bf16 | Math::F16 => self.halves,
        };
        (row.flops as f64 / (teraflops * 1e6)).max(row.bytes as f64 / (self.gigabytes * 1e3))
    }
}

/// What a kernel needs on each GPU: registers, bytes of shared memory, occupancy.
fn needs(program: &Program, compiled: &[Vec<Compiled>], function: usize) -> Vec<(u32, u32, f64)> {
    let code = &program.device.functions[function];
    let of = |(gpu, compiled): (&Limits, &Vec<Compiled>)| {
        let log = &compiled[function].log;
        let (registers, shared) = (said(log, " registers"), said(log, " bytes smem") + code.shared);
        (registers, shared, gpu.occupancy(code.threads, registers, shared))
    };
    GPUS.iter().zip(compiled).map(of).collect()
}

fn show(
    args: &Bench,
    program: &Program,
    compiled: &[Vec<Compiled>],
    rows: &BTreeMap<usize, Row>,
    (batch, math): (usize, Math),
) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(function, row)| {
            let needs = needs(program, compiled, *function);
            let moved =
                row.counted.map_or_else(|| "?".to_owned(), |counted| format!("{:.2}x", counted.share()));
            let mut cells = vec![
                row.launches.to_string(),
                output::scaled(row.flops as f64, "FLOP"),
                output::bytes(row.bytes.max(0) as u64),
                moved,
                format!("{:.1}", row.flops as f64 / row.bytes.max(1) as f64),
                program.device.functions[*function].threads.to_string(),
            ];
            for ((registers, shared, occupancy), gpu) in needs.iter().zip(&GPUS) {
                cells.push(format!("{registers}"));
                cells.push(format!("{:.0}K", f64::from(*shared) / 1024.0));
                cells.push(format!("{occupancy:.0}%"));
                cells.push(format!("{:.3}", gpu.floor_us(row, math)));
            }
            cells.push(row.line.to_string());
            cells.push(row.path.clone());
            cells
        })
        .collect();
    let mut head = vec!["starts", "work", "bytes", "moved", "FLOP/B", "threads"];
    for gpu in &GPUS {
        head.extend([gpu.name, "shared", "busy", "µs"]);
    }
    head.extend(["line", "computes"]);
    output::write(&output::table(&head, &cells));
    let sum = |gpu: &Limits| rows.values().map(|row| gpu.floor_us(row, math)).sum::<f64>();
    let sums: Vec<String> = GPUS.iter().map(|gpu| format!("{:.1} µs on an {}", sum(gpu), gpu.name)).collect();
    output::line(&format!(
        "{} of {} kernels, batch {batch}: at best {}, with products in {}. Under a GPU's name stand registers of a thread, shared memory of a block, and \
         the share of its threads that can be at work at once; `moved` is what memory moves for each byte that a kernel needs, where \
         the driver counts it",
        args.entry,
        rows.len(),
        sums.join(" and "),
        math.name(),
    ));
    if let Some(summary) = summary(program, rows) {
        output::line(&summary);
    }
}

/// Is a kernel a map, rows or an index kernel, whose time is that of its bytes?
fn is_plain(program: &Program, function: usize) -> bool {
    let products = [Library::Matrix, Library::Tensor, Library::Few, Library::Flash];
    let libraries = &program.device.functions[function].libraries;
    products.iter().all(|product| !libraries.contains(&(*product as u32)))
}

/// How many kernels of maps and rows move little more than they need, and which one moves the most; none where nothing was counted.
fn summary(program: &Program, rows: &BTreeMap<usize, Row>) -> Option<String> {
    let plain = rows.iter().filter(|(function, _)| is_plain(program, **function));
    let counted: Vec<(usize, Counted)> =
        plain.filter_map(|(function, row)| Some((*function, row.counted?))).collect();
    let traffic = counted.iter().filter(|(_, counted)| counted.needed >= LITTLE * counted.launches);
    let traffic: Vec<_> = traffic.collect();
    let sound = traffic.iter().filter(|(_, counted)| counted.share() <= SOUND).count();
    let worst = traffic.iter().max_by(|a, b| a.1.share().total_cmp(&b.1.share()));
    let Some((function, worst)) = worst else {
        return (!counted.is_empty()).then(|| {
            "No elementwise kernel and none of rows needs enough bytes for a word on what it moves".into()
        });
    };
    Some(format!(
        "{sound} of {} elementwise kernels and kernels of rows move at most {SOUND} times the bytes that they need; `{}` moves the most, {:.2} times. {} others \
         need less than {} a start",
        traffic.len(),
        program.device.functions[*function].name,
        worst.share(),
        counted.len() - traffic.len(),
        output::bytes(LITTLE),
    ))
}

fn show_json(program: &Program, compiled: &[Vec<Compiled>], rows: &BTreeMap<usize, Row>, math: Math) {
    for (function, row) in rows {
        let code = &program.device.functions[*function];
        let mut object = json!({
            "kernel": code.name, "path": row.path, "line": row.line, "launches": row.launches, "flops": row.flops,
            "bytes": row.bytes, "threads": code.threads,
            "plain": is_plain(program, *function),
            "needed_bytes": row.counted.map(|counted| counted.needed),
            "moved_bytes": row.counted.map(|counted| counted.moved),
            "asked_bytes": row.counted.map(|counted| counted.asked),
            "counted_launches": row.counted.map(|counted| counted.launches),
        });
        for ((registers, shared, occupancy), gpu) in needs(program, compiled, *function).iter().zip(&GPUS) {
            object[gpu.name] = json!({
                "registers": registers, "shared_bytes": shared, "occupancy": occupancy / 100.0,
                "floor_us": gpu.floor_us(row, math),
            });
        }
        output::json(&object);
    }
}

#[cfg(test)]
mod tests {
    use super::{GPUS, Math, Row};

    /// What NVIDIA's occupancy calculator says for compute capabilities 8.0 and 9.0.
    #[test]
    fn occupancy_is_that_of_the_tightest_limit() {
        let [a100, h100] = &GPUS;
        // Threads: 8 blocks of 256 are all 2,048.
        assert_eq!(a100.occupancy(256, 32, 0), 100.0);
        // Registers: 77 are 2,560 a warp, of which each part has room for 6; 24 warps are 6 blocks of 4.
        assert_eq!(a100.occupancy(128, 77, 13 << 10), 37.5);
        assert_eq!(a100.occupancy(32, 77, 0), 37.5);
        assert_eq!(a100.occupancy(256, 255, 0), 12.5);
        // Shared memory: three blocks of 49 KiB, with what each takes beside, fit into 164 KiB, and four into 228.
        assert_eq!(a100.occupancy(256, 32, 48 << 10), 37.5);
        assert_eq!(h100.occupancy(256, 32, 48 << 10), 50.0);
        // Blocks: 32 of one warp.
        assert_eq!(a100.occupancy(32, 16, 0), 50.0);
    }

    #[test]
    fn the_time_at_best_is_that_of_the_arithmetic_or_of_the_bytes() {
        let [a100, _] = &GPUS;
        let row = |flops, bytes, tensors| Row { flops, bytes, tensors, ..Row::default() };
        // 19.5 TFLOP/s, 156 and 312 on tensor cores, and 2,039 GB/s.
        assert_eq!(a100.floor_us(&row(19_500_000, 0, false), Math::Bf16), 1.0);
        assert_eq!(a100.floor_us(&row(156_000_000, 0, true), Math::Tf32), 1.0);
        assert_eq!(a100.floor_us(&row(312_000_000, 0, true), Math::F16), 1.0);
        assert_eq!(a100.floor_us(&row(312_000_000, 20_390_000, true), Math::F16), 10.0);
    }
}
