//! How large the runtimes are that executables begin with: whoever makes one larger or smaller says so here.

use crate::cuda::has_nvrtc;
use crate::harness::{fine, folder, root, text, write};
use crate::train::{MLP, NARROW, trained};

/// Bytes of each runtime on x86-64 Linux.
const EXPECTED: [(&str, u64); 5] = [
    ("plain", 3_910_000),
    ("bytes", 3_910_000),
    ("text", 5_980_000),
    ("train", 8_820_000),
    ("cuda", 8_790_000),
];

/// Other versions of Rust and of the system's library make others, in parts of a hundred.
const TOLERANCE: u64 = 8;

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
fn runtimes_stay_as_small_as_they_are() {
    let folder = folder("sizes");
    let spec = |name: &str, content: &str| write(&folder, name, content);
    let plain = spec("plain.weft", "predict twice(x: f32[n]) -> { y } { { y = x + x } }\n");
    let sum = |vocabulary: &str| {
        format!(
            "predict sum(text: text[n]) -> {{ y }} {{ {{ y = sum(tokenize(text, {vocabulary}), axis = -1) }} }}\n"
        )
    };
    let bytes = spec("bytes.weft", &sum("bytes()"));
    let json = std::fs::read(root().join("tests/golden/tokenizers/byte_level.json")).expect("it is there");
    write(&folder, "pieces.json", json);
    let pieces = spec("text.weft", &sum("tokenizer(\"pieces.json\", size = 400)"));
    let best = trained().best();
    let stub = |args: &[&str]| {
        let output = folder.join("built");
        let told = fine(&[&["build", "--json", "--output", text(&output)], args].concat()).last_object();
        told["stub_bytes"].as_u64().expect("a number")
    };
    let mut found = vec![
        ("plain", stub(&[&plain])),
        ("bytes", stub(&[&bytes])),
        ("text", stub(&[&pieces])),
        ("train", stub(&[MLP, "--set", NARROW, "--weights", &best, "--train"])),
    ];
    // Its kernels are compiled when it is built, where there is what compiles them.
    if has_nvrtc() {
        found.push(("cuda", stub(&[&plain, "--device", "cuda", "--arch", "sm_80"])));
    }
    for ((name, expected), (_, found)) in EXPECTED.into_iter().zip(found) {
        let off = found.abs_diff(expected);
        assert!(
            100 * off <= TOLERANCE * expected,
            "the runtime `{name}` has {found} bytes, not about {expected}: if that is meant, say so in tests/cli/sizes.rs"
        );
    }
}
