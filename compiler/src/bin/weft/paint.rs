//! Colours on standard output.

use std::io;

/// May what goes to standard output be painted? On a terminal, unless the environment says otherwise (`NO_COLOR` and the like).
pub fn allowed() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}
