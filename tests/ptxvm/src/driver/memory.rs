//! Memory of the device and of the host, copies and fills.

use super::pointer::{Out, Pinned};
use super::work::Work;
use super::{Done, INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY, State, exports};

impl State {
    fn allocate(&mut self, out: &Out<u64>, bytes: usize) -> Done {
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        out.set(self.memory.allocate(bytes as u64).ok_or(OUT_OF_MEMORY)?)
    }

    fn release(&mut self, address: u64) -> Done {
        if address == 0 || self.memory.free(address) { Ok(()) } else { Err(INVALID_VALUE) }
    }

    fn pin(&mut self, out: &Out<usize>, bytes: usize) -> Done {
        let pinned = Pinned::new(bytes).ok_or(OUT_OF_MEMORY)?;
        let address = pinned.address();
        self.pinned.insert(address, pinned);
        out.set(address)
    }

    /// A copy of which either side may be the host's, as its address tells.
    fn copy_any(&mut self, stream: usize, to: u64, from: u64, bytes: usize) -> Done {
        let device = |state: &mut State, address| state.memory.find(address, 1).is_ok();
        let work = match (device(self, to), device(self, from)) {
            (true, true) => Work::Copy { to, from, bytes },
            (true, false) => Work::CopyIn { to, from: from as usize, bytes },
            (false, true) => Work::CopyOut { to: to as usize, from, bytes },
            (false, false) => return Err(INVALID_VALUE),
        };
        self.submit(stream, work)
    }

    /// Synchronous work: it uses the default stream, whatever is captured.
    fn synchronous(&mut self, work: Work) -> Done {
        self.refuse_unsafe()?;
        self.perform(0, &work)?;
        self.orders.seen_stream(0);
        Ok(())
    }
}

fn fill(to: u64, pattern: &[u8], count: usize) -> Work {
    Work::Fill { to, pattern: pattern.to_vec(), count }
}

