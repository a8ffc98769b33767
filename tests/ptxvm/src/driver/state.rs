//! All that the driver remembers.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use super::context::Context;
use super::event::Event;
use super::graph::{Capture, Executable, Graph};
use super::order::Orders;
use super::pointer::Pinned;
use super::stream::Stream;
use super::{Code, Done, INVALID_HANDLE};
use crate::code::Program;
use crate::counts::Counts;
use crate::memory::Memory;
use crate::module::Module;
use crate::settings::Settings;

/// A kernel of a module, and what was set for it.
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) module: usize,
    pub(super) program: Arc<Program>,
    /// The most dynamic shared memory that a launch may ask for.
    pub(super) dynamic_limit: u32,
    pub(super) carveout: i32,
}

#[derive(Debug)]
pub struct State {
    pub(super) settings: Settings,
    pub(super) initialised: bool,
    pub(super) memory: Memory,
    /// What every call returns since a kernel failed.
    pub(super) failed: Option<Code>,
    pub(super) contexts: HashMap<usize, Context>,
    pub(super) modules: HashMap<usize, Module>,
    pub(super) functions: HashMap<usize, Function>,
    pub(super) streams: HashMap<usize, Stream>,
    pub(super) events: HashMap<usize, Event>,
    pub(super) graphs: HashMap<usize, Graph>,
    pub(super) executables: HashMap<usize, Executable>,
    pub(super) captures: HashMap<usize, Capture>,
    pub(super) orders: Orders,
    pub(super) pinned: HashMap<usize, Pinned>,
    pub(super) counts: Vec<Counts>,
    /// Whether `counts` is kept, for `ptxvm_counts`.
    pub(super) counting_in_process: bool,
    calls: HashMap<&'static str, u64>,
    next: usize,
}

impl State {
    pub(super) fn from_environment() -> Self {
        let settings = Settings::read(|name| std::env::var(name).ok()).unwrap_or_else(|message| {
            eprintln!("ptxvm: {message}; all settings are left as they are by default");
            Settings::default()
        });
        State::new(settings)
    }

    pub fn new(settings: Settings) -> Self {
        State {
            memory: Memory::new(settings.memory),
            settings,
            initialised: false,
            failed: None,
            contexts: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            streams: HashMap::new(),
            events: HashMap::new(),
            graphs: HashMap::new(),
            executables: HashMap::new(),
            captures: HashMap::new(),
            orders: Orders::default(),
            pinned: HashMap::new(),
            counts: Vec::new(),
            counting_in_process: false,
            calls: HashMap::new(),
            next: 0x1000,
        }
    }

    /// A function was called: is it to fail?
    pub(super) fn called(&mut self, name: &'static str) -> Done {
        if self.settings.failures.is_empty() {
            return Ok(());
        }
        let calls = self.calls.entry(name).or_default();
        *calls += 1;
        match self.settings.failures.iter().find(|f| f.function == name && f.call == *calls) {
            Some(failure) => Err(failure.code),
            None => Ok(()),
        }
    }

    /// A handle that nothing else has.
    pub(super) fn handle(&mut self) -> usize {
        self.next += 16;
        self.next
    }

    pub(super) fn function(&self, handle: usize) -> Done<&Function> {
        self.functions.get(&handle).ok_or(INVALID_HANDLE)
    }

    /// A message to stderr and into the report.
    pub(super) fn tell(&self, message: &str) {
        eprintln!("ptxvm: {message}");
        if let Some(path) = &self.settings.report {
            let written = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "{message}"));
            if let Err(error) = written {
                eprintln!("ptxvm: PTXVM_REPORT={}: {error}", path.display());
            }
        }
    }

    /// What a launch did, for whoever counts.
    pub(super) fn counted(&mut self, counts: Counts) {
        if let Some(path) = &self.settings.counts {
            let written = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut file| writeln!(file, "{}", counts.json()));
            if let Err(error) = written {
                eprintln!("ptxvm: PTXVM_COUNTS={}: {error}", path.display());
            }
        }
        if self.counting_in_process {
            self.counts.push(counts);
        }
    }
}
