//! Attention as one operation, and how it is found in a graph that spells it out.
//!
//! The library writes attention in primitives: two contractions with a softmax between them. [`find`] recognises that form, and
//! [`Found`] says what it computes; the pass puts the operation in its place, and reverse mode differentiates it as a whole. Neither keeps the
//! scores, which are as many as queries times keys for each head.

use super::dim::Dim;
use super::op::{Binary, Compare, Op, Reduction, Unary};
use super::{Builder, DType, Graph, NodeId, TensorType, TypeError};

/// Softmax attention, or one of its gradients. Inputs: queries `[n, t, heads, width]`, keys `[n, s, groups, width]` and values
/// `[n, s, groups, depth]`, f32, where each group serves `heads / groups` neighbouring heads; then, as they are there, a bias that is
/// added to the scaled scores and a mask (bool) that is false where a query doesn't look, both `[n, heads, t, s]`; for gradients also the
/// result, the sums and the result's adjoint. A query that sees no key has the result 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub part: Part,
    /// What products are multiplied by.
    pub scale: f64,
    /// A query sees the keys up to its own place.
    pub causal: Option<Align>,
    pub bias: bool,
    pub mask: bool,
}

/// Which key stands at the place of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// The first at that of the first query.
    First,
    /// The last at that of the last query: queries are the newest steps of a sequence.
    Last,
}

impl Align {
    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Align::First => "true",
            Align::Last => "last",
        }
    }

    /// So many keys stand before the place of the first query.
    pub fn before(self, queries: usize, keys: usize) -> usize {
        match self {
            Align::First => 0,
            Align::Last => keys.saturating_sub(queries),
        }
    }
}

/// What is computed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[n, t, heads, depth]`
    Result,
    /// The logarithm of each row's sum of exponentials, `[n, heads, t]`; infinite for a query that sees nothing.
    Sums,
    /// The adjoints of the inputs.
    Queries,
    Keys,
    Values,
    Bias,
}

impl Part {
    pub const ALL: [Part; 6] =
        [Part::Result, Part::Sums, Part::Queries, Part::Keys, Part::Values, Part::Bias];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Result => "result",
            Part::Sums => "sums",
            Part::Queries => "queries",
            Part::Keys => "keys",
            Part::Values => "values",
            Part::Bias => "bias",
        }
    }

    /// Is it an adjoint?
    pub const fn is_gradient(self) -> bool {
        !matches!(self, Part::Result | Part::Sums)
    }
}

