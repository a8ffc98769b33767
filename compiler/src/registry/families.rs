//! The families of names, in the order in which they are listed, and which files of the standard library belong to each.

use serde::Serialize;

/// Names that are looked for together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Family {
    pub name: &'static str,
    pub title: &'static str,
    /// What its members have in common, and where they stand in a spec.
    pub doc: &'static str,
    /// The files of `specs/std/` whose items belong to it.
    #[serde(skip)]
    pub files: &'static [&'static str],
}

const fn family(
    name: &'static str,
    title: &'static str,
    doc: &'static str,
    files: &'static [&'static str],
) -> Family {
    Family { name, title, doc, files }
}

pub const FAMILIES: &[Family] = &[
    // ---- the standard library
    family(
        "layers",
        "Layers",
        "Parts of a model, applied in a pipe: `x |> dense(64)`. A `layer` owns weights, a `fn` owns none.",
        &[
            "dense",
            "embedding",
            "conv",
            "conv_transpose",
            "depthwise",
            "pooling",
            "adaptive_pooling",
            "resize",
            "batch_norm",
            "norms",
            "dropout",
            "combine",
            "attention",
            "positions",
            "transformer",
            "recurrent",
        ],
    ),
    family(
        "activations",
        "Activations",
        "Functions between layers that keep the shape: `x |> dense(64) |> relu`.",
        &["activations", "softmax"],
    ),
    family(
        "losses",
        "Losses",
        "What `minimize` makes small. Each gives one value an element; `minimize` takes their mean.",
        &["cross_entropy", "binary_cross_entropy", "regression_losses", "margin_losses", "ctc"],
    ),
    family(
        "optimizers",
        "Optimizers",
        "How weights move: `minimize LOSS using adam(rate = 1e-3)`.",
        &["sgd", "adam", "rmsprop", "adafactor"],
    ),
    family(
        "schedules",
        "Schedules",
        "A rate that changes during the training: `using adam(rate = cosine(1e-3))`.",
        &["schedules"],
    ),
    family(
        "metrics",
        "Metrics",
        "Figures of an epoch, exact over all its rows: `measure accuracy(logits, label)`.",
        &["accuracy", "binary_metrics", "confusion", "ranking", "regression_metrics"],
    ),
    family(
        "initialisers",
        "Initialisers",
        "First values of weights: `weight w: f32[d, units] = glorot_uniform()`, `dense(64, init = he_normal)`.",
        &["initialisers"],
    ),
    family(
        "weights",
        "Regularisers, constraints and reparametrisations",
        "What is asked of weights: `dense(64, regularise = l2(1e-4), constrain = max_norm(2), reparametrise = weight_norm)`.",
        &["regularisers", "constraints", "reparametrisations"],
    ),
    family(
        "augmentation",
        "Augmentation",
        "What the `augment` of a `data` item does to a row's image, and its `batch` to a batch.",
        &["augmentation", "mixing"],
    ),
    family(
        "functions",
        "Functions",
        "Functions of tensors that own nothing.",
        &["shapes", "reductions", "missing", "geometry"],
    ),
    family(
        "text",
        "Text",
        "From the texts of a row, or of a prediction, to tokens: `tokens = tokenize(text, words)`.",
        &["text"],
    ),
    family(
        "helpers",
        "Compile-time helpers",
        "What the library itself computes with sizes; the compiler evaluates them.",
        &[],
    ),
    // ---- primitives
    family("elementwise", "Primitives: element by element", "Functions of each element on its own.", &[]),
    family(
        "casts",
        "Primitives: casts",
        "Tensors never change their element type on their own: `f32(x)` casts.",
        &[],
    ),
    family("constants", "Primitives: constants and random numbers", "Tensors that come from no other.", &[]),
    family("reduce", "Primitives: reductions", "Many elements become one, or are put in order.", &[]),
    family(
        "linear",
        "Primitives: products and look-ups",
        "Contractions, convolutions, gather and scatter.",
        &[],
    ),
    family("views", "Primitives: shapes", "The same elements under another shape.", &[]),
    family(
        "steps",
        "Primitives: steps of a sequence",
        "What a model says about time, so that one text takes whole sequences and single steps.",
        &[],
    ),
    family("compile", "Primitives: compile time", "Functions of sizes, lists, layers and texts.", &[]),
    // ---- the language
    family("sources", "Data sources", "Where a `data` item reads its rows from.", &[]),
    family("items", "Items", "The declarations of a file. Each starts with its word.", &[]),
    family(
        "statements",
        "Statements and expressions",
        "What stands in the bodies of models, layers and functions.",
        &[],
    ),
    family("train", "Words of a `train` block", "What a training consists of.", &[]),
    family("generate", "Words of a `generate` item", "How text is written, token by token.", &[]),
    family("data", "Words of a `data` item", "What a data set consists of.", &[]),
    family("metric", "Words of a `metric` and an `optimizer`", "What only these items have.", &[]),
    family("dtypes", "Element types", "The `f32` in `f32[n, 10]`.", &[]),
    family(
        "kinds",
        "Kinds",
        "What a parameter that is no tensor takes; known when the spec is compiled.",
        &[],
    ),
    family("operators", "Operators", "From the loosest to the tightest.", &[]),
];

/// The family of a file of the standard library.
pub fn of_file(stem: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|f| f.files.contains(&stem)).map(|f| f.name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_library_file_belongs_to_one_family() {
        for (file, _) in crate::check::library() {
            let stem = file.trim_start_matches("std/").trim_end_matches(".weft");
            let count = super::FAMILIES.iter().filter(|f| f.files.contains(&stem)).count();
            assert_eq!(count, 1, "`{stem}` must stand in one family of registry/families.rs");
        }
        let known =
            |stem: &&str| crate::check::library().iter().any(|(file, _)| *file == format!("std/{stem}.weft"));
        for family in super::FAMILIES {
            assert!(family.files.iter().all(known), "a file of {} is gone", family.name);
        }
    }
}
