//! What a run was: its spec, its data, its machine. `run.json` keeps it for scripts and for `weft compare`.

use super::licence;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
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
    /// The numbers in which a GPU multiplied, where these were asked for; empty for f32.
    pub math: String,
    /// Rows to train on, to validate and to test.
    pub rows: [usize; 3],
    /// Seconds since 1970.
    pub started: f64,
    pub parameters: u64,
    /// Names of figures of which more is better.
    pub higher_is_better: Vec<String>,
    pub machine: Machine,
    pub data: Data,
    /// The weights that were saved, with their check sums.
    pub weights: Vec<DataFile>,
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

/// Where the rows of a data set came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    pub name: String,
    pub path: String,
    pub files: Vec<DataFile>,
    /// Files that are not listed.
    pub more: usize,
    /// What the files beside the data say of its licence.
    pub licence: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataFile {
    pub name: String,
    pub bytes: u64,
    /// Empty of a file that is too large to be read once more.
    pub sha256: String,
}

/// More files are only counted.
const MAX_FILES: usize = 12;
/// More bytes are not summed up.
const MAX_SUMMED: u64 = 256 << 20;

impl Data {
    /// What can be told of a file or of a folder's files.
    pub fn at(name: &str, path: &Path) -> Data {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let mut beside: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path()).collect();
        beside.retain(|file| file.is_file());
        beside.sort();
        let name_of =
            |file: &Path| file.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let (texts, files): (Vec<_>, Vec<_>) =
            beside.into_iter().partition(|file| licence::tells(&name_of(file)));
        let files = if path.is_dir() { files } else { vec![path.to_path_buf()] };
        let mut left = MAX_SUMMED;
        let listed = files.iter().take(MAX_FILES).map(|file| {
            let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
            let summed = bytes <= left;
            left = left.saturating_sub(bytes);
            DataFile { name: name_of(file), bytes, sha256: if summed { sha256(file) } else { String::new() } }
        });
        let listed = listed.collect();
        let licence =
            texts.iter().find_map(|file| licence::of(&name_of(file), &std::fs::read_to_string(file).ok()?));
        Data {
            name: name.to_owned(),
            path: path.display().to_string(),
            files: listed,
            more: files.len().saturating_sub(MAX_FILES),
            licence: licence.unwrap_or_default(),
        }
    }
}

/// The check sum of a file; empty where it cannot be read.
pub fn sha256(file: &Path) -> String {
    let (Ok(mut source), mut sum) = (std::fs::File::open(file), Sha256::new()) else { return String::new() };
    let mut piece = vec![0; 1 << 16];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            Ok(count) => sum.update(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return String::new(),
        }
    }
}
