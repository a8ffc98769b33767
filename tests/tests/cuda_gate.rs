//! Every kernel of every spec, and of shapes that no spec has, compiled by NVRTC to machine code for three generations of GPUs: it compiles, nothing spills or lies in local
//! memory, enough of it fits on a processor, and the machine code has what the kernel is for
//! (see [`weft_tests::sass`]): tensor cores where it multiplies on them, a main loop that does little else than multiply, and accesses of 16 bytes
//! where its text has them. Needs no GPU; without NVRTC it says so and has nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use weft_compiler::check::Options;
use weft_compiler::cuda::Math;
use weft_compiler::graph::Module;
use weft_compiler::passes::narrow;
use weft_compiler::stages;
use weft_runtime::cuda::{self, Cache, Compiled};
use weft_runtime::parallel;
use weft_runtime::pool::Pool;
use weft_runtime::program::{DType, DeviceCode, DeviceFunction};
use weft_tests::cuda::{has_nvrtc, nameless};
use weft_tests::sass::{self, Code};
use weft_tests::specs;

/// A100, H100 and B200.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65_536;

/// So many kernels are compiled in one go, which takes a third of the time that they would take one by one.
const TOGETHER: usize = 16;

/// Kernels of one spec, with products in such numbers.
struct Kernels {
    spec: String,
    math: Math,
    code: DeviceCode,
}

/// The kernels of each spec that no spec before has, in f32; and of the other numbers' those that multiply in them, one of each form (its tile, its
/// operands, and how they lie; with and without weights of i8), and all that some specs have.
fn kernels() -> Vec<Kernels> {
    let mut names: Vec<_> = std::fs::read_dir(specs::root().join("specs"))
        .expect("the specs are there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".weft"))
        .collect();
    names.sort();
    // And shapes that none of them has.
    let names = names.iter().map(|name| format!("specs/{name}")).chain(["tests/shapes.weft".to_owned()]);
    let modules: Vec<(String, Module)> = names
        .map(|path| {
            let checked = specs::check_file(&path, &Options::default());
            let shown = specs::rendered(&checked);
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            (name, checked.module.unwrap_or_else(|| panic!("{shown}")))
        })
        .collect();
    // Answers of models with weights of i8, beside the models as they are.
    let as_it_is = Math::ALL.map(|math| (math, false));
    let of_i8 = [(Math::Bf16, true), (Math::F16, true)];
    let wanted: Vec<_> = as_it_is
        .into_iter()
        .chain(of_i8)
        .flat_map(|(math, narrow)| modules.iter().map(move |(spec, module)| (math, narrow, spec, module)))
        .collect();
    let threads = Pool::default_threads();
    let codes = parallel::map(threads, &wanted, |(math, narrow, spec, module)| {
        let module = if *narrow { answers_of_i8(module) } else { (*module).clone() };
        stages::compile_cuda(&module, *math).unwrap_or_else(|e| panic!("{spec}: {e}")).device
    });
    let (mut seen, mut forms) = (BTreeSet::new(), BTreeSet::new());
    let mut kernels = |((math, narrow, spec, _), mut code): (&(Math, bool, &String, &Module), DeviceCode)| {
        let whole = !narrow && (*math == Math::F32 || WHOLE.contains(&spec.as_str()));
        code.functions.retain(|function| {
            (!narrow || function.source.contains("signed char"))
                && seen.insert(nameless(function))
                && (whole
                    || form(function).is_some_and(|form| forms.insert((form, number_of_lies(function)))))
        });
        let spec = if *narrow { format!("{spec} of i8") } else { (*spec).clone() };
        Kernels { spec, math: *math, code }
    };
    wanted.iter().zip(codes).map(&mut kernels).collect()
}

/// A model's predictions with weights of i8.
fn answers_of_i8(module: &Module) -> Module {
    let mut module = narrow::weights(module, DType::I8);
    module.entries.retain(|entry| entry.graph.name.starts_with("predict"));
    module.trainings.clear();
    module.generations.clear();
    module
}

/// The architecture whose machine code is read of all kernels; of the others it is that of products and attention.
const READ_WHOLE: &str = "sm_90a";

/// Specs of which all kernels are compiled for all numbers.
const WHOLE: [&str; 2] = ["mnist_cnn.weft", "gpt.weft"];

/// The tile of a product, or the form of attention.
fn form(function: &DeviceFunction) -> Option<String> {
    let line = function.source.lines().find(|line| line.contains(" Tile;") || line.contains(" Form;"))?;
    Some(line.split("//").next().unwrap_or(line).trim().to_owned())
}

/// How a product's operands lie, and how many of its elements are stored at once.
fn number_of_lies(function: &DeviceFunction) -> Vec<String> {
    let calls = ["tile.multiply<", "tile.store<"];
    let of = |call: &str| {
        let line = function.source.lines().find(|line| line.contains(call))?;
        line.split('<').nth(1)?.split('>').next().map(str::to_owned)
    };
    let narrow = function.source.contains("signed char").then(|| "i8".to_owned());
    calls.into_iter().filter_map(of).chain(narrow).collect()
}

/// Functions that need the same before them, some at a time.
fn groups(code: &DeviceCode) -> Vec<Vec<&DeviceFunction>> {
    let mut by_libraries: BTreeMap<&[u32], Vec<&DeviceFunction>> = BTreeMap::new();
    for function in &code.functions {
        by_libraries.entry(&function.libraries).or_default().push(function);
    }
    by_libraries.values().flat_map(|all| all.chunks(TOGETHER)).map(<[_]>::to_vec).collect()
}

/// Some functions, compiled as one for an architecture.
fn compile(code: &DeviceCode, group: &[&DeviceFunction], arch: &str) -> Result<Compiled, String> {
    let sources: Vec<&str> = group.iter().map(|function| function.source.as_str()).collect();
    let joined = DeviceFunction { source: sources.join("\n"), ..group[0].clone() };
    let code = DeviceCode { functions: vec![joined], ..code.clone() };
    let compiled = cuda::compile(&code, arch.parse().expect("an architecture"), &Cache::none());
    compiled.map_err(|error| error.to_string()).map(|mut all| all.remove(0))
}

/// What the compiler says of one function of several.
fn log_of<'a>(log: &'a str, function: &DeviceFunction) -> &'a str {
    let begins = "Compiling entry function '";
    let head = format!("{begins}{}'", function.name);
    let own = log.split_once(head.as_str()).map_or("", |(_, rest)| rest);
    own.split(begins).next().unwrap_or(own)
}

