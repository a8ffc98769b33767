//! Where numbers went wrong: from a step's inputs and variables, the operation that first made something that is no finite number.
//!
//! The step is computed once more by the reference evaluator, operation by operation, with nothing fused. From a result that
//! should be finite the search goes back along the data: to the operation that made a NaN of what was none, and from there to
//! the one that made an infinity of finite numbers. Infinities that nothing suffers from, such as those of a mask, are passed by.

use crate::evaluate::{EvalError, Symbols, Value, Values, evaluate_nodes};
use crate::graph::op::{Binary, Op, Unary};
use crate::graph::{Graph, NodeId};
use weft_grammar::Span;

/// An operation that gave what is no finite number.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The operation with its path, as graphs show it: `Cnn.loss.log`.
    pub path: String,
    pub span: Span,
    /// What it gave, such as `-inf in 3 of 640 values`.
    pub gave: String,
    /// What it had, such as `numbers from 0 to 0.7`, one for each float input.
    pub had: Vec<String>,
    /// What can be done.
    pub hint: &'static str,
    /// Where NaN was made of this infinity: path and place.
    pub then: Option<(String, Span)>,
}

/// Finds the origin of what is wrong in a run of a graph; none when all results are finite.
pub fn origin(
    graph: &Graph,
    inputs: &Values<f32>,
    variables: &Values<f32>,
) -> Result<Option<Origin>, EvalError> {
    let (values, _) = evaluate_nodes(graph, inputs, variables, &Symbols::new())?;
    let search = Search { graph, values };
    let results = graph.updates.iter().chain(&graph.outputs).map(|(_, id)| *id);
    // NaN says more than infinity.
    let results: Vec<NodeId> = results.collect();
    let bad = |kind: fn(f32) -> bool| results.iter().copied().find(|id| search.any(*id, kind));
    Ok(bad(f32::is_nan).or_else(|| bad(f32::is_infinite)).map(|id| search.from(id)))
}

struct Search<'g> {
    graph: &'g Graph,
    values: Vec<Value<f32>>,
}

impl Search<'_> {
    fn any(&self, id: NodeId, kind: fn(f32) -> bool) -> bool {
        match self.values.get(id.index()) {
            Some(Value::Float(array)) => array.iter().any(|value| kind(*value)),
            _ => false,
        }
    }

    fn inputs(&self, id: NodeId) -> &[NodeId] {
        self.graph.nodes.get(id.index()).map_or(&[], |node| &node.inputs)
    }

    /// Of a loop's result, what the loop was given.
    fn given(&self, id: NodeId) -> &[NodeId] {
        match (self.graph.nodes.get(id.index()).map(|node| &node.op), self.inputs(id)) {
            (Some(Op::ScanResult { .. }), [scan]) => self.inputs(*scan),
            (_, inputs) => inputs,
        }
    }

    fn back(&self, mut id: NodeId, kind: fn(f32) -> bool) -> NodeId {
        // Nodes read earlier ones only, so this ends.
        while let Some(input) = self.given(id).iter().copied().find(|input| self.any(*input, kind)) {
            id = input;
        }
        id
    }

    fn from(&self, id: NodeId) -> Origin {
        let nan = if self.any(id, f32::is_nan) { self.back(id, f32::is_nan) } else { id };
        let infinite = self.back(nan, f32::is_infinite);
        let constant = self
            .graph
            .nodes
            .get(infinite.index())
            .is_some_and(|n| matches!(n.op, Op::Constant(_) | Op::Table(_)));
        if infinite == nan || constant {
            return self.describe(nan, None);
        }
        let then = self.any(nan, f32::is_nan).then_some(nan);
        self.describe(infinite, then)
    }

    fn describe(&self, id: NodeId, then: Option<NodeId>) -> Origin {
        let node = &self.graph.nodes[id.index()];
        let name = |id: NodeId| {
            let node = &self.graph.nodes[id.index()];
            match &node.op {
                Op::Input(name) => format!("the data's `{name}`"),
                Op::Variable(path) => path.clone(),
                op => format!("{}.{}", node.path, word(op)),
            }
        };
        Origin {
            path: name(id),
            span: node.span,
            gave: self.wrong(id),
            had: self.given(id).iter().filter_map(|input| self.range(*input)).collect(),
            hint: hint(&node.op),
            then: then.map(|id| (name(id), self.graph.nodes[id.index()].span)),
        }
    }

    /// `NaN in 3 of 640 values`
    fn wrong(&self, id: NodeId) -> String {
        let Some(Value::Float(array)) = self.values.get(id.index()) else { return String::new() };
        let kind = |value: f32| match value {
            f32::INFINITY => "inf",
            f32::NEG_INFINITY => "-inf",
            _ if value.is_nan() => "NaN",
            _ => "",
        };
        let count = |name: &str| array.iter().filter(|value| kind(**value) == name).count();
        let kinds = ["NaN", "inf", "-inf"];
        let found = kinds.iter().map(|name| (name, count(name))).filter(|(_, count)| *count > 0);
        let found: Vec<String> = match array.len() {
            1 => found.map(|(name, _)| (*name).to_owned()).collect(),
            all => found.map(|(name, count)| format!("{name} in {count} of {all} values")).collect(),
        };
        found.join(", ")
    }

    /// `numbers from 0 to 0.7`
    fn range(&self, id: NodeId) -> Option<String> {
        let Some(Value::Float(array)) = self.values.get(id.index()) else { return None };
        let finite = || array.iter().copied().filter(|value| value.is_finite());
        let (least, most) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        let beside =
            if finite().count() < array.len() { format!(" ({})", self.wrong(id)) } else { String::new() };
        Some(match least > most {
            true => self.wrong(id),
            false if least == most => format!("{}{beside}", short(least)),
            false => format!("numbers from {} to {}{beside}", short(least), short(most)),
        })
    }
}

