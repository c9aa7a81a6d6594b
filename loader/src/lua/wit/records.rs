//! Functions of Lua that make records.
//!
//! Each field that Rust sets is a call. A function that is written for a type of records makes several of them
//! in one call, in a third of the time.
//!
//! The hook may run in their few instructions, as in those of what makes lists. They find nothing of a user's:
//! their tables are new, and what they are given are arguments.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

use super::Keys;
use crate::conversion::{Hyphens, Record};

/// Records after which a function has paid for itself: it costs as much as 20 to 30 of them gain.
const WORTH_MIN: usize = 32;
/// Records of one call.
const BATCH_MAX: usize = 8;
/// Values of one call. Functions of Lua have up to 200 variables.
const VALUES_MAX: usize = 100;

/// What makes records of one type in one state.
#[derive(Default)]
pub(super) struct Makers {
    /// Records so far.
    made: AtomicUsize,
    one: OnceLock<Function>,
    many: OnceLock<Function>,
}

impl Makers {
    /// Whether to make the next `count` of the type `record` by these functions, which are made if they are not there.
    pub(super) fn are_worth(&self, record: &Record, count: usize) -> bool {
        let made = self.made.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        made >= WORTH_MIN && can_be_written(record)
    }

    /// A function of the values of one record: gives it.
    ///
    /// # Errors
    /// Lua's own, such as a limit of memory.
    pub(super) fn one(&self, lua: &Lua, keys: &Keys, record: &Record) -> mlua::Result<&Function> {
        made(&self.one, lua, keys, || {
            let values = variables(record.fields.len());
            format!("return function({values}) return {} end", table(record, 0))
        })
    }

    /// A function of a list, an index in it, a number of records, and the values of up to [`batch`] of them: sets
    /// them in the list.
    ///
    /// # Errors
    /// Lua's own, such as a limit of memory.
    pub(super) fn many(&self, lua: &Lua, keys: &Keys, record: &Record) -> mlua::Result<&Function> {
        made(&self.many, lua, keys, || {
            let batch = batch(record);
            let values = variables(batch * record.fields.len());
            let mut source = format!("return function(list, at, count, {values})\n");
            for place in 0..batch {
                if place > 0 {
                    // Writing to a string can't fail.
                    let _ = writeln!(source, "if count == {place} then return end");
                }
                let _ = writeln!(source, "list[at + {place}] = {}", table(record, place));
            }
            source + "end"
        })
    }
}

/// How many records one call makes.
pub(super) fn batch(record: &Record) -> usize {
    (VALUES_MAX / record.fields.len().max(1)).clamp(1, BATCH_MAX)
}

/// Whether the function is no larger than Lua allows, and its names mean themselves in a string.
fn can_be_written(record: &Record) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let mut names = record.fields.iter().map(|(name, _)| &name.kebab);
    (1..=VALUES_MAX).contains(&record.fields.len()) && names.all(|name| name.bytes().all(is_plain))
}

fn made<'m>(
    known: &'m OnceLock<Function>,
    lua: &Lua,
    keys: &Keys,
    source: impl FnOnce() -> String,
) -> mlua::Result<&'m Function> {
    if let Some(function) = known.get() {
        return Ok(function);
    }
    let source = format!("local setmetatable, readable_by_snake = ...\n{}", source());
    let chunk = lua.load(source).set_name("=[wit]").set_mode(ChunkMode::Text);
    let function = chunk.call((&keys.library.set_metatable, &keys.readable_by_snake))?;
    Ok(known.get_or_init(|| function))
}

fn variables(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|index| format!("v{index}")).collect();
    names.join(", ")
}

/// The record at `place` among those whose values are given. What is nil is not set.
fn table(record: &Record, place: usize) -> String {
    let first = place * record.fields.len();
    let fields =
        (first..).zip(&record.fields).map(|(index, (name, _))| format!("[\"{}\"] = v{index}", name.kebab));
    let fields: Vec<String> = fields.collect();
    let fields = fields.join(", ");
    match record.hyphens {
        Hyphens::None => format!("{{{fields}}}"),
        Hyphens::Some => format!("setmetatable({{{fields}}}, readable_by_snake)"),
    }
}
