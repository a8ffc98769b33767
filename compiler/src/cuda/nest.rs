//! Loop nests as kernels.

use super::Printed;
use super::print::Subject;
use crate::plan::nest::Nest;

pub fn lower(_subject: &Subject<'_>, _nest: &Nest) -> Result<Printed, String> {
    Err("loop nests are not printed yet".into())
}
