//! Pictures that the model makes as the training goes on: by the `predict` items that give pictures, after each epoch, of the same rows or from
//! the same noise. They lie in `samples/ITEM/epoch-3.png`, so that a run that goes on still has them.

use super::answers::{Picture, pictures, shape_of_picture};
use super::items::{Item, Items};
use crate::picture::{self, Colour};
use crate::spec::Spec;
use std::path::{Path, PathBuf};
use weft_runtime::data::{Batch, Column, Parts, Split};
use weft_runtime::error::{Error, Result};
use weft_runtime::execute::Session;
use weft_runtime::io;
use weft_runtime::tensor::Tensor;

pub const FOLDER: &str = "samples";
/// Pictures of one epoch, and how many stand side by side.
const COUNT: usize = 16;
pub const COLUMNS: usize = 8;
/// What lies between them: no brighter than a dark page bears, no darker than a light one.
const GROUND: Colour = [128; 3];
/// Items of which pictures are kept.
const ITEMS: usize = 3;

/// Makes the pictures of a run.
pub struct Samples {
    items: Items,
    /// The rows that items are asked about.
    batch: Batch,
    pub makers: Vec<Maker>,
}

/// An item that makes pictures, and what it has made so far.
pub struct Maker {
    item: Item,
    pub name: String,
    folder: PathBuf,
    /// The pictures that it was given, side by side.
    pub given: Option<Vec<u8>>,
    /// Epoch and `.png` file.
    pub epochs: Vec<(usize, Vec<u8>)>,
}

/// Does any item of a spec give pictures?
pub fn are_drawn(spec: &Spec) -> bool {
    let Some(module) = &spec.checked.module else { return false };
    module.predictions.iter().any(|prediction| {
        let entry = module.entries.iter().find(|entry| entry.graph.name == prediction.entry);
        entry.is_some_and(|entry| {
            entry.graph.outputs.iter().any(|(_, id)| {
                let extents = entry.graph.node(*id).ty.shape.iter().skip(1);
                let extents =
                    extents.map(|dim| dim.as_constant().and_then(|extent| usize::try_from(extent).ok()));
                extents.collect::<Option<Vec<usize>>>().is_some_and(|row| shape_of_picture(&row).is_some())
            })
        })
    })
}

impl Samples {
    /// The items that make pictures; none where there are none. What a run that goes on made up to its epoch is kept.
    pub fn begin(items: Items, parts: &Parts, run: &Path, done: usize) -> Result<Option<Samples>> {
        let part = [Split::Test, Split::Validation, Split::Train]
            .into_iter()
            .map(|split| parts.get(split))
            .find(|part| !part.is_empty());
        let Some(part) = part else { return Ok(None) };
        let rows: Vec<u32> = part.rows.iter().copied().take(COUNT).collect();
        let mut batch = Batch::default();
        batch.gather(part, &rows)?;
        let given = {
            let columns = &part.table.columns;
            let picture = |c: &Column| c.ragged.is_none() && shape_of_picture(&c.shape).is_some();
            let shown = columns.iter().position(picture);
            shown.map(|at| {
                let shape = [&[batch.rows], columns[at].shape.as_slice()].concat();
                pictures(&Tensor { dtype: columns[at].dtype, shape, data: batch.columns[at].clone() })
            })
        };
        let mut makers = Vec::new();
        let draws = |item: &&Item| {
            let extents = items.results(item).into_iter().filter_map(|(.., extents)| extents);
            extents.into_iter().any(|extents| shape_of_picture(&extents).is_some())
        };
        for item in items.items.iter().filter(draws).take(ITEMS) {
            let folder = run.join(FOLDER).join(&item.name);
            let given = given
                .as_ref()
                .filter(|_| item.of_rows())
                .map(|given| sheet(&given.iter().collect::<Vec<_>>()));
            let given = given.transpose()?;
            let epochs = kept(&folder, done);
            makers.push(Maker { item: item.clone(), name: item.name.clone(), folder, given, epochs });
        }
        Ok((!makers.is_empty()).then_some(Samples { items, batch, makers }))
    }

    /// Makes the pictures of an epoch, and gives them by the name of their item.
    pub fn take(
        &mut self,
        epoch: usize,
        training: &Session,
        parts: &Parts,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.items.copy(training);
        let noise = Batch { rows: COUNT, ..Batch::default() };
        let mut made = Vec::new();
        for maker in &mut self.makers {
            let batch = if maker.item.of_rows() { &self.batch } else { &noise };
            let results = self.items.ask(&maker.item, batch, &parts.train.table)?;
            let Some(pictures) = results.iter().map(|(_, result)| pictures(result)).find(|p| !p.is_empty())
            else {
                continue;
            };
            let file = sheet(&pictures.iter().collect::<Vec<_>>())?;
            std::fs::create_dir_all(&maker.folder).map_err(Error::file("make the folder", &maker.folder))?;
            io::write_atomically(&maker.folder.join(name(epoch)), &[&file])?;
            made.push((maker.name.clone(), file.clone()));
            maker.epochs.push((epoch, file));
        }
        Ok(made)
    }
}

fn name(epoch: usize) -> String {
    format!("epoch-{epoch}.png")
}

/// What was made up to an epoch; later pictures are of a run that is no more.
fn kept(folder: &Path, done: usize) -> Vec<(usize, Vec<u8>)> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let epoch = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("epoch-")?.strip_suffix(".png")?.parse::<usize>().ok()
    };
    let mut kept = Vec::new();
    for path in files.map(|file| file.path()) {
        match epoch(&path) {
            Some(epoch) if epoch <= done => {
                kept.extend(std::fs::read(&path).ok().map(|bytes| (epoch, bytes)))
            }
            Some(_) => drop(std::fs::remove_file(&path)),
            None => {}
        }
    }
    kept.sort_by_key(|(epoch, _)| *epoch);
    kept
}

/// Pictures side by side, as a `.png` file.
pub fn sheet(pictures: &[&Picture]) -> Result<Vec<u8>> {
    let tile = |picture: &&Picture| {
        let [height, width, channels] = picture.shape;
        picture::Picture::from_fn(width, height, |x, y| {
            let at = (y * width + x) * channels;
            match picture.pixels.get(at..at + channels) {
                Some(&[grey]) => [grey; 3],
                Some(&[red, green, blue]) => [red, green, blue],
                _ => GROUND,
            }
        })
    };
    let tiles: Vec<picture::Picture> = pictures.iter().map(tile).collect();
    picture::Picture::spaced(&tiles, COLUMNS, 2, GROUND).encoded()
}

/// The size of a `.png` file, from its head.
pub fn size(file: &[u8]) -> [usize; 2] {
    let number =
        |at: usize| file.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    [number(20), number(16)]
}
