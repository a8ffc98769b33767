//! Max pooling after a relu, on as few elements as possible: a relu never falls, so it may follow the maximum of a window.
//!
//! ```text
//! max over window(relu x)                      →  relu(max over window(x))
//! relu'(x) · unwindow(g where the maximum was) →  unwindow(relu'(max) · g where the maximum was)
//! sum of unwindow(g where the maximum was)     →  sum of g
//! ```
//!
//! So only elements of the pooled size are read and written besides the input itself, and nothing of the input's size lives from
//! the forward to the backward part. All values are the same: where a window has no element above zero its place differs, but there
//! the gradient is zero. (The last rule changes the order of a sum.)

use super::rewrite::{Rewritten, constant_value, look, rewrite};
use crate::graph::op::{Binary, Compare, Reduction};
use crate::graph::{Builder, Graph, Node, NodeId, Op, TypeError};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| match (&node.op, node.inputs.as_slice()) {
        (Op::Reduce { reduction: Reduction::Max, axes }, &[windows]) => forward(b, axes, windows),
        (Op::Reduce { reduction: Reduction::Sum, axes }, &[x]) => sum(b, axes, x, node),
        (Op::Select, _) => backward(b, node),
        _ => Ok(None),
    })
}

/// `max(window(relu x))` as `relu(max(window x))`.
fn forward(b: &mut Builder, axes: &[usize], windows: NodeId) -> Rewritten {
    let (op, from) = look(b, windows);
    let op = op.clone();
    let (Op::Window { .. }, Some(x)) = (&op, relu_of(b, from)) else { return Ok(None) };
    let windows = b.push(op, &[x], None)?;
    let largest = b.reduce(Reduction::Max, windows, axes)?;
    where_positive(b, largest, largest).map(Some)
}

/// The mask of a relu before pooling, moved onto the pooled gradient.
fn backward(b: &mut Builder, node: &Node) -> Rewritten {
    let &[below, zero, scattered] = node.inputs.as_slice() else { return Ok(None) };
    let Some(x) = not_positive(b, below) else { return Ok(None) };
    let Some(pooled) = Pooled::of(b, scattered) else { return Ok(None) };
    if constant_value(b, zero) != Some(0.0) || relu_of(b, pooled.from) != Some(x) {
        return Ok(None);
    }
    let windows = b.push(pooled.window(), &[x], None)?;
    let largest = b.reduce(Reduction::Max, windows, &pooled.axes)?;
    let place = b.push(Op::ArgReduce { largest: true, axes: pooled.axes.clone() }, &[windows], None)?;
    // The relu of the maximum is there anyway, and is zero where the maximum is not positive.
    let pooled_relu = where_positive(b, largest, largest)?;
    let gradient = where_positive(b, pooled_relu, pooled.gradient)?;
    // The same scatter with the new places and the masked gradient.
    let shape = b.ty(pooled.codes).shape.clone();
    let place = b.broadcast_back(place, &shape, &pooled.axes)?;
    let gradient = b.broadcast_back(gradient, &shape, &pooled.axes)?;
    let here = b.compare(Compare::Eq, pooled.codes, place)?;
    let ty = b.ty(gradient).clone();
    let zeros = b.full(0.0, &ty)?;
    let chosen = b.select(here, gradient, zeros)?;
    let (op, ty) = (b.graph.node(scattered).op.clone(), b.ty(scattered).clone());
    b.push(op, &[chosen], Some(ty)).map(Some)
}

/// Every window gives its gradient to one element, so that a sum over all elements is one over all windows.
fn sum(b: &mut Builder, axes: &[usize], x: NodeId, node: &Node) -> Rewritten {
    let Some(pooled) = Pooled::of(b, x) else { return Ok(None) };
    let windowed = pooled.axis..pooled.axis + pooled.size.len();
    if !windowed.into_iter().all(|axis| axes.contains(&axis)) {
        return Ok(None);
    }
    let sum = b.reduce(Reduction::Sum, pooled.gradient, axes)?;
    Ok((b.ty(sum) == &node.ty).then_some(sum))
}

/// The gradient of max pooling: `unwindow(select(codes == arg_max(window(from)), gradient, 0))`.
#[derive(Debug)]
struct Pooled {
    from: NodeId,
    gradient: NodeId,
    /// The number of each element within its window.
    codes: NodeId,
    axis: usize,
    size: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    /// The axes of the window's elements.
    axes: Vec<usize>,
}

