//! Golden files: what PyTorch and scikit-learn say. `golden/README.md` states the format.

use crate::device::Tensors;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One entry of a `cases.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub kind: Kind,
    pub files: Vec<String>,
    /// The largest absolute difference allowed, by tensor.
    #[serde(default)]
    pub tolerance: BTreeMap<String, f64>,
    /// What the language must be able to do first, when that comes later.
    pub needs: Option<String>,
    pub text: Option<String>,
    pub spec: Option<String>,
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub training: bool,
    #[serde(default)]
    pub steps: usize,
    #[serde(default)]
    pub batches: usize,
    #[serde(default)]
    pub epoch_steps: usize,
    #[serde(default)]
    pub total_steps: usize,
    /// Figures by name; or what is known of a first value.
    #[serde(default)]
    pub expected: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Model,
    Train,
    Evaluate,
    Initialise,
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All cases: those of each folder's `cases.json`, folder by folder.
pub fn cases() -> Vec<Case> {
    let entries = std::fs::read_dir(folder()).expect("tests/golden is there");
    let mut manifests: Vec<_> = entries.flatten().map(|e| e.path().join("cases.json")).collect();
    manifests.retain(|path| path.is_file());
    manifests.sort();
    let read = |path: std::path::PathBuf| -> Vec<Case> {
        let text = std::fs::read_to_string(&path).expect("a manifest is readable");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    manifests.into_iter().flat_map(read).collect()
}

impl Case {
    /// All tensors of the case's files as one table.
    pub fn tensors(&self) -> Tensors {
        let mut all = Tensors::new();
        for file in &self.files {
            let weights =
                weft_runtime::io::weights::read(&folder().join(file)).unwrap_or_else(|e| panic!("{e}"));
            all.extend(weights.tensors);
        }
        all
    }

    /// A number that is expected.
    pub fn expected(&self, name: &str) -> Option<f64> {
        self.expected.get(name).and_then(serde_json::Value::as_f64)
    }

    /// The largest difference allowed for a tensor.
    pub fn tolerance(&self, tensor: &str) -> f64 {
        *self.tolerance.get(tensor).unwrap_or_else(|| panic!("{}: no tolerance for `{tensor}`", self.name))
    }
}
