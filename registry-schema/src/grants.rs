//! Host groups: what a token in `imports` grants, and which group an imported interface belongs to.
//!
//! The table is the contract of the public `en/wasm/hosts.md`. The compiler compares it with what a
//! component imports, the loader links by it, so both read it here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A group of host interfaces that is granted as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// `wasi:io`: acts only on handles that another group gave, so it is linked for every component.
    Io,
    /// `wasi:clocks`
    Clocks,
    /// `wasi:cli`
    Cli,
    /// `wasi:filesystem`
    Filesystem,
    /// `wasi:random`
    Random,
    /// `wasi:sockets`
    Sockets,
    /// `wasi:http`
    Http,
    /// `wippy:runtime/funcs`
    Funcs,
    /// `wippy:runtime/inbox`: what a process was sent.
    Inbox,
    /// `socket`: carried; the entry is marked unavailable.
    Socket,
    /// An interface of the embedding program, by its full name without version, such as `acme:kv/store`.
    Embedder(String),
}

/// The groups whose names and interfaces are fixed.
struct Known {
    group: Group,
    token: &'static str,
    package: &'static str,
    interfaces: &'static [&'static str],
}

const KNOWN: [Known; 9] = [
    Known {
        group: Group::Io,
        token: "wasi:io",
        package: "wasi:io",
        interfaces: &["error", "streams", "poll"],
    },
    Known {
        group: Group::Clocks,
        token: "wasi:clocks",
        package: "wasi:clocks",
        interfaces: &["wall-clock", "monotonic-clock", "system-clock", "types", "timezone"],
    },
    Known {
        group: Group::Cli,
        token: "wasi:cli",
        package: "wasi:cli",
        interfaces: &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
            "types",
        ],
    },
    Known {
        group: Group::Filesystem,
        token: "wasi:filesystem",
        package: "wasi:filesystem",
        interfaces: &["types", "preopens"],
    },
    Known {
        group: Group::Random,
        token: "wasi:random",
        package: "wasi:random",
        interfaces: &["random", "insecure", "insecure-seed"],
    },
    Known {
        group: Group::Sockets,
        token: "wasi:sockets",
        package: "wasi:sockets",
        interfaces: &[
            "instance-network",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
            "ip-name-lookup",
            "types",
        ],
    },
    Known {
        group: Group::Http,
        token: "wasi:http",
        package: "wasi:http",
        interfaces: &["types", "outgoing-handler", "client"],
    },
    Known { group: Group::Funcs, token: "funcs", package: "wippy:runtime", interfaces: &["funcs"] },
    Known { group: Group::Inbox, token: "inbox", package: "wippy:runtime", interfaces: &["inbox"] },
];

/// What a preview-1 module has: these tokens stand for several groups.
const PREVIEW1_TOKENS: [&str; 4] = ["wasi1", "preview1", "wasi-preview1", "wasi_snapshot_preview1"];

/// The last releases of WASI that the host has.
const LAST_RELEASES: [(u64, u64, u64); 2] = [(0, 2, 12), (0, 3, 0)];

/// The release that the host has of `interface`, where that is one of WASI in a later one.
pub fn earlier_release(interface: &str) -> Option<String> {
    let (package, version) = interface.split_once('@')?;
    let later = release(version).filter(|_| package.starts_with("wasi:"))?;
    let (major, minor, patch) =
        LAST_RELEASES.into_iter().find(|last| (last.0, last.1) == (later.0, later.1) && last.2 < later.2)?;
    Some(format!("{major}.{minor}.{patch}"))
}

/// The version of the package `wippy:runtime`.
pub const RUNTIME_VERSION: &str = "0.1.0";

/// The three numbers of a version that is no pre-release.
pub fn release(version: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(major), Some(minor), Some(patch), None) => Some((major?, minor?, patch?)),
        _ => None,
    }
}

impl Group {
    /// The token that people write in `imports`.
    pub fn token(&self) -> &str {
        match self {
            Self::Socket => "socket",
            Self::Embedder(interface) => interface,
            known => KNOWN
                .iter()
                .find(|row| row.group == *known)
                .map(|row| row.token)
                .expect("every other group stands in the table"),
        }
    }

    /// The group that the import `interface` (with or without `@version`) belongs to: a known one, or
    /// the embedder's for every interface outside `wasi:` and `wippy:`. `None` for names in those two
    /// packages that no group has, and for what is no interface name.
    pub fn of_interface(interface: &str) -> Option<Self> {
        let bare = interface.split('@').next().unwrap_or(interface);
        let (package, name) = bare.split_once('/')?;
        let mut rows = KNOWN.iter().filter(|row| row.package == package).peekable();
        if rows.peek().is_some() {
            return rows.find(|row| row.interfaces.contains(&name)).map(|row| row.group.clone());
        }
        let (namespace, _) = package.split_once(':')?;
        (!matches!(namespace, "wasi" | "wippy")).then(|| Self::Embedder(bare.to_owned()))
    }

