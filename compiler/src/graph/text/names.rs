//! What nodes are called in text: by their path and operation, `%Cnn.conv2d.add`, the second of the same `%Cnn.conv2d.add_2`.
//!
//! A name says where in the model a node belongs, and it stays when nodes of other paths come and go: a layer that is appended
//! to a model renames nothing. Inputs and variables are called as they are. So a path needs to be written down only where the
//! name doesn't tell it.

use super::super::{Graph, Op};
use super::op_name;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// May stand in a node's name.
pub fn belongs(c: char) -> bool {
    c.is_alphanumeric() || "_.'$#/".contains(c)
}

/// The name of every node, without the `%`; no two are alike.
pub fn names(graph: &Graph) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::with_capacity(graph.nodes.len());
    // How many names were made from each beginning, so that a thousand constants don't each try a thousand numbers.
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut names = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut name = match &node.op {
            Op::Input(name) | Op::Variable(name) => plain(name),
            op if node.path.is_empty() => op_name(op),
            op => {
                let mut name = plain(&node.path);
                // Writing to a string does not fail.
                let _ = write!(name, ".{}", op_name(op));
                name
            }
        };
        let count = counts.entry(name.clone()).or_insert(0);
        let base = name.len();
        loop {
            *count += 1;
            if *count > 1 {
                name.truncate(base);
                let _ = write!(name, "_{count}");
            }
            if !taken.contains(&name) {
                break;
            }
        }
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

/// The path that a node's name tells.
pub fn path_of<'a>(name: &'a str, op: &Op) -> &'a str {
    if matches!(op, Op::Input(_) | Op::Variable(_)) {
        // `Cnn.dense.weight`, and what an optimizer keeps for it: `Cnn.dense.weight/adam.m`.
        return name.rfind('/').or_else(|| name.rfind('.')).and_then(|at| name.get(..at)).unwrap_or("");
    }
    let unnumbered = match name.rsplit_once('_') {
        Some((front, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => front,
        _ => name,
    };
    let front = unnumbered.strip_suffix(op_name(op).as_str());
    front.and_then(|path| path.strip_suffix('.')).unwrap_or("")
}

/// The text with every character replaced that no name may have.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if belongs(c) { c } else { '_' }).collect();
    if text.is_empty() { "_".to_string() } else { text }
}
