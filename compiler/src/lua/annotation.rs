//! Type annotations (`en/lua/types.md`): read for what they say, and blanked out.
//!
//! Annotations stand where Lua allows nothing: behind `:` in declarations, in `<…>` behind names of
//! functions, in `type` statements, behind `::` and `as`. Where a source is valid without them it keeps
//! that meaning: `::name::` is a label, and `as` at the beginning of a line may be a variable.

use super::mistake::Mistake;
use super::parser::Parser;
use super::token::{Kind, shortened};
use super::types::{Check, Field, FunctionType, Generic, Table, Type, any};
use super::validators::Unusable;
use super::value::Value;
use crate::diagnostic::Code;

/// Names that take no arguments: behind them `<` compares.
const SIMPLE: &[&str] =
    &["any", "boolean", "error", "integer", "never", "number", "string", "thread", "unknown"];

/// The fault that a type can't be used as a value.
pub(super) fn as_value(problem: &Unusable, at: usize) -> Mistake {
    let message = match problem {
        Unusable::Name(name) => {
            format!("a type that is used as a value needs the type `{}`, which is not known", shortened(name))
        }
        Unusable::TooBig => "a type that is used as a value has too many parts".to_owned(),
        Unusable::Lines => "a type that is used as a value has a text of several lines".to_owned(),
    };
    let help = "check the value yourself, or cast it without a check: `value as T`".to_owned();
    Mistake { code: Code::LuaTypeAsValue, at, message, help: Some(help) }
}

impl<'s> Parser<'s> {
    /// `: T`, if it is there.
    pub(super) fn annotation(&mut self) -> Result<Option<Type>, Mistake> {
        if !self.is(":") {
            return Ok(None);
        }
        self.erase()?;
        self.ty().map(Some)
    }

    /// `type` and what follows, the token being `type`.
    pub(super) fn type_declaration(&mut self) -> Result<(), Mistake> {
        self.erase_as_separator()?;
        let name = self.erase_name()?.to_owned();
        let generics = self.generics()?;
        self.erase_fixed("=")?;
        let body = self.ty()?;
        self.chunk.types.push(super::chunk::TypeDeclaration { name, generics, body });
        Ok(())
    }

    /// `<T, U: Bound>`, if it is there.
    pub(super) fn generics(&mut self) -> Result<Vec<Generic>, Mistake> {
        let mut generics = Vec::new();
        if !self.is("<") {
            return Ok(generics);
        }
        loop {
            // `<` or `,`
            self.erase()?;
            let name = self.erase_name()?.to_owned();
            let bound = self.annotation()?;
            generics.push(Generic { name, bound });
            if !self.is(",") {
                break;
            }
        }
        self.erase_closing_angle()?;
        Ok(generics)
    }

    /// What a function returns: one type, or several in parentheses.
    pub(super) fn returns(&mut self) -> Result<Vec<Type>, Mistake> {
        if !self.is("(") {
            return self.ty().map(|ty| vec![ty]);
        }
        let (start, list) = (self.token.start, self.parenthesized()?);
        if self.is("->") {
            let function = self.function_type(list)?;
            return self.continued(function).map(|ty| vec![ty]);
        }
        match <[_; 1]>::try_from(list.params) {
            Ok([(None, only)]) if list.rest.is_none() => self.continued(only).map(|ty| vec![ty]),
            Ok([(Some(_), _)]) => {
                Err(Mistake::syntax(start, "found names, expected types that are returned"))
            }
            Ok([(None, only)]) => Ok([only].into_iter().chain(list.rest).collect()),
            Err(several) => Ok(several.into_iter().map(|(_, ty)| ty).chain(list.rest).collect()),
        }
    }

    /// Any type.
    pub(super) fn ty(&mut self) -> Result<Type, Mistake> {
        // A list of members may begin with its separator, to stand in lines of its own.
        if self.is("|") || self.is("&") {
            self.erase()?;
        }
        let first = self.primary()?;
        self.continued(first)
    }

