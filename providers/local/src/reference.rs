//! How `ref` names a secret here, and the only place where a name becomes a path.

use std::path::{Path, PathBuf};

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::VersionId,
};

/// A parsed `ref`: 1 to 16 segments of 1 to 128 characters `A-Z a-z 0-9 . _ -`, none of them `.` or `..`; 512 bytes in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference(Box<str>);

/// A version's number and the random part that tells it from one that had its number in another life of the directory,
/// such as before a backup was restored: `v12-k3v7qz2a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// Counts up from 1.
    pub(crate) number: u64,
    suffix: Box<str>,
}

/// Holds a secret's versions. Not a character of a segment, so no secret's name can be this.
const VERSIONS: &str = "@";

const SUFFIX_BYTES: usize = 5;

impl Reference {
    /// Parses a `ref`.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`].
    pub(crate) fn parse(text: &str) -> Result<Self, ProviderError> {
        let segment = |segment: &str| {
            (1..=128).contains(&segment.len())
                && !matches!(segment, "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if text.len() <= 512 && text.split('/').count() <= 16 && text.split('/').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(ProviderError::new(
                ErrorClass::Invalid,
                "`ref` does not name a local secret: 1 to 16 segments of A-Z a-z 0-9 . _ - joined by `/`, none of them `.` or `..`",
            ))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The secret whose versions lie in `directory`, which [`Reference::directory`] made; `None` for any other.
    pub(crate) fn of_directory(root: &Path, directory: &Path) -> Option<Self> {
        let name = directory.strip_prefix(root).ok()?.to_str()?.strip_suffix(VERSIONS)?.strip_suffix('/')?;
        Self::parse(name).ok()
    }

    /// The directory of this secret's versions: under `root`, and different for each secret.
    pub(crate) fn directory(&self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.0.split('/'));
        path.push(VERSIONS);
        path
    }
}

impl Version {
    /// The version with this number and these random bytes.
    pub(crate) fn new(number: u64, random: [u8; SUFFIX_BYTES]) -> Self {
        let suffix = data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase().into();
        Self { number, suffix }
    }

    /// Reads a version's id or its file's name; `None` when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, suffix) = text.strip_prefix('v')?.split_once('-')?;
        let canonical = !number.starts_with(['0', '+'])
            && suffix.len() == 8
            && suffix.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if !canonical {
            return None;
        }
        Some(Self { number: number.parse().ok()?, suffix: suffix.into() })
    }

    /// The version's id, when the text is one.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`].
    pub(crate) fn from_id(id: &VersionId) -> Result<Self, ProviderError> {
        Self::parse(id.as_str()).ok_or_else(|| {
            ProviderError::new(
                ErrorClass::Invalid,
                format!("`{id}` is not a version of a local secret, such as `v3-k3v7qz2a`"),
            )
        })
    }
}

// Within sealed files, as text: the id.
impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a version's id"))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}-{}", self.number, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_name_leaves_the_root(text in "[a-z./@%~\\\\ \0é-]{0,40}|(\\.\\./){1,4}[a-z]+|/[a-z]+") {
            if let Ok(reference) = Reference::parse(&text) {
                let path = reference.directory(Path::new("/root"));
                prop_assert!(path.starts_with("/root"));
                prop_assert!(path.components().all(|c| matches!(
                    c,
                    std::path::Component::RootDir | std::path::Component::Normal(_)
                )));
                prop_assert_eq!(Reference::of_directory(Path::new("/root"), &path), Some(reference));
                prop_assert_eq!(path.components().skip(3).count(), text.split('/').count());
            }
        }

        #[test]
        fn two_names_have_two_places(one in "[ab./-]{1,6}", two in "[ab./-]{1,6}") {
            if let (Ok(a), Ok(b)) = (Reference::parse(&one), Reference::parse(&two)) {
                let root = Path::new("/root");
                prop_assert_eq!(a.directory(root) == b.directory(root), one == two);
                // Nor does one secret's place lie in another's versions.
                prop_assert!(one == two || !a.directory(root).starts_with(b.directory(root)));
            }
        }

        #[test]
        fn a_version_survives_printing(number in 1u64.., random: [u8; SUFFIX_BYTES]) {
            let version = Version::new(number, random);
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version.clone()));
            prop_assert!(version.to_string().parse::<VersionId>().is_ok());
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Reference::parse(&text);
            if let Some(version) = Version::parse(&text) {
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }

    #[test]
    fn hostile_names_are_invalid() {
        let long = "a".repeat(129);
        let deep = "a/".repeat(16) + "a";
        for bad in [
            "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/@", "a%2fb", "a?b", "a\0", "a b", &long,
            &deep,
        ] {
            assert_eq!(Reference::parse(bad).unwrap_err().class, ErrorClass::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let [two, ten] = ["v2-zzzzzzzz", "v10-aaaaaaaa"].map(|text| Version::parse(text).unwrap());
        assert!(two < ten);
        for bad in [
            "",
            "v1",
            "v01-aaaaaaaa",
            "v+1-aaaaaaaa",
            "v1-AAAAAAAA",
            "v1-aaaaaaa/",
            "1-aaaaaaaa",
            ".new-aaaaaaaa",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
