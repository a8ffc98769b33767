//! TODO
use super::Printed;
use super::print::Subject;

pub fn lower(_subject: &Subject<'_>) -> Result<Printed, String> {
    Err("not printed yet".into())
}
