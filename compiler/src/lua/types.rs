//! Types as annotations write them.

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// A name, dotted if it comes from a module, and its arguments.
    Name(String, Vec<Type>),
    /// A string, number, `true`, `false` or `nil`, as written.
    Literal(String),
    /// `T?`
    Optional(Box<Type>),
    /// `A | B`
    Union(Vec<Type>),
    /// `A & B`
    Intersection(Vec<Type>),
    /// `{…}`
    Table(Box<Table>),
    /// `(A, B) -> C`
    Function(Box<FunctionType>),
    /// `T @min(0) @max(9)`
    Checked(Box<Type>, Vec<Check>),
}

/// A validator of a type, `@name(arguments)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Its name.
    pub(crate) name: String,
    /// Literals, as written.
    pub(crate) arguments: Vec<String>,
}

/// A table type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    /// `name: T`
    pub(crate) fields: Vec<Field>,
    /// `[K]: V`
    pub(crate) maps: Vec<(Type, Type)>,
    /// `{T}`
    pub(crate) elements: Vec<Type>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) ty: Type,
    /// Whether it may be missing.
    pub(crate) is_optional: bool,
}

/// A function type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FunctionType {
    /// Type parameters.
    pub(crate) generics: Vec<Generic>,
    /// Parameters, with a name if they have one.
    pub(crate) params: Vec<(Option<String>, Type)>,
    /// Type of further parameters.
    pub(crate) rest: Option<Type>,
    /// What it returns.
    pub(crate) returns: Vec<Type>,
}

/// A type parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generic {
    /// Its name.
    pub(crate) name: String,
    /// What it must be.
    pub(crate) bound: Option<Type>,
}

/// `any`, the type of what does not say.
pub(crate) fn any() -> Type {
    Type::Name("any".to_owned(), Vec::new())
}
