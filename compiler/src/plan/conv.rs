//! Convolutions and their gradients as kernels of the runtime.

use super::affine::Affine;
use super::build::{Build, product};
use super::contract::splits;
use super::{Access, BufferId, Draft, Kernel, Machine, PlanError, Stop, Storage, Stride, Work};
use crate::graph::op::{Conv, Op};
use crate::graph::{DType, Dim, NodeId};
use weft_runtime::program::{ConvolutionKind, PANEL, TILE_ROWS};

/// A weight gradient is summed image by image when an image of dy has so many times its elements.
const IMAGE_SHARE: i64 = 16;
/// A part of a weight gradient of single channels has so many lines of pixels at least.
const LINES: i64 = 32;
/// So many elements stay in no cache from one task to the next.
const LARGE: i64 = 2 << 20;

impl Build<'_> {
    pub fn convolution(&mut self, id: NodeId, out: BufferId, conv: &Conv) -> Result<(), Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        if node.ty.dtype != DType::F32 {
            return Err(PlanError::at(node, "convolutions run on f32 only").into());
        }
        let first = &graph.node(node.inputs[0]).ty.shape;
        let second = &graph.node(node.inputs[1]).ty.shape;
        let own = &node.ty.shape;
        // x, w and y stand in other places for each of the three.
        let (kind, x, w, y) = match &node.op {
            Op::ConvData(_) => (ConvolutionKind::Data, own, second, first),
            Op::ConvWeights(_) => (ConvolutionKind::Weights, first, own, second),
            _ => (ConvolutionKind::Forward, first, second, own),
        };
        let r = conv.stride.len();
        let one = || Dim::constant(1);
        let two = |shape: &[Dim], from: usize| {
            if r == 1 { [one(), shape[from].clone()] } else { [shape[from].clone(), shape[from + 1].clone()] }
        };
        let narrow = |values: &[usize], otherwise: u32| -> Result<[u32; 2], PlanError> {
            let mut pair = [otherwise; 2];
            for (slot, value) in pair[2 - r..].iter_mut().zip(values) {
                *slot = u32::try_from(*value).map_err(|_| PlanError::at(node, "the stride is too large"))?;
            }
            Ok(pair)
        };
        let before = |i: usize| conv.padding[i].0.clone();
        let padding = if r == 1 { [Dim::constant(0), before(0)] } else { [before(0), before(1)] };
        let (input, output, kernel) = (two(x, 1), two(y, 1), two(w, 0));
        let (ci, co, n) = (x[r + 1].clone(), y[r + 1].clone(), x[0].clone());
        let taps = kernel[0].clone() * kernel[1].clone();
        let deep = w[r].clone();
        let flops = Dim::constant(2) * product(y) * taps.clone() * deep.clone();
        let m = taps.clone() * deep.clone();
        let tiles = m.ceil_div(&Dim::from(TILE_ROWS)) * co.ceil_div(&Dim::from(PANEL));
        // A small gradient of large images is summed image by image, while these are in cache; else the output's tiles are the
        // tasks, and few tiles are cut into parts.
        let small =
            self.built.estimate(&product(own)) * IMAGE_SHARE <= self.built.estimate(&product(&y[1..]));
        let (cpu, wanted) = (self.built.machine == Machine::Cpu, self.built.machine.tiles_wanted());
        let by_image = kind == ConvolutionKind::Weights && small && cpu;
        let single = !cpu && conv.groups > 1 && ci.is(conv.groups as i64);
        let parts = match kind {
            _ if by_image => n.clone(),
            // A block has all taps of its channels, and reads each image once.
            ConvolutionKind::Weights if single => {
                let blocks = self.built.estimate(&co.ceil_div(&Dim::from(PANEL)));
                let lines = self.built.estimate(&(n.clone() * output[0].clone()));
                Dim::constant(splits(wanted, blocks, lines / LINES))
            }
            ConvolutionKind::Weights => {
                let size = |shape: &[Dim]| self.built.estimate(&product(shape));
                let parts = match self.built.estimate(&tiles) {
                    few if few < wanted => splits(wanted, few, self.built.estimate(&n) / 4),
                    _ => parts(wanted, size(x) + size(y), size(own)).min(self.built.estimate(&n) / 4).max(1),
                };
                Dim::constant(parts)
            }
            _ => one(),
        };
        let kernel = Kernel::Convolution {
            kind,
            n: n.clone(),
            input: input.clone(),
            output: output.clone(),
            input_channels: ci.clone(),
            output_channels: co.clone(),
            kernel,
            stride: narrow(&conv.stride, 1)?,
            padding,
            dilation: narrow(&conv.dilation, 1)?,
            groups: Dim::from(conv.groups),
            splits: parts.clone(),
        };
        let halves = super::halves::of(graph, node, self.built.machine).is_some();
        let operand = |id: NodeId| {
            let behind = super::halves::behind(graph, id).filter(|_| halves);
            self.contiguous(behind.map_or(id, |(narrow, _)| narrow))
        };
        let (left, mut right) = (operand(node.inputs[0])?, operand(node.inputs[1])?);
        if kind == ConvolutionKind::Weights {
            let place = self.parts(node, id, out, &parts);
            let (a, b) = ((left.1.clone(), product(&x[1..])), (right.1.clone(), product(&y[1..])));
            self.runtime_kernel(
                node,
                kernel,
                vec![left, right],
                vec![place],
                parts.clone() * tiles.clone(),
                flops,
            );
            if let (true, Some(draft)) = (by_image, self.built.drafts.last_mut()) {
                let shares = [a, b, (Dim::constant(0), product(own))];
                for (access, (offset, share)) in draft.accesses.iter_mut().zip(shares) {
                    let at = Affine::variable(0).scale(&share).plus(&Affine::constant(offset));
                    (access.at, access.reach, access.extents) =
                        (Some(at), share, vec![n.clone(), tiles.clone()]);
                }
                draft.loops = vec![n, tiles];
            }
            self.add_parts(node, place, out, &parts);
            return Ok(());
        }
        if kind == ConvolutionKind::Data && conv.groups == 1 && cpu {
            right = self.pack_taps(id, &taps, &ci, &co, right);
        }
        let whole = product(&first[1..]);
        let rows = if kind == ConvolutionKind::Data { &input[0] } else { &output[0] };
        let row = product(&own[1..]).exact_div(rows).unwrap_or_else(|| product(&own[1..]));
        let loops = vec![n.clone(), rows.clone()];
        let image = |size: &Dim| Affine::variable(0).scale(size);
        let access = |buffer, write, at, reach| Access { buffer, write, at, reach, extents: loops.clone() };
        let accesses = vec![
            access(left.0, false, Some(image(&whole).plus(&Affine::constant(left.1.clone()))), whole.clone()),
            access(right.0, false, None, one()),
            access(
                out,
                true,
                Some(image(&(row.clone() * rows.clone())).plus(&Affine::variable(1).scale(&row))),
                row,
            ),
        ];
        self.built.drafts.push(Draft {
            work: Work::Kernel(kernel),
            buffers: vec![left, right, (out, Dim::constant(0))],
            accesses,
            space: n * rows.clone(),
            loops,
            path: node.path.clone(),
            span: node.span,
            flops,
        });
        Ok(())
    }

    /// Weights `[taps, ci, co]` tap by tap as panels with k = co and n = ci.
    fn pack_taps(
        &mut self,
        id: NodeId,
        taps: &Dim,
        ci: &Dim,
        co: &Dim,
        from: (BufferId, Dim),
    ) -> (BufferId, Dim) {
        let node = self.graph.node(id);
        let panels = ci.ceil_div(&Dim::from(PANEL));
        let space = taps.clone() * panels;
        let elements = space.clone() * co.clone() * Dim::from(PANEL);
        let to = self.buffer(id, DType::F32, elements, Storage::Unused);
        let axis =
            |extent: &Dim, stride: Dim| Stride { extent: extent.clone(), a: Some(stride), b: None, c: None };
        let kernel = Kernel::Pack {
            taps: axis(taps, ci.clone() * co.clone()),
            k: axis(co, Dim::constant(1)),
            n: axis(ci, co.clone()),
            kept: DType::F32,
        };
        self.runtime_kernel(node, kernel, vec![from], vec![to], space, Dim::constant(0));
        (to, Dim::constant(0))
    }
}

/// Into how many parts to cut the batch for a weight gradient of many tiles, whose operands and result have so many elements. Tasks of the same
/// part each read its operands again, and each part has a gradient of its own, which is brought in, written and read once more: least
/// passes by in about the root of what the former are to the latter.
fn parts(wanted: i64, operands: i64, gradient: i64) -> i64 {
    if operands < LARGE {
        return 1;
    }
    let least = (wanted * operands / (3 * gradient).max(1)).isqrt().max(1);
    1 << least.ilog2()
}
