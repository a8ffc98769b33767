//! Dims: integer polynomials over named symbols, with floor division as an opaque atom.
//!
//! A dim is kept in one normal form (a sorted sum of monomials), so that two dims are equal exactly when their normal forms
//! are: `(n + 1) * 2 - n` *is* `n + 2`. What the normal form cannot decide is left to a run-time guard.

use super::terms::Terms;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

/// The name of a symbolic dim, unique within a graph: `n`, `batch`, `t`.
pub type Symbol = Arc<str>;

/// An indivisible factor of a monomial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    Symbol(Symbol),
    /// `numerator // denominator`, rounded down.
    FloorDiv(Arc<(Dim, Dim)>),
    /// `numerator % denominator`, of the sign of the denominator.
    Rem(Arc<(Dim, Dim)>),
    Max(Arc<(Dim, Dim)>),
    Min(Arc<(Dim, Dim)>),
}

/// A dim in normal form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    terms: Terms,
}

impl Dim {
    pub fn constant(value: i64) -> Dim {
        Dim { terms: Terms::one(Vec::new(), value) }
    }

    pub fn symbol(name: impl Into<Symbol>) -> Dim {
        Dim::atom(Atom::Symbol(name.into()))
    }

    fn atom(atom: Atom) -> Dim {
        Dim { terms: Terms::one(vec![atom], 1) }
    }

    /// The value, when no symbol is left.
    pub fn as_constant(&self) -> Option<i64> {
        let mut terms = self.terms();
        match (terms.next(), terms.next()) {
            (None, _) => Some(0),
            (Some(([], value)), None) => Some(value),
            _ => None,
        }
    }

