//! The cases. Each is one sentence that must be true of a back end; its name is the sentence's short form.

mod read;
mod write;

use std::{fmt, time::Duration};

use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{Capabilities, Change, ErrorClass, Fetch, ProviderError},
    secret::VersionId,
};

use crate::{
    fixture::Fixture,
    report::{Outcome, Report},
};

/// One case of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// What was put last is what is read, with its version and a time if the back end keeps one.
    CurrentIsRead,
    /// An older version is read by its id, after a newer one was put.
    OldVersionIsRead,
    /// Each put makes another version id, and the last one put is current.
    NewestIsCurrent,
    /// A secret that is not there is `Absent`.
    AbsentSecret,
    /// A version that is not there is `Absent`.
    AbsentVersion,
    /// What can be no version's id is `Invalid`.
    MalformedVersion,
    /// Text of many scripts, quotes, line ends and a trailing space comes back byte for byte.
    UnicodeText,
    /// Bytes that are no text come back as they were.
    Binary,
    /// Several named fields come back under their names.
    NamedFields,
    /// The largest value that the back end holds comes back whole.
    LargestValue,
    /// A name that could mean another place is `Invalid`, and the back end is not asked.
    HostileReferences,
    /// Many readers at once, of several secrets, each get their own.
    ConcurrentReads,
    /// What is written is read, under the version that the write answered.
    WrittenIsRead,
    /// An empty field is written and read, or refused as `Invalid`; it is never lost unseen.
    EmptyField,
    /// A repeated write with its token is the same write.
    RepeatedWrite,
    /// A token used again for another value is `Invalid`, and changes nothing.
    ReusedToken,
    /// A write that expects the current version succeeds, and its repetition too.
    ExpectedVersion,
    /// A write that expects another version is `Invalid`, and changes nothing.
    VersionConflict,
    /// Of several writers that expect the same version, exactly one succeeds.
    ConcurrentWrites,
    /// A value that is too large is `Invalid`, its error does not repeat it, and nothing changes.
    TooLargeValue,
    /// An old version that was retired is `Absent`; retiring it again succeeds; the current one is not touched.
    RetiredVersion,
    /// What the capabilities deny is answered as `Permanent`.
    DeniedCapabilities,
}

impl Case {
    /// Every case, in the order in which they are run.
    pub const ALL: [Self; 22] = [
        Self::CurrentIsRead,
        Self::OldVersionIsRead,
        Self::NewestIsCurrent,
        Self::AbsentSecret,
        Self::AbsentVersion,
        Self::MalformedVersion,
        Self::UnicodeText,
        Self::Binary,
        Self::NamedFields,
        Self::LargestValue,
        Self::HostileReferences,
        Self::ConcurrentReads,
        Self::WrittenIsRead,
        Self::EmptyField,
        Self::RepeatedWrite,
        Self::ReusedToken,
        Self::ExpectedVersion,
        Self::VersionConflict,
        Self::ConcurrentWrites,
        Self::TooLargeValue,
        Self::RetiredVersion,
        Self::DeniedCapabilities,
    ];

    /// Whether a back end with these capabilities can do what the case is about.
    fn applies(self, can: Capabilities) -> bool {
        match self {
            Self::CurrentIsRead
            | Self::NewestIsCurrent
            | Self::AbsentSecret
            | Self::UnicodeText
            | Self::Binary
            | Self::NamedFields
            | Self::LargestValue
            | Self::HostileReferences
            | Self::ConcurrentReads => can.read,
            Self::OldVersionIsRead | Self::AbsentVersion | Self::MalformedVersion => can.read && can.versions,
            Self::WrittenIsRead
            | Self::EmptyField
            | Self::RepeatedWrite
            | Self::ReusedToken
            | Self::ExpectedVersion
            | Self::VersionConflict
            | Self::ConcurrentWrites
            | Self::TooLargeValue => can.read && can.write,
            Self::RetiredVersion => can.read && can.can(Change::Destroy),
            Self::DeniedCapabilities => true,
        }
    }

