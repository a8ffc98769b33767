//! Nests that go over the same rows, as one kernel of a GPU.
//!
//! A softmax is a maximum, a sum and a map, a norm two sums and a map, and the gradients of both are alike. A processor runs these nests one
//! after another on a row that is in its cache. A GPU would start a kernel for each, and each would read every row from memory again. So nests that
//! keep the same outer axes become the stages of one nest, whose points are the rows: what one stage finds out about its row, the next ones know,
//! and elements that one stage makes and only later ones read stay in the registers of the thread that made them.
//!
//! **Sound** is that where a stage reads what an earlier one stores, it reads at each point of the loops the very element that was stored at this
//! point. Then the thread that reads has stored it itself, and nothing has to be waited for but the results of reductions.
//!
//! **Columns** are rows whose elements lie apart in memory, and side by side with those of the next row: the channels of an image, whose
//! statistics a norm needs. All that is said of rows holds for them. Some of them are computed together, so that whole lines of memory are read
//! ([`Columns`]); where their length is known, it is no more than what a block keeps of each.
//!
//! **Worth it** it is wherever there are rows enough to keep the machine busy with a warp or a block for each.

use super::affine::{Affine, flatten};
use super::build::product;
use super::fuse::Web;
use super::merge::never_again;
use super::nest::{Nest, Row, Stage, Store, ValueOp};
use super::values::identity;
use super::{BufferId, Built, Draft, Kernel, Work};
use crate::graph::Dim;
use std::collections::BTreeSet;

/// Threads of a block that keeps a row, and elements of it that can wait in the registers of one, of all the buffers that pass together.
const THREADS: i64 = 512;
const WAITING: i64 = 64;
/// Fewer rows than this would leave the machine idle while they are long: longer than that.
const FEW: i64 = 32;
const LONG: i64 = 4096;
/// So many columns at least are computed together: as many floats as memory moves at once. And at most so many: a whole line.
pub const COLUMNS: (i64, i64) = (8, 32);
/// And where they begin in the midst of what memory moves at once: then what lies at their ends is moved twice.
const UNEVEN: i64 = 128;
/// A map of more loops has its rows before the others.
const LOOPS: usize = 6;
/// A kernel has at most so many values, and touches at most so many buffers.
const VALUES: usize = 200;
const BUFFERS: usize = 24;

/// Joins what can be joined.
pub fn join(built: &mut Built) {
    super::repeat::inside_each(built, &mut join);
    let mut web = Web::new(built);
    let mut at = 0;
    // In order; a joined kernel is looked at again, for it may go on with the next one.
    while at < built.drafts.len() {
        let found = partners(built, &web, at).into_iter().find_map(|other| {
            let forward = web.reads_from(other, at) || !web.reads_from(at, other) && at < other;
            let (early, late) = if forward { (at, other) } else { (other, at) };
            joined(built, &web, early, late).map(|nest| (other, late, nest))
        });
        match found {
            Some((other, late, nest)) => {
                let (path, span) = (built.drafts[late].path.clone(), built.drafts[late].span);
                (built.drafts[at].path, built.drafts[at].span) = (path, span);
                built.drafts[at].work = Work::Kernel(Kernel::Nest(nest));
                built.drafts[other].work = Work::Kernel(Kernel::Nest(Nest::new(0, Vec::new())));
                web.renew(built, at);
                web.renew(built, other);
            }
            None => at += 1,
        }
    }
    built.drafts.retain(|d| d.as_nest().is_none_or(|nest| !nest.stages.is_empty()));
}

/// The nests that this one reads from, the nearest first, then those that read what it reads.
fn partners(built: &Built, web: &Web, at: usize) -> Vec<usize> {
    if candidate(&built.drafts[at]).is_none() {
        return Vec::new();
    }
    let mut list: Vec<usize> = web.reads[at].iter().flat_map(|b| &web.writers[b.index()]).copied().collect();
    list.sort_unstable_by(|a, b| b.cmp(a));
    let mut siblings: Vec<usize> =
        web.reads[at].iter().flat_map(|b| &web.readers[b.index()]).copied().filter(|o| *o < at).collect();
    siblings.sort_unstable_by(|a, b| b.cmp(a));
    list.extend(siblings);
    let mut seen = BTreeSet::from([at]);
    list.retain(|other| seen.insert(*other) && candidate(&built.drafts[*other]).is_some());
    list
}

