//! Expressions → canonical text, with the parentheses that are needed and those that the writer chose between operators.

use super::layout::{Doc, concat, group, indent, text};
use super::{Printer, quoted};
use crate::ast::*;
use crate::build::expr::precedence::{self, COMPARE, NEGATE, NOT, PIPE, POSTFIX, POWER};

/// Words that start a statement or continue one when they stand alone before another.
const CONTEXTUAL: &[&str] = &[
    "weight", "state", "setting", "sum", "collect", "value", "split", "fit", "augment", "batch", "map",
    "with", "over", "using", "carrying", "reversed",
];

impl<'a> Printer<'a> {
    pub fn expr(&mut self, expr: &'a Expr) -> Doc {
        self.operand(expr, 0)
    }

    /// The right side of a `=`.
    pub fn value(&mut self, expr: &'a Expr) -> Doc {
        self.expr(expr)
    }

    /// The last expression of a block: its value. A long pipe stands flush with the statements around it.
    pub fn last_expr(&mut self, expr: &'a Expr) -> Doc {
        match &expr.kind {
            ExprKind::Pipe { .. } => self.pipe(expr, false),
            ExprKind::If { then, otherwise, .. } if ends_in_value(then) && ends_in_value(otherwise) => {
                self.expr(expr)
            }
            _ => self.middle_expr(expr),
        }
    }

    /// An expression as a statement: parentheses where it would be taken for a statement of another kind.
    pub fn middle_expr(&mut self, expr: &'a Expr) -> Doc {
        let mistakable = match &expr.kind {
            ExprKind::Name(name) => CONTEXTUAL.contains(&name.as_str()),
            ExprKind::If { .. } => true,
            _ => false,
        };
        match &expr.kind {
            ExprKind::Pipe { .. } => self.pipe(expr, false),
            _ if mistakable => self.parenthesised(expr),
            _ => self.expr(expr),
        }
    }

    /// An expression that a word follows: a word after `a // b` would make the rest of the line a comment.
    pub fn before_word(&mut self, expr: &'a Expr) -> Doc {
        if ends_in_floor_division(expr) { self.parenthesised(expr) } else { self.expr(expr) }
    }

    /// What `name:` names. A text there would be the message of an `assert`.
    fn after_colon(&mut self, expr: &'a Expr) -> Doc {
        let doc = self.operand(expr, PIPE + 1);
        if doc.first_char() == Some('"') { concat([text("("), doc, text(")")]) } else { doc }
    }

    fn parenthesised(&mut self, expr: &'a Expr) -> Doc {
        concat([text("("), self.expr(expr), text(")")])
    }

    /// An expression in a place that takes only what binds at least as tightly as `least`. Parentheses that say what holds
    /// without them, as in `a + (b * c)`, are the writer's to choose and stay.
    fn operand(&mut self, expr: &'a Expr, least: u8) -> Doc {
        let chosen = least > 0 && self.in_parentheses(expr);
        if binds(expr) < least || chosen { self.parenthesised(expr) } else { self.bare(expr) }
    }

    /// Did the writer put parentheses around this operation?
    fn in_parentheses(&self, expr: &Expr) -> bool {
        let unary = matches!(expr.kind, ExprKind::Unary { .. });
        is_wider(expr) || unary && self.gap(expr.span.start, expr.span.end).starts_with('(')
    }

