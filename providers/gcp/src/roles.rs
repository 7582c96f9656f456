//! What the credentials are made of that this back end makes: tokens of service accounts.

use std::time::Duration;

/// A role: whose tokens, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpRole {
    /// The address of the service account whose tokens are lent.
    pub service_account: String,
    /// The service accounts in between, when the broker's own may not impersonate it directly: each may the next.
    pub delegates: Vec<String>,
    /// Which kind of token.
    pub grant: Grant,
}

/// Which kind of token a role makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// An OAuth 2.0 access token.
    AccessToken {
        /// What it is good for, such as `https://www.googleapis.com/auth/cloud-platform`.
        scopes: Vec<String>,
        /// Whether it may live longer than an hour: the organisation must allow it for this service account
        /// (`constraints/iam.allowServiceAccountCredentialLifetimeExtension`).
        lifetime_extension: bool,
    },
    /// An OpenID Connect identity token. Google fixes its life at an hour.
    IdToken {
        /// Whom it is for.
        audience: String,
        /// Whether it holds the service account's address.
        include_email: bool,
    },
}

/// The longest life of a token.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// The longest life of an access token where the organisation allows more.
pub(crate) const EXTENDED: Duration = Duration::from_secs(12 * 3_600);

impl GcpRole {
    /// The longest life that its tokens can have.
    pub(crate) const fn longest(&self) -> Duration {
        match self.grant {
            Grant::AccessToken { lifetime_extension: true, .. } => EXTENDED,
            _ => HOUR,
        }
    }

    /// Everything that is wrong with it.
    pub fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if !is_service_account(&self.service_account) {
            faults.push(
                "`service_account` is not a service account's address, NAME@PROJECT.iam.gserviceaccount.com",
            );
        }
        if !self.delegates.iter().all(|delegate| is_service_account(delegate)) {
            faults.push("`delegates` are service accounts' addresses, NAME@PROJECT.iam.gserviceaccount.com");
        }
        match &self.grant {
            Grant::AccessToken { scopes, .. } if scopes.is_empty() => {
                faults.push("`scopes` is empty: say what the token is good for");
            }
            Grant::AccessToken { scopes, .. } if !scopes.iter().all(|scope| is_word(scope)) => {
                faults.push("`scopes` are words such as `https://www.googleapis.com/auth/cloud-platform`");
            }
            Grant::IdToken { audience, .. } if audience.is_empty() => {
                faults.push(
                    "`audience` is empty: say whom the token is for, such as `https://api.example.com`",
                );
            }
            Grant::IdToken { audience, .. } if !is_word(audience) => {
                faults.push("`audience` is one word of visible ASCII characters");
            }
            Grant::AccessToken { .. } | Grant::IdToken { .. } => {}
        }
        faults
    }
}

/// `NAME@DOMAIN` of characters that keep their place in a path: addresses of one's own, of Google's agents, and of
/// default service accounts (`1234-compute@developer.gserviceaccount.com`).
fn is_service_account(text: &str) -> bool {
    let part = |text: &str, extra: &[u8]| {
        (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b))
    };
    text.split_once('@').is_some_and(|(name, domain)| {
        part(name, b"-") && part(domain, b"-.") && domain.ends_with("gserviceaccount.com")
    })
}

fn is_word(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_service_accounts_are_taken() {
        for good in [
            "app@my-project.iam.gserviceaccount.com",
            "123456-compute@developer.gserviceaccount.com",
            "my-project@appspot.gserviceaccount.com",
        ] {
            assert!(is_service_account(good), "{good}");
        }
        for bad in ["", "app", "app@example.com", "a/b@x.gserviceaccount.com", "a@x/../y.gserviceaccount.com"]
        {
            assert!(!is_service_account(bad), "{bad}");
        }
    }

    #[test]
    fn a_role_says_what_it_lacks() {
        let role = |grant| GcpRole {
            service_account: "app@my-project.iam.gserviceaccount.com".into(),
            delegates: vec!["x".into()],
            grant,
        };
        let token = role(Grant::AccessToken { scopes: vec![], lifetime_extension: true });
        assert_eq!(token.faults().len(), 2);
        assert_eq!(token.longest(), EXTENDED);
        let identity = role(Grant::IdToken { audience: "a b".into(), include_email: true });
        assert_eq!(identity.faults().len(), 2);
        assert_eq!(identity.longest(), HOUR);
    }
}
