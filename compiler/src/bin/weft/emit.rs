//! `weft emit`: what the compiler makes of a spec, at any stage.

use crate::args::{Emit, FormatArg};
use crate::failure::Failure;
use crate::output;
use crate::spec::{self, Spec};
use weft_compiler::cuda::Math;
use weft_compiler::stages::{self, EmitError, Format, Stage};

pub fn run(args: &Emit) -> Result<(), Failure> {
    let stage = Stage::from(args.stage);
    let format = match (args.format, args.spec.json) {
        (FormatArg::Json, _) | (FormatArg::Text, true) => Format::Json,
        (FormatArg::Text, false) => Format::Text,
        (FormatArg::Dot, _) => Format::Dot,
        (FormatArg::Svg, _) => Format::Svg,
    };
    // The tree needs a spec that can be read, everything else one that is right.
    let spec = if stage == Stage::Ast {
        spec::read(&args.spec, None, None)?
    } else {
        spec::sound(&args.spec, None, None)?
    };
    let math = Math::from(args.math.math);
    if math != Math::F32 && !stage.of_gpu() {
        return Err(Failure::usage(format!("--math {} is of kernels for a GPU", math.name()))
            .help("show them with --stage cuda, or leave --math out"));
    }
    let text = stages::emit_in(&spec.checked, stage, args.entry.as_deref(), format, math);
    output::write(&text.map_err(|error| failure(&spec, error))?);
    Ok(())
}

/// Why a stage cannot be shown, as the command's end.
pub fn failure(spec: &Spec, error: EmitError) -> Failure {
    match error {
        EmitError::Unsound => {
            spec::show(&spec.checked, false);
            Failure::reported()
        }
        EmitError::Request(why) => Failure::usage(why),
        EmitError::Plan(error) => {
            let (line, _) = spec.checked.sources.position(error.span);
            Failure::input(format!("line {line}: {error}"))
        }
    }
}
