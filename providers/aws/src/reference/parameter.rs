//! Names in the Parameter Store.
//!
//! Source: the Systems Manager user guide, "Requirements and constraints for parameter names", and the API reference's
//! `GetParameter` (`Name`) and `LabelParameterVersion` (`Labels`).

use leasehold_core::provider::ProviderError;

use super::{Format, arn::Arn, invalid, options};

/// `name-or-arn[:version-or-label][?format=raw]`, after its `ssm:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParameterReference<'a> {
    /// The name or ARN, as AWS takes it.
    pub(crate) parameter: &'a str,
    /// The region that an ARN names.
    pub(crate) region: Option<&'a str>,
    /// The version or the label that is the current one; the newest when absent.
    pub(crate) selector: Option<&'a str>,
    /// What a text is taken for.
    pub(crate) format: Format,
}

impl<'a> ParameterReference<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (whole, options) = options(text);
        // INVARIANT: neither a parameter's name nor a selector has a colon, and an ARN has five before its name.
        let colon = whole.match_indices(':').nth(if whole.starts_with("arn:") { 5 } else { 0 });
        let (parameter, selector) = match colon.and_then(|(at, _)| whole.split_at_checked(at)) {
            Some((parameter, selector)) => (parameter, selector.get(1..)),
            None => (whole, None),
        };
        let (name, region) = if parameter.starts_with("arn:") {
            let arn = Arn::parse(parameter, "ssm").filter(|arn| !arn.region.is_empty());
            // The slash after `parameter` is the first of a name that has several.
            arn.and_then(|arn| Some((arn.resource.strip_prefix("parameter/")?, Some(arn.region))))
                .ok_or_else(|| invalid("a parameter's ARN is arn:aws:ssm:REGION:ACCOUNT:parameter/NAME"))?
        } else {
            (parameter.strip_prefix('/').unwrap_or(parameter), None)
        };
        let rooted = region.is_some() || parameter.starts_with('/') || !parameter.contains('/');
        if !rooted || parameter.len() > 1011 || !is_name(name) {
            return Err(invalid(
                "a parameter is `ssm:/NAME` of at most 1011 characters of A-Z a-z 0-9 _ . - in 1 to 15 segments, \
                 the first of which does not start with `aws` or `ssm`",
            ));
        }
        if selector.is_some_and(|selector| !is_parameter_version(selector) && !is_label(selector)) {
            return Err(invalid("after a parameter's name there may be `:VERSION` or `:LABEL`"));
        }
        let mut reference = Self { parameter, region, selector, format: Format::Fields };
        for option in options {
            match option {
                ("format", "raw") => reference.format = Format::Raw,
                _ => return Err(invalid("after `?` a parameter can have `format=raw`")),
            }
        }
        Ok(reference)
    }

    /// The name by which AWS is asked for a version, or for what the `ref` means.
    pub(crate) fn named(&self, version: Option<&str>) -> String {
        match version.or(self.selector) {
            Some(selector) => format!("{}:{selector}", self.parameter),
            None => self.parameter.to_owned(),
        }
    }
}

/// Whether `text` is the number of a version: from 1, at most as many as there can be.
pub(crate) fn is_parameter_version(text: &str) -> bool {
    !text.starts_with(['0', '+']) && text.parse::<i64>().is_ok_and(|number| number > 0)
}

fn is_name(text: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    text.split('/').count() <= 15 && text.split('/').all(segment) && !is_reserved(text)
}

/// `/aws/reference/secretsmanager/` would be a way round the names of Secrets Manager.
fn is_reserved(text: &str) -> bool {
    text.get(..3).is_some_and(|start| ["aws", "ssm"].iter().any(|word| start.eq_ignore_ascii_case(word)))
}

fn is_label(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !is_reserved(text)
}

#[cfg(test)]
mod tests {
    use leasehold_core::provider::ErrorClass;

    use super::*;

    #[test]
    fn names_and_arns_are_taken_with_their_selectors() {
        let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/db";
        for (text, parameter, region, selector, asked) in [
            ("/prod/db", "/prod/db", None, None, "/prod/db".to_owned()),
            ("db", "db", None, None, "db".to_owned()),
            ("/prod/db:7", "/prod/db", None, Some("7"), "/prod/db:7".to_owned()),
            ("/prod/db:live?format=raw", "/prod/db", None, Some("live"), "/prod/db:live".to_owned()),
            (&format!("{arn}:live"), arn, Some("eu-west-1"), Some("live"), format!("{arn}:live")),
            (arn, arn, Some("eu-west-1"), None, arn.to_owned()),
        ] {
            let reference = ParameterReference::parse(text).unwrap();
            let parts = (reference.parameter, reference.region, reference.selector);
            assert_eq!((parts, reference.named(None)), ((parameter, region, selector), asked), "{text}");
            assert_eq!(reference.named(Some("2")), format!("{parameter}:2"));
        }
    }

    #[test]
    fn what_is_not_a_parameter_is_invalid() {
        let (deep, long) = ("/a".repeat(16), format!("/{}", "a".repeat(1011)));
        for bad in [
            "",
            "/",
            "//a",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/a/",
            "a/b",
            "/a b",
            "/a%2fb",
            "/a@b",
            "/a:",
            "/a:0",
            "/a:1a",
            "/a:+1",
            "/a:aws1",
            "/a:b:c",
            "/a?stage=x",
            "/aws/reference/secretsmanager/prod/db",
            "/AWS-x",
            "ssm-x",
            &deep,
            &long,
            "arn:aws:ssm:eu-west-1:123456789012:document/x",
            "arn:aws:ssm::123456789012:parameter/x",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/aws/x",
            "arn:aws:ssm:eu-west-1:123456789012:parameter//x",
        ] {
            let error = ParameterReference::parse(bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }
}
