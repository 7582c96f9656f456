//! What the Azure back end is told. Plain data: whoever reads configuration fills it in.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use thiserror::Error;

use crate::{
    cloud::Cloud,
    names::{is_bare_https, is_domain, is_guid, is_scope, is_tenant, is_vault_name},
};

/// How a key vault is reached, as whom, and which tokens are lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureConfig {
    /// The vault: its name, or its URL such as `https://myvault.vault.azure.net`. Absent when only tokens are lent.
    pub vault: Option<String>,
    /// Which cloud.
    pub cloud: Cloud,
    /// As whom.
    pub identity: Identity,
    /// The vault's private endpoint, where no private DNS says where it is.
    pub private_endpoint: Option<SocketAddr>,
    /// Certificates that are trusted besides the machine's own, PEM.
    pub ca_file: Option<PathBuf>,
    /// Where the machine's identity service is.
    pub metadata_address: SocketAddr,
    /// Whether the broker may write to this back end. Off unless said.
    pub writable: bool,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
    /// How long one request may take, from its first byte to its last.
    pub attempt_timeout: Duration,
    /// How long one call may take with its repetitions, and with signing in.
    pub timeout: Duration,
    /// How often one call is made at most, the first one counted; 1 to 10.
    pub max_attempts: u32,
    /// The tokens that are lent, by the names of their roles.
    pub roles: BTreeMap<String, AzureRole>,
}

/// As whom Entra ID is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The machine's managed identity: of a virtual machine, a scale set, App Service.
    Managed {
        /// Which one, when several are assigned; the machine's own when absent.
        client_id: Option<String>,
    },
    /// A federated token, as Kubernetes and other issuers give one to a workload.
    Workload {
        /// The directory; `AZURE_TENANT_ID` when absent.
        tenant_id: Option<String>,
        /// The application; `AZURE_CLIENT_ID` when absent.
        client_id: Option<String>,
        /// The file with the token, read anew for each sign-in; `AZURE_FEDERATED_TOKEN_FILE` when absent.
        token_file: Option<PathBuf>,
    },
    /// An application's secret.
    ClientSecret {
        /// The directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The file that holds the secret and nothing else, read anew for each sign-in.
        secret_file: PathBuf,
    },
}

