//! Scalar operations as expressions of C.
//!
//! In registers, floats of 16 bits are `float`s that one of their numbers is equal to, and all other types are as they lie in memory.
//! What an operation means is what it means on the CPU: integers wrap around, a division by 0 gives 0, a cast to an integer
//! saturates, a NaN wins over a number. Where C has another meaning, or none, a function of the prelude stands for it.

use crate::graph::DType;
use crate::graph::op::{Binary, Compare, Reduction, Unary};
use crate::plan::nest::How;

/// An expression, and how tightly its outermost operator binds.
#[derive(Clone, Debug)]
pub struct Expr {
    pub text: String,
    pub level: Level,
}

/// Operators of C, from the loosest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Choice,
    Or,
    And,
    Equality,
    Order,
    Sum,
    Product,
    Sign,
    Atom,
}

impl Expr {
    pub fn new(text: impl Into<String>, level: Level) -> Expr {
        Expr { text: text.into(), level }
    }

    pub fn atom(text: impl Into<String>) -> Expr {
        Expr::new(text, Level::Atom)
    }

    /// As an operand of an operator that binds so tightly: with parentheses where it must.
    pub fn at(&self, level: Level) -> String {
        if self.level < level { format!("({})", self.text) } else { self.text.clone() }
    }
}

/// Is it a float of 16 bits?
pub const fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The C type of a value in registers.
pub const fn register(dtype: DType) -> &'static str {
    if is_half(dtype) { "float" } else { super::super::print::c_type(dtype) }
}

/// What makes the 16 bits of a `float`.
pub const fn narrow(dtype: DType) -> &'static str {
    if matches!(dtype, DType::F16) { "to_half" } else { "to_bfloat" }
}

/// A number of a type.
pub fn constant(value: f64, dtype: DType) -> Expr {
    let signed = |text: String| {
        let level = if text.starts_with('-') { Level::Sign } else { Level::Atom };
        Expr::new(text, level)
    };
    let float = |text: String, finite: bool, suffix: &str| {
        if finite {
            signed(text + suffix)
        } else {
            signed(text.replace("inf", "INF").replace("NaN", "NOT_A_NUMBER"))
        }
    };
    let single = |value: f32| float(format!("{value:?}"), value.is_finite(), "f");
    match dtype {
        DType::F32 => single(value as f32),
        DType::F16 => single(half::f16::from_f64(value).to_f32()),
        DType::BF16 => single(half::bf16::from_f64(value).to_f32()),
        DType::F64 => float(format!("{value:?}"), value.is_finite(), ""),
        DType::Bool => Expr::atom(if value != 0.0 { "true" } else { "false" }),
        // The smallest number has no literal of its own.
        DType::I32 if value as i32 == i32::MIN => Expr::atom("(-2147483647 - 1)"),
        DType::I64 if value as i64 == i64::MIN => Expr::atom("(-9223372036854775807LL - 1)"),
        DType::I32 => signed((value as i32).to_string()),
        DType::I64 => signed(format!("{}LL", value as i64)),
        DType::I8 => signed((value as i8).to_string()),
        DType::U8 => signed((value as u8).to_string()),
    }
}

pub fn unary(op: Unary, x: &Expr, dtype: DType) -> Result<Expr, String> {
    if dtype == DType::Bool {
        return match op {
            Unary::Not => Ok(Expr::new(format!("!{}", x.at(Level::Sign)), Level::Sign)),
            _ => Err(unknown(op.name(), dtype)),
        };
    }
    let call = |name: &str| Ok(Expr::atom(format!("{name}({})", x.text)));
    if !dtype.is_float() {
        return match op {
            Unary::Neg => call("int_neg"),
            Unary::Abs => call("int_abs"),
            Unary::Sign => call("sign_of"),
            _ => Err(unknown(op.name(), dtype)),
        };
    }
    let by_type = |single: &str, double: &str| call(if dtype == DType::F64 { double } else { single });
    match op {
        Unary::Neg => Ok(Expr::new(format!("-{}", x.at(Level::Atom)), Level::Sign)),
        Unary::Abs => by_type("fabsf", "fabs"),
        Unary::Sign => call("sign_of"),
        Unary::Floor => by_type("floorf", "floor"),
        Unary::Ceil => by_type("ceilf", "ceil"),
        Unary::Round => by_type("rintf", "rint"),
        Unary::Sqrt => by_type("sqrtf", "sqrt"),
        Unary::Rsqrt => by_type("rsqrtf", "rsqrt"),
        Unary::Exp => by_type("expf", "exp"),
        Unary::Expm1 => by_type("expm1f", "expm1"),
        Unary::Log => by_type("logf", "log"),
        Unary::Log1p => by_type("log1pf", "log1p"),
        Unary::Sin => by_type("sin_of", "sin"),
        Unary::Cos => by_type("cos_of", "cos"),
        Unary::Tanh => by_type("tanhf", "tanh"),
        Unary::Sigmoid => call("sigmoid"),
        Unary::Erf => by_type("erff", "erf"),
        Unary::Not => Err(unknown(op.name(), dtype)),
    }
}

