//! Places inside inline texts: WAT and WIT stand as scalars in definition files, and their parsers
//! count lines and columns from the start of the text.
//!
//! Literal block scalars keep their lines, so a line maps to a line and a column is moved by the
//! indentation. Folded, plain and quoted scalars change white space only (and write some characters as
//! escapes), so there the n-th character that is no white space is found again. An alias leads to the
//! text at its anchor. Where nothing fits, the place is that of the node.

use registry_schema::document::{Node, Span};

/// Where `line` and `column` (both from 1, in characters) of the text in `node` stand in `text`, the
/// file that `node` was read from. What is past the end of a line or of the text is its end.
pub(crate) fn locate(text: &str, node: &Node, line: u32, column: u32) -> Span {
    let Some(value) = node.as_str() else { return node.span };
    if node.span.line == 0 {
        return node.span;
    }
    let lines: Vec<&str> = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let at = Cursor { line: index(node.span.line), column: index(node.span.column) };
    let at = match alias(&lines, at) {
        Some(name) => anchor(&lines, at, name),
        None => Some(at),
    };
    let found = at.and_then(|at| match block(&lines, at) {
        Some((header, '|')) => literal(&lines, header, value, index(line), index(column)),
        Some((header, _)) => {
            let start = Cursor { line: header + 1, column: 0 };
            flowing(&lines, start, Style::Plain, wanted(value, line, column))
        }
        None => {
            let (start, style) = opening(&lines, at);
            flowing(&lines, start, style, wanted(value, line, column))
        }
    });
    found.map_or(node.span, |at| Span { line: number(at.line), column: number(at.column), len: 1 })
}

/// A position from zero, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    line: usize,
    column: usize,
}

/// How a scalar that is no block writes characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

fn index(from_one: u32) -> usize {
    from_one.saturating_sub(1) as usize
}

fn number(from_zero: usize) -> u32 {
    u32::try_from(from_zero + 1).unwrap_or(u32::MAX)
}

/// The part of a line from a column on.
fn from(line: &str, column: usize) -> &str {
    line.char_indices().nth(column).map_or("", |(at, _)| &line[at..])
}

/// The name of the alias that stands at `at`, if one does.
fn alias<'t>(lines: &[&'t str], at: Cursor) -> Option<&'t str> {
    let name = from(lines.get(at.line)?, at.column).strip_prefix('*')?;
    let end = name.find(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}'));
    Some(&name[..end.unwrap_or(name.len())])
}

/// Where the scalar that was last anchored as `name` before `until` begins: for a block the place of
/// its header.
fn anchor(lines: &[&str], until: Cursor, name: &str) -> Option<Cursor> {
    let mark = format!("&{name}");
    for (number, line) in lines.iter().enumerate().take(until.line + 1).rev() {
        for (byte, _) in line.match_indices(&mark).collect::<Vec<_>>().into_iter().rev() {
            let column = line[..byte].chars().count();
            let rest = &line[byte + mark.len()..];
            let starts = byte == 0 || line[..byte].ends_with([' ', '[', '{', ',']);
            let before = number < until.line || column < until.column;
            if starts && before && (rest.is_empty() || rest.starts_with(' ')) {
                return skip_properties(
                    lines,
                    Cursor { line: number, column: column + mark.chars().count() },
                );
            }
        }
    }
    None
}

/// Skips white space and tags between an anchor and its scalar.
fn skip_properties(lines: &[&str], mut at: Cursor) -> Option<Cursor> {
    loop {
        let rest = from(lines.get(at.line)?, at.column);
        let trimmed = rest.trim_start();
        at.column += rest.chars().count() - trimmed.chars().count();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            at = Cursor { line: at.line + 1, column: 0 };
        } else if trimmed.starts_with('!') {
            at.column += trimmed.chars().take_while(|c| !c.is_whitespace()).count();
        } else {
            return Some(at);
        }
    }
}

