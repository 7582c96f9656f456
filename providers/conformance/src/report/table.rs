//! All reports side by side, for people.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use crate::cases::Case;

/// A table in Markdown of what [`recorded`](super::recorded) gave: a row a case, a column a back end, and against what it
/// passed. Below it stands why, where a case was not run.
pub fn table(lines: &[Value]) -> String {
    let back_ends: BTreeSet<_> = lines.iter().map(|line| word(line, "back_end")).collect();
    let mut table = "| case |".to_owned();
    for back_end in &back_ends {
        let _ = write!(table, " {back_end} |");
    }
    let _ = writeln!(table, "\n| --- |{}", " --- |".repeat(back_ends.len()));
    let mut notes = String::new();
    for case in Case::ALL {
        let case = case.to_string();
        let _ = write!(table, "| {case} |");
        for back_end in &back_ends {
            let line =
                lines.iter().find(|line| word(line, "case") == case && word(line, "back_end") == *back_end);
            let _ = write!(table, " {} |", line.map_or("", cell));
            if let Some(why) = line.map(|line| word(line, "why")).filter(|why| !why.is_empty()) {
                let _ = writeln!(notes, "- {back_end}, {case}: {why}");
            }
        }
        table.push('\n');
    }
    if !notes.is_empty() {
        let _ = write!(table, "\n{notes}");
    }
    table
}

fn cell(line: &Value) -> &str {
    match (word(line, "outcome"), word(line, "against")) {
        ("passed", "peer") => word(line, "peer"),
        ("passed", against) => against,
        ("incapable", _) => "cannot",
        (outcome, _) => outcome,
    }
}

fn word<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn back_ends_stand_side_by_side() {
        let line = |back_end, case, outcome, peer: Option<&str>, why| {
            let against = if peer.is_some() { "peer" } else { "scripted" };
            json!({ "back_end": back_end, "case": case, "outcome": outcome, "against": against, "peer": peer, "why": why })
        };
        let shown = table(&[
            line("vault", "CurrentIsRead", "passed", Some("OpenBao 2.7.2"), None),
            line("aws", "CurrentIsRead", "passed", None, None),
            line("aws", "Binary", "excused", None, Some("nobody can show it")),
            line("aws", "DeletedSecret", "incapable", None, None),
        ]);
        assert!(shown.starts_with("| case | aws | vault |\n| --- | --- | --- |\n"), "{shown}");
        assert!(shown.contains("| CurrentIsRead | scripted | OpenBao 2.7.2 |\n"), "{shown}");
        assert!(shown.contains("| DeletedSecret | cannot |  |\n"), "{shown}");
        assert!(shown.ends_with("\n- aws, Binary: nobody can show it\n"), "{shown}");
    }
}
