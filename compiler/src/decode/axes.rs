//! Where the new tokens lie in every tensor, and which operation mixes them.
//!
//! A tensor has the tokens along one axis at most. An operation is *position-wise* when what it gives at a place depends on that place of its
//! inputs alone; then it may be done for some tokens as well as for all. Along the axis of a cache, which holds all tokens so far, everything
//! may be done, as long as a place can tell what comes before it from what comes after: a first prompt brings both at once.

use super::{Extent, Mixed, Sequence, needed};
use crate::graph::op::{Op, Reduction};
use crate::graph::{Dim, Graph, Node, NodeId, Scan, TensorType};
use std::collections::BTreeSet;
use weft_grammar::Span;

/// The axis that holds the new tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    pub axis: usize,
    /// Places of the axis that lie between one token and the next (where other axes were joined to it); none where all are alike.
    pub inner: Option<Dim>,
    /// So many earlier places stand in front of the new ones.
    pub behind: i64,
}

/// The axis of each node that an output needs.
pub fn follow(graph: &Graph, sequence: &Sequence) -> Result<Vec<Option<Steps>>, Vec<Mixed>> {
    let mut walk = Walk { sequence, mixed: Vec::new(), depth: 0 };
    let caches: Vec<NodeId> =
        graph.outputs.iter().filter(|(name, _)| sequence.caches.contains(name)).map(|(_, id)| *id).collect();
    let places = walk.graph(graph, &[], &caches);
    walk.unordered(graph);
    for (_, id) in graph.outputs.iter().filter(|(name, _)| *name == sequence.logits) {
        if places[id.index()].is_none() {
            walk.report(graph.node(*id).span, Why::None);
        }
    }
    if walk.mixed.is_empty() { Ok(places) } else { Err(walk.mixed) }
}

/// Why an operation is not position-wise.
#[derive(Clone, Debug, PartialEq)]
enum Why {
    /// It makes one of all places, in these words.
    Together(&'static str),
    Order,
    Later,
    Index,
    Length,
    Random,
    Backward,
    Last,
    /// The logits are the same at all places.
    None,
    Captured,
    Inside,
    Pairs,
    Blind,
}

impl Why {
    fn words(&self, t: &str) -> (String, String) {
        let cached =
            format!("`cached(x, over = {t})` is `x` at all steps so far, and `scan` goes from step to step");
        match self {
            Why::Together(what) => (
                format!("this {what} all places of `{t}`, but a step of `generate` has the new ones only"),
                cached,
            ),
            Why::Order => (
                format!("this moves the places of `{t}`, but a step of `generate` has the new ones only"),
                format!("what a place needs of earlier ones, `scan` carries or `cached(x, over = {t})` keeps"),
            ),
            Why::Later => (
                format!("a place of `{t}` sees later ones here, which `generate` has not written yet"),
                "`padding = causal` with stride 1 sees earlier places alone".to_owned(),
            ),
            Why::Index => (
                format!("this counts from the first of the new tokens, not from the first of `{t}`"),
                format!("`position({t})` is the place in the whole sequence"),
            ),
            Why::Length => (
                format!("`{t}` is the number of new tokens in a step of `generate`, not the length of the sequence"),
                format!("`position({t})` is the place in the whole sequence"),
            ),
            Why::Random => (
                format!("random elements for each place of `{t}` would be others at each step of `generate`"),
                "draw what is the same for all places, or nothing".to_owned(),
            ),
            Why::Backward => (
                format!("this goes through `{t}` from its end, which `generate` has not written yet"),
                "a model that writes its sequence reads it forwards alone".to_owned(),
            ),
            Why::Last => (
                format!("this is what a loop over `{t}` ends with, but `generate` needs a value at each place"),
                "`yield` gives the values of all steps (`lstm(…, sequences = true)`)".to_owned(),
            ),
            Why::None => (
                format!("these are not logits for each place of `{t}`"),
                "the last expression of `generate` is the model on all tokens so far: logits `[n, t, vocabulary]`".to_owned(),
            ),
            Why::Captured => (format!("each step of this loop sees all places of `{t}`"), cached),
            Why::Inside => (
                format!("this looks back to earlier places of `{t}` inside of a loop, where nothing keeps them from one token to the next"),
                "do it before the loop or behind it".to_owned(),
            ),
            Why::Blind => (
                format!("each place of `{t}` sees all others here, also those that come after it, which `generate` has not written yet"),
                "`attention(…, causal = true)` sees a place and those before it".to_owned(),
            ),
            Why::Pairs => (
                format!("this sets each place of `{t}` beside every other, but a step of `generate` has the new ones only"),
                cached,
            ),
        }
    }
}

/// What is known of a node: where its tokens lie, or what is wrong.
type Found = Result<Option<Steps>, Why>;

struct Walk<'s> {
    sequence: &'s Sequence,
    mixed: Vec<Mixed>,
    /// How many loops stand around the graph at hand.
    depth: usize,
}