/// A nest that can be stages of rows.
fn candidate(draft: &Draft) -> Option<&Nest> {
    let nest = draft.as_nest()?;
    let one = matches!(nest.stages.as_slice(), [stage] if stage.stores.iter().all(|store| !store.accumulate));
    (one || nest.row.is_some()).then_some(nest)
}

/// Both as one nest, if that can and should be.
fn joined(built: &Built, web: &Web, early: usize, late: usize) -> Option<Nest> {
    let (a, b) = (candidate(&built.drafts[early])?, candidate(&built.drafts[late])?);
    let values = |nest: &Nest| nest.stages.iter().map(|stage| stage.values.len()).sum::<usize>();
    let touched =
        web.reads[early].union(&web.reads[late]).count() + web.writes[early].len() + web.writes[late].len();
    if values(a) + values(b) > VALUES || touched > BUFFERS {
        return None;
    }
    let rows = rows_of(a).or_else(|| rows_of(b))?;
    if web.between(early, late) || web.between(late, early) {
        return None;
    }
    let first = stages(a, &rows)?;
    let found =
        stages(b, &rows).and_then(|second| in_rows(built, web, (early, late), first.clone(), second, true));
    let (stages, length, columns) = found.or_else(|| {
        // What is made of rows' results may have its loops in another order.
        let made_of = rows_of(a).is_some() && !web.writes[early].is_disjoint(&web.reads[late]);
        let choices = if made_of { turned(b, &first, &rows) } else { Vec::new() };
        choices
            .into_iter()
            .find_map(|second| in_rows(built, web, (early, late), first.clone(), second, false))
    })?;
    let paths = |nest: &Nest, draft: &Draft| match &nest.row {
        Some(row) => row.paths.clone(),
        None => vec![draft.path.clone()],
    };
    let mut all = paths(a, &built.drafts[early]);
    all.extend(paths(b, &built.drafts[late]));
    let space = stages.first()?.kept.len();
    let only_here = |buffer: &BufferId| {
        !web.kept.contains(buffer)
            && web.readers[buffer.index()].iter().all(|reader| *reader == early || *reader == late)
    };
    let passed = passed(&stages, &length, room(columns), &only_here);
    Some(Nest { space, stages, row: Some(Row { passed, paths: all }) })
}

/// The stages of both in turn, the length of their rows, and how many of these a block has together. `long`: whether rows may be longer than what a
/// block keeps.
fn in_rows(
    built: &Built,
    web: &Web,
    (early, late): (usize, usize),
    mut first: Vec<Stage>,
    mut second: Vec<Stage>,
    long: bool,
) -> Option<(Vec<Stage>, Dim, i64)> {
    if !alike(first.iter().chain(&second)) {
        first.iter_mut().chain(&mut second).for_each(super::normal::flatten);
        if !alike(first.iter().chain(&second)) {
            return None;
        }
    }
    // An update in place asks that nobody else come by its element, and is for many threads where it is all that is done.
    let updates = |stage: &Stage| {
        let of_variables = |store: &Store| built.updates.iter().any(|(place, _)| *place == store.buffer);
        stage.stores.iter().any(|store| of_variables(store) && (store.inner || stage.reduced.is_empty()))
    };
    if first.iter().chain(&second).any(updates) {
        return None;
    }
    let length =
        first.iter().chain(&second).map(|stage| product(&stage.reduced)).find(|length| !length.is(1))?;
    let together = match are_columns(first.iter().chain(&second)) {
        true => Some(Columns::of(&first[0].kept)?),
        false => None,
    };
    let columns = together.as_ref().map_or(1, Columns::most);
    // Of what a block does not keep, a cache keeps a row, and columns as long as a batch.
    let fits = match (length.as_constant(), &together) {
        (Some(length), _) if length <= room(columns) => true,
        (_, None) | (None, Some(Columns::Evenly(_))) => long,
        _ => false,
    };
    if !fits {
        return None;
    }
    if built.estimate(&product(&first[0].kept)) < FEW && built.estimate(&length) > LONG {
        return None;
    }
    let shared: Vec<BufferId> = web.writes[early].intersection(&web.reads[late]).copied().collect();
    let sound = if shared.is_empty() {
        read_the_same(&first, &second)
    } else {
        shared.iter().all(|b| web.writers[b.index()].len() == 1 && in_step(&first, &second, *b))
    };
    first.append(&mut second);
    sound.then_some((first, length, if columns > 1 { COLUMNS.1.max(columns) } else { 1 }))
}

