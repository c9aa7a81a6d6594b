//! Diagnostics as text: for people, for programs, and for GitHub.
//!
//! Rendering depends on nothing but the diagnostics: no terminal width, no environment. Text from files
//! is shown without control characters, so that no file can steer a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Place, Severity};

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With excerpts, and a line that counts at the end.
    Human {
        /// Whether to use colours.
        color: bool,
    },
    /// One JSON object per line.
    Json,
    /// One GitHub workflow annotation per line.
    Github,
}

/// Writes `diagnostics` to `out`, in their order. Nothing is written when there are none.
///
/// # Errors
/// When `out` can't be written to.
pub fn render(diagnostics: &[Diagnostic], format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Human { color } => {
            let renderer = if color { Renderer::styled() } else { Renderer::plain() };
            for diagnostic in diagnostics {
                writeln!(out, "{}\n", human(diagnostic, &renderer))?;
            }
            match summary(diagnostics, &renderer) {
                Some(line) => writeln!(out, "{line}"),
                None => Ok(()),
            }
        }
        Format::Json => diagnostics.iter().try_for_each(|diagnostic| {
            serde_json::to_writer(&mut *out, &Line::new(diagnostic))?;
            writeln!(out)
        }),
        Format::Github => {
            diagnostics.iter().try_for_each(|diagnostic| writeln!(out, "{}", github(diagnostic)))
        }
    }
}

