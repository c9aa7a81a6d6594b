//! Grants never leak: whatever was called before, an entry has its own and no others.

use futures_util::future::join_all;
use loader::{Error, ErrorKind, Loader, Options, Val};

use crate::outcomes::call;
use crate::support::{Built, Guest, PREVIEW1_FILES, REACH, REACH_ASYNC, Registry, WASI_IMPORTS};

/// Something that a guest tries, and the token that it needs.
struct Attempt {
    name: &'static str,
    guest: Guest,
    method: &'static str,
    token: &'static str,
    args: &'static [&'static str],
}

const fn attempt(
    name: &'static str,
    guest: Guest,
    method: &'static str,
    token: &'static str,
    args: &'static [&'static str],
) -> Attempt {
    Attempt { name, guest, method, token, args }
}

/// Closed by the rules of what leaves the machine, for who may try.
const REQUEST: &[&str] = &["GET", "http", "127.0.0.1:9", "/", ""];
const LOCAL: &[&str] = &["localhost"];

/// Each group, by guests of WASI 0.2, 0.3 and preview 1.
const ATTEMPTS: [Attempt; 13] = [
    attempt("clock", WASI_IMPORTS, "now", "wasi:clocks", &[]),
    attempt("random", WASI_IMPORTS, "random", "wasi:random", &[]),
    attempt("output", REACH, "print", "wasi:cli", &["word"]),
    attempt("lookup", REACH, "resolve", "wasi:sockets", LOCAL),
    attempt("request", REACH, "fetch", "wasi:http", REQUEST),
    attempt("mounts", REACH, "mounts", "wasi:filesystem", &[]),
    attempt("clock-3", REACH_ASYNC, "wait", "wasi:clocks", &["0"]),
    attempt("random-3", REACH_ASYNC, "random", "wasi:random", &[]),
    attempt("output-3", REACH_ASYNC, "print", "wasi:cli", &["word"]),
    attempt("lookup-3", REACH_ASYNC, "resolve", "wasi:sockets", LOCAL),
    attempt("request-3", REACH_ASYNC, "fetch", "wasi:http", REQUEST),
    attempt("mounts-3", REACH_ASYNC, "mounts", "wasi:filesystem", &[]),
    attempt("preview-1", PREVIEW1_FILES, "create", "wasi1", &["/space/made"]),
];

/// All tokens but `own`, and but those that stand for it too.
fn others(own: &str) -> Vec<&'static str> {
    let others = ATTEMPTS.iter().map(|attempt| attempt.token);
    let preview1 = ["wasi:clocks", "wasi:cli", "wasi:filesystem", "wasi:random"];
    let mut others: Vec<&str> = others
        .filter(|token| *token != own)
        .filter(|token| own != "wasi1" || !preview1.contains(token))
        .filter(|token| *token != "wasi1" || !preview1.contains(&own))
        .collect();
    others.sort_unstable();
    others.dedup();
    others
}

/// An entry that tries: an attempt, with its own grant or with all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    attempt: usize,
    granted: bool,
}

const EVERY: [Entry; 2 * ATTEMPTS.len()] = {
    let mut every = [Entry { attempt: 0, granted: false }; 2 * ATTEMPTS.len()];
    let mut at = 0;
    while at < every.len() {
        every[at] = Entry { attempt: at / 2, granted: at % 2 == 0 };
        at += 1;
    }
    every
};

impl Entry {
    fn name(self) -> String {
        let name = ATTEMPTS[self.attempt].name;
        if self.granted { name.to_owned() } else { format!("no-{name}") }
    }

    async fn check(self, loader: &Loader) {
        let Attempt { args, method, token, .. } = &ATTEMPTS[self.attempt];
        let value = |text: &&str| match *method {
            "wait" => Val::U64(text.parse().unwrap()),
            _ => Val::String((*text).into()),
        };
        let args: Vec<Val> = args.iter().map(value).collect();
        let outcome = call(loader, &self.name(), &args).await;
        assert_eq!(has(token, &outcome), self.granted, "{}: {outcome:?}", self.name());
    }
}

/// Whether a guest had what `token` grants.
fn has(token: &str, outcome: &Result<Option<Val>, Error>) -> bool {
    match outcome {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            // What the adapter of preview 1 calls first.
            let lacking = if token == "wasi1" { "wasi:cli" } else { token };
            assert!(error.message().ends_with(&format!("add `{lacking}` to its `imports`")), "{error}");
            false
        }
        // Who was given no folder is told of none.
        Ok(Some(Val::List(mounts))) => !mounts.is_empty(),
        Ok(Some(Val::S32(code))) => *code == 0,
        Ok(_) => true,
    }
}

fn built() -> Built {
    let mut registry = Registry::new()
        .entries("- name: data\n  kind: fs.directory\n  directory: data\n")
        .file("data/file", "content");
    for entry in EVERY {
        let Attempt { guest, method, token, .. } = ATTEMPTS[entry.attempt];
        let tokens = if entry.granted { vec![token] } else { others(token) };
        let wit = if token == "wasi1" { "wit: \"create: func(path: string) -> s32\"\n" } else { "" };
        let more = format!("{wit}imports: {tokens:?}\nwasi: {{mounts: [{{fs: data, guest: /space}}]}}");
        registry = registry.guest(&entry.name(), guest, method, &more);
    }
    registry.build()
}

fn open(built: &Built) -> Loader {
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    Loader::builder().options(options).open(built).unwrap()
}

/// All orders of `entries`, by Heap's method.
fn permutations(entries: &mut [Entry], count: usize, visit: &mut impl FnMut(&[Entry])) {
    if count <= 1 {
        return visit(entries);
    }
    for at in 0..count {
        permutations(entries, count - 1, visit);
        entries.swap(if count.is_multiple_of(2) { at } else { 0 }, count - 1);
    }
}

/// `entries` in another order, the same for the same seed.
fn shuffled(mut entries: Vec<Entry>, mut seed: u64) -> Vec<Entry> {
    for at in (1..entries.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        entries.swap(at, (seed >> 33) as usize % (at + 1));
    }
    entries
}

#[tokio::test]
async fn entries_of_few_groups_keep_their_grants_in_all_orders() {
    let built = built();
    // Of one component and of several, of one group and of several.
    let of = |names: [&str; 4]| names.map(|name| *EVERY.iter().find(|entry| entry.name() == name).unwrap());
    let mut orders = 0;
    for names in [
        ["output", "no-output", "request", "no-request"],
        ["clock-3", "no-clock-3", "clock", "no-clock"],
        ["mounts-3", "no-mounts-3", "preview-1", "no-preview-1"],
        ["lookup-3", "no-lookup-3", "request-3", "no-request-3"],
    ] {
        let mut order = of(names);
        let mut all = Vec::new();
        permutations(&mut order, names.len(), &mut |order| all.push(order.to_vec()));
        for order in all {
            let loader = open(&built);
            for entry in order {
                entry.check(&loader).await;
            }
            orders += 1;
        }
    }
    assert_eq!(orders, 4 * 24);
}

#[tokio::test]
async fn entries_of_all_groups_keep_their_grants_in_any_order() {
    let built = built();
    let kept = open(&built);
    for seed in 0..8 {
        let fresh = open(&built);
        for entry in shuffled(EVERY.to_vec(), seed) {
            entry.check(&fresh).await;
            entry.check(&kept).await;
        }
    }
    // All at once.
    let fresh = open(&built);
    let entries = shuffled([EVERY, EVERY].concat(), 8);
    join_all(entries.iter().map(|entry| entry.check(&fresh))).await;
}
