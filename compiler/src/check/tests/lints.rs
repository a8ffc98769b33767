//! Each lint fires where it should, and is silent where what it looks for is meant.

use super::{rendered, run};
use crate::diagnostics::CODES;

/// Digits, and a training of `M` on them with the clauses that follow.
const TRAINED: &str = "data digits = mnist() { image = f32(image) / 255 }
train { on digits as { image, label }
";
/// The same of a model `M` of flat images.
const FLAT: &str = "data digits = mnist() { image = flat(image) }
fn flat(x: u8[...]) { reshape(f32(x) / 255, [784]) }
train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using sgd()\n }\n";

/// Warnings that come from elaborating, or need several files.
pub const ELSEWHERE: &[&str] = &["W0105", "W0401", "W0501", "W0901"];

struct Case {
    code: &'static str,
    /// Specs that get this warning, and no other.
    fires: &'static [&'static str],
    /// Specs without any warning.
    silent: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        code: "W0101",
        fires: &[
            "model M(x: f32[n, 8]) { let y = x |> relu\n x |> dense(2) }",
            "model M(x: f32[n, 8]) { let a, b = split(x, 2)\n a }",
            "layer l(x: f32[n, 8]) { weight w: f32[8] = zeros()\n x }\nmodel M(x: f32[n, 8]) { x |> l }",
            "TRAIN let p = M(image)\n minimize cross_entropy(M(image), label) using sgd() }\nmodel M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }",
        ],
        silent: &[
            "TRAIN minimize mean(M(image), axis = -1) using sgd() }\nmodel M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }",
            "model M(x: f32[n, 8]) { let _y = x |> relu\n x |> dense(2) }",
            "model M(x: f32[n, 8]) { let a, _ = split(x, 2)\n a }",
            "model M(x: f32[n, 8]) { let heads = 3\n assert n == n + 0 : \"the heads ({heads})\"\n x }",
            "model M(x: f32[n, 8]) { for i in range(2) { x = x |> relu |> dense(8) }\n x }",
            "model M(x: f32[n, 8]) { let y = x\n if true == training { y = y |> relu }\n y }",
        ],
    },
    Case {
        code: "W0102",
        fires: &[
            "layer l(k: int, drop: float = 0.5)(x: f32[n, d]) { x |> dense(k) }\nmodel M(x: f32[n, 8]) { x |> l(2) }",
            "fn f(x: f32[n, d], y: f32[n, d]) -> f32[n, d] { x + x }\nmodel M(x: f32[n, 8]) { f(x, x) }",
        ],
        silent: &[
            "fn f(x: f32[n, d]) { zeros(n, d) }\nmodel M(x: f32[n, 8]) { x + f(x) }",
            "fn f(x: f32[n, d], _y: f32[n, d]) { x }\nmodel M(x: f32[n, 8]) { f(x, x) }",
            "fn slow(rate)(step, epoch, total) { rate }\nmodel M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\nTRAIN minimize cross_entropy(M(image), label) using sgd(rate = slow(0.1)) }",
            "layer l(f: fn)(x: f32[n, d]) { f(x) }\nmodel M(x: f32[n, 8]) { x |> l(fn(y) { y }) }",
        ],
    },
    Case {
        code: "W0103",
        fires: &[
            "setting wide = 4\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
            "layer l(x: f32[n, d]) { setting wide = 4\n x }\nmodel M(x: f32[n, 8]) { x |> l }",
        ],
        silent: &[
            "setting wide = 4\nsetting wider = 2 * wide\nmodel M(x: f32[n, 784]) { x |> relu |> dense(wider) |> relu |> dense(10) }\nFLAT",
            "setting wide = 4",
            "setting wide = 784\nmodel M(x: f32[n, wide]) { x |> dense(10) }\nFLAT",
        ],
    },
    Case {
        code: "W0104",
        fires: &[
            "fn idle(x: f32[n]) { inner(x) }\nfn inner(x: f32[n]) { x }\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
            "metric m(x: f32[n]) { sum s = sum(x)\n value = s }\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
            "data more = mnist() { image = f32(image) / 255 }\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
        ],
        silent: &[
            "fn idle(x: f32[n]) { x }\nmodel M(x: f32[n, 784]) { x |> dense(10) }",
            "fn _idle(x: f32[n]) { x }\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
            "setting act = relu\nfn twice(f, x) { f(f(x)) }\nmodel M(x: f32[n, 784]) { twice(fn(y) { y + 1 }, x) |> act |> dense(10) }\nFLAT",
        ],
    },
    Case {
        code: "W0106",
        fires: &["model M(x: f32[n, 8]) { x |> dense(4)\n x |> relu |> dense(2) }"],
        silent: &[
            "fn f(x: f32[n], deep: bool = false) { if deep { -x } else { x } }\nmodel M(x: f32[n]) { f(x) }",
        ],
    },
    Case {
        code: "W0201",
        fires: &[
            "model M(x: f32[n, 8]) { if 1 < 2 { x } else { -x } }",
            "setting k = 2\nmodel M(x: f32[n, 8]) { assert k == k\n x }",
        ],
        silent: &["setting k = 2\nmodel M(x: f32[n, 8]) { assert k > 1\n x }"],
    },
    Case {
        code: "W0402",
        fires: &[
            "model M(x: f32[n, 8]) { x |> relu |> relu |> dense(2) }",
            "layer block(x: f32[n, d]) { x |> dense(d) |> relu }\nmodel M(x: f32[n, 8]) { x |> block |> relu |> dense(2) }",
            "model M(x: f32[n, 8]) { let y = softmax(x |> dense(3))\n softmax(y) }",
            "model M(x: f32[n, 8]) { x |> dense(1) |> relu |> sigmoid }",
        ],
        silent: &[
            "model M(x: f32[n, 8]) { x |> relu |> dense(4) |> relu |> dense(2) }",
            "fn relu(x: f32[n, d]) { x * x }\nmodel M(x: f32[n, 8]) { x |> relu |> relu }",
        ],
    },
    Case {
        code: "W0403",
        fires: &[
            "model M(x: f32[n, 8]) { x |> dense(4) |> batch_norm |> relu }",
            "model M(x: f32[n, 8, 8, 2]) { let c = conv2d(4, kernel = 3)\n c(x) |> batch_norm(momentum = 0.9) |> relu }",
        ],
        silent: &[
            "model M(x: f32[n, 8]) { x |> dense(4, bias = false) |> batch_norm |> relu }",
            "model M(x: f32[n, 8]) { x |> dense(4) |> relu |> batch_norm |> dense(2) }",
            "model M(x: f32[n, 8]) { x |> dense(4) |> layer_norm |> relu }",
        ],
    },
    Case {
        code: "W0404",
        fires: &[
            "model M(x: f32[n, 8]) { x |> dense(16) |> dense(2) }",
            "model M(x: f32[n, 8, 8, 2]) { x |> conv2d(4, kernel = 3) |> dropout(0.1) |> flatten |> dense(2) }",
        ],
        silent: &[
            "model M(x: f32[n, 64]) { x |> dense(2) |> dense(64) }",
            "model M(x: f32[n, 8, 8, 2]) { x |> conv2d(4, kernel = 3) |> conv2d(8, kernel = 1) }",
            "model M(x: f32[n, 8, 8, 2]) { x |> conv2d(4, kernel = 3) |> max_pool2d(2) |> conv2d(8, kernel = 3) }",
            "model M(x: f32[n, 8]) { (x |> dense(8)) + x |> dense(2) }",
        ],
    },
    Case {
        code: "W0502",
        fires: &[
            "model M(x: f32[n, 784]) { let c = x |> pick: dense(10)\n let k = f32(argmax(c));\n (x |> dense(10)) * expand(k, -1) }\nFLAT",
            "model M(x: f32[n, 28, 28, 1]) { let h = x |> flatten |> dense(32) |> relu\n { digit = h |> dense(10), side = h |> dense(2) } }\nTRAIN minimize cross_entropy(M(image).digit, label) using sgd() }",
        ],
        silent: &[
            "model M(x: f32[n, 784]) { let idle = dense(4)\n let _no = idle(x)\n x |> dense(10) }\nFLAT",
            "model T(x: f32[n, 784]) { x |> dense(10) }\nmodel M(x: f32[n, 784]) { (x |> dense(10)) + hold(T(x)) }\nFLAT",
            "model M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
            "layer l(x: f32[n, d]) { weight w: f32[d] = zeros() with trainable = false\n x + w }\nmodel M(x: f32[n, 784]) { x |> l |> dense(10) }\nFLAT",
        ],
    },
    Case {
        code: "W0503",
        fires: &[
            "model N(x: f32[n, 784]) { x |> dense(2) }\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
        ],
        silent: &[
            "model N(x: f32[n, 784]) { x |> dense(2) }\nmodel M(x: f32[n, 784]) { x |> dense(10) }",
            "model N(x: f32[n, 784]) { x |> relu |> dense(4) |> relu }\nmodel M(x: f32[n, 784]) { N(x) |> dense(10) }\nFLAT",
            "model N(x: f32[n, 784]) { x |> dense(2) }\nload N from \"n.safetensors\"\nmodel M(x: f32[n, 784]) { x |> dense(10) }\nFLAT",
        ],
    },
    Case {
        code: "W0504",
        fires: &[
            "model M(x: f32[n, 784]) { x |> dense(10) |> softmax }\nFLAT",
            "model M(x: f32[n, 784]) { x |> dense(10) |> relu }\nFLAT",
        ],
        silent: &[
            "model M(x: f32[n, 784]) { x |> dense(10) }\npredict p(x: f32[n, 784]) -> { p } { { p = softmax(M(x)) } }\nFLAT",
        ],
    },
    Case {
        code: "W0505",
        fires: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(784) }\nTRAIN minimize binary_cross_entropy(M(image), flatten(image)) using sgd()\n measure m: mean(f32(label)) }",
        ],
        silent: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(784) |> sigmoid }\nTRAIN minimize binary_cross_entropy(M(image), flatten(image)) using sgd()\n measure m: mean(f32(label)) }",
        ],
    },
    Case {
        code: "W0506",
        fires: &["model M(x: f32[n, 784]) { x |> dense(10) |> dropout(0.2) }\nFLAT"],
        silent: &["model M(x: f32[n, 784]) { x |> dense(32) |> relu |> dropout(0.2) |> dense(10) }\nFLAT"],
    },
    Case {
        code: "W0507",
        fires: &[
            "model M(x: f32[n, 8]) { x |> dense(1) |> softmax }",
            "model M(x: f32[n, 784]) { x |> dense(1) }\nFLAT",
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\nTRAIN let y = M(image)\n minimize cross_entropy(y, label) using sgd()\n measure top_k_accuracy(y, label, k = 10) }",
        ],
        silent: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\nTRAIN let y = M(image)\n minimize cross_entropy(y, label) using sgd()\n measure top_k_accuracy(y, label, k = 5), accuracy(y, label) }",
        ],
    },
    Case {
        code: "W0508",
        fires: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\nTRAIN epochs = 5\n minimize cross_entropy(M(image), label) using sgd()\n stop after 5 epochs without better validation.loss }",
        ],
        silent: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\nTRAIN epochs = 5\n minimize cross_entropy(M(image), label) using sgd()\n stop after 4 epochs without better validation.loss }",
        ],
    },
    Case {
        code: "W0509",
        fires: &[
            "model M(x: f32[n, 784]) { x |> dense(10) }\ndata d = mnist() { image = reshape(f32(image) / 255, [784])\n split validation = 0.1 }\ntrain { on d as { image, label }\n minimize cross_entropy(M(image), label) using sgd()\n keep best by train.loss }",
        ],
        silent: &[
            "model M(x: f32[n, 784]) { x |> dense(10) }\ndata d = mnist() { image = reshape(f32(image) / 255, [784]) }\ntrain { on d as { image, label }\n minimize cross_entropy(M(image), label) using sgd()\n keep best by train.loss }",
        ],
    },
    Case {
        code: "W0510",
        fires: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> batch_norm |> dense(10) }\nTRAIN batch = 1\n minimize cross_entropy(M(image), label) using sgd() }",
        ],
        silent: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> batch_norm |> dense(10) }\nTRAIN batch = 2\n minimize cross_entropy(M(image), label) using sgd() }",
        ],
    },
    Case {
        code: "W0601",
        fires: &[
            "model M(x: f32[n, 28, 28, 1]) { x |> flatten |> dense(10) }\ndata d = mnist() { image = f32(image) }\ntrain { on d as { image, label }\n minimize cross_entropy(M(image), label) using sgd() }",
        ],
        silent: &[
            "model M(x: f32[n, 28, 28, 1]) { x / 255 |> flatten |> dense(10) }\ndata d = mnist() { image = f32(image) }\ntrain { on d as { image, label }\n minimize cross_entropy(M(image), label) using sgd() }",
        ],
    },
];

