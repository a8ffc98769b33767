//! `--train`: the program that trains an executable's weights further.

use crate::args::Build;
use crate::compile::{self, Machine, Wanted};
use crate::failure::Failure;
use crate::spec::Spec;
use std::collections::HashSet;
use weft_runtime::execute::Session;
use weft_runtime::program::Program;
use weft_runtime::weights;

/// The program, and the values of those weights and states, one after another, that `predicting` has not.
pub fn of(args: &Build, spec: &Spec, predicting: &Program) -> Result<(Program, Vec<u8>), Failure> {
    let program = compile::program_for(Machine::Cpu(args.target.into()), spec, Wanted::Training, None)?;
    if program.trainings.is_empty() {
        return Err(Failure::input("the spec has no `train` block, so the executable could not train")
            .help("build it without --train"));
    }
    let mut session = Session::new(program.clone(), compile::threads(None))?;
    // What the spec's `load` items leave out starts as in a training.
    compile::fresh_weights(&mut session, program.trainings[0].seed)?;
    match &args.weights {
        Some(file) => weights::load_weights(&mut session, file)?,
        None => weights::load_items(&mut session, &spec.folder)?,
    }
    let there: HashSet<&str> = predicting.variables.iter().map(|variable| variable.path.as_str()).collect();
    let mut others = Vec::new();
    for index in weights::saved(&program).filter(|index| !there.contains(&*program.variables[*index].path)) {
        others.extend_from_slice(session.variable(index).data);
    }
    Ok((Program::clone(&program), others))
}
