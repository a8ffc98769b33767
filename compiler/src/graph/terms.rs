//! The terms of a dim: monomials in order, each once, with their coefficients.
//!
//! Nearly every dim is a number or a symbol, and the graphs of a large model have a hundred thousand of them. So the first term lies in the dim itself,
//! where a number needs no memory beside it.

use super::dim::Atom;
use smallvec::SmallVec;

/// A product of atoms, sorted; empty for the constant term.
pub type Monomial = Vec<Atom>;

/// A sum. Terms with coefficient 0 are never kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Terms(SmallVec<[(Monomial, i64); 1]>);

impl Terms {
    pub fn one(monomial: Monomial, coefficient: i64) -> Terms {
        let mut terms = Terms::default();
        terms.add(monomial, coefficient);
        terms
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Monomial, i64)> {
        self.0.iter().map(|(monomial, coefficient)| (monomial, *coefficient))
    }

    pub fn into_iter(self) -> impl Iterator<Item = (Monomial, i64)> {
        self.0.into_iter()
    }

    /// Adds a term; sums end at the limits of `i64`.
    pub fn add(&mut self, monomial: Monomial, coefficient: i64) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&monomial)) {
            Ok(at) => {
                let sum = self.0[at].1.saturating_add(coefficient);
                if sum == 0 {
                    self.0.remove(at);
                } else {
                    self.0[at].1 = sum;
                }
            }
            Err(at) if coefficient != 0 => self.0.insert(at, (monomial, coefficient)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Terms;
    use crate::graph::Dim;
    use crate::graph::dim::Atom;

    #[test]
    fn terms_are_in_order_and_zeros_are_none() {
        let atom = |name: &str| vec![Atom::Symbol(name.into())];
        let mut terms = Terms::one(atom("b"), 2);
        for (name, coefficient) in [("a", 1), ("c", i64::MAX), ("c", 1), ("b", -2), ("d", 0)] {
            terms.add(atom(name), coefficient);
        }
        terms.add(Vec::new(), 7);
        let due = [(Vec::new(), 7), (atom("a"), 1), (atom("c"), i64::MAX)];
        assert!(terms.iter().eq(due.iter().map(|(monomial, coefficient)| (monomial, *coefficient))));
        assert_eq!(Terms::one(atom("a"), 0), Terms::default());
    }

    #[test]
    fn a_number_needs_no_memory_of_its_own() {
        assert!(size_of::<Dim>() <= 48, "{}", size_of::<Dim>());
    }
}
