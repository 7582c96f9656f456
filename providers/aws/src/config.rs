//! What the AWS back end is told. Plain data: whoever reads configuration fills it in.

mod endpoint;
mod role;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use leasehold_endpoint::Endpoint;
use thiserror::Error;

pub(crate) use self::endpoint::{Service, url_for};
pub use self::role::{AssumedRole, AwsRole, AwsRoleFault, SessionRole};

/// How AWS is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfig {
    /// The region, such as `eu-central-1`. When absent, the SDK's chain: `AWS_REGION`, the profile, the instance.
    pub region: Option<String>,
    /// Another endpoint than the region's own, for every service that has none of its own here. `{region}` in it stands
    /// for the region that is asked.
    pub endpoint_url: Option<String>,
    /// The endpoint of Secrets Manager, such as a VPC endpoint.
    pub secretsmanager_endpoint_url: Option<String>,
    /// The endpoint of the Parameter Store.
    pub ssm_endpoint_url: Option<String>,
    /// The endpoint of the Security Token Service.
    pub sts_endpoint_url: Option<String>,
    /// Whether plain HTTP may go further than this machine. Off: secrets would travel in clear.
    pub allow_plaintext: bool,
    /// As whom.
    pub credentials: Credentials,
    /// The role that the broker takes on with these credentials, for everything that it does.
    pub assume_role: Option<AssumedRole>,
    /// What it makes credentials of, by the names of the roles.
    pub roles: BTreeMap<String, AwsRole>,
    /// Whether the broker may write new versions to this back end, and delete and restore its secrets. Off unless said.
    pub writable: bool,
    /// For how many days a deleted secret can be restored; 7 to 30.
    pub recovery_window_days: u32,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long one call may take, from its first byte to its last.
    pub attempt_timeout: Duration,
    /// How long one call may take with its repetitions, and with finding credentials.
    pub timeout: Duration,
    /// How often one call is made at most, the first one counted; 1 to 10.
    pub max_attempts: u32,
}

