//! `weft explain`: codes and names.

use crate::harness::{fine, weft};

#[test]
fn a_code_is_explained_with_a_wrong_spec_and_its_fix() {
    for code in ["E0203", "e0203", "E0004", "W0401"] {
        let out = fine(&["explain", code]).out;
        assert!(out.starts_with(&format!("{}: ", code.to_uppercase())), "{out}");
        let (wrong, right) = (out.find("\nWrong:\n\n    "), out.find("\nRight:\n\n    "));
        assert!(wrong.is_some() && wrong < right, "{out}");
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
}

#[test]
fn without_a_name_it_says_what_can_be_asked() {
    let out = fine(&["explain"]).out;
    for part in ["weft explain conv2d ", "    layers ", "dense, bilinear, ", "    operators "] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    let families = fine(&["explain", "--json"]).objects();
    let losses = families.iter().find(|o| o["family"] == "losses").expect("losses are a family");
    assert!(losses["names"].as_array().is_some_and(|names| names.iter().any(|n| n == "huber")));
}

#[test]
fn a_family_is_listed_alone_and_after_the_item_of_its_name() {
    let out = fine(&["explain", "losses"]).out;
    assert!(out.starts_with("Losses. What `minimize` makes small."), "{out}");
    assert!(out.contains("    huber ") && !out.contains("    dense "), "{out}");
    let out = fine(&["explain", "train"]).out;
    let (item, words) = out.split_once("Words of a `train` block. ").expect("both are shown");
    assert!(item.contains("train NAME {") && words.contains("    minimize "), "{out}");
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
