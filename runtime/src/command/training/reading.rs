//! How far the reading of large files is: a bar on a terminal, now and then a line elsewhere. Small files are read before anyone asks.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::command::output;
use crate::data::FileObserver;

/// Nothing is shown of what takes less time than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a terminal, a line comes after so long, and then as often.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct ReadingBar(Mutex<Option<File>>);

/// The file that is being read.
#[derive(Debug)]
struct File {
    path: PathBuf,
    start: Instant,
    line: Instant,
    bar: Option<ProgressBar>,
}

impl FileObserver for ReadingBar {
    fn reading(&self, path: &Path, bytes: u64, size: u64) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_ref().is_none_or(|file| file.path != path) {
            let now = Instant::now();
            *file = Some(File { path: path.to_path_buf(), start: now, line: now, bar: None });
        }
        let Some(file) = file.as_mut() else { return };
        if bytes >= size {
            if let Some(bar) = file.bar.take() {
                bar.finish_and_clear();
            }
            return;
        }
        if !std::io::stderr().is_terminal() {
            if file.line.elapsed() >= LINE_EVERY {
                file.line = Instant::now();
                output::note(&line(path, bytes, size, file.start.elapsed()));
            }
        } else if file.start.elapsed() >= PATIENCE {
            file.bar.get_or_insert_with(|| bar(path, size)).set_position(bytes);
        }
    }
}

fn line(path: &Path, bytes: u64, size: u64, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(1e-9);
    format!(
        "reading {}: {:.0}% of {}, {}/s, {:.0} s left",
        path.display(),
        100.0 * bytes as f64 / size as f64,
        output::bytes(size),
        output::bytes(rate as u64),
        (size - bytes) as f64 / rate.max(1.0)
    )
}

fn bar(path: &Path, size: u64) -> ProgressBar {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let bar = ProgressBar::new(size).with_message(name);
    let style =
        "reading {msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_left() {
        let said = line(Path::new("rows.csv"), 1 << 30, 4 << 30, Duration::from_secs(8));
        assert_eq!(said, "reading rows.csv: 25% of 4.0 GiB, 128.0 MiB/s, 24 s left");
    }
}
