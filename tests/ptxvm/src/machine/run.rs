//! The loop: the group of lanes that is farthest behind runs until it meets another.
//!
//! Lanes that part at a branch run apart and come together where their places are the same, the lowest place first
//! (and the deepest call before all others). An instruction that needs certain lanes waits for them; where they can
//! never come, because they wait elsewhere or have exited, that is a fault.

use super::World;
use super::warp::{Arrival, Group, Wait, Warp, lanes};
use crate::code::{BarrierKind, Instruction, Op};
use crate::fault::{Fault, Kind};

/// Why a warp stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Done,
    /// All its groups wait at barriers of the block.
    Barrier,
    /// Its time is up.
    Quantum,
}

/// What an instruction does to its group.
enum Step {
    Next,
    Jump(u32),
    /// Not done: other lanes must come first.
    Wait,
    /// Not done: lanes that waited here have joined.
    Again,
    /// The group, already past the instruction, waits at a barrier.
    Barrier(usize),
    /// The group is gone, or was split.
    Gone,
}

impl Warp {
    /// Runs for so many instructions at most.
    pub(crate) fn run(&mut self, world: &mut World<'_>, mut quantum: u64) -> Result<Stop, Fault> {
        loop {
            let Some(at) = self.choose() else { return self.blocked(world) };
            if quantum == 0 {
                return Ok(Stop::Quantum);
            }
            let mut group = self.groups.swap_remove(at);
            let limit = self
                .groups
                .iter()
                .filter(|g| g.stack.len() == group.stack.len() && g.at > group.at)
                .map(|g| g.at)
                .min()
                .unwrap_or(u32::MAX);
            // Where several groups can run, none runs for ever while another waits to be met.
            let mut patience = if self.groups.is_empty() { u64::MAX } else { 100_000 };
            loop {
                let program = world.program;
                self.last = group.at;
                let instruction = &program.code[group.at as usize];
                let active = match instruction.guard {
                    None => group.mask,
                    Some(guard) => group.mask & self.predicate(guard),
                };
                *world.clock += 1;
                quantum = quantum.saturating_sub(1);
                patience -= 1;
                if active == 0 {
                    group.at += 1;
                } else {
                    let count = u64::from(active.count_ones());
                    match self.step(world, instruction, &mut group, active)? {
                        Step::Next => group.at += 1,
                        Step::Jump(to) => group.at = to,
                        Step::Wait => {
                            group.wait = Wait::Lanes;
                            self.join(group);
                            break;
                        }
                        Step::Barrier(index) => {
                            world.counts.instructions[instruction.class as usize] += count;
                            group.at += 1;
                            group.wait = Wait::Barrier(index);
                            self.groups.push(group);
                            return Ok(Stop::Barrier);
                        }
                        Step::Again => continue,
                        Step::Gone => {
                            world.counts.instructions[instruction.class as usize] += count;
                            break;
                        }
                    }
                    world.counts.instructions[instruction.class as usize] += count;
                    world.counts.flops += count * u64::from(instruction.flops);
                }
                if group.at >= limit || quantum == 0 || patience == 0 || self.met(&group) {
                    if patience == 0 {
                        self.tired |= group.mask;
                    }
                    self.join(group);
                    break;
                }
            }
        }
    }

    /// Whether another group is at this place.
    #[inline]
    fn met(&self, group: &Group) -> bool {
        !self.groups.is_empty() && self.groups.iter().any(|g| g.at == group.at && g.stack == group.stack)
    }

    /// The group to run: of the deepest calls, the lowest place; but others first where one has run for long.
    fn choose(&mut self) -> Option<usize> {
        if let [only] = self.groups.as_slice() {
            return (only.wait == Wait::Nothing).then_some(0);
        }
        let best = self
            .groups
            .iter()
            .enumerate()
            .filter(|(_, g)| g.wait == Wait::Nothing)
            .min_by_key(|(_, g)| (g.mask & self.tired != 0, usize::MAX - g.stack.len(), g.at))
            .map(|(at, _)| at)?;
        if self.groups[best].mask & self.tired != 0 {
            self.tired = 0;
        }
        Some(best)
    }

