//! What the AWS back end is told. Plain data: whoever reads configuration fills it in.

use std::{path::PathBuf, time::Duration};

use thiserror::Error;

/// How AWS Secrets Manager is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfig {
    /// The region, such as `eu-central-1`. When absent, the SDK's chain: `AWS_REGION`, the profile, the instance.
    pub region: Option<String>,
    /// Another endpoint than the region's own, such as a VPC endpoint.
    pub endpoint_url: Option<String>,
    /// Whether plain HTTP may go further than this machine. Off: secrets would travel in clear.
    pub allow_plaintext: bool,
    /// As whom.
    pub credentials: Credentials,
    /// Whether the broker may write new versions to this back end. Off unless said.
    pub writable: bool,
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
    #[error(
        "`endpoint_url` is not a URL such as `https://vpce-1234.secretsmanager.eu-central-1.vpce.amazonaws.com`"
    )]
    Endpoint,
    /// Plain HTTP to another machine.
    #[error("`endpoint_url` is plain HTTP to another machine: use https, or say `allow_plaintext = true`")]
    Plaintext,
    /// Not a region's name.
    #[error("`region` is not a region's name such as `eu-central-1`")]
    Region,
    /// Not an access key id.
    #[error("`access_key_id` is not 16 to 128 characters of A-Z a-z 0-9 _")]
    AccessKeyId,
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
            allow_plaintext: false,
            credentials: Credentials::Chain { profile: None },
            writable: false,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(12),
            max_attempts: 3,
        }
    }
}

impl AwsConfig {
    /// Everything that is wrong with it, without asking the network.
    pub fn faults(&self) -> Vec<AwsConfigFault> {
        let mut faults = Vec::new();
        if let Some(url) = &self.endpoint_url {
            match Endpoint::of(url) {
                None => faults.push(AwsConfigFault::Endpoint),
                Some(Endpoint { plain: true, local: false }) if !self.allow_plaintext => {
                    faults.push(AwsConfigFault::Plaintext);
                }
                Some(_) => {}
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

/// What matters of an endpoint's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Plain HTTP.
    pub(crate) plain: bool,
    /// On this machine.
    pub(crate) local: bool,
}

impl Endpoint {
    /// What `url` names; `None` when it is no HTTP URL, or holds a user, a query or a fragment.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let plain = match uri.scheme_str()? {
            "http" => true,
            "https" => false,
            _ => return None,
        };
        let bare = uri.query().is_none() && !url.contains('#') && !uri.authority()?.as_str().contains('@');
        let host = uri.host().filter(|host| bare && !host.is_empty())?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        Some(Self { plain, local })
    }
}

fn is_region(text: &str) -> bool {
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
            assert_eq!(at(plain, false), [AwsConfigFault::Plaintext], "{plain}");
            assert_eq!(at(plain, true), [], "{plain}");
        }
        for bad in ["", "example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x/#y"]
        {
            assert_eq!(at(bad, true), [AwsConfigFault::Endpoint], "{bad}");
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
            timeout: Duration::ZERO,
            max_attempts: 0,
            ..AwsConfig::default()
        };
        use AwsConfigFault::*;
        assert_eq!(config.faults(), [Endpoint, Region, AccessKeyId, ZeroTimeout("timeout"), MaxAttempts]);
        assert_eq!(AwsConfig::default().faults(), []);
    }
}
