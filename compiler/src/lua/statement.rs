//! Statements, as in `lparser.c`.

use super::expression::{Expression, Form};
use super::function::SelfParam;
use super::mistake::Mistake;
use super::parser::Parser;
use super::scope::{Attribute, BlockKind, LabelPlace};
use super::token::{Kind, shortened};
use super::value::Value;

impl<'s> Parser<'s> {
    /// Statements up to the end of the block.
    pub(super) fn block_body(&mut self) -> Result<(), Mistake> {
        while !self.block_ends() {
            if self.is("return") {
                // It is the last one.
                return self.return_statement();
            }
            self.statement()?;
        }
        Ok(())
    }

    /// Whether what is there ends a block.
    fn block_ends(&self) -> bool {
        self.token.kind == Kind::End || ["else", "elseif", "end", "until"].iter().any(|word| self.is(word))
    }

    /// A block of its own.
    fn block(&mut self) -> Result<(), Mistake> {
        self.scope.open_block(BlockKind::Plain);
        self.block_body()?;
        self.scope.close_block()
    }

    fn statement(&mut self) -> Result<(), Mistake> {
        self.enter()?;
        let start = self.token.start;
        match self.token.kind {
            Kind::Fixed(";") => self.advance()?,
            Kind::Fixed("if") => self.if_statement(start)?,
            Kind::Fixed("while") => {
                self.advance()?;
                self.expression()?;
                self.scope.open_block(BlockKind::Loop);
                self.expect("do")?;
                self.block()?;
                self.close("end", "while", start)?;
                self.scope.close_block()?;
            }
            Kind::Fixed("do") => {
                self.advance()?;
                self.block()?;
                self.close("end", "do", start)?;
            }
            Kind::Fixed("for") => self.for_statement(start)?,
            Kind::Fixed("repeat") => {
                self.scope.open_block(BlockKind::Loop);
                self.scope.open_block(BlockKind::Plain);
                self.advance()?;
                self.block_body()?;
                self.close("until", "repeat", start)?;
                // Sees the variables of the block.
                self.expression()?;
                self.scope.close_block()?;
                self.scope.close_block()?;
            }
            Kind::Fixed("function") => self.function_statement(start)?,
            Kind::Fixed("local") => {
                self.advance()?;
                match self.is("function") {
                    true => self.local_function()?,
                    false => self.local_statement()?,
                }
            }
            Kind::Fixed("::") => self.label_statement()?,
            Kind::Fixed("break") => {
                self.scope.goto("break", start)?;
                self.advance()?;
            }
            Kind::Fixed("goto") => {
                self.advance()?;
                let name = self.name()?;
                self.scope.goto(name, start)?;
            }
            // Two names in a row are nothing that Lua knows.
            Kind::Name("type") => match self.peek_is_name(0) {
                true => self.type_declaration()?,
                false => self.expression_statement()?,
            },
            Kind::Name("export") => match self.exported_type_follows() {
                true => {
                    self.erase()?;
                    self.type_declaration()?;
                }
                false => self.expression_statement()?,
            },
            _ => self.expression_statement()?,
        }
        self.leave(1);
        Ok(())
    }

    fn peek_is_name(&mut self, distance: usize) -> bool {
        self.peek(distance).is_some_and(|token| matches!(token.kind, Kind::Name(_)))
    }

    fn exported_type_follows(&mut self) -> bool {
        self.peek(0).is_some_and(|token| token.kind == Kind::Name("type")) && self.peek_is_name(1)
    }

    fn if_statement(&mut self, start: usize) -> Result<(), Mistake> {
        loop {
            // `if` or `elseif`
            self.advance()?;
            self.expression()?;
            self.expect("then")?;
            self.block()?;
            if !self.is("elseif") {
                break;
            }
        }
        if self.take("else")? {
            self.block()?;
        }
        self.close("end", "if", start)
    }

