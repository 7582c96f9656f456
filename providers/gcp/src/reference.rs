//! How `ref` names a secret in Google Cloud: by its id or by its resource name, and which version and shape of it is meant.
//!
//! Checked before any call. What a mount's `{rest}` can hold (no `@`, no `?`, but `/`) must never choose another
//! project, another location or another version than the mount's own: so a version is written with `@`, and `{rest}`
//! stands within the secret's id only.

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    secret::{VersionId, json::Format},
};

use crate::config::GcpConfig;

/// A parsed `ref`: `NAME[@VERSION][?format=raw]`, where `NAME` is an id or a resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    project: Option<&'a str>,
    location: Option<&'a str>,
    secret: &'a str,
    /// A number or an alias that is what is read, instead of the newest version.
    pub(crate) version: Option<&'a str>,
    /// What a text is taken for.
    pub(crate) format: Format,
}

/// Where a secret is, within what the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Secret<'a> {
    /// Its project, by id or number.
    pub(crate) project: &'a str,
    /// Its location; `None` for a global one.
    pub(crate) location: Option<&'a str>,
    /// Its id.
    pub(crate) id: &'a str,
}

/// The version that is read when none is named: the one that was made last, whatever its state.
pub(crate) const LATEST: &str = "latest";

const REST: &str = "{rest}";
const PROJECTS: &str = "projects/";

impl<'a> Reference<'a> {
    /// Parses a `ref`. Ids have the grammar of `secrets.create`'s `secretId`; resource names that of
    /// `Secret.name`: `projects/P/secrets/S` or `projects/P/locations/L/secrets/S`.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`], with what is wrong.
    pub(crate) fn parse(text: &'a str) -> Result<Self, ProviderError> {
        let (name, format) = match text.split_once('?') {
            None => (text, Format::Fields),
            Some((name, "format=raw")) => (name, Format::Raw),
            Some(_) => return Err(invalid("after `?` there may be `format=raw`")),
        };
        let (name, version) = match name.split_once('@') {
            None | Some((_, LATEST)) => (name.split('@').next().unwrap_or_default(), None),
            Some((name, version)) if is_version(version) || is_alias(version) => (name, Some(version)),
            Some(_) => {
                return Err(invalid("after `@` there may be a version's number, an alias, or `latest`"));
            }
        };
        let mut segments = name.split('/');
        let mut next = || segments.next();
        let (project, location, secret) = match (next(), next(), next(), next(), next(), next(), next()) {
            (Some(secret), None, ..) => (None, None, secret),
            (Some("projects"), Some(project), Some("secrets"), Some(secret), None, ..) => {
                (Some(project), None, secret)
            }
            (
                Some("projects"),
                Some(project),
                Some("locations"),
                Some(location),
                Some("secrets"),
                Some(secret),
                None,
            ) => (Some(project), Some(location), secret),
            _ => {
                return Err(invalid(
                    "it is `SECRET`, `projects/PROJECT/secrets/SECRET` or `projects/PROJECT/locations/LOCATION/secrets/SECRET`",
                ));
            }
        };
        if !project.is_none_or(is_project) {
            return Err(invalid("a project is named by its id, such as `my-project`, or its number"));
        }
        if !location.is_none_or(is_location) {
            return Err(invalid("a location is such as `europe-west3`"));
        }
        if !is_secret(secret) {
            return Err(invalid("a secret's id is 1 to 255 characters of A-Z a-z 0-9 _ -"));
        }
        Ok(Self { project, location, secret, version, format })
    }

