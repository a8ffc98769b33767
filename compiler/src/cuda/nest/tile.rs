//! Tiles: maps that read in another order than they store, through shared memory.
//!
//! Memory moves 32 bytes at once, so whoever turns axes around element by element wastes most of what is moved on one of its sides. Here a block
//! has a tile: some steps of the loops along which it stores, and some of those along which it reads, of either as many as make long pieces of
//! memory. It reads these pieces into shared memory, and then does its points in the order in which they are stored.
//!
//! | from | to | a tile |
//! |---|---|---|
//! | `f32[512, 256]` | `f32[256, 512]` | 32 by 32 |
//! | `f32[5000, 3]`, colours of pixels | `f32[3, 5000]` | 555 of 5000, and all 3 |
//! | `f32[20, 40, 30, 9]` | `f32[30, 40, 20, 9]` | all 9, 20 of 20, 10 of 30 |

use super::map::{self, Place};
use super::spell::is_half;
use super::value::{Scope, Writer};
use super::{Access, BUSY, FEW, SECTOR, Start, THREADS, UNROLLED, accesses, product};
use crate::cuda::print::c_type;
use crate::graph::Dim;
use crate::plan::nest::{Stage, ValueId, ValueOp};

/// Elements of a piece that begins with a sector, and bytes of one that begins anywhere, whose ends may be moved twice.
const EVEN: i64 = 32;
const UNEVEN: i64 = 256;
/// Pieces of so many bytes are read as well without a tile.
const LONG: i64 = 128;
/// Elements that are worth a block, and bytes that a tile may have.
const ENOUGH: i64 = 4 * THREADS;
const ROOM: i64 = 32 << 10;
/// Loads that go through tiles at most.
const MOST: usize = 4;
/// Banks of shared memory, and bytes of each that a warp is given at once.
const BANKS: i64 = 32;
const WORD: i64 = 4;

/// What the shared memory of a kernel of several maps is called: a block has one of them.
pub const SHARED: &str = "tiles";

/// What a block has of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// By loop: steps of it, and how far apart in shared memory the elements of neighbouring ones are.
    steps: Vec<i64>,
    strides: Vec<i64>,
    /// The loops of several steps, the innermost first, in the order of what is stored, and of what is read.
    stored: Vec<usize>,
    read: Vec<usize>,
    /// What is read so.
    loads: Vec<ValueId>,
}

impl Tile {
    /// The tile of a map that should have one.
    pub fn of(w: &Writer<'_>, stage: &Stage) -> Option<Tile> {
        if !stage.reduced.is_empty() || stage.kept.len() < 2 {
            return None;
        }
        let along = map::order(w, stage).last().copied()?;
        if stage.stores.iter().any(|store| !store.at.coefficient(along).is(1)) {
            return None;
        }
        let to = Pieces::of(w, stage, &accesses(w, stage).find(|access| access.is_store)?)?;
        // What a block would do without a tile.
        let mut block = vec![1; stage.kept.len()];
        to.take(stage, THREADS, &mut block);
        let mut from: Option<Pieces> = None;
        let (mut loads, mut bytes) = (Vec::new(), 0);
        for (id, value) in stage.values.iter().enumerate() {
            let ValueOp::Load { buffer, at, when: None } = &value.op else { continue };
            let slot = w.subject.slot(*buffer);
            let access = Access { slot, at, dtype: w.subject.dtype(slot), when: None, is_store: false };
            let Some(pieces) = Pieces::of(w, stage, &access) else { continue };
            if !at.depends_on(along) || pieces.are_long(stage, &block) || loads.len() == MOST {
                continue;
            }
            if from.get_or_insert_with(|| pieces.clone()).loops == pieces.loops {
                loads.push(ValueId(id as u32));
                bytes += access.dtype.size() as i64;
            }
        }
        let from = from?;
        let steps = steps(stage, &to, &from, bytes);
        let order = |first: &Pieces, then: &Pieces| -> Vec<usize> {
            let others = then.loops.iter().filter(|v| !first.loops.contains(v));
            first.loops.iter().chain(others).copied().filter(|v| steps[*v] > 1).collect()
        };
        let (stored, read) = (order(&to, &from), order(&from, &to));
        let strides = strides(&steps, &stored, &read, stage.value(loads[0]).dtype.size() as i64);
        Some(Tile { steps, strides, stored, read, loads })
    }