impl Attention {
    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        let own = 3 + usize::from(self.bias) + usize::from(self.mask);
        if self.part.is_gradient() { own + 3 } else { own }
    }

    /// Where the bias stands among the inputs.
    pub const fn bias_at() -> usize {
        3
    }

    /// Where the mask stands among the inputs.
    pub fn mask_at(&self) -> usize {
        3 + usize::from(self.bias)
    }

    /// The type rule.
    pub fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, TypeError> {
        if inputs.len() != self.inputs() {
            return refuse(format!("takes {} inputs, not {}", self.inputs(), inputs.len()));
        }
        let [q, k, v, beside @ ..] = inputs else { return refuse("needs queries, keys and values") };
        let ([n, t, heads, width], [_, s, groups, _], [_, _, _, depth]) =
            (q.shape.as_slice(), k.shape.as_slice(), v.shape.as_slice())
        else {
            return refuse(format!("needs queries, keys and values of rank 4, not {q}, {k} and {v}"));
        };
        let f32 = |shape: &[&Dim]| {
            TensorType::new(DType::F32, shape.iter().map(|d| (*d).clone()).collect::<Vec<_>>())
        };
        let scores = f32(&[n, heads, t, s]);
        let (result, sums) = (f32(&[n, t, heads, depth]), f32(&[n, heads, t]));
        let mut due =
            vec![f32(&[n, t, heads, width]), f32(&[n, s, groups, width]), f32(&[n, s, groups, depth])];
        due.extend(self.bias.then(|| scores.clone()));
        due.extend(self.mask.then(|| TensorType::new(DType::Bool, scores.shape.clone())));
        if self.part.is_gradient() {
            due.extend([result.clone(), sums.clone(), result.clone()]);
        }
        debug_assert_eq!(due.len(), 3 + beside.len());
        if let Some(place) = (0..due.len()).find(|place| due[*place] != *inputs[*place]) {
            return Err(TypeError {
                message: format!("input {place} is {}, not {}", inputs[place], due[place]),
                input: Some(place),
                axis: None,
            });
        }
        if heads.exact_div(groups).is_none() {
            return refuse(format!(
                "the heads of the keys ({groups}) do not divide those of the queries ({heads})"
            ));
        }
        Ok(match self.part {
            Part::Result => result,
            Part::Sums => sums,
            Part::Queries => due[0].clone(),
            Part::Keys => due[1].clone(),
            Part::Values => due[2].clone(),
            Part::Bias if self.bias => scores,
            Part::Bias => return refuse("has no bias that could have an adjoint"),
        })
    }

    /// Operations of one application: a multiply-add is two.
    pub fn flops(&self, q: &TensorType, k: &TensorType, v: &TensorType) -> Dim {
        let at = |ty: &TensorType, axis: usize| ty.shape.get(axis).cloned().unwrap_or(Dim::constant(1));
        let pairs = at(q, 0) * at(q, 2) * at(q, 1) * at(k, 1);
        let (width, depth) = (at(q, 3), at(v, 3));
        let each = match self.part {
            Part::Result => width + depth,
            // Computed along with the others.
            Part::Sums | Part::Bias => Dim::constant(0),
            Part::Queries => width.clone() * Dim::constant(2) + depth,
            Part::Keys => width,
            Part::Values => depth,
        };
        let all = pairs * each * Dim::constant(2);
        if self.causal == Some(Align::First) { all.floor_div(&Dim::constant(2)) } else { all }
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, TypeError> {
    Err(TypeError { message: message.into(), input: None, axis: None })
}

/// Attention that a graph spells out.
#[derive(Clone, Debug)]
pub struct Found {
    pub queries: NodeId,
    pub keys: NodeId,
    pub values: NodeId,
    /// Which axis of each of them is n, time, (group,) head and width.
    queries_axes: Vec<usize>,
    keys_axes: Vec<usize>,
    values_axes: Vec<usize>,
    pub scale: f64,
    pub causal: Option<Align>,
    /// What is added to the scaled scores, `[n, heads, t, s]` each.
    pub biases: Vec<NodeId>,
    /// What must hold for a query to look, beside `causal`.
    masks: Vec<NodeId>,
    /// Keys and values have fewer heads: the contractions have an axis of groups and one of heads in a group.
    grouped: bool,
    /// The nodes between the inputs and the result.
    pub interior: Vec<NodeId>,
}

/// How many nodes read each node, and how often it is a result of the graph.
pub fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    let outputs = graph.outputs.iter().chain(&graph.updates).map(|(_, id)| id);
    for input in graph.nodes.iter().flat_map(|node| &node.inputs).chain(outputs) {
        if let Some(count) = uses.get_mut(input.index()) {
            *count += 1;
        }
    }
    uses
}