    /// Where that is.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] outside the projects and locations of the configuration.
    pub(crate) fn resolve(&self, config: &'a GcpConfig) -> Result<Secret<'a>, ProviderError> {
        let Some(project) = self.project else {
            return Ok(Secret {
                project: &config.project,
                location: config.location.as_deref(),
                id: self.secret,
            });
        };
        if project != config.project && !config.allowed_projects.iter().any(|known| known == project) {
            return Err(invalid(
                "its project is neither the provider's `project` nor one of its `allowed_projects`",
            ));
        }
        if let Some(location) = self.location
            && config.location.as_deref() != Some(location)
            && !config.allowed_locations.iter().any(|known| known == location)
        {
            return Err(invalid(
                "its location is neither the provider's `location` nor one of its `allowed_locations`",
            ));
        }
        Ok(Secret { project, location: self.location, id: self.secret })
    }
}

impl Secret<'_> {
    /// The resource's name.
    pub(crate) fn name(&self) -> String {
        match self.location {
            None => format!("projects/{}/secrets/{}", self.project, self.id),
            Some(location) => format!("projects/{}/locations/{location}/secrets/{}", self.project, self.id),
        }
    }

    /// The name of one of its versions.
    pub(crate) fn version(&self, version: &str) -> String {
        format!("{}/versions/{version}", self.name())
    }
}

/// Whether `text` can be a secret's `ref` here, for configuration to be checked before it is used. In a mount's, `{rest}`
/// stands for what follows the mount's prefix.
///
/// # Errors
/// Why not.
pub fn check_reference(text: &str) -> Result<(), ProviderError> {
    let Some((before, _)) = text.split_once(REST) else { return Reference::parse(text).map(drop) };
    let filled = text.replace(REST, "x");
    let reference = Reference::parse(&filled)?;
    if before.contains(['@', '?']) || (reference.project.is_some() && !before.contains("/secrets/")) {
        return Err(invalid("`{rest}` stands within the secret's id, after `/secrets/`"));
    }
    // What follows could complete it to a resource name, in whatever project.
    if PROJECTS.starts_with(before) {
        return Err(invalid(
            "`{rest}` must follow something that it stays under: write `projects/PROJECT/secrets/{rest}`, or a prefix of your secrets' ids",
        ));
    }
    Ok(())
}

/// A version's number, when it can be one.
///
/// # Errors
/// [`ErrorClass::Invalid`].
pub(crate) fn number(version: &VersionId) -> Result<u64, ProviderError> {
    let text = version.as_str();
    text.parse().ok().filter(|_| is_version(text)).ok_or_else(|| {
        ProviderError::new(
            ErrorClass::Invalid,
            format!("`{text}` is not the number of a Secret Manager version"),
        )
    })
}

/// A project's id (6 to 30 characters) or its number.
pub(crate) fn is_project(text: &str) -> bool {
    let number = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    number || ((6..=30).contains(&text.len()) && is_label(text))
}

