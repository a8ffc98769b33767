//! What the lanes of a warp tell each other: shuffles, votes, matches, reductions.

use super::warp::{Warp, lanes};
use crate::code::{Op, Program, Shuffle, ShuffleKind, Vote};

impl Warp {
    /// `shfl.sync`: the pseudocode of the PTX ISA's section on it, lane by lane.
    pub(crate) fn shuffle(&mut self, program: &Program, shuffle: &Shuffle, active: u32) {
        let a = *self.get(program, shuffle.a);
        let (b, c) = (*self.get(program, shuffle.b), *self.get(program, shuffle.c));
        let (mut out, mut inside) = ([0; 32], 0);
        for lane in lanes(active) {
            let (b, c, lane_) = (b[lane] as u32 & 31, c[lane] as u32, lane as u32);
            let (clamp, segment) = (c & 31, (c >> 8) & 31);
            let last = (lane_ & segment) | (clamp & !segment);
            let first = lane_ & segment;
            let (from, within) = match shuffle.kind {
                ShuffleKind::Up => (lane_.wrapping_sub(b), lane_ as i32 - b as i32 >= last as i32),
                ShuffleKind::Down => (lane_ + b, lane_ + b <= last),
                ShuffleKind::Butterfly => (lane_ ^ b, lane_ ^ b <= last),
                ShuffleKind::Index => {
                    let from = first | (b & !segment);
                    (from, from <= last)
                }
            };
            let from = if within { from & 31 } else { lane_ };
            out[lane] = a[from as usize] & 0xffff_ffff;
            inside |= u32::from(within) << lane;
        }
        self.put(shuffle.to, &out, active);
        if let Some(p) = shuffle.inside {
            self.put_predicate(p, inside, active);
        }
    }

    /// What is collected over the lanes that a mask names.
    pub(crate) fn collect(&mut self, program: &Program, op: &Op, active: u32) {
        let (mut out, mut flags) = ([0u64; 32], 0u32);
        match op {
            Op::Vote { kind, to, to_predicate, a, mask } => {
                let (values, masks) = (self.predicate(*a), *self.get(program, *mask));
                for lane in lanes(active) {
                    let named = masks[lane] as u32 & active;
                    let votes = values & named;
                    let flag = match kind {
                        Vote::Any => votes != 0,
                        Vote::All => votes == named,
                        Vote::Uniform => votes == named || votes == 0,
                        Vote::Ballot => false,
                    };
                    out[lane] = votes.into();
                    flags |= u32::from(flag) << lane;
                }
                self.put(*to, &out, active);
                self.put_predicate(*to_predicate, flags, active);
            }
            Op::Match { all, to, a, mask, .. } => {
                let (values, masks) = (*self.get(program, *a), *self.get(program, *mask));
                for lane in lanes(active) {
                    let named = masks[lane] as u32 & active;
                    let equal =
                        lanes(named).filter(|l| values[*l] == values[lane]).fold(0u32, |m, l| m | 1 << l);
                    let flag = equal == named;
                    out[lane] = if all.is_some() && !flag { 0 } else { equal.into() };
                    flags |= u32::from(flag) << lane;
                }
                self.put(*to, &out, active);
                if let Some(p) = all {
                    self.put_predicate(*p, flags, active);
                }
            }
            Op::Reduce { f, to, a, mask } => {
                let (values, masks) = (*self.get(program, *a), *self.get(program, *mask));
                for lane in lanes(active) {
                    let named = masks[lane] as u32 & active;
                    out[lane] = lanes(named).map(|l| values[l] as u32).reduce(f).unwrap_or(0).into();
                }
                self.put(*to, &out, active);
            }
            Op::Elect { to, to_predicate, mask } => {
                let masks = *self.get(program, *mask);
                for lane in lanes(active) {
                    let leader = (masks[lane] as u32 & active).trailing_zeros();
                    out[lane] = leader.into();
                    flags |= u32::from(leader == lane as u32) << lane;
                }
                self.put(*to, &out, active);
                self.put_predicate(*to_predicate, flags, active);
            }
            _ => {}
        }
    }
}
