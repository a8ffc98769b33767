//! Every code has a spec that causes it; what the author then reads is a snapshot.

use super::{rendered, run, run_with};
use crate::check::Options;
use crate::diagnostics::CODES;

/// Something to train, for cases that are about something else.
const TRAINED: &str = "
model M(x: f32[n, 28, 28, 1]) -> f32[n, 10] { x |> flatten |> dense(10) }
data digits = mnist() { image = f32(image) / 255 }
";

/// (code, spec): the spec causes this code. `TRAINED` stands in front of those that start with `train`.
const CASES: &[(&str, &str)] = &[
    ("E0101", "model M(x: f32[n, 8]) { x |> dens(8) }"),
    ("E0101", "model M(x: f32[n, 8]) { let y = z\n y + x }"),
    ("E0102", "model M(x: f32[n, 8]) { x |> dense(8, biass = false) }"),
    ("E0102", "model M(x: f32[n, 8]) { sum(x, axes = 1) }"),
    ("E0103", "model M(x: f32[n, 8]) { x |> dense() }"),
    ("E0103", "model M(x: f32[n, 8]) { where(x > 0, x) }"),
    ("E0104", "model M(x: f32[n, 8]) { x |> dense(8, true, zeros, none, none, none, zeros, 3) }"),
    ("E0104", "model M(x: f32[n, 8]) { x |> dense(8, units = 9) }"),
    ("E0105", "setting a = 1\nsetting a = 2"),
    ("E0106", "use \"layers.weft\""),
    ("E0107", "fn f(x: f32[n]) { { a = x, b = x } }\nmodel M(x: f32[n]) { f(x).c }"),
    ("E0201", "model M(x: f32[n, 8]) { x |> dense(8.5) }"),
    ("E0201", "model M(x: f32[n, 8, 8, 2]) { x |> conv2d(8, kernel = 3, padding = sane) }"),
    ("E0202", "model M(x: f32[n, 8], y: f32[n, 7]) { x + y }"),
    (
        "E0203",
        "layer add(a: f32[n, d], b: f32[n, d]) { a + b }\nmodel M(x: f32[n, 8]) { add(x, x |> dense(4)) }",
    ),
    (
        "E0203",
        "model M(x: f32[n, 8]) { let h = x |> dense(16)\n head(h) }\nlayer head(x: f32[n, 8]) { x |> dense(2) }",
    ),
    ("E0204", "model M(x: i32[n, 8]) { x * 0.5 }"),
    ("E0204", "model M(x: i32[n, 8], y: f32[n, 8]) { x + y }"),
    ("E0204", "model M(x: i32[n, 8]) { x |> dense(8) }"),
    ("E0205", "model M(x: f32[n, 8]) { x |> conv2d(8, kernel = 3) }"),
    ("E0206", "model M(x: f32[n, 4, 4, 2]) { x |> conv2d(8, kernel = 5) }"),
    ("E0207", "model M(x: f32[n, 8]) { x |> 3 }"),
    ("E0207", "model M(x: f32[n, 8]) { x(1) }"),
    ("E0208", "model M(x: f32[n, 8]) { sum(x, axis = 2) }"),
    ("E0208", "setting a = [1, 2]\nsetting b = a[2]"),
    ("E0209", "model M(x: f32[n, 8]) { if sum(x) > 0 { x } else { -x } }"),
    ("E0209", "model M(x: f32[n, 8]) { if n > 4 { x } else { -x } }"),
    ("E0210", "fn f(x: f32[n]) { f(x) }\nmodel M(x: f32[n]) { f(x) }"),
    ("E0210", "setting a = range(1000000000)"),
    ("E0211", "model M(x: f32[n, 4, 4, 3]) { x |> conv2d(8, kernel = 3, groups = 2) }"),
    ("E0211", "model M(x: f32[n]) { fail(\"no\") }"),
    ("E0212", "model M(x: f32[n, 8]) -> f32[n, 10] { x |> dense(9) }"),
    ("E0212", "model M(x: f32[n, 8]) { let y = x }"),
    (
        "E0213",
        "layer l(x: f32[n, 8]) { weight w: f32[8] = mean(x, axis = 0)\n x * w }\nmodel M(x: f32[n, 8]) { x |> l }",
    ),
    ("E0215", "setting a = 1 // 0"),
    ("E0215", "setting a = 1 + \"a\""),
    ("E0201", "model M(x: f32[n, 8]) { x + \"a\" }"),
    ("E0216", "model M(x: f32[n, 8]) { yield x }"),
    ("E0216", "model M(x: f32[n, t]) { scan a in x over t { yield a\n yield a } }"),
    ("E0217", "model M(x: f32[n, t, d]) { let y = x[:, 0]\n scan a in y over t { yield a } }"),
    ("E0217", "model M(x: f32[n, t, 8]) { scan a, b in x over t { yield a + b } }"),
    ("E0217", "model M(x: f32[n, 8, 8]) { let t = 8\n scan a in x over t { yield a } }"),
    ("E0217", "model M(x: f32[n, t, 8]) { scan a in x over t { let b = a } }"),
    (
        "E0218",
        "model M(x: f32[n, t, 8]) { let s = scan a in x over t carrying h = zeros(n, 4) { h = h + a[:, 4:]\n h = a }\n s.h }",
    ),
    (
        "E0218",
        "model M(x: f32[n, t, 8]) { let s = scan a in x over t carrying k = i32(0) { k = f32(k) + 1 }\n s.k }",
    ),
    (
        "E0107",
        "model M(x: f32[n, t, 8]) { let s = scan a in x over t carrying hidden = zeros(n, 8) { hidden = a\n yield a }\n s.hiden }",
    ),
    (
        "E0101",
        "model M(x: f32[n, t, 8]) { let total = zeros(n, 8)\n scan a in x over t { total = total + a\n yield total } }",
    ),
    (
        "E0403",
        "layer seen(x: f32[n, d]) { state count: f32[] = 0.0\n count <- count + 1.0\n x * count }\nmodel M(x: f32[n, t, 8]) { scan a in x over t { yield a |> seen } }",
    ),
    ("E0301", "model M(x: f32[n, 8]) -> f32[n, k] { x }"),
    (
        "E0302",
        "layer l(x: f32[n, d]) { weight w: f32[n, d] = zeros()\n x * w }\nmodel M(x: f32[n, 8]) { x |> l }",
    ),
    ("E0303", "model M(x: f32[n, 9]) { reshape(x, [n, 9 / 2, 2]) }"),
    ("E0303", "model M(x: f32[n, 9]) { split(x, 2)[0] }"),
    ("E0306", "layer l(x: f32[n, h]) where h % 4 == 0 { x }\nmodel M(x: f32[n, 9]) { x |> l }"),
    ("E0401", "fn f(x: f32[n, d]) { x |> dense(8, bias = false) }\nmodel M(x: f32[n, 9]) { f(x) }"),
    ("E0402", "model M(x: f32[n, 8]) { let d = dense(4)\n d(d(x)) }"),
    (
        "E0403",
        "layer l(x: f32[n, 8]) { state mean: f32[8] = zeros()\n meen <- sum(x, axis = 0)\n x }\nmodel M(x: f32[n, 8]) { x |> l }",
    ),
    ("E0404", "model M(x: f32[n, 8]) { let a = 3\n let b = fresh a\n x }"),
    (
        "E0501",
        "train { on digits as { image, label }\n bach = 64\n minimize cross_entropy(M(image), label) using adam() }",
    ),
    ("E0502", "train { on digits as { image, label } }"),
    ("E0502", "train { minimize 1 using adam() }"),
    (
        "E0503",
        "train { on digits as { image, label }\n batch = 0\n minimize cross_entropy(M(image), label) using adam() }",
    ),
    ("E0504", "train { on digits as { image, label }\n minimize label using adam() }"),
    (
        "E0505",
        "train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using adam()\n keep best by validation.acuracy }",
    ),
    (
        "E0506",
        "train { on digits as { image, label }\n minimize cross_entropy(M(image), label) over N using adam() }",
    ),
    ("E0507", "train { on digits as { image, label }\n minimize mean(image) using adam() }"),
    ("E0508", "model M(x: i32[n, 8]) { f32(gradient(x, x)) }"),
    ("E0509", "train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using relu }"),
    (
        "E0510",
        "train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using adamw() { deca = 0 for *.bias } }",
    ),
    ("E0601", "data d = minst()"),
    ("E0602", "data d = mnist() { split validation = 1.5 }"),
    ("E0603", "data d = mnist() { image = \"a\" }"),
    ("E0604", "data d = mnist() { fit means = f32(image) / 255 }"),
    ("E0701", "model Net(x: f32[n, 8]) { x |> dense(8) }\nload Nett from \"a.safetensors\""),
    (
        "E0801",
        "model M(x: i32[n, t]) { x |> embedding(9, 8) |> dense(9) }\ngenerate story() { max = 50; M(target) }",
    ),
    (
        "E0802",
        "model M(x: i32[n, t]) { let y = x |> embedding(9, 8)\n y + mean(y, axis = 1, keep = true) |> dense(9) }\ngenerate story() { begin = 0; M(target) }",
    ),
    (
        "W0401",
        "layer l(x: f32[n, d]) { x |> dense(d) |> relu }\nmodel M(x: f32[n, 8]) { let s = l\n x |> repeat(3, s) }",
    ),
    (
        "W0501",
        "train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using adamw() { decay = 0 for *.biass } }",
    ),
    ("W0901", "edition 2031\nmodel M(x: f32[n, 8]) { x }"),
];