/// The attention whose last contraction `id` is, if its weights serve nothing else (`uses` is of the graph as it was).
pub fn find(graph: &Graph, id: NodeId, uses: &[usize]) -> Option<Found> {
    let mut walk = Walk { graph, interior: Vec::new() };
    let node = graph.node(id);
    let (Op::Contract { batch, sum }, &[weighing, values]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let grouped = graph.node(weighing).ty.rank() == 5;
    let rank = if grouped { 5 } else { 4 };
    let ([(0, n), (1, head)], [(last, step)]) = (batch.as_slice(), sum.as_slice()) else { return None };
    if *last + 1 != rank || graph.node(weighing).ty.rank() != rank || graph.node(values).ty.rank() != 4 {
        return None;
    }
    let values_axes = complete(4, &[*n, *step, *head])?;
    let weights = if grouped { walk.merged(weighing)? } else { weighing };
    if [weighing, weights].iter().any(|id| uses.get(id.index()) != Some(&1)) {
        return None;
    }
    let (scores, seen) = walk.softmax(weights)?;
    let mut found = Found {
        queries: values,
        keys: values,
        values,
        queries_axes: Vec::new(),
        keys_axes: Vec::new(),
        values_axes,
        scale: 1.0,
        causal: None,
        biases: Vec::new(),
        masks: Vec::new(),
        grouped,
        interior: Vec::new(),
    };
    if let Some(seen) = seen {
        conditions(graph, seen, &mut found);
    }
    let products = walk.unscaled(scores, &mut found)?;
    walk.products(products, &mut found)?;
    walk.interior.push(id);
    found.interior = walk.interior;
    let f32 =
        [found.queries, found.keys, found.values].iter().all(|id| graph.node(*id).ty.dtype == DType::F32);
    f32.then_some(found)
}

/// The axes that are named, and the one of `rank` that is left.
fn complete(rank: usize, named: &[usize]) -> Option<Vec<usize>> {
    let mut rest = (0..rank).filter(|axis| !named.contains(axis));
    let last = rest.next()?;
    rest.next().is_none().then(|| named.iter().copied().chain([last]).collect())
}

/// Follows the form from the result to its inputs.
struct Walk<'g> {
    graph: &'g Graph,
    interior: Vec<NodeId>,
}

impl<'g> Walk<'g> {
    fn through(&mut self, id: NodeId) -> (&'g Op, &'g [NodeId]) {
        self.interior.push(id);
        let node = self.graph.node(id);
        (&node.op, &node.inputs)
    }

    /// What a reshape of `[n, heads, t, s]` to `[n, groups, each, t, s]`, or back, has as its input.
    fn merged(&mut self, id: NodeId) -> Option<NodeId> {
        let (Op::Reshape, &[from]) = self.through(id) else { return None };
        let (a, b) = (&self.graph.node(from).ty.shape, &self.graph.node(id).ty.shape);
        let (four, five) = if a.len() == 4 { (a, b) } else { (b, a) };
        let ([n, h, t, s], [n2, g, r, t2, s2]) = (four.as_slice(), five.as_slice()) else { return None };
        (n == n2 && t == t2 && s == s2 && *h == g.clone() * r.clone()).then_some(from)
    }

    /// `x` of a tensor `[…, 1]` that is stretched along the last axis.
    fn stretched(&mut self, id: NodeId) -> Option<NodeId> {
        let (Op::Broadcast { axes }, &[from]) = self.through(id) else { return None };
        let rank = self.graph.node(id).ty.rank();
        let kept = &self.graph.node(from).ty.shape;
        (axes.iter().copied().eq(0..rank) && kept.last()?.is(1)).then_some(from)
    }

    /// `x` of a reduction along its last axis that is kept with extent 1.
    fn reduced(&mut self, id: NodeId, reduction: Reduction) -> Option<NodeId> {
        let (Op::Reshape, &[from]) = self.through(id) else { return None };
        let (Op::Reduce { reduction: found, axes }, &[x]) = self.through(from) else { return None };
        let rank = self.graph.node(x).ty.rank();
        (*found == reduction && axes.as_slice() == [rank - 1]).then_some(x)
    }

    /// The scores of a softmax along the last of four axes, and where they count.
    fn softmax(&mut self, id: NodeId) -> Option<(NodeId, Option<NodeId>)> {
        if self.graph.node(id).ty.rank() != 4 {
            return None;
        }
        let (Op::Binary(Binary::Div), &[exps, total]) = self.through(id) else { return None };
        let mut total = self.stretched(total)?;
        // A row that sees nothing is divided by 1.
        if let (Op::Select, &[empty, one, sum]) = self.through(total) {
            let (Op::Compare(Compare::Eq), &[of, zero]) = self.through(empty) else { return None };
            if of != sum || self.constant(zero) != Some(0.0) || self.constant(one) != Some(1.0) {
                return None;
            }
            total = sum;
        }
        if self.reduced(total, Reduction::Sum)? != exps {
            return None;
        }
        let (mut exp, mut seen) = (exps, None);
        if let (Op::Select, &[mask, then, otherwise]) = self.through(exps) {
            if self.constant(otherwise) != Some(0.0) {
                return None;
            }
            (exp, seen) = (then, Some(mask));
        }
        let (Op::Unary(Unary::Exp), &[shifted]) = self.through(exp) else { return None };
        let (Op::Binary(Binary::Sub), &[scores, highest]) = self.through(shifted) else { return None };
        let mut highest = self.stretched(highest)?;
        if let (Op::Hold, &[held]) = self.through(highest) {
            highest = held;
        }
        if self.reduced(highest, Reduction::Max)? != scores {
            return None;
        }
        let Some(mask) = seen else { return Some((scores, None)) };
        let (Op::Select, &[same, kept, low]) = self.through(scores) else { return None };
        let low = self.constant(low)?;
        (same == mask && low <= -1e9).then_some((kept, seen))
    }

