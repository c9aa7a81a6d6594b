//! `loader completions SHELL`: a script for the shell. Ids are asked of the loader itself, so they are those
//! of the bundle that the command line names.

/// Shells that there is a script for.
pub(crate) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The script of `shell`; `None` for one that is not known.
pub(crate) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(BASH.to_owned()),
        // zsh runs what is written for bash.
        "zsh" => Some(format!("#compdef loader\nautoload -U +X bashcompinit && bashcompinit\n{BASH}")),
        "fish" => Some(FISH.to_owned()),
        _ => None,
    }
}

const BASH: &str = r#"_loader() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="" index
    local -a bundle=()
    # A colon ends a word in bash: with bash-completion, ids are completed whole.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n : -c current -p previous
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "${COMP_WORDS[index]}" in
            --bundle) bundle=(--bundle "${COMP_WORDS[index+1]}") ;;
            list|call|verify|config|explain|completions) command="${COMP_WORDS[index]}"; break ;;
        esac
    done
    local words=""
    case "$previous" in
        --bundle|--root) COMPREPLY=($(compgen -d -- "$current")); return ;;
        --ca-file|--verify-key|--deny-list) COMPREPLY=($(compgen -f -- "$current")); return ;;
        --log-level) words="debug info warn error off" ;;
        --log-format) words="text json" ;;
        *)
            case "$command" in
                "") words="list call verify config explain completions --bundle --root --seal --ca-file --verify-key --minimum-compiler --deny-list --set --log-level --log-format --help --version" ;;
                call) words="--trace $(loader "${bundle[@]}" list 2>/dev/null | cut -d' ' -f1)" ;;
                explain) words="$(loader explain 2>/dev/null)" ;;
                completions) words="bash zsh fish" ;;
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$current"
    fi
}
complete -F _loader loader
"#;

const FISH: &str = r#"complete -c loader -f
complete -c loader -n __fish_use_subcommand -a "list call verify config explain completions"
complete -c loader -l bundle -r -a "(__fish_complete_directories)" -d "bundle to open"
complete -c loader -l root -r -a "(__fish_complete_directories)" -d "folder that relative paths start from"
complete -c loader -l seal -d "map artifacts from sealed copies"
complete -c loader -l ca-file -r -F -d "trust these certificates too"
complete -c loader -l verify-key -r -F -d "refuse bundles that this key has not signed"
complete -c loader -l minimum-compiler -x -d "refuse bundles of an older compiler"
complete -c loader -l deny-list -r -F -d "refuse what the list names"
complete -c loader -l set -x -d "SECTION.KEY=VALUE"
complete -c loader -l log-level -x -a "debug info warn error off"
complete -c loader -l log-format -x -a "text json"
complete -c loader -n "__fish_seen_subcommand_from call" -l trace -d "show the tree of nested calls"
complete -c loader -n "__fish_seen_subcommand_from call" -a "(loader list 2>/dev/null | string replace -r ' .*' '')"
complete -c loader -n "__fish_seen_subcommand_from explain" -a "(loader explain 2>/dev/null)"
complete -c loader -n "__fish_seen_subcommand_from completions" -a "bash zsh fish"
"#;
