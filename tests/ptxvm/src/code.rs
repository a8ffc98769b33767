//! The code that runs: a kernel with all that it calls, decoded once.

/// One register of all lanes of a warp. Values narrower than 64 bits are extended with zeros.
pub type Lanes = [u64; 32];
/// A register of a warp; with [`CONSTANT`] set, one of the program's constants.
pub type Register = u32;
/// A predicate of a warp: a mask of lanes.
pub type Predicate = u32;
pub const CONSTANT: Register = 1 << 31;

pub type One = fn(&Lanes, &mut Lanes);
pub type Two = fn(&Lanes, &Lanes, &mut Lanes);
pub type Three = fn(&Lanes, &Lanes, &Lanes, &mut Lanes);
pub type Test = fn(&Lanes, &Lanes) -> u32;
pub type Logic = fn(u32, u32) -> u32;

pub use crate::ptx::Space;

/// What the counts tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Fma,
    Mma,
    Alu,
    /// Functions of the special unit: `ex2`, `rcp`, `sin`, …
    Special,
    Load,
    Store,
    /// Loads and stores of shared memory.
    Shared,
    Atomic,
    Barrier,
    Other,
}

pub const CLASSES: [(Class, &str); 10] = [
    (Class::Fma, "fma"),
    (Class::Mma, "mma"),
    (Class::Alu, "alu"),
    (Class::Special, "special"),
    (Class::Load, "load"),
    (Class::Store, "store"),
    (Class::Shared, "shared"),
    (Class::Atomic, "atomic"),
    (Class::Barrier, "barrier"),
    (Class::Other, "other"),
];

/// An instruction, with where it stands.
#[derive(Clone, Debug)]
pub struct Instruction {
    pub op: Op,
    /// Lanes that take part: all, or those of a predicate (or of none: true).
    pub guard: Option<(Predicate, bool)>,
    pub line: u32,
    /// `.loc`'s file and line; file 0 for none.
    pub source: (u32, u32),
    pub class: Class,
    /// Floating-point operations of one thread.
    pub flops: u32,
}

/// An operation on a warp.
#[derive(Clone, Debug)]
pub enum Op {
    One {
        f: One,
        to: Register,
        a: Register,
    },
    Two {
        f: Two,
        to: Register,
        a: Register,
        b: Register,
    },
    Three {
        f: Three,
        to: Register,
        a: Register,
        b: Register,
        c: Register,
    },
    Compare {
        f: Test,
        to: Predicate,
        opposite: Option<Predicate>,
        a: Register,
        b: Register,
        with: Option<With>,
    },
    Logic {
        f: Logic,
        to: Predicate,
        a: (Predicate, bool),
        b: (Predicate, bool),
    },
    Select {
        to: Register,
        a: Register,
        b: Register,
        by: (Predicate, bool),
    },
    /// `mov.b64 d, {a, b}`: parts of so many bits, the lowest first.
    Pack {
        to: Register,
        parts: Vec<Register>,
        bits: u32,
    },
    Unpack {
        to: Vec<Option<Register>>,
        a: Register,
        bits: u32,
    },
    Load(Box<Access>),
    Store(Box<Access>),
    Atomic(Box<Atomic>),
    Branch(u32),
    /// Index, and the place of each.
    BranchIndexed(Register, Vec<u32>),
    Call(Box<Call>),
    Return,
    Exit,
    Trap,
    Barrier {
        index: Register,
        count: Option<Register>,
        kind: BarrierKind,
    },
    /// `bar.warp.sync`
    WarpBarrier {
        mask: Register,
    },
    Shuffle(Box<Shuffle>),
    Vote {
        kind: Vote,
        to: Register,
        to_predicate: Predicate,
        a: (Predicate, bool),
        mask: Register,
    },
    Match {
        all: Option<Predicate>,
        to: Register,
        a: Register,
        mask: Register,
        wide: bool,
    },
    Reduce {
        f: fn(u32, u32) -> u32,
        to: Register,
        a: Register,
        mask: Register,
    },
    Elect {
        to: Register,
        to_predicate: Predicate,
        mask: Register,
    },
    ActiveMask {
        to: Register,
    },
    Clock {
        to: Register,
        wide: bool,
    },
    CopyAsync(Box<CopyAsync>),
    CommitGroup,
    /// So many of the newest groups may stay under way; none: everything is waited for, uncommitted copies too.
    WaitGroup(Option<u32>),
    LoadMatrix {
        to: Vec<Register>,
        transposed: bool,
        address: Address,
    },
    StoreMatrix {
        from: Vec<Register>,
        transposed: bool,
        address: Address,
    },
    Mma(Box<Mma>),
    /// Fences, prefetches and hints: all memory is coherent here.
    Nothing,
}

/// The predicate that a comparison is combined with.
#[derive(Clone, Copy, Debug)]
pub struct With {
    pub f: Logic,
    pub p: (Predicate, bool),
}

#[derive(Clone, Debug)]
pub struct Address {
    pub space: Space,
    pub base: Register,
    pub offset: i64,
}

