//! How values of an engine are read, and what is said of those that do not fit.

use std::ops::Deref;

use registry_schema::ErrorKind;

use super::types::Name;
use crate::error::Error;
use crate::meter::{Spent, past_deadline};

/// How values of an engine are read. Nothing here runs code of the engine's.
pub(crate) trait World: Sized {
    /// A value, kept alive while it is read.
    type Value: Clone;
    /// A table.
    type Table<'v>: Copy
    where
        Self: 'v;
    /// The bytes of a string.
    type Text<'v>: Deref<Target = [u8]>
    where
        Self: 'v;

    /// What `value` is.
    fn view<'v>(&self, value: &'v Self::Value) -> View<'v, Self>;
    /// Whether `value` is nil.
    fn is_nil(&self, value: &Self::Value) -> bool;
    /// The value at the key `name` in kebab case, nil if there is none.
    fn kebab(&self, table: Self::Table<'_>, name: &Name) -> Result<Self::Value, Problem>;
    /// The value at the key `name` in snake case, nil if there is none, or no such spelling.
    fn snake(&self, table: Self::Table<'_>, name: &Name) -> Result<Self::Value, Problem>;
    /// The string at the key `name` in one spelling, as long as that is quicker than to look at the value. None says
    /// nothing.
    fn text(&self, _table: Self::Table<'_>, _name: &Name) -> Option<String> {
        None
    }
    /// The value at `index`, from 1; nil if there is none.
    fn at(&self, table: Self::Table<'_>, index: usize) -> Result<Self::Value, Problem>;
    /// Runs `each` on all keys with their values, in any order.
    fn pairs(
        &self,
        table: Self::Table<'_>,
        each: impl FnMut(View<'_, Self>, &Self::Value) -> Result<(), Problem>,
    ) -> Result<(), Problem>;
    /// What `read` makes of each item of an array.
    fn items<T>(
        &self,
        table: Self::Table<'_>,
        read: impl FnMut(&Self::Value) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem>;
    /// The same for items that should be numbers or booleans.
    fn scalars<T>(
        &self,
        table: Self::Table<'_>,
        read: impl Fn(&View<'_, Self>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        self.items(table, |item| read(&self.view(item)))
    }
    /// What `text` makes of each item of an array that should be strings, as long as that is quicker than to look at
    /// the values; else what `read` makes of them.
    fn texts<T>(
        &self,
        table: Self::Table<'_>,
        _text: impl Fn(String) -> Result<T, Problem>,
        read: impl Fn(&Self::Value) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        self.items(table, read)
    }
    /// How many items an array has. For what is no array, any number.
    fn length(&self, table: Self::Table<'_>) -> usize;
    /// How many keys a table has.
    fn count(&self, table: Self::Table<'_>) -> Result<usize, Problem>;
}

/// What a value is.
pub(crate) enum View<'v, W: World + 'v> {
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(W::Text<'v>),
    Table(W::Table<'v>),
    /// Something without a WIT form, by the name of its type.
    Other(&'static str),
}

impl<W: World> View<'_, W> {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "boolean",
            Self::Integer(_) | Self::Float(_) => "number",
            Self::String(_) => "string",
            Self::Table(_) => "table",
            Self::Other(name) => name,
        }
    }
}

/// What does not fit, and where: the steps of its path, innermost first.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    steps: Vec<String>,
    text: String,
}

impl Problem {
    /// A value that does not fit.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind: ErrorKind::Invalid, steps: Vec::new(), text: text.into() }))
    }

    /// A value that could not be read.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind: ErrorKind::Internal, steps: Vec::new(), text: text.into() }))
    }

    /// A value of which no more may be copied.
    pub(super) fn spent(spent: Spent, max: u64) -> Self {
        let (kind, text) = match spent {
            Spent::Amount => {
                (ErrorKind::Invalid, format!("the copies of all arguments would have more than {max} bytes"))
            }
            Spent::Time => (ErrorKind::Timeout, past_deadline().message().to_owned()),
        };
        Self(Box::new(Inner { kind, steps: Vec::new(), text }))
    }

    /// The same, at an index of what holds it.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.0.steps.push(format!("[{index}]"));
        self
    }

    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.0.steps.push(format!(".{name}"));
        self
    }

    pub(super) fn of_parameter(self, name: &str) -> Error {
        let Inner { kind, steps, text } = *self.0;
        let steps: String = steps.into_iter().rev().collect();
        Error::new(kind, format!("{name}{steps}: {text}"))
    }
}

pub(super) fn expected<W: World>(what: &str, found: &View<'_, W>) -> Problem {
    Problem::new(format!("expected {what}, got {}", found.type_name()))
}

/// Why `table` is no array, which is so if it has more keys than items up to the first nil.
pub(crate) fn no_array<W: World>(world: &W, table: W::Table<'_>) -> Problem {
    let find = || {
        let mut last = 0;
        world.pairs(table, |key, _| match key {
            View::Integer(key) if key > 0 => {
                last = last.max(key);
                Ok(())
            }
            key => Err(not_an_array_key(&key)),
        })?;
        let mut hole = 1;
        while !world.is_nil(&world.at(table, hole)?) {
            hole += 1;
        }
        Ok(Problem::new(format!("a hole: there is no [{hole}], but [{last}]")))
    };
    find().unwrap_or_else(|problem| problem)
}

pub(super) fn not_an_array_key<W: World>(key: &View<'_, W>) -> Problem {
    Problem::new(match key {
        View::String(key) => format!("expected an array, got the key `{}`", String::from_utf8_lossy(key)),
        View::Integer(key) => format!("expected an array, got the key [{key}]"),
        View::Float(key) => format!("expected an array, got the key [{key}]"),
        key => format!("expected an array, got a key that is a {}", key.type_name()),
    })
}
