//! What the Vault back end is told. Plain data: whoever reads configuration fills it in.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use leasehold_endpoint::Endpoint;
use thiserror::Error;

use crate::role::VaultRole;

/// How Vault or OpenBao is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// Where it is, such as `https://vault.example.com:8200`.
    pub address: String,
    /// Other nodes of the same cluster: asked when one does not answer, and the only ones to which a redirect is followed.
    pub cluster: Vec<String>,
    /// The namespace, such as `team-a/payments`.
    pub namespace: Option<String>,
    /// Whether plain HTTP may go further than this machine. Off: tokens and secrets would travel in clear.
    pub allow_plaintext: bool,
    /// The certificates that the server's must be signed by, PEM; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// As whom.
    pub auth: Auth,
    /// What credentials are made of, by the roles' names.
    pub roles: BTreeMap<String, VaultRole>,
    /// Whether the broker may write and change secrets there. Off unless said.
    pub writable: bool,
    /// Whether secrets are read wrapped, so that nothing on the way sees them, and for how long they may stay so.
    pub wrap_ttl: Option<Duration>,
    /// The token role by which the tokens are made that credentials hang on; without one they are orphans of the broker's
    /// own policies.
    pub token_role: Option<String>,
    /// How many such tokens are kept ready; 1 to 64.
    pub spare_tokens: u32,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long one call may take, from its first byte to its last.
    pub attempt_timeout: Duration,
    /// How long one call may take with its repetitions, and with signing in.
    pub timeout: Duration,
    /// How often one call is made at most, the first one counted; 1 to 10. Only what is safe to repeat is repeated.
    pub max_attempts: u32,
}

