//! How Keras names weights in an HDF5 file.
//!
//! Its older layout says so itself: the attribute `layer_names` lists the layers, and `weight_names` of each layer's group what
//! lies in it, such as `conv2d_1/kernel:0`. Attributes hold 64 KiB at most, so long lists go on in `weight_names0`,
//! `weight_names1`, … A whole model keeps all this in the group `model_weights`, beside the optimizer's.
//!
//! Its newer layout, `NAME.weights.h5`, and the file of that name in a `.keras` archive, numbers the variables of each layer:
//! `layers/conv2d_1/vars/0`. There, as in any other HDF5 file, a data set's path is its name.

use std::collections::BTreeMap;

use super::hdf5::{Dataset, Tree};

/// All weights by their names.
pub fn weights(mut root: Tree) -> Result<BTreeMap<String, Dataset>, String> {
    let base = match root.groups.remove("model_weights") {
        Some(base) => base,
        None => root,
    };
    let mut named = BTreeMap::new();
    match list(&base, "layer_names") {
        None => by_path(base, "", &mut named),
        Some(layers) => {
            for layer in layers {
                let group = base.groups.get(&layer);
                let group =
                    group.ok_or_else(|| format!("it lists the layer `{layer}`, but lacks its weights"))?;
                for name in list(group, "weight_names").unwrap_or_default() {
                    let dataset = find(group, &name);
                    let dataset = dataset
                        .ok_or_else(|| format!("it lists `{name}` of layer `{layer}`, but lacks it"))?;
                    // Two layers may name their weights alike, as parts of models that were put together.
                    let name = if named.contains_key(&name) { format!("{layer}/{name}") } else { name };
                    named.insert(name, dataset.clone());
                }
            }
        }
    }
    Ok(named)
}

/// A list of texts, in one attribute or in several that are numbered.
fn list(group: &Tree, name: &str) -> Option<Vec<String>> {
    if let Some(texts) = group.texts.get(name) {
        return Some(texts.clone());
    }
    let parts: Vec<String> =
        (0..).map_while(|part| group.texts.get(&format!("{name}{part}"))).flatten().cloned().collect();
    if parts.is_empty() { None } else { Some(parts) }
}

/// A data set by its path; an empty step or one that leads nowhere finds nothing.
fn find<'a>(group: &'a Tree, path: &str) -> Option<&'a Dataset> {
    match path.split_once('/') {
        None => group.datasets.get(path),
        Some((step, rest)) => find(group.groups.get(step)?, rest),
    }
}

fn by_path(group: Tree, path: &str, named: &mut BTreeMap<String, Dataset>) {
    let datasets = group.datasets.into_iter();
    named.extend(datasets.map(|(name, dataset)| (format!("{path}{name}"), dataset)));
    for (name, inner) in group.groups {
        by_path(inner, &format!("{path}{name}/"), named);
    }
}
