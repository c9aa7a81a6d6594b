//! The codes of diagnostics: one per kind of fault, stable once released.
//!
//! The first two digits name the pass: 01 files and YAML, 02 entries and fields, 03 references,
//! 04 sources, 05 imports and grants, 06 code generation and bundle. A code is never given another
//! meaning; one that is no longer used stays reserved. `compiler explain` and the catalogue in the
//! documentation are made from this table.

use crate::diagnostic::Severity::{self, Error, Warning};

/// Declares all codes once.
macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $summary:literal $explanation:literal)*) => {
        /// What kind of fault a diagnostic is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", stringify!($code), "`: ", $summary)] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as shown, such as `E0101`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($code),)*
                }
            }

            /// Its severity without `--strict`.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => $severity,)*
                }
            }

            /// One line: what is wrong.
            pub const fn summary(self) -> &'static str {
                match self {
                    $(Self::$name => $summary,)*
                }
            }

            /// A paragraph: why it is a fault, and how it is mended.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => $explanation,)*
                }
            }
        }
    };
}

codes! {
    E0101 YamlSyntax Error "a definition file is not valid YAML"
        "The file can't be read as YAML: the syntax is broken, a key stands twice in one mapping, or an \
         alias names no anchor. Nothing of the file is read; other files are. Mend the text at the place \
         that is shown. Each file holds one YAML document."
    E0102 YamlLimit Error "a definition file exceeds a limit of the reader"
        "The reader bounds size, depth and number of nodes (with aliases expanded), so that no file can \
         exhaust the machine. Registries stay far below: split the file, nest less, or write values out \
         instead of multiplying them by aliases."
    E0103 FileUnreadable Error "a file or folder can't be read"
        "The operating system refuses to read it, a link leads nowhere, or it is no UTF-8 text. Mend its \
         permissions or its encoding, or remove it from the registry's folders."
    E0104 LinkNotFollowed Warning "a symbolic link to a folder is not followed"
        "Folders behind symbolic links are not walked: a link back to a parent would never end, and a link \
         out of the root would make the build depend on what is not part of the project. Copy the folder, \
         or name it in `wippy.lock`."
    E0105 LockInvalid Error "`wippy.lock` can't be used"
        "`wippy.lock` names the folders that are walked: `directories: {src: ./src, modules: .wippy}`. Both \
         are relative to the folder of the lock file; the source folder must exist."
    E0106 ModulePacked Error "a module is only there as a `.wapp` pack"
        "Packs are not read. Write `options: {unpack_modules: true}` into `wippy.lock` and run \
         `wippy install`, which unpacks every module into a folder beside its pack."
    E0107 ModuleMissing Warning "a module is not installed"
        "`wippy.lock` pins a module or an `ns.dependency` asks for one, and neither its folder nor its pack is \
         below `directories.modules`. Entries that need something of it are unavailable. Run `wippy install`, \
         which installs what is pinned, or `wippy update`, which pins what dependencies ask for."
    E0108 ConfigInvalid Error "`.wippy.yaml` can't be used"
        "The file is not valid YAML, or one of its sections has another shape than documented: `override`, \
         `vars` and the sections of the runtime are mappings, `disable` holds the lists `namespaces` and \
         `entries`."
    E0109 FormatVersion Error "a definition file has an unknown format version"
        "`version` is the version of the format of definition files, not of the application or module. This \
         compiler reads `\"1.0\"`; the field may be left out. A later format, such as `2.0`, is not read; any \
         other version is taken for a mistake, and a warning."
    E0110 NamespaceMissing Warning "a file has entries but no namespace"
        "A file without `namespace` is not a definition file and is skipped with all its entries. Add \
         `namespace: …` at the top, or rename `entries` if the file is something else."
    E0111 RegistryEmpty Warning "no entries were found"
        "None of the folders that are walked holds a definition file, which has a `namespace` and `entries`. \
         Check the root argument and `directories.src` in `wippy.lock`."
    E0112 RootUnusable Error "the root is not a readable folder"
        "The root argument names the folder that holds `wippy.lock` or the registry itself; without it, the \
         current folder is used."
    E0113 SettingUnknown Warning "a setting of `.wippy.yaml` is not known"
        "The section has no such setting, so it has no effect and does not travel. It is misspelt, or of \
         another version. In the sections `security` and `wasm`, whose settings restrict, an unknown one is \
         an error."

    E0201 EntryShape Error "an entry is not written as an entry"
        "An entry is a mapping with the texts `name` and `kind`, an optional mapping `meta`, and the fields \
         of its kind; `entries` is a list of them. A file holds either `entries` or one entry at its top."
    E0202 InvalidId Error "a name or namespace is not a valid id"
        "Namespaces and names are not empty, at most 255 bytes long, and hold no white space, quotes, \
         braces, slashes or `#`. The namespace holds no colon: an id is split at its first one."
    E0203 WrongType Error "a field has a value of the wrong type"
        "The value does not fit the field. The message says what was found and what is expected; the pages \
         of the kind list the fields and their types."
    E0204 FieldMissing Error "a required field is missing"
        "The kind needs the field to be built or run. Add it."
    E0205 UnknownField Warning "a field is not known"
        "The kind has no such field, so it has no effect. It is misspelt, belongs to another kind, or to a \
         block such as `pool` or `meta`; what is your own belongs into `meta`, which is free."
    E0206 UnknownLimit Error "a limit is not known"
        "A limit that is not understood can't be enforced, and running without it would be less safe than \
         was asked for. So this is an error, not a warning. Correct the name or remove the line."
    E0207 OutOfRange Error "a value is out of its range"
        "The value has the right type and can't work: no workers, an empty name, a factor below one. The \
         message says the range."
    E0208 UnknownKind Warning "a kind is not known"
        "No documented kind has this name. The entry is carried as data, so that other entries may refer to \
         it, and is never run. If the kind is misspelt, correct it."
    E0209 DuplicateId Error "two entries have the same id"
        "Ids are unique in an application, whatever file or module they come from. Rename one of the \
         entries, or disable one in `.wippy.yaml`."
    E0210 DuplicateName Error "a name that must be unique is given twice"
        "Variables, guest paths and adapters are unique in their entry. Rename or remove one of them."
    E0211 PlaceholderAtBuild Error "a field that the build needs holds a placeholder"
        "Placeholders such as `${env:NAME}` are resolved when the loader boots, and the build needs this \
         field: it says what is compiled. Write the value, or choose it at build time through `override` in \
         `.wippy.yaml`. A literal `${` is written `$${`."
    E0212 LimitsDiffer Error "a limit is given twice with different values"
        "Limits may be written as `limits`, `options.limits` or `meta.options.limits`, which mean the same. \
         Where a limit stands in two of them the values must agree. Keep one."
    E0213 PathNotAbsolute Error "a path must be absolute"
        "Paths inside a guest and routes start with `/`."
    E0214 UnknownRestriction Warning "a field that restricts is not understood; the entry is unavailable"
        "The field stands where rights are restricted: in a policy, in TLS settings, in a security context, \
         in a network rule. Dropping it would allow more than was meant, so the entry is carried and calls \
         to it fail. Correct the name or remove the field."
    E0215 FieldUnused Warning "a field has no effect on this entry"
        "The field is known and means nothing here: `fs`, `path` and `hash` name a binary, `source` is text, \
         `wit` and `adapters` are for core modules. Remove it, or change the kind."
    E0216 NameTaken Warning "a public name leads to another entry"
        "Names of commands and public names of variables are those of one entry. Where several have the same, \
         the name leads to the one with the smallest id, and the others are reached by their ids alone. Rename \
         or disable one of them."

    E0301 ReferenceMissing Error "a reference points nowhere"
        "The field names an entry that does not exist. A name without a namespace means the namespace of \
         the entry that it stands in. The entry may be misspelt or disabled in `.wippy.yaml`."
    E0302 ReferenceKind Error "a reference points to an entry of the wrong kind"
        "The entry exists and is of a kind that can't be used here, such as a function where a file system \
         is needed."
    E0303 IncludeMissing Error "a `file://` value can't be read"
        "A value that starts with `file://` is replaced by the text of that file: `file://x` is relative to \
         the definition file, `file:///x` to the source root. The file must exist, be UTF-8 text and not be \
         empty."
    E0304 IncludeEscapes Error "a `file://` value leads out of the source root"
        "The file lies outside of the folder that is walked, by `..` or by a symbolic link. A registry \
         reads only what is part of it: move or copy the file."
    E0305 OverrideInvalid Error "an override can't be applied"
        "Keys of `override` are `namespace:entry:path`; the path is `kind`, `meta.…`, `data.…` or a field, \
         and the entry must exist. An override that is not applied would leave a value in force that was \
         meant to be replaced."
    E0306 DisableUnmatched Warning "a pattern of `disable` matches nothing"
        "The pattern matches no namespace or entry, so what was meant to be disabled is not, or is gone. \
         Patterns are dotted: `*` stands for one part, `**` for any number of them."
    E0307 VariableUnknown Error "a `${name}` in `.wippy.yaml` is not defined"
        "`${name}` in `.wippy.yaml` is replaced by the value in its `vars` section, which may refer to other \
         variables but not to itself. Define the variable, or write `${env:NAME}` for a value that is known \
         at boot."
    E0308 RequirementUnmet Warning "a requirement has no value"
        "An `ns.requirement` without `default` must be given a value by a parameter of the `ns.dependency` \
         that mounts its module. Without one its targets keep what they have."
    E0309 RequirementInvalid Error "a requirement can't be applied"
        "An `ns.requirement` names at least one target, each with an existing `entry` and a dotted `path`; \
         `+=` at the end of a path appends to a list. A dependency names its `component`."
    E0310 ParameterConflict Error "two dependencies give one requirement different values"
        "A requirement has one value. Dependencies of the application win over those of modules; two of \
         the same rank must agree. Change or remove one of the parameters."
    E0311 ParameterUnknown Warning "a parameter matches no requirement"
        "A parameter's name is that of a requirement of the module that is mounted, or the full id of a \
         requirement. This one has no effect."
    E0312 NotAttached Warning "an endpoint or router is not attached"
        "Endpoints are served by the router in `meta.router`, routers by the service in `meta.server`. \
         Without it the entry is never reached."
    E0313 ImportCycle Error "Lua entries import each other in a circle"
        "A library is what its chunk returns, so those that it imports run before it, and in a circle none \
         can be the first. Move what both sides need into a library that imports neither."
    E0314 LuaRequireUnknown Warning "a Lua source requires what its entry does not list"
        "`require` gives what the entry lists under `modules` and `imports`, and nothing else: the call will \
         fail. Add the name to the entry, or correct it."
    E0315 LuaTargetUnknown Warning "a call from Lua names no function"
        "The target of `funcs.call` or `funcs.async` is the full id of a `function.*` entry, \
         `namespace:name`. The call will fail when it is reached. The id may be misspelt, or that of an entry \
         which is disabled or of another kind."
    E0316 LuaArgumentCount Warning "a call from Lua has too few or too many arguments"
        "The signature of a WebAssembly function says how many arguments it takes; options at its end may be \
         left out. The call will fail when it is reached."
    E0317 ReferenceUnmet Warning "a reference points to what is not there; its entry is unavailable"
        "The field names an entry that does not exist, and the rest of the application runs without it: the \
         reference stands in a module or leads into one, whose version may be another than was meant, or it is \
         followed late, such as the function of an endpoint. The entry that has it is carried, and calls to it \
         fail with `UNAVAILABLE`. Correct the id, or install the module that has it."

    E0401 WatSyntax Error "WebAssembly text is not valid"
        "The text can't be parsed as a module or component. The place is that in the text itself, also when \
         it stands inside a definition file."
    E0402 WitSyntax Error "WIT is not valid"
        "`wit` takes signatures such as `answer: func() -> s32;`, several of them, type definitions before \
         them, or a whole world or package."
    E0403 WitMissing Error "a core module has no `wit`"
        "A core module says nothing about strings, records or signs of numbers, so the entry must: add \
         `wit` with the signature of the method. Components carry theirs."
    E0404 CoreModuleMismatch Error "a core module does not fit its `wit`"
        "The module lacks an export that the signatures need (`memory` and `cabi_realloc` for strings, \
         lists and the like), or an export has another core signature. The message shows both."
    E0405 MethodNotFound Error "the method is not exported"
        "`method` names an export: a function of the world, or `interface#function`. The message lists what \
         is exported. A component that serves HTTP may go without."
    E0406 MethodAmbiguous Error "the method is exported by several interfaces"
        "A name without `#` is accepted when one interface only has it. Write `interface#function`."
    E0407 MethodUsesResource Error "the method's signature has a resource, stream or future"
        "Such values can't be passed by callers of other languages. Offer a function of plain values; \
         interfaces that export resources stay usable through their other functions."
    E0408 HashMismatch Error "a file does not have the expected hash"
        "`hash` is the SHA-256 of the file's bytes. If the file was rebuilt on purpose, write the actual \
         hash; if not, find out who changed it."
    E0409 HashMalformed Error "a hash is not written as one"
        "A hash is `sha256:` and 64 hexadecimal digits, upper or lower case."
    E0410 FileMissing Error "a file that an entry needs is missing"
        "The path is looked up in the file system that `fs` names: `fs.directory` is relative to the root \
         of the project, `fs.embed` to the definition file. It must be a file inside it."
    E0411 WasmInvalid Error "a file is not valid WebAssembly"
        "The bytes are no module or component, or use features that are not offered. Rebuild it with a \
         current toolchain."
    E0412 AdapterFailed Error "an adapter can't be applied"
        "A core module's imports are satisfied by the adapters of its entry, or by the built-in one for \
         preview 1. The message says which import is left over or does not fit. An adapter is a core module \
         that exports functions of numbers; it may use the module's memory (`env.memory`), its exports \
         (`__main_module__`) and interfaces that `wit` imports."
    E0413 PreinitFailed Error "pre-initialisation failed"
        "`preinit` names an export without parameters and results that is run at build time with nothing \
         linked, and whose state becomes part of the component. It does not exist, trapped, called an import \
         or exceeded a bound (4,000,000,000 instructions, 128 MiB of memory), or its state can't be kept: \
         memories and global numbers are, tables, references and dropped segments are not."
    E0414 FileEscapes Error "a path leads out of its file system"
        "Binaries are read from inside the folder that `fs` names, and embedded folders lie inside the \
         project: neither `..` nor a symbolic link may lead out."
    E0415 FileTooBig Error "a binary is too big"
        "Modules and components may have 256 MiB. Strip debug information, or split the component."
    E0416 LuaSyntax Error "Lua source is not valid"
        "The text is not valid Lua 5.4 with the documented type annotations. The place is that in the text \
         itself, also when it stands inside a definition file. One fault of the grammar is reported for each \
         source."
    E0417 LuaTypeAsValue Warning "a Lua type can't be used as a value; the entry is unavailable"
        "`User(data)`, `User:is(data)` and reflection need a validator at run time, which is made of the type. One \
         that it names is not known, or it is too big when its parameters are filled in. Running without it would \
         let through what was meant to be refused, so the entry is carried and calls to it fail. Check the value \
         yourself, or cast it without a check, `data as User`."
    E0418 LuaLimit Error "a Lua source exceeds a limit"
        "Lua bounds local variables, captured variables, registers and nesting of a function, and the build \
         the size of a source. Split the function, put variables into a table, or move a part into a library."

    E0501 ImportNotGranted Warning "an import is not granted"
        "The component imports interfaces that `imports` does not grant. Most toolchains import more than \
         they use, so calls to them are linked to stubs that end the call with `PERMISSION_DENIED`. Add the \
         token that the message names if the component needs it. With `imports_missing: error` this is an \
         error."
    E0502 GrantNotImported Warning "a grant is not used"
        "`imports` grants what the component does not import. Remove the token: a component should have no \
         more than it needs."
    E0503 UnknownHostToken Error "a token of `imports` is not known"
        "Tokens name groups of host interfaces, such as `wasi:clocks`, or single interfaces with or without \
         version."
    E0504 HostTypesMismatch Error "an import has other types than the host"
        "The component imports a granted interface with types that differ from the host's, so it could \
         never be linked. Rebuild it against the interface as published. Interfaces of an embedding program are \
         compared when it loads the bundle."
    E0505 ImportUnknown Warning "an import is offered by nobody"
        "The component imports an interface that neither the host nor an embedder can offer under this \
         name. It is linked to stubs that end the call with `PERMISSION_DENIED`."
    E0506 EntryUnavailable Warning "an entry can't run here"
        "The entry needs what this loader does not offer. It is carried, and calls to it fail with \
         `UNAVAILABLE` and the reason."
    E0507 ImportVersion Warning "an import is of a later version than the host's"
        "The component was built against a later WASI 0.2 release than the host has. It is linked with what \
         both have, and refused if it needs a function that only the later one has."

    E0601 ArtifactTooBig Error "a component starts with more than its limits allow"
        "No instance of the component could be made: the memories, tables or core instances that it has from \
         the start are more than the entry's `limits` (those of `.wippy.yaml`, or the loader's defaults, where it \
         gives none) or an instance may have. Raise the limit, or build the component to start with less."
    E0602 CodegenFailed Error "code generation failed"
        "The component is valid and could not be compiled. Please report it with the component."
    E0603 SelfCheckFailed Error "an artifact does not load as it was written"
        "The last pass loads every artifact through the loader's own code and compares exports, before the \
         bundle replaces the one that is there. A difference is a fault of this compiler, of the cache or of the \
         disk. Build again without cache, then report it."
    E0604 BundleWriteFailed Error "the bundle can't be written"
        "The operating system refuses to write below the output folder. The old bundle is left whole."
    E0605 CacheUnusable Warning "the cache can't be used"
        "The default folder of the cache can't be created or written to, an entry in it is damaged, or one \
         describes another component than its source gives. The build goes on and makes again what it needs. A \
         folder that `--cache-dir` names has to be usable."
}

/// All codes as a page of Markdown.
pub fn catalogue() -> String {
    let mut page = String::from(
        "# Diagnostics of the compiler\n\nGenerated from `compiler/src/codes.rs`; `compiler explain CODE` says the \
         same.\nWarnings are errors with `--strict`.\n",
    );
    for code in Code::ALL {
        let severity = match code.severity() {
            Error => "error",
            Warning => "warning",
        };
        let (summary, explanation) = (code.summary(), code.explanation());
        page += &format!("\n## {}: {summary}\n\n*{severity}.* {explanation}\n", code.as_str());
    }
    page
}

impl Code {
    /// The code that `text` names, in upper or lower case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_read_back() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.as_str().to_lowercase()), Some(*code));
            assert!(!code.summary().ends_with('.'), "{code:?}");
            assert!(code.explanation().ends_with('.'), "{code:?}");
            assert!(!code.explanation().contains("  "), "{code:?}");
        }
        assert_eq!(Code::parse("E9999"), None);
    }
}
