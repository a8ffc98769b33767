//! A change as people read it: nodes by path with the line of the spec that they come from, or lines where there are no nodes.

use super::Shot;
use serde_json::{Value, json};
use similar::TextDiff;
use std::collections::BTreeMap;
use std::path::Path;
use weft_compiler::diagnostics::Sources;
use weft_compiler::graph::diff::{Changed, Difference, Group, diff};
use weft_compiler::graph::text::{names, op_attributes, op_name, parse};
use weft_compiler::graph::{Graph, NodeId, Op};

/// Two graphs and what differs between them.
pub struct Compared<'a> {
    old: Graph,
    new: &'a Graph,
    old_names: Vec<String>,
    new_names: Vec<String>,
    difference: Difference,
    sources: &'a Sources,
}

/// Compares a snapshot of a graph with the graph that there is now. `None` where only lines can be compared: at other stages, and
/// when the kept text is no graph, or differs from the new one in nothing that belongs to a node.
pub fn compare<'a>(shot: &'a Shot, sources: &'a Sources) -> Option<Compared<'a>> {
    let new = shot.graph.as_ref()?;
    let old = parse(shot.kept.as_deref()?).ok()?;
    let difference = diff(&old, new);
    let (old_names, new_names) = (names(&old), names(new));
    (!difference.is_empty()).then_some(Compared { old, new, old_names, new_names, difference, sources })
}

/// A new or changed snapshot, for people.
pub fn described(spec: &Path, shot: &Shot, compared: Option<&Compared<'_>>) -> String {
    let (spec, name) = (spec.display(), &shot.name);
    match (&shot.kept, compared) {
        (None, _) => format!("{spec}: {name} is new, {} lines\n", shot.text.lines().count()),
        (Some(_), Some(compared)) => {
            format!("{spec}: {name} has changed: {}\n{}\n", compared.summary(), compared.text())
        }
        (Some(kept), None) => format!("{spec}: {name} has changed\n{}\n", lines(kept, &shot.text)),
    }
}

/// The difference in lines, as patches are written.
pub fn lines(old: &str, new: &str) -> String {
    let ended = |text: &str| if text.is_empty() { String::new() } else { text.trim_end().to_owned() + "\n" };
    let (old, new) = (ended(old), ended(new));
    let text = TextDiff::from_lines(&old, &new).unified_diff().context_radius(2).to_string();
    text.lines().map(|line| painted(line) + "\n").collect()
}

/// A line in the colour of the mark that it begins with, where colours are shown.
fn painted(line: &str) -> String {
    let color = match line.chars().next() {
        Some('+') => "32",
        Some('-') => "31",
        Some('~') => "33",
        Some('@') => "36",
        _ => return line.to_owned(),
    };
    if crate::paint::allowed() { format!("\x1b[{color}m{line}\x1b[0m") } else { line.to_owned() }
}