    async fn try_on(self, subject: &dyn Fixture) -> Result<(), String> {
        match self {
            Self::CurrentIsRead => read::current(subject).await,
            Self::OldVersionIsRead => read::old_version(subject).await,
            Self::NewestIsCurrent => read::newest(subject).await,
            Self::AbsentSecret => read::absent_secret(subject).await,
            Self::AbsentVersion => read::absent_version(subject).await,
            Self::MalformedVersion => read::malformed_version(subject).await,
            Self::UnicodeText => read::unicode(subject).await,
            Self::Binary => read::binary(subject).await,
            Self::NamedFields => read::named_fields(subject).await,
            Self::LargestValue => read::largest(subject).await,
            Self::HostileReferences => read::hostile(subject).await,
            Self::ConcurrentReads => read::concurrent(subject).await,
            Self::WrittenIsRead => write::written(subject).await,
            Self::EmptyField => write::empty(subject).await,
            Self::RepeatedWrite => write::repeated(subject).await,
            Self::ReusedToken => write::reused_token(subject).await,
            Self::ExpectedVersion => write::expected(subject).await,
            Self::VersionConflict => write::conflict(subject).await,
            Self::ConcurrentWrites => write::concurrent(subject).await,
            Self::TooLargeValue => write::too_large(subject).await,
            Self::RetiredVersion => write::retired(subject).await,
            Self::DeniedCapabilities => write::denied_capabilities(subject).await,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// No case may take longer: a provider that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every case against a back end.
pub async fn run(subject: &dyn Fixture) -> Report {
    let can = subject.provider().capabilities();
    let mut results = Vec::new();
    for case in Case::ALL {
        let outcome = if !case.applies(can) {
            Outcome::Incapable
        } else if let Some(why) = subject.excused(case) {
            Outcome::Excused(why)
        } else {
            match tokio::time::timeout(PATIENCE, case.try_on(subject)).await {
                Ok(Ok(())) => Outcome::Passed,
                Ok(Err(why)) => Outcome::Failed(why),
                Err(_) => Outcome::Failed("it did not end".to_owned()),
            }
        };
        results.push((case, outcome));
    }
    Report { results }
}

/// Fails the case unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}
use ensure;

/// A value that is one text.
fn text(text: &str) -> SecretValue {
    SecretValue::plain(text.to_owned())
}

/// A value of these fields.
fn fields(fields: &[(&str, &[u8])], content_type: &str) -> Result<SecretValue, String> {
    let fields = fields
        .iter()
        .map(|(name, bytes)| Ok((name.parse()?, SecretBytes::new(bytes.to_vec()))))
        .collect::<Result<_, leasehold_core::secret::InvalidName>>()
        .map_err(|error| error.to_string())?;
    Ok(SecretValue { fields, content_type: content_type.into() })
}

/// Fails the case unless what is read has the same fields, byte for byte.
async fn reads(
    subject: &dyn Fixture,
    reference: &str,
    version: Option<&VersionId>,
    value: &SecretValue,
) -> Result<VersionId, String> {
    let fetched = subject
        .provider()
        .fetch(Fetch { reference, version })
        .await
        .map_err(|error| format!("`{reference}` is not read: {error} ({:?})", error.class))?;
    let names = |value: &SecretValue| value.fields.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(&fetched.value) == names(value),
        "`{reference}` has the fields {:?}, not {:?}",
        names(&fetched.value),
        names(value)
    );
    for ((name, read), put) in fetched.value.fields.iter().zip(value.fields.values()) {
        ensure!(
            read.expose() == put.expose(),
            "the field `{name}` of `{reference}` is read with {} other bytes than the {} that were put",
            read.len(),
            put.len()
        );
    }
    Ok(fetched.version)
}

/// Fails the case unless the answer is an error of this class.
fn is<T>(answer: Result<T, ProviderError>, class: ErrorClass, what: &str) -> Result<ProviderError, String> {
    match answer {
        Ok(_) => Err(format!("{what} succeeds, and should be {class:?}")),
        Err(error) if error.class == class => Ok(error),
        Err(error) => Err(format!("{what} is {:?}, and should be {class:?}: {error}", error.class)),
    }
}
