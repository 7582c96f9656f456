//! How a session names the workload that it was made for, in words that AWS takes and CloudTrail shows.
//!
//! Source: the STS API reference's `AssumeRole`: `RoleSessionName` and `SourceIdentity` are 2 to 64 characters of
//! `[\w+=,.@-]`, a tag's value is at most 256 of `[\p{L}\p{Z}\p{N}_.:/=+\-@]`.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use leasehold_core::{LeaseId, SpiffeId};

/// How many tags [`tags`] makes.
pub(crate) const OWN_TAGS: usize = 2;

/// The session's name: the lease's id, so that what a session did can be traced to its lease.
pub(crate) fn session_name(lease: LeaseId) -> String {
    format!("lh-{}", lease.suffix())
}

/// `prod+payments+api@example.org` for `spiffe://example.org/prod/payments/api`. No two principals share one, but for a
/// hash's chance where one is too long.
pub(crate) fn source_identity(principal: &SpiffeId) -> String {
    let path: Vec<&str> = principal.segments().collect();
    fitted(format!("{}@{}", path.join("+"), principal.trust_domain()), 64)
}

/// The session tags that name the principal and the lease.
pub(crate) fn tags(principal: &SpiffeId, lease: LeaseId) -> [(&'static str, String); OWN_TAGS] {
    [
        ("leasehold-principal", fitted(principal.as_str().to_owned(), 256)),
        ("leasehold-lease", lease.to_string()),
    ]
}

/// How many characters of a hash stand for what was cut off.
const HASH: usize = 16;

/// A text of ASCII that is at most `most` long: one that is longer ends with `=` and a hash of the whole. No SPIFFE ID
/// has a `=`, so none that fits looks like one that was cut.
fn fitted(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let hash = HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref());
    let head: String = text.chars().take(most.saturating_sub(HASH).saturating_sub(1)).collect();
    let tail: String = hash.chars().take(HASH).collect();
    format!("{head}={tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_workload_is_known_by_its_source_identity() {
        let id: SpiffeId = "spiffe://example.org/prod/payments/api".parse().unwrap();
        assert_eq!(source_identity(&id), "prod+payments+api@example.org");
        let lease = LeaseId::from_bits([7; 16]);
        let [principal, tag] = tags(&id, lease);
        assert_eq!(principal, ("leasehold-principal", "spiffe://example.org/prod/payments/api".to_owned()));
        assert_eq!(tag, ("leasehold-lease", lease.to_string()));
    }

    #[test]
    fn long_ones_differ_by_their_tails() {
        let long = |end: char| {
            format!("spiffe://example.org/{}/{end}", "a".repeat(300)).parse::<SpiffeId>().unwrap()
        };
        let (one, other) = (source_identity(&long('x')), source_identity(&long('y')));
        assert!(one != other && one.len() == 64 && other.len() == 64, "{one} {other}");
        assert_eq!(one, source_identity(&long('x')));
    }

    fn word(text: &str, more: &str) -> bool {
        text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    }

    proptest! {
        #[test]
        fn whatever_the_principal_aws_takes_it(
            domain in "[a-z0-9._-]{1,255}",
            path in "(/[A-Za-z0-9._-]{1,40}){1,20}",
            bits: [u8; 16],
        ) {
            let Ok(id) = format!("spiffe://{domain}{path}").parse::<SpiffeId>() else { return Ok(()) };
            let lease = LeaseId::from_bits(bits);
            for name in [source_identity(&id), session_name(lease)] {
                prop_assert!((2..=64).contains(&name.len()) && word(&name, "_+=,.@-"), "{}", name);
            }
            for (key, value) in tags(&id, lease) {
                prop_assert!(word(key, "-") && value.len() <= 256 && word(&value, "_.:/=+-@"), "{}", value);
            }
        }

        #[test]
        fn two_that_fit_are_never_one(
            one in "(/[a-z.+_-]{1,4}){1,3}",
            other in "(/[a-z.+_-]{1,4}){1,3}",
        ) {
            let id = |path: &str| format!("spiffe://x{path}").parse::<SpiffeId>();
            if let (Ok(a), Ok(b)) = (id(&one), id(&other)) {
                prop_assert_eq!(source_identity(&a) == source_identity(&b), a == b);
            }
        }
    }
}