/// As whom Vault is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A token from a file, read anew when the file changes.
    Token {
        /// The file that holds the token and nothing else.
        file: PathBuf,
    },
    /// `AppRole`.
    AppRole {
        /// Where the method is mounted, without `auth/`.
        mount: String,
        /// The role's id, which is no secret.
        role_id: String,
        /// The file that holds the secret id and nothing else; absent when the role wants none.
        secret_id_file: Option<PathBuf>,
        /// Whether the file holds a wrapping token for the secret id instead.
        wrapped: bool,
    },
    /// A client certificate.
    Certificate {
        /// Where the method is mounted, without `auth/`.
        mount: String,
        /// The role; any that the certificate fits when absent.
        role: Option<String>,
        /// The certificate with those that lead to its root, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// The token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted, without `auth/`.
        mount: String,
        /// The role.
        role: String,
        /// The token's file.
        jwt_file: PathBuf,
    },
    /// A JSON web token, such as a JWT-SVID or a CI job's.
    Jwt {
        /// Where the method is mounted, without `auth/`.
        mount: String,
        /// The role; the method's default when absent.
        role: Option<String>,
        /// The token's file.
        jwt_file: PathBuf,
    },
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VaultConfigFault {
    /// Not `http://` or `https://` with a host, or with more than that.
    #[error("`{0}` has what is not a URL such as `https://vault.example.com:8200`, without a path")]
    Address(&'static str),
    /// Plain HTTP to another machine.
    #[error("`{0}` has plain HTTP to another machine: use https, or say `allow_plaintext = true`")]
    Plaintext(&'static str),
    /// A certificate cannot be shown without TLS.
    #[error("signing in with a certificate needs an `address` with https")]
    CertificateWithoutTls,
    /// Not a namespace's name.
    #[error("`namespace` is not a namespace's path such as `team-a/payments`")]
    Namespace,
    /// Not where a method can be mounted, or not a role's name.
    #[error("`{0}` is not a name of A-Z a-z 0-9 . _ -")]
    Name(&'static str),
    /// Not a role id.
    #[error("`role_id` is one word")]
    RoleId,
    /// A wrapping token without a file that holds it.
    #[error("`secret_id_wrapped` needs a `secret_id_file`")]
    WrappedNothing,
    /// No time at all.
    #[error("`{0}` must be longer than nothing")]
    ZeroTimeout(&'static str),
    /// No time at all, where Vault counts in seconds.
    #[error("`wrap_ttl` is at least a second")]
    WrapTtl,
    /// Outside 1 to 64.
    #[error("`spare_tokens` is 1 to 64")]
    SpareTokens,
    /// Outside 1 to 10.
    #[error("`max_attempts` is 1 to 10")]
    MaxAttempts,
    /// Nothing can be kept apart without randomness.
    #[error("the system gave no randomness")]
    NoEntropy,
    /// A role's own fault.
    #[error("the role `{0}`: {1}")]
    Role(String, crate::role::InvalidRole),
}

impl VaultConfig {
    /// What holds where nothing else is said.
    pub fn new(address: impl Into<String>, auth: Auth) -> Self {
        Self {
            address: address.into(),
            cluster: Vec::new(),
            namespace: None,
            allow_plaintext: false,
            ca_file: None,
            auth,
            roles: BTreeMap::new(),
            writable: false,
            wrap_ttl: None,
            token_role: None,
            spare_tokens: 8,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(8),
            max_attempts: 3,
        }
    }

    /// Everything that is wrong with it, without asking the network.
    pub fn faults(&self) -> Vec<VaultConfigFault> {
        use VaultConfigFault as Fault;
        let mut faults = Vec::new();
        let nodes =
            std::iter::once(("address", &self.address)).chain(self.cluster.iter().map(|n| ("cluster", n)));
        for (key, node) in nodes {
            match server(node) {
                None => faults.push(Fault::Address(key)),
                Some(endpoint) if endpoint.plain => {
                    if endpoint.exposes() && !self.allow_plaintext {
                        faults.push(Fault::Plaintext(key));
                    }
                    if matches!(self.auth, Auth::Certificate { .. }) {
                        faults.push(Fault::CertificateWithoutTls);
                    }
                }
                Some(_) => {}
            }
        }
        if self.namespace.as_deref().is_some_and(|namespace| !namespace.split('/').all(is_name)) {
            faults.push(Fault::Namespace);
        }
        self.auth.faults(&mut faults);
        if self.token_role.as_deref().is_some_and(|role| !is_name(role)) {
            faults.push(Fault::Name("token_role"));
        }
        for (key, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("timeout", self.timeout),
        ] {
            if duration.is_zero() {
                faults.push(Fault::ZeroTimeout(key));
            }
        }
        if self.wrap_ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            faults.push(Fault::WrapTtl);
        }
        if !(1..=64).contains(&self.spare_tokens) {
            faults.push(Fault::SpareTokens);
        }
        if !(1..=10).contains(&self.max_attempts) {
            faults.push(Fault::MaxAttempts);
        }
        for (name, role) in &self.roles {
            faults.extend(role.faults().into_iter().map(|fault| Fault::Role(name.clone(), fault)));
        }
        faults
    }
}

impl Auth {
    /// Where Kubernetes puts a service account's token.
    pub const KUBERNETES_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

    /// The method's name, as configuration has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::AppRole { .. } => "approle",
            Self::Certificate { .. } => "cert",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Jwt { .. } => "jwt",
        }
    }

    fn faults(&self, faults: &mut Vec<VaultConfigFault>) {
        let (mount, role) = match self {
            Self::Token { .. } => return,
            Self::AppRole { mount, role_id, secret_id_file, wrapped } => {
                if role_id.is_empty() || !role_id.bytes().all(|b| b.is_ascii_graphic()) {
                    faults.push(VaultConfigFault::RoleId);
                }
                if *wrapped && secret_id_file.is_none() {
                    faults.push(VaultConfigFault::WrappedNothing);
                }
                (mount, None)
            }
            Self::Certificate { mount, role, .. } | Self::Jwt { mount, role, .. } => (mount, role.as_ref()),
            Self::Kubernetes { mount, role, .. } => (mount, Some(role)),
        };
        if !mount.split('/').all(is_name) {
            faults.push(VaultConfigFault::Name("auth_mount"));
        }
        if role.is_some_and(|role| !is_name(role)) {
            faults.push(VaultConfigFault::Name("auth_role"));
        }
    }
}

/// A server: nothing follows it in its URL.
pub(crate) fn server(url: &str) -> Option<Endpoint> {
    Endpoint::of(url).filter(|endpoint| !endpoint.has_path)
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Auth {
        Auth::Token { file: "/token".into() }
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_allowed() {
        let at = |url: &str, allow_plaintext| {
            VaultConfig { allow_plaintext, ..VaultConfig::new(url, token()) }.faults()
        };
        for good in
            ["https://example.com", "https://10.0.0.1:8200/", "http://localhost:8200", "http://[::1]:1"]
        {
            assert_eq!(at(good, false), [], "{good}");
        }
        for plain in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert_eq!(at(plain, false), [VaultConfigFault::Plaintext("address")], "{plain}");
            assert_eq!(at(plain, true), [], "{plain}");
        }
        for bad in
            ["", "example.com", "ftp://x", "https://u:p@x", "https://x?y", "https://x/#y", "https://x/v1"]
        {
            assert_eq!(at(bad, true), [VaultConfigFault::Address("address")], "{bad}");
        }
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let config = VaultConfig {
            cluster: vec!["nowhere".into()],
            namespace: Some("a//b".into()),
            auth: Auth::AppRole {
                mount: "app role".into(),
                role_id: String::new(),
                secret_id_file: None,
                wrapped: true,
            },
            token_role: Some("a/b".into()),
            timeout: Duration::ZERO,
            wrap_ttl: Some(Duration::from_millis(1)),
            spare_tokens: 0,
            max_attempts: 0,
            roles: BTreeMap::from([("r".to_owned(), VaultRole::new("x"))]),
            ..VaultConfig::new("https://vault.example.com", token())
        };
        use VaultConfigFault::*;
        assert_eq!(
            config.faults(),
            [
                Address("cluster"),
                Namespace,
                RoleId,
                WrappedNothing,
                Name("auth_mount"),
                Name("token_role"),
                ZeroTimeout("timeout"),
                WrapTtl,
                SpareTokens,
                MaxAttempts,
                Role("r".into(), crate::role::InvalidRole::Path("path")),
            ]
        );
        let auth = Auth::Certificate {
            mount: "cert".into(),
            role: None,
            certificate: "/c".into(),
            key: "/k".into(),
        };
        assert_eq!(VaultConfig::new("http://127.0.0.1", auth).faults(), [CertificateWithoutTls]);
    }
}
