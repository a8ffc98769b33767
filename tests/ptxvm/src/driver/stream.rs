//! Streams: work is done when it is issued, so that nothing is left to wait for.

use super::pointer::Out;
use super::work::Work;
use super::{Done, INVALID_HANDLE, State, exports};

#[derive(Debug, Default)]
pub struct Stream {
    flags: u32,
    priority: i32,
    /// The capture that the stream takes part in.
    pub(super) capture: Option<usize>,
}

/// Handles of the default streams: the legacy one by two names, and that of the thread.
pub(super) fn is_default(stream: usize) -> bool {
    stream <= 2
}

impl State {
    pub(super) fn stream(&mut self, stream: usize) -> Done<Option<&mut Stream>> {
        if is_default(stream) {
            return Ok(None);
        }
        self.streams.get_mut(&stream).map(Some).ok_or(INVALID_HANDLE)
    }

    fn create_stream(&mut self, out: &Out<usize>, flags: u32, priority: i32) -> Done {
        let handle = self.handle();
        self.streams.insert(handle, Stream { flags, priority, capture: None });
        out.set(handle)
    }

    /// The streams that wait for the default stream, and it for them.
    pub(super) fn blocking(&self) -> Vec<usize> {
        self.streams.iter().filter(|(_, s)| s.flags & 1 == 0).map(|(handle, _)| *handle).chain([2]).collect()
    }

    /// Whether work of the default stream would wait for a stream that is captured.
    pub(super) fn blocks_default(&self) -> bool {
        self.streams.values().any(|s| s.capture.is_some() && s.flags & 1 == 0)
    }
}

exports! {
    Context fn cuStreamCreate(out: Out<usize>, flags: u32) |state| {
        state.create_stream(&out, flags, 0)
    }

    Context fn cuStreamCreateWithPriority(out: Out<usize>, flags: u32, priority: i32) |state| {
        state.create_stream(&out, flags, priority)
    }

    Context fn cuStreamDestroy_v2(stream: usize) |state| {
        state.streams.remove(&stream).map(|_| ()).ok_or(INVALID_HANDLE)
    }

    Context fn cuStreamSynchronize(stream: usize) |state| {
        state.stream(stream)?;
        state.refuse_recording(stream, "cuStreamSynchronize")?;
        state.orders.seen_stream(stream);
        Ok(())
    }

    Context fn cuStreamQuery(stream: usize) |state| {
        state.stream(stream)?;
        state.refuse_recording(stream, "cuStreamQuery")?;
        state.orders.seen_stream(stream);
        Ok(())
    }

    Context fn cuStreamGetFlags(stream: usize, out: Out<u32>) |state| {
        let flags = state.stream(stream)?.map_or(0, |s| s.flags);
        out.set(flags)
    }

    Context fn cuStreamGetPriority(stream: usize, out: Out<i32>) |state| {
        let priority = state.stream(stream)?.map_or(0, |s| s.priority);
        out.set(priority)
    }

    Context fn cuStreamGetCtx(_stream: usize, out: Out<usize>) |_state| {
        out.set(super::context::current().unwrap_or(0))
    }

    Context fn cuStreamWaitEvent(stream: usize, event: usize, _flags: u32) |state| {
        state.stream(stream)?;
        state.wait(stream, event)
    }

    Context fn cuLaunchHostFunc(stream: usize, function: usize, data: usize) |state| {
        state.stream(stream)?;
        state.submit(stream, Work::Host { function, data })
    }

    Context fn cuStreamAttachMemAsync(_stream: usize, _address: u64, _bytes: usize, _flags: u32) |_state| {
        Ok(())
    }
}
