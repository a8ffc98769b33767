//! What is known about a model, for people.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Card {
    /// The version of Weft that built it.
    pub weft: String,
    /// The processors that it runs on: `x86-64-v3`.
    pub target: String,
    /// Numbers that were learned.
    pub parameters: u64,
    /// In what numbers GPUs multiply: `f32`, `tf32`, `bf16`, `f16`.
    pub math: String,
    /// How large weights are kept: `f32`, `bf16`, `int8`, and what that has cost, where it was measured.
    pub dtype: String,
    pub cost: Option<String>,
    /// SHA-256 of the spec's text, and of the file of weights where they came from one.
    pub spec_sha256: String,
    pub weights_sha256: Option<String>,
    /// What the file of weights says of the training: the spec's name, the seed, figures.
    pub training: Vec<(String, String)>,
    /// What the weights were trained on, where the run that they are from tells it.
    pub data: Option<CardData>,
}

/// Where data came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CardData {
    pub name: String,
    /// The first files, with their SHA-256, which is empty of large ones, and how many more there are.
    pub files: Vec<(String, String)>,
    pub more: u64,
    /// Rows to train on, to validate and to test.
    pub rows: [u64; 3],
    /// What stands beside the data about its licence.
    pub licence: String,
}