    fn for_statement(&mut self, start: usize) -> Result<(), Mistake> {
        self.scope.open_block(BlockKind::Loop);
        self.advance()?;
        let mut names = vec![self.loop_variable()?];
        let taken = self.scope.taken();
        // Lua keeps the state of a loop in variables of its own.
        let states = if self.take("=")? {
            self.expression()?;
            self.expect(",")?;
            self.scope.take(1, self.token.start)?;
            self.expression()?;
            if self.take(",")? {
                self.scope.take(1, self.token.start)?;
                self.expression()?;
            }
            3
        } else {
            while self.take(",")? {
                names.push(self.loop_variable()?);
            }
            if !self.take("in")? {
                return Err(self.expected(if names.len() == 1 { "`=` or `in`" } else { "`in`" }));
            }
            self.expressions()?;
            4
        };
        self.scope.give_back(taken);
        for _ in 0..states {
            self.scope.declare("(for state)", start)?;
        }
        self.scope.activate();
        self.expect("do")?;
        self.scope.open_block(BlockKind::Plain);
        for (name, at) in names {
            self.scope.declare(name, at)?;
        }
        self.scope.activate();
        self.block()?;
        self.scope.close_block()?;
        self.close("end", "for", start)?;
        self.scope.close_block()
    }

    fn loop_variable(&mut self) -> Result<(&'s str, usize), Mistake> {
        let at = self.token.start;
        let name = self.name()?;
        self.annotation()?;
        Ok((name, at))
    }

    fn function_statement(&mut self, start: usize) -> Result<(), Mistake> {
        self.advance()?;
        let at = self.token.start;
        let name = self.name()?;
        let mut target = self.variable(name, at)?;
        let mut own = SelfParam::None;
        while own == SelfParam::None && (self.is(".") || self.is(":")) {
            if self.is(":") {
                own = SelfParam::Implicit;
            }
            self.advance()?;
            let name = self.name()?;
            target = self.field(&target, name);
        }
        if matches!(target.form, Form::Global(_)) {
            // It is no read.
            self.globals.pop();
        }
        let function = self.function_body(start, own)?;
        let value = match own {
            SelfParam::None => Value::Function(function),
            // It is called with the table, which callers from outside don't have.
            SelfParam::Implicit => Value::Unknown,
        };
        self.assign(&target, value)
    }

    fn local_function(&mut self) -> Result<(), Mistake> {
        let start = self.token.start;
        self.advance()?;
        let at = self.token.start;
        let name = self.name()?;
        let index = self.scope.declare(name, at)?;
        self.scope.activate();
        let function = self.function_body(start, SelfParam::None)?;
        self.scope.define(index, Attribute::Regular, Value::Function(function));
        Ok(())
    }

    fn local_statement(&mut self) -> Result<(), Mistake> {
        let mut declared = Vec::new();
        let mut has_close = false;
        loop {
            let at = self.token.start;
            let name = self.name()?;
            let index = self.scope.declare(name, at)?;
            let mut attribute = self.attribute(&mut has_close)?;
            if let Some(ty) = self.annotation()? {
                self.scope.annotate(index, Some(ty));
                if attribute == Attribute::Regular {
                    attribute = self.attribute(&mut has_close)?;
                }
            }
            declared.push((index, attribute));
            if !self.take(",")? {
                break;
            }
        }
        let values = if self.take("=")? { self.expressions()? } else { Vec::new() };
        let is_complete = values.len() == declared.len();
        let mut values = values.into_iter();
        let last = declared.len() - 1;
        for (number, (index, attribute)) in declared.into_iter().enumerate() {
            let value = values.next();
            let is_literal = value.as_ref().is_some_and(|value| value.form == Form::Constant);
            let attribute = match attribute {
                Attribute::Fixed if number == last && is_complete && is_literal && !has_close => {
                    Attribute::Literal
                }
                attribute => attribute,
            };
            self.scope.define(index, attribute, value.map(|value| value.value).unwrap_or_default());
        }
        self.scope.activate();
        Ok(())
    }

