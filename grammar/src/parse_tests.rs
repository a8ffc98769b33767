use super::*;

#[test]
fn every_construct_parses() {
    let text = include_str!("../tests/specs/sketch.weft");
    let parsed = parse(FileId(0), text);
    assert_eq!(parsed.errors, []);
    assert_eq!(parsed.lost, Vec::<String>::new());
    assert_eq!(parsed.file.items.len(), 21);
    assert_eq!(parsed.file.comments.len(), 1);
    assert_eq!(parsed.file.items[4].doc.as_deref(), Some("Convolutional classifier for 28×28 digits."));
}

#[test]
fn every_code_stands_once_in_the_table() {
    let mut codes: Vec<&str> = codes::CODES.iter().map(|(code, _)| *code).collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}
