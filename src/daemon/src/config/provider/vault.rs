//! `kind = "vault"`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use leasehold_provider_vault::{Auth, Method, VaultConfig, VaultRole};

use crate::config::section::{Section, proposal};

const METHODS: [&str; 5] = ["token", "approle", "cert", "kubernetes", "jwt"];
const MAX_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn read(section: Section<'_>) -> Option<VaultConfig> {
    let address = section.required::<String>("address");
    let auth = auth(&section);
    let d = VaultConfig::new("", Auth::Token { file: "".into() });
    let time = |key, default| section.within(key, default, Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = VaultConfig {
        cluster: section.or("cluster", Vec::new()),
        namespace: section.optional("namespace"),
        allow_plaintext: section.or("allow_plaintext", d.allow_plaintext),
        ca_file: section.path("ca_file"),
        writable: section.or("writable", d.writable),
        wrap_ttl: section.optional("wrap_ttl"),
        token_role: section.optional("token_role"),
        spare_tokens: section.within("spare_tokens", d.spare_tokens, 1..=64),
        connect_timeout: time("connect_timeout", d.connect_timeout),
        attempt_timeout: time("attempt_timeout", d.attempt_timeout),
        timeout: time("timeout", d.timeout),
        max_attempts: section.within("max_attempts", d.max_attempts, 1..=10),
        ..d
    };
    let place = section.place();
    let (address, auth) = match (address, auth) {
        (Some(address), Some(auth)) => (address, auth),
        _ => {
            section.report_unknown();
            return None;
        }
    };
    let config = VaultConfig { address, auth, ..config };
    for fault in config.faults() {
        section.fault(place.clone(), fault.to_string(), "");
    }
    section.finish();
    Some(config)
}

/// A role, whose `name` and `provider` have been read.
pub(super) fn read_role(section: Section<'_>) -> Option<VaultRole> {
    let path = section.required::<String>("path");
    section.one_of("method", ["GET", "POST", "PUT"]);
    section.otherwise("method", &"GET".to_owned());
    let method = match section.take::<String>("method") {
        None => Method::default(),
        Some(found) => Method::of(&found.value).unwrap_or_else(|fault| {
            section.fault(found.place, fault.to_string(), "");
            Method::default()
        }),
    };
    let mut parameters = BTreeMap::new();
    if let Some(table) = section.try_section("parameters") {
        // A list is what Vault takes for one: texts with commas between them.
        parameters.extend(table.named_texts().into_iter().map(|(name, found)| (name, found.value.join(","))));
    }
    let leased = section.or("leased", true);
    let wrap_ttl = section.optional("wrap_ttl");
    let revoke_path = section.optional("revoke_path");
    let place = section.place();
    let Some(path) = path else {
        section.finish();
        return None;
    };
    let role = VaultRole { path, method, parameters, leased, wrap_ttl, revoke_path };
    for fault in role.faults() {
        section.fault(place.clone(), fault.to_string(), "");
    }
    section.finish();
    Some(role)
}

/// As whom; a key that belongs to another way of signing in is unknown here.
fn auth(section: &Section<'_>) -> Option<Auth> {
    section.one_of("auth", METHODS);
    let method = section.required_at::<String>("auth")?;
    let mount = |default: &str| section.or("auth_mount", default.to_owned());
    match method.value.as_str() {
        "token" => Some(Auth::Token { file: section.required_path("token_file")? }),
        "approle" => {
            let mount = mount("approle");
            let secret_id_file = section.path("secret_id_file");
            let wrapped = section.or("secret_id_wrapped", false);
            Some(Auth::AppRole { mount, role_id: section.required("role_id")?, secret_id_file, wrapped })
        }
        "cert" => {
            let (mount, role) = (mount("cert"), section.optional("auth_role"));
            let (certificate, key) = (section.required_path("certificate"), section.required_path("key"));
            Some(Auth::Certificate { mount, role, certificate: certificate?, key: key? })
        }
        "kubernetes" => {
            let mount = mount("kubernetes");
            let usual = PathBuf::from(Auth::KUBERNETES_TOKEN);
            section.otherwise("jwt_file", &usual);
            let jwt_file = section.path("jwt_file").unwrap_or(usual);
            Some(Auth::Kubernetes { mount, role: section.required("auth_role")?, jwt_file })
        }
        "jwt" => {
            let (mount, role) = (mount("jwt"), section.optional("auth_role"));
            Some(Auth::Jwt { mount, role, jwt_file: section.required_path("jwt_file")? })
        }
        other => {
            let message = format!("there is no way of signing in `{other}`");
            section.fault(method.place, message, proposal(other, &METHODS));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    const LEAST: &str = "address = 'https://vault.example.com:8200'\nauth = 'token'\ntoken_file = 'token'\n";

    #[test]
    fn the_defaults_are_the_providers_own() {
        let config = read_section(LEAST, read).unwrap();
        let auth = Auth::Token { file: "/etc/leasehold/token".into() };
        assert_eq!(config, VaultConfig::new("https://vault.example.com:8200", auth));
        let role = read_section("path = 'database/creds/readonly'", read_role).unwrap();
        assert_eq!(role, VaultRole::new("database/creds/readonly"));
    }

    #[test]
    fn every_way_of_signing_in_has_its_keys() {
        let read = |keys: &str| read_section(&format!("address = 'https://v'\n{keys}"), read).unwrap().auth;
        assert_eq!(
            read("auth = 'approle'\nrole_id = 'r'\nsecret_id_file = 's'\nsecret_id_wrapped = true"),
            Auth::AppRole {
                mount: "approle".into(),
                role_id: "r".into(),
                secret_id_file: Some("/etc/leasehold/s".into()),
                wrapped: true
            }
        );
        assert_eq!(
            read("auth = 'cert'\ncertificate = 'c'\nkey = 'k'\nauth_mount = 'mtls'\nauth_role = 'broker'"),
            Auth::Certificate {
                mount: "mtls".into(),
                role: Some("broker".into()),
                certificate: "/etc/leasehold/c".into(),
                key: "/etc/leasehold/k".into()
            }
        );
        assert_eq!(
            read("auth = 'kubernetes'\nauth_role = 'broker'"),
            Auth::Kubernetes {
                mount: "kubernetes".into(),
                role: "broker".into(),
                jwt_file: Auth::KUBERNETES_TOKEN.into()
            }
        );
        assert_eq!(
            read("auth = 'jwt'\njwt_file = 'j'"),
            Auth::Jwt { mount: "jwt".into(), role: None, jwt_file: "/etc/leasehold/j".into() }
        );
    }

    #[test]
    fn a_roles_parameters_are_texts() {
        let role = read_section(
            "path = 'pki/issue/web'\nmethod = 'POST'\nleased = false\nrevoke_path = 'pki/revoke'\n\
             parameters = { ttl = '{ttl}', alt_names = ['a.example', 'b.example'] }",
            read_role,
        )
        .unwrap();
        assert_eq!(role.method, Method::Post);
        assert_eq!(role.parameters["alt_names"], "a.example,b.example");
        assert_eq!((role.leased, role.revoke_path.as_deref()), (false, Some("pki/revoke")));
    }

    #[test]
    fn contradictions_are_named() {
        let cases = [
            ("auth = 'token'\ntoken_file = 't'", "`address` is missing"),
            ("address = 'https://v'", "`auth` is missing"),
            ("address = 'https://v'\nauth = 'app_role'", "did you mean `approle`?"),
            ("address = 'https://v'\nauth = 'token'", "`token_file` is missing"),
            ("address = 'http://v'\nauth = 'token'\ntoken_file = 't'", "plain HTTP to another machine"),
            (
                "address = 'https://v'\nauth = 'token'\ntoken_file = 't'\nrole_id = 'r'",
                "unknown key `role_id`",
            ),
            (
                "address = 'https://v'\nauth = 'token'\ntoken_file = 't'\nspare_tokens = 0",
                "it must be between 1 and 64",
            ),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
        for (toml, expected) in [
            ("method = 'GET'", "`path` is missing"),
            ("path = 'a/b'\nmethod = 'LIST'", "`method` is GET, POST or PUT"),
            ("path = 'sys/raw'", "not under `sys`"),
            ("path = 'a/b'\nparameters = { ttl = '{tll}' }", "has a placeholder"),
        ] {
            let faults = faults_of(toml, read_role);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