impl Walk<'_> {
    fn report(&mut self, span: Span, why: Why) {
        if self.mixed.iter().all(|known| known.span != span) {
            let (message, hint) = why.words(&self.sequence.steps);
            self.mixed.push(Mixed { message, hint, span });
        }
    }

    /// All nodes of a graph; `given` are those of a loop's body's inputs. What is wrong is told, and the walk goes on.
    fn graph(&mut self, graph: &Graph, given: &[Option<Steps>], caches: &[NodeId]) -> Vec<Option<Steps>> {
        let mut places: Vec<Option<Steps>> = vec![None; graph.nodes.len()];
        let mut results: Vec<Vec<Option<Steps>>> = vec![Vec::new(); graph.nodes.len()];
        let wanted = needed(graph, graph.outputs.iter().map(|(_, id)| *id));
        let shifted = if self.depth == 0 { self.shifted(graph, &wanted) } else { BTreeSet::new() };
        for id in graph.ids().filter(|id| wanted[id.index()] && !shifted.contains(id)) {
            let node = graph.node(id);
            let args: Vec<Option<Steps>> = node.inputs.iter().map(|i| places[i.index()].clone()).collect();
            let types: Vec<&TensorType> = node.inputs.iter().map(|i| &graph.node(*i).ty).collect();
            let found = match &node.op {
                // All tokens so far: no axis of new ones is left.
                Op::Concat { axis: 0 } if caches.contains(&id) => {
                    match args.as_slice() {
                        [_, Some(Steps { axis: 0, behind: 0, .. })] => {}
                        _ => self.report(node.span, Why::Order),
                    }
                    continue;
                }
                Op::Scan(scan) => {
                    results[id.index()] = self.scan(node, scan, &args);
                    continue;
                }
                Op::ScanResult { index } => {
                    let of = node.inputs.first().map(|scan| &graph.node(*scan).op);
                    if let Some(Op::Scan(scan)) = of
                        && scan.trip == self.sequence.steps()
                        && *index < scan.carries
                    {
                        self.report(node.span, Why::Last);
                    }
                    let scan = node.inputs.first().map_or(&[][..], |scan| results[scan.index()].as_slice());
                    Ok(scan.get(*index).cloned().flatten())
                }
                Op::Input(_) => match given.get(id.index()) {
                    Some(steps) => Ok(steps.clone()),
                    None => {
                        let by_type = self.by_type(&node.ty);
                        // What earlier steps left is read by caches alone.
                        if by_type.is_err() { continue } else { by_type }
                    }
                },
                Op::Pad { .. } if node.inputs.first().is_some_and(|x| shifted.contains(x)) => {
                    let shift = shift(graph, node, self.sequence);
                    let from = shift.as_ref().and_then(|shift| places[shift.from.index()].clone());
                    match (shift, from) {
                        (Some(shift), Some(steps)) if steps.axis == shift.axis && steps.behind == 0 => {
                            Ok(Some(Steps { behind: shift.before - shift.dropped, ..steps }))
                        }
                        _ => Err(Why::Order),
                    }
                }
                _ => self.rule(node, &args, &types),
            };
            places[id.index()] = match found.and_then(|steps| self.sound(&node.ty, steps)) {
                Ok(steps) => steps,
                Err(why) => {
                    self.report(node.span, why);
                    // Not to be told of everything behind it as well.
                    self.by_type(&node.ty).ok().flatten()
                }
            };
        }
        places
    }

    /// What is only there to be shifted: without its last places, it gets as many in front.
    fn shifted(&self, graph: &Graph, wanted: &[bool]) -> BTreeSet<NodeId> {
        let (mut shifted, mut used) = (BTreeSet::new(), BTreeSet::new());
        for node in graph.ids().filter(|id| wanted[id.index()]).map(|id| graph.node(id)) {
            match (shift(graph, node, self.sequence), node.inputs.as_slice()) {
                (Some(_), [slice]) => drop(shifted.insert(*slice)),
                (_, inputs) => used.extend(inputs),
            }
        }
        used.extend(graph.outputs.iter().map(|(_, id)| *id));
        &shifted - &used
    }

    /// Sums over all tokens so far that know nothing of their order: each place would see those after it in the same step.
    fn unordered(&mut self, graph: &Graph) {
        let all = |ty: &TensorType, axis: usize| {
            ty.shape.get(axis).is_some_and(|dim| self.sequence.extent(dim) == Extent::All)
        };
        // What is made of the places of all tokens, and what tells by them which come after a place.
        let mut places = vec![false; graph.nodes.len()];
        let mut ordered = vec![false; graph.nodes.len()];
        let mut blind = Vec::new();
        let wanted = needed(graph, graph.outputs.iter().map(|(_, id)| *id));
        for id in graph.ids().filter(|id| wanted[id.index()]) {
            let node = graph.node(id);
            let of = |place: usize| &graph.node(node.inputs[place]).ty;
            let any = |known: &[bool]| node.inputs.iter().any(|input| known[input.index()]);
            // The places of the new tokens say nothing of the others.
            let new = matches!(&node.op, Op::Slice { start, .. } if *start == Dim::symbol(self.sequence.past.clone()));
            places[id.index()] = match &node.op {
                Op::Iota { axis } => all(&node.ty, *axis),
                _ => !new && any(&places),
            };
            ordered[id.index()] = match &node.op {
                Op::Compare(_) => any(&places) || any(&ordered),
                // A number for each distance hides no place.
                Op::Gather { .. } => node.inputs.first().is_some_and(|table| ordered[table.index()]),
                _ => !new && any(&ordered),
            };
            let over_all = match &node.op {
                Op::Reduce { axes, .. } | Op::ArgReduce { axes, .. } => {
                    axes.iter().any(|axis| all(of(0), *axis))
                }
                Op::Contract { sum, .. } => sum.iter().any(|(axis, _)| all(of(0), *axis)),
                _ => false,
            };
            if over_all && !ordered[id.index()] {
                blind.push(node.span);
            }
        }
        blind.into_iter().for_each(|span| self.report(span, Why::Blind));
    }

    /// The axis of a type that counts new tokens, where nothing else says which.
    fn by_type(&self, ty: &TensorType) -> Found {
        let mut found = None;
        for (axis, dim) in ty.shape.iter().enumerate() {
            match self.sequence.extent(dim) {
                Extent::Still | Extent::All => {}
                Extent::Both => return Err(Why::Pairs),
                Extent::Steps if found.is_some() => return Err(Why::Pairs),
                Extent::Steps => {
                    let behind = (dim.clone() - self.sequence.steps()).as_constant();
                    let (inner, behind) = match behind {
                        Some(behind) if behind >= 0 => (Some(Dim::constant(1)), behind),
                        None if dim.exact_div(&self.sequence.steps()).is_some() => (None, 0),
                        _ => return Err(Why::Order),
                    };
                    found = Some(Steps { axis, inner, behind });
                }
            }
        }
        Ok(found)
    }

    /// Every axis that counts new tokens must be the one that was followed.
    fn sound(&self, ty: &TensorType, steps: Option<Steps>) -> Found {
        let by_type = self.by_type(ty)?;
        match (&steps, by_type) {
            (Some(steps), Some(found)) if steps.axis == found.axis && steps.behind == found.behind => {}
            (None, None) => {}
            _ => return Err(Why::Order),
        }
        Ok(steps)
    }

    fn counts(&self, dim: &Dim) -> bool {
        matches!(self.sequence.extent(dim), Extent::Steps | Extent::Both)
    }

    /// The table: how each operation treats the axis.
    fn rule(&self, node: &Node, args: &[Option<Steps>], types: &[&TensorType]) -> Found {
        let first = args.first().cloned().flatten();
        let moved = |steps: Steps, axis: usize| Ok(Some(Steps { axis, ..steps }));
        // For operations on one input with an axis of their own.
        let apart = |axis: usize, why: Why| match &first {
            Some(steps) if steps.axis == axis => Err(why),
            _ => Ok(first.clone()),
        };
        match &node.op {
            Op::Input(_)
            | Op::Variable(_)
            | Op::Constant(_)
            | Op::Table(_)
            | Op::Scan(_)
            | Op::ScanResult { .. } => Ok(None),
            Op::Iota { axis } => match self.by_type(&node.ty)? {
                Some(steps) if steps.axis == *axis => Err(Why::Index),
                steps => Ok(steps),
            },
            Op::DimValue(dim) => {
                if self.counts(dim) {
                    Err(Why::Length)
                } else {
                    Ok(None)
                }
            }
            Op::Random { .. } => match self.by_type(&node.ty)? {
                Some(_) => Err(Why::Random),
                None => Ok(None),
            },
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Hold => {
                together(args)
            }
            Op::Reduce { reduction, axes } => {
                let what = match reduction {
                    Reduction::Sum => "adds up",
                    Reduction::Prod => "multiplies",
                    Reduction::Max | Reduction::Min | Reduction::Any | Reduction::All => "compares",
                };
                without(first, axes, Why::Together(what))
            }
            Op::ArgReduce { axes, .. } => without(first, axes, Why::Together("compares")),
            Op::CumulativeSum { axis, reverse, .. } => match &first {
                Some(steps) if steps.axis == *axis => {
                    let whole = steps.behind == 0 && node.ty.shape.get(*axis) == Some(&self.sequence.steps());
                    match (reverse, whole) {
                        (true, _) => Err(Why::Backward),
                        (false, false) => Err(Why::Together("adds up")),
                        // The sum of all earlier places is carried.
                        (false, true) => self.looks_back(first),
                    }
                }
                _ => Ok(first),
            },
            Op::Sort { .. } => apart(node.ty.rank().wrapping_sub(1), Why::Together("sorts")),
            Op::Contract { batch, sum } => contract(batch, sum, args, types),
            Op::Attention(_) => match args {
                // Queries may be new alone, if keys and values are not.
                [Some(q), None, None, ..] if q.axis == 1 => Ok(first),
                _ if args.iter().all(Option::is_none) => Ok(None),
                _ => Err(Why::Pairs),
            },
            Op::Conv(conv) => {
                let Some(steps) = first else { return none_of(args) };
                none_of(args.get(1..).unwrap_or(&[]))?;
                if steps.axis == 0 {
                    return Ok(Some(steps));
                }
                let Some((before, after)) = conv.padding.get(steps.axis - 1) else {
                    return Err(Why::Together("adds up"));
                };
                let kernel = types.get(1).and_then(|w| w.shape.get(steps.axis - 1)?.as_constant());
                let at = steps.axis - 1;
                let (Some(kernel), Some(before), true) = (kernel, before.as_constant(), after.is(0)) else {
                    return Err(Why::Later);
                };
                let found =
                    self.windowed(steps, kernel, before, (conv.stride.get(at), conv.dilation.get(at)))?;
                if before == 0 { Ok(found) } else { self.looks_back(found) }
            }
            Op::ConvData(_) => match first {
                Some(steps) if steps.axis != 0 => Err(Why::Later),
                steps => {
                    none_of(args.get(1..).unwrap_or(&[]))?;
                    Ok(steps)
                }
            },
            Op::ConvWeights(_) => {
                if args.iter().any(Option::is_some) {
                    Err(Why::Together("adds up"))
                } else {
                    Ok(None)
                }
            }
            Op::Gather { axis } => {
                let rank = types.get(1).map_or(0, |indices| indices.rank());
                match (first, args.get(1).cloned().flatten()) {
                    (None, None) => Ok(None),
                    (Some(_), Some(_)) => Err(Why::Pairs),
                    (Some(table), None) if table.axis == *axis => Err(Why::Order),
                    (Some(table), None) if table.axis < *axis => Ok(Some(table)),
                    (Some(table), None) => {
                        let place = table.axis + rank - 1;
                        moved(table, place)
                    }
                    (None, Some(indices)) => {
                        let place = indices.axis + axis;
                        moved(indices, place)
                    }
                }
            }
            Op::ScatterAdd { axis } => {
                none_of(args.get(1..).unwrap_or(&[]))?;
                let rank = types.get(1).map_or(0, |indices| indices.rank());
                match first {
                    Some(steps) if steps.axis < *axis => Ok(Some(steps)),
                    Some(steps) if steps.axis >= axis + rank => {
                        let place = steps.axis + 1 - rank;
                        moved(steps, place)
                    }
                    Some(_) => Err(Why::Together("adds up")),
                    None => Ok(None),
                }
            }
            Op::Reshape => match (first, types.first()) {
                (Some(steps), Some(from)) => self.reshape(steps, from, &node.ty),
                // Of what counts no tokens, new ones cannot come.
                _ => Ok(None),
            },
            Op::Transpose { permutation } => match first {
                Some(steps) => {
                    let place = permutation.iter().position(|from| *from == steps.axis).ok_or(Why::Order)?;
                    moved(steps, place)
                }
                None => Ok(None),
            },
            Op::Broadcast { axes } => match first {
                Some(steps) => {
                    let place = axes.get(steps.axis).copied().ok_or(Why::Order)?;
                    moved(steps, place)
                }
                // The same at all places.
                None => self.by_type(&node.ty),
            },
            Op::Slice { axis, start, step } => match first {
                Some(steps) if steps.axis == *axis => {
                    let behind = node
                        .ty
                        .shape
                        .get(*axis)
                        .and_then(|d| (d.clone() - self.sequence.steps()).as_constant());
                    match behind {
                        Some(behind) if *step == 1 && behind >= 0 && is_one(&steps.inner) => {
                            Ok(Some(Steps { behind, ..steps }))
                        }
                        _ => Err(Why::Order),
                    }
                }
                // The new ones of all.
                None if *step == 1 && *start == Dim::symbol(self.sequence.past.clone()) => {
                    self.by_type(&node.ty)
                }
                _ if self.counts(start) => Err(Why::Order),
                steps => Ok(steps),
            },
            Op::Window { axis, size, stride, dilation } => match first {
                Some(steps) if steps.axis < *axis => Ok(Some(steps)),
                Some(steps) if steps.axis < axis + size.len() => {
                    let at = steps.axis - axis;
                    let kernel = size.get(at).map_or(1, |k| *k as i64);
                    self.windowed(steps, kernel, 0, (stride.get(at), dilation.get(at)))
                }
                Some(steps) => {
                    let place = steps.axis + size.len();
                    moved(steps, place)
                }
                None => Ok(None),
            },
            Op::Unwindow { axis, size, .. } => match first {
                Some(steps) if steps.axis < *axis => Ok(Some(steps)),
                Some(steps) if steps.axis < axis + 2 * size.len() => Err(Why::Together("adds up")),
                Some(steps) => {
                    let place = steps.axis - size.len();
                    moved(steps, place)
                }
                None => Ok(None),
            },
            Op::Pad { amounts, .. } => match first {
                Some(steps) => match amounts.get(steps.axis) {
                    Some((before, after)) if before.is(0) && after.is(0) => Ok(Some(steps)),
                    Some((before, after)) => match before.as_constant() {
                        Some(before) if before >= 0 && after.is(0) && is_one(&steps.inner) => {
                            let behind = steps.behind + before;
                            self.looks_back(Some(Steps { behind, ..steps }))
                        }
                        _ => Err(Why::Later),
                    },
                    None => Err(Why::Order),
                },
                None => Ok(None),
            },
            Op::Concat { axis } => match together(args)? {
                Some(steps) if steps.axis == *axis => Err(Why::Order),
                steps => Ok(steps),
            },
        }
    }

    /// What needs earlier places carries them, which a loop's body cannot.
    fn looks_back(&self, steps: Option<Steps>) -> Found {
        if self.depth == 0 { Ok(steps) } else { Err(Why::Inside) }
    }

    /// A window of so many places, each looking back, with so many put in front of the first.
    fn windowed(
        &self,
        steps: Steps,
        kernel: i64,
        before: i64,
        (stride, dilation): (Option<&usize>, Option<&usize>),
    ) -> Found {
        let (stride, dilation) = (stride.copied().unwrap_or(1), dilation.copied().unwrap_or(1));
        let behind = steps.behind + before - (kernel - 1) * dilation as i64;
        if stride != 1 || behind < 0 || !is_one(&steps.inner) {
            return Err(Why::Later);
        }
        Ok(Some(Steps { behind, ..steps }))
    }

    /// The tokens keep their place among the elements: as many lie between one and the next.
    fn reshape(&self, steps: Steps, from: &TensorType, to: &TensorType) -> Found {
        let product = |dims: &[Dim]| dims.iter().cloned().fold(Dim::constant(1), |a, b| a * b);
        let after = |ty: &TensorType, axis: usize| product(ty.shape.get(axis + 1..).unwrap_or(&[]));
        let Some(axis) = to.shape.iter().position(|dim| self.counts(dim)) else { return Err(Why::Order) };
        let (behind, apart) = (after(from, steps.axis), after(to, axis));
        if steps.behind > 0 {
            let same = from.shape.get(steps.axis) == to.shape.get(axis) && behind == apart;
            return if same { Ok(Some(Steps { axis, ..steps })) } else { Err(Why::Order) };
        }
        let Some(inner) = &steps.inner else { return Ok(Some(Steps { axis, ..steps })) };
        let inner = (inner.clone() * behind).exact_div(&apart).ok_or(Why::Order)?;
        let each = self.sequence.steps() * inner.clone();
        let fits = to.shape.get(axis).is_some_and(|extent| extent.exact_div(&each).is_some());
        if fits { Ok(Some(Steps { axis, inner: Some(inner), behind: 0 })) } else { Err(Why::Order) }
    }

    /// A loop: its results, by number.
    fn scan(&mut self, node: &Node, scan: &Scan, args: &[Option<Steps>]) -> Vec<Option<Steps>> {
        let over_steps = scan.trip == self.sequence.steps();
        if !over_steps && self.counts(&scan.trip) {
            self.report(node.span, Why::Order);
            return vec![None; scan.results()];
        }
        let (elements, others) = args.split_at(scan.elements.min(args.len()));
        let mut given: Vec<Option<Steps>> = Vec::new();
        for steps in elements {
            match steps {
                Some(steps)
                    if steps.axis == 0 && !(over_steps && is_one(&steps.inner) && steps.behind == 0) =>
                {
                    self.report(node.span, Why::Order);
                    given.push(None);
                }
                Some(steps) if steps.axis == 0 => given.push(None),
                Some(steps) => given.push(Some(Steps { axis: steps.axis - 1, ..steps.clone() })),
                None => given.push(None),
            }
        }
        if over_steps && scan.reversed {
            self.report(node.span, Why::Backward);
        }
        if over_steps && others.iter().chain(&given).any(Option::is_some) {
            self.report(node.span, Why::Captured);
        }
        given.extend(others.iter().cloned());
        if over_steps {
            given.iter_mut().for_each(|steps| *steps = None);
        }
        self.depth += 1;
        let places = self.graph(&scan.body, &given, &[]);
        self.depth -= 1;
        let mut results = Vec::new();
        for (at, (_, id)) in scan.body.outputs.iter().enumerate() {
            let steps = places.get(id.index()).cloned().flatten();
            results.push(match steps {
                // A stack has the loop's own axis in front.
                Some(steps) if at >= scan.carries => Some(Steps { axis: steps.axis + 1, ..steps }),
                None if at >= scan.carries && over_steps => {
                    Some(Steps { axis: 0, inner: Some(Dim::constant(1)), behind: 0 })
                }
                steps => steps,
            });
        }
        results
    }
}

