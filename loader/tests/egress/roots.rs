//! Root certificates that the command line adds (`--ca-file`, `SSL_CERT_FILE`).

use std::process::Command;

use crate::server::{Encryption, Server, certificate, echo};
use crate::shared::reach;
use crate::support::{Built, REACH, Registry, outcome};

/// Runs `loader OPTIONS call app:fetch`, which asks the server at `port`; what it prints.
async fn ask(built: &Built, port: u16, options: &[&str], variable: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.arg("--bundle").arg(built.as_ref()).args(options).env_remove("SSL_CERT_FILE");
    command.envs(variable.map(|file| ("SSL_CERT_FILE", file)));
    command.args(["call", "app:fetch", "GET", "https", &format!("localhost:{port}"), "/x", ""]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (code, stdout, _) = outcome(&output);
    (code, stdout)
}

#[tokio::test]
async fn roots_come_from_flags_and_from_the_environment() {
    let server = Server::start(Encryption::Tls, echo).await;
    let port = server.port();
    let listed = vec![format!("localhost:{port}")];
    let built = reach(REACH, Registry::new(), "fetch", "fetch", Some(&listed)).build();
    let (ca, other) = (certificate("ca.pem"), certificate("server.key"));
    let (ca, other) = (ca.to_str().unwrap(), other.to_str().unwrap());
    let good = (Some(0), "ok(\"200 GET /x HTTP/2.0 \")\n".to_owned());
    let bad = (Some(0), "err(\"TlsProtocolError\")\n".to_owned());
    assert_eq!(ask(&built, port, &[], None).await, bad);
    assert_eq!(ask(&built, port, &[], Some(ca)).await, good);
    assert_eq!(ask(&built, port, &["--ca-file", ca], None).await, good);
    // A flag stands for the variable; a file without certificates fails what is encrypted.
    assert_eq!(ask(&built, port, &["--ca-file", ca], Some(other)).await, good);
    assert_eq!(ask(&built, port, &["--ca-file", other, "--ca-file", ca], None).await, bad);
    assert_eq!(ask(&built, port, &[], Some(other)).await, bad);
    assert_eq!(ask(&built, port, &[], Some("")).await, bad);
}
