//! What can go wrong while a kernel runs.

use std::fmt;

/// The kind of a fault decides what CUDA's functions return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 700, `CUDA_ERROR_ILLEGAL_ADDRESS`
    IllegalAddress,
    /// 716, `CUDA_ERROR_MISALIGNED_ADDRESS`
    Misaligned,
    /// 702, `CUDA_ERROR_LAUNCH_TIMEOUT`
    Timeout,
    /// 719, `CUDA_ERROR_LAUNCH_FAILED`: also what a GPU would let pass, such as races.
    Failed,
}

impl Kind {
    pub fn code(self) -> u32 {
        match self {
            Kind::IllegalAddress => 700,
            Kind::Timeout => 702,
            Kind::Misaligned => 716,
            Kind::Failed => 719,
        }
    }
}

/// A fault of some lane of the warp that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
    pub lane: u32,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Fault { kind, message: message.into(), lane: 0 }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Fault::new(Kind::Failed, message)
    }

    pub fn at(mut self, lane: u32) -> Self {
        self.lane = lane;
        self
    }
}

/// A fault with all that is known of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub kind: Kind,
    pub kernel: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    /// The PTX line, and the source's where `-lineinfo` told it.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [x, y, z]) = (self.block, self.thread);
        write!(
            f,
            "{}\n  kernel {}, block ({bx}, {by}, {bz}), thread ({x}, {y}, {z})\n  at {}",
            self.message, self.kernel, self.place
        )
    }
}
