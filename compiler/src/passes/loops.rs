//! What the passes on loops are made of: a graph rewritten scan by scan.

use super::rewrite::rewrite;
use crate::graph::scan::token;
use crate::graph::{Builder, Graph, NodeId, Op, OpenScan, TensorType, TypeError};
use std::collections::HashMap;

/// So few terms a sum, and so many times as many results, make a contraction that is better done again than kept.
const FEW_TERMS: i64 = 16;
const SPREAD: i64 = 4;

/// Whether a contraction of these operands makes much out of little: a step that computes it reads a few numbers, and a step that is
/// given the result reads many.
pub(super) fn spreads(op: &Op, a: &TensorType, b: &TensorType) -> bool {
    let Op::Contract { batch, sum } = op else { return false };
    let terms = sum.iter().try_fold(1i64, |product, pair| Some(product * a.shape[pair.0].as_constant()?));
    let summed = |axis: usize| sum.iter().any(|pair| pair.1 == axis);
    let free = b.shape.iter().enumerate().filter(|(axis, _)| !summed(*axis));
    let columns =
        free.map(|(_, extent)| extent.as_constant()).try_fold(1i64, |a, e| Some(a.saturating_mul(e?)));
    batch.is_empty()
        && terms
            .zip(columns)
            .is_some_and(|(terms, columns)| (1..=FEW_TERMS).contains(&terms) && columns >= SPREAD * terms)
}

/// Weights of so many elements stay in a core's near caches beside those of the loop itself.
const LIGHT: i64 = 64 << 10;

/// Whether a contraction of `x` is one of what another loop yields, with weights that a step may well read each time: then the loops can
/// run side by side, and no sequence of its results lies in memory.
pub(super) fn goes_on(graph: &Graph, x: NodeId, op: &Op, weights: &TensorType) -> bool {
    let (Op::Contract { batch, .. }, Op::ScanResult { index }) = (op, &graph.node(x).op) else {
        return false;
    };
    let scan = graph.node(x).inputs.first().map(|scan| &graph.node(*scan).op);
    let light = weights.elements().as_constant().is_some_and(|elements| elements <= LIGHT);
    batch.is_empty() && light && matches!(scan, Some(Op::Scan(scan)) if *index >= scan.carries)
}

/// What stands for each result of a loop; `None` where nothing reads it. As a whole `None`: the loop stays as it is.
pub(super) type Results = Result<Option<Vec<Option<NodeId>>>, TypeError>;

/// Gives each loop to `rule`, taken apart, with what of its results is read. The rule appends what stands for it.
pub(super) fn rewrite_loops(
    graph: &mut Graph,
    mut rule: impl FnMut(&mut Builder, OpenScan, &[bool]) -> Results,
) -> bool {
    let mut read: HashMap<NodeId, Vec<bool>> = HashMap::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        match (&node.op, node.inputs.first()) {
            (Op::Scan(scan), _) => drop(read.insert(id, vec![false; scan.results()])),
            (Op::ScanResult { index }, Some(scan)) => {
                if let Some(slot) = read.get_mut(scan).and_then(|read| read.get_mut(*index)) {
                    *slot = true;
                }
            }
            _ => {}
        }
    }
    if read.is_empty() {
        return false;
    }
    let mut became: HashMap<NodeId, Vec<Option<NodeId>>> = HashMap::new();
    // The rule is asked once for each node, in order.
    let mut old = 0;
    rewrite(graph, |b, node| {
        let id = NodeId(old);
        old += 1;
        match &node.op {
            Op::Scan(scan) => {
                let read = read.get(&id).map_or(&[][..], Vec::as_slice);
                let Some(results) = rule(b, OpenScan::of(scan, &node.inputs), read)? else { return Ok(None) };
                // Nothing reads it but the old results, which are replaced.
                let stand_in = b.full(0.0, &token())?;
                became.insert(stand_in, results);
                Ok(Some(stand_in))
            }
            Op::ScanResult { index } => {
                let results = node.inputs.first().and_then(|scan| became.get(scan));
                Ok(results.and_then(|results| results.get(*index).copied().flatten()))
            }
            _ => Ok(None),
        }
    })
}

/// Appends a loop, if it has any results, and gives them: its carries and its stacks.
pub(super) fn close(b: &mut Builder, open: OpenScan) -> Result<(Vec<NodeId>, Vec<NodeId>), TypeError> {
    let carries = open.carries.len();
    if carries + open.yields.len() == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let (scan, operands) = open.close();
    let mut results = b.scan(scan, &operands)?;
    let stacks = results.split_off(carries.min(results.len()));
    Ok((results, stacks))
}

/// The same for a loop with new nodes in any order and all of its old results, which stand for themselves.
pub(super) fn close_sorted(b: &mut Builder, mut open: OpenScan) -> Results {
    open.sort();
    let (carries, stacks) = close(b, open)?;
    Ok(Some(carries.into_iter().chain(stacks).map(Some).collect()))
}
