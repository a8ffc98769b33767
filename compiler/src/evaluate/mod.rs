//! The reference evaluator: what a graph means, in plain code on `ndarray`, one node after another.
//!
//! It is the oracle that every pass and every back end is tested against, so it is obvious before it is fast: nothing is fused,
//! nothing is reused. It computes in one float type, whatever the graph's are: with `f64` a graph of `f32` becomes precise enough for
//! finite differences; with `f32` the narrow types (`f16`, `bf16`) are rounded after every operation.
//!
//! Where the primitives leave a choice, this is it: integers wrap around at their width; an integer divided by 0 gives 0, and so does
//! its remainder; a float cast to an integer saturates, and NaN becomes 0.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod attention;
mod conv;
mod elementwise;
mod indexing;

mod real;
mod reduce;
mod scan;
#[cfg(test)]
mod tests;
mod value;

use crate::graph::dim::Dim;
use crate::graph::op::{Distribution, Op};
use crate::graph::{DType, Graph, Node, NodeId, TensorType};
use std::collections::BTreeMap;
use weft_runtime::kernels::random;

pub use real::Real;
pub use value::Value;

/// Named tensors.
pub type Values<T> = BTreeMap<String, Value<T>>;

/// Values of symbols.
pub type Symbols = BTreeMap<String, i64>;

/// What a run of a graph gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<T: Real> {
    pub outputs: Values<T>,
    pub updates: Values<T>,
    /// The paths of the nodes that met an index out of range (and clamped it), in order.
    pub out_of_range: Vec<String>,
}

/// Why a graph cannot be evaluated on these values.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalError {
    pub message: String,
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}

fn fail<V>(message: impl Into<String>) -> Result<V, EvalError> {
    Err(EvalError { message: message.into() })
}

/// Runs the graph. Symbols are bound by the shapes of inputs and variables.
pub fn evaluate<T: Real>(
    graph: &Graph,
    inputs: &Values<T>,
    variables: &Values<T>,
) -> Result<Outcome<T>, EvalError> {
    evaluate_with(graph, inputs, variables, &Symbols::new())
}

/// Runs the graph with some symbols known beforehand (those of an entry that no input's shape shows).
pub fn evaluate_with<T: Real>(
    graph: &Graph,
    inputs: &Values<T>,
    variables: &Values<T>,
    known: &Symbols,
) -> Result<Outcome<T>, EvalError> {
    let values = evaluate_nodes(graph, inputs, variables, known)?;
    let named = |list: &[(String, crate::graph::NodeId)]| {
        list.iter().map(|(name, id)| (name.clone(), values.0[id.index()].clone())).collect()
    };
    Ok(Outcome { outputs: named(&graph.outputs), updates: named(&graph.updates), out_of_range: values.1 })
}

/// Every node's value, in order, and the paths where indices were out of range: for finding where two runs part.
pub fn evaluate_nodes<T: Real>(
    graph: &Graph,
    inputs: &Values<T>,
    variables: &Values<T>,
    known: &Symbols,
) -> Result<(Vec<Value<T>>, Vec<String>), EvalError> {
    let symbols = bind(graph, inputs, variables, known)?;
    let mut machine = Machine { symbols, out_of_range: Vec::new() };
    let mut loops: BTreeMap<NodeId, Vec<Value<T>>> = BTreeMap::new();
    for (dim, message, _) in &graph.guards {
        if machine.dim(dim)? != 0 {
            return fail(message.clone());
        }
    }
    let mut values: Vec<Value<T>> = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let args: Option<Vec<&Value<T>>> = node.inputs.iter().map(|id| values.get(id.index())).collect();
        let Some(args) = args else { return fail(format!("node {i} reads a later node")) };
        let value = match &node.op {
            Op::Input(name) => given(inputs, name, &node.ty)?,
            Op::Variable(name) => given(variables, name, &node.ty)?,
            Op::Scan(body) => {
                let results = scan::run(&mut machine, body, &args).map_err(|e| at(i, node, e))?;
                loops.insert(NodeId(i as u32), results);
                scan::token()
            }
            Op::ScanResult { index } => {
                let results = node.inputs.first().and_then(|scan| loops.get(scan));
                let Some(value) = results.and_then(|results| results.get(*index)) else {
                    return fail(format!("node {i} is no result of a scan"));
                };
                value.clone()
            }
            _ => machine.run(node, &args).map_err(|e| at(i, node, e))?,
        };
        let shape = machine.shape(&node.ty.shape)?;
        if value.shape() != shape {
            let message = format!("node {i} ({:?}) gave {:?}, not {shape:?}", node.op, value.shape());
            return fail(message);
        }
        values.push(value.narrow(node.ty.dtype));
    }
    Ok((values, machine.out_of_range))
}

