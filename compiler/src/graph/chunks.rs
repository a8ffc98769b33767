//! A graph over all rows of a data set as passes over some rows at a time, so that the rows need not fit into memory.
//!
//! A *total* is what folds the rows away: a sum, a maximum, a product of matrices along the rows, their number. What a pass adds up are the
//! totals of values that each row has by itself, given the totals of the passes before it: a deviation takes the mean's pass and one of its
//! own. Totals are variables, zero at the start; the last graph reads them and no rows. Where rows meet in another way (a sort, a random
//! element each), there is no such form.

use super::dim::Dim;
use super::op::{Binary, Compare, Op, Reduction};
use super::{Builder, DType, Graph, Node, NodeId, TensorType, TypeError};
use std::collections::BTreeMap;

/// The passes of a graph.
#[derive(Debug)]
pub struct Chunked {
    /// Each reads inputs and updates totals.
    pub passes: Vec<Graph>,
    /// Makes the updates of the whole graph.
    pub last: Graph,
    /// The variables that hold the totals.
    pub totals: Vec<(String, TensorType)>,
}

/// What a node is, over chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One value, known after so many passes.
    One(usize),
    /// A value for each row along the first axis, once so many passes are done.
    Rows(usize),
    /// What so many passes find out by folding rows.
    Total(usize, Fold),
}

/// How totals of chunks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fold {
    Reduce(Reduction),
    /// A dim that is a multiple of the number of rows.
    Count,
}

impl Kind {
    /// The passes that must be done before it is there.
    fn passes(self) -> usize {
        match self {
            Kind::One(passes) | Kind::Rows(passes) | Kind::Total(passes, _) => passes,
        }
    }

    /// Is it a total of this pass that zero is no beginning of?
    fn is_begun_in(self, pass: usize) -> bool {
        let zero = [Fold::Count, Fold::Reduce(Reduction::Sum)];
        matches!(self, Kind::Total(passes, fold) if passes == pass + 1 && !zero.contains(&fold))
    }
}

/// The passes of a graph whose rows are as many as the symbol says; none where it has no such form. Totals are called `prefix.0`,
/// `prefix.1`, …
pub fn chunked(graph: &Graph, rows: &str, prefix: &str) -> Option<Chunked> {
    if !graph.outputs.is_empty() || graph.guards.iter().any(|(dim, ..)| has(dim, rows)) {
        return None;
    }
    let mut kinds: Vec<Kind> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let args: Vec<Kind> = node.inputs.iter().filter_map(|id| kinds.get(id.index()).copied()).collect();
        kinds.push(kind(graph, node, &args, rows)?);
    }
    let count = kinds.iter().map(|kind| kind.passes()).max().unwrap_or(0);
    let mut totals = Vec::new();
    let names: BTreeMap<usize, String> = (0..graph.nodes.len())
        .filter(|place| matches!(kinds[*place], Kind::Total(..)))
        .enumerate()
        .map(|(number, place)| (place, format!("{prefix}.{number}")))
        .collect();
    for (place, name) in &names {
        totals.push((name.clone(), held(&graph.nodes[*place], kinds[*place])));
    }
    let begun = format!("{prefix}.rows");
    let form = Form { graph, kinds: &kinds, names: &names, begun: &begun, rows };
    let passes: Vec<Graph> = (0..count).map(|pass| form.pass(Some(pass))).collect::<Result<_, _>>().ok()?;
    let last = form.pass(None).ok()?;
    let counted = (0..count).filter(|pass| kinds.iter().any(|kind| kind.is_begun_in(*pass)));
    totals.extend(counted.map(|pass| (format!("{begun}.{pass}"), TensorType::scalar(DType::I64))));
    Some(Chunked { passes, last, totals })
}

/// The type in which a total is held.
fn held(node: &Node, kind: Kind) -> TensorType {
    match kind {
        // Numbers of rows are exact.
        Kind::Total(_, Fold::Count) => TensorType::scalar(DType::I64),
        _ => node.ty.clone(),
    }
}

