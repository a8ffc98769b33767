//! The driver's interface: what programs find in `libcuda.so.1`.
//!
//! One state behind one lock. Work is done where it is issued, before the call returns; so streams run in the order
//! of issue, and every event has happened when it is recorded. A fault of a kernel does not fail its launch but all
//! later calls, as on a GPU, until the context is destroyed.

mod context;
mod device;
mod error;
mod event;
mod function;
mod graph;
mod memory;
mod module;
mod order;
mod pointer;
mod profiler;
mod state;
mod stream;
mod work;

pub use state::State;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// What a function of the driver returns: CUDA's `CUresult`.
pub type Code = u32;
pub(crate) type Done<T = ()> = Result<T, Code>;

pub(crate) const SUCCESS: Code = 0;
pub(crate) const INVALID_VALUE: Code = 1;
pub(crate) const OUT_OF_MEMORY: Code = 2;
pub(crate) const NOT_INITIALIZED: Code = 3;
pub(crate) const NO_DEVICE: Code = 100;
pub(crate) const INVALID_DEVICE: Code = 101;
pub(crate) const INVALID_CONTEXT: Code = 201;
pub(crate) const NO_BINARY_FOR_GPU: Code = 209;
pub(crate) const INVALID_PTX: Code = 218;
pub(crate) const INVALID_HANDLE: Code = 400;
pub(crate) const LAUNCH_FAILED: Code = 719;
pub(crate) const NOT_FOUND: Code = 500;
pub(crate) const NOT_PERMITTED: Code = 800;
pub(crate) const NOT_SUPPORTED: Code = 801;
pub(crate) const CAPTURE_UNSUPPORTED: Code = 900;
pub(crate) const CAPTURE_INVALIDATED: Code = 901;
pub(crate) const CAPTURE_UNMATCHED: Code = 903;
pub(crate) const CAPTURE_UNJOINED: Code = 904;
pub(crate) const CAPTURE_IMPLICIT: Code = 906;
pub(crate) const CAPTURED_EVENT: Code = 907;
pub(crate) const UNKNOWN: Code = 999;

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is inside a function that a stream calls on the host.
    static CALLED_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Which calls a function makes possible or needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing, not even `cuInit`.
    Nothing,
    /// `cuInit`.
    Init,
    /// A context of the thread, and that no kernel has failed.
    Context,
}

/// Every exported function goes through here: failures that are asked for, what it needs, and no panic across.
pub(crate) fn call(name: &'static str, needs: Needs, body: impl FnOnce(&mut State) -> Done) -> Code {
    if CALLED_BACK.get() {
        return NOT_PERMITTED;
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        let state = guard.get_or_insert_with(State::from_environment);
        state.called(name)?;
        if needs != Needs::Nothing && !state.initialised {
            return Err(NOT_INITIALIZED);
        }
        if needs == Needs::Context {
            context::current().ok_or(INVALID_CONTEXT)?;
            if let Some(code) = state.failed {
                return Err(code);
            }
        }
        body(state)
    }));
    match result {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(code)) => code,
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            eprintln!("ptxvm: {name}: {message} (a mistake of ptxvm)");
            UNKNOWN
        }
    }
}

/// Exports functions of the driver: `Needs; fn name(arguments) |state| body`.
macro_rules! exports {
    ($($(#[$doc:meta])* $needs:ident fn $name:ident($($argument:ident: $type:ty),* $(,)?) |$state:ident| $body:block)*) => {
        $(
            $(#[$doc])*
            // The name is the driver's, which this library stands in for.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($argument: $type),*) -> $crate::driver::Code {
                $crate::driver::call(stringify!($name), $crate::driver::Needs::$needs, |$state| $body)
            }
        )*
        /// The functions of this file by name.
        pub(super) fn exported() -> Vec<(&'static str, *const ())> {
            vec![$((stringify!($name), $name as *const ())),*]
        }
    };
}
pub(crate) use exports;

/// All functions by name.
fn exported() -> Vec<(&'static str, *const ())> {
    [
        context::exported(),
        device::exported(),
        error::exported(),
        event::exported(),
        function::exported(),
        graph::exported(),
        memory::exported(),
        module::exported(),
        profiler::exported(),
        stream::exported(),
    ]
    .concat()
}
