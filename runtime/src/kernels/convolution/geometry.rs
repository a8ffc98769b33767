//! The numbers of a convolution, and which taps meet which pixels.

use crate::kernels::resolve;
use crate::program::{Convolution, PANEL, TILE_ROWS};
use std::ops::Range;

/// The numbers of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub n: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub ci: usize,
    pub co: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Geometry {
    pub fn resolve(kernel: &Convolution, dims: &[i64]) -> Result<Geometry, String> {
        let both = |pair: [_; 2]| -> Result<[usize; 2], String> {
            Ok([resolve::extent(pair[0], dims)?, resolve::extent(pair[1], dims)?])
        };
        let geometry = Geometry {
            n: resolve::extent(kernel.n, dims)?,
            input: both(kernel.input)?,
            output: both(kernel.output)?,
            ci: resolve::extent(kernel.input_channels, dims)?,
            co: resolve::extent(kernel.output_channels, dims)?,
            kernel: both(kernel.kernel)?,
            stride: kernel.stride.map(|stride| stride as usize),
            padding: both(kernel.padding)?,
            dilation: kernel.dilation.map(|dilation| dilation as usize),
            groups: resolve::extent(kernel.groups, dims)?,
        };
        let Geometry { n, input, output, ci, co, kernel, stride, dilation, groups, .. } = geometry;
        if groups == 0 || ci % groups != 0 || co % groups != 0 {
            return Err(format!("{groups} groups don't divide {ci} and {co} channels"));
        }
        if stride.contains(&0) || dilation.contains(&0) {
            return Err("a convolution's strides and dilations must be positive".into());
        }
        resolve::product_of([n, input[0], input[1], ci])?;
        resolve::product_of([n, output[0], output[1], co])?;
        resolve::product_of([kernel[0], kernel[1], ci / groups, co.next_multiple_of(PANEL)])?;
        for axis in 0..2 {
            let reach = [output[axis], stride[axis]].into_iter().chain([kernel[axis], dilation[axis]]);
            if reach.chain([geometry.padding[axis]]).any(|value| value > 1 << 30) {
                return Err("a convolution is too large".into());
            }
        }
        Ok(geometry)
    }

    /// Input channels of a group.
    pub fn group_inputs(&self) -> usize {
        self.ci / self.groups
    }

    /// Output channels of a group.
    pub fn group_outputs(&self) -> usize {
        self.co / self.groups
    }

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows or columns of input from the first tap to the last, inclusive.
    pub fn reach(&self, axis: usize) -> usize {
        self.kernel[axis].saturating_sub(1) * self.dilation[axis] + 1
    }

    /// Whether no tap ever falls outside the input.
    pub fn unpadded(&self) -> bool {
        (0..2).all(|axis| {
            let last = self.output[axis].saturating_sub(1) * self.stride[axis] + self.reach(axis);
            self.padding[axis] == 0 && last <= self.input[axis]
        })
    }

    /// The output positions that tap `tap` takes from inside the input.
    pub fn valid(&self, axis: usize, tap: usize) -> Range<usize> {
        let (stride, offset, padding) = (self.stride[axis], tap * self.dilation[axis], self.padding[axis]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + padding).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        first.min(end)..end
    }

    /// The input position of a valid pair of output position and tap.
    pub fn source(&self, axis: usize, output: usize, tap: usize) -> usize {
        output * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// The output position that takes an input position through a tap.
    pub fn target(&self, axis: usize, input: usize, tap: usize) -> Option<usize> {
        let offset = (input + self.padding[axis]).checked_sub(tap * self.dilation[axis])?;
        // A division takes longer than a tap of a depthwise convolution.
        let (output, rest) = match self.stride[axis] {
            1 => (offset, 0),
            stride => (offset / stride, offset % stride),
        };
        (rest == 0 && output < self.output[axis]).then_some(output)
    }

    /// The taps that find an output position's input.
    pub fn reaching(&self, axis: usize, output: usize) -> Range<usize> {
        let (start, padding, dilation) =
            (output * self.stride[axis], self.padding[axis], self.dilation[axis]);
        let taps = |offset: usize| if dilation == 1 { offset } else { offset.div_ceil(dilation) };
        let end = taps((self.input[axis] + padding).saturating_sub(start)).min(self.kernel[axis]);
        taps(padding.saturating_sub(start)).min(end)..end
    }

    /// Tiles of one split of a weight gradient.
    pub fn weight_tiles(&self) -> usize {
        (self.taps() * self.group_inputs()).div_ceil(TILE_ROWS) * self.co.div_ceil(PANEL)
    }
}