/// What a lent token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureRole {
    /// The scope, such as `https://storage.azure.com/.default`.
    pub scope: String,
    /// As whom it is taken; as the provider itself when absent.
    pub identity: Option<Identity>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AzureConfigFault {
    /// Neither a vault's name nor its URL.
    #[error("`vault` is not a vault's name (3 to 24 characters of A-Z a-z 0-9 -) or `https://NAME.{0}`")]
    Vault(String),
    /// Nothing to lend.
    #[error("there is no `vault` and no role, so there is nothing to lend")]
    Nothing,
    /// Not `https://` and a host.
    #[error("`authority_host` is not `https://` and a host, without a path")]
    AuthorityHost,
    /// Not a domain.
    #[error("`vault_domain` is not a domain such as `vault.local.azurestack.external`")]
    VaultDomain,
    /// Not a directory's id or domain.
    #[error("`tenant_id`{0} is not a directory's id or domain: characters of A-Z a-z 0-9 . -")]
    Tenant(String),
    /// Not an application's id.
    #[error("`client_id`{0} is not an id such as `11111111-2222-3333-4444-555555555555`")]
    Client(String),
    /// Not a scope of an application's own.
    #[error("`scope` of the role `{0}` is not of the form `https://storage.azure.com/.default`")]
    Scope(String),
    /// A role that would give the broker's own access away.
    #[error(
        "the role `{0}` would lend the broker's own access to the vault: give it an identity of its own, or lend the secrets by `ref`"
    )]
    OwnAccess(String),
    /// A duration of nothing.
    #[error("`{0}` must be longer than nothing")]
    ZeroTimeout(&'static str),
    /// Outside 1 to 10.
    #[error("`max_attempts` is 1 to 10")]
    MaxAttempts,
    /// Certificates that cannot be used.
    #[error("`ca_file` {path}: {why}", path = .0.display(), why = .1)]
    CaFile(PathBuf, String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Default for AzureConfig {
    fn default() -> Self {
        Self {
            vault: None,
            cloud: Cloud::Public,
            identity: Identity::Managed { client_id: None },
            private_endpoint: None,
            ca_file: None,
            metadata_address: SocketAddr::from((Ipv4Addr::new(169, 254, 169, 254), 80)),
            writable: false,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(4),
            timeout: Duration::from_secs(9),
            max_attempts: 3,
            roles: BTreeMap::new(),
        }
    }
}

impl AzureConfig {
    /// Everything that is wrong with it, without asking the network or reading a file.
    pub fn faults(&self) -> Vec<AzureConfigFault> {
        let mut faults = Vec::new();
        if self.vault.is_some() && self.vault_host().is_none() {
            faults.push(AzureConfigFault::Vault(self.cloud.vault_domain().to_owned()));
        }
        if self.vault.is_none() && self.roles.is_empty() {
            faults.push(AzureConfigFault::Nothing);
        }
        if let Cloud::Custom { authority_host, vault_domain } = &self.cloud {
            if !is_bare_https(authority_host) {
                faults.push(AzureConfigFault::AuthorityHost);
            }
            if !is_domain(vault_domain) {
                faults.push(AzureConfigFault::VaultDomain);
            }
        }
        faults.extend(self.identity.faults(""));
        faults.extend(self.roles.keys().flat_map(|name| self.role_faults(name)));
        for (name, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("timeout", self.timeout),
        ] {
            if duration.is_zero() {
                faults.push(AzureConfigFault::ZeroTimeout(name));
            }
        }
        if !(1..=10).contains(&self.max_attempts) {
            faults.push(AzureConfigFault::MaxAttempts);
        }
        faults
    }

    /// Everything that is wrong with one of its roles.
    pub fn role_faults(&self, name: &str) -> Vec<AzureConfigFault> {
        let mut faults = Vec::new();
        let Some(role) = self.roles.get(name) else { return faults };
        if !is_scope(&role.scope) {
            faults.push(AzureConfigFault::Scope(name.to_owned()));
        }
        let own = self.identity_of(role).is_the_same_as(&self.identity);
        if own && self.vault.is_some() && opens_vaults(&role.scope, &self.cloud) {
            faults.push(AzureConfigFault::OwnAccess(name.to_owned()));
        }
        if let Some(identity) = &role.identity {
            faults.extend(identity.faults(&format!(" of the role `{name}`")));
        }
        faults
    }

    /// The vault's host, such as `myvault.vault.azure.net`; `None` when there is no vault, or it is none of this cloud.
    pub(crate) fn vault_host(&self) -> Option<String> {
        let text = self.vault.as_deref()?;
        let domain = self.cloud.vault_domain();
        let host = match text.strip_prefix("https://") {
            Some(rest) => rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase(),
            None => format!("{}.{domain}", text.to_ascii_lowercase()),
        };
        let name = host.strip_suffix(domain)?.strip_suffix('.')?;
        is_vault_name(name).then_some(host)
    }

    /// The vault's name: the first label of its host.
    pub(crate) fn vault_name(&self) -> Option<String> {
        self.vault_host().and_then(|host| Some(host.split('.').next()?.to_owned()))
    }

    /// As whom a role's token is taken.
    pub(crate) fn identity_of<'a>(&'a self, role: &'a AzureRole) -> &'a Identity {
        role.identity.as_ref().unwrap_or(&self.identity)
    }
}

impl Identity {
    /// What people call it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Managed { .. } => "the managed identity",
            Self::Workload { .. } => "the workload identity",
            Self::ClientSecret { .. } => "the application with a client secret",
        }
    }

    /// Whether both are one application or machine, by whatever credential.
    fn is_the_same_as(&self, other: &Self) -> bool {
        match (self.client(), other.client()) {
            (Some(one), Some(another)) => one.eq_ignore_ascii_case(another),
            (None, None) => self.kind() == other.kind(),
            _ => false,
        }
    }

    /// The application's id, when it is said.
    pub(crate) fn client(&self) -> Option<&str> {
        match self {
            Self::Managed { client_id } | Self::Workload { client_id, .. } => client_id.as_deref(),
            Self::ClientSecret { client_id, .. } => Some(client_id),
        }
    }

    fn faults(&self, of: &str) -> Vec<AzureConfigFault> {
        let (tenant, client) = match self {
            Self::Managed { client_id } => (None, client_id.as_ref()),
            Self::Workload { tenant_id, client_id, .. } => (tenant_id.as_ref(), client_id.as_ref()),
            Self::ClientSecret { tenant_id, client_id, .. } => (Some(tenant_id), Some(client_id)),
        };
        let tenant = tenant.filter(|id| !is_tenant(id)).map(|_| AzureConfigFault::Tenant(of.to_owned()));
        let client = client.filter(|id| !is_guid(id)).map(|_| AzureConfigFault::Client(of.to_owned()));
        tenant.into_iter().chain(client).collect()
    }
}

