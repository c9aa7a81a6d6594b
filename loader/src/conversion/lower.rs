//! Values of dynamic engines as WIT values.

use wasmtime::component::Val;

use super::scalars::{boolean, char, float, integer, lower_scalar, single, text};
use super::types::{Form, Name, Names, Node, Scalar, Shape, Sides};
use super::world::{Problem, View, World, expected, not_an_array_key};
use crate::bulk::{Numbers, Value};
use crate::config::VALUE_BYTES_MAX;
use crate::meter::Meter;

/// How the arguments of one call are lowered.
pub(super) struct Lowering<'a, W> {
    pub(super) world: &'a W,
    pub(super) names: &'a Names,
    /// Counts bytes of the copies, before they are there: a table may hold one part many times.
    pub(super) meter: &'a Meter,
}

impl<W: World> Lowering<'_, W> {
    /// `value` as an argument of the type `node`.
    pub(super) fn argument(&self, node: &Node, value: &W::Value) -> Result<Value, Problem> {
        self.value(node, value).map(Value::Val)
    }

    /// `value` as an argument of a typed call: a list of bytes or numbers stays whole.
    pub(super) fn whole(&self, node: &Node, value: &W::Value) -> Result<Value, Problem> {
        match (&node.shape, self.world.view(value)) {
            (Shape::Bytes, View::String(bytes)) => {
                self.take(bytes.len())?;
                Ok(Value::Bytes(bytes.to_vec()))
            }
            (Shape::Bytes, View::Table(table)) => self.items(table, integer).map(Value::Bytes),
            (Shape::Scalars(Scalar::S32), View::Table(table)) => self.numbers(table, integer, Numbers::S32),
            (Shape::Scalars(Scalar::U32), View::Table(table)) => self.numbers(table, integer, Numbers::U32),
            (Shape::Scalars(Scalar::S64), View::Table(table)) => self.numbers(table, integer, Numbers::S64),
            (Shape::Scalars(Scalar::F64), View::Table(table)) => self.numbers(table, float, Numbers::F64),
            _ => self.argument(node, value),
        }
    }

    fn numbers<T>(
        &self,
        table: W::Table<'_>,
        read: impl Fn(&View<'_, W>) -> Result<T, Problem>,
        whole: fn(Vec<T>) -> Numbers,
    ) -> Result<Value, Problem> {
        Ok(Value::Numbers(whole(self.items(table, read)?)))
    }

    /// Counts `bytes` of the copies.
    fn take(&self, bytes: usize) -> Result<(), Problem> {
        self.meter.take(bytes as u64).map_err(|spent| Problem::spent(spent, VALUE_BYTES_MAX as u64))
    }

    /// Counts `count` values of the type `T`.
    fn take_all<T>(&self, count: usize) -> Result<(), Problem> {
        self.take(count.saturating_mul(size_of::<T>()))
    }

    /// `name` as a part of a value.
    fn name(&self, name: &Name) -> Result<String, Problem> {
        self.take(size_of::<String>() + name.kebab.len())?;
        Ok(name.kebab.to_string())
    }

    fn text(&self, bytes: &[u8]) -> Result<Val, Problem> {
        self.take(bytes.len())?;
        text(bytes).map(Val::String)
    }

    /// A string that is a copy already.
    fn owned(&self, text: String) -> Result<Val, Problem> {
        self.take(size_of::<Val>() + text.len())?;
        Ok(Val::String(text))
    }

    /// A list of scalars as dynamic values.
    fn scalars(&self, scalar: Scalar, table: W::Table<'_>) -> Result<Val, Problem> {
        // One loop per type, so that the type is not looked at per item.
        macro_rules! of {
            ($read:ident, $case:ident) => {
                self.items(table, |view| $read(view).map(Val::$case))
            };
        }
        let items = match scalar {
            Scalar::Bool => of!(boolean, Bool),
            Scalar::S8 => of!(integer, S8),
            Scalar::U8 => of!(integer, U8),
            Scalar::S16 => of!(integer, S16),
            Scalar::U16 => of!(integer, U16),
            Scalar::S32 => of!(integer, S32),
            Scalar::U32 => of!(integer, U32),
            Scalar::S64 => of!(integer, S64),
            Scalar::U64 => of!(integer, U64),
            Scalar::F32 => of!(single, Float32),
            Scalar::F64 => of!(float, Float64),
        };
        items.map(Val::List)
    }

    /// What `read` makes of each item of an array of scalars.
    fn items<T>(
        &self,
        table: W::Table<'_>,
        read: impl Fn(&View<'_, W>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        // Counted at once. What is no array may claim any length; it has as many values as keys at most.
        let claimed = self.world.length(table);
        if self.take_all::<T>(claimed).is_err() {
            self.take_all::<T>(self.world.count(table)?)?;
        }
        self.world.scalars(table, read)
    }

    fn value(&self, node: &Node, value: &W::Value) -> Result<Val, Problem> {
        self.take_all::<Val>(1)?;
        let view = self.world.view(value);
        let wrong = |view: &View<'_, W>| expected(&node.describe(), view);
        Ok(match (&node.shape, view) {
            (Shape::Scalar(scalar), view) => lower_scalar(*scalar, &view)?,
            (Shape::Char, view) => Val::Char(char(&view)?),
            (Shape::String, View::String(bytes)) => self.text(&bytes)?,
            (Shape::Bytes, View::String(bytes)) => {
                self.take_all::<Val>(bytes.len())?;
                Val::List(bytes.iter().copied().map(Val::U8).collect())
            }
            (Shape::Bytes, View::Table(table)) => self.scalars(Scalar::U8, table)?,
            (Shape::Scalars(scalar), View::Table(table)) => self.scalars(*scalar, table)?,
            (Shape::List(item), View::Table(table)) => Val::List(self.list(item, table)?),
            (Shape::Record(record), View::Table(table)) => Val::Record(self.record(&record.fields, table)?),
            (Shape::Tuple(items), View::Table(table)) => Val::Tuple(self.tuple(items, table)?),
            (Shape::Variant(cases), view @ (View::String(_) | View::Table(_))) => {
                self.variant(node, cases, &view)?
            }
            (Shape::Enum(cases), view) => Val::Enum(self.name(enum_case(node, cases, &view)?)?),
            (Shape::Flags(flags), view) => Val::Flags(self.flags(node, flags, &view)?),
            (Shape::Option(form, some), view) => Val::Option(self.option(*form, some, value, &view)?),
            (Shape::Result(sides), View::Table(table)) => self.result(sides, table)?,
            (Shape::Unsupported, _) => {
                return Err(Problem::new(format!("a value of type {} can't be passed", node.describe())));
            }
            (_, view) => return Err(wrong(&view)),
        })
    }

    fn list(&self, item: &Node, table: W::Table<'_>) -> Result<Vec<Val>, Problem> {
        match &item.shape {
            Shape::String => {
                self.world.texts(table, |text| self.owned(text), |value| self.value(item, value))
            }
            _ => self.world.items(table, |value| self.value(item, value)),
        }
    }

    fn record(&self, fields: &[(Name, Node)], table: W::Table<'_>) -> Result<Vec<(String, Val)>, Problem> {
        let field = |(name, node): &(Name, Node)| {
            if matches!(node.shape, Shape::String)
                && let Some(text) = self.world.text(table, name)
            {
                let value = self.owned(text).map_err(|problem| problem.in_field(&name.kebab))?;
                return Ok((self.name(name)?, value));
            }
            let mut value = self.world.kebab(table, name)?;
            if let Some(snake) = &name.snake {
                let other = self.world.snake(table, name)?;
                if self.world.is_nil(&value) {
                    value = other;
                } else if !self.world.is_nil(&other) {
                    let kebab = &name.kebab;
                    let text = format!("`{kebab}` and `{snake}` are one field, and both are given");
                    return Err(Problem::new(text));
                }
            }
            if self.world.is_nil(&value) {
                return match node.is_omissible() {
                    true => Ok((self.name(name)?, Val::Option(None))),
                    false => Err(self.missing(fields, name, table)),
                };
            }
            let value = self.value(node, &value).map_err(|problem| problem.in_field(&name.kebab))?;
            Ok((self.name(name)?, value))
        };
        let mut values = Vec::with_capacity(fields.len());
        for given in fields {
            values.push(field(given)?);
        }
        Ok(values)
    }

    fn missing(&self, fields: &[(Name, Node)], name: &Name, table: W::Table<'_>) -> Problem {
        let mut unknown = Vec::new();
        let listed = self.world.pairs(table, |key, _| {
            unknown.push(match key {
                View::String(key) if fields.iter().any(|(name, _)| name.is(&key)) => return Ok(()),
                View::String(key) => format!("`{}`", String::from_utf8_lossy(&key)),
                View::Integer(key) => format!("[{key}]"),
                view => format!("[a {}]", view.type_name()),
            });
            Ok(())
        });
        if let Err(problem) = listed {
            return problem;
        }
        unknown.sort_unstable();
        let mut text = format!("missing field `{}`", name.kebab);
        if !unknown.is_empty() {
            let (more, shown) = (unknown.len().saturating_sub(UNKNOWN_KEYS_SHOWN), UNKNOWN_KEYS_SHOWN);
            unknown.truncate(shown);
            text += &format!("; unknown keys: {}", unknown.join(", "));
            if more > 0 {
                text += &format!(" and {more} more");
            }
        }
        Problem::new(text)
    }

    fn tuple(&self, items: &[Node], table: W::Table<'_>) -> Result<Vec<Val>, Problem> {
        // Nil is a value of an item that is an option, so its array may have holes.
        let mut last = 0;
        self.world.pairs(table, |key, _| match key {
            View::Integer(key) if key > 0 => {
                last = last.max(key);
                Ok(())
            }
            key => Err(not_an_array_key(&key)),
        })?;
        let required = items.iter().rposition(|item| !item.is_omissible()).map_or(0, |last| last + 1);
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        if last > items.len() || last < required {
            return Err(Problem::new(format!("expected an array of {}, got {last}", items.len())));
        }
        let item = |(index, node): (usize, &Node)| self.value(node, &self.world.at(table, index)?);
        let items = (1..).zip(items);
        items.map(|(index, node)| item((index, node)).map_err(|problem| problem.at(index))).collect()
    }

    fn variant(
        &self,
        node: &Node,
        cases: &[(Name, Option<Node>)],
        view: &View<'_, W>,
    ) -> Result<Val, Problem> {
        let find = |given: &[u8]| cases.iter().find(|(name, _)| name.is(given));
        let unknown = |given: &[u8]| unknown("case", given, node);
        match view {
            View::String(given) => match find(given) {
                Some((name, None)) => Ok(Val::Variant(self.name(name)?, None)),
                Some((name, Some(payload))) => {
                    let (name, payload) = (&name.kebab, payload.describe());
                    let text =
                        format!("case `{name}` has a payload: expected `{{[\"{name}\"] = {payload}}}`");
                    Err(Problem::new(text))
                }
                None => Err(unknown(given)),
            },
            View::Table(table) => {
                let wrong = |count| {
                    Problem::new(format!("expected a table with one key, the case, got one with {count}"))
                };
                let ((name, payload), given) =
                    self.single(*table, |key| find(key).ok_or_else(|| unknown(key)), wrong)?;
                Ok(Val::Variant(self.name(name)?, self.payload(name, payload.as_ref(), &given)?))
            }
            view => Err(expected(&node.describe(), view)),
        }
    }

    /// What `find` makes of the only key of `table`, and its value.
    fn single<'t, T: ?Sized>(
        &self,
        table: W::Table<'_>,
        find: impl Fn(&[u8]) -> Result<&'t T, Problem>,
        wrong: impl Fn(usize) -> Problem,
    ) -> Result<(&'t T, W::Value), Problem> {
        let (mut only, mut count) = (None, 0);
        self.world.pairs(table, |key, value| {
            count += 1;
            if count == 1 {
                let found = match &key {
                    View::String(key) => find(key),
                    key => Err(expected("a name as the key", key)),
                };
                only = Some((found, value.clone()));
            }
            Ok(())
        })?;
        match only {
            Some((found, value)) if count == 1 => Ok((found?, value)),
            _ => Err(wrong(count)),
        }
    }

    /// The payload of a case: `true` where there is none.
    fn payload(
        &self,
        name: &Name,
        node: Option<&Node>,
        given: &W::Value,
    ) -> Result<Option<Box<Val>>, Problem> {
        let payload = match (node, self.world.view(given)) {
            (Some(node), _) => self.value(node, given).map(|value| Some(Box::new(value))),
            (None, View::Bool(true)) => Ok(None),
            (None, view) => Err(expected("true, since there is no payload", &view)),
        };
        payload.map_err(|problem| problem.in_field(&name.kebab))
    }

    fn result(&self, sides: &Sides, table: W::Table<'_>) -> Result<Val, Problem> {
        let wrong = || Problem::new("expected `{ok = …}` or `{err = …}`");
        let Names { ok, err, .. } = self.names;
        let find = |key: &[u8]| [ok, err].into_iter().find(|name| name.is(key)).ok_or_else(wrong);
        let (name, given) = self.single(table, find, |_| wrong())?;
        Ok(Val::Result(match name.index == ok.index {
            true => Ok(self.payload(ok, sides.ok.as_ref(), &given)?),
            false => Err(self.payload(err, sides.err.as_ref(), &given)?),
        }))
    }

    fn option(
        &self,
        form: Form,
        some: &Node,
        given: &W::Value,
        view: &View<'_, W>,
    ) -> Result<Option<Box<Val>>, Problem> {
        let bare = || self.value(some, given).map(|value| Some(Box::new(value)));
        if form == Form::Bare {
            return if matches!(view, View::Nil) { Ok(None) } else { bare() };
        }
        match view {
            View::Table(table) => match self.mark(*table)? {
                Some(Mark::None) => Ok(None),
                Some(Mark::Some(value)) => {
                    let value = self.value(some, &value);
                    value.map(|value| Some(Box::new(value))).map_err(|problem| problem.in_field("some"))
                }
                None if form == Form::NoneMarked => bare(),
                None => Err(Problem::new("expected `{some = …}` or `{none = true}`")),
            },
            View::Nil => Err(Problem::new("expected a value or `{none = true}`, got nil")),
            _ if form == Form::NoneMarked => bare(),
            view => Err(expected("`{some = …}` or `{none = true}`", view)),
        }
    }

    /// What a table says if it is the explicit form of an option.
    fn mark(&self, table: W::Table<'_>) -> Result<Option<Mark<W::Value>>, Problem> {
        let none = self.world.kebab(table, &self.names.none)?;
        if matches!(self.world.view(&none), View::Bool(true)) {
            return Ok(Some(Mark::None));
        }
        let some = self.world.kebab(table, &self.names.some)?;
        Ok((!self.world.is_nil(&some)).then_some(Mark::Some(some)))
    }

    fn flags(&self, node: &Node, flags: &[Name], view: &View<'_, W>) -> Result<Vec<String>, Problem> {
        let mut set = vec![false; flags.len()];
        let find = |given: &[u8]| {
            let found = flags.iter().position(|name| name.is(given));
            found.ok_or_else(|| unknown("flag", given, node))
        };
        match view {
            View::Integer(mask) => {
                // A shift by all bits of an integer is none of its values.
                let beyond =
                    u32::try_from(flags.len()).ok().and_then(|bits| (*mask as u64).checked_shr(bits));
                if beyond.is_some_and(|beyond| beyond != 0) {
                    let count = flags.len();
                    return Err(Problem::new(format!("mask {mask} has more bits than the {count} flags")));
                }
                set.iter_mut().take(64).enumerate().for_each(|(bit, set)| *set = mask >> bit & 1 == 1);
            }
            View::Table(table) => self.world.pairs(*table, |key, value| {
                match (key, self.world.view(value)) {
                    (View::Integer(_), View::String(name)) => set[find(&name)?] = true,
                    (View::String(name), View::Bool(value)) => set[find(&name)?] |= value,
                    (View::Integer(index), value) => {
                        let problem = expected("the name of a flag", &value);
                        return Err(match usize::try_from(index) {
                            Ok(index) => problem.at(index),
                            Err(_) => problem,
                        });
                    }
                    (View::String(name), value) => {
                        let problem = expected("boolean", &value);
                        return Err(problem.in_field(&String::from_utf8_lossy(&name)));
                    }
                    (key, _) => return Err(expected("names of flags as keys", &key)),
                }
                Ok(())
            })?,
            view => return Err(expected(&node.describe(), view)),
        }
        flags.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| self.name(name)).collect()
    }
}

/// Names listed in a message; a table with thousands of keys would drown it.
const UNKNOWN_KEYS_SHOWN: usize = 10;

/// An option that is written out.
enum Mark<V> {
    None,
    Some(V),
}

fn unknown(what: &str, given: &[u8], node: &Node) -> Problem {
    let given = String::from_utf8_lossy(given);
    Problem::new(format!("unknown {what} `{given}`, expected {}", node.describe()))
}

fn enum_case<'n, W: World>(node: &Node, cases: &'n [Name], view: &View<'_, W>) -> Result<&'n Name, Problem> {
    match view {
        View::String(given) => {
            let case = cases.iter().find(|name| name.is(given));
            case.ok_or_else(|| unknown("case", given, node))
        }
        View::Integer(_) | View::Float(_) => {
            let index: u32 = integer(view)?;
            let case = usize::try_from(index).ok().and_then(|index| cases.get(index));
            case.ok_or_else(|| {
                Problem::new(format!(
                    "no case {index}, the last of {} is {}",
                    node.describe(),
                    cases.len() - 1
                ))
            })
        }
        view => Err(expected(&node.describe(), view)),
    }
}
