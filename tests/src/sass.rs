//! Machine code of GPUs, read back by NVIDIA's disassembler, `nvdisasm` (PyPI `nvidia-cuda-nvdisasm`), and what its instructions do.
//!
//! **Math instructions** are those of the pipes that compute with floats: f32, f16 and f64 arithmetic (`FFMA`, `HFMA2`, `DADD`, …), tensor cores
//! (`HMMA`), the special unit (`MUFU`), and conversions of or to floats (`F2FP`, `I2F`, …). Whole numbers, addresses, comparisons of these, moves,
//! memory, branches and barriers are no math: they are issued beside it. The **main loop** of a kernel is the innermost of its loops that has most
//! multiply-adds (`HMMA` where there are any, else `FFMA`); its **share** is how many of its math instructions are multiply-adds.
//!
//! A product with a prologue, or with weights of i8, does more than multiply by intention: it does what would else be the math of another kernel, which
//! the plan has weighed against the bytes that this kernel would move. So of such a main loop as many operations are left out of the count as
//! the elements that it loads need ([`Code::share_beside`]), and no more: what is made twice, or in more operations than were weighed, counts.
//!
//! Without the disassembler tests of machine code have nothing to look at. They say so, loudly, and pass; where NVRTC must be there (in CI), so
//! must it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Names of instructions of math begin so.
const MATH: [&str; 25] = [
    "FADD", "FMUL", "FFMA", "FMNMX", "FSET", "FSEL", "FCHK", "FRND", "FSWZ", "F2F", "F2I", "I2F", "HADD",
    "HMUL", "HFMA", "HMNMX", "HSET", "HMMA", "DADD", "DMUL", "DFMA", "DMNMX", "DSET", "DMMA", "MUFU",
];

/// The instructions of one kernel, without their predicates, and its loops.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub instructions: Vec<String>,
    loops: Vec<Range<usize>>,
}

impl Code {
    /// Instructions whose name is this one, or goes on with a point behind it.
    pub fn count(&self, name: &str) -> usize {
        self.instructions.iter().filter(|one| is(one, name)).count()
    }

    /// Whether an instruction of this name has all of these suffixes.
    pub fn has(&self, name: &str, suffixes: &[&str]) -> bool {
        let mut all = self.instructions.iter().filter(|one| is(one, name));
        all.any(|one| suffixes.iter().all(|suffix| word(one).split('.').any(|part| part == *suffix)))
    }

    /// The instructions of the main loop; none where no loop multiplies.
    pub fn main_loop(&self) -> &[String] {
        let tensors = self.count("HMMA") > 0;
        let multiplies = |range: &Range<usize>| {
            let body = self.instructions[range.clone()].iter();
            body.filter(|one| if tensors { is(one, "HMMA") } else { is_multiply(one) }).count()
        };
        let best = self.loops.iter().max_by_key(|range| (multiplies(range), std::cmp::Reverse(range.len())));
        best.filter(|range| multiplies(range) > 0).map_or(&[], |range| &self.instructions[range.clone()])
    }

    /// The share of multiply-adds in the math of the main loop.
    pub fn share(&self) -> Option<f64> {
        self.share_beside(0.0)
    }

    /// The same, where so many operations for each product of two numbers are needed for what is not multiplying.
    pub fn share_beside(&self, operations: f64) -> Option<f64> {
        let body = self.main_loop();
        let of = |what: fn(&str) -> bool| body.iter().filter(|one| what(one)).count() as f64;
        // Products of one thread.
        let products = |one: &String| match word(one) {
            word if is(word, "FFMA2") => 2.0,
            word if !is(word, "HMMA") => 1.0,
            word if word.contains(".1688.") => f64::from(16 * 8 * 8 / 32),
            _ => f64::from(16 * 8 * 16 / 32),
        };
        let products: f64 = body.iter().filter(|one| is_multiply(one)).map(products).sum();
        let (multiplies, math) = (of(is_multiply), of(is_math));
        (!body.is_empty()).then(|| multiplies / (math - products * operations).max(multiplies))
    }
}

fn word(instruction: &str) -> &str {
    instruction.split_whitespace().next().unwrap_or("")
}

fn is(instruction: &str, name: &str) -> bool {
    word(instruction).strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_multiply(instruction: &str) -> bool {
    is(instruction, "FFMA") || is(instruction, "FFMA2") || is(instruction, "HMMA")
}

fn is_math(instruction: &str) -> bool {
    MATH.iter().any(|name| word(instruction).starts_with(name))
}

/// The disassembler: beside the NVRTC that `WEFT_NVRTC` names, or where commands are.
fn tool() -> Option<&'static OsString> {
    static FOUND: OnceLock<Option<OsString>> = OnceLock::new();
    FOUND.get_or_init(find).as_ref()
}

