//! The graph of `digits.weft` is what it was, or someone has looked at the change.

use weft_compiler::stages::{Stage, snapshot};

#[test]
fn digits() {
    let read = |file: &str| std::fs::read_to_string(file);
    let graph =
        snapshot("digits.weft", read, Stage::Graph, Some("predict")).unwrap_or_else(|e| panic!("{e}"));
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("digits__graph_predict.digit", graph);
    });
}