#[test]
fn every_code_has_a_spec_that_causes_it() {
    let (mut snapshot, mut wrong) = (String::new(), String::new());
    let mut seen = vec!["E0108", "W0105"];
    for (code, spec) in CASES {
        let text = if spec.starts_with("train") { format!("{TRAINED}{spec}") } else { (*spec).to_owned() };
        let checked = run(&text);
        let codes: Vec<&str> = checked.diagnostics.iter().map(|d| d.code).collect();
        if codes != [*code] {
            wrong.push_str(&format!("{code}: {spec}\n{}\n", rendered(&checked)));
        }
        snapshot.push_str(&rendered(&checked));
        snapshot.push('\n');
        seen.push(code);
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Those of lints have their cases with the lints.
    for info in CODES.iter().filter(|c| !c.id.starts_with('W') || super::lints::ELSEWHERE.contains(&c.id)) {
        assert!(seen.contains(&info.id), "no case for {}", info.id);
    }
    insta::assert_snapshot!(snapshot);
}

#[test]
fn shape_errors_tell_how_the_shape_came_about() {
    let checked = run("model M(x: f32[n, 28, 28, 1]) {
    x |> conv2d(8, kernel = 3) |> max_pool2d(2) |> flatten
      |> conv2d(8, kernel = 3)
}");
    insta::assert_snapshot!(rendered(&checked));
}

#[test]
fn overrides_are_typed_and_their_names_known() {
    let spec = "setting units = 8\nsetting drop = 0.5\nmodel M(x: f32[n, 4]) { x |> dense(units) }";
    let with = |name: &str, value: &str| {
        let options = Options { settings: vec![(name.into(), value.into())], ..Options::default() };
        let checked = run_with(spec, &options);
        (checked.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), checked.typed.map(|t| t.settings))
    };
    let (codes, settings) = with("units", "16");
    assert!(codes.is_empty());
    assert_eq!(settings.unwrap_or_default().first(), Some(&("units".into(), "16".into())));
    assert!(with("drop", "1").0.is_empty(), "an int widens to a float");
    assert_eq!(with("units", "1.5").0, ["E0108"]);
    assert_eq!(with("unit", "16").0, ["E0108"]);
}

#[test]
fn one_run_finds_many_errors() {
    let checked = run(
        "model A(x: f32[n, 8]) { let a = dens(8)\n let b = x |> conv2\n a(b) + c }\nmodel B(x: f32[n, 8]) { x |> dense(8, unit = 3) }",
    );
    let messages: Vec<&str> = checked.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "nothing is called `dens` here",
            "nothing is called `conv2` here",
            "nothing is called `c` here",
            "`dense` has no parameter `unit`"
        ]
    );
}
