//! Secret values: bytes that are wiped when dropped and never printed.

pub mod json;
mod stored;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::stored::Unreadable;

/// Bytes that must not leak: wiped on drop, `Debug` shows only their length, and there is no `PartialEq`
/// (comparisons of secrets belong in constant-time code) and no `Serialize`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

/// One value of a secret: named fields and what they are. A plain string is the one field `value`.
#[derive(Clone, Debug)]
pub struct SecretValue {
    /// The fields by name; a secret has at least one.
    pub fields: BTreeMap<FieldName, SecretBytes>,
    /// The media type (RFC 6838) of the fields, such as `text/plain` or `application/octet-stream`.
    pub content_type: Box<str>,
}

/// Names one field of a secret: 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(Arc<str>);

/// A back end's name for one immutable value of a secret: 1 to 256 visible ASCII characters without `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(Arc<str>);

/// Why a text is not a field's or a version's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Not a field name.
    #[error("a field name is 1 to 128 characters of A-Z a-z 0-9 . _ -")]
    Field,
    /// Not a version id.
    #[error("a version id is 1 to 256 visible ASCII characters without `/`")]
    Version,
}

impl SecretBytes {
    /// Takes the bytes over; whoever made them from another buffer wipes that one.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes in clear. Named so that every place that looks at a secret can be found.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the bytes away to an owner that wipes or sends them.
    pub fn into_exposed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted; {} bytes]", self.len())
    }
}

impl SecretValue {
    /// The media type of a value that nobody described.
    pub const OCTETS: &'static str = "application/octet-stream";
    /// The media type of text.
    pub const TEXT: &'static str = "text/plain";
    /// The fields of a value that is written through the broker have at most so many bytes together, without their names.
    pub const LARGEST_WRITTEN: usize = 512 * 1024;

    /// A value that is one string: the field `value`.
    pub fn plain(bytes: impl Into<SecretBytes>) -> Self {
        Self { fields: BTreeMap::from([(FieldName::value(), bytes.into())]), content_type: Self::TEXT.into() }
    }

    /// How many bytes the fields have together: what the cache counts.
    pub fn len(&self) -> usize {
        self.fields.iter().map(|(name, bytes)| name.as_str().len().saturating_add(bytes.len())).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl FieldName {
    /// The field of a secret that has only one.
    pub fn value() -> Self {
        Self("value".into())
    }

    /// The field of a user's name.
    pub fn username() -> Self {
        Self("username".into())
    }

    /// The field of a user's password.
    pub fn password() -> Self {
        Self("password".into())
    }

    /// The field of the public half of a key.
    pub fn public_key() -> Self {
        Self("public_key".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if ok { Ok(Self(text.into())) } else { Err(InvalidName::Field) }
    }
}

impl VersionId {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VersionId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if ok { Ok(Self(text.into())) } else { Err(InvalidName::Version) }
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::codec::serde_as_text!(FieldName, VersionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let value = SecretValue::plain("canary-7b1e".to_owned());
        let shown = format!("{value:?} {:#?}", value.fields);
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("[redacted; 11 bytes]"), "{shown}");
    }

    #[test]
    fn names_are_checked() {
        assert!("tls.key".parse::<FieldName>().is_ok());
        assert!("a/b".parse::<FieldName>().is_err());
        assert!("".parse::<FieldName>().is_err());
        assert!("a1b2-c3".parse::<VersionId>().is_ok());
        assert!("../x".parse::<VersionId>().is_err());
        assert!("a b".parse::<VersionId>().is_err());
    }
}
