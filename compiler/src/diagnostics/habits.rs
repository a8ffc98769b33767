//! What things are called elsewhere: names of Keras, PyTorch and Python with what Weft has in their place.
//!
//! "Did you mean" finds misspelt names by their letters; a newcomer's `Linear`, `kernel_size` or `lr` is no misspelling, so it is found here.

/// Names that Weft has under another: (as elsewhere, in lower case and without underscores; here). The first name here that could stand
/// at the place is taken, so one word may mean one thing as an argument and another as a layer.
const NAMES: &[(&str, &str)] = &[
    // ---- layers and functions
    ("linear", "dense"),
    ("fullyconnected", "dense"),
    ("conv2dtransposed", "conv2d_transpose"),
    ("convtranspose1d", "conv1d_transpose"),
    ("convtranspose2d", "conv2d_transpose"),
    ("deconv2d", "conv2d_transpose"),
    ("maxpooling1d", "max_pool1d"),
    ("maxpooling2d", "max_pool2d"),
    ("averagepooling1d", "avg_pool1d"),
    ("averagepooling2d", "avg_pool2d"),
    ("averagepool2d", "avg_pool2d"),
    ("globalaveragepooling1d", "global_avg_pool1d"),
    ("globalaveragepooling2d", "global_avg_pool2d"),
    ("globalmaxpooling1d", "global_max_pool1d"),
    ("globalmaxpooling2d", "global_max_pool2d"),
    ("upsampling2d", "upsample2d"),
    ("upsampling1d", "upsample1d"),
    ("upsample", "upsample2d"),
    ("zeropadding1d", "zero_pad1d"),
    ("zeropadding2d", "zero_pad2d"),
    ("cropping1d", "crop1d"),
    ("cropping2d", "crop2d"),
    ("adaptiveaveragepool2d", "adaptive_avg_pool2d"),
    ("spectralnormalization", "spectral_norm"),
    ("l1l2", "elastic"),
    ("orthogonalregularizer", "near_orthogonal"),
    ("nonneg", "non_negative"),
    ("batchnormalization", "batch_norm"),
    ("batchnorm1d", "batch_norm"),
    ("batchnorm2d", "batch_norm"),
    ("layernormalization", "layer_norm"),
    ("groupnormalization", "group_norm"),
    ("instancenorm2d", "instance_norm"),
    ("dropout1d", "spatial_dropout"),
    ("dropout2d", "spatial_dropout"),
    ("spatialdropout1d", "spatial_dropout"),
    ("spatialdropout2d", "spatial_dropout"),
    ("featuredropout", "spatial_dropout"),
    ("stochasticdepth", "drop_path"),
    ("multiheadattention", "attention"),
    ("swish", "silu"),
    ("hardswish", "hard_silu"),
    ("clip", "clamp"),
    ("cat", "concat"),
    ("concatenate", "concat"),
    ("unsqueeze", "expand"),
    ("expanddims", "expand"),
    ("view", "reshape"),
    ("permute", "transpose"),
    ("reducemean", "mean"),
    ("reducesum", "sum"),
    ("pow", "**"),
    ("detach", "hold"),
    ("stopgradient", "hold"),
    ("random", "uniform"),
    ("randn", "normal"),
    ("randomnormal", "normal"),
    ("rand", "uniform"),
    ("cast", "f32"),
    // ---- losses and metrics
    ("sparsecategoricalcrossentropy", "cross_entropy"),
    ("crossentropyloss", "cross_entropy"),
    ("categoricalcrossentropy", "soft_cross_entropy"),
    ("nllloss", "negative_log_likelihood"),
    ("bce", "binary_cross_entropy"),
    ("bceloss", "binary_cross_entropy"),
    ("binarycrossentropywithlogits", "binary_cross_entropy_logits"),
    ("bcewithlogitsloss", "binary_cross_entropy_logits"),
    ("mseloss", "mse"),
    ("meansquarederror", "mse"),
    ("l1loss", "mae"),
    ("meanabsoluteerror", "mae"),
    ("huberloss", "huber"),
    ("smoothl1loss", "huber"),
    ("kldivloss", "kl_divergence"),
    ("tripletmarginloss", "triplet"),
    ("sparsecategoricalaccuracy", "accuracy"),
    ("categoricalaccuracy", "accuracy"),
    ("acc", "accuracy"),
    ("topkcategoricalaccuracy", "top_k_accuracy"),
    ("mse", "mean_squared_error"),
    ("mae", "mean_absolute_error"),
    ("rmse", "root_mean_squared_error"),
    ("jaccard", "iou"),
    // ---- arguments
    ("kernelsize", "kernel"),
    ("poolsize", "window"),
    ("poolsize", "size"),
    ("strides", "stride"),
    ("dilationrate", "dilation"),
    ("outchannels", "filters"),
    ("outchannels", "units"),
    ("outfeatures", "units"),
    ("hiddensize", "units"),
    ("usebias", "bias"),
    ("kernelinitializer", "init"),
    ("initializer", "init"),
    ("kernelregularizer", "regularise"),
    ("embeddingsregularizer", "regularise"),
    ("regularizer", "regularise"),
    ("kernelconstraint", "constrain"),
    ("embeddingsconstraint", "constrain"),
    ("constraint", "constrain"),
    ("parametrize", "reparametrise"),
    ("paddingidx", "padding_index"),
    ("maskzero", "padding_index"),
    ("epsilon", "eps"),
    ("negativeslope", "slope"),
    ("alpha", "slope"),
    ("dim", "axis"),
    ("dims", "axis"),
    ("axes", "axis"),
    ("keepdim", "keep"),
    ("keepdims", "keep"),
    ("p", "rate"),
    ("lr", "rate"),
    ("learningrate", "rate"),
    ("weightdecay", "decay"),
    ("inputdim", "vocab"),
    ("numembeddings", "vocab"),
    ("vocabsize", "vocab"),
    ("outputdim", "dim"),
    ("embeddingdim", "dim"),
    ("numheads", "heads"),
    ("returnsequences", "sequences"),
    ("labelsmoothing", "smoothing"),
    ("mode", "padding"),
    // ---- keys, splits, figures
    ("batchsize", "batch"),
    ("numepochs", "epochs"),
    ("randomstate", "seed"),
    ("val", "validation"),
    ("valloss", "validation.loss"),
    // ---- types
    ("float32", "f32"),
    ("float64", "f64"),
    ("float16", "f16"),
    ("bfloat16", "bf16"),
    ("double", "f64"),
    ("half", "f16"),
    ("int8", "i8"),
    ("uint8", "u8"),
    ("byte", "u8"),
    ("int32", "i32"),
    ("int64", "i64"),
    ("long", "i64"),
    ("double", "float"),
    ("number", "float"),
    ("string", "text"),
    ("str", "text"),
    ("boolean", "bool"),
    ("integer", "int"),
    ("callable", "fn"),
    ("dict", "map"),
    ("tensor", "f32"),
    ("array", "f32"),
];

