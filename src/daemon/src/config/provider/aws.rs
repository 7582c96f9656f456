//! `kind = "aws"`.

use std::{collections::BTreeMap, time::Duration};

use leasehold_provider_aws::{AssumedRole, AwsConfig, AwsRole, Credentials, SessionRole};

use crate::config::section::{Section, proposal};

pub(super) fn read(section: Section<'_>) -> Option<AwsConfig> {
    let d = AwsConfig::default();
    let credentials = credentials(&section);
    let time = |key, default| section.within(key, default, Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = AwsConfig {
        region: section.optional("region"),
        endpoint_url: section.optional("endpoint_url"),
        secretsmanager_endpoint_url: section.optional("secretsmanager_endpoint_url"),
        ssm_endpoint_url: section.optional("ssm_endpoint_url"),
        sts_endpoint_url: section.optional("sts_endpoint_url"),
        allow_plaintext: section.or("allow_plaintext", d.allow_plaintext),
        credentials: Credentials::Chain { profile: None },
        assume_role: assumed(&section),
        roles: BTreeMap::new(),
        writable: section.or("writable", d.writable),
        recovery_window_days: section.within("recovery_window_days", d.recovery_window_days, 7..=30),
        connect_timeout: time("connect_timeout", d.connect_timeout),
        attempt_timeout: time("attempt_timeout", d.attempt_timeout),
        timeout: time("timeout", d.timeout),
        max_attempts: section.within("max_attempts", d.max_attempts, 1..=10),
    };
    let config = AwsConfig { credentials: credentials?, ..config };
    for fault in config.faults() {
        section.fault(section.place(), fault.to_string(), "");
    }
    section.finish();
    Some(config)
}

const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// A fixed key, or what the SDK finds; both at once is a contradiction.
fn credentials(section: &Section<'_>) -> Option<Credentials> {
    let profile = section.take::<String>("profile");
    let access_key_id = section.take::<String>("access_key_id");
    let secret_access_key_file = section.path("secret_access_key_file");
    let session_token_file = section.path("session_token_file");
    match (access_key_id, secret_access_key_file) {
        (None, None) => {
            if session_token_file.is_some() {
                section.fault(section.place(), "`session_token_file` without `access_key_id`", PAIR);
            }
            Some(Credentials::Chain { profile: profile.map(|found| found.value) })
        }
        (Some(id), Some(secret_access_key_file)) => {
            if let Some(profile) = profile {
                let message = "`profile` and `access_key_id` are two ways to say as whom";
                section.fault(profile.place, message, "keep one of them");
            }
            Some(Credentials::Static { access_key_id: id.value, secret_access_key_file, session_token_file })
        }
        (Some(id), None) => {
            section.fault(id.place, "`access_key_id` without `secret_access_key_file`", PAIR);
            None
        }
        (None, Some(_)) => {
            section.fault(section.place(), "`secret_access_key_file` without `access_key_id`", PAIR);
            None
        }
    }
}

const PAIR: &str = "a fixed key is `access_key_id` with `secret_access_key_file`";

/// The role that the broker takes on itself.
fn assumed(section: &Section<'_>) -> Option<AssumedRole> {
    let default = AssumedRole::default().session_name;
    section.otherwise("role_session_name", &default);
    let arn = section.optional::<String>("assume_role_arn");
    let external_id = section.take::<String>("external_id");
    let session_name = section.take::<String>("role_session_name");
    let Some(arn) = arn else {
        for (key, found) in [("external_id", external_id), ("role_session_name", session_name)] {
            if let Some(found) = found {
                let message = format!("`{key}` without `assume_role_arn`");
                section.fault(found.place, message, "a [[role]] that is lent has its own");
            }
        }
        return None;
    };
    Some(AssumedRole {
        arn,
        external_id: external_id.map(|found| found.value),
        session_name: session_name.map_or(default, |found| found.value),
    })
}

const ROLE_KINDS: [&str; 2] = ["assume-role", "session-token"];

/// A `[[role]]` whose `name` and `provider` have been read.
pub(super) fn read_role(section: Section<'_>) -> Option<AwsRole> {
    let [default, _] = ROLE_KINDS;
    section.one_of("kind", ROLE_KINDS);
    section.otherwise("kind", &default.to_owned());
    let kind = section.take::<String>("kind");
    let role = match kind.as_ref().map_or(default, |kind| &*kind.value) {
        "assume-role" => AwsRole::AssumeRole(session_role(&section)?),
        "session-token" => AwsRole::SessionToken,
        other => {
            let message = format!("an AWS role is not made of `{other}`");
            section.fault(section.place_of("kind"), message, proposal(other, &ROLE_KINDS));
            return None;
        }
    };
    for fault in role.faults() {
        section.fault(section.place(), fault.to_string(), "");
    }
    section.finish();
    Some(role)
}

fn session_role(section: &Section<'_>) -> Option<SessionRole> {
    let d = SessionRole::default();
    let mut tags = BTreeMap::new();
    for (key, found) in section.section("tags").named_texts() {
        match <[String; 1]>::try_from(found.value) {
            Ok([value]) => drop(tags.insert(key, value)),
            Err(_) => section.fault(found.place, format!("the tag `{key}` has one value"), "write one text"),
        }
    }
    let role = SessionRole {
        arn: String::new(),
        external_id: section.optional("external_id"),
        session_policy: session_policy(section),
        policy_arns: section.or("policy_arns", Vec::new()),
        tags,
        transitive: section.or("transitive_tags", Vec::new()),
        source_identity: section.or("source_identity", d.source_identity),
        principal_tags: section.or("principal_tags", d.principal_tags),
    };
    let arn = section.required("arn");
    Some(SessionRole { arn: arn?, ..role })
}

/// The policy as it stands here, or in a file.
fn session_policy(section: &Section<'_>) -> Option<String> {
    let inline = section.optional::<String>("session_policy");
    let Some(path) = section.path("session_policy_file") else { return inline };
    let place = section.place_of("session_policy_file");
    if inline.is_some() {
        let message = "`session_policy` and `session_policy_file` are two ways to say the same";
        section.fault(place, message, "keep one of them");
        return None;
    }
    // Blanks count against AWS's limit.
    let compact = |text: String| {
        let policy: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        policy.map_or(text, |policy| policy.to_string())
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(compact(text)),
        Err(error) => {
            section.fault(place, format!("cannot read {}: {error}", path.display()), "");
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
        assert_eq!(read_section("", read).unwrap(), AwsConfig::default());
        let role = read_section("arn = 'arn:aws:iam::123456789012:role/x'", read_role).unwrap();
        let arn = "arn:aws:iam::123456789012:role/x".to_owned();
        assert_eq!(role, AwsRole::AssumeRole(SessionRole { arn, ..SessionRole::default() }));
        assert_eq!(read_section("kind = 'session-token'", read_role).unwrap(), AwsRole::SessionToken);
    }

    #[test]
    fn contradictions_are_named() {
        let cases = [
            ("access_key_id = 'AKIAIOSFODNN7EXAMPLE'", "`access_key_id` without `secret_access_key_file`"),
            ("secret_access_key_file = 'k'", "`secret_access_key_file` without `access_key_id`"),
            ("session_token_file = 'k'", "`session_token_file` without"),
            (
                "access_key_id = 'AKIAIOSFODNN7EXAMPLE'\nsecret_access_key_file = 'k'\nprofile = 'p'",
                "keep one of them",
            ),
            ("endpoint_url = 'http://example.com'", "`endpoint_url` is plain HTTP to another machine"),
            ("sts_endpoint_url = 'x'", "`sts_endpoint_url` is not a URL"),
            ("timeout = '0s'", "it must be between 1ms and 2m"),
            ("recovery_window_days = 3", "it must be between 7 and 30"),
            ("secret_access_key = 'x'", "did you mean `secret_access_key_file`?"),
            ("external_id = 'x1'", "`external_id` without `assume_role_arn`"),
            ("assume_role_arn = 'broker'", "`assume_role_arn`: `arn` is not a role's"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }

    #[test]
    fn a_role_is_read_whole() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("policy.json");
        std::fs::write(&file, "{\n  \"Statement\": []\n}\n").unwrap();
        let toml = format!(
            "arn = 'arn:aws:iam::123456789012:role/x'\nexternal_id = 'x-1'\nsession_policy_file = '{}'\n\
             policy_arns = 'arn:aws:iam::aws:policy/ReadOnlyAccess'\ntransitive_tags = ['team']\n\
             source_identity = false\ntags = {{ team = 'payments' }}",
            file.display()
        );
        let expected = SessionRole {
            arn: "arn:aws:iam::123456789012:role/x".into(),
            external_id: Some("x-1".into()),
            session_policy: Some(r#"{"Statement":[]}"#.into()),
            policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
            tags: BTreeMap::from([("team".into(), "payments".into())]),
            transitive: vec!["team".into()],
            source_identity: false,
            principal_tags: true,
        };
        assert_eq!(read_section(&toml, read_role).unwrap(), AwsRole::AssumeRole(expected));
    }

    #[test]
    fn a_roles_faults_are_named() {
        let arn = "arn = 'arn:aws:iam::123456789012:role/x'\n";
        for (toml, expected) in [
            ("", "`arn` is missing"),
            ("arn = 'x'", "`arn` is not a role's"),
            ("kind = 'asume-role'", "did you mean `assume-role`?"),
            ("kind = 'session-token'\narn = 'x'", "unknown key `arn`"),
            (&format!("{arn}session_policy = '['"), "`session_policy` is not a policy"),
            (&format!("{arn}session_policy = '{{}}'\nsession_policy_file = 'x'"), "keep one of them"),
            (&format!("{arn}session_policy_file = '/nowhere.json'"), "cannot read /nowhere.json"),
            (&format!("{arn}tags = {{ 'aws:x' = 'y' }}"), "the tag `aws:x` is not one"),
            (&format!("{arn}tags = {{ x = ['y', 'z'] }}"), "the tag `x` has one value"),
        ] {
            let faults = faults_of(toml, read_role);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