    /// The symbol, when the dim is one bare symbol.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        let (monomial, coefficient) = self.terms.iter().next()?;
        match (self.terms.len(), monomial.as_slice(), coefficient) {
            (1, [Atom::Symbol(s)], 1) => Some(s),
            _ => None,
        }
    }

    pub fn is(&self, value: i64) -> bool {
        self.as_constant() == Some(value)
    }

    /// The terms: each a product of atoms and its coefficient, in a fixed order.
    pub fn terms(&self) -> impl Iterator<Item = (&[Atom], i64)> {
        self.terms.iter().map(|(m, c)| (m.as_slice(), c))
    }

    /// `self / divisor` when that is exact whatever the symbols are.
    pub fn exact_div(&self, divisor: &Dim) -> Option<Dim> {
        if divisor.is(1) {
            return Some(self.clone());
        }
        if self == divisor {
            return (!self.is(0)).then(|| Dim::constant(1));
        }
        if divisor.terms.len() != 1 {
            return None;
        }
        let (by, by_coefficient) = divisor.terms.iter().next()?;
        let mut terms = Terms::default();
        for (monomial, coefficient) in self.terms.iter() {
            if coefficient.checked_rem(by_coefficient) != Some(0) {
                return None;
            }
            let mut rest = monomial.clone();
            for atom in by {
                let at = rest.iter().position(|a| a == atom)?;
                rest.remove(at);
            }
            terms.add(rest, coefficient / by_coefficient);
        }
        Some(Dim { terms })
    }

    /// `self // divisor`, rounded down. Terms that divide exactly by a constant divisor leave the division.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if let Some(exact) = self.exact_div(divisor) {
            return exact;
        }
        if let (Some(a), Some(b)) = (self.as_constant(), divisor.as_constant())
            && b != 0
        {
            return Dim::constant(floor_div(a, b));
        }
        if let Some(by) = divisor.as_constant().filter(|b| *b > 0) {
            // (by·q + r) // by = q + r // by.
            let (mut whole, mut rest) = (Terms::default(), Terms::default());
            for (monomial, coefficient) in self.terms.iter() {
                whole.add(monomial.clone(), floor_div(coefficient, by));
                rest.add(monomial.clone(), coefficient.rem_euclid(by));
            }
            if !whole.is_empty() {
                return Dim { terms: whole } + Dim { terms: rest }.floor_div(divisor);
            }
        }
        Dim::atom(Atom::FloorDiv(Arc::new((self.clone(), divisor.clone()))))
    }

    /// `self / divisor`, rounded up.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        (self.clone() + divisor.clone() - Dim::constant(1)).floor_div(divisor)
    }

    pub fn rem(&self, divisor: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_constant(), divisor.as_constant())
            && b != 0
        {
            return Dim::constant(a - b * floor_div(a, b));
        }
        if self.exact_div(divisor).is_some() {
            return Dim::constant(0);
        }
        Dim::atom(Atom::Rem(Arc::new((self.clone(), divisor.clone()))))
    }

    pub fn larger(&self, other: &Dim) -> Dim {
        match (self.as_constant(), other.as_constant()) {
            (Some(a), Some(b)) => Dim::constant(a.max(b)),
            _ if self == other => self.clone(),
            _ => Dim::atom(Atom::Max(Arc::new((self.clone(), other.clone())))),
        }
    }

    pub fn smaller(&self, other: &Dim) -> Dim {
        match (self.as_constant(), other.as_constant()) {
            (Some(a), Some(b)) => Dim::constant(a.min(b)),
            _ if self == other => self.clone(),
            _ => Dim::atom(Atom::Min(Arc::new((self.clone(), other.clone())))),
        }
    }

    /// What it is below 0: itself, or 0 where it isn't negative.
    pub fn shortfall(&self) -> Dim {
        self.smaller(&Dim::constant(0))
    }

    /// Is it a [`Dim::shortfall`]?
    pub fn is_shortfall(&self) -> bool {
        let mut terms = self.terms();
        match (terms.next(), terms.next()) {
            (Some(([Atom::Min(pair)], 1)), None) => pair.1.is(0),
            _ => false,
        }
    }

    /// A number that it is never below, as symbols are 1 or more; `None` where that isn't known.
    pub fn least(&self) -> Option<i64> {
        self.terms().try_fold(0i64, |sum, (monomial, coefficient)| {
            if monomial.is_empty() {
                return sum.checked_add(coefficient);
            }
            let least = monomial.iter().try_fold(1i64, |product, atom| {
                atom.least().filter(|least| *least >= 0).and_then(|least| product.checked_mul(least))
            })?;
            if coefficient < 0 { None } else { sum.checked_add(coefficient.checked_mul(least)?) }
        })
    }

    /// The value under a binding of symbols; `None` when one is unbound, a divisor is 0, or it overflows.
    pub fn evaluate(&self, bind: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        let mut sum = 0i64;
        for (monomial, coefficient) in self.terms.iter() {
            let mut product = coefficient;
            for atom in monomial {
                product = product.checked_mul(atom.evaluate(bind)?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }

    /// Replaces symbols by dims.
    pub fn substitute(&self, with: &dyn Fn(&str) -> Option<Dim>) -> Dim {
        let mut sum = Dim::constant(0);
        for (monomial, coefficient) in self.terms.iter() {
            let mut product = Dim::constant(coefficient);
            for atom in monomial {
                product = product * atom.substitute(with);
            }
            sum = sum + product;
        }
        sum
    }

    /// Calls `visit` with every symbol, in order, repeats included.
    pub fn symbols(&self, visit: &mut dyn FnMut(&Symbol)) {
        for atom in self.terms.iter().flat_map(|(monomial, _)| monomial) {
            match atom {
                Atom::Symbol(s) => visit(s),
                Atom::FloorDiv(p) | Atom::Rem(p) | Atom::Max(p) | Atom::Min(p) => {
                    p.0.symbols(visit);
                    p.1.symbols(visit);
                }
            }
        }
    }
}

impl Atom {
    fn least(&self) -> Option<i64> {
        match self {
            Atom::Symbol(_) => Some(1),
            Atom::FloorDiv(p) => {
                let by = p.1.as_constant().filter(|by| *by > 0)?;
                p.0.least().map(|least| floor_div(least, by))
            }
            Atom::Rem(p) => p.1.as_constant().filter(|by| *by > 0).map(|_| 0),
            Atom::Max(p) => match (p.0.least(), p.1.least()) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            Atom::Min(p) => Some(p.0.least()?.min(p.1.least()?)),
        }
    }

    fn evaluate(&self, bind: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        let both = |p: &(Dim, Dim)| Some((p.0.evaluate(bind)?, p.1.evaluate(bind)?));
        match self {
            Atom::Symbol(s) => bind(s),
            Atom::FloorDiv(p) => both(p).filter(|(_, b)| *b != 0).map(|(a, b)| floor_div(a, b)),
            Atom::Rem(p) => both(p).filter(|(_, b)| *b != 0).map(|(a, b)| a - b * floor_div(a, b)),
            Atom::Max(p) => both(p).map(|(a, b)| a.max(b)),
            Atom::Min(p) => both(p).map(|(a, b)| a.min(b)),
        }
    }

    fn substitute(&self, with: &dyn Fn(&str) -> Option<Dim>) -> Dim {
        match self {
            Atom::Symbol(s) => with(s).unwrap_or_else(|| Dim::symbol(s.clone())),
            Atom::FloorDiv(p) => p.0.substitute(with).floor_div(&p.1.substitute(with)),
            Atom::Rem(p) => p.0.substitute(with).rem(&p.1.substitute(with)),
            Atom::Max(p) => p.0.substitute(with).larger(&p.1.substitute(with)),
            Atom::Min(p) => p.0.substitute(with).smaller(&p.1.substitute(with)),
        }
    }
}

fn floor_div(a: i64, b: i64) -> i64 {
    let q = a.wrapping_div(b);
    if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::constant(value)
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::constant(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(mut self, other: Dim) -> Dim {
        for (monomial, coefficient) in other.terms.into_iter() {
            self.terms.add(monomial, coefficient);
        }
        self
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + other * Dim::constant(-1)
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        let mut terms = Terms::default();
        for (m1, c1) in self.terms.iter() {
            for (m2, c2) in other.terms.iter() {
                let mut monomial = m1.clone();
                monomial.extend(m2.iter().cloned());
                monomial.sort();
                terms.add(monomial, c1.saturating_mul(c2));
            }
        }
        Dim { terms }
    }
}

/// As a spec would write it: `2*n + 1`, `(n + 1)//2`.
impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        // The constant term sorts first in the map but reads best last.
        let ordered = self.terms.iter().filter(|(m, _)| !m.is_empty());
        let constant = self.terms.iter().filter(|(m, _)| m.is_empty());
        for (place, (monomial, coefficient)) in ordered.chain(constant).enumerate() {
            let magnitude = coefficient.unsigned_abs();
            match (place, coefficient < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let mut first = true;
            if magnitude != 1 || monomial.is_empty() {
                write!(f, "{magnitude}")?;
                first = false;
            }
            for atom in monomial {
                if !first {
                    f.write_str("*")?;
                }
                first = false;
                write!(f, "{atom}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |d: &Dim| {
            if d.as_constant().is_some() || d.as_symbol().is_some() {
                format!("{d}")
            } else {
                format!("({d})")
            }
        };
        match self {
            Atom::Symbol(s) => f.write_str(s),
            Atom::FloorDiv(p) => write!(f, "({}//{})", operand(&p.0), operand(&p.1)),
            Atom::Rem(p) => write!(f, "({}%{})", operand(&p.0), operand(&p.1)),
            Atom::Max(p) => write!(f, "max({}, {})", p.0, p.1),
            Atom::Min(p) => write!(f, "min({}, {})", p.0, p.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_decides_equality() {
        let n = || Dim::symbol("n");
        assert_eq!((n() + Dim::constant(1)) * Dim::constant(2) - n(), n() + Dim::constant(2));
        assert_eq!((n() * Dim::constant(4)).exact_div(&Dim::constant(2)), Some(n() * Dim::constant(2)));
        assert_eq!(
            (n() * Dim::constant(4) + Dim::constant(3)).floor_div(&Dim::constant(2)).to_string(),
            "2*n + 1"
        );
        assert_eq!((n() + Dim::constant(1)).floor_div(&Dim::constant(2)).to_string(), "((n + 1)//2)");
        assert_eq!((n() - n()).as_constant(), Some(0));
    }
}