/// A load or a store.
#[derive(Clone, Debug)]
pub struct Access {
    pub address: Address,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub bytes: u32,
    /// Loaded elements are extended with their sign.
    pub signed: bool,
    /// One of each element; none for `_`.
    pub registers: Vec<Option<Register>>,
    /// Bytes of the registers.
    pub wide: u32,
    /// `.volatile`, `.relaxed` and their like: what other threads write meanwhile is no race.
    pub atomic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierKind {
    /// Waits for all.
    Sync,
    /// Comes without waiting.
    Arrive,
    /// Waits, and counts, ands or ors a predicate.
    Count {
        to: Register,
        p: (Predicate, bool),
    },
    Any {
        to: Predicate,
        p: (Predicate, bool),
    },
    All {
        to: Predicate,
        p: (Predicate, bool),
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    Any,
    All,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShuffleKind {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Debug)]
pub struct Shuffle {
    pub kind: ShuffleKind,
    pub to: Register,
    pub inside: Option<Predicate>,
    pub a: Register,
    pub b: Register,
    pub c: Register,
    pub mask: Register,
}

/// `atom` and `red`.
#[derive(Clone, Debug)]
pub struct Atomic {
    pub address: Address,
    /// 2, 4 or 8.
    pub bytes: u32,
    /// The new value of (old, operand, second operand).
    pub f: fn(u64, u64, u64) -> u64,
    pub to: Option<Register>,
    /// Operand of each element.
    pub a: Register,
    /// The new value of a compare-and-swap.
    pub b: Register,
}

/// A call: bytes of the caller's local memory go to the callee's, and results come back.
#[derive(Clone, Debug)]
pub struct Call {
    pub target: u32,
    /// (from, to, bytes) in local memory.
    pub arguments: Vec<(u64, u64, u64)>,
    pub results: Vec<(u64, u64, u64)>,
}

#[derive(Clone, Debug)]
pub struct CopyAsync {
    pub to: Address,
    pub from: Address,
    pub bytes: u32,
    /// How many bytes are read; the others become zero.
    pub given: Option<Register>,
}

/// What the factors of an `mma` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmaKind {
    F16,
    Bf16,
    Tf32,
    /// Signed, or not, on either side.
    I8 {
        a: bool,
        b: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Mma {
    pub kind: MmaKind,
    /// m is 16 and n is 8.
    pub k: u32,
    /// Sums are f16 (two in a register) rather than f32 or s32.
    pub half_sums: bool,
    pub d: Vec<Register>,
    pub a: Vec<Register>,
    pub b: Vec<Register>,
    pub c: Vec<Register>,
}

/// A parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub offset: usize,
    pub bytes: usize,
}

/// A kernel, ready to run.
#[derive(Debug, Default)]
pub struct Program {
    pub name: String,
    pub code: Vec<Instruction>,
    pub constants: Vec<Lanes>,
    pub registers: usize,
    pub predicates: usize,
    pub parameters: Vec<Parameter>,
    pub parameter_bytes: usize,
    /// Bytes of shared memory that are known now; dynamic memory begins there.
    pub shared_bytes: usize,
    /// Bytes of each thread's local memory.
    pub local_bytes: usize,
    /// The smallest access of shared memory: the grain in which races are looked for.
    pub grain: usize,
    pub required: Option<[u32; 3]>,
    pub most: Option<u32>,
    /// Names of `.file` by number.
    pub files: std::collections::BTreeMap<u32, String>,
}

impl Program {
    /// Where an instruction stands, for a report: the PTX line, and the source's where it is known.
    pub fn place(&self, at: u32) -> String {
        let Some(instruction) = self.code.get(at as usize) else { return "the end of the code".into() };
        let (file, line) = instruction.source;
        match self.files.get(&file) {
            Some(name) if line > 0 => format!("PTX line {} ({name}:{line})", instruction.line),
            _ => format!("PTX line {}", instruction.line),
        }
    }
}

/// What a warp's registers begin with: values that a thread reads by name.
pub const SPECIALS: [&str; 23] = [
    "%tid.x",
    "%tid.y",
    "%tid.z",
    "%ntid.x",
    "%ntid.y",
    "%ntid.z",
    "%ctaid.x",
    "%ctaid.y",
    "%ctaid.z",
    "%nctaid.x",
    "%nctaid.y",
    "%nctaid.z",
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%smid",
    "%nsmid",
    "%gridid",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
];
/// After these: `%dynamic_smem_size` and `%total_smem_size`.
pub const DYNAMIC_SHARED: Register = SPECIALS.len() as Register;
pub const TOTAL_SHARED: Register = DYNAMIC_SHARED + 1;
pub const FIRST_REGISTER: Register = TOTAL_SHARED + 1;

/// Where windows of the generic address space begin.
pub const SHARED_WINDOW: u64 = 0x0100_0000_0000_0000;
pub const LOCAL_WINDOW: u64 = 0x0200_0000_0000_0000;
pub const WINDOW_BYTES: u64 = 1 << 32;
