//! The standard library's text, compiled in. Only files that a spec reaches are parsed.

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// (file name, text)
        pub const FILES: &[(&str, &str)] = &[
            $((concat!("std/", $name, ".weft"), include_str!(concat!("../../../specs/std/", $name, ".weft")))),*
        ];
    };
}

library!(
    "accuracy",
    "activations",
    "adafactor",
    "adam",
    "adaptive_pooling",
    "attention",
    "augmentation",
    "batch_norm",
    "binary_cross_entropy",
    "binary_metrics",
    "combine",
    "confusion",
    "constraints",
    "conv",
    "conv_transpose",
    "cross_entropy",
    "ctc",
    "dense",
    "depthwise",
    "dropout",
    "embedding",
    "geometry",
    "initialisers",
    "margin_losses",
    "missing",
    "mixing",
    "norms",
    "pooling",
    "positions",
    "ranking",
    "recurrent",
    "reductions",
    "regression_losses",
    "regression_metrics",
    "regularisers",
    "reparametrisations",
    "resize",
    "rmsprop",
    "schedules",
    "sgd",
    "shapes",
    "softmax",
    "text",
    "transformer",
);

/// The files of the library: (name, text).
pub fn library() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// The names that a library file declares at its top level read off the item keywords at the start
/// of a line: the library is formatted, so that no parsing is needed to find a name.
pub fn declared(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter_map(|line| {
        let (keyword, rest) = line.split_once(' ')?;
        if !["fn", "layer", "model", "optimizer", "metric", "setting"].contains(&keyword) {
            return None;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end)
    })
}
