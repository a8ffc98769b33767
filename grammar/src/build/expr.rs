//! pest's pairs → expressions. The grammar leaves operators flat; precedence climbing gives them their shape.

use crate::ast::*;
use crate::build::{Builder, Children, Node};
use crate::codes;
use crate::parse::Rule;
use crate::span::Span;
use std::iter::Peekable;

/// How tightly operators bind, loosest first. Unary minus binds tighter than `*` but looser than `**`.
pub mod precedence {
    use crate::ast::BinaryOperator::{self, *};

    pub const PIPE: u8 = 1;
    pub const NOT: u8 = 4;
    pub const COMPARE: u8 = 5;
    pub const NEGATE: u8 = 8;
    pub const POWER: u8 = 9;
    /// Calls, fields and indices.
    pub const POSTFIX: u8 = 10;

    pub fn of(operator: BinaryOperator) -> u8 {
        match operator {
            Or => 2,
            And => 3,
            Eq | Ne | Lt | Le | Gt | Ge => COMPARE,
            Add | Sub => 6,
            Mul | Div | FloorDiv | Rem | MatMul => 7,
            Pow => POWER,
        }
    }
}

type Flat<'i> = Peekable<pest::iterators::Pairs<'i, Rule>>;

impl Builder {
    pub fn expr_of(&mut self, children: &mut Children<'_>) -> Expr {
        match children.take(Rule::expr) {
            Some(node) => self.expr(node),
            None => {
                let span = children.next().map_or(Span::default(), |node| self.span(&node));
                Expr { kind: ExprKind::Error, span }
            }
        }
    }

    /// A node of the rule `expr`.
    pub fn expr(&mut self, node: Node<'_>) -> Expr {
        let span = self.span(&node);
        let mut flat = node.into_inner().peekable();
        self.climb(&mut flat, 0, span)
    }

    /// Reads operands and operators that bind at least as tightly as `least`.
    fn climb(&mut self, flat: &mut Flat<'_>, least: u8, around: Span) -> Expr {
        let mut left = self.operand(flat, around);
        let mut compared = false;
        while let Some(node) = flat.peek() {
            if node.as_rule() == Rule::pipe {
                if precedence::PIPE < least {
                    break;
                }
                let stage = Children::of(node.clone()).take(Rule::stage);
                let name = stage.map(|stage| self.name_of(&mut Children::of(stage)));
                flat.next();
                let map = self.climb(flat, precedence::PIPE + 1, around);
                let span = left.span.to(map.span);
                left =
                    Expr { kind: ExprKind::Pipe { value: Box::new(left), name, map: Box::new(map) }, span };
                continue;
            }
            let Some(operator) = binary_operator(node.as_str()) else { break };
            let binds = precedence::of(operator);
            if binds < least {
                break;
            }
            let comparison = binds == precedence::COMPARE;
            let chained = comparison && compared;
            if chained {
                let place = self.span(node);
                let hint = "write `a < b and b < c`";
                self.error(codes::CHAINED, "comparisons don't chain", place, Some(hint));
            }
            compared = comparison;
            flat.next();
            let right_associative = operator == BinaryOperator::Pow;
            let right = self.climb(flat, if right_associative { binds } else { binds + 1 }, around);
            let span = left.span.to(right.span);
            let kind = match chained {
                true => ExprKind::Error,
                false => ExprKind::Binary { operator, left: Box::new(left), right: Box::new(right) },
            };
            left = Expr { kind, span };
        }
        left
    }

    pub fn operand(&mut self, flat: &mut Flat<'_>, around: Span) -> Expr {
        let Some(node) = flat.next() else { return Expr { kind: ExprKind::Error, span: around } };
        let start = self.span(&node);
        if node.as_rule() == Rule::prefix {
            let (operator, least) = match node.as_str() {
                "-" => (UnaryOperator::Neg, precedence::NEGATE),
                _ => (UnaryOperator::Not, precedence::NOT),
            };
            let operand = self.climb(flat, least, around);
            let span = start.to(operand.span);
            return Expr { kind: ExprKind::Unary { operator, operand: Box::new(operand) }, span };
        }
        let mut base = self.primary(node);
        while let Some(node) = flat.next_if(|n| matches!(n.as_rule(), Rule::call | Rule::index | Rule::field))
        {
            base = self.postfix(base, node);
        }
        base
    }

