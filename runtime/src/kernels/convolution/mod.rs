//! Convolutions: which pixels, taps and channels are the rows, runs and columns of the register tile.
//!
//! | kind | rows of a tile | k | B |
//! |---|---|---|---|
//! | forward | output pixels, across image rows | taps × input channels | w itself |
//! | data gradient | the input pixels that a tap reaches | output channels, tap after tap | w, packed tap by tap |
//! | weight gradient | taps × input channels | output pixels | dy itself |
//!
//! A forward convolution with padding reads a zero-bordered copy of the input rows that it needs; the gradients visit
//! valid taps only. Depthwise convolutions are in `depthwise`, those into few channels in
//! `narrow`; other grouped ones loop over groups.

mod data;
mod depthwise;
mod forward;
mod geometry;
mod narrow;
mod weights;

use super::isa::Level;
use crate::program::{Convolution, ConvolutionKind};
use data::Data;
use depthwise::Depthwise;
use forward::Forward;
use geometry::Geometry;
use narrow::Narrow;
use std::ops::Range;
use weights::Weights;

/// Pixels whose offsets are worked out at a time.
const PIXELS: usize = 240;

#[derive(Debug)]
pub struct Bound {
    level: Level,
    geometry: Geometry,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Forward(Forward),
    Data(Data),
    Weights(Weights),
    Depthwise(Depthwise),
    Narrow(Narrow),
}

impl Bound {
    pub fn bind(kernel: &Convolution, dims: &[i64], level: Level) -> Result<Bound, String> {
        let geometry = Geometry::resolve(kernel, dims)?;
        let splits = super::resolve::extent(kernel.splits, dims)?.max(1);
        let depthwise = geometry.groups == geometry.ci && geometry.ci == geometry.co && geometry.ci > 1;
        let form = if depthwise {
            Form::Depthwise(Depthwise { kind: kernel.kind, splits })
        } else if let Some(narrow) = Narrow::new(kernel.kind, &geometry)? {
            Form::Narrow(narrow)
        } else {
            match kernel.kind {
                ConvolutionKind::Forward => Form::Forward(Forward::new(&geometry)?),
                ConvolutionKind::Data => Form::Data(Data::new(&geometry)?),
                ConvolutionKind::Weights => Form::Weights(Weights::new(&geometry, splits)?),
            }
        };
        Ok(Bound { level, geometry, form })
    }

    pub fn extent(&self) -> usize {
        let g = &self.geometry;
        match &self.form {
            Form::Forward(_) => g.n * g.output[0],
            Form::Data(_) => g.n * g.input[0],
            Form::Weights(weights) => weights.splits() * g.weight_tiles(),
            Form::Narrow(narrow) => g.n * narrow.target_rows(),
            Form::Depthwise(depthwise) => match depthwise.kind {
                ConvolutionKind::Forward => g.n * g.output[0],
                ConvolutionKind::Data => g.n * g.input[0],
                ConvolutionKind::Weights => depthwise.splits * g.weight_tiles(),
            },
        }
    }

    pub fn scratch_bytes(&self) -> usize {
        match &self.form {
            Form::Forward(forward) => forward.scratch_bytes(),
            Form::Data(data) => data.scratch_bytes(),
            Form::Weights(weights) => weights.scratch_bytes(),
            Form::Depthwise(_) => 0,
            Form::Narrow(narrow) => narrow.scratch_bytes(&self.geometry),
        }
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], range: Range<usize>, scratch: *mut u8) {
        let g = &self.geometry;
        let (a, b) = (buffers[0].cast::<f32>().cast_const(), buffers[1].cast::<f32>().cast_const());
        let c = buffers[2].cast::<f32>();
        // SAFETY: the caller's own promises.
        unsafe {
            match &self.form {
                Form::Forward(forward) => forward.run(self.level, g, [a, b], c, range, scratch),
                Form::Data(data) => data.run(self.level, g, [a, b], c, range, scratch),
                Form::Weights(weights) => weights.run(self.level, g, [a, b], c, range, scratch),
                Form::Narrow(narrow) => narrow.run(self.level, g, [a, b], c, range, scratch),
                Form::Depthwise(depthwise) => {
                    depthwise::run(self.level, depthwise, g, [a, b], c, range.start, range.end)
                }
            }
        }
    }
}
