//! How many cases of the conformance suite each back end passes, and against what.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use crate::figure::{Report, Target};

/// The back ends, by the names of their crates.
const BACK_ENDS: [&str; 6] = ["local", "vault", "aws", "gcp", "azure", "postgres"];

pub(crate) fn cases(report: &mut Report) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for back_end in BACK_ENDS {
        let results = root.join(format!("target/conformance/{back_end}.jsonl"));
        // What a former run left would be counted as this one's.
        let _ = fs::remove_file(&results);
        let ran = Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--package", &format!("leasehold-provider-{back_end}"), "--tests"])
            .current_dir(&root)
            .output()
            .unwrap();
        let lines = fs::read_to_string(&results).unwrap_or_default();
        let results: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if !ran.status.success() || results.is_empty() {
            Report::complain(&format!("{}{}", text(&ran.stdout), text(&ran.stderr)));
        }
        let mut counts = BTreeMap::<String, usize>::new();
        for result in &results {
            let name = match (result["outcome"].as_str().unwrap(), result["peer"].as_str()) {
                ("passed", Some(peer)) => format!("against {peer}"),
                ("passed", None) => "scripted".to_owned(),
                (outcome, _) => outcome.to_owned(),
            };
            *counts.entry(name).or_default() += 1;
        }
        let passed = results.iter().filter(|result| result["outcome"] == "passed").count();
        // What a back end cannot do is a case passed elsewhere: that it says so.
        let applicable = results.iter().filter(|result| result["outcome"] != "incapable").count();
        let each: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        Report::note(&format!("{back_end}: {} cases, {}", results.len(), each.join(", ")));
        let name = format!("provider_conformance_cases_{back_end}");
        report.figure(&name, passed as f64, "cases", Target::Exactly(applicable.max(1) as f64));
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
