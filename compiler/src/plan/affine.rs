//! Index maps: sums of loop variables times dims.
//!
//! Every view of the graph composes into one [`Affine`] per access, so that a chain of transposes, slices, broadcasts and windows
//! costs nothing at run time. What is not affine (a reshape that cuts across axes) is decided here too, by [`Affine::split`].

use crate::graph::Dim;

/// `Σ coefficient · variable + constant`; terms are sorted by variable, without zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    pub terms: Vec<(usize, Dim)>,
    pub constant: Dim,
}

impl Affine {
    pub fn constant(value: impl Into<Dim>) -> Affine {
        Affine { terms: Vec::new(), constant: value.into() }
    }

    pub fn variable(variable: usize) -> Affine {
        Affine { terms: vec![(variable, Dim::constant(1))], constant: Dim::constant(0) }
    }

    pub fn coefficient(&self, variable: usize) -> Dim {
        self.terms.iter().find(|(v, _)| *v == variable).map_or(Dim::constant(0), |(_, c)| c.clone())
    }

    pub fn plus(mut self, other: &Affine) -> Affine {
        for (variable, coefficient) in &other.terms {
            self.add_term(*variable, coefficient.clone());
        }
        self.constant = self.constant + other.constant.clone();
        self
    }

    fn add_term(&mut self, variable: usize, coefficient: Dim) {
        match self.terms.binary_search_by_key(&variable, |(v, _)| *v) {
            Ok(at) => {
                let sum = self.terms[at].1.clone() + coefficient;
                if sum.is(0) {
                    self.terms.remove(at);
                } else {
                    self.terms[at].1 = sum;
                }
            }
            Err(at) if !coefficient.is(0) => self.terms.insert(at, (variable, coefficient)),
            Err(_) => {}
        }
    }

    pub fn scale(&self, by: &Dim) -> Affine {
        let mut scaled = Affine::constant(self.constant.clone() * by.clone());
        for (variable, coefficient) in &self.terms {
            scaled.add_term(*variable, coefficient.clone() * by.clone());
        }
        scaled
    }

    /// The same map over other variables: each variable becomes an affine map.
    pub fn substitute(&self, with: &dyn Fn(usize) -> Affine) -> Affine {
        let mut sum = Affine::constant(self.constant.clone());
        for (variable, coefficient) in &self.terms {
            sum = sum.plus(&with(*variable).scale(coefficient));
        }
        sum
    }

    /// `(self // by, self % by)` when both are affine for all values of the variables within their extents.
    pub fn split(&self, by: &Dim, extents: &[Dim]) -> Option<(Affine, Affine)> {
        let (mut quotient, mut rest) = (Affine::constant(0i64), Affine::constant(0i64));
        for (variable, coefficient) in &self.terms {
            match coefficient.exact_div(by) {
                Some(q) => quotient.add_term(*variable, q),
                None => rest.add_term(*variable, coefficient.clone()),
            }
        }
        match (self.constant.exact_div(by), self.constant.as_constant(), by.as_constant()) {
            (Some(q), _, _) => quotient.constant = q,
            (None, Some(c), Some(b)) if b > 0 => {
                quotient.constant = Dim::constant(c.div_euclid(b));
                rest.constant = Dim::constant(c.rem_euclid(b));
            }
            _ => rest.constant = self.constant.clone(),
        }
        rest.within(by, extents).then_some((quotient, rest))
    }

    /// Whether `0 <= self < limit` can be shown for all values of the variables within their extents.
    pub fn within(&self, limit: &Dim, extents: &[Dim]) -> bool {
        let mut largest = self.constant.clone();
        let mut smallest = self.constant.clone();
        for (variable, coefficient) in &self.terms {
            let Some(extent) = extents.get(*variable) else { return false };
            let reach = coefficient.clone() * (extent.clone() - Dim::constant(1));
            if is_nonnegative(coefficient) {
                largest = largest + reach;
            } else if is_nonnegative(&(Dim::constant(0) - coefficient.clone())) {
                smallest = smallest + reach;
            } else {
                return false;
            }
        }
        is_nonnegative(&smallest) && is_nonnegative(&(limit.clone() - Dim::constant(1) - largest))
    }

    /// Whether the value changes with any of these variables.
    pub fn depends_on(&self, variable: usize) -> bool {
        self.terms.iter().any(|(v, _)| *v == variable)
    }
}

