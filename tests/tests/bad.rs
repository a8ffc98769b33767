//! Wrong specs and what is said of them: every diagnostic of a file in `tests/bad/` is foretold in it, by code, line and column.
//!
//! A line of its own below the mistaken one tells what is reported there, the caret standing under the first character; where
//! there is no room for a caret, the column is written out:
//!
//! ```text
//!     x |> dens(10)
//! //       ^ error[E0101]
//! modle M(x: f32[n, 8]) { x }
//! // error[E0003] column 1
//! ```
//!
//! *All* diagnostics are listed, so a cascade fails the test. `tests/bad/TOPIC/NAME.weft` is a case; so is a folder
//! `tests/bad/TOPIC/NAME/`, whose `main.weft` is checked. What the author of a case that holds the line `// snapshot` reads is kept in
//! `tests/bad/snapshots/`. `WEFT_BLESS=1 cargo test -p weft-tests --test bad` writes the expectations anew: read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use weft_compiler::check::{self, Checked, Options};
use weft_compiler::diagnostics::{CODES, Severity};
use weft_tests::specs::{rendered, root};

/// A diagnostic's place and code. What is checked is the text without its expectations, and lines count there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    column: usize,
    /// `error[E0101]`
    what: String,
}

/// A wrong spec with the files that it uses.
struct Case {
    /// `names/misspelt_layer`
    name: String,
    folder: PathBuf,
    /// The file that is checked, and the others of its folder.
    files: Vec<String>,
}

fn folder() -> PathBuf {
    root().join("tests/bad")
}

/// The names in a folder, sorted.
fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_spec(name: &str) -> bool {
    name.ends_with(".weft")
}

/// The cases of a topic.
fn cases(topic: &str) -> Vec<Case> {
    let folder = folder().join(topic);
    let mut cases = Vec::new();
    for entry in listed(&folder) {
        if let Some(stem) = entry.strip_suffix(".weft") {
            let name = format!("{topic}/{stem}");
            cases.push(Case { name, folder: folder.clone(), files: vec![entry] });
        } else {
            let folder = folder.join(&entry);
            let mut files: Vec<String> = listed(&folder).into_iter().filter(|f| is_spec(f)).collect();
            files.sort_by_key(|f| f != "main.weft");
            assert_eq!(files.first().map(String::as_str), Some("main.weft"), "{}", folder.display());
            cases.push(Case { name: format!("{topic}/{entry}"), folder, files });
        }
    }
    cases
}

impl Case {
    fn read(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn check(&self) -> Checked {
        let mut loader = |name: &str| match self.files.iter().any(|file| file == name) {
            true => Ok(plain(&self.read(name))),
            false => Err("there is no such file".to_owned()),
        };
        check::check(self.files.first().map_or("", String::as_str), &mut loader, &Options::default())
    }

    fn expected(&self) -> Vec<Finding> {
        let mut all: Vec<Finding> =
            self.files.iter().flat_map(|file| expectations(file, &self.read(file))).collect();
        all.sort();
        all
    }

    /// Writes what is found into the files, in place of what was expected.
    fn bless(&self, found: &[Finding]) {
        for file in &self.files {
            let mut out = String::new();
            for (number, line) in (1..).zip(plain(&self.read(file)).lines()) {
                out += &format!("{line}\n");
                for finding in found.iter().filter(|f| f.file == *file && f.line == number) {
                    out += &match finding.column.checked_sub(3) {
                        Some(spaces) => format!("//{}^ {}\n", " ".repeat(spaces), finding.what),
                        None => format!("// {} column {}\n", finding.what, finding.column),
                    };
                }
            }
            fs::write(self.folder.join(file), out).expect("a case can be written");
        }
    }
}

/// What a line expects: (column, `error[E0101]`).
fn expectation(line: &str) -> Option<(usize, String)> {
    let comment = line.strip_prefix("//")?;
    let (column, what) = match comment.trim_start().strip_prefix('^') {
        Some(what) => (line.chars().position(|c| c == '^')? + 1, what.trim()),
        None => {
            let (what, column) = comment.split_once(" column ")?;
            (column.trim().parse().ok()?, what.trim())
        }
    };
    let code = what.strip_prefix("error[").or(what.strip_prefix("warning["))?.strip_suffix(']')?;
    code.chars().all(|c| c.is_ascii_alphanumeric()).then(|| (column, what.to_owned()))
}

/// A file's text without its expectations.
fn plain(text: &str) -> String {
    text.lines().filter(|line| expectation(line).is_none()).map(|line| format!("{line}\n")).collect()
}

/// The expectations of a file's text.
fn expectations(file: &str, text: &str) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut above = 0;
    for line in text.lines() {
        match expectation(line) {
            Some((column, what)) => all.push(Finding { file: file.to_owned(), line: above, column, what }),
            None => above += 1,
        }
    }
    all
}

