//! The narrow face of AWS that the provider needs, and the SDKs behind it.

mod connect;
mod parameters;
mod secrets;
mod tokens;

use aws_sdk_secretsmanager::primitives::DateTime;
use leasehold_core::Timestamp;

pub(crate) use self::{
    connect::Cloud,
    parameters::Parameters,
    secrets::{PasswordRule, Secrets, VersionLabels, Which},
    tokens::{AssumeRole, Caller, Session, Tokens},
};

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// The most pages of a list that are read: more than any secret has versions.
const MOST_PAGES: usize = 100;
