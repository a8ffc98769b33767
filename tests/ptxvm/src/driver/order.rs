//! Which work of one stream comes before which of another, and whether two that have no order touch the same memory.
//!
//! Work is done when it is issued, so that a missing wait between two streams would never be seen in what is computed. So each stream, and the
//! host, counts how far it knows every stream to be (a vector clock: Lamport 1978, Mattern 1989): issuing work takes what the host knows
//! along, an event hands what its stream knew to whoever waits for it, and the old default stream and blocking streams wait for one another. Of
//! work that the host does not know to be done it is remembered which bytes it read and wrote, and what comes without knowing of it must
//! touch none of them, but to read what was read. The branches of a graph are streams while it is launched.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The old default stream, whichever of its names it was called by.
const LEGACY: usize = 1;

/// How far each stream is known to be.
pub(super) type Clock = HashMap<usize, u64>;

/// Ranges of bytes that do not overlap, by their starts: their ends, and who touched them first.
#[derive(Clone, Debug, Default)]
struct Spans(BTreeMap<u64, (u64, String)>);

impl Spans {
    /// Adds what is not there yet.
    fn add(&mut self, range: &Range<u64>, who: &str) {
        let mut at = range.start;
        while at < range.end {
            if let Some((_, (end, _))) = self.0.range(..=at).next_back()
                && *end > at
            {
                at = *end;
                continue;
            }
            let next = self.0.range(at..range.end).next().map_or(range.end, |(start, _)| *start);
            self.0.insert(at, (next, who.to_owned()));
            at = next;
        }
    }

    /// The first byte of a range that is in one of these, and who touched it.
    fn meets(&self, range: &Range<u64>) -> Option<(u64, &str)> {
        if let Some((_, (end, who))) = self.0.range(..=range.start).next_back()
            && *end > range.start
        {
            return Some((range.start, who));
        }
        self.0.range(range.clone()).next().map(|(start, (_, who))| (*start, who.as_str()))
    }
}

/// Work of one stream between two events.
#[derive(Debug)]
struct Group {
    stream: usize,
    /// The number of its last work.
    last: u64,
    read: Spans,
    written: Spans,
}

/// What a piece of work touches.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    pub read: Vec<Range<u64>>,
    pub written: Vec<Range<u64>>,
}

#[derive(Debug, Default)]
pub struct Orders {
    streams: HashMap<usize, Clock>,
    host: Clock,
    events: HashMap<usize, Clock>,
    /// What the host does not know to be done.
    waiting: Vec<Group>,
    /// Streams whose next work begins a group.
    fresh: HashMap<usize, bool>,
    /// Those of the graph that is being launched.
    branches: Vec<usize>,
}

fn join(clock: &mut Clock, other: &Clock) {
    for (stream, count) in other {
        let known = clock.entry(*stream).or_default();
        *known = (*known).max(*count);
    }
}

fn canonical(stream: usize) -> usize {
    if stream == 0 { LEGACY } else { stream }
}

impl Orders {
    /// Is there work of another stream that the host does not know to be done, or may there be?
    pub(super) fn is_watching(&self, streams: usize) -> bool {
        streams > 1 || streams == 1 && self.streams.contains_key(&LEGACY) || !self.branches.is_empty()
    }

    /// How far a stream knows the others to be when its next work is issued.
    fn arrive(&mut self, stream: usize, blocking: &[usize]) -> Clock {
        let mut clock = self.streams.remove(&stream).unwrap_or_default();
        join(&mut clock, &self.host);
        // What is issued to those behind this is not known of.
        if stream == LEGACY {
            for other in blocking {
                self.streams.get(other).into_iter().for_each(|other| join(&mut clock, other));
                self.fresh.insert(*other, true);
            }
        } else if blocking.contains(&stream) {
            self.streams.get(&LEGACY).into_iter().for_each(|legacy| join(&mut clock, legacy));
            self.fresh.insert(LEGACY, true);
        }
        clock
    }