    /// Whether the host has the version that `interface` names: any release of WASI 0.2 or 0.3, the one of
    /// `wippy:runtime`; for interfaces of the embedding program the linker decides.
    pub fn has_version(&self, interface: &str) -> bool {
        let version = interface.split_once('@').map(|(_, version)| version);
        match self {
            Self::Embedder(_) => true,
            Self::Funcs | Self::Inbox => version == Some(RUNTIME_VERSION),
            _ => matches!(version.and_then(release), Some((0, 2 | 3, _))),
        }
    }

    /// All groups of the table, in its order.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|row| row.group.clone())
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl Serialize for Group {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        match text.parse::<Token>() {
            Ok(token) if token.groups().len() == 1 => Ok(token.groups()[0].clone()),
            _ => Err(serde::de::Error::custom(format!("unknown host group `{text}`"))),
        }
    }
}

/// A token of `imports`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    groups: Vec<Group>,
}

impl Token {
    /// The groups that the token grants; more than one for the preview-1 spellings only.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Every token that is no interface name, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|row| row.token).chain(["wasi:poll", "socket"]).chain(PREVIEW1_TOKENS)
    }
}

/// A token that names no group and no interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToken(pub String);

impl fmt::Display for UnknownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown host import `{}`", self.0)
    }
}

impl std::error::Error for UnknownToken {}

impl FromStr for Token {
    type Err = UnknownToken;

    /// Tokens are trimmed, lower-cased and cut at `@`.
    fn from_str(text: &str) -> Result<Self, UnknownToken> {
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.split('@').next().unwrap_or_default();
        if PREVIEW1_TOKENS.contains(&bare) {
            return Ok(Self { groups: vec![Group::Clocks, Group::Cli, Group::Filesystem, Group::Random] });
        }
        let group = match bare {
            "socket" | "wippy:runtime/socket" => Some(Group::Socket),
            "wasi:poll" => Some(Group::Io),
            _ => KNOWN
                .iter()
                .find(|row| row.token == bare)
                .map(|row| row.group.clone())
                .or_else(|| Group::of_interface(bare)),
        };
        match group {
            Some(group) => Ok(Self { groups: vec![group] }),
            None => Err(UnknownToken(text.trim().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(token: &str) -> Vec<Group> {
        token.parse::<Token>().unwrap().groups().to_vec()
    }

    #[test]
    fn tokens_of_the_table() {
        assert_eq!(groups(" WASI:Clocks@0.2.3 "), [Group::Clocks]);
        assert_eq!(groups("wasi:cli/stdout"), [Group::Cli]);
        assert_eq!(groups("wasi:cli/stdout@0.2.0"), [Group::Cli]);
        assert_eq!(groups("wasi:poll"), [Group::Io]);
        assert_eq!(groups("wippy:runtime/funcs@0.1.0"), [Group::Funcs]);
        assert_eq!(groups("wippy:runtime/inbox"), [Group::Inbox]);
        assert_eq!(groups("inbox"), [Group::Inbox]);
        assert_eq!(groups("wasi_snapshot_preview1").len(), 4);
        assert_eq!(groups("acme:kv/store@1.0.0"), [Group::Embedder("acme:kv/store".into())]);
        for unknown in ["wasi:clock", "wasi:cli/nothing", "", "wippy:runtime/process", "kv"] {
            assert_eq!(unknown.parse::<Token>(), Err(UnknownToken(unknown.into())));
        }
    }

    #[test]
    fn versions_of_the_host() {
        for (interface, has) in [
            ("wasi:clocks/wall-clock@0.2.0", true),
            ("wasi:clocks/wall-clock@0.3.0", true),
            ("wasi:clocks/wall-clock@0.2.0-rc-2023-11-10", false),
            ("wasi:clocks/wall-clock@1.0.0", false),
            ("wasi:clocks/wall-clock", false),
            ("wippy:runtime/funcs@0.1.0", true),
            ("wippy:runtime/funcs@0.2.0", false),
            ("acme:kv/store@7.0.0", true),
        ] {
            assert_eq!(Group::of_interface(interface).unwrap().has_version(interface), has, "{interface}");
        }
    }

    #[test]
    fn releases_that_come_after_the_host() {
        for (interface, earlier) in [
            ("wasi:clocks/wall-clock@0.2.12", None),
            ("wasi:clocks/wall-clock@0.2.13", Some("0.2.12")),
            ("wasi:clocks/system-clock@0.3.0", None),
            ("wasi:clocks/system-clock@0.3.1", Some("0.3.0")),
            ("wasi:clocks/wall-clock@0.4.0", None),
            ("wasi:clocks/wall-clock@0.2.13-rc-1", None),
            ("acme:kv/store@0.2.13", None),
        ] {
            assert_eq!(earlier_release(interface).as_deref(), earlier, "{interface}");
        }
    }

    #[test]
    fn groups_read_back() {
        for group in Group::known().chain([Group::Socket, Group::Embedder("a:b/c".into())]) {
            assert_eq!(groups(group.token()), [group]);
        }
    }
}
