//! Attention: one kernel forward, one backward, each for all parts of it that the graph asks for.

use super::build::Build;
use super::values::Place;
use super::{BufferId, Kernel, Stop, Storage};
use crate::graph::attention::{Align, Attention, Part};
use crate::graph::{DType, Dim, NodeId, Op};
use weft_runtime::program;

impl Build<'_> {
    /// The kernel that computes `id` into `out`, and the other parts that are made of the same inputs with it.
    pub fn attention(&mut self, id: NodeId, out: BufferId, op: &Attention) -> Result<(), Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        let backward = op.part.is_gradient();
        let halves = super::halves::of(graph, node, self.built.machine).is_some();
        let mut ins = Vec::new();
        let mut strides = Vec::new();
        for place in 0..op.inputs() {
            let behind = super::halves::behind(graph, node.inputs[place]).filter(|_| halves);
            let input = behind.map_or(node.inputs[place], |(narrow, _)| narrow);
            // The kernel writes and reads results and sums without gaps.
            if backward && (place + 3 == op.inputs() || place + 2 == op.inputs()) {
                ins.push(self.contiguous(input)?);
                continue;
            }
            let operand = self.operand(input)?;
            let rank = operand.strides.len();
            let scores = place >= Attention::bias_at() && place < op.mask_at() + usize::from(op.mask);
            if !scores && !operand.strides[rank - 1].is(1) && !graph.node(input).ty.shape[rank - 1].is(1) {
                return Err(Stop::Need(input));
            }
            ins.push((operand.buffer, operand.offset));
            strides.push(operand.strides);
        }
        let parts: &[Part] = match (backward, op.bias) {
            (false, _) => &[Part::Result, Part::Sums],
            (true, false) => &[Part::Queries, Part::Keys, Part::Values],
            (true, true) => &[Part::Queries, Part::Keys, Part::Values, Part::Bias],
        };
        let mut outs = Vec::new();
        let mut bias_gradient = false;
        for &part in parts {
            let wanted = Op::Attention(Attention { part, ..*op });
            let twin = graph.ids().find(|other| {
                let other_node = graph.node(*other);
                self.selection.live[other.index()]
                    && other_node.inputs == node.inputs
                    && other_node.op == wanted
            });
            let place = match twin {
                Some(twin) if twin == id => out,
                Some(twin) => {
                    let ty = &graph.node(twin).ty;
                    let place = match self.targets.get(&twin) {
                        Some(target) => *target,
                        None => self.buffer(twin, DType::F32, ty.elements(), Storage::Unused),
                    };
                    self.places[twin.index()] = Some(Place::of(place));
                    place
                }
                // The kernel computes it with the others, but nobody asks for it.
                None if part == Part::Bias => continue,
                None => {
                    let types: Vec<_> = node.inputs.iter().map(|i| &graph.node(*i).ty).collect();
                    let ty = Attention { part, ..*op }.infer(&types).map_err(|_| Stop::Need(id))?;
                    self.buffer(id, DType::F32, ty.elements(), Storage::Unused)
                }
            };
            bias_gradient |= part == Part::Bias;
            outs.push(place);
        }
        let shape = |place: usize, axis: usize| graph.node(node.inputs[place]).ty.shape[axis].clone();
        let three = |strides: &[Dim]| [strides[0].clone(), strides[1].clone(), strides[2].clone()];
        let four = |s: &[Dim]| [s[0].clone(), s[1].clone(), s[2].clone(), s[3].clone()];
        let kernel = program::Attention {
            backward,
            n: shape(0, 0),
            queries: shape(0, 1),
            keys: shape(1, 1),
            heads: shape(0, 2),
            groups: shape(1, 2),
            width: shape(0, 3),
            depth: shape(2, 3),
            scale: (op.scale as f32).to_bits(),
            causal: op.causal.map(|align| match align {
                Align::First => Dim::constant(0),
                Align::Last => shape(1, 1) - shape(0, 1),
            }),
            q: three(&strides[0]),
            k: three(&strides[1]),
            v: three(&strides[2]),
            gradient: three(&strides[if backward { strides.len() - 1 } else { 0 }]),
            bias: op.bias.then(|| four(&strides[Attention::bias_at()])),
            mask: op.mask.then(|| four(&strides[op.mask_at()])),
            bias_gradient,
        };
        let space = kernel.n.clone() * if backward { kernel.groups.clone() } else { kernel.heads.clone() };
        let all = if backward { &[Part::Queries, Part::Keys, Part::Values][..] } else { &[Part::Result] };
        let ty = |place: usize| &graph.node(node.inputs[place]).ty;
        let flops = |part: &Part| Attention { part: *part, ..*op }.flops(ty(0), ty(1), ty(2));
        let flops = all.iter().map(flops).fold(Dim::constant(0), |a, b| a + b);
        self.runtime_kernel(node, Kernel::Attention(Box::new(kernel)), ins, outs, space, flops);
        Ok(())
    }
}
