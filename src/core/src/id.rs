//! Identifiers: what names a lease or a revocation, and what makes a retried request the same request.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use thiserror::Error;

/// Names one lease: 128 random bits, printed as `lease-` and 26 lower-case base32 characters (RFC 4648, no padding).
///
/// It is an identifier and never an authority: whoever learns one can do nothing with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId([u8; 16]);

/// A printed lease id, without an allocation: every lease writes its id into half a dozen keys.
#[derive(Clone, Copy)]
pub struct LeaseIdText([u8; LeaseId::PREFIX.len() + 26]);

/// Names the revocation of many leases: 128 random bits, printed as `revocation-` and 26 lower-case base32 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationId([u8; 16]);

/// The broker's own name for one call, so that whoever was refused can be found in the audit log: `call-` and 26
/// characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId([u8; 16]);

/// A client's own name for one logical request, so that a retry is recognised (AIP-155): 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Box<str>);

/// Why a text is not the identifier that it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Not `lease-` and 26 base32 characters.
    #[error("`{0}` is not a lease id: one is `lease-` and 26 characters of a-z and 2-7")]
    Lease(Box<str>),
    /// Not `revocation-` and 26 base32 characters.
    #[error("`{0}` is not a revocation's id: one is `revocation-` and 26 characters of a-z and 2-7")]
    Revocation(Box<str>),
    /// Empty, too long, or with characters that a log line could not carry.
    #[error("a request id is 1 to 128 visible ASCII characters, such as a UUID")]
    Request,
}

/// The digits of base32, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl LeaseId {
    /// What every printed lease id starts with.
    pub const PREFIX: &'static str = "lease-";

    /// The id made of these 128 bits; the caller takes them from [`Entropy`](crate::ports::Entropy).
    pub const fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    pub const fn bits(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 26 characters without the prefix: lower case, for names in back ends that allow no hyphen.
    pub fn suffix(&self) -> String {
        self.text().as_str().trim_start_matches(Self::PREFIX).to_owned()
    }

    /// As it is printed.
    pub fn text(&self) -> LeaseIdText {
        let mut text = [0; Self::PREFIX.len() + 26];
        let (prefix, suffix) = text.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX.as_bytes());
        // Five bits a character, from the left; the last one holds the three that are left.
        let mut rest = u128::from_be_bytes(self.0);
        for character in suffix {
            *character = ALPHABET.get((rest >> 123) as usize).copied().unwrap_or_default();
            rest <<= 5;
        }
        LeaseIdText(text)
    }
}

impl LeaseIdText {
    /// The text.
    pub fn as_str(&self) -> &str {
        // INVARIANT: all of it is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LeaseId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        bits_of(text, Self::PREFIX).map(Self).ok_or_else(|| InvalidId::Lease(shown(text)))
    }
}

impl RevocationId {
    /// What every printed id of a revocation starts with.
    pub const PREFIX: &'static str = "revocation-";

    /// The id made of these 128 bits; the caller takes them from [`Entropy`](crate::ports::Entropy).
    pub const fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RevocationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        bits_of(text, Self::PREFIX).map(Self).ok_or_else(|| InvalidId::Revocation(shown(text)))
    }
}

impl CallId {
    /// What every printed id of a call starts with.
    pub const PREFIX: &'static str = "call-";

    /// The id made of these 128 bits; the caller takes them from [`Entropy`](crate::ports::Entropy).
    pub const fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bits behind the prefix. Upper case is refused: one thing has one spelling, so that ids can be compared as text.
fn bits_of(text: &str, prefix: &str) -> Option<[u8; 16]> {
    let suffix = text.strip_prefix(prefix)?;
    if suffix.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    BASE32_NOPAD.decode(suffix.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()
}

/// As much of a wrong id as an error should repeat.
fn shown(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
}

impl RequestId {
    /// The text, as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > 128 || !visible {
            Err(InvalidId::Request)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::codec::serde_as_text!(RequestId);
crate::codec::parsed_from_text!(LeaseId, RevocationId);

impl serde::Serialize for LeaseId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

impl serde::Serialize for RevocationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lease_id_survives_printing(bits: [u8; 16]) {
            let id = LeaseId::from_bits(bits);
            prop_assert_eq!(id.to_string().len(), 32);
            prop_assert_eq!(id.to_string().parse::<LeaseId>().unwrap(), id);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<LeaseId>();
            let _ = text.parse::<RevocationId>();
            let _ = text.parse::<RequestId>();
        }
    }

    #[test]
    fn a_call_is_named_as_leases_are() {
        let call = CallId::from_bits([1; 16]).to_string();
        assert_eq!(call, LeaseId::from_bits([1; 16]).to_string().replace("lease-", "call-"));
        assert!(call.parse::<RequestId>().is_ok(), "it can be told as a request's id");
    }

    #[test]
    fn a_lease_id_has_one_spelling() {
        let id = LeaseId::from_bits([0xa5; 16]).to_string();
        assert!(id.to_uppercase().parse::<LeaseId>().is_err());
        assert!(id.trim_start_matches("lease-").parse::<LeaseId>().is_err());
        assert!(format!("{id}a").parse::<LeaseId>().is_err());
    }

    #[test]
    fn a_revocation_is_named_as_leases_are_and_is_none() {
        let id = RevocationId::from_bits([1; 16]);
        assert_eq!(id.to_string(), "revocation-aeaqcaibaeaqcaibaeaqcaibae");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_value(id).unwrap(), serde_json::json!(id.to_string()));
        let lease = LeaseId::from_bits([1; 16]).to_string();
        assert_eq!(lease.parse::<RevocationId>(), Err(InvalidId::Revocation(lease.into())));
    }

    #[test]
    fn a_request_id_fits_a_log_line() {
        assert!("3f0c5a34-5f0e-4c0e-9d0f-2f3d4f5a6b7c".parse::<RequestId>().is_ok());
        for bad in ["", "a b", "a\nb", "é"] {
            assert_eq!(bad.parse::<RequestId>(), Err(InvalidId::Request), "{bad:?}");
        }
        assert!("x".repeat(129).parse::<RequestId>().is_err());
    }
}
