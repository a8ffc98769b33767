//! `split`: which rows are held out to validate and to test.

use crate::check::scope::Scope;
use crate::check::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use weft_grammar::Span;
use weft_grammar::ast;

impl Checker<'_> {
    pub(super) fn split(
        &mut self,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
        validation: &mut f64,
        test: &mut f64,
    ) -> Result<()> {
        for argument in arguments {
            let Some(name) = &argument.name else { continue };
            let slot = match name.text.as_str() {
                "validation" => &mut *validation,
                "test" => &mut *test,
                other => {
                    let hint = did_you_mean(other, ["validation", "test"]);
                    return Err(self.report(
                        Diagnostic::error(Code::BadSplit, name.span, format!("there is no split `{other}`"))
                            .hint_if(hint),
                    ));
                }
            };
            let share = self.expr(&argument.value, scope)?.as_float().filter(|f| (0.0..1.0).contains(f));
            match share {
                Some(share) => *slot = share,
                None => {
                    let message = format!("the share of `{}` is a number from 0 to less than 1", name.text);
                    return self.fail(Code::BadSplit, argument.value.span, message);
                }
            }
        }
        if *validation + *test >= 1.0 {
            return self.fail(Code::BadSplit, span, "these shares leave nothing to train on");
        }
        Ok(())
    }
}
