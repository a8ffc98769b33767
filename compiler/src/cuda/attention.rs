//! TODO
use super::Printed;
use super::print::Subject;
use crate::graph::Dim;
use weft_runtime::program::Attention;

pub fn lower(_subject: &Subject<'_>, _attention: &Attention<Dim>) -> Result<Printed, String> {
    Err("not printed yet".into())
}
