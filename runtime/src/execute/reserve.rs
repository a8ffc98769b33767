//! Room for all that entries may be asked, before anything is asked.

use std::sync::Arc;

use super::{Session, dims};
use crate::error::Result;
use crate::memory;

/// Every size up to this one is looked at; beyond it, tasks are cut so evenly that the largest size tells enough.
const LOOKED_AT: i64 = 128;

impl Session {
    /// Makes room for entries at every size of their symbols up to these: for each, its number and the values of its symbols. Runs at such
    /// sizes ask for no memory for tensors any more.
    pub fn reserve_up_to(&mut self, largest: &[(usize, Vec<i64>)]) -> Result<()> {
        let program = Arc::clone(&self.program);
        let mut all = Vec::new();
        let mut arena = 0;
        for (entry, symbols) in largest {
            let description = &program.entries[*entry];
            let dims = dims::evaluate(description, symbols)?;
            dims::check_guards(&program, description, &dims)?;
            let layout = &self.entries[*entry].layout;
            let sizes = layout.sizes(description, &dims);
            let sizes = sizes
                .map_err(|message| crate::error::Error::Dim { entry: description.name.clone(), message })?;
            arena = layout.plan(&sizes).bytes.max(arena);
            all.push((*entry, dims));
        }
        // One arena for the largest of them, rather than one after another.
        if arena > self.arena.len() {
            self.entries.iter_mut().for_each(|state| state.bindings.clear());
            self.arena = self.room.block(arena)?;
        }
        for (entry, dims) in &all {
            self.make_room(*entry, dims)?;
        }
        // What a thread needs for a task doesn't grow evenly: more rows may be cut into more and smaller tasks.
        let mut stride = 0;
        for (entry, symbols) in largest {
            let description = &program.entries[*entry];
            for symbols in smaller(symbols) {
                let Ok(dims) = dims::evaluate(description, &symbols) else { continue };
                if dims::check_guards(&program, description, &dims).is_ok()
                    && let Ok(bound) = self.bound(description, *entry, dims)
                {
                    stride = memory::align(bound.scratch_bytes).max(stride);
                }
            }
        }
        if stride > self.scratch_stride {
            self.scratch = self.room.own_block(stride.saturating_mul(self.pool.threads()))?;
            self.scratch_stride = stride;
        }
        Ok(())
    }

    /// Bytes that the session has taken for tensors, its variables not counted.
    pub fn taken_bytes(&self) -> usize {
        self.room.taken()
    }
}

/// The sizes themselves, and for each symbol smaller ones.
fn smaller(largest: &[i64]) -> Vec<Vec<i64>> {
    let mut all = vec![largest.to_vec()];
    for (place, &most) in largest.iter().enumerate() {
        let doubled = (7..40).map(|power| (1 << power) - 1);
        for value in (0..LOOKED_AT).chain(doubled).filter(|value| *value < most) {
            let mut symbols = largest.to_vec();
            symbols[place] = value;
            all.push(symbols);
        }
    }
    all
}
