//! Profiling, and the counts of launches for programs in the same process.

use super::pointer::{Out, write};
use super::{SUCCESS, State, call, exports};

exports! {
    Nothing fn cuProfilerStart() |_state| {
        Ok(())
    }

    Nothing fn cuProfilerStop() |_state| {
        Ok(())
    }

    /// What `PTXVM_SEED` sets, for launches from here on.
    Nothing fn ptxvm_seed(seed: u64) |state| {
        state.settings.seed = seed;
        Ok(())
    }
}

/// Counts of launches in this process, one line of JSON each, in the order of execution.
///
/// The first call begins counting. A call with too few bytes (or none) returns how many the text takes and leaves it;
/// otherwise the text is stored, forgotten, and its bytes returned. No zero byte ends it.
// The name stands beside the driver's own in the library.
#[unsafe(no_mangle)]
pub extern "C" fn ptxvm_counts(to: Out<u8>, room: usize) -> usize {
    let mut bytes = 0;
    let code = call("ptxvm_counts", super::Needs::Nothing, |state: &mut State| {
        state.counting_in_process = true;
        let text: String = state.counts.iter().map(|counts| counts.json() + "\n").collect();
        bytes = text.len();
        if to.address() != 0 && room >= bytes {
            write(to.address(), text.as_bytes())?;
            state.counts.clear();
        }
        Ok(())
    });
    if code == SUCCESS { bytes } else { 0 }
}
