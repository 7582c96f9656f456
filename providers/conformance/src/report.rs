//! What came of a run, for people and as lines of JSON.

mod table;

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

pub use self::table::table;

use crate::cases::Case;

/// What a case was run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Against {
    /// A real or an independent server, and which.
    Peer(&'static str),
    /// A server of ours, which answers as the back end's documentation says.
    Scripted,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be, against this.
    Passed(Against),
    /// The back end says that it cannot do this, and answers so.
    Incapable,
    /// The back end can never come into this, and why.
    Impossible(&'static str),
    /// It could not be played, and why.
    Excused(&'static str),
    /// Not as it must be.
    Failed(String),
}

/// Every case with its outcome, in the order of [`Case::ALL`].
#[derive(Clone, Debug)]
pub struct Report {
    /// The back end's kind.
    pub back_end: &'static str,
    /// The results.
    pub results: Vec<(Case, Outcome)>,
}

impl Report {
    /// The report as text when nothing failed.
    ///
    /// # Errors
    /// The same text when something did, so that a test shows all of it.
    pub fn passed(self) -> Result<String, String> {
        let failed = self.results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        let text = self.to_string();
        if failed { Err(text) } else { Ok(text) }
    }

    /// The outcome of one case.
    pub fn of(&self, case: Case) -> Option<&Outcome> {
        self.results.iter().find(|(name, _)| *name == case).map(|(_, outcome)| outcome)
    }

    /// How many cases passed.
    pub fn count_passed(&self) -> usize {
        self.results.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Passed(_))).count()
    }

    /// This report and another one of the same back end, against something else or in another mode. A failure in either
    /// stays one; otherwise what says the most of a case counts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for ((_, mine), (_, theirs)) in self.results.iter_mut().zip(other.results) {
            if theirs.weight() > mine.weight() {
                *mine = theirs;
            }
        }
        self
    }

    /// Writes the report as lines of JSON into the file `target/conformance/<back end>.jsonl`, for
    /// `cargo figures provider_conformance_cases`; gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self) -> io::Result<PathBuf> {
        self.record_in(&folder()?)
    }

    fn record_in(&self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.jsonl", self.back_end));
        // Whole or not at all: somebody may be reading.
        let draft = folder.join(format!(".{}.{}", self.back_end, std::process::id()));
        let lines: Vec<_> = self.lines().map(|line| format!("{line}\n")).collect();
        fs::write(&draft, lines.concat())?;
        fs::rename(&draft, &path)?;
        Ok(path)
    }

    fn lines(&self) -> impl Iterator<Item = Value> {
        self.results.iter().map(|(case, outcome)| {
            let (against, peer) = match outcome {
                Outcome::Passed(Against::Peer(peer)) => (Some("peer"), Some(*peer)),
                Outcome::Passed(Against::Scripted) => (Some("scripted"), None),
                _ => (None, None),
            };
            let why = match outcome {
                Outcome::Impossible(why) | Outcome::Excused(why) => Some(*why),
                Outcome::Failed(why) => Some(&**why),
                _ => None,
            };
            json!({
                "back_end": self.back_end,
                "case": case.to_string(),
                "outcome": outcome.name(),
                "against": against,
                "peer": peer,
                "why": why,
            })
        })
    }
}

impl Outcome {
    /// The outcome's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Incapable | Self::Impossible(_) => "incapable",
            Self::Excused(_) => "excused",
            Self::Failed(_) => "FAILED",
        }
    }

    const fn weight(&self) -> u8 {
        match self {
            Self::Incapable => 0,
            Self::Impossible(_) => 1,
            Self::Excused(_) => 2,
            Self::Passed(Against::Scripted) => 3,
            Self::Passed(Against::Peer(_)) => 4,
            Self::Failed(_) => 5,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, outcome) in &self.results {
            let (name, case) = (outcome.name(), case.to_string());
            match outcome {
                Outcome::Passed(against) => writeln!(f, "{name:<9}  {case:<22}  {against}")?,
                Outcome::Incapable => writeln!(f, "{name:<9}  {case}")?,
                Outcome::Impossible(why) | Outcome::Excused(why) => {
                    writeln!(f, "{name:<9}  {case:<22}  {why}")?;
                }
                Outcome::Failed(why) => writeln!(f, "{name:<9}  {case:<22}  {why}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(name) => f.write_str(name),
            Self::Scripted => f.write_str("scripted"),
        }
    }
}

/// Where reports are kept: beside everything else that is built.
///
/// # Errors
/// When there is no workspace around the running test.
pub fn folder() -> io::Result<PathBuf> {
    let start = env::var_os("CARGO_MANIFEST_DIR").map_or_else(env::current_dir, |path| Ok(path.into()))?;
    let root = start.ancestors().find(|at| at.join("Cargo.lock").is_file());
    root.map(|root| root.join("target/conformance"))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no workspace around this test"))
}

/// Every line of every report in a folder, in the order of the back ends' names.
///
/// # Errors
/// When a report cannot be read, or is none.
pub fn recorded(folder: &Path) -> io::Result<Vec<Value>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let mut lines = Vec::new();
    for path in paths {
        for line in fs::read_to_string(path)?.lines() {
            lines.push(serde_json::from_str(line)?);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report { back_end: "x", results: vec![(Case::CurrentIsRead, outcome)] }
    }

    #[test]
    fn what_says_the_most_counts_and_a_failure_stays_one() {
        let peer = || Outcome::Passed(Against::Peer("moto"));
        let scripted = || Outcome::Passed(Against::Scripted);
        let failed = || Outcome::Failed("why".to_owned());
        for (mine, theirs, both) in [
            (Outcome::Incapable, scripted(), scripted()),
            (scripted(), peer(), peer()),
            (peer(), Outcome::Excused("why"), peer()),
            (peer(), failed(), failed()),
            (failed(), peer(), failed()),
        ] {
            assert_eq!(report(mine).and(report(theirs)).of(Case::CurrentIsRead), Some(&both));
        }
    }

    #[test]
    fn a_line_says_against_what() {
        let line = |outcome| report(outcome).lines().next().unwrap();
        let passed = line(Outcome::Passed(Against::Peer("moto")));
        assert_eq!((&passed["against"], &passed["peer"]), (&json!("peer"), &json!("moto")));
        assert_eq!(line(Outcome::Passed(Against::Scripted))["against"], "scripted");
        let failed = line(Outcome::Failed("why".to_owned()));
        assert_eq!((&failed["outcome"], &failed["why"]), (&json!("FAILED"), &json!("why")));
        let impossible = line(Outcome::Impossible("why"));
        assert_eq!((&impossible["outcome"], &impossible["why"]), (&json!("incapable"), &json!("why")));
        let shown = report(Outcome::Passed(Against::Scripted)).passed().unwrap();
        assert_eq!(shown, "passed     CurrentIsRead           scripted\n");
    }
    #[test]
    fn what_is_recorded_is_read_back_whole_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for outcome in [Outcome::Excused("why"), Outcome::Passed(Against::Scripted)] {
            let written = report(outcome);
            let path = written.record_in(folder.path()).unwrap();
            assert_eq!(path, folder.path().join("x.jsonl"));
            assert_eq!(recorded(folder.path()).unwrap(), written.lines().collect::<Vec<_>>());
        }
    }
}
