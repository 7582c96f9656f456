//! Which of the clouds: where its vaults are, and who signs in there.
//!
//! Sources: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers>
//! and <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.

use azure_core::http::Url;

/// One of Azure's clouds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Azure.
    #[default]
    Public,
    /// Azure operated by 21Vianet in China.
    China,
    /// Azure Government.
    UsGovernment,
    /// Another one, such as Azure Stack Hub.
    Custom {
        /// Where is signed in, such as `https://login.local.azurestack.external`.
        authority_host: String,
        /// The domain of its vaults, such as `vault.local.azurestack.external`.
        vault_domain: String,
    },
}

impl Cloud {
    /// Where is signed in.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::Custom { authority_host, .. } => authority_host,
        }
    }

    /// The hosts that a vault of this cloud may name as the place to sign in: the same authority has several names.
    pub(crate) fn authorities(&self) -> Vec<String> {
        let known: &[&str] = match self {
            Self::Public => &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com"],
            Self::China => &["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
            Self::UsGovernment => &["login.microsoftonline.us", "login.usgovcloudapi.net"],
            Self::Custom { .. } => &[],
        };
        match self {
            Self::Custom { authority_host, .. } => {
                Url::parse(authority_host).ok().and_then(|url| Some(vec![url.host_str()?.to_owned()]))
            }
            _ => None,
        }
        .unwrap_or_else(|| known.iter().map(|&host| host.to_owned()).collect())
    }

    /// The domain of its vaults.
    pub(crate) fn vault_domain(&self) -> &str {
        match self {
            Self::Public => "vault.azure.net",
            Self::China => "vault.azure.cn",
            Self::UsGovernment => "vault.usgovcloudapi.net",
            Self::Custom { vault_domain, .. } => vault_domain,
        }
    }

    /// What a token for its vaults is asked for.
    pub(crate) fn vault_scope(&self) -> String {
        format!("https://{}/.default", self.vault_domain())
    }
}
