//! Patterns of actions and resources: `*` stands for any text, also none; everything else for itself.
//!
//! Matching takes time in proportion to text and pattern, whatever either holds: each part between stars is
//! looked for once, as early as it comes.

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What stands before the first star, or everything.
    start: String,
    /// What follows each star.
    rest: Vec<String>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = text.split('*').map(str::to_owned);
        Self { start: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((end, middle)) = self.rest.split_last() else { return text == self.start };
        let Some(text) = text.strip_prefix(&*self.start) else { return false };
        let Some(mut text) = text.strip_suffix(&**end) else { return false };
        for part in middle {
            match text.split_once(&**part) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, matching, other) in [
            ("*", vec!["", "a", "a:b.c/d"], vec![]),
            ("read", vec!["read"], vec!["", "Read", "reads", "*"]),
            ("*.read", vec![".read", "a.read", "a.b.read"], vec!["read", "a.reads"]),
            ("document:*", vec!["document:", "document:1", "document:*"], vec!["document", "documents:1"]),
            ("a*a", vec!["aa", "aba"], vec!["a", "ab"]),
            ("a*b*c", vec!["abc", "axbxc", "abbcc"], vec!["acb", "ab", "bc"]),
            ("*ab*ab*", vec!["abab", "xabxabx"], vec!["ab", "aab", "aba"]),
            ("a**b", vec!["ab", "axb"], vec!["a"]),
            ("", vec![""], vec!["a"]),
            ("ä*ö", vec!["äö", "ä☃ö"], vec!["aö"]),
        ] {
            let pattern = Pattern::new(pattern);
            for text in matching {
                assert!(pattern.matches(text), "{pattern:?} {text:?}");
            }
            for text in other {
                assert!(!pattern.matches(text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_one() {
        let pattern = Pattern::new(&"a*".repeat(1000));
        assert!(!pattern.matches(&("a".repeat(999) + &"b".repeat(1 << 20))));
        assert!(pattern.matches(&"ab".repeat(1 << 19)));
    }
}
