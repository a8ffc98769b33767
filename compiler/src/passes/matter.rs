//! How much each value of a weight matters: the sum, over an evaluation, of the squares of what it is multiplied by.
//!
//! ```text
//! y = contract x, W            accumulator W/matter += Σ_rows x²
//! ```
//!
//! The scales of [`super::narrow`] are chosen by it. Only weights that it keeps as i8 are looked at, and only contractions that read them
//! directly or transposed; what is read inside of a loop alone is not.

use crate::graph::op::{Binary, Reduction};
use crate::graph::{Builder, DType, Dim, Graph, Module, NodeId, Op, TensorType, TypeError, Variable};
use weft_runtime::program::VariableKind;

/// The path of the sums of a weight: one for each place of the axes that are no channels, in order.
pub fn path(weight: &str) -> String {
    format!("{weight}/matter")
}

/// The module with sums that its evaluations gather.
pub fn gathered(module: &Module) -> Module {
    let mut module = module.clone();
    let weights: Vec<(Variable, Vec<usize>)> = module
        .variables
        .iter()
        .filter(|v| v.kind == VariableKind::Weight && v.ty.dtype == DType::F32 && v.ty.rank() > 1)
        .filter_map(|v| Some((v.clone(), super::narrow::channels(&module, v)?)))
        .collect();
    let evaluations: Vec<String> =
        module.trainings.iter().map(|training| training.evaluate.clone()).collect();
    for (weight, channels) in weights {
        let summed: Vec<usize> = (0..weight.ty.rank()).filter(|axis| !channels.contains(axis)).collect();
        let shape: Vec<Dim> = summed.iter().map(|axis| weight.ty.shape[*axis].clone()).collect();
        let ty = TensorType::new(DType::F32, shape);
        let mut seen = false;
        for entry in module.entries.iter_mut().filter(|entry| evaluations.contains(&entry.graph.name)) {
            seen |= gather(&mut entry.graph, &weight.path, &summed, &ty).unwrap_or(false);
        }
        if seen {
            module.variables.push(Variable {
                path: path(&weight.path),
                kind: VariableKind::Accumulator,
                ty,
                trainable: false,
                channels: Vec::new(),
                span: weight.span,
            });
        }
    }
    module
}

/// Adds the squares of all that a weight is multiplied by to its sums; false if nothing is.
fn gather(graph: &mut Graph, weight: &str, summed: &[usize], ty: &TensorType) -> Result<bool, TypeError> {
    let is = |id: &NodeId| matches!(&graph.node(*id).op, Op::Variable(path) if path == weight);
    let mut found = Vec::new();
    for id in graph.ids().filter(is) {
        let identity: Vec<usize> = (0..graph.node(id).ty.rank()).collect();
        factors(graph, id, &identity, summed, &mut found);
    }
    if found.is_empty() {
        return Ok(false);
    }
    let mut b = Builder::new("");
    std::mem::swap(&mut b.graph, graph);
    let sums = |b: &mut Builder| -> Result<NodeId, TypeError> {
        let mut total = b.push(Op::Variable(path(weight)), &[], Some(ty.clone()))?;
        for (factor, axes) in found {
            let square = b.binary(Binary::Mul, factor, factor)?;
            let others: Vec<usize> = (0..b.ty(factor).rank()).filter(|axis| !axes.contains(axis)).collect();
            let mut sum = b.reduce(Reduction::Sum, square, &others)?;
            // The axes that are left stand in the factor's order: those of the weight's are asked for.
            let mut left = axes.clone();
            left.sort_unstable();
            let order: Vec<usize> = axes.iter().filter_map(|a| left.iter().position(|l| l == a)).collect();
            if order.windows(2).any(|two| two[0] > two[1]) {
                sum = b.transpose(sum, &order)?;
            }
            total = b.binary(Binary::Add, total, sum)?;
        }
        Ok(total)
    };
    let total = sums(&mut b);
    if let Ok(total) = total {
        b.graph.updates.push((path(weight), total));
    }
    *graph = b.graph;
    total.map(|_| true)
}

/// What a node is multiplied by in contractions that sum over the axes of `summed`, with the axes of it that belong to these; `axes` says
/// where the node's axes come from in the weight.
fn factors(
    graph: &Graph,
    id: NodeId,
    axes: &[usize],
    summed: &[usize],
    found: &mut Vec<(NodeId, Vec<usize>)>,
) {
    for user in graph.ids() {
        let node = graph.node(user);
        for place in (0..node.inputs.len()).filter(|place| node.inputs[*place] == id) {
            match &node.op {
                Op::Contract { batch, sum } if batch.is_empty() => {
                    let pairs: Vec<(usize, usize)> = sum
                        .iter()
                        .map(|(a, b)| if place == 0 { (axes[*a], *b) } else { (axes[*b], *a) })
                        .collect();
                    let of = |axis: &usize| pairs.iter().find(|pair| pair.0 == *axis).map(|pair| pair.1);
                    let of_all: Option<Vec<usize>> = summed.iter().map(of).collect();
                    if let Some(factor) = of_all.filter(|_| pairs.len() == summed.len()) {
                        found.push((node.inputs[1 - place], factor));
                    }
                }
                Op::Transpose { permutation } => {
                    let moved: Vec<usize> = permutation.iter().map(|axis| axes[*axis]).collect();
                    factors(graph, user, &moved, summed, found);
                }
                Op::Hold => factors(graph, user, axes, summed, found),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{self, Value, Values};
    use crate::graph::text::parse;

    #[test]
    fn squares_of_all_factors_are_added_up() {
        let text = r#"graph evaluate
%w = variable : f32[2, 3]
%x = input : f32[n, 2]
%y = contract %x, %w {batch=[], sum=[(1, 0)]} : f32[n, 3]
%t = transpose %w {permutation=[1, 0]} : f32[3, 2]
%z = contract %t, %x {batch=[], sum=[(1, 1)]} : f32[3, n]
%back = contract %y, %w {batch=[], sum=[(1, 1)]} : f32[n, 2]
output "y" = %y
output "z" = %z
output "back" = %back
"#;
        let mut graph = parse(text).unwrap_or_else(|e| panic!("{e:?}"));
        let ty = TensorType::new(DType::F32, vec![Dim::from(2usize)]);
        assert_eq!(gather(&mut graph, "w", &[0], &ty), Ok(true));
        crate::graph::verify(&graph).unwrap_or_else(|e| panic!("{e:?}"));
        let value =
            |shape: &[usize], values: &[f64]| Value::<f32>::from_f64(DType::F32, shape, values).unwrap();
        let named = |list: Vec<(&str, Value<f32>)>| -> Values<f32> {
            list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let inputs = named(vec![("x", value(&[3, 2], &[1.0, 2.0, -3.0, 4.0, 0.5, 0.0]))]);
        let weights =
            named(vec![("w", value(&[2, 3], &[1.0; 6])), ("w/matter", value(&[2], &[100.0, 200.0]))]);
        let outcome = evaluate::evaluate(&graph, &inputs, &weights).unwrap();
        // Two contractions sum over the first axis; the third sums over the other, which are the channels.
        let sums = outcome.updates.iter().find(|(path, _)| *path == "w/matter").unwrap().1.to_f64();
        assert_eq!(sums, [100.0 + 2.0 * (1.0 + 9.0 + 0.25), 200.0 + 2.0 * (4.0 + 16.0)]);
        assert_eq!(gather(&mut graph, "other", &[0], &ty), Ok(false));
    }
}
