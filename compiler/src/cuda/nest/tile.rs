//! Tiles: maps that read along one loop and store along another one, through shared memory.
//!
//! Memory moves 32 bytes at once, so whoever turns axes around element by element wastes most of what is moved on one of its sides. Here a block
//! has a square of the two loops. It reads what lies along the one loop, line by line, into shared memory, and then does its points along
//! the other. Lines of a square are a bit longer than its side, so that neither way two threads of a warp want the same bank.

use super::map::{self, Place};
use super::spell::is_half;
use super::value::{Scope, Writer};
use super::{BUSY, Start, THREADS, accesses, product, unflatten};
use crate::cuda::print::c_type;
use crate::graph::Dim;
use crate::plan::nest::{Stage, ValueId, ValueOp};

/// A square's side.
const SIDE: i64 = 32;
/// Loops that are shorter fill too little of it.
const SHORT: i64 = 8;
/// Squares of a block at most.
const MOST: usize = 4;

/// What crosses in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The loop along which most accesses move by one, and that along which some loads do.
    along: usize,
    across: usize,
    /// These loads.
    loads: Vec<ValueId>,
}

impl Crossing {
    /// What crosses in a map, if it is worth a square.
    pub fn of(w: &Writer<'_>, stage: &Stage) -> Option<Crossing> {
        if !stage.reduced.is_empty() || stage.kept.len() < 2 {
            return None;
        }
        let along = map::order(w, stage).last().copied()?;
        let long = |variable: usize| stage.kept[variable].as_constant().is_none_or(|extent| extent >= SHORT);
        if !long(along) || stage.stores.iter().any(|store| !store.at.coefficient(along).is(1)) {
            return None;
        }
        let mut found: Option<Crossing> = None;
        for (at, value) in stage.values.iter().enumerate() {
            let ValueOp::Load { at: map, when: None, .. } = &value.op else { continue };
            if map.coefficient(along).is(0) || map.coefficient(along).is(1) {
                continue;
            }
            let across = (0..stage.kept.len()).find(|v| *v != along && map.coefficient(*v).is(1));
            let Some(across) = across.filter(|v| long(*v)) else { continue };
            let crossing = found.get_or_insert(Crossing { along, across, loads: Vec::new() });
            if crossing.across == across && crossing.loads.len() < MOST {
                crossing.loads.push(ValueId(at as u32));
            }
        }
        found
    }

    /// Blocks of such a map.
    pub fn blocks(&self, stage: &Stage) -> Dim {
        let extent = |variable: usize| match variable {
            v if v == self.along || v == self.across => stage.kept[v].ceil_div(&Dim::constant(SIDE)),
            v => stage.kept[v].clone(),
        };
        product(&(0..stage.kept.len()).map(extent).collect::<Vec<_>>())
    }

    pub fn print(&self, w: &mut Writer<'_>, stage: &Stage, place: &Place) -> Result<Start, String> {
        let Crossing { along, across, loads } = self;
        let squares = |variable: usize| stage.kept[variable].ceil_div(&Dim::constant(SIDE));
        let block = if *place == Place::Alone { "blockIdx.x" } else { "block" };
        let (one, both) = (w.symbols.divisor(&squares(*along)), squares(*along) * squares(*across));
        w.line(format!("const int first = {SIDE} * ({block} % {one}), line = threadIdx.x % {SIDE};"));
        let two = w.symbols.divisor(&squares(*across));
        w.line(format!("const int outer = {SIDE} * ({block} / {one} % {two});"));
        let others: Vec<(usize, Dim)> = stage.kept.iter().cloned().enumerate().collect();
        let others: Vec<_> = others.into_iter().filter(|(v, _)| v != along && v != across).collect();
        if !others.is_empty() {
            let both = w.symbols.divisor(&both);
            unflatten(w, &format!("({block} / {both})"), &others);
        }
        let mut scope = Scope::new(stage);
        for (square, load) in loads.iter().enumerate() {
            let dtype = stage.value(*load).dtype;
            let pitch = SIDE + (4 / dtype.size() as i64).max(1);
            w.line(format!("__shared__ {} square{square}[{SIDE}][{pitch}];", c_type(dtype)));
        }
        self.open(w, stage, (*across, *along));
        for (square, load) in loads.iter().enumerate() {
            let ValueOp::Load { buffer, at, .. } = &stage.value(*load).op else { continue };
            let from = w.subject.name(w.subject.slot(*buffer));
            let at = scope.affine(w, at, false).text;
            w.line(format!("square{square}[row][line] = {from}[{at}];"));
        }
        self.close(w, stage);
        w.line("__syncthreads();");
        for (square, load) in loads.iter().enumerate() {
            let element = format!("square{square}[line][row]");
            let wide = is_half(stage.value(*load).dtype);
            scope.give(*load, &if wide { format!("widen({element})") } else { element });
        }
        self.open(w, stage, (*along, *across));
        scope.point(w, false)?;
        self.close(w, stage);
        Ok(Start { threads: THREADS, blocks: self.blocks(stage) })
    }

    /// Opens the loop over the lines of a square, in which neighbouring threads have neighbouring steps of the first of these loops.
    fn open(&self, w: &mut Writer<'_>, stage: &Stage, (within, lines): (usize, usize)) {
        // All of the reads are on their way at once; what is done with them may take more registers.
        let busy = within == self.along && accesses(w, stage).count() > BUSY;
        w.line(if busy { "#pragma unroll 1" } else { "#pragma unroll" });
        w.open(format!("for (int row = threadIdx.x / {SIDE}; row < {SIDE}; row += {})", THREADS / SIDE));
        let start = |variable: usize| if variable == self.along { "first" } else { "outer" };
        w.line(format!("const int i{within} = {} + line, i{lines} = {} + row;", start(within), start(lines)));
        let tests = self.tests(w, stage);
        if !tests.is_empty() {
            w.open(format!("if ({tests})"));
        }
    }

    fn close(&self, w: &mut Writer<'_>, stage: &Stage) {
        if !self.tests(w, stage).is_empty() {
            w.close();
        }
        w.close();
    }

    /// Whether a point is there at all: squares may reach beyond the loops.
    fn tests(&self, w: &mut Writer<'_>, stage: &Stage) -> String {
        let uneven = [self.across, self.along].into_iter().filter(|v| {
            let even = stage.kept[*v].exact_div(&Dim::constant(SIDE));
            even.is_none()
        });
        let tests: Vec<String> = uneven.map(|v| format!("i{v} < {}", w.dim(&stage.kept[v]))).collect();
        tests.join(" && ")
    }
}
