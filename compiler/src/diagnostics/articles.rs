//! What `weft explain CODE` prints: one article for each code, a Markdown file in `articles/`.
//!
//! An article starts with `# CODE: title`, says what the code means, and shows a wrong spec and then a right one as ```` ```weft ```` blocks: a
//! test checks that the first gives the code and the last is fine. A block whose fence names a file (```` ```weft blocks.weft ````) is a file
//! that the specs after it use.

/// An article as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Article {
    pub code: &'static str,
    pub text: &'static str,
}

macro_rules! articles {
    ($($code:literal)*) => {
        /// Every article, in order.
        pub const ARTICLES: &[Article] =
            &[$(Article { code: $code, text: include_str!(concat!("articles/", $code, ".md")) }),*];
    };
}

articles! {
    "E0001" "E0002" "E0003" "E0004" "E0005" "E0006" "E0007" "E0008" "E0009" "E0010" "E0011" "E0012" "E0013" "E0014" "E0015" "E0016"
    "E0017" "E0018" "E0019"
    "E0101" "E0102" "E0103" "E0104" "E0105" "E0106" "E0107" "E0108"
    "E0201" "E0202" "E0203" "E0204" "E0205" "E0206" "E0207" "E0208" "E0209" "E0210" "E0211" "E0212" "E0213" "E0215" "E0216" "E0217" "E0218"
    "E0301" "E0302" "E0303" "E0306"
    "E0401" "E0402" "E0403" "E0404"
    "E0501" "E0502" "E0503" "E0504" "E0505" "E0506" "E0507" "E0508" "E0509" "E0510"
    "E0601" "E0602" "E0603" "E0604"
    "E0701"
    "E0801" "E0802"
    "W0101" "W0102" "W0103" "W0104" "W0105" "W0106" "W0201"
    "W0401" "W0402" "W0403" "W0404"
    "W0501" "W0502" "W0503" "W0504" "W0505" "W0506" "W0507" "W0508" "W0509" "W0510"
    "W0601" "W0901"
}

/// The article of a code, however its letter is written.
pub fn find(code: &str) -> Option<&'static Article> {
    ARTICLES.iter().find(|a| a.code.eq_ignore_ascii_case(code))
}

impl Article {
    /// What the code means, in a few words: the heading without the code.
    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().next().unwrap_or("");
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }

    /// The specs in it, each with the files that it uses: (files, spec).
    pub fn specs(&self) -> Vec<(Vec<(&'static str, &'static str)>, &'static str)> {
        let (mut files, mut specs) = (Vec::new(), Vec::new());
        // Fences alternate: text, block, text, …
        for block in self.text.split("\n```").skip(1).step_by(2) {
            let (info, body) = block.split_once('\n').unwrap_or((block, ""));
            match info.strip_prefix("weft").map(str::trim) {
                Some("") => specs.push((files.clone(), body)),
                Some(file) => files.push((file, body)),
                None => {}
            }
        }
        specs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{self, Checked, Options};
    use crate::diagnostics::{self, Color};

    fn checked(files: &[(&str, &str)], spec: &str) -> Checked {
        let mut loader = |name: &str| match files.iter().find(|(file, _)| *file == name) {
            Some((_, text)) => Ok((*text).to_owned()),
            None if name == "article.weft" => Ok(spec.to_owned()),
            None => Err(format!("no file `{name}`")),
        };
        check::check("article.weft", &mut loader, &Options::default())
    }

    #[test]
    fn every_code_has_an_article_and_no_other() {
        let grammar = weft_grammar::CODES.iter().map(|(code, _)| *code);
        let codes: Vec<&str> = grammar.chain(diagnostics::CODES.iter().map(|c| c.id)).collect();
        for code in &codes {
            assert!(find(code).is_some(), "write diagnostics/articles/{code}.md and name it in articles.rs");
        }
        for article in ARTICLES {
            assert!(codes.contains(&article.code), "{} is no code", article.code);
            let heading = format!("# {}: ", article.code);
            assert!(article.text.starts_with(&heading), "{} must start with `{heading}title`", article.code);
        }
        assert!(ARTICLES.is_sorted_by_key(|a| a.code));
    }

    #[test]
    fn the_wrong_spec_gives_the_code_and_the_right_one_is_fine() {
        let mut wrong = Vec::new();
        for article in ARTICLES {
            let specs = article.specs();
            let Some(((files, last), rest)) = specs.split_last() else {
                wrong.push(format!("{} has no spec", article.code));
                continue;
            };
            let fine = checked(files, last);
            if !fine.diagnostics.is_empty() {
                wrong.push(format!("{}, the right spec:\n{}", article.code, rendered(&fine)));
            }
            // Only what no text of a readable size can cause goes without.
            assert!(!rest.is_empty() || article.code == "E0019", "{} has no wrong spec", article.code);
            for (files, spec) in rest {
                let found = checked(files, spec);
                if !found.diagnostics.iter().any(|d| d.code == article.code) {
                    wrong.push(format!("{}, the wrong spec:\n{}", article.code, rendered(&found)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn rendered(checked: &Checked) -> String {
        let all = checked.diagnostics.iter();
        all.map(|d| diagnostics::render(d, &checked.sources, Color::Never)).collect::<Vec<_>>().join("\n")
    }
}
