//! Batching: a graph for one row becomes one for a batch of rows, side by side along a new leading axis.
//!
//! One rule per primitive. A node that depends on no batched input is computed once for all rows; where it meets a batched one it is
//! broadcast. Random elements are drawn for every row. What cannot be said in one primitive (a convolution whose weights differ from
//! row to row) is refused.

use super::dim::Dim;
use super::op::{Binary, Op};
use super::{Builder, DType, Graph, Node, NodeId, TensorType, TypeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use weft_grammar::Span;

/// Which node has no batched form, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorizeError {
    pub message: String,
    pub span: Span,
    pub path: Arc<str>,
}

impl std::fmt::Display for VectorizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for VectorizeError {}

/// A row's node in the batched graph.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    id: NodeId,
    /// Has the leading axis.
    batched: bool,
}

type Made = Result<NodeId, TypeError>;

/// What stands in the batched graph for the leaves of a row's. Other inputs and variables are shared by all rows, and are those of the
/// builder's graph where it has them.
#[derive(Clone, Debug, Default)]
pub struct Leaves {
    /// A batched input, by the row's name for it; its type is the row's with the leading axis.
    pub inputs: BTreeMap<String, NodeId>,
    /// What a variable is read as, by its path.
    pub variables: BTreeMap<String, NodeId>,
}

/// Appends `row`, batched, to the builder's graph, and gives its outputs, each with a leading axis of extent `batch`. Guards and bounds
/// come along; spans and paths stay.
pub fn vectorize(
    builder: &mut Builder,
    row: &Graph,
    batch: &Dim,
    leaves: &Leaves,
) -> Result<Vec<(String, NodeId)>, VectorizeError> {
    outputs(builder, row, batch, leaves, true)
}

/// As [`vectorize`], but what is the same for all rows stays one value, without the leading axis.
pub fn vectorize_apart(
    builder: &mut Builder,
    row: &Graph,
    batch: &Dim,
    leaves: &Leaves,
) -> Result<Vec<(String, NodeId)>, VectorizeError> {
    outputs(builder, row, batch, leaves, false)
}

fn outputs(
    builder: &mut Builder,
    row: &Graph,
    batch: &Dim,
    leaves: &Leaves,
    spread: bool,
) -> Result<Vec<(String, NodeId)>, VectorizeError> {
    let (span, path) = (builder.span, builder.path.clone());
    let result = batched(builder, row, batch, leaves, spread);
    (builder.span, builder.path) = (span, path);
    for guard in &row.guards {
        if !builder.graph.guards.contains(guard) {
            builder.graph.guards.push(guard.clone());
        }
    }
    for bound in &row.bounds {
        if !builder.graph.bounds.contains(bound) {
            builder.graph.bounds.push(bound.clone());
        }
    }
    result
}

fn batched(
    builder: &mut Builder,
    row: &Graph,
    batch: &Dim,
    leaves: &Leaves,
    spread: bool,
) -> Result<Vec<(String, NodeId)>, VectorizeError> {
    let mut map: Vec<Mapped> = Vec::with_capacity(row.nodes.len());
    for node in &row.nodes {
        (builder.span, builder.path) = (node.span, node.path.clone());
        let args: Vec<Mapped> = node.inputs.iter().filter_map(|i| map.get(i.index()).copied()).collect();
        let mut rows = Rows { b: builder, batch };
        let mapped = rows.node(node, &args, leaves).map_err(|e| VectorizeError {
            message: e.message,
            span: node.span,
            path: node.path.clone(),
        })?;
        map.push(mapped);
    }
    let mut outputs = Vec::with_capacity(row.outputs.len());
    for (name, id) in &row.outputs {
        let node = row.node(*id);
        (builder.span, builder.path) = (node.span, node.path.clone());
        let mut rows = Rows { b: builder, batch };
        let mapped = map[id.index()];
        let id = if spread { rows.spread(mapped) } else { Ok(mapped.id) };
        let id =
            id.map_err(|e| VectorizeError { message: e.message, span: node.span, path: node.path.clone() })?;
        outputs.push((name.clone(), id));
    }
    Ok(outputs)
}

fn refuse<T>(message: &str) -> Result<T, TypeError> {
    Err(TypeError { message: message.to_string(), input: None, axis: None })
}

fn up(axes: &[usize]) -> Vec<usize> {
    axes.iter().map(|axis| axis + 1).collect()
}

/// The axes of a row, one place further, behind the new first one.
fn behind(axes: &[usize]) -> Vec<usize> {
    std::iter::once(0).chain(up(axes)).collect()
}