    /// Blocks of such a map.
    pub fn blocks(&self, stage: &Stage) -> Dim {
        product(&(0..stage.kept.len()).map(|v| self.count(stage, v)).collect::<Vec<_>>())
    }

    /// Bytes of shared memory that it takes.
    pub fn bytes(&self, stage: &Stage) -> i64 {
        let of = |load: &ValueId| whole_packs(self.elements() * stage.value(*load).dtype.size() as i64);
        self.loads.iter().map(of).sum()
    }

    /// Elements of shared memory for each load.
    fn elements(&self) -> i64 {
        self.read.iter().map(|v| (self.steps[*v] - 1) * self.strides[*v]).sum::<i64>() + 1
    }

    pub fn print(&self, w: &mut Writer<'_>, stage: &Stage, place: &Place) -> Result<Start, String> {
        self.begin(w, stage, if *place == Place::Alone { "blockIdx.x" } else { "block" });
        let (mut bytes, elements) = (0, self.elements());
        for (number, load) in self.loads.iter().enumerate() {
            let dtype = stage.value(*load).dtype;
            let kind = c_type(dtype);
            w.line(match place {
                Place::Alone => format!("__shared__ {kind} tile{number}[{elements}];"),
                Place::Part => {
                    format!("{kind}* const tile{number} = reinterpret_cast<{kind}*>({SHARED} + {bytes});")
                }
            });
            bytes += whole_packs(elements * dtype.size() as i64);
        }
        let mut scope = Scope::new(stage);
        // All of the reads are on their way at once; what is done with them may take more registers.
        self.open(w, stage, &self.read, UNROLLED);
        let element = self.element(stage);
        for (number, load) in self.loads.iter().enumerate() {
            let ValueOp::Load { buffer, at, .. } = &stage.value(*load).op else { continue };
            let from = w.subject.name(w.subject.slot(*buffer));
            let at = scope.affine(w, at, false).text;
            w.line(format!("tile{number}[{element}] = {from}[{at}];"));
        }
        self.close(w, stage);
        w.line("__syncthreads();");
        for (number, load) in self.loads.iter().enumerate() {
            let element = format!("tile{number}[{element}]");
            let wide = is_half(stage.value(*load).dtype);
            scope.give(*load, &if wide { format!("widen({element})") } else { element });
        }
        self.open(w, stage, &self.stored, if accesses(w, stage).count() > BUSY { 1 } else { FEW });
        scope.point(w, false)?;
        self.close(w, stage);
        Ok(Start { threads: THREADS, blocks: self.blocks(stage) })
    }

    /// How many tiles lie along a loop.
    fn count(&self, stage: &Stage, variable: usize) -> Dim {
        stage.kept[variable].ceil_div(&Dim::constant(self.steps[variable]))
    }

    /// Has a tile all of a loop?
    fn is_whole(&self, stage: &Stage, variable: usize) -> bool {
        stage.kept[variable].is(self.steps[variable])
    }

    /// What a step within a tile is called.
    fn within(&self, stage: &Stage, variable: usize) -> String {
        format!("{}{variable}", if self.is_whole(stage, variable) { "i" } else { "j" })
    }

    /// Says where the tile of a block begins. Neighbouring blocks go on with what is stored.
    fn begin(&self, w: &mut Writer<'_>, stage: &Stage, block: &str) {
        let others = (0..stage.kept.len()).rev().filter(|v| !self.stored.contains(v));
        let parted = self.stored.iter().copied().filter(|v| !self.is_whole(stage, *v));
        let order: Vec<usize> = parted.chain(others).collect();
        let mut inner = Dim::constant(1);
        for (place, variable) in order.iter().enumerate() {
            let count = self.count(stage, *variable);
            let mut number = block.to_owned();
            if !inner.is(1) {
                number = format!("{number} / {}", w.symbols.divisor(&inner));
            }
            if place + 1 < order.len() {
                number = format!("{number} % {}", w.symbols.divisor(&count));
            }
            w.line(match self.steps[*variable] {
                1 => format!("const int i{variable} = {number};"),
                steps if number == block => format!("const int first{variable} = {steps} * {number};"),
                steps => format!("const int first{variable} = {steps} * ({number});"),
            });
            inner = inner * count;
        }
    }