    /// The bare products of scores that are scaled and have biases added.
    fn unscaled(&mut self, mut id: NodeId, found: &mut Found) -> Option<NodeId> {
        loop {
            let node = self.graph.node(id);
            match (&node.op, node.inputs.as_slice()) {
                // A bias is added to what is scaled already; otherwise it would be scaled too.
                (Op::Binary(Binary::Add), &[a, b]) if found.scale == 1.0 => {
                    let next = [(a, b), (b, a)].into_iter().find(|(x, _)| self.leads_to_products(*x))?;
                    found.biases.push(next.1);
                    self.interior.push(id);
                    id = next.0;
                }
                (Op::Binary(op @ (Binary::Mul | Binary::Div)), &[a, b]) => {
                    let factor = self.constant(b)?;
                    found.scale *= if *op == Binary::Mul { factor } else { 1.0 / factor };
                    self.interior.push(id);
                    id = a;
                }
                _ => return Some(id),
            }
        }
    }

    /// Does this lead to a contraction by scales, biases and views alone?
    fn leads_to_products(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match (&node.op, node.inputs.as_slice()) {
            (Op::Contract { .. }, _) => true,
            (Op::Binary(Binary::Add), &[a, b]) => self.leads_to_products(a) || self.leads_to_products(b),
            (Op::Binary(Binary::Mul | Binary::Div), &[a, b]) => {
                self.constant(b).is_some() && self.leads_to_products(a)
            }
            (Op::Reshape | Op::Transpose { .. }, &[from]) => self.leads_to_products(from),
            _ => false,
        }
    }

    /// Queries and keys of the products `[n, heads, t, s]`.
    fn products(&mut self, id: NodeId, found: &mut Found) -> Option<()> {
        let mut id = id;
        let mut order = vec![0, 1, 2, 3];
        if found.grouped {
            id = self.merged(id)?;
            order.push(4);
            if let (Op::Transpose { permutation }, &[from]) = self.through(id) {
                (id, order) = (from, permutation.clone());
            }
        }
        let (Op::Contract { batch, sum }, &[queries, keys]) = self.through(id) else { return None };
        let ([(qn, kn), (qh, kh)], [(qw, kw)]) = (batch.as_slice(), sum.as_slice()) else { return None };
        let rank = order.len();
        if self.graph.node(queries).ty.rank() != rank || self.graph.node(keys).ty.rank() != 4 {
            return None;
        }
        let [0, 1, middle @ .., last] = order.as_slice() else { return None };
        if last + 1 != rank {
            return None;
        }
        let free: Vec<usize> = (0..rank).filter(|axis| ![*qn, *qh, *qw].contains(axis)).collect();
        let axis = |place: &usize| free.get(place.checked_sub(2)?).copied();
        found.queries_axes = match middle {
            [t] => vec![*qn, axis(t)?, *qh, *qw],
            [each, t] => vec![*qn, axis(t)?, *qh, axis(each)?, *qw],
            _ => return None,
        };
        let named = complete(4, &[*kn, *kh, *kw])?;
        found.keys_axes = vec![*kn, *named.last()?, *kh, *kw];
        (found.queries, found.keys) = (queries, keys);
        Some(())
    }

