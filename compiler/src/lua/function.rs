//! Bodies of functions.

use super::chunk::{Function, Param};
use super::mistake::Mistake;
use super::parser::Parser;
use super::token::Kind;
use super::types::{Type, any};

/// Whether a function has a parameter `self` that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelfParam {
    /// It has none.
    None,
    /// It is declared with `:`.
    Implicit,
}

impl Parser<'_> {
    /// Parameters, types and body of the function that began at the byte `start`; gives its index.
    pub(super) fn function_body(&mut self, start: usize, own: SelfParam) -> Result<usize, Mistake> {
        self.scope.open_function();
        let mut function = Function { generics: self.generics()?, ..Function::default() };
        let open = self.token.start;
        self.expect("(")?;
        if own == SelfParam::Implicit {
            self.scope.declare("self", open)?;
        }
        if !self.is(")") {
            loop {
                match self.token.kind {
                    Kind::Fixed("...") => {
                        self.advance()?;
                        self.scope.set_vararg();
                        function.rest = Some(self.annotation()?.unwrap_or_else(any));
                        break;
                    }
                    Kind::Name(_) => function.params.push(self.param()?),
                    _ => return Err(self.expected("a parameter")),
                }
                if !self.take(",")? {
                    break;
                }
            }
        }
        self.close(")", "(", open)?;
        if self.is(":") {
            function.returns = Some(self.returned_types()?);
        }
        self.scope.activate();
        self.block_body()?;
        self.close("end", "function", start)?;
        self.scope.close_function()?;
        self.chunk.functions.push(function);
        Ok(self.chunk.functions.len() - 1)
    }

    /// `: A, B`, the token being `:`. In one line without parentheses, which a function type can't have:
    /// no body begins with a comma.
    fn returned_types(&mut self) -> Result<Vec<Type>, Mistake> {
        self.erase()?;
        let mut returns = self.returns()?;
        while self.is(",") {
            self.erase()?;
            returns.push(self.ty()?);
        }
        Ok(returns)
    }

    fn param(&mut self) -> Result<Param, Mistake> {
        let at = self.token.start;
        let name = self.name()?;
        let index = self.scope.declare(name, at)?;
        let is_optional = self.is("?");
        if is_optional {
            self.erase()?;
        }
        let ty = self.annotation()?.map(|ty| if is_optional { Type::Optional(Box::new(ty)) } else { ty });
        let ty = if is_optional { Some(ty.unwrap_or_else(|| Type::Optional(Box::new(any())))) } else { ty };
        self.scope.annotate(index, ty.clone());
        Ok(Param { name: name.to_owned(), ty })
    }
}
