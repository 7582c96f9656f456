//! What is in the way, so that whoever reads an error knows what to do.

use leasehold_core::provider::{ErrorClass, ProviderError};
use thiserror::Error;

use super::find;

/// What is in the way; said as the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Trouble {
    /// This machine's clock is wrong.
    #[error("set this machine's clock (NTP): AWS takes no request that is more than five minutes off")]
    Clock,
    /// The key or the token is not, or no longer, AWS's.
    #[error("give the broker a key that is in force: AWS does not take this one, or no longer")]
    BadCredentials,
    /// There are no credentials.
    #[error(
        "give the broker credentials: see `profile`, `access_key_id` and `assume_role_arn` in docs/providers/aws.md"
    )]
    NoCredentials,
    /// Signed for another region than the endpoint's, or for one that is not enabled.
    #[error("check `region`: the endpoint is another region's, or the region is not enabled for the account")]
    Region,
    /// There is no such host.
    #[error("check `region` and the `endpoint_url`s: there is no host of that name")]
    NoHost,
    /// Nobody answers there.
    #[error(
        "check the network to the endpoint: a route, a firewall, a proxy, a VPC endpoint's security group"
    )]
    Unreachable,
    /// The certificate is not one that this machine trusts.
    #[error(
        "check who answers there: this machine trusts no authority that signed the endpoint's certificate"
    )]
    Untrusted,
    /// AWS does not let the broker.
    #[error(
        "allow it in the IAM policy of the broker's identity, and in the resource's own policy if it has one"
    )]
    Denied,
    /// The secret's key is not the broker's to use.
    #[error(
        "allow kms:Decrypt on the secret's key, in the key's policy too, and see that the key is enabled"
    )]
    Key,
    /// A session was asked for that is longer than its role, or role chaining, allows.
    #[error(
        "lower the secret's `ttl`, or raise the role's MaxSessionDuration; a role that is taken on from a role's session \
         has an hour at most"
    )]
    Duration,
}

impl Trouble {
    /// What an error carries.
    pub(crate) fn of(error: &ProviderError) -> Option<Self> {
        find::<Self>(error).copied()
    }

    /// What an answer of AWS means.
    pub(super) fn answered(class: ErrorClass, code: Option<&str>, message: Option<&str>) -> Option<Self> {
        let says = |words: &[&str]| words.iter().any(|word| message.is_some_and(|text| text.contains(word)));
        match code.unwrap_or_default() {
            "RequestTimeTooSkewed" | "RequestExpired" => Some(Self::Clock),
            "InvalidSignatureException" | "SignatureDoesNotMatch"
                if says(&["Signature expired", "not yet current"]) =>
            {
                Some(Self::Clock)
            }
            "RegionDisabledException" => Some(Self::Region),
            _ if class == ErrorClass::Denied && says(&["valid region", "correct region", "scoped to"]) => {
                Some(Self::Region)
            }
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" if says(&["KMS", "kms:"]) => {
                Some(Self::Key)
            }
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => {
                Some(Self::Denied)
            }
            "DecryptionFailure" | "EncryptionFailure" | "InvalidKeyId" => Some(Self::Key),
            "ValidationError" if says(&["DurationSeconds"]) => Some(Self::Duration),
            // A refusal that does not say why.
            "" if class == ErrorClass::Denied => Some(Self::Denied),
            _ if class == ErrorClass::Denied => Some(Self::BadCredentials),
            _ => None,
        }
    }

    /// What kept a request from being sent.
    pub(super) fn unsent(why: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if says(&["certificate", "UnknownIssuer"]) {
            Self::Untrusted
        } else if says(&["dns error", "failed to lookup", "Name or service not known"]) {
            Self::NoHost
        } else {
            Self::Unreachable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_told_apart() {
        use Trouble::*;
        let denied = |code, message| Trouble::answered(ErrorClass::Denied, code, message);
        for (code, message, trouble) in [
            ("RequestTimeTooSkewed", "", Clock),
            (
                "InvalidSignatureException",
                "Signature expired: 20261122T100000Z is now earlier than ...",
                Clock,
            ),
            ("SignatureDoesNotMatch", "Signature not yet current: ...", Clock),
            ("InvalidSignatureException", "Credential should be scoped to a valid region.", Region),
            ("SignatureDoesNotMatch", "The request signature we calculated does not match", BadCredentials),
            (
                "ExpiredTokenException",
                "The security token included in the request is expired",
                BadCredentials,
            ),
            ("UnrecognizedClientException", "", BadCredentials),
            ("AccessDeniedException", "Access to KMS is not allowed", Key),
            ("AccessDeniedException", "User: x is not authorized to perform: y", Denied),
        ] {
            assert_eq!(denied(Some(code), Some(message)), Some(trouble), "{code} {message}");
        }
        assert_eq!(denied(None, None), Some(Denied));
        assert_eq!(Trouble::answered(ErrorClass::Absent, Some("ResourceNotFoundException"), None), None);
        assert_eq!(
            Trouble::unsent("client error (Connect): invalid peer certificate: UnknownIssuer"),
            Untrusted
        );
        assert_eq!(Trouble::unsent("dns error: failed to lookup address information"), NoHost);
        assert_eq!(Trouble::unsent("tcp connect error: Connection refused"), Unreachable);
    }
}
