//! Graphs: captured from streams, and launched again.
//!
//! A captured graph is the list of what was issued, in that order, which is one of those that its dependencies allow. What they do not order is
//! looked for when it is launched: each stream that took part is a branch, which comes after what the graph's own stream did before, and
//! after what it waited for of other branches.

use std::collections::HashMap;
use std::thread::ThreadId;

use super::pointer::Out;
use super::stream::is_default;
use super::work::Work;
use super::{
    CAPTURE_IMPLICIT, CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_UNMATCHED, CAPTURE_UNSUPPORTED, Done,
    INVALID_HANDLE, INVALID_VALUE, State, exports,
};

#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// How many streams it was captured from.
    branches: usize,
}

#[derive(Clone, Debug)]
struct Node {
    work: Work,
    /// The stream that it was captured from, by number.
    branch: usize,
    /// The nodes of other branches that it comes after, the last of each.
    after: Vec<usize>,
}

/// A graph to be launched, and handles that stand for its branches among the streams.
#[derive(Clone, Debug)]
pub struct Executable {
    graph: Graph,
    branches: Vec<usize>,
}

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    origin: usize,
    /// 0: unsafe calls of any thread end it, 1: of this thread, 2: of none.
    mode: u32,
    thread: ThreadId,
    nodes: Vec<Node>,
    /// The streams that work was issued to.
    branches: Vec<usize>,
    /// How many nodes there were after each stream's last.
    last: HashMap<usize, usize>,
    /// What each stream comes after, of the other streams.
    after: HashMap<usize, HashMap<usize, usize>>,
    invalid: bool,
}

impl Capture {
    /// How far the streams are, as far as a stream comes after them.
    pub(super) fn reached(&self, stream: usize) -> HashMap<usize, usize> {
        let mut reached = self.after.get(&stream).cloned().unwrap_or_default();
        reached.insert(stream, self.last.get(&stream).copied().unwrap_or(0));
        reached
    }
}

impl State {
    /// Records work of a stream that is captured; false where it is not.
    pub(super) fn record(&mut self, stream: usize, work: &Work) -> Done<bool> {
        let capture = self.stream(stream)?.and_then(|s| s.capture);
        let Some(capture) = capture.and_then(|c| self.captures.get_mut(&c)) else {
            if is_default(stream) && self.blocks_default() {
                self.invalidate();
                self.tell("work was issued to the default stream while another stream is captured");
                return Err(CAPTURE_IMPLICIT);
            }
            return Ok(false);
        };
        if capture.invalid {
            return Err(CAPTURE_INVALIDATED);
        }
        let known = capture.branches.iter().position(|known| *known == stream);
        let branch = known.unwrap_or_else(|| {
            capture.branches.push(stream);
            capture.branches.len() - 1
        });
        let others = capture.after.get(&stream).into_iter().flatten();
        let after =
            others.filter(|(other, _)| **other != stream).filter_map(|(_, count)| count.checked_sub(1));
        let after = after.collect();
        capture.nodes.push(Node { work: work.clone(), branch, after });
        let count = capture.nodes.len();
        capture.last.insert(stream, count);
        Ok(true)
    }

    fn invalidate(&mut self) {
        for capture in self.captures.values_mut() {
            capture.invalid = true;
        }
    }

    /// A stream comes after an event of a capture, and so takes part in it.
    pub(super) fn joins(&mut self, stream: usize, id: usize, reached: &HashMap<usize, usize>) -> Done {
        let Some(capture) = self.captures.get_mut(&id) else { return Ok(()) };
        let after = capture.after.entry(stream).or_default();
        for (other, count) in reached {
            let known = after.entry(*other).or_default();
            *known = (*known).max(*count);
        }
        match self.stream(stream)? {
            Some(stream) => {
                stream.capture = Some(id);
                Ok(())
            }
            None => Err(CAPTURE_IMPLICIT),
        }
    }

    /// Does what a graph is of, in order, and looks for what its branches touch with no order between them.
    fn replay(&mut self, stream: usize, Executable { graph, branches }: &Executable) -> Done {
        if graph.branches < 2 {
            return graph.nodes.iter().try_for_each(|node| match self.failed {
                Some(_) => Ok(()),
                None => self.perform(stream, &node.work),
            });
        }
        let blocking = self.blocking();
        self.orders.fork(stream, &blocking, branches);
        let (mut reached, mut outcome) = (Vec::new(), Ok(()));
        for node in &graph.nodes {
            if self.failed.is_some() || outcome.is_err() {
                break;
            }
            let branch = branches[node.branch];
            node.after.iter().for_each(|other| self.orders.follow(branch, &reached[*other]));
            outcome = self.perform(branch, &node.work);
            reached.push(self.orders.reached(branch));
        }
        self.orders.join(stream);
        outcome
    }

