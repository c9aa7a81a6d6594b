//! [`Data`] from and to WIT values.

use std::marker::PhantomData;

use super::{Hyphens, Name, Plain, Plan, Problem, Record, Sink, View, World, no_array};
use crate::bulk::Value;
use crate::data::{Data, Table, TableForm};
use crate::error::Error;
use crate::meter::Meter;

impl Plan {
    /// `args` as WIT values.
    ///
    /// # Errors
    /// `INVALID`: a wrong number of arguments, or the path of the part that does not fit.
    pub(crate) fn lower_data(&self, args: &[Data]) -> Result<Vec<Value>, Error> {
        let args: Vec<&Data> = args.iter().collect();
        // Data holds no part twice, so its copy is about as large.
        self.lower_from(&DataWorld(PhantomData), &args, &Meter::new(u64::MAX, None))
    }

    /// What was returned, as data.
    ///
    /// # Errors
    /// The guest's own error, where a result is one; `INTERNAL` for a value of another type.
    pub(crate) fn lift_data(&self, value: Option<&Value>) -> Result<Data, Error> {
        self.lift_into(&DataSink, value)?
    }
}

struct DataWorld<'d>(PhantomData<&'d Data>);

const NIL: &Data = &Data::Nil;

impl<'d> World for DataWorld<'d> {
    type Value = &'d Data;
    type Table<'v>
        = &'d Table
    where
        Self: 'v;
    type Text<'v>
        = &'d [u8]
    where
        Self: 'v;

    fn view<'v>(&self, value: &'v &'d Data) -> View<'v, Self> {
        match *value {
            Data::Nil => View::Nil,
            Data::Bool(value) => View::Bool(*value),
            Data::Integer(value) => View::Integer(*value),
            Data::Float(value) => View::Float(*value),
            Data::String(bytes) => View::String(bytes.as_slice()),
            Data::Table(table) => View::Table(table),
            Data::Error(_) => View::Other("error"),
        }
    }

    fn is_nil(&self, value: &&'d Data) -> bool {
        matches!(value, Data::Nil)
    }

    fn kebab(&self, table: &'d Table, name: &Name) -> Result<&'d Data, Problem> {
        Ok(field(table, &name.kebab))
    }

    fn snake(&self, table: &'d Table, name: &Name) -> Result<&'d Data, Problem> {
        Ok(name.snake.as_ref().map_or(NIL, |name| field(table, name)))
    }

    fn at(&self, table: &'d Table, index: usize) -> Result<&'d Data, Problem> {
        let item = index.checked_sub(1).and_then(|index| table.array.get(index));
        Ok(item.unwrap_or_else(|| {
            let beyond = table.fields.iter().find(|(key, _)| is_index(key, index));
            beyond.map_or(NIL, |(_, value)| value)
        }))
    }

    fn pairs(
        &self,
        table: &'d Table,
        mut each: impl FnMut(View<'_, Self>, &&'d Data) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        for (index, item) in (1..).zip(&table.array) {
            each(View::Integer(index), &item)?;
        }
        table.fields.iter().try_for_each(|(key, value)| each(self.view(&key), &value))
    }

    fn length(&self, table: &'d Table) -> usize {
        table.array.len()
    }

    fn count(&self, table: &'d Table) -> Result<usize, Problem> {
        Ok(table.array.len() + table.fields.len())
    }

    fn items<T>(
        &self,
        table: &'d Table,
        mut read: impl FnMut(&&'d Data) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        // The last items may lie among the fields.
        let item = |index| match self.at(table, index)? {
            Data::Nil => Err(no_array(self, table)),
            item => read(&item).map_err(|problem| problem.at(index)),
        };
        (1..=self.count(table)?).map(item).collect()
    }

    fn scalars<T>(
        &self,
        table: &'d Table,
        read: impl Fn(&View<'_, Self>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        whole(self, table, |item| read(&self.view(item)))
    }

    fn texts<T>(
        &self,
        table: &'d Table,
        _text: impl Fn(String) -> Result<T, Problem>,
        read: impl Fn(&&'d Data) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        whole(self, table, read)
    }
}

/// What `read` makes of each item of an array that has all of them in one place.
fn whole<'d, T>(
    world: &DataWorld<'d>,
    table: &'d Table,
    read: impl Fn(&&'d Data) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    if !table.fields.is_empty() {
        return Err(no_array(world, table));
    }
    let read = |(index, item): (usize, &'d Data)| read(&item).map_err(|problem| problem.at(index));
    (1..).zip(&table.array).map(read).collect()
}

fn field<'d>(table: &'d Table, name: &str) -> &'d Data {
    let found = table.fields.iter().find(|(key, _)| key.as_str() == Some(name));
    found.map_or(NIL, |(_, value)| value)
}

fn is_index(key: &Data, index: usize) -> bool {
    matches!(key, Data::Integer(key) if usize::try_from(*key) == Ok(index))
}

/// Makes [`Data`].
pub(super) struct DataSink;

impl Sink for DataSink {
    type Value = Data;
    type Table = Table;
    type Error = Error;

    fn failed(error: Error) -> Error {
        error
    }

    fn nil(&self) -> Data {
        Data::Nil
    }

    fn scalar(&self, value: Plain) -> Data {
        match value {
            Plain::Bool(value) => Data::Bool(value),
            Plain::Integer(value) => Data::Integer(value),
            Plain::Float(value) => Data::Float(value),
        }
    }

    fn string(&self, bytes: &[u8]) -> Result<Data, Error> {
        Ok(Data::String(bytes.to_vec()))
    }

    fn booleans(&self, items: impl ExactSizeIterator<Item = bool>) -> Result<Data, Error> {
        Ok(items.map(Data::Bool).collect())
    }

    fn integers(&self, items: impl ExactSizeIterator<Item = i64>) -> Result<Data, Error> {
        Ok(items.map(Data::Integer).collect())
    }

    fn floats(&self, items: impl ExactSizeIterator<Item = f64>) -> Result<Data, Error> {
        Ok(items.map(Data::Float).collect())
    }

    fn table(&self, items: usize, fields: usize) -> Result<Table, Error> {
        Ok(Table {
            array: Vec::with_capacity(items),
            fields: Vec::with_capacity(fields),
            form: TableForm::Plain,
        })
    }

    fn record(&self, record: &Record, values: Vec<Data>) -> Result<Data, Error> {
        let mut table = self.table(0, values.len())?;
        for ((name, _), value) in record.fields.iter().zip(values) {
            if value != Data::Nil {
                self.set(&mut table, name, value)?;
            }
        }
        self.finish(table, record.hyphens)
    }

    fn set_item(&self, table: &mut Table, index: usize, value: Data) -> Result<(), Error> {
        match value {
            Data::Nil => {}
            value if table.array.len() + 1 == index => table.array.push(value),
            // Behind a hole, which only a tuple can have: it has few items.
            value => table.fields.push((Data::Integer(i64::try_from(index).unwrap_or(i64::MAX)), value)),
        }
        Ok(())
    }

    fn set(&self, table: &mut Table, name: &Name, value: Data) -> Result<(), Error> {
        table.fields.push((Data::from(&*name.kebab), value));
        Ok(())
    }

    fn finish(&self, mut table: Table, hyphens: Hyphens) -> Result<Data, Error> {
        if hyphens == Hyphens::Some {
            table.form = TableForm::Record;
        }
        Ok(Data::Table(table))
    }
}
