//! Whole models: a convolutional network's training step and its inference.

use super::{Given, check, random, variable};
use crate::grad::gradient;
use crate::graph::op::{Binary, Compare, Conv, Distribution, Op, Reduction, Unary};
use crate::graph::{Builder, DType, Dim, Graph, NodeId, TensorType, TypeError, Variable};
use weft_runtime::program::VariableKind;

type Made = Result<NodeId, TypeError>;

/// A network under construction.
struct Net {
    b: Builder,
    variables: Vec<(Variable, Given)>,
    weights: Vec<NodeId>,
}

impl Net {
    fn weight(&mut self, path: &str, shape: &[usize], scale: f64) -> Made {
        let (v, given) = variable(path, shape, VariableKind::Weight, DType::F32, scale);
        let id = self.b.push(Op::Variable(path.into()), &[], Some(v.ty.clone()))?;
        self.variables.push((v, given));
        self.weights.push(id);
        Ok(id)
    }

    fn biased(&mut self, x: NodeId, path: &str) -> Made {
        let shape = self.b.ty(x).shape.clone();
        let width = shape.last().and_then(Dim::as_constant).unwrap_or(1) as usize;
        let bias = self.weight(&format!("{path}.bias"), &[width], 0.1)?;
        let bias = self.b.broadcast_to(bias, &shape)?;
        self.b.binary(Binary::Add, x, bias)
    }

    fn conv(&mut self, x: NodeId, path: &str, kernel: usize, channels: usize) -> Made {
        self.b.path = path.into();
        let inputs = self.b.ty(x).shape[3].as_constant().unwrap_or(1) as usize;
        let w = self.weight(&format!("{path}.weight"), &[kernel, kernel, inputs, channels], 0.1)?;
        let none = || (Dim::constant(0), Dim::constant(0));
        let conv =
            Conv { stride: vec![1, 1], padding: vec![none(), none()], dilation: vec![1, 1], groups: 1 };
        let y = self.b.push(Op::Conv(conv), &[x, w], None)?;
        self.biased(y, path)
    }

    fn dense(&mut self, x: NodeId, path: &str, width: usize) -> Made {
        self.b.path = path.into();
        let inputs = self.b.ty(x).shape[1].as_constant().unwrap_or(1) as usize;
        let w = self.weight(&format!("{path}.weight"), &[inputs, width], 0.05)?;
        let y = self.b.push(Op::Contract { batch: vec![], sum: vec![(1, 0)] }, &[x, w], None)?;
        self.biased(y, path)
    }

    fn relu(&mut self, x: NodeId) -> Made {
        let ty = self.b.ty(x).clone();
        let zero = self.b.full(0.0, &ty)?;
        self.b.binary(Binary::Max, x, zero)
    }

    fn pool(&mut self, x: NodeId) -> Made {
        let window = Op::Window { axis: 1, size: vec![2, 2], stride: vec![2, 2], dilation: vec![1, 1] };
        let windows = self.b.push(window, &[x], None)?;
        self.b.reduce(Reduction::Max, windows, &[3, 4])
    }

    fn scale(&mut self, x: NodeId, factor: f64) -> Made {
        let ty = self.b.ty(x).clone();
        let factor = self.b.full(factor, &ty)?;
        self.b.binary(Binary::Mul, x, factor)
    }

    /// Log-probabilities of the last axis.
    fn log_softmax(&mut self, x: NodeId) -> Made {
        let shape = self.b.ty(x).shape.clone();
        let last = shape.len() - 1;
        let largest = self.b.reduce(Reduction::Max, x, &[last])?;
        let largest = self.b.push(Op::Hold, &[largest], None)?;
        let largest = self.b.broadcast_back(largest, &shape, &[last])?;
        let shifted = self.b.binary(Binary::Sub, x, largest)?;
        let e = self.b.unary(Unary::Exp, shifted)?;
        let sum = self.b.reduce(Reduction::Sum, e, &[last])?;
        let log = self.b.unary(Unary::Log, sum)?;
        let log = self.b.broadcast_back(log, &shape, &[last])?;
        self.b.binary(Binary::Sub, shifted, log)
    }

