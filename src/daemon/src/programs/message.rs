//! What a program is given on its standard input.

use leasehold_core::{
    SecretValue,
    provider::{ErrorClass, ProviderError, Turn},
};
use leasehold_programs::Fields;
use serde::Serialize;
use zeroize::Zeroizing;

/// What a program is to do.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    /// Say whether it could do all this, and change nothing.
    Check,
    /// Have the new value accepted.
    Apply,
    /// Try this value.
    Test(&'a SecretValue),
    /// Have the old value accepted no longer.
    Retire,
}

impl Step<'_> {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Apply => "apply",
            Self::Test(_) => "test",
            Self::Retire => "retire",
        }
    }
}

/// The form's own version.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Message<'a> {
    version: u32,
    step: &'static str,
    secret: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Fields<'a>>,
    new: Fields<'a>,
    /// Of a test: the value to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Fields<'a>>,
}

/// One line of JSON.
pub(super) fn message(step: Step<'_>, turn: Turn<'_>) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let message = Message {
        version: VERSION,
        step: step.name(),
        secret: turn.secret.as_str(),
        token: turn.token,
        old: turn.old.map(Fields),
        new: Fields(turn.new),
        value: match step {
            Step::Test(value) => Some(Fields(value)),
            Step::Check | Step::Apply | Step::Retire => None,
        },
    };
    // What it grows out of on the way is wiped by the allocator.
    let mut line = Zeroizing::new(Vec::new());
    serde_json::to_writer(&mut *line, &message)
        .map_err(|_| ProviderError::new(ErrorClass::Permanent, "the values cannot be written as JSON"))?;
    line.push(b'\n');
    Ok(line)
}
