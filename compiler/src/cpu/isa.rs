//! The machine that code is made for.
//!
//! The default on x86 is x86-64-v3 (AVX2, FMA); on others their baseline. What code needs is written beside it, and the runtime compares
//! it with the processor before anything runs. Code is position independent and calls nothing but what the table of math functions holds, so that it needs no relocation.

use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use weft_runtime::processor;

/// What to compile for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The architecture that the compiler itself runs on, as it has been for years: x86-64-v3, or AArch64's baseline.
    #[default]
    Host,
    /// All that the processor has which the compiler itself runs on.
    Native,
    /// The oldest processors of this architecture that code is made for: x86-64-v2, without FMA.
    Baseline,
    X86_64,
    Aarch64,
}

impl Target {
    /// The name in [`weft_runtime::program::Code::arch`].
    pub fn arch(self) -> &'static str {
        match self {
            Target::Host | Target::Native | Target::Baseline if cfg!(target_arch = "aarch64") => "aarch64",
            Target::Aarch64 => "aarch64",
            _ => "x86_64",
        }
    }

    /// What people call it: `x86-64-v3`.
    pub fn name(self) -> &'static str {
        match (self.arch(), self) {
            ("aarch64", _) => "aarch64",
            (_, Target::Native) => "native",
            (_, Target::Baseline) => "x86-64-v2",
            _ => "x86-64-v3",
        }
    }

    /// What a processor must have, by the names of [`weft_runtime::processor`].
    pub fn features(self) -> Vec<&'static str> {
        match (self.arch(), self) {
            ("aarch64", _) => Vec::new(),
            (_, Target::Baseline) => V2.to_vec(),
            (_, Target::Native) => processor::features(),
            _ => [V2, V3].concat(),
        }
    }
}

/// What is asked of x86-64-v2, and of x86-64-v3 beside it.
const V2: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"];
const V3: &[&str] = &["avx", "avx2", "fma", "bmi1", "bmi2", "lzcnt"];

/// Cranelift's description of the target.
pub fn isa(target: Target) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    flags.set("opt_level", "speed").map_err(|e| text(&e))?;
    flags.set("is_pic", "true").map_err(|e| text(&e))?;
    flags.set("unwind_info", "false").map_err(|e| text(&e))?;
    flags.set("enable_probestack", "false").map_err(|e| text(&e))?;
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    flags.set("enable_verifier", verify).map_err(|e| text(&e))?;
    let triple = match target.arch() {
        "aarch64" => "aarch64-unknown-linux-gnu",
        _ => "x86_64-unknown-linux-gnu",
    };
    let mut builder = isa::lookup_by_name(triple).map_err(|e| text(&e))?;
    for feature in target.features() {
        builder.enable(&format!("has_{}", feature.replace('.', ""))).map_err(|e| text(&e))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| text(&e))
}

/// Has it an instruction for `a·b + c`?
pub fn has_fma(isa: &dyn TargetIsa) -> bool {
    isa.isa_flags().iter().all(|flag| flag.name != "has_fma" || flag.as_bool() == Some(true))
}
