//! A program without what an executable never does: training, data to be read, and variables that no entry looks at.

use weft_runtime::execute::Session;
use weft_runtime::program::{Program, Storage, Variable};

/// Variables begin at multiples of this, as sessions place them.
const ALIGNMENT: usize = weft_runtime::memory::ALIGNMENT;

/// The program of a session with the variables alone that its entries use, and their values as a session of it lays them out.
pub fn program(session: &Session) -> (Program, Vec<u8>) {
    let mut program = session.program().clone();
    program.trainings.clear();
    program.loads.clear();
    let mut used = vec![None; program.variables.len()];
    let buffers = program.entries.iter_mut().flat_map(|entry| &mut entry.buffers);
    let (mut variables, mut values): (Vec<Variable>, Vec<u8>) = (Vec::new(), Vec::new());
    for buffer in buffers {
        let Storage::Variable(index) = &mut buffer.storage else { continue };
        let old = *index as usize;
        *index = *used[old].get_or_insert_with(|| {
            variables.push(session.program().variables[old].clone());
            values.extend_from_slice(session.variable(old).data);
            values.resize(values.len().next_multiple_of(ALIGNMENT), 0);
            variables.len() as u32 - 1
        });
    }
    program.variables = variables;
    (program, values)
}
