//! How `ref` names a secret in AWS: its name or ARN, and which version and shape of it is meant.
//!
//! Checked before any call, so that no text from a mount's `{rest}` ever reaches AWS that is not a secret's name.

use leasehold_core::provider::{ErrorClass, ProviderError};

/// A parsed `ref`: `name-or-arn[?stage=LABEL][&format=raw]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The name or ARN, as AWS takes it.
    pub(crate) secret: &'a str,
    /// The staging label that is the current version.
    pub(crate) stage: &'a str,
    /// What a text is taken for.
    pub(crate) format: Format,
}

/// What a secret's text is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object is its fields; anything else is the field `value`.
    Fields,
    /// Always the field `value`, as it is.
    Raw,
}

/// The label of the current version, unless `ref` names another.
pub(crate) const CURRENT: &str = "AWSCURRENT";

impl<'a> Reference<'a> {
    /// Parses a `ref`. The name's grammar is that of `CreateSecret`'s `Name`, without segments that are empty, `.` or
    /// `..`: AWS would take those for names like any other, people would not.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`], with what is wrong.
    pub(crate) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (secret, options) = match text.split_once('?') {
            Some((secret, options)) => (secret, Some(options)),
            None => (text, None),
        };
        let name = if secret.starts_with("arn:") { arn_name(secret)? } else { secret };
        if !is_name(name) {
            return Err(invalid(
                "a name is 1 to 512 characters of A-Z a-z 0-9 / _ + = . @ - in segments that are not empty, `.` or `..`",
            ));
        }
        let mut reference = Self { secret, stage: CURRENT, format: Format::Fields };
        for option in options.into_iter().flat_map(|options| options.split('&')) {
            match option.split_once('=') {
                Some(("stage", label)) if is_label(label) => reference.stage = label,
                Some(("format", "raw")) => reference.format = Format::Raw,
                _ => {
                    return Err(invalid(
                        "after `?` there may be `stage=LABEL` and `format=raw`, joined by `&`",
                    ));
                }
            }
        }
        Ok(reference)
    }
}

/// Whether `text` can be the id of a version: 32 to 64 characters, as a `ClientRequestToken` has, of those of a UUID or a hash.
pub(crate) fn is_version(text: &str) -> bool {
    (32..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The name at an ARN's end: `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME`.
fn arn_name(arn: &str) -> Result<&str, ProviderError> {
    let mut parts = arn.splitn(7, ':').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (partition, service, region, account, kind, name) = (next(), next(), next(), next(), next(), next());
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let ok = partition.starts_with("aws")
        && word(partition)
        && service == "secretsmanager"
        && word(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && kind == "secret";
    if ok { Ok(name) } else { Err(invalid("an ARN is arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")) }
}

fn is_name(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
        && text.strip_prefix('/').unwrap_or(text).split('/').all(|s| !matches!(s, "" | "." | ".."))
}

fn is_label(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
}

fn invalid(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`ref` does not name an AWS secret: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_arns_are_taken_with_their_options() {
        let plain = Reference::parse("prod/payments/db").unwrap();
        assert_eq!(plain, Reference { secret: "prod/payments/db", stage: CURRENT, format: Format::Fields });
        let arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:/a/b+c=d.e@f-AbCdEf";
        let full = format!("{arn}?stage=AWSPREVIOUS&format=raw");
        let parsed = Reference::parse(&full).unwrap();
        assert_eq!(parsed, Reference { secret: arn, stage: "AWSPREVIOUS", format: Format::Raw });
    }

    #[test]
    fn what_is_not_a_name_is_invalid() {
        let long = "a".repeat(513);
        for bad in [
            "",
            "/",
            "a//b",
            "a/../b",
            "..",
            "a/.",
            "a b",
            "a\0b",
            "a%2fb",
            "a#b",
            "a:b",
            "é",
            "a\n",
            "a/",
            "a?",
            "a?x=y",
            "a?stage=",
            "a?stage=a b",
            "a?format=xml",
            "a?stage=a?b",
            &long,
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager:eu-central-1:1234:secret:a",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a/../b",
            "arn:evil:secretsmanager:eu-central-1:123456789012:secret:a",
        ] {
            let error = Reference::parse(bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_in_the_grammar(text in "[a-zA-Z0-9/_+=.@?&: \\\\%-]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert!(text.starts_with(reference.secret));
                prop_assert!(!reference.secret.contains(['?', '%', ' ', '\\']));
                prop_assert!(reference.secret.split('/').all(|s| s != ".." && s != "."));
            }
        }
    }
}
