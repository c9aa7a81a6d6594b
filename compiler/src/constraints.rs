//! What holds within one entry beyond the types of its fields: required ones, ranges, names that must be
//! unique, paths that must be absolute. A value that is a placeholder is left to boot.

use std::collections::BTreeSet;

use registry_schema::authored::Definition;
use registry_schema::authored::http::{EndpointMeta, HttpEndpoint, RouterMeta};
use registry_schema::authored::lifecycle::Lifecycle;
use registry_schema::authored::lua::FunctionMeta;
use registry_schema::authored::process::ProcessMeta;
use registry_schema::authored::scalar::{Templated, has_placeholder};
use registry_schema::authored::security::{Operator, SecurityPolicy};
use registry_schema::authored::wasm::{Wasi, Wasm};
use registry_schema::decode;
use serde::Deserialize;

use crate::diagnostic::{Code, Diagnostics};
use crate::fields;
use crate::raw::RawEntry;

/// Checks the typed fields of an entry.
pub(crate) fn check(raw: &RawEntry, definition: &Definition, diagnostics: &mut Diagnostics) {
    let mut check = Check { raw, diagnostics };
    match definition {
        Definition::FunctionWat(wasm) => check.wat(wasm),
        Definition::FunctionWasm(wasm) | Definition::ProcessWasm(wasm) => check.binary(wasm),
        Definition::FunctionLua(lua) => {
            let pool = lua.pool.clone().unwrap_or_default();
            check.at_least_one("pool.size", pool.size.as_ref());
            check.at_least_one("pool.workers", pool.workers.as_ref());
            check.at_least_one("pool.max_size", pool.max_size.as_ref());
        }
        Definition::ProcessHost(host) => {
            let host = host.host.clone().unwrap_or_default();
            check.at_least_one("host.workers", host.workers.as_ref());
            check.at_least_one("host.queue_size", host.queue_size.as_ref());
            check.at_least_one("host.local_queue_size", host.local_queue_size.as_ref());
            check.at_least_one("host.max_processes", host.max_processes.as_ref());
        }
        Definition::HttpService(service) => {
            let host = service.host.clone().unwrap_or_default();
            check.at_least_one("host.buffer_size", host.buffer_size.as_ref());
            check.at_least_one("host.worker_count", host.worker_count.as_ref());
        }
        Definition::HttpEndpoint(endpoint) => check.endpoint(endpoint),
        Definition::TokenStore(store) => check.at_least_one("token_length", store.token_length.as_ref()),
        Definition::EnvVariable(variable) => check.variable(variable.variable.as_ref()),
        Definition::SecurityPolicy(policy) => check.policy(policy),
        _ => {}
    }
    if let Some(lifecycle) = lifecycle(definition) {
        check.lifecycle(lifecycle);
    }
    check.meta();
}

/// The `lifecycle` block of the kinds that have one.
pub(crate) fn lifecycle(definition: &Definition) -> Option<&Lifecycle> {
    match definition {
        Definition::ProcessLua(it) => it.lifecycle.as_ref(),
        Definition::ProcessHost(it) => it.lifecycle.as_ref(),
        Definition::ProcessService(it) => it.lifecycle.as_ref(),
        Definition::TerminalHost(it) => it.lifecycle.as_ref(),
        Definition::HttpService(it) => it.lifecycle.as_ref(),
        Definition::StoreMemory(it) => it.lifecycle.as_ref(),
        Definition::EnvStorageOs(it) => it.lifecycle.as_ref(),
        Definition::EnvStorageMemory(it) => it.lifecycle.as_ref(),
        Definition::EnvStorageStatic(it) => it.lifecycle.as_ref(),
        Definition::EnvStorageFile(it) => it.lifecycle.as_ref(),
        Definition::EnvStorageRouter(it) => it.lifecycle.as_ref(),
        _ => None,
    }
}

struct Check<'a> {
    raw: &'a RawEntry,
    diagnostics: &'a mut Diagnostics,
}