    /// No group can run: because the block must come to a barrier, or because lanes wait for each other for ever.
    fn blocked(&mut self, world: &World<'_>) -> Result<Stop, Fault> {
        if self.groups.is_empty() {
            return Ok(Stop::Done);
        }
        if self.groups.iter().all(|g| matches!(g.wait, Wait::Barrier(_))) {
            return Ok(Stop::Barrier);
        }
        let mut message = String::from("divergence: lanes of the warp wait for each other for ever");
        for group in &self.groups {
            let opcode = describe(&world.program.code[group.at as usize].op);
            message +=
                &format!("\n    lanes 0x{:08x} at {opcode}, {}", group.mask, world.program.place(group.at));
        }
        let exited = !self.live;
        if exited != 0 {
            message += &format!("\n    lanes 0x{exited:08x} have exited or never were");
        }
        self.last = self.groups[0].at;
        Err(Fault::failed(message).at(self.groups[0].mask.trailing_zeros()))
    }

    /// Nothing where all lanes that an instruction needs are here; otherwise those that wait for them are taken in.
    fn gather(&mut self, group: &mut Group, active: u32, needed: u32) -> Result<Option<Step>, Fault> {
        let needed = needed & self.live;
        if needed & !active == 0 {
            return Ok(None);
        }
        if needed & group.mask & !active != 0 {
            let lane = (needed & group.mask & !active).trailing_zeros();
            return Err(Fault::failed(format!(
                "divergence: lane {lane} is named in the mask, but its predicate keeps it from taking part"
            ))
            .at(lane));
        }
        let found = self
            .groups
            .iter()
            .position(|g| g.at == group.at && g.wait == Wait::Lanes && g.stack == group.stack);
        Ok(Some(match found {
            Some(found) => {
                group.mask |= self.groups.swap_remove(found).mask;
                Step::Again
            }
            None => Step::Wait,
        }))
    }

