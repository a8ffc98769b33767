//! PTX text → tokens, each with its line.
//!
//! An opcode with its suffixes (`ld.global.v4.f32`, `cp.async.cg.shared::cta.global`) is one token, as is a
//! directive (`.reg`) and a name with a component (`%tid.x`): nothing between the parts may be a space.

/// One token; `Word` holds names, opcodes and directives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    Word(&'a str),
    Text(&'a str),
    Integer(i64),
    /// The bits of a float written as `0f3F800000`.
    Float(u32),
    /// The bits of a double written as `0d3FF0000000000000`.
    Double(u64),
    Mark(char),
}

/// What is wrong with a text, and in which of its lines (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PtxError {
    pub line: u32,
    pub message: String,
}

impl std::fmt::Display for PtxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PTX line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PtxError {}

/// The tokens of a text with their lines.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>, PtxError> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut out) = (0, 1u32, Vec::with_capacity(text.len() / 4));
    while at < bytes.len() {
        let c = bytes[at];
        match c {
            b'\n' => {
                line += 1;
                at += 1;
            }
            b' ' | b'\t' | b'\r' => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = text[at..].find('\n').map_or(bytes.len(), |n| at + n);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = text[at..].find("*/").map_or(bytes.len(), |n| at + n + 2);
                line += text[at..end].matches('\n').count() as u32;
                at = end;
            }
            b'"' => {
                let Some(length) = text[at + 1..].find('"') else {
                    return Err(PtxError { line, message: "a text without its closing quote".into() });
                };
                out.push((Token::Text(&text[at + 1..at + 1 + length]), line));
                at += length + 2;
            }
            b'0'..=b'9' => {
                let length = text[at..].bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
                let word = &text[at..at + length];
                let token = number(word)
                    .ok_or_else(|| PtxError { line, message: format!("`{word}` is not a number") })?;
                out.push((token, line));
                at += length;
            }
            b'.' | b'_' | b'%' | b'$' | b'a'..=b'z' | b'A'..=b'Z' => {
                let length = word_length(&bytes[at..]);
                out.push((Token::Word(&text[at..at + length]), line));
                at += length;
            }
            _ if c.is_ascii_punctuation() => {
                out.push((Token::Mark(c as char), line));
                at += 1;
            }
            _ => return Err(PtxError { line, message: format!("a byte 0x{c:02x} that no PTX holds") }),
        }
    }
    Ok(out)
}

/// How many bytes belong to a word: `::` does, a single `:` ends a label.
fn word_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'_' | b'$' | b'%' => at += 1,
            b if b.is_ascii_alphanumeric() => at += 1,
            // `.` goes on with the word where a part follows.
            b'.' if bytes.get(at + 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') => at += 1,
            b':' if bytes.get(at + 1) == Some(&b':') => at += 2,
            _ => break,
        }
    }
    at
}

fn number(word: &str) -> Option<Token<'_>> {
    if let Some(bits) = word.strip_prefix("0f").or_else(|| word.strip_prefix("0F"))
        && bits.len() == 8
    {
        return u32::from_str_radix(bits, 16).ok().map(Token::Float);
    }
    if let Some(bits) = word.strip_prefix("0d").or_else(|| word.strip_prefix("0D"))
        && bits.len() == 16
    {
        return u64::from_str_radix(bits, 16).ok().map(Token::Double);
    }
    let digits = word.strip_suffix('U').unwrap_or(word);
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        u64::from_str_radix(binary, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse()
    };
    value.ok().map(|v| Token::Integer(v as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<Token<'_>> {
        tokens(text).unwrap().into_iter().map(|(t, _)| t).collect()
    }

    #[test]
    fn an_instruction_is_few_tokens() {
        use Token::*;
        assert_eq!(
            plain("@%p1 ld.global.v2.f32 {%f1,%f2}, [%rd1+-8]; // end\n"),
            [
                Mark('@'),
                Word("%p1"),
                Word("ld.global.v2.f32"),
                Mark('{'),
                Word("%f1"),
                Mark(','),
                Word("%f2"),
                Mark('}'),
                Mark(','),
                Mark('['),
                Word("%rd1"),
                Mark('+'),
                Mark('-'),
                Integer(8),
                Mark(']'),
                Mark(';'),
            ]
        );
    }

    #[test]
    fn labels_end_at_one_colon_and_suffixes_go_on_after_two() {
        assert_eq!(plain("$L__BB0_1: x"), [Token::Word("$L__BB0_1"), Token::Mark(':'), Token::Word("x")]);
        assert_eq!(plain("cp.async.ca.shared::cta.global"), [Token::Word("cp.async.ca.shared::cta.global")]);
    }

    #[test]
    fn numbers_of_all_kinds() {
        use Token::*;
        assert_eq!(
            plain("0f3F800000 0d3FF0000000000000 0x1F 017 12 0xFFFFFFFFFFFFFFFF 0b101 7U"),
            [
                Float(0x3F80_0000),
                Double(0x3FF0_0000_0000_0000),
                Integer(31),
                Integer(15),
                Integer(12),
                Integer(-1),
                Integer(5),
                Integer(7)
            ]
        );
        assert_eq!(tokens("\n  12x").unwrap_err().line, 2);
    }
}