fn at(place: usize, node: &Node, error: EvalError) -> EvalError {
    EvalError { message: format!("node {place} ({}): {}", node.path, error.message) }
}

fn given<T: Real>(values: &Values<T>, name: &str, ty: &TensorType) -> Result<Value<T>, EvalError> {
    match values.get(name) {
        None => fail(format!("no value for `{name}`")),
        Some(value) if !value.fits(ty.dtype) => fail(format!("`{name}` must be {}", ty.dtype.name())),
        Some(value) => Ok(value.clone()),
    }
}

/// Bare symbols take the extents where they stand; then every extent of the inputs must agree.
fn bind<T: Real>(
    graph: &Graph,
    inputs: &Values<T>,
    variables: &Values<T>,
    known: &Symbols,
) -> Result<Symbols, EvalError> {
    let mut symbols = known.clone();
    let mut extents: Vec<(&str, &Dim, i64)> = Vec::new();
    for node in &graph.nodes {
        let (name, value) = match &node.op {
            Op::Input(name) => (name, inputs.get(name)),
            Op::Variable(name) => (name, variables.get(name)),
            _ => continue,
        };
        let Some(value) = value else { return fail(format!("no value for `{name}`")) };
        if value.shape().len() != node.ty.rank() {
            return fail(format!("`{name}` must be {}, but has shape {:?}", node.ty, value.shape()));
        }
        for (dim, extent) in node.ty.shape.iter().zip(value.shape()) {
            extents.push((name, dim, i64::try_from(*extent).unwrap_or(i64::MAX)));
        }
    }
    for (_, dim, extent) in &extents {
        if let Some(symbol) = dim.as_symbol() {
            symbols.entry(symbol.to_string()).or_insert(*extent);
        }
    }
    for (name, dim, extent) in extents {
        match dim.evaluate(&|s| symbols.get(s).copied()) {
            Some(value) if value == extent => {}
            Some(value) => return fail(format!("`{name}` has extent {extent} where {dim} = {value} is due")),
            None => return fail(format!("`{name}` has an extent {dim} that nothing binds")),
        }
    }
    Ok(symbols)
}

/// More elements than this are taken for a mistake.
const MOST_ELEMENTS: usize = 1 << 31;

/// Evaluates single nodes under a binding of symbols.
struct Machine {
    symbols: Symbols,
    out_of_range: Vec<String>,
}

impl Machine {
    fn dim(&self, dim: &Dim) -> Result<i64, EvalError> {
        match dim.evaluate(&|s| self.symbols.get(s).copied()) {
            Some(value) => Ok(value),
            None => fail(format!("the dim {dim} has no value")),
        }
    }

    fn shape(&self, shape: &[Dim]) -> Result<Vec<usize>, EvalError> {
        let mut extents = Vec::with_capacity(shape.len());
        for dim in shape {
            match usize::try_from(self.dim(dim)?) {
                Ok(extent) => extents.push(extent),
                Err(_) => return fail(format!("the extent {dim} is negative")),
            }
        }
        let elements = extents.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        match elements {
            Some(elements) if elements <= MOST_ELEMENTS => Ok(extents),
            _ => fail(format!("a tensor of shape {extents:?} is too large")),
        }
    }

