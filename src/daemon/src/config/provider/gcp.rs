//! `kind = "gcp"`.

use std::time::Duration;

use leasehold_provider_gcp::{Credentials, GcpConfig, GcpRole, Grant};

use crate::config::section::Section;

pub(super) fn read(section: Section<'_>) -> Option<GcpConfig> {
    let project = section.required::<String>("project");
    let d = GcpConfig::new("");
    let credentials = credentials(&section);
    let time = |key, default| section.within(key, default, Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = GcpConfig {
        project: project.clone().unwrap_or_else(|| "missing".to_owned()),
        allowed_projects: section.or("allowed_projects", d.allowed_projects),
        location: section.optional("location"),
        allowed_locations: section.or("allowed_locations", d.allowed_locations),
        endpoint_url: section.optional("endpoint_url"),
        iam_endpoint_url: section.optional("iam_endpoint_url"),
        credentials: Credentials::Default,
        require_checksum: section.or("require_checksum", d.require_checksum),
        writable: section.or("writable", d.writable),
        attempt_timeout: time("attempt_timeout", d.attempt_timeout),
        timeout: time("timeout", d.timeout),
        max_attempts: section.within("max_attempts", d.max_attempts, 1..=10),
        roles: d.roles,
    };
    for fault in config.faults() {
        section.fault(section.place(), fault.to_string(), "");
    }
    section.finish();
    project?;
    Some(GcpConfig { credentials: credentials?, ..config })
}

/// A `[[role]]`, whose `name` and `provider` have been read.
pub(super) fn read_role(section: Section<'_>) -> Option<GcpRole> {
    section.one_of("kind", ["access-token", "id-token"]);
    let kind = section.required_at::<String>("kind");
    let service_account = section.required::<String>("service_account");
    let delegates = section.or("delegates", Vec::new());
    let grant = match kind.as_ref().map(|kind| kind.value.as_str()) {
        Some("access-token") => section.required::<Vec<String>>("scopes").map(|scopes| Grant::AccessToken {
            scopes,
            lifetime_extension: section.or("lifetime_extension", false),
        }),
        Some("id-token") => section
            .required::<String>("audience")
            .map(|audience| Grant::IdToken { audience, include_email: section.or("include_email", false) }),
        Some(other) => {
            let message = format!("`kind` of a role of Google Cloud is not `{other}`");
            let place = section.place_of("kind");
            section.fault(place, message, "it is `access-token` or `id-token`");
            None
        }
        None => None,
    };
    let role = match (service_account, grant) {
        (Some(service_account), Some(grant)) => Some(GcpRole { service_account, delegates, grant }),
        _ => None,
    };
    for fault in role.iter().flat_map(GcpRole::faults) {
        section.fault(section.place(), fault, "");
    }
    section.finish();
    role
}

const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// A file, or what `credentials` names; both at once is a contradiction.
fn credentials(section: &Section<'_>) -> Option<Credentials> {
    section.one_of("credentials", ["default", "metadata"]);
    section.otherwise("credentials", &"default".to_owned());
    let named = section.take::<String>("credentials");
    let file = section.path("credentials_file");
    let token = section.path("access_token_file");
    match (named, file, token) {
        (None, None, None) => Some(Credentials::Default),
        (None, Some(path), None) => Some(Credentials::File(path)),
        (None, None, Some(path)) => Some(Credentials::TokenFile(path)),
        (Some(named), None, None) => match named.value.as_str() {
            "default" => Some(Credentials::Default),
            "metadata" => Some(Credentials::Metadata),
            other => {
                let message = format!("there are no credentials `{other}`");
                section.fault(named.place, message, "they are `default` or `metadata`");
                None
            }
        },
        _ => {
            let message = "`credentials`, `credentials_file` and `access_token_file` are ways to say as whom";
            section.fault(section.place(), message, "keep one of them");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn the_defaults_are_the_providers_own() {
        assert_eq!(read_section("project = 'my-project'", read).unwrap(), GcpConfig::new("my-project"));
    }

    #[test]
    fn contradictions_are_named() {
        let cases = [
            ("", "`project` is missing"),
            ("project = 'My'", "`My` is not a project's id"),
            ("project = 'my-project'\ncredentials = 'x'", "they are `default` or `metadata`"),
            ("project = 'my-project'\ncredentials_file = 'k'\naccess_token_file = 't'", "keep one of them"),
            ("project = 'my-project'\nendpoint_url = 'http://example.com'", "`endpoint_url` is plain HTTP"),
            ("project = 'my-project'\ntimeout = '0s'", "it must be between 1ms and 2m"),
            ("project = 'my-project'\nlocations = []", "unknown key `locations`"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }

    #[test]
    fn a_role_makes_one_kind_of_token() {
        let account = "service_account = 'app@my-project.iam.gserviceaccount.com'";
        let role = read_section(&format!("kind = 'id-token'\n{account}\naudience = 'https://x'"), read_role);
        let grant = Grant::IdToken { audience: "https://x".into(), include_email: false };
        assert_eq!(role.unwrap().grant, grant);
        for (toml, expected) in [
            (format!("kind = 'key'\n{account}"), "it is `access-token` or `id-token`"),
            (format!("kind = 'access-token'\n{account}"), "`scopes` is missing"),
            ("kind = 'id-token'\naudience = 'x'".to_owned(), "`service_account` is missing"),
            (format!("kind = 'id-token'\n{account}\naudience = 'x'\nscopes = ['y']"), "unknown key `scopes`"),
            (
                "kind = 'id-token'\naudience = 'x'\nservice_account = 'me'".to_owned(),
                "is not a service account's address",
            ),
        ] {
            let faults = faults_of(&toml, read_role);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
