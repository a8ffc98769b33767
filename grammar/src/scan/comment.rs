//! Is a `//` a floor division or the start of a comment? After an operand on its line it divides, when what follows on
//! the line reads like code: one operand, and then a mark or the end. Prose has two words in a row.

/// Words of the language that may stand beside another word in an expression.
const JOINING: &[&str] = &[
    "and", "or", "not", "if", "else", "fn", "fresh", "scan", "in", "over", "reversed", "carrying", "let",
    "weight", "state", "setting", "with", "yield", "assert", "for", "map",
];

/// Does the rest of a line after `//` go on like code: one operand, then a mark or the end? Prose has two words in a row.
pub fn reads_as_divisor(line: &str) -> bool {
    let operand = line.trim().trim_start_matches(['-', ' ']);
    let word = |text: &str| text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let length = match operand.as_bytes().first() {
        Some(b'(') => match group_of_code(operand) {
            Some(length) => length,
            None => return false,
        },
        Some(b'0'..=b'9') => {
            let whole = word(operand);
            let rest = operand.get(whole..).unwrap_or("");
            let fraction = rest.strip_prefix('.').map_or(0, |digits| 1 + word(digits));
            if fraction == 1 { whole } else { whole + fraction }
        }
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => word(operand),
        _ => return false,
    };
    let after = operand.get(length..).unwrap_or("").trim_start();
    match after.as_bytes().first() {
        None => true,
        // `size.` ends a sentence, `size.h` is a field.
        Some(b'.') => after.as_bytes().get(1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_'),
        Some(b) => b"()[]{},:;+-*/%@<>=!|".contains(b),
    }
}

/// The length of the `( … )` that the line starts with, or of all the line when the group goes on; `None` for prose.
fn group_of_code(line: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut word_before = "";
    let mut at = 0;
    while let Some(&byte) = line.as_bytes().get(at) {
        let rest = line.get(at..)?;
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        if length > 0 {
            let word = rest.get(..length)?;
            if !word_before.is_empty() && !JOINING.contains(&word) && !JOINING.contains(&word_before) {
                return None;
            }
            word_before = word;
            at += length;
            continue;
        }
        match byte {
            b' ' => {}
            b'"' => {
                let mut escaped = false;
                let close = rest.bytes().skip(1).position(|b| {
                    let closes = b == b'"' && !escaped;
                    escaped = b == b'\\' && !escaped;
                    closes
                })?;
                at += close + 1;
                word_before = "";
            }
            // What follows is for the next `//` to decide.
            b'/' if rest.starts_with("//") => return Some(line.len()),
            b'(' => {
                depth += 1;
                word_before = "";
            }
            b')' => {
                depth = depth.saturating_sub(1);
                word_before = "";
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ if byte.is_ascii() => word_before = "",
            _ => return None,
        }
        at += 1;
    }
    Some(line.len())
}
