//! `loader explain CODE`: what an error's kind means, and how to mend it; and why a bundle is refused.
//!
//! `docs/loader-errors.md` holds the same; a test compares.

use registry_schema::ErrorKind;

/// What can be explained, in the order of the document: kinds of errors, then refusals of bundles.
pub(crate) const CATALOGUE: &[Explained] = &[
    kind(
        ErrorKind::NotFound,
        "The thing asked for does not exist: no entry has this id, or a required variable is not set.",
        "`loader list` shows the ids of the bundle; names of variables are in the message.",
    ),
    kind(ErrorKind::AlreadyExists, "The thing to be made exists.", "Use it, or another name."),
    kind(
        ErrorKind::Invalid,
        "A malformed target, a wrong argument, or a wrong number of them; nothing was called.",
        "The message names the parameter, what was found and what is expected; `loader list` shows signatures.",
    ),
    kind(
        ErrorKind::PermissionDenied,
        "A policy does not allow it, or a guest called an import that its entry is not granted.",
        "Add the token that the message names to the entry's `imports`, or allow the action in a policy of the \
         caller's scope.",
    ),
    kind(
        ErrorKind::Unavailable,
        "It is not offered here, or not at the moment: an entry that needs what this loader has not, a pool \
         whose queue was full until the deadline, calls nested too deep, shutting down.",
        "`loader list` says what an entry needs. If the error is retryable, call again later, or give the \
         entry a larger `pool`.",
    ),
    kind(
        ErrorKind::Internal,
        "The guest trapped, met a limit of memory, tables or stack, or could not be instantiated; or a file of \
         the bundle is damaged.",
        "The message names entry, method and trap, the details hold the guest's backtrace. Raise the limit that \
         is named (`limits` of the entry, or `wasm.limits`); `loader verify` checks the bundle.",
    ),
    kind(
        ErrorKind::Canceled,
        "The caller gave up: its call was dropped or cancelled.",
        "Nothing is to be mended.",
    ),
    kind(
        ErrorKind::Conflict,
        "The state of the thing does not allow it.",
        "Read the state again, then decide.",
    ),
    kind(
        ErrorKind::Timeout,
        "The time limit was met, computing or waiting alike.",
        "Raise `limits.max_execution_ms` of the entry, `wasm.limits.max_execution_ms`, or the caller's timeout.",
    ),
    kind(ErrorKind::RateLimited, "Too many requests.", "Call again later."),
    kind(
        ErrorKind::Unknown,
        "The function failed without saying what kind of failure it is.",
        "Read its message.",
    ),
    refusal(
        "BUNDLE_IO",
        "A file of the bundle can't be read.",
        "Build the bundle with `compiler build`, or name its folder with `--bundle`.",
    ),
    refusal(
        "BUNDLE_FORMAT",
        "The manifest has a format that this loader does not read, or is no manifest.",
        "Rebuild it with the compiler of the loader's version.",
    ),
    refusal(
        "BUNDLE_DIGEST",
        "The manifest was changed after it was written.",
        "Copy the bundle again, or rebuild it.",
    ),
    refusal(
        "BUNDLE_INCOMPATIBLE",
        "The bundle was made by another compiler, with other engine options, or for other machines.",
        "Rebuild it with the compiler of the loader's version and `--target` of the machine.",
    ),
    refusal(
        "BUNDLE_DISTRUSTED",
        "The bundle is not signed by a key of `--verify-key`, or by a compiler that is denied or too old.",
        "Sign it with `compiler build --sign-key`, or rebuild it with a newer compiler.",
    ),
    refusal(
        "SETTINGS",
        "A setting of a flag, the environment or `.wippy.yaml` is not known or can't be used.",
        "`loader config` shows every setting with its source.",
    ),
];

/// One code.
pub(crate) struct Explained {
    pub(crate) code: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) mend: &'static str,
}

const fn kind(kind: ErrorKind, meaning: &'static str, mend: &'static str) -> Explained {
    Explained { code: kind.as_str(), meaning, mend }
}

const fn refusal(code: &'static str, meaning: &'static str, mend: &'static str) -> Explained {
    Explained { code, meaning, mend }
}

/// The text of `code`, in any case; `None` for one that there is not.
pub(crate) fn explain(code: &str) -> Option<String> {
    let found = CATALOGUE.iter().find(|explained| explained.code.eq_ignore_ascii_case(code))?;
    Some(format!("{}\n\n{}\n\n{}\n", found.code, found.meaning, found.mend))
}
