//! Why policy denied something, for a caller whom policy lets know.
//!
//! It is made of the request and the policies alone, so it is the same whether there is such a thing or not.

use std::{fmt, sync::Arc};

/// Why a request was denied, in few words: it travels with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What it comes to.
    pub grounds: Grounds,
    /// One line a policy: those that forbid it, then those that would have permitted it but for one thing.
    pub policies: Vec<String>,
    /// Who asked, as policies see it.
    pub principal: String,
    /// The digest of the policies in force.
    pub policy_set: Arc<str>,
}

/// What a denial comes to. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A policy could not be evaluated, which denies.
    NotEvaluated,
    /// Policy permits it: there is no such thing.
    Permitted,
}

impl Grounds {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "FORBIDDEN",
            Self::NotPermitted => "NOT_PERMITTED",
            Self::NotEvaluated => "NOT_EVALUATED",
            Self::Permitted => "PERMITTED",
        }
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
