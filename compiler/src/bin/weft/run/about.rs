//! What a run was: its spec, its data, its machine. `run.json` keeps it for scripts and for `weft compare`.

use serde::{Deserialize, Serialize};
use std::path::Path;
use weft_runtime::error::Result;
use weft_runtime::io;

pub const FILE: &str = "run.json";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The spec's name, and that of its `train` block.
    pub spec: String,
    pub training: String,
    /// The command line, as a shell would take it again.
    pub command: String,
    pub seed: u64,
    pub batch: usize,
    pub epochs: usize,
    pub threads: usize,
    /// Rows to train on, to validate and to test.
    pub rows: [usize; 3],
    /// Seconds since 1970.
    pub started: f64,
    pub parameters: u64,
    /// Names of figures of which more is better.
    pub higher_is_better: Vec<String>,
    pub machine: Machine,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub weft: String,
    pub processor: String,
    pub cores: usize,
    /// What of the processor decides the bits of a run: `x86-64 with AVX-512`.
    pub vectors: String,
    pub memory: u64,
    pub system: String,
}

impl About {
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        io::write_atomically(&folder.join(FILE), &[text.as_bytes()])
    }

    /// What a folder says of its run; nothing known where it does not say.
    pub fn read(folder: &Path) -> About {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

impl Machine {
    /// This machine; what it does not tell is left empty.
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
        let release = read("/etc/os-release");
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Machine {
            weft: env!("CARGO_PKG_VERSION").to_owned(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            vectors: vectors().to_owned(),
            memory: kibibytes.unwrap_or_default() * 1024,
            system: system
                .map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned()),
        }
    }
}

/// The kind of vectors that kernels use, on which the bits of a run depend.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            "x86-64 with AVX-512"
        } else {
            "x86-64 with AVX2"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

/// The command line, with what a shell would read otherwise in quotes.
pub fn command_line(args: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let mut words = vec!["weft".to_owned()];
    words.extend(args.skip(1).map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }));
    words.join(" ")
}
