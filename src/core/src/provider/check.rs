//! Whether a back end lets the broker do what the configuration will ask of it, for people to read.

use jiff::Timestamp;

/// One thing that the configuration will ask of a back end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Read a secret. In a mount's name, `{rest}` stands for anything.
    Read {
        /// The back end's own name.
        reference: Box<str>,
    },
    /// Write new versions of a secret.
    Write {
        /// The back end's own name.
        reference: Box<str>,
    },
    /// Rotate a secret by itself.
    Rotate {
        /// The back end's own name.
        reference: Box<str>,
    },
    /// Make values by a rule of its own.
    Generate {
        /// The rule's name there.
        policy: Box<str>,
    },
    /// Make, renew and end credentials of a role.
    Issue {
        /// The role.
        role: Box<str>,
    },
}

/// One step of a check, in the order in which they were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried, such as ``read `prod/db` ``.
    pub step: String,
    /// How it went.
    pub verdict: Verdict,
}

/// How a step of a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works; with what is worth knowing, or empty.
    Passed(String),
    /// It does not.
    Failed {
        /// What is wrong, in words.
        problem: String,
        /// The way out.
        remedy: String,
        /// The exact lines of policy that would allow it, when that is what is missing.
        grant: Option<String>,
    },
    /// It was not tried, because.
    NotTried(String),
}

/// How the broker itself stands with a back end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignIn {
    /// When the broker's own credentials end; absent when they do not, or are made anew for each call.
    pub expires_at: Option<Timestamp>,
    /// Why the last attempt to sign in or to renew them failed; absent when it did not.
    pub problem: Option<String>,
}

impl Finding {
    /// A step that works.
    pub fn passed(step: impl Into<String>, note: impl Into<String>) -> Self {
        Self { step: step.into(), verdict: Verdict::Passed(note.into()) }
    }

    /// A step that does not.
    pub fn failed(step: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        let verdict = Verdict::Failed { problem: problem.into(), remedy: remedy.into(), grant: None };
        Self { step: step.into(), verdict }
    }

    /// A step that was not tried.
    pub fn not_tried(step: impl Into<String>, why: impl Into<String>) -> Self {
        Self { step: step.into(), verdict: Verdict::NotTried(why.into()) }
    }

    /// What a back end says that is asked to rotate a secret by itself, and cannot.
    pub fn not_native(reference: &str) -> Self {
        Self::failed(
            format!("rotate `{reference}`"),
            "this back end rotates nothing by itself",
            "choose another `strategy` for its rotation: see docs/rotation.md",
        )
    }

    /// What a back end says that is asked to make values by a rule of its own, and has none.
    pub fn no_rules(policy: &str) -> Self {
        Self::failed(
            format!("make a value by `{policy}`"),
            "this back end has no rules by which values are made",
            "choose another `generator`: see docs/rotation.md",
        )
    }

    /// With the lines of policy that would allow a failed step.
    #[must_use]
    pub fn granted_by(mut self, lines: impl Into<String>) -> Self {
        if let Verdict::Failed { grant, .. } = &mut self.verdict {
            *grant = Some(lines.into());
        }
        self
    }

    /// Whether it failed.
    pub const fn is_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}
