//! `kind = "aws"`.

use leasehold_provider_aws::{AwsConfig, Credentials};

use crate::config::section::Section;

pub(super) fn read(section: Section<'_>) -> Option<AwsConfig> {
    let d = AwsConfig::default();
    let credentials = credentials(&section);
    let time = |key, default| section.within(key, default, std::time::Duration::from_millis(1)..=MAX_TIMEOUT);
    let config = AwsConfig {
        region: section.optional("region"),
        endpoint_url: section.optional("endpoint_url"),
        allow_plaintext: section.or("allow_plaintext", d.allow_plaintext),
        credentials: Credentials::Chain { profile: None },
        writable: section.or("writable", d.writable),
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

const MAX_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn the_defaults_are_the_providers_own() {
        assert_eq!(read_section("", read).unwrap(), AwsConfig::default());
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
            ("timeout = '0s'", "it must be between 1ms and 2m"),
            ("secret_access_key = 'x'", "did you mean `secret_access_key_file`?"),
        ];
        for (toml, expected) in cases {
            let faults = faults_of(toml, read);
            assert!(faults.contains(expected), "{toml:?} gave\n{faults}");
        }
    }
}
