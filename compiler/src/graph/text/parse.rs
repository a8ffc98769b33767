//! Reading the text form: a cursor over one line at a time. The type rules check every node, so what is read is well-typed.

use super::super::attention::{Align, Attention, Part};
use super::super::build::infer;
use super::super::dim::Dim;
use super::super::op::{Binary, Compare, Conv, Distribution, Op, Reduction, Unary};
use super::super::{DType, Graph, Node, NodeId, Scan, TensorType};
use super::names::{belongs, path_of};
use std::collections::HashMap;
use std::sync::Arc;
use weft_grammar::Span;

/// Why a text is not a graph, and on which line (from 1).
#[derive(Clone, Debug, PartialEq)]
pub struct TextError {
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for TextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for TextError {}

type Read<T> = Result<T, String>;

/// The nodes so far by their names.
type Named<'a> = HashMap<&'a str, NodeId>;

/// Reads a graph. Lines may be indented; spans are not in the text and come back empty.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let lines: Vec<(usize, &str)> =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).collect();
    read_lines(&lines, 0)
}

/// Reads numbered lines; `depth` is how many bodies they stand in.
fn read_lines(lines: &[(usize, &str)], depth: usize) -> Result<Graph, TextError> {
    let (mut graph, mut named) = (Graph::default(), Named::new());
    let mut rest = lines;
    while let [(number, line), after @ ..] = rest {
        let at = |message: String| TextError { line: *number, message };
        let inside = after.iter().take_while(|(_, line)| line.starts_with('|')).count();
        let (body, after) = after.split_at(inside);
        let body: Vec<(usize, &str)> = body
            .iter()
            .map(|(number, line)| (*number, line.strip_prefix('|').unwrap_or(line).trim()))
            .collect();
        let body = match body.is_empty() {
            true => None,
            false if depth == DEEPEST => return Err(at("bodies are nested too deeply".to_string())),
            false => Some(read_lines(&body, depth + 1)?),
        };
        read_line(&mut graph, &mut named, line, body).map_err(at)?;
        rest = after;
    }
    Ok(graph)
}

/// Reads a dim as it is displayed: `2*n + 1`, `((n + 1)//2)`, `max(n, 3)`.
pub fn parse_dim(text: &str) -> Result<Dim, String> {
    let mut cursor = Cursor { rest: text, depth: 0 };
    let dim = cursor.dim()?;
    cursor.end()?;
    Ok(dim)
}

/// Reads a type as it is displayed: `f32[n, 3]`.
pub fn parse_type(text: &str) -> Result<TensorType, String> {
    let mut cursor = Cursor { rest: text, depth: 0 };
    let ty = cursor.ty()?;
    cursor.end()?;
    Ok(ty)
}

fn read_line<'a>(graph: &mut Graph, named: &mut Named<'a>, line: &'a str, body: Option<Graph>) -> Read<()> {
    let mut cursor = Cursor { rest: line, depth: 0 };
    if line.is_empty() || line.starts_with("//") {
        return Ok(());
    }
    if cursor.eat("%") {
        return read_node(graph, named, &mut cursor, body);
    }
    if body.is_some() {
        return Err("only a scan has a body".to_string());
    }
    match cursor.word()? {
        "graph" => graph.name = cursor.rest.trim().to_string(),
        "bound" => {
            let symbol = cursor.word()?;
            cursor.expect("<=")?;
            graph.bounds.push((Arc::from(symbol), cursor.integer()?));
            cursor.end()?;
        }
        "guard" => {
            let dim = cursor.dim()?;
            graph.guards.push((dim, cursor.string()?, Span::default()));
            cursor.end()?;
        }
        word @ ("output" | "update") => {
            let name = cursor.string()?;
            cursor.expect("=")?;
            let id = cursor.node(named)?;
            cursor.end()?;
            if word == "output" { &mut graph.outputs } else { &mut graph.updates }.push((name, id));
        }
        word => return Err(format!("`{word}` starts no line")),
    }
    Ok(())
}

