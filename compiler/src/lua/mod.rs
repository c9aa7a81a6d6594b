//! Lua entries: sources are read, their types are erased, and what they require is resolved.
//!
//! - `lexer.rs`, `token.rs`: text to tokens.
//! - `parser.rs` with `statement.rs`, `function.rs`, `expression.rs`, `call.rs` and `annotation.rs`: the grammar of
//!   Lua 5.4 with types. `scope.rs` knows names, labels and limits, `value.rs` what values are known to be.
//! - `validators.rs`: types that are used as values, as Lua that builds them.
//! - `chunk.rs`, `types.rs`: what comes of a source. `mistake.rs`: what is wrong with it.
//! - `plan.rs`, `imports.rs`: entries to what the manifest says of them. `lint.rs`: what sources say of others.
//!
//! The loader compiles a source as `return function(_ENV, ...) ` + text + a line end and `end`, so the chunk
//! has one local variable of its own from the beginning.

mod annotation;
mod call;
pub(crate) mod chunk;
mod expression;
mod function;
mod imports;
mod lexer;
mod lint;
mod mistake;
mod parser;
mod plan;
mod scope;
mod statement;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod types;
mod validators;
pub(crate) mod value;

pub(crate) use plan::{LuaPlan, plan};
pub(crate) use token::KEYWORDS;

/// The string that the literal `written` stands for, if it is one.
pub(crate) fn unquoted(written: &str) -> Option<String> {
    match lexer::Lexer::new(written).next_token().ok()?.kind {
        token::Kind::Text(text) => Some(text),
        _ => None,
    }
}