impl Compared<'_> {
    /// `2 nodes added, 1 removed, 14 changed`
    pub fn summary(&self) -> String {
        let count = |of: &dyn Fn(&Group) -> usize| self.difference.groups.iter().map(of).sum::<usize>();
        let counts = [
            (count(&|g| g.added.len()), "added"),
            (count(&|g| g.removed.len()), "removed"),
            (count(&|g| g.changed.len()), "changed"),
        ];
        let mut parts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if let Some(first) = parts.first_mut() {
            let (number, what) = first.split_once(' ').unwrap_or((first, ""));
            *first = format!("{number} node{} {what}", if number == "1" { "" } else { "s" });
        }
        if parts.is_empty() { "no node changed".to_owned() } else { parts.join(", ") }
    }

    /// The whole difference: a headline for each path with its place in the spec, then its nodes.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for group in &self.difference.groups {
            let path = if group.path.is_empty() { "(no path)" } else { &group.path };
            let mut places = self.places(group).into_iter();
            let headline = match places.next() {
                Some(place) => format!("  {path:<28}  {place}"),
                None => format!("  {path}"),
            };
            out += &format!("{}\n", headline.trim_end());
            for place in places {
                out += &format!("  {:<28}  {place}\n", "");
            }
            for line in self.nodes(group) {
                out += &format!("    {}\n", painted(&line));
            }
        }
        for (before, after) in &self.difference.whole {
            let line = match (before, after) {
                (Some(before), Some(after)) => format!("~ {before} → {after}"),
                (Some(before), None) => format!("- {before}"),
                (None, after) => format!("+ {}", after.as_deref().unwrap_or_default()),
            };
            out += &format!("  {}\n", painted(&line));
        }
        out
    }

    /// For scripts: an object for each path.
    pub fn json(&self) -> Value {
        let name = |side: &[String], id: NodeId| side.get(id.index()).cloned().unwrap_or_default();
        let groups = self.difference.groups.iter().map(|group| {
            json!({
                "path": group.path,
                "lines": self.lines_of(group).into_iter().map(|((file, line), text)| {
                    json!({ "file": file, "line": line, "text": text })
                }).collect::<Value>(),
                "added": group.added.iter().map(|id| self.new_node(*id)).collect::<Value>(),
                "removed": group.removed.iter().map(|id| self.old_node(*id)).collect::<Value>(),
                "changed": group.changed.iter().map(|c| json!({
                    "node": name(&self.new_names, c.new),
                    "before": self.old_node(c.old),
                    "after": self.new_node(c.new),
                })).collect::<Value>(),
            })
        });
        let whole = self.difference.whole.iter().map(|(b, a)| json!({ "before": b, "after": a }));
        json!({ "paths": groups.collect::<Value>(), "whole": whole.collect::<Value>() })
    }

    /// The lines of the spec that a group's nodes come from. What was removed stands on no line any more: then the lines of what had
    /// read it, and reads something else now.
    fn lines_of(&self, group: &Group) -> BTreeMap<(String, usize), String> {
        let mut all: Vec<NodeId> =
            group.added.iter().copied().chain(group.changed.iter().map(|c| c.new)).collect();
        if all.is_empty() {
            let changed = self.difference.groups.iter().flat_map(|g| &g.changed);
            let reads =
                |c: &&Changed| self.old.node(c.old).inputs.iter().any(|id| group.removed.contains(id));
            all.extend(changed.filter(reads).map(|c| c.new));
        }
        let mut lines = BTreeMap::new();
        for id in all {
            let span = self.new.node(id).span;
            // What has no text of its own stands at the very start.
            let Some(source) = self.sources.get(span.file).filter(|_| span.end > span.start) else {
                continue;
            };
            let (line, _) = self.sources.position(span);
            let text = source.text.lines().nth(line - 1).unwrap_or_default().trim();
            lines.insert((source.name.clone(), line), text.to_owned());
        }
        lines
    }

    fn places(&self, group: &Group) -> Vec<String> {
        let lines = self.lines_of(group);
        let more = lines.len().saturating_sub(3);
        let mut places: Vec<String> = lines
            .into_iter()
            .take(3)
            .map(|((file, line), text)| {
                let short = if text.chars().count() > 70 {
                    text.chars().take(69).chain(['…']).collect()
                } else {
                    text
                };
                format!("{file}:{line} | {short}")
            })
            .collect();
        if more > 0 {
            places.push(format!("and {more} more lines"));
        }
        places
    }

    fn nodes(&self, group: &Group) -> Vec<String> {
        let mut lines = Vec::new();
        // Nodes that only follow a changed shape share a line.
        let mut shapes: Vec<((String, String), Vec<String>)> = Vec::new();
        for change in &group.changed {
            let (old, new) = (self.old.node(change.old), self.new.node(change.new));
            let name = self.short(group, change.new);
            if change.ty {
                let key = (old.ty.to_string(), new.ty.to_string());
                match shapes.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, names)) => names.push(name.clone()),
                    None => shapes.push((key, vec![name.clone()])),
                }
            }
            if change.attributes {
                let (a, b) = differing(&op_attributes(&old.op), &op_attributes(&new.op));
                lines.push(format!("~ {name}  {a} → {b}"));
            }
            if change.inputs {
                lines.push(format!("~ {name}  reads {}", self.inputs(change)));
            }
        }
        let shapes = shapes.into_iter().map(|((a, b), names)| format!("~ {}  {a} → {b}", listed(&names)));
        let removed = group.removed.iter().map(|id| format!("- {}", self.old_node(*id)));
        let added = group.added.iter().map(|id| format!("+ {}", self.new_node(*id)));
        shapes.chain(lines).chain(removed).chain(added).collect()
    }

    /// A node's name within its path.
    fn short(&self, group: &Group, id: NodeId) -> String {
        let name = self.new_names.get(id.index()).map_or("?", String::as_str);
        let inner = name.strip_prefix(&group.path).and_then(|rest| rest.strip_prefix(['.', '/']));
        inner.unwrap_or(name).to_owned()
    }

    /// `%a, %b → %a, %c`
    fn inputs(&self, change: &Changed) -> String {
        let list = |graph: &Graph, names: &[String], id: NodeId| -> String {
            let name = |id: &NodeId| format!("%{}", names.get(id.index()).map_or("?", String::as_str));
            graph.node(id).inputs.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let before = list(&self.old, &self.old_names, change.old);
        let after = list(self.new, &self.new_names, change.new);
        // A new node may have the name that another one had.
        if before == after {
            format!("{after}, which is another now")
        } else {
            format!("{before} → {after}")
        }
    }

    fn old_node(&self, id: NodeId) -> String {
        node(&self.old, &self.old_names, id)
    }

    fn new_node(&self, id: NodeId) -> String {
        node(self.new, &self.new_names, id)
    }
}

/// `conv, add`; the first of very many.
fn listed(names: &[String]) -> String {
    match names {
        [a, b, c, rest @ ..] if rest.len() > 3 => format!("{a}, {b}, {c} and {} more", rest.len()),
        all => all.join(", "),
    }
}

/// A node as one reads it: `%Cnn.tanh = tanh %Cnn.dense.add : f32[n, 8]`.
fn node(graph: &Graph, names: &[String], id: NodeId) -> String {
    let name = |id: &NodeId| names.get(id.index()).map_or("?", String::as_str);
    let node = graph.node(id);
    let inputs: Vec<String> = node.inputs.iter().map(|i| format!(" %{}", name(i))).collect();
    let attributes = match &node.op {
        Op::Input(called) | Op::Variable(called) if called == name(&id) => String::new(),
        op => op_attributes(op),
    };
    format!("%{} = {}{}{attributes} : {}", name(&id), op_name(&node.op), inputs.join(","), node.ty)
}

/// Two lists of attributes, `{a=1, b=[1, 2]}`, without what they share.
fn differing(a: &str, b: &str) -> (String, String) {
    let (left, right) = (fields(a), fields(b));
    if left.len() != right.len() {
        return (a.trim().to_owned(), b.trim().to_owned());
    }
    let pairs = left.into_iter().zip(right).filter(|(a, b)| a != b);
    let (left, right): (Vec<&str>, Vec<&str>) = pairs.unzip();
    (left.join(", "), right.join(", "))
}

/// The parts between commas that stand in no inner brackets.
fn fields(text: &str) -> Vec<&str> {
    let text = text.trim();
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let mut depth = 0;
    text.split(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}
