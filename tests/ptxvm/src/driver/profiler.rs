//! Profiling, and the counts of launches for programs in the same process.

use super::exports;
use super::pointer::{Out, write};

exports! {
    Nothing fn cuProfilerStart() |_state| {
        Ok(())
    }

    Nothing fn cuProfilerStop() |_state| {
        Ok(())
    }

    /// From here on, launches are counted for `ptxvm_counts_take`; those counted before are forgotten.
    Nothing fn ptxvm_counts_start() |state| {
        state.counting_in_process = true;
        state.counts.clear();
        Ok(())
    }

    /// Counts of all launches since the start or the last call: lines of JSON, in so many bytes at most, with a zero
    /// at the end. How many bytes that takes is stored in `needed`; where there is no such room nothing is taken.
    Nothing fn ptxvm_counts_take(out: Out<u8>, room: usize, needed: Out<usize>) |state| {
        let mut text: String = state.counts.iter().map(|counts| counts.json() + "\n").collect();
        text.push('\0');
        needed.set(text.len())?;
        if text.len() <= room {
            write(out.address(), text.as_bytes())?;
            state.counts.clear();
        }
        Ok(())
    }

    /// What `PTXVM_SEED` sets, for launches from here on.
    Nothing fn ptxvm_seed(seed: u64) |state| {
        state.settings.seed = seed;
        Ok(())
    }
}
