//! `weft explain`: codes and names.

use crate::harness::{fine, weft};

#[test]
fn a_code_is_explained_with_a_wrong_spec_and_its_fix() {
    for code in ["E0203", "e0203", "E0004", "W0401"] {
        let out = fine(&["explain", code]).out;
        assert!(out.starts_with(&format!("{}: ", code.to_uppercase())), "{out}");
        assert!(out.contains("    model Net("), "{out}");
        assert!(!out.contains("```"), "{out}");
    }
    let object = fine(&["explain", "E0203", "--json"]).last_object();
    assert_eq!((&object["code"], &object["title"]), (&"E0203".into(), &"a dim has two values".into()));
}

#[test]
fn a_layer_is_shown_with_its_signature_defaults_and_shapes() {
    let out = fine(&["explain", "conv2d"]).out;
    for part in [
        "layer conv2d(",
        "2-d convolution",
        "stride  ",
        "choice(valid, same)",
        "|> conv2d(32, kernel = 3, padding = same) |> relu",
        "f32[n, 28, 28, 1]",
        "f32[n, 28, 28, 32]",
        "weight f32[3, 3, 1, 32], bias f32[32]",
        "specs/std/conv.weft",
    ] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    let object = fine(&["explain", "dense", "--json"]).last_object();
    assert_eq!(object["parameters"][1]["default"], "true");
    assert_eq!(object["family"], "layers");
}

#[test]
fn words_and_sources_are_explained_too() {
    for (name, says) in [
        ("train", "on which data"),
        ("keep", "best.safetensors"),
        ("mnist", "image: u8[28, 28, 1], label: i32[]"),
        ("einsum", "named axes"),
        ("|>", "VALUE |> MAP"),
        ("adamw", "decay: float = 0.01"),
    ] {
        let out = fine(&["explain", name]).out;
        assert!(out.contains(says), "`{says}` is not in:\n{out}");
    }
}

#[test]
fn an_unknown_name_is_wrong_usage_with_a_way_out() {
    weft(&["explain", "conv2e"]).fails(2, &["nothing called `conv2e`", "did you mean `conv2d`?"]);
    weft(&["explain", "Conv2D"]).fails(2, &["did you mean `conv2d`?"]);
    weft(&["explain", "E0204x"]).fails(2, &["weft explain --list"]);
    weft(&["explain"]).fails(2, &["weft explain <NAME>"]);
}

#[test]
fn the_list_has_every_family() {
    let out = fine(&["explain", "--list"]).out;
    for part in
        ["Layers\n", "    dense ", "Optimizers\n", "Words of a `train` block\n", "    E0101 ", "    cifar10 "]
    {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    let objects = fine(&["explain", "--list", "--json"]).objects();
    assert!(objects.iter().any(|o| o["name"] == "cosine" && o["family"] == "schedules"));
}
