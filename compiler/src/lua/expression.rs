//! Expressions, as in `lparser.c`: what they are for assignments, and what is known of their values.

use super::function::SelfParam;
use super::mistake::Mistake;
use super::parser::Parser;
use super::scope::Meaning;
use super::token::Kind;
use super::value::Value;

/// Priority of operators with one operand.
const UNARY: u8 = 12;

/// What an expression is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form<'s> {
    /// A local variable.
    Local(usize),
    /// A global variable.
    Global(&'s str),
    /// A field or element; of the table that is known, if one is, with the name of the field.
    Indexed(Option<(usize, &'s str)>),
    /// A call.
    Call,
    /// `...`
    Vararg,
    /// A literal.
    Constant,
    /// Anything else.
    Other,
}

/// An expression that was read.
#[derive(Debug)]
pub(super) struct Expression<'s> {
    pub(super) form: Form<'s>,
    pub(super) value: Value,
    /// Its first byte.
    pub(super) at: usize,
}

impl<'s> Parser<'s> {
    /// Any expression.
    pub(super) fn expression(&mut self) -> Result<Expression<'s>, Mistake> {
        self.operation(0)
    }

    /// Operators with a priority above `limit` and their operands.
    fn operation(&mut self, limit: u8) -> Result<Expression<'s>, Mistake> {
        self.enter()?;
        let at = self.token.start;
        let mut left = if ["not", "-", "~", "#"].iter().any(|operator| self.is(operator)) {
            self.advance()?;
            self.operation(UNARY)?;
            Expression { form: Form::Other, value: Value::Unknown, at }
        } else {
            self.simple()?
        };
        while let Some((_, right)) = self.operator().filter(|(left, _)| *left > limit) {
            let taken = self.scope.taken();
            let is_held =
                !(self.is("and") || self.is("or") || matches!(left.form, Form::Local(_) | Form::Constant));
            self.scope.take(usize::from(is_held), at)?;
            self.advance()?;
            self.operation(right)?;
            self.scope.give_back(taken);
            left = Expression { form: Form::Other, value: Value::Unknown, at };
        }
        self.leave(1);
        Ok(left)
    }

    /// Priorities of the operator with two operands that is there: to its left and to its right.
    pub(super) fn operator(&self) -> Option<(u8, u8)> {
        let Kind::Fixed(operator) = self.token.kind else { return None };
        Some(match operator {
            "or" => (1, 1),
            "and" => (2, 2),
            "<" | ">" | "<=" | ">=" | "~=" | "==" => (3, 3),
            "|" => (4, 4),
            "~" => (5, 5),
            "&" => (6, 6),
            "<<" | ">>" => (7, 7),
            ".." => (9, 8),
            "+" | "-" => (10, 10),
            "*" | "/" | "//" | "%" => (11, 11),
            "^" => (14, 13),
            _ => return None,
        })
    }

    /// An operand with its casts.
    fn simple(&mut self) -> Result<Expression<'s>, Mistake> {
        let at = self.token.start;
        let constant = |value| Ok(Expression { form: Form::Constant, value, at });
        let read: Result<_, Mistake> = match &self.token.kind {
            Kind::Number | Kind::Fixed("nil" | "true" | "false") => {
                self.advance()?;
                constant(Value::Unknown)
            }
            Kind::Text(text) => {
                let value = Value::text(text.clone());
                self.advance()?;
                constant(value)
            }
            Kind::Fixed("...") => {
                if !self.scope.is_vararg() {
                    let message = "`...` outside of a function that takes it";
                    return Err(Mistake::syntax(at, message).help("add `...` to the parameters"));
                }
                self.advance()?;
                Ok(Expression { form: Form::Vararg, value: Value::Unknown, at })
            }
            Kind::Fixed("{") => self.constructor(),
            Kind::Fixed("function") => {
                self.advance()?;
                let function = self.function_body(at, SelfParam::None)?;
                Ok(Expression { form: Form::Other, value: Value::Function(function), at })
            }
            _ => self.suffixed(),
        };
        let mut read = read?;
        if self.casts()? {
            read.form = Form::Other;
        }
        Ok(read)
    }

    /// A variable, field, call or expression in parentheses.
    pub(super) fn suffixed(&mut self) -> Result<Expression<'s>, Mistake> {
        let mut read = self.primary_expression()?;
        loop {
            let Kind::Fixed(fixed) = self.token.kind else {
                match self.token.kind {
                    Kind::Text(_) => read = self.call(&read, None)?,
                    _ => return Ok(read),
                }
                continue;
            };
            read = match fixed {
                "." => {
                    self.advance()?;
                    let name = self.name()?;
                    self.field(&read, name)
                }
                "[" => self.element(&read)?,
                ":" => {
                    self.advance()?;
                    let method = self.name()?;
                    if !(self.is("(") || self.is("{") || matches!(self.token.kind, Kind::Text(_))) {
                        return Err(self.expected("the arguments of the method"));
                    }
                    self.call(&read, Some(method))?
                }
                "(" | "{" => self.call(&read, None)?,
                // The assertion that a value is not nil.
                "!" => {
                    let end = self.token.end;
                    if self.peek(0).is_some_and(|next| next.is("=") && next.start == end) {
                        return Err(self.expected("an operator"));
                    }
                    self.erase()?;
                    Expression { form: Form::Other, ..read }
                }
                _ => return Ok(read),
            };
        }
    }

    fn primary_expression(&mut self) -> Result<Expression<'s>, Mistake> {
        let at = self.token.start;
        match self.token.kind {
            Kind::Name(name) => {
                self.advance()?;
                self.variable(name, at)
            }
            Kind::Fixed("(") => {
                self.advance()?;
                let inner = self.expression()?;
                self.close(")", "(", at)?;
                Ok(Expression { form: Form::Other, value: inner.value, at })
            }
            _ => Err(self.expected("an expression")),
        }
    }

    /// The variable `name`, which stands at the byte `at`.
    pub(super) fn variable(&mut self, name: &'s str, at: usize) -> Result<Expression<'s>, Mistake> {
        Ok(match self.scope.find(name, at)? {
            Meaning::Local(index) => {
                Expression { form: Form::Local(index), value: self.scope.value(index).clone(), at }
            }
            Meaning::Global => {
                let value = if name == "require" { Value::Require } else { Value::Unknown };
                self.globals.push((name, at));
                Expression { form: Form::Global(name), value, at }
            }
        })
    }
}
