//! Fields, constructors and calls; what they say of `require`, of modules and of tables.

use std::collections::BTreeMap;

use super::chunk::{Arguments, Call, Required};
use super::expression::{Expression, Form};
use super::mistake::Mistake;
use super::parser::Parser;
use super::token::Kind;
use super::validators::Used;
use super::value::Value;

/// Items of a constructor that Lua keeps in registers before it stores them.
const ITEMS_AT_ONCE: usize = 50;
/// Names that the type system calls to validate, and that nothing else makes callable.
const VALIDATORS: &[&str] = &["boolean", "integer", "number", "string", "typeof"];

/// Arguments of a call.
struct Passed {
    values: Vec<(Value, usize)>,
    /// Whether the last one may be several.
    is_open: bool,
}

impl<'s> Parser<'s> {
    /// Several expressions: for the first ones what is known of them, and whether the last may be several
    /// values.
    pub(super) fn expressions(&mut self) -> Result<Vec<Expression<'s>>, Mistake> {
        let taken = self.scope.taken();
        let mut all = vec![self.expression()?];
        while self.take(",")? {
            self.scope.take(1, self.token.start)?;
            all.push(self.expression()?);
        }
        self.scope.give_back(taken);
        Ok(all)
    }

    /// The field `name` of what was read.
    pub(super) fn field(&mut self, read: &Expression<'s>, name: &'s str) -> Expression<'s> {
        let (form, value) = match &read.value {
            Value::Table(table) => {
                let value = self.chunk.tables.get(*table).and_then(|fields| fields.get(name)).cloned();
                (Form::Indexed(Some((*table, name))), value.unwrap_or_default())
            }
            _ => (Form::Indexed(None), Value::Unknown),
        };
        // The function is known when it is called.
        let value = match &read.value {
            Value::Module(module) => Value::Member(module.clone(), name.to_owned()),
            _ => value,
        };
        Expression { form, value, at: read.at }
    }

    /// `[key]`
    pub(super) fn element(&mut self, read: &Expression<'s>) -> Result<Expression<'s>, Mistake> {
        let (start, taken) = (self.token.start, self.scope.taken());
        self.scope.take(usize::from(!matches!(read.form, Form::Local(_))), start)?;
        self.advance()?;
        self.expression()?;
        self.close("]", "[", start)?;
        self.scope.give_back(taken);
        Ok(Expression { form: Form::Indexed(None), value: Value::Unknown, at: read.at })
    }

    /// `{…}`
    pub(super) fn constructor(&mut self) -> Result<Expression<'s>, Mistake> {
        let (start, taken) = (self.token.start, self.scope.taken());
        self.advance()?;
        self.scope.take(1, start)?;
        let mut fields = BTreeMap::new();
        let mut items = 0;
        while !self.is("}") {
            if let Kind::Name(name) = self.token.kind
                && self.peek_is(0, "=")
            {
                self.advance()?;
                self.advance()?;
                let value = self.expression()?.value;
                if value != Value::Unknown {
                    fields.insert(name.to_owned(), value);
                }
            } else if self.is("[") {
                let bracket = self.token.start;
                self.advance()?;
                self.expression()?;
                self.close("]", "[", bracket)?;
                self.expect("=")?;
                self.expression()?;
            } else {
                self.expression()?;
                items += 1;
                self.scope.give_back(taken + 1);
                self.scope.take(items % ITEMS_AT_ONCE, self.token.start)?;
            }
            if !self.take(",")? && !self.take(";")? {
                break;
            }
        }
        self.close("}", "{", start)?;
        self.scope.give_back(taken);
        self.chunk.tables.push(fields);
        let value = Value::Table(self.chunk.tables.len() - 1);
        Ok(Expression { form: Form::Other, value, at: start })
    }

    /// A call of what was read, or of its method.
    pub(super) fn call(
        &mut self,
        read: &Expression<'s>,
        method: Option<&'s str>,
    ) -> Result<Expression<'s>, Mistake> {
        if let (Form::Global(name), None) = (&read.form, method)
            && VALIDATORS.contains(name)
        {
            let used = match *name {
                "typeof" => self.type_of_argument(),
                name => Used::Named(name.to_owned()),
            };
            self.validated.push((name, read.at, used));
        }
        let taken = self.scope.taken();
        self.scope.take(1 + usize::from(method.is_some()), self.token.start)?;
        let passed = self.arguments()?;
        self.scope.give_back(taken);
        let value = self.called(&read.value, method, passed);
        Ok(Expression { form: Form::Call, value, at: read.at })
    }

    /// The type that `typeof` of what follows is: `(variable)`, or something whose type is seen when it runs.
    fn type_of_argument(&mut self) -> Used {
        if !self.is("(") || !self.peek_is(1, ")") {
            return Used::Unknown;
        }
        let name = match self.peek(0).map(|token| &token.kind) {
            Some(Kind::Name(name)) => *name,
            _ => return Used::Unknown,
        };
        self.scope.ty(name).map_or(Used::Unknown, |ty| Used::Of(ty.clone()))
    }

    fn arguments(&mut self) -> Result<Passed, Mistake> {
        let start = self.token.start;
        match &self.token.kind {
            Kind::Text(text) => {
                let value = Value::text(text.clone());
                self.advance()?;
                Ok(Passed { values: vec![(value, start)], is_open: false })
            }
            Kind::Fixed("{") => {
                let table = self.constructor()?;
                Ok(Passed { values: vec![(table.value, start)], is_open: false })
            }
            _ => {
                self.expect("(")?;
                if self.take(")")? {
                    return Ok(Passed { values: Vec::new(), is_open: false });
                }
                let all = self.expressions()?;
                self.close(")", "(", start)?;
                let is_open = all.last().is_some_and(|last| matches!(last.form, Form::Call | Form::Vararg));
                Ok(Passed { values: all.into_iter().map(|one| (one.value, one.at)).collect(), is_open })
            }
        }
    }

    /// What a call gives, and notes of calls that are looked at later.
    fn called(&mut self, callee: &Value, method: Option<&str>, passed: Passed) -> Value {
        let mut values = passed.values.into_iter();
        let first = values.next();
        // An open last argument may be none at all.
        let following = match passed.is_open {
            true => Arguments::AtLeast(values.len().saturating_sub(1)),
            false => Arguments::Exactly(values.len()),
        };
        match (callee, method, &first) {
            (Value::Require, None, Some((Value::Text(name), at))) => {
                self.chunk.requires.push(Required { name: name.clone(), at: *at });
                Value::Module(name.clone())
            }
            (Value::Member(module, function), None, _) if function == "new" => {
                Value::Executor(module.clone())
            }
            (Value::Executor(module), Some(method), _) if method.starts_with("with_") => {
                Value::Executor(module.clone())
            }
            (Value::Member(module, function), None, Some((Value::Text(target), at))) => {
                self.note_call(module, function, (target, *at), following);
                Value::Unknown
            }
            (Value::Executor(module), Some(method), Some((Value::Text(target), at))) => {
                self.note_call(module, method, (target, *at), following);
                Value::Unknown
            }
            _ => Value::Unknown,
        }
    }

    fn note_call(&mut self, module: &str, function: &str, target: (&str, usize), arguments: Arguments) {
        self.chunk.calls.push(Call {
            module: module.to_owned(),
            function: function.to_owned(),
            target: target.0.to_owned(),
            at: target.1,
            arguments,
        });
    }
}
