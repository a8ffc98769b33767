//! How a sum over k is cut: into blocks of runs, from extents and strides alone.
//!
//! Each block is one chain of multiply-adds for each element, and the blocks' sums are added one after another, so that
//! this cut alone fixes the order of a sum.

use super::resolve::{self, Axis, Layout};
use super::tile::Segment;
use crate::program::PANEL;

/// Elements of k in a block, at most, where k can be cut so and B is f32: a panel of B then takes 48 KiB, and so it does with more elements that
/// are narrower.
pub const KC: usize = 384;

/// A number of equally long segments.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub segments: &'a [Segment],
    /// The same for a B whose segments follow one another in packed panels.
    pub packed: &'a [Segment],
    pub length: usize,
}

/// The blocks of k, split by split.
#[derive(Debug)]
pub struct Runs {
    /// Steps of one element of a segment.
    pub a_step: isize,
    pub b_step: isize,
    segments: Vec<Segment>,
    packed: Vec<Segment>,
    /// First segment, number and length of segments.
    blocks: Vec<(usize, usize, usize)>,
    /// The blocks of split `s` are `splits[s]..splits[s + 1]`.
    splits: Vec<usize>,
}

impl Runs {
    /// Cuts the axes of k (outer first) into `splits` parts, and those into blocks. Where the axes don't collapse into
    /// one, the inner one is a segment and the splits cut the outer ones.
    pub fn new(axes: Vec<Axis>, splits: usize) -> Result<Runs, String> {
        Runs::over(axes, splits, KC)
    }

    /// The same with blocks of at most so many elements.
    pub fn over(axes: Vec<Axis>, splits: usize, most: usize) -> Result<Runs, String> {
        let axes = resolve::collapse(axes);
        let (inner, outer) = match axes.split_last() {
            Some((inner, outer)) => (*inner, outer),
            None => (Axis { extent: 1, ..Axis::default() }, &axes[..]),
        };
        let mut runs = Runs {
            a_step: inner.a,
            b_step: inner.b,
            segments: Vec::new(),
            packed: Vec::new(),
            blocks: Vec::new(),
            splits: vec![0],
        };
        let outers = resolve::product(outer)?;
        for split in 0..splits {
            let part = |extent: usize| extent * split / splits..extent * (split + 1) / splits;
            if outer.is_empty() {
                runs.cut(outer, inner, 0..1, part(inner.extent), most);
            } else {
                runs.cut(outer, inner, part(outers), 0..inner.extent, most);
            }
            if Some(&runs.blocks.len()) == runs.splits.last() {
                // An empty sum still has to write its zeros.
                runs.blocks.push((0, 0, 0));
            }
            runs.splits.push(runs.blocks.len());
        }
        for &(first, count, length) in &runs.blocks {
            let packed =
                |i: usize| Segment { a: runs.segments[first + i].a, b: (i * length * PANEL) as isize };
            runs.packed.extend((0..count).map(packed));
        }
        Ok(runs)
    }

    /// Appends the blocks of one split: several segments each, or a piece of one.
    fn cut(
        &mut self,
        outer: &[Axis],
        inner: Axis,
        outers: std::ops::Range<usize>,
        inners: std::ops::Range<usize>,
        most: usize,
    ) {
        let layout = Layout::new(outer);
        let segment = |o: usize, i: usize| {
            let at = layout.at(o);
            Segment { a: at.a + inner.a * i as isize, b: at.b + inner.b * i as isize }
        };
        let pieces = inners.len().div_ceil(most);
        if pieces <= 1 {
            let group = (most / inners.len().max(1)).max(1);
            let groups = outers.len().div_ceil(group);
            for g in 0..groups {
                let first = outers.start + outers.len() * g / groups;
                let end = outers.start + outers.len() * (g + 1) / groups;
                self.blocks.push((self.segments.len(), end - first, inners.len()));
                self.segments.extend((first..end).map(|o| segment(o, inners.start)));
            }
        } else {
            for o in outers {
                for p in 0..pieces {
                    let first = inners.start + inners.len() * p / pieces;
                    let end = inners.start + inners.len() * (p + 1) / pieces;
                    self.blocks.push((self.segments.len(), 1, end - first));
                    self.segments.push(segment(o, first));
                }
            }
        }
    }

    pub fn splits(&self) -> usize {
        self.splits.len() - 1
    }

    /// Elements of k in the longest block.
    pub fn longest(&self) -> usize {
        self.blocks.iter().map(|&(_, count, length)| count * length).max().unwrap_or(0)
    }

    /// The blocks of one split, at least one.
    pub fn of(&self, split: usize) -> impl Iterator<Item = Run<'_>> {
        self.blocks[self.splits[split]..self.splits[split + 1]].iter().map(|&(first, count, length)| {
            let part = first..first + count;
            Run { segments: &self.segments[part.clone()], packed: &self.packed[part], length }
        })
    }
}
