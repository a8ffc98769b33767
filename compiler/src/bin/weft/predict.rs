//! `weft predict`: a model on the user's own input.

use crate::args::Predict;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::{inputs, results, spec};
use weft_runtime::execute::Session;
use weft_runtime::tensor::{Tensor, TensorView};

pub fn run(args: &Predict) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?.kept(&args.item.kept);
    let program = compile::program_on(args.item.machine, &spec, Wanted::Prediction, args.item.threads)?;
    let entry = &results::chosen(&program.predictions, args.item.predict.as_deref())?.entry;
    let mut session = Session::new(program.clone(), compile::threads(args.item.threads))?;
    let index = session.entry(entry)?;
    compile::weights(&mut session, &[index], args.weights.as_deref(), &spec)?;
    let entry = &program.entries[index];
    let kept = match &args.weights {
        Some(weights) => weft_runtime::weights::provenance(weights)?,
        None => weft_runtime::weights::Provenance::default(),
    };
    let texts = inputs::Texts { program: &program, kept: &kept.vocabularies, base: &spec.folder };
    let inputs = inputs::read(entry, &args.inputs, &texts, args.seed)?;
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    let outputs = session.run(index, &views)?;
    let results = outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect();
    match &args.output {
        Some(path) => results::save(&results, path),
        None => {
            results::print(&results, &kept.classes, args.spec.json);
            Ok(())
        }
    }
}
