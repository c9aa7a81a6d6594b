//! The tree of a trace, as `loader call --trace` prints it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::trace::{Collected, Record};

/// Renders every span below the spans that are not known: of one call, that is the call itself.
pub(super) fn render(collected: &Collected) -> String {
    let mut children: HashMap<[u8; 8], Vec<&Record>> = HashMap::new();
    for record in &collected.spans {
        children.entry(record.parent).or_default().push(record);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|record| record.began);
    }
    let is_known = |span: &[u8; 8]| collected.spans.iter().any(|record| record.span == *span);
    let mut roots: Vec<&Record> = children
        .iter()
        .filter(|(parent, _)| !is_known(parent))
        .flat_map(|(_, records)| records.clone())
        .collect();
    roots.sort_by_key(|record| record.began);
    let Some(first) = roots.first() else { return String::new() };
    let first = first.began;
    let mut lines = Vec::new();
    // Depth first, without recursion: a chain of calls may be long.
    let mut open: Vec<(&Record, String, Branch)> =
        roots.into_iter().rev().map(|root| (root, String::new(), Branch::Root)).collect();
    while let Some((record, indent, branch)) = open.pop() {
        let (own, below) = match branch {
            Branch::Root => (String::new(), String::new()),
            Branch::Middle => (format!("{indent}├─ "), format!("{indent}│  ")),
            Branch::Last => (format!("{indent}└─ "), format!("{indent}   ")),
        };
        lines.push((format!("{own}{}", record.name), record));
        let below_this = children.get(&record.span).map_or(&[][..], Vec::as_slice);
        for (index, child) in below_this.iter().enumerate().rev() {
            let branch = if index + 1 == below_this.len() { Branch::Last } else { Branch::Middle };
            open.push((child, below.clone(), branch));
        }
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, record) in lines {
        let (at, took) = (since(first, record.began), shown(record.took));
        // Writing to a string can't fail, here and below.
        let _ = write!(out, "{name:<width$}  {took:>10}  at {at:>10}");
        if let Some((kind, message)) = &record.failed {
            let _ = write!(out, "  {kind}: {}", message.lines().next().unwrap_or_default());
        }
        out.push('\n');
    }
    if collected.dropped > 0 {
        let _ = writeln!(out, "and {} more spans", collected.dropped);
    }
    out
}

/// Where a line of the tree hangs.
enum Branch {
    Root,
    Middle,
    Last,
}

fn since(first: SystemTime, at: SystemTime) -> String {
    shown(at.duration_since(first).unwrap_or_default())
}

/// Milliseconds, to the microsecond.
fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
