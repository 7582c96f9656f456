//! How `ref` names a secret in a vault: its name, the version that it is pinned to, and what its text is taken for.
//!
//! Checked before any call: the SDK puts a name into the path as it is, so that `../x?y` would leave `/secrets`.
//! Source: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers>.

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::json::Format,
};

/// A parsed `ref`: `NAME[@VERSION][?format=raw]`. A mount's `{rest}` can hold `/` and no `@`: it never chooses a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The name, in whatever case: vaults make no difference.
    pub(crate) name: &'a str,
    /// The version that is the current one, whatever was written since.
    pub(crate) pinned: Option<&'a str>,
    /// What a text is taken for.
    pub(crate) format: Format,
}

impl<'a> Reference<'a> {
    /// Parses a `ref`.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`], with what is wrong.
    pub(crate) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (path, format) = match text.split_once('?') {
            None => (text, Format::Fields),
            Some((path, "format=raw")) => (path, Format::Raw),
            Some(_) => return Err(invalid("after `?` there may only be `format=raw`")),
        };
        let (name, pinned) = match path.split_once('@') {
            None => (path, None),
            Some((name, version)) => (name, Some(version)),
        };
        if !is_name(name) {
            return Err(invalid("a name is 1 to 127 characters of A-Z a-z 0-9 -"));
        }
        if pinned.is_some_and(|version| !is_version(version)) {
            return Err(invalid("after `@` there may only be a version: 32 characters of 0-9 a-f"));
        }
        Ok(Self { name, pinned, format })
    }
}

/// Whether `text` can be a secret's name: `^[0-9A-Za-z-]{1,127}$`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether `text` can be a version: 32 hexadecimal digits in lower case.
pub(crate) fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

fn invalid(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`ref` does not name a secret of a key vault: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_taken_with_version_and_format() {
        let plain = Reference { name: "Payments-DB", pinned: None, format: Format::Fields };
        assert_eq!(Reference::parse("Payments-DB").unwrap(), plain);
        let full = format!("a@{VERSION}?format=raw");
        let parsed = Reference { name: "a", pinned: Some(VERSION), format: Format::Raw };
        assert_eq!(Reference::parse(&full).unwrap(), parsed);
        assert!(Reference::parse(&"a".repeat(127)).is_ok());
    }

    #[test]
    fn what_is_not_a_name_is_invalid() {
        let long = "a".repeat(128);
        let (upper, twice) = (format!("a@{}", VERSION.to_uppercase()), format!("a@{VERSION}@{VERSION}"));
        for bad in [
            "",
            "/",
            "..",
            "../x",
            "../x?y",
            "a/..",
            "a/b",
            "a//b",
            "a_b",
            "a.b",
            "a b",
            "a%2fb",
            "a\\b",
            "a#b",
            "é",
            "a\n",
            "a\0",
            "a?",
            "a?x=y",
            "a?api-version=1",
            "a/",
            &long,
            &upper,
            &twice,
            &format!("a/{VERSION}"),
            "a@",
            "a@latest",
            "https://other.vault.azure.net/secrets/a",
            "a?format=raw&x=y",
            "a?format=raw?",
        ] {
            let error = Reference::parse(bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_in_the_grammar(text in "[a-zA-Z0-9/.%?=&:@\\\\ -]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert!(is_name(reference.name) && text.starts_with(reference.name));
                prop_assert!(reference.pinned.is_none_or(is_version));
            }
        }
    }
}