/// Elements of a row that a block can keep, beside those of other columns.
fn room(columns: i64) -> i64 {
    THREADS / columns * WAITING
}

/// How many rows a nest goes over, if it must be rows: it reduces something, or has been joined before.
fn rows_of(nest: &Nest) -> Option<Dim> {
    let stage = nest.stages.first()?;
    (nest.row.is_some() || !stage.reduced.is_empty()).then(|| product(&stage.kept))
}

/// A nest as stages that keep the rows alone.
fn stages(nest: &Nest, rows: &Dim) -> Option<Vec<Stage>> {
    let [stage] = nest.stages.as_slice() else {
        return (rows_of(nest).as_ref() == Some(rows)).then(|| nest.stages.clone());
    };
    let mut stage = stage.clone();
    super::normal::drop_units(&mut stage);
    if stage.reduced.is_empty() {
        let space = (0..=stage.kept.len()).find(|space| product(&stage.kept[..*space]) == *rows)?;
        super::normal::keep(&mut stage, &(0..space).collect::<Vec<_>>());
    }
    (product(&stage.kept) == *rows).then(|| vec![stage])
}

/// A map as stages that keep the rows of others, in whatever order its loops are.
fn turned(nest: &Nest, rows: &[Stage], count: &Dim) -> Vec<Vec<Stage>> {
    let [stage] = nest.stages.as_slice() else { return Vec::new() };
    let mut stage = stage.clone();
    super::normal::drop_units(&mut stage);
    let loops = stage.kept.len();
    if !stage.reduced.is_empty() || loops > LOOPS {
        return Vec::new();
    }
    let length = rows.iter().map(|stage| product(&stage.reduced)).find(|length| !length.is(1));
    let choices = (0..1usize << loops).filter_map(|choice| {
        let kept: Vec<usize> = (0..loops).filter(|v| choice >> v & 1 == 1).collect();
        let of = |which: bool| {
            let chosen = (0..loops).filter(|v| kept.contains(v) == which).map(|v| stage.kept[v].clone());
            product(&chosen.collect::<Vec<_>>())
        };
        let fits = of(true) == *count && Some(of(false)) == length;
        fits.then(|| {
            let mut stage = stage.clone();
            super::normal::keep(&mut stage, &kept);
            vec![stage]
        })
    });
    choices.collect()
}

/// Do stages go over the same rows by the same loops?
fn alike<'a>(stages: impl Iterator<Item = &'a Stage>) -> bool {
    let (mut kept, mut reduced): (Option<&Vec<Dim>>, Option<&Vec<Dim>>) = (None, None);
    for stage in stages {
        if kept.is_some_and(|kept| *kept != stage.kept) {
            return false;
        }
        kept = Some(&stage.kept);
        if !stage.reduced.is_empty() {
            if reduced.is_some_and(|reduced| *reduced != stage.reduced) {
                return false;
            }
            reduced = Some(&stage.reduced);
        }
    }
    true
}

