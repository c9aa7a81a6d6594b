//! WIT types as trees of our own: nothing is looked up in wasmtime's types while values are converted.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::Type;

use super::lift::Hyphens;
use crate::values::describe;

/// A name of a field, case or flag.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// As WIT spells it: words between hyphens.
    pub(crate) kebab: Arc<str>,
    /// With underscores, where that differs.
    pub(crate) snake: Option<Arc<str>>,
    /// Place in [`Names`]: engines keep their own form of each name there.
    pub(crate) index: usize,
}

impl Name {
    /// Whether `given` is one of its spellings.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.kebab.as_bytes() == given || self.snake.as_ref().is_some_and(|snake| snake.as_bytes() == given)
    }
}

/// Every name of a signature once.
#[derive(Debug)]
pub(crate) struct Names {
    all: Vec<Name>,
    known: HashMap<Arc<str>, usize>,
    records: usize,
    pub(super) some: Name,
    pub(super) none: Name,
    pub(super) ok: Name,
    pub(super) err: Name,
}

impl Names {
    pub(super) fn new() -> Self {
        let (mut all, mut known) = (Vec::new(), HashMap::new());
        let [some, none, ok, err] = ["some", "none", "ok", "err"].map(|text| add(&mut all, &mut known, text));
        Self { all, known, records: 0, some, none, ok, err }
    }

    fn add(&mut self, text: &str) -> Name {
        add(&mut self.all, &mut self.known, text)
    }

    /// All of them, in order of their index.
    pub(crate) fn all(&self) -> &[Name] {
        &self.all
    }

    /// How many records the signature has.
    pub(crate) fn records(&self) -> usize {
        self.records
    }
}

fn add(all: &mut Vec<Name>, known: &mut HashMap<Arc<str>, usize>, text: &str) -> Name {
    if let Some(index) = known.get(text) {
        return all[*index].clone();
    }
    let snake = text.contains('-').then(|| text.replace('-', "_").into());
    let name = Name { kebab: text.into(), snake, index: all.len() };
    known.insert(Arc::clone(&name.kebab), name.index);
    all.push(name.clone());
    name
}

/// A type.
#[derive(Debug)]
pub(crate) struct Node {
    /// What messages describe.
    pub(crate) ty: Type,
    pub(crate) shape: Shape,
}

/// How values of a type are converted.
#[derive(Debug)]
pub(crate) enum Shape {
    Scalar(Scalar),
    Char,
    String,
    /// `list<u8>`, which may be a string.
    Bytes,
    /// A list of numbers or booleans: converted in bulk.
    Scalars(Scalar),
    List(Box<Node>),
    Record(Record),
    Tuple(Vec<Node>),
    Variant(Vec<(Name, Option<Node>)>),
    Enum(Vec<Name>),
    Flags(Vec<Name>),
    Option(Form, Box<Node>),
    Result(Box<Sides>),
    /// A handle.
    Unsupported,
}

/// A type of records.
#[derive(Debug)]
pub(crate) struct Record {
    /// Place among those of the signature: engines keep what makes their own form of it there.
    pub(crate) index: usize,
    pub(crate) fields: Vec<(Name, Node)>,
    /// Of the names of all fields.
    pub(crate) hyphens: Hyphens,
}

/// Types of the payloads of a result.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) ok: Option<Node>,
    pub(crate) err: Option<Node>,
}

/// Types that are one value in one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
}

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nil or the value.
    Bare,
    /// `{none = true}` where nil can't stand, or the value.
    NoneMarked,
    /// `{none = true}` or `{some = value}`: in another option, and where the bare value could be mistaken.
    Marked,
}

/// Where a value lies, which decides how an option is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An argument, a field, an item of a tuple, what is returned: nil can stand there.
    Free,
    /// An item of a list or a payload: nil can't.
    Held,
    /// The value of an option.
    Option,
}

/// The tree of `ty`. Validation of components bounds how deep types are nested.
pub(super) fn node(names: &mut Names, ty: &Type, place: Place) -> Node {
    Builder { names }.node(ty, place)
}

