//! Where a request may go, and whose challenge is answered. Pure: the transport asks before it sends, and before it hands on.

use std::net::SocketAddr;

use azure_core::http::{Method, Url};

use crate::{
    answer::Party,
    config::{AzureConfig, Identity},
    failure::Failure,
    names::is_guid,
};

/// The hosts that this provider talks to.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    vault: Option<String>,
    authority: Option<Url>,
    authorities: Vec<String>,
    audience: String,
    tenant: Option<String>,
    metadata: SocketAddr,
    /// Where App Service has its identity service.
    endpoint: Option<Url>,
}

/// Where the SDK looks for the identity service of a virtual machine.
const IMDS: &str = "169.254.169.254";
/// The variable with App Service's own
/// (<https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>).
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";

impl Rules {
    pub(crate) fn of(config: &AzureConfig) -> Self {
        let tenant = match &config.identity {
            Identity::Managed { .. } => None,
            Identity::Workload { tenant_id, .. } => tenant_id.clone(),
            Identity::ClientSecret { tenant_id, .. } => Some(tenant_id.clone()),
        };
        Self {
            vault: config.vault_host(),
            authority: Url::parse(config.cloud.authority()).ok(),
            authorities: config.cloud.authorities(),
            audience: format!("https://{}", config.cloud.vault_domain()),
            tenant: tenant.filter(|id| is_guid(id)),
            metadata: config.metadata_address,
            endpoint: std::env::var(IDENTITY_ENDPOINT).ok().and_then(|text| Url::parse(&text).ok()),
        }
    }

    /// Whom a request is for, and where it goes: to a path of the vault's secrets, to the authority's tokens, to the
    /// machine's identity service.
    pub(crate) fn place(&self, method: Method, url: &Url) -> Result<(Party, Url), Failure> {
        let host = url.host_str().unwrap_or_default();
        let bare = url.username().is_empty() && url.password().is_none();
        let secure = url.scheme() == "https" && bare;
        let path = url.path();
        if secure && self.vault.as_deref() == Some(host) && url.port().is_none() {
            let secrets = path.starts_with("/secrets/") || path.starts_with("/deletedsecrets/");
            return if secrets { Ok((Party::Vault, url.clone())) } else { Err(Failure::Elsewhere) };
        }
        if secure
            && method == Method::Post
            && self.authority.as_ref().is_some_and(|authority| same_origin(authority, url))
            && path.ends_with("/oauth2/v2.0/token")
        {
            return Ok((Party::Login, url.clone()));
        }
        let imds = url.scheme() == "http" && host == IMDS && path == "/metadata/identity/oauth2/token";
        if imds && bare && method == Method::Get {
            let mut url = url.clone();
            let moved = url.set_ip_host(self.metadata.ip()).is_ok()
                && url.set_port(Some(self.metadata.port())).is_ok();
            return if moved { Ok((Party::Machine, url)) } else { Err(Failure::Elsewhere) };
        }
        let app_service =
            self.endpoint.as_ref().is_some_and(|end| same_origin(end, url) && end.path() == path);
        if app_service && method == Method::Get {
            return Ok((Party::Machine, url.clone()));
        }
        Err(Failure::Elsewhere)
    }

    /// Whether a vault's challenge may be answered: it must name the configured cloud's authority and vaults.
    ///
    /// Source: <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>.
    pub(crate) fn check_challenge(&self, header: &str) -> Result<(), Failure> {
        let parameters = parameters(header);
        let named = |names: &'static [&str]| {
            let of_name = move |(name, _): &&(String, &str)| names.contains(&name.as_str());
            parameters.iter().filter(of_name).map(|(_, value)| *value)
        };
        let authority = named(&["authorization", "authorization_uri"]).next();
        let authority = authority.and_then(|text| Url::parse(text).ok()).ok_or(Failure::Challenge)?;
        let host = authority.host_str().unwrap_or_default();
        let known = authority.scheme() == "https"
            && authority.username().is_empty()
            && self.authorities.iter().any(|name| name == host)
            && authority.port() == self.authority.as_ref().and_then(Url::port);
        let resources =
            named(&["resource", "scope"]).map(|text| text.strip_suffix("/.default").unwrap_or(text));
        let mut resources = resources.peekable();
        let ours =
            resources.peek().is_some() && resources.all(|text| text.trim_end_matches('/') == self.audience);
        if !known || !ours {
            return Err(Failure::Challenge);
        }
        let tenant = authority.path().split('/').find(|segment| !segment.is_empty()).filter(|id| is_guid(id));
        match (&self.tenant, tenant) {
            (Some(ours), Some(theirs)) if !ours.eq_ignore_ascii_case(theirs) => Err(Failure::OtherTenant),
            _ => Ok(()),
        }
    }
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
        && other.username().is_empty()
        && other.password().is_none()
}