    /// What cannot be recorded fails where the stream is captured, and ends the capture.
    pub(super) fn refuse_recording(&mut self, stream: usize, name: &str) -> Done {
        let Some(id) = self.stream(stream)?.and_then(|s| s.capture) else { return Ok(()) };
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.invalid = true;
        }
        self.tell(&format!("{name} in a stream that is captured"));
        Err(CAPTURE_UNSUPPORTED)
    }

    /// Calls that may wait for the device, or allocate, fail while this thread captures a stream, or another does so in
    /// the global mode; not where the capture allows them.
    pub(super) fn refuse_unsafe(&mut self) -> Done {
        let here = std::thread::current().id();
        let mut refused = false;
        for capture in self.captures.values_mut() {
            if capture.mode == 0 || (capture.mode == 1 && capture.thread == here) {
                capture.invalid = true;
                refused = true;
            }
        }
        if refused {
            self.tell("a call that waits for the device, or allocates, while a stream is captured");
            return Err(CAPTURE_UNSUPPORTED);
        }
        Ok(())
    }
}

exports! {
    Context fn cuStreamBeginCapture_v2(stream: usize, mode: u32) |state| {
        let id = state.handle();
        let Some(known) = state.stream(stream)? else { return Err(CAPTURE_UNSUPPORTED) };
        if known.capture.is_some() {
            return Err(401);
        }
        known.capture = Some(id);
        state.captures.insert(id, Capture {
            origin: stream, mode, thread: std::thread::current().id(), nodes: Vec::new(), branches: Vec::new(), last: HashMap::new(), after: HashMap::new(), invalid: false,
        });
        Ok(())
    }

    Context fn cuStreamEndCapture(stream: usize, out: Out<usize>) |state| {
        let id = state.stream(stream)?.and_then(|s| s.capture).ok_or(401u32)?;
        if state.captures.get(&id).is_some_and(|c| c.origin != stream) {
            return Err(CAPTURE_UNMATCHED);
        }
        let capture = state.captures.remove(&id).ok_or(INVALID_HANDLE)?;
        for stream in state.streams.values_mut().filter(|s| s.capture == Some(id)) {
            stream.capture = None;
        }
        out.set(0)?;
        if capture.invalid {
            return Err(CAPTURE_INVALIDATED);
        }
        let reached = capture.reached(stream);
        for (other, last) in &capture.last {
            if reached.get(other).is_none_or(|known| known < last) {
                state.tell("the capture ends before its first stream waits for what another stream did last");
                return Err(CAPTURE_UNJOINED);
            }
        }
        let handle = state.handle();
        state.graphs.insert(handle, Graph { nodes: capture.nodes, branches: capture.branches.len() });
        out.set(handle)
    }

    Context fn cuStreamIsCapturing(stream: usize, out: Out<u32>) |state| {
        let capture = state.stream(stream)?.and_then(|s| s.capture);
        let invalid = capture.and_then(|c| state.captures.get(&c)).map(|c| c.invalid);
        out.set(match invalid {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        })
    }

    Context fn cuThreadExchangeStreamCaptureMode(_mode: Out<u32>) |_state| {
        Ok(())
    }

    Context fn cuGraphCreate(out: Out<usize>, _flags: u32) |state| {
        let handle = state.handle();
        state.graphs.insert(handle, Graph::default());
        out.set(handle)
    }

    Context fn cuGraphInstantiateWithFlags(out: Out<usize>, graph: usize, _flags: u64) |state| {
        let graph = state.graphs.get(&graph).ok_or(INVALID_HANDLE)?.clone();
        let branches = (0..graph.branches).map(|_| state.handle()).collect();
        let handle = state.handle();
        state.executables.insert(handle, Executable { graph, branches });
        out.set(handle)
    }

    Context fn cuGraphGetNodes(graph: usize, nodes: Out<usize>, count: Out<usize>) |state| {
        if nodes.address() != 0 {
            state.tell("cuGraphGetNodes: nodes of a graph are only counted");
            return Err(INVALID_VALUE);
        }
        count.set(state.graphs.get(&graph).ok_or(INVALID_HANDLE)?.nodes.len())
    }

    Context fn cuGraphLaunch(executable: usize, stream: usize) |state| {
        state.refuse_recording(stream, "cuGraphLaunch")?;
        let executable = state.executables.get(&executable).ok_or(INVALID_HANDLE)?.clone();
        state.replay(stream, &executable)
    }

    Context fn cuGraphUpload(executable: usize, stream: usize) |state| {
        state.stream(stream)?;
        state.executables.get(&executable).map(|_| ()).ok_or(INVALID_HANDLE)
    }

    Context fn cuGraphExecDestroy(executable: usize) |state| {
        state.executables.remove(&executable).map(|_| ()).ok_or(INVALID_HANDLE)
    }

    Context fn cuGraphDestroy(graph: usize) |state| {
        state.graphs.remove(&graph).map(|_| ()).ok_or(INVALID_HANDLE)
    }
}
