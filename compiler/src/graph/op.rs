//! The primitives: every operation that a graph node can be.
//!
//! There are few, and each says one thing. Everything a spec's author sees (softmax, norms, losses, optimizers, LSTM) is written
//! in them in the standard library. Nothing broadcasts implicitly: `Broadcast` is a node (a view, free of cost).

use super::attention::Attention;
use super::dim::Dim;
use super::scan::Scan;
use std::sync::Arc;

/// What a node computes. Shapes that do not follow from the inputs (`Broadcast`, `Reshape`, `Slice`, `Sort`, `Iota`, `ConvData` …) stand in
/// the node's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    // ---- leaves
    /// An input of the entry, by name.
    Input(String),
    /// A variable's value when the entry starts, by path.
    Variable(String),
    /// A scalar (rank 0).
    Constant(f64),
    /// A small constant tensor, row-major.
    Table(Vec<f64>),
    /// The index along `axis`.
    Iota {
        axis: usize,
    },
    /// A dim's value as a scalar (rank 0).
    DimValue(Dim),
    /// Random elements from input 0, the `i64[2]` `random` input (seed, batch number); `key` names the stream. See
    /// `weft_runtime::kernels::random`.
    Random {
        distribution: Distribution,
        key: String,
    },

    // ---- elementwise: all inputs have the node's shape
    Unary(Unary),
    Binary(Binary),
    /// bool result.
    Compare(Compare),
    /// Inputs: condition (bool), then, otherwise.
    Select,
    /// To the node's dtype. Float → integer rounds towards zero.
    Cast,
    /// The value itself, with no gradient.
    Hold,

    // ---- reductions: the axes (sorted) are removed
    Reduce {
        reduction: Reduction,
        axes: Vec<usize>,
    },
    /// i32 index, row-major over the axes (sorted), of the largest (smallest) element; ties go to the lowest index; a NaN wins.
    ArgReduce {
        largest: bool,
        axes: Vec<usize>,
    },
    CumulativeSum {
        axis: usize,
        reverse: bool,
        exclusive: bool,
    },

    // ---- contractions
    /// Sum of products over the `sum` pairs of axes (axis of a, axis of b), side by side over the `batch` pairs.
    /// Result axes: batch pairs in order, a's free axes, b's free axes.
    Contract {
        batch: Vec<(usize, usize)>,
        sum: Vec<(usize, usize)>,
    },
    /// x `[n, s…, ci]`, w `[k…, ci / groups, co]` → `[n, o…, co]`, a correlation in r = 1 or 2 spatial axes.
    Conv(Conv),
    /// dy, w → dx: the adjoint of `Conv` in x; the node's type gives x's shape. Also the forward of a transposed convolution.
    ConvData(Conv),
    /// x, dy → dw: the adjoint of `Conv` in w; the node's type gives w's shape.
    ConvWeights(Conv),

    /// Softmax attention between two contractions as one operation. Only [`crate::grad`] and [`crate::passes`] make it, out of the form that
    /// a spec spells out.
    Attention(Attention),

    // ---- indexing
    /// table, indices (i32): replaces `axis` of the table by the axes of the indices.
    Gather {
        axis: usize,
    },
    /// updates, indices (i32): the adjoint of `Gather`; the node's type gives the table's shape. Sums from zero.
    ScatterAdd {
        axis: usize,
    },
    /// The first of the last axis, in rising (falling) order: values (`indices: false`) or their i32 places. The node's type
    /// gives how many. Equal elements keep their order; NaN is the largest.
    Sort {
        falling: bool,
        indices: bool,
    },

    // ---- views: index maps, no storage
    Reshape,
    /// Result axis i is input axis `permutation[i]`.
    Transpose {
        permutation: Vec<usize>,
    },
    /// Input axis i becomes result axis `axes[i]` (rising); an input extent of 1 stretches; other result axes are new.
    Broadcast {
        axes: Vec<usize>,
    },
    /// `axis` from `start`, every `step`-th (step may be negative); the node's type gives the count.
    Slice {
        axis: usize,
        start: Dim,
        step: i64,
    },
    /// Sliding windows over the consecutive axes from `axis` on; each such axis becomes its number of windows, and the window
    /// axes follow the last of them: `[n, h, w, c]` → `[n, oh, ow, kh, kw, c]`.
    Window {
        axis: usize,
        size: Vec<usize>,
        stride: Vec<usize>,
        dilation: Vec<usize>,
    },

    // ---- placements
    /// The adjoint of `Window`: overlapping windows are added in order; the node's type gives the shape.
    Unwindow {
        axis: usize,
        size: Vec<usize>,
        stride: Vec<usize>,
        dilation: Vec<usize>,
    },
    /// Per axis (before, after), filled with `value`.
    Pad {
        amounts: Vec<(Dim, Dim)>,
        value: f64,
    },
    Concat {
        axis: usize,
    },

    // ---- loops
    /// Inputs: the elements, the first carries, the captures. The node's type is [`super::scan::token`].
    Scan(Arc<Scan>),
    /// Of the scan that is input 0: its final carries, then its stacks, by number.
    ScanResult {
        index: usize,
    },
}

impl Op {
    /// Does generated code call the math library for it?
    pub const fn is_call(&self) -> bool {
        use Unary::{Cos, Erf, Exp, Expm1, Log, Log1p, Sigmoid, Sin, Tanh};
        match self {
            Op::Unary(u) => matches!(u, Exp | Expm1 | Log | Log1p | Sin | Cos | Tanh | Sigmoid | Erf),
            Op::Binary(b) => matches!(b, Binary::Pow),
            _ => false,
        }
    }
}

/// Where random elements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// f32 in [0, 1), multiples of 2⁻²⁴.
    Uniform,
    /// f32, mean 0, deviation 1.
    Normal,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($variant),* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The name in the text form and in the standard library.
            pub const fn name(self) -> &'static str { match self { $($name::$variant => $text),* } }
            pub fn from_name(name: &str) -> Option<$name> { Self::ALL.iter().copied().find(|v| v.name() == name) }
        }
    };
}

named!(
    /// One input. `Not` takes and gives bool, `Sign` of 0 is 0, `Round` is half to even.
    Unary {
        Neg = "neg", Abs = "abs", Sign = "sign", Floor = "floor", Ceil = "ceil", Round = "round",
        Sqrt = "sqrt", Rsqrt = "rsqrt", Exp = "exp", Expm1 = "expm1", Log = "log", Log1p = "log1p",
        Sin = "sin", Cos = "cos", Tanh = "tanh", Sigmoid = "sigmoid", Erf = "erf", Not = "not",
    }
);

named!(
    /// Two inputs of one dtype. `Rem` has the divisor's sign; `Max` and `Min` give NaN if either is; `FloorDiv` rounds down.
    Binary {
        Add = "add", Sub = "sub", Mul = "mul", Div = "div", FloorDiv = "floor_div", Rem = "rem", Pow = "pow",
        Max = "max", Min = "min", And = "and", Or = "or",
    }
);

named!(
    /// Two inputs of one dtype, bool result.
    Compare { Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge" }
);

named!(
    /// Over floats and integers; `Any` and `All` over bool. Of an empty extent: 0, -inf, inf, 1, false, true.
    Reduction { Sum = "sum", Max = "max", Min = "min", Prod = "prod", Any = "any", All = "all" }
);

/// A convolution's attributes; vectors have one entry per spatial axis (1 or 2).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    pub stride: Vec<usize>,
    /// (before, after)
    pub padding: Vec<(Dim, Dim)>,
    pub dilation: Vec<usize>,
    pub groups: usize,
}
