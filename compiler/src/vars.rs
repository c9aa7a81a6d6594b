//! `${name}` in `.wippy.yaml`: replaced by the values of its `vars` section.
//!
//! A text that is nothing but one reference takes the variable's value with its type; else the value is
//! written into the text. `$${`, `${env:NAME}` and `${NAME|default}` are left as they are: boot resolves
//! them. Variables may refer to others, not to themselves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use registry_schema::document::{Key, Node, Span, Value};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, SourceFile};
use registry_schema::suggest::did_you_mean;

/// Most bytes that variables may put into the file, so that references to references can't exhaust
/// memory. A value that is no text counts as 64.
const BYTES_MAX: usize = 16 << 20;

/// The section `vars`.
#[derive(Debug)]
pub(crate) struct Vars<'n> {
    file: Arc<SourceFile>,
    written: BTreeMap<&'n str, &'n Node>,
    /// Resolved ones; `None` while one is being resolved, or when that failed.
    resolved: RefCell<BTreeMap<&'n str, Option<Node>>>,
    /// Bytes put in so far.
    spent: Cell<usize>,
}

impl<'n> Vars<'n> {
    /// The variables of `pairs`, each resolved.
    pub(crate) fn read(
        pairs: &'n [(Key, Node)],
        file: &Arc<SourceFile>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let vars = Self {
            file: Arc::clone(file),
            written: pairs.iter().map(|(key, node)| (key.name.as_str(), node)).collect(),
            resolved: RefCell::new(BTreeMap::new()),
            spent: Cell::new(0),
        };
        for name in vars.written.keys() {
            vars.value(name, diagnostics);
        }
        vars
    }

    /// `node` with every reference replaced. References that can't be are reported and left.
    pub(crate) fn interpolate(&self, node: &Node, diagnostics: &mut Diagnostics) -> Node {
        let value = match &node.value {
            Value::String(text) => self.text(text, node.span, diagnostics),
            Value::Seq(items) => {
                Value::Seq(items.iter().map(|item| self.interpolate(item, diagnostics)).collect())
            }
            Value::Map(pairs) => Value::Map(
                pairs.iter().map(|(key, node)| (key.clone(), self.interpolate(node, diagnostics))).collect(),
            ),
            other => other.clone(),
        };
        Node { value, span: node.span }
    }

    /// The resolved value of a variable; `None` when there is none, or while it is being resolved.
    fn value(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
        let (name, written) = self.written.get_key_value(name)?;
        if let Some(known) = self.resolved.borrow().get(name) {
            return known.clone();
        }
        self.resolved.borrow_mut().insert(name, None);
        let node = self.interpolate(written, diagnostics);
        self.resolved.borrow_mut().insert(name, Some(node.clone()));
        Some(node)
    }

    fn text(&self, text: &str, span: Span, diagnostics: &mut Diagnostics) -> Value {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_reference(rest) {
            let Some(found) = self.value(name, diagnostics) else {
                self.unknown(name, span, diagnostics);
                return Value::String(text.to_owned());
            };
            if !self.afford(&found, span, diagnostics) {
                return Value::String(String::new());
            }
            if before.is_empty() && after.is_empty() && done.is_empty() {
                return found.value;
            }
            done.push_str(before);
            match found.value {
                Value::String(value) => done.push_str(&value),
                Value::Bool(value) => done.push_str(&value.to_string()),
                Value::Int(value) => done.push_str(&value.to_string()),
                Value::UInt(value) => done.push_str(&value.to_string()),
                Value::Float(value) => done.push_str(&value.to_string()),
                other => {
                    let message =
                        format!("the variable `{name}` is {}, which can't stand in a text", other.describe());
                    self.report(message, None, span, diagnostics);
                    return Value::String(text.to_owned());
                }
            }
            rest = after;
        }
        done.push_str(rest);
        Value::String(done)
    }

