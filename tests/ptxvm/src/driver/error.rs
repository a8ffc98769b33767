//! Names and texts of errors, and the driver's version.

use std::ffi::{CStr, c_char};

use super::pointer::{Out, Text};
use super::{INVALID_VALUE, NOT_FOUND, exported as all, exports};

/// Code, name, and what it means.
const ERRORS: [(u32, &CStr, &CStr); 34] = [
    (0, c"CUDA_SUCCESS", c"no error"),
    (1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (4, c"CUDA_ERROR_DEINITIALIZED", c"driver shutting down"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (200, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device"),
    (218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (
        222,
        c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        c"the provided PTX was compiled with an unsupported toolchain.",
    ),
    (301, c"CUDA_ERROR_FILE_NOT_FOUND", c"file not found"),
    (400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (600, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch"),
    (702, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated"),
    (709, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"context is destroyed"),
    (715, c"CUDA_ERROR_ILLEGAL_INSTRUCTION", c"an illegal instruction was encountered"),
    (716, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
    (719, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (720, c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", c"too many blocks in cooperative launch"),
    (800, c"CUDA_ERROR_NOT_PERMITTED", c"operation not permitted"),
    (801, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (
        803,
        c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        c"system has unsupported display driver / cuda driver combination",
    ),
    (900, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"operation not permitted when stream is capturing"),
    (
        901,
        c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        c"operation failed due to a previous error during capture",
    ),
    (903, c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", c"capture was not initiated in this stream"),
    (904, c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", c"capturing stream has unjoined work"),
    (906, c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", c"dependency would depend on capturing legacy stream"),
    (
        907,
        c"CUDA_ERROR_CAPTURED_EVENT",
        c"operation not permitted on an event last recorded in a capturing stream",
    ),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

exports! {
    Nothing fn cuGetErrorName(code: u32, out: Out<*const c_char>) |_state| {
        let found = ERRORS.iter().find(|e| e.0 == code).ok_or(INVALID_VALUE)?;
        out.set(found.1.as_ptr())
    }

    Nothing fn cuGetErrorString(code: u32, out: Out<*const c_char>) |_state| {
        let found = ERRORS.iter().find(|e| e.0 == code).ok_or(INVALID_VALUE)?;
        out.set(found.2.as_ptr())
    }

    Nothing fn cuDriverGetVersion(out: Out<i32>) |state| {
        out.set(state.settings.driver)
    }

    Nothing fn cuInit(flags: u32) |state| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if state.settings.devices == 0 {
            return Err(super::NO_DEVICE);
        }
        state.initialised = true;
        Ok(())
    }

    /// Private interfaces of NVIDIA's own libraries: there are none here.
    Nothing fn cuGetExportTable(_table: Out<*const ()>, _id: usize) |_state| {
        Err(NOT_FOUND)
    }

    Nothing fn cuGetProcAddress_v2(name: Text, out: Out<*const ()>, _version: i32, _flags: u64, status: Out<i32>) |_state| {
        let name = name.get()?;
        // The newest version of a function is asked for without its suffix.
        let table = all();
        let found = ["_v4", "_v3", "_v2", ""]
            .iter()
            .find_map(|suffix| table.iter().find(|(n, _)| **n == format!("{name}{suffix}")));
        match found {
            Some((_, address)) => {
                status.set_if_wanted(0);
                out.set(*address)
            }
            None => {
                status.set_if_wanted(1);
                Err(NOT_FOUND)
            }
        }
    }
}
