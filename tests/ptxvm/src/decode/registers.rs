//! Registers of a program, few enough to stay in the cache.
//!
//! NVRTC gives every value a register of its own. Here registers whose values never live at the same time share a
//! place: a linear scan (M. Poletto, V. Sarkar: Linear Scan Register Allocation, 1999) over intervals that liveness
//! over the blocks of the code gives. Lanes that have parted do not disturb it: each lane's values live along its own
//! way through the code, and every write is masked.

use crate::code::{CONSTANT, FIRST_REGISTER, Instruction, Op, Program, Register};

/// How an instruction uses a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

/// Gives the registers of a program their places.
pub(super) fn allocate(program: &mut Program) {
    let count = program.registers;
    let blocks = Blocks::of(&program.code);
    let live_in = blocks.liveness(&mut program.code, count);
    let mut intervals = vec![(u32::MAX, 0u32); count];
    let mut touch = |register: usize, at: u32| {
        let (first, last) = &mut intervals[register];
        *first = (*first).min(at);
        *last = (*last).max(at);
    };
    for at in 0..program.code.len() {
        visit(&mut program.code[at].op, &mut |register, _| touch(*register as usize, at as u32));
    }
    for (block, live) in live_in.iter().enumerate() {
        // What is live where a block begins is live at the end of those that lead there.
        for register in members(live) {
            touch(register, blocks.starts[block]);
            for from in &blocks.before[block] {
                touch(register, blocks.end(*from));
            }
        }
    }
    // What is live through a block is live at its beginning and, by its successors, at its end.
    let mut order: Vec<usize> =
        (FIRST_REGISTER as usize..count).filter(|r| intervals[*r].0 != u32::MAX).collect();
    order.sort_by_key(|r| intervals[*r].0);
    let mut places = vec![0 as Register; count];
    let mut busy = std::collections::BinaryHeap::new();
    let mut free: Vec<Register> = Vec::new();
    let mut next = FIRST_REGISTER;
    for register in order {
        let (first, last) = intervals[register];
        while let Some(&(std::cmp::Reverse(end), place)) = busy.peek() {
            // An instruction may still read what ends where another begins.
            if end >= first {
                break;
            }
            busy.pop();
            free.push(place);
        }
        let place = free.pop().unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        places[register] = place;
        busy.push((std::cmp::Reverse(last), place));
    }
    for instruction in &mut program.code {
        visit(&mut instruction.op, &mut |register, _| *register = places[*register as usize]);
    }
    program.registers = next as usize;
}

/// The blocks of a code: pieces without branches.
struct Blocks {
    starts: Vec<u32>,
    length: u32,
    after: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
}

impl Blocks {
    fn of(code: &[Instruction]) -> Self {
        let length = code.len() as u32;
        let mut starts = vec![0];
        // Where calls come back to: a return may go to any of them.
        let mut returns = Vec::new();
        for (at, instruction) in code.iter().enumerate() {
            let next = at as u32 + 1;
            match &instruction.op {
                Op::Branch(to) => starts.push(*to),
                Op::BranchIndexed(_, targets) => starts.extend(targets),
                Op::Call(call) => {
                    starts.push(call.target);
                    returns.push(next);
                }
                Op::Return | Op::Exit | Op::Trap => {}
                _ => continue,
            }
            starts.push(next);
        }
        starts.retain(|s| *s < length);
        starts.sort_unstable();
        starts.dedup();
        let block = |at: u32| starts.partition_point(|s| *s <= at) - 1;
        let mut after = vec![Vec::new(); starts.len()];
        for (i, after) in after.iter_mut().enumerate() {
            let last = starts.get(i + 1).copied().unwrap_or(length) - 1;
            let instruction = &code[last as usize];
            let falls = match &instruction.op {
                Op::Branch(to) => {
                    after.push(block(*to));
                    false
                }
                Op::BranchIndexed(_, targets) => {
                    after.extend(targets.iter().map(|to| block(*to)));
                    false
                }
                Op::Call(call) => {
                    after.push(block(call.target));
                    // Registers live across a call are live in the callee, through its return.
                    true
                }
                Op::Return => {
                    after.extend(returns.iter().filter(|to| **to < length).map(|to| block(*to)));
                    false
                }
                Op::Exit | Op::Trap => false,
                _ => true,
            };
            if (falls || instruction.guard.is_some()) && last + 1 < length {
                after.push(block(last + 1));
            }
            after.sort_unstable();
            after.dedup();
        }
        let mut before = vec![Vec::new(); starts.len()];
        for (from, after) in after.iter().enumerate() {
            for to in after {
                before[*to].push(from);
            }
        }
        Blocks { starts, length, after, before }
    }

    /// The last instruction of a block.
    fn end(&self, block: usize) -> u32 {
        self.starts.get(block + 1).copied().unwrap_or(self.length) - 1
    }