struct Rows<'a> {
    b: &'a mut Builder,
    batch: &'a Dim,
}

impl Rows<'_> {
    fn node(&mut self, node: &Node, args: &[Mapped], leaves: &Leaves) -> Result<Mapped, TypeError> {
        match &node.op {
            Op::Input(name) => {
                if let Some(&id) = leaves.inputs.get(name) {
                    let due = self.lifted(&node.ty);
                    if *self.b.ty(id) != due {
                        return refuse(&format!("a batch of `{name}` is {due}, not {}", self.b.ty(id)));
                    }
                    return Ok(Mapped { id, batched: true });
                }
                return self.shared_leaf(node);
            }
            Op::Variable(path) => {
                return match leaves.variables.get(path) {
                    Some(&id) => Ok(Mapped { id, batched: false }),
                    None => self.shared_leaf(node),
                };
            }
            Op::Random { .. } if args.iter().all(|a| !a.batched) => {
                let ids: Vec<NodeId> = args.iter().map(|a| a.id).collect();
                let ty = self.lifted(&node.ty);
                return Ok(Mapped { id: self.b.push(node.op.clone(), &ids, Some(ty))?, batched: true });
            }
            _ => {}
        }
        if args.iter().all(|a| !a.batched) {
            let ids: Vec<NodeId> = args.iter().map(|a| a.id).collect();
            let id = self.b.push(node.op.clone(), &ids, Some(node.ty.clone()))?;
            return Ok(Mapped { id, batched: false });
        }
        Ok(Mapped { id: self.rule(node, args)?, batched: true })
    }

    /// An input or variable as it is, once.
    fn shared_leaf(&mut self, node: &Node) -> Result<Mapped, TypeError> {
        let here = self.b.graph.ids().find(|id| {
            let other = self.b.graph.node(*id);
            other.op == node.op && other.ty == node.ty
        });
        let id = match here {
            Some(id) => id,
            None => self.b.push(node.op.clone(), &[], Some(node.ty.clone()))?,
        };
        Ok(Mapped { id, batched: false })
    }

    /// The type with the leading axis.
    fn lifted(&self, ty: &TensorType) -> TensorType {
        let shape: Vec<Dim> = std::iter::once(self.batch.clone()).chain(ty.shape.iter().cloned()).collect();
        TensorType::new(ty.dtype, shape)
    }

    /// With the leading axis, broadcast if need be.
    fn spread(&mut self, arg: Mapped) -> Made {
        if arg.batched {
            return Ok(arg.id);
        }
        let ty = self.lifted(&self.b.ty(arg.id).clone());
        self.b.broadcast_to(arg.id, &ty.shape)
    }

    fn spread_all(&mut self, args: &[Mapped]) -> Result<Vec<NodeId>, TypeError> {
        args.iter().map(|arg| self.spread(*arg)).collect()
    }

    /// The rules; at least one of `args` is batched.
    fn rule(&mut self, node: &Node, args: &[Mapped]) -> Made {
        let Some(&first) = args.first() else { return refuse("an operation without inputs is not batched") };
        let x = first.id;
        let given = Some(self.lifted(&node.ty));
        // Operations of one input just count their axes from one further.
        let op = match &node.op {
            Op::Input(_)
            | Op::Variable(_)
            | Op::Constant(_)
            | Op::Table(_)
            | Op::Iota { .. }
            | Op::DimValue(_) => {
                return refuse("an operation without inputs is not batched");
            }
            Op::Random { .. } => return refuse("the random state is one for all rows"),
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Hold => {
                let ids = self.spread_all(args)?;
                return self.b.push(node.op.clone(), &ids, given);
            }
            Op::Concat { axis } => {
                let ids = self.spread_all(args)?;
                return self.b.push(Op::Concat { axis: axis + 1 }, &ids, given);
            }
            Op::Contract { batch, sum } => return self.contract(batch, sum, args),
            Op::Attention(_) => return refuse("attention is made after rows become batches"),
            Op::Conv(_) | Op::ConvData(_) => return self.convolve(node, args),
            Op::ConvWeights(_) => return refuse("weights of a convolution cannot differ from row to row"),
            Op::Gather { axis } => return self.gather(*axis, args, node),
            Op::ScatterAdd { axis } => return self.scatter(*axis, args, node),

            Op::Scan(_) | Op::ScanResult { .. } => return refuse("a loop is not batched"),

            Op::Reduce { reduction, axes } => Op::Reduce { reduction: *reduction, axes: up(axes) },
            Op::ArgReduce { largest, axes } => Op::ArgReduce { largest: *largest, axes: up(axes) },
            Op::CumulativeSum { axis, reverse, exclusive } => {
                Op::CumulativeSum { axis: axis + 1, reverse: *reverse, exclusive: *exclusive }
            }
            Op::Sort { .. } | Op::Reshape => node.op.clone(),
            Op::Transpose { permutation } => Op::Transpose { permutation: behind(permutation) },
            Op::Broadcast { axes } => Op::Broadcast { axes: behind(axes) },
            Op::Slice { axis, start, step } => {
                Op::Slice { axis: axis + 1, start: start.clone(), step: *step }
            }
            Op::Window { axis, size, stride, dilation } => {
                let (size, stride, dilation) = (size.clone(), stride.clone(), dilation.clone());
                Op::Window { axis: axis + 1, size, stride, dilation }
            }
            Op::Unwindow { axis, size, stride, dilation } => {
                let (size, stride, dilation) = (size.clone(), stride.clone(), dilation.clone());
                Op::Unwindow { axis: axis + 1, size, stride, dilation }
            }
            Op::Pad { amounts, value } => {
                let none = (Dim::constant(0), Dim::constant(0));
                Op::Pad {
                    amounts: std::iter::once(none).chain(amounts.iter().cloned()).collect(),
                    value: *value,
                }
            }
        };
        self.b.push(op, &[x], given)
    }

    /// Axis `from` becomes the first; the others keep their order.
    fn lead_with(&mut self, x: NodeId, from: usize) -> Made {
        let rank = self.b.ty(x).rank();
        let order: Vec<usize> = std::iter::once(from).chain((0..rank).filter(|axis| *axis != from)).collect();
        self.b.transpose(x, &order)
    }

    /// Two batched operands have one more batch pair; with one, the new axis is the first of its free axes.
    fn contract(&mut self, batch: &[(usize, usize)], sum: &[(usize, usize)], args: &[Mapped]) -> Made {
        let [a, b] = args else { return refuse("a contraction has two inputs") };
        let (i, j) = (usize::from(a.batched), usize::from(b.batched));
        let moved = |pairs: &[(usize, usize)]| pairs.iter().map(|p| (p.0 + i, p.1 + j)).collect::<Vec<_>>();
        let (mut pairs, sum) = (moved(batch), moved(sum));
        if a.batched && b.batched {
            pairs.insert(0, (0, 0));
            return self.b.push(Op::Contract { batch: pairs, sum }, &[a.id, b.id], None);
        }
        let free_of_a = self.b.ty(a.id).rank() - batch.len() - sum.len();
        let place = batch.len() + if a.batched { 0 } else { free_of_a };
        let made = self.b.push(Op::Contract { batch: pairs, sum }, &[a.id, b.id], None)?;
        self.lead_with(made, place)
    }

    /// The rows' images become one batch of images.
    fn convolve(&mut self, node: &Node, args: &[Mapped]) -> Made {
        let [x, w] = args else { return refuse("a convolution has two inputs") };
        if w.batched {
            return refuse("weights of a convolution cannot differ from row to row");
        }
        let merged = |ty: &TensorType| {
            let mut shape = ty.shape.clone();
            let rows = shape.remove(0);
            if let Some(images) = shape.first_mut() {
                *images = rows * images.clone();
            }
            shape
        };
        let lifted = self.lifted(&node.ty);
        let flat = merged(&self.b.ty(x.id).clone());
        let images = self.b.reshape(x.id, &flat)?;
        let ty = TensorType::new(node.ty.dtype, merged(&lifted));
        let made = self.b.push(node.op.clone(), &[images, w.id], Some(ty))?;
        self.b.reshape(made, &lifted.shape)
    }

    fn gather(&mut self, axis: usize, args: &[Mapped], node: &Node) -> Made {
        let [table, indices] = args else { return refuse("`gather` has two inputs") };
        if !indices.batched {
            return self.b.push(Op::Gather { axis: axis + 1 }, &[table.id, indices.id], None);
        }
        if !table.batched {
            let made = self.b.push(Op::Gather { axis }, &[table.id, indices.id], None)?;
            return self.lead_with(made, axis);
        }
        // Row b's table starts at b·extent of all tables, joined.
        let (joined, extent) = self.join(table.id, axis)?;
        let flat = self.joined_indices(indices.id, &extent)?;
        let made = self.b.push(Op::Gather { axis: 0 }, &[joined, flat], None)?;
        // [b, indices.., before.., after..] to [b, before.., indices.., after..].
        let count = self.b.ty(indices.id).rank() - 1;
        let order: Vec<usize> = std::iter::once(0)
            .chain(1 + count..1 + count + axis)
            .chain(1..1 + count)
            .chain(1 + count + axis..1 + node.ty.rank())
            .collect();
        self.b.transpose(made, &order)
    }

    fn scatter(&mut self, axis: usize, args: &[Mapped], node: &Node) -> Made {
        let [updates, indices] = args else { return refuse("`scatter_add` has two inputs") };
        let ty = self.lifted(&node.ty);
        if !indices.batched {
            return self.b.push(Op::ScatterAdd { axis: axis + 1 }, &[updates.id, indices.id], Some(ty));
        }
        let updates = self.spread(*updates)?;
        let count = self.b.ty(indices.id).rank() - 1;
        // [b, before.., indices.., after..] to [b, indices.., before.., after..].
        let order: Vec<usize> = std::iter::once(0)
            .chain(1 + axis..1 + axis + count)
            .chain(1..1 + axis)
            .chain(1 + axis + count..self.b.ty(updates).rank())
            .collect();
        let updates = self.b.transpose(updates, &order)?;
        let extent = node.ty.shape[axis].clone();
        let flat = self.joined_indices(indices.id, &extent)?;
        let mut rest = node.ty.shape.clone();
        rest.remove(axis);
        let with = |lead: Vec<Dim>| lead.into_iter().chain(rest.iter().cloned()).collect::<Vec<Dim>>();
        let joined = TensorType::new(node.ty.dtype, with(vec![self.batch.clone() * extent.clone()]));
        let made = self.b.push(Op::ScatterAdd { axis: 0 }, &[updates, flat], Some(joined))?;
        let made = self.b.reshape(made, &with(vec![self.batch.clone(), extent]))?;
        // The scattered axis goes back behind those before it.
        let order: Vec<usize> =
            std::iter::once(0).chain(2..2 + axis).chain([1]).chain(2 + axis..ty.rank()).collect();
        self.b.transpose(made, &order)
    }

    /// A batched table with its rows' `axis` first and joined over the batch; and that axis' extent.
    fn join(&mut self, table: NodeId, axis: usize) -> Result<(NodeId, Dim), TypeError> {
        let rank = self.b.ty(table).rank();
        let order: Vec<usize> =
            [0, axis + 1].into_iter().chain((1..rank).filter(|other| *other != axis + 1)).collect();
        let moved = self.b.transpose(table, &order)?;
        let mut shape = self.b.ty(moved).shape.clone();
        let rows = shape.remove(0);
        let extent = shape[0].clone();
        shape[0] = rows * extent.clone();
        Ok((self.b.reshape(moved, &shape)?, extent))
    }

    /// Indices into the joined tables. They are clamped first, so that none leads into another row's table.
    fn joined_indices(&mut self, indices: NodeId, extent: &Dim) -> Made {
        let ty = self.b.ty(indices).clone();
        let full = |rows: &mut Self, value: Dim| {
            let scalar = TensorType::scalar(DType::I32);
            let scalar = match value.as_constant() {
                Some(value) => rows.b.push(Op::Constant(value as f64), &[], Some(scalar))?,
                None => rows.b.push(Op::DimValue(value), &[], Some(scalar))?,
            };
            rows.b.broadcast_to(scalar, &ty.shape)
        };
        let zero = full(self, Dim::constant(0))?;
        let last = full(self, extent.clone() - Dim::constant(1))?;
        let extent = full(self, extent.clone())?;
        let above = self.b.binary(Binary::Max, indices, zero)?;
        let inside = self.b.binary(Binary::Min, above, last)?;
        let row = self.b.push(Op::Iota { axis: 0 }, &[], Some(ty.clone()))?;
        let start = self.b.binary(Binary::Mul, row, extent)?;
        self.b.binary(Binary::Add, start, inside)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{self, Options, Rng};
    use super::super::text::print;
    use super::*;
    use crate::evaluate::{Symbols, Value, Values, evaluate_with};
    use proptest::prelude::*;

    const ROWS: usize = 3;

    /// Random rows, some inputs different for each and some shared: the batch gives what the rows give one by one.
    fn agree(seed: u64) -> Result<bool, TestCaseError> {
        let case = random::case(seed, Options { steps: 20, smooth: false });
        if case.graph.nodes.iter().any(|n| matches!(n.op, Op::Random { .. })) {
            return Ok(false);
        }
        let mut rng = Rng::new(seed);
        let mut b = Builder::new("batch");
        b.graph.bounds.push(("rows".into(), 8));
        let batch = Dim::symbol("rows");
        let (mut leaves, mut values) = (Leaves::default(), Values::<f64>::new());
        let mut rows: Vec<Values<f64>> = vec![Values::new(); ROWS];
        for given in &case.inputs {
            let mut all = Vec::new();
            let differs = !rng.chance(3);
            for (i, row) in rows.iter_mut().enumerate() {
                let mut own = given.values.clone();
                if differs && !own.is_empty() {
                    own.rotate_left(i % given.values.len());
                    own.iter_mut().for_each(|v| *v += i as f64);
                }
                row.insert(given.name.clone(), Value::from_f64(given.dtype, &given.shape, &own).unwrap());
                all.extend(own);
            }
            let ty =
                case.graph.nodes.iter().find(|n| n.op == Op::Input(given.name.clone())).unwrap().ty.clone();
            if differs {
                let shape: Vec<usize> = std::iter::once(ROWS).chain(given.shape.iter().copied()).collect();
                let dims: Vec<Dim> = std::iter::once(batch.clone()).chain(ty.shape).collect();
                let id = b.input(&given.name, TensorType::new(ty.dtype, dims)).unwrap();
                leaves.inputs.insert(given.name.clone(), id);
                values.insert(given.name.clone(), Value::from_f64(given.dtype, &shape, &all).unwrap());
            } else {
                values.insert(given.name.clone(), rows[0][&given.name].clone());
            }
        }
        b.graph.outputs = match vectorize(&mut b, &case.graph, &batch, &leaves) {
            Ok(outputs) => outputs,
            Err(e) => {
                prop_assert!(e.message.contains("convolution"), "{e}");
                return Ok(false);
            }
        };
        prop_assert_eq!(super::super::verify(&b.graph), Ok(()));
        let mut symbols = Symbols::from([("n".to_string(), case.n)]);
        let single: Vec<Values<f64>> = rows
            .iter()
            .map(|row| evaluate_with(&case.graph, row, &Values::new(), &symbols).unwrap().outputs)
            .collect();
        symbols.insert("rows".into(), ROWS as i64);
        let together = evaluate_with(&b.graph, &values, &Values::new(), &symbols).unwrap().outputs;
        for (name, batch) in together {
            let rows: Vec<f64> = single.iter().flat_map(|row| row[&name].to_f64()).collect();
            for (x, y) in rows.iter().zip(batch.to_f64()) {
                let close = (x - y).abs() <= 1e-9 * (1.0 + x.abs());
                prop_assert!(
                    close || *x == y || x.is_nan() && y.is_nan(),
                    "{name}: {x} {y}\n{}",
                    print(&case.graph)
                );
            }
        }
        Ok(true)
    }

    #[test]
    fn a_batch_gives_what_its_rows_give() {
        let mut checked = 0;
        for seed in 0..600 {
            checked += usize::from(agree(seed).unwrap());
        }
        // Not a test of nothing: most graphs have a batched form.
        assert!(checked > 200, "{checked}");
    }

    #[test]
    fn rows_draw_their_own_random_elements_and_share_variables() {
        let mut row = Builder::new("row");
        let state = row.input("random", TensorType::new(DType::I64, [Dim::constant(2)])).unwrap();
        let ty = TensorType::new(DType::F32, [Dim::constant(4)]);
        let w = row.push(Op::Variable("w".into()), &[], Some(ty.clone())).unwrap();
        let op = Op::Random { distribution: super::super::op::Distribution::Normal, key: "jitter".into() };
        let noise = row.push(op, &[state], Some(ty.clone())).unwrap();
        let y = row.binary(Binary::Add, noise, w).unwrap();
        row.graph.outputs = vec![("y".into(), y), ("w".into(), w)];
        let mut b = Builder::new("batch");
        b.graph.bounds.push(("rows".into(), 8));
        let shared = b.push(Op::Variable("w".into()), &[], Some(ty)).unwrap();
        let outputs = vectorize(&mut b, &row.graph, &Dim::symbol("rows"), &Leaves::default()).unwrap();
        for (_, id) in &outputs {
            assert_eq!(b.ty(*id).to_string(), "f32[rows, 4]");
        }
        let variables = b.graph.ids().filter(|id| matches!(b.graph.node(*id).op, Op::Variable(_)));
        assert_eq!(variables.collect::<Vec<_>>(), [shared]);
        b.graph.outputs = outputs;
        assert_eq!(super::super::verify(&b.graph), Ok(()));
    }
}