    /// Opens a loop over a tile's elements, in which neighbouring threads have neighbouring steps of the first of these loops, and which is unrolled
    /// where no thread has more turns than `unrolled`.
    fn open(&self, w: &mut Writer<'_>, stage: &Stage, order: &[usize], unrolled: i64) {
        let elements: i64 = self.steps.iter().product();
        w.line(match elements > THREADS * unrolled {
            true => format!("#pragma unroll {}", (unrolled / 2).max(1)),
            false => "#pragma unroll".into(),
        });
        w.open(format!("for (int at = threadIdx.x; at < {elements}; at += {THREADS})"));
        let (mut inner, mut within, mut outside) = (1, Vec::new(), Vec::new());
        for (place, variable) in order.iter().enumerate() {
            let steps = self.steps[*variable];
            let by = if inner > 1 { format!(" / {inner}") } else { String::new() };
            let of = if place + 1 < order.len() { format!(" % {steps}") } else { String::new() };
            within.push(format!("{} = at{by}{of}", self.within(stage, *variable)));
            if !self.is_whole(stage, *variable) {
                outside.push(format!("i{variable} = first{variable} + j{variable}"));
            }
            inner *= steps;
        }
        for names in [within, outside].iter().filter(|names| !names.is_empty()) {
            w.line(format!("const int {};", names.join(", ")));
        }
        if let Some(tests) = self.tests(w, stage) {
            w.open(format!("if ({tests})"));
        }
    }

    fn close(&self, w: &mut Writer<'_>, stage: &Stage) {
        if self.tests(w, stage).is_some() {
            w.close();
        }
        w.close();
    }

    /// Whether a point is there, where tiles may reach beyond the loops.
    fn tests(&self, w: &mut Writer<'_>, stage: &Stage) -> Option<String> {
        let even = |v: &usize| stage.kept[*v].exact_div(&Dim::constant(self.steps[*v])).is_some();
        let uneven: Vec<usize> = self.read.iter().copied().filter(|v| !even(v)).collect();
        let tests: Vec<String> =
            uneven.iter().map(|v| format!("i{v} < {}", w.dim(&stage.kept[*v]))).collect();
        (!tests.is_empty()).then(|| tests.join(" && "))
    }

    /// Where an element lies in shared memory.
    fn element(&self, stage: &Stage) -> String {
        let term = |v: &usize| match self.strides[*v] {
            1 => self.within(stage, *v),
            stride => format!("{stride} * {}", self.within(stage, *v)),
        };
        self.read.iter().map(term).collect::<Vec<_>>().join(" + ")
    }
}

/// Bytes, up to the next 16.
fn whole_packs(bytes: i64) -> i64 {
    (bytes + 15) / 16 * 16
}

/// How an access moves through memory.
#[derive(Clone, Debug)]
struct Pieces {
    /// The loops that it follows without a gap, the innermost first.
    loops: Vec<usize>,
    size: i64,
    /// Whether a piece begins with a sector, wherever its first loop does.
    even: bool,
}

impl Pieces {
    /// None where it goes along no loop, or along two at once: what a window reads is read again, from a cache.
    fn of(w: &Writer<'_>, stage: &Stage, access: &Access<'_>) -> Option<Pieces> {
        let moves: Vec<(usize, Dim)> = (0..stage.kept.len())
            .filter(|v| !stage.kept[*v].is(1) && access.at.depends_on(*v))
            .map(|v| (v, access.at.coefficient(v)))
            .collect();
        if moves.iter().any(|(v, by)| moves.iter().any(|(other, same)| v != other && by == same)) {
            return None;
        }
        let (mut loops, mut reach) = (Vec::new(), Dim::constant(1));
        while let Some((v, _)) = moves.iter().find(|(v, by)| *by == reach && !loops.contains(v)) {
            reach = reach * stage.kept[*v].clone();
            loops.push(*v);
        }
        let size = access.dtype.size() as i64;
        let even = w.is_even(access.slot, access.at, *loops.first()?, (SECTOR / size).max(1));
        Some(Pieces { loops, size, even })
    }