/// The number before a phrase in what the compiler says.
fn number(log: &str, phrase: &str) -> Option<u32> {
    let before = &log[..log.find(phrase)?];
    before.split_whitespace().next_back()?.parse().ok()
}

/// Bytes of a thread that did not fit registers.
fn spilled(log: &str) -> Result<u32, String> {
    let phrases = [" bytes stack frame", " bytes spill stores", " bytes spill loads"];
    let said = |phrase: &str| number(log, phrase).ok_or_else(|| format!("no word of{phrase}: {log}"));
    phrases.into_iter().try_fold(0, |most: u32, phrase| Ok(most.max(said(phrase)?)))
}

/// What is wrong with how a compiled kernel uses registers.
fn faults(function: &DeviceFunction, log: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // One block must fit whatever it is, and of a small one several, so that some work while others wait for memory.
    let registers = number(log, " registers").unwrap_or(0);
    let blocks = REGISTERS / (registers.max(1).next_multiple_of(8) * function.threads);
    let assumed =
        if function.source.contains(&format!("__launch_bounds__({}, 2)", function.threads)) { 2 } else { 1 };
    if blocks < assumed {
        faults.push(format!("{registers} registers for each of {} threads", function.threads));
    }
    match spilled(log) {
        Ok(0) => {}
        Ok(bytes) => faults.push(format!("{bytes} bytes of a thread did not fit registers")),
        Err(why) => faults.push(why),
    }
    faults
}

/// The least share of multiply-adds in the math of a product's main loop. A product of so few steps that no loop is left has none.
const SHARE: f64 = 0.9;

/// The operations that a product's text announces for what it makes of its operands on the way, for each product of two numbers: an element of A is
/// multiplied by the columns of a tile, one of B by its rows.
fn beside(function: &DeviceFunction) -> f64 {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let mut tile = None;
    let mut operations = [0.0; 2];
    for line in function.source.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["//", operand @ ("A" | "B"), "is", "made", "with", count, ..] => {
                operations[usize::from(*operand == "B")] =
                    number(Some(*count)).expect("a number of operations");
            }
            [.., "//", rows, "x", cols, "of", "C", "a", "block"] => {
                tile = number(Some(*rows)).zip(number(Some(*cols)))
            }
            _ => {}
        }
    }
    tile.map_or(0.0, |(rows, cols)| operations[0] / cols + operations[1] / rows)
}

/// What machine code lacks of what its kernel is for, or has and should not.
fn lacks(function: &DeviceFunction, code: &Code) -> Vec<String> {
    let mut lacks = Vec::new();
    let form = form(function).unwrap_or_default();
    let tensors = form.contains("TileMma<") || form.contains("FlashMma<");
    if tensors && code.count("HMMA") == 0 {
        lacks.push("no tensor core is used".to_owned());
    }
    if (form.contains("TileMma<") || form.contains("TileF32<"))
        && let Some(share) = code.share_beside(beside(function)).filter(|share| *share < SHARE)
    {
        lacks.push(format!("{share:.2} of the math in the main loop of {form} are multiply-adds"));
    }
    if code.count("LDL") + code.count("STL") > 0 {
        lacks.push("there is local memory".to_owned());
    }
    for (text, name) in [("load", "LDG"), ("store", "STG")] {
        if moves_packs(function, text) && !code.has(name, &["128"]) && !code.has(name, &["256"]) {
            lacks.push(format!("no {name} of 16 bytes"));
        }
    }
    lacks
}

