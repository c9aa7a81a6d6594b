//! The application of the public tutorial, laid out as the tutorial says, served by the binary: what its text
//! shows is what is printed and answered.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::Caching;

fn sample() -> PathBuf {
    support::crate_folder().parent().expect("the crate lies in the workspace").join("samples/tutorial")
}

/// Copies a folder. Registries become those of an application of its own that listens on any port.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let (path, name) = file.map(|file| (file.path(), file.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if path.extension().is_some_and(|it| it == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("./samples/tutorial/app/", "./").replace("\":8090\"", "\"127.0.0.1:0\"");
            fs::write(to.join(name), text).unwrap();
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The requests of `expected.txt`, written for curl: path, body and answer.
fn requests() -> Vec<(String, String, String)> {
    let expected = fs::read_to_string(sample().join("expected.txt")).unwrap();
    let mut lines = expected.lines();
    let mut requests = Vec::new();
    while let Some(line) = lines.next() {
        let Some(arguments) = line.strip_prefix("$ curl -X POST ") else { continue };
        let (body, url) = match arguments.strip_prefix("-d ") {
            Some(rest) => rest.split_once(' ').unwrap(),
            None => ("", arguments),
        };
        let path = url.strip_prefix("http://localhost:8090").unwrap();
        requests.push((path.to_owned(), body.to_owned(), lines.next().unwrap().to_owned()));
    }
    requests
}

/// The body of the answer to a request as curl sends it; one without a body has no length either.
fn post(address: SocketAddr, path: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost:8090\r\nconnection: close\r\n{length}\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

#[test]
fn the_tutorial_runs_as_its_text_shows() {
    let folder = support::temporary_folder();
    copy(&sample().join("app"), folder.path());
    let bundle = folder.path().join("dist");
    support::compile(folder.path(), &bundle, Caching::Cached);
    let loader = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
        command.arg("--bundle").arg(&bundle).args(args).current_dir(folder.path());
        command
    };
    let printed = |args: &[&str]| support::outcome(&loader(args).output().unwrap());

    let commands = "Available commands:\n  greet    Greet someone via WASM\n  ls       List files from mounted directory\n";
    assert_eq!(printed(&["run", "list"]), (Some(0), commands.to_owned(), String::new()));
    let (code, _, usage) = printed(&["run", "greet"]);
    assert_eq!(code, Some(2));
    assert!(usage.contains("greet <name: string>"), "{usage}");
    // Printed by the guest, then as what it returned.
    let (code, listing, _) = printed(&["run", "ls", "/data"]);
    let names: Vec<&str> = listing.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    let once = ["_index.yaml", "demo_component.wasm", "from_lua.lua"];
    assert_eq!((code, names), (Some(0), [once, once].concat()));

    let mut serving = loader(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address =
        lines.find_map(|line| line.split_once(" listens on ").map(|(_, it)| it.to_owned())).unwrap();
    let address = address.split_whitespace().next().unwrap().parse().unwrap();
    let requests = requests();
    assert_eq!(requests.len(), 3);
    for (path, body, expected) in requests {
        assert_eq!(post(address, &path, &body), expected);
    }
    let stopped = Command::new("kill").arg("-TERM").arg(serving.id().to_string()).status().unwrap();
    assert!(stopped.success());
    // Its log is read to the end, so that it never waits for a reader.
    lines.for_each(drop);
    assert!(serving.wait().unwrap().success());
}
