//! Making graphs: one type rule per primitive, and a builder that applies it.
//!
//! [`infer`] is the single place that knows what type an operation gives; the builder, the verifier and the parser of the text
//! form all ask it.

use super::dim::Dim;
use super::op::{Binary, Compare, Conv, Op, Reduction, Unary};
use super::{DType, Graph, Node, NodeId, Scan, TensorType};
use std::sync::Arc;
use weft_grammar::Span;

/// Why an operation does not fit its inputs, in plain words.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeError {
    pub message: String,
    /// The input at fault, and its axis, where one is.
    pub input: Option<usize>,
    pub axis: Option<usize>,
}

impl TypeError {
    fn new(message: impl Into<String>) -> TypeError {
        TypeError { message: message.into(), input: None, axis: None }
    }
}

fn fail<T>(message: impl Into<String>) -> Result<T, TypeError> {
    Err(TypeError::new(message))
}

/// The result type of `op` on inputs of these types. `given` is the type stated by whoever makes the node: taken for ops whose shape
/// does not follow from the inputs (after checks), and for `Cast`'s, `Constant`'s … dtype; else it must agree when present.
pub fn infer(op: &Op, inputs: &[&TensorType], given: Option<&TensorType>) -> Result<TensorType, TypeError> {
    let count = |n: usize| {
        if inputs.len() == n { Ok(()) } else { fail(format!("takes {n} inputs, not {}", inputs.len())) }
    };
    let stated = || given.cloned().ok_or_else(|| TypeError::new("needs a stated type"));
    let result = match op {
        Op::Input(_) | Op::Variable(_) => {
            count(0)?;
            stated()?
        }
        Op::Constant(_) | Op::DimValue(_) => {
            count(0)?;
            let ty = stated()?;
            if ty.rank() != 0 {
                return fail("a constant is a scalar");
            }
            ty
        }
        Op::Table(values) => {
            count(0)?;
            let ty = stated()?;
            if ty.elements().as_constant() != i64::try_from(values.len()).ok() {
                return fail(format!("a table of {} values cannot be {ty}", values.len()));
            }
            ty
        }
        Op::Iota { axis } => {
            count(0)?;
            let ty = stated()?;
            axis_of(&ty, *axis)?;
            ty
        }
        Op::Random { .. } => {
            count(1)?;
            if *inputs[0] != TensorType::new(DType::I64, [Dim::constant(2)]) {
                return fail(format!("the state of random elements is i64[2], not {}", inputs[0]));
            }
            let ty = stated()?;
            if ty.dtype != DType::F32 {
                return fail("random elements are f32");
            }
            ty
        }
        Op::Unary(u) => {
            count(1)?;
            let ty = inputs[0].clone();
            let fits = match u {
                Unary::Not => ty.dtype == DType::Bool,
                Unary::Neg | Unary::Abs | Unary::Sign => ty.dtype != DType::Bool,
                _ => ty.dtype.is_float(),
            };
            if !fits {
                return fail(format!("`{}` does not take {}", u.name(), ty.dtype.name()));
            }
            ty
        }
        Op::Binary(b) => {
            count(2)?;
            same(inputs, 0, 1)?;
            let logical = matches!(b, Binary::And | Binary::Or);
            if logical != (inputs[0].dtype == DType::Bool) {
                return fail(format!("`{}` does not take {}", b.name(), inputs[0].dtype.name()));
            }
            inputs[0].clone()
        }
        Op::Compare(c) => {
            count(2)?;
            same(inputs, 0, 1)?;
            if inputs[0].dtype == DType::Bool && !matches!(c, Compare::Eq | Compare::Ne) {
                return fail(format!("`{}` does not order bool", c.name()));
            }
            TensorType::new(DType::Bool, inputs[0].shape.clone())
        }
        Op::Select => {
            count(3)?;
            expect_dtype(inputs, 0, DType::Bool)?;
            same(inputs, 1, 2)?;
            same_shape(inputs, 0, 1)?;
            inputs[1].clone()
        }
        Op::Cast => {
            count(1)?;
            TensorType::new(stated()?.dtype, inputs[0].shape.clone())
        }
        Op::Hold => {
            count(1)?;
            inputs[0].clone()
        }
        Op::Reduce { reduction, axes } => {
            count(1)?;
            let logical = matches!(reduction, Reduction::Any | Reduction::All);
            if logical != (inputs[0].dtype == DType::Bool) {
                return fail(format!("`{}` does not take {}", reduction.name(), inputs[0].dtype.name()));
            }
            TensorType::new(inputs[0].dtype, without(inputs[0], axes)?)
        }
        Op::ArgReduce { axes, .. } => {
            count(1)?;
            TensorType::new(DType::I32, without(inputs[0], axes)?)
        }
        Op::CumulativeSum { axis, .. } => {
            count(1)?;
            axis_of(inputs[0], *axis)?;
            inputs[0].clone()
        }
        Op::Contract { batch, sum } => {
            count(2)?;
            contract(batch, sum, inputs[0], inputs[1])?
        }
        Op::Attention(attention) => attention.infer(inputs)?,
        Op::Conv(conv) => {
            count(2)?;
            conv_output(conv, inputs[0], inputs[1])?
        }
        Op::ConvData(conv) => {
            count(2)?;
            let ty = stated()?;
            expect_adjoint(&conv_output(conv, &ty, inputs[1])?, inputs[0])?;
            ty
        }
        Op::ConvWeights(conv) => {
            count(2)?;
            let ty = stated()?;
            expect_adjoint(&conv_output(conv, inputs[0], &ty)?, inputs[1])?;
            ty
        }
        Op::Gather { axis } => {
            count(2)?;
            expect_dtype(inputs, 1, DType::I32)?;
            axis_of(inputs[0], *axis)?;
            gathered(inputs[0], *axis, inputs[1])
        }
        Op::ScatterAdd { axis } => {
            count(2)?;
            expect_dtype(inputs, 1, DType::I32)?;
            let ty = stated()?;
            axis_of(&ty, *axis)?;
            expect_adjoint(&gathered(&ty, *axis, inputs[1]), inputs[0])?;
            ty
        }
        Op::Sort { indices, .. } => {
            count(1)?;
            let mut ty = inputs[0].clone();
            let Some(last) = ty.shape.last_mut() else { return fail("`sort` needs an axis") };
            if ty.dtype == DType::Bool {
                return fail("`sort` does not order bool");
            }
            // Without a stated type: all of them.
            if let Some(first) = given.and_then(|ty| ty.shape.last()) {
                if let (Some(first), Some(all)) = (first.as_constant(), last.as_constant())
                    && first > all
                {
                    return fail(format!("there are no first {first} of {all}"));
                }
                *last = first.clone();
            }
            if *indices {
                ty.dtype = DType::I32;
            }
            ty
        }
        Op::Reshape => {
            count(1)?;
            let ty = TensorType::new(inputs[0].dtype, stated()?.shape);
            if ty.elements() != inputs[0].elements() {
                return fail(format!("cannot reshape {} to {ty}: the element counts differ", inputs[0]));
            }
            ty
        }
        Op::Transpose { permutation } => {
            count(1)?;
            let mut seen = vec![false; inputs[0].rank()];
            let mut shape = Vec::new();
            for &p in permutation {
                axis_of(inputs[0], p)?;
                if std::mem::replace(&mut seen[p], true) {
                    return fail("an axis stands twice in the permutation");
                }
                shape.push(inputs[0].shape[p].clone());
            }
            if shape.len() != seen.len() {
                return fail("the permutation leaves out an axis");
            }
            TensorType::new(inputs[0].dtype, shape)
        }
        Op::Broadcast { axes } => {
            count(1)?;
            let ty = TensorType::new(inputs[0].dtype, stated()?.shape);
            if axes.len() != inputs[0].rank() || axes.windows(2).any(|w| w[0] >= w[1]) {
                return fail("the axes of a broadcast must rise, one for each input axis");
            }
            for (from, &to) in axes.iter().enumerate() {
                axis_of(&ty, to)?;
                let extent = &inputs[0].shape[from];
                if *extent != ty.shape[to] && !extent.is(1) {
                    return fail(format!("cannot stretch {} to {ty}", inputs[0]));
                }
            }
            ty
        }
        Op::Slice { axis, step, .. } => {
            count(1)?;
            axis_of(inputs[0], *axis)?;
            if *step == 0 {
                return fail("a slice cannot have step 0");
            }
            let ty = TensorType::new(inputs[0].dtype, stated()?.shape);
            let others = |t: &TensorType| {
                t.shape
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| i != axis)
                    .map(|(_, d)| d.clone())
                    .collect::<Vec<_>>()
            };
            if ty.rank() != inputs[0].rank() || others(&ty) != others(inputs[0]) {
                return fail(format!("a slice of {} along axis {axis} cannot be {ty}", inputs[0]));
            }
            ty
        }
        Op::Window { axis, size, stride, dilation } => {
            count(1)?;
            windowed(inputs[0], *axis, size, stride, dilation)?
        }
        Op::Unwindow { axis, size, stride, dilation } => {
            count(1)?;
            let ty = stated()?;
            expect_adjoint(&windowed(&ty, *axis, size, stride, dilation)?, inputs[0])?;
            ty
        }
        Op::Pad { amounts, .. } => {
            count(1)?;
            if amounts.len() != inputs[0].rank() {
                return fail("padding needs one pair per axis");
            }
            let shape = inputs[0].shape.iter().zip(amounts);
            let shape: Vec<Dim> = shape.map(|(d, (lo, hi))| d.clone() + lo.clone() + hi.clone()).collect();
            TensorType::new(inputs[0].dtype, shape)
        }
        Op::Concat { axis } => {
            let Some(first) = inputs.first() else { return fail("`concat` needs an input") };
            axis_of(first, *axis)?;
            let mut ty = (*first).clone();
            for (place, other) in inputs.iter().enumerate().skip(1) {
                let agree = other.dtype == ty.dtype
                    && other.rank() == ty.rank()
                    && (0..ty.rank()).all(|i| i == *axis || other.shape[i] == ty.shape[i]);
                if !agree {
                    return Err(TypeError {
                        input: Some(place),
                        ..TypeError::new(format!("cannot join {other} to {first} along axis {axis}"))
                    });
                }
                ty.shape[*axis] = ty.shape[*axis].clone() + other.shape[*axis].clone();
            }
            ty
        }
        Op::Scan(scan) => {
            scan.check(inputs)?;
            super::scan::token()
        }
        // The verifier sees whose result it is.
        Op::ScanResult { .. } => {
            count(1)?;
            stated()?
        }
    };
    match given {
        Some(given) if *given != result => fail(format!("gives {result}, not {given}")),
        _ => Ok(result),
    }
}

