//! GPUs in tests, where there is none: a driver that interprets kernels ([`ptxvm`]), and NVRTC, which compiles them, where it is installed.
//!
//! Without NVRTC these tests have nothing to run. They say so, loudly, and pass; with `WEFT_NVRTC_MUST_BE_THERE` set, as in CI, they fail.
//! With `WEFT_TEST_GPU` set they run on this machine's GPU, by NVIDIA's driver and with machine code.

use std::io::Write;
use std::sync::OnceLock;
use weft_compiler::cuda::Math;
use weft_compiler::graph::Module;
use weft_runtime::cuda::{self, Cache};
use weft_runtime::program::{Arch, DeviceFunction, Program};

/// Set where a missing NVRTC is a failure.
pub const REQUIRED: &str = "WEFT_NVRTC_MUST_BE_THERE";

/// Set where there is a GPU to test.
const GPU: &str = "WEFT_TEST_GPU";

/// Whether kernels can be compiled here.
pub fn has_nvrtc() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| match cuda::open_nvrtc() {
        Ok(()) => true,
        Err(error) if std::env::var_os(REQUIRED).is_some() => panic!("{REQUIRED} is set, but: {error}"),
        Err(error) => {
            // Past the test harness, which keeps the output of tests that pass to itself.
            let said = writeln!(std::io::stderr().lock(), "SKIPPED: tests of CUDA kernels: {error}");
            said.is_err()
        }
    })
}

/// Whether kernels can be compiled and run here: by a GPU where that is asked for, else by the interpreter, which this makes the process's
/// driver.
pub fn is_ready() -> bool {
    static LOADED: OnceLock<()> = OnceLock::new();
    if !has_nvrtc() {
        return false;
    }
    if std::env::var_os(GPU).is_none() {
        LOADED.get_or_init(|| ptxvm::load().unwrap_or_else(|e| panic!("{e}")));
    }
    true
}

/// A module's program for a GPU, with its kernels compiled to what the interpreter reads where it is the driver.
pub fn program(module: &Module) -> Program {
    program_in(module, Math::F32)
}

/// The same with products in other numbers.
pub fn program_in(module: &Module, math: Math) -> Program {
    let mut program = weft_compiler::stages::compile_cuda(module, math).unwrap_or_else(|e| panic!("{e}"));
    if std::env::var_os(GPU).is_some() {
        return program;
    }
    let image = cuda::image(&program.device, Arch::PTX, &Cache::none()).unwrap_or_else(|e| panic!("{e}"));
    program.device.images.push(image);
    program
}

/// A kernel's text without what its model calls things: the same text under other names is the same kernel.
pub fn nameless(function: &DeviceFunction) -> String {
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
