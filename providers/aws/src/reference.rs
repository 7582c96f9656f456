//! How `ref` names a secret in AWS: where it is, which version and which shape of it is meant.
//!
//! Checked before any call, so that no text from a mount's `{rest}` ever reaches AWS that is not a secret's name.

mod arn;
mod parameter;
mod secret;

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::json::Format,
};

pub(crate) use self::{
    arn::Arn,
    parameter::{ParameterReference, is_parameter_version},
    secret::{CURRENT, SecretReference, is_version},
};

/// A parsed `ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    /// A secret of Secrets Manager: `name-or-arn[?stage=LABEL][&format=raw]`.
    Secret(SecretReference<'a>),
    /// A parameter of the Parameter Store: `ssm:name-or-arn[:version-or-label][?format=raw]`.
    Parameter(ParameterReference<'a>),
}

/// What marks a parameter of the Parameter Store. No name in Secrets Manager has a colon.
const PARAMETER: &str = "ssm:";

impl<'a> Reference<'a> {
    /// Parses what an operator, or a mount's `{rest}`, wrote.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`], saying what a `ref` is.
    pub(crate) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        match text.strip_prefix(PARAMETER) {
            Some(parameter) => ParameterReference::parse(parameter).map(Self::Parameter),
            None => SecretReference::parse(text).map(Self::Secret),
        }
    }

    /// The secret that is meant, where only Secrets Manager can do what is asked.
    ///
    /// # Errors
    /// [`ErrorClass::Permanent`] for a parameter, [`ErrorClass::Invalid`] as [`Self::parse`].
    pub(crate) fn parse_secret(text: &'a str) -> Result<SecretReference<'a>, ProviderError> {
        match Self::parse(text)? {
            Self::Secret(secret) => Ok(secret),
            Self::Parameter(_) => Err(ProviderError::new(
                ErrorClass::Permanent,
                "parameters of the Parameter Store are only read: change them with AWS's own tools",
            )),
        }
    }
}

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used. In a mount's, `{rest}`
/// stands for what follows the mount's prefix: within the name, so that it chooses neither region nor account nor version.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), ProviderError> {
    const REST: &str = "{rest}";
    const NAMES: [&str; 2] = [":secret:", ":parameter/"];
    let Some((before, after)) = text.split_once(REST) else { return Reference::parse(text).map(drop) };
    Reference::parse(&text.replace(REST, "x"))?;
    let local = before.strip_prefix(PARAMETER).unwrap_or(before);
    let in_name = match local.starts_with("arn:") {
        true => {
            NAMES.iter().find_map(|end| local.split_once(end)).is_some_and(|(_, name)| !name.contains(':'))
        }
        false => !local.contains(':'),
    };
    if !in_name || before.contains('?') || after.contains(REST) {
        return Err(invalid(
            "`{rest}` stands once, and within the name: after `:secret:` or `:parameter/` in an ARN",
        ));
    }
    Ok(())
}

/// What stands before the first `?`, and the options after it.
fn options(text: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let (name, options) = match text.split_once('?') {
        Some((name, options)) => (name, Some(options)),
        None => (text, None),
    };
    let each = options.into_iter().flat_map(|options| options.split('&'));
    (name, each.map(|option| option.split_once('=').unwrap_or((option, ""))))
}

fn invalid(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`ref` does not name an AWS secret: {why}"))
}

#[cfg(test)]
mod tests {
    use leasehold_core::SecretPath;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_two_services_are_told_apart() {
        assert!(matches!(Reference::parse("prod/db"), Ok(Reference::Secret(_))));
        assert!(matches!(Reference::parse("ssm:/prod/db"), Ok(Reference::Parameter(_))));
        assert!(Reference::parse("s3:/prod/db").is_err() && Reference::parse("ssm:").is_err());
        assert_eq!(Reference::parse_secret("ssm:/prod/db").unwrap_err().class, ErrorClass::Permanent);
    }

    #[test]
    fn the_rest_of_a_mount_is_part_of_a_name() {
        let (secret, parameter) = (
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
            "ssm:arn:aws:ssm:eu-central-1:123456789012:parameter/",
        );
        for good in [
            "{rest}",
            "team/{rest}",
            "team/{rest}/db?stage=LIVE&format=raw",
            "ssm:/team/{rest}",
            "ssm:/team/{rest}:live",
            &format!("{secret}team/{{rest}}"),
            &format!("{secret}{{rest}}?format=raw"),
            &format!("{parameter}team/{{rest}}:3"),
        ] {
            assert!(check_reference(good).is_ok(), "{good}");
        }
        for bad in [
            "team/db?stage={rest}",
            "team/{rest}?stage={rest}",
            "ssm:/team/key:{rest}",
            "ssm:{rest}/key:v{rest}",
            "arn:aws:secretsmanager:{rest}:123456789012:secret:team/db",
            "arn:aws{rest}:secretsmanager:eu-central-1:123456789012:secret:team/db",
            "ssm:arn:aws:ssm:{rest}:123456789012:parameter/team/db",
            &format!("{parameter}team/db:{{rest}}"),
            "team/{rest}/../x",
        ] {
            assert!(check_reference(bad).is_err(), "{bad}");
        }
    }

    /// The name as AWS gets it.
    fn name(reference: Reference<'_>) -> String {
        match reference {
            Reference::Secret(secret) => secret.secret.to_owned(),
            Reference::Parameter(parameter) => parameter.named(None),
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_in_the_grammar(text in "(ssm:)?[a-zA-Z0-9/_+=.@?&: \\\\%-]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                let name = name(reference);
                prop_assert!(text.trim_start_matches("ssm:").starts_with(&name));
                prop_assert!(!name.contains(['?', '%', ' ', '\\', '&']));
                prop_assert!(name.split('/').all(|s| s != ".." && s != "."));
            }
        }

        #[test]
        fn any_rest_of_a_mount_stays_under_its_prefix(path in "[a-z]{1,4}(/[A-Za-z0-9._-]{1,12}){1,8}") {
            let Ok(path) = path.parse::<SecretPath>() else { return Ok(()) };
            let (_, rest) = path.as_str().split_once('/').unwrap();
            let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:team/";
            for (prefix, marker, end) in [("team/", "", ""), (arn, "", "?format=raw"), ("/team/", "ssm:", ":3")] {
                let text = format!("{marker}{prefix}{rest}{end}");
                if let Ok(reference) = Reference::parse(&text) {
                    let expected = format!("{prefix}{rest}{}", if end.starts_with(':') { end } else { "" });
                    prop_assert_eq!(name(reference), expected);
                }
            }
        }
    }
}