fn axis_of(ty: &TensorType, axis: usize) -> Result<(), TypeError> {
    if axis < ty.rank() { Ok(()) } else { fail(format!("{ty} has no axis {axis}")) }
}

fn expect_dtype(inputs: &[&TensorType], place: usize, dtype: DType) -> Result<(), TypeError> {
    if inputs[place].dtype == dtype {
        return Ok(());
    }
    let message = format!("input {place} must be {}, not {}", dtype.name(), inputs[place].dtype.name());
    Err(TypeError { input: Some(place), ..TypeError::new(message) })
}

fn same_shape(inputs: &[&TensorType], a: usize, b: usize) -> Result<(), TypeError> {
    let (x, y) = (inputs[a], inputs[b]);
    if x.shape == y.shape {
        return Ok(());
    }
    let axis = (0..x.rank().max(y.rank())).find(|&i| x.shape.get(i) != y.shape.get(i));
    Err(TypeError { message: format!("the shapes of {x} and {y} differ"), input: Some(b), axis })
}

fn same(inputs: &[&TensorType], a: usize, b: usize) -> Result<(), TypeError> {
    if inputs[a].dtype != inputs[b].dtype {
        let message =
            format!("{} and {} do not mix; cast one", inputs[a].dtype.name(), inputs[b].dtype.name());
        return Err(TypeError { input: Some(b), ..TypeError::new(message) });
    }
    same_shape(inputs, a, b)
}

