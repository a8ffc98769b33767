//! What is said when a training's numbers are no longer finite: which operation made them so, and where the spec asks for it.

use crate::failure::Failure;
use crate::spec::Spec;
use weft_compiler::evaluate::{Value, Values};
use weft_compiler::numerics::{self, Origin};
use weft_grammar::Span;
use weft_runtime::error::Error;
use weft_runtime::error::FailedStep;
use weft_runtime::tensor::Tensor;

/// A training's error as the command's; the origin of a NaN is looked for.
pub fn failure(error: Error, spec: &Spec) -> Failure {
    let Error::NonFinite { step, .. } = &error else { return Failure::from(error) };
    let Some(origin) = step.as_ref().and_then(|step| origin(step, spec)) else {
        return Failure::from(error).help("take a smaller rate, or `clip gradients by global norm 1`");
    };
    let had = match origin.had.as_slice() {
        [] => String::new(),
        had => format!(" for {}", had.join(" and ")),
    };
    let mut text = format!("{error}\n  `{}` gave {}{had}", origin.path, origin.gave);
    text += &place(spec, origin.span);
    if let Some((path, span)) = &origin.then {
        text += &format!("\n  of which `{path}` made NaN{}", place(spec, *span));
    }
    Failure::input(text).help(origin.hint)
}

fn place(spec: &Spec, span: Span) -> String {
    let sources = &spec.checked.sources;
    let (line, column) = sources.position(span);
    let Some(source) = sources.get(span.file) else { return String::new() };
    let text = source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
    format!("\n  --> {}:{line}:{column}\n  {line:>4} | {text}", source.name)
}

fn origin(step: &FailedStep, spec: &Spec) -> Option<Origin> {
    let module = spec.checked.module.as_ref()?;
    let entry = module.entries.iter().find(|entry| entry.graph.name == step.entry)?;
    let values = |tensors: &[(String, Tensor)]| -> Option<Values<f32>> {
        let value = |(name, tensor): &(String, Tensor)| {
            let view = tensor.view();
            Some((name.clone(), Value::from_f64(view.dtype, view.shape, &view.to_f64())?))
        };
        tensors.iter().map(value).collect()
    };
    numerics::origin(&entry.graph, &values(&step.inputs)?, &values(&step.variables)?).ok()?
}