/// Key Vault's own resource goes by its URL, with and without the last slash, and by its id.
fn opens_vaults(scope: &str, cloud: &Cloud) -> bool {
    let resource = scope.strip_suffix("/.default").unwrap_or(scope).trim_end_matches('/');
    resource.eq_ignore_ascii_case(&format!("https://{}", cloud.vault_domain()))
        || resource.eq_ignore_ascii_case("cfa8b339-82a2-471a-a3c9-0fc0be7a4093")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(vault: &str, cloud: Cloud) -> AzureConfig {
        AzureConfig { vault: Some(vault.into()), cloud, ..AzureConfig::default() }
    }

    #[test]
    fn a_vault_is_one_of_its_cloud() {
        let stack = Cloud::Custom {
            authority_host: "https://login.local.example".into(),
            vault_domain: "vault.local.example".into(),
        };
        for (vault, cloud, host) in [
            ("MyVault", Cloud::Public, "myvault.vault.azure.net"),
            ("https://myvault.vault.azure.net", Cloud::Public, "myvault.vault.azure.net"),
            ("https://myvault.vault.azure.net/", Cloud::Public, "myvault.vault.azure.net"),
            ("my-vault-1", Cloud::China, "my-vault-1.vault.azure.cn"),
            ("https://v12.vault.usgovcloudapi.net", Cloud::UsGovernment, "v12.vault.usgovcloudapi.net"),
            ("stack", stack, "stack.vault.local.example"),
        ] {
            let config = at(vault, cloud);
            assert_eq!(config.faults(), [], "{vault}");
            assert_eq!(config.vault_host().as_deref(), Some(host));
        }
        for vault in [
            "",
            "ab",
            "a.b",
            "-abc",
            "abc-",
            "a--b",
            "1abc",
            "myvault.vault.azure.net",
            "http://myvault.vault.azure.net",
            "https://myvault.vault.azure.cn",
            "https://evil.example/.vault.azure.net",
            "https://a.b.vault.azure.net",
            "https://user@myvault.vault.azure.net",
            "https://myvault.vault.azure.net:8443",
            "https://myvault.vault.azure.net/secrets/x",
            "https://myvault.vault.azure.net?x",
            "https://myvaultvault.azure.net",
        ] {
            assert_eq!(
                at(vault, Cloud::Public).faults(),
                [AzureConfigFault::Vault("vault.azure.net".into())],
                "{vault}"
            );
        }
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let role = |scope: &str, identity| AzureRole { scope: scope.into(), identity };
        let other = Identity::Managed { client_id: Some("nobody".into()) };
        let config = AzureConfig {
            cloud: Cloud::Custom { authority_host: "https://x/y".into(), vault_domain: "vault".into() },
            identity: Identity::ClientSecret {
                tenant_id: "a/b".into(),
                client_id: "me".into(),
                secret_file: "/secret".into(),
            },
            roles: BTreeMap::from([("r".to_owned(), role("https://storage.azure.com", Some(other)))]),
            timeout: Duration::ZERO,
            max_attempts: 0,
            ..at("myvault", Cloud::Public)
        };
        use AzureConfigFault::*;
        let of = " of the role `r`".to_owned();
        assert_eq!(
            config.faults(),
            [
                AuthorityHost,
                VaultDomain,
                Tenant(String::new()),
                Client(String::new()),
                Scope("r".into()),
                Client(of),
                ZeroTimeout("timeout"),
                MaxAttempts
            ]
        );
        assert_eq!(AzureConfig::default().faults(), [Nothing]);
    }

    #[test]
    fn the_brokers_own_access_is_not_lent() {
        let lending = |scope: &str, identity| AzureConfig {
            roles: BTreeMap::from([("r".to_owned(), AzureRole { scope: scope.into(), identity })]),
            ..at("myvault", Cloud::Public)
        };
        let other =
            || Some(Identity::Managed { client_id: Some("1".repeat(8) + "-2222-3333-4444-555555555555") });
        for own in [
            "https://vault.azure.net/.default",
            "https://vault.azure.net//.default",
            "https://VAULT.azure.net/.default",
            "cfa8b339-82a2-471a-a3c9-0fc0be7a4093/.default",
        ] {
            assert_eq!(lending(own, None).faults(), [AzureConfigFault::OwnAccess("r".into())], "{own}");
            assert_eq!(lending(own, other()).faults(), [], "{own}");
        }
        // The same application is the same by another file, another spelling, and another kind of credential.
        let id = "abcdefab-2222-3333-4444-555555555555";
        let secret = |client_id: &str, file: &str| Identity::ClientSecret {
            tenant_id: "example.org".into(),
            client_id: client_id.into(),
            secret_file: file.into(),
        };
        let federated = Identity::Workload { tenant_id: None, client_id: Some(id.into()), token_file: None };
        for same in [secret(id, "/run/b"), secret(&id.to_uppercase(), "/run/a"), federated] {
            let config = AzureConfig {
                identity: secret(id, "/run/a"),
                ..lending("https://vault.azure.net/.default", Some(same.clone()))
            };
            assert_eq!(config.faults(), [AzureConfigFault::OwnAccess("r".into())], "{same:?}");
        }
        for good in [
            "https://storage.azure.com/.default",
            "https://ossrdbms-aad.database.windows.net/.default",
            "api://11111111-2222-3333-4444-555555555555/.default",
        ] {
            assert_eq!(lending(good, None).faults(), [], "{good}");
        }
        for bad in [
            "",
            "/.default",
            "https:///.default",
            "https://x/.default?y",
            "https://x y/.default",
            "User.Read",
        ] {
            assert_eq!(lending(bad, None).faults(), [AzureConfigFault::Scope("r".into())], "{bad}");
        }
    }
}
