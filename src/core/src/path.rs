//! Secret paths: the logical names by which workloads know secrets.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// A secret's logical name, such as `prod/payments/db`: 2 to 16 segments, the first of which is its environment.
///
/// A segment is 1 to 128 characters of `A-Z a-z 0-9 . _ -` and is neither `.` nor `..`; the whole is at most 512 bytes.
/// So a path is safe in a log line, in a key and in a file name's parts, though adapters still encode for their own grammar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath(Arc<str>);

/// The start of a tree of paths: whole segments that end with `/`, such as `prod/shared/`; at least one segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(Box<str>);

/// Why a text is not a secret path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPath {
    /// Fewer than two segments.
    #[error("a secret path has an environment and a name, such as `prod/payments/db`")]
    TooShort,
    /// More than 512 bytes or 16 segments.
    #[error("a secret path has at most 512 bytes and 16 segments")]
    TooLong,
    /// Empty, too long, `.`, `..`, or with a character outside the set.
    #[error(
        "segment {index} of the secret path is not 1 to 128 characters of A-Z a-z 0-9 . _ - (and not `.` or `..`)"
    )]
    Segment {
        /// Which segment, counted from 1.
        index: usize,
    },
    /// A prefix that does not end in `/`.
    #[error("a path prefix ends with `/`, such as `prod/shared/`")]
    NoSlash,
}

const MAX_BYTES: usize = 512;
const MAX_SEGMENTS: usize = 16;
const MAX_SEGMENT: usize = 128;

impl SecretPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: environments never mix.
    pub fn environment(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Every proper prefix from the environment on, without its slash: `prod`, `prod/payments` of `prod/payments/db`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }

    /// The segments from the left.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl PathPrefix {
    /// The prefix as text, with its `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows this prefix in `path`, when it lies under it.
    pub fn rest_of<'p>(&self, path: &'p SecretPath) -> Option<&'p str> {
        path.as_str().strip_prefix(&*self.0)
    }
}

impl FromStr for SecretPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        match check_segments(text)? {
            0 | 1 => Err(InvalidPath::TooShort),
            _ => Ok(Self(text.into())),
        }
    }
}

impl FromStr for PathPrefix {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        check_segments(text.strip_suffix('/').ok_or(InvalidPath::NoSlash)?)?;
        Ok(Self(text.into()))
    }
}

/// Counts the segments of `text` when each of them is good.
fn check_segments(text: &str) -> Result<usize, InvalidPath> {
    if text.len() > MAX_BYTES {
        return Err(InvalidPath::TooLong);
    }
    let mut count = 0;
    for (segment, index) in text.split('/').zip(1..) {
        let ok = !segment.is_empty()
            && segment.len() <= MAX_SEGMENT
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !ok {
            return Err(InvalidPath::Segment { index });
        }
        count = index;
    }
    if count > MAX_SEGMENTS { Err(InvalidPath::TooLong) } else { Ok(count) }
}

macro_rules! text_impls {
    ($($type:ty),+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}
text_impls!(SecretPath, PathPrefix);
crate::codec::serde_as_text!(SecretPath, PathPrefix);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_paths_are_taken_as_they_are() {
        let path: SecretPath = "prod/payments/db".parse().unwrap();
        assert_eq!(path.environment(), "prod");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["prod", "prod/payments"]);
    }

    #[test]
    fn bad_paths_are_named() {
        use InvalidPath::*;
        let cases = [
            ("", Segment { index: 1 }),
            ("prod", TooShort),
            ("prod/", Segment { index: 2 }),
            ("/prod/x", Segment { index: 1 }),
            ("prod//x", Segment { index: 2 }),
            ("prod/../x", Segment { index: 2 }),
            ("prod/./x", Segment { index: 2 }),
            ("prod/a b", Segment { index: 2 }),
            ("prod/é", Segment { index: 2 }),
            ("prod/a%2fb", Segment { index: 2 }),
            ("prod/a\0b", Segment { index: 2 }),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<SecretPath>(), Err(why), "{text:?}");
        }
        assert_eq!("a/".repeat(16).as_str().trim_end_matches('/').parse::<SecretPath>().map(|_| ()), Ok(()));
        assert_eq!(format!("{}b", "a/".repeat(16)).parse::<SecretPath>(), Err(TooLong));
        assert_eq!(format!("a/{}", "b".repeat(129)).parse::<SecretPath>(), Err(Segment { index: 2 }));
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix: PathPrefix = "prod/shared/".parse().unwrap();
        let under: SecretPath = "prod/shared/a/b".parse().unwrap();
        let beside: SecretPath = "prod/shared-not/a".parse().unwrap();
        assert_eq!(prefix.rest_of(&under), Some("a/b"));
        assert_eq!(prefix.rest_of(&beside), None);
        assert_eq!("prod/shared".parse::<PathPrefix>(), Err(InvalidPath::NoSlash));
    }

    proptest! {
        #[test]
        fn what_parses_stays_in_its_tree(text in "[a-z./%\\\\ ]{0,40}") {
            if let Ok(path) = text.parse::<SecretPath>() {
                prop_assert!(path.segments().all(|s| !s.is_empty() && s != "." && s != ".."));
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