/// The spec with what its capitals stand for.
fn whole(spec: &str) -> String {
    spec.replace("TRAIN", TRAINED).replace("FLAT", FLAT)
}

#[test]
fn each_lint_fires_and_is_silent() {
    let mut wrong = String::new();
    for case in CASES {
        let expected = case
            .fires
            .iter()
            .map(|spec| (spec, vec![case.code]))
            .chain(case.silent.iter().map(|s| (s, vec![])));
        for (spec, codes) in expected {
            let checked = run(&whole(spec));
            let found: Vec<&str> = checked.diagnostics.iter().map(|d| d.code).collect();
            if found != codes {
                wrong.push_str(&format!("expected {codes:?} of\n{spec}\n{}\n", rendered(&checked)));
            }
        }
        assert!(!case.silent.is_empty(), "{} needs a case of silence", case.code);
    }
    assert!(wrong.is_empty(), "{wrong}");
    for info in CODES.iter().filter(|c| c.id.starts_with('W') && !ELSEWHERE.contains(&c.id)) {
        assert!(CASES.iter().any(|c| c.code == info.id), "no lint case for {}", info.id);
    }
}

/// What the author reads.
#[test]
fn warnings_tell_both_places() {
    let specs = CASES.iter().filter_map(|case| case.fires.first());
    let all: Vec<String> = specs.map(|spec| rendered(&run(&whole(spec)))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn unused_imports_are_told() {
    let mut loader = |name: &str| {
        match name {
        "main.weft" => Ok("use \"parts.weft\" { head, tail }\nmodel M(x: f32[n, 4]) { x |> head(2) }".to_owned()),
        _ => Ok("layer head(k: int)(x: f32[n, d]) { x |> dense(k) }\nlayer tail(x: f32[n, d]) { x }\nfn idle(x) { x }".to_owned()),
    }
    };
    let checked = crate::check::check("main.weft", &mut loader, &crate::check::Options::default());
    let codes: Vec<&str> = checked.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["W0105"], "{}", rendered(&checked));
}

#[test]
fn a_wrong_spec_gets_no_warnings() {
    let checked = run("model M(x: f32[n, 8]) { let y = x |> relu\n x |> dens(2) }");
    assert_eq!(checked.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0101"]);
}

/// The library is the best that can be read in Weft, so that no lint may find fault with it.
#[test]
fn the_library_has_no_warnings() {
    let mut wrong = String::new();
    for (name, text) in crate::check::std::FILES {
        let checked = run(text);
        let lints: Vec<_> = checked.diagnostics.iter().filter(|d| d.code.starts_with('W')).collect();
        if !lints.is_empty() {
            wrong.push_str(&format!("{name}\n{}\n", rendered(&checked)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