    /// New work of a stream. `blocking`: the streams that wait for the old default stream, and it for them. Returns what is in the way.
    pub(super) fn issue(
        &mut self,
        stream: usize,
        blocking: &[usize],
        who: &str,
        touched: &Touched,
    ) -> Option<String> {
        let stream = canonical(stream);
        let mut clock = self.arrive(stream, blocking);
        let number = {
            let own = clock.entry(stream).or_default();
            *own += 1;
            *own
        };
        let unknown = |group: &&Group| {
            group.stream != stream && clock.get(&group.stream).copied().unwrap_or(0) < group.last
        };
        let found = self.waiting.iter().filter(unknown).find_map(|group| {
            let both = self.branches.contains(&stream) && self.branches.contains(&group.stream);
            let whose = if both { "branch of the graph" } else { "stream" };
            let write = |range: &Range<u64>| {
                let of = |spans: &Spans, did: &str| {
                    spans
                        .meets(range)
                        .map(|(at, other)| (at, format!("writes what {other}, in another {whose}, {did}")))
                };
                of(&group.written, "writes").or_else(|| of(&group.read, "reads"))
            };
            let read = |range: &Range<u64>| {
                let met = group.written.meets(range);
                met.map(|(at, other)| (at, format!("reads what {other}, in another {whose}, writes")))
            };
            touched.written.iter().find_map(write).or_else(|| touched.read.iter().find_map(read))
        });
        self.streams.insert(stream, clock);
        let fresh = self.fresh.insert(stream, false).unwrap_or(true);
        let open = self.waiting.iter_mut().rev().find(|group| group.stream == stream).filter(|_| !fresh);
        let group = match open {
            Some(group) => group,
            None => {
                let none = Spans::default();
                self.waiting.push(Group { stream, last: number, read: none.clone(), written: none });
                let last = self.waiting.len() - 1;
                &mut self.waiting[last]
            }
        };
        group.last = number;
        touched.read.iter().for_each(|range| group.read.add(range, who));
        touched.written.iter().for_each(|range| group.written.add(range, who));
        found.map(|(at, how)| {
            format!("a race between streams: {who} {how}, at 0x{at:x}, and nothing says which of the two comes first")
        })
    }

    /// A graph is launched in a stream: all its branches come after what the stream knows of, and after the graph's own last launch.
    pub(super) fn fork(&mut self, stream: usize, blocking: &[usize], branches: &[usize]) {
        let stream = canonical(stream);
        let clock = self.arrive(stream, blocking);
        for branch in branches {
            join(self.streams.entry(*branch).or_default(), &clock);
            self.fresh.insert(*branch, true);
        }
        // Others may have been told of what this stream did before, and of no more.
        self.fresh.insert(stream, true);
        self.streams.insert(stream, clock);
        self.branches = branches.to_vec();
    }

    /// How far a branch is, for those that come after what it did last.
    pub(super) fn reached(&mut self, branch: usize) -> Clock {
        self.fresh.insert(branch, true);
        self.streams.get(&branch).cloned().unwrap_or_default()
    }

    /// A branch's later work comes after what another one had reached.
    pub(super) fn follow(&mut self, branch: usize, reached: &Clock) {
        join(self.streams.entry(branch).or_default(), reached);
    }

    /// The graph ends: the stream comes after all its branches.
    pub(super) fn join(&mut self, stream: usize) {
        for branch in std::mem::take(&mut self.branches) {
            let reached = self.streams.get(&branch).cloned().unwrap_or_default();
            join(self.streams.entry(canonical(stream)).or_default(), &reached);
        }
    }

    /// An event is recorded in a stream.
    pub(super) fn record(&mut self, event: usize, stream: usize) {
        let stream = canonical(stream);
        let mut clock = self.streams.get(&stream).cloned().unwrap_or_default();
        join(&mut clock, &self.host);
        self.events.insert(event, clock);
        self.fresh.insert(stream, true);
    }

    /// A stream's later work comes after an event.
    pub(super) fn wait(&mut self, stream: usize, event: usize) {
        if let Some(reached) = self.events.get(&event) {
            join(self.streams.entry(canonical(stream)).or_default(), reached);
        }
    }

    /// The host has seen an event happen.
    pub(super) fn seen_event(&mut self, event: usize) {
        if let Some(reached) = self.events.get(&event).cloned() {
            self.seen(&reached);
        }
    }

