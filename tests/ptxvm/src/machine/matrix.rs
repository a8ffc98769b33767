//! `ldmatrix`, `stmatrix` and `mma.sync`, with the fragments that the PTX ISA gives them.
//!
//! Lane `l` belongs to group `g = l / 4` and is its member `t = l % 4`. With `p` elements in a register, register `r`
//! holds of A the row `g + 8·(r % 2)` and the columns from `p·t + 4p·(r / 2)`, and of B the column `g` and the rows
//! from `p·t + 4p·r`; of C and D, result `i` is the row `g + 8·(i / 2)` and the column `2t + i % 2`.

use super::World;
use super::warp::Warp;
use crate::code::{Address, Mma, MmaKind, Op, Register};
use crate::fault::{Fault, Kind};
use crate::lanes::{Half, Narrow};
use crate::numeric::canonical;

impl Warp {
    pub(crate) fn matrix(&mut self, world: &mut World<'_>, op: &Op) -> Result<(), Fault> {
        match op {
            Op::LoadMatrix { to, transposed, address } => self.load_matrix(world, to, *transposed, address),
            Op::StoreMatrix { from, transposed, address } => {
                self.store_matrix(world, from, *transposed, address)
            }
            Op::Mma(mma) => {
                if let MmaKind::I8 { a, b } = mma.kind {
                    self.mma_whole(world, mma, a, b);
                } else {
                    self.mma(world, mma);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn row_address(&self, world: &World<'_>, address: &Address, lane: usize) -> Result<u64, Fault> {
        let at =
            self.get(world.program, address.base)[lane].wrapping_add(address.offset as u64) & 0xffff_ffff;
        if !at.is_multiple_of(16) {
            let message =
                format!("a row of a matrix at {at} of shared memory: the address is no multiple of 16");
            return Err(Fault::new(Kind::Misaligned, message).at(lane as u32));
        }
        Ok(at)
    }

    fn load_matrix(
        &mut self,
        world: &mut World<'_>,
        to: &[Register],
        transposed: bool,
        address: &Address,
    ) -> Result<(), Fault> {
        for (i, to) in to.iter().enumerate() {
            let mut matrix = [[0u16; 8]; 8];
            let mut rows = [None; 8];
            for (row, values) in matrix.iter_mut().enumerate() {
                let lane = 8 * i + row;
                let at = self.row_address(world, address, lane)?;
                rows[row] = Some(at);
                let mut bytes = [0; 16];
                let thread = self.index * 32 + lane as u32;
                world
                    .shared
                    .load(at, &mut bytes, thread, world.order, false)
                    .map_err(|fault| fault.at(lane as u32))?;
                for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = u16::from_le_bytes([pair[0], pair[1]]);
                }
            }
            if world.counting {
                world.counts.shared(16, &rows);
            }
            let mut out = [0; 32];
            for (lane, out) in out.iter_mut().enumerate() {
                let (g, t) = (lane / 4, 2 * (lane % 4));
                let (low, high) = if transposed {
                    (matrix[t][g], matrix[t + 1][g])
                } else {
                    (matrix[g][t], matrix[g][t + 1])
                };
                *out = u64::from(low) | (u64::from(high) << 16);
            }
            self.put(*to, &out, u32::MAX);
        }
        Ok(())
    }

    fn store_matrix(
        &mut self,
        world: &mut World<'_>,
        from: &[Register],
        transposed: bool,
        address: &Address,
    ) -> Result<(), Fault> {
        for (i, from) in from.iter().enumerate() {
            let values = *self.get(world.program, *from);
            let mut rows = [0; 8];
            for (row, at) in rows.iter_mut().enumerate() {
                *at = self.row_address(world, address, 8 * i + row)?;
            }
            for (lane, value) in values.iter().enumerate() {
                let (g, t) = (lane / 4, 2 * (lane % 4));
                for half in 0..2 {
                    let (row, column) = if transposed { (t + half, g) } else { (g, t + half) };
                    let bytes = ((value >> (16 * half)) as u16).to_le_bytes();
                    let thread = self.index * 32 + lane as u32;
                    world
                        .shared
                        .store(rows[row] + 2 * column as u64, &bytes, thread, world.order, false)
                        .map_err(|fault| fault.at(lane as u32))?;
                }
            }
        }
        Ok(())
    }

    fn mma(&mut self, world: &World<'_>, mma: &Mma) {
        let k = mma.k as usize;
        let mut a = [[0f64; 16]; 16];
        let mut b = [[0f64; 8]; 16];
        let (per, value): (usize, fn(u64, usize) -> f64) = match mma.kind {
            MmaKind::F16 => (2, |bits, e| Half::value(bits >> (16 * e))),
            MmaKind::Bf16 => (2, |bits, e| f64::from(f32::from_bits(((bits >> (16 * e)) as u32) << 16))),
            // The processor reads the upper 19 bits.
            _ => (1, |bits, _| f64::from(f32::from_bits(bits as u32 & 0xffff_e000))),
        };
        for (r, register) in mma.a.iter().enumerate() {
            let values = self.get(world.program, *register);
            for (lane, bits) in values.iter().enumerate() {
                let (g, t) = (lane / 4, lane % 4);
                for e in 0..per {
                    a[g + 8 * (r % 2)][per * t + e + 4 * per * (r / 2)] = value(*bits, e);
                }
            }
        }
        for (r, register) in mma.b.iter().enumerate() {
            let values = self.get(world.program, *register);
            for (lane, bits) in values.iter().enumerate() {
                let (g, t) = (lane / 4, lane % 4);
                for e in 0..per {
                    b[per * t + e + 4 * per * r][g] = value(*bits, e);
                }
            }
        }
        // The products are exact; their sum is rounded once.
        let mut sums = [[0f64; 8]; 16];
        for (a, sums) in a.iter().zip(&mut sums) {
            for (a, b) in a[..k].iter().zip(&b) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
        let mut d = [[0u64; 32]; 4];
        for i in 0..4 {
            let sum = |lane: usize| sums[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
            if mma.half_sums {
                let (c, shift) = (self.get(world.program, mma.c[i / 2]), 16 * (i % 2));
                for (lane, (d, c)) in d[i / 2].iter_mut().zip(c).enumerate() {
                    *d |= Half::round(sum(lane) + Half::value(c >> shift)) << shift;
                }
            } else {
                let c = self.get(world.program, mma.c[i]);
                for (lane, (d, c)) in d[i].iter_mut().zip(c).enumerate() {
                    let c = f32::from_bits(*c as u32);
                    *d = canonical((sum(lane) + f64::from(c)) as f32).to_bits().into();
                }
            }
        }
        for (register, values) in mma.d.iter().zip(&d) {
            self.put(*register, values, u32::MAX);
        }
    }

    fn mma_whole(&mut self, world: &World<'_>, mma: &Mma, a_signed: bool, b_signed: bool) {
        let k = mma.k as usize;
        let byte = |bits: u64, e: usize, signed: bool| {
            let byte = (bits >> (8 * e)) as u8;
            if signed { i32::from(byte as i8) } else { i32::from(byte) }
        };
        let mut a = [[0i32; 32]; 16];
        let mut b = [[0i32; 32]; 8];
        for lane in 0..32 {
            let (g, t) = (lane / 4, lane % 4);
            for e in 0..4 {
                for (r, register) in mma.a.iter().enumerate() {
                    let bits = self.get(world.program, *register)[lane];
                    a[g + 8 * (r % 2)][4 * t + e + 16 * (r / 2)] = byte(bits, e, a_signed);
                }
                for (r, register) in mma.b.iter().enumerate() {
                    let bits = self.get(world.program, *register)[lane];
                    b[g][4 * t + e + 16 * r] = byte(bits, e, b_signed);
                }
            }
        }
        let mut d = [[0u64; 32]; 4];
        for (i, (d, c)) in d.iter_mut().zip(&mma.c).enumerate() {
            for (lane, (d, c)) in d.iter_mut().zip(self.get(world.program, *c)).enumerate() {
                let (a, b) = (&a[lane / 4 + 8 * (i / 2)][..k], &b[2 * (lane % 4) + i % 2]);
                *d = a.iter().zip(b).fold(*c as u32, |sum, (a, b)| sum.wrapping_add((a * b) as u32)).into();
            }
        }
        for (register, values) in mma.d.iter().zip(&d) {
            self.put(*register, values, u32::MAX);
        }
    }
}
