//! Programs without what an executable never does: training, data to be read, and variables that no entry looks at.

use weft_runtime::execute::Session;
use weft_runtime::program::{Program, Storage};

/// Variables begin at multiples of this, as sessions place them.
const ALIGNMENT: usize = weft_runtime::memory::ALIGNMENT;

/// Leaves the variables alone that an entry of one of these programs uses: all are the spec's, for different machines. Gives their values, which a
/// session has, as a session of any of the programs lays them out.
pub fn prune(programs: &mut [&mut Program], session: &Session) -> Vec<u8> {
    let variables = &session.program().variables;
    let mut used = vec![false; variables.len()];
    for buffer in programs.iter().flat_map(|program| &program.entries).flat_map(|entry| &entry.buffers) {
        if let Storage::Variable(index) = buffer.storage {
            used[index as usize] = true;
        }
    }
    let kept: Vec<usize> = (0..variables.len()).filter(|index| used[*index]).collect();
    let place = |old: u32| kept.partition_point(|kept| *kept < old as usize) as u32;
    for program in programs {
        program.trainings.clear();
        program.loads.clear();
        program.variables = kept.iter().map(|index| variables[*index].clone()).collect();
        for buffer in program.entries.iter_mut().flat_map(|entry| &mut entry.buffers) {
            if let Storage::Variable(index) = &mut buffer.storage {
                *index = place(*index);
            }
        }
    }
    let mut values = Vec::new();
    for index in kept {
        values.extend_from_slice(session.variable(index).data);
        values.resize(values.len().next_multiple_of(ALIGNMENT), 0);
    }
    values
}