/// Whether a kernel's own text moves 16 bytes of a parameter at once: `load<4>(x + 4 * i)` of `const float* x`.
fn moves_packs(function: &DeviceFunction, call: &str) -> bool {
    let head = function
        .source
        .split_once('(')
        .map_or("", |(_, rest)| rest.split_once(')').map_or(rest, |(head, _)| head));
    let size_of = |name: &str| {
        let parameter =
            head.split(',').map(str::trim).find(|one| one.rsplit([' ', '*']).next() == Some(name))?;
        let sizes = [
            ("double", 8),
            ("long long", 8),
            ("float", 4),
            ("int", 4),
            ("half_t", 2),
            ("bfloat_t", 2),
            ("char", 1),
            ("bool", 1),
        ];
        sizes.iter().find(|(kind, _)| parameter.contains(&format!("{kind}*"))).map(|(_, size)| *size)
    };
    let begins = format!("{call}<");
    function.source.match_indices(&begins).any(|(at, _)| {
        // `tile.store<4>(` is no access of this text.
        let own = !function.source[..at]
            .ends_with(|letter: char| letter.is_alphanumeric() || letter == '.' || letter == '_');
        let rest = &function.source[at + begins.len()..];
        let Some((number, rest)) = rest.split_once(">(") else { return false };
        let name: String = rest
            .trim_start_matches('&')
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        own && number
            .parse::<u32>()
            .ok()
            .zip(size_of(&name))
            .is_some_and(|(number, size)| number * size >= 16)
    })
}

/// What was found of some kernels of a spec on one architecture.
#[derive(Default)]
struct Found {
    faults: Vec<String>,
    /// The share of multiply-adds in main loops, by the product's form.
    shares: Vec<(String, f64)>,
}

/// Compiles some kernels of a spec and reads what becomes of them.
fn look(Kernels { spec, math, code }: &Kernels, group: &[&DeviceFunction], arch: &str, reads: bool) -> Found {
    let mut found = Found::default();
    let Compiled { log, bytes } = match compile(code, group, arch) {
        Ok(compiled) => compiled,
        Err(error) => {
            found.faults.push(format!("{arch}, {spec}: {error}"));
            return found;
        }
    };
    // What moves packs is the same text for all; products and attention are made for each.
    let is_read = reads && (arch == READ_WHOLE || group.iter().any(|function| form(function).is_some()));
    let codes = is_read.then(|| sass::disassemble(&bytes));
    for function in group {
        let mut own = faults(function, log_of(&log, function));
        if let Some(codes) = &codes {
            match codes.get(&function.name) {
                Some(code) => {
                    own.extend(lacks(function, code));
                    found.shares.extend(form(function).zip(code.share_beside(beside(function))));
                }
                None => own.push("the disassembler does not show it".to_owned()),
            }
        }
        let of = format!("{arch}, {spec} in {}, {}", math.name(), function.name);
        found.faults.extend(own.into_iter().map(|fault| format!("{of}: {fault}")));
    }
    found
}

#[test]
fn every_kernel_of_every_spec_compiles_fits_registers_and_does_what_it_is_for() {
    if !has_nvrtc() {
        return;
    }
    let reads = sass::is_ready();
    let before = Instant::now();
    let all = kernels();
    let count: usize = all.iter().map(|kernels| kernels.code.functions.len()).sum();
    println!("{count} kernels are made in {:.0} s", before.elapsed().as_secs_f64());
    assert!(count > 100, "only {count} kernels");
    let groups: Vec<_> =
        all.iter().flat_map(|of| groups(&of.code).into_iter().map(move |g| (of, g))).collect();
    let mut failures = Vec::new();
    let mut products: BTreeMap<(String, &str), f64> = BTreeMap::new();
    for arch in ARCHITECTURES {
        let before = Instant::now();
        for found in
            parallel::map(Pool::default_threads(), &groups, |(of, group)| look(of, group, arch, reads))
        {
            failures.extend(found.faults);
            for (form, share) in found.shares {
                let least = products.entry((form, arch)).or_insert(share);
                *least = least.min(share);
            }
        }
        println!("{arch}: {count} kernels in {:.0} s", before.elapsed().as_secs_f64());
    }
    for ((form, arch), share) in &products {
        println!("{:3.0}% of the main loop's math are multiply-adds on {arch}: {form}", 100.0 * share);
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}
