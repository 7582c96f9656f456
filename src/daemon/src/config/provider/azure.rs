//! `kind = "azure"`.

use std::time::Duration;

use leasehold_provider_azure::{AzureConfig, AzureConfigFault, AzureRole, Cloud, Identity};

use crate::config::section::{Found, Section, proposal};

const MAX_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn read(section: Section<'_>) -> Option<AzureConfig> {
    let d = AzureConfig::default();
    let cloud = cloud(&section);
    let identity = identity(&section);
    let time = |key, default| section.within(key, default, Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = AzureConfig {
        vault: section.optional("vault"),
        private_endpoint: section.optional("private_endpoint"),
        ca_file: section.path("ca_file"),
        metadata_address: section.or("metadata_address", d.metadata_address),
        writable: section.or("writable", d.writable),
        connect_timeout: time("connect_timeout", d.connect_timeout),
        attempt_timeout: time("attempt_timeout", d.attempt_timeout),
        timeout: time("timeout", d.timeout),
        max_attempts: section.within("max_attempts", d.max_attempts, 1..=10),
        ..d
    };
    section.report_unknown();
    let config = AzureConfig { cloud: cloud?, identity: identity?.unwrap_or(config.identity), ..config };
    // Its roles come later, and without a vault they are all that there is to lend.
    for fault in config.faults().into_iter().filter(|fault| *fault != AzureConfigFault::Nothing) {
        section.fault(section.place(), fault.to_string(), "");
    }
    Some(config)
}

/// Takes a role in.
pub(super) fn add_role(config: &mut AzureConfig, name: &str, section: Section<'_>) {
    let scope = section.required_at::<String>("scope");
    let identity = identity(&section);
    section.report_unknown();
    let (Some(scope), Some(identity)) = (scope, identity) else { return };
    config.roles.insert(name.to_owned(), AzureRole { scope: scope.value, identity });
    for fault in config.role_faults(name) {
        section.fault(scope.place.clone(), fault.to_string(), "");
    }
}

fn cloud(section: &Section<'_>) -> Option<Cloud> {
    const CLOUDS: [&str; 3] = ["public", "china", "us-government"];
    section.one_of("cloud", CLOUDS);
    section.otherwise("cloud", &"public".to_owned());
    let named = section.take::<String>("cloud");
    let authority_host = section.optional::<String>("authority_host");
    let vault_domain = section.optional::<String>("vault_domain");
    match (named, authority_host, vault_domain) {
        (None, None, None) => Some(Cloud::Public),
        (None, Some(authority_host), Some(vault_domain)) => {
            Some(Cloud::Custom { authority_host, vault_domain })
        }
        (None, _, _) => {
            let message = "a cloud of its own is `authority_host` with `vault_domain`";
            section.fault(section.place(), message, "add the other one");
            None
        }
        (Some(named), None, None) => match named.value.as_str() {
            "public" => Some(Cloud::Public),
            "china" => Some(Cloud::China),
            "us-government" => Some(Cloud::UsGovernment),
            other => {
                let message = format!("there is no cloud `{other}`");
                section.fault(named.place, message, proposal(other, &CLOUDS));
                None
            }
        },
        (Some(named), _, _) => {
            let message = "`cloud` and `authority_host` with `vault_domain` are two ways to say which cloud";
            section.fault(named.place, message, "keep one of them");
            None
        }
    }
}

/// As whom; `Some(None)` when nothing is said of it.
fn identity(section: &Section<'_>) -> Option<Option<Identity>> {
    const KINDS: [&str; 3] = ["managed", "workload", "client-secret"];
    section.one_of("identity", KINDS);
    section.otherwise("identity", &"managed".to_owned());
    let kind = section.take::<String>("identity");
    let tenant_id = section.take::<String>("tenant_id");
    let client_id = section.take::<String>("client_id");
    let token_file = section.path("federated_token_file");
    let secret_file = section.path("client_secret_file");
    let not_for = |place: Option<_>, key: &str, kind: &str| {
        if let Some(place) = place {
            section.fault(place, format!("`{key}` is not for `identity = \"{kind}\"`"), "remove one of them");
        }
    };
    let place_of = |given: bool, key| given.then(|| section.place_of(key));
    let has_secret = place_of(secret_file.is_some(), "client_secret_file");
    let has_token = place_of(token_file.is_some(), "federated_token_file");
    let value = |found: Option<Found<String>>| found.map(|found| found.value);
    let said = match &kind {
        Some(found) => found.value.as_str(),
        None if tenant_id.is_none() && client_id.is_none() && has_secret.is_none() && has_token.is_none() => {
            return Some(None);
        }
        None => "managed",
    };
    Some(Some(match said {
        "managed" => {
            not_for(tenant_id.map(|found| found.place), "tenant_id", said);
            not_for(has_token, "federated_token_file", said);
            not_for(has_secret, "client_secret_file", said);
            Identity::Managed { client_id: value(client_id) }
        }
        "workload" => {
            not_for(has_secret, "client_secret_file", said);
            Identity::Workload { tenant_id: value(tenant_id), client_id: value(client_id), token_file }
        }
        "client-secret" => {
            not_for(has_token, "federated_token_file", said);
            let (Some(tenant), Some(client), Some(secret_file)) = (tenant_id, client_id, secret_file) else {
                let message = "a client secret is `tenant_id`, `client_id` and `client_secret_file`";
                section.fault(section.place_of("identity"), message, "add what is missing");
                return None;
            };
            Identity::ClientSecret { tenant_id: tenant.value, client_id: client.value, secret_file }
        }
        other => {
            let message = format!("there is no identity `{other}`");
            section.fault(section.place_of("identity"), message, proposal(other, &KINDS));
            return None;
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::tests::{faults_of, read_section};

    const ID: &str = "11111111-2222-4333-8444-555555555555";

    fn read_role(section: Section<'_>) -> Option<AzureConfig> {
        let mut config = AzureConfig { vault: Some("myvault".into()), ..AzureConfig::default() };
        add_role(&mut config, "r", section);
        Some(config)
    }

    #[test]
    fn the_defaults_are_the_providers_own() {
        let expected = AzureConfig { vault: Some("myvault".into()), ..AzureConfig::default() };
        assert_eq!(read_section("vault = 'myvault'", read).unwrap(), expected);
    }

    #[test]
    fn every_identity_can_be_said() {
        let identity =
            |toml: &str| read_section(&format!("vault = 'myvault'\n{toml}"), read).unwrap().identity;
        let managed = Identity::Managed { client_id: Some(ID.into()) };
        assert_eq!(identity(&format!("client_id = '{ID}'")), managed);
        let workload = Identity::Workload { tenant_id: None, client_id: None, token_file: None };
        assert_eq!(identity("identity = 'workload'"), workload);
        let secret = Identity::ClientSecret {
            tenant_id: "example.org".into(),
            client_id: ID.into(),
            secret_file: "/etc/leasehold/s".into(),
        };
        let toml = format!(
            "identity = 'client-secret'\ntenant_id = 'example.org'\nclient_id = '{ID}'\nclient_secret_file = 's'"
        );
        assert_eq!(identity(&toml), secret);
    }

    #[test]
    fn a_role_is_taken_in_with_its_own_identity_or_the_providers() {
        let roles = |toml: &str| read_section(toml, read_role).unwrap().roles;
        let role = |identity| {
            let scope = "https://storage.azure.com/.default".to_owned();
            BTreeMap::from([("r".to_owned(), AzureRole { scope, identity })])
        };
        let scope = "scope = 'https://storage.azure.com/.default'";
        assert_eq!(roles(scope), role(None));
        let own = Some(Identity::Managed { client_id: Some(ID.into()) });
        assert_eq!(roles(&format!("{scope}\nclient_id = '{ID}'")), role(own));
        for (toml, expected) in [
            ("identity = 'managed'", "`scope` is missing"),
            ("scope = 'User.Read'", "is not of the form"),
            ("scope = 'https://vault.azure.net/.default'", "would lend the broker's own access"),
            (&format!("{scope}\nclient_id = 'me'"), "`client_id` of the role `r` is not an id"),
            (&format!("{scope}\nscopes = 'x'"), "did you mean `scope`?"),
        ] {
            let faults = faults_of(toml, read_role);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        for (toml, expected) in [
            ("vault = 'a.b'", "`vault` is not a vault's name"),
            ("cloud = 'chna'", "did you mean `china`?"),
            ("cloud = 'china'\nauthority_host = 'https://x'\nvault_domain = 'v.x'", "keep one of them"),
            ("vault_domain = 'vault.example'", "add the other one"),
            ("identity = 'manged'", "did you mean `managed`?"),
            ("identity = 'client-secret'", "add what is missing"),
            ("client_secret_file = 's'", "`client_secret_file` is not for `identity = \"managed\"`"),
            ("identity = 'workload'\nclient_secret_file = 's'", "is not for `identity = \"workload\"`"),
            ("private_endpoint = '10.0.0.4'", "an IP address with a port"),
            ("timeout = '0s'", "it must be between 1ms and 2m"),
            ("client_secret = 'x'", "did you mean `client_secret_file`?"),
        ] {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