/// The parameters of a challenge (RFC 9110, section 11.6.1), of all that are in the header.
fn parameters(header: &str) -> Vec<(String, &str)> {
    let mut parts = header.split('"');
    let mut found = Vec::new();
    while let (Some(before), Some(value)) = (parts.next(), parts.next()) {
        let name = before.trim_end().strip_suffix('=').and_then(|text| text.rsplit([' ', ',', '\t']).next());
        found.extend(name.map(|name| (name.to_ascii_lowercase(), value)));
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cloud::Cloud;

    const TENANT: &str = "11111111-2222-3333-4444-555555555555";

    fn rules() -> Rules {
        Rules::of(&AzureConfig {
            vault: Some("myvault".into()),
            identity: Identity::ClientSecret {
                tenant_id: TENANT.into(),
                client_id: TENANT.into(),
                secret_file: "/s".into(),
            },
            ..AzureConfig::default()
        })
    }

    #[test]
    fn requests_go_to_the_configured_hosts_and_nowhere_else() {
        let place =
            |method, url: &str| rules().place(method, &Url::parse(url).unwrap()).map(|(party, _)| party);
        use Method::*;
        for (method, url, party) in [
            (Get, "https://myvault.vault.azure.net/secrets/a?api-version=1", Party::Vault),
            (Delete, "https://myvault.vault.azure.net/deletedsecrets/a", Party::Vault),
            (Post, "https://login.microsoftonline.com/t/oauth2/v2.0/token", Party::Login),
            (Get, "http://169.254.169.254/metadata/identity/oauth2/token?resource=x", Party::Machine),
        ] {
            assert_eq!(place(method, url), Ok(party), "{url}");
        }
        for (method, url) in [
            (Get, "https://other.vault.azure.net/secrets/a"),
            (Get, "http://myvault.vault.azure.net/secrets/a"),
            (Get, "https://myvault.vault.azure.net:8443/secrets/a"),
            (Get, "https://myvault.vault.azure.net.evil.example/secrets/a"),
            (Get, "https://u@myvault.vault.azure.net/secrets/a"),
            (Get, "https://myvault.vault.azure.net/keys/a"),
            (Get, "https://myvault.vault.azure.net/secrets/../keys/a"),
            (Get, "https://login.microsoftonline.com/t/oauth2/v2.0/token"),
            (Post, "https://login.microsoftonline.com/t/other"),
            (Post, "https://login.windows.net/t/oauth2/v2.0/token"),
            (Get, "http://169.254.169.254/metadata/instance"),
            (Get, "http://localhost/metadata/identity/oauth2/token"),
        ] {
            assert_eq!(place(method, url), Err(Failure::Elsewhere), "{url}");
        }
    }

    #[test]
    fn only_the_clouds_own_challenge_is_answered() {
        let challenge = |authority: &str, rest: &str| {
            rules().check_challenge(&format!(r#"Bearer authorization="{authority}", {rest}"#))
        };
        let resource = r#"resource="https://vault.azure.net""#;
        let ours = format!("https://login.microsoftonline.com/{TENANT}");
        assert_eq!(challenge(&ours, resource), Ok(()));
        assert_eq!(challenge(&ours, r#"scope="https://vault.azure.net/.default""#), Ok(()));
        assert_eq!(challenge(&format!("https://login.windows.net/{TENANT}"), resource), Ok(()));
        let other = ours.replace('1', "9");
        assert_eq!(challenge(&other, resource), Err(Failure::OtherTenant));
        for (authority, rest) in [
            ("https://login.evil.example/t", resource),
            ("https://login.microsoftonline.com.evil.example/t", resource),
            ("https://login.microsoftonline.com@evil.example/t", resource),
            ("http://login.microsoftonline.com/t", resource),
            ("https://login.chinacloudapi.cn/t", resource),
            (&*ours, r#"resource="https://evil.example""#),
            (&*ours, r#"resource="https://net""#),
            (&*ours, r#"resource="https://vault.azure.cn""#),
            (&*ours, r#"resource="https://vault.azure.net", scope="https://graph.microsoft.com/.default""#),
            (&*ours, r#"scope="https://graph.microsoft.com/.default", resource="https://vault.azure.net""#),
            (&*ours, ""),
        ] {
            assert_eq!(challenge(authority, rest), Err(Failure::Challenge), "{authority} {rest}");
        }
        assert_eq!(rules().check_challenge("Bearer"), Err(Failure::Challenge));
        assert_eq!(rules().check_challenge(resource), Err(Failure::Challenge));
    }

    #[test]
    fn a_custom_cloud_has_its_own_authority() {
        let rules = Rules::of(&AzureConfig {
            vault: Some("stack".into()),
            cloud: Cloud::Custom {
                authority_host: "https://login.local.example:8443".into(),
                vault_domain: "vault.local.example".into(),
            },
            ..AzureConfig::default()
        });
        let check = |host: &str| {
            rules.check_challenge(&format!(
                r#"Bearer authorization="https://{host}/adfs", resource="https://vault.local.example""#
            ))
        };
        assert_eq!(check("login.local.example:8443"), Ok(()));
        assert_eq!(check("login.local.example"), Err(Failure::Challenge));
        assert_eq!(check("login.microsoftonline.com"), Err(Failure::Challenge));
        let token = Url::parse("https://login.local.example:8443/adfs/oauth2/v2.0/token").unwrap();
        assert_eq!(rules.place(Method::Post, &token).map(|(party, _)| party), Ok(Party::Login));
    }

    proptest! {
        #[test]
        fn no_challenge_panics_or_names_another_resource(header in "[a-z=\", :/.]{0,80}") {
            let passed = rules().check_challenge(&header).is_ok();
            prop_assert!(!passed || header.contains("https://vault.azure.net"));
        }
    }
}