/// Whether a dim can be shown to be at least 0 when every symbol is at least 1.
pub fn is_nonnegative(dim: &Dim) -> bool {
    if let Some(value) = dim.as_constant() {
        return value >= 0;
    }
    let shifted = dim.substitute(&|s| Some(Dim::symbol(s) + Dim::constant(1)));
    shifted.terms().all(|(_, coefficient)| coefficient >= 0)
}

/// `2304*i0 + i2 + 3`
impl std::fmt::Display for Affine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for (variable, coefficient) in &self.terms {
            if !first {
                f.write_str(" + ")?;
            }
            first = false;
            match coefficient.terms().count() {
                _ if coefficient.is(1) => write!(f, "i{variable}")?,
                1 => write!(f, "{coefficient}*i{variable}")?,
                _ => write!(f, "({coefficient})*i{variable}")?,
            }
        }
        match (first, self.constant.is(0)) {
            (true, _) => write!(f, "{}", self.constant),
            (false, false) => write!(f, " + {}", self.constant),
            (false, true) => Ok(()),
        }
    }
}

/// Row-major strides of a shape.
pub fn strides(shape: &[Dim]) -> Vec<Dim> {
    let mut stride = Dim::constant(1);
    let mut strides: Vec<Dim> = shape
        .iter()
        .rev()
        .map(|extent| {
            let here = stride.clone();
            stride = stride.clone() * extent.clone();
            here
        })
        .collect();
    strides.reverse();
    strides
}

/// The offset of an index into a row-major tensor.
pub fn flatten(index: &[Affine], shape: &[Dim]) -> Affine {
    let strides = strides(shape);
    index.iter().zip(&strides).fold(Affine::constant(0i64), |sum, (i, s)| sum.plus(&i.scale(s)))
}

/// The index into `from` (row-major) of the element that stands at `index` of the reshaped `to`; `None` when it is not affine.
pub fn reshape(index: &[Affine], to: &[Dim], from: &[Dim], extents: &[Dim]) -> Option<Vec<Affine>> {
    let mut result = vec![Affine::constant(0i64); from.len()];
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        // The smallest group of axes on both sides with equal products.
        let (first_i, first_j) = (i, j);
        let (mut p, mut q) = (Dim::constant(1), Dim::constant(1));
        loop {
            let take_from = if p == q {
                if i > first_i || j > first_j {
                    break;
                }
                i < from.len()
            } else {
                let grow_from = q.exact_div(&p).is_some() && !q.is(0);
                (grow_from && i < from.len()) || j >= to.len()
            };
            if take_from && i < from.len() {
                p = p * from[i].clone();
                i += 1;
            } else if j < to.len() {
                q = q * to[j].clone();
                j += 1;
            } else {
                return None;
            }
        }
        let mut flat = flatten(&index[first_j..j], &to[first_j..j]);
        // Peel the group's axes off from the innermost; the outermost real one takes what is left.
        let real: Vec<usize> = (first_i..i).filter(|axis| !from[*axis].is(1)).collect();
        for (place, axis) in real.iter().enumerate().rev() {
            if place == 0 {
                result[*axis] = flat.clone();
            } else {
                let (quotient, rest) = flat.split(&from[*axis], extents)?;
                result[*axis] = rest;
                flat = quotient;
            }
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(value: i64) -> Dim {
        Dim::constant(value)
    }

    #[test]
    fn reshapes_split_and_merge_axes() {
        let n = Dim::symbol("n");
        let extents = [n.clone(), d(7), d(5)];
        let v = Affine::variable;
        // [n, 7, 5] seen as [n, 35]: a merge.
        let merged =
            reshape(&[v(0), v(1)], &[n.clone(), d(35)], &[n.clone(), d(7), d(5)], &[n.clone(), d(35)]);
        assert_eq!(merged, None, "one variable over 35 does not split into 7 and 5");
        let split =
            reshape(&[v(0), v(1), v(2)], &[n.clone(), d(7), d(5)], &[n.clone(), d(35)], &extents).unwrap();
        assert_eq!(split[1].to_string(), "5*i1 + i2");
        // And back again: 5·i1 + i2 splits, because i2 < 5.
        let back = reshape(&split, &[n.clone(), d(35)], &[n, d(7), d(5)], &extents).unwrap();
        assert_eq!(back, vec![v(0), v(1), v(2)]);
    }
}
