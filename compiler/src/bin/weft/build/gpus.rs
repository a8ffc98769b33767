//! `--device cuda` and `--device auto`: programs with the machine code of their kernels, for executables that run on GPUs.
//!
//! NVRTC compiles every kernel for each architecture that is asked for, and to PTX for those that come later. It needs no GPU, and an
//! executable needs no NVRTC.

use crate::args::{Build, Device, MathArg, Product};
use crate::compile::{self, Machine, Wanted};
use crate::failure::Failure;
use crate::output;
use crate::spec::Spec;
use std::sync::Arc;
use weft_runtime::cuda::{self, Cache};
use weft_runtime::program::{Arch, ImageKind, Program, Scope};

/// A100, H100 and B200, and those of their kind.
const USUAL: [Arch; 3] =
    [Arch::cubin(80, Scope::Later), Arch::cubin(90, Scope::Alone), Arch::cubin(100, Scope::Later)];

/// The architectures that kernels are compiled for; none where nothing is to run on a GPU.
pub fn archs(args: &Build) -> Result<Vec<Arch>, Failure> {
    if args.device == Device::Cpu {
        let wrong = match (args.arch.is_empty(), args.math.math) {
            (true, MathArg::F32) => return Ok(Vec::new()),
            (true, _) => "--math is for GPUs",
            (false, _) => "--arch names GPUs",
        };
        return Err(Failure::usage(format!("{wrong}, and this is built for processors"))
            .help("build it for GPUs too, with --device auto, or for them alone, with --device cuda"));
    }
    if !matches!(args.emit, Product::Exe | Product::Payload) {
        return Err(Failure::usage("a model in another program runs on the processor")
            .help("leave out --device, or build an executable: leave out --emit"));
    }
    let mut archs = if args.arch.is_empty() { USUAL.to_vec() } else { args.arch.clone() };
    let supported = cuda::supported()?;
    let oldest = Arch::PTX.capability;
    for arch in &archs {
        if arch.capability < oldest {
            let message = format!(
                "kernels are made for compute capability {}.{} and later, not for {arch}",
                oldest / 10,
                oldest % 10
            );
            return Err(Failure::usage(message).help("leave it out of --arch"));
        }
        if !supported.contains(&arch.capability) {
            let known = supported.iter().filter(|capability| **capability >= oldest);
            let known: Vec<String> = known.map(|capability| format!("sm_{capability}")).collect();
            let message = format!("NVRTC knows no {arch}; it knows {}", known.join(", "));
            return Err(
                Failure::usage(message).help("name one of these with --arch, or install a newer NVRTC")
            );
        }
    }
    // Those that come after all of these compile PTX when they load it.
    if archs.iter().all(|arch| arch.kind == ImageKind::Cubin)
        && let Some(least) = archs.iter().map(|arch| arch.ptx()).min_by_key(|arch| arch.capability)
    {
        archs.push(least);
    }
    archs.sort_by_key(|arch| (arch.kind == ImageKind::Ptx, arch.capability, arch.to_string()));
    archs.dedup();
    Ok(archs)
}

/// What GPUs run of a spec, with its kernels compiled. Their source is not kept.
pub fn program(args: &Build, spec: &Spec, wanted: Wanted, archs: &[Arch]) -> Result<Program, Failure> {
    let mut program =
        Arc::unwrap_or_clone(compile::program_for(Machine::Gpu(args.math.math.into()), spec, wanted, None)?);
    let code = &mut program.device;
    if !args.spec.json {
        let names: Vec<String> = archs.iter().map(Arch::to_string).collect();
        output::note(&format!("compiling {} kernels for {}", code.functions.len(), names.join(", ")));
    }
    let cache = Cache::of_user();
    for arch in archs {
        let image = cuda::image(code, *arch, &cache)?;
        code.images.push(image);
    }
    code.prelude.clear();
    code.libraries.clear();
    code.functions.iter_mut().for_each(|function| {
        function.source.clear();
        function.libraries.clear();
    });
    Ok(program)
}