/// What was reported.
fn findings(checked: &Checked) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for diagnostic in &checked.diagnostics {
        let span = diagnostic.primary.span;
        let source = checked.sources.get(span.file).expect("a diagnostic is of a file");
        assert!(!source.std, "a place in the library is shown first: {}", rendered(checked));
        let (line, column) = checked.sources.position(span);
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let what = format!("{severity}[{}]", diagnostic.code);
        all.push(Finding { file: source.name.clone(), line, column, what });
    }
    all.sort();
    all
}

/// Checks a topic's cases, and keeps what is read of the most instructive ones.
fn check_topic(topic: &str) {
    let (mut wrong, mut shown) = (String::new(), String::new());
    let bless = std::env::var_os("WEFT_BLESS").is_some();
    for case in cases(topic) {
        let checked = case.check();
        let (found, expected) = (findings(&checked), case.expected());
        let text = rendered(&checked);
        if found.is_empty() {
            wrong += &format!("{}: nothing is wrong with it\n\n", case.name);
        } else if found != expected && bless {
            println!("──── {}\n{text}\n", case.name);
            case.bless(&found);
        } else if found != expected {
            wrong += &format!("{}: expected {expected:#?}\nbut found {found:#?}\n{text}\n\n", case.name);
        }
        if case.read(&case.files[0]).lines().any(|line| line == "// snapshot") {
            let mut sources = String::new();
            for file in &case.files {
                let text = plain(&case.read(file)).replace("// snapshot", "");
                sources += &format!("──── {} ({file})\n{}\n", case.name, text.trim_end());
            }
            shown += &format!("{sources}────\n{text}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::with_settings!({
        snapshot_path => "../bad/snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(topic, shown) });
}

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[test] fn $topic() { check_topic(stringify!($topic)) })*
        const TOPICS: &[&str] = &[$(stringify!($topic)),*];
    };
}

topics! { data dims generate habits kinds lints load names predict scans settings shapes sharing syntax training uses }

#[test]
fn every_folder_is_a_topic() {
    let folders: Vec<String> = listed(&folder()).into_iter().filter(|name| name != "snapshots").collect();
    assert_eq!(folders, TOPICS);
}

/// Codes that no spec can cause alone, and why.
const NOT_OF_A_SPEC: &[(&str, &str)] = &[("E0019", "a file of more than 16 MB")];

#[test]
fn every_code_has_a_wrong_spec() {
    let seen: BTreeSet<String> = TOPICS
        .iter()
        .flat_map(|topic| cases(topic))
        .flat_map(|case| case.expected())
        .map(|f| f.what)
        .collect();
    let all = CODES.iter().map(|info| info.id).chain(weft_grammar::CODES.iter().map(|(id, _)| *id));
    for code in all {
        let caused = seen.iter().any(|what| what.contains(code));
        let excused = NOT_OF_A_SPEC.iter().any(|(id, _)| *id == code);
        assert!(caused != excused, "{code}: caused by a case: {caused}, excused: {excused}");
    }
}

#[test]
fn expectations_are_read() {
    assert_eq!(expectation("//    ^ error[E0101]"), Some((7, "error[E0101]".to_owned())));
    assert_eq!(expectation("// warning[W0401] column 1"), Some((1, "warning[W0401]".to_owned())));
    assert_eq!(expectation("// an error[E0101] in prose"), None);
}