    fn postfix(&mut self, base: Expr, node: Node<'_>) -> Expr {
        let span = base.span.to(self.span(&node));
        let kind = match node.as_rule() {
            Rule::call => {
                let arguments = self.each(node, Rule::argument, Self::argument);
                ExprKind::Call { callee: Box::new(base), arguments }
            }
            Rule::index => {
                let indices = self.each(node, Rule::subscript, Self::subscript);
                ExprKind::Index { base: Box::new(base), indices }
            }
            _ => ExprKind::Field { base: Box::new(base), field: self.name_of(&mut Children::of(node)) },
        };
        Expr { kind, span }
    }

    pub fn argument(&mut self, node: Node<'_>) -> Argument {
        let mut children = Children::of(node);
        let name = children.take(Rule::label).map(|label| self.name_of(&mut Children::of(label)));
        Argument { name, value: self.expr_of(&mut children) }
    }

    fn subscript(&mut self, node: Node<'_>) -> Index {
        let span = self.span(&node);
        let mut children = Children::of(node);
        if children.take(Rule::rest).is_some() {
            return Index::Rest(span);
        }
        let start = children.take(Rule::expr).map(|start| self.expr(start));
        let Some(range) = children.take(Rule::range) else {
            return Index::At(start.unwrap_or(Expr { kind: ExprKind::Error, span }));
        };
        let mut colons = 0;
        let (mut end, mut step) = (None, None);
        for child in range.into_inner() {
            match child.as_rule() {
                Rule::colon => colons += 1,
                Rule::expr if colons == 1 => end = Some(self.expr(child)),
                Rule::expr => step = Some(self.expr(child)),
                _ => {}
            }
        }
        Index::Range { start, end, step, span }
    }

    fn primary(&mut self, node: Node<'_>) -> Expr {
        let span = self.span(&node);
        let kind = match node.as_rule() {
            Rule::name => ExprKind::Name(node.as_str().to_owned()),
            Rule::number if node.as_str().contains(['.', 'e', 'E']) => {
                ExprKind::Float(node.as_str().to_owned())
            }
            Rule::number => ExprKind::Int(node.as_str().to_owned()),
            Rule::truth => ExprKind::Bool(node.as_str() == "true"),
            Rule::nothing => ExprKind::None,
            Rule::text => ExprKind::Text(self.text(node).value),
            Rule::paren => self.paren(node),
            Rule::list => ExprKind::List(self.exprs(node)),
            Rule::block => self.braces(node),
            Rule::map => {
                let entries = self.each(node, Rule::entry, |builder, entry| {
                    let mut exprs = entry.into_inner().filter(|child| child.as_rule() == Rule::expr);
                    exprs
                        .next()
                        .zip(exprs.next())
                        .map(|(key, value)| (builder.expr(key), builder.expr(value)))
                });
                ExprKind::Map(entries.into_iter().flatten().collect())
            }
            Rule::lambda => {
                let mut children = Children::of(node);
                let params = children
                    .next()
                    .filter(|n| n.as_rule() == Rule::kw_fn)
                    .and_then(|_| children.take(Rule::params));
                let params = params.map(|params| self.params(params)).unwrap_or_default();
                ExprKind::Lambda { params, body: self.block_of(&mut children) }
            }
            Rule::fresh => self.fresh(node),
            Rule::conditional => self.if_expr(node),
            Rule::scan => self.scan(node),
            _ => ExprKind::Error,
        };
        Expr { kind, span }
    }

    /// `()`, `(a)`, `(a,)`, `(a, b)`
    fn paren(&mut self, node: Node<'_>) -> ExprKind {
        let comma = node.clone().into_inner().any(|child| child.as_rule() == Rule::comma);
        let exprs = self.exprs(node);
        match <[Expr; 1]>::try_from(exprs) {
            Ok([expr]) if !comma => expr.kind,
            Ok([expr]) => ExprKind::Tuple(vec![expr]),
            Err(exprs) => ExprKind::Tuple(exprs),
        }
    }

