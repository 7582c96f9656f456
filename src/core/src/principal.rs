//! Principals: workloads and operators, named by their SPIFFE IDs.
//!
//! Source: the SPIFFE ID specification, sections 2 (the trust domain), 2.2 (the path) and 2.3 (at most 2048 bytes).

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// A SPIFFE ID: `spiffe://<trust domain>/<path>`, parsed by the specification's rules and never repaired. A clone costs one
/// count, as it does of all names that go into every lease and record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    domain_end: usize,
}

/// The name of an authority that issues identities, such as `example.org`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

/// Why a text is not a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSpiffeId {
    /// Not `spiffe://`.
    #[error("a SPIFFE ID starts with `spiffe://`")]
    Scheme,
    /// Empty, too long, or with a character outside `a-z 0-9 . _ -`.
    #[error("a trust domain is 1 to 255 characters of a-z 0-9 . _ -")]
    TrustDomain,
    /// An empty segment, `.`, `..`, a character outside the set, or a trailing slash.
    #[error(
        "a SPIFFE ID's path is `/`-separated segments of A-Z a-z 0-9 . _ -, none of them empty, `.` or `..`"
    )]
    Path,
    /// A workload's identity needs a path; without one the id names the trust domain itself.
    #[error("the SPIFFE ID names a trust domain and no workload")]
    NoPath,
    /// More than 2048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes")]
    TooLong,
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// The whole id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.domain_end).unwrap_or_default()
    }

    /// The path with its leading slash, such as `/prod/payments/api`.
    pub fn path(&self) -> &str {
        self.text.get(self.domain_end..).unwrap_or_default()
    }

    /// The path's segments from the left.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// The identity under `domain` with these path segments.
    ///
    /// # Errors
    /// When a segment is not one by the specification.
    pub fn new(domain: &TrustDomain, path: &str) -> Result<Self, InvalidSpiffeId> {
        format!("{SCHEME}{domain}{path}").parse()
    }
}

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `id` was issued in this trust domain.
    pub fn owns(&self, id: &SpiffeId) -> bool {
        *self.0 == *id.trust_domain()
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let ok = !text.is_empty()
            && text.len() <= 255
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if ok { Ok(Self(text.into())) } else { Err(InvalidSpiffeId::TrustDomain) }
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > 2048 {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| match rest.parse::<TrustDomain>() {
            Ok(_) => InvalidSpiffeId::NoPath,
            Err(why) => why,
        })?;
        domain.parse::<TrustDomain>()?;
        for segment in path.split('/') {
            let ok = !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            if !ok {
                return Err(InvalidSpiffeId::Path);
            }
        }
        Ok(Self { text: text.into(), domain_end: SCHEME.len().saturating_add(domain.len()) })
    }
}

macro_rules! text_impls {
    ($($type:ty),+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}
text_impls!(SpiffeId, TrustDomain);
crate::codec::serde_as_text!(SpiffeId, TrustDomain);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_of_an_id() {
        let id: SpiffeId = "spiffe://example.org/prod/payments/api".parse().unwrap();
        assert_eq!(id.trust_domain(), "example.org");
        assert_eq!(id.path(), "/prod/payments/api");
        assert_eq!(id.segments().collect::<Vec<_>>(), ["prod", "payments", "api"]);
    }

    #[test]
    fn the_specifications_negative_cases() {
        use InvalidSpiffeId::*;
        let cases = [
            ("", Scheme),
            ("http://example.org/a", Scheme),
            ("SPIFFE://example.org/a", Scheme),
            ("spiffe://", TrustDomain),
            ("spiffe:///a", TrustDomain),
            ("spiffe://Example.org/a", TrustDomain),
            ("spiffe://example.org:443/a", TrustDomain),
            ("spiffe://user@example.org/a", TrustDomain),
            ("spiffe://example.org", NoPath),
            ("spiffe://example.org/", Path),
            ("spiffe://example.org/a/", Path),
            ("spiffe://example.org/a//b", Path),
            ("spiffe://example.org/./a", Path),
            ("spiffe://example.org/a/..", Path),
            ("spiffe://example.org/a?b", Path),
            ("spiffe://example.org/a#b", Path),
            ("spiffe://example.org/a%20b", Path),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<SpiffeId>(), Err(why), "{text:?}");
        }
        assert_eq!(format!("spiffe://example.org/{}", "a".repeat(2048)).parse::<SpiffeId>(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_prints_itself(text in "(spiffe://)?[a-zA-Z0-9./_%-]{0,40}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
                prop_assert!(!id.trust_domain().is_empty());
                prop_assert!(id.path().starts_with('/'));
            }
        }
    }
}
