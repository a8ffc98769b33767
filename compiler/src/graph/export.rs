//! Graphs for other eyes: JSON for programs, DOT for Graphviz, SVG for a browser.

use super::text::{names, op_attributes, op_name};
use super::{Graph, Node, NodeId, Op};
use std::fmt::Write;

/// The graph as a JSON object: `name`, `bounds`, `guards`, `nodes` (id, name, op, attributes, inputs, dtype, shape, path), `outputs`,
/// `updates`. A loop's node has its graph in `body`.
pub fn json(graph: &Graph) -> String {
    format!("{:#}\n", value(graph))
}

fn value(graph: &Graph) -> serde_json::Value {
    use serde_json::{Value, json};
    let named = |list: &[(String, NodeId)]| -> Value {
        list.iter().map(|(name, id)| json!({ "name": name, "node": id.0 })).collect()
    };
    let nodes: Value = graph
        .ids()
        .zip(names(graph))
        .map(|(id, name)| {
            let node = graph.node(id);
            let mut made = json!({
                "id": id.0,
                "name": name,
                "op": op_name(&node.op),
                "attributes": op_attributes(&node.op).trim(),
                "inputs": node.inputs.iter().map(|i| i.0).collect::<Vec<_>>(),
                "dtype": node.ty.dtype.name(),
                "shape": node.ty.shape.iter().map(|d| d.to_string()).collect::<Vec<_>>(),
                "path": &*node.path,
            });
            if let (Op::Scan(scan), Some(fields)) = (&node.op, made.as_object_mut()) {
                fields.insert("body".to_owned(), value(&scan.body));
            }
            made
        })
        .collect();
    json!({
        "name": graph.name,
        "bounds": graph.bounds.iter().map(|(s, b)| json!({ "symbol": &**s, "bound": b })).collect::<Value>(),
        "guards": graph.guards.iter().map(|(d, m, _)| json!({ "zero": d.to_string(), "message": m })).collect::<Value>(),
        "nodes": nodes,
        "outputs": named(&graph.outputs),
        "updates": named(&graph.updates),
    })
}

/// What stands in a node's box: its operation (a leaf's name or value), its type.
fn label(node: &Node) -> [String; 2] {
    let what = match &node.op {
        Op::Input(name) | Op::Variable(name) => name.clone(),
        Op::Constant(value) => format!("{value:?}"),
        op => op_name(op),
    };
    [what, node.ty.to_string()]
}

/// The graph in Graphviz's language; the body of a loop is a frame of its own, which its node points to.
pub fn dot(graph: &Graph) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  compound=true;\n  node [shape=box, fontname=\"monospace\"];\n",
        quoted(&graph.name)
    );
    dot_nodes(graph, "", "  ", &mut text);
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The statements of a graph; `prefix` tells its nodes from those of the graphs around it.
fn dot_nodes(graph: &Graph, prefix: &str, margin: &str, text: &mut String) {
    for id in graph.ids() {
        let node = graph.node(id);
        let [what, ty] = label(node);
        let style = if matches!(node.op, Op::Input(_) | Op::Variable(_)) { ", style=rounded" } else { "" };
        let name = format!("{prefix}n{}", id.0);
        let _ = writeln!(text, "{margin}{name} [label=\"{}\\n{}\"{style}];", quoted(&what), quoted(&ty));
        for input in &node.inputs {
            let _ = writeln!(text, "{margin}{prefix}n{} -> {name};", input.0);
        }
        if let Op::Scan(scan) = &node.op {
            let title = format!("{} steps{}", scan.trip, if scan.reversed { ", reversed" } else { "" });
            let _ =
                writeln!(text, "{margin}subgraph cluster_{name} {{\n{margin}  label=\"{}\";", quoted(&title));
            dot_nodes(&scan.body, &format!("{name}_"), &format!("{margin}  "), text);
            let _ = writeln!(text, "{margin}}}");
            if !scan.body.nodes.is_empty() {
                let _ = writeln!(text, "{margin}{name} -> {name}_n0 [style=dotted, lhead=cluster_{name}];");
            }
        }
    }
    for (place, (name, id)) in graph.outputs.iter().chain(&graph.updates).enumerate() {
        let _ = writeln!(
            text,
            "{margin}{prefix}out{place} [label=\"{}\", shape=plaintext];\n{margin}{prefix}n{} -> {prefix}out{place};",
            quoted(name),
            id.0
        );
    }
}

const BOX: (usize, usize) = (190, 44);
const GAP: (usize, usize) = (24, 40);

