//! Loads, stores, atomic operations and asynchronous copies of a warp, lane by lane.

use super::World;
use super::warp::{Copy, Warp, lanes};
use crate::code::{
    Access, Address, Atomic, CopyAsync, LOCAL_WINDOW, Lanes, SHARED_WINDOW, Space, WINDOW_BYTES,
};
use crate::fault::{Fault, Kind};

/// Where one lane's bytes lie.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Global(u64),
    Shared(u64),
    Local(u64),
    Parameter(u64),
}

#[inline]
fn spot(space: Space, address: u64) -> Spot {
    match space {
        Space::Global | Space::Constant => Spot::Global(address),
        Space::Shared => Spot::Shared(address & 0xffff_ffff),
        Space::Local => Spot::Local(address),
        Space::Parameter => Spot::Parameter(address),
        Space::Generic => {
            if address < SHARED_WINDOW {
                Spot::Global(address)
            } else if address < SHARED_WINDOW + WINDOW_BYTES {
                Spot::Shared(address - SHARED_WINDOW)
            } else if (LOCAL_WINDOW..LOCAL_WINDOW + WINDOW_BYTES).contains(&address) {
                Spot::Local(address - LOCAL_WINDOW)
            } else {
                Spot::Global(address)
            }
        }
    }
}

/// An element of 1, 2, 4 or 8 bytes.
#[inline]
fn little(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// The same with its sign, in a register of so many bytes.
fn signed(bytes: &[u8], wide: u32) -> u64 {
    let unused = 64 - 8 * bytes.len() as u32;
    let value = ((little(bytes) << unused) as i64 >> unused) as u64;
    if wide < 8 { value & ((1 << (8 * wide)) - 1) } else { value }
}

fn misaligned(spot: Spot, bytes: usize) -> Fault {
    let (at, space) = match spot {
        Spot::Global(at) => (at, "device memory"),
        Spot::Shared(at) => (at, "shared memory"),
        Spot::Local(at) => (at, "local memory"),
        Spot::Parameter(at) => (at, "parameters"),
    };
    Fault::new(
        Kind::Misaligned,
        format!("{bytes} bytes at 0x{at:x} of {space}: the address is no multiple of {bytes}"),
    )
}

impl Warp {
    /// The addresses of all lanes.
    #[inline]
    fn addresses(&self, world: &World<'_>, address: &Address) -> Lanes {
        let mut out = *self.get(world.program, address.base);
        for address_of in &mut out {
            *address_of = address_of.wrapping_add(address.offset as u64);
        }
        out
    }

    fn thread(&self, lane: usize) -> u32 {
        self.index * 32 + lane as u32
    }

    pub(crate) fn load(&mut self, world: &mut World<'_>, access: &Access, active: u32) -> Result<(), Fault> {
        let addresses = self.addresses(world, &access.address);
        let each = access.bytes as usize;
        let total = each * access.registers.len();
        *world.watched += u64::from(access.atomic);
        let mut counted = [0u64; 32];
        let mut many = 0;
        let mut shared = [None; 32];
        let mut buffer = [0u8; 32];
        for lane in lanes(active) {
            let spot = spot(access.address.space, addresses[lane]);
            let buffer = &mut buffer[..total];
            if addresses[lane] & (total as u64 - 1) != 0 {
                return Err(misaligned(spot, total).at(lane as u32));
            }
            match spot {
                Spot::Global(at) => {
                    if world.counting {
                        counted[many] = at;
                        many += 1;
                    }
                    world.memory.load(at, buffer)
                }
                Spot::Shared(at) => {
                    shared[lane] = Some(at);
                    let thread = self.thread(lane);
                    world.shared.load(at, buffer, thread, world.order, access.atomic)
                }
                Spot::Local(at) => self.load_local(world, lane, at, buffer),
                Spot::Parameter(at) => parameter(world, at, buffer),
            }
            .map_err(|fault| fault.at(lane as u32))?;
            for (i, register) in access.registers.iter().enumerate() {
                let Some(register) = register else { continue };
                // As many bytes as were stored: a longer read would wait for them to leave the store buffer.
                let element = &buffer[i * each..(i + 1) * each];
                let value = if access.signed { signed(element, access.wide) } else { little(element) };
                self.registers[*register as usize][lane] = value;
            }
        }
        world.counts.access(0, total as u32, &mut counted[..many]);
        if world.counting {
            world.counts.shared(total as u32, &shared);
        }
        Ok(())
    }

    pub(crate) fn store(&mut self, world: &mut World<'_>, access: &Access, active: u32) -> Result<(), Fault> {
        let addresses = self.addresses(world, &access.address);
        let each = access.bytes as usize;
        let total = each * access.registers.len();
        let mut counted = [0u64; 32];
        let mut many = 0;
        let mut shared = [None; 32];
        let mut buffer = [0u8; 32];
        for lane in lanes(active) {
            let spot = spot(access.address.space, addresses[lane]);
            if addresses[lane] & (total as u64 - 1) != 0 {
                return Err(misaligned(spot, total).at(lane as u32));
            }
            for (i, register) in access.registers.iter().enumerate() {
                if let Some(register) = register {
                    let value = self.get(world.program, *register)[lane];
                    buffer[i * each..(i + 1) * each].copy_from_slice(&value.to_le_bytes()[..each]);
                }
            }
            let buffer = &buffer[..total];
            match spot {
                Spot::Global(at) => {
                    if world.counting {
                        counted[many] = at;
                        many += 1;
                    }
                    world.memory.store(at, buffer)
                }
                Spot::Shared(at) => {
                    shared[lane] = Some(at);
                    let thread = self.thread(lane);
                    world.shared.store(at, buffer, thread, world.order, access.atomic)
                }
                Spot::Local(at) => self.store_local(world, lane, at, buffer),
                Spot::Parameter(_) => Err(Fault::failed("a kernel's parameters cannot be written")),
            }
            .map_err(|fault| fault.at(lane as u32))?;
        }
        world.counts.access(1, total as u32, &mut counted[..many]);
        if world.counting {
            world.counts.shared(total as u32, &shared);
        }
        Ok(())
    }

    fn local(&self, world: &World<'_>, lane: usize, at: u64, bytes: usize) -> Result<usize, Fault> {
        let each = world.program.local_bytes;
        if at.saturating_add(bytes as u64) > each as u64 {
            let message =
                format!("{bytes} bytes at {at} of local memory, of which a thread has {each} bytes");
            return Err(Fault::new(Kind::IllegalAddress, message));
        }
        Ok(lane * each + at as usize)
    }

    fn load_local(&self, world: &World<'_>, lane: usize, at: u64, out: &mut [u8]) -> Result<(), Fault> {
        let at = self.local(world, lane, at, out.len())?;
        out.copy_from_slice(&self.local[at..at + out.len()]);
        Ok(())
    }

    fn store_local(&mut self, world: &World<'_>, lane: usize, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let at = self.local(world, lane, at, bytes.len())?;
        self.local[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn atomic(
        &mut self,
        world: &mut World<'_>,
        atomic: &Atomic,
        active: u32,
    ) -> Result<(), Fault> {
        let addresses = self.addresses(world, &atomic.address);
        let bytes = atomic.bytes as usize;
        *world.watched += 1;
        let mut counted = [0u64; 32];
        let mut many = 0;
        for lane in lanes(active) {
            let spot = spot(atomic.address.space, addresses[lane]);
            if addresses[lane] & (bytes as u64 - 1) != 0 {
                return Err(misaligned(spot, bytes).at(lane as u32));
            }
            let thread = self.thread(lane);
            let mut buffer = [0u8; 8];
            let buffer = &mut buffer[..bytes];
            match spot {
                Spot::Global(at) => world.memory.load(at, buffer),
                Spot::Shared(at) => world.shared.load(at, buffer, thread, world.order, true),
                _ => Err(Fault::new(
                    Kind::IllegalAddress,
                    "an atomic operation outside device and shared memory",
                )),
            }
            .map_err(|fault| fault.at(lane as u32))?;
            let old = little(buffer);
            let (a, b) = (self.get(world.program, atomic.a)[lane], self.get(world.program, atomic.b)[lane]);
            buffer.copy_from_slice(&(atomic.f)(old, a, b).to_le_bytes()[..bytes]);
            match spot {
                Spot::Shared(at) => world.shared.store(at, buffer, thread, world.order, true),
                Spot::Global(at) => {
                    if world.counting {
                        counted[many] = at;
                        many += 1;
                    }
                    world.memory.store(at, buffer)
                }
                _ => Ok(()),
            }
            .map_err(|fault| fault.at(lane as u32))?;
            if let Some(to) = atomic.to {
                self.registers[to as usize][lane] = old;
            }
        }
        world.counts.access(0, bytes as u32, &mut counted[..many]);
        world.counts.access(1, bytes as u32, &mut counted[..many]);
        Ok(())
    }

    /// The bytes are read now, and arrive when they are waited for.
    pub(crate) fn copy_async(
        &mut self,
        world: &mut World<'_>,
        copy: &CopyAsync,
        active: u32,
    ) -> Result<(), Fault> {
        let (to, from) = (self.addresses(world, &copy.to), self.addresses(world, &copy.from));
        let bytes = copy.bytes as usize;
        let mut counted = [0u64; 32];
        let mut many = 0;
        let mut shared = [None; 32];
        self.copies.resize_with(32, Default::default);
        for lane in lanes(active) {
            let to = to[lane] & 0xffff_ffff;
            shared[lane] = Some(to);
            let given = match copy.given {
                Some(given) => self.get(world.program, given)[lane] as u32 as usize,
                None => bytes,
            };
            if given > bytes {
                let message = format!("cp.async of {bytes} bytes is to read {given}");
                return Err(Fault::failed(message).at(lane as u32));
            }
            if to & (bytes as u64 - 1) != 0 {
                return Err(misaligned(Spot::Shared(to), bytes).at(lane as u32));
            }
            if given > 0 && from[lane] & (bytes as u64 - 1) != 0 {
                return Err(misaligned(Spot::Global(from[lane]), bytes).at(lane as u32));
            }
            let mut data = [0; 16];
            if given > 0 {
                world.memory.load(from[lane], &mut data[..given]).map_err(|fault| fault.at(lane as u32))?;
                if world.counting {
                    counted[many] = from[lane];
                    many += 1;
                }
            }
            let thread = self.thread(lane);
            world.shared.begin(to, bytes, thread, world.order).map_err(|fault| fault.at(lane as u32))?;
            self.copies[lane].open.push(Copy { to, data, bytes: copy.bytes });
        }
        world.counts.access(0, copy.bytes, &mut counted[..many]);
        if world.counting {
            world.counts.shared(copy.bytes, &shared);
        }
        Ok(())
    }

    pub(crate) fn wait_group(
        &mut self,
        world: &mut World<'_>,
        many: Option<u32>,
        active: u32,
    ) -> Result<(), Fault> {
        if self.copies.is_empty() {
            return Ok(());
        }
        for lane in lanes(active) {
            let thread = self.thread(lane);
            let mut copies = std::mem::take(&mut self.copies[lane]);
            let mut arrived = Vec::new();
            while copies.groups.len() > many.unwrap_or(0) as usize {
                arrived.extend(copies.groups.pop_front().unwrap_or_default());
            }
            if many.is_none() {
                arrived.append(&mut copies.open);
            }
            self.copies[lane] = copies;
            for copy in arrived {
                world
                    .shared
                    .arrive(copy.to, &copy.data[..copy.bytes as usize], thread, world.order)
                    .map_err(|fault| fault.at(lane as u32))?;
            }
        }
        Ok(())
    }
}

fn parameter(world: &World<'_>, at: u64, out: &mut [u8]) -> Result<(), Fault> {
    match world.parameters.get(at as usize..at.saturating_add(out.len() as u64) as usize) {
        Some(bytes) => {
            out.copy_from_slice(bytes);
            Ok(())
        }
        None => Err(Fault::new(
            Kind::IllegalAddress,
            format!("{} bytes at {at} of {} bytes of parameters", out.len(), world.parameters.len()),
        )),
    }
}
