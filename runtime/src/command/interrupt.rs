//! Ctrl-C and SIGTERM: the first is a wish to end soon, the second time the user means it.

use std::sync::atomic::{AtomicBool, Ordering};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes interrupts from now on; the flag says whether there was one.
pub fn taken() -> &'static AtomicBool {
    // A handler can be set once a process; if that failed, an interrupt simply ends the process as it always does.
    let _ = ctrlc::set_handler(|| {
        if TAKEN.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    &TAKEN
}
