//! What the cases have in common: values, and what must be true of answers.

use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{ErrorClass, Fetch, ProviderError},
    secret::VersionId,
};

use crate::fixture::Fixture;

/// Fails the case unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+).into());
        }
    };
}
pub(super) use ensure;

/// A value that is one text.
pub(super) fn text(text: &str) -> SecretValue {
    SecretValue::plain(text.to_owned())
}

/// A value of these fields.
pub(super) fn fields(fields: &[(&str, &[u8])], content_type: &str) -> Result<SecretValue, String> {
    let fields = fields
        .iter()
        .map(|(name, bytes)| Ok((name.parse()?, SecretBytes::new(bytes.to_vec()))))
        .collect::<Result<_, leasehold_core::secret::InvalidName>>()
        .map_err(|error| error.to_string())?;
    Ok(SecretValue { fields, content_type: content_type.into() })
}

/// Fails the case unless what is read has the same fields, byte for byte.
pub(super) async fn reads(
    subject: &dyn Fixture,
    reference: &str,
    version: Option<&VersionId>,
    value: &SecretValue,
) -> Result<VersionId, String> {
    let fetched = subject.provider().fetch(Fetch { reference, version }).await;
    let fetched = fetched.map_err(|error| told(&format!("`{reference}` is not read"), &error))?;
    same(reference, &fetched.value, value)?;
    Ok(fetched.version)
}

/// Fails the case unless both values have the same fields, byte for byte.
pub(super) fn same(reference: &str, read: &SecretValue, put: &SecretValue) -> Result<(), String> {
    let names = |value: &SecretValue| value.fields.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(read) == names(put),
        "`{reference}` has the fields {:?}, not {:?}",
        names(read),
        names(put)
    );
    for ((name, read), put) in read.fields.iter().zip(put.fields.values()) {
        ensure!(
            read.expose() == put.expose(),
            "the field `{name}` of `{reference}` is read with {} other bytes than the {} that were put",
            read.len(),
            put.len()
        );
    }
    Ok(())
}

/// Fails the case unless the answer is an error of this class.
pub(super) fn is<T>(
    answer: Result<T, ProviderError>,
    class: ErrorClass,
    what: &str,
) -> Result<ProviderError, String> {
    match answer {
        Ok(_) => Err(format!("{what} succeeds, and should be {class:?}")),
        Err(error) if error.class == class => Ok(error),
        Err(error) => Err(format!("{what} is {:?}, and should be {class:?}: {error}", error.class)),
    }
}

/// What did not work, and what the provider said of it.
pub(super) fn told(what: &str, error: &ProviderError) -> String {
    format!("{what}: {error} ({:?})", error.class)
}