    /// The registers that are live where each block begins.
    fn liveness(&self, code: &mut [Instruction], registers: usize) -> Vec<Vec<u64>> {
        let words = registers.div_ceil(64);
        let blocks = self.starts.len();
        let (mut reads, mut writes) = (vec![vec![0u64; words]; blocks], vec![vec![0u64; words]; blocks]);
        for block in 0..blocks {
            for instruction in &mut code[self.starts[block] as usize..=self.end(block) as usize] {
                let guarded = instruction.guard.is_some();
                let (reads, writes) = (&mut reads[block], &mut writes[block]);
                // All reads of an instruction come before its writes. A guarded write may leave the old value.
                visit(&mut instruction.op, &mut |register, how| {
                    let (word, bit) = (*register as usize / 64, 1u64 << (*register % 64));
                    if (how == Use::Read || guarded) && writes[word] & bit == 0 {
                        reads[word] |= bit;
                    }
                });
                visit(&mut instruction.op, &mut |register, how| {
                    let (word, bit) = (*register as usize / 64, 1u64 << (*register % 64));
                    if how == Use::Write && !guarded {
                        writes[word] |= bit;
                    }
                });
            }
        }
        let mut live = reads.clone();
        let mut changed = true;
        while changed {
            changed = false;
            for block in (0..blocks).rev() {
                for word in 0..words {
                    let out = self.after[block].iter().fold(0, |out, next| out | live[*next][word]);
                    let new = reads[block][word] | (out & !writes[block][word]);
                    changed |= new != live[block][word];
                    live[block][word] = new;
                }
            }
        }
        live
    }
}

fn members(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter()
        .enumerate()
        .flat_map(|(word, bits)| (0..64).filter(move |b| bits >> b & 1 == 1).map(move |b| word * 64 + b))
}

/// Shows every register of an operation that is neither a constant nor a special one.
fn visit(op: &mut Op, f: &mut dyn FnMut(&mut Register, Use)) {
    let mut read = |register: &mut Register| {
        if *register & CONSTANT == 0 && *register >= FIRST_REGISTER {
            f(register, Use::Read);
        }
    };
    match op {
        Op::One { a, .. } | Op::Unpack { a, .. } | Op::Match { a, .. } | Op::Reduce { a, .. } => read(a),
        Op::Two { a, b, .. } | Op::Compare { a, b, .. } | Op::Select { a, b, .. } => {
            read(a);
            read(b);
        }
        Op::Three { a, b, c, .. } => [a, b, c].into_iter().for_each(&mut read),
        Op::Pack { parts, .. } => parts.iter_mut().for_each(&mut read),
        Op::Load(access) => read(&mut access.address.base),
        Op::Store(access) => {
            read(&mut access.address.base);
            access.registers.iter_mut().flatten().for_each(&mut read);
        }
        Op::Atomic(atomic) => {
            read(&mut atomic.address.base);
            read(&mut atomic.a);
            read(&mut atomic.b);
        }
        Op::BranchIndexed(index, _) => read(index),
        Op::Barrier { index, count, .. } => {
            read(index);
            count.iter_mut().for_each(&mut read);
        }
        Op::Shuffle(shuffle) => {
            [&mut shuffle.a, &mut shuffle.b, &mut shuffle.c].into_iter().for_each(&mut read);
        }
        Op::CopyAsync(copy) => {
            read(&mut copy.to.base);
            read(&mut copy.from.base);
            copy.given.iter_mut().for_each(&mut read);
        }
        Op::LoadMatrix { address, .. } => read(&mut address.base),
        Op::StoreMatrix { from, address, .. } => {
            from.iter_mut().for_each(&mut read);
            read(&mut address.base);
        }
        Op::Mma(mma) => mma.a.iter_mut().chain(&mut mma.b).chain(&mut mma.c).for_each(&mut read),
        Op::WarpBarrier { .. }
        | Op::Vote { .. }
        | Op::Elect { .. }
        | Op::Logic { .. }
        | Op::Branch(_)
        | Op::Call(_)
        | Op::Return
        | Op::Exit
        | Op::Trap
        | Op::ActiveMask { .. }
        | Op::Clock { .. }
        | Op::CommitGroup
        | Op::WaitGroup(_)
        | Op::Nothing => {}
    }
    match op {
        Op::WarpBarrier { mask }
        | Op::Vote { mask, .. }
        | Op::Elect { mask, .. }
        | Op::Match { mask, .. }
        | Op::Reduce { mask, .. } => read(mask),
        Op::Shuffle(shuffle) => read(&mut shuffle.mask),
        _ => {}
    }
    let mut write = |register: &mut Register| {
        if *register & CONSTANT == 0 && *register >= FIRST_REGISTER {
            f(register, Use::Write);
        }
    };
    match op {
        Op::One { to, .. }
        | Op::Two { to, .. }
        | Op::Three { to, .. }
        | Op::Select { to, .. }
        | Op::Pack { to, .. }
        | Op::Vote { to, .. }
        | Op::Match { to, .. }
        | Op::Reduce { to, .. }
        | Op::Elect { to, .. }
        | Op::ActiveMask { to }
        | Op::Clock { to, .. }
        | Op::Barrier { kind: crate::code::BarrierKind::Count { to, .. }, .. } => write(to),
        Op::Unpack { to, .. } => to.iter_mut().flatten().for_each(&mut write),
        Op::Load(access) => access.registers.iter_mut().flatten().for_each(&mut write),
        Op::Atomic(atomic) => atomic.to.iter_mut().for_each(&mut write),
        Op::Shuffle(shuffle) => write(&mut shuffle.to),
        Op::LoadMatrix { to, .. } => to.iter_mut().for_each(&mut write),
        Op::Mma(mma) => mma.d.iter_mut().for_each(&mut write),
        _ => {}
    }
}