exports! {
    Context fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |state| {
        free.set((state.memory.limit - state.memory.used) as usize)?;
        total.set(state.memory.limit as usize)
    }

    Context fn cuMemAlloc_v2(out: Out<u64>, bytes: usize) |state| {
        state.refuse_unsafe()?;
        state.allocate(&out, bytes)
    }

    Context fn cuMemFree_v2(address: u64) |state| {
        state.refuse_unsafe()?;
        state.release(address)
    }

    Context fn cuMemAllocAsync(out: Out<u64>, bytes: usize, stream: usize) |state| {
        state.refuse_recording(stream, "cuMemAllocAsync")?;
        state.allocate(&out, bytes)
    }

    Context fn cuMemAllocFromPoolAsync(out: Out<u64>, bytes: usize, _pool: usize, stream: usize) |state| {
        state.refuse_recording(stream, "cuMemAllocFromPoolAsync")?;
        state.allocate(&out, bytes)
    }

    Context fn cuMemFreeAsync(address: u64, stream: usize) |state| {
        state.refuse_recording(stream, "cuMemFreeAsync")?;
        state.release(address)
    }

    Context fn cuMemGetAddressRange_v2(start: Out<u64>, bytes: Out<usize>, address: u64) |state| {
        let (at, size) = state.memory.around(address).ok_or(INVALID_VALUE)?;
        start.set_if_wanted(at);
        bytes.set_if_wanted(size as usize);
        Ok(())
    }

    /// Managed memory moves between host and device by itself, which is not modelled.
    Context fn cuMemAllocManaged(_out: Out<u64>, _bytes: usize, _flags: u32) |state| {
        state.tell("cuMemAllocManaged is not modelled");
        Err(NOT_SUPPORTED)
    }

    Context fn cuMemHostAlloc(out: Out<usize>, bytes: usize, _flags: u32) |state| {
        state.pin(&out, bytes)
    }

    Context fn cuMemAllocHost_v2(out: Out<usize>, bytes: usize) |state| {
        state.pin(&out, bytes)
    }

    Init fn cuMemFreeHost(address: usize) |state| {
        state.pinned.remove(&address).map(|_| ()).ok_or(INVALID_VALUE)
    }

    Context fn cuMemHostGetFlags(out: Out<u32>, address: usize) |state| {
        if state.pinned.values().any(|p| p.holds(address)) { out.set(0) } else { Err(INVALID_VALUE) }
    }

    /// Kernels see memory of the device alone.
    Context fn cuMemHostGetDevicePointer_v2(_out: Out<u64>, _address: usize, _flags: u32) |state| {
        state.tell("cuMemHostGetDevicePointer (memory of the host that kernels see) is not modelled");
        Err(NOT_SUPPORTED)
    }

    Context fn cuMemHostRegister_v2(_address: usize, _bytes: usize, _flags: u32) |_state| {
        Ok(())
    }

    Context fn cuMemHostUnregister(_address: usize) |_state| {
        Ok(())
    }

    Context fn cuMemcpyHtoD_v2(to: u64, from: usize, bytes: usize) |state| {
        state.synchronous(Work::CopyIn { to, from, bytes })
    }

    Context fn cuMemcpyDtoH_v2(to: usize, from: u64, bytes: usize) |state| {
        state.synchronous(Work::CopyOut { to, from, bytes })
    }

    Context fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) |state| {
        state.synchronous(Work::Copy { to, from, bytes })
    }

    Context fn cuMemcpyHtoDAsync_v2(to: u64, from: usize, bytes: usize, stream: usize) |state| {
        state.submit(stream, Work::CopyIn { to, from, bytes })
    }

    Context fn cuMemcpyDtoHAsync_v2(to: usize, from: u64, bytes: usize, stream: usize) |state| {
        state.submit(stream, Work::CopyOut { to, from, bytes })
    }

    Context fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) |state| {
        state.submit(stream, Work::Copy { to, from, bytes })
    }

    Context fn cuMemcpyPeerAsync(to: u64, _to_context: usize, from: u64, _from_context: usize, bytes: usize, stream: usize) |state| {
        state.submit(stream, Work::Copy { to, from, bytes })
    }

    Context fn cuMemcpy(to: u64, from: u64, bytes: usize) |state| {
        state.refuse_unsafe()?;
        state.copy_any(0, to, from, bytes)
    }

    Context fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: usize) |state| {
        state.copy_any(stream, to, from, bytes)
    }

    Context fn cuMemsetD8_v2(to: u64, value: u8, count: usize) |state| {
        state.synchronous(fill(to, &[value], count))
    }

    Context fn cuMemsetD16_v2(to: u64, value: u16, count: usize) |state| {
        state.synchronous(fill(to, &value.to_le_bytes(), count))
    }

    Context fn cuMemsetD32_v2(to: u64, value: u32, count: usize) |state| {
        state.synchronous(fill(to, &value.to_le_bytes(), count))
    }

    Context fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) |state| {
        state.submit(stream, fill(to, &[value], count))
    }

    Context fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: usize) |state| {
        state.submit(stream, fill(to, &value.to_le_bytes(), count))
    }

    Context fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: usize) |state| {
        state.submit(stream, fill(to, &value.to_le_bytes(), count))
    }

    Init fn cuDeviceGetDefaultMemPool(out: Out<usize>, _device: i32) |_state| {
        out.set(0x80)
    }

    Init fn cuDeviceGetMemPool(out: Out<usize>, _device: i32) |_state| {
        out.set(0x80)
    }

    Init fn cuDeviceSetMemPool(_device: i32, _pool: usize) |_state| {
        Ok(())
    }

    Init fn cuMemPoolCreate(out: Out<usize>, _properties: usize) |state| {
        let handle = state.handle();
        out.set(handle)
    }

    Init fn cuMemPoolDestroy(_pool: usize) |_state| {
        Ok(())
    }

    Init fn cuMemPoolGetAttribute(_pool: usize, _attribute: u32, out: Out<u64>) |_state| {
        out.set(0)
    }

    Init fn cuMemPoolSetAttribute(_pool: usize, _attribute: u32, _value: usize) |_state| {
        Ok(())
    }

    Init fn cuMemPoolTrimTo(_pool: usize, _bytes: usize) |_state| {
        Ok(())
    }

    Context fn cuPointerGetAttribute(out: Out<u32>, attribute: i32, address: u64) |state| {
        // Of what memory the address is: 1 of the host, 2 of the device.
        if attribute != 2 {
            return Err(NOT_SUPPORTED);
        }
        if state.memory.find(address, 1).is_ok() {
            out.set(2)
        } else if state.pinned.values().any(|p| p.holds(address as usize)) {
            out.set(1)
        } else {
            Err(INVALID_VALUE)
        }
    }
}
