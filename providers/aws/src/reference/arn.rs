//! Amazon Resource Names: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.

use crate::config::is_region;

/// What matters of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    /// The region; empty for services that have none.
    pub(crate) region: &'a str,
    /// What follows the account.
    pub(crate) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// The ARN of something that `service` has in an account.
    pub(crate) fn parse(text: &'a str, service: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (scheme, partition, named, region, account, resource) =
            (next(), next(), next(), next(), next(), next());
        let word =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ok = scheme == "arn"
            && partition.starts_with("aws")
            && word(partition)
            && named == service
            && (region.is_empty() || is_region(region))
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit());
        ok.then_some(Self { region, resource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_arn() {
        let arn = Arn::parse("arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/a:b", "ssm");
        assert_eq!(arn, Some(Arn { region: "us-gov-west-1", resource: "parameter/a:b" }));
        let role = Arn::parse("arn:aws:iam::123456789012:role/x", "iam");
        assert_eq!(role, Some(Arn { region: "", resource: "role/x" }));
        for bad in [
            "arn:aws:ssm:us-gov-west-1:1234:parameter/a",
            "arn:evil:ssm:us-gov-west-1:123456789012:parameter/a",
            "arn:aws:s3:us-gov-west-1:123456789012:parameter/a",
            "arn:aws:ssm:evil.example:123456789012:parameter/a",
            "arn:aws:ssm",
            "",
        ] {
            assert_eq!(Arn::parse(bad, "ssm"), None, "{bad}");
        }
    }
}