fn without(ty: &TensorType, axes: &[usize]) -> Result<Vec<Dim>, TypeError> {
    if axes.windows(2).any(|w| w[0] >= w[1]) {
        return fail("reduced axes must rise");
    }
    for &a in axes {
        axis_of(ty, a)?;
    }
    Ok(ty.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect())
}

fn expect_adjoint(expected: &TensorType, got: &TensorType) -> Result<(), TypeError> {
    if expected == got { Ok(()) } else { fail(format!("needs {expected}, not {got}")) }
}

fn contract(
    batch: &[(usize, usize)],
    sum: &[(usize, usize)],
    a: &TensorType,
    b: &TensorType,
) -> Result<TensorType, TypeError> {
    if a.dtype != b.dtype || !a.dtype.is_float() {
        return fail(format!("cannot contract {a} with {b}: both must have one float type"));
    }
    let (mut used_a, mut used_b) = (vec![false; a.rank()], vec![false; b.rank()]);
    let mut shape = Vec::new();
    for (place, &(i, j)) in batch.iter().chain(sum).enumerate() {
        axis_of(a, i)?;
        axis_of(b, j)?;
        if a.shape[i] != b.shape[j] {
            return Err(TypeError {
                message: format!("axis {i} of {a} and axis {j} of {b} differ"),
                input: Some(1),
                axis: Some(j),
            });
        }
        if std::mem::replace(&mut used_a[i], true) || std::mem::replace(&mut used_b[j], true) {
            return fail("an axis is paired twice");
        }
        if place < batch.len() {
            shape.push(a.shape[i].clone());
        }
    }
    let free = |t: &TensorType, used: &[bool]| {
        t.shape.iter().zip(used).filter(|(_, u)| !**u).map(|(d, _)| d.clone()).collect::<Vec<_>>()
    };
    shape.extend(free(a, &used_a));
    shape.extend(free(b, &used_b));
    Ok(TensorType::new(a.dtype, shape))
}