    fn constant(&self, id: NodeId) -> Option<f64> {
        let node = self.graph.node(id);
        match &node.op {
            Op::Constant(value) => Some(*value),
            Op::Broadcast { .. } | Op::Reshape => self.constant(*node.inputs.first()?),
            _ => None,
        }
    }
}

/// What must hold for a query to look, taken apart at each `and`.
fn conditions(graph: &Graph, id: NodeId, found: &mut Found) {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::And), &[a, b]) => {
            conditions(graph, a, found);
            conditions(graph, b, found);
        }
        _ => match sees_past(graph, id, 2, 3) {
            Some(align) => found.causal = Some(align),
            None => found.masks.push(id),
        },
    }
}

/// Does this hold where the place of the query, along one axis, is at least that of the key, along another?
fn sees_past(graph: &Graph, id: NodeId, query: usize, key: usize) -> Option<Align> {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Broadcast { axes }, &[from]) => {
            let inner = |axis: usize| {
                let place = axes.iter().position(|a| *a == axis)?;
                (graph.node(from).ty.shape.get(place) == node.ty.shape.get(axis)).then_some(place)
            };
            sees_past(graph, from, inner(query)?, inner(key)?)
        }
        (Op::Compare(compare @ (Compare::Ge | Compare::Le)), &[a, b]) => {
            let (a, b) = if *compare == Compare::Ge { (a, b) } else { (b, a) };
            let apart = counts(graph, a, query)? - counts(graph, b, key)?;
            let extent = |axis: usize| node.ty.shape.get(axis).cloned();
            if apart.is(0) {
                Some(Align::First)
            } else {
                (apart == extent(key)? - extent(query)?).then_some(Align::Last)
            }
        }
        _ => None,
    }
}

/// From which number on the elements count along this axis, if they do and are the same along the others.
fn counts(graph: &Graph, id: NodeId, axis: usize) -> Option<Dim> {
    let node = graph.node(id);
    let first = |place: usize| graph.node(node.inputs[place]);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Iota { axis: along }, _) => (*along == axis).then(|| Dim::constant(0)),
        // One number counts from itself on.
        (Op::DimValue(dim), _) => Some(dim.clone()),
        (Op::Constant(value), _) if value.fract() == 0.0 && value.abs() < 1e9 => {
            Some(Dim::constant(*value as i64))
        }
        (Op::Broadcast { axes }, &[from]) => match axes.iter().position(|a| *a == axis) {
            Some(place) if first(0).ty.shape.get(place) == node.ty.shape.get(axis) => {
                counts(graph, from, place)
            }
            // The same everywhere along an axis of one place.
            None if node.ty.shape.get(axis)?.is(1) && first(0).ty.elements().is(1) => counts(graph, from, 0),
            _ => None,
        },
        (Op::Reshape, &[from]) if node.ty.elements().is(1) => counts(graph, from, 0),
        // Axes of one place come and go.
        (Op::Reshape, &[from]) => {
            let [extent] = node.ty.shape.iter().filter(|d| !d.is(1)).collect::<Vec<_>>()[..] else {
                return None;
            };
            let place = first(0).ty.shape.iter().position(|d| d == extent)?;
            (node.ty.shape.get(axis) == Some(extent)).then(|| counts(graph, from, place))?
        }
        (Op::Slice { axis: along, start, step: 1 }, &[from]) => {
            let from = counts(graph, from, axis)?;
            Some(if *along == axis { from + start.clone() } else { from })
        }
        (Op::Binary(Binary::Add), &[a, b]) => {
            let still = |id: NodeId| fixed(graph, id);
            match (still(a), still(b)) {
                (Some(by), _) => Some(counts(graph, b, axis)? + by),
                (_, Some(by)) => Some(counts(graph, a, axis)? + by),
                _ => None,
            }
        }
        (Op::Transpose { permutation }, &[from]) => counts(graph, from, *permutation.get(axis)?),
        (Op::Cast, &[from]) => counts(graph, from, axis),
        _ => None,
    }
}