/// Places moved towards the end by a few, in front of which others stand.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    /// What is shifted, along which axis.
    pub from: NodeId,
    pub axis: usize,
    /// So many of the last places are left out, and so many stand in front.
    pub dropped: i64,
    pub before: i64,
}

/// What a padding shifts: `pad(x[:, :-1], [(0, 0), (1, 0)])`, where `x` holds the new tokens alone.
pub fn shift(graph: &Graph, pad: &Node, sequence: &Sequence) -> Option<Shift> {
    let (Op::Pad { amounts, .. }, [slice]) = (&pad.op, pad.inputs.as_slice()) else { return None };
    let slice = graph.node(*slice);
    let (Op::Slice { axis, start, step: 1 }, [from]) = (&slice.op, slice.inputs.as_slice()) else {
        return None;
    };
    let new = graph.node(*from).ty.shape.get(*axis) == Some(&sequence.steps());
    let dropped = (sequence.steps() - slice.ty.shape.get(*axis)?.clone()).as_constant()?;
    let (before, after) = amounts.get(*axis)?;
    let before = before.as_constant()?;
    let shifts = new && start.is(0) && after.is(0) && dropped > 0 && before >= dropped;
    shifts.then_some(Shift { from: *from, axis: *axis, dropped, before })
}

fn is_one(inner: &Option<Dim>) -> bool {
    inner.as_ref().is_none_or(|inner| inner.is(1))
}