/// Words with no counterpart, and how the same is said here.
const ADVICE: &[(&[&str], &str)] = &[
    (&["return"], "the last expression of a body is its value, without a word before it"),
    (&["True"], "write `true`"),
    (&["False"], "write `false`"),
    (&["None", "null", "nil", "undefined"], "write `none`; an unknown size is a named dim: `f32[n, 10]`"),
    (
        &["self", "this"],
        "there is no `self`: parameters, weights and layers bound with `let` are names of the body",
    ),
    (
        &[
            "nn",
            "F",
            "tf",
            "keras",
            "torch",
            "layers",
            "jnp",
            "np",
            "jax",
            "flax",
            "optim",
            "losses",
            "optimizers",
        ],
        "there are no modules: the standard library's names stand alone, `dense(10)`, `relu`, `adam`",
    ),
    (&["Sequential"], "a pipe puts layers one after another: `x |> dense(64) |> relu |> dense(10)`"),
    (
        &["Input", "InputLayer"],
        "a model's inputs stand in its head: `model Net(image: f32[n, 28, 28, 1]) { … }`",
    ),
    (&["Model", "Module"], "a model is an item: `model Net(x: f32[n, 8]) -> f32[n, 4] { … }`"),
    (&["Activation"], "an activation is a function in the pipe: `|> relu`"),
    (&["Parameter", "Variable", "add_weight"], "write `weight w: f32[d] = zeros()` in a `layer`"),
    (&["lambda", "Lambda"], "write `fn(x) { 2 * x }`"),
    (
        &["print", "println"],
        "nothing is printed while a spec is compiled; `weft summary` and `weft emit` show shapes",
    ),
    (
        &["env", "environ", "os", "sys", "args", "argv", "argparse", "flags"],
        "the command line tells a run its settings, `--set NAME=VALUE`, and its folders, `--data NAME=FOLDER`",
    ),
    (&["matmul", "bmm", "mm"], "write `a @ b`"),
    (
        &["bleu", "chrf", "sacrebleu"],
        "BLEU and chrF are of texts that were written: `weft generate SPEC ITEM --on DATA.test --against FIELD`",
    ),
    (&["elif", "elseif"], "write `else if`"),
    (&["while", "loop"], "a loop runs over a list: `for i in range(4) { … }`"),
];

