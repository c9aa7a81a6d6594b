//! Values that belong to no engine: what passes between Lua invocations, into a request context and into
//! the details of an error.

use crate::error::Error;

/// A value in no engine's memory. Tables are copies; functions, coroutines and handles have no form here.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Data {
    /// Nothing.
    #[default]
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// An integer; unsigned 64-bit ones in two's complement.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Bytes, UTF-8 or not.
    String(Vec<u8>),
    /// A table.
    Table(Table),
    /// An error object.
    Error(Box<Error>),
}

/// A table: its border first, so that an array is moved as one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The values at 1, 2, … up to the first hole.
    pub array: Vec<Data>,
    /// All others, in no particular order; no key is `Nil`.
    pub fields: Vec<(Data, Data)>,
    /// What its keys do not tell.
    pub form: TableForm,
}

/// What a table is beyond what its keys tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableForm {
    /// Nothing more: an empty one is an array.
    #[default]
    Plain,
    /// An object, even when it is empty: so it was in JSON.
    Object,
    /// A record of a guest: to Lua, its keys in kebab case are readable in snake case as well.
    Record,
}

impl Table {
    /// Whether it is an array in JSON.
    pub(crate) fn is_array(&self) -> bool {
        self.fields.is_empty() && (!self.array.is_empty() || self.form == TableForm::Plain)
    }
}

impl Data {
    /// The text of a string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value at the string key `name` of a table.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Table(table) = self else { return None };
        let found = table.fields.iter().find(|(key, _)| key.as_str() == Some(name));
        found.map(|(_, value)| value)
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let within = match self {
            Self::Nil | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::String(bytes) => bytes.len(),
            Self::Table(table) => {
                let items = table.array.iter().map(Self::bytes).sum::<usize>();
                let fields = table.fields.iter().map(|(key, value)| key.bytes() + value.bytes());
                items + fields.sum::<usize>()
            }
            Self::Error(error) => error.bytes(),
        };
        size_of::<Self>() + within
    }

    /// As JSON: an array for a table that is one, otherwise an object with its keys as text. What an empty table
    /// is, its form says.
    ///
    /// # Errors
    /// Lower case, naming the path: a string that is no UTF-8, a key that is neither string nor number.
    /// NaN and infinities become the strings `NaN`, `Infinity` and `-Infinity`.
    pub fn to_json(&self) -> Result<serde_json::Value, String> {
        self.to_json_at("value")
    }

    fn to_json_at(&self, path: &str) -> Result<serde_json::Value, String> {
        use serde_json::Value;
        Ok(match self {
            Self::Nil => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Float(value) => match serde_json::Number::from_f64(*value) {
                Some(number) => Value::Number(number),
                None if value.is_nan() => Value::from("NaN"),
                None => Value::from(if *value > 0.0 { "Infinity" } else { "-Infinity" }),
            },
            Self::String(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::from(text),
                Err(_) => return Err(format!("{path}: a string that is not UTF-8 has no JSON form")),
            },
            Self::Table(table) if table.is_array() => {
                let items = table.array.iter().enumerate();
                let items = items.map(|(index, item)| item.to_json_at(&format!("{path}[{}]", index + 1)));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Table(table) => {
                let mut object = serde_json::Map::new();
                for (index, item) in table.array.iter().enumerate() {
                    let key = (index + 1).to_string();
                    let item = item.to_json_at(&format!("{path}[{key}]"))?;
                    object.insert(key, item);
                }
                for (key, item) in &table.fields {
                    let key = match key {
                        Self::Integer(key) => key.to_string(),
                        Self::Float(key) => key.to_string(),
                        key => match key.as_str() {
                            Some(key) => key.to_owned(),
                            None => return Err(format!("{path}: a key that is no text has no JSON form")),
                        },
                    };
                    let item = item.to_json_at(&format!("{path}.{key}"))?;
                    object.insert(key, item);
                }
                Value::Object(object)
            }
            Self::Error(error) => Value::from(error.message()),
        })
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().to_vec())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::String(text.into_bytes())
    }
}

impl FromIterator<Data> for Data {
    /// An array.
    fn from_iter<I: IntoIterator<Item = Data>>(items: I) -> Self {
        Self::Table(Table { array: items.into_iter().collect(), ..Table::default() })
    }
}

impl From<&serde_json::Value> for Data {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Nil,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::from(text.as_str()),
            Value::Array(items) => items.iter().map(Self::from).collect(),
            Value::Object(object) => Self::from(object),
        }
    }
}

impl From<&serde_json::Map<String, serde_json::Value>> for Data {
    fn from(object: &serde_json::Map<String, serde_json::Value>) -> Self {
        let fields = object.iter().map(|(key, value)| (Self::from(key.as_str()), Self::from(value)));
        // One that has keys shows what it is.
        let form = if object.is_empty() { TableForm::Object } else { TableForm::Plain };
        Self::Table(Table { array: Vec::new(), fields: fields.collect(), form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_there_and_back() {
        let value = json!({"a": [1, 2.5, "x", true], "b": {"c": "d"}, "e": [[1], [2]], "f": [{}, []]});
        assert_eq!(Data::from(&value).to_json().unwrap(), value);
    }

    #[test]
    fn memory_grows_with_what_is_said() {
        let empty = Data::Nil.bytes();
        assert_eq!(Data::from("abc").bytes(), empty + 3);
        let fields = vec![(Data::from("k"), Data::Bool(true))];
        let table = Table { array: vec![Data::from("ab")], fields, ..Table::default() };
        assert_eq!(Data::Table(table).bytes(), 4 * empty + 3);
    }

    #[test]
    fn what_has_no_json_form_names_its_path() {
        let bytes = Data::String(vec![0xff]);
        let table: Data = [Data::from("x"), bytes].into_iter().collect();
        let error = table.to_json().unwrap_err();
        assert_eq!(error, "value[2]: a string that is not UTF-8 has no JSON form");
    }
}
