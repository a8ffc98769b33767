//! What the kernels of an entry take, by the median of several runs.

use weft_runtime::execute::LaunchTime;
use weft_runtime::program::{ConvolutionKind, Kernel};

/// The kernels of what was measured, in the order in which they run.
#[derive(Clone, Debug, Default)]
pub struct Kernels(pub Vec<KernelRow>);

impl Kernels {
    /// Takes the launches of one run, which come after so many others; gives how many there are then.
    pub fn take(&mut self, after: usize, launches: &[LaunchTime<'_>]) -> usize {
        for (place, time) in (after..).zip(launches) {
            if place >= self.0.len() {
                self.0.push(KernelRow {
                    path: time.launch.path.clone(),
                    kind: kind(&time.launch.kernel),
                    line: time.launch.place.line,
                    nanoseconds: Vec::new(),
                    flops: time.flops,
                    bytes: time.bytes,
                });
            }
            if let Some(row) = self.0.get_mut(place) {
                row.nanoseconds.push(time.nanoseconds);
            }
        }
        after + launches.len()
    }

    /// Microseconds of all together.
    pub fn total_us(&self) -> f64 {
        self.0.iter().map(KernelRow::median_us).sum()
    }
}

/// One kernel of a profile.
#[derive(Clone, Debug)]
pub struct KernelRow {
    pub path: String,
    pub kind: &'static str,
    pub line: u32,
    /// Of each profiled run: the time on all threads together, as wall time.
    nanoseconds: Vec<u64>,
    pub flops: i64,
    pub bytes: i64,
}

impl KernelRow {
    /// How often it was measured.
    pub fn runs(&self) -> usize {
        self.nanoseconds.len()
    }

    pub fn median_us(&self) -> f64 {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(0.0, |n| *n as f64 / 1e3)
    }
}

fn kind(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::Nest { .. } => "nest",
        Kernel::Contraction(_) => "contraction",
        Kernel::Convolution(c) => match c.kind {
            ConvolutionKind::Forward => "conv",
            ConvolutionKind::Data => "conv data",
            ConvolutionKind::Weights => "conv weights",
        },
        Kernel::Attention(a) if a.backward => "attention'",
        Kernel::Attention(_) => "attention",
        Kernel::Pack(_) => "pack",
        Kernel::CumulativeSum { .. } => "cumulative sum",
        Kernel::Gather { .. } => "gather",
        Kernel::ScatterAdd { .. } => "scatter-add",
        Kernel::Sort { .. } => "sort",
        Kernel::Device(_) => "kernel",
    }
}
