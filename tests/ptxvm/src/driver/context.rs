//! Contexts: the primary one of each device, others, and which one a thread has.

use std::cell::RefCell;

use super::pointer::Out;
use super::{Done, INVALID_CONTEXT, INVALID_DEVICE, INVALID_VALUE, State, exports};

#[derive(Debug)]
pub struct Context {
    device: i32,
    /// How often the primary context was retained; none for others.
    retained: Option<u32>,
}

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The thread's context.
pub(super) fn current() -> Option<usize> {
    STACK.with_borrow(|stack| stack.last().copied()).filter(|context| *context != 0)
}

fn set_current(context: usize) {
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        if context != 0 {
            stack.push(context);
        }
    });
}

/// The handle of a device's primary context.
fn primary(device: i32) -> usize {
    0x100 + 16 * device as usize
}

fn check_device(state: &State, device: i32) -> Done {
    if (0..state.settings.devices as i32).contains(&device) { Ok(()) } else { Err(INVALID_DEVICE) }
}

impl State {
    /// The end of a context: its objects and what its kernels did wrong.
    fn destroy(&mut self, context: usize) {
        self.contexts.remove(&context);
        if self.contexts.is_empty() {
            self.failed = None;
            self.memory = crate::memory::Memory::new(self.settings.memory);
            self.modules.clear();
            self.functions.clear();
            self.streams.clear();
            self.events.clear();
            self.graphs.clear();
            self.executables.clear();
            self.captures.clear();
            self.orders = super::order::Orders::default();
        }
    }

    fn create(&mut self, out: &Out<usize>, device: i32) -> Done {
        check_device(self, device)?;
        let context = self.handle();
        self.contexts.insert(context, Context { device, retained: None });
        STACK.with_borrow_mut(|stack| stack.push(context));
        out.set(context)
    }
}

exports! {
    Init fn cuDevicePrimaryCtxRetain(out: Out<usize>, device: i32) |state| {
        check_device(state, device)?;
        let context = state.contexts.entry(primary(device)).or_insert(Context { device, retained: Some(0) });
        context.retained = context.retained.map(|n| n + 1);
        out.set(primary(device))
    }

    Init fn cuDevicePrimaryCtxRelease_v2(device: i32) |state| {
        let context = state.contexts.get_mut(&primary(device)).ok_or(INVALID_CONTEXT)?;
        let left = context.retained.unwrap_or(0).saturating_sub(1);
        context.retained = Some(left);
        if left == 0 {
            state.destroy(primary(device));
        }
        Ok(())
    }

    Init fn cuDevicePrimaryCtxReset_v2(device: i32) |state| {
        state.destroy(primary(device));
        Ok(())
    }

    Init fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) |state| {
        flags.set_if_wanted(0);
        active.set(state.contexts.contains_key(&primary(device)).into())
    }

    Init fn cuDevicePrimaryCtxSetFlags_v2(_device: i32, _flags: u32) |_state| {
        Ok(())
    }

    Init fn cuCtxCreate_v2(out: Out<usize>, _flags: u32, device: i32) |state| {
        state.create(&out, device)
    }

    Init fn cuCtxCreate_v3(out: Out<usize>, _affinity: usize, _count: i32, _flags: u32, device: i32) |state| {
        state.create(&out, device)
    }

    Init fn cuCtxCreate_v4(out: Out<usize>, _parameters: usize, _flags: u32, device: i32) |state| {
        state.create(&out, device)
    }

    Init fn cuCtxDestroy_v2(context: usize) |state| {
        if !state.contexts.contains_key(&context) {
            return Err(INVALID_CONTEXT);
        }
        STACK.with_borrow_mut(|stack| stack.retain(|c| *c != context));
        state.destroy(context);
        Ok(())
    }

    Init fn cuCtxSetCurrent(context: usize) |state| {
        if context != 0 && !state.contexts.contains_key(&context) {
            return Err(INVALID_CONTEXT);
        }
        set_current(context);
        Ok(())
    }

    Init fn cuCtxGetCurrent(out: Out<usize>) |_state| {
        out.set(current().unwrap_or(0))
    }

    Init fn cuCtxPushCurrent_v2(context: usize) |state| {
        if !state.contexts.contains_key(&context) {
            return Err(INVALID_CONTEXT);
        }
        STACK.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    }

    Init fn cuCtxPopCurrent_v2(out: Out<usize>) |_state| {
        let popped = STACK.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?;
        out.set_if_wanted(popped);
        Ok(())
    }

    Init fn cuCtxGetDevice(out: Out<i32>) |state| {
        let context = current().and_then(|c| state.contexts.get(&c)).ok_or(INVALID_CONTEXT)?;
        out.set(context.device)
    }

    Context fn cuCtxSynchronize() |state| {
        state.refuse_unsafe()?;
        state.orders.seen_all();
        Ok(())
    }

    Context fn cuCtxGetLimit(out: Out<usize>, limit: u32) |_state| {
        // Stack of a thread, buffer of printf, heap of malloc; the others are 0.
        out.set(match limit {
            0 => 1024,
            1 => 1 << 20,
            2 => 8 << 20,
            _ => 0,
        })
    }

    Context fn cuCtxSetLimit(_limit: u32, _value: usize) |_state| {
        Ok(())
    }

    Context fn cuCtxGetCacheConfig(out: Out<u32>) |_state| {
        out.set(0)
    }

    Context fn cuCtxSetCacheConfig(_config: u32) |_state| {
        Ok(())
    }

    Context fn cuCtxSetFlags(_flags: u32) |_state| {
        Ok(())
    }

    Context fn cuCtxGetFlags(out: Out<u32>) |_state| {
        out.set(0)
    }

    Context fn cuCtxGetApiVersion(_context: usize, out: Out<u32>) |_state| {
        out.set(13000)
    }

    Context fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) |_state| {
        least.set_if_wanted(0);
        greatest.set_if_wanted(-5);
        Ok(())
    }

    Context fn cuCtxGetSharedMemConfig(out: Out<u32>) |_state| {
        if out.address() == 0 { Err(INVALID_VALUE) } else { out.set(1) }
    }
}