struct Builder<'a> {
    names: &'a mut Names,
}

impl Builder<'_> {
    fn node(&mut self, ty: &Type, place: Place) -> Node {
        Node { ty: ty.clone(), shape: self.shape(ty, place) }
    }

    fn shape(&mut self, ty: &Type, place: Place) -> Shape {
        if let Some(scalar) = scalar(ty) {
            return Shape::Scalar(scalar);
        }
        match ty {
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => match (list.ty(), scalar(&list.ty())) {
                (Type::U8, _) => Shape::Bytes,
                (_, Some(scalar)) => Shape::Scalars(scalar),
                (item, None) => Shape::List(Box::new(self.node(&item, Place::Held))),
            },
            Type::Record(record) => {
                let index = self.names.records;
                self.names.records += 1;
                let fields = record.fields().map(|f| (self.names.add(f.name), self.node(&f.ty, Place::Free)));
                let fields: Vec<_> = fields.collect();
                let hyphens = Hyphens::of(fields.iter().map(|(name, _)| name));
                Shape::Record(Record { index, fields, hyphens })
            }
            Type::Tuple(tuple) => Shape::Tuple(tuple.types().map(|ty| self.node(&ty, Place::Free)).collect()),
            Type::Variant(variant) => Shape::Variant(
                variant
                    .cases()
                    .map(|case| (self.names.add(case.name), self.side(case.ty.as_ref())))
                    .collect(),
            ),
            Type::Enum(cases) => Shape::Enum(cases.names().map(|name| self.names.add(name)).collect()),
            Type::Flags(flags) => Shape::Flags(flags.names().map(|name| self.names.add(name)).collect()),
            Type::Option(option) => {
                let some = self.node(&option.ty(), Place::Option);
                let form = match place {
                    Place::Free => Form::Bare,
                    Place::Held if !mistakable(&some.shape) => Form::NoneMarked,
                    Place::Held | Place::Option => Form::Marked,
                };
                Shape::Option(form, Box::new(some))
            }
            Type::Result(result) => {
                let (ok, err) = (result.ok(), result.err());
                let (ok, err) = (self.side(ok.as_ref()), self.side(err.as_ref()));
                Shape::Result(Box::new(Sides { ok, err }))
            }
            _ => Shape::Unsupported,
        }
    }

    fn side(&mut self, ty: Option<&Type>) -> Option<Node> {
        ty.map(|ty| self.node(ty, Place::Held))
    }
}

/// Whether a value could be taken for `{some = …}` or `{none = true}`.
fn mistakable(shape: &Shape) -> bool {
    let marks = |name: &Name| matches!(&*name.kebab, "some" | "none");
    match shape {
        Shape::Record(record) => record.fields.iter().any(|(name, _)| marks(name)),
        Shape::Variant(cases) => cases.iter().any(|(name, _)| marks(name)),
        Shape::Flags(names) => names.iter().any(marks),
        Shape::Option(..) => true,
        _ => false,
    }
}

fn scalar(ty: &Type) -> Option<Scalar> {
    Some(match ty {
        Type::Bool => Scalar::Bool,
        Type::S8 => Scalar::S8,
        Type::U8 => Scalar::U8,
        Type::S16 => Scalar::S16,
        Type::U16 => Scalar::U16,
        Type::S32 => Scalar::S32,
        Type::U32 => Scalar::U32,
        Type::S64 => Scalar::S64,
        Type::U64 => Scalar::U64,
        Type::Float32 => Scalar::F32,
        Type::Float64 => Scalar::F64,
        _ => return None,
    })
}

impl Node {
    /// The type as WIT would spell it, one level deep.
    pub(super) fn describe(&self) -> String {
        describe(&self.ty)
    }

    /// Whether nil, or nothing at all, is a value.
    pub(super) fn is_omissible(&self) -> bool {
        matches!(self.shape, Shape::Option(Form::Bare, _))
    }
}