/// The header line of the block scalar whose header or first character stands at `at`, and `|` or `>`.
fn block(lines: &[&str], at: Cursor) -> Option<(usize, char)> {
    let here = from(lines.get(at.line)?, at.column);
    if let Some(style) = header(here).filter(|_| here.starts_with(['|', '>'])) {
        return Some((at.line, style));
    }
    // The text of a block begins after nothing but indentation, below the header and empty lines.
    if !lines[at.line].chars().take(at.column).all(|c| c == ' ') {
        return None;
    }
    let above = (0..at.line).rev().find(|line| !lines[*line].trim().is_empty())?;
    header(lines[above]).map(|style| (above, style))
}

/// `|` or `>` if the line ends with the header of a block scalar, with or without a comment.
fn header(line: &str) -> Option<char> {
    let code = line.find(" #").map_or(line, |at| &line[..at]).trim_end();
    let before = code.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let style = before.chars().next_back().filter(|c| matches!(c, '|' | '>'))?;
    let free = before.len() == 1 || before[..before.len() - 1].ends_with([' ', '\t']);
    (free && code.len() - before.len() <= 2).then_some(style)
}

/// Line for line below the header, moved by the indentation.
fn literal(lines: &[&str], header: usize, value: &str, line: usize, column: usize) -> Option<Cursor> {
    let texts: Vec<&str> = value.split('\n').collect();
    let line = line.min(texts.len().saturating_sub(1));
    // Both sides of the first line that has text tell how far the block is indented.
    let first = texts.iter().position(|text| !text.trim().is_empty())?;
    let spaces = |text: &str| text.chars().take_while(|c| *c == ' ').count();
    let indent = spaces(lines.get(header + 1 + first)?).checked_sub(spaces(texts[first]))?;
    let column = column.min(texts[line].chars().count());
    Some(Cursor { line: header + 1 + line, column: indent + column })
}

/// How many characters that are no white space come before the position in `value`.
fn wanted(value: &str, line: u32, column: u32) -> usize {
    let mut count = 0;
    for (number, text) in value.split('\n').enumerate() {
        let last = number == index(line);
        let take = if last { index(column) } else { usize::MAX };
        count += text.chars().take(take).filter(|c| !c.is_whitespace()).count();
        if last {
            break;
        }
    }
    count
}

/// The first character of a scalar that is no block, and its style.
fn opening(lines: &[&str], at: Cursor) -> (Cursor, Style) {
    let inner = Cursor { line: at.line, column: at.column + 1 };
    match lines.get(at.line).and_then(|line| from(line, at.column).chars().next()) {
        Some('"') => (inner, Style::Double),
        Some('\'') => (inner, Style::Single),
        _ => (at, Style::Plain),
    }
}