    /// What may follow a first member: `?`, validators, `&` and `|` with further members.
    fn continued(&mut self, first: Type) -> Result<Type, Mistake> {
        self.enter()?;
        let mut union = Vec::new();
        let mut intersection = vec![self.postfix(first)?];
        loop {
            if self.is("&") {
                self.erase()?;
            } else {
                union.push(one_or(Type::Intersection, std::mem::take(&mut intersection)));
                if !self.is("|") {
                    break;
                }
                self.erase()?;
            }
            let member = self.primary()?;
            intersection.push(self.postfix(member)?);
        }
        self.leave(1);
        Ok(one_or(Type::Union, union))
    }

    fn postfix(&mut self, mut ty: Type) -> Result<Type, Mistake> {
        loop {
            if self.is("?") {
                self.erase()?;
                if !matches!(ty, Type::Optional(_)) {
                    ty = Type::Optional(Box::new(ty));
                }
            } else if self.is("[") && self.peek_is(0, "]") {
                // `T[]` is `{T}`.
                self.erase()?;
                self.erase()?;
                ty = list_of(ty);
            } else if self.is("@") {
                let check = self.validator()?;
                match &mut ty {
                    Type::Checked(_, checks) => checks.push(check),
                    _ => ty = Type::Checked(Box::new(ty), vec![check]),
                }
            } else {
                return Ok(ty);
            }
        }
    }

    /// `@name` and its arguments, which are literals.
    fn validator(&mut self) -> Result<Check, Mistake> {
        self.erase()?;
        let mut check = Check { name: self.erase_name()?.to_owned(), arguments: Vec::new() };
        // In the next line it begins a statement.
        if !self.is("(") || !self.is_on_same_line() {
            return Ok(check);
        }
        self.erase()?;
        while !self.is(")") {
            if let Type::Literal(written) = self.literal()? {
                check.arguments.push(written);
            }
            if !self.is(",") {
                break;
            }
            self.erase()?;
        }
        self.erase_fixed(")")?;
        Ok(check)
    }

    fn literal(&mut self) -> Result<Type, Mistake> {
        let start = self.token.start;
        if self.is("-") {
            self.erase()?;
            if self.token.kind != Kind::Number {
                return Err(self.expected("a number"));
            }
        }
        let is_literal = matches!(self.token.kind, Kind::Text(_) | Kind::Number)
            || ["true", "false", "nil"].iter().any(|word| self.is(word));
        if !is_literal {
            return Err(self.expected("a literal"));
        }
        self.erase()?;
        Ok(Type::Literal(self.source[start..self.last_end].to_owned()))
    }

    fn primary(&mut self) -> Result<Type, Mistake> {
        self.enter()?;
        let ty = match &self.token.kind {
            Kind::Name("readonly") => self.readonly()?,
            Kind::Name("typeof") => self.type_of()?,
            Kind::Name(_) => self.named()?,
            Kind::Text(_) | Kind::Number => self.literal()?,
            Kind::Fixed("nil" | "true" | "false" | "-") => self.literal()?,
            // The type of all functions.
            Kind::Fixed("function") => {
                self.erase()?;
                Type::Name("function".to_owned(), Vec::new())
            }
            Kind::Fixed("{") => self.table_type()?,
            Kind::Fixed("<") => {
                let generics = self.generics()?;
                let mut list = self.parenthesized()?;
                list.generics = generics;
                self.function_type(list)?
            }
            Kind::Fixed("(") => self.grouped()?,
            _ => return Err(self.expected("a type")),
        };
        self.leave(1);
        Ok(ty)
    }

    /// `readonly T`, or a type of that name.
    fn readonly(&mut self) -> Result<Type, Mistake> {
        let end = self.token.end;
        let next = self.peek(0).filter(|token| matches!(token.kind, Kind::Name(_) | Kind::Fixed("{" | "(")));
        let Some(start) = next.map(|token| token.start) else { return self.named() };
        if self.source[end..start].contains(['\n', '\r']) {
            return self.named();
        }
        self.erase()?;
        self.primary()
    }