    /// Elements of a piece that is long enough.
    fn wanted(&self) -> i64 {
        if self.even { EVEN } else { UNEVEN / self.size }
    }

    /// Adds steps of its loops, as many as make so many elements side by side.
    fn take(&self, stage: &Stage, elements: i64, steps: &mut [i64]) {
        let mut made = 1;
        for variable in &self.loops {
            if made >= elements {
                break;
            }
            let wanted = (elements + made - 1) / made;
            // What is cut is cut evenly, and into whole sectors where these may be.
            let grain = if self.even && made == 1 { (SECTOR / self.size).max(1) } else { 1 };
            let taken = stage.kept[*variable].as_constant().map_or(wanted, |all| {
                let even = (all + (all / wanted).max(1) - 1) / (all / wanted).max(1);
                ((even + grain - 1) / grain * grain).min(all)
            });
            steps[*variable] = steps[*variable].max(taken);
            made *= steps[*variable];
        }
    }

    /// Does a block with so many steps read pieces that are long enough, or as long as they can be?
    fn are_long(&self, stage: &Stage, steps: &[i64]) -> bool {
        let mut bytes = self.size;
        for variable in &self.loops {
            bytes *= steps[*variable];
            if !stage.kept[*variable].is(steps[*variable]) {
                return bytes >= LONG || self.even && bytes % SECTOR == 0;
            }
        }
        true
    }
}

/// By loop: how many steps a tile has of it, for loads of so many bytes together.
fn steps(stage: &Stage, to: &Pieces, from: &Pieces, bytes: i64) -> Vec<i64> {
    let with = |[stored, read]: [i64; 2]| -> Vec<i64> {
        let mut steps = vec![1; stage.kept.len()];
        to.take(stage, stored, &mut steps);
        from.take(stage, read, &mut steps);
        steps
    };
    let elements = |steps: &[i64]| steps.iter().product::<i64>();
    let mut wanted = [to.wanted(), from.wanted()];
    while elements(&with(wanted)) * bytes > ROOM && wanted != [1, 1] {
        wanted = wanted.map(|elements| (elements / 2).max(1));
    }
    let mut steps = with(wanted);
    // Longer pieces, where a tile of such ones has little to do.
    for side in [0, 1] {
        while elements(&steps) < ENOUGH {
            wanted[side] *= 2;
            let more = with(wanted);
            if elements(&more) == elements(&steps) || elements(&more) * bytes > ROOM {
                break;
            }
            steps = more;
        }
    }
    steps
}

/// By loop: how far apart the elements of neighbouring steps are, so that neither those who write nor those who read want many words of one bank.
fn strides(steps: &[i64], stored: &[usize], read: &[usize], size: i64) -> Vec<i64> {
    let padded = |(place, words): (usize, i64)| -> Vec<i64> {
        let (mut strides, mut next) = (vec![0; steps.len()], 1);
        for (at, variable) in read.iter().enumerate() {
            if at == place {
                next += words * (WORD / size).max(1);
            }
            strides[*variable] = next;
            next *= steps[*variable];
        }
        strides
    };
    let turns = |strides: &[i64]| turns(steps, strides, stored, size) + turns(steps, strides, read, size);
    let choices = (1..read.len().max(2)).flat_map(|place| (0..BANKS).map(move |words| (place, words)));
    choices.map(padded).min_by_key(|strides| turns(strides)).unwrap_or_default()
}

/// How often the banks serve the first threads of a warp, which go along these loops.
fn turns(steps: &[i64], strides: &[i64], order: &[usize], size: i64) -> usize {
    let mut words: Vec<i64> = (0..BANKS)
        .map(|lane| {
            let (mut left, mut element) = (lane, 0);
            for variable in order {
                element += left % steps[*variable] * strides[*variable];
                left /= steps[*variable];
            }
            element * size / WORD
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    let of = |bank: i64| words.iter().filter(|word| *word % BANKS == bank).count();
    (0..BANKS).map(of).max().unwrap_or(0)
}
