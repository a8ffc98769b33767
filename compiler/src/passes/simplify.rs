//! Algebra on elements: identities, cast chains, selections that are decided.
//!
//! They hold in IEEE arithmetic, NaN and infinities included; `x·0` for one stays. Liberties: `x + 0` is `x`, also where x is -0;
//! small constant powers become products and roots (one rounding more; a base of -inf under a root gives NaN); 1/√x is `rsqrt`.

use super::rewrite::{Rewritten, constant_value, look, rewrite};
use crate::graph::op::{Binary, Unary};
use crate::graph::{Builder, DType, Graph, Node, NodeId, Op};

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| match (&node.op, node.inputs.as_slice()) {
        (Op::Hold, [x]) => Ok(Some(*x)),
        (Op::Unary(op), [x]) => unary(b, *op, *x),
        (Op::Binary(op), [x, y]) if x == y => idempotent(*op, *x),
        (Op::Binary(op), [x, y]) if node.ty.dtype == DType::Bool => logical(b, *op, *x, *y),
        (Op::Binary(op), [x, y]) => binary(b, node, *op, *x, *y),
        (Op::Select, [condition, x, y]) => select(b, *condition, *x, *y),
        (Op::Cast, [x]) => cast(b, *x, node.ty.dtype),
        _ => Ok(None),
    })
}

/// The input of a node that is this unary operation.
fn argument(b: &Builder, op: Unary, id: NodeId) -> Option<NodeId> {
    match look(b, id) {
        (Op::Unary(found), x) if *found == op => Some(x),
        _ => None,
    }
}

fn unary(b: &mut Builder, op: Unary, x: NodeId) -> Rewritten {
    let inner = argument(b, op, x);
    let negated = argument(b, Unary::Neg, x);
    Ok(match (op, inner, negated) {
        (Unary::Neg | Unary::Not, Some(x), _) => Some(x),
        (Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round, Some(_), _) => Some(x),
        (Unary::Abs | Unary::Cos, _, Some(x)) => Some(b.unary(op, x)?),
        // -(x - y) = y - x, up to the sign of a zero.
        (Unary::Neg, _, _) => match (&b.graph.node(x).op, b.graph.node(x).inputs.as_slice()) {
            (Op::Binary(Binary::Sub), &[p, q]) => Some(b.binary(Binary::Sub, q, p)?),
            _ => None,
        },
        _ => None,
    })
}

fn idempotent(op: Binary, x: NodeId) -> Rewritten {
    Ok(matches!(op, Binary::Max | Binary::Min | Binary::And | Binary::Or).then_some(x))
}

fn logical(b: &Builder, op: Binary, x: NodeId, y: NodeId) -> Rewritten {
    for (known, other) in [(x, y), (y, x)] {
        if let Some(value) = constant_value(b, known) {
            // `and` with false is false, with true the other; `or` the other way round.
            let decides = (op == Binary::And) == (value == 0.0);
            return Ok(Some(if decides { known } else { other }));
        }
    }
    Ok(None)
}

fn binary(b: &mut Builder, node: &Node, op: Binary, x: NodeId, y: NodeId) -> Rewritten {
    let (left, right) = (constant_value(b, x), constant_value(b, y));
    let (minus_x, minus_y) = (argument(b, Unary::Neg, x), argument(b, Unary::Neg, y));
    let float = node.ty.dtype.is_float();
    let made = match (op, left, right) {
        (Binary::Add, _, Some(0.0)) | (Binary::Sub, _, Some(0.0)) => x,
        (Binary::Add, Some(0.0), _) => y,
        (Binary::Sub, Some(0.0), _) => b.unary(Unary::Neg, y)?,
        (Binary::Mul | Binary::Div | Binary::Pow, _, Some(1.0)) => x,
        (Binary::FloorDiv, _, Some(1.0)) if !float => x,
        (Binary::Mul, Some(1.0), _) => y,
        (Binary::Mul, _, Some(0.0)) if !float => y,
        (Binary::Mul, Some(0.0), _) if !float => x,
        (Binary::Mul | Binary::Div, _, Some(-1.0)) => b.unary(Unary::Neg, x)?,
        (Binary::Mul, Some(-1.0), _) => b.unary(Unary::Neg, y)?,
        (Binary::Pow, _, Some(power)) if float => return small_power(b, x, power, node),
        // A power of two has an exact reciprocal.
        (Binary::Div, _, Some(by))
            if float && by.is_normal() && by.log2().fract() == 0.0 && by.abs() < 1e4 && by.abs() > 1e-4 =>
        {
            let reciprocal = b.full(1.0 / by, &node.ty)?;
            b.binary(Binary::Mul, x, reciprocal)?
        }
        (Binary::Div, Some(1.0), _) if float => match argument(b, Unary::Sqrt, y) {
            Some(radicand) => b.unary(Unary::Rsqrt, radicand)?,
            None => return Ok(None),
        },
        _ => match (op, minus_x, minus_y) {
            (Binary::Mul | Binary::Div, Some(x), Some(y)) => b.binary(op, x, y)?,
            (Binary::Add, _, Some(y)) => b.binary(Binary::Sub, x, y)?,
            (Binary::Add, Some(x), _) => b.binary(Binary::Sub, y, x)?,
            (Binary::Sub, _, Some(y)) => b.binary(Binary::Add, x, y)?,
            _ => return Ok(None),
        },
    };
    Ok(Some(made))
}