    fn bare(&mut self, expr: &'a Expr) -> Doc {
        match &expr.kind {
            ExprKind::Int(literal) | ExprKind::Float(literal) => text(literal.clone()),
            ExprKind::Bool(value) => text(if *value { "true" } else { "false" }),
            ExprKind::Text(value) => quoted(value),
            ExprKind::None => text("none"),
            ExprKind::Name(name) => text(name.clone()),
            ExprKind::Field { base, field } => {
                let base = match base.kind {
                    // `fresh a.b` is one name.
                    ExprKind::Fresh(_) => self.parenthesised(base),
                    _ => self.operand(base, POSTFIX),
                };
                concat([base, text(format!(".{}", field.text))])
            }
            ExprKind::Call { callee, arguments } => {
                let callee = self.operand(callee, POSTFIX);
                let arguments = self.delimited("(", arguments, Self::argument, ")", expr.span.end);
                concat([callee, arguments])
            }
            ExprKind::Index { base, indices } => {
                let base = self.operand(base, POSTFIX);
                let indices = self.delimited("[", indices, Self::index, "]", expr.span.end);
                concat([base, indices])
            }
            ExprKind::Pipe { .. } => self.pipe(expr, true),
            ExprKind::Unary { operator: UnaryOperator::Neg, operand } => {
                concat([text("-"), self.operand(operand, NEGATE)])
            }
            ExprKind::Unary { operator: UnaryOperator::Not, operand } => {
                concat([text("not "), self.operand(operand, NOT)])
            }
            ExprKind::Binary { operator, .. } => self.binary(expr, *operator),
            ExprKind::List(items) => self.delimited("[", items, Self::expr, "]", expr.span.end),
            ExprKind::Tuple(items) if items.len() == 1 => {
                let items = self.separated(items, |p, item| p.expr(item));
                concat([text("("), items, text(",)")])
            }
            ExprKind::Tuple(items) => self.delimited("(", items, Self::expr, ")", expr.span.end),
            ExprKind::Record(entries) => self.record(entries, expr),
            ExprKind::Map(entries) if entries.is_empty() => text("map {}"),
            ExprKind::Map(entries) => {
                let print = |p: &mut Self, (key, value): &'a (Expr, Expr)| {
                    concat([p.operand(key, PIPE + 1), text(": "), p.expr(value)])
                };
                let entries = self.delimited("{ ", entries, print, " }", expr.span.end);
                concat([text("map "), entries])
            }
            ExprKind::If { condition, then, otherwise } => group(self.if_expr(condition, then, otherwise)),
            ExprKind::Block(block) => match block.statements.as_slice() {
                // Without the `;` this would be a record.
                [Statement { kind: StatementKind::Assign { target, value }, .. }]
                    if !self.has_comment(block.span) =>
                {
                    concat([text("{ "), self.name(target), text(" = "), self.expr(value), text("; }")])
                }
                [Statement { kind: StatementKind::Assign { .. }, .. }] => {
                    // The comments inside go before the statement around.
                    let Some(Statement { kind: StatementKind::Assign { target, value }, .. }) =
                        block.statements.first()
                    else {
                        return text("{}");
                    };
                    concat([text("{ "), self.name(target), text(" = "), self.expr(value), text("; }")])
                }
                _ => self.short_block(block),
            },
            ExprKind::Lambda { params, body } => {
                concat([text("fn"), self.params(params), text(" "), self.short_block(body)])
            }
            ExprKind::Fresh(layer) if is_dotted(layer) => concat([text("fresh "), self.expr(layer)]),
            ExprKind::Fresh(layer) => concat([text("fresh "), self.parenthesised(layer)]),
            ExprKind::Scan(scan) => self.scan(scan),
            // Only files without errors are formatted.
            ExprKind::Error => text("_"),
        }
    }

    pub fn argument(&mut self, argument: &'a Argument) -> Doc {
        match &argument.name {
            Some(name) => concat([self.name(name), text(" = "), self.expr(&argument.value)]),
            None => self.expr(&argument.value),
        }
    }

    /// An attribute whose value is that of the same name is written as the name alone.
    pub fn attribute(&mut self, attribute: &'a Argument) -> Doc {
        match (&attribute.name, &attribute.value.kind) {
            (Some(name), ExprKind::Name(value)) if name.text == *value => self.name(name),
            _ => self.argument(attribute),
        }
    }

    pub fn index(&mut self, index: &'a Index) -> Doc {
        match index {
            Index::At(expr) => self.expr(expr),
            Index::Rest(_) => text("..."),
            Index::Range { start, end, step, .. } => {
                // `a |> f:` would name a stage.
                let mut parts = Vec::new();
                parts.extend(start.iter().map(|start| self.operand(start, PIPE + 1)));
                parts.push(text(":"));
                parts.extend(end.iter().map(|end| self.operand(end, PIPE + 1)));
                if let Some(step) = step {
                    parts.extend([text(":"), self.operand(step, PIPE + 1)]);
                }
                concat(parts)
            }
        }
    }

    /// A field that is written as a bare name stays so.
    fn record(&mut self, entries: &'a [(Name, Expr)], expr: &'a Expr) -> Doc {
        let single = entries.len() == 1;
        let print = |p: &mut Self, (name, value): &'a (Name, Expr)| {
            if name.span == value.span && !single {
                p.name(name)
            } else {
                concat([p.name(name), text(" = "), p.expr(value)])
            }
        };
        self.delimited("{ ", entries, print, " }", expr.span.end)
    }

    /// `value |> a |> b`. Where the writer began a line with a stage, a line begins; the others are joined up to the width.
    fn pipe(&mut self, expr: &'a Expr, indented: bool) -> Doc {
        let mut stages = Vec::new();
        let mut first = expr;
        while let ExprKind::Pipe { value, name, map } = &first.kind {
            let start = name.as_ref().map_or(map.span.start, |name| name.span.start.min(map.span.start));
            stages.push((name, map, start, self.gap(value.span.end, start).contains('\n')));
            first = value;
        }
        stages.reverse();
        let first = self.operand(first, PIPE + 1);
        let stages: Vec<_> = stages
            .into_iter()
            .map(|(name, map, start, breaks)| {
                let comment = self.line_end(start);
                let mut stage = self.own_lines(start);
                let breaks = breaks || !stage.is_empty() || comment.forces_break();
                stage.push(text("|> "));
                stage.extend(name.iter().flat_map(|name| [self.name(name), text(": ")]));
                stage.push(match (&map.kind, name) {
                    // Its braces end it.
                    (ExprKind::Lambda { .. }, _) => self.bare(map),
                    (_, Some(_)) => self.after_colon(map),
                    (_, None) => self.operand(map, PIPE + 1),
                });
                (comment, breaks, concat(stage))
            })
            .collect();
        let flows = stages.iter().any(|(_, breaks, stage)| *breaks || stage.forces_break());
        let mut parts = Vec::new();
        for (index, (comment, breaks, stage)) in stages.into_iter().enumerate() {
            parts.push(comment);
            // Where no line began with a stage and one line is too short for all, the value stands alone on the first.
            parts.push(if breaks {
                Doc::Hard
            } else if index == 0 && !flows {
                Doc::Line
            } else {
                Doc::Flow
            });
            parts.push(stage);
        }
        let parts = concat(parts);
        group(concat([first, if indented { indent(parts) } else { parts }]))
    }

    fn binary(&mut self, expr: &'a Expr, operator: BinaryOperator) -> Doc {
        let least = precedence::of(operator);
        // A chain of operators of one strength breaks as a whole.
        let mut chain = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary { operator, left, right } = &first.kind
            && precedence::of(*operator) == least
            && (chain.is_empty() || least != COMPARE && least != POWER && !self.in_parentheses(first))
        {
            chain.push((*operator, right));
            first = left;
        }
        chain.reverse();
        let word = matches!(operator, BinaryOperator::And | BinaryOperator::Or);
        let tighter = if least == COMPARE || least == POWER { least + 1 } else { least };
        let mut parts = vec![match word && ends_in_floor_division(first) {
            true => self.parenthesised(first),
            false => self.operand(first, tighter),
        }];
        let mut rest = Vec::new();
        let count = chain.len();
        for (index, (operator, right)) in chain.into_iter().enumerate() {
            let symbol = symbol(operator);
            // At a line's start `//` would be a comment.
            let floor = operator == BinaryOperator::FloorDiv;
            if floor {
                rest.push(text(" "));
            } else {
                rest.extend([self.line_end(right.span.start), Doc::Line]);
                rest.append(&mut self.own_lines(right.span.start));
            }
            rest.push(text(format!("{symbol} ")));
            let followed_by_word = word && index + 1 < count;
            rest.push(
                if floor && !is_plain_divisor(right) || followed_by_word && ends_in_floor_division(right) {
                    self.parenthesised(right)
                } else if least == POWER {
                    // `a ** -b` is clear without parentheses.
                    self.operand(right, NEGATE)
                } else {
                    self.operand(right, least + 1)
                },
            );
        }
        parts.push(indent(concat(rest)));
        group(concat(parts))
    }

    fn if_expr(&mut self, condition: &'a Expr, then: &'a Block, otherwise: &'a Block) -> Doc {
        let condition = self.expr(condition);
        let then = self.branch(then);
        let otherwise = match otherwise.statements.as_slice() {
            [
                Statement {
                    kind: StatementKind::Expr(Expr { kind: ExprKind::If { condition, then, otherwise }, .. }),
                    ..
                },
            ] => self.if_expr(condition, then, otherwise),
            _ => self.branch(otherwise),
        };
        concat([text("if "), condition, text(" "), then, text(" else "), otherwise])
    }

    /// A branch without a group of its own: both branches break or neither.
    fn branch(&mut self, block: &'a Block) -> Doc {
        match self.short_block(block) {
            Doc::Tail(doc) => *doc,
            doc => doc,
        }
    }

    pub fn scan(&mut self, scan: &'a Scan) -> Doc {
        let elements = scan.elements.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", ");
        let mut parts = vec![text(format!("scan {elements} in "))];
        for (index, source) in scan.sources.iter().enumerate() {
            if index > 0 {
                parts.push(text(", "));
            }
            parts.push(self.before_word(source));
        }
        let reversed = if scan.reversed { " reversed" } else { "" };
        parts.push(text(format!(" over {}{reversed}", scan.over.text)));
        if !scan.carries.is_empty() {
            let carries = self.separated(&scan.carries, |p, (name, value)| {
                concat([p.name(name), text(" = "), p.expr(value)])
            });
            let rows = self.block_rows(&scan.body);
            parts.push(self.clause_and_braces(concat([text("carrying "), carries]), rows));
        } else {
            parts.push(text(" "));
            parts.push(self.block(&scan.body));
        }
        concat(parts)
    }
}

