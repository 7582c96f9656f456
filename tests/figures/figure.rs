//! One measured number with its target, printed for people and written for machines.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use serde_json::json;

/// How a value is held against its target.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

/// The value in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Where figures go.
pub(crate) struct Report {
    lines: File,
    short: bool,
}

impl Target {
    fn parts(self) -> (&'static str, f64) {
        match self {
            Self::AtLeast(n) => (">=", n),
            Self::AtMost(n) => ("<=", n),
            Self::Exactly(n) => ("=", n),
        }
    }

    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(n) => value >= n,
            Self::AtMost(n) => value <= n,
            Self::Exactly(n) => (value - n).abs() < f64::EPSILON,
        }
    }
}

impl Report {
    pub(crate) fn open() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/figures");
        fs::create_dir_all(&folder).unwrap();
        Self { lines: File::create(folder.join("figures.jsonl")).unwrap(), short: false }
    }

    /// Prints one figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        let (op, wanted) = target.parts();
        let verdict = if target.is_met(value) { "ok" } else { "short" };
        self.short |= !target.is_met(value);
        let shown = (value * 1000.0).round() / 1000.0;
        Self::say(&format!("figure {name} {shown} {unit} target {op} {wanted} {verdict}"));
        let line = json!({ "name": name, "value": value, "unit": unit, "op": op, "target": wanted, "verdict": verdict });
        writeln!(self.lines, "{line}").unwrap();
    }

    /// What a figure was computed from.
    pub(crate) fn note(text: &str) {
        Self::say(&format!("# {text}"));
    }

    pub(crate) fn complain(text: &str) {
        eprintln!("{text}");
    }

    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    fn say(text: &str) {
        println!("{text}");
    }
}
