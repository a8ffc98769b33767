//! Functions: attributes, occupancy, launches.

use super::device::shared_limits;
use super::pointer::{In, Out, read, shared_of};
use super::work::Work;
use super::{Done, INVALID_VALUE, NOT_SUPPORTED, State, exports};

impl State {
    /// Blocks of a function that a multiprocessor holds, as far as threads and shared memory tell: how many
    /// registers a GPU's compiler would take is not known here.
    fn blocks(&self, function: usize, threads: i32, dynamic: usize) -> Done<i32> {
        let program = &self.function(function)?.program;
        if threads < 1 {
            return Err(INVALID_VALUE);
        }
        let (shared, _) = shared_limits(self.settings.compute);
        let compute = self.settings.compute;
        let most = if compute == (8, 0) || compute.0 == 9 || compute.0 == 10 { 2048 } else { 1536 };
        let by_threads = most / ((threads + 31) / 32 * 32);
        let each = (program.shared_bytes + dynamic) as i32 + 1024;
        Ok(by_threads.min(shared / each).min(32))
    }

    fn launch(
        &mut self,
        function: usize,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic: u32,
        stream: usize,
        parameters: &In<usize>,
        extra: &In<usize>,
    ) -> Done {
        let function = self.function(function)?.clone();
        let program = function.program;
        let threads = block.iter().map(|d| u64::from(*d)).product::<u64>();
        let dims_fit = block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64;
        let grid_fits = grid[0] <= i32::MAX as u32 && grid[1] <= 65535 && grid[2] <= 65535;
        if threads == 0 || threads > 1024 || !dims_fit || !grid_fits || grid.contains(&0) {
            self.tell(&format!("launch of {} refused: grid {grid:?}, block {block:?}", program.name));
            return Err(INVALID_VALUE);
        }
        if program.required.is_some_and(|r| r != block) || program.most.is_some_and(|m| threads > m.into()) {
            self.tell(&format!(
                "launch of {} refused: block {block:?}, but the kernel declares {:?}, at most {:?} threads",
                program.name, program.required, program.most
            ));
            return Err(INVALID_VALUE);
        }
        if dynamic > function.dynamic_limit {
            self.tell(&format!(
                "launch of {} refused: {dynamic} bytes of dynamic shared memory, but it may have {} \
                 (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)",
                program.name, function.dynamic_limit
            ));
            return Err(INVALID_VALUE);
        }
        let mut bytes = vec![0; program.parameter_bytes];
        if !parameters.is_null() {
            for (i, parameter) in program.parameters.iter().enumerate() {
                let value = read(parameters.at(i)?, parameter.bytes)?;
                bytes[parameter.offset..parameter.offset + parameter.bytes].copy_from_slice(&value);
            }
        } else if !extra.is_null() {
            // Pairs of a key and a value: 1 the buffer, 2 where its size is, 0 the end.
            let (mut buffer, mut size, mut at) = (0, 0, 0);
            loop {
                match extra.at(at)? {
                    0 => break,
                    1 => buffer = extra.at(at + 1)?,
                    2 => {
                        size =
                            usize::from_ne_bytes(read(extra.at(at + 1)?, 8)?.try_into().unwrap_or_default())
                    }
                    _ => return Err(INVALID_VALUE),
                }
                at += 2;
            }
            let value = read(buffer, size.min(bytes.len()))?;
            bytes[..value.len()].copy_from_slice(&value);
        } else if !program.parameters.is_empty() {
            return Err(INVALID_VALUE);
        }
        self.submit(stream, Work::Launch { program, grid, block, dynamic, parameters: bytes })
    }

    /// Threads of a block and blocks of a grid with which the device holds the most threads.
    fn best_block(&self, function: usize, shared: impl Fn(i32) -> usize, limit: i32) -> Done<(i32, i32)> {
        let most = self.function(function)?.program.most.unwrap_or(1024) as i32;
        let most = if limit > 0 { most.min(limit) } else { most };
        let mut best = (0, 0, 0);
        for threads in (1..=most / 32).rev().map(|w| w * 32) {
            let blocks = self.blocks(function, threads, shared(threads))?;
            if blocks * threads > best.0 {
                best = (blocks * threads, blocks, threads);
            }
        }
        let multiprocessors = if self.settings.compute.0 >= 9 { 132 } else { 108 };
        Ok((best.1 * multiprocessors, best.2))
    }
}