    fn step(
        &mut self,
        world: &mut World<'_>,
        instruction: &Instruction,
        group: &mut Group,
        active: u32,
    ) -> Result<Step, Fault> {
        let program = world.program;
        match &instruction.op {
            Op::One { f, to, a } => {
                let mut out = [0; 32];
                f(self.get(program, *a), &mut out);
                self.put(*to, &out, active);
            }
            Op::Two { f, to, a, b } => {
                let mut out = [0; 32];
                f(self.get(program, *a), self.get(program, *b), &mut out);
                self.put(*to, &out, active);
            }
            Op::Three { f, to, a, b, c } => {
                let mut out = [0; 32];
                f(self.get(program, *a), self.get(program, *b), self.get(program, *c), &mut out);
                self.put(*to, &out, active);
            }
            Op::Compare { f, to, opposite, a, b, with } => {
                let passed = f(self.get(program, *a), self.get(program, *b));
                let (mut yes, mut no) = (passed, !passed);
                if let Some(with) = with {
                    let p = self.predicate(with.p);
                    (yes, no) = ((with.f)(yes, p), (with.f)(no, p));
                }
                self.put_predicate(*to, yes, active);
                if let Some(opposite) = opposite {
                    self.put_predicate(*opposite, no, active);
                }
            }
            Op::Logic { f, to, a, b } => {
                let value = f(self.predicate(*a), self.predicate(*b));
                self.put_predicate(*to, value, active);
            }
            Op::Select { to, a, b, by } => {
                let mask = self.predicate(*by);
                let (a, b) = (self.get(program, *a), self.get(program, *b));
                let mut out = [0; 32];
                for lane in 0..32 {
                    let keep = 0u64.wrapping_sub(u64::from((mask >> lane) & 1));
                    out[lane] = (a[lane] & keep) | (b[lane] & !keep);
                }
                self.put(*to, &out, active);
            }
            Op::Pack { to, parts, bits } => {
                let mut out = [0; 32];
                for (i, part) in parts.iter().enumerate() {
                    let mask = (1u64 << bits) - 1;
                    for (out, part) in out.iter_mut().zip(self.get(program, *part)) {
                        *out |= (part & mask) << (bits * i as u32);
                    }
                }
                self.put(*to, &out, active);
            }
            Op::Unpack { to, a, bits } => {
                let a = *self.get(program, *a);
                for (i, to) in to.iter().enumerate().filter_map(|(i, to)| to.map(|to| (i, to))) {
                    let mask = (1u64 << bits) - 1;
                    let out = a.map(|a| (a >> (bits * i as u32)) & mask);
                    self.put(to, &out, active);
                }
            }
            Op::Load(access) => self.load(world, access, active)?,
            Op::Store(access) => self.store(world, access, active)?,
            Op::Atomic(atomic) => self.atomic(world, atomic, active)?,
            Op::CopyAsync(copy) => self.copy_async(world, copy, active)?,
            Op::CommitGroup => {
                self.copies.resize_with(32, Default::default);
                for lane in lanes(active) {
                    let copies = &mut self.copies[lane];
                    copies.groups.push_back(std::mem::take(&mut copies.open));
                }
            }
            Op::WaitGroup(many) => self.wait_group(world, *many, active)?,
            Op::ActiveMask { to } => self.put(*to, &[active.into(); 32], active),
            Op::Clock { to, wide } => {
                let now = if *wide { *world.clock } else { *world.clock & 0xffff_ffff };
                self.put(*to, &[now; 32], active);
            }
            Op::Nothing => {}
            Op::Branch(to) => {
                if active == group.mask {
                    return Ok(Step::Jump(*to));
                }
                let rest = group.mask & !active;
                self.join(Group {
                    at: group.at + 1,
                    mask: rest,
                    stack: group.stack.clone(),
                    wait: Wait::Nothing,
                });
                self.join(Group { at: *to, mask: active, stack: group.stack.clone(), wait: Wait::Nothing });
                return Ok(Step::Gone);
            }
            Op::BranchIndexed(index, targets) => {
                let index = *self.get(program, *index);
                self.rest(group, active);
                for lane in lanes(active) {
                    let Some(to) = targets.get(index[lane] as usize) else {
                        return Err(Fault::failed(format!(
                            "a branch by index {} of {} targets",
                            index[lane],
                            targets.len()
                        ))
                        .at(lane as u32));
                    };
                    self.join(Group {
                        at: *to,
                        mask: 1 << lane,
                        stack: group.stack.clone(),
                        wait: Wait::Nothing,
                    });
                }
                return Ok(Step::Gone);
            }
            Op::Call(call) => {
                self.rest(group, active);
                for (from, to, bytes) in &call.arguments {
                    self.move_local(program.local_bytes, *from, *to, *bytes, active);
                }
                group.mask = active;
                group.stack.push(group.at + 1);
                return Ok(Step::Jump(call.target));
            }
            Op::Return => {
                self.rest(group, active);
                group.mask = active;
                let Some(back) = group.stack.pop() else { return self.exit(active) };
                if let Op::Call(call) = &program.code[back as usize - 1].op {
                    for (from, to, bytes) in &call.results {
                        self.move_local(program.local_bytes, *from, *to, *bytes, active);
                    }
                }
                return Ok(Step::Jump(back));
            }
            Op::Exit => {
                self.rest(group, active);
                return self.exit(active);
            }
            Op::Trap => {
                return Err(Fault::failed("the kernel executed `trap`").at(active.trailing_zeros()));
            }
            Op::Barrier { index, count, kind } => {
                if let Some(step) = self.gather(group, active, u32::MAX)? {
                    return Ok(step);
                }
                let index = self.first(program, *index, active) as usize;
                let count = count.map(|c| self.first(program, c, active) as u32);
                return self.barrier(world, index, count, *kind, active);
            }
            Op::WarpBarrier { mask } => {
                let needed = self.named(program, *mask, active);
                if let Some(step) = self.gather(group, active, needed)? {
                    return Ok(step);
                }
                world.order.warp(self.index as usize);
            }
            Op::Shuffle(shuffle) => {
                let needed = self.named(program, shuffle.mask, active);
                if let Some(step) = self.gather(group, active, needed)? {
                    return Ok(step);
                }
                self.shuffle(program, shuffle, active);
                world.order.warp(self.index as usize);
            }
            Op::Vote { mask, .. }
            | Op::Match { mask, .. }
            | Op::Reduce { mask, .. }
            | Op::Elect { mask, .. } => {
                let needed = self.named(program, *mask, active);
                if let Some(step) = self.gather(group, active, needed)? {
                    return Ok(step);
                }
                self.collect(program, &instruction.op, active);
                world.order.warp(self.index as usize);
            }
            Op::LoadMatrix { .. } | Op::StoreMatrix { .. } | Op::Mma(_) => {
                if let Some(step) = self.gather(group, active, u32::MAX)? {
                    return Ok(step);
                }
                if active != u32::MAX {
                    return Err(Fault::failed(format!(
                        "an instruction of a whole warp is executed by lanes 0x{active:08x} alone"
                    ))
                    .at(active.trailing_zeros()));
                }
                self.matrix(world, &instruction.op)?;
            }
        }
        Ok(Step::Next)
    }