fn small_power(b: &mut Builder, x: NodeId, power: f64, node: &Node) -> Rewritten {
    let square = |b: &mut Builder| b.binary(Binary::Mul, x, x);
    let made = if power == 0.0 {
        b.full(1.0, &node.ty)?
    } else if power == 2.0 {
        square(b)?
    } else if power == 3.0 {
        let square = square(b)?;
        b.binary(Binary::Mul, square, x)?
    } else if power == 4.0 {
        let square = square(b)?;
        b.binary(Binary::Mul, square, square)?
    } else if power == 0.5 {
        b.unary(Unary::Sqrt, x)?
    } else if power == -0.5 {
        b.unary(Unary::Rsqrt, x)?
    } else if power == -1.0 {
        let one = b.full(1.0, &node.ty)?;
        b.binary(Binary::Div, one, x)?
    } else {
        return Ok(None);
    };
    Ok(Some(made))
}

fn select(b: &mut Builder, condition: NodeId, x: NodeId, y: NodeId) -> Rewritten {
    if x == y {
        return Ok(Some(x));
    }
    if let Some(value) = constant_value(b, condition) {
        return Ok(Some(if value != 0.0 { x } else { y }));
    }
    if let Some(inverse) = argument(b, Unary::Not, condition) {
        return b.select(inverse, y, x).map(Some);
    }
    // select(c, select(c, x, _), y) and its mirror.
    let nested = |id: NodeId, place: usize| match (&b.graph.node(id).op, b.graph.node(id).inputs.as_slice()) {
        (Op::Select, inputs) if inputs.first() == Some(&condition) => inputs.get(place).copied(),
        _ => None,
    };
    match (nested(x, 1), nested(y, 2)) {
        (None, None) => Ok(None),
        (then, otherwise) => b.select(condition, then.unwrap_or(x), otherwise.unwrap_or(y)).map(Some),
    }
}

fn cast(b: &mut Builder, x: NodeId, to: DType) -> Rewritten {
    if b.ty(x).dtype == to {
        return Ok(Some(x));
    }
    let (Op::Cast, from) = look(b, x) else { return Ok(None) };
    let (first, middle) = (b.ty(from).dtype, b.ty(x).dtype);
    // Through a type that holds every value of the first. From float to integer a cast saturates where one between integers wraps,
    // so the way must not lead from integers through floats to other integers.
    let detour =
        middle.is_float() && !first.is_float() && !to.is_float() && first != DType::Bool && first != to;
    if holds(middle, first) && !(detour && to != DType::Bool) {
        return b.cast(from, to).map(Some);
    }
    Ok(None)
}

/// Is every value of `narrow` one of `wide`?
fn holds(wide: DType, narrow: DType) -> bool {
    // Digits and the range of what the type holds exactly, as an order within each kind.
    let float = |d: DType| match d {
        DType::F64 => Some(53),
        DType::F32 => Some(24),
        _ => None,
    };
    let integer = |d: DType| match d {
        DType::I64 => Some(63),
        DType::I32 => Some(31),
        DType::I8 => Some(7),
        _ => None,
    };
    match (wide, narrow) {
        (a, b) if a == b => true,
        (_, DType::Bool) => true,
        (_, DType::F16 | DType::BF16) => float(wide).is_some(),
        (_, DType::F32) => wide == DType::F64,
        (_, DType::U8) => integer(wide).or(float(wide)).is_some_and(|digits| digits >= 8),
        (_, narrow) => match (integer(narrow), integer(wide).or(float(wide))) {
            (Some(from), Some(to)) => from <= to,
            _ => false,
        },
    }
}
