//! Runs `weft` and looks at what it leaves: exit code, both streams, files.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's root, from which every command runs.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the compiler lies in the root")
}

/// An empty folder of this name for one test's files. It stays until the next run, so that a failure can be looked at.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the folder of the run before can be removed");
    }
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are text")
}

/// Writes a file and gives its path as an argument.
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the file can be written");
    text(&path).to_owned()
}

/// The command, ready to run.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(args).current_dir(root()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    // No test may depend on the network.
    command.env("WEFT_OFFLINE", "1");
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    args: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `weft` to its end.
pub fn weft(args: &[&str]) -> Run {
    Run::of(args, command(args).output().expect("weft starts"))
}

/// Runs `weft`, which must go well.
pub fn fine(args: &[&str]) -> Run {
    weft(args).ends_with(0)
}

impl Run {
    pub fn of(args: &[&str], ended: Output) -> Run {
        Run {
            args: args.join(" "),
            code: ended.status.code(),
            out: String::from_utf8(ended.stdout).expect("the output is text"),
            err: String::from_utf8(ended.stderr).expect("the messages are text"),
        }
    }

    pub fn ends_with(self, code: i32) -> Run {
        assert!(!self.err.contains("panicked"), "a panic:\n{self}");
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// It fails with this exit code, and says all of this on standard error and nothing on standard output.
    pub fn fails(self, code: i32, says: &[&str]) -> Run {
        let run = self.ends_with(code);
        assert_eq!(run.out, "", "{run}");
        for part in says {
            assert!(run.err.contains(part), "it does not say `{part}`:\n{run}");
        }
        run
    }

    /// The objects on standard output, one a line.
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{self}"));
        self.out.lines().map(parse).collect()
    }

    pub fn last_object(&self) -> Value {
        self.objects().pop().unwrap_or_else(|| panic!("nothing was printed:\n{self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run { args, code, out, err } = self;
        write!(f, "weft {args}\nexit code {code:?}\n--- standard output\n{out}\n--- standard error\n{err}")
    }
}

/// Asserts that an object has all of these keys, with a number under each.
pub fn has_numbers(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(object[*key].is_number(), "`{key}` is no number in {object}");
    }
}
