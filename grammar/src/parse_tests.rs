use super::*;

#[test]
fn sketch() {
    let text = include_str!("../tests/specs/sketch.weft");
    let parsed = parse(FileId(0), text);
    for e in &parsed.errors {
        println!("{e:?} at {:?}", text.get(e.span.start as usize..e.span.end as usize));
    }
    assert!(parsed.errors.is_empty());
    assert_eq!(parsed.file.items.len(), 21);
    let t = std::time::Instant::now();
    for _ in 0..100 {
        parse(FileId(0), text);
    }
    println!("{} lines, {:?} each", text.lines().count(), t.elapsed() / 100);
}
