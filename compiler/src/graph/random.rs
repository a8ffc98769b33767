//! Random well-typed graphs for tests: of the passes here, and of every back end against the evaluator.
//!
//! The same seed gives the same graph on every machine. A [`Case`] holds values for its inputs in a neutral form, so that a suite can
//! turn them into whatever its device wants. Magnitudes are tracked while building and squashed where they grow, so that values stay
//! finite and small; every extent is at least 1.

mod loops;

use super::dim::Dim;
use super::op::{Binary, Compare, Conv, Distribution, Op, Reduction, Unary};
use super::{Builder, DType, Graph, NodeId, TensorType, TypeError};

/// What may occur in a graph.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Attempts to add something; about two nodes come of each.
    pub steps: usize,
    /// Only operations without jumps and kinks, so that finite differences agree with gradients.
    pub smooth: bool,
    /// Loops too.
    pub loops: bool,
}

/// A graph and values for its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    pub graph: Graph,
    /// What the symbol `n` is bound to.
    pub n: i64,
    pub inputs: Vec<Given>,
}

/// An input's value, row-major.
#[derive(Clone, Debug)]
pub struct Given {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// A generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// In [-1, 1), a multiple of 2⁻¹⁶: exact in f32, and sums of a few stay exact.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 47) as f64 / 65536.0 - 1.0
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<'a, V>(&mut self, values: &'a [V]) -> Option<&'a V> {
        values.get(self.below(values.len()))
    }
}

/// The graph of this seed.
pub fn case(seed: u64, options: Options) -> Case {
    let mut rng = Rng::new(seed);
    let n = 1 + rng.below(4) as i64;
    let mut weaver = Weaver {
        b: Builder::new(format!("random{seed}")),
        rng,
        options,
        n,
        inputs: Vec::new(),
        size: Vec::new(),
        depth: 0,
    };
    weaver.b.graph.bounds.push(("n".into(), 4));
    for _ in 0..3 {
        let rank = weaver.rng.below(5);
        let shape: Vec<Dim> = (0..rank).map(|_| weaver.extent()).collect();
        let _ = weaver.input(DType::F32, &shape);
    }
    // The symbol is bound whatever the others are.
    let _ = weaver.input(DType::F32, &[Dim::symbol("n"), Dim::constant(4)]);
    for step in 0..options.steps {
        weaver.b.path = format!("Net.step{step}").into();
        weaver.try_step();
    }
    weaver.finish()
}

/// The most elements of any tensor.
const LARGEST: i64 = 600;

/// Larger numbers are not computed with. Its square is, and the exponential of it is still an `f64`.
const LARGEST_NUMBER: f64 = 450.0;

type Made = Result<NodeId, TypeError>;

struct Weaver {
    b: Builder,
    rng: Rng,
    options: Options,
    n: i64,
    /// With the place of each one's node.
    inputs: Vec<(usize, Given)>,
    /// Per node, what no element's magnitude exceeds.
    size: Vec<f64>,
    /// How many loops are around.
    depth: usize,
}

impl Weaver {
    /// A step, or nothing.
    fn try_step(&mut self) {
        let before = self.b.graph.nodes.len();
        if self.step().is_err() || !self.fits(before) {
            self.b.graph.nodes.truncate(before);
            self.size.truncate(before);
            self.inputs.retain(|(place, _)| *place < before);
        }
    }

    fn finish(mut self) -> Case {
        let count = self.b.graph.nodes.len();
        let mut used = vec![false; count];
        for node in &self.b.graph.nodes {
            node.inputs.iter().for_each(|i| used[i.index()] = true);
        }
        // Outputs: what nobody reads, and one node in the middle.
        let mut outputs: Vec<usize> = (0..count).filter(|i| !used[*i]).collect();
        outputs.push(self.rng.below(count));
        outputs.retain(|at| !matches!(self.b.graph.nodes[*at].op, Op::Scan(_)));
        outputs.sort_unstable();
        outputs.dedup();
        self.b.graph.outputs = outputs.iter().map(|i| (format!("y{i}"), NodeId(*i as u32))).collect();
        Case {
            graph: self.b.graph,
            n: self.n,
            inputs: self.inputs.into_iter().map(|(_, given)| given).collect(),
        }
    }