fn has(dim: &Dim, rows: &str) -> bool {
    let mut found = false;
    dim.symbols(&mut |symbol| found |= &**symbol == rows);
    found
}

/// Does the type have the rows as its first axis, and nowhere else?
fn leads(ty: &TensorType, rows: &str) -> bool {
    ty.shape.split_first().is_some_and(|(first, rest)| {
        first.as_symbol().is_some_and(|symbol| &**symbol == rows) && !rest.iter().any(|dim| has(dim, rows))
    })
}

fn kind(graph: &Graph, node: &Node, args: &[Kind], rows: &str) -> Option<Kind> {
    let passes = args.iter().map(|kind| kind.passes()).max().unwrap_or(0);
    let of_rows = |input: usize| matches!(args.get(input), Some(Kind::Rows(_)));
    let any = args.iter().any(|kind| matches!(kind, Kind::Rows(_)));
    if let Op::DimValue(dim) = &node.op
        && has(dim, rows)
    {
        let at = |count: i64| dim.evaluate(&|name| (name == rows).then_some(count));
        let one = at(1)?;
        let linear = [0, 2, 3, 1000].iter().all(|count| at(*count) == one.checked_mul(*count));
        return linear.then_some(Kind::Total(1, Fold::Count));
    }
    if !any && !node.ty.shape.iter().any(|dim| has(dim, rows)) {
        let known = !matches!(node.op, Op::Input(_) | Op::Random { .. }) && !attributes(&node.op, rows);
        return known.then_some(Kind::One(passes));
    }
    let total = |reduction| Some(Kind::Total(passes + 1, Fold::Reduce(reduction)));
    // Does the first axis of the result run over the rows, each by itself?
    let apart = match &node.op {
        Op::Reduce { reduction, axes } if axes.contains(&0) => return total(*reduction),
        Op::Contract { sum, .. } if of_rows(0) && of_rows(1) && sum.contains(&(0, 0)) => {
            return total(Reduction::Sum);
        }
        Op::ScatterAdd { axis: 0 } if of_rows(0) && of_rows(1) && !leads(&node.ty, rows) => {
            return total(Reduction::Sum);
        }
        Op::Input(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Hold
        | Op::Reshape
        | Op::Reduce { .. } => true,
        Op::Iota { axis } => *axis != 0,
        Op::ArgReduce { axes, .. } => !axes.contains(&0),
        Op::CumulativeSum { axis, .. } | Op::Concat { axis } => *axis != 0,
        Op::Sort { .. } => node.ty.rank() > 1,
        Op::Broadcast { axes } => !any || axes.first() == Some(&0),
        Op::Transpose { permutation } => permutation.first() == Some(&0),
        Op::Slice { axis, .. } | Op::Window { axis, .. } | Op::Unwindow { axis, .. } => *axis != 0,
        Op::Pad { amounts, .. } => amounts.first().is_some_and(|(a, b)| a.is(0) && b.is(0)),
        Op::Contract { batch, sum } => match (of_rows(0), of_rows(1)) {
            (true, true) => batch.first() == Some(&(0, 0)),
            (true, false) => batch.is_empty() && sum.iter().all(|(a, _)| *a != 0),
            _ => false,
        },
        Op::Gather { axis } => of_rows(0) != of_rows(1) && (*axis == 0) == of_rows(1),
        Op::Conv(_) => of_rows(0) && !of_rows(1),
        _ => false,
    };
    // All that has rows has them in front.
    let in_front = node.inputs.iter().zip(args).all(|(id, kind)| match kind {
        Kind::Rows(_) => leads(&graph.node(*id).ty, rows),
        _ => true,
    });
    (apart && in_front && leads(&node.ty, rows) && !attributes(&node.op, rows)).then_some(Kind::Rows(passes))
}

/// Do the operation's own dims depend on the number of rows?
fn attributes(op: &Op, rows: &str) -> bool {
    match op {
        Op::Slice { start, .. } => has(start, rows),
        Op::Pad { amounts, .. } => amounts.iter().any(|(a, b)| has(a, rows) || has(b, rows)),
        Op::Conv(conv) | Op::ConvData(conv) | Op::ConvWeights(conv) => {
            conv.padding.iter().any(|(a, b)| has(a, rows) || has(b, rows))
        }
        _ => false,
    }
}

/// The whole graph, and what is known of its nodes.
struct Form<'g> {
    graph: &'g Graph,
    kinds: &'g [Kind],
    /// Of the totals, by the places of their nodes.
    names: &'g BTreeMap<usize, String>,
    /// Prefix of the variables that say how many rows a pass has seen.
    begun: &'g str,
    rows: &'g str,
}

