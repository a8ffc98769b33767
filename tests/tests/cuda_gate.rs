//! Every kernel of every spec, compiled by NVRTC to machine code for three generations of GPUs: it compiles, nothing spills, nothing lies in
//! local memory, and enough of it fits on a processor. Needs no GPU; without NVRTC it says so and has nothing to do.

use std::collections::BTreeMap;
use std::time::Instant;
use weft_compiler::check::Options;
use weft_compiler::stages;
use weft_runtime::cuda::{self, Compiled, Image};
use weft_runtime::program::{DeviceCode, DeviceFunction};
use weft_tests::cuda::has_nvrtc;
use weft_tests::specs;

/// A100, H100 and B200.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65_536;

/// All distinct kernels of the specs, each with the spec that it is of.
fn kernels() -> (DeviceCode, Vec<String>) {
    let mut names: Vec<_> = std::fs::read_dir(specs::root().join("specs"))
        .expect("the specs are there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".weft"))
        .collect();
    names.sort();
    let (mut code, mut of, mut seen) = (DeviceCode::default(), Vec::new(), BTreeMap::new());
    for name in names {
        let checked = specs::check_file(&format!("specs/{name}"), &Options::default());
        let shown = specs::rendered(&checked);
        let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
        let program = stages::compile_cuda(&module).unwrap_or_else(|e| panic!("{name}: {e}"));
        code.prelude = program.device.prelude;
        for function in program.device.functions {
            // The same text under another name is the same kernel.
            let text = function.source.replace(&function.name, "kernel");
            let text: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            if seen.insert(text, ()).is_none() {
                // Names are unique within a program alone.
                let own = format!("{}_{}", function.name, code.functions.len());
                let source = function.source.replace(&format!(" {}(", function.name), &format!(" {own}("));
                code.functions.push(DeviceFunction { name: own, source, ..function });
                of.push(name.clone());
            }
        }
    }
    (code, of)
}

/// The number before a phrase in what the compiler says.
fn number(log: &str, phrase: &str) -> Option<u32> {
    let before = &log[..log.find(phrase)?];
    before.split_whitespace().next_back()?.parse().ok()
}

/// What is wrong with a compiled kernel.
fn faults(function: &DeviceFunction, Compiled { log, .. }: &Compiled) -> Vec<String> {
    let mut faults = Vec::new();
    for phrase in [" bytes stack frame", " bytes spill stores", " bytes spill loads"] {
        match number(log, phrase) {
            Some(0) => {}
            Some(bytes) => faults.push(format!("{bytes}{phrase}")),
            None => faults.push(format!("the compiler does not say how many{phrase}: {log}")),
        }
    }
    // One block must fit whatever it is, and of a small one several, so that some work while others wait for memory.
    let registers = number(log, " registers").unwrap_or(0);
    let blocks = REGISTERS / (registers.max(1).next_multiple_of(8) * function.threads);
    if blocks == 0 || function.threads <= 256 && blocks < 2 && registers > 128 {
        faults.push(format!("{registers} registers for each of {} threads", function.threads));
    }
    faults
}

#[test]
fn every_kernel_of_every_spec_compiles_without_spills() {
    if !has_nvrtc() {
        return;
    }
    let (code, of) = kernels();
    assert!(code.functions.len() > 100, "only {} kernels", code.functions.len());
    let mut failures = Vec::new();
    for arch in ARCHITECTURES {
        let before = Instant::now();
        let compiled = cuda::compile(&code, &Image::Cubin(arch.into()));
        let compiled = compiled.unwrap_or_else(|e| panic!("{arch}: {e}"));
        for ((function, spec), compiled) in code.functions.iter().zip(&of).zip(&compiled) {
            for fault in faults(function, compiled) {
                failures.push(format!("{arch}, {spec}, {}: {fault}", function.name));
            }
        }
        println!("{arch}: {} kernels in {:.0} s", compiled.len(), before.elapsed().as_secs_f64());
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}
