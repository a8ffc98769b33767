//! The text form of a graph: one node a line, read back by [`parse()`] to an equal graph, spans aside.
//!
//! ```text
//! graph predict
//! bound n <= 128
//! guard (n%2) "n must be even"
//! %image = input : f32[n, 28, 28, 1]  // digit
//! %Cnn.conv2d.weight = variable : f32[3, 3, 1, 32]
//! %Cnn.conv2d.conv = conv %image, %Cnn.conv2d.weight {stride=[1, 1], padding=[(0, 0), (0, 0)], dilation=[1, 1], groups=1} : f32[n, 26, 26, 32]
//! output "y" = %Cnn.conv2d.conv
//! update "Cnn.steps" = %Cnn.conv2d.conv
//! ```
//!
//! Nodes stand in order and are named by path and operation ([`names()`]); any other names are read as well, `%0` and `%1` too.
//! An input or a variable that is called otherwise than its node is named after the operation: `%0 = input "image" : …`. What
//! follows `//` is a node's path where its name doesn't tell it; a line of only a comment is skipped. The body of a scan follows it,
//! each line behind a `|`.

mod names;
mod parse;

use super::attention::Align;
use super::op::{Conv, Distribution, Op};
use super::{Graph, NodeId};
pub use names::names;
pub use parse::{TextError, parse, parse_dim, parse_type};
use std::fmt::{Display, Write};

