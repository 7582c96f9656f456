//! What came of a run.

use std::fmt;

use crate::cases::Case;

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// The back end says that it cannot do this, and answers so.
    Incapable,
    /// The back end's stand-in cannot play it, and why.
    Excused(&'static str),
    /// Not as it must be.
    Failed(String),
}

/// Every case with its outcome, in the order of [`Case::ALL`].
#[derive(Clone, Debug)]
pub struct Report {
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
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, outcome) in &self.results {
            match outcome {
                Outcome::Passed => writeln!(f, "passed     {case}")?,
                Outcome::Incapable => writeln!(f, "incapable  {case}")?,
                Outcome::Excused(why) => writeln!(f, "excused    {case}: {why}")?,
                Outcome::Failed(why) => writeln!(f, "FAILED     {case}: {why}")?,
            }
        }
        Ok(())
    }
}