/// Do the elements of rows lie apart, and those of neighbouring rows side by side?
pub fn are_columns<'a>(stages: impl Iterator<Item = &'a Stage>) -> bool {
    let score = |stage: &Stage| -> i64 {
        let (Some(kept), false) = (stage.kept.len().checked_sub(1), stage.reduced.is_empty()) else {
            return 0;
        };
        let along = stage.extents().len() - 1;
        let maps = stage.reads().filter_map(|(_, at)| at);
        let maps = maps.chain(stage.stores.iter().filter(|store| store.inner).map(|store| &store.at));
        let of = |at: &Affine| i64::from(at.coefficient(kept).is(1)) - i64::from(at.coefficient(along).is(1));
        maps.filter(|at| (kept + 1..=along).any(|v| at.depends_on(v))).map(of).sum()
    };
    stages.map(score).sum::<i64>() > 0
}

/// Which columns are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// So many, of all one after another: those that lie side by side are a multiple.
    Evenly(i64),
    /// So many at most of those that lie side by side, which are cut into so many parts.
    Beside { columns: i64, parts: i64 },
}

impl Columns {
    /// Where the number that lies side by side is known, or a multiple of what memory moves at once.
    pub fn of(kept: &[Dim]) -> Option<Columns> {
        let last = kept.last()?;
        let divides = |together: &i64| last.exact_div(&Dim::constant(*together)).is_some();
        if let Some(together) = [COLUMNS.1, 16, COLUMNS.0].into_iter().find(divides) {
            return Some(Columns::Evenly(together));
        }
        let all = last.as_constant()?;
        let parts = (all + UNEVEN - 1) / UNEVEN;
        Some(Columns::Beside { columns: (all + parts - 1) / parts, parts })
    }

    /// How many are computed together at most.
    fn most(&self) -> i64 {
        match self {
            Columns::Evenly(columns) | Columns::Beside { columns, .. } => *columns,
        }
    }
}

/// Do both read elements of a row that are the same?
fn read_the_same(first: &[Stage], second: &[Stage]) -> bool {
    let reads = |stages: &[Stage]| -> Vec<(BufferId, Affine)> {
        let of_rows = stages.iter().filter(|stage| !stage.reduced.is_empty());
        let reads = of_rows.flat_map(|stage| {
            let row = |at: &Affine| at.terms.iter().any(|(variable, _)| *variable >= stage.kept.len());
            stage.reads().filter_map(move |(b, at)| at.filter(|at| row(at)).map(|at| (b, at.clone())))
        });
        reads.collect()
    };
    let first = reads(first);
    reads(second).iter().any(|read| first.contains(read))
}

/// Does the second read of a buffer at each point of its loops what the first has stored there at this point, and nothing else?
fn in_step(first: &[Stage], second: &[Stage], buffer: BufferId) -> bool {
    let mut stores = first.iter().flat_map(|stage| stage.stores.iter().map(move |store| (stage, store)));
    let Some((stage, store)) = stores.find(|(_, store)| store.buffer == buffer) else { return false };
    if stores.any(|(_, other)| other.buffer == buffer) {
        return false;
    }
    let extents = if store.inner { stage.extents() } else { stage.kept.clone() };
    let apart = store.at == flatten(&identity(&extents, 0), &extents) || never_again(&store.at, &extents);
    apart
        && second.iter().flat_map(|stage| &stage.values).all(|value| match &value.op {
            ValueOp::Load { buffer: from, at, when } if *from == buffer => at == &store.at && when.is_none(),
            ValueOp::Random { buffer: from, .. } => *from != buffer,
            _ => true,
        })
}

/// The buffers that need not be in memory: nobody else reads them, and they fit registers.
fn passed(
    stages: &[Stage],
    length: &Dim,
    mut room: i64,
    only_here: &dyn Fn(&BufferId) -> bool,
) -> Vec<BufferId> {
    let stores = stages.iter().flat_map(|stage| &stage.stores);
    let fits = |store: &&super::nest::Store| {
        let takes = if store.inner { length.as_constant().unwrap_or(i64::MAX) } else { 0 };
        let read = stages.iter().any(|stage| stage.reads().any(|(buffer, _)| buffer == store.buffer));
        let fits = read && only_here(&store.buffer) && takes <= room;
        room -= if fits { takes } else { 0 };
        fits
    };
    stores.filter(fits).map(|store| store.buffer).collect()
}