fn read_node<'a>(
    graph: &mut Graph,
    named: &mut Named<'a>,
    cursor: &mut Cursor<'a>,
    body: Option<Graph>,
) -> Read<()> {
    let label = cursor.label()?;
    cursor.expect("=")?;
    let name = cursor.word()?;
    let mut inputs = Vec::new();
    while cursor.peek('%') {
        inputs.push(cursor.node(named)?);
        if !cursor.eat(",") {
            break;
        }
    }
    let op = match (name, body) {
        ("scan", Some(body)) => Op::Scan(Arc::new(read_scan(cursor, body)?)),
        ("scan", None) => return Err("a scan has a body on the lines that follow".to_string()),
        (_, Some(_)) => return Err("only a scan has a body".to_string()),
        (_, None) => read_op(name, label, cursor)?,
    };
    cursor.expect(":")?;
    let given = cursor.ty()?;
    let path = match cursor.eat("//") {
        true => std::mem::take(&mut cursor.rest).trim(),
        false => path_of(label, &op),
    };
    cursor.end()?;
    let types: Vec<&TensorType> = inputs.iter().map(|id| &graph.node(*id).ty).collect();
    let ty = infer(&op, &types, Some(&given)).map_err(|e| e.message)?;
    let id = NodeId(u32::try_from(graph.nodes.len()).map_err(|_| "there are too many nodes")?);
    if named.insert(label, id).is_some() {
        return Err(format!("%{label} stands twice"));
    }
    graph.nodes.push(Node { op, inputs, ty, span: Span::default(), path: Arc::from(path) });
    Ok(())
}

/// The operation of this name, in the node of this label.
fn read_op(name: &str, label: &str, c: &mut Cursor<'_>) -> Read<Op> {
    if let Some(op) = Unary::from_name(name) {
        return Ok(Op::Unary(op));
    }
    if let Some(op) = Binary::from_name(name) {
        return Ok(Op::Binary(op));
    }
    if let Some(op) = Compare::from_name(name) {
        return Ok(Op::Compare(op));
    }
    if let Some(reduction) = name.strip_prefix("reduce_").and_then(Reduction::from_name) {
        return c.fields(|c| Ok(Op::Reduce { reduction, axes: c.numbers("axes")? }));
    }
    match name {
        "input" => Ok(Op::Input(c.called(label)?)),
        "variable" => Ok(Op::Variable(c.called(label)?)),
        "constant" => Ok(Op::Constant(c.float()?)),
        "table" => Ok(Op::Table(c.list(Cursor::float)?)),
        "dim" => Ok(Op::DimValue(c.dim()?)),
        "select" => Ok(Op::Select),
        "cast" => Ok(Op::Cast),
        "hold" => Ok(Op::Hold),
        "reshape" => Ok(Op::Reshape),
        "random" => c.fields(|c| {
            c.field("distribution")?;
            let distribution = match c.word()? {
                "uniform" => Distribution::Uniform,
                "normal" => Distribution::Normal,
                other => return Err(format!("there is no distribution `{other}`")),
            };
            c.field("key")?;
            Ok(Op::Random { distribution, key: c.string()? })
        }),
        "iota" => c.fields(|c| Ok(Op::Iota { axis: c.one("axis")? })),
        "gather" => c.fields(|c| Ok(Op::Gather { axis: c.one("axis")? })),
        "scatter_add" => c.fields(|c| Ok(Op::ScatterAdd { axis: c.one("axis")? })),
        "concat" => c.fields(|c| Ok(Op::Concat { axis: c.one("axis")? })),
        "arg_max" | "arg_min" => {
            c.fields(|c| Ok(Op::ArgReduce { largest: name == "arg_max", axes: c.numbers("axes")? }))
        }
        "broadcast" => c.fields(|c| Ok(Op::Broadcast { axes: c.numbers("axes")? })),
        "transpose" => c.fields(|c| Ok(Op::Transpose { permutation: c.numbers("permutation")? })),
        "cumulative_sum" => c.fields(|c| {
            Ok(Op::CumulativeSum {
                axis: c.one("axis")?,
                reverse: c.flag("reverse")?,
                exclusive: c.flag("exclusive")?,
            })
        }),
        "contract" => c.fields(|c| {
            c.field("batch")?;
            let batch = c.list(|c| c.pair(Cursor::number))?;
            c.field("sum")?;
            Ok(Op::Contract { batch, sum: c.list(|c| c.pair(Cursor::number))? })
        }),
        "attention" => c.fields(|c| {
            c.field("part")?;
            let part = c.word()?;
            let part = Part::ALL.into_iter().find(|p| p.name() == part);
            let part = part.ok_or("attention has no such part")?;
            c.field("scale")?;
            let scale = c.float()?;
            let causal = c.align()?;
            let [bias, mask] = [c.flag("bias")?, c.flag("mask")?];
            Ok(Op::Attention(Attention { part, scale, causal, bias, mask }))
        }),
        "conv" => c.fields(|c| Ok(Op::Conv(read_conv(c)?))),
        "conv_data" => c.fields(|c| Ok(Op::ConvData(read_conv(c)?))),
        "conv_weights" => c.fields(|c| Ok(Op::ConvWeights(read_conv(c)?))),
        "sort" => c.fields(|c| Ok(Op::Sort { falling: c.flag("falling")?, indices: c.flag("indices")? })),
        "slice" => c.fields(|c| {
            let axis = c.one("axis")?;
            c.field("start")?;
            let start = c.dim()?;
            c.field("step")?;
            Ok(Op::Slice { axis, start, step: c.integer()? })
        }),
        "window" | "unwindow" => c.fields(|c| {
            let axis = c.one("axis")?;
            let [size, stride, dilation] = [c.numbers("size")?, c.numbers("stride")?, c.numbers("dilation")?];
            Ok(match name {
                "window" => Op::Window { axis, size, stride, dilation },
                _ => Op::Unwindow { axis, size, stride, dilation },
            })
        }),
        "pad" => c.fields(|c| {
            c.field("amounts")?;
            let amounts = c.list(|c| c.pair(Cursor::dim))?;
            c.field("value")?;
            Ok(Op::Pad { amounts, value: c.float()? })
        }),
        "result" => c.fields(|c| Ok(Op::ScanResult { index: c.one("index")? })),
        _ => Err(format!("there is no operation `{name}`")),
    }
}