    fn run<T: Real>(&mut self, node: &Node, args: &[&Value<T>]) -> Result<Value<T>, EvalError> {
        let shape = self.shape(&node.ty.shape)?;
        let dtype = node.ty.dtype;
        match (&node.op, args) {
            (Op::Constant(value), []) => Ok(Value::generate(dtype, &shape, |_| *value)),
            (Op::Table(table), []) => {
                let mut values = table.iter();
                Ok(Value::generate(dtype, &shape, |_| values.next().copied().unwrap_or(0.0)))
            }
            (Op::Iota { axis }, []) => Ok(Value::generate(dtype, &shape, |at| at[*axis] as f64)),
            (Op::DimValue(dim), []) => {
                let value = self.dim(dim)? as f64;
                Ok(Value::generate(dtype, &shape, |_| value))
            }
            (Op::Random { distribution, key }, [Value::Int(state)]) => {
                let state: Vec<i64> = state.iter().copied().collect();
                let [seed, batch] = state[..] else { return fail("the random state is not two numbers") };
                let key = random::key(key);
                let mut place = 0;
                Ok(Value::generate(dtype, &shape, |_| {
                    let element = match distribution {
                        Distribution::Uniform => random::uniform(place, [seed, batch], key),
                        Distribution::Normal => random::normal(place, [seed, batch], key),
                    };
                    place += 1;
                    f64::from(element)
                }))
            }

            (Op::Unary(op), [x]) => elementwise::unary(*op, x, dtype),
            (Op::Binary(op), [x, y]) => elementwise::binary(*op, x, y, dtype),
            (Op::Compare(op), [x, y]) => elementwise::compare(*op, x, y),
            (Op::Select, [condition, then, otherwise]) => elementwise::select(condition, then, otherwise),
            (Op::Cast, [x]) => Ok(x.cast(dtype)),
            (Op::Hold, [x]) => Ok((*x).clone()),

            (Op::Reduce { reduction, axes }, [x]) => reduce::reduce(*reduction, axes, x, &shape, dtype),
            (Op::ArgReduce { largest, axes }, [x]) => reduce::arg_reduce(*largest, axes, x, &shape),
            (Op::CumulativeSum { axis, reverse, exclusive }, [x]) => {
                reduce::cumulative_sum(*axis, *reverse, *exclusive, x, dtype)
            }
            (Op::Sort { falling, indices }, [x]) => reduce::sort(*falling, *indices, x, &shape),

            (Op::Contract { batch, sum }, [Value::Float(a), Value::Float(b)]) => {
                conv::contract(batch, sum, a, b, &shape)
            }
            (Op::Attention(op), args) => attention::run(op, args, &shape),
            (Op::Conv(conv), [Value::Float(x), Value::Float(w)]) => {
                let frame = conv::Frame::new(self, conv, x.shape(), w.shape(), &shape)?;
                let mut y = ndarray::ArrayD::zeros(shape);
                frame.visit(|ix, iw, iy| y[iy] = y[iy] + x[ix] * w[iw]);
                Ok(Value::Float(y))
            }
            (Op::ConvData(conv), [Value::Float(dy), Value::Float(w)]) => {
                let frame = conv::Frame::new(self, conv, &shape, w.shape(), dy.shape())?;
                let mut dx = ndarray::ArrayD::zeros(shape);
                frame.visit(|ix, iw, iy| dx[ix] = dx[ix] + dy[iy] * w[iw]);
                Ok(Value::Float(dx))
            }
            (Op::ConvWeights(conv), [Value::Float(x), Value::Float(dy)]) => {
                let frame = conv::Frame::new(self, conv, x.shape(), &shape, dy.shape())?;
                let mut dw = ndarray::ArrayD::zeros(shape);
                frame.visit(|ix, iw, iy| dw[iw] = dw[iw] + x[ix] * dy[iy]);
                Ok(Value::Float(dw))
            }

            (op, args) => match indexing::run(self, op, args, &shape, dtype, &node.path)? {
                Some(value) => Ok(value),
                None => fail(format!("{op:?} does not take these inputs")),
            },
        }
    }

    fn note_out_of_range(&mut self, path: &str) {
        self.out_of_range.push(path.to_string());
    }
}

/// The state of a random stream, as the runtime passes it.
pub fn random_state<T: Real>(seed: i64, batch: i64) -> Value<T> {
    let mut parts = [seed, batch].into_iter();
    let state = ndarray::ArrayD::from_shape_fn(ndarray::IxDyn(&[2]), |_| parts.next().unwrap_or(0));
    Value::Int(state)
}

/// Is this dtype kept as `Value::Int`?
fn is_integer(dtype: DType) -> bool {
    !dtype.is_float() && dtype != DType::Bool
}
