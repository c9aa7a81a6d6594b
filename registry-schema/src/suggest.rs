//! Did-you-mean: the candidate that a misspelt word most likely stands for.

/// The candidate that is close enough to `word` to be meant; of several the closest, then the first in
/// alphabetical order. Case and `-` for `_` count as nothing.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    // One slip in three characters; a word of two may have one.
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 4 * allowed)
        .filter_map(|candidate| {
            let distance =
                if same(word, candidate) { 0 } else { strsim::damerau_levenshtein(word, candidate) };
            (distance <= allowed).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The help text for [`nearest`]: did you mean …?
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn same(a: &str, b: &str) -> bool {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    a.chars().map(fold).eq(b.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_only() {
        let kinds = ["function.wat", "function.wasm", "http.router", "process.wasm"];
        assert_eq!(nearest("function.wast", kinds), Some("function.wasm"));
        assert_eq!(nearest("http.ruoter", kinds), Some("http.router"));
        assert_eq!(nearest("queue.driver", kinds), None);
        assert_eq!(nearest("MAX-SIZE", ["max_size", "max_sizes"]), Some("max_size"));
        assert_eq!(nearest("xy", ["ab", "x"]), Some("x"));
        assert_eq!(nearest("", ["ab"]), None);
    }
}
