//! What is told of a run's model: its layers with their sizes and work, and the drawing of its graph.

use crate::output;
use crate::spec::Spec;
use crate::summary::work_under;
use weft_compiler::stages::{self, Format, Stage};
use weft_runtime::execute::dims_at;
use weft_runtime::program::Program;

/// A drawing that is larger is left out of the page.
const MAX_DRAWING: usize = 600_000;

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub layers: Vec<Layer>,
    /// SVG; empty where it would be too large.
    pub graph: String,
}

/// A layer, at its first use.
#[derive(Clone, Debug)]
pub struct Layer {
    pub path: String,
    pub layer: String,
    pub output: String,
    pub parameters: u64,
    /// For one row.
    pub flops: String,
    pub line: usize,
}

impl Model {
    /// The layers as the evaluation of a training runs them, and the graph of the first prediction, or else of the evaluation.
    pub fn of(spec: &Spec, program: &Program, training: usize) -> Model {
        let Some(typed) = &spec.checked.typed else { return Model::default() };
        let evaluate = program.trainings.get(training).map_or("", |training| training.evaluate.as_str());
        let entry = program.entries.iter().find(|entry| entry.name == evaluate);
        let dims = entry.map(|entry| {
            let one: Vec<(&str, usize)> = entry.symbols.iter().map(|symbol| (symbol.as_str(), 1)).collect();
            dims_at(entry, &one).unwrap_or_default()
        });
        let flops = |path: &str| match (entry, &dims) {
            (Some(entry), Some(dims)) if !dims.is_empty() => {
                output::scaled(work_under(entry, dims, path).0.max(0) as f64, "")
            }
            _ => String::new(),
        };
        let layers = typed.instances.iter().map(|instance| Layer {
            path: instance.path.clone(),
            layer: instance.layer.clone(),
            output: instance.output.clone(),
            parameters: u64::try_from(typed.parameters(&instance.path)).unwrap_or_default(),
            flops: flops(&instance.path),
            line: instance.line,
        });
        let drawn = |entry: &str| stages::emit(&spec.checked, Stage::Graph, Some(entry), Format::Svg).ok();
        let graph = drawn("predict").or_else(|| drawn(evaluate)).filter(|svg| svg.len() <= MAX_DRAWING);
        Model { layers: layers.collect(), graph: graph.unwrap_or_default() }
    }
}
