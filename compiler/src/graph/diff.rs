//! What differs between two graphs, node by node: the changes that a reader means, not those of lines.
//!
//! Nodes are matched within their path. First those that are alike in operation, type and inputs, in order; what is left on
//! both sides is paired by operation and counts as changed; the rest was added or removed. A node that only got another number,
//! because one of its kind came or went before it, is no change; one that reads something else is.

use super::text::{op_attributes, op_name};
use super::{Graph, Node, NodeId, Op};
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::collections::HashMap;

/// All differences: of nodes by path, in the order of the first that differs, so that causes stand before what follows from
/// them; and of what belongs to the graph as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    pub groups: Vec<Group>,
    /// Outputs, updates, bounds and guards, as (before, after); nothing before means that it is new.
    pub whole: Vec<(Option<String>, Option<String>)>,
}

/// The differences of one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub path: String,
    pub changed: Vec<Changed>,
    /// In the newer graph.
    pub added: Vec<NodeId>,
    /// In the older graph.
    pub removed: Vec<NodeId>,
}

/// A node that is in both graphs, but not the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changed {
    pub old: NodeId,
    pub new: NodeId,
    pub ty: bool,
    pub attributes: bool,
    pub inputs: bool,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.whole.is_empty()
    }
}

/// What turns one graph into another.
pub fn diff(old: &Graph, new: &Graph) -> Difference {
    let (old_paths, new_paths) = (by_path(old), by_path(new));
    let mut matches = Matches { to_new: vec![None; old.nodes.len()], groups: Vec::new() };
    for (path, ids) in &new_paths.order {
        matches.path(old, new, path, old_paths.nodes(path), ids);
    }
    for (path, ids) in old_paths.order.iter().filter(|(path, _)| new_paths.nodes(path).is_empty()) {
        matches.path(old, new, path, ids, &[]);
    }
    let Matches { to_new, groups } = matches;
    let follows = |a: &NodeId, b: &NodeId| {
        to_new.get(a.index()).copied().flatten() == Some(*b) || equal_constants(old.node(*a), new.node(*b))
    };
    let groups = groups.into_iter().map(|(path, pairs, added, removed)| {
        let changed = pairs.into_iter().filter_map(|(before, after)| {
            let (a, b) = (old.node(before), new.node(after));
            let inputs = a.inputs.len() != b.inputs.len()
                || !a.inputs.iter().zip(&b.inputs).all(|(a, b)| follows(a, b));
            let attributes = op_attributes(&a.op) != op_attributes(&b.op);
            let change = Changed { old: before, new: after, ty: a.ty != b.ty, attributes, inputs };
            (change.ty || change.attributes || change.inputs).then_some(change)
        });
        Group { path: path.to_string(), changed: changed.collect(), added, removed }
    });
    let mut groups: Vec<Group> =
        groups.filter(|g| !(g.changed.is_empty() && g.added.is_empty() && g.removed.is_empty())).collect();
    // What is only removed has no place in the newer graph, and comes last.
    let first = |g: &Group| g.changed.iter().map(|c| c.new).chain(g.added.iter().copied()).min();
    groups.sort_by_key(|g| first(g).map_or(u32::MAX, |id| id.0));
    Difference { groups, whole: whole(old, new, &follows) }
}

/// A number is the same wherever it was written down.
fn equal_constants(a: &Node, b: &Node) -> bool {
    matches!((&a.op, &b.op), (Op::Constant(x), Op::Constant(y)) if x.to_bits() == y.to_bits()) && a.ty == b.ty
}

/// The nodes of each path, the paths in order of their first node.
struct Paths<'a> {
    order: Vec<(&'a str, Vec<NodeId>)>,
    place: HashMap<&'a str, usize>,
}

fn by_path(graph: &Graph) -> Paths<'_> {
    let mut paths = Paths { order: Vec::new(), place: HashMap::new() };
    for (id, node) in graph.ids().zip(&graph.nodes) {
        let place = *paths.place.entry(&node.path).or_insert_with(|| {
            paths.order.push((&node.path, Vec::new()));
            paths.order.len() - 1
        });
        if let Some((_, ids)) = paths.order.get_mut(place) {
            ids.push(id);
        }
    }
    paths
}