impl Form<'_> {
    /// The graph of a pass, or of what comes after the last one; what it does not need is still in it.
    fn pass(&self, pass: Option<usize>) -> Result<Graph, TypeError> {
        let mut b = Builder::new(match pass {
            Some(pass) => format!("{}.{}", self.graph.name, pass + 1),
            None => self.graph.name.clone(),
        });
        b.graph.guards = self.graph.guards.clone();
        b.graph.bounds = self.graph.bounds.clone();
        let count = TensorType::scalar(DType::I64);
        // How many rows the pass has seen, where a total is nothing to begin with, and zero would be something.
        let begun = pass.filter(|pass| self.kinds.iter().any(|kind| kind.is_begun_in(*pass)));
        let begun = begun.map(|pass| format!("{}.{pass}", self.begun));
        let seen =
            begun.clone().map(|path| b.push(Op::Variable(path), &[], Some(count.clone()))).transpose()?;
        let mut map: Vec<NodeId> = Vec::with_capacity(self.graph.nodes.len());
        let mut updates = Vec::new();
        for (place, node) in self.graph.nodes.iter().enumerate() {
            (b.span, b.path) = (node.span, node.path.clone());
            let kind = self.kinds[place];
            let done = pass.unwrap_or(usize::MAX - 1);
            let id = match (kind, self.names.get(&place)) {
                (Kind::Total(passes, _), Some(name)) if passes <= done => {
                    let total = b.push(Op::Variable(name.clone()), &[], Some(held(node, kind)))?;
                    if held(node, kind) == node.ty { total } else { b.cast(total, node.ty.dtype)? }
                }
                (Kind::Total(passes, fold), Some(name)) if passes == done + 1 => {
                    let (part, new) = self.fold(&mut b, node, &map, name, fold, seen)?;
                    updates.push((name.clone(), new));
                    part
                }
                _ => {
                    let inputs: Vec<NodeId> = node.inputs.iter().map(|id| map[id.index()]).collect();
                    b.push(node.op.clone(), &inputs, Some(node.ty.clone()))?
                }
            };
            map.push(id);
        }
        if let (Some(path), Some(seen)) = (begun, seen) {
            let rows = b.push(Op::DimValue(Dim::symbol(self.rows)), &[], Some(count))?;
            updates.push((path, b.binary(Binary::Add, seen, rows)?));
        }
        if pass.is_none() {
            let own = self.graph.updates.iter();
            updates = own.map(|(path, id)| (path.clone(), map[id.index()])).collect();
        }
        b.graph.updates = updates;
        Ok(b.graph)
    }

    /// A chunk's part of a total, and the total with it.
    fn fold(
        &self,
        b: &mut Builder,
        node: &Node,
        map: &[NodeId],
        name: &str,
        fold: Fold,
        seen: Option<NodeId>,
    ) -> Result<(NodeId, NodeId), TypeError> {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|id| map[id.index()]).collect();
        let ty = held(node, Kind::Total(0, fold));
        let part = b.push(node.op.clone(), &inputs, Some(ty.clone()))?;
        let old = b.push(Op::Variable(name.to_owned()), &[], Some(ty.clone()))?;
        let combine = match fold {
            Fold::Count | Fold::Reduce(Reduction::Sum) => {
                let new = b.binary(Binary::Add, old, part)?;
                let part = if ty == node.ty { part } else { b.cast(part, node.ty.dtype)? };
                return Ok((part, new));
            }
            Fold::Reduce(Reduction::Max) => Binary::Max,
            Fold::Reduce(Reduction::Min) => Binary::Min,
            Fold::Reduce(Reduction::Prod) => Binary::Mul,
            Fold::Reduce(Reduction::Any) => Binary::Or,
            Fold::Reduce(Reduction::All) => Binary::And,
        };
        let both = b.binary(combine, old, part)?;
        let Some(seen) = seen else { return Ok((part, both)) };
        let zero = b.constant(0.0, DType::I64)?;
        let first = b.compare(Compare::Eq, seen, zero)?;
        let shape = TensorType::new(DType::Bool, ty.shape.clone());
        let first = b.push(Op::Broadcast { axes: Vec::new() }, &[first], Some(shape))?;
        let new = b.push(Op::Select, &[first, part, both], None)?;
        Ok((part, new))
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{self, Options};
    use super::super::{Leaves, vectorize_apart, verify};
    use super::*;
    use crate::evaluate::{Symbols, Value, Values, evaluate_with};
    use crate::passes::dce;
    use std::sync::Arc;

    /// Gives every symbol this value.
    fn fix(graph: &mut Graph, value: i64) {
        let fixed = |dim: &Dim| dim.substitute(&|_| Some(Dim::constant(value)));
        for node in &mut graph.nodes {
            node.ty.shape = node.ty.shape.iter().map(fixed).collect();
            if let Op::Scan(scan) = &mut node.op {
                let scan = Arc::make_mut(scan);
                scan.trip = fixed(&scan.trip);
                fix(&mut scan.body, value);
            }
        }
    }

    /// Sums, largest and smallest values, and deviations of random graphs of rows: what chunks give is what all rows at once give.
    fn agree(seed: u64) -> bool {
        const ROWS: usize = 7;
        let case = random::case(seed, Options { steps: 14, smooth: true, loops: seed.is_multiple_of(2) });
        let mut b = Builder::new("fit");
        b.graph.bounds.push(("rows".into(), 8));
        let rows = Dim::symbol("rows");
        let (mut leaves, mut values) = (Leaves::default(), Vec::new());
        for given in &case.inputs {
            let node = case.graph.nodes.iter().find(|n| n.op == Op::Input(given.name.clone())).unwrap();
            // A symbol of the case's own is its constant here.
            let fixed = |dim: &Dim| Dim::constant(dim.evaluate(&|_| Some(case.n)).unwrap());
            let shape: Vec<Dim> =
                std::iter::once(rows.clone()).chain(node.ty.shape.iter().map(fixed)).collect();
            let id = b.input(&given.name, TensorType::new(given.dtype, shape)).unwrap();
            leaves.inputs.insert(given.name.clone(), id);
            let row = |i: usize| given.values.iter().map(move |v| v + (i * i) as f64 * 0.25);
            values.push((given, (0..ROWS).map(|i| row(i).collect::<Vec<f64>>()).collect::<Vec<_>>()));
        }
        let mut row = case.graph.clone();
        fix(&mut row, case.n);
        let Ok(outputs) = vectorize_apart(&mut b, &row, &rows, &leaves) else { return false };
        let (_, x) = outputs[0];
        if !leads(b.ty(x), "rows") || !b.ty(x).dtype.is_float() {
            return false;
        }
        let count = b.push(Op::DimValue(rows.clone()), &[], Some(TensorType::scalar(b.ty(x).dtype))).unwrap();
        let sum = b.reduce(Reduction::Sum, x, &[0]).unwrap();
        let shape = b.ty(sum).shape.clone();
        let all = b.broadcast_to(count, &shape).unwrap();
        let mean = b.binary(Binary::Div, sum, all).unwrap();
        let shape = b.ty(x).shape.clone();
        let spread = b.broadcast_back(mean, &shape, &[0]).unwrap();
        let centred = b.binary(Binary::Sub, x, spread).unwrap();
        let squared = b.binary(Binary::Mul, centred, centred).unwrap();
        let variance = b.reduce(Reduction::Sum, squared, &[0]).unwrap();
        let (low, high) =
            (b.reduce(Reduction::Min, x, &[0]).unwrap(), b.reduce(Reduction::Max, centred, &[0]).unwrap());
        let made = [("mean", mean), ("variance", variance), ("low", low), ("high", high), ("count", count)];
        b.graph.updates = made.map(|(name, id)| (name.to_owned(), id)).to_vec();
        assert_eq!(verify(&b.graph), Ok(()));

        let Some(Chunked { passes, last, totals }) = chunked(&b.graph, "rows", "total") else { return false };
        assert!(passes.len() >= 2, "a deviation needs the mean first");
        let taken = |range: std::ops::Range<usize>| -> (Values<f64>, Symbols) {
            let symbols =
                Symbols::from([("rows".to_string(), range.len() as i64), ("n".to_string(), case.n)]);
            let value = |(given, rows): &(&random::Given, Vec<Vec<f64>>)| {
                let shape: Vec<usize> =
                    std::iter::once(range.len()).chain(given.shape.iter().copied()).collect();
                let flat: Vec<f64> = rows[range.clone()].concat();
                (given.name.clone(), Value::from_f64(given.dtype, &shape, &flat).unwrap())
            };
            (values.iter().map(value).collect(), symbols)
        };
        let zero = |(name, ty): &(String, TensorType)| {
            let shape: Vec<usize> =
                ty.shape.iter().map(|dim| usize::try_from(dim.as_constant().unwrap()).unwrap()).collect();
            let zeros = vec![0.0; shape.iter().product()];
            (name.clone(), Value::from_f64(ty.dtype, &shape, &zeros).unwrap())
        };
        let mut held: Values<f64> = totals.iter().map(zero).collect();
        for mut pass in passes {
            dce::sweep(&mut pass, &|_| true);
            assert_eq!(verify(&pass), Ok(()));
            for range in [0..3, 3..4, 4..ROWS] {
                let (inputs, symbols) = taken(range);
                held.extend(evaluate_with(&pass, &inputs, &held, &symbols).unwrap().updates);
            }
        }
        let mut last = last;
        dce::sweep(&mut last, &|_| false);
        assert_eq!(verify(&last), Ok(()));
        let (inputs, symbols) = taken(0..ROWS);
        let expected = evaluate_with(&b.graph, &inputs, &Values::new(), &symbols).unwrap().updates;
        let symbols = Symbols::from([("n".to_string(), case.n)]);
        let found = evaluate_with(&last, &Values::new(), &held, &symbols).unwrap().updates;
        for (name, value) in expected {
            for (x, y) in value.to_f64().iter().zip(found[&name].to_f64()) {
                let close = (x - y).abs() <= 1e-9 * (1.0 + x.abs());
                assert!(close || *x == y || x.is_nan() && y.is_nan(), "{seed} {name}: {x} {y}");
            }
        }
        true
    }

    #[test]
    fn chunks_give_what_all_rows_give() {
        let checked = (0..400).filter(|seed| agree(*seed)).count();
        // Not a test of nothing.
        assert!(checked > 50, "{checked}");
    }

    #[test]
    fn what_sees_all_rows_in_order_has_no_passes() {
        let mut b = Builder::new("fit");
        let ty = TensorType::new(DType::F32, [Dim::symbol("rows")]);
        let x = b.input("x", ty.clone()).unwrap();
        let sorted = b.push(Op::Sort { falling: false, indices: false }, &[x], Some(ty.clone())).unwrap();
        let first = b.reduce(Reduction::Sum, sorted, &[0]).unwrap();
        b.graph.updates = vec![("first".into(), first)];
        assert!(chunked(&b.graph, "rows", "total").is_none());
        let running =
            b.push(Op::CumulativeSum { axis: 0, reverse: false, exclusive: false }, &[x], Some(ty)).unwrap();
        b.graph.updates[0].1 = b.reduce(Reduction::Max, running, &[0]).unwrap();
        assert!(chunked(&b.graph, "rows", "total").is_none());
    }
}
