//! Several maps as one kernel, whose blocks are shared out among them. Maps that differ in their buffers and extents alone, such as the updates of
//! all weights, are printed once.

use super::map::{self, Place};
use super::tile::{SHARED, Tile};
use super::value::Writer;
use super::{Start, THREADS};
use crate::graph::{DType, Dim};
use crate::plan::nest::Stage;
use crate::plan::{BufferId, Part};

/// What the text of a part follows from, but for the names of its buffers: the stage, over buffers numbered as they come.
#[derive(PartialEq)]
struct Form {
    stage: Stage,
    /// By buffer: its type, whether it is only read, and where it begins.
    buffers: Vec<(DType, bool, Vec<Dim>)>,
    /// Of a flat map: does its space end with a pack?
    even: bool,
}

pub fn print(w: &mut Writer<'_>, parts: &[Part]) -> Result<Start, String> {
    let mut known: Vec<Form> = Vec::new();
    let mut calls = Vec::new();
    let mut blocks = Dim::constant(0);
    let tiles = parts
        .iter()
        .flat_map(|part| &part.nest.stages)
        .filter_map(|stage| Tile::of(w, stage).map(|tile| tile.bytes(stage)));
    if let Some(bytes) = tiles.max() {
        w.line(format!("__shared__ __align__(16) unsigned char {SHARED}[{bytes}];"));
    }
    for part in parts {
        let [stage] = part.nest.stages.as_slice() else { return Err("a part is no single stage".into()) };
        let buffers = buffers(stage);
        let form = form(w, stage, &buffers);
        let points = super::product(&stage.kept);
        let number = known.iter().position(|other| *other == form);
        let number = match number {
            Some(number) => number,
            None => {
                known.push(form);
                let parameters = buffers.iter().map(|b| w.subject.parameter(w.subject.slot(*b)));
                let parameters: Vec<String> = parameters.collect();
                w.line(format!("// {}", part.path));
                w.open(format!(
                    "const auto part{} = [&]({}, int block, int total) inlined",
                    known.len(),
                    parameters.join(", ")
                ));
                map::print(w, stage, &Place::Part)?;
                w.lines.close_with(";");
                known.len() - 1
            }
        };
        let count = map::blocks_of_part(w, stage);
        let names: Vec<&str> = buffers.iter().map(|b| w.subject.name(w.subject.slot(*b))).collect();
        calls.push((number, names.join(", "), w.symbols.dim(&points), w.symbols.dim(&count), &part.path));
        blocks = blocks + count;
    }
    w.line("int block = blockIdx.x;");
    for (at, (number, names, total, count, path)) in calls.iter().enumerate() {
        let call = format!("part{}({names}, block, {total})", number + 1);
        if at + 1 < calls.len() {
            w.line(format!("if (block < {count}) return {call};  // {path}"));
            w.line(format!("block -= {count};"));
        } else {
            w.line(format!("{call};  // {path}"));
        }
    }
    Ok(Start { threads: THREADS, blocks })
}

/// The buffers of a stage, in the order in which they come.
fn buffers(stage: &Stage) -> Vec<BufferId> {
    let mut list = Vec::new();
    for buffer in stage.reads().map(|(b, _)| b).chain(stage.stores.iter().map(|s| s.buffer)) {
        if !list.contains(&buffer) {
            list.push(buffer);
        }
    }
    list
}

fn form(w: &Writer<'_>, stage: &Stage, buffers: &[BufferId]) -> Form {
    // Where the points of a thread end with the space, the text minds no tail.
    let each = Dim::constant(map::points_of_a_thread(w, stage));
    let mut stage = stage.clone();
    stage.each_buffer(&mut |buffer| {
        let place = buffers.iter().position(|b| b == buffer).unwrap_or(0);
        *buffer = BufferId(place as u32);
    });
    let mut even = false;
    if let [extent] = stage.kept.as_mut_slice() {
        even = extent.exact_div(&each).is_some();
        *extent = Dim::constant(0);
    }
    let slot = |buffer: &BufferId| {
        let slot = w.subject.slot(*buffer);
        (w.subject.dtype(slot), w.subject.is_readonly(slot), w.subject.starts(slot))
    };
    Form { stage, buffers: buffers.iter().map(slot).collect(), even }
}
