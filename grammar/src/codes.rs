//! The codes of syntax errors. A code never changes its meaning.

pub const EXPECTED_EXPRESSION: &str = "E0001";
pub const UNEXPECTED: &str = "E0002";
pub const UNKNOWN_ITEM: &str = "E0003";
pub const UNCLOSED: &str = "E0004";
pub const MISMATCHED: &str = "E0005";
pub const UNOPENED: &str = "E0006";
pub const UNCLOSED_TEXT: &str = "E0007";
pub const STRAY: &str = "E0008";
pub const TOO_DEEP: &str = "E0009";
pub const EXPECTED_NAME: &str = "E0010";
pub const RESERVED_WORD: &str = "E0011";
pub const BAD_ESCAPE: &str = "E0012";
pub const BAD_NUMBER: &str = "E0013";
pub const CHAINED: &str = "E0014";
pub const MISSING_ELSE: &str = "E0015";
pub const STRAY_COMMA: &str = "E0016";
pub const LATE_EDITION: &str = "E0017";
pub const EXPECTED: &str = "E0018";
pub const TOO_LARGE: &str = "E0019";

/// Every code with what it means.
pub const CODES: &[(&str, &str)] = &[
    (EXPECTED_EXPRESSION, "An expression is missing, for instance after `=` or an operator."),
    (UNEXPECTED, "Something stands where nothing of its kind can."),
    (UNKNOWN_ITEM, "A declaration starts with a word that is none of the item keywords."),
    (UNCLOSED, "A bracket or brace is opened but never closed."),
    (MISMATCHED, "A bracket is closed by one of another kind."),
    (UNOPENED, "A bracket or brace is closed that was never opened."),
    (
        UNCLOSED_TEXT,
        "A text has no closing quote. A text ends on the line where it starts; write `\\n` for a new line.",
    ),
    (STRAY, "A character that the language doesn't use outside texts and comments."),
    (TOO_DEEP, "Brackets or operators are nested deeper than the compiler allows; name a part with `let`."),
    (EXPECTED_NAME, "A name is missing."),
    (RESERVED_WORD, "A reserved word is used as a name."),
    (BAD_ESCAPE, "A text holds a `\\` that starts no escape. Escapes are \\n \\t \\\" \\\\ and \\u{…}."),
    (BAD_NUMBER, "A number is written wrongly. Numbers look like 64, 1_000, 0.5, 1e-3."),
    (CHAINED, "Comparisons don't chain: write `a < b and b < c`."),
    (MISSING_ELSE, "An `if` whose value is used needs an `else`."),
    (
        STRAY_COMMA,
        "A comma separates statements. Statements simply follow each other; only a record's entries take commas.",
    ),
    (LATE_EDITION, "The edition must stand once, before all items."),
    (EXPECTED, "A particular word or mark is missing."),
    (TOO_LARGE, "A source file is larger than 16 MB."),
];
