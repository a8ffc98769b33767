//! Events: they have happened when they are recorded.

use std::collections::HashMap;
use std::time::Instant;

use super::pointer::Out;
use super::{CAPTURED_EVENT, Done, INVALID_HANDLE, INVALID_VALUE, State, exports};

#[derive(Debug, Default)]
pub struct Event {
    flags: u32,
    at: Option<Instant>,
    /// Recorded in a stream that is captured: the capture, and how far its streams were.
    pub(super) capture: Option<(usize, HashMap<usize, usize>)>,
}

impl State {
    fn record_event(&mut self, handle: usize, stream: usize) -> Done {
        let capture = self.stream(stream)?.and_then(|s| s.capture);
        let reached = capture.and_then(|c| self.captures.get(&c).map(|known| (c, known.reached(stream))));
        let event = self.events.get_mut(&handle).ok_or(INVALID_HANDLE)?;
        let outside = reached.is_none();
        event.capture = reached;
        event.at = Some(Instant::now());
        if outside {
            self.orders.record(handle, stream);
        }
        Ok(())
    }

    /// The stream's later work comes after the event.
    pub(super) fn wait(&mut self, stream: usize, event: usize) -> Done {
        let known = self.events.get(&event).ok_or(INVALID_HANDLE)?;
        let Some((capture, reached)) = known.capture.clone() else {
            self.orders.wait(stream, event);
            return Ok(());
        };
        self.joins(stream, capture, &reached)
    }

    fn happened(&self, event: usize) -> Done<Option<Instant>> {
        let event = self.events.get(&event).ok_or(INVALID_HANDLE)?;
        if event.capture.as_ref().is_some_and(|(c, _)| self.captures.contains_key(c)) {
            return Err(CAPTURED_EVENT);
        }
        Ok(event.at)
    }

    fn elapsed(&self, out: &Out<f32>, start: usize, end: usize) -> Done {
        let timed = |event: usize| {
            let known = self.events.get(&event).ok_or(INVALID_HANDLE)?;
            // An event without times.
            if known.flags & 2 != 0 {
                Err(INVALID_HANDLE)
            } else {
                self.happened(event)?.ok_or(INVALID_HANDLE)
            }
        };
        let (start, end) = (timed(start)?, timed(end)?);
        let seconds = if end >= start { (end - start).as_secs_f32() } else { -(start - end).as_secs_f32() };
        out.set(seconds * 1000.0)
    }
}

exports! {
    Context fn cuEventCreate(out: Out<usize>, flags: u32) |state| {
        let handle = state.handle();
        state.events.insert(handle, Event { flags, ..Event::default() });
        out.set(handle)
    }

    Context fn cuEventDestroy_v2(event: usize) |state| {
        state.events.remove(&event).map(|_| ()).ok_or(INVALID_HANDLE)
    }

    Context fn cuEventRecord(event: usize, stream: usize) |state| {
        state.record_event(event, stream)
    }

    Context fn cuEventRecordWithFlags(event: usize, stream: usize, _flags: u32) |state| {
        state.record_event(event, stream)
    }

    Context fn cuEventQuery(event: usize) |state| {
        state.happened(event)?;
        state.orders.seen_event(event);
        Ok(())
    }

    Context fn cuEventSynchronize(event: usize) |state| {
        state.happened(event)?;
        state.orders.seen_event(event);
        Ok(())
    }

    Context fn cuEventElapsedTime(out: Out<f32>, start: usize, end: usize) |state| {
        if out.address() == 0 {
            return Err(INVALID_VALUE);
        }
        state.elapsed(&out, start, end)
    }

    Context fn cuEventElapsedTime_v2(out: Out<f32>, start: usize, end: usize) |state| {
        state.elapsed(&out, start, end)
    }
}
