//! What the files beside data say of its licence.

/// Names of files that tell about their folder begin so.
const ABOUT: [&str; 4] = ["license", "licence", "readme", "copying"];

/// Does a file tell about the others of its folder?
pub fn tells(file: &str) -> bool {
    let name = file.to_lowercase();
    ABOUT.iter().any(|begin| name.starts_with(begin))
}

/// The words of such a file about the licence: what follows `Licence:` (or `License`, a heading or a word in bold), to the end of its paragraph. A
/// file that is a licence begins with its name. That a text speaks of licences somewhere says nothing.
pub fn of(file: &str, text: &str) -> Option<String> {
    let mut lines = text.lines().map(bare);
    let said = lines.by_ref().find_map(|line| after_the_word(line).map(str::to_owned));
    match said {
        Some(first) => {
            let rest = lines.skip_while(|line| first.is_empty() && line.is_empty());
            let rest: Vec<&str> = rest.take_while(|line| !line.is_empty()).collect();
            let all = [&[first.as_str()], &rest[..]].concat().join(" ").replace("**", "");
            let all = all.trim().trim_end_matches(':').to_owned();
            Some(all).filter(|all| !all.is_empty())
        }
        None if file.to_lowercase().starts_with("readme") => None,
        None => text.lines().map(bare).find(|line| !line.is_empty()).map(str::to_owned),
    }
}

/// A line without what Markdown puts around it.
fn bare(line: &str) -> &str {
    line.trim_matches(|c: char| "#*_->|` ".contains(c) || c.is_whitespace())
}

/// What follows the word, where a line begins with it and it is no part of a sentence.
fn after_the_word(line: &str) -> Option<&str> {
    let word = line.get(..7).filter(|word| ["licence", "license"].contains(&word.to_lowercase().as_str()))?;
    let rest = line[word.len()..].trim_start_matches(['*', '_']);
    let rest = match rest.strip_prefix([':', '.']) {
        Some(rest) => rest,
        None if rest.is_empty() => rest,
        None => return None,
    };
    Some(rest.trim_start_matches(['*', '_', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readme(text: &str) -> Option<String> {
        of("README.md", text)
    }

    #[test]
    fn the_words_behind_the_word_are_taken() {
        for text in [
            "# Data\n\nLicence: CC BY 4.0\n\nMore.",
            "---\nlicense: CC BY 4.0\n---\n# Data\n",
            "**License:** CC BY 4.0",
            "**License**: CC BY 4.0:",
            "- *Licence.* CC BY\n  4.0\n\nMore.",
            "## License\n\nCC BY 4.0\n\n## More",
            "We thank all who have no licence to be thanked.\n\n| License: CC BY 4.0 |",
        ] {
            let found = readme(text).unwrap_or_default();
            assert!(found.starts_with("CC BY 4.0"), "{text:?}: {found:?}");
        }
        assert_eq!(
            readme("**Licence.** The package is under the MIT licence:\n\n> The MIT License (MIT)")
                .as_deref(),
            Some("The package is under the MIT licence")
        );
    }

    #[test]
    fn what_only_speaks_of_licences_says_nothing() {
        for text in [
            "",
            "The licence of this data is being discussed.",
            "Licences: many",
            "Licensed material",
            "## License",
        ] {
            assert_eq!(readme(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_licence_begins_with_its_name() {
        assert_eq!(of("LICENSE", "\n  MIT License\n\nCopyright").as_deref(), Some("MIT License"));
        assert_eq!(of("COPYING", ""), None);
        assert!(tells("LICENSE.txt") && tells("Readme.md") && !tells("train.csv"));
    }
}