    /// Adam on every weight.
    fn adam(&mut self, gradients: &[NodeId], step: NodeId) -> Result<(), TypeError> {
        let step = self.b.cast(step, DType::F32)?;
        let scalar = TensorType::scalar(DType::F32);
        let one = self.b.constant(1.0, DType::F32)?;
        let step = self.b.binary(Binary::Add, step, one)?;
        let mut corrections = Vec::new();
        for beta in [0.9, 0.999] {
            let beta = self.b.full(beta, &scalar)?;
            let power = self.b.binary(Binary::Pow, beta, step)?;
            corrections.push(self.b.binary(Binary::Sub, one, power)?);
        }
        for (at, (w, g)) in self.weights.clone().into_iter().zip(gradients).enumerate() {
            let (v, _) = self.variables[at].clone();
            self.b.path = v.path.clone().into();
            let shape: Vec<usize> =
                v.ty.shape.iter().map(|d| d.as_constant().unwrap_or(1) as usize).collect();
            let mut next = Vec::new();
            for (name, beta) in [("m", 0.9), ("v", 0.999)] {
                let path = format!("{}/adam.{name}", v.path);
                let (slot, mut given) = variable(&path, &shape, VariableKind::Slot, DType::F32, 0.01);
                given.values.iter_mut().for_each(|x| *x = x.abs());
                let old = self.b.push(Op::Variable(path.clone()), &[], Some(slot.ty.clone()))?;
                self.variables.push((slot, given));
                let kept = self.scale(old, beta)?;
                let g = if name == "m" { *g } else { self.b.binary(Binary::Mul, *g, *g)? };
                let new = self.scale(g, 1.0 - beta)?;
                let new = self.b.binary(Binary::Add, kept, new)?;
                self.b.graph.updates.push((path, new));
                next.push(new);
            }
            let ty = v.ty.clone();
            let first = self.b.broadcast_to(corrections[0], &ty.shape)?;
            let second = self.b.broadcast_to(corrections[1], &ty.shape)?;
            let m = self.b.binary(Binary::Div, next[0], first)?;
            let v_hat = self.b.binary(Binary::Div, next[1], second)?;
            let root = self.b.unary(Unary::Sqrt, v_hat)?;
            let tiny = self.b.full(1e-7, &ty)?;
            let root = self.b.binary(Binary::Add, root, tiny)?;
            let ratio = self.b.binary(Binary::Div, m, root)?;
            let delta = self.scale(ratio, 1e-3)?;
            let new = self.b.binary(Binary::Sub, w, delta)?;
            self.b.graph.updates.push((v.path.clone(), new));
        }
        Ok(())
    }
}

/// The logits of a small convolutional network on images of this size; `wide` multiplies the channels.
fn forward(net: &mut Net, image: NodeId, wide: usize, dropout: Option<NodeId>) -> Made {
    let x = net.b.cast(image, DType::F32)?;
    let x = net.scale(x, 1.0 / 255.0)?;
    let mut x = x;
    for (at, channels) in [4 * wide, 8 * wide].into_iter().enumerate() {
        x = net.conv(x, &format!("Cnn.conv{at}"), 3, channels)?;
        x = net.relu(x)?;
        x = net.pool(x)?;
    }
    x = net.conv(x, "Cnn.conv2", 3, 8 * wide)?;
    x = net.relu(x)?;
    let shape = net.b.ty(x).shape.clone();
    let flat = shape[1].clone() * shape[2].clone() * shape[3].clone();
    x = net.b.reshape(x, &[shape[0].clone(), flat])?;
    x = net.dense(x, "Cnn.dense", 8 * wide)?;
    x = net.relu(x)?;
    if let Some(state) = dropout {
        let ty = net.b.ty(x).clone();
        let op = Op::Random { distribution: Distribution::Uniform, key: "Cnn.dropout".into() };
        let random = net.b.push(op, &[state], Some(ty.clone()))?;
        let rate = net.b.full(0.25, &ty)?;
        let keep = net.b.compare(Compare::Ge, random, rate)?;
        let zero = net.b.full(0.0, &ty)?;
        let scaled = net.scale(x, 1.0 / 0.75)?;
        x = net.b.select(keep, scaled, zero)?;
    }
    net.dense(x, "Cnn.dense2", 10)
}

