//! Root certificates beside the public ones (`tls.ca_files`, `--ca-file`, `SSL_CERT_FILE`).

use std::process::Command;

use loader::{Context, Data};
use serde_json::json;

use crate::server::{Encryption, Server, certificate, echo};
use crate::shared::{call, open, policy, reach, text, with_policies};
use crate::support::{Built, Guest, REACH, Registry, outcome};

/// Runs `loader OPTIONS call app:fetch`, which asks the server at `port`; its exit code and what it prints.
async fn ask(
    built: &Built,
    port: u16,
    options: &[&str],
    variable: Option<&str>,
) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.arg("--bundle").arg(built.as_ref()).args(options).env_remove("SSL_CERT_FILE");
    command.envs(variable.map(|file| ("SSL_CERT_FILE", file)));
    command.args(["call", "app:fetch", "GET", "https", &format!("localhost:{port}"), "/x", ""]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    outcome(&output)
}

#[tokio::test]
async fn roots_come_from_flags_and_from_the_environment() {
    let server = Server::start(Encryption::Tls, echo).await;
    let port = server.port();
    let listed = vec![format!("localhost:{port}")];
    let built = reach(REACH, Registry::new(), "fetch", "fetch", Some(&listed)).build();
    let (ca, other) = (certificate("ca.pem"), certificate("server.key"));
    let (ca, other) = (ca.to_str().unwrap(), other.to_str().unwrap());
    let good = (Some(0), "ok(\"200 GET /x HTTP/2.0 \")\n".to_owned(), String::new());
    let untrusted = (Some(0), "err(\"TlsProtocolError\")\n".to_owned(), String::new());
    assert_eq!(ask(&built, port, &[], None).await, untrusted);
    assert_eq!(ask(&built, port, &[], Some("")).await, untrusted);
    assert_eq!(ask(&built, port, &[], Some(ca)).await, good);
    assert_eq!(ask(&built, port, &["--ca-file", ca], None).await, good);
    let set = format!("tls.ca_files={ca}");
    assert_eq!(ask(&built, port, &["--set", &set], None).await, good);
    // A flag stands for the variable.
    assert_eq!(ask(&built, port, &["--ca-file", ca], Some(other)).await, good);
    // All of several count, and a file without certificates ends everything.
    let (code, stdout, stderr) = ask(&built, port, &["--ca-file", other, "--ca-file", ca], None).await;
    let start = format!("error: setting `tls.ca_files` of `--ca-file`: `{other}` has no certificates");
    assert!(code == Some(3) && stdout.is_empty() && stderr.starts_with(&start), "{stderr}");
    // What all programs are given ends what needs it.
    assert_eq!(ask(&built, port, &[], Some(other)).await, untrusted);
}

/// A bundle whose `app:fetch` is that of `guest`, and whose `.wippy.yaml` names the root or not.
fn fetching(guest: Guest, port: u16, trusting: Trusting) -> Built {
    let listed = vec![format!("localhost:{port}")];
    reach(guest, trusting.registry(), "fetch", "fetch", Some(&listed)).build()
}

#[derive(Clone, Copy)]
enum Trusting {
    PublicRoots,
    TestAuthority,
}

impl Trusting {
    const BOTH: [Self; 2] = [Self::PublicRoots, Self::TestAuthority];

    fn registry(self) -> Registry {
        let ca = std::fs::read_to_string(certificate("ca.pem")).unwrap();
        let registry = Registry::new().file("roots/ca.pem", &ca);
        match self {
            Self::PublicRoots => registry,
            Self::TestAuthority => registry.file(".wippy.yaml", "tls: {ca_files: [roots/ca.pem]}\n"),
        }
    }
}

/// A guest of either release of WASI.
pub(crate) async fn a_guest_trusts_the_roots_of_the_setting(guest: Guest) {
    let server = Server::start(Encryption::Tls, echo).await;
    for trusting in Trusting::BOTH {
        let built = fetching(guest, server.port(), trusting);
        let loader = open(&built);
        let args = ["GET", "https", &format!("localhost:{}", server.port()), "/x", ""].map(text);
        let expected = match trusting {
            Trusting::PublicRoots => Err("TlsProtocolError".to_owned()),
            Trusting::TestAuthority => Ok("200 GET /x HTTP/2.0 ".to_owned()),
        };
        assert_eq!(call(&loader, "fetch", &args, Context::default()).await, expected);
    }
}

/// Lua's `http_client`, with and without settings of TLS of its own.
#[tokio::test]
async fn requests_of_lua_trust_the_roots_of_the_setting() {
    let server = Server::start(Encryption::Tls, echo).await;
    let mutual = Server::start(Encryption::MutualTls, echo).await;
    let source = r#"
- name: f
  kind: function.lua
  modules: [http_client]
  source: |
    local http_client = require("http_client")
    return function(url, tls)
      local response, err = http_client.get(url, {tls = tls})
      return response and response.body or err:message()
    end
"#;
    let actions = "[http_client.request, http_client.private_ip]";
    let table = |value: serde_json::Value| Data::from(&value);
    let pem = |name: &str| std::fs::read_to_string(certificate(name)).unwrap();
    let (url, by_address) =
        (format!("https://localhost:{}/x", server.port()), format!("https://127.0.0.1:{}/x", server.port()));
    let as_client = table(json!({"cert": pem("client.pem"), "key": pem("client.key")}));
    let requests = [
        (url.clone(), Data::Nil),
        (url.clone(), table(json!({}))),
        (by_address, table(json!({"server_name": "localhost"}))),
        (format!("https://localhost:{}/x", mutual.port()), as_client),
    ];
    for trusting in Trusting::BOTH {
        let built = trusting.registry().entries(source).entries(&policy("all", actions, "\"*\"")).build();
        let loader = open(&built);
        let ask = async |url: &str, tls: &Data| {
            let args = vec![Data::from(url), tls.clone()];
            loader.call_data("app:f", args, with_policies(&loader, &["all"])).await.unwrap()
        };
        for (url, tls) in &requests {
            let said = ask(url, tls).await;
            let said = said.as_str().unwrap();
            match trusting {
                Trusting::PublicRoots => assert!(said.contains("UnknownIssuer"), "{said}"),
                Trusting::TestAuthority => assert_eq!(said, "GET /x HTTP/2.0 "),
            }
        }
        // Whoever names a `ca` trusts that alone.
        let said = ask(&url, &table(json!({"ca": pem("client.pem")}))).await;
        assert!(said.as_str().unwrap().contains("UnknownIssuer"), "{said:?}");
    }
}
