//! How `ref` names a secret in a KV engine.
//!
//! Checked before any call, so that no text from a mount's `{rest}` ever reaches Vault that is not a path under the
//! configured prefix. Vault itself takes nearly anything for a path; this is the part of it that means one thing only.

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::json::Format,
};

/// A parsed `ref`: `MOUNT/data/PATH` of KV version 2, or `kv1:MOUNT/PATH` of version 1, then perhaps `?format=raw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Which version of the engine.
    pub(crate) engine: Engine,
    /// The mount's path, without slashes around it. Of KV version 1 its first segment: nobody needs to know more.
    pub(crate) mount: &'a str,
    /// The secret's path in it.
    pub(crate) path: &'a str,
    /// What an object is taken for.
    pub(crate) format: Format,
}

/// A version of the KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// With versions.
    Kv2,
    /// Without.
    Kv1,
}

/// Paths of Vault's own, of which no secret is lent: its system, who signs in, and what belongs to one token.
pub(crate) const RESERVED: [&str; 4] = ["sys", "auth", "identity", "cubbyhole"];

const KV1: &str = "kv1:";
const DATA: &str = "data";
const MAX_BYTES: usize = 512;

impl<'a> Reference<'a> {
    /// Parses a `ref`.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`], with what is wrong.
    pub(crate) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (name, format) = match text.split_once('?') {
            None => (text, Format::Fields),
            Some((name, "format=raw")) => (name, Format::Raw),
            Some(_) => return Err(invalid("after `?` there may only be `format=raw`")),
        };
        let (engine, name) = match name.strip_prefix(KV1) {
            Some(rest) => (Engine::Kv1, rest),
            None => (Engine::Kv2, name),
        };
        if !is_path(name) {
            return Err(invalid(
                "a path is at most 512 characters of A-Z a-z 0-9 . _ - @ + = , : in segments that are not empty, `.` or `..`",
            ));
        }
        let shape = match engine {
            Engine::Kv1 => name.split_once('/'),
            Engine::Kv2 => split_at_data(name),
        };
        let Some((mount, path)) = shape else {
            return Err(invalid(match engine {
                Engine::Kv1 => "after `kv1:` it is MOUNT/PATH",
                Engine::Kv2 => "it is MOUNT/data/PATH for KV version 2, kv1:MOUNT/PATH for version 1",
            }));
        };
        // A path may begin with namespaces, so a reserved one may follow those.
        let leading = match engine {
            Engine::Kv2 => mount,
            Engine::Kv1 => name,
        };
        if leading.split('/').any(|segment| RESERVED.contains(&segment)) {
            return Err(invalid("nothing is lent of `sys`, `auth`, `identity` and `cubbyhole`"));
        }
        Ok(Self { engine, mount, path, format })
    }

    /// The path by which it is read, as a policy names it.
    pub(crate) fn data_path(&self) -> String {
        match self.engine {
            Engine::Kv2 => self.beside(DATA),
            Engine::Kv1 => format!("{}/{}", self.mount, self.path),
        }
    }

    /// Another path of KV version 2 for the same secret: `metadata`, `delete`, `undelete`, `destroy`.
    pub(crate) fn beside(&self, what: &str) -> String {
        format!("{}/{what}/{}", self.mount, self.path)
    }
}

/// What a mount's `{rest}` is taken for while its name is read: it is not in the grammar itself.
const REST: &str = "leasehold-rest";

/// Reads a `ref` in which `{rest}` may stand, with the text that stands for it.
pub(crate) fn with_rest<T>(
    text: &str,
    read: impl FnOnce(&Reference<'_>, &str) -> T,
) -> Result<T, ProviderError> {
    let text = text.replace("{rest}", REST);
    Reference::parse(&text).map(|reference| read(&reference, REST))
}

/// Whether `text` can be a path: of a secret, or that makes a credential.
pub(crate) fn is_path(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-@+=,:".contains(&b))
        && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// At the first segment `data` that has something before and behind it.
fn split_at_data(name: &str) -> Option<(&str, &str)> {
    let (mount, rest) = name.split_once("/data/")?;
    (!mount.is_empty() && !rest.is_empty()).then_some((mount, rest))
}

pub(crate) fn invalid(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`ref` does not name a secret in Vault: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_of_the_engine_are_named() {
        let parsed = Reference::parse("team/kv/data/shared/data/db").unwrap();
        let expected = Reference {
            engine: Engine::Kv2,
            mount: "team/kv",
            path: "shared/data/db",
            format: Format::Fields,
        };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.data_path(), "team/kv/data/shared/data/db");
        assert_eq!(parsed.beside("metadata"), "team/kv/metadata/shared/data/db");
        let parsed = Reference::parse("kv1:old/shared/db?format=raw").unwrap();
        let expected =
            Reference { engine: Engine::Kv1, mount: "old", path: "shared/db", format: Format::Raw };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.data_path(), "old/shared/db");
    }

    #[test]
    fn what_is_not_a_name_is_invalid() {
        let long = format!("kv/data/{}", "a".repeat(512));
        for bad in [
            "",
            "kv",
            "kv/data",
            "kv/data/",
            "/kv/data/a",
            "data/a",
            "kv/metadata/a",
            "kv/data//a",
            "kv/data/../a",
            "kv/data/a/..",
            "kv/data/./a",
            "kv/data/a b",
            "kv/data/a\0",
            "kv/data/a%2fb",
            "kv/data/%2e%2e",
            "kv/data/a#b",
            "kv/data/a\\b",
            "kv/data/a*",
            "kv/data/é",
            "kv/data/a?version=1",
            "kv/data/a?",
            "kv1:a",
            "kv1:",
            "kv1:a/",
            "kv1:sys/raw",
            "kv1:cubbyhole/x",
            "kv1:ns/cubbyhole/x",
            "cubbyhole/data/x",
            "ns/auth/data/x",
            "identity/data/x",
            &long,
        ] {
            let error = Reference::parse(bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_one_path_under_its_mount(text in "(kv1:)?[a-zA-Z0-9/._@+=,:%?#&* \\\\-]{0,40}(/data/)?[a-z/.%]{0,9}") {
            if let Ok(reference) = Reference::parse(&text) {
                let path = reference.data_path();
                let mount = [reference.mount, "/"].concat();
                prop_assert!(path.starts_with(&mount));
                prop_assert!(path.split('/').all(|s| !matches!(s, "" | "." | "..")));
                prop_assert!(!path.contains(['?', '#', '%', '\\', ' ', '*']));
            }
        }
    }
}