/// Inputs of one shape: where one has its tokens, all have.
fn together(args: &[Option<Steps>]) -> Found {
    let mut all: Option<Steps> = None;
    for steps in args.iter().flatten() {
        match &mut all {
            None => all = Some(steps.clone()),
            Some(known) => {
                let inner = match (&known.inner, &steps.inner) {
                    (Some(a), Some(b)) if a != b => return Err(Why::Order),
                    (Some(a), _) => Some(a.clone()),
                    (None, b) => b.clone(),
                };
                if known.axis != steps.axis || known.behind != steps.behind {
                    return Err(Why::Pairs);
                }
                known.inner = inner;
            }
        }
    }
    Ok(all)
}

fn none_of(args: &[Option<Steps>]) -> Found {
    if args.iter().all(Option::is_none) { Ok(None) } else { Err(Why::Together("adds up")) }
}

/// After some axes went.
fn without(steps: Option<Steps>, axes: &[usize], why: Why) -> Found {
    match steps {
        Some(steps) if axes.contains(&steps.axis) => Err(why),
        Some(steps) => {
            let axis = steps.axis - axes.iter().filter(|axis| **axis < steps.axis).count();
            Ok(Some(Steps { axis, ..steps }))
        }
        None => Ok(None),
    }
}

fn contract(
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    args: &[Option<Steps>],
    types: &[&TensorType],
) -> Found {
    let [a, b] = args else { return Ok(None) };
    let side = |steps: &Option<Steps>, of: &dyn Fn(&(usize, usize)) -> usize| {
        steps.as_ref().map(|steps| {
            let among = |pairs: &[(usize, usize)]| pairs.iter().position(|pair| of(pair) == steps.axis);
            (steps.clone(), among(batch), among(sum))
        })
    };
    let (a, b) = (side(a, &|p| p.0), side(b, &|p| p.1));
    if [&a, &b].into_iter().flatten().any(|(_, _, sum)| sum.is_some()) {
        return Err(Why::Together("adds up"));
    }
    // How many free axes stand before one.
    let free = |axis: usize, of: &dyn Fn(&(usize, usize)) -> usize| {
        (0..axis).filter(|other| batch.iter().chain(sum).all(|pair| of(pair) != *other)).count()
    };
    let rank_of_a = types.first().map_or(0, |ty| ty.rank());
    match (a, b) {
        (None, None) => Ok(None),
        (Some((a, Some(at), _)), Some((b, Some(same), _))) if at == same => {
            let known = [Some(Steps { axis: at, ..a }), Some(Steps { axis: at, ..b })];
            together(&known)
        }
        (Some((a, None, _)), None) => {
            let axis = batch.len() + free(a.axis, &|p| p.0);
            Ok(Some(Steps { axis, ..a }))
        }
        (None, Some((b, None, _))) => {
            let axis = batch.len() + free(rank_of_a, &|p| p.0) + free(b.axis, &|p| p.1);
            Ok(Some(Steps { axis, ..b }))
        }
        _ => Err(Why::Pairs),
    }
}