/// Arguments with no counterpart, and how the same is said here.
const ARGUMENTS: &[(&[&str], &str)] = &[
    (&["activation", "nonlinearity"], "an activation is a function in the pipe: `|> dense(64) |> relu`"),
    (
        &["input_shape", "input_dim", "in_features", "in_channels", "input_size", "batch_input_shape"],
        "the size of the input is that of the tensor: it is not given",
    ),
    (&["name"], "a name stands in the pipe: `x |> stem: dense(64)`"),
    (&["betas"], "there are two: `beta1 = 0.9, beta2 = 0.999`"),
    (&["params", "parameters"], "`minimize LOSS over MODEL using …` tells whose weights move"),
    (
        &["from_logits"],
        "each form of the loss has a name: `binary_cross_entropy_logits` takes logits, `negative_log_likelihood` probabilities",
    ),
    (&["trainable"], "`freeze MODEL.LAYER` in a `train` block holds weights"),
    (&["training"], "whether it trains is known everywhere, by the name `training`"),
    (
        &["validation", "test", "validation_split", "val_split", "validation_data", "test_size"],
        "a `data` item cuts its rows, without parentheses: `split validation = 0.1`",
    ),
];

/// Methods and attributes of models and layers, and how the same is said here.
const MEMBERS: &[(&[&str], &str)] = &[
    (
        &["parameters", "named_parameters", "trainable_variables", "trainable_weights", "variables"],
        "`minimize LOSS over MODEL using …` tells whose weights move",
    ),
    (&["forward", "call", "__call__", "apply"], "a model is applied by its name: `Net(x)`, or `x |> Net`"),
    (&["train", "eval", "training"], "whether it trains is known everywhere, by the name `training`"),
    (&["to", "cuda", "cpu", "half", "float"], "nothing is moved: a spec says what is computed, not where"),
    (
        &["weight", "bias", "kernel", "weights", "state_dict"],
        "weights are read in the body that declares them",
    ),
];

