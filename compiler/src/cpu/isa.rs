//! The machine that code is made for.
//!
//! The default on x86 is x86-64-v3 (AVX2, FMA), which the runtime checks at start-up; on others their baseline. Code is position
//! independent and calls nothing but what the table of math functions holds, so that it needs no relocation.

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};

/// What to compile for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The architecture that the compiler itself runs on.
    #[default]
    Host,
    X86_64,
    Aarch64,
}

impl Target {
    /// The name in [`weft_runtime::program::Code::arch`].
    pub fn arch(self) -> &'static str {
        match self {
            Target::Host if cfg!(target_arch = "aarch64") => "aarch64",
            Target::Aarch64 => "aarch64",
            Target::Host | Target::X86_64 => "x86_64",
        }
    }
}

/// What is asked of x86-64-v3.
const FEATURES: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

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
    if target.arch() == "x86_64" {
        for feature in FEATURES {
            builder.enable(feature).map_err(|e| text(&e))?;
        }
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| text(&e))
}