exports! {
    Context fn cuLaunchKernel(
        function: usize, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32,
        dynamic: u32, stream: usize, parameters: In<usize>, extra: In<usize>,
    ) |state| {
        state.launch(function, [gx, gy, gz], [bx, by, bz], dynamic, stream, &parameters, &extra)
    }

    /// Blocks that wait for each other take turns; how many a GPU holds at once is checked.
    Context fn cuLaunchCooperativeKernel(
        function: usize, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32,
        dynamic: u32, stream: usize, parameters: In<usize>,
    ) |state| {
        let held = state.blocks(function, (bx * by * bz) as i32, dynamic as usize)?;
        let multiprocessors = if state.settings.compute.0 >= 9 { 132 } else { 108 };
        if u64::from(gx) * u64::from(gy) * u64::from(gz) > (held * multiprocessors) as u64 {
            return Err(720);
        }
        state.launch(function, [gx, gy, gz], [bx, by, bz], dynamic, stream, &parameters, &In::null())
    }

    Context fn cuFuncGetAttribute(out: Out<i32>, attribute: i32, function: usize) |state| {
        let compute = state.settings.compute;
        let function = state.function(function)?;
        let program = &function.program;
        out.set(match attribute {
            // Threads, shared bytes, constants, local bytes, registers.
            0 => program.most.unwrap_or(1024) as i32,
            1 => program.shared_bytes as i32,
            2 => 0,
            3 => program.local_bytes as i32,
            4 => 32,
            5 | 6 => compute.0 * 10 + compute.1,
            7 => 0,
            8 => function.dynamic_limit as i32,
            9 => function.carveout,
            _ => 0,
        })
    }

    Context fn cuFuncSetAttribute(function: usize, attribute: i32, value: i32) |state| {
        let (_, most) = shared_limits(state.settings.compute);
        let known = state.functions.get_mut(&function).ok_or(super::INVALID_HANDLE)?;
        match attribute {
            8 if value >= 0 && value as usize + known.program.shared_bytes <= most as usize => {
                known.dynamic_limit = value as u32;
                Ok(())
            }
            9 => {
                known.carveout = value;
                Ok(())
            }
            8 => Err(INVALID_VALUE),
            _ => Err(NOT_SUPPORTED),
        }
    }

    Context fn cuFuncSetCacheConfig(function: usize, _config: u32) |state| {
        state.function(function).map(|_| ())
    }

    Context fn cuFuncGetModule(out: Out<usize>, function: usize) |state| {
        out.set(state.function(function)?.module)
    }

    Context fn cuFuncLoad(function: usize) |state| {
        state.function(function).map(|_| ())
    }

    Context fn cuOccupancyMaxActiveBlocksPerMultiprocessor(out: Out<i32>, function: usize, threads: i32, dynamic: usize) |state| {
        out.set(state.blocks(function, threads, dynamic)?)
    }

    Context fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        out: Out<i32>, function: usize, threads: i32, dynamic: usize, _flags: u32,
    ) |state| {
        out.set(state.blocks(function, threads, dynamic)?)
    }

    Context fn cuOccupancyAvailableDynamicSMemPerBlock(out: Out<usize>, function: usize, blocks: i32, _threads: i32) |state| {
        let (shared, most) = shared_limits(state.settings.compute);
        let fixed = state.function(function)?.program.shared_bytes as i32;
        if blocks < 1 {
            return Err(INVALID_VALUE);
        }
        out.set((shared / blocks - 1024).min(most).saturating_sub(fixed).max(0) as usize)
    }

    Context fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: usize, shared: usize, dynamic: usize, limit: i32,
    ) |state| {
        let of = |threads| if shared == 0 { dynamic } else { shared_of(shared, threads) };
        let (blocks, threads) = state.best_block(function, of, limit)?;
        grid.set(blocks)?;
        block.set(threads)
    }

    Context fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, function: usize, shared: usize, dynamic: usize, limit: i32, _flags: u32,
    ) |state| {
        let of = |threads| if shared == 0 { dynamic } else { shared_of(shared, threads) };
        let (blocks, threads) = state.best_block(function, of, limit)?;
        grid.set(blocks)?;
        block.set(threads)
    }
}