    /// The host has waited for all work of a stream.
    pub(super) fn seen_stream(&mut self, stream: usize) {
        if let Some(reached) = self.streams.get(&canonical(stream)).cloned() {
            self.seen(&reached);
        }
    }

    /// The host has waited for all work.
    pub(super) fn seen_all(&mut self) {
        let all: Vec<Clock> = self.streams.values().cloned().collect();
        all.iter().for_each(|clock| self.seen(clock));
    }

    fn seen(&mut self, clock: &Clock) {
        join(&mut self.host, clock);
        let host = &self.host;
        self.waiting.retain(|group| host.get(&group.stream).copied().unwrap_or(0) < group.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(range: Range<u64>) -> Touched {
        Touched { read: Vec::new(), written: vec![range] }
    }

    fn reads(range: Range<u64>) -> Touched {
        Touched { read: vec![range], written: Vec::new() }
    }

    #[test]
    fn an_event_orders_and_its_lack_does_not() {
        let mut orders = Orders::default();
        assert_eq!(orders.issue(16, &[], "upload", &writes(0..64)), None);
        let told = orders.issue(32, &[], "kernel", &reads(60..70)).expect("nothing orders them");
        assert!(told.contains("kernel reads what upload, in another stream, writes, at 0x3c"), "{told}");
        let mut orders = Orders::default();
        orders.issue(16, &[], "upload", &writes(0..64));
        orders.record(7, 16);
        orders.wait(32, 7);
        assert_eq!(orders.issue(32, &[], "kernel", &reads(60..70)), None);
        // The next upload does not wait for who reads.
        assert!(orders.issue(16, &[], "upload", &writes(0..64)).is_some());
        // Others are free to read, and to write elsewhere.
        assert_eq!(orders.issue(48, &[], "other", &reads(64..80)), None);
        assert_eq!(orders.issue(48, &[], "other", &writes(80..90)), None);
    }

    #[test]
    fn what_comes_after_an_event_is_not_part_of_it() {
        let mut orders = Orders::default();
        orders.record(7, 16);
        orders.issue(16, &[], "upload", &writes(0..64));
        orders.wait(32, 7);
        assert!(orders.issue(32, &[], "kernel", &reads(0..4)).is_some());
    }

    #[test]
    fn branches_of_a_graph_are_streams_while_it_runs() {
        let mut orders = Orders::default();
        orders.issue(16, &[], "upload", &writes(0..64));
        orders.fork(16, &[], &[100, 101]);
        // Both come after what the stream did before.
        assert_eq!(orders.issue(100, &[], "kernel", &writes(0..8)), None);
        let reached = orders.reached(100);
        assert_eq!(orders.issue(100, &[], "more", &writes(8..16)), None);
        orders.follow(101, &reached);
        assert_eq!(orders.issue(101, &[], "after", &reads(0..8)), None);
        let told = orders.issue(101, &[], "beside", &reads(8..9)).expect("nothing orders them");
        assert!(
            told.contains("beside reads what more, in another branch of the graph, writes, at 0x8"),
            "{told}"
        );
        orders.join(16);
        assert_eq!(orders.issue(16, &[], "behind", &writes(0..64)), None);
        assert!(orders.issue(32, &[], "elsewhere", &writes(8..9)).is_some());
        // The host that waits for the stream knows of the branches.
        orders.seen_stream(16);
        assert_eq!(orders.issue(48, &[], "kernel", &reads(0..64)), Some(
            "a race between streams: kernel reads what elsewhere, in another stream, writes, at 0x8, and nothing says which of the two comes first".into()
        ));
    }

    #[test]
    fn the_host_and_the_old_default_stream_order_too() {
        let mut orders = Orders::default();
        orders.issue(16, &[], "upload", &writes(0..64));
        orders.seen_stream(16);
        assert_eq!(orders.issue(32, &[], "kernel", &writes(0..64)), None);
        assert_eq!(orders.issue(0, &[32], "copy", &reads(0..64)), None);
        assert_eq!(orders.issue(32, &[32], "kernel", &writes(0..64)), None);
        // A stream that does not block is not waited for.
        assert!(orders.issue(0, &[], "copy", &reads(0..64)).is_some());
    }
}