    /// All lanes that the active ones name in their masks. A lane must name itself.
    fn named(&self, program: &crate::code::Program, mask: u32, active: u32) -> u32 {
        let masks = self.get(program, mask);
        lanes(active).fold(0, |all, lane| all | masks[lane] as u32)
    }

    /// Lanes that a guard holds back go on alone.
    fn rest(&mut self, group: &Group, active: u32) {
        let rest = group.mask & !active;
        if rest != 0 {
            self.join(Group {
                at: group.at + 1,
                mask: rest,
                stack: group.stack.clone(),
                wait: Wait::Nothing,
            });
        }
    }

    fn exit(&mut self, active: u32) -> Result<Step, Fault> {
        self.live &= !active;
        // Who waits for lanes that are gone need not wait any longer.
        for group in &mut self.groups {
            if group.wait == Wait::Lanes {
                group.wait = Wait::Nothing;
            }
        }
        Ok(Step::Gone)
    }

    fn barrier(
        &mut self,
        world: &mut World<'_>,
        index: usize,
        count: Option<u32>,
        kind: BarrierKind,
        active: u32,
    ) -> Result<Step, Fault> {
        if index > 15 {
            return Err(Fault::failed(format!("barrier {index}: a block has barriers 0 to 15")));
        }
        if count.is_some_and(|c| c % 32 != 0 || c == 0) {
            return Err(Fault::failed("the count of threads at a barrier is no multiple of 32"));
        }
        let values = match kind {
            BarrierKind::Count { p, .. } | BarrierKind::Any { p, .. } | BarrierKind::All { p, .. } => {
                self.predicate(p)
            }
            _ => 0,
        };
        let knows = world.order.row(self.index as usize);
        let waits = kind != BarrierKind::Arrive;
        self.arrivals.push(Arrival { barrier: index, count, kind, lanes: active, values, knows, waits });
        Ok(if waits { Step::Barrier(index) } else { Step::Next })
    }

    fn move_local(&mut self, each: usize, from: u64, to: u64, bytes: u64, mask: u32) {
        for lane in lanes(mask) {
            let base = lane * each;
            let (from, to) = (base + from as usize, base + to as usize);
            self.local.copy_within(from..from + bytes as usize, to);
        }
    }
}

/// What stands in reports for an instruction that waits.
fn describe(op: &Op) -> &'static str {
    match op {
        Op::Barrier { .. } => "a barrier of the block",
        Op::WarpBarrier { .. } => "bar.warp.sync",
        Op::Shuffle(_) => "shfl.sync",
        Op::Vote { .. } => "vote.sync",
        Op::Match { .. } => "match.sync",
        Op::Reduce { .. } => "redux.sync",
        Op::LoadMatrix { .. } => "ldmatrix",
        Op::StoreMatrix { .. } => "stmatrix",
        Op::Mma(_) => "mma.sync",
        _ => "an instruction",
    }
}

/// The launch has run for longer than it may.
pub(crate) fn too_long(limit: u64) -> Fault {
    Fault::new(Kind::Timeout, format!("the launch did not end within {limit} instructions of warps"))
}
