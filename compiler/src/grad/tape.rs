//! What the rules write with: short names for arithmetic on nodes, and the sum of an adjoint's contributions.

use crate::graph::dim::Dim;
use crate::graph::op::{Binary, Compare, Op, Reduction, Unary};
use crate::graph::{Builder, DType, NodeId, TensorType, TypeError};

pub(super) type Made = Result<NodeId, TypeError>;

/// What one user adds to the adjoint of its input.
#[derive(Clone, Debug)]
pub(super) enum Contribution {
    Whole(NodeId),
    /// Non-zero only from `start` on along `axis`, for the extent of `part`. Kept apart so that parts which tile the whole tensor
    /// (the gates of an LSTM, the heads of a fused projection) become one concatenation instead of a sum of padded tensors.
    Part {
        axis: usize,
        start: Dim,
        part: NodeId,
    },
}

pub(super) struct Tape<'a> {
    pub builder: &'a mut Builder,
}

impl Tape<'_> {
    pub fn ty(&self, id: NodeId) -> &TensorType {
        self.builder.ty(id)
    }

    pub fn push(&mut self, op: Op, inputs: &[NodeId], given: Option<TensorType>) -> Made {
        self.builder.push(op, inputs, given)
    }

    pub fn unary(&mut self, op: Unary, x: NodeId) -> Made {
        self.builder.unary(op, x)
    }

    pub fn add(&mut self, x: NodeId, y: NodeId) -> Made {
        self.builder.binary(Binary::Add, x, y)
    }

    pub fn sub(&mut self, x: NodeId, y: NodeId) -> Made {
        self.builder.binary(Binary::Sub, x, y)
    }

    pub fn mul(&mut self, x: NodeId, y: NodeId) -> Made {
        self.builder.binary(Binary::Mul, x, y)
    }

    pub fn div(&mut self, x: NodeId, y: NodeId) -> Made {
        self.builder.binary(Binary::Div, x, y)
    }

    pub fn neg(&mut self, x: NodeId) -> Made {
        self.builder.unary(Unary::Neg, x)
    }

    pub fn compare(&mut self, op: Compare, x: NodeId, y: NodeId) -> Made {
        self.builder.compare(op, x, y)
    }

    pub fn select(&mut self, condition: NodeId, then: NodeId, otherwise: NodeId) -> Made {
        self.builder.select(condition, then, otherwise)
    }

    /// A tensor of `like`'s type filled with `value`.
    pub fn full_like(&mut self, value: f64, like: NodeId) -> Made {
        let ty = self.ty(like).clone();
        self.builder.full(value, &ty)
    }

    pub fn scale(&mut self, x: NodeId, factor: f64) -> Made {
        let factor = self.full_like(factor, x)?;
        self.mul(x, factor)
    }

    /// `x` where the condition holds, 0 elsewhere.
    pub fn keep_where(&mut self, condition: NodeId, x: NodeId) -> Made {
        let zero = self.full_like(0.0, x)?;
        self.select(condition, x, zero)
    }

    /// 0 where the condition holds, `x` elsewhere.
    pub fn drop_where(&mut self, condition: NodeId, x: NodeId) -> Made {
        let zero = self.full_like(0.0, x)?;
        self.select(condition, zero, x)
    }

    pub fn sum(&mut self, x: NodeId, axes: &[usize]) -> Made {
        self.builder.reduce(Reduction::Sum, x, axes)
    }

    /// A dim's value in every element of `shape`.
    pub fn full_dim(&mut self, value: &Dim, dtype: DType, shape: &[Dim]) -> Made {
        let scalar = match value.as_constant() {
            Some(value) => self.builder.constant(value as f64, dtype)?,
            None => self.push(Op::DimValue(value.clone()), &[], Some(TensorType::scalar(dtype)))?,
        };
        self.builder.broadcast_to(scalar, shape)
    }

    /// The constant that fills this tensor, seen through views and casts.
    pub fn constant_value(&self, id: NodeId) -> Option<f64> {
        let node = self.builder.graph.node(id);
        match &node.op {
            Op::Constant(value) => Some(*value),
            Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. } | Op::Cast => {
                self.constant_value(*node.inputs.first()?)
            }
            _ => None,
        }
    }

    /// The sum of the contributions to the adjoint of `id`.
    pub fn total(
        &mut self,
        id: NodeId,
        contributions: Vec<Contribution>,
    ) -> Result<Option<NodeId>, TypeError> {
        let shape = self.ty(id).shape.clone();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for contribution in contributions {
            match contribution {
                Contribution::Whole(g) => whole.push(g),
                Contribution::Part { axis, start, part } => parts.push((axis, start, part)),
            }
        }
        while let Some((axis, places)) = self.tiling(&shape, &parts) {
            let tiles: Vec<NodeId> = places.iter().map(|&p| parts[p].2).collect();
            whole.push(match tiles.as_slice() {
                [only] => *only,
                tiles => self.push(Op::Concat { axis }, tiles, None)?,
            });
            let mut place = 0;
            parts.retain(|_| {
                place += 1;
                !places.contains(&(place - 1))
            });
        }
        for (axis, start, part) in parts {
            let after = shape[axis].clone() - start.clone() - self.ty(part).shape[axis].clone();
            let none = || (Dim::constant(0), Dim::constant(0));
            let amounts =
                (0..shape.len()).map(|i| if i == axis { (start.clone(), after.clone()) } else { none() });
            let amounts = amounts.collect();
            whole.push(self.push(Op::Pad { amounts, value: 0.0 }, &[part], None)?);
        }
        let mut whole = whole.into_iter();
        let Some(mut total) = whole.next() else { return Ok(None) };
        for next in whole {
            total = self.add(total, next)?;
        }
        Ok(Some(total))
    }

    /// Parts that follow one another along one axis from 0 to its extent, if there are such.
    fn tiling(&self, shape: &[Dim], parts: &[(usize, Dim, NodeId)]) -> Option<(usize, Vec<usize>)> {
        (0..shape.len()).find_map(|axis| {
            let (mut offset, mut places) = (Dim::constant(0), Vec::new());
            while offset != shape[axis] || places.is_empty() {
                let next = (0..parts.len()).find(|place| {
                    let (a, start, _) = &parts[*place];
                    *a == axis && *start == offset && !places.contains(place)
                })?;
                offset = offset + self.ty(parts[next].2).shape[axis].clone();
                places.push(next);
            }
            Some((axis, places))
        })
    }
}