impl Pooled {
    fn of(b: &Builder, id: NodeId) -> Option<Pooled> {
        let (Op::Unwindow { axis, size, stride, dilation }, chosen) = look(b, id) else { return None };
        let (axis, size, stride, dilation) = (*axis, size.clone(), stride.clone(), dilation.clone());
        let node = b.graph.node(chosen);
        let (Op::Select, &[here, gradient, zeros]) = (&node.op, node.inputs.as_slice()) else { return None };
        if constant_value(b, zeros) != Some(0.0) {
            return None;
        }
        let axes: Vec<usize> = (axis + size.len()..axis + 2 * size.len()).collect();
        let pooled = |id: NodeId| match look(b, id) {
            (Op::Broadcast { axes: places }, from) => {
                (0..b.ty(id).rank()).filter(|a| !axes.contains(a)).eq(places.iter().copied()).then_some(from)
            }
            _ => None,
        };
        let node = b.graph.node(here);
        let (Op::Compare(Compare::Eq), &[left, right]) = (&node.op, node.inputs.as_slice()) else {
            return None;
        };
        let place_of = |id: NodeId| match pooled(id).map(|place| look(b, place)) {
            Some((Op::ArgReduce { largest: true, axes: over }, windows)) if *over == axes => Some(windows),
            _ => None,
        };
        let (codes, windows) = match (place_of(left), place_of(right)) {
            (None, Some(windows)) => (left, windows),
            (Some(windows), None) => (right, windows),
            _ => return None,
        };
        let (op, from) = look(b, windows);
        let gradient = pooled(gradient)?;
        let result = Pooled { from, gradient, codes, axis, size, stride, dilation, axes };
        (*op == result.window() && result.counts(b)).then_some(result)
    }

    fn window(&self) -> Op {
        Op::Window {
            axis: self.axis,
            size: self.size.clone(),
            stride: self.stride.clone(),
            dilation: self.dilation.clone(),
        }
    }

    /// Whether the codes number a window's elements row-major, as an arg-reduction does.
    fn counts(&self, b: &Builder) -> bool {
        let mut terms = Vec::new();
        let mut step = 1.0;
        for (axis, size) in self.axes.iter().zip(&self.size).rev() {
            if *size > 1 {
                terms.push((*axis, step));
            }
            step *= *size as f64;
        }
        terms.reverse();
        linear(b, self.codes) == Some(terms)
    }
}

/// `Σ factor · index along axis`, sorted by axis, when that is what a node holds.
fn linear(b: &Builder, id: NodeId) -> Option<Vec<(usize, f64)>> {
    let node = b.graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Iota { axis }, _) => Some(vec![(*axis, 1.0)]),
        (Op::Binary(Binary::Add), &[x, y]) => {
            let (x, y) = (linear(b, x)?, linear(b, y)?);
            let mut terms: Vec<(usize, f64)> = x.into_iter().chain(y).collect();
            terms.sort_by_key(|(axis, _)| *axis);
            Some(terms)
        }
        (Op::Binary(Binary::Mul), &[x, y]) => {
            let (factor, of) = match (constant_value(b, x), constant_value(b, y)) {
                (Some(factor), None) => (factor, y),
                (None, Some(factor)) => (factor, x),
                _ => return None,
            };
            Some(linear(b, of)?.into_iter().map(|(axis, step)| (axis, factor * step)).collect())
        }
        _ => None,
    }
}

/// The x of `relu x`, spelt `where(x <= 0, 0, x)`.
fn relu_of(b: &Builder, id: NodeId) -> Option<NodeId> {
    let node = b.graph.node(id);
    let (Op::Select, &[below, zero, x]) = (&node.op, node.inputs.as_slice()) else { return None };
    (not_positive(b, below) == Some(x) && constant_value(b, zero) == Some(0.0)).then_some(x)
}

/// The x of `x <= 0`.
fn not_positive(b: &Builder, id: NodeId) -> Option<NodeId> {
    let node = b.graph.node(id);
    let (Op::Compare(Compare::Le), &[x, zero]) = (&node.op, node.inputs.as_slice()) else { return None };
    (constant_value(b, zero) == Some(0.0)).then_some(x)
}

/// `where(test <= 0, 0, x)`
fn where_positive(b: &mut Builder, test: NodeId, x: NodeId) -> Result<NodeId, TypeError> {
    let (of_test, of_x) = (b.ty(test).clone(), b.ty(x).clone());
    let zero = b.full(0.0, &of_test)?;
    let below = b.compare(Compare::Le, test, zero)?;
    let zero = b.full(0.0, &of_x)?;
    b.select(below, zero, x)
}