/// The number that all elements are.
fn fixed(graph: &Graph, id: NodeId) -> Option<Dim> {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::DimValue(dim), _) => Some(dim.clone()),
        (Op::Constant(value), _) if value.fract() == 0.0 && value.abs() < 1e9 => {
            Some(Dim::constant(*value as i64))
        }
        (Op::Broadcast { .. } | Op::Reshape | Op::Cast, &[from]) => fixed(graph, from),
        _ => None,
    }
}

impl Found {
    /// Appends the operation: `beside` are the result, the sums and the result's adjoint, for gradients.
    pub fn push(&self, b: &mut Builder, part: Part, beside: &[NodeId]) -> Result<NodeId, TypeError> {
        let mut inputs = vec![self.queries_in(b, self.queries)?];
        inputs.push(b.transpose(self.keys, &self.keys_axes)?);
        inputs.push(b.transpose(self.values, &self.values_axes)?);
        inputs.extend(joined(b, Binary::Add, &self.biases)?);
        inputs.extend(joined(b, Binary::And, &self.masks)?);
        inputs.extend(beside);
        let op = Attention {
            part,
            scale: self.scale,
            causal: self.causal,
            bias: !self.biases.is_empty(),
            mask: !self.masks.is_empty(),
        };
        b.push(Op::Attention(op), &inputs, None)
    }

    /// Queries as `[n, t, heads, width]`.
    fn queries_in(&self, b: &mut Builder, x: NodeId) -> Result<NodeId, TypeError> {
        let x = b.transpose(x, &self.queries_axes)?;
        if !self.grouped {
            return Ok(x);
        }
        match b.ty(x).shape.as_slice() {
            [n, t, g, r, w] => {
                let shape = [n.clone(), t.clone(), g.clone() * r.clone(), w.clone()];
                b.reshape(x, &shape)
            }
            _ => refuse("grouped queries have five axes"),
        }
    }

    /// The adjoint of one of the inputs, laid out as that is.
    pub fn adjoint_out(&self, b: &mut Builder, part: Part, x: NodeId) -> Result<NodeId, TypeError> {
        match part {
            Part::Queries => {
                let order: Vec<Dim> =
                    self.queries_axes.iter().map(|a| b.ty(self.queries).shape[*a].clone()).collect();
                let x = b.reshape(x, &order)?;
                b.transpose(x, &inverse(&self.queries_axes))
            }
            Part::Keys => b.transpose(x, &inverse(&self.keys_axes)),
            Part::Values => b.transpose(x, &inverse(&self.values_axes)),
            _ => Ok(x),
        }
    }

    /// `[n, t, heads, depth]` as the contraction has it: `[n, heads, t, depth]`, or with groups before heads.
    pub fn result_out(
        &self,
        b: &mut Builder,
        x: NodeId,
        contraction: &TensorType,
    ) -> Result<NodeId, TypeError> {
        match contraction.shape.as_slice() {
            [n, g, r, t, d] => {
                let shape = [n.clone(), t.clone(), g.clone(), r.clone(), d.clone()];
                let x = b.reshape(x, &shape)?;
                b.transpose(x, &[0, 2, 3, 1, 4])
            }
            _ => b.transpose(x, &[0, 2, 1, 3]),
        }
    }

    /// The other way round.
    pub fn result_in(&self, b: &mut Builder, x: NodeId) -> Result<NodeId, TypeError> {
        let ty = b.ty(x).clone();
        match ty.shape.as_slice() {
            [n, g, r, t, d] => {
                let x = b.transpose(x, &[0, 3, 1, 2, 4])?;
                b.reshape(x, &[n.clone(), t.clone(), g.clone() * r.clone(), d.clone()])
            }
            _ => b.transpose(x, &[0, 2, 1, 3]),
        }
    }
}

fn joined(b: &mut Builder, op: Binary, list: &[NodeId]) -> Result<Option<NodeId>, TypeError> {
    let mut rest = list.iter().copied();
    let Some(mut all) = rest.next() else { return Ok(None) };
    for next in rest {
        all = b.binary(op, all, next)?;
    }
    Ok(Some(all))
}

fn inverse(permutation: &[usize]) -> Vec<usize> {
    (0..permutation.len()).filter_map(|i| permutation.iter().position(|p| *p == i)).collect()
}