    /// `{ a = 1, b }` is a record: names or `name = value`, with commas; `{ a = 1 }` too. All else is a block.
    pub fn braces(&mut self, node: Node<'_>) -> ExprKind {
        let mut commas = 0;
        let mut statements = 0;
        let mut entries_only = true;
        let mut assigned = false;
        // The place of an entry that follows another without a comma between.
        let mut apart = None;
        let mut after_comma = true;
        for child in node.clone().into_inner() {
            match child.as_rule() {
                Rule::comma => {
                    commas += 1;
                    entries_only &= !after_comma;
                    after_comma = true;
                }
                Rule::semicolon => entries_only = false,
                Rule::statement => {
                    statements += 1;
                    if !after_comma {
                        apart = apart.or(Some(self.span(&child)));
                    }
                    after_comma = false;
                    match Children::of(child).next() {
                        Some(inner) if inner.as_rule() == Rule::assign => assigned = true,
                        Some(inner) if is_bare_name(&inner) => {}
                        _ => entries_only = false,
                    }
                }
                _ => {}
            }
        }
        let record = entries_only && (commas > 0 || statements == 1 && assigned);
        if !record {
            return ExprKind::Block(self.block(node));
        }
        if let Some(place) = apart {
            self.error(codes::EXPECTED, "expected `,` between two entries of a record", place, None);
        }
        let mut entries = Vec::new();
        for statement in node.into_inner().filter(|child| child.as_rule() == Rule::statement) {
            entries.push(match self.statement(statement) {
                Statement { kind: StatementKind::Assign { target, value }, .. } => (target, value),
                Statement {
                    kind: StatementKind::Expr(Expr { kind: ExprKind::Name(text), span }), ..
                } => (Name { text: text.clone(), span }, Expr { kind: ExprKind::Name(text), span }),
                Statement { span, .. } => {
                    (Name { text: String::new(), span }, Expr { kind: ExprKind::Error, span })
                }
            });
        }
        ExprKind::Record(entries)
    }

    fn fresh(&mut self, node: Node<'_>) -> ExprKind {
        let mut children = Children::of(node);
        let Some(first) = children.next() else { return ExprKind::Error };
        let mut layer = self.primary(first);
        while let Some(field) = children.take(Rule::field) {
            layer = self.postfix(layer, field);
        }
        ExprKind::Fresh(Box::new(layer))
    }

    pub fn if_expr(&mut self, node: Node<'_>) -> ExprKind {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let condition = Box::new(self.expr_of(&mut children));
        let then = self.block_of(&mut children);
        let otherwise = match children.peek().map(|child| child.as_rule()) {
            Some(Rule::block) => self.block_of(&mut children),
            Some(Rule::conditional) => {
                let inner = children.next();
                let span = inner.as_ref().map_or(span, |inner| self.span(inner));
                let kind = inner.map_or(ExprKind::Error, |inner| self.if_expr(inner));
                let kind = StatementKind::Expr(Expr { kind, span });
                Block { statements: vec![Statement { kind, span }], span }
            }
            _ => {
                let hint = "without `else` there is no value when the condition is false";
                self.error(
                    codes::MISSING_ELSE,
                    "an `if` whose value is used needs an `else`",
                    span,
                    Some(hint),
                );
                Block { statements: Vec::new(), span }
            }
        };
        ExprKind::If { condition, then, otherwise }
    }

    pub fn scan(&mut self, node: Node<'_>) -> ExprKind {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let mut scan = Scan {
            elements: Vec::new(),
            sources: Vec::new(),
            over: Name { text: String::new(), span },
            reversed: false,
            carries: Vec::new(),
            body: Block::default(),
        };
        while let Some(child) = children.next() {
            match child.as_rule() {
                Rule::name if scan.sources.is_empty() => scan.elements.push(self.name(child)),
                Rule::name => scan.over = self.name(child),
                Rule::expr => scan.sources.push(self.expr(child)),
                Rule::kw_reversed => scan.reversed = true,
                Rule::carry => scan.carries.push(self.carry(child)),
                _ => scan.body = self.block(child),
            }
        }
        ExprKind::Scan(Box::new(scan))
    }
}

fn is_bare_name(node: &Node<'_>) -> bool {
    let mut inner = node.clone().into_inner();
    node.as_rule() == Rule::expr
        && inner.next().is_some_and(|first| first.as_rule() == Rule::name)
        && inner.next().is_none()
}

fn binary_operator(text: &str) -> Option<BinaryOperator> {
    use BinaryOperator::*;
    Some(match text {
        "+" => Add,
        "-" => Sub,
        "*" => Mul,
        "/" => Div,
        "//" => FloorDiv,
        "%" => Rem,
        "**" => Pow,
        "@" => MatMul,
        "==" => Eq,
        "!=" => Ne,
        "<" => Lt,
        "<=" => Le,
        ">" => Gt,
        ">=" => Ge,
        "and" => And,
        "or" => Or,
        _ => return None,
    })
}
