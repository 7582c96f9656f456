//! `kind = "postgres"`.

use std::{path::PathBuf, time::Duration};

use leasehold_core::SecretPath;
use leasehold_provider_postgres::{Administrator, Owned, PostgresConfig, PostgresRole, Terminate, Tls};

use crate::config::section::{Section, proposal};

const MAX_TIMEOUT: Duration = Duration::from_secs(120);
const MAX_MARGIN: Duration = Duration::from_secs(86_400);

pub(super) fn read(section: Section<'_>) -> Option<PostgresConfig> {
    let address = section.required::<String>("address");
    let administrator = administrator(&section);
    let tls = named(&section, "tls", &Tls::ALL);
    let terminate_sessions = named(&section, "terminate_sessions", &Terminate::ALL);
    let d = PostgresConfig::new("", "", "");
    let time = |key, default| section.within(key, default, Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = PostgresConfig {
        cluster: section.or("cluster", Vec::new()),
        database: section.or("database", d.database.clone()),
        tls,
        allow_plaintext: section.or("allow_plaintext", d.allow_plaintext),
        ca_file: section.path("ca_file"),
        user_prefix: section.or("user_prefix", d.user_prefix.clone()),
        margin: section.within("margin", d.margin, Duration::ZERO..=MAX_MARGIN),
        connections: section.within("connections", d.connections, 1..=64),
        connect_timeout: time("connect_timeout", d.connect_timeout),
        statement_timeout: time("statement_timeout", d.statement_timeout),
        timeout: time("timeout", d.timeout),
        terminate_sessions,
        rotate_superusers: section.or("rotate_superusers", d.rotate_superusers),
        ..d
    };
    let place = section.place();
    let (Some(address), Some(administrator)) = (address, administrator) else {
        section.report_unknown();
        return None;
    };
    let config = PostgresConfig { address, administrator, ..config };
    for fault in config.faults() {
        section.fault(place.clone(), fault.to_string(), "");
    }
    section.finish();
    Some(config)
}

/// A role, whose `name` and `provider` have been read.
pub(super) fn read_role(section: Section<'_>) -> Option<PostgresRole> {
    let list = |key| section.or::<Vec<String>>(key, Vec::new());
    let role = PostgresRole {
        grants: list("grants"),
        connection_limit: section.optional("connection_limit"),
        creation: list("creation"),
        renewal: list("renewal"),
        revocation: list("revocation"),
        owned: owned(&section),
    };
    let place = section.place();
    for fault in role.faults() {
        section.fault(place.clone(), fault.to_string(), "");
    }
    section.finish();
    Some(role)
}

/// As whom: `user` with `password_file`, or `administrator`, by which both are in another secret of the broker.
fn administrator(section: &Section<'_>) -> Option<Administrator> {
    let Some(secret) = section.try_section("administrator") else {
        let user = section.required::<String>("user");
        let password_file = section.required_path("password_file");
        return user
            .zip(password_file)
            .map(|(user, password_file)| Administrator::File { user, password_file });
    };
    let path = secret.required::<SecretPath>("secret");
    secret.finish();
    let user = section.optional::<String>("user");
    if let Some(found) = section.take::<PathBuf>("password_file") {
        section.fault(
            found.place,
            "`administrator` and `password_file` exclude each other",
            "leave one of them out",
        );
    }
    path.map(|path| Administrator::Secret { path, user })
}

/// One of several names.
fn named<T: Copy + Default + PartialEq>(
    section: &Section<'_>,
    key: &'static str,
    all: &[(&'static str, T)],
) -> T {
    section.one_of(key, all.iter().map(|(name, _)| *name));
    if let Some((name, _)) = all.iter().find(|(_, value)| *value == T::default()) {
        section.otherwise(key, &(*name).to_owned());
    }
    let Some(found) = section.take::<String>(key) else { return T::default() };
    match all.iter().find(|(name, _)| *name == found.value) {
        Some((_, value)) => *value,
        None => {
            let message = format!("`{key}` cannot be `{}`", found.value);
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            section.fault(found.place, message, proposal(&found.value, &names));
            T::default()
        }
    }
}

/// What becomes of what users own.
fn owned(section: &Section<'_>) -> Owned {
    let to = section.take::<String>("reassign_to");
    let drops = section.or("drop_owned", false);
    match to {
        Some(to) if drops => {
            section.fault(
                to.place,
                "`reassign_to` and `drop_owned` exclude each other",
                "leave one of them out",
            );
            Owned::Keep
        }
        Some(to) => Owned::Reassign(to.value),
        None if drops => Owned::Drop,
        None => Owned::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    const LEAST: &str = "address = 'pg.example.com'\nuser = 'leasehold'\npassword_file = 'pg'\n";

    #[test]
    fn the_defaults_are_the_providers_own() {
        let config = read_section(LEAST, read).unwrap();
        assert_eq!(config, PostgresConfig::new("pg.example.com", "leasehold", "/etc/leasehold/pg"));
        let role = read_section("grants = ['readonly']", read_role).unwrap();
        assert_eq!(role, PostgresRole::granting(["readonly"]));
    }

    #[test]
    fn every_key_is_read() {
        let config = read_section(
            &format!(
                "{LEAST}cluster = ['pg-1:6432']\ndatabase = 'app'\ntls = 'verify-ca'\nca_file = 'ca.pem'\n\
                 allow_plaintext = true\nuser_prefix = 'eu'\nmargin = '5m'\nconnections = 4\n\
                 connect_timeout = '1s'\nstatement_timeout = '2s'\ntimeout = '4s'\n\
                 terminate_sessions = 'always'\nrotate_superusers = true"
            ),
            read,
        );
        let secs = Duration::from_secs;
        let expected = PostgresConfig {
            cluster: vec!["pg-1:6432".into()],
            database: "app".into(),
            tls: Tls::VerifyCa,
            ca_file: Some("/etc/leasehold/ca.pem".into()),
            allow_plaintext: true,
            user_prefix: "eu".into(),
            margin: secs(300),
            connections: 4,
            connect_timeout: secs(1),
            statement_timeout: secs(2),
            timeout: secs(4),
            terminate_sessions: Terminate::Always,
            rotate_superusers: true,
            ..PostgresConfig::new("pg.example.com", "leasehold", "/etc/leasehold/pg")
        };
        assert_eq!(config.unwrap(), expected);
        let role =
            read_section("grants = ['a']\nconnection_limit = 3\nreassign_to = 'owner'", read_role).unwrap();
        assert_eq!((role.connection_limit, role.owned), (Some(3), Owned::Reassign("owner".into())));
        let role = read_section(
            "creation = ['CREATE ROLE {{name}} PASSWORD {{password_verifier}} VALID UNTIL {{expiration}}']\n\
             renewal = ['ALTER ROLE {{name}} VALID UNTIL {{expiration}}']\n\
             revocation = ['SELECT f({{name:literal}})']\ndrop_owned = true",
            read_role,
        );
        let role = role.unwrap();
        assert_eq!((role.creation.len(), role.renewal.len(), role.revocation.len()), (1, 1, 1));
        assert_eq!(role.owned, Owned::Drop);
    }

    #[test]
    fn an_administrator_may_be_in_another_secret() {
        let toml = "address = 'pg.example.com'\nadministrator = { secret = 'infra/pg/admin' }";
        let path = "infra/pg/admin".parse().unwrap();
        let expected = Administrator::Secret { path, user: None };
        assert_eq!(read_section(toml, read).unwrap().administrator, expected);
        let named = read_section(&format!("user = 'u'\n{toml}"), read).unwrap();
        assert!(matches!(named.administrator, Administrator::Secret { user: Some(user), .. } if user == "u"));
    }

    #[test]
    fn contradictions_are_named() {
        for (toml, expected) in [
            ("user = 'u'\npassword_file = 'p'", "`address` is missing"),
            ("address = 'a'\npassword_file = 'p'", "`user` is missing"),
            ("address = 'a'\nuser = 'u'", "`password_file` is missing"),
            (&format!("{LEAST}administrator = {{ secret = 'a/b' }}"), "exclude each other"),
            ("address = 'a'\nadministrator = { secrt = 'a/b' }", "did you mean `secret`?"),
            ("address = 'a'\nadministrator = 'a/b'", "`administrator` is a table"),
            (&format!("{LEAST}tls = 'verify_full'"), "did you mean `verify-full`?"),
            (&format!("{LEAST}terminate_sessions = 'retired-user'"), "did you mean `retired-users`?"),
            (&format!("{LEAST}tls = 'disable'"), "another machine"),
            (&format!("{LEAST}conections = 3"), "did you mean `connections`?"),
            (&format!("{LEAST}connections = 100"), "it must be between 1 and 64"),
        ] {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
        for (toml, expected) in [
            ("connection_limit = 2", "neither `grants` nor `creation`"),
            ("grants = ['a']\nreassign_to = 'b'\ndrop_owned = true", "exclude each other"),
            ("creation = ['CREATE ROLE \"{{name}}\"']", "stands within quotation marks"),
            ("grants = ['a']\nrenewal = ['ALTER ROLE {{nam}}']", "is not a parameter"),
        ] {
            let faults = faults_of(toml, read_role);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