/// How tightly the outermost operator binds. What ends in a brace stands in parentheses as an operand: it reads better,
/// and a statement that starts with `if` or `{` is not mistaken for another.
fn binds(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Pipe { .. } => PIPE,
        ExprKind::Unary { operator: UnaryOperator::Neg, .. } => NEGATE,
        ExprKind::Unary { operator: UnaryOperator::Not, .. } => NOT,
        ExprKind::Binary { operator, .. } => precedence::of(*operator),
        ExprKind::If { .. }
        | ExprKind::Block(_)
        | ExprKind::Record(_)
        | ExprKind::Map(_)
        | ExprKind::Lambda { .. }
        | ExprKind::Scan(_) => 0,
        _ => POSTFIX,
    }
}

fn ends_in_value(block: &Block) -> bool {
    matches!(block.statements.last(), Some(Statement { kind: StatementKind::Expr(_), .. }))
}

fn is_dotted(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Name(_) => true,
        ExprKind::Field { base, .. } => is_dotted(base),
        _ => false,
    }
}

/// Does the last operator before the expression's end include a floor division?
fn ends_in_floor_division(expr: &Expr) -> bool {
    let last = match &expr.kind {
        ExprKind::Binary { operator: BinaryOperator::FloorDiv, .. } => return true,
        ExprKind::Binary { right: last, .. }
        | ExprKind::Unary { operand: last, .. }
        | ExprKind::Pipe { map: last, .. } => last,
        _ => return false,
    };
    !is_wider(last) && ends_in_floor_division(last)
}

/// Is the operation's place wider than the operation, because parentheses stand around it?
fn is_wider(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Binary { left, .. } if expr.span.start < left.span.start)
}

/// Can this stand bare to the right of `//` without being read as a comment? See `is_comment` in the scanner.
fn is_plain_divisor(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Name(_) => true,
        ExprKind::Int(literal) | ExprKind::Float(literal) => !literal.starts_with('.'),
        ExprKind::Field { base, .. } | ExprKind::Call { callee: base, .. } | ExprKind::Index { base, .. } => {
            is_dotted(base)
        }
        _ => false,
    }
}

fn symbol(operator: BinaryOperator) -> &'static str {
    use BinaryOperator::*;
    match operator {
        Add => "+",
        Sub => "-",
        Mul => "*",
        Div => "/",
        FloorDiv => "//",
        Rem => "%",
        Pow => "**",
        MatMul => "@",
        Eq => "==",
        Ne => "!=",
        Lt => "<",
        Le => "<=",
        Gt => ">",
        Ge => ">=",
        And => "and",
        Or => "or",
    }
}
