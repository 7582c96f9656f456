//! Names in Secrets Manager.
//!
//! Source: the API reference's `CreateSecret` (`Name`), `GetSecretValue` (`SecretId`, `VersionStage`) and
//! `PutSecretValue` (`ClientRequestToken`).

use leasehold_core::provider::ProviderError;

use super::{Format, arn::Arn, invalid, options};

/// `name-or-arn[?stage=LABEL][&format=raw]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretReference<'a> {
    /// The name or ARN, as AWS takes it.
    pub(crate) secret: &'a str,
    /// The region that an ARN names.
    pub(crate) region: Option<&'a str>,
    /// The staging label that is the current version.
    pub(crate) stage: &'a str,
    /// What a text is taken for.
    pub(crate) format: Format,
}

/// The label of the current version, unless `ref` names another.
pub(crate) const CURRENT: &str = "AWSCURRENT";

impl<'a> SecretReference<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (secret, options) = options(text);
        let (name, region) = if secret.starts_with("arn:") {
            let arn = Arn::parse(secret, "secretsmanager").filter(|arn| !arn.region.is_empty());
            arn.and_then(|arn| Some((arn.resource.strip_prefix("secret:")?, Some(arn.region))))
                .ok_or_else(|| invalid("an ARN is arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"))?
        } else {
            (secret, None)
        };
        if !is_name(name) {
            return Err(invalid(
                "a name is 1 to 512 characters of A-Z a-z 0-9 / _ + = . @ - in segments that are not empty, `.` or `..`",
            ));
        }
        let mut reference = Self { secret, region, stage: CURRENT, format: Format::Fields };
        for option in options {
            match option {
                ("stage", label) if is_label(label) => reference.stage = label,
                ("format", "raw") => reference.format = Format::Raw,
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

fn is_name(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
        && text.strip_prefix('/').unwrap_or(text).split('/').all(|s| !matches!(s, "" | "." | ".."))
}

fn is_label(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
}

#[cfg(test)]
mod tests {
    use leasehold_core::provider::ErrorClass;

    use super::*;

    #[test]
    fn names_and_arns_are_taken_with_their_options() {
        let plain = SecretReference::parse("prod/payments/db").unwrap();
        let expected = SecretReference {
            secret: "prod/payments/db",
            region: None,
            stage: CURRENT,
            format: Format::Fields,
        };
        assert_eq!(plain, expected);
        let arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:/a/b+c=d.e@f-AbCdEf";
        let full = format!("{arn}?stage=AWSPREVIOUS&format=raw");
        let expected = SecretReference {
            secret: arn,
            region: Some("us-gov-west-1"),
            stage: "AWSPREVIOUS",
            format: Format::Raw,
        };
        assert_eq!(SecretReference::parse(&full).unwrap(), expected);
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
            "arn:aws:secretsmanager::123456789012:secret:a",
            "arn:evil:secretsmanager:eu-central-1:123456789012:secret:a",
        ] {
            let error = SecretReference::parse(bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }
}
