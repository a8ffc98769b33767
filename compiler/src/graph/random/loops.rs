//! Random loops: a body woven like any graph, over slices of what there is, with carries that stay small.

use super::{Given, Made, Rng, Weaver};
use crate::graph::op::{Binary, Op, Unary};
use crate::graph::open::{OpenCarry, OpenScan};
use crate::graph::{Builder, DType, NodeId, TensorType};

/// Loops in loops go no deeper.
const DEEPEST: usize = 2;

/// Attempts to add something to a body.
const STEPS: usize = 8;

impl Weaver {
    /// One of the results of a new loop.
    pub(super) fn scan(&mut self) -> Made {
        if self.depth >= DEEPEST {
            return self.float();
        }
        let x = self.of(|ty| ty.rank() >= 1 && ty.dtype != DType::I64)?;
        let trip = self.b.ty(x).shape[0].clone();
        let mut inner = Weaver {
            b: Builder::new("body"),
            rng: Rng::new(self.rng.bits()),
            options: self.options,
            n: self.n,
            inputs: Vec::new(),
            size: Vec::new(),
            depth: self.depth + 1,
        };
        inner.b.graph.bounds.push(("n".into(), 4));
        let mut sequences = vec![x];
        if self.rng.chance(2)
            && let Ok(y) = self.of(|ty| ty.rank() >= 1 && ty.dtype != DType::I64 && ty.shape[0] == trip)
        {
            sequences.push(y);
        }
        let mut elements = Vec::new();
        for operand in sequences {
            let mut ty = self.b.ty(operand).clone();
            ty.shape.remove(0);
            elements.push((inner.place(ty, self.size(operand))?, operand));
        }
        let mut captures = Vec::new();
        for _ in 0..1 + self.rng.below(2) {
            let operand = self.of(|ty| ty.dtype != DType::I64)?;
            captures.push((inner.place(self.b.ty(operand).clone(), self.size(operand))?, operand));
        }
        let mut places = Vec::new();
        for _ in 0..self.rng.below(3) {
            let first = self.float()?;
            let first = self.b.unary(Unary::Tanh, first)?;
            self.sized(first, 1.0);
            // A sum grows with the steps.
            let sum = self.rng.chance(4);
            let place = inner.place(self.b.ty(first).clone(), if sum { 30.0 } else { 1.0 })?;
            places.push((place, first, sum));
        }
        for step in 0..STEPS {
            inner.b.path = format!("Net.loop.step{step}").into();
            inner.try_step();
        }
        let mut carries = Vec::new();
        for (place, first, sum) in places {
            let other = inner.partner(place)?;
            let next = if sum {
                let other = inner.settle(other, inner.size(other))?;
                inner.b.binary(Binary::Add, place, other)?
            } else if inner.rng.chance(5) {
                inner.b.unary(Unary::Tanh, other)?
            } else {
                let mixed = inner.b.binary(Binary::Add, place, other)?;
                inner.b.unary(Unary::Tanh, mixed)?
            };
            inner.sized(next, if sum { 120.0 } else { 1.0 });
            carries.push(OpenCarry { place, first, next });
        }
        let mut yields = Vec::new();
        for _ in 0..1 + inner.rng.below(2) {
            yields.push(inner.of(|ty| ty.dtype != DType::I64)?);
        }
        // What the body asked for besides is captured.
        for (at, given) in std::mem::take(&mut inner.inputs) {
            let ty = inner.b.ty(NodeId(at as u32)).clone();
            let name = format!("x{}", self.inputs.len());
            let operand = self.b.input(&name, ty)?;
            self.sized(operand, inner.size(NodeId(at as u32)));
            self.inputs.push((operand.index(), Given { name, ..given }));
            captures.push((NodeId(at as u32), operand));
        }
        let sizes: Vec<f64> =
            carries.iter().map(|c| c.next).chain(yields.iter().copied()).map(|id| inner.size(id)).collect();
        let reversed = self.rng.chance(2);
        let open =
            OpenScan { trip, reversed, nodes: inner.b.graph.nodes, elements, carries, captures, yields };
        let (scan, operands) = open.close();
        let results = self.b.scan(scan, &operands)?;
        for (id, size) in results.iter().zip(sizes) {
            self.sized(*id, size);
        }
        let chosen = self.rng.below(results.len());
        Ok(results[chosen])
    }

    /// A placeholder of a body.
    fn place(&mut self, ty: TensorType, size: f64) -> Made {
        let name = format!("place.{}", self.b.graph.nodes.len());
        let id = self.b.push(Op::Input(name), &[], Some(ty))?;
        Ok(self.sized(id, size))
    }
}
