//! The transformers of `specs/` are as large as those that they are named after.

use weft_compiler::check::Options;
use weft_runtime::program::VariableKind;
use weft_tests::specs;

/// Learned numbers of one model of a spec.
fn parameters(spec: &str, model: &str) -> i64 {
    let checked = specs::check_file(&format!("specs/{spec}.weft"), &Options::default());
    let module = checked.module.unwrap_or_else(|| panic!("{spec} does not check"));
    let own = module.variables.iter().filter(|v| v.kind == VariableKind::Weight && v.path.starts_with(model));
    own.map(|v| v.ty.elements().as_constant().expect("a weight's shape is constant")).sum()
}

#[test]
fn parameter_counts_are_those_of_the_papers() {
    // T5-small as published: 60.5 million, its table counted once.
    assert_eq!(parameters("t5_small", "T5."), 60_506_624);
    // ViT-Base/16 with a thousand classes.
    assert_eq!(parameters("vit", "Vit."), 86_567_656);
    // MiniLM-L6-H384 has 22,713,216; those of its pooler are of no use for sentence vectors.
    assert_eq!(parameters("bert", "Bert."), 22_713_216 - (384 * 384 + 384));
    // Six layers of 12 · 384² and two norms, the last norm, 256 bytes and 256 positions.
    assert_eq!(parameters("gpt", "Gpt."), 6 * (12 * 384 * 384 + 2 * 384) + 384 + 2 * 256 * 384);
}
