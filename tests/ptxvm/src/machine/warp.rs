//! A warp: registers side by side, and groups of lanes that are at one place of the code.

use std::collections::VecDeque;

use crate::code::{BarrierKind, CONSTANT, Lanes, Predicate, Program, Register, SPECIALS};

/// Why a group does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    /// At an instruction that other lanes of the warp must reach.
    Lanes,
    /// At a barrier of the block.
    Barrier(usize),
}

/// Lanes at one place, called from the same places.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub at: u32,
    pub mask: u32,
    pub stack: Vec<u32>,
    pub wait: Wait,
}

/// A copy under way: what will be written where.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub to: u64,
    pub data: [u8; 16],
    pub bytes: u32,
}

/// A thread's asynchronous copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    pub open: Vec<Copy>,
    pub groups: VecDeque<Vec<Copy>>,
}

/// A warp that has come to a barrier of its block.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub barrier: usize,
    /// Threads for which the barrier waits; none: all of the block.
    pub count: Option<u32>,
    pub kind: BarrierKind,
    pub lanes: u32,
    /// The predicate of `bar.red`.
    pub values: u32,
    /// Which accesses of the block are ordered before what follows.
    pub knows: Vec<u32>,
    pub waits: bool,
}

#[derive(Debug)]
pub(crate) struct Warp {
    pub index: u32,
    pub registers: Vec<Lanes>,
    pub predicates: Vec<u32>,
    pub groups: Vec<Group>,
    /// Lanes that have not exited.
    pub live: u32,
    /// Local memory of all lanes, one after another.
    pub local: Vec<u8>,
    pub copies: Vec<Copies>,
    /// The place of the instruction that ran last, for reports.
    pub last: u32,
    /// Lanes that have run for long while others of the warp waited.
    pub tired: u32,
    /// What the block has yet to hear of.
    pub arrivals: Vec<Arrival>,
}

impl Warp {
    pub fn new(program: &Program, index: u32) -> Self {
        Warp {
            index,
            registers: vec![[0; 32]; program.registers],
            predicates: vec![0; program.predicates],
            groups: Vec::new(),
            live: 0,
            local: vec![0; program.local_bytes * 32],
            copies: Vec::new(),
            last: 0,
            tired: 0,
            arrivals: Vec::new(),
        }
    }

    /// Ready to run a block's threads from the beginning.
    pub fn start(&mut self, grid: [u32; 3], block: [u32; 3], index: [u32; 3], dynamic: u32, total: u32) {
        let threads = block.iter().product::<u32>();
        let first = self.index * 32;
        let lanes = (threads - first).min(32);
        self.live = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
        self.groups = vec![Group { at: 0, mask: self.live, stack: Vec::new(), wait: Wait::Nothing }];
        self.copies.clear();
        self.arrivals.clear();
        self.tired = 0;
        self.predicates.fill(0);
        for (slot, name) in SPECIALS.iter().enumerate() {
            for lane in 0..32 {
                let thread = first + lane;
                let axis = match name.as_bytes()[name.len() - 1] {
                    b'y' => 1,
                    b'z' => 2,
                    _ => 0,
                };
                let value = match *name {
                    "%tid.x" => thread % block[0],
                    "%tid.y" => thread / block[0] % block[1],
                    "%tid.z" => thread / (block[0] * block[1]),
                    "%ntid.x" | "%ntid.y" | "%ntid.z" => block[axis],
                    "%ctaid.x" | "%ctaid.y" | "%ctaid.z" => index[axis],
                    "%nctaid.x" | "%nctaid.y" | "%nctaid.z" => grid[axis],
                    "%laneid" => lane,
                    "%warpid" => self.index,
                    "%nwarpid" => 32,
                    "%nsmid" => 1,
                    "%lanemask_eq" => 1 << lane,
                    "%lanemask_lt" => (1 << lane) - 1,
                    "%lanemask_le" => ((1 << lane) - 1) | (1 << lane),
                    "%lanemask_ge" => u32::MAX << lane,
                    "%lanemask_gt" => (u32::MAX << lane) & !(1 << lane),
                    _ => 0,
                };
                self.registers[slot][lane as usize] = value.into();
            }
        }
        self.registers[SPECIALS.len()] = [dynamic.into(); 32];
        self.registers[SPECIALS.len() + 1] = [total.into(); 32];
    }

    #[inline]
    pub fn get<'a>(&'a self, program: &'a Program, register: Register) -> &'a Lanes {
        if register & CONSTANT == 0 {
            &self.registers[register as usize]
        } else {
            &program.constants[(register & !CONSTANT) as usize]
        }
    }

    /// Writes the lanes of a mask.
    #[inline]
    pub fn put(&mut self, register: Register, values: &Lanes, mask: u32) {
        let to = &mut self.registers[register as usize];
        if mask == u32::MAX {
            *to = *values;
        } else {
            for lane in 0..32 {
                let keep = 0u64.wrapping_sub(u64::from((mask >> lane) & 1));
                to[lane] = (values[lane] & keep) | (to[lane] & !keep);
            }
        }
    }

    #[inline]
    pub fn put_predicate(&mut self, predicate: Predicate, values: u32, mask: u32) {
        let to = &mut self.predicates[predicate as usize];
        *to = (*to & !mask) | (values & mask);
    }

    #[inline]
    pub fn predicate(&self, (predicate, negated): (Predicate, bool)) -> u32 {
        let values = self.predicates[predicate as usize];
        if negated { !values } else { values }
    }

    /// The value that all lanes of a mask have, as far as the first tells.
    pub fn first(&self, program: &Program, register: Register, mask: u32) -> u64 {
        self.get(program, register)[(mask.trailing_zeros() & 31) as usize]
    }

    pub fn is_done(&self) -> bool {
        self.groups.is_empty()
    }

    /// Puts a group back, together with another at the same place.
    pub fn join(&mut self, group: Group) {
        let same = self
            .groups
            .iter_mut()
            .find(|g| g.at == group.at && g.wait == group.wait && g.stack == group.stack);
        match same {
            Some(other) => other.mask |= group.mask,
            None => self.groups.push(group),
        }
    }
}

/// The lanes of a mask.
pub(crate) fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lane = mask.trailing_zeros();
        mask &= mask - 1;
        Some(lane as usize)
    })
}