/// As whom AWS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// What the SDK's default chain finds: environment, profile, web identity, container, instance.
    Chain {
        /// A profile of the shared configuration files; the chain's own choice when absent.
        profile: Option<String>,
    },
    /// A fixed access key. Its files are read anew for each call, so that a new key needs no restart.
    Static {
        /// The access key's id, which is no secret.
        access_key_id: String,
        /// The file that holds the secret access key and nothing else.
        secret_access_key_file: PathBuf,
        /// The file that holds the session token of temporary credentials.
        session_token_file: Option<PathBuf>,
    },
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AwsConfigFault {
    /// Not `http://` or `https://` with a host, or with more than that.
    #[error("`{0}` is not a URL such as `https://vpce-1234.secretsmanager.eu-central-1.vpce.amazonaws.com`")]
    Endpoint(&'static str),
    /// Plain HTTP to another machine.
    #[error("`{0}` is plain HTTP to another machine: use https, or say `allow_plaintext = true`")]
    Plaintext(&'static str),
    /// Not a region's name.
    #[error("`region` is not a region's name such as `eu-central-1`")]
    Region,
    /// Not an access key id.
    #[error("`access_key_id` is not 16 to 128 characters of A-Z a-z 0-9 _")]
    AccessKeyId,
    /// What the broker's own role is wrong in.
    #[error("`assume_role_arn`: {0}")]
    AssumeRole(AwsRoleFault),
    /// What a role is wrong in.
    #[error("the role `{0}`: {1}")]
    Role(String, AwsRoleFault),
    /// Outside 7 to 30.
    #[error("`recovery_window_days` is 7 to 30")]
    RecoveryWindow,
    /// A duration of nothing.
    #[error("`{0}` must be longer than nothing")]
    ZeroTimeout(&'static str),
    /// Outside 1 to 10.
    #[error("`max_attempts` is 1 to 10")]
    MaxAttempts,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: None,
            endpoint_url: None,
            secretsmanager_endpoint_url: None,
            ssm_endpoint_url: None,
            sts_endpoint_url: None,
            allow_plaintext: false,
            credentials: Credentials::Chain { profile: None },
            assume_role: None,
            roles: BTreeMap::new(),
            writable: false,
            recovery_window_days: 30,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(9),
            max_attempts: 3,
        }
    }
}

impl AwsConfig {
    /// Everything that is wrong with it, without asking the network.
    pub fn faults(&self) -> Vec<AwsConfigFault> {
        let mut faults = Vec::new();
        for (name, url) in [
            ("endpoint_url", &self.endpoint_url),
            ("secretsmanager_endpoint_url", &self.secretsmanager_endpoint_url),
            ("ssm_endpoint_url", &self.ssm_endpoint_url),
            ("sts_endpoint_url", &self.sts_endpoint_url),
        ] {
            match url.as_ref().map(|url| Endpoint::of(&url.replace("{region}", "eu-central-1"))) {
                Some(None) => faults.push(AwsConfigFault::Endpoint(name)),
                Some(Some(endpoint)) if endpoint.exposes() && !self.allow_plaintext => {
                    faults.push(AwsConfigFault::Plaintext(name));
                }
                _ => {}
            }
        }
        if self.region.as_deref().is_some_and(|region| !is_region(region)) {
            faults.push(AwsConfigFault::Region);
        }
        if let Credentials::Static { access_key_id, .. } = &self.credentials {
            let ok = (16..=128).contains(&access_key_id.len())
                && access_key_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !ok {
                faults.push(AwsConfigFault::AccessKeyId);
            }
        }
        let own = self.assume_role.iter().flat_map(AssumedRole::faults);
        faults.extend(own.map(AwsConfigFault::AssumeRole));
        for (name, role) in &self.roles {
            faults.extend(role.faults().into_iter().map(|fault| AwsConfigFault::Role(name.clone(), fault)));
        }
        if !(7..=30).contains(&self.recovery_window_days) {
            faults.push(AwsConfigFault::RecoveryWindow);
        }
        for (name, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("timeout", self.timeout),
        ] {
            if duration.is_zero() {
                faults.push(AwsConfigFault::ZeroTimeout(name));
            }
        }
        if !(1..=10).contains(&self.max_attempts) {
            faults.push(AwsConfigFault::MaxAttempts);
        }
        faults
    }
}

/// Whether `text` can be a region: one label of a host's name, so that no region leads elsewhere.
pub(crate) fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_unless_allowed() {
        let at = |url: &str, allow_plaintext| {
            AwsConfig { endpoint_url: Some(url.into()), allow_plaintext, ..AwsConfig::default() }.faults()
        };
        for good in [
            "https://example.com",
            "https://10.0.0.1:8443/",
            "http://localhost:4566",
            "http://127.8.9.1",
            "http://[::1]:5000",
        ] {
            assert_eq!(at(good, false), [], "{good}");
        }
        for plain in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]"]
        {
            assert_eq!(at(plain, false), [AwsConfigFault::Plaintext("endpoint_url")], "{plain}");
            assert_eq!(at(plain, true), [], "{plain}");
        }
        for bad in ["", "example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x/#y"]
        {
            assert_eq!(at(bad, true), [AwsConfigFault::Endpoint("endpoint_url")], "{bad}");
        }
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let config = AwsConfig {
            region: Some("EU central".into()),
            endpoint_url: Some("nowhere".into()),
            credentials: Credentials::Static {
                access_key_id: "short".into(),
                secret_access_key_file: "/key".into(),
                session_token_file: None,
            },
            ssm_endpoint_url: Some("http://ssm.{region}.example".into()),
            assume_role: Some(AssumedRole { arn: "role/x".into(), ..AssumedRole::default() }),
            roles: BTreeMap::from([("ci".into(), AwsRole::AssumeRole(SessionRole::default()))]),
            recovery_window_days: 3,
            timeout: Duration::ZERO,
            max_attempts: 0,
            ..AwsConfig::default()
        };
        use AwsConfigFault::*;
        let expected = [
            Endpoint("endpoint_url"),
            Plaintext("ssm_endpoint_url"),
            Region,
            AccessKeyId,
            AssumeRole(AwsRoleFault::Arn),
            Role("ci".into(), AwsRoleFault::Arn),
            RecoveryWindow,
            ZeroTimeout("timeout"),
            MaxAttempts,
        ];
        assert_eq!(config.faults(), expected);
        assert_eq!(AwsConfig::default().faults(), []);
    }
}