/// The text of a graph, ending in a newline.
pub fn print(graph: &Graph) -> String {
    let mut text = format!("graph {}\n", graph.name);
    for line in lines(graph) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// All lines but the first.
fn lines(graph: &Graph) -> Vec<String> {
    let mut text = Vec::new();
    let mut line = |content: String| text.push(content);
    for (symbol, bound) in &graph.bounds {
        line(format!("bound {symbol} <= {bound}"));
    }
    for (dim, message, _) in &graph.guards {
        line(format!("guard {dim} {}", quoted(message)));
    }
    let names = names(graph);
    let name = |id: NodeId| names.get(id.index()).map_or("?", String::as_str);
    for (id, node) in graph.ids().zip(&graph.nodes) {
        let mut content = format!("%{} = {}", name(id), op_name(&node.op));
        for (place, input) in node.inputs.iter().enumerate() {
            let _ = write!(content, "{} %{}", if place > 0 { "," } else { "" }, name(*input));
        }
        if !matches!(&node.op, Op::Input(called) | Op::Variable(called) if called == name(id)) {
            content.push_str(&op_attributes(&node.op));
        }
        let _ = write!(content, " : {}", node.ty);
        if *node.path != *names::path_of(name(id), &node.op) {
            let _ = write!(content, "  // {}", node.path);
        }
        line(content.trim_end().to_string());
        if let Op::Scan(scan) = &node.op {
            lines(&scan.body).into_iter().for_each(|inner| line(format!("  | {inner}")));
        }
    }
    for (word, list) in [("output", &graph.outputs), ("update", &graph.updates)] {
        for (label, id) in list {
            line(format!("{word} {} = %{}", quoted(label), name(*id)));
        }
    }
    text
}

/// The name of an operation in the text form: `add`, `reduce_max`, `conv`.
pub fn op_name(op: &Op) -> String {
    let name = match op {
        Op::Input(_) => "input",
        Op::Variable(_) => "variable",
        Op::Constant(_) => "constant",
        Op::Table(_) => "table",
        Op::Iota { .. } => "iota",
        Op::DimValue(_) => "dim",
        Op::Random { .. } => "random",
        Op::Unary(op) => op.name(),
        Op::Binary(op) => op.name(),
        Op::Compare(op) => op.name(),
        Op::Select => "select",
        Op::Cast => "cast",
        Op::Hold => "hold",
        Op::Reduce { reduction, .. } => return format!("reduce_{}", reduction.name()),
        Op::ArgReduce { largest: true, .. } => "arg_max",
        Op::ArgReduce { largest: false, .. } => "arg_min",
        Op::CumulativeSum { .. } => "cumulative_sum",
        Op::Contract { .. } => "contract",
        Op::Attention(_) => "attention",
        Op::Conv(_) => "conv",
        Op::ConvData(_) => "conv_data",
        Op::ConvWeights(_) => "conv_weights",
        Op::Gather { .. } => "gather",
        Op::ScatterAdd { .. } => "scatter_add",
        Op::Sort { .. } => "sort",
        Op::Reshape => "reshape",
        Op::Transpose { .. } => "transpose",
        Op::Broadcast { .. } => "broadcast",
        Op::Slice { .. } => "slice",
        Op::Window { .. } => "window",
        Op::Unwindow { .. } => "unwindow",
        Op::Pad { .. } => "pad",
        Op::Concat { .. } => "concat",
        Op::Scan(_) => "scan",
        Op::ScanResult { .. } => "result",
    };
    name.to_string()
}

/// What the text form says of an operation beside its name and inputs, with a space before it; empty when there is nothing.
pub fn op_attributes(op: &Op) -> String {
    let fields: Vec<(&str, String)> = match op {
        Op::Input(name) | Op::Variable(name) => return format!(" {}", quoted(name)),
        Op::Constant(value) => return format!(" {value:?}"),
        Op::Table(values) => return format!(" {}", list(values.iter().map(|v| format!("{v:?}")))),
        Op::DimValue(dim) => return format!(" {dim}"),
        Op::Iota { axis } | Op::Gather { axis } | Op::ScatterAdd { axis } | Op::Concat { axis } => {
            vec![("axis", axis.to_string())]
        }
        Op::Random { distribution, key } => {
            let distribution = match distribution {
                Distribution::Uniform => "uniform",
                Distribution::Normal => "normal",
            };
            vec![("distribution", distribution.to_string()), ("key", quoted(key))]
        }
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Hold | Op::Reshape => {
            return String::new();
        }
        Op::Reduce { axes, .. } | Op::ArgReduce { axes, .. } | Op::Broadcast { axes } => {
            vec![("axes", list(axes))]
        }
        Op::CumulativeSum { axis, reverse, exclusive } => vec![
            ("axis", axis.to_string()),
            ("reverse", reverse.to_string()),
            ("exclusive", exclusive.to_string()),
        ],
        Op::Attention(a) => vec![
            ("part", a.part.name().to_string()),
            ("scale", format!("{:?}", a.scale)),
            ("causal", a.causal.map_or("false", Align::name).to_string()),
            ("bias", a.bias.to_string()),
            ("mask", a.mask.to_string()),
        ],
        Op::Contract { batch, sum } => vec![("batch", pairs(batch)), ("sum", pairs(sum))],
        Op::Conv(Conv { stride, padding, dilation, groups })
        | Op::ConvData(Conv { stride, padding, dilation, groups })
        | Op::ConvWeights(Conv { stride, padding, dilation, groups }) => vec![
            ("stride", list(stride)),
            ("padding", pairs(padding)),
            ("dilation", list(dilation)),
            ("groups", groups.to_string()),
        ],
        Op::Sort { falling, indices } => {
            vec![("falling", falling.to_string()), ("indices", indices.to_string())]
        }
        Op::Transpose { permutation } => vec![("permutation", list(permutation))],
        Op::Slice { axis, start, step } => {
            vec![("axis", axis.to_string()), ("start", start.to_string()), ("step", step.to_string())]
        }
        Op::Window { axis, size, stride, dilation } | Op::Unwindow { axis, size, stride, dilation } => vec![
            ("axis", axis.to_string()),
            ("size", list(size)),
            ("stride", list(stride)),
            ("dilation", list(dilation)),
        ],
        Op::Pad { amounts, value } => vec![("amounts", pairs(amounts)), ("value", format!("{value:?}"))],
        Op::Scan(scan) => vec![
            ("trip", scan.trip.to_string()),
            ("reversed", scan.reversed.to_string()),
            ("elements", scan.elements.to_string()),
            ("carries", scan.carries.to_string()),
        ],
        Op::ScanResult { index } => vec![("index", index.to_string())],
    };
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(" {{{}}}", fields.join(", "))
}

fn list<V: Display>(values: impl IntoIterator<Item = V>) -> String {
    let values: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    format!("[{}]", values.join(", "))
}

fn pairs<V: Display>(values: &[(V, V)]) -> String {
    list(values.iter().map(|(a, b)| format!("({a}, {b})")))
}

/// In double quotes, with `"`, `\` and line ends escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
