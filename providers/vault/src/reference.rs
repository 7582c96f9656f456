//! How `ref` names a secret in a KV engine, or a credential that a database engine keeps.
//!
//! Checked before any call, so that no text from a mount's `{rest}` ever reaches Vault that is not a path under the
//! configured prefix. Vault itself takes nearly anything for a path; this is the part of it that means one thing only.

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::json::Format,
};

/// A parsed `ref`: `MOUNT/data/PATH` of KV version 2, or `kv1:MOUNT/PATH` of version 1, then perhaps `?format=raw`;
/// `MOUNT/static-creds/NAME` or `MOUNT/config/NAME` of a database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// Which engine.
    pub(crate) engine: Engine,
    /// The mount's path, without slashes around it. Of KV version 1 its first segment: nobody needs to know more.
    pub(crate) mount: &'a str,
    /// The secret's path in it.
    pub(crate) path: &'a str,
    /// What an object is taken for.
    pub(crate) format: Format,
}

/// What keeps a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// KV with versions.
    Kv2,
    /// KV without.
    Kv1,
    /// A database engine's static role: one user, whose password Vault changes.
    StaticRole,
    /// A database engine's own user in its database. It is rotated, and nobody reads it.
    Root,
}

/// Paths of Vault's own, of which no secret is lent: its system, who signs in, and what belongs to one token.
pub(crate) const RESERVED: [&str; 4] = ["sys", "auth", "identity", "cubbyhole"];

const KV1: &str = "kv1:";
const DATA: &str = "data";
const STATIC: &str = "static-creds";
const CONFIG: &str = "config";
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
            Engine::Kv1 => name.split_once('/').map(|(mount, path)| (Engine::Kv1, mount, path)),
            _ => split_at_data(name)
                .map(|(mount, path)| (Engine::Kv2, mount, path))
                .or_else(|| split_at_role(name)),
        };
        let Some((engine, mount, path)) = shape else {
            return Err(invalid(match engine {
                Engine::Kv1 => "after `kv1:` it is MOUNT/PATH",
                _ => {
                    "it is MOUNT/data/PATH for KV version 2, kv1:MOUNT/PATH for version 1, \
                     MOUNT/static-creds/NAME for a static role and MOUNT/config/NAME for a database's own user"
                }
            }));
        };
        if format == Format::Raw && matches!(engine, Engine::StaticRole | Engine::Root) {
            return Err(invalid("`format=raw` is for what KV holds"));
        }
        // A path may begin with namespaces, so a reserved one may follow those.
        let leading = match engine {
            Engine::Kv1 => name,
            Engine::Kv2 | Engine::StaticRole | Engine::Root => mount,
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
            Engine::StaticRole => self.beside(STATIC),
            Engine::Root => self.beside(CONFIG),
        }
    }

    /// The path that has Vault rotate it; `None` where Vault does not.
    pub(crate) fn rotation_path(&self) -> Option<String> {
        match self.engine {
            Engine::Kv1 | Engine::Kv2 => None,
            Engine::StaticRole => Some(self.beside("rotate-role")),
            Engine::Root => Some(self.beside("rotate-root")),
        }
    }

    /// Another path of the engine for the same secret, such as `metadata`, `delete`, `undelete` and `destroy` of KV
    /// version 2.
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

/// A name of one segment behind one of a database engine's own.
fn split_at_role(name: &str) -> Option<(Engine, &str, &str)> {
    let (before, role) = name.rsplit_once('/')?;
    let (mount, kind) = before.rsplit_once('/')?;
    let engine = match kind {
        STATIC => Engine::StaticRole,
        CONFIG => Engine::Root,
        _ => return None,
    };
    Some((engine, mount, role))
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
    fn what_a_database_engine_keeps_is_named() {
        for (text, engine, read, rotate) in [
            ("database/static-creds/app", Engine::StaticRole, "static-creds", "rotate-role"),
            ("team/database/config/main", Engine::Root, "config", "rotate-root"),
        ] {
            let parsed = Reference::parse(text).unwrap();
            assert_eq!(parsed.engine, engine, "{text}");
            assert_eq!(parsed.data_path(), text);
            assert_eq!(parsed.rotation_path(), Some(text.replace(read, rotate)));
        }
        let kv = Reference::parse("kv/data/static-creds/app").unwrap();
        assert_eq!((kv.engine, kv.path, kv.rotation_path()), (Engine::Kv2, "static-creds/app", None));
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
            "database/static-creds",
            "database/static-creds/",
            "database/static-creds/a/b",
            "database/static-creds/a?format=raw",
            "static-creds/a",
            "config/a",
            "sys/config/cors",
            "auth/x/config/y",
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