fn find() -> Option<OsString> {
    let beside = std::env::var_os("WEFT_NVRTC").map(|folder| PathBuf::from(folder).join("../bin/nvdisasm"));
    let beside = beside.filter(|path| path.is_file()).map(PathBuf::into_os_string);
    beside
        .into_iter()
        .chain([OsString::from("nvdisasm")])
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// Whether machine code can be read here.
pub fn is_ready() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let there = tool().is_some();
        let missing = "there is no `nvdisasm` (pip install nvidia-cuda-nvdisasm==13.2.86) beside NVRTC, and none in PATH";
        assert!(there || std::env::var_os(crate::cuda::REQUIRED).is_none(), "{}, but {missing}", crate::cuda::REQUIRED);
        // Past the test harness, which keeps the output of tests that pass to itself.
        there || writeln!(std::io::stderr().lock(), "SKIPPED: tests of machine code: {missing}").is_err()
    })
}

/// The kernels of a cubin, by name.
pub fn disassemble(cubin: &[u8]) -> BTreeMap<String, Code> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("weft-sass-{}-{number}.cubin", std::process::id()));
    std::fs::write(&path, cubin).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let output = Command::new(tool().expect("it is there")).args(["-c", "-ndf"]).arg(&path).output();
    let _ = std::fs::remove_file(&path);
    let output = output.unwrap_or_else(|e| panic!("nvdisasm: {e}"));
    assert!(output.status.success(), "nvdisasm: {}", String::from_utf8_lossy(&output.stderr));
    read(&String::from_utf8_lossy(&output.stdout))
}

/// What the disassembler prints: sections with labels and instructions, `/*0080*/ @!P0 BRA `(.L_x_1) ;`.
fn read(text: &str) -> BTreeMap<String, Code> {
    let mut all: BTreeMap<String, Code> = BTreeMap::new();
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_suffix(':') {
            if let Some(name) = label.strip_prefix(".text.") {
                (current, labels) = (Some(name), BTreeMap::new());
            } else if let Some(code) = current.and_then(|name| all.get(name)) {
                labels.insert(label, code.instructions.len());
            }
        } else if line.starts_with(".section") {
            current = None;
        } else if let (Some(name), Some(instruction)) = (current, instruction(line)) {
            let code = all.entry(name.to_owned()).or_default();
            let target = instruction.split_once("`(").and_then(|(_, rest)| rest.split(')').next());
            if let Some(start) = target.filter(|_| is(instruction, "BRA")).and_then(|label| labels.get(label))
            {
                code.loops.push(*start..code.instructions.len() + 1);
            }
            code.instructions.push(instruction.to_owned());
        }
    }
    all
}

/// The instruction of a line, without its place and its predicate.
fn instruction(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("/*")?.split_once("*/")?;
    let rest = rest.trim().split(';').next()?.trim();
    let rest = match rest.strip_prefix('@') {
        Some(guarded) => guarded.split_once(char::is_whitespace)?.1.trim(),
        None => rest,
    };
    (!rest.is_empty() && !rest.starts_with("/*")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::read;

    /// As nvdisasm prints it.
    const TEXT: &str = "
.section	.text.one,\"ax\",@progbits
.text.one:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E.128 R4, [R2.64] ;
        /*0020*/                   F2FP.BF16.PACK_AB R4, R5, R4 ;
.L_x_0:
        /*0030*/                   HMMA.16816.F32.BF16 R8, R12, R4, R8 ;
        /*0040*/              @!P0 FFMA R8, R12, R4, R8 ;
        /*0050*/                   IADD3 R0, R0, 0x1, RZ ;
        /*0060*/                   FADD R9, R8, R9 ;
        /*0070*/               @P0 BRA `(.L_x_0) ;
        /*0080*/               @P1 BRA `(.L_x_1) ;
        /*0090*/                   EXIT ;
.section	.text.two,\"ax\",@progbits
.text.two:
        /*0000*/                   STL [R1], R2 ;
";

    #[test]
    fn loops_and_their_math_are_found() {
        let all = read(TEXT);
        let one = &all["one"];
        assert_eq!(one.instructions.len(), 10);
        assert!(one.has("LDG", &["E", "128"]) && !one.has("STG", &["128"]));
        // The inner loop; the outer one has no more multiply-adds.
        assert_eq!(one.main_loop().len(), 5);
        assert_eq!(one.share(), Some(2.0 / 3.0));
        assert_eq!((all["two"].count("STL"), all["two"].share()), (1, None));
    }
}