fn human(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(clean(&diagnostic.message)).id(diagnostic.code.as_str());
    let excerpt = diagnostic.place.as_ref().and_then(Excerpt::of);
    let mut group = match (&excerpt, &diagnostic.place) {
        (Some(excerpt), Some(place)) => title.element(
            Snippet::source(excerpt.line)
                .line_start(place.span.line as usize)
                .path(place.file.path.as_str())
                .annotation(AnnotationKind::Primary.span(excerpt.mark.clone())),
        ),
        (None, Some(place)) => title.element(Origin::path(place.file.path.as_str())),
        (_, None) => title.elements(Vec::<Origin<'_>>::new()),
    };
    // The id is worth a line of its own unless the message has it.
    if let Some(id) = diagnostic.entry.as_ref().map(ToString::to_string)
        && !diagnostic.message.contains(&format!("`{id}`"))
    {
        group = group.element(Level::NOTE.message(format!("in the entry `{}`", clean(&id))));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    renderer.render(&[group])
}

/// Text of others, without what a terminal would obey.
fn clean(text: &str) -> String {
    normalize_untrusted_str(text)
}

/// The line that a place is on, and what of it is marked.
struct Excerpt<'t> {
    line: &'t str,
    mark: std::ops::Range<usize>,
}

impl<'t> Excerpt<'t> {
    /// `None` for a file as a whole.
    fn of(place: &'t Place) -> Option<Self> {
        let number = place.span.line.checked_sub(1)?;
        let line = place.file.text.split('\n').nth(number as usize)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        let start = place.span.column.saturating_sub(1) as usize;
        // A mark is on one line, and a character wide at least.
        let end = byte(start + place.span.len.max(1) as usize);
        Some(Self { line, mark: byte(start)..end })
    }
}

/// `error: 3 errors, 1 warning`.
fn summary(diagnostics: &[Diagnostic], renderer: &Renderer) -> Option<String> {
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let level = match (errors, warnings) {
        (0, 0) => return None,
        (0, _) => Level::WARNING,
        _ => Level::ERROR,
    };
    let words: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let title = level.primary_title(words.join(", "));
    Some(renderer.render(&[title.elements(Vec::<Origin<'_>>::new())]))
}

/// A diagnostic as programs read it; the order of the fields is part of the format.
#[derive(Serialize)]
struct Line<'d> {
    severity: &'static str,
    code: &'static str,
    message: &'d str,
    entry: Option<String>,
    file: Option<&'d str>,
    line: Option<u32>,
    column: Option<u32>,
    help: Option<&'d str>,
}

impl<'d> Line<'d> {
    fn new(diagnostic: &'d Diagnostic) -> Self {
        let place = diagnostic.place.as_ref();
        let known = |number: u32| (number > 0).then_some(number);
        Self {
            severity: severity(diagnostic.severity),
            code: diagnostic.code.as_str(),
            message: &diagnostic.message,
            entry: diagnostic.entry.as_ref().map(ToString::to_string),
            file: place.map(|place| place.file.path.as_str()),
            line: place.and_then(|place| known(place.span.line)),
            column: place.and_then(|place| known(place.span.column)),
            help: diagnostic.help.as_deref(),
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `::error file=…,line=…,col=…,title=…::…`.
fn github(diagnostic: &Diagnostic) -> String {
    let line = Line::new(diagnostic);
    let mut properties = Vec::new();
    properties.extend(line.file.map(|file| format!("file={}", property(file))));
    properties.extend(line.line.map(|number| format!("line={number}")));
    properties.extend(line.column.map(|number| format!("col={number}")));
    properties.push(format!("title={}", property(&format!("{} {}", line.code, diagnostic.code.summary()))));
    let mut text = format!("::{} {}::{}", line.severity, properties.join(","), data(line.message));
    if let Some(help) = line.help {
        let _ = write!(text, "%0Ahelp: {}", data(help));
    }
    text
}

/// Escapes what would end an annotation.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes what would end a property of an annotation.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codes::Code;
    use crate::diagnostic::SourceFile;
    use registry_schema::document::Span;

    fn at(text: &str, line: u32, column: u32, len: u32) -> Diagnostic {
        let file = Arc::new(SourceFile { path: "src/a,b.yaml".to_owned(), text: text.to_owned() });
        Diagnostic::new(Code::WrongType, "found 5%, expected text")
            .entry(&"app:x".parse().unwrap())
            .at(Place { file, span: Span { line, column, len } })
            .help("put it\nin quotes")
    }

    fn rendered(diagnostics: &[Diagnostic], format: Format) -> String {
        let mut out = Vec::new();
        render(diagnostics, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const PLAIN: Format = Format::Human { color: false };

    #[test]
    fn people_see_an_excerpt() {
        let text = rendered(&[at("a: 1\r\nb: \u{1b}[31mé5\r\n", 2, 4, 99)], PLAIN);
        assert!(text.contains("error[E0203]: found 5%, expected text\n"), "{text}");
        assert!(text.contains("--> src/a,b.yaml:2:4\n"), "{text}");
        assert!(text.contains("2 | b: ␛[31mé5\n"), "{text}");
        assert!(text.contains("= note: in the entry `app:x`\n"), "{text}");
        assert!(text.contains("= help: put it\n"), "{text}");
        assert!(text.ends_with("\nerror: 1 error\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(rendered(&[at("a: 1", 1, 1, 1)], Format::Human { color: true }).contains('\u{1b}'));
        assert_eq!(rendered(&[], PLAIN), "");
    }

    #[test]
    fn places_out_of_the_text_are_no_panic() {
        for (line, column, len) in [(0, 0, 0), (1, 0, 0), (1, 99, 9), (99, 1, 1), (2, 1, u32::MAX)] {
            let text = rendered(&[at("a: 1\n", line, column, len)], PLAIN);
            assert!(text.contains("src/a,b.yaml"), "{text}");
        }
    }

    #[test]
    fn programs_read_one_object_per_line() {
        let nowhere = Diagnostic::new(Code::RegistryEmpty, "no entries were found");
        assert_eq!(
            rendered(&[at("a: 1\n", 1, 4, 1), nowhere], Format::Json),
            "{\"severity\":\"error\",\"code\":\"E0203\",\"message\":\"found 5%, expected text\",\
             \"entry\":\"app:x\",\"file\":\"src/a,b.yaml\",\"line\":1,\"column\":4,\
             \"help\":\"put it\\nin quotes\"}\n\
             {\"severity\":\"warning\",\"code\":\"E0111\",\"message\":\"no entries were found\",\
             \"entry\":null,\"file\":null,\"line\":null,\"column\":null,\"help\":null}\n"
        );
    }

    #[test]
    fn annotations_are_escaped() {
        assert_eq!(
            rendered(&[at("a: 1\n", 1, 4, 1)], Format::Github),
            "::error file=src/a%2Cb.yaml,line=1,col=4,title=E0203 a field has a value of the wrong type\
             ::found 5%25, expected text%0Ahelp: put it%0Ain quotes\n"
        );
    }
}