    fn extent(&mut self) -> Dim {
        if self.rng.chance(4) { Dim::symbol("n") } else { Dim::from(1 + self.rng.below(4)) }
    }

    fn value(&self, dim: &Dim) -> i64 {
        dim.evaluate(&|s| (s == "n").then_some(self.n)).unwrap_or(0)
    }

    fn fits(&self, from: usize) -> bool {
        self.b.graph.nodes.iter().skip(from).all(|node| {
            matches!(node.op, Op::Scan(_))
                || node.ty.rank() <= 6
                    && node.ty.shape.iter().all(|d| self.value(d) >= 1)
                    && self.value(&node.ty.elements()) <= LARGEST
        })
    }

    fn input(&mut self, dtype: DType, shape: &[Dim]) -> Made {
        let name = format!("x{}", self.inputs.len());
        let id = self.b.input(&name, TensorType::new(dtype, shape))?;
        let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(self.value(d)).unwrap_or(1)).collect();
        let count = shape.iter().product();
        let values = (0..count)
            .map(|_| if dtype == DType::F32 { self.rng.unit() } else { self.rng.below(5) as f64 })
            .collect();
        self.inputs.push((id.index(), Given { name, dtype, shape, values }));
        self.sized(id, if dtype == DType::F32 { 1.0 } else { 5.0 });
        Ok(id)
    }

    /// Notes the size of a node; nodes before it that were made on the way get the same. Of one that was there before, it is known.
    fn sized(&mut self, id: NodeId, size: f64) -> NodeId {
        if id.index() >= self.size.len() {
            self.size.resize(id.index() + 1, size);
        }
        id
    }

    fn size(&self, id: NodeId) -> f64 {
        self.size.get(id.index()).copied().unwrap_or(1.0)
    }

    /// A node whose elements may have grown: squashed if they have.
    fn settle(&mut self, id: NodeId, size: f64) -> Made {
        self.sized(id, size);
        if size > 20.0 && self.b.ty(id).dtype == DType::F32 {
            let squashed = self.b.unary(Unary::Tanh, id)?;
            return Ok(self.sized(squashed, 1.0));
        }
        Ok(id)
    }

    fn float(&mut self) -> Made {
        self.of(|ty| ty.dtype == DType::F32)
    }

    /// A node of such a type; the later ones are likelier. What grew beyond all bounds is read by what squashes it only: the
    /// exponential of another one's would leave the range of numbers.
    fn of(&mut self, wanted: impl Fn(&TensorType) -> bool) -> Made {
        let whole = |id: &NodeId| {
            !matches!(self.b.graph.node(*id).op, Op::Scan(_)) && self.size(*id) <= LARGEST_NUMBER
        };
        let ids: Vec<NodeId> = self.b.graph.ids().filter(whole).filter(|id| wanted(self.b.ty(*id))).collect();
        let recent = ids.len().saturating_sub(8);
        let from = if self.rng.chance(3) { 0 } else { recent };
        match self.rng.pick(&ids[from..]) {
            Some(id) => Ok(*id),
            None => Err(TypeError { message: "no such node".into(), input: None, axis: None }),
        }
    }

    /// An axis of at least this extent that does not depend on `n`.
    fn fixed_axis(&mut self, x: NodeId, least: i64) -> Result<(usize, i64), TypeError> {
        let axes: Vec<(usize, i64)> = self
            .b
            .ty(x)
            .shape
            .iter()
            .enumerate()
            .filter_map(|(axis, d)| d.as_constant().filter(|d| *d >= least).map(|d| (axis, d)))
            .collect();
        let none = TypeError { message: "no such axis".into(), input: None, axis: None };
        self.rng.pick(&axes).copied().ok_or(none)
    }

    /// A tensor of `x`'s type: `x` squared plus a half, away from 0.
    fn positive(&mut self, x: NodeId) -> Made {
        let ty = self.b.ty(x).clone();
        let square = self.b.binary(Binary::Mul, x, x)?;
        let half = self.b.full(0.5, &ty)?;
        let sum = self.b.binary(Binary::Add, square, half)?;
        Ok(self.sized(sum, self.size(x).powi(2) + 0.5))
    }

    /// Something of `x`'s type: another node, a smaller one stretched, or a constant.
    fn partner(&mut self, x: NodeId) -> Made {
        let ty = self.b.ty(x).clone();
        if let Ok(y) = self.of(|other| {
            let lead = ty.rank().checked_sub(other.rank());
            other.dtype == ty.dtype
                && lead.is_some_and(|lead| {
                    other.shape.iter().zip(&ty.shape[lead..]).all(|(a, b)| a == b || a.is(1))
                })
        }) {
            let stretched = self.b.broadcast_to(y, &ty.shape)?;
            return Ok(self.sized(stretched, self.size(y)));
        }
        let value = self.rng.below(3) as f64 - 1.0;
        let constant = self.b.full(value, &ty)?;
        Ok(self.sized(constant, 1.0))
    }

    fn step(&mut self) -> Made {
        if self.options.loops && self.rng.chance(8) {
            return self.scan();
        }
        match self.rng.below(20) {
            0..=2 => self.unary(),
            3..=5 => self.binary(),
            6 => self.choice(),
            7 | 8 => self.reduction(),
            9 => self.contraction(),
            10 => self.convolution(),
            11 => self.indexing(),
            12 => self.reshape(),
            13 => {
                let x = self.of(|ty| ty.rank() >= 2)?;
                let mut permutation: Vec<usize> = (0..self.b.ty(x).rank()).collect();
                for i in (1..permutation.len()).rev() {
                    permutation.swap(i, self.rng.below(i + 1));
                }
                let y = self.b.transpose(x, &permutation)?;
                Ok(self.sized(y, self.size(x)))
            }
            14 => self.broadcast(),
            15 => self.slice(),
            16 => self.window(),
            17 => self.placement(),
            18 => self.conversion(),
            _ => self.leaf(),
        }
    }

    fn unary(&mut self) -> Made {
        let x = self.float()?;
        let Some(&op) = self.rng.pick(Unary::ALL) else { return Ok(x) };
        let rough =
            matches!(op, Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not);
        if self.options.smooth && rough {
            return self.float();
        }
        let x = match op {
            Unary::Not => self.of(|ty| ty.dtype == DType::Bool)?,
            Unary::Sqrt | Unary::Rsqrt | Unary::Log | Unary::Log1p => self.positive(x)?,
            _ => x,
        };
        let y = self.b.unary(op, x)?;
        let size = match op {
            Unary::Exp | Unary::Expm1 => self.size(x).exp(),
            Unary::Rsqrt => 1.5,
            _ => self.size(x) + 1.0,
        };
        self.settle(y, size)
    }

    fn binary(&mut self) -> Made {
        let x = if self.options.smooth || self.rng.chance(2) { self.float()? } else { self.of(|_| true)? };
        let y = self.partner(x)?;
        let dtype = self.b.ty(x).dtype;
        let Some(&op) = self.rng.pick(Binary::ALL) else { return Ok(x) };
        let rough = matches!(op, Binary::Max | Binary::Min | Binary::FloorDiv | Binary::Rem);
        if self.options.smooth && rough || dtype == DType::I32 && matches!(op, Binary::Pow | Binary::Mul) {
            return Ok(x);
        }
        let (mut x, mut y) = (x, y);
        if dtype == DType::F32 {
            match op {
                Binary::Div | Binary::FloorDiv | Binary::Rem => y = self.positive(y)?,
                Binary::Pow => {
                    x = self.positive(x)?;
                    y = self.b.unary(Unary::Sin, y)?;
                    self.sized(y, 1.0);
                }
                _ => {}
            }
        }
        let z = self.b.binary(op, x, y)?;
        let (p, q) = (self.size(x), self.size(y));
        let size = match op {
            Binary::Mul => p * q,
            Binary::Div | Binary::FloorDiv => 2.0 * p + 1.0,
            Binary::Pow => p.max(2.0),
            _ => p + q,
        };
        self.settle(z, size)
    }

    fn choice(&mut self) -> Made {
        let x = self.float()?;
        let y = self.partner(x)?;
        let condition = if self.options.smooth {
            // From values that no input moves.
            let ty = TensorType::new(DType::I32, self.b.ty(x).shape.clone());
            if ty.rank() == 0 {
                return Ok(x);
            }
            let axis = self.rng.below(ty.rank());
            let iota = self.b.push(Op::Iota { axis }, &[], Some(ty.clone()))?;
            let bound = self.b.full(1.0, &ty)?;
            self.b.compare(Compare::Lt, iota, bound)?
        } else {
            let op = self.rng.pick(Compare::ALL).copied().unwrap_or(Compare::Lt);
            self.b.compare(op, x, y)?
        };
        let z = self.b.select(condition, y, x)?;
        let size = self.size(x).max(self.size(y));
        Ok(self.sized(z, size))
    }

    fn reduction(&mut self) -> Made {
        let x = self.of(|ty| ty.dtype == DType::F32 && ty.rank() >= 1)?;
        let rank = self.b.ty(x).rank();
        if self.rng.chance(4) {
            let axis = self.rng.below(rank);
            let (reverse, exclusive) = (self.rng.chance(2), self.rng.chance(2));
            let y = self.b.push(Op::CumulativeSum { axis, reverse, exclusive }, &[x], None)?;
            return self.settle(y, self.size(x) * 4.0);
        }
        let mut axes: Vec<usize> = (0..rank).filter(|_| self.rng.chance(2)).collect();
        if axes.is_empty() {
            axes.push(self.rng.below(rank));
        }
        if !self.options.smooth && self.rng.chance(3) {
            let largest = self.rng.chance(2);
            let y = self.b.push(Op::ArgReduce { largest, axes }, &[x], None)?;
            return Ok(self.sized(y, 100.0));
        }
        let reduction = match self.rng.below(6) {
            0 if !self.options.smooth => Reduction::Max,
            1 if !self.options.smooth => Reduction::Min,
            2 => Reduction::Prod,
            _ => Reduction::Sum,
        };
        // A product of a few small numbers; of many it would vanish.
        let y = self.b.reduce(reduction, x, &axes)?;
        self.settle(y, self.size(x).max(1.0) * 30.0)
    }

    fn contraction(&mut self) -> Made {
        let (a, b) = (self.float()?, self.float()?);
        let (mut batch, mut sum) = (Vec::new(), Vec::new());
        let (left, right) = (self.b.ty(a).shape.clone(), self.b.ty(b).shape.clone());
        let mut free: Vec<usize> = (0..right.len()).collect();
        for (i, extent) in left.iter().enumerate() {
            let Some(place) = free.iter().position(|j| right[*j] == *extent) else { continue };
            match self.rng.below(4) {
                0 => continue,
                1 => batch.push((i, free.remove(place))),
                _ => sum.push((i, free.remove(place))),
            }
        }
        let y = self.b.push(Op::Contract { batch, sum }, &[a, b], None)?;
        self.settle(y, self.size(a) * self.size(b) * 30.0)
    }

    fn convolution(&mut self) -> Made {
        let x = self.of(|ty| {
            ty.dtype == DType::F32
                && matches!(ty.rank(), 3 | 4)
                && ty.shape[ty.rank() - 1].as_constant().is_some()
        })?;
        let shape = self.b.ty(x).shape.clone();
        let (r, channels) = (shape.len() - 2, shape[shape.len() - 1].as_constant().unwrap_or(1) as usize);
        let groups =
            *self.rng.pick(&(1..=channels).filter(|g| channels % g == 0).collect::<Vec<_>>()).unwrap_or(&1);
        let mut conv = Conv { stride: vec![], padding: vec![], dilation: vec![], groups };
        let mut weights = Vec::new();
        for _ in 0..r {
            let (kernel, dilation) = (1 + self.rng.below(3), 1 + self.rng.below(2));
            // As much padding as the kernel reaches, so that every extent leaves a window.
            let reach = (kernel - 1) * dilation;
            let before = self.rng.below(reach + 1);
            conv.stride.push(1 + self.rng.below(2));
            conv.padding.push((Dim::from(before), Dim::from(reach - before)));
            conv.dilation.push(dilation);
            weights.push(Dim::from(kernel));
        }
        weights.push(Dim::from(channels / groups));
        weights.push(Dim::from(groups * (1 + self.rng.below(2))));
        let w = self.input(DType::F32, &weights)?;
        let y = self.b.push(Op::Conv(conv.clone()), &[x, w], None)?;
        let y = self.settle(y, self.size(x) * 40.0)?;
        match self.rng.below(3) {
            0 => {
                let ty = self.b.ty(x).clone();
                let back = self.b.push(Op::ConvData(conv), &[y, w], Some(ty))?;
                self.settle(back, self.size(y) * 40.0)
            }
            1 => {
                let ty = self.b.ty(w).clone();
                let back = self.b.push(Op::ConvWeights(conv), &[x, y], Some(ty))?;
                self.settle(back, self.size(y) * self.size(x) * 40.0)
            }
            _ => Ok(y),
        }
    }

    fn indexing(&mut self) -> Made {
        let x = self.of(|ty| ty.dtype == DType::F32 && ty.rank() >= 1)?;
        if self.rng.chance(3) {
            let rank = self.b.ty(x).rank();
            let Some(extent) = self.b.ty(x).shape[rank - 1].as_constant() else { return Ok(x) };
            let first = 1 + self.rng.below(extent as usize);
            let indices = !self.options.smooth && self.rng.chance(2);
            if self.options.smooth {
                // Ties would be kinks.
                return Ok(x);
            }
            let mut ty = self.b.ty(x).clone();
            ty.shape[rank - 1] = Dim::from(first);
            if indices {
                ty.dtype = DType::I32;
            }
            let y = self.b.push(Op::Sort { falling: self.rng.chance(2), indices }, &[x], Some(ty))?;
            return Ok(self.sized(y, self.size(x).max(5.0)));
        }
        let shape: Vec<Dim> = (0..self.rng.below(3)).map(|_| self.extent()).collect();
        let indices = self.input(DType::I32, &shape)?;
        let axis = self.rng.below(self.b.ty(x).rank());
        let y = self.b.push(Op::Gather { axis }, &[x, indices], None)?;
        let y = self.sized(y, self.size(x));
        if self.rng.chance(2) {
            let ty = self.b.ty(x).clone();
            let back = self.b.push(Op::ScatterAdd { axis }, &[y, indices], Some(ty))?;
            return self.settle(back, self.size(y) * 30.0);
        }
        Ok(y)
    }

    fn reshape(&mut self) -> Made {
        let x = self.of(|_| true)?;
        let mut shape = self.b.ty(x).shape.clone();
        if shape.len() >= 2 && self.rng.chance(2) {
            let axis = self.rng.below(shape.len() - 1);
            let merged = shape.remove(axis) * shape[axis].clone();
            shape[axis] = merged;
        } else {
            let place = self.rng.below(shape.len() + 1);
            shape.insert(place, Dim::constant(1));
            let even = shape.iter().position(|d| d.exact_div(&Dim::constant(2)).is_some() && !d.is(0));
            if let Some(axis) = even {
                shape[axis] = shape[axis].exact_div(&Dim::constant(2)).unwrap_or(Dim::constant(1));
                shape.insert(axis, Dim::constant(2));
            }
        }
        let y = self.b.reshape(x, &shape)?;
        Ok(self.sized(y, self.size(x)))
    }

    fn broadcast(&mut self) -> Made {
        let x = self.of(|_| true)?;
        let ty = self.b.ty(x).clone();
        let (mut shape, mut axes) = (Vec::new(), Vec::new());
        for extent in &ty.shape {
            if self.rng.chance(3) {
                shape.push(self.extent());
            }
            axes.push(shape.len());
            shape.push(if extent.is(1) { self.extent() } else { extent.clone() });
        }
        if self.rng.chance(3) {
            shape.push(self.extent());
        }
        let y = self.b.push(Op::Broadcast { axes }, &[x], Some(TensorType::new(ty.dtype, shape)))?;
        Ok(self.sized(y, self.size(x)))
    }

    fn slice(&mut self) -> Made {
        let x = self.of(|ty| ty.rank() >= 1)?;
        let mut ty = self.b.ty(x).clone();
        let (start, step);
        let axis = match self.fixed_axis(x, 1) {
            Ok((axis, extent)) => {
                step = [1, 1, 2, -1, -2, 3][self.rng.below(6)];
                let first = self.rng.below(extent as usize) as i64;
                let room = if step > 0 { extent - 1 - first } else { first };
                let most = room / i64::abs(step) + 1;
                ty.shape[axis] = Dim::from(1 + self.rng.below(most as usize));
                start = Dim::constant(first);
                axis
            }
            Err(_) => {
                let axis = self.rng.below(ty.rank());
                (start, step) = (ty.shape[axis].clone() - Dim::constant(1), -1);
                axis
            }
        };
        let y = self.b.push(Op::Slice { axis, start, step }, &[x], Some(ty))?;
        Ok(self.sized(y, self.size(x)))
    }

    fn window(&mut self) -> Made {
        let x = self.of(|ty| ty.dtype == DType::F32 && ty.rank() >= 1)?;
        let (axis, extent) = self.fixed_axis(x, 2)?;
        let size = vec![1 + self.rng.below(extent as usize)];
        let dilation = vec![if self.rng.chance(2) { 1 } else { (extent as usize - 1) / size[0] + 1 }];
        if (size[0] - 1) * dilation[0] >= extent as usize {
            return Ok(x);
        }
        let stride = vec![1 + self.rng.below(2)];
        let ty = self.b.ty(x).clone();
        let op = Op::Window { axis, size: size.clone(), stride: stride.clone(), dilation: dilation.clone() };
        let y = self.b.push(op, &[x], None)?;
        let y = self.sized(y, self.size(x));
        if self.rng.chance(2) {
            let back = self.b.push(Op::Unwindow { axis, size, stride, dilation }, &[y], Some(ty))?;
            return self.settle(back, self.size(y) * 4.0);
        }
        Ok(y)
    }

    fn placement(&mut self) -> Made {
        let x = self.of(|ty| ty.rank() >= 1)?;
        let rank = self.b.ty(x).rank();
        let size = self.size(x).max(1.0);
        let y = if self.rng.chance(2) {
            let amounts =
                (0..rank).map(|_| (Dim::from(self.rng.below(2)), Dim::from(self.rng.below(3)))).collect();
            let value = self.rng.below(2) as f64;
            self.b.push(Op::Pad { amounts, value }, &[x], None)?
        } else {
            let axis = self.rng.below(rank);
            let y = self.partner(x)?;
            let parts = if self.rng.chance(3) { vec![y, x, y] } else { vec![x, y] };
            self.b.push(Op::Concat { axis }, &parts, None)?
        };
        Ok(self.sized(y, size))
    }

    fn conversion(&mut self) -> Made {
        if self.options.smooth {
            return self.float();
        }
        let x = self.of(|_| true)?;
        let to = [DType::F32, DType::I32, DType::Bool][self.rng.below(3)];
        let y = self.b.cast(x, to)?;
        let y = self.sized(y, self.size(x).max(1.0));
        if self.rng.chance(4) { self.b.push(Op::Hold, &[y], None) } else { Ok(y) }
    }

    fn leaf(&mut self) -> Made {
        let rank = 1 + self.rng.below(3);
        let shape: Vec<Dim> = (0..rank).map(|_| self.extent()).collect();
        let ty = TensorType::new(DType::F32, shape.clone());
        let y = match self.rng.below(4) {
            0 => {
                let axis = self.rng.below(rank);
                let iota = self.b.push(Op::Iota { axis }, &[], Some(TensorType::new(DType::I32, shape)))?;
                self.b.cast(iota, DType::F32)?
            }
            1 => self.b.push(Op::DimValue(Dim::symbol("n")), &[], Some(TensorType::scalar(DType::F32)))?,
            2 if self.depth == 0 => {
                let state = match self.of(|ty| *ty == TensorType::new(DType::I64, [Dim::constant(2)])) {
                    Ok(state) => state,
                    Err(_) => self.random_state()?,
                };
                let distribution =
                    if self.rng.chance(2) { Distribution::Uniform } else { Distribution::Normal };
                let key = format!("Net.drop{}", self.rng.below(3));
                let y = self.b.push(Op::Random { distribution, key }, &[state], Some(ty))?;
                return Ok(self.sized(y, 6.0));
            }
            _ => {
                let scalar = TensorType::new(DType::F32, [Dim::constant(2), Dim::constant(3)]);
                let table = (0..6).map(|_| self.rng.unit()).collect();
                self.b.push(Op::Table(table), &[], Some(scalar))?
            }
        };
        Ok(self.sized(y, 5.0))
    }

    fn random_state(&mut self) -> Made {
        let id = self.b.input("random", TensorType::new(DType::I64, [Dim::constant(2)]))?;
        let values = vec![self.rng.below(100) as f64, self.rng.below(100) as f64];
        let given = Given { name: "random".into(), dtype: DType::I64, shape: vec![2], values };
        self.inputs.push((id.index(), given));
        Ok(self.sized(id, 100.0))
    }
}