/// Keys of other trainers, with the clause that says it here.
const CLAUSES: &[(&[&str], &str)] = &[
    (&["loss", "criterion", "objective"], "minimize LOSS using adam(rate = 1e-3)"),
    (&["optimizer", "optim"], "minimize LOSS using adam(rate = 1e-3)"),
    (&["learning_rate", "lr", "rate"], "minimize LOSS using adam(rate = 1e-3)"),
    (&["weight_decay", "decay"], "minimize LOSS using adamw(rate = 1e-3, decay = 0.01)"),
    (&["momentum"], "minimize LOSS using sgd(rate = 0.01, momentum = 0.9)"),
    (&["scheduler", "schedule", "lr_scheduler"], "minimize LOSS using adam(rate = cosine(1e-3))"),
    (&["metric", "metrics"], "measure accuracy(logits, label)"),
    (&["data", "dataset", "train_data", "x"], "on DATA as { image, label }"),
    (&["patience", "early_stopping", "callbacks"], "stop after 3 epochs without better validation.loss"),
    (&["checkpoint", "save_best_only", "monitor"], "keep best by validation.loss"),
    (&["trainable"], "freeze MODEL.LAYER"),
    (
        &["clip_norm", "clip_grad_norm", "gradient_clip", "grad_clip", "global_clipnorm", "max_grad_norm"],
        "clip gradients by global norm 1.0",
    ),
    (&["clipnorm"], "clip gradients by norm 1.0"),
    (&["clip_value", "clipvalue", "clip_grad_value"], "clip gradients by value 1.0"),
    (&["ema", "use_ema", "ema_momentum", "ema_decay"], "average weights by 0.999"),
    (
        &["reduce_lr_on_plateau", "plateau"],
        "reduce rate by 0.5 after 3 epochs without better validation.loss",
    ),
    (
        &[
            "validation_freq",
            "eval_steps",
            "eval_every",
            "evaluation_strategy",
            "val_check_interval",
            "check_val_every_n_epoch",
            "validate",
            "validate_every",
        ],
        "validate every 500 batches",
    ),
    (&["save_steps", "save_freq", "save_every", "checkpoint_every"], "checkpoint every 10 minutes"),
    (&["gradient_accumulation_steps", "accumulation_steps", "accumulate_grad_batches"], "accumulate = 4"),
];

/// What is left of a name without its case and underscores: `Conv2D`, `BatchNorm`, `GlobalMaxPool2d`.
fn bare(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// The candidate that a name from elsewhere stands for.
pub fn counterpart<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = bare(name);
    let same = candidates.iter().find(|c| bare(c) == name);
    let known = || {
        let here = NAMES.iter().filter(|(elsewhere, _)| *elsewhere == name).map(|(_, here)| *here);
        here.into_iter().find_map(|here| candidates.iter().find(|c| **c == here))
    };
    same.or_else(known).copied()
}

/// How the thing that a word means elsewhere is said here.
pub fn advice(word: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| words.contains(&word)).map(|(_, advice)| *advice)
}

/// How the thing that an argument means elsewhere is said here.
pub fn argument(name: &str) -> Option<&'static str> {
    ARGUMENTS.iter().find(|(names, _)| names.contains(&name)).map(|(_, advice)| *advice)
}

/// How a method or an attribute of a tensor is said here.
pub fn method(name: &str) -> String {
    match name {
        "T" | "t" | "mT" => "write `transpose(x)`".to_owned(),
        "shape" | "size" => {
            "the dims have names in the input's type; `shape(x)` is the list of them".to_owned()
        }
        _ => {
            let here = NAMES.iter().find(|(elsewhere, _)| *elsewhere == bare(name)).map_or(name, |row| row.1);
            format!("tensors have no methods: write `{here}(x, …)`, or `x |> {here}(…)`")
        }
    }
}

/// How a method or an attribute of a model or a layer is said here.
pub fn member(name: &str) -> Option<&'static str> {
    MEMBERS.iter().find(|(names, _)| names.contains(&name)).map(|(_, advice)| *advice)
}

/// The clause of a `train` block that says what a key says elsewhere.
pub fn clause(key: &str) -> Option<&'static str> {
    CLAUSES.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, clause)| *clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_from_elsewhere_means_what_could_stand_there() {
        assert_eq!(counterpart("Conv2D", &["conv1d", "conv2d"]), Some("conv2d"));
        assert_eq!(counterpart("out_channels", &["units", "bias"]), Some("units"));
        assert_eq!(counterpart("out_channels", &["filters", "bias"]), Some("filters"));
        assert_eq!(counterpart("lr", &["beta1", "rate"]), Some("rate"));
        assert_eq!(counterpart("lr", &["units"]), None);
    }

    #[test]
    fn the_tables_are_searched_as_they_are_written() {
        for (elsewhere, here) in NAMES {
            assert_eq!(bare(elsewhere), *elsewhere, "this row can never be found");
            assert_ne!(bare(here), *elsewhere, "this row says nothing");
        }
    }
}
