//! The verifier: each invariant of the graph, checked. It runs after every pass in tests and debug builds.

use super::build::infer;
use super::dim::{Dim, Symbol};
use super::op::Op;
use super::text::names;
use super::{Graph, Module, NodeId, TensorType};
use std::collections::{BTreeMap, BTreeSet};

/// Checks what must hold of a graph by itself; the errors name nodes as the text form does.
pub fn verify(graph: &Graph) -> Result<(), Vec<String>> {
    verify_with(graph, known_symbols(graph))
}

fn verify_with(graph: &Graph, known: BTreeSet<Symbol>) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    let mut names: BTreeSet<(bool, &str)> = BTreeSet::new();
    let mut variables: BTreeMap<&str, &TensorType> = BTreeMap::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        // Names are made only for errors: a sound graph is the rule.
        let mut error =
            |message: String| errors.push(format!("%{} ({}): {message}", name_of(graph, id), node.path));

        // Inputs stand before their users; the type follows from the op's type rule.
        if let Some(late) = node.inputs.iter().find(|input| **input >= id) {
            error(format!("reads %{}, which does not stand before it", name_of(graph, *late)));
        } else {
            let types: Vec<&TensorType> = node.inputs.iter().map(|i| &graph.node(*i).ty).collect();
            if let Err(e) = infer(&node.op, &types, Some(&node.ty)) {
                error(e.message);
            }
        }

        // Every symbol is bound.
        let mut unbound = |dim: &Dim| {
            dim.symbols(&mut |symbol| {
                if !known.contains(symbol) {
                    error(format!("nothing binds the symbol {symbol}"));
                }
            });
        };
        node.ty.shape.iter().for_each(&mut unbound);
        match &node.op {
            Op::DimValue(dim) => unbound(dim),
            Op::Slice { start, .. } => unbound(start),
            Op::Pad { amounts, .. } => amounts.iter().for_each(|(lo, hi)| {
                unbound(lo);
                unbound(hi);
            }),
            Op::Conv(c) | Op::ConvData(c) | Op::ConvWeights(c) => c.padding.iter().for_each(|(lo, hi)| {
                unbound(lo);
                unbound(hi);
            }),
            Op::Scan(scan) => unbound(&scan.trip),
            _ => {}
        }

        // A loop is read by its results, and sound inside.
        let scan_of = |id: &NodeId| match graph.nodes.get(id.index()).map(|n| &n.op) {
            Some(Op::Scan(scan)) => Some(scan.clone()),
            _ => None,
        };
        match &node.op {
            Op::ScanResult { index } => match node.inputs.first().and_then(scan_of) {
                None => error("is no result of a scan".to_string()),
                Some(scan) if scan.result_type(*index).as_ref() != Some(&node.ty) => {
                    error(format!("is not result {index} of its scan"));
                }
                Some(_) => {}
            },
            _ if node.inputs.iter().any(|id| scan_of(id).is_some()) => {
                error("reads the token of a scan".to_string());
            }
            _ => {}
        }
        if let Op::Scan(scan) = &node.op
            && let Err(inner) = verify_with(&scan.body, known.clone())
        {
            inner.into_iter().for_each(|message| error(format!("in the body: {message}")));
        }

        // Each input and variable stands once.
        let name = match &node.op {
            Op::Input(name) => Some((false, name)),
            Op::Variable(name) => {
                variables.insert(name, &node.ty);
                Some((true, name))
            }
            _ => None,
        };
        if let Some((variable, name)) = name
            && !names.insert((variable, name))
        {
            error(format!("`{name}` stands twice"));
        }
    }

    let mut checked = |list: &[(String, NodeId)], what: &str| {
        let mut seen = BTreeSet::new();
        for (name, id) in list {
            if id.index() >= graph.nodes.len() {
                errors.push(format!("{what} `{name}` is node {}, which does not exist", id.0));
            }
            if !seen.insert(name) {
                errors.push(format!("{what} `{name}` stands twice"));
            }
        }
    };
    checked(&graph.outputs, "output");
    checked(&graph.updates, "update");
    for (path, id) in &graph.updates {
        if let (Some(declared), Some(node)) = (variables.get(path.as_str()), graph.nodes.get(id.index()))
            && node.ty != **declared
        {
            errors.push(format!("the update of `{path}` is {}, not {declared}", node.ty));
        }
    }
    for (dim, message, _) in &graph.guards {
        dim.symbols(&mut |symbol| {
            if !known.contains(symbol) {
                errors.push(format!("guard {message:?}: nothing binds the symbol {symbol}"));
            }
        });
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn name_of(graph: &Graph, id: NodeId) -> String {
    names(graph).into_iter().nth(id.index()).unwrap_or_else(|| id.0.to_string())
}

/// Symbols of the inputs' shapes, and those that the caller declares by a bound.
pub fn known_symbols(graph: &Graph) -> BTreeSet<Symbol> {
    let mut known: BTreeSet<Symbol> = graph.bounds.iter().map(|(symbol, _)| symbol.clone()).collect();
    for node in &graph.nodes {
        if let Op::Input(_) = node.op {
            for dim in &node.ty.shape {
                dim.symbols(&mut |symbol| {
                    known.insert(symbol.clone());
                });
            }
        }
    }
    known
}

/// Checks every entry, and that its inputs, variables and updates are declared, with the declared types.
pub fn verify_module(module: &Module) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    let variables: BTreeMap<&str, &TensorType> =
        module.variables.iter().map(|v| (v.path.as_str(), &v.ty)).collect();
    if variables.len() != module.variables.len() {
        errors.push("a variable is declared twice".to_string());
    }
    for entry in &module.entries {
        let graph = &entry.graph;
        let mut error = |message: String| errors.push(format!("{}: {message}", graph.name));
        if let Err(found) = verify(graph) {
            found.into_iter().for_each(&mut error);
        }
        let inputs: BTreeMap<&str, &TensorType> =
            entry.inputs.iter().map(|(name, ty, _)| (name.as_str(), ty)).collect();
        for node in &graph.nodes {
            let (what, name, declared) = match &node.op {
                Op::Input(name) => ("input", name, inputs.get(name.as_str())),
                Op::Variable(name) => ("variable", name, variables.get(name.as_str())),
                _ => continue,
            };
            match declared {
                None => error(format!("the {what} `{name}` is not declared")),
                Some(ty) if **ty != node.ty => error(format!("the {what} `{name}` is {ty}, not {}", node.ty)),
                Some(_) => {}
            }
        }
        for (path, id) in &graph.updates {
            match (variables.get(path.as_str()), graph.nodes.get(id.index())) {
                (None, _) => error(format!("updates `{path}`, which is not declared")),
                (Some(ty), Some(node)) if **ty != node.ty => {
                    error(format!("the update of `{path}` is {}, not {ty}", node.ty));
                }
                _ => {}
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
