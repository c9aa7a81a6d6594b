//! What may stand next on a command line: `loader complete WORD...`, asked by the scripts of
//! `loader completions SHELL`.
//!
//! All shells know the same this way, and ids and commands are those of the bundle that the line names. Where
//! nothing is known the shells offer files.

use std::ffi::OsString;
use std::path::PathBuf;

use loader::Loader;
use loader::config::Allocation;

use crate::explain;

/// Shells that there is a script for.
pub(crate) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

const COMMANDS: &[&str] = &[
    "list",
    "call",
    #[cfg(feature = "lua")]
    "run",
    "verify",
    "config",
    "explain",
    "completions",
];

/// Options of every command that take a value; what is known of it.
const VALUED: [(&str, &[&str]); 9] = [
    ("--bundle", &[]),
    ("--root", &[]),
    ("--ca-file", &[]),
    ("--verify-key", &[]),
    ("--minimum-compiler", &[]),
    ("--deny-list", &[]),
    ("--set", &[]),
    ("--log-level", &["debug", "info", "warn", "error", "off"]),
    ("--log-format", &["text", "json"]),
];

/// Options of every command that take none.
const FLAGS: [&str; 3] = ["--seal", "--help", "--version"];

/// The script of `shell`; `None` for one that is not known.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(BASH),
        "zsh" => Some(ZSH),
        "fish" => Some(FISH),
        _ => None,
    }
}

/// What the last of `words`, which may be empty, can become; the program's name is none of them.
pub(crate) fn candidates(words: &[String]) -> Vec<String> {
    let Some((current, before)) = words.split_last() else { return Vec::new() };
    let line = Line::read(before);
    let mut found = line.awaited();
    if current.starts_with('-') && line.option.is_none() && !line.is_named {
        found.extend(line.options().map(str::to_owned));
    }
    found.retain(|word| word.starts_with(current));
    found
}

/// What is on a command line already.
#[derive(Default)]
struct Line<'a> {
    bundle: Option<&'a str>,
    command: Option<&'a str>,
    /// Whether the command has what it is about; arguments of that follow.
    is_named: bool,
    /// The option whose value comes next.
    option: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn read(words: &'a [String]) -> Self {
        let mut line = Self::default();
        for word in words.iter().map(String::as_str) {
            match line.option.take() {
                Some("--bundle") => line.bundle = Some(word),
                Some("-x" | "--exec") => line.is_named = true,
                Some(_) => {}
                None if line.is_named => {}
                None if line.takes_value(word) => line.option = Some(word),
                None if word.starts_with("--bundle=") => line.bundle = word.strip_prefix("--bundle="),
                None if word.starts_with('-') => {}
                None if line.command.is_none() => line.command = Some(word),
                None => line.is_named = true,
            }
        }
        line
    }

    fn takes_value(&self, option: &str) -> bool {
        let of_run = self.command == Some("run") && ["-x", "--exec", "--host"].contains(&option);
        of_run || VALUED.iter().any(|(name, _)| *name == option)
    }

    /// The options that may stand here.
    fn options(&self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self.command {
            Some("call") => &["--trace"],
            Some("run") => &["--preload", "--host", "--exec", "-x"],
            _ => &[],
        };
        own.iter().copied().chain(VALUED.iter().map(|(name, _)| *name)).chain(FLAGS)
    }

    /// The words that may stand here, but for options.
    fn awaited(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(option) = self.option {
            return match option {
                "-x" | "--exec" => self.ids(|kind| matches!(kind, "process.lua" | "process.wasm")),
                "--host" => self.ids(|kind| kind == "terminal.host"),
                option => {
                    words(VALUED.iter().find(|(name, _)| *name == option).map_or(&[], |(_, known)| known))
                }
            };
        }
        match self.command {
            None => words(COMMANDS),
            Some(_) if self.is_named => Vec::new(),
            Some("call") => self.ids(|kind| kind.starts_with("function.")),
            #[cfg(feature = "lua")]
            Some("run") => self.commands(),
            Some("explain") => explain::CATALOGUE.iter().map(|explained| explained.code.to_owned()).collect(),
            Some("completions") => words(&SHELLS),
            Some(_) => Vec::new(),
        }
    }

    /// The bundle that the line is about, if it can be opened.
    fn loader(&self) -> Option<Loader> {
        let variable = || std::env::var_os("WIPPY_BUNDLE").filter(|path| !path.is_empty());
        let path: OsString = self.bundle.map(Into::into).or_else(variable).unwrap_or_else(|| "dist".into());
        let options = loader::Options { allocation: Allocation::OnDemand, ..loader::Options::default() };
        Loader::builder().options(options).open(PathBuf::from(path)).ok()
    }

    /// Ids of the bundle's entries of a kind.
    fn ids(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = self.loader().and_then(|loader| loader.entries().ok()).unwrap_or_default();
        let wanted =
            entries.into_iter().filter(|entry| is_wanted(&entry.kind) && entry.unavailable.is_none());
        wanted.map(|entry| entry.id.to_string()).collect()
    }

    /// `list`, and the bundle's commands.
    #[cfg(feature = "lua")]
    fn commands(&self) -> Vec<String> {
        let commands = self.loader().and_then(|loader| loader.commands().ok()).unwrap_or_default();
        std::iter::once("list".to_owned()).chain(commands.into_iter().map(|command| command.name)).collect()
    }
}

const BASH: &str = r#"_loader() {
    local line=${COMP_LINE:0:COMP_POINT} current start IFS=$' \t\n'
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    IFS=$'\n'
    COMPREPLY=($("$1" complete -- "${words[@]:1}" 2>/dev/null))
    # To bash a colon begins a word: what stands before it is on the line already.
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        start=${current%"${current##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$start"}")
    fi
}
complete -o default -F _loader loader
"#;

const ZSH: &str = r#"#compdef loader
_loader() {
    local -a found
    found=("${(@f)$("$words[1]" complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    if [[ -n $found[1] ]]; then compadd -a found; else _files; fi
}
# A file in `fpath` is the function's body the first time, otherwise it is read when the shell starts.
if [[ $funcstack[1] == _loader ]]; then _loader "$@"; else compdef _loader loader; fi
"#;

const FISH: &str = r#"function __loader_complete
    set -l words (commandline -opc)
    set -l found ($words[1] complete -- $words[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        string join \n -- $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c loader -f -a "(__loader_complete)"
"#;
