use super::*;
use serde_json::json;

fn shown(body: Value) -> Vec<String> {
    let body: Body = serde_json::from_value(body).unwrap();
    let all = requirements(&body).into_iter();
    all.map(|(what, by)| format!("{what} <- {}", by.into_iter().collect::<Vec<_>>().join(" "))).collect()
}

fn body(config: &Value, entries: &Value) -> Value {
    let head = json!({"compiler": "48.0.8", "engines": {}, "targets": [], "config": config});
    json!({"head": head, "artifacts": [], "entries": entries})
}

fn data(id: &str, kind: &str, data: &Value) -> Value {
    json!({"id": id, "kind": kind, "data": data})
}

fn wasm(id: &str, mut fields: Value) -> Value {
    let component = registry_schema::Digest::of(b"c").to_string();
    fields["component"] = json!(component);
    fields["profile"] = json!("sync");
    fields["export"] = json!({"function": "f"});
    json!({"id": id, "kind": "function.wasm", "wasm": fields})
}

#[test]
fn folders_are_those_that_are_reached_at_run_time() {
    let entries = json!([
        data("a:data", "fs.directory", &json!({"directory": "./data", "auto_init": true})),
        data("a:wasm", "fs.directory", &json!({"directory": "./wasm"})),
        wasm("a:reads", json!({"wasi": {"mounts": [{"fs": "data", "guest": "/d", "read_only": true}]}})),
        wasm("a:writes", json!({"wasi": {"mounts": [{"fs": "a:data", "guest": "/d"}]}})),
    ]);
    assert_eq!(
        shown(body(&json!({}), &entries)),
        ["folder    ./data (a:data: read and write, created when missing) <- a:reads a:writes"]
    );
}

#[test]
fn folders_of_a_module_are_below_its_own() {
    let of_module = |id: &str, data: &Value| json!({"id": id, "kind": "fs.directory", "module_folder": "vendor/jobs", "data": data});
    let mounts = json!([{"fs": "kept", "guest": "/k"}, {"fs": "shared", "guest": "/s"}]);
    let entries = json!([
        of_module("a:kept", &json!({"directory": "kept", "base": "module"})),
        of_module("a:shared", &json!({"directory": "/srv/shared", "base": "module"})),
        wasm("a:uses", json!({"wasi": {"mounts": mounts}})),
    ]);
    assert_eq!(
        shown(body(&json!({}), &entries)),
        [
            "folder    /srv/shared (a:shared: read and write) <- a:uses",
            "folder    vendor/jobs/kept (a:kept: read and write) <- a:uses",
        ]
    );
}

#[test]
fn variables_are_those_that_a_deployment_can_set() {
    let entries = json!([
        data("a:os", "env.storage.os", &json!({})),
        data("a:fixed", "env.storage.static", &json!({"values": {"MODE": "x"}})),
        data("a:both", "env.storage.router", &json!({"storages": ["a:fixed", "os"]})),
        data("a:circle", "env.storage.router", &json!({"storages": ["circle"]})),
        data("a:mode", "env.variable", &json!({"variable": "MODE", "storage": "a:fixed"})),
        data("a:token", "env.variable", &json!({"variable": "TOKEN", "storage": "both"})),
        data("a:level", "env.variable", &json!({"storage": "os", "default": "info"})),
        data("a:round", "env.variable", &json!({"storage": "circle"})),
        data("a:srv", "http.service", &json!({"addr": ":${env:PORT|8080}", "tls": {"key": "${env:TOKEN}"}})),
        data("a:port", "env.variable", &json!({"variable": "PORT", "storage": "os"})),
        data("a:text", "registry.entry", &json!({"text": "$${env:level} ${level} ${UNKNOWN|x} ${env:"})),
        wasm("a:f", json!({"wasi": {"env": [{"id": "level", "name": "L", "required": true}]}})),
    ]);
    assert_eq!(
        shown(body(&json!({}), &entries)),
        [
            "variable  PORT <- a:port a:srv",
            "variable  TOKEN (required) <- a:srv a:token",
            "variable  level <- a:f a:level",
            "port      :${env:PORT|8080} (a:srv) <- a:srv",
        ]
    );
}

#[test]
fn hosts_and_ports_come_from_entries_and_settings() {
    let entries = json!([
        wasm("a:closed", json!({"grants": ["wasi:http"], "network": {"allow": ["api.example.com:443"]}})),
        wasm("a:open", json!({"grants": ["wasi:sockets"]})),
        wasm("a:alone", json!({"grants": ["wasi:cli"]})),
        json!({"id": "a:lua", "kind": "function.lua",
               "lua": {"source": registry_schema::Digest::of(b"").to_string(), "modules": ["http_client"]}}),
    ]);
    let config = json!({
        "prometheus": {"enabled": true, "address": "0.0.0.0:9090"},
        "otel": {"enabled": false, "endpoint": "http://jaeger:4318"}
    });
    assert_eq!(
        shown(body(&config, &entries)),
        [
            "port      0.0.0.0:9090 (prometheus) <- prometheus",
            "host      any that policies allow <- a:lua a:open",
            "host      api.example.com:443 <- a:closed",
        ]
    );
}