pub fn binary(op: Binary, x: &Expr, y: &Expr, dtype: DType) -> Result<Expr, String> {
    let infix = |sign: &str, level: Level, right: Level| {
        Ok(Expr::new(format!("{} {sign} {}", x.at(level), y.at(right)), level))
    };
    let call = |name: &str| Ok(Expr::atom(format!("{name}({}, {})", x.text, y.text)));
    if dtype == DType::Bool {
        return match op {
            Binary::And => infix("&&", Level::And, Level::Equality),
            Binary::Or => infix("||", Level::Or, Level::And),
            _ => Err(unknown(op.name(), dtype)),
        };
    }
    if !dtype.is_float() {
        return match op {
            Binary::Add => call("int_add"),
            Binary::Sub => call("int_sub"),
            Binary::Mul => call("int_mul"),
            Binary::Div => call("int_div"),
            Binary::FloorDiv => call("int_floor_div"),
            Binary::Rem => call("int_rem"),
            Binary::Pow => call("int_pow"),
            Binary::Max => call("largest"),
            Binary::Min => call("smallest"),
            Binary::And | Binary::Or => Err(unknown(op.name(), dtype)),
        };
    }
    match op {
        Binary::Add => infix("+", Level::Sum, Level::Product),
        Binary::Sub => infix("-", Level::Sum, Level::Product),
        Binary::Mul => infix("*", Level::Product, Level::Sign),
        Binary::Div => infix("/", Level::Product, Level::Sign),
        Binary::FloorDiv => {
            let floor = if dtype == DType::F64 { "floor" } else { "floorf" };
            Ok(Expr::atom(format!("{floor}({} / {})", x.at(Level::Product), y.at(Level::Sign))))
        }
        Binary::Rem => call("float_rem"),
        Binary::Pow => call(if dtype == DType::F64 { "pow" } else { "powf" }),
        Binary::Max => call("largest"),
        Binary::Min => call("smallest"),
        Binary::And | Binary::Or => Err(unknown(op.name(), dtype)),
    }
}

pub fn compare(op: Compare, x: &Expr, y: &Expr) -> Expr {
    let (sign, level) = match op {
        Compare::Eq => ("==", Level::Equality),
        Compare::Ne => ("!=", Level::Equality),
        Compare::Lt => ("<", Level::Order),
        Compare::Le => ("<=", Level::Order),
        Compare::Gt => (">", Level::Order),
        Compare::Ge => (">=", Level::Order),
    };
    Expr::new(format!("{} {sign} {}", x.at(Level::Sum), y.at(Level::Sum)), level)
}

pub fn select(condition: &Expr, x: &Expr, y: &Expr) -> Expr {
    let text = format!("{} ? {} : {}", condition.at(Level::Or), x.at(Level::Or), y.at(Level::Or));
    Expr::new(text, Level::Choice)
}

/// A value of one type as another.
pub fn cast(x: &Expr, from: DType, to: DType) -> Expr {
    if from == to {
        return x.clone();
    }
    if is_half(to) {
        let single = cast(x, from, DType::F32);
        return Expr::atom(format!("widen({}({}))", narrow(to), single.text));
    }
    if is_half(from) {
        return cast(x, DType::F32, to);
    }
    let call = |name: &str| Expr::atom(format!("{name}({})", x.text));
    match to {
        DType::Bool => {
            let zero = constant(0.0, from);
            Expr::new(format!("{} != {}", x.at(Level::Sum), zero.text), Level::Equality)
        }
        DType::I32 if from.is_float() => call("to_int"),
        DType::I64 if from.is_float() => call("to_long"),
        DType::I8 if from.is_float() => call("to_char"),
        DType::U8 if from.is_float() => call("to_byte"),
        _ => Expr::new(format!("({}){}", register(to), x.at(Level::Atom)), Level::Sign),
    }
}

/// What a reduction starts from.
pub fn neutral(how: How, dtype: DType) -> Expr {
    constant(crate::plan::neutral(fold(how), dtype), dtype)
}

/// The reduction that finds the value of an arg-reduction.
fn fold(how: How) -> Reduction {
    match how {
        How::Fold(reduction) => reduction,
        How::Arg { largest: true } => Reduction::Max,
        How::Arg { largest: false } => Reduction::Min,
    }
}

/// The prelude's name of what a reduction does to two partial results.
pub fn functor(how: How) -> &'static str {
    match fold(how) {
        Reduction::Sum => "Sum",
        Reduction::Prod => "Product",
        Reduction::Max => "Largest",
        Reduction::Min => "Smallest",
        Reduction::Any => "Any",
        Reduction::All => "All",
    }
}

/// One step of a reduction that is no arg-reduction, as a statement.
pub fn step(reduction: Reduction, dtype: DType, so_far: &str, value: &Expr) -> String {
    let call = |name: &str| format!("{so_far} = {name}({so_far}, {});", value.text);
    match reduction {
        Reduction::Sum if dtype.is_float() => format!("{so_far} += {};", value.text),
        Reduction::Prod if dtype.is_float() => format!("{so_far} *= {};", value.text),
        Reduction::Sum => call("int_add"),
        Reduction::Prod => call("int_mul"),
        Reduction::Max => call("largest"),
        Reduction::Min => call("smallest"),
        Reduction::Any => format!("{so_far} = {so_far} || {};", value.at(Level::And)),
        Reduction::All => format!("{so_far} = {so_far} && {};", value.at(Level::Equality)),
    }
}

fn unknown(operation: &str, dtype: DType) -> String {
    format!("`{operation}` is not computed on {}", dtype.name())
}
