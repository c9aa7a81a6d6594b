//! A core module whose functions give back what they get, of any type, and its WIT.
//!
//! `echo-NAME: func(v: T, pad: tuple<u32, …>) -> tuple<T, u32>`. The padding has so many parts that all
//! parameters lie in memory, where they begin like the result; so one core function that returns its only
//! parameter, their address, serves every type.

use std::fmt::Write;

use super::Registry;

/// Parts of the padding: as many as the parameters that are passed without memory.
pub(crate) const PADDING: usize = 16;

const MODULE: &str = "(module
  (memory (export \"memory\") 1)
  (global $next (mut i32) (i32.const 16))
  (func (export \"cabi_realloc\")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $start i32)
    (local.set $start
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $start) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1)))))
    (local.get $start))
  (func $identity (param i32) (result i32) (local.get 0))
";

/// A registry with a function `app:NAME` for each of `functions`, which are names and types in WIT;
/// `definitions` are those of the named types.
pub(crate) fn registry<S: AsRef<str>>(definitions: &str, functions: &[(S, S)]) -> Registry {
    let padding = vec!["u32"; PADDING].join(", ");
    let (mut module, mut wit) = (MODULE.to_owned(), definitions.to_owned());
    let mut entries = String::new();
    for (name, ty) in functions {
        let (name, ty) = (name.as_ref(), ty.as_ref());
        // Writing to a string can't fail.
        let _ = writeln!(module, "  (export \"echo-{name}\" (func $identity))");
        let _ = writeln!(wit, "echo-{name}: func(v: {ty}, pad: tuple<{padding}>) -> tuple<{ty}, u32>;");
        let _ = writeln!(
            entries,
            "- name: {name}\n  kind: function.wat\n  source: file://echo.wat\n  wit: file://echo.wit\n  method: echo-{name}"
        );
    }
    module.push(')');
    Registry::new().file("echo.wat", &module).file("echo.wit", &wit).entries(&entries)
}
