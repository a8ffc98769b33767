//! Conditions that are always the same.

use crate::check::resolve::Resolution;
use crate::diagnostics::{Code, Diagnostic};

pub fn constant(resolution: &Resolution) -> Vec<Diagnostic> {
    let doubt = |(span, truth): &(_, bool)| {
        Diagnostic::warning(Code::ConstantCondition, *span, format!("this condition is always {truth}")).hint(
            "compare a setting or a parameter with something it can differ from, or leave the condition out",
        )
    };
    resolution.constant.iter().map(doubt).collect()
}