/// The graph drawn in layers: a node stands one layer below the lowest of its inputs, in a layer near its inputs. The bodies of loops
/// follow below, each under its loop's name.
pub fn svg(graph: &Graph) -> String {
    let (mut drawn, mut width, mut height) = (String::new(), 0, 0);
    let mut waiting = vec![(String::new(), graph)];
    while let Some((title, graph)) = waiting.pop() {
        let heading = if title.is_empty() { 0 } else { BOX.1 };
        let (picture, wide, high) = picture(graph);
        let _ = writeln!(drawn, "<g transform=\"translate(0 {height})\">");
        if !title.is_empty() {
            let _ =
                writeln!(drawn, "<text x=\"{}\" y=\"30\" font-size=\"16\">{}</text>", GAP.0, escaped(&title));
        }
        let _ = writeln!(drawn, "<g transform=\"translate(0 {heading})\">\n{picture}</g>\n</g>");
        (width, height) = (width.max(wide), height + heading + high);
        let inner = waiting.len();
        for (node, name) in graph.nodes.iter().zip(names(graph)) {
            if let Op::Scan(scan) = &node.op {
                waiting.insert(inner, (format!("%{name}: {} steps", scan.trip), &scan.body));
            }
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n{drawn}</svg>\n"
    )
}

/// The drawing of one graph without those inside of it, its width and its height.
fn picture(graph: &Graph) -> (String, usize, usize) {
    let (layers, place) = layout(graph);
    let widest = layers.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let (width, height) = (widest * (BOX.0 + GAP.0) + GAP.0, layers.len() * (BOX.1 + GAP.1) + GAP.1);
    let mut text = String::new();
    let corner = |id: NodeId| {
        let (layer, column) = place[id.index()];
        // Layers are centred.
        let margin = (widest - layers[layer].len()) * (BOX.0 + GAP.0) / 2;
        (margin + GAP.0 + column * (BOX.0 + GAP.0), GAP.1 + layer * (BOX.1 + GAP.1))
    };
    for id in graph.ids() {
        let (x, y) = corner(id);
        for input in &graph.node(id).inputs {
            let (from_x, from_y) = corner(*input);
            let (x0, y0, x1) = (from_x + BOX.0 / 2, from_y + BOX.1, x + BOX.0 / 2);
            let bend = y0.midpoint(y);
            let _ = writeln!(
                text,
                "<path d=\"M{x0} {y0}C{x0} {bend} {x1} {bend} {x1} {y}\" fill=\"none\" stroke=\"#999\"/>"
            );
        }
    }
    for (id, name) in graph.ids().zip(names(graph)) {
        let node = graph.node(id);
        let (x, y) = corner(id);
        let fill = match node.op {
            Op::Input(_) => "#d8ecd8",
            Op::Variable(_) => "#d8e4f4",
            Op::Contract { .. } | Op::Conv(_) | Op::ConvData(_) | Op::ConvWeights(_) => "#f6e3cf",
            _ => "#f4f4f4",
        };
        let [what, ty] = label(node);
        let (middle, width, height) = (x + BOX.0 / 2, BOX.0, BOX.1);
        let _ = writeln!(
            text,
            "<g><title>%{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\" fill=\"{fill}\" \
             stroke=\"#555\"/><text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text><text x=\"{middle}\" y=\"{}\" \
             text-anchor=\"middle\" fill=\"#666\">{}</text></g>",
            escaped(&name),
            y + 18,
            escaped(&shortened(&what)),
            y + 35,
            escaped(&shortened(&ty)),
        );
    }
    (text, width, height)
}

/// The nodes of each layer in order, and each node's layer and column.
fn layout(graph: &Graph) -> (Vec<Vec<NodeId>>, Vec<(usize, usize)>) {
    let mut layers: Vec<Vec<NodeId>> = Vec::new();
    let mut place: Vec<(usize, usize)> = vec![(0, 0); graph.nodes.len()];
    for id in graph.ids() {
        let layer = graph.node(id).inputs.iter().map(|i| place[i.index()].0 + 1).max().unwrap_or(0);
        place[id.index()].0 = layer;
        layers.resize_with(layers.len().max(layer + 1), Vec::new);
        layers[layer].push(id);
    }
    for layer in &mut layers {
        // Ordered by the mean column of their inputs, which stand in layers above and have theirs already; in thousandths, so that
        // the order does not hang on rounding.
        layer.sort_by_cached_key(|id| {
            let inputs = &graph.node(*id).inputs;
            let sum: usize = inputs.iter().map(|i| place[i.index()].1 * 1000).sum();
            (sum.checked_div(inputs.len()).unwrap_or(0), *id)
        });
        for (column, id) in layer.iter().enumerate() {
            place[id.index()].1 = column;
        }
    }
    (layers, place)
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 25 {
        return text.to_string();
    }
    text.chars().take(24).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    fn example() -> Graph {
        parse(
            r#"graph "a<b"
            %0 = input "x" : f32[n]
            %1 = variable "w&v" : f32[]
            %2 = exp %0 : f32[n]  // Net.exp
            %3 = mul %0, %2 : f32[n]
            output "y" = %3
            update "w&v" = %1"#,
        )
        .unwrap()
    }

    #[test]
    fn json_says_all() {
        let value: serde_json::Value = serde_json::from_str(&json(&example())).unwrap();
        assert_eq!(value["nodes"][3]["inputs"], serde_json::json!([0, 2]));
        assert_eq!(value["nodes"][2]["path"], "Net.exp");
        assert_eq!(value["nodes"][0]["attributes"], "\"x\"");
        assert_eq!(value["outputs"][0]["node"], 3);
    }

    #[test]
    fn bodies_of_loops_are_shown() {
        let graph = parse(
            r#"graph g
            %x = input "x" : f32[5, n]
            %s = scan %x {trip=5, reversed=false, elements=1, carries=0} : bool[0]
              | %e = input "element.0" : f32[n]
              | %y = exp %e : f32[n]
              | output "yield.0" = %y
            %r = result %s {index=0} : f32[5, n]
            output "y" = %r"#,
        )
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&json(&graph)).unwrap();
        assert_eq!(value["nodes"][1]["body"]["nodes"][1]["op"], "exp");
        assert!(dot(&graph).contains("subgraph cluster_n1") && dot(&graph).contains("n1_n1 [label=\"exp"));
        let svg = svg(&graph);
        assert!(svg.contains("5 steps") && svg.matches("<rect").count() == 5, "{svg}");
    }

    #[test]
    fn pictures_have_every_node_and_edge() {
        let dot = dot(&example());
        assert_eq!(dot.matches(" -> ").count(), 5);
        assert!(dot.contains(r#"digraph "\"a<b\"""#), "{dot}");
        let svg = svg(&example());
        assert_eq!(svg.matches("<rect").count(), 4);
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("w&amp;v") && !svg.contains("w&v"), "{svg}");
    }
}