fn short(value: f32) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        format!("{value:.3e}")
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    }
}

fn word(op: &Op) -> String {
    match op {
        Op::Unary(unary) => unary.name().to_owned(),
        Op::Binary(binary) => binary.name().to_owned(),
        Op::Reduce { reduction, .. } => reduction.name().to_owned(),
        Op::Contract { .. } => "matmul".to_owned(),
        Op::ScanResult { .. } => "scan".to_owned(),
        other => {
            // The variant's name: `Conv { … }`, `Cast`.
            let text = format!("{other:?}");
            let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
            text[..end].to_lowercase()
        }
    }
}

fn hint(op: &Op) -> &'static str {
    match op {
        Op::Unary(Unary::Log | Unary::Log1p) => {
            "a logarithm needs numbers above 0: add a little, as in `log(x + 1e-7)`, or use a loss that takes logits"
        }
        Op::Binary(Binary::Div | Binary::Rem | Binary::FloorDiv) => {
            "keep the divisor away from 0, as in `x / max(y, 1e-6)`"
        }
        Op::Unary(Unary::Rsqrt | Unary::Sqrt) => {
            "keep what is under the root above 0, as in `sqrt(x + 1e-6)`; at 0 its gradient is infinite"
        }
        Op::Unary(Unary::Exp | Unary::Expm1) => {
            "f32 ends at exp(88.7): subtract the largest value first, as softmax does, or take a smaller rate"
        }
        Op::Binary(Binary::Pow) => "a power of 0 or of a negative number may be none; keep the base above 0",
        Op::ScanResult { .. } => {
            "a step of this loop made it: values that grow from step to step are held by a norm, `tanh`, or clipped gradients"
        }
        Op::Input(_) => {
            "the data hold what is no finite number: take it out, or fill it in, in the `data` item"
        }
        Op::Variable(_) => "it was so before the step: look at the weights that the training started from",
        _ => "numbers grew too large: take a smaller rate, or `clip gradients by global norm 1`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{self, Options};

    /// The origin of what is wrong in the first training step of a spec, by its path and the text at its place.
    fn found(body: &str, rows: &[f32]) -> (String, String, String) {
        let spec = format!(
            "data d = mnist(\"x\")\nmodel M(x: f32[n, 2]) -> f32[n, 2] {{ x |> dense(2) }}\n\
             predict p(x: f32[n, 2]) {{ {body} }}\n"
        );
        let mut load = |name: &str| match name {
            "a.weft" => Ok(spec.clone()),
            other => Err(format!("there is no {other}")),
        };
        let checked = check::check("a.weft", &mut load, &Options::default());
        let module = checked.module.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        let graph = &module.entries.iter().find(|e| e.graph.name == "predict.p").expect("it is there").graph;
        let value = |values: &[f32], shape: &[usize]| {
            let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            Value::from_f64(crate::graph::DType::F32, shape, &values).expect("it fits")
        };
        let inputs = Values::from([("x".to_owned(), value(rows, &[rows.len() / 2, 2]))]);
        let variables = module.variables.iter().map(|v| {
            let shape: Vec<usize> =
                v.ty.shape.iter().filter_map(|d| d.as_constant()).map(|d| d as usize).collect();
            (v.path.clone(), value(&vec![1.0; shape.iter().product()], &shape))
        });
        let origin = origin(graph, &inputs, &variables.collect()).expect("it runs").expect("it is wrong");
        (origin.path, checked.sources.text(origin.span).to_owned(), origin.gave)
    }

    #[test]
    fn the_first_operation_is_named_with_its_place() {
        let (path, text, gave) = found("let p = M(x) * 0\n mean(log(p) * p)", &[1.0, 2.0]);
        assert!(path.ends_with(".log") || path.ends_with("log"), "{path}");
        assert_eq!((text.as_str(), gave.as_str()), ("log(p)", "-inf in 2 of 2 values"));
        let (path, text, gave) = found("let d = x - x\n M(x / d)", &[1.0, 0.0]);
        assert!(path.ends_with("div"), "{path}");
        assert_eq!((text.as_str(), gave.as_str()), ("x / d", "NaN in 1 of 2 values, inf in 1 of 2 values"));
        assert!(found("M(x)", &[f32::INFINITY, 0.0]).0.starts_with("the data's `x`"));
    }

    #[test]
    fn a_mask_is_passed_by() {
        let body = "let masked = where(x > 1, x, -1 / (x - x))\n M(x) / (masked - masked)";
        let (path, text, _) = found(body, &[2.0, 3.0]);
        assert!(path.ends_with("div") && text == "M(x) / (masked - masked)", "{path}: {text}");
    }
}