fn training(size: i64, wide: usize) -> Result<(Graph, Vec<(Variable, Given)>), TypeError> {
    let mut net = Net { b: Builder::new("train.step"), variables: vec![], weights: vec![] };
    let n = Dim::symbol("n");
    let side = Dim::constant(size);
    net.b.graph.bounds.push(("n".into(), 128));
    let image = TensorType::new(DType::U8, vec![n.clone(), side.clone(), side, Dim::constant(1)]);
    let image = net.b.input("image", image)?;
    let label = net.b.input("label", TensorType::new(DType::I32, vec![n.clone()]))?;
    let state = net.b.input("random", TensorType::new(DType::I64, vec![Dim::constant(2)]))?;
    let step = net.b.input("step", TensorType::scalar(DType::I64))?;
    let logits = forward(&mut net, image, wide, Some(state))?;
    net.b.path = "loss".into();
    let shape = net.b.ty(logits).shape.clone();
    let logs = net.log_softmax(logits)?;
    let classes = net.b.push(Op::Iota { axis: 1 }, &[], Some(TensorType::new(DType::I32, shape.clone())))?;
    let labels = net.b.push(
        Op::Broadcast { axes: vec![0] },
        &[label],
        Some(TensorType::new(DType::I32, shape.clone())),
    )?;
    let hit = net.b.compare(Compare::Eq, classes, labels)?;
    let zero = net.b.full(0.0, &TensorType::new(DType::F32, shape.clone()))?;
    let picked = net.b.select(hit, logs, zero)?;
    let rows = net.b.reduce(Reduction::Sum, picked, &[1])?;
    let total = net.b.reduce(Reduction::Sum, rows, &[0])?;
    let count = net.b.push(Op::DimValue(n), &[], Some(TensorType::scalar(DType::F32)))?;
    let mean = net.b.binary(Binary::Div, total, count)?;
    let loss = net.b.unary(Unary::Neg, mean)?;
    let weights = net.weights.clone();
    let gradients = gradient(&mut net.b, loss, None, &weights).unwrap_or_else(|e| panic!("{e}"));
    net.adam(&gradients, step)?;
    let best = net.b.push(Op::ArgReduce { largest: true, axes: vec![1] }, &[logits], None)?;
    let right = net.b.compare(Compare::Eq, best, label)?;
    let right = net.b.cast(right, DType::F32)?;
    let right = net.b.reduce(Reduction::Sum, right, &[0])?;
    net.b.graph.outputs = vec![("loss".into(), loss), ("right".into(), right)];
    Ok((net.b.graph, net.variables))
}

fn inference(size: i64, wide: usize) -> Result<(Graph, Vec<(Variable, Given)>), TypeError> {
    let mut net = Net { b: Builder::new("predict"), variables: vec![], weights: vec![] };
    let n = Dim::symbol("n");
    let side = Dim::constant(size);
    net.b.graph.bounds.push(("n".into(), 128));
    let image = TensorType::new(DType::U8, vec![n, side.clone(), side, Dim::constant(1)]);
    let image = net.b.input("image", image)?;
    let logits = forward(&mut net, image, wide, None)?;
    let logs = net.log_softmax(logits)?;
    let y = net.b.unary(Unary::Exp, logs)?;
    net.b.graph.outputs = vec![("y".into(), y)];
    Ok((net.b.graph, net.variables))
}

fn batch(n: usize, size: usize) -> Vec<Given> {
    let mut rng = random::Rng::new(n as u64);
    let mut given = |name: &str, dtype, shape: &[usize], below: usize| Given {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(|_| rng.below(below) as f64).collect(),
    };
    vec![
        given("image", DType::U8, &[n, size, size, 1], 256),
        given("label", DType::I32, &[n], 10),
        given("random", DType::I64, &[2], 100),
        given("step", DType::I64, &[], 5),
    ]
}

#[test]
fn a_training_step_agrees_at_several_batch_sizes() {
    let (graph, variables) = training(18, 1).expect("builds");
    for optimised in [false, true] {
        let graph = if optimised { crate::passes::optimize(&graph) } else { graph.clone() };
        for n in [1, 3, 8, 17] {
            check(&graph, &batch(n, 18), &variables).unwrap_or_else(|e| panic!("{n} rows: {e}"));
        }
    }
}

#[test]
fn inference_agrees_at_several_batch_sizes() {
    let (graph, variables) = inference(18, 1).expect("builds");
    for n in [1, 2, 9] {
        check(&graph, &batch(n, 18), &variables).unwrap_or_else(|e| panic!("{n} rows: {e}"));
    }
}
