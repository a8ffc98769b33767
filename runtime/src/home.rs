//! Where a session's tensors live: in this process's memory, or in a GPU's.
//!
//! Addresses are plain pointers in both cases. Those of a GPU may be followed by its kernels alone; all else goes through here.

use crate::cuda::Device;
use crate::error::Result;
use crate::memory::Block;

/// A place for tensors.
#[derive(Clone, Debug, Default)]
pub enum Home {
    #[default]
    Process,
    Device(Device),
}

impl Home {
    /// Memory of this place. It is zeroed in the process; on a GPU it holds anything.
    pub fn block(&self, bytes: usize) -> Result<Block> {
        match self {
            Home::Process => Block::new(bytes),
            Home::Device(device) => Ok(Block::of_device(device.block(bytes)?, bytes)),
        }
    }

    /// Brings bytes of the process here.
    ///
    /// # Safety
    /// As many bytes are there at this place, and nobody else uses them.
    pub unsafe fn write(&self, to: *mut u8, from: &[u8]) -> Result<()> {
        match self {
            Home::Process => {
                // SAFETY: as this function's.
                unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
                Ok(())
            }
            // SAFETY: as this function's.
            Home::Device(device) => unsafe { device.write(to, from) },
        }
    }

    /// Brings bytes from here to the process.
    ///
    /// # Safety
    /// As many bytes are there at this place, and nobody writes them.
    pub unsafe fn read(&self, from: *const u8, to: &mut [u8]) -> Result<()> {
        match self {
            Home::Process => {
                // SAFETY: as this function's.
                unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) };
                Ok(())
            }
            // SAFETY: as this function's.
            Home::Device(device) => unsafe { device.read(from, to) },
        }
    }

    /// Copies bytes within this place.
    ///
    /// # Safety
    /// So many bytes are at both places, none is in both, and nobody else uses them.
    pub unsafe fn copy(&self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        match self {
            Home::Process => {
                // SAFETY: as this function's.
                unsafe { to.copy_from_nonoverlapping(from, bytes) };
                Ok(())
            }
            // SAFETY: as this function's.
            Home::Device(device) => unsafe { device.copy(to, from, bytes) },
        }
    }

    /// Sets all bytes of a block of this place.
    pub fn fill(&self, block: &mut Block, value: u8) -> Result<()> {
        match self {
            Home::Process => {
                block.bytes_mut().fill(value);
                Ok(())
            }
            Home::Device(_) if block.is_empty() => Ok(()),
            // SAFETY: the block is of this device, and `&mut` makes this the only use.
            Home::Device(device) => unsafe { device.fill(block.pointer(), block.len(), value) },
        }
    }
}