    /// Whether `value` may be put in; says so once if not.
    fn afford(&self, value: &Node, span: Span, diagnostics: &mut Diagnostics) -> bool {
        let before = self.spent.get();
        let after = before.saturating_add(size(value));
        self.spent.set(after);
        if before <= BYTES_MAX && after > BYTES_MAX {
            let message = format!("variables put more than {BYTES_MAX} bytes into the file");
            self.report(message, None, span, diagnostics);
        }
        after <= BYTES_MAX
    }

    fn unknown(&self, name: &str, span: Span, diagnostics: &mut Diagnostics) {
        let (message, help) = if self.written.contains_key(name) {
            (format!("the variable `{name}` refers to itself"), None)
        } else {
            let help = did_you_mean(name, self.written.keys().copied())
                .unwrap_or_else(|| "define it in the section `vars`".to_owned());
            (format!("the variable `{name}` is not defined"), Some(help))
        };
        self.report(message, help, span, diagnostics);
    }

    fn report(&self, message: String, help: Option<String>, span: Span, diagnostics: &mut Diagnostics) {
        let place = Place { file: Arc::clone(&self.file), span };
        let mut diagnostic = Diagnostic::new(Code::VariableUnknown, message).at(place);
        diagnostic.help = help;
        diagnostics.push(diagnostic);
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::String(text) => text.len(),
        Value::Seq(items) => items.iter().map(size).sum::<usize>() + 64,
        Value::Map(pairs) => pairs.iter().map(|(key, node)| key.name.len() + size(node)).sum::<usize>() + 64,
        _ => 64,
    }
}

/// The first `${name}` in `text`, with what is before and after it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let inner = &text[at + 2..];
        let end = inner.find('}')?;
        let name = &inner[..end];
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if is_name && !text[..at].ends_with('$') {
            return Some((&text[..at], name, &inner[end + 1..]));
        }
        from = at + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Strictness;
    use registry_schema::document::parse;

    fn run(vars: &str, text: &str) -> (String, Vec<String>) {
        let file = Arc::new(SourceFile { path: String::new(), text: String::new() });
        let mut diagnostics = Diagnostics::new(Strictness::Lenient);
        let node = parse(vars).unwrap();
        let Value::Map(pairs) = &node.value else { panic!("no mapping") };
        let vars = Vars::read(pairs, &file, &mut diagnostics);
        let done = vars.interpolate(&parse(text).unwrap(), &mut diagnostics);
        let messages = diagnostics.sorted().into_iter().map(|diagnostic| diagnostic.message);
        (done.to_json().to_string(), messages.collect())
    }

    #[test]
    fn values_keep_their_type_alone_and_become_text_within_one() {
        let (done, messages) =
            run("{port: 8085, url: 'http://h:${port}'}", "['${port}', '${url}/${port}', 'a $${port} b']");
        assert_eq!(done, r#"[8085,"http://h:8085/8085","a $${port} b"]"#);
        assert_eq!(messages, [""; 0]);
    }

    #[test]
    fn what_boot_resolves_is_left() {
        let (done, messages) = run("{a: 1}", "'${env:HOME} ${HOST|x} ${'");
        assert_eq!((done.as_str(), messages.len()), (r#""${env:HOME} ${HOST|x} ${""#, 0));
    }

    #[test]
    fn unknown_ones_circles_and_lists_are_reported() {
        assert_eq!(run("{port: 1}", "'${prot}'").1, ["the variable `prot` is not defined"]);
        assert_eq!(run("{a: '${b}', b: '${a}'}", "x").1, ["the variable `a` refers to itself"]);
        assert_eq!(run("{a: []}", "'x${a}'").1, ["the variable `a` is a list, which can't stand in a text"]);
    }

    #[test]
    fn doubling_is_bounded() {
        let texts: String = (1..40).map(|n| format!("v{n}: '${{v{0}}}${{v{0}}}'\n", n - 1)).collect();
        let lists: String = (1..40).map(|n| format!("v{n}: ['${{v{0}}}', '${{v{0}}}']\n", n - 1)).collect();
        for vars in [texts, lists] {
            let (_, messages) = run(&format!("v0: xxxxxxxx\n{vars}"), "x");
            assert_eq!(messages, ["variables put more than 16777216 bytes into the file"]);
        }
    }
}