impl Check<'_> {
    fn wat(&mut self, wasm: &Wasm) {
        if wasm.source.is_none() {
            fields::missing(self.raw, "", "source", self.diagnostics);
        }
        self.wasm(wasm);
    }

    fn binary(&mut self, wasm: &Wasm) {
        for (field, is_given) in
            [("fs", wasm.fs.is_some()), ("path", wasm.path.is_some()), ("hash", wasm.hash.is_some())]
        {
            if !is_given {
                fields::missing(self.raw, "", field, self.diagnostics);
            }
        }
        self.wasm(wasm);
    }

    fn wasm(&mut self, wasm: &Wasm) {
        let pool = wasm.pool.clone().unwrap_or_default();
        self.at_least_one("pool.size", pool.size.as_ref());
        self.at_least_one("pool.workers", pool.workers.as_ref());
        self.at_least_one("pool.max_size", pool.max_size.as_ref());
        self.at_least_one("pool.max_uses", pool.max_uses.as_ref());
        for block in ["limits", "options.limits", "meta.options.limits"] {
            // The spellings are merged by now; the value is at the first place that has it.
            let path = format!("{block}.max_execution_ms");
            if self.raw.place_of(&path) != self.raw.place() {
                let limit = wasm.limits.as_ref().and_then(|limits| limits.max_execution_ms.as_ref());
                self.at_least(&path, limit.and_then(Templated::value).map(|ms| *ms as f64), 1.0);
                break;
            }
        }
        self.unique("adapters", "name", wasm.adapters.iter().map(|adapter| adapter.name.as_str()));
        if let Some(wasi) = &wasm.wasi {
            self.wasi(wasi);
        }
    }

    fn wasi(&mut self, wasi: &Wasi) {
        if let Some(Templated::Value(cwd)) = &wasi.cwd
            && !cwd.starts_with('/')
        {
            let message = format!("the working directory `{cwd}` is relative, expected an absolute path");
            self.report(Code::PathNotAbsolute, "wasi.cwd", message, None);
        }
        for (index, mapping) in wasi.env.iter().enumerate() {
            if mapping.name.is_empty() || mapping.name.contains(['=', '\0']) {
                let message = format!("`{}` can't name a variable", mapping.name.escape_debug());
                self.report(Code::OutOfRange, &format!("wasi.env.{index}.name"), message, None);
            }
        }
        self.unique("wasi.env", "name", wasi.env.iter().map(|mapping| mapping.name.as_str()));
        for (index, mount) in wasi.mounts.iter().enumerate() {
            if !mount.guest.starts_with('/') && !has_placeholder(&mount.guest) {
                let message =
                    format!("the guest path `{}` is relative, expected an absolute path", mount.guest);
                self.report(Code::PathNotAbsolute, &format!("wasi.mounts.{index}.guest"), message, None);
            }
        }
        let guests = wasi.mounts.iter().map(|mount| match mount.guest.trim_end_matches('/') {
            "" => mount.guest.as_str(),
            path => path,
        });
        self.unique("wasi.mounts", "guest", guests);
    }

    /// Reports values of `field` in the list at `list` that were there before.
    fn unique<'v>(&mut self, list: &str, field: &str, values: impl Iterator<Item = &'v str>) {
        let mut seen = BTreeSet::new();
        for (index, value) in values.enumerate() {
            if !seen.insert(value) && !has_placeholder(value) {
                let message = format!("`{value}` is given twice as `{field}` in `{list}`");
                self.report(Code::DuplicateName, &format!("{list}.{index}.{field}"), message, None);
            }
        }
    }

    fn endpoint(&mut self, endpoint: &HttpEndpoint) {
        if let Templated::Value(path) = &endpoint.path
            && !path.starts_with('/')
        {
            let message = format!("the path `{path}` does not start with `/`");
            self.report(Code::PathNotAbsolute, "path", message, None);
        }
    }

    fn variable(&mut self, name: Option<&Templated<String>>) {
        let Some(Templated::Value(name)) = name else { return };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            let message = format!("`{name}` can't name a variable");
            self.report(Code::OutOfRange, "variable", message, Some("use letters, digits and `_`"));
        }
    }

    fn policy(&mut self, policy: &SecurityPolicy) {
        for (index, condition) in policy.policy.conditions.iter().enumerate() {
            let path = format!("policy.conditions.{index}");
            let alone = matches!(
                condition.operator,
                Templated::Value(Operator::Exists | Operator::Nexists) | Templated::Template(_)
            );
            match (&condition.value, &condition.value_from) {
                (Some(_), Some(_)) => {
                    let message = format!("`{path}` has both `value` and `value_from`, expected one");
                    self.report(Code::OutOfRange, &path, message, None);
                }
                (None, None) if !alone => fields::missing(self.raw, &path, "value", self.diagnostics),
                _ => {}
            }
        }
    }

    fn lifecycle(&mut self, lifecycle: &Lifecycle) {
        let Some(restart) = &lifecycle.restart else { return };
        let value = |field: &Option<Templated<f64>>| field.as_ref().and_then(|it| it.value().copied());
        self.at_least("lifecycle.restart.backoff_factor", value(&restart.backoff_factor), 1.0);
        if let Some(jitter) = value(&restart.jitter)
            && !(0.0..=1.0).contains(&jitter)
        {
            let message = format!("found `{jitter}`, expected a share from 0 to 1");
            self.report(Code::OutOfRange, "lifecycle.restart.jitter", message, None);
        }
    }

    /// The parts of `meta` that have a meaning; the rest is free.
    fn meta(&mut self) {
        match self.raw.kind.as_str() {
            "process.wasm" | "process.lua" => self.meta_as::<ProcessMeta>(),
            "function.lua" | "function.wasm" | "function.wat" => self.meta_as::<FunctionMeta>(),
            "http.router" => {
                self.meta_as::<RouterMeta>();
                self.attached("server", "service");
            }
            "http.endpoint" => {
                self.meta_as::<EndpointMeta>();
                self.attached("router", "router");
            }
            _ => {}
        }
    }

    fn meta_as<'m, T: Deserialize<'m>>(&mut self)
    where
        Self: 'm,
    {
        let raw: &RawEntry = self.raw;
        if let Err(error) = decode_meta::<T>(raw) {
            fields::wrong(raw, "meta", &error, self.diagnostics);
        }
    }

    fn attached(&mut self, field: &str, to: &str) {
        if self.raw.meta.get(field).is_none() {
            let message =
                format!("`{}` names no {to} in `meta.{field}`, so it is never reached", self.raw.id);
            let diagnostic = self.raw.report(Code::NotAttached, message).at(self.raw.place());
            self.diagnostics.push(diagnostic.help(format!("add `meta: {{{field}: …}}`")));
        }
    }

    fn at_least_one(&mut self, path: &str, value: Option<&Templated<u32>>) {
        self.at_least(path, value.and_then(Templated::value).map(|value| f64::from(*value)), 1.0);
    }

    fn at_least(&mut self, path: &str, value: Option<f64>, least: f64) {
        if let Some(value) = value.filter(|value| *value < least) {
            let message = format!("found `{value}`, expected `{path}` to be {least} or more");
            self.report(Code::OutOfRange, path, message, None);
        }
    }

    fn report(&mut self, code: Code, path: &str, message: String, help: Option<&str>) {
        let mut diagnostic = self.raw.report(code, message).at(self.raw.place_of(path));
        diagnostic.help = help.map(str::to_owned);
        self.diagnostics.push(diagnostic);
    }
}

fn decode_meta<'m, T: Deserialize<'m>>(raw: &'m RawEntry) -> Result<T, decode::DecodeError> {
    decode::decode::<T>(&raw.meta).map(|(meta, _)| meta)
}
