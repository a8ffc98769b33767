//! Devices: how many, their names and properties.

use super::pointer::{Out, write};
use super::{INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, State, exports};

/// Shared memory of a multiprocessor, and of a block that asks for it, by compute capability.
pub(super) fn shared_limits(compute: (i32, i32)) -> (i32, i32) {
    let kilobytes = match compute {
        (8, 0) | (8, 7) => 164,
        (8, _) | (12, _) => 100,
        (9, _) | (10, _) => 228,
        (7, 5) => 64,
        _ => 96,
    };
    // A kilobyte of every block is the system's.
    (kilobytes << 10, (kilobytes - 1) << 10)
}

/// The value of an attribute of a device, by the numbers of `CUdevice_attribute`.
fn attribute(state: &State, number: i32) -> i32 {
    let compute = state.settings.compute;
    let (shared, shared_of_block) = shared_limits(compute);
    match number {
        // Threads of a block, and its dimensions.
        1..=3 => 1024,
        4 => 64,
        // Dimensions of a grid.
        5 => i32::MAX,
        6 | 7 => 65535,
        // Shared memory of a block that asks for no more; constants; lanes of a warp.
        8 => 48 << 10,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX,
        // Registers of a block and of a multiprocessor.
        12 | 82 => 65536,
        13 => 1_410_000,
        14 => 512,
        16 => {
            if compute.0 >= 9 {
                132
            } else {
                108
            }
        }
        19 | 31 | 32 | 41 => 1,
        33 => 1,
        36 => 1_215_000,
        37 => 5120,
        38 => 40 << 20,
        // Threads of a multiprocessor.
        39 => {
            if compute == (8, 0) || compute.0 == 9 || compute.0 == 10 {
                2048
            } else {
                1536
            }
        }
        40 => 2,
        75 => compute.0,
        76 => compute.1,
        78 => 1,
        81 => shared,
        // Cooperative launches.
        95 => 1,
        97 => shared_of_block,
        106 => 32,
        111 => 1024,
        // Pools of memory.
        115 => 1,
        _ => 0,
    }
}

fn check(state: &State, device: i32) -> super::Done {
    if (0..state.settings.devices as i32).contains(&device) { Ok(()) } else { Err(INVALID_DEVICE) }
}

exports! {
    Init fn cuDeviceGetCount(out: Out<i32>) |state| {
        out.set(state.settings.devices as i32)
    }

    Init fn cuDeviceGet(out: Out<i32>, ordinal: i32) |state| {
        if state.settings.devices == 0 {
            return Err(NO_DEVICE);
        }
        check(state, ordinal)?;
        out.set(ordinal)
    }

    Init fn cuDeviceGetName(name: Out<u8>, length: i32, device: i32) |state| {
        check(state, device)?;
        let (major, minor) = state.settings.compute;
        let text = format!("PTX interpreter (ptxvm, sm_{major}{minor})\0");
        if length < 1 {
            return Err(INVALID_VALUE);
        }
        let mut bytes = text.into_bytes();
        bytes.truncate(length as usize);
        if let Some(last) = bytes.last_mut() {
            *last = 0;
        }
        write(name.address(), &bytes)
    }

    Init fn cuDeviceTotalMem_v2(out: Out<usize>, device: i32) |state| {
        check(state, device)?;
        out.set(state.settings.memory as usize)
    }

    Init fn cuDeviceGetAttribute(out: Out<i32>, number: i32, device: i32) |state| {
        check(state, device)?;
        out.set(attribute(state, number))
    }

    Init fn cuDeviceGetUuid(out: Out<[u8; 16]>, device: i32) |state| {
        check(state, device)?;
        out.set(*b"ptxvm-virtual-00")
    }

    Init fn cuDeviceGetUuid_v2(out: Out<[u8; 16]>, device: i32) |state| {
        check(state, device)?;
        out.set(*b"ptxvm-virtual-00")
    }

    Init fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) |state| {
        check(state, device)?;
        major.set(state.settings.compute.0)?;
        minor.set(state.settings.compute.1)
    }

    Init fn cuDeviceCanAccessPeer(out: Out<i32>, _device: i32, _peer: i32) |_state| {
        out.set(0)
    }
}
