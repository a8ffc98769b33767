//! What is issued to a stream: done at once, or recorded where the stream is captured.

use std::ops::Range;
use std::sync::Arc;

use super::order::Touched;
use super::pointer::{call_back, read, write};
use super::{Done, INVALID_VALUE, LAUNCH_FAILED, State};
use crate::code::Program;
use crate::fault::Fault;
use crate::machine::{Launch, Limits, launch};

#[derive(Clone, Debug)]
pub enum Work {
    Launch {
        program: Arc<Program>,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic: u32,
        parameters: Vec<u8>,
    },
    /// From an address of the host.
    CopyIn {
        to: u64,
        from: usize,
        bytes: usize,
    },
    /// To an address of the host.
    CopyOut {
        to: usize,
        from: u64,
        bytes: usize,
    },
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    Fill {
        to: u64,
        pattern: Vec<u8>,
        count: usize,
    },
    /// A function of the host and its argument.
    Host {
        function: usize,
        data: usize,
    },
}

impl State {
    /// Does it, or records it where the stream is being captured.
    pub(super) fn submit(&mut self, stream: usize, work: Work) -> Done {
        if self.record(stream, &work)? { Ok(()) } else { self.perform(stream, &work) }
    }

    /// Does it, as work of a stream.
    pub(super) fn perform(&mut self, stream: usize, work: &Work) -> Done {
        let (name, touched) = self.done(work)?;
        if let Some(touched) = touched {
            let blocking = self.blocking();
            if let Some(race) = self.orders.issue(stream, &blocking, &name, &touched) {
                self.tell(&race);
                self.failed = Some(LAUNCH_FAILED);
            }
        }
        Ok(())
    }

    /// Does it, and says what it is and which memory of the device it touched, as far as that is known.
    fn done(&mut self, work: &Work) -> Done<(String, Option<Touched>)> {
        let from = |at: u64, bytes: usize| std::iter::once(at..at + bytes as u64).collect();
        let mut touched = Touched::default();
        let name = match work {
            Work::Launch { program, .. } => program.name.clone(),
            Work::CopyIn { to, bytes, .. } => {
                touched.written = from(*to, *bytes);
                "a copy to the device".to_owned()
            }
            Work::CopyOut { from: at, bytes, .. } => {
                touched.read = from(*at, *bytes);
                "a copy from the device".to_owned()
            }
            Work::Copy { to, from: at, bytes } => {
                (touched.read, touched.written) = (from(*at, *bytes), from(*to, *bytes));
                "a copy within the device".to_owned()
            }
            Work::Fill { to, pattern, count } => {
                touched.written = from(*to, pattern.len() * count);
                "a fill".to_owned()
            }
            Work::Host { .. } => return self.run(work).map(|_| (String::new(), None)),
        };
        if let Some([read, written]) = self.run(work)? {
            touched = Touched { read, written };
        }
        Ok((name, Some(touched)))
    }

    /// Does it. A kernel tells what it touched.
    fn run(&mut self, work: &Work) -> Done<Option<[Vec<Range<u64>>; 2]>> {
        let mut touched = None;
        match work {
            Work::Launch { program, grid, block, dynamic, parameters } => {
                let limits = Limits {
                    seed: self.settings.seed,
                    instructions: self.settings.limit,
                    counting: self.counting_in_process || self.settings.counts.is_some(),
                    watching: self.orders.is_watching(self.streams.len()),
                };
                let launched = Launch { grid: *grid, block: *block, dynamic: *dynamic, parameters };
                match launch(program, &launched, &mut self.memory, &limits) {
                    Ok(mut counts) => {
                        touched = Some(std::mem::take(&mut counts.touched));
                        if limits.counting {
                            self.counted(counts);
                        }
                    }
                    Err(report) => {
                        self.tell(&report.to_string());
                        self.failed = Some(report.kind.code());
                    }
                }
            }
            Work::CopyIn { to, from, bytes } => {
                let data = read(*from, *bytes)?;
                let done = self.memory.write(*to, &data);
                self.checked("a copy to the device", done)?;
            }
            Work::CopyOut { to, from, bytes } => {
                let mut data = vec![0; *bytes];
                let done = self.memory.read(*from, &mut data);
                self.checked("a copy from the device", done)?;
                write(*to, &data)?;
            }
            Work::Copy { to, from, bytes } => {
                let done = self.memory.copy(*to, *from, *bytes);
                self.checked("a copy within the device", done)?;
            }
            Work::Fill { to, pattern, count } => {
                let done = self.memory.fill(*to, pattern, *count);
                self.checked("a fill", done)?;
            }
            Work::Host { function, data } => call_back(*function, *data)?,
        }
        Ok(touched)
    }

    fn checked(&self, what: &str, done: Result<(), Fault>) -> Done {
        done.map_err(|fault| {
            self.tell(&format!("{what}: {}", fault.message));
            INVALID_VALUE
        })
    }
}
