//! From dims as indices into an entry's table to extents and strides as numbers.

use crate::program::{DimIndex, PANEL, Stride};

/// The value of a dim that counts something.
pub fn extent(dim: DimIndex, dims: &[i64]) -> Result<usize, String> {
    let value = value(dim, dims)?;
    usize::try_from(value).map_err(|_| format!("an extent is {value}"))
}

/// The value of a dim.
pub fn value(dim: DimIndex, dims: &[i64]) -> Result<isize, String> {
    let value = dims.get(dim.0 as usize).ok_or_else(|| format!("there is no dim {}", dim.0))?;
    isize::try_from(*value).map_err(|_| format!("the dim {value} is too large"))
}

/// A [`Stride`] in numbers; an operand that lacks the axis has stride 0 on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    pub extent: usize,
    pub a: isize,
    pub b: isize,
    pub c: isize,
}

pub fn axis(stride: &Stride, dims: &[i64]) -> Result<Axis, String> {
    let step = |dim: Option<DimIndex>| dim.map_or(Ok(0), |dim| value(dim, dims));
    Ok(Axis {
        extent: extent(stride.extent, dims)?,
        a: step(stride.a)?,
        b: step(stride.b)?,
        c: step(stride.c)?,
    })
}

pub fn axes(strides: &[Stride], dims: &[i64]) -> Result<Vec<Axis>, String> {
    strides.iter().map(|stride| axis(stride, dims)).collect()
}

/// The product of extents.
pub fn product<'a>(axes: impl IntoIterator<Item = &'a Axis>) -> Result<usize, String> {
    product_of(axes.into_iter().map(|axis| axis.extent))
}

/// The product of extents, which must fit an index.
pub fn product_of(extents: impl IntoIterator<Item = usize>) -> Result<usize, String> {
    extents
        .into_iter()
        .try_fold(1usize, |product, extent| product.checked_mul(extent))
        .filter(|&product| product <= isize::MAX as usize / 8)
        .ok_or_else(|| "a tensor has more elements than memory has bytes".to_string())
}

/// Drops axes of extent 1 and merges neighbours that are one axis in every operand.
pub fn collapse(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes {
        if axis.extent == 1 {
            continue;
        }
        let extent = axis.extent as isize;
        match merged.last_mut() {
            Some(outer)
                if (outer.a, outer.b, outer.c) == (axis.a * extent, axis.b * extent, axis.c * extent) =>
            {
                *outer = Axis { extent: outer.extent * axis.extent, ..axis };
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Gives the axes of k the strides of a packed B: one row of a panel for each k.
pub fn pack_k(mut axes: Vec<Axis>) -> Vec<Axis> {
    let mut stride = PANEL as isize;
    for axis in axes.iter_mut().rev() {
        axis.b = stride;
        stride *= axis.extent as isize;
    }
    axes
}

/// Where the element of a flat index lies in each operand.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    axes: &'a [Axis],
}

impl<'a> Layout<'a> {
    pub fn new(axes: &'a [Axis]) -> Layout<'a> {
        Layout { axes }
    }

    /// The offsets of a flat index, as the strides of an axis of extent 1.
    pub fn at(&self, mut index: usize) -> Axis {
        let mut offset = Axis { extent: 1, ..Axis::default() };
        for axis in self.axes.iter().rev() {
            let position = (index % axis.extent) as isize;
            index /= axis.extent;
            offset.a += position * axis.a;
            offset.b += position * axis.b;
            offset.c += position * axis.c;
        }
        offset
    }

    /// The offsets in A and C of consecutive indices.
    pub fn fill(&self, first: usize, a: &mut [isize], c: &mut [isize]) {
        let inner = self.axes.last().copied().unwrap_or(Axis { extent: 1, ..Axis::default() });
        let mut done = 0;
        while done < a.len() {
            let start = self.at(first + done);
            let run = (inner.extent - (first + done) % inner.extent).min(a.len() - done);
            for i in 0..run {
                a[done + i] = start.a + i as isize * inner.a;
                c[done + i] = start.c + i as isize * inner.c;
            }
            done += run;
        }
    }
}