fn read_scan(c: &mut Cursor<'_>, body: Graph) -> Read<Scan> {
    c.fields(|c| {
        c.field("trip")?;
        let trip = c.dim()?;
        let reversed = c.flag("reversed")?;
        Ok(Scan { trip, reversed, elements: c.one("elements")?, carries: c.one("carries")?, body })
    })
}

fn read_conv(c: &mut Cursor<'_>) -> Read<Conv> {
    let stride = c.numbers("stride")?;
    c.field("padding")?;
    let padding = c.list(|c| c.pair(Cursor::dim))?;
    Ok(Conv { stride, padding, dilation: c.numbers("dilation")?, groups: c.one("groups")? })
}

/// How deep brackets in dims may nest, so that no text exhausts the stack.
const DEEPEST: usize = 64;

/// What is left of a line.
struct Cursor<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Read<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("`{token}` is due before `{}`", self.rest)) }
    }

    fn peek(&self, c: char) -> bool {
        self.rest.trim_start().starts_with(c)
    }

    fn end(&self) -> Read<()> {
        if self.rest.trim().is_empty() { Ok(()) } else { Err(format!("`{}` is too much", self.rest)) }
    }

    /// The longest beginning of such characters; may be empty.
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let (taken, rest) = rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> Read<&'a str> {
        let word = self.take(|c| c.is_alphanumeric() || "_.'$#".contains(c));
        if word.is_empty() { Err(format!("a name is due before `{}`", self.rest)) } else { Ok(word) }
    }

    fn parsed<T: std::str::FromStr>(&mut self, belongs: impl Fn(char) -> bool) -> Read<T> {
        let text = self.take(belongs);
        text.parse().map_err(|_| format!("a number is due at `{text}{}`", self.rest))
    }

    fn number(&mut self) -> Read<usize> {
        self.parsed(|c| c.is_ascii_digit())
    }

    fn integer(&mut self) -> Read<i64> {
        self.parsed(|c| c.is_ascii_digit() || c == '-')
    }

    /// Also `inf`, `-inf` and `NaN`.
    fn float(&mut self) -> Read<f64> {
        self.parsed(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    }

    fn string(&mut self) -> Read<String> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or("");
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c)) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err("a string does not end".to_string())
    }

    /// What an input or a variable is called: as its node, where nothing else is said.
    fn called(&mut self, label: &str) -> Read<String> {
        if self.peek('"') { self.string() } else { Ok(label.to_string()) }
    }

    /// A node's name, after its `%`.
    fn label(&mut self) -> Read<&'a str> {
        let label = self.take(belongs);
        if label.is_empty() { Err(format!("a node's name is due before `{}`", self.rest)) } else { Ok(label) }
    }

    fn node(&mut self, named: &Named<'_>) -> Read<NodeId> {
        self.expect("%")?;
        let label = self.label()?;
        named.get(label).copied().ok_or_else(|| format!("%{label} does not stand before this line"))
    }

    fn ty(&mut self) -> Read<TensorType> {
        let name = self.word()?;
        let dtype = DType::from_name(name).ok_or_else(|| format!("there is no dtype `{name}`"))?;
        Ok(TensorType::new(dtype, self.list(Cursor::dim)?))
    }

    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.expect("[")?;
        let mut elements = Vec::new();
        while !self.eat("]") {
            if !elements.is_empty() {
                self.expect(",")?;
            }
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn pair<T>(&mut self, mut element: impl FnMut(&mut Self) -> Read<T>) -> Read<(T, T)> {
        self.expect("(")?;
        let first = element(self)?;
        self.expect(",")?;
        let second = element(self)?;
        self.expect(")")?;
        Ok((first, second))
    }

    /// `{`, what `read` reads, `}`.
    fn fields<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.expect("{")?;
        let value = read(self)?;
        self.expect("}")?;
        Ok(value)
    }

    /// `name=`, with the comma before it if there is one.
    fn field(&mut self, name: &str) -> Read<()> {
        self.eat(",");
        self.expect(name)?;
        self.expect("=")
    }

    fn one(&mut self, name: &str) -> Read<usize> {
        self.field(name)?;
        self.number()
    }

    fn numbers(&mut self, name: &str) -> Read<Vec<usize>> {
        self.field(name)?;
        self.list(Cursor::number)
    }

    fn align(&mut self) -> Read<Option<Align>> {
        self.field("causal")?;
        match self.word()? {
            "false" => Ok(None),
            "true" => Ok(Some(Align::First)),
            "last" => Ok(Some(Align::Last)),
            other => Err(format!("`causal` cannot be `{other}`")),
        }
    }

    fn flag(&mut self, name: &str) -> Read<bool> {
        self.field(name)?;
        match self.word()? {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("`{name}` cannot be `{other}`")),
        }
    }

    /// A sum of products.
    fn dim(&mut self) -> Read<Dim> {
        let mut sum = if self.eat("-") { Dim::constant(0) - self.product()? } else { self.product()? };
        loop {
            if self.eat("+") {
                sum = sum + self.product()?;
            } else if self.eat("-") {
                sum = sum - self.product()?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Read<Dim> {
        let mut product = self.factor()?;
        loop {
            if self.eat("*") {
                product = product * self.factor()?;
            } else if self.rest.trim_start().starts_with("//") && self.depth > 0 {
                // Outside of brackets `//` starts a comment.
                self.expect("//")?;
                product = product.floor_div(&self.factor()?);
            } else if self.depth > 0 && self.eat("%") {
                product = product.rem(&self.factor()?);
            } else {
                return Ok(product);
            }
        }
    }

    fn factor(&mut self) -> Read<Dim> {
        let negative = self.eat("-");
        if negative || self.rest.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            let value: i64 = self.parsed(|c| c.is_ascii_digit())?;
            return Ok(Dim::constant(if negative { -value } else { value }));
        }
        if self.peek('(') {
            return self.bracketed(Cursor::dim);
        }
        let word = self.word()?;
        match word {
            "max" | "min" if self.peek('(') => {
                let (a, b) = self.bracketed(|c| {
                    let a = c.dim()?;
                    c.expect(",")?;
                    Ok((a, c.dim()?))
                })?;
                Ok(if word == "max" { a.larger(&b) } else { a.smaller(&b) })
            }
            _ => Ok(Dim::symbol(word)),
        }
    }

    fn bracketed<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.expect("(")?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("brackets nest too deep".to_string());
        }
        let value = read(self)?;
        self.depth -= 1;
        self.expect(")")?;
        Ok(value)
    }
}
