//! What metrics collect: rows that the steps of an epoch, or its evaluation, give as outputs and the report takes as one input.

use crate::execute::Outputs;
use crate::program::{DType, Entry, InputSource};
use crate::tensor::{Tensor, TensorView};

/// The collections of a training, by the names that outputs and the report's inputs share.
#[derive(Debug, Default)]
pub struct Collections(Vec<Collection>);

/// The rows so far of one collection.
#[derive(Debug)]
struct Collection {
    name: String,
    dtype: DType,
    /// One row's extents.
    row: Vec<usize>,
    /// Elements one after another.
    data: Vec<u8>,
}

impl Collections {
    /// Those that a report reads. Their rows have constant extents.
    pub fn of_report(report: &Entry) -> Collections {
        let extent = |dim: &crate::program::DimIndex| match report.dims.get(dim.0 as usize) {
            Some(crate::program::DimExpr::Constant(extent)) => usize::try_from(*extent).unwrap_or(0),
            _ => 0,
        };
        let inputs = report.inputs.iter().filter(|input| input.source == InputSource::Collected);
        let collection = |input: &crate::program::Input| Collection {
            name: input.name.clone(),
            dtype: input.dtype,
            row: input.shape.iter().skip(1).map(extent).collect(),
            data: Vec::new(),
        };
        Collections(inputs.map(collection).collect())
    }

    /// The same collections without rows.
    pub fn emptied(&self) -> Collections {
        let empty = |c: &Collection| Collection {
            name: c.name.clone(),
            dtype: c.dtype,
            row: c.row.clone(),
            data: Vec::new(),
        };
        Collections(self.0.iter().map(empty).collect())
    }

    /// Forgets all rows and keeps their room.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|collection| collection.data.clear());
    }

    /// All collections by name, with their rows so far.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Tensor)> {
        self.0.iter().enumerate().map(|(index, collection)| {
            let shape = self.shape(index);
            (collection.name.as_str(), self.view(index, &shape).to_owned())
        })
    }

    /// Puts the rows of a collection back; whether there is such a one.
    pub fn put(&mut self, name: &str, rows: &Tensor) -> bool {
        let fits = |c: &&mut Collection| {
            c.name == name && c.dtype == rows.dtype && rows.shape.get(1..) == Some(&c.row)
        };
        let collection = self.0.iter_mut().find(fits);
        collection.map(|collection| collection.data.clone_from(&rows.data)).is_some()
    }

    /// Takes the rows that a batch gave; `share`: what part of an epoch's rows that batch is, at least.
    pub fn take(&mut self, outputs: &Outputs<'_>, share: f64) {
        for collection in &mut self.0 {
            let Some(output) = outputs.named(&collection.name) else { continue };
            if collection.data.capacity() == 0 {
                // Room for the whole epoch at once, so that later batches only copy.
                collection.data.reserve((output.data.len() as f64 / share.max(1e-9)) as usize);
            }
            collection.data.extend_from_slice(output.data);
        }
    }

    /// The rows of one collection with their shape in `shape`.
    pub fn view<'a>(&'a self, index: usize, shape: &'a [usize]) -> TensorView<'a> {
        let collection = &self.0[index];
        TensorView { dtype: collection.dtype, shape, data: &collection.data }
    }

    /// The shape of one collection: as many rows as there are now.
    pub fn shape(&self, index: usize) -> Vec<usize> {
        let collection = &self.0[index];
        let row = collection.row.iter().product::<usize>() * collection.dtype.size();
        [&[collection.data.len() / row.max(1)], collection.row.as_slice()].concat()
    }

    /// The place of a collection.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|collection| collection.name == name)
    }
}