/// A location's id.
pub(crate) fn is_location(text: &str) -> bool {
    (2..=40).contains(&text.len()) && is_label(text)
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_secret(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(is_word)
}

fn is_version(text: &str) -> bool {
    (1..=18).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// `Secret.version_aliases`: at most 63 characters, a letter first, and neither `latest` nor `NEW`.
fn is_alias(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(is_word)
        && text != LATEST
        && text != "NEW"
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn invalid(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`ref` does not name a secret in Google Cloud: {why}"))
}

#[cfg(test)]
mod tests {
    use leasehold_core::SecretPath;
    use proptest::prelude::*;

    use super::*;

    fn config() -> GcpConfig {
        GcpConfig {
            allowed_projects: vec!["other-project".into()],
            allowed_locations: vec!["europe-west3".into()],
            ..GcpConfig::new("my-project")
        }
    }

    fn named(text: &str) -> String {
        let config = config();
        Reference::parse(text).and_then(|r| Ok(r.resolve(&config)?.name())).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn ids_and_resource_names_are_taken() {
        assert_eq!(named("db_Password-1"), "projects/my-project/secrets/db_Password-1");
        assert_eq!(named("projects/other-project/secrets/db@7"), "projects/other-project/secrets/db");
        let regional = "projects/my-project/locations/europe-west3/secrets/db";
        assert_eq!(named(regional), regional);
        let bare = GcpConfig { location: Some("us-east1".into()), ..config() };
        let name = Reference::parse("db").unwrap().resolve(&bare).unwrap().name();
        assert_eq!(name, "projects/my-project/locations/us-east1/secrets/db");
        let parsed = Reference::parse("db@blue?format=raw").unwrap();
        assert_eq!((parsed.version, parsed.format), (Some("blue"), Format::Raw));
        assert_eq!(Reference::parse("db@latest").unwrap().version, None);
    }

    #[test]
    fn what_is_not_a_name_or_not_allowed_is_invalid() {
        let long = "a".repeat(256);
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a.b",
            "a/b",
            "a%2fb",
            "a\0",
            "é",
            "a\n",
            "a#b",
            "a:access",
            &long,
            "a@",
            "a@0",
            "a@01",
            "a@NEW",
            "a@x/y",
            "a@1@2",
            "a@1234567890123456789",
            "a?",
            "a?x=y",
            "a?format=xml",
            "a?format=raw&",
            "/projects/my-project/secrets/a",
            "projects/my-project/secrets/a/",
            "projects/my-project/secrets/",
            "projects/my-project/secrets/a/versions/3",
            "projects/../secrets/a",
            "projects/my-project/secrets/..",
            "projects/my-project/locations/x/y/secrets/a",
            "projects/my-project/locations/Europe/secrets/a",
            "projects/evil-project/secrets/a",
            "projects/my-project/locations/us-east1/secrets/a",
        ] {
            let config = config();
            let error = Reference::parse(bad).and_then(|r| r.resolve(&config).map(drop)).unwrap_err();
            assert_eq!(error.class, ErrorClass::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn the_rest_of_a_mount_is_part_of_a_secrets_id() {
        for good in
            ["app-{rest}", "projects/my-project/secrets/{rest}", "pro_{rest}", "a{rest}b@blue?format=raw"]
        {
            assert!(check_reference(good).is_ok(), "{good}");
        }
        for bad in [
            "{rest}",
            "p{rest}",
            "projects{rest}",
            "projects/{rest}",
            "projects/{rest}/secrets/a",
            "projects/my-project/{rest}",
            "projects/my-project/locations/{rest}/secrets/a",
            "a@{rest}",
            "a?{rest}",
        ] {
            assert!(check_reference(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(number(&"17".parse().unwrap()).unwrap(), 17);
        for bad in ["latest", "blue", "0", "017", "1.0", "-1", "99999999999999999999"] {
            assert_eq!(number(&bad.parse().unwrap()).unwrap_err().class, ErrorClass::Invalid, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_one_path_in_its_project(text in "(projects/(my|other|evil)-project/(locations/[a-z0-9-]{1,14}/)?secrets/)?[a-zA-Z0-9/_.@?&:%= \\\\-]{0,30}") {
            let config = config();
            if let Ok(reference) = Reference::parse(&text)
                && let Ok(secret) = reference.resolve(&config)
            {
                let name = secret.name();
                prop_assert!(name.starts_with("projects/my-project/") || name.starts_with("projects/other-project/"));
                prop_assert!(name.bytes().all(|b| is_word(b) || b == b'/'));
                prop_assert_eq!(name.split('/').count(), if secret.location.is_some() { 6 } else { 4 });
            }
        }

        #[test]
        fn a_mounts_rest_never_leaves_it(
            mount in "(projects/(my|other)-project/(locations/europe-west3/)?secrets/)?[a-z_-]{0,9}\\{rest\\}[a-z_-]{0,3}(@[a-z]{1,3})?",
            rest in "[a-zA-Z0-9._-]{1,9}(/[a-zA-Z0-9._-]{1,9}){0,5}|(rojects/|projects/|s/)?other-project/secrets/x",
        ) {
            prop_assume!(format!("e/{rest}").parse::<SecretPath>().is_ok() && check_reference(&mount).is_ok());
            let config = config();
            let (filled, plain) = (mount.replace(REST, &rest), mount.replace(REST, "x"));
            let expected = Reference::parse(&plain).unwrap();
            if let Ok(reference) = Reference::parse(&filled) {
                prop_assert_eq!((reference.project, reference.location, reference.version),
                    (expected.project, expected.location, expected.version));
                prop_assert!(reference.resolve(&config).unwrap().id.contains(&rest));
            }
        }
    }
}
