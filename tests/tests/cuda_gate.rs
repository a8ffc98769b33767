//! Every kernel of every spec, compiled by NVRTC to machine code for three generations of GPUs: it compiles, nothing spills or lies in local
//! memory (but for a few words of a few kernels, which are listed here), and enough of it fits on a processor. Needs no GPU; without NVRTC it says so and has nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use weft_compiler::check::Options;
use weft_compiler::stages;
use weft_runtime::cuda::{self, Cache, Compiled};
use weft_runtime::program::{DeviceCode, DeviceFunction};
use weft_tests::cuda::has_nvrtc;
use weft_tests::specs;

/// A100, H100 and B200.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65_536;

/// The kernels of each spec that no spec before has.
fn kernels() -> Vec<(String, DeviceCode)> {
    let mut names: Vec<_> = std::fs::read_dir(specs::root().join("specs"))
        .expect("the specs are there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".weft"))
        .collect();
    names.sort();
    let (mut codes, mut seen) = (Vec::new(), BTreeSet::new());
    for name in names {
        let checked = specs::check_file(&format!("specs/{name}"), &Options::default());
        let shown = specs::rendered(&checked);
        let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
        let program = stages::compile_cuda(&module).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut code = program.device;
        code.functions.retain(|function| seen.insert(nameless(function)));
        codes.push((name, code));
    }
    codes
}

/// A kernel's text without what its model calls things: the same text under other names is the same kernel.
fn nameless(function: &DeviceFunction) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = function.source.lines().filter(is_code).collect();
    let code = code.join("\n").replace(&function.name, "kernel");
    let parameters =
        code.split_once("kernel(").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(list, _)| list);
    let names: Vec<&str> = parameters.split(',').filter_map(|one| one.rsplit([' ', '*']).next()).collect();
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut text = String::new();
    for word in code.split_inclusive(|letter| !is_word(letter)) {
        let name = word.trim_end_matches(|letter| !is_word(letter));
        match names.iter().position(|known| *known == name && !name.is_empty()) {
            Some(place) => text.push_str(&format!("p{place}{}", &word[name.len()..])),
            None => text.push_str(word),
        }
    }
    text
}

/// The number before a phrase in what the compiler says.
fn number(log: &str, phrase: &str) -> Option<u32> {
    let before = &log[..log.find(phrase)?];
    before.split_whitespace().next_back()?.parse().ok()
}

/// So many kernels of all still spill, and so many bytes each at most, on some architecture: the gradients of attention over rows of 16
/// numbers, those of one transposed convolution, and one kernel of very many initialisers. There may be fewer, and no more.
const SPILLING: usize = 4;
const SPILLED: u32 = 48;

/// Bytes of a thread that did not fit registers.
fn spilled(Compiled { log, .. }: &Compiled) -> Result<u32, String> {
    let phrases = [" bytes stack frame", " bytes spill stores", " bytes spill loads"];
    let said = |phrase: &str| number(log, phrase).ok_or_else(|| format!("no word of{phrase}: {log}"));
    phrases.into_iter().try_fold(0, |most: u32, phrase| Ok(most.max(said(phrase)?)))
}

/// What is wrong with a compiled kernel.
fn faults(function: &DeviceFunction, Compiled { log, .. }: &Compiled) -> Vec<String> {
    let mut faults = Vec::new();
    // One block must fit whatever it is, and of a small one several, so that some work while others wait for memory.
    let registers = number(log, " registers").unwrap_or(0);
    let blocks = REGISTERS / (registers.max(1).next_multiple_of(8) * function.threads);
    let assumed =
        if function.source.contains(&format!("__launch_bounds__({}, 2)", function.threads)) { 2 } else { 1 };
    if blocks < assumed {
        faults.push(format!("{registers} registers for each of {} threads", function.threads));
    }
    faults
}

#[test]
fn every_kernel_of_every_spec_compiles_and_fits_registers() {
    if !has_nvrtc() {
        return;
    }
    let codes = kernels();
    let count: usize = codes.iter().map(|(_, code)| code.functions.len()).sum();
    assert!(count > 100, "only {count} kernels");
    let (mut failures, mut spilling) = (Vec::new(), BTreeMap::new());
    for arch in ARCHITECTURES {
        let before = Instant::now();
        for (spec, code) in &codes {
            let compiled = cuda::compile(code, arch.parse().expect("an architecture"), &Cache::none());
            let compiled = compiled.unwrap_or_else(|e| panic!("{arch}, {spec}: {e}"));
            for (function, compiled) in code.functions.iter().zip(&compiled) {
                match spilled(compiled) {
                    Ok(0) => {}
                    Ok(bytes) => {
                        let most = spilling.entry((spec, &function.name)).or_insert(bytes);
                        *most = bytes.max(*most);
                    }
                    Err(why) => failures.push(format!("{arch}, {spec}, {}: {why}", function.name)),
                }
                for fault in faults(function, compiled) {
                    failures.push(format!("{arch}, {spec}, {}: {fault}", function.name));
                }
            }
        }
        println!("{arch}: {count} kernels in {:.0} s", before.elapsed().as_secs_f64());
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    println!("bytes of a thread that did not fit registers: {spilling:?}");
    let few = spilling.len() <= SPILLING && spilling.values().all(|bytes| *bytes <= SPILLED);
    assert!(few, "more spill than did: {spilling:?}");
}
