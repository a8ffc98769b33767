//! `weft emit`: what the compiler makes of a spec, at any stage.

use crate::args::{Emit, FormatArg, StageArg};
use crate::failure::Failure;
use crate::{output, spec};
use weft_compiler::stages::{self, EmitError, Format, Stage};

pub fn run(args: &Emit) -> Result<(), Failure> {
    let stage = match args.stage {
        StageArg::Ast => Stage::Ast,
        StageArg::Typed => Stage::Typed,
        StageArg::Graph => Stage::Graph,
        StageArg::Optimized => Stage::Optimized,
        StageArg::Loops => Stage::Loops,
        StageArg::Clif => Stage::Clif,
        StageArg::Asm => Stage::Asm,
    };
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
    match stages::emit(&spec.checked, stage, args.entry.as_deref(), format) {
        Ok(text) => {
            output::write(&text);
            Ok(())
        }
        Err(EmitError::Unsound) => {
            spec::show(&spec.checked, false);
            Err(Failure::reported())
        }
        Err(EmitError::Request(why)) => Err(Failure::usage(why)),
        Err(EmitError::Plan(error)) => {
            let (line, _) = spec.checked.sources.position(error.span);
            Err(Failure::input(format!("line {line}: {error}")))
        }
    }
}