    /// `typeof(expression)`, that of a variable if it says one, or a type of that name.
    fn type_of(&mut self) -> Result<Type, Mistake> {
        if !self.peek_is(0, "(") {
            return self.named();
        }
        self.erase()?;
        let open = self.token.start;
        self.erase_fixed("(")?;
        let is_single = self.peek_is(0, ")");
        let known = match self.token.kind {
            Kind::Name(name) if is_single => self.scope.ty(name).cloned(),
            _ => None,
        };
        let mut depth = 1;
        while depth > 0 {
            match self.token.kind {
                Kind::Fixed("(") => depth += 1,
                Kind::Fixed(")") => depth -= 1,
                Kind::End => return self.erase_closing(")", "(", open).map(|()| any()),
                _ => {}
            }
            self.erase()?;
        }
        Ok(known.unwrap_or_else(any))
    }

    fn named(&mut self) -> Result<Type, Mistake> {
        let mut name = self.erase_name()?.to_owned();
        while self.is(".") {
            if let Some(Value::Module(module)) = self.scope.known(&name) {
                self.modules.insert(name.clone(), module.clone());
            }
            self.erase()?;
            name = format!("{name}.{}", self.erase_name()?);
        }
        let mut arguments = Vec::new();
        if self.is("<") && !SIMPLE.contains(&name.as_str()) && !self.attribute_follows() {
            loop {
                // `<` or `,`
                self.erase()?;
                arguments.push(self.ty()?);
                if !self.is(",") {
                    break;
                }
            }
            self.erase_closing_angle()?;
        }
        Ok(Type::Name(name, arguments))
    }

    /// Whether `<` begins the attribute of a local variable, whose type stands before it.
    fn attribute_follows(&mut self) -> bool {
        let is_attribute =
            self.peek(0).is_some_and(|token| matches!(token.kind, Kind::Name("const" | "close")));
        is_attribute && self.peek_is(1, ">")
    }

    /// A type in parentheses, or a function type.
    fn grouped(&mut self) -> Result<Type, Mistake> {
        let list = self.parenthesized()?;
        if self.is("->") {
            return self.function_type(list);
        }
        match <[_; 1]>::try_from(list.params) {
            Ok([(None, only)]) if list.rest.is_none() => Ok(only),
            _ => Err(self.expected("`->` behind the parameters of a function type")),
        }
    }

    /// `(A, name: B, ...C)`.
    fn parenthesized(&mut self) -> Result<FunctionType, Mistake> {
        let start = self.token.start;
        self.erase_fixed("(")?;
        let mut list = FunctionType::default();
        while !self.is(")") {
            if self.is("...") {
                self.erase()?;
                if self.is(":") {
                    self.erase()?;
                }
                list.rest = Some(if self.is(")") { any() } else { self.ty()? });
                break;
            }
            let (name, is_optional) = self.type_label()?;
            let ty = self.ty()?;
            list.params.push((name, if is_optional { Type::Optional(Box::new(ty)) } else { ty }));
            if !self.is(",") {
                break;
            }
            self.erase()?;
        }
        self.erase_closing(")", "(", start)?;
        Ok(list)
    }

    fn function_type(&mut self, mut list: FunctionType) -> Result<Type, Mistake> {
        self.erase_fixed("->")?;
        self.enter()?;
        list.returns = self.returns()?;
        self.leave(1);
        Ok(Type::Function(Box::new(list)))
    }

    /// `name:` or `name?:`, if it is there.
    fn type_label(&mut self) -> Result<(Option<String>, bool), Mistake> {
        let text = match &self.token.kind {
            Kind::Name(name) => *name,
            Kind::Fixed(word) if word.starts_with(|c: char| c.is_ascii_lowercase()) => word,
            _ => return Ok((None, false)),
        };
        let is_optional = self.peek_is(0, "?") && self.peek_is(1, ":");
        if !is_optional && !self.peek_is(0, ":") {
            return Ok((None, false));
        }
        for _ in 0..2 + usize::from(is_optional) {
            self.erase()?;
        }
        Ok((Some(text.to_owned()), is_optional))
    }