/// The place of the character before which `wanted` others stand that are no white space.
fn flowing(lines: &[&str], start: Cursor, style: Style, wanted: usize) -> Option<Cursor> {
    let mut seen = 0;
    let mut last = None;
    for (line, text) in lines.iter().enumerate().skip(start.line) {
        let skip = if line == start.line { start.column } else { 0 };
        let mut chars = text.chars().enumerate().skip(skip).peekable();
        while let Some((column, c)) = chars.next() {
            let at = Cursor { line, column };
            match (style, c) {
                (Style::Single, '\'') => match chars.next_if(|(_, next)| *next == '\'') {
                    Some(_) => {}
                    None => return Some(last.unwrap_or(at)),
                },
                (Style::Double, '"') => return Some(last.unwrap_or(at)),
                (Style::Double, '\\') => match chars.next() {
                    // White space as an escape, or a line that is continued.
                    None | Some((_, 'n' | 't' | 'r' | 'v' | 'f' | ' ' | 'N' | '_' | 'L' | 'P')) => continue,
                    Some((_, digits)) => {
                        let length = match digits {
                            'x' => 2,
                            'u' => 4,
                            'U' => 8,
                            _ => 0,
                        };
                        let code: String = chars.by_ref().take(length).map(|(_, c)| c).collect();
                        let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        if decoded.is_some_and(char::is_whitespace) {
                            continue;
                        }
                    }
                },
                (_, c) if c.is_whitespace() => continue,
                _ => {}
            }
            if seen == wanted {
                return Some(at);
            }
            seen += 1;
            last = Some(at);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_schema::document::parse;

    /// Marks what stands at `line` and `column` of the text of `key`: line, column and the rest of it.
    fn at<'t>(text: &'t str, key: &str, line: u32, column: u32) -> (u32, u32, &'t str) {
        let root = parse(text).unwrap();
        let span = locate(text, root.get(key).unwrap(), line, column);
        let rest = from(text.lines().nth(index(span.line)).unwrap(), index(span.column));
        (span.line, span.column, rest)
    }

    #[test]
    fn literal_blocks_keep_lines() {
        let text = "a: 1\nw: |\n  (module\n    (func))\nb: 2\n";
        assert_eq!(at(text, "w", 1, 1), (3, 3, "(module"));
        assert_eq!(at(text, "w", 2, 3), (4, 5, "(func))"));
        assert_eq!(at(text, "w", 2, 99), (4, 12, ""));
        assert_eq!(at(text, "w", 9, 1).0, 5);
    }

    #[test]
    fn indicators_comments_and_empty_lines() {
        for header in ["|", "|-", "|+", "| # why", "|-  # a | b", "!!str |", "&x !t |2", "|2-"] {
            let text = format!("w: {header}\n\n\n  one\n\n    two\nb: 2\n");
            assert_eq!(at(&text, "w", 3, 2), (4, 4, "ne"), "{header}");
            assert_eq!(at(&text, "w", 5, 3), (6, 5, "two"), "{header}");
        }
        // With an indicator the first line may be deeper than the block.
        let text = "w: |2\n     deep\n  flat\n";
        assert_eq!(at(text, "w", 1, 4), (2, 6, "deep"));
        assert_eq!(at(text, "w", 2, 1), (3, 3, "flat"));
    }

    #[test]
    fn line_ends_of_two_characters_and_wide_ones() {
        let text = "w: |\r\n  (é ü\r\n   x)\r\n";
        assert_eq!(at(text, "w", 2, 2).0, 3);
        let text = "ключ: |\n  (é ü x)\n";
        assert_eq!(at(text, "ключ", 1, 6), (2, 8, "x)"));
    }

    #[test]
    fn folded_blocks_find_the_same_word() {
        let text = "w: >-\n  one two\n  three\n\n  four\n";
        assert_eq!(at(text, "w", 1, 5), (2, 7, "two"));
        assert_eq!(at(text, "w", 1, 9), (3, 3, "three"));
        assert_eq!(at(text, "w", 2, 1), (5, 3, "four"));
    }

    #[test]
    fn quoted_and_plain_scalars() {
        let text = "d: \"a\\n\\\"b\\\" \\u00e9\\x20c\\\n   d\" # x\ns: 'it''s\n\n  more'\np: one\n  two\n";
        assert_eq!(at(text, "d", 2, 1), (1, 8, "\\\"b\\\" \\u00e9\\x20c\\"));
        assert_eq!(at(text, "d", 2, 5), (1, 14, "\\u00e9\\x20c\\"));
        assert_eq!(at(text, "d", 2, 7), (1, 24, "c\\"));
        assert_eq!(at(text, "d", 2, 8), (2, 4, "d\" # x"));
        assert_eq!(at(text, "s", 1, 4), (3, 9, "s"));
        assert_eq!(at(text, "s", 2, 1), (5, 3, "more'"));
        assert_eq!(at(text, "p", 1, 5), (7, 3, "two"));
    }

    #[test]
    fn a_quoted_scalar_below_its_key_is_no_block() {
        let text = "a: x # |\nw:\n  'one\n  two'\n";
        assert_eq!(at(text, "w", 1, 5), (4, 3, "two'"));
    }

    #[test]
    fn an_alias_leads_to_its_anchor() {
        let text = "a: &w | # text\n  one\n  two\nx: '&w'\nw: *w\n";
        assert_eq!(at(text, "w", 2, 2), (3, 4, "wo"));
        let text = "a: &w !!str 'one two'\nw: *w\n";
        assert_eq!(at(text, "w", 1, 5), (1, 18, "two'"));
    }

    #[test]
    fn what_has_no_place_keeps_none() {
        let text = "w: |\n  one\n";
        let mut node = parse(text).unwrap().get("w").unwrap().clone();
        node.span = Span::default();
        assert_eq!(locate(text, &node, 1, 1), Span::default());
    }
}
