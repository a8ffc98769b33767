//! What tells one run's data from another's: the columns, how many rows each part has, and a sample of rows.

use std::sync::OnceLock;

use crate::data::{Batch, Parts, Split};

/// Rows of each part that are looked at, evenly spread. A data set may be larger than memory, so not all are.
const SAMPLE: usize = 256;

/// A short text that changes when the data do; made when it is first asked for, which may be on another thread.
#[derive(Debug)]
pub struct Fingerprint {
    parts: Parts,
    text: OnceLock<String>,
}

impl Fingerprint {
    pub fn new(parts: &Parts) -> Fingerprint {
        Fingerprint { parts: parts.clone(), text: OnceLock::new() }
    }

    pub fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut sum = crc32fast::Hasher::new();
            let mut batch = Batch::default();
            for split in Split::ALL {
                let part = self.parts.get(split);
                for column in &part.table.columns {
                    sum.update(format!("{} {:?} {:?}\n", column.name, column.dtype, column.shape).as_bytes());
                }
                sum.update(&(part.len() as u64).to_le_bytes());
                let count = part.len().min(SAMPLE);
                let rows: Vec<_> = (0..count).map(|i| part.rows[i * part.len() / count]).collect();
                // A row that cannot be read stops the training with its own message.
                let _ = batch.gather(part, &rows);
                batch.columns.iter().for_each(|column| sum.update(column));
            }
            format!("{:08x}", sum.finalize())
        })
    }
}