    fn table_type(&mut self) -> Result<Type, Mistake> {
        let start = self.token.start;
        self.erase()?;
        let mut table = Table::default();
        while !self.is("}") {
            if self.is("[") {
                self.erase()?;
                let key = self.ty()?;
                self.erase_fixed("]")?;
                self.erase_fixed(":")?;
                table.maps.push((key, self.ty()?));
            } else {
                // `readonly name: T`
                if self.token.kind == Kind::Name("readonly")
                    && self.peek(0).is_some_and(|token| matches!(token.kind, Kind::Name(_)))
                {
                    self.erase()?;
                }
                let (name, is_optional) = self.type_label()?;
                let ty = self.ty()?;
                match name {
                    Some(name) => table.fields.push(Field { name, ty, is_optional }),
                    None => table.elements.push(ty),
                }
            }
            if !self.is(",") && !self.is(";") {
                break;
            }
            self.erase()?;
        }
        self.erase_closing("}", "{", start)?;
        Ok(Type::Table(Box::new(table)))
    }

    /// `:: T` or `as T` behind an expression, if it is there.
    pub(super) fn casts(&mut self) -> Result<bool, Mistake> {
        let mut any = false;
        while self.cast_follows() {
            let start = self.token.start;
            self.erase()?;
            self.ty()?;
            any = true;
            if self.is("(") {
                // Without the type, Lua would call what stands before it.
                self.separate_at(start);
            }
        }
        Ok(any)
    }

    fn cast_follows(&mut self) -> bool {
        if self.is("::") {
            let is_name = |token: Option<&super::token::Token<'s>>| {
                token.is_some_and(|token| matches!(token.kind, Kind::Name(_)))
            };
            let is_label = is_name(self.peek(0)) && self.peek_is(1, "::");
            // `:: T ::label::`
            return !is_label || is_name(self.peek(2)) && self.peek_is(3, "::");
        }
        if self.token.kind != Kind::Name("as") {
            return false;
        }
        let same_line = self.is_on_same_line();
        match self.peek(0).map(|token| &token.kind) {
            Some(Kind::Name(_) | Kind::Number | Kind::Fixed("|" | "&")) => true,
            Some(Kind::Fixed("nil" | "true" | "false" | "function")) => {
                // At the beginning of a line a statement may follow the name of a function.
                same_line || !self.peek_is(0, "function")
            }
            Some(Kind::Text(_) | Kind::Fixed("{" | "(" | "<" | "-")) => same_line,
            _ => false,
        }
    }

    /// Whether no line ends between the last token and this one.
    fn is_on_same_line(&self) -> bool {
        !self.source[self.last_end..self.token.start].contains(['\n', '\r'])
    }

    fn erase_name(&mut self) -> Result<&'s str, Mistake> {
        match self.token.kind {
            Kind::Name(name) => {
                self.erase()?;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    fn erase_fixed(&mut self, fixed: &str) -> Result<(), Mistake> {
        match self.is(fixed) {
            true => self.erase(),
            false => Err(self.expected(format_args!("`{fixed}`"))),
        }
    }

    fn erase_closing(&mut self, fixed: &str, opened: &str, start: usize) -> Result<(), Mistake> {
        if self.is(fixed) {
            return self.erase();
        }
        self.close(fixed, opened, start)
    }

    /// `>`, also as the beginning of a longer symbol.
    fn erase_closing_angle(&mut self) -> Result<(), Mistake> {
        match self.token.kind {
            Kind::Fixed(">>") => self.erase_first(">"),
            Kind::Fixed(">=") => self.erase_first("="),
            _ => return self.erase_fixed(">"),
        }
        Ok(())
    }
}

/// `{T}`
fn list_of(element: Type) -> Type {
    Type::Table(Box::new(Table { elements: vec![element], ..Table::default() }))
}

/// The only one of `types`, or all of them as one type.
fn one_or(several: impl FnOnce(Vec<Type>) -> Type, types: Vec<Type>) -> Type {
    match <[Type; 1]>::try_from(types) {
        Ok([only]) => only,
        Err(types) => several(types),
    }
}