impl Paths<'_> {
    fn nodes(&self, path: &str) -> &[NodeId] {
        let found = self.place.get(path).and_then(|place| self.order.get(*place));
        found.map_or(&[], |(_, ids)| ids)
    }
}

/// A path with its nodes that stand in both, went, and came.
type Matched<'a> = (&'a str, Vec<(NodeId, NodeId)>, Vec<NodeId>, Vec<NodeId>);

/// The matching as it grows.
struct Matches<'a> {
    /// The partner of each older node.
    to_new: Vec<Option<NodeId>>,
    /// Path, pairs, added, removed.
    groups: Vec<Matched<'a>>,
}

impl<'a> Matches<'a> {
    fn path(&mut self, old: &Graph, new: &Graph, path: &'a str, before: &[NodeId], after: &[NodeId]) {
        let keys = |graph: &Graph, ids: &[NodeId]| -> Vec<String> {
            ids.iter().map(|id| likeness(graph, graph.node(*id))).collect()
        };
        let (mut pairs, mut removed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for op in capture_diff_slices(Algorithm::Myers, &keys(old, before), &keys(new, after)) {
            let some =
                |ids: &[NodeId], range: std::ops::Range<usize>| ids.get(range).unwrap_or_default().to_vec();
            let (left, right) = (some(before, op.old_range()), some(after, op.new_range()));
            match op {
                DiffOp::Equal { .. } => pairs.extend(left.into_iter().zip(right)),
                _ => {
                    removed.extend(left);
                    added.extend(right);
                }
            }
        }
        // What is left is paired by operation: the first with the first.
        removed.retain(|a| {
            let kind = kind(old.node(*a));
            let partner = added.iter().position(|b| self::kind(new.node(*b)) == kind);
            let partner = partner.map(|place| added.remove(place));
            pairs.extend(partner.map(|b| (*a, b)));
            partner.is_none()
        });
        pairs.sort_by_key(|(_, b)| *b);
        for (a, b) in &pairs {
            if let Some(slot) = self.to_new.get_mut(a.index()) {
                *slot = Some(*b);
            }
        }
        self.groups.push((path, pairs, added, removed));
    }
}

/// Nodes of one path with the same likeness are the same one, most probably.
fn likeness(graph: &Graph, node: &Node) -> String {
    let mut text = format!("{}{} : {}", op_name(&node.op), op_attributes(&node.op), node.ty);
    for input in &node.inputs {
        let input = graph.node(*input);
        text += &format!(" {}.{}", input.path, kind(input));
    }
    text
}

/// The operation; and which one, where a name says it.
fn kind(node: &Node) -> String {
    match &node.op {
        Op::Input(name) | Op::Variable(name) => format!("{} {name}", op_name(&node.op)),
        op => op_name(op),
    }
}

/// What belongs to no node.
fn whole(
    old: &Graph,
    new: &Graph,
    follows: &dyn Fn(&NodeId, &NodeId) -> bool,
) -> Vec<(Option<String>, Option<String>)> {
    let mut all = Vec::new();
    let facts = |graph: &Graph| -> Vec<(String, String)> {
        let bounds = graph.bounds.iter().map(|(s, b)| (format!("bound {s}"), format!("bound {s} <= {b}")));
        let guards = graph.guards.iter().map(|(d, m, _)| (format!("guard {d}"), format!("guard {d} {m:?}")));
        [("graph".to_string(), format!("graph {}", graph.name))]
            .into_iter()
            .chain(bounds)
            .chain(guards)
            .collect()
    };
    let (before, after) = (facts(old), facts(new));
    for (key, text) in &before {
        match after.iter().find(|(k, _)| k == key) {
            Some((_, now)) if now == text => {}
            now => all.push((Some(text.clone()), now.map(|(_, t)| t.clone()))),
        }
    }
    all.extend(
        after
            .iter()
            .filter(|(k, _)| !before.iter().any(|(b, _)| b == k))
            .map(|(_, t)| (None, Some(t.clone()))),
    );
    let names = [super::text::names(old), super::text::names(new)];
    let name = |side: usize, id: &NodeId| {
        names.get(side).and_then(|n| n.get(id.index())).map_or("?", String::as_str).to_string()
    };
    for (word, before, after) in
        [("output", &old.outputs, &new.outputs), ("update", &old.updates, &new.updates)]
    {
        let text = |side, label: &str, id| format!("{word} \"{label}\" = %{}", name(side, id));
        for (label, id) in before {
            match after.iter().find(|(l, _)| l == label) {
                Some((_, now)) if follows(id, now) => {}
                now => all.push((Some(text(0, label, id)), now.map(|(l, id)| text(1, l, id)))),
            }
        }
        let new = after.iter().filter(|(label, _)| !before.iter().any(|(l, _)| l == label));
        all.extend(new.map(|(label, id)| (None, Some(text(1, label, id)))));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    const BEFORE: &str = r#"graph predict
        bound n <= 64
        %x = input "x" : f32[n, 4]
        %M.dense.weight = variable "M.dense.weight" : f32[4, 8]
        %M.dense.contract = contract %x, %M.dense.weight {batch=[], sum=[(1, 0)]} : f32[n, 8]
        %M.tanh = tanh %M.dense.contract : f32[n, 8]
        %M.tanh_2 = tanh %M.tanh : f32[n, 8]
        output "y" = %M.tanh_2"#;

    fn changes(after: &str) -> Difference {
        diff(&parse(BEFORE).unwrap(), &parse(after).unwrap())
    }

    #[test]
    fn a_graph_does_not_differ_from_itself() {
        assert!(changes(BEFORE).is_empty());
    }

    #[test]
    fn a_changed_width_is_followed() {
        let found = changes(&BEFORE.replace('8', "16"));
        let seen: Vec<(&str, usize)> = found.groups.iter().map(|g| (&*g.path, g.changed.len())).collect();
        assert_eq!(seen, [("M.dense", 2), ("M", 2)]);
        assert!(found.groups.iter().all(|g| g.changed.iter().all(|c| c.ty && !c.inputs && !c.attributes)));
        assert_eq!(found.whole, []);
    }

    /// The first of two alike nodes goes: the second keeps its place under another number, and reads something else.
    #[test]
    fn a_node_that_only_gets_another_number_has_not_changed() {
        let after = BEFORE
            .replace("%M.tanh = tanh %M.dense.contract : f32[n, 8]\n", "")
            .replace("%M.tanh_2 = tanh %M.tanh ", "%M.tanh = tanh %M.dense.contract ")
            .replace("= %M.tanh_2", "= %M.tanh");
        let found = changes(&after);
        assert_eq!(found.groups.len(), 1);
        assert_eq!((found.groups[0].added.len(), found.groups[0].removed.len()), (0, 1), "{found:?}");
    }

    #[test]
    fn what_reads_something_else_has_changed() {
        let after = BEFORE.replace("tanh_2 = tanh %M.tanh ", "tanh_2 = tanh %M.dense.contract ");
        let found = changes(&after);
        assert_eq!(found.groups.len(), 1, "{found:?}");
        let [only] = &found.groups[0].changed[..] else { panic!("{found:?}") };
        assert!(only.inputs && !only.ty);
    }

    /// Which of two equal constants is read makes no difference.
    #[test]
    fn constants_are_equal_by_value() {
        let graph = |reads: &str| {
            let text = format!(
                "%x = input : f32[]\n%M.constant = constant 0.0 : f32[]\n%M.constant_2 = constant 0.0 : f32[]\n\
                 %M.constant_3 = constant 1.0 : f32[]\n%M.add = add %x, %{reads} : f32[]\noutput \"y\" = %M.add"
            );
            parse(&text).unwrap()
        };
        assert!(diff(&graph("M.constant"), &graph("M.constant_2")).is_empty());
        assert!(!diff(&graph("M.constant"), &graph("M.constant_3")).is_empty());
    }

    #[test]
    fn bounds_and_outputs_count() {
        let after = BEFORE.replace("<= 64", "<= 32").replace("\"y\" = %M.tanh_2", "\"z\" = %M.tanh");
        let found = changes(&after);
        let text = |s: &str| Some(s.to_string());
        assert_eq!(
            found.whole,
            [
                (text("bound n <= 64"), text("bound n <= 32")),
                (text("output \"y\" = %M.tanh_2"), None),
                (None, text("output \"z\" = %M.tanh")),
            ]
        );
        assert_eq!(found.groups, []);
    }
}