/// The extent of one axis after a window of this size, stride and dilation has passed over it.
pub fn window_count(extent: &Dim, size: &Dim, stride: usize, dilation: usize) -> Dim {
    let reach = (size.clone() - Dim::constant(1)) * Dim::from(dilation) + Dim::constant(1);
    (extent.clone() - reach).floor_div(&Dim::from(stride)) + Dim::constant(1)
}

fn conv_output(conv: &Conv, x: &TensorType, w: &TensorType) -> Result<TensorType, TypeError> {
    let r = conv.stride.len();
    if x.dtype != w.dtype || !x.dtype.is_float() {
        return fail(format!("cannot convolve {x} with {w}: both must have one float type"));
    }
    if !(1..=2).contains(&r) || conv.padding.len() != r || conv.dilation.len() != r {
        return fail("a convolution has 1 or 2 spatial axes, each with a stride, a padding and a dilation");
    }
    if x.rank() != r + 2 || w.rank() != r + 2 {
        return fail(format!("a convolution in {r} axes needs rank {} inputs, not {x} and {w}", r + 2));
    }
    if conv.groups == 0 || conv.stride.contains(&0) || conv.dilation.contains(&0) {
        return fail("stride, dilation and groups must be at least 1");
    }
    let groups = Dim::from(conv.groups);
    if w.shape[r].clone() * groups.clone() != x.shape[r + 1] {
        return fail(format!(
            "the weights {w} take {} input channels, but {x} has {}",
            w.shape[r].clone() * groups,
            x.shape[r + 1]
        ));
    }
    if w.shape[r + 1].exact_div(&groups).is_none() {
        return fail(format!("{} groups do not divide {} output channels", conv.groups, w.shape[r + 1]));
    }
    let mut shape = vec![x.shape[0].clone()];
    for i in 0..r {
        let (before, after) = &conv.padding[i];
        let padded = x.shape[i + 1].clone() + before.clone() + after.clone();
        let count = window_count(&padded, &w.shape[i], conv.stride[i], conv.dilation[i]);
        if count.as_constant().is_some_and(|c| c < 1) {
            return Err(TypeError {
                message: format!("the kernel ({}) is larger than axis {} ({padded})", w.shape[i], i + 1),
                input: Some(0),
                axis: Some(i + 1),
            });
        }
        shape.push(count);
    }
    shape.push(w.shape[r + 1].clone());
    Ok(TensorType::new(x.dtype, shape))
}