    /// `<const>` or `<close>`, if it is there.
    fn attribute(&mut self, has_close: &mut bool) -> Result<Attribute, Mistake> {
        if !self.take("<")? {
            return Ok(Attribute::Regular);
        }
        let at = self.token.start;
        let name = self.name()?;
        self.expect(">")?;
        match name {
            "const" => {}
            "close" if *has_close => {
                let message = "a second variable with `<close>` in one declaration";
                return Err(Mistake::syntax(at, message).help("give it a declaration of its own"));
            }
            "close" => *has_close = true,
            _ => {
                let message =
                    format!("found the attribute `{}`, expected `const` or `close`", shortened(name));
                return Err(Mistake::syntax(at, message));
            }
        }
        Ok(Attribute::Fixed)
    }

    fn label_statement(&mut self) -> Result<(), Mistake> {
        let at = self.token.start;
        self.advance()?;
        let name = self.name()?;
        self.expect("::")?;
        while self.is(";") || self.is("::") {
            self.statement()?;
        }
        // The condition of `until` sees the variables of its block.
        let is_last = self.block_ends() && !self.is("until");
        self.scope.label(name, at, if is_last { LabelPlace::EndOfBlock } else { LabelPlace::Within })
    }

    fn return_statement(&mut self) -> Result<(), Mistake> {
        self.enter()?;
        self.advance()?;
        let values = if self.block_ends() || self.is(";") { Vec::new() } else { self.expressions()? };
        self.take(";")?;
        self.leave(1);
        if !self.block_ends() {
            return Err(self.expected("the end of the block, as `return` is its last statement"));
        }
        if self.token.kind == Kind::End {
            self.chunk.returned = values.into_iter().next().map(|value| value.value).unwrap_or_default();
        }
        Ok(())
    }

    /// An assignment or a call.
    fn expression_statement(&mut self) -> Result<(), Mistake> {
        let start = self.token.start;
        let first = self.suffixed()?;
        if !self.is("=") && !self.is(",") {
            return match first.form {
                Form::Call => Ok(()),
                _ => Err(self.no_statement(start)),
            };
        }
        let mut targets = vec![self.target(first)?];
        while self.take(",")? {
            let next = self.suffixed()?;
            targets.push(self.target(next)?);
            self.enter()?;
        }
        self.leave(targets.len() - 1);
        self.expect("=")?;
        let values = self.expressions()?;
        let is_single = targets.len() == 1 && values.len() == 1;
        let mut values = values.into_iter();
        for target in &targets {
            let value = values.next().filter(|_| is_single).map(|value| value.value);
            self.assign(target, value.unwrap_or_default())?;
        }
        Ok(())
    }

    /// The fault that the expression that began at the byte `start` stands alone.
    fn no_statement(&mut self, start: usize) -> Mistake {
        let message = "an expression alone is no statement, expected a call or an assignment";
        let mistake = Mistake::syntax(start, message);
        match self.operator().is_some() && self.peek_is(0, "=") {
            true => mistake.help("Lua has no `+=`: write the variable on both sides of `=`"),
            false => mistake,
        }
    }

    /// Checks that `read` can be assigned to.
    fn target(&mut self, read: Expression<'s>) -> Result<Expression<'s>, Mistake> {
        match read.form {
            Form::Local(index) => self.scope.assign(index, read.at)?,
            Form::Global(_) => {
                // It is no read.
                self.globals.pop();
            }
            Form::Indexed(_) => {}
            _ => return Err(self.expected("an expression that is no call, as it is assigned to")),
        }
        Ok(read)
    }

    /// Notes an assignment.
    fn assign(&mut self, target: &Expression<'s>, value: Value) -> Result<(), Mistake> {
        match target.form {
            Form::Local(index) => self.scope.assign(index, target.at)?,
            Form::Global(name) => {
                self.assigned.insert(name);
            }
            Form::Indexed(Some((table, name))) => {
                if let Some(fields) = self.chunk.tables.get_mut(table) {
                    fields.insert(name.to_owned(), value);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
