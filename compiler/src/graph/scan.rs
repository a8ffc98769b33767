//! A loop in the graph: one body, run once for each step along a leading axis.
//!
//! The body is a graph of its own that sees nothing of the outer one but its inputs, which are its first nodes, in this order:
//! - `element.0` …: at step `i` the slice `i` of an operand with a leading axis of extent [`Scan::trip`];
//! - `carry.0` …: what the step before left, at the first step the operand itself;
//! - `capture.0` …: operands that are the same for all steps.
//!
//! Its outputs are, in this order, `carry.0` … (what goes to the next step, of the carry's type) and `yield.0` …, which are stacked
//! along a new leading axis. With [`Scan::reversed`] the steps run from the last to the first; slices and stacks keep their places.
//!
//! The operands of an [`Op::Scan`] node are the elements, the first carries and the captures. The node's own value is a token that
//! nothing reads but [`Op::ScanResult`]: the final carries come first, then the stacks. A body draws no random elements and reads
//! no variables: both are captured, or drawn outside for all steps at once. Its symbols are those of the outer graph. The steps of
//! a trip of 0 leave the first carries and empty stacks.

use super::dim::Dim;
use super::op::Op;
use super::{DType, Graph, NodeId, TensorType, TypeError};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// How many steps.
    pub trip: Dim,
    /// From the last step to the first.
    pub reversed: bool,
    /// Of the body's inputs, so many are elements, and so many after them carries; the rest are captures.
    pub elements: usize,
    pub carries: usize,
    pub body: Graph,
}

impl Scan {
    /// The names of the body's inputs, in order, for so many captures.
    pub fn input_name(&self, place: usize) -> String {
        input_name(self.elements, self.carries, place)
    }

    /// The body's inputs: its first nodes.
    pub fn inputs(&self) -> Vec<NodeId> {
        self.body.ids().take_while(|id| matches!(self.body.node(*id).op, Op::Input(_))).collect()
    }

    /// How many results: final carries, then stacks.
    pub fn results(&self) -> usize {
        self.body.outputs.len()
    }

    /// The type of a result; `None` when there is none of this number.
    pub fn result_type(&self, index: usize) -> Option<TensorType> {
        let (_, id) = self.body.outputs.get(index)?;
        let ty = self.body.node(*id).ty.clone();
        Some(if index < self.carries { ty } else { self.stacked(&ty) })
    }

    /// A step's type with the leading axis over all steps.
    pub fn stacked(&self, ty: &TensorType) -> TensorType {
        let shape: Vec<Dim> = std::iter::once(self.trip.clone()).chain(ty.shape.iter().cloned()).collect();
        TensorType::new(ty.dtype, shape)
    }

    /// Checks the operands, and the body's form: its inputs, its outputs, what it may hold.
    pub(super) fn check(&self, operands: &[&TensorType]) -> Result<(), TypeError> {
        let fail = |message: String, input: Option<usize>| Err(TypeError { message, input, axis: None });
        let inputs = self.inputs();
        if inputs.len() != operands.len() || self.elements + self.carries > inputs.len() {
            let message = format!("the body takes {} inputs, not {}", inputs.len(), operands.len());
            return fail(message, None);
        }
        for (place, (id, operand)) in inputs.iter().zip(operands).enumerate() {
            let (node, name) = (self.body.node(*id), self.input_name(place));
            if node.op != Op::Input(name.clone()) {
                return fail(format!("input {place} of the body must be `{name}`"), Some(place));
            }
            let due = if place < self.elements { self.stacked(&node.ty) } else { node.ty.clone() };
            if **operand != due {
                return fail(format!("`{name}` must be {due}, not {operand}"), Some(place));
            }
        }
        for node in self.body.nodes.iter().skip(inputs.len()) {
            if matches!(node.op, Op::Input(_) | Op::Variable(_) | Op::Random { .. }) {
                return fail(format!("`{}` has no place in the body of a scan", node.path), None);
            }
        }
        if self.carries > self.results() {
            return fail("the body gives too few carries".to_string(), None);
        }
        for (place, (name, id)) in self.body.outputs.iter().enumerate() {
            if *name != output_name(self.carries, place) {
                return fail(format!("output {place} must be `{}`", output_name(self.carries, place)), None);
            }
            if let Some(carry) = inputs.get(self.elements + place).filter(|_| place < self.carries) {
                let (given, due) = (&self.body.node(*id).ty, &self.body.node(*carry).ty);
                if given != due {
                    return fail(format!("`{name}` starts as {due} but becomes {given}"), None);
                }
            }
        }
        if !self.body.updates.is_empty() || !self.body.guards.is_empty() {
            return fail("the body of a scan has no updates and no guards".to_string(), None);
        }
        Ok(())
    }
}

/// What the body calls its input of this place.
pub fn input_name(elements: usize, carries: usize, place: usize) -> String {
    match place {
        p if p < elements => format!("element.{p}"),
        p if p < elements + carries => format!("carry.{}", p - elements),
        p => format!("capture.{}", p - elements - carries),
    }
}

/// What the body calls its output of this place.
pub fn output_name(carries: usize, place: usize) -> String {
    if place < carries { format!("carry.{place}") } else { format!("yield.{}", place - carries) }
}

/// The type of a scan's own node.
pub fn token() -> TensorType {
    TensorType::new(DType::Bool, [Dim::constant(0)])
}
