//! PTX text as a tree: variables, functions, and their instructions in order. Nothing is understood here.

mod lex;
mod parse;

pub use lex::PtxError;
pub use parse::parse;

/// A module: what a text declares.
#[derive(Debug, Default)]
pub struct Module<'a> {
    /// The processor of `.target`, such as `sm_80`.
    pub target: &'a str,
    /// `.file` numbers and names.
    pub files: Vec<(u32, &'a str)>,
    pub variables: Vec<Variable<'a>>,
    pub functions: Vec<Function<'a>>,
}

/// Where a variable lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    Global,
    Constant,
    Shared,
    Local,
    Parameter,
    /// Any of them, by windows of one address space.
    Generic,
}

/// A declared variable or parameter.
#[derive(Clone, Debug)]
pub struct Variable<'a> {
    pub name: &'a str,
    pub space: Space,
    pub align: u64,
    /// Bytes of one element.
    pub element: u64,
    /// Elements; 0 for `[]`, whose size the launch tells.
    pub count: u64,
    pub initial: Vec<Initial<'a>>,
    pub line: u32,
}

/// One element of an initialiser.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial<'a> {
    Bits(u64),
    /// The address of a variable, plus bytes.
    Address(&'a str, i64),
}

/// A kernel (`.entry`) or a function of the device.
#[derive(Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    pub entry: bool,
    pub results: Vec<Variable<'a>>,
    pub parameters: Vec<Variable<'a>>,
    /// None for a declaration alone.
    pub body: Option<Vec<Item<'a>>>,
    /// Threads of a block that `.reqntid` demands.
    pub required: Option<[u32; 3]>,
    /// Threads of a block that `.maxntid` allows.
    pub most: Option<u32>,
    pub line: u32,
}

/// What stands in a body.
#[derive(Debug)]
pub enum Item<'a> {
    /// `{`: names of what follows end at its `Close`.
    Open,
    Close,
    Label(&'a str),
    /// `.loc`: what follows comes from a line of a file.
    Source {
        file: u32,
        line: u32,
    },
    /// `.reg .b32 %r<5>` (a count) or `.reg .b32 %r1` (none).
    Register {
        bytes: u8,
        predicate: bool,
        name: &'a str,
        count: Option<u32>,
    },
    Variable(Variable<'a>),
    /// `name: .branchtargets a, b;`
    Targets(&'a str, Vec<&'a str>),
    Instruction(Instruction<'a>),
}

/// An instruction before it is understood.
#[derive(Clone, Debug)]
pub struct Instruction<'a> {
    /// `@p` or `@!p` (true).
    pub guard: Option<(&'a str, bool)>,
    /// With all suffixes.
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
    pub line: u32,
}

/// An operand before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    Name(&'a str),
    /// `!p`
    Not(&'a str),
    Integer(i64),
    Float(u32),
    Double(u64),
    /// `{a, b}`
    Vector(Vec<Operand<'a>>),
    /// `p|q`
    Pair(&'a str, &'a str),
    /// `[base+offset]`
    Address(Base<'a>, i64),
    /// `name+offset`
    Offset(&'a str, i64),
    /// `(a, b)` of a call.
    List(Vec<&'a str>),
}

/// What an address begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    Name(&'a str),
    Number,
}