fn gathered(table: &TensorType, axis: usize, indices: &TensorType) -> TensorType {
    let mut shape = table.shape[..axis].to_vec();
    shape.extend(indices.shape.iter().cloned());
    shape.extend(table.shape[axis + 1..].iter().cloned());
    TensorType::new(table.dtype, shape)
}

fn windowed(
    x: &TensorType,
    axis: usize,
    size: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> Result<TensorType, TypeError> {
    let r = size.len();
    if r == 0 || stride.len() != r || dilation.len() != r || axis.saturating_add(r) > x.rank() {
        return fail(format!("a window of {r} axes from axis {axis} does not fit {x}"));
    }
    if size.iter().chain(stride).chain(dilation).any(|v| *v == 0) {
        return fail("size, stride and dilation must be at least 1");
    }
    let mut shape = x.shape[..axis].to_vec();
    for i in 0..r {
        let count = window_count(&x.shape[axis + i], &Dim::from(size[i]), stride[i], dilation[i]);
        if count.as_constant().is_some_and(|c| c < 1) {
            return Err(TypeError {
                message: format!("a window of {} does not fit axis {} of {x}", size[i], axis + i),
                input: Some(0),
                axis: Some(axis + i),
            });
        }
        shape.push(count);
    }
    shape.extend(size.iter().map(|s| Dim::from(*s)));
    shape.extend(x.shape[axis + r..].iter().cloned());
    Ok(TensorType::new(x.dtype, shape))
}

/// Appends nodes to a graph. New nodes get the builder's current span and path.
#[derive(Clone, Debug)]
pub struct Builder {
    pub graph: Graph,
    pub span: Span,
    pub path: Arc<str>,
}

impl Builder {
    pub fn new(name: impl Into<String>) -> Builder {
        Builder {
            graph: Graph { name: name.into(), ..Graph::default() },
            span: Span::default(),
            path: Arc::from(""),
        }
    }

    /// The one way in: checks `op` by its type rule and appends it.
    pub fn push(
        &mut self,
        op: Op,
        inputs: &[NodeId],
        given: Option<TensorType>,
    ) -> Result<NodeId, TypeError> {
        let types: Vec<&TensorType> = inputs.iter().map(|i| &self.graph.node(*i).ty).collect();
        let ty = infer(&op, &types, given.as_ref())?;
        let id = NodeId(self.graph.nodes.len() as u32);
        let node = Node { op, inputs: inputs.to_vec(), ty, span: self.span, path: self.path.clone() };
        self.graph.nodes.push(node);
        Ok(id)
    }

    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.graph.node(id).ty
    }

    pub fn input(&mut self, name: &str, ty: TensorType) -> Result<NodeId, TypeError> {
        self.push(Op::Input(name.into()), &[], Some(ty))
    }

    /// A scalar constant.
    pub fn constant(&mut self, value: f64, dtype: DType) -> Result<NodeId, TypeError> {
        self.push(Op::Constant(value), &[], Some(TensorType::scalar(dtype)))
    }

    /// A constant of any shape: a broadcast scalar.
    pub fn full(&mut self, value: f64, ty: &TensorType) -> Result<NodeId, TypeError> {
        let scalar = self.constant(value, ty.dtype)?;
        self.broadcast_to(scalar, &ty.shape)
    }

    pub fn unary(&mut self, op: Unary, x: NodeId) -> Result<NodeId, TypeError> {
        self.push(Op::Unary(op), &[x], None)
    }

    /// Both inputs must have one type already.
    pub fn binary(&mut self, op: Binary, x: NodeId, y: NodeId) -> Result<NodeId, TypeError> {
        self.push(Op::Binary(op), &[x, y], None)
    }

    pub fn compare(&mut self, op: Compare, x: NodeId, y: NodeId) -> Result<NodeId, TypeError> {
        self.push(Op::Compare(op), &[x, y], None)
    }

    pub fn select(
        &mut self,
        condition: NodeId,
        then: NodeId,
        otherwise: NodeId,
    ) -> Result<NodeId, TypeError> {
        self.push(Op::Select, &[condition, then, otherwise], None)
    }

    /// The same node when it has that dtype already.
    pub fn cast(&mut self, x: NodeId, dtype: DType) -> Result<NodeId, TypeError> {
        if self.ty(x).dtype == dtype {
            return Ok(x);
        }
        let ty = TensorType::new(dtype, self.ty(x).shape.clone());
        self.push(Op::Cast, &[x], Some(ty))
    }

    pub fn reduce(&mut self, reduction: Reduction, x: NodeId, axes: &[usize]) -> Result<NodeId, TypeError> {
        if axes.is_empty() {
            return Ok(x);
        }
        self.push(Op::Reduce { reduction, axes: axes.to_vec() }, &[x], None)
    }

    pub fn reshape(&mut self, x: NodeId, shape: &[Dim]) -> Result<NodeId, TypeError> {
        if self.ty(x).shape == shape {
            return Ok(x);
        }
        let ty = TensorType::new(self.ty(x).dtype, shape.to_vec());
        self.push(Op::Reshape, &[x], Some(ty))
    }

    pub fn transpose(&mut self, x: NodeId, permutation: &[usize]) -> Result<NodeId, TypeError> {
        if permutation.iter().enumerate().all(|(i, p)| i == *p) {
            return Ok(x);
        }
        self.push(Op::Transpose { permutation: permutation.to_vec() }, &[x], None)
    }

    /// Adds leading axes and stretches extents of 1, aligned at the last axis.
    pub fn broadcast_to(&mut self, x: NodeId, shape: &[Dim]) -> Result<NodeId, TypeError> {
        let from = self.ty(x).clone();
        if from.shape == shape {
            return Ok(x);
        }
        let Some(lead) = shape.len().checked_sub(from.rank()) else {
            return fail(format!("cannot broadcast {from} to fewer axes"));
        };
        let axes = (lead..shape.len()).collect();
        self.push(Op::Broadcast { axes }, &[x], Some(TensorType::new(from.dtype, shape.to_vec())))
    }

    /// A loop over these operands: its results in order.
    pub fn scan(&mut self, scan: Scan, operands: &[NodeId]) -> Result<Vec<NodeId>, TypeError> {
        let types: Vec<TensorType> = (0..scan.results()).filter_map(|i| scan.result_type(i)).collect();
        let node = self.push(Op::Scan(Arc::new(scan)), operands, None)?;
        let result = |(index, ty)| self.push(Op::ScanResult { index }, &[node], Some(ty));
        types.into_iter().enumerate().map(result).collect()
    }

    /// Puts a reduced tensor back against `shape`: `axes` are those that the reduction removed.
    pub fn broadcast_back(&mut self, x: NodeId, shape: &[Dim], axes: &[usize]) -> Result<NodeId, TypeError> {
        let kept: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
        if kept.len() == shape.len() {
            return Ok(x);
        }
        let dtype = self.ty(x).dtype;
        self.push(Op::Broadcast { axes: kept }, &[x], Some(TensorType::new(dtype, shape.to_vec())))
    }
}
