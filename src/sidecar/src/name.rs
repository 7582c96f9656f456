//! What the configuration calls its secrets and files.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use leasehold_config::element::{Element, Wrong, text};
use thiserror::Error;

/// A secret's or a file's name in the configuration: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, that do not begin with
/// `..` and are not `.`. So it is one part of a path, and nothing that publishing keeps for itself. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a name is 1 to 128 characters of A-Z a-z 0-9 . _ - and does not begin with `..`")]
pub struct InvalidName;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text != "."
            && !text.starts_with("..");
        if ok { Ok(Self(text.into())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Element for Name {
    const SHAPE: &'static str = "a name such as `db` or `db.env`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        let text = text::<Self>(value)?;
        text.parse().map_err(|error| Wrong(format!("is not {}: {error}", Self::SHAPE)))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_and_none_that_is_taken() {
        for good in ["db", "db.env", ".env", "TLS_key-1.pem"] {
            assert_eq!(good.parse::<Name>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "..data", "a/b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Name>(), Err(InvalidName), "{bad:?}");
        }
    }
}
